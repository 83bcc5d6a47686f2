//! What happens before the loop sleeps: queued bytes are written, closed connections are ended.
//!
//! A part of the loop, and the only place of the port where a connection leaves the stores. PHP counterpart:
//! `Write` and `Close`, which act at once where these act at the end of the turn.

use std::io;
use std::time::Instant;

use super::WebSocketServer;
use crate::client::State;
use crate::deadlines::{Deadline, after};
use crate::ids::SocketId;
use crate::mail::Form;
use crate::socket::Peer;

impl WebSocketServer {
    /// Writes what was queued in this turn, and ends the connections that it closed, until nothing is left to do.
    pub(crate) fn before_sleep(&mut self) {
        loop {
            let queued = self.before_write();
            let all = self.write_queued();
            if self.after_write() || queued && all {
                continue;
            }
            match self.server.closing.pop() {
                Some(id) => self.finish_close(id),
                None => return,
            }
        }
    }

    /// Writes to the clients in the queue, in their order, and says whether that were all: a turn has an end, and then
    /// the rest is for the next one.
    fn write_queued(&mut self) -> bool {
        while let Some(id) = self.server.writes.next_urgent() {
            self.flush(id);
        }
        while self.turns.may_write(Instant::now)
            && let Some(id) = self.server.writes.next()
        {
            self.flush(id);
        }
        self.server.writes.compact();
        self.turns.behind = !self.server.writes.is_empty();
        self.server.writes.congested &= self.turns.behind;
        !self.turns.behind
    }

    /// If only the sender has something queued, it is written now. What is for others
    /// waits for the end of the turn, so that the messages of one turn leave together; and with other
    /// processes everything, so that no client hears of a message before the others have it. While others wait from an
    /// earlier turn the sender goes first.
    pub(crate) fn answer_at_once(&mut self, id: SocketId) {
        if self.server.elsewhere.is_alone() && self.server.writes.take_only(id) {
            self.flush(id);
        } else if self.turns.behind {
            self.server.writes.push_urgent(id);
        }
    }

    /// Writes as much to a client as its socket takes now, and closes it after its last byte.
    pub(crate) fn flush(&mut self, id: SocketId) {
        let WebSocketServer { server, sockets, .. } = self;
        let Some(client) = server.clients.get_mut(id) else { return };
        client.mail.dirty = false;
        let connected = client.is_connected();
        let Some(socket) = sockets.get_mut(id) else { return };
        let mail = &mut client.mail;
        while mail.fill(&mut server.pool, connected, &server.limits) && socket.peer < Peer::Gone {
            let paced = matches!(mail.form, Form::OneARead(_));
            if paced && !mail.make_front(server.now, |when| server.deadlines.set(when, Deadline::Release(id))) {
                mail.account();
                return server.drop_slow(id);
            }
            match socket.write(&mail.outbox, paced) {
                Ok(count) => {
                    server.counters.bytes_out += count as u64;
                    if mail.outbox.advance(&mut server.pool, count)
                        && let Form::OneARead(pace) = &mut mail.form
                    {
                        pace.released(server.now, count, server.limits.php_pause);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    mail.account();
                    return server.drop_slow(id);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.peer_gone(id, Peer::Gone),
            }
        }
        mail.account();
        let has_left = socket.paused && client.mail.outbox.is_empty();
        if client.state == State::Closed || socket.stream.is_secure() {
            self.drop_socket(id);
        }
        if has_left {
            self.written(id);
        }
    }

    /// Writes what TLS holds back, and removes a connection that has ended and has nothing left
    /// to write.
    pub(crate) fn drop_socket(&mut self, id: SocketId) {
        let (Some(socket), Some(client)) = (self.sockets.get_mut(id), self.server.clients.get(id)) else { return };
        let waits = socket.peer < Peer::Gone && matches!(socket.stream.flush(), Ok(false));
        if client.state != State::Closed || waits {
            return;
        }
        // Once: each shutdown wakes the poll anew. Nobody hears one on a broken connection.
        let said = std::mem::replace(&mut socket.said_goodbye, true) || socket.peer == Peer::Gone;
        let goodbye = if said { Ok(()) } else { socket.stream.shutdown() };
        if socket.peer > Peer::Talking || goodbye.is_err() {
            self.sockets.remove(id);
            self.server.clients.remove(id);
            self.listener.again |= self.listener.failing;
        }
    }

    /// The end of a client for its application. Record and socket stay until `drop_socket`: until the last bytes are
    /// written and the peer has closed too, for the close timeout at most.
    #[doc(alias = "Close")]
    #[doc(alias = "onClose")]
    pub(crate) fn finish_close(&mut self, id: SocketId) {
        let Some(client) = self.server.clients.get(id) else { return };
        // It stays and only loses its connection, unless it has another one by now.
        if client.is_open() {
            if client.is_away() {
                self.went_away(id);
            }
            return;
        }
        // The application of one that still waited for its `ready` has not heard of it.
        let opened = client.app.filter(|_| client.was_opened());
        log::info!("Connection closed to socket #{id}");
        self.server.counters.closed(client);
        self.ended(id);
        if let Some(app) = opened {
            self.all_apps.call(app, &mut self.server, None, |app, server| app.on_close(server, id));
        }
        self.server.clients.enter(id, State::Closed);
        let Some(socket) = self.sockets.get_mut(id) else {
            self.server.clients.remove(id);
            return;
        };
        socket.deadline = Some(after(self.server.now, self.server.limits().close_timeout));
        let paused = socket.paused || socket.rest.is_some();
        self.remind(id);
        // It waited for its `ready` or for its HTTP answer, or rested: what still comes and its end are to be seen.
        if paused {
            self.wake(id);
        }
        self.flush(id);
    }

    /// The peer ended its side (`Finished`: it may still read) or the connection broke (`Gone`).
    pub(crate) fn peer_gone(&mut self, id: SocketId, peer: Peer) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let lost = socket.peer == Peer::Talking;
        socket.peer = socket.peer.max(peer);
        match self.server.clients[id].state {
            State::Waiting | State::Open | State::Away if lost && !self.server.may_stay(id) => {
                self.failed(id, "Client disconnected by Server - TCP connection lost")
            }
            State::Closed => return self.flush(id),
            _ => {}
        }
        self.server.begin_close(id);
    }
}
