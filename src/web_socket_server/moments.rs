//! The moments at which the loop calls the optional parts, each in one place.
//!
//! | moment | when | what a part may do |
//! |---|---|---|
//! | `before_start`, `started`, `reloading`, `reloaded`, `stops`, `stopped` | of the process | look, report |
//! | `has_preface`, `preface` | before the first byte of a request | read a header of its own |
//! | `plain_request`, `body`, `written`, `plain_timed_out` | a request without an upgrade | answer it |
//! | `admit` | before the 101 | refuse; choose the form; take the connection for a client that it knows |
//! | `opened` | after the checks | let `ready` wait |
//! | `ready` | the client was told to start | note it |
//! | `defers_next`, `received`, `acted_on` | around the call with a message | let `next` wait; take or refuse it |
//! | `went_away`, `ended` | a connection is lost, or over | keep the client; note it |
//! | `memory_is_short` | before senders have to wait for that | let go of something |
//! | `before_write`, `after_write` | before and after the loop writes | queue something, answer |
//! | `next_moment`, `others_ready`, `due` | time, or an event that is not a client's | act |
//!
//! This is the one file of the loop that names the parts. PHP has no counterpart.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::WebSocketServer;
use crate::deadlines::{Deadline, after};
use crate::extras::{browser_opcodes, http, notices, resume};
use crate::ids::{AppId, ClientType, SocketId};
use crate::mail::Form;
use crate::packet::Message;
use crate::rfc6455::{Refusal, Request};
use crate::server::Server;

/// What becomes of a connection that is let in.
pub(crate) enum Admitted {
    /// It is a new client, which is written to in this form.
    New(Form),
    /// A client that comes back has it now.
    Known(SocketId),
}

impl WebSocketServer {
    pub(crate) fn before_start(&self) -> io::Result<()> {
        browser_opcodes::check(self.server.limits(), self.all_apps.paths()).map_err(io::Error::other)
    }

    pub(super) fn started(&mut self) {
        self.next_sign_of_life();
        self.parts.ready(self.local_addr());
    }

    pub(super) fn reloading(&mut self) {
        self.parts.reloading();
    }

    pub(super) fn reloaded(&mut self) {
        self.parts.reload();
        self.parts.ready(self.local_addr());
    }

    pub(super) fn stops(&mut self, longest: Duration) {
        self.parts.stopping(longest);
    }

    pub(super) fn stopped(&mut self) {
        notices::finish(&mut self.server);
    }

    /// Whether connections from there begin with something else than a request.
    pub(super) fn has_preface(&self, peer: IpAddr) -> bool {
        self.server.limits().expects_proxy_header(peer)
    }

    pub(super) fn preface(&mut self, id: SocketId) {
        self.proxy_header(id);
    }

    /// A request that asks for no upgrade; its head ends at `end`.
    pub(super) fn plain_request(&mut self, id: SocketId, request: &Request, end: usize) -> Result<(), Refusal> {
        self.exchange(id, request, end)
    }

    /// The first `count` bytes of the buffer are more of such a request.
    pub(super) fn body(&mut self, id: SocketId, count: usize) {
        self.exchange_body(id, count);
    }

    /// All that was queued for a paused connection has left.
    pub(super) fn written(&mut self, id: SocketId) {
        self.next_request(id);
    }

    /// The time of a connection without a handshake is over; `false` where no part has it.
    pub(super) fn plain_timed_out(&mut self, id: SocketId) -> bool {
        self.exchange_timed_out(id)
    }

    pub(super) fn admit(
        &mut self,
        id: SocketId,
        client_type: ClientType,
        app: Option<AppId>,
        form: Form,
        request: &Request,
    ) -> Result<Admitted, Refusal> {
        http::check_upgrade(request)?;
        if client_type == ClientType::Websocket {
            self.parts.check_session(id, request)?;
        }
        match form {
            Form::Frames => self.admit_resumed(id, client_type, app, request),
            form => Ok(Admitted::New(form)),
        }
    }

    /// Whether the client is told to start later.
    pub(super) fn opened(&mut self, id: SocketId) -> bool {
        self.server.clients[id].dialog && self.register_elsewhere(id)
    }

    pub(super) fn ready(&mut self, id: SocketId) {
        notices::came(&mut self.server, id);
    }

    pub(super) fn ended(&mut self, id: SocketId) {
        notices::left(&mut self.server, id);
        self.parts.ended(id);
    }

    /// A client that may come back has lost its connection.
    pub(super) fn went_away(&mut self, id: SocketId) {
        self.detach(id);
    }

    /// Says whether there may be more to write now.
    pub(super) fn before_write(&mut self) -> bool {
        self.server.announce_presence();
        // Before the clients: what they are told of is known elsewhere by then.
        let heard = self.exchange_with_others();
        self.go_on_claimed() || heard
    }

    /// The same, once the loop has written.
    pub(super) fn after_write(&mut self) -> bool {
        self.answer_receipts()
    }

    /// Lets go of what is kept for clients that are away, until no more than that is in use, or nothing is left.
    pub(super) fn memory_is_short(&mut self, enough: usize) {
        self.let_go_of_kept(enough);
    }

    pub(super) fn next_moment(&self) -> Option<Instant> {
        self.parts.deadline()
    }

    pub(super) fn others_ready(&mut self) {
        self.parts.others_ready();
    }

    pub(super) fn due(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Away(id) => resume::expire(&mut self.server, id),
            Deadline::Listing => notices::resync(&mut self.server),
            Deadline::Watchdog => self.next_sign_of_life(),
            Deadline::Sending(id) => self.go_on_sending(id),
            _ => {}
        }
    }

    fn next_sign_of_life(&mut self) {
        if let Some(pause) = self.parts.alive() {
            self.server.deadlines.set(after(self.server.now, pause), Deadline::Watchdog);
        }
    }
}

/// Whether `next` waits until others have what the client's message was.
pub(super) fn defers_next(server: &Server, id: SocketId) -> bool {
    resume::defers_next(server, id)
}

/// A message whose `next` waited was acted on.
pub(super) fn acted_on(server: &mut Server, id: SocketId) {
    resume::next_if_done(server, id);
}

/// Whether the application gets a message.
pub(super) fn received(server: &mut Server, id: SocketId, path: &str, message: Message<'_>) -> bool {
    !resume::has_seen(server, id, message) && browser_opcodes::permits(server, id, path, message)
}
