//! The clients that are to be written to, in the order in which something was queued for them, and what they cost.

use std::time::Duration;

use super::{Server, close_message};
use crate::client::Client;
use crate::counters::Counters;
use crate::ids::{ClientType, SocketId};
use crate::rfc6455::CloseCode;
use crate::turns;

/// A queue of clients, each in it once, and those that go first.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    queue: Vec<SocketId>,
    /// How many at the front of the queue were taken.
    taken: usize,
    /// Clients that were answered while others still wait from an earlier turn.
    urgent: Vec<SocketId>,
    /// How many there were before the queue was empty the last time.
    before: u64,
    /// Whether so much is queued for one that the loop should write before it reads on.
    pub(crate) congested: bool,
}

impl Writes {
    /// Adds a client that is not in the queue.
    #[inline]
    pub(crate) fn push(&mut self, id: SocketId) {
        self.queue.push(id);
    }

    /// Has a client written to before the others.
    pub(crate) fn push_urgent(&mut self, id: SocketId) {
        self.urgent.push(id);
    }

    /// Takes the next client.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<SocketId> {
        let next = *self.queue.get(self.taken)?;
        self.taken += 1;
        if self.taken == self.queue.len() {
            self.clear();
        }
        Some(next)
    }

    pub(crate) fn next_urgent(&mut self) -> Option<SocketId> {
        self.urgent.pop()
    }

    /// Takes this client, if it is the only one.
    #[inline]
    pub(crate) fn take_only(&mut self, id: SocketId) -> bool {
        let is_only = self.queue == [id];
        if is_only {
            self.clear();
        }
        is_only
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Lets go of the memory of those that were taken, where the queue is never empty.
    pub(crate) fn compact(&mut self) {
        if self.taken > self.queue.len() / 2 {
            self.before += self.queue.drain(..self.taken).len() as u64;
            self.taken = 0;
        }
    }

    fn clear(&mut self) {
        self.before += self.queue.len() as u64;
        self.queue.clear();
        self.taken = 0;
    }

    /// A place behind all that are in the queue: how many there were from the start.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.before + self.queue.len() as u64
    }

    /// Whether all before that place were written to.
    pub(crate) fn have_passed(&self, end: u64) -> bool {
        self.before + self.taken as u64 >= end
    }
}

impl Server {
    /// All work so far, in the units of [`turns`](crate::turns).
    #[inline]
    pub(crate) fn work(&self) -> u64 {
        let Counters { messages_in, controls_in, messages_out, bytes_in, .. } = self.counters;
        turns::work(messages_in + controls_in, bytes_in, self.writes.end(), messages_out)
    }

    /// Whether a client that sends more has had its share, which ends at `end` once that is set, or all that its rate
    /// allows.
    #[inline(never)]
    pub(crate) fn has_done_enough(&self, id: SocketId, end: &mut u64) -> bool {
        if *end == 0 {
            *end = self.work() + turns::SLICE;
        }
        if self.limits.paces() && self.rest(id).is_some() {
            return true;
        }
        self.work() >= *end && self.clients.get(id).is_some_and(Client::is_connected)
    }

    /// Notes what was read of a client that has a rate.
    pub(crate) fn was_read(&mut self, id: SocketId, bytes: usize) {
        if let Some(rate) = self.clients.get_mut(id).and_then(|client| client.rate.as_mut()) {
            rate.was_read(bytes, self.now);
        }
    }

    /// Notes that a message of such a client is taken.
    pub(crate) fn take_message(&mut self, id: SocketId) {
        if let Some(rate) = self.clients.get_mut(id).and_then(|client| client.rate.as_mut()) {
            rate.take_message(self.now);
        }
    }

    /// How long nothing is to be read of a client, since its rate allows no more.
    pub(crate) fn rest(&self, id: SocketId) -> Option<Duration> {
        let client = self.clients.get(id).filter(|client| client.is_connected())?;
        client.rate.as_ref()?.rest(self.now)
    }

    /// Whether a client still has a connection after this came of it, which nothing had asked for: where it is far too
    /// much, the client is told and closed.
    pub(crate) fn bears(&mut self, id: SocketId, messages: usize, bytes: usize) -> bool {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_connected()) else { return false };
        let floods = client.rate.as_mut().is_some_and(|rate| rate.floods(messages, bytes, self.now));
        if floods {
            log::warn!("Socket {id} - sends too much");
            self.dismiss(id, Some("Too many messages"), CloseCode::POLICY_VIOLATION);
        }
        !floods
    }

    /// Drops a client that reads too slowly: waiting data is dropped, except a frame that is partly written.
    pub(crate) fn drop_slow(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if client.is_open() && client.mail.cost() > self.limits.max_outbox {
            self.counters.slow += 1;
            self.drop_reader(id);
        }
    }

    /// The same for one that holds more than its share of what all may hold.
    pub(crate) fn drop_reader(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        log::warn!("Socket {id} - {} bytes queued, client reads too slowly", client.queued_bytes());
        client.mail.discard_unsent();
        if client.client_type == ClientType::Tcp {
            self.write(id, &close_message(Some("Too slow")));
        }
        self.push_close(id, &CloseCode::TRY_AGAIN_LATER.0.to_be_bytes());
        self.begin_close(id);
    }
}
