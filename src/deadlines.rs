//! Time as data: what falls due when.
//!
//! A heap of moments; only the loop reads a clock and hands the time in. An entry is a reminder, not
//! a verdict: whoever is reminded looks at its own state, so nothing is ever taken out early.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::{Duration, Instant};

use crate::ids::AppId;
use crate::ids::SocketId;

/// What the loop is reminded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A connection's own deadline: handshake, message, idle or close.
    Socket(SocketId),
    /// The next frame for a PHP client that reads one frame at a time.
    Release(SocketId),
    /// A connection that is too fast has rested, and may be read on.
    Rested(SocketId),
    /// A client that is away has had its time to come back.
    Away(SocketId),
    /// An application asked to be called again with this number.
    App(AppId, u64),
    /// The same, and it may have been cancelled; the last number is the timer's.
    Timer(AppId, u64, u64),
    /// A round of pings.
    Ping,
    /// systemd's watchdog wants a sign of life.
    Watchdog,
    /// A request with many messages goes on.
    Sending(SocketId),
    /// Accepting failed a moment ago and may go on.
    Accept,
    /// Notices were lost; the receiver is to be told who is there.
    Listing,
    /// A stopping server has waited long enough for the last connects.
    Unlisten,
    /// A stopping server parts from some more of its clients.
    Goodbyes,
    /// The time that a stopping server gives its clients is over.
    Stop,
}

/// Cancelled timers that may stay in the heap.
const MAX_CANCELLED: usize = 1024;

/// All reminders, the next one first.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u64, Deadline)>>,
    /// Keeps reminders of one moment in the order they were set.
    serial: u64,
    /// Timers that run and are not cancelled.
    timers: HashSet<u64>,
    /// Timers that were cancelled and are still in the heap.
    cancelled: usize,
}

impl Deadlines {
    /// Sets a reminder.
    pub fn set(&mut self, when: Instant, what: Deadline) {
        self.serial += 1;
        self.heap.push(Reverse((when, self.serial, what)));
    }

    /// Sets a timer for an application; its number.
    pub fn set_timer(&mut self, when: Instant, app: AppId, tag: u64) -> u64 {
        let number = self.serial + 1;
        self.set(when, Deadline::Timer(app, tag, number));
        self.timers.insert(number);
        number
    }

    /// Cancels a timer; `false` where it does not run any more.
    pub fn cancel(&mut self, number: u64) -> bool {
        let runs = self.timers.remove(&number);
        self.cancelled += usize::from(runs);
        // Timers of a year that are set and cancelled again and again must not fill the heap.
        if self.cancelled > MAX_CANCELLED && self.cancelled > self.heap.len() / 2 {
            self.heap.retain(|Reverse((.., what))| !matches!(what, Deadline::Timer(.., number) if !self.timers.contains(number)));
            self.cancelled = 0;
        }
        runs
    }

    /// How long the loop may sleep; `None` means until something happens.
    pub fn sleep(&self, now: Instant) -> Option<Duration> {
        self.heap.peek().map(|Reverse((when, ..))| when.saturating_duration_since(now))
    }

    /// Marks the present: what is set from here on, a sweep that began before does not see.
    pub fn mark(&self) -> u64 {
        self.serial
    }

    /// The next reminder that is due and was set before the mark.
    pub fn pop(&mut self, now: Instant, mark: u64) -> Option<Deadline> {
        loop {
            self.heap.peek().filter(|Reverse((when, serial, _))| *when <= now && *serial <= mark)?;
            match self.heap.pop().map(|Reverse((.., what))| what) {
                Some(Deadline::Timer(.., number)) if !self.timers.remove(&number) => {
                    self.cancelled = self.cancelled.saturating_sub(1);
                }
                due => return due,
            }
        }
    }
}

/// The moment after a delay; one that is longer than any server runs counts as that.
pub fn after(now: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(1 << 30);
    now + delay.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_fall_due_in_order_and_never_early() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set(start + Duration::from_secs(2), Deadline::Ping);
        deadlines.set(start + Duration::from_secs(1), Deadline::Accept);
        deadlines.set(start + Duration::from_secs(1), Deadline::Stop);
        assert_eq!(deadlines.pop(start, deadlines.mark()), None);
        assert!(deadlines.sleep(start) >= Some(Duration::from_secs(1)));
        assert_eq!(deadlines.pop(start + Duration::from_secs(1), deadlines.mark()), Some(Deadline::Accept));
        assert_eq!(deadlines.pop(start + Duration::from_secs(1), deadlines.mark()), Some(Deadline::Stop));
        assert_eq!(deadlines.pop(start + Duration::from_secs(1), deadlines.mark()), None);
        assert_eq!(deadlines.pop(start + Duration::from_secs(3), deadlines.mark()), Some(Deadline::Ping));
        assert_eq!(deadlines.sleep(start), None);
    }

    #[test]
    fn a_sweep_does_not_see_what_it_sets_itself() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set(start, Deadline::Ping);
        let mark = deadlines.mark();
        assert_eq!(deadlines.pop(start, mark), Some(Deadline::Ping));
        deadlines.set(start, Deadline::Ping);
        assert_eq!(deadlines.pop(start, mark), None);
        assert_eq!(deadlines.pop(start, deadlines.mark()), Some(Deadline::Ping));
        assert!(after(start, Duration::MAX) > start);
    }

    #[test]
    fn a_cancelled_timer_is_passed_over_and_leaves_no_memory_behind() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut deadlines = Deadlines::default();
        let first = deadlines.set_timer(now, AppId::of(0), 1);
        deadlines.set_timer(now, AppId::of(0), 2);
        assert!(deadlines.cancel(first) && !deadlines.cancel(first));
        let mark = deadlines.mark();
        assert!(matches!(deadlines.pop(now, mark), Some(Deadline::Timer(_, 2, _))));
        assert_eq!(deadlines.pop(now, mark), None);
        for _ in 0..100_000 {
            let timer = deadlines.set_timer(now + hour, AppId::of(0), 0);
            assert!(deadlines.cancel(timer));
        }
        assert!(deadlines.heap.len() <= MAX_CANCELLED + 1 && deadlines.timers.is_empty());
    }
}
