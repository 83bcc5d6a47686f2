//! What falls due: deadlines of connections, paced frames, pings, timers of applications.
//!
//! A part of the loop. PHP counterpart: the checks at the head of `Start`'s loop, and `pingClients`.

use super::dialog::awaits_rest;
use super::{Stopping, WebSocketServer};
use crate::client::State;
use crate::deadlines::{Deadline, after};
use crate::ids::SocketId;
use crate::rfc6455::CloseCode;
use crate::socket::{Peer, Stage};

impl WebSocketServer {
    /// Acts on everything that is due.
    pub(crate) fn sweep(&mut self) {
        let mark = self.server.deadlines.mark();
        while let Some(deadline) = self.server.deadlines.pop(self.server.now, mark) {
            match deadline {
                Deadline::Socket(id) => self.check_deadline(id),
                Deadline::Release(id) => self.release(id),
                Deadline::Rested(id) => self.rested(id),
                Deadline::App(app, tag) | Deadline::Timer(app, tag, _) => {
                    self.all_apps.call(app, &mut self.server, None, |app, server| app.on_timer(server, tag))
                }
                Deadline::Ping => self.ping(),
                Deadline::Accept => {
                    self.listener.resting = false;
                    self.listener.again = true;
                }
                Deadline::Unlisten => self.unlisten(),
                Deadline::Goodbyes => self.goodbyes(),
                Deadline::Stop => self.stopping = Stopping::Now,
                Deadline::Away(_) | Deadline::Listing | Deadline::Watchdog | Deadline::Sending(_) => self.due(deadline),
            }
        }
    }

    pub(crate) fn check_deadline(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        // An older reminder, for a deadline that was moved to an earlier one since.
        if socket.reminder.is_some_and(|reminder| reminder > self.server.now) {
            return;
        }
        socket.reminder = None;
        match socket.deadline {
            Some(deadline) if deadline <= self.server.now => {
                if self.clock_stands(id) {
                    return;
                }
                self.sockets[id].deadline = None;
                self.timed_out(id);
            }
            _ => self.remind(id),
        }
    }

    /// What a connection's deadline means depends on how far the connection has come.
    pub(crate) fn timed_out(&mut self, id: SocketId) {
        match self.server.clients[id].state {
            State::Handshake => {
                if !self.plain_timed_out(id) {
                    self.handshake_timed_out(id);
                }
            }
            State::Waiting | State::Open | State::Away if awaits_rest(&self.sockets[id], &self.server.clients[id]) => {
                self.failed(id, "Message took too long");
                self.server.dismiss(id, Some("Message took too long"), CloseCode::POLICY_VIOLATION);
            }
            State::Waiting | State::Open | State::Away => {
                self.failed(id, "Idle for too long");
                self.server.dismiss(id, Some("Idle for too long"), CloseCode::GOING_AWAY);
            }
            // It is about to be buried, which sets another deadline.
            State::Closing => {}
            State::Closed => self.peer_gone(id, Peer::Gone),
        }
    }

    pub(crate) fn release(&mut self, id: SocketId) {
        if let Some(pace) = self.server.clients.get_mut(id).and_then(|client| client.mail.pace()) {
            pace.armed = false;
            self.flush(id);
        }
    }

    pub(crate) fn ping(&mut self) {
        log::info!(target: "phpws", "Ping Clients");
        // A peer in the middle of a frame can't send a pong before that frame's end.
        // Nor is one late that is not read.
        for (id, socket) in &self.sockets {
            if let Stage::Frames(inbox) = &socket.stage
                && (inbox.is_mid_frame() || socket.unread)
            {
                self.server.clients[id].expect_pong = false;
            }
        }
        self.server.ping_clients();
        self.next_ping();
    }

    pub(crate) fn next_ping(&mut self) {
        let interval = self.server.limits().ping_interval;
        if !interval.is_zero() {
            self.server.deadlines.set(after(self.server.now, interval), Deadline::Ping);
        }
    }

    /// Makes sure that the sweep looks at a connection no later than its deadline.
    pub(crate) fn remind(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id];
        if let Some(deadline) = socket.deadline
            && socket.reminder.is_none_or(|reminder| deadline < reminder)
        {
            socket.reminder = Some(deadline);
            self.server.deadlines.set(deadline, Deadline::Socket(id));
        }
    }
}
