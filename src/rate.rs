//! Token buckets: how much a client may send, an address may ask, or strangers may log. They know none of these; time
//! is an argument.

use std::time::{Duration, Instant};

use crate::deadlines::after;

/// A bucket holds two seconds' worth, where nothing else is said.
const HELD: Duration = Duration::from_secs(2);

/// A token bucket that holds so many seconds' worth, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<const SECONDS: u64 = { HELD.as_secs() }> {
    full: Instant,
}

impl<const SECONDS: u64> Bucket<SECONDS> {
    pub(crate) fn full(now: Instant) -> Bucket<SECONDS> {
        Bucket { full: now }
    }

    /// How many tokens a full one has.
    pub(crate) fn holds(each_second: u32) -> usize {
        (each_second as usize).saturating_mul(SECONDS as usize)
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full <= now
    }

    /// How long to wait until there are so many tokens; a rate of 0 is no limit.
    pub(crate) fn wait(&self, count: usize, each_second: u32, now: Instant) -> Option<Duration> {
        let lacking = self.full_after(count, each_second, now)?.saturating_duration_since(now + Duration::from_secs(SECONDS));
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
    messages: Allowance,
    bytes: Allowance,
    /// When it was read the last time, and the time before.
    read: (Instant, Instant),
}

/// What of one kind may be sent.
#[derive(Debug)]
struct Allowance {
    each_second: u32,
    /// What is taken of it.
    taken: Bucket,
    /// What comes unasked, of which there may be [`FLOOD`] times as much.
    unasked: Bucket,
}

/// A client that goes on without waiting for `next` is slowed down, and one that is so many times too fast is closed.
const FLOOD: u32 = 10;
/// The shortest time in which nothing is read of a client: a timer for each message would cost more than the message.
const SHORTEST_REST: Duration = Duration::from_millis(2);

impl Rate {
    /// So many each second; 0 is no limit.
    pub(crate) fn new(messages: u32, bytes: u32, now: Instant) -> Rate {
        let allow = |each_second| Allowance { each_second, taken: Bucket::full(now), unasked: Bucket::full(now) };
        Rate { messages: allow(messages), bytes: allow(bytes), read: (now, now) }
    }

    /// The client is read now.
    pub(crate) fn is_read(&mut self, now: Instant) {
        self.read = (now, self.read.0);
    }

    /// Takes so much from both buckets, also where there is not enough.
    pub(crate) fn take(&mut self, messages: usize, bytes: usize, now: Instant) {
        self.messages.taken.take(messages, self.messages.each_second, now);
        self.bytes.taken.take(bytes, self.bytes.each_second, now);
    }

    /// How long to wait until the next message may be taken, and the next byte read.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        let wait = |allowance: &Allowance| allowance.taken.wait(1, allowance.each_second, now);
        wait(&self.messages).max(wait(&self.bytes)).map(|rest| rest.max(SHORTEST_REST))
    }

    /// Whether so many messages and bytes, that came while none was asked for, are far too many for the time since the
    /// client was read before.
    pub(crate) fn floods(&mut self, messages: usize, bytes: usize, now: Instant) -> bool {
        let since = self.read.1;
        [(&mut self.messages, messages), (&mut self.bytes, bytes)].into_iter().fold(false, |floods, (allowance, count)| {
            let most = allowance.each_second.saturating_mul(FLOOD);
            allowance.unasked.take(count, most, since);
            floods || !allowance.unasked.is_full(now + HELD)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many messages may be taken at once.
    fn burst(rate: &mut Rate, now: Instant) -> usize {
        let may = |_: &usize| rate.rest(now).is_none().then(|| rate.take(1, 0, now)).is_some();
        (0..1000).take_while(may).count()
    }

    #[test]
    fn a_bucket_holds_two_seconds_and_refills() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 0, start);
        rate.take(0, 1 << 30, start);
        assert_eq!(burst(&mut rate, start), 20);
        assert_eq!(rate.rest(start), Some(SECOND / 10));
        assert_eq!(burst(&mut rate, start + SECOND), 10);
        assert_eq!(burst(&mut rate, start + 100 * SECOND), 20);
    }

    #[test]
    fn more_than_a_bucket_holds_is_made_up_for() {
        let start = Instant::now();
        let mut rate = Rate::new(0, 1000, start);
        rate.take(0, 1999, start);
        assert_eq!(rate.rest(start), None);
        rate.take(0, 8001, start);
        assert_eq!(rate.rest(start), Some(8 * SECOND + SECOND / 1000));
        assert_eq!(rate.rest(start + 9 * SECOND), None);
    }

    #[test]
    fn what_came_during_a_long_rest_is_no_flood() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 1000, start);
        rate.is_read(start);
        assert!(!rate.floods(200, 20_000, start) && rate.floods(1, 0, start));
        // Two times too fast, also where it was not looked at for an hour.
        let later = start + 3600 * SECOND;
        rate.is_read(later);
        assert!(!rate.floods(2 * 36_000, 2 * 3_600_000, later));
        rate.is_read(later + SECOND);
        assert!(!rate.floods(100, 0, later + SECOND) && rate.floods(300, 0, later + SECOND));
    }

    proptest! {
        /// A client sends its next message when it has the `next` of the one before, after a pause, of any length.
        #[test]
        fn who_waits_for_its_next_is_slowed_down_to_the_rate_and_never_a_flood(
            messages in 0..100_u32,
            bytes in 0..100_000_u32,
            sent in prop::collection::vec((0..50_u64, 1..10_000_usize), 1..300),
        ) {
            let start = Instant::now();
            let (mut rate, mut now, mut total) = (Rate::new(messages, bytes, start), start, 0);
            for (pause, size) in &sent {
                now += Duration::from_millis(*pause);
                while let Some(rest) = rate.rest(now) {
                    now += rest;
                }
                rate.is_read(now);
                rate.take(0, *size, now);
                total += size;
                // All of a message that is not taken at once may wait.
                prop_assert!(!rate.floods(1, 0, now));
                rate.take(1, 0, now);
            }
            let time = (now - start + HELD).as_secs_f64();
            let most = |each_second: u32| f64::from(each_second) * time * 1.000_001 + 1.0;
            prop_assert!(messages == 0 || sent.len() as f64 <= most(messages), "{} in {time}", sent.len());
            // The last one may make a debt.
            let last = sent.last().map_or(0, |(_, size)| *size);
            prop_assert!(bytes == 0 || (total - last) as f64 <= most(bytes), "{total} in {time}");
        }

        /// A client sends so many times too fast, and is read after rests of any length.
        #[test]
        fn who_does_not_wait_is_a_flood_at_more_than_ten_times_the_rate_only(
            each_second in 1..1000_u32,
            times in prop::sample::select(vec![2_u32, 9, 12, 100]),
            rests in prop::collection::vec(1..5000_u64, 200),
        ) {
            let start = Instant::now();
            let (mut rate, mut now, mut sent, mut floods) = (Rate::new(each_second, 0, start), start, 0, false);
            for rest in rests {
                now += Duration::from_millis(rest);
                let total = (now - start).as_millis() as usize * (each_second * times) as usize / 1000;
                rate.is_read(now);
                floods |= rate.floods(total - sent, 0, now);
                sent = total;
            }
            let minute = now - start > 60 * SECOND;
            prop_assert!(floods == (times > FLOOD) || !minute && times > FLOOD, "{times}: {floods}");
        }
    }
}
