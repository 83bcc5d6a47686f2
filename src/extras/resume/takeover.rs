//! How a client loses its connection and gets another.
//!
//! A part of the loop. The client keeps its id, so that rooms, applications and all else that holds the id
//! notice nothing: its socket moves away to a record of its own, a ghost, and a new one moves in. What
//! waits for the client meanwhile is in `mod.rs`. The PHP original has no counterpart.

use mio::Token;

use super::{Kept, ResumeRequest, find_resumable, guesses_too_often, let_go, remind_of, resume};
use crate::client::{Client, State};
use crate::ids::AppId;
use crate::ids::{ClientType, SocketId};
use crate::mail::Form;
use crate::rfc6455::{CloseCode, Refusal, Request};
use crate::socket::Socket;
use crate::web_socket_server::{Admitted, WebSocketServer};

impl WebSocketServer {
    /// Gives the connection to the client that a request wants to be again, if it is known here. Else it is a new
    /// one, which may resume later if it asks for that.
    pub(crate) fn admit_resumed(
        &mut self,
        id: SocketId,
        client_type: ClientType,
        app: Option<AppId>,
        request: &Request,
    ) -> Result<Admitted, Refusal> {
        let dialog = app.is_none_or(|app| self.all_apps.options(app).dialog);
        let may_resume = dialog && !self.server.limits().resume_time.is_zero();
        let Some(request) = ResumeRequest::of(request).filter(|_| may_resume) else { return Ok(Admitted::New(Form::Frames)) };
        if let ResumeRequest::Resume { uuid, seq, .. } = request {
            if let Some(known) = find_resumable(&self.server, request, app, client_type) {
                self.take_over(id, known, seq);
                return Ok(Admitted::Known(known));
            }
            // Another process may know it.
            let is_unknown = self.server.elsewhere.is_alone() || uuid.is_none();
            let ip = self.server.clients[id].ip;
            if is_unknown && guesses_too_often(&mut self.server, ip) {
                return Err(Refusal::too_many("Too many wrong uuids"));
            }
        }
        // Only other processes have to be asked further.
        let asked = (!self.server.elsewhere.is_alone()).then(|| Box::new(request));
        let kept = Kept { request: asked, connected_at: Some(self.server.now), ..Kept::new(request.outcome()) };
        Ok(Admitted::New(Form::Numbered(Box::new(kept))))
    }

    /// Gives the connection of `new` to a client that comes back, in place of the one it may still have.
    pub(crate) fn take_over(&mut self, new: SocketId, id: SocketId, seq: u64) {
        if self.server.clients[id].is_connected() {
            log::info!("Client of socket #{id} comes back on #{new}, its old connection is closed");
            self.server.push_close(id, &CloseCode::RESUMED_ELSEWHERE.body("Resumed on another connection"));
        }
        self.detach(id);
        let (Some(socket), Some(record)) = (self.sockets.remove(new), self.server.clients.remove(new)) else { return };
        self.server.clients.move_ip(id, record.ip);
        resume(&mut self.server, id, seq);
        self.attach(socket, id);
        // TLS may hold more behind the request than the poll knows of.
        self.read_again(id);
    }

    /// Memory is short: what is kept for clients that are away goes first.
    pub(crate) fn let_go_of_kept(&mut self, enough: usize) {
        let_go(&mut self.server, enough);
    }

    /// Takes the connection of a client that stays: it ends by itself, under a record of its own.
    pub(crate) fn detach(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        let ghost = ghost(&mut self.server.clients[id]);
        let ghost = self.server.clients.insert(ghost);
        log::info!("Connection of socket #{id} goes on as #{ghost} until it has ended");
        self.server.closing.push(ghost);
        self.attach(socket, ghost);
        remind_of(&mut self.server, id);
    }

    /// Puts a socket under another id. What it has to read or write the poll tells anew.
    pub(crate) fn attach(&mut self, mut socket: Socket, id: SocketId) {
        (socket.unread, socket.rest) = (false, None);
        socket.reminder = None;
        let moved = socket.stream.pipe.register(self.poll.registry(), Token(id.as_u64() as usize), true);
        self.sockets.insert(id, socket);
        match moved {
            Ok(()) => self.remind(id),
            Err(error) => {
                log::error!("Socket {id} - {error}");
                self.peer_gone(id, crate::socket::Peer::Gone);
            }
        }
    }
}

/// Makes of a client that loses its connection the record of that connection, which only has to end.
fn ghost(client: &mut Client) -> Client {
    let mut ghost = Client::new(client.ip);
    ghost.state = State::Closing;
    ghost.exempt = client.exempt;
    ghost.client_type = client.client_type;
    ghost.mail.outbox = std::mem::take(&mut client.mail.outbox);
    ghost.close_code = client.close_code.take();
    client.expect_pong = false;
    client.mail.dirty = false;
    ghost
}
