//! Token buckets: how much a client may send. They know no client; time is an argument.

use std::time::Instant;

/// Token buckets for what a client sends. They hold two seconds' worth.
#[derive(Debug)]
pub(crate) struct Rate {
    messages: Bucket,
    bytes: Bucket,
    filled: Instant,
}

#[derive(Debug)]
struct Bucket {
    each_second: f64,
    tokens: f64,
}

impl Rate {
    /// A rate of 0 is no limit.
    pub(crate) fn new(messages: u32, bytes: u32, now: Instant) -> Rate {
        Rate { messages: Bucket::new(messages), bytes: Bucket::new(bytes), filled: now }
    }

    /// Takes so much from the buckets; `false` where there was not enough.
    pub(crate) fn take(&mut self, messages: u32, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(std::mem::replace(&mut self.filled, now)).as_secs_f64();
        let enough = [self.messages.take(f64::from(messages), elapsed), self.bytes.take(bytes as f64, elapsed)];
        enough == [true, true]
    }
}

impl Bucket {
    fn new(each_second: u32) -> Bucket {
        let each_second = if each_second == 0 { f64::INFINITY } else { f64::from(each_second) };
        Bucket { each_second, tokens: 2.0 * each_second }
    }

    fn take(&mut self, count: f64, elapsed: f64) -> bool {
        if self.each_second.is_infinite() {
            return true;
        }
        self.tokens = (self.tokens + elapsed * self.each_second).min(2.0 * self.each_second) - count;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_holds_two_seconds_and_refills() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 0, start);
        assert!((0..20).all(|_| rate.take(1, 1 << 30, start)));
        assert!(!rate.take(1, 0, start));
        let later = start + Duration::from_secs(1);
        assert!((0..9).all(|_| rate.take(1, 0, later)));
        assert!(!rate.take(1, 0, later));
        let much_later = start + Duration::from_secs(100);
        assert!((0..20).all(|_| rate.take(1, 0, much_later)));
        assert!(!rate.take(1, 0, much_later));
    }
}
