//! Token buckets: how much a client may send, or an address may ask. They know neither; time is an argument.

use std::time::{Duration, Instant};

use crate::deadlines::after;

/// A bucket holds two seconds' worth.
const HELD: Duration = Duration::from_secs(2);

/// A token bucket, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Bucket {
        Bucket { full: now }
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full <= now
    }

    /// How long to wait until there are so many tokens; a rate of 0 is no limit.
    pub(crate) fn wait(&self, count: usize, each_second: u32, now: Instant) -> Option<Duration> {
        let lacking = self.full_after(count, each_second, now)?.saturating_duration_since(now + HELD);
        (!lacking.is_zero()).then_some(lacking)
    }

    /// Takes so many tokens, also where there are not enough: then they have to be made up for.
    pub(crate) fn take(&mut self, count: usize, each_second: u32, now: Instant) {
        self.full = self.full_after(count, each_second, now).unwrap_or(self.full);
    }

    /// When it would be full again after that; `None` where there is no limit.
    fn full_after(&self, count: usize, each_second: u32, now: Instant) -> Option<Instant> {
        let nanos = (count as u64).saturating_mul(1_000_000_000).checked_div(u64::from(each_second))?;
        Some(after(self.full.max(now), Duration::from_nanos(nanos)))
    }
}

/// How many messages and bytes a client may send.
#[derive(Debug)]
pub(crate) struct Rate {
    messages: (Bucket, u32),
    bytes: (Bucket, u32),
}

impl Rate {
    /// So many each second; 0 is no limit.
    pub(crate) fn new(messages: u32, bytes: u32, now: Instant) -> Rate {
        Rate { messages: (Bucket::full(now), messages), bytes: (Bucket::full(now), bytes) }
    }

    /// Takes so much from both buckets; `false` where there was not enough in one.
    pub(crate) fn take(&mut self, messages: u32, bytes: usize, now: Instant) -> bool {
        let wanted = [(&mut self.messages, messages as usize), (&mut self.bytes, bytes)];
        wanted.into_iter().fold(true, |enough, ((bucket, each_second), count)| {
            let fits = bucket.wait(count, *each_second, now).is_none();
            bucket.take(count, *each_second, now);
            enough && fits
        })
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn more_than_a_bucket_holds_never_fits() {
        let start = Instant::now();
        assert!(Rate::new(0, 1000, start).take(1, 2000, start));
        assert!(!Rate::new(0, 1000, start).take(1, 2001, start));
        assert!(!Rate::new(0, u32::MAX, start).take(1, usize::MAX, start));
    }
}
