//! Messages that came from the others, and wait for a turn of the loop.
//!
//! Answers and questions are acted on as they come. Messages for clients wait here, in their order, for their share of a
//! turn: a flood of another process must not hold up the clients of this one. What waits is bounded in bytes. The
//! nearer that bound is, the less one sender may have waiting: a sender that floods loses its own messages, and others
//! keep theirs. It knows no server; time is an argument.
//!
//! A client that became known behind messages that still wait must not get them: it was told of them by other means, or
//! they came before it. It is passed over until they are gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use slotmap::SecondaryMap;

use super::wire::{Line, Remote};
use crate::elsewhere::Target;
use crate::ids::SocketId;
use crate::memory::{Charge, Kind};

/// How long a turn delivers messages of others.
const SHARE: Duration = Duration::from_millis(3);
/// Bytes that may wait, and the part of `max_memory` that is as much where that is less.
const MAX_WAITING: usize = 16 * 1024 * 1024;
const OF_MEMORY: usize = 8;
/// What a message costs beside its text.
const ENTRY: usize = 384;

/// The bytes that may wait, of one kind.
pub(super) fn most(max_memory: usize) -> usize {
    MAX_WAITING.min(max_memory / OF_MEMORY)
}

/// What a message that waits costs in memory.
pub(super) fn cost(remote: &Remote) -> usize {
    remote.text.len() + ENTRY
}

pub(super) struct Inbox {
    waiting: VecDeque<Line>,
    /// How many were taken since the start: the number of the first one that waits.
    taken: u64,
    charge: Charge,
    /// The bytes that wait of each sender: a client, or a process that speaks for none.
    senders: HashMap<String, usize>,
    /// Clients that are passed over, and the number of the first message that is for them again.
    passed_over: SecondaryMap<SocketId, u64>,
    /// The same in the order of those numbers.
    begins: VecDeque<(u64, SocketId)>,
    /// Receivers of messages that were too many, until they are told.
    pub(super) lost: HashSet<Target>,
    /// The turn of the loop, and how long it delivered so far.
    turn: Option<Instant>,
    spent: Duration,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            waiting: VecDeque::new(),
            taken: 0,
            charge: Charge::new(Kind::Inbox),
            senders: HashMap::new(),
            passed_over: SecondaryMap::new(),
            begins: VecDeque::new(),
            lost: HashSet::new(),
            turn: None,
            spent: Duration::ZERO,
        }
    }
}

impl Inbox {
    /// Puts a message behind the others; gives it back where its sender has too much waiting. A sender that has nothing
    /// there may put one in while any room is left, however large.
    pub(super) fn put(&mut self, line: Line, most: usize) -> Option<Line> {
        let (sender, cost) = measure(&line);
        let room = most.saturating_sub(self.charge.bytes());
        let of_sender = self.senders.get(sender).copied().unwrap_or_default();
        if room == 0 || of_sender > room {
            return Some(line);
        }
        match self.senders.get_mut(sender) {
            Some(bytes) => *bytes += cost,
            None => _ = self.senders.insert(sender.to_owned(), cost),
        }
        self.charge.set(self.charge.bytes() + cost);
        self.waiting.push_back(line);
        None
    }

    /// Takes the oldest, if this turn of the loop, which began at `turn`, has time for one more.
    pub(super) fn take(&mut self, turn: Instant) -> Option<Line> {
        if self.turn != Some(turn) {
            (self.turn, self.spent) = (Some(turn), Duration::ZERO);
        }
        if self.spent >= SHARE {
            return None;
        }
        let line = self.waiting.pop_front()?;
        let (sender, cost) = measure(&line);
        if let Some(bytes) = self.senders.get_mut(sender) {
            *bytes -= cost;
            if *bytes == 0 {
                self.senders.remove(sender);
            }
        }
        self.charge.set(self.charge.bytes() - cost);
        while let Some((begin, id)) = self.begins.front().copied().filter(|(begin, _)| *begin <= self.taken) {
            self.begins.pop_front();
            if self.passed_over.get(id) == Some(&begin) {
                self.passed_over.remove(id);
            }
        }
        self.taken += 1;
        Some(line)
    }

    /// So long was worked on what was taken.
    pub(super) fn took(&mut self, time: Duration) {
        self.spent += time;
    }

    /// When the turn began in which something was taken the last time.
    pub(super) fn begun(&self) -> Option<Instant> {
        self.turn
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits now is not for this client.
    pub(super) fn begins_behind(&mut self, id: SocketId) {
        if !self.waiting.is_empty() {
            let begin = self.taken + self.waiting.len() as u64;
            self.passed_over.insert(id, begin);
            self.begins.push_back((begin, id));
        }
    }

    /// Nothing that is taken is for this client until it is let in.
    pub(super) fn shut_out(&mut self, id: SocketId) {
        self.passed_over.insert(id, u64::MAX);
    }

    pub(super) fn let_in(&mut self, id: SocketId) {
        if self.passed_over.get(id) == Some(&u64::MAX) {
            self.passed_over.remove(id);
        }
    }

    /// Clients that don't get what was just taken.
    pub(super) fn passed_over(&self) -> &SecondaryMap<SocketId, u64> {
        &self.passed_over
    }
}

/// The sender of a message, and what the message costs.
fn measure(line: &Line) -> (&str, usize) {
    match line {
        Line::Message(remote) if remote.sender.is_empty() => (&remote.from, cost(remote)),
        Line::Message(remote) => (&remote.sender, cost(remote)),
        Line::Presence { from, .. } => (from, ENTRY),
        _ => ("", ENTRY),
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    fn message(sender: &str, id: u64) -> Line {
        let (from, sender, text) = ("node".into(), sender.into(), "x".repeat(100));
        Line::Message(Remote { at: id, from, id, to: Target::All, sender, key: None, ask: None, text })
    }

    fn number(line: Option<Line>) -> Option<u64> {
        line.map(|line| match line {
            Line::Message(remote) => remote.id,
            line => panic!("{line:?}"),
        })
    }

    #[test]
    fn messages_keep_their_order_and_a_turn_has_an_end() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        (0..4).for_each(|id| assert_eq!(inbox.put(message("a", id), 1 << 20), None));
        assert_eq!(number(inbox.take(now)), Some(0));
        inbox.took(SHARE);
        assert_eq!(number(inbox.take(now)), None, "the turn is over");
        let next = now + SHARE;
        assert_eq!([(); 4].map(|()| number(inbox.take(next))), [Some(1), Some(2), Some(3), None]);
        assert!(inbox.is_empty() && inbox.charge.bytes() == 0 && inbox.senders.is_empty());
    }

    #[test]
    fn a_sender_that_floods_loses_its_own_messages_only() {
        const MOST: usize = 100 * (100 + ENTRY);
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        let taken = (0..1000).filter(|id| inbox.put(message("flood", *id), MOST).is_none()).count();
        assert!((45..=55).contains(&taken), "{taken}: half of the room stays free");
        for sender in 0..20 {
            assert_eq!(inbox.put(message(&format!("honest {sender}"), 1000 + sender), MOST), None);
        }
        let order: Vec<u64> = std::iter::from_fn(|| number(inbox.take(now))).collect();
        assert!(order.is_sorted() && order.len() == taken + 20);
    }

    #[test]
    fn what_is_larger_than_the_room_that_is_left_comes_alone() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.put(message("a", 1), 10), None);
        assert!(inbox.put(message("b", 2), 10).is_some());
    }

    #[test]
    fn a_client_gets_nothing_that_came_before_it() {
        let (mut inbox, now, mut ids) = (Inbox::default(), Instant::now(), SlotMap::<SocketId, ()>::with_key());
        let (first, second) = (ids.insert(()), ids.insert(()));
        inbox.begins_behind(first);
        assert!(inbox.passed_over().is_empty(), "nothing waits");
        assert_eq!(inbox.put(message("a", 0), 1 << 20), None);
        inbox.begins_behind(first);
        assert_eq!(inbox.put(message("a", 1), 1 << 20), None);
        inbox.begins_behind(second);
        assert_eq!(inbox.put(message("a", 2), 1 << 20), None);
        let mut get_it = || {
            inbox.take(now).unwrap();
            [first, second].map(|id| !inbox.passed_over().contains_key(id))
        };
        assert_eq!([get_it(), get_it(), get_it()], [[false, false], [true, false], [true, true]]);
    }
}
