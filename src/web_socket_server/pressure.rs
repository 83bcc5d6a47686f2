//! What gives way when memory is short.
//!
//! A part of the loop. Above three quarters of `max_memory` whoever holds most gives first: messages that are kept for
//! clients that are away, then senders to many and whoever holds something are not read for a while, then clients that
//! hold more than their share are closed with 1013. A client that holds nothing is served all the time. PHP has no
//! counterpart: there the process ends.

use std::time::{Duration, Instant};

use super::WebSocketServer;
use crate::bounds::Bound;
use crate::ids::SocketId;
use crate::memory;
use crate::socket::{Held, Stage};

/// How long it helps to let senders wait before readers are closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Who holds less is not closed, however many there are.
const SMALL: usize = 16 * 1024;
/// Time between two lines about it in the log.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Whether memory is short, and since when.
#[derive(Default)]
pub(crate) struct Pressure {
    since: Option<Instant>,
    logged: Option<Instant>,
}

impl Pressure {
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

impl WebSocketServer {
    /// Looks how much memory is in use; the rest is for when that is too much.
    #[inline]
    pub(super) fn look_at_memory(&mut self) {
        if memory::in_use() > self.enough() {
            self.relieve();
        } else if self.pressure.is_on() {
            self.pressure.since = None;
        }
    }

    /// Above that memory is short.
    fn enough(&self) -> usize {
        self.server.limits().max_memory / 4 * 3
    }

    #[cold]
    fn relieve(&mut self) {
        let (now, enough) = (self.server.now, self.enough());
        self.memory_is_short(enough);
        let used = memory::in_use();
        if used <= enough {
            return self.log_pressure("messages for clients that are away are given up");
        }
        let since = *self.pressure.since.get_or_insert(now);
        self.turns.all_wait();
        self.server.acted(Bound::Pressure, 1);
        if used >= self.server.limits().max_memory || now.saturating_duration_since(since) >= PATIENCE {
            self.log_pressure("clients that hold most are closed");
            self.close_the_largest(enough);
        } else {
            self.log_pressure("senders wait");
        }
    }

    /// Closes clients that hold more than their share, those that hold most first, until that much is left.
    fn close_the_largest(&mut self, enough: usize) {
        let share = SMALL.max(enough / self.server.clients.count_open().max(1));
        let open = self.server.clients.iter().filter(|(_, client)| client.is_connected());
        let held = |(id, client): (SocketId, &crate::client::Client)| {
            (client.mail.cost() + self.sockets.get(id).map_or(0, |socket| socket.charge.bytes()), id)
        };
        let mut largest: Vec<(usize, SocketId)> = open.map(held).filter(|(bytes, _)| *bytes > share).collect();
        largest.sort_unstable();
        while let Some((_, id)) = largest.pop().filter(|_| memory::in_use() > enough) {
            self.server.acted(Bound::Memory, 1);
            self.server.drop_reader(id);
            if let Some(socket) = self.sockets.get_mut(id) {
                // What it sent meanwhile is of no use.
                socket.held = Held::default();
                socket.stage = Stage::Ignored;
                socket.charge.set(0);
            }
            if let Some(client) = self.server.clients.get_mut(id) {
                client.mail.account();
            }
        }
    }

    /// Whether a connection that waits has to wait on since memory is short.
    pub(super) fn must_spare_memory(&self, id: SocketId) -> bool {
        let holds = |socket: &crate::socket::Socket| {
            !socket.is_new() && (socket.spreads || socket.charge.bytes() > 0 || self.server.clients[id].mail.charged() > 0)
        };
        self.pressure.is_on() && self.sockets.get(id).is_some_and(holds)
    }

    fn log_pressure(&mut self, what: &str) {
        let now = self.server.now;
        if self.pressure.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_PAUSE) {
            self.pressure.logged = Some(now);
            let (used, max) = (memory::in_use(), self.server.limits().max_memory);
            log::warn!(target: "phpws", "Memory is short: {used} bytes of max-memory {max}; {what}");
        }
    }
}
