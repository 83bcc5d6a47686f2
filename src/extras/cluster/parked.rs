//! Messages of another process for a client that is full: they wait for it, as one of this process waits with its sender.
//!
//! A message waits for a second at most and is then dropped, counted, and told to whoever asks. Everything else that
//! comes for this client meanwhile waits behind it, so that the client's order is kept. What waits is bounded in bytes: a
//! client for which there is too much is waited for no longer.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slotmap::SecondaryMap;

use super::Cluster;
use super::inbox::{cost, most};
use super::wire::Remote;
use crate::deadlines::after;
use crate::ids::SocketId;
use crate::mail::Letter;
use crate::mail::keyed::KeyedFrame;
use crate::memory::{Charge, Kind};
use crate::server::Server;
use crate::server::delivery::To;

/// How long a message waits for room at its receiver.
const PATIENCE: Duration = Duration::from_secs(1);
/// When it is looked again whether there is room.
const TRY_AGAIN: Duration = Duration::from_millis(15);

/// All messages that wait for their receivers.
pub(super) struct Parked {
    queues: SecondaryMap<SocketId, Queue>,
    charge: Charge,
    /// When the receivers are looked at again.
    again: Option<Instant>,
}

/// What waits for one client, the oldest first.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Waiting>,
    bytes: usize,
}

/// A message, and how long it waits at most; one for many only waits for those before it.
struct Waiting {
    remote: Rc<Remote>,
    until: Option<Instant>,
}

impl Default for Parked {
    fn default() -> Parked {
        Parked { queues: SecondaryMap::new(), charge: Charge::new(Kind::Inbox), again: None }
    }
}

impl Parked {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether something waits for this client.
    pub(super) fn has(&self, id: SocketId) -> bool {
        self.queues.contains_key(id)
    }

    fn put(&mut self, id: SocketId, remote: Rc<Remote>, until: Option<Instant>) {
        let cost = cost(&remote);
        if !self.queues.contains_key(id) {
            self.queues.insert(id, Queue::default());
        }
        if let Some(queue) = self.queues.get_mut(id) {
            queue.messages.push_back(Waiting { remote, until });
            queue.bytes += cost;
            self.charge.set(self.charge.bytes() + cost);
        }
    }

    /// Whether so much waits for a client that it has to end: the nearer the bound of all, the less of one.
    fn is_full(&self, id: SocketId, most: usize) -> bool {
        self.queues.get(id).map_or(0, |queue| queue.bytes) > most.saturating_sub(self.charge.bytes())
    }

    /// Takes the oldest message of a client, unless it waits on.
    fn take(&mut self, id: SocketId, waits: impl FnOnce(Instant) -> bool) -> Option<Waiting> {
        let queue = self.queues.get_mut(id)?;
        if queue.messages.front()?.until.is_some_and(waits) {
            return None;
        }
        let next = queue.messages.pop_front()?;
        queue.bytes -= cost(&next.remote);
        self.charge.set(self.charge.bytes() - cost(&next.remote));
        Some(next)
    }

    /// Forgets a client for which nothing waits.
    fn forget_empty(&mut self, id: SocketId) -> bool {
        let is_empty = self.queues.get(id).is_none_or(|queue| queue.messages.is_empty());
        if is_empty {
            self.queues.remove(id);
        }
        is_empty
    }
}

impl Cluster {
    /// Has a message for one client wait, if the client is full or waits already; else it is given back. One of this
    /// process has waited with its sender.
    pub(super) fn park(&mut self, server: &mut Server, id: SocketId, remote: Remote) -> Option<Remote> {
        let comes_first = !self.parked.has(id);
        if comes_first && (remote.from == self.node || !server.is_full(id)) {
            return Some(remote);
        }
        let until = if remote.from == self.node { server.now } else { after(server.now, PATIENCE) };
        self.put_aside(server, id, Rc::new(remote), Some(until));
        None
    }

    /// Has a message for many wait for those of its receivers that wait for others before it.
    pub(super) fn park_for_many(&mut self, server: &mut Server, sender: SocketId, to: To<'_>, remote: &Remote) {
        let Ok((receivers, _)) = server.receivers(Some(sender), to) else { return };
        let waiting: Vec<SocketId> = receivers.into_iter().filter(|id| self.parked.has(*id)).collect();
        let remote = Rc::new(Remote { ask: None, ..remote.clone() });
        waiting.into_iter().for_each(|id| self.put_aside(server, id, remote.clone(), None));
    }

    fn put_aside(&mut self, server: &mut Server, id: SocketId, remote: Rc<Remote>, until: Option<Instant>) {
        self.inbox.shut_out(id);
        self.parked.put(id, remote, until);
        self.parked.again.get_or_insert(after(server.now, TRY_AGAIN));
        if self.parked.is_full(id, most(server.limits().max_memory)) {
            self.hand_out(server, id, |_, _| false);
        }
    }

    /// Looks again whether there is room for what waits. Says whether anything was handed out or dropped.
    pub(super) fn try_again(&mut self, server: &mut Server) -> bool {
        if self.parked.again.is_none_or(|again| server.now < again) {
            return false;
        }
        let ids: Vec<SocketId> = self.parked.queues.keys().collect();
        let mut any = false;
        for id in ids {
            any |= self.hand_out(server, id, |server, until| server.now < until && server.is_full(id));
        }
        self.parked.again = (!self.parked.is_empty()).then(|| after(server.now, TRY_AGAIN));
        any
    }

    /// Hands a client what waits for it, up to a message that waits on. For one that is too late there is no room, and
    /// the server drops it as any other.
    fn hand_out(&mut self, server: &mut Server, id: SocketId, waits: impl Fn(&Server, Instant) -> bool) -> bool {
        let mut any = false;
        while let Some(Waiting { remote, until }) = self.parked.take(id, |until| waits(server, until)) {
            any = true;
            match until {
                Some(_) => self.deliver_here(server, &remote),
                None => post(server, id, &remote),
            }
        }
        if self.parked.forget_empty(id) {
            self.inbox.let_in(id);
        }
        any
    }

    /// A client gets by other means what waits for it.
    pub(super) fn unpark(&mut self, id: SocketId) {
        while self.parked.take(id, |_| false).is_some() {}
        self.parked.forget_empty(id);
        self.inbox.let_in(id);
    }
}

/// Queues a message for many for one of them.
fn post(server: &mut Server, id: SocketId, remote: &Remote) {
    let keyed = remote.key.as_deref().map(|key| Rc::new(KeyedFrame::new(key, &remote.text, false)));
    server.post(id, &mut Letter::new(&remote.text).unasked().keyed(keyed).at(remote.at));
}
