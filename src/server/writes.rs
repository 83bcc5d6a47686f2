//! The clients that are to be written to, in the order in which something was queued for them, and what they cost.

use std::time::Instant;

use slotmap::SecondaryMap;

use super::{Server, close_message};
use crate::bounds::Bound;
use crate::counters::Counters;
use crate::ids::{ClientType, SocketId};
use crate::rfc6455::CloseCode;
use crate::socket::Untaken;
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
    /// Clients for which that much is queued, or was a moment ago, and when that was looked at.
    pub(crate) full: SecondaryMap<SocketId, ()>,
    pub(crate) looked: Option<Instant>,
    /// The message that was put off just now.
    pub(crate) untaken: Option<Box<Untaken>>,
    /// Whether a message is taken that was put off for long enough.
    pub(crate) late: bool,
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

    /// Much is queued for this client.
    #[cold]
    pub(crate) fn note_full(&mut self, id: SocketId) {
        self.congested = true;
        self.full.insert(id, ());
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
    /// A bound acted so many times, which may be none.
    #[inline]
    pub(crate) fn acted(&mut self, bound: Bound, count: u64) {
        if count > 0 {
            self.counters.bounds.acted(bound, count, self.now);
        }
    }

    /// All work so far, in the units of [`turns`].
    #[inline]
    pub(crate) fn work(&self) -> u64 {
        let Counters { messages_in, controls_in, messages_out, bytes_in, .. } = self.counters;
        turns::work(messages_in + controls_in, bytes_in, self.writes.end(), messages_out)
    }

    /// Whether so much waits for a client that what one other has for it is not taken.
    pub(crate) fn is_full(&self, id: SocketId) -> bool {
        let full = self.limits.full_outbox();
        self.clients.get(id).is_some_and(|client| client.is_connected() && client.mail.cost() > full)
    }

    /// Whether a message for this client alone has room in its queue. One with a key has as long as it fits, since it may
    /// take the place of an older one. What is left of `max_outbox` is for the client's own answers, so that nobody's
    /// feedback closes it.
    pub(crate) fn has_room(&mut self, id: SocketId, message: &str, keyed: bool) -> bool {
        let Some(client) = self.clients.get(id) else { return true };
        let (cost, most) = (client.mail.cost(), self.limits.max_outbox);
        let fits = (cost <= self.limits.full_outbox() || keyed) && cost + message.len() <= most / 8 * 7;
        let has_room = fits || !client.is_connected();
        if !has_room {
            self.writes.full.insert(id, ());
            self.acted(Bound::Feedback, 1);
            log::debug!("Socket {id} - feedback dropped, too much waits");
        }
        has_room
    }

    /// Drops a client that reads too slowly: waiting data is dropped, except a frame that is partly written.
    pub(crate) fn drop_slow(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if client.is_open() && client.mail.cost() > self.limits.max_outbox {
            self.acted(Bound::Slow, 1);
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
