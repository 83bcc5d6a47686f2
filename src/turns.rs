//! Who is served next, while there is more to do than one turn of the loop allows.
//!
//! Whoever has used least of the server goes first, so a client that asks for little never waits behind one that asks
//! for much. Use is counted in units of work, of some 200 nanoseconds each: a clock would be asked too often. Only the
//! length of a turn is measured. A connection that is no client yet shares the use of its address. It knows no socket;
//! time is an argument. PHP has no counterpart: there one client's messages hold up all others.
//!
//! This is fair queueing: each connection has a mark on a clock that only moves with work, and what it uses moves its mark
//! on. Next is the connection that would be done first, if it wants as much as the last time; the clock goes to where it
//! begins.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use slotmap::SecondaryMap;

use crate::ids::SocketId;
use crate::limits::counted_address;

/// How long a turn takes more of those that wait, and how long it writes.
const READING: Duration = Duration::from_millis(3);
const WRITING: Duration = Duration::from_millis(3);
/// Units of work after which those that have something to say wait, too.
const TURN: u64 = 15_000;
/// How many clients are written to before the clock is asked.
const WRITES: u32 = 16;
/// The share of one connection, after which others go first.
pub(crate) const SLICE: u64 = 600;
/// The most that a mark may be ahead, so that whoever has used much is not forgotten.
const MAX_LEAD: u64 = 50_000;
/// How long the lowest marks may pass before the one that has waited longest.
const PATIENCE: Duration = Duration::from_millis(500);
/// Addresses of newcomers that are remembered while somebody waits, before those that owe nothing are forgotten.
const MAX_ADDRESSES: usize = 16 * 1024;

/// What a message costs beside what it brings about, a client that is to be written to, and a handshake.
pub(crate) const MESSAGE: u64 = 8;
const WRITE: u64 = 16;
pub(crate) const HANDSHAKE: u64 = 150;
/// Bytes that cost a unit to be read and looked at, as a power of two.
const READ_BYTES: u32 = 256_u32.ilog2();
/// Nanoseconds of a unit, for what can only be timed.
const UNIT: u128 = 200;

/// The connections that wait for their turn, and what this turn has done.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: SecondaryMap<SocketId, Ticket>,
    /// By the expected end: the number of the ticket, the begin, and the connection.
    by_end: BinaryHeap<Reverse<(u64, u64, u64, SocketId)>>,
    by_time: VecDeque<(u64, SocketId)>,
    /// The marks of addresses with connections that are no clients yet.
    addresses: HashMap<IpAddr, u64>,
    clock: u64,
    /// The greatest mark.
    latest: u64,
    serial: u64,
    /// All work at which this turn is full, and when it takes nobody any more.
    end: u64,
    reads_until: Option<Instant>,
    /// When it writes no more, once it does, and how many were written to since the clock was asked.
    writes_until: Option<Instant>,
    written: u32,
    /// Whether all that wait have to wait on, so that the loop may rest.
    pub(crate) resting: bool,
    /// Whether the last one went first since it had waited for too long.
    was_oldest: bool,
    /// Whether clients are still to be written to that the last turn had no time for.
    pub(crate) behind: bool,
}

/// What a connection has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    mark: u64,
    /// What it used the last time.
    last: u64,
}

/// A connection that waits.
#[derive(Clone, Copy)]
struct Ticket {
    serial: u64,
    since: Instant,
}

impl Turns {
    /// A turn begins, after so much work since the start. While nobody waits nothing is owed.
    #[inline]
    pub(crate) fn begin(&mut self, work: u64) {
        self.end = work + TURN;
        (self.reads_until, self.writes_until) = (None, None);
        if self.waiting.is_empty() && self.clock < self.latest {
            self.clock = self.latest;
            self.addresses.clear();
            self.by_time.clear();
            self.by_end.clear();
        }
    }

    /// Whether a connection that has something to say has to wait: others do, or the turn is over.
    #[inline]
    pub(crate) fn must_wait(&self, work: u64) -> bool {
        work >= self.end || !self.waiting.is_empty()
    }

    /// The work in something that could only be measured; the turn is full so much earlier.
    pub(crate) fn took(&mut self, time: Duration) -> u64 {
        let work = u64::try_from(time.as_nanos() / UNIT).unwrap_or(u64::MAX);
        self.end = self.end.saturating_sub(work);
        work
    }

    /// This turn takes nobody at once.
    pub(crate) fn all_wait(&mut self) {
        self.end = 0;
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// So many connections wait.
    pub(crate) fn count_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Has a connection wait for its turn. `newcomer` is the address of one that is no client yet.
    pub(crate) fn wait(&mut self, id: SocketId, share: Share, newcomer: Option<IpAddr>, now: Instant) {
        if !self.waiting.contains_key(id) {
            self.enter(id, share, newcomer, now);
        }
    }

    /// The same for one that was next, and has to wait on.
    pub(crate) fn wait_on(&mut self, id: SocketId, share: Share, waited: Duration, now: Instant) {
        self.enter(id, share, None, now.checked_sub(waited).unwrap_or(now));
    }

    fn enter(&mut self, id: SocketId, share: Share, newcomer: Option<IpAddr>, since: Instant) {
        self.serial += 1;
        let (begin, expected) = match newcomer {
            Some(ip) => (self.queue_of(ip), HANDSHAKE),
            None => (share.mark.max(self.clock), share.last),
        };
        self.by_end.push(Reverse((begin + expected, self.serial, begin, id)));
        self.by_time.push_back((self.serial, id));
        self.waiting.insert(id, Ticket { serial: self.serial, since });
    }

    /// The place behind all that wait of an address; each moves the next one on by what a handshake costs at least.
    fn queue_of(&mut self, ip: IpAddr) -> u64 {
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, mark| *mark > self.clock);
        }
        let next = self.addresses.entry(counted_address(ip)).or_default();
        let mark = self.clock.max(*next);
        *next = mark + HANDSHAKE;
        self.latest = self.latest.max(*next);
        mark
    }

    /// The next connection, and how long it has waited; `None` where nobody waits, or the turn is over. Each turn takes
    /// one at least.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(SocketId, Duration)> {
        if now >= *self.reads_until.get_or_insert(now + READING) {
            return None;
        }
        // Not all the time: where everybody has waited for too long, nothing would be left of the order.
        let oldest = if self.was_oldest { None } else { self.oldest(now) };
        self.was_oldest = oldest.is_some();
        oldest.or_else(|| self.lowest()).map(|(id, ticket)| (id, now.saturating_duration_since(ticket.since)))
    }

    /// Whoever has waited for too long.
    fn oldest(&mut self, now: Instant) -> Option<(SocketId, Ticket)> {
        loop {
            let (serial, id) = *self.by_time.front()?;
            match self.waiting.get(id).filter(|ticket| ticket.serial == serial) {
                None => drop(self.by_time.pop_front()),
                Some(ticket) if now.saturating_duration_since(ticket.since) < PATIENCE => return None,
                Some(_) => return self.waiting.remove(id).map(|ticket| (id, ticket)),
            }
        }
    }

    fn lowest(&mut self) -> Option<(SocketId, Ticket)> {
        loop {
            let Reverse((_, serial, begin, id)) = self.by_end.pop()?;
            if self.waiting.get(id).is_some_and(|ticket| ticket.serial == serial) {
                self.clock = self.clock.max(begin);
                return self.waiting.remove(id).map(|ticket| (id, ticket));
            }
        }
    }

    /// Charges work to a connection.
    pub(crate) fn charge(&mut self, share: &mut Share, work: u64) {
        let mark = (share.mark.max(self.clock) + work).min(self.clock + MAX_LEAD);
        *share = Share { mark, last: work };
        self.latest = self.latest.max(mark);
    }

    /// The same to the address of one that is no client yet.
    pub(crate) fn charge_address(&mut self, ip: IpAddr, work: u64) {
        let mark = self.addresses.entry(counted_address(ip)).or_default();
        // Newcomers of one address may owe all that they have used: nobody waits for them but they themselves.
        *mark = (*mark).max(self.clock) + work;
        self.latest = self.latest.max(*mark);
    }

    /// Whether this turn may write to one more client; `clock` is asked now and then.
    #[inline]
    pub(crate) fn may_write(&mut self, clock: impl Fn() -> Instant) -> bool {
        self.written += 1;
        if self.written < WRITES {
            return true;
        }
        let now = clock();
        let goes_on = now < *self.writes_until.get_or_insert(now + WRITING);
        self.written = if goes_on { 0 } else { WRITES };
        goes_on
    }
}

/// The work in so many messages of so many bytes, so many clients to be written to, and so many frames for them.
#[inline]
pub(crate) fn work(messages: u64, bytes: u64, writes: u64, frames: u64) -> u64 {
    MESSAGE * messages + (bytes >> READ_BYTES) + WRITE * writes + frames
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    /// How long so much work takes.
    fn time(work: u64) -> Duration {
        Duration::from_nanos(work * UNIT as u64)
    }

    /// Connections that always have something to say, each message costing so much: how much each has used after so many
    /// turns, and the longest time that one waited, in turns.
    fn run(costs: &[u64], turns: usize) -> (Vec<u64>, Vec<usize>) {
        let mut ids = SlotMap::<SocketId, usize>::with_key();
        let names: Vec<SocketId> = (0..costs.len()).map(|at| ids.insert(at)).collect();
        let (mut queue, mut now) = (Turns::default(), Instant::now());
        let (mut shares, mut used) = (vec![Share::default(); costs.len()], vec![0; costs.len()]);
        let (mut last, mut longest) = (vec![0; costs.len()], vec![0; costs.len()]);
        names.iter().for_each(|id| queue.wait(*id, Share::default(), None, now));
        for turn in 0..turns {
            queue.begin(0);
            while let Some((id, _)) = queue.next(now) {
                let at = ids[id];
                now += time(costs[at]);
                queue.charge(&mut shares[at], costs[at]);
                used[at] += costs[at];
                longest[at] = longest[at].max(turn - last[at]);
                last[at] = turn;
                queue.wait(id, shares[at], None, now);
            }
        }
        (used, longest)
    }

    #[test]
    fn nobody_gets_more_than_twice_the_share_of_another_whatever_a_message_costs() {
        let (used, longest) = run(&[10, 100, 1000, 10_000, 100_000], 1000);
        let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
        assert!(*most <= 2 * least + 200_000 && *least > 1_000_000, "{used:?}");
        assert!(longest.iter().all(|turns| *turns <= 30), "{longest:?}");
    }

    #[test]
    fn a_client_that_asks_for_little_is_in_the_next_turn() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let (mut queue, mut now) = (Turns::default(), Instant::now());
        let loud: Vec<SocketId> = (0..16).map(|_| ids.insert(())).collect();
        let (quiet, mut marks) = (ids.insert(()), HashMap::new());
        loud.iter().for_each(|id| queue.wait(*id, Share::default(), None, now));
        for turn in 0..1000 {
            queue.begin(0);
            queue.wait(quiet, marks.get(&quiet).copied().unwrap_or_default(), None, now);
            let mut served = Vec::new();
            while let Some((id, _)) = queue.next(now) {
                let mark = marks.entry(id).or_default();
                let work = if id == quiet { 30 } else { 2 * TURN };
                now += time(work);
                queue.charge(mark, work);
                served.push((id, *mark));
            }
            // Before the first message of each all are alike.
            assert!(turn <= loud.len() + 1 || served.iter().any(|(id, _)| *id == quiet), "{turn}");
            served.iter().filter(|(id, _)| *id != quiet).for_each(|(id, mark)| queue.wait(*id, *mark, None, now));
        }
    }

    #[test]
    fn a_newcomer_does_not_wait_behind_the_crowd_of_another_address() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let (mut queue, mut now) = (Turns::default(), Instant::now());
        let (crowd, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mark = Share::default();
        for _ in 0..200 {
            queue.wait(ids.insert(()), mark, Some(crowd), now);
        }
        queue.begin(0);
        assert!(queue.next(now).is_some());
        queue.charge_address(crowd, 2 * TURN);
        now += time(2 * TURN);
        assert!(queue.next(now).is_none(), "the turn is over");
        let newcomer = ids.insert(());
        queue.wait(newcomer, mark, Some(other), now);
        let mut order = Vec::new();
        for _ in 0..300 {
            queue.begin(0);
            while let Some((id, _)) = queue.next(now) {
                now += time(2 * TURN);
                queue.charge_address(if id == newcomer { other } else { crowd }, 2 * TURN);
                order.push(id);
            }
        }
        assert_eq!((order.len(), order.iter().position(|id| *id == newcomer)), (200, Some(0)));
    }

    #[test]
    fn where_everybody_has_waited_for_too_long_every_other_goes_by_its_use() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let (mut queue, now) = (Turns::default(), Instant::now());
        queue.begin(0);
        (0..10).for_each(|_| queue.wait(ids.insert(()), Share { mark: 1000, last: 1000 }, None, now));
        let (quiet, later) = (ids.insert(()), now + PATIENCE);
        queue.wait(quiet, Share::default(), None, later);
        let order: Vec<SocketId> = std::iter::from_fn(|| queue.next(later)).map(|(id, _)| id).collect();
        assert!(order.len() == 11 && order[..2].contains(&quiet));
    }

    #[test]
    fn nobody_is_passed_for_ever() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let (mut queue, now) = (Turns::default(), Instant::now());
        let (poor, rich) = (ids.insert(()), ids.insert(()));
        queue.begin(0);
        queue.wait(rich, Share { mark: 40_000, last: 1 }, None, now);
        queue.wait(poor, Share::default(), None, now);
        let later = now + PATIENCE;
        assert_eq!(queue.next(later), Some((rich, PATIENCE)), "it has waited for too long");
        assert_eq!(queue.next(later), Some((poor, PATIENCE)));
        assert_eq!(queue.next(later), None);
    }

    #[test]
    fn what_was_used_is_forgiven_once_nobody_waits() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let (mut queue, now) = (Turns::default(), Instant::now());
        let (mut used, fresh) = (Share::default(), Share::default());
        queue.charge(&mut used, 40_000);
        queue.begin(0);
        let (one, two) = (ids.insert(()), ids.insert(()));
        queue.wait(one, Share { last: 0, ..used }, None, now);
        queue.wait(two, fresh, None, now);
        assert_eq!(queue.next(now).map(|(id, _)| id), Some(one), "both are at the clock: the first that came");
    }
}
