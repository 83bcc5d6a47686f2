//! Token buckets: how much a client may send, an address may ask, or strangers may log. They know none of these; time
//! is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::deadlines::after;
use crate::limits::counted_address;

/// A bucket holds two seconds' worth, where nothing else is said.
const HELD: Duration = Duration::from_secs(2);
/// Addresses that are remembered for a rate. Further ones wait until others have been quiet for a moment.
const MAX_ADDRESSES: usize = 16 * 1024;

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

/// How often each address came.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: HashMap<IpAddr, Bucket>,
}

impl Rates {
    /// How long this address has to wait; a rate of 0 is no limit.
    fn wait(&self, ip: IpAddr, each_second: u32, now: Instant) -> Option<Duration> {
        self.buckets.get(&counted_address(ip))?.wait(1, each_second, now)
    }

    /// Counts one, or says how long to wait. Addresses beyond those that can be remembered have to wait.
    pub(crate) fn take(&mut self, ip: IpAddr, each_second: u32, now: Instant) -> Result<(), Duration> {
        if each_second == 0 {
            return Ok(());
        }
        if let Some(wait) = self.wait(ip, each_second, now) {
            return Err(wait);
        }
        let ip = counted_address(ip);
        if self.buckets.len() >= MAX_ADDRESSES && !self.buckets.contains_key(&ip) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= MAX_ADDRESSES {
                return Err(Duration::from_secs(1));
            }
        }
        self.buckets.entry(ip).or_insert(Bucket::full(now)).take(1, each_second, now);
        Ok(())
    }

    /// Takes so many behind one that was taken, or says how long to wait until all of them could be taken together. More
    /// than a bucket holds need a full one.
    pub(crate) fn take_more(&mut self, ip: IpAddr, count: usize, each_second: u32, now: Instant) -> Result<(), Duration> {
        let limited = count > 0 && each_second > 0;
        let Some(bucket) = self.buckets.get_mut(&counted_address(ip)).filter(|_| limited) else { return Ok(()) };
        let needed = (count + 1).min(Bucket::<2>::holds(each_second));
        if bucket.wait(needed - 1, each_second, now).is_some() {
            return Err(bucket.wait(needed, each_second, now).unwrap_or_default());
        }
        bucket.take(count, each_second, now);
        Ok(())
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

    #[test]
    fn a_rate_holds_two_seconds_and_refills() {
        let (ip, start) = ("127.0.0.1".parse().unwrap(), Instant::now());
        let mut rates = Rates::default();
        assert!((0..20).all(|_| rates.take(ip, 10, start).is_ok()));
        assert_eq!(rates.take(ip, 10, start), Err(Duration::from_millis(100)));
        assert_eq!(rates.take(ip, 10, start + Duration::from_millis(100)), Ok(()));
        assert!(rates.take(ip, 10, start + Duration::from_millis(150)).is_err());
        assert!((0..1000).all(|_| rates.take(ip, 0, start).is_ok()));
    }

    #[test]
    fn addresses_are_remembered_up_to_a_number() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let ip = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        assert!((0..MAX_ADDRESSES).all(|number| rates.take(ip(number), 10, start).is_ok()));
        assert!(rates.take(ip(MAX_ADDRESSES), 10, start).is_err());
        assert!(rates.take(ip(0), 10, start).is_ok());
        assert!(rates.take(ip(MAX_ADDRESSES), 10, start + Duration::from_millis(150)).is_ok());
        assert_eq!(rates.buckets.len(), 2);
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

    #[test]
    fn each_message_of_a_list_counts_and_a_long_list_needs_a_full_bucket() {
        let (ip, start) = ("127.0.0.1".parse().unwrap(), Instant::now());
        let mut rates = Rates::default();
        let mut list =
            |count: usize, rate, now| rates.take(ip, rate, now).and_then(|()| rates.take_more(ip, count - 1, rate, now));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(list(15, 10, start), Ok(()));
        // Five are left, and the request takes one of them.
        assert_eq!(list(15, 10, start), Err(Duration::from_millis(1100)));
        assert_eq!(list(15, 10, start + Duration::from_millis(1100)), Ok(()));
        assert_eq!(list(1000, 10, after(10)), Ok(()), "the bucket is full");
        assert_eq!(list(1, 10, after(11)), Err(Duration::from_millis(97_100)), "it is made up for");
        assert_eq!(list(1000, 10, after(109)), Err(Duration::from_millis(1_100)));
        assert_eq!(list(1000, 10, after(112)), Ok(()));
        assert_eq!(list(1000, 0, after(112)), Ok(()), "no rate is no limit");
        assert_eq!(list(1000, 1, after(100_000)), Ok(()));
    }
}
