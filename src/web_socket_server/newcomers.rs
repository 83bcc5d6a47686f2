//! Room for those who come: which connections that are no clients have to go, and who is exempt.
//!
//! A part of the loop; who goes first is in `src/newcomers.rs`. PHP has no counterpart.

use std::io;
use std::net::IpAddr;

use super::WebSocketServer;
use crate::bounds::Bound;
use crate::ids::SocketId;
use crate::newcomers::{MIN_NEWCOMERS, MIN_OF_ADDRESS, Origin, Rank};
use crate::rfc6455::{Reason, Request};
use crate::socket::Peer;

impl WebSocketServer {
    /// Whether the limits for one address leave out `ip`: the server's own address, allowed hosts, and proxies, until they
    /// name somebody else. Loopback is left out too, but not by the word of a proxy, which may be on another host.
    pub(super) fn is_exempt(&self, ip: IpAddr, own: impl FnOnce() -> IpAddr) -> bool {
        let limits = self.server.limits();
        limits.trusts_proxy(ip) || limits.lists_backend(ip) || ip == own()
    }

    /// A proxy names the client.
    pub(crate) fn named(&mut self, id: SocketId, ip: IpAddr) {
        if self.server.clients[id].ip != ip {
            let exempt = self.is_exempt(ip, || self.sockets[id].own_ip());
            self.server.clients.name(id, ip, exempt);
        }
    }

    /// A request without an upgrade begins: it belongs to whom the proxy names.
    pub(crate) fn asked(&mut self, id: SocketId, request: &Request) {
        let (ip, client) = (self.came_from(id, request).ip, &self.server.clients[id]);
        let exempt = if ip == client.ip { client.exempt } else { self.is_exempt(ip, || self.sockets[id].own_ip()) };
        self.server.clients.newcomers.put(id, Origin::new(ip, exempt), Rank::Busy);
    }

    /// It was answered, and the connection waits for the next one.
    pub(crate) fn answered(&mut self, id: SocketId) {
        let origin = self.server.clients[id].origin();
        self.server.clients.newcomers.put(id, origin, Rank::Idle);
    }

    /// One goes for each that came, where there are too many: of its address, or in all.
    pub(super) fn make_room(&mut self) {
        let (came, crowded) = self.server.clients.newcomers.settle();
        let max = self.server.limits().max_per_ip;
        let before = self.server.closing.len();
        for origin in crowded.into_iter().filter(|_| max > 0) {
            while self.surplus(origin, max).is_some_and(|id| self.evict(id)) {}
        }
        let most = self.most_newcomers();
        for _ in 0..came {
            match self.server.clients.newcomers.first() {
                Some(id) if self.server.clients.newcomers.len() > most => _ = self.evict(id),
                _ => break,
            }
        }
        // Their descriptors are free before the next one is accepted.
        if self.server.closing.len() > before {
            self.before_sleep();
        }
    }

    /// One that goes, of an address that has more connections than it may.
    fn surplus(&self, origin: Origin, max: usize) -> Option<SocketId> {
        let clients = &self.server.clients;
        clients.newcomers.surplus(origin, |ip| MIN_OF_ADDRESS.max(max.saturating_sub(clients.counted(ip))))
    }

    /// Whether there may be too many by now.
    pub(super) fn is_crowded(&self) -> bool {
        self.server.limits().max_per_ip > 0 || self.server.clients.newcomers.len() > self.most_newcomers()
    }

    /// How many connections may be no clients: a share of the descriptors, and what `max_clients` leaves.
    fn most_newcomers(&self) -> usize {
        let (limits, open) = (self.server.limits(), self.server.clients.count_open());
        let most = if limits.max_newcomers > 0 { limits.max_newcomers } else { self.listener.newcomers };
        match limits.max_clients {
            0 => most,
            max => most.min(MIN_NEWCOMERS.max(max.saturating_sub(open))),
        }
    }

    /// Frees a descriptor where an accept failed for want of one; `false` where nobody may go.
    pub(super) fn gave_way(&mut self, error: &io::Error) -> bool {
        let first = self.server.clients.newcomers.first().filter(|_| is_shortage(error));
        let gave_way = first.is_some_and(|id| self.evict(id));
        if gave_way {
            self.before_sleep();
        }
        gave_way
    }

    /// Whether somebody may give way in the next turn, once all that came in this one have been heard.
    pub(super) fn may_give_way(&self, error: &io::Error) -> bool {
        is_shortage(error) && self.server.clients.newcomers.len() > 0
    }

    /// Says whether it went: one that has said something, and waits for its turn, is heard first.
    fn evict(&mut self, id: SocketId) -> bool {
        let has_more_to_read = self.server.clients.get(id).is_some_and(|client| client.queued_bytes() > 0);
        if self.sockets.get(id).is_some_and(|socket| socket.unread) {
            let origin = self.server.clients[id].origin();
            self.server.clients.newcomers.put(id, origin, Rank::Busy);
            return false;
        }
        let newcomers = &mut self.server.clients.newcomers;
        match newcomers.remove(id) {
            // It was promised its last bytes, and goes as late as one that is being answered.
            Some((origin, Rank::Ended)) if has_more_to_read => {
                newcomers.put(id, origin, Rank::Busy);
                return false;
            }
            Some((_, Rank::Ended)) => {}
            _ => {
                self.server.counters.refused(Reason::Evicted);
                self.server.acted(Bound::Newcomers, 1);
            }
        }
        self.peer_gone(id, Peer::Gone);
        // Until it is closed it is no candidate again.
        self.server.clients.newcomers.remove(id);
        true
    }
}

/// Whether the process, or the system, has no descriptor left.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
