//! From the first byte of a connection to `ready`.
//!
//! A part of the loop. PHP counterpart: `Handshake`, and what `Start` does with its outcome. Where the
//! client may come from is checked before the 101: the origin and the host in `entrance.rs`, the rest at the
//! moment `admit`. What is checked after it, as in PHP, is `specific_checks`.

use uuid::Uuid;

use super::{Admitted, WebSocketServer};
use crate::client::{Client, State};
use crate::ids::{AppId, ClientType, SocketId};
use crate::mail::Form;
use crate::mail::pace::Pace;
use crate::printable::Printable;
use crate::raw::{self, Greeting, RawInbox};
use crate::rfc6455::handshake::{self, MAX_HEAD};
use crate::rfc6455::{CloseCode, Inbox, Reason, Refusal, Request};
use crate::server::close_message;
use crate::socket::{Peer, Stage};

impl WebSocketServer {
    /// Looks whether the request head is whole, and answers it.
    pub(super) fn head(&mut self, id: SocketId) {
        let socket = &self.sockets[id];
        let Stage::Head(head) = &socket.stage else { return };
        // Behind an HTTP request there is HTTP: a proxy may have sent both.
        if self.server.limits().raw_dialect && !socket.reused {
            match raw::greeting(head) {
                Greeting::Other => {}
                Greeting::Incomplete if head.len() <= MAX_HEAD => return,
                Greeting::Incomplete => return self.raw_handshake(id, None, head.len()),
                Greeting::Complete(path, end) => {
                    let app = path.and_then(|path| self.all_apps.find(path));
                    log::info!("Handshake: {} Client", Printable(path.unwrap_or_default()));
                    return self.raw_handshake(id, app, end);
                }
            }
        }
        let begin = handshake::head_begin(head);
        let end = handshake::head_end(&head[begin..]).map(|end| begin + end);
        let outcome = match end {
            Some(end) if end <= MAX_HEAD => Request::parse(&head[begin..end]),
            None if head.len() <= MAX_HEAD => return,
            _ => Err(Refusal::head_too_large()),
        };
        let end = end.unwrap_or_default();
        let outcome = outcome.and_then(|request| match request.is_upgrade() {
            true => self.handshake(id, request).map(|id| self.go_on(id, end)),
            false => self.plain_request(id, &request, end),
        });
        if let Err(refusal) = outcome {
            self.refuse(id, &refusal);
        }
    }

    /// Feeds what came behind the head, in the same segments, to the stage that follows it.
    fn go_on(&mut self, id: SocketId, end: usize) {
        let max_message = self.server.limits().max_message;
        let stage = match self.server.client(id).map(Client::client_type).filter(|_| self.server.is_open(id)) {
            Some(ClientType::Websocket) => Stage::Frames(Inbox::new(max_message)),
            Some(ClientType::Php) => Stage::Frames(Inbox::for_php(max_message)),
            Some(ClientType::Tcp) => Stage::Raw(RawInbox::new(max_message)),
            None => Stage::Ignored,
        };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.deadline = None;
        let Stage::Head(head) = std::mem::replace(&mut socket.stage, stage) else { return };
        let rest = &head[end..];
        if self.server.clients[id].is_waiting() {
            return self.pause(id, rest.to_vec());
        }
        // The head is at most one read longer than its limit, so the rest fits into the buffer.
        self.buffer.bytes[..rest.len()].copy_from_slice(rest);
        if !rest.is_empty() {
            self.received(id, rest.len());
        }
    }

    /// Answers an upgrade. Gives the id under which the connection goes on: another one where a client comes back.
    #[doc(alias = "Handshake")]
    fn handshake(&mut self, id: SocketId, request: Request) -> Result<SocketId, Refusal> {
        let app = self.all_apps.find(request.path());
        if self.turns_away(id) {
            return Err(Refusal::unavailable());
        }
        log::info!("Handshake: {} Client", Printable(request.path()));
        let options = app.map(|app| self.all_apps.options(app)).unwrap_or_default();
        let origin_required = !self.server.limits().allow_missing_origin && options.origin_required;
        let accept = request.accept_token(origin_required)?;
        let client_type = client_type(&request);
        self.check_origin(id, client_type, &request, options)?;
        let paced = client_type == ClientType::Php && options.dialog && !reads_many_frames(&request);
        let form = if paced { Form::OneARead(Box::new(Pace::new(self.server.now))) } else { Form::Frames };
        let form = match self.admit(id, client_type, app, form, &request)? {
            Admitted::New(form) => form,
            Admitted::Known(known) => {
                self.server.push_bytes(known, &handshake::switching_protocols(&accept));
                self.server.push_ready(known);
                return Ok(known);
            }
        };

        log::info!("ClientType: {client_type}");
        self.server.counters.handshake(self.server.now, self.sockets[id].deadline, self.server.limits().handshake_timeout);
        self.server.open(id, client_type, app, options.dialog, form);
        self.sockets[id].greedy = self.server.limits().paces();
        let answer = match paced {
            true => handshake::switching_protocols_for_php(&accept),
            false => handshake::switching_protocols(&accept),
        };
        self.server.push_bytes(id, &answer);
        self.server.remember_request(id, request);
        self.welcome(id);
        Ok(id)
    }

    /// Checks a client that is past its handshake and tells it to start, or to go.
    fn welcome(&mut self, id: SocketId) {
        if let Err(dismissal) = self.server.specific_checks(id) {
            // The application never hears of a client that it was not given.
            self.server.clients[id].app = None;
            if self.server.clients[id].dialog {
                self.server.push_first(id, &close_message(dismissal.error.as_deref()));
            }
            return self.server.close_with(id, dismissal.code, dismissal.error.as_deref().unwrap_or_default());
        }
        if !self.opened(id) {
            self.tell_to_start(id, Uuid::new_v4());
        }
    }

    /// Tells a client to start, under a uuid, and gives it to its application.
    pub(crate) fn tell_to_start(&mut self, id: SocketId, uuid: Uuid) {
        if self.server.clients[id].dialog {
            self.server.ready(id, uuid);
        }
        self.server.clients.enter(id, State::Open);
        self.ready(id);
        let Some(app) = self.server.clients[id].app else { return };
        self.all_apps.call(app, &mut self.server, Some(id), |app, server| app.on_open(server, id));
        if !self.all_apps.options(app).keeps_request {
            self.server.clients[id].request = None;
        }
    }

    /// The oldest backends: no 101, no frames.
    fn raw_handshake(&mut self, id: SocketId, app: Option<AppId>, end: usize) {
        let allowed = self.allows_backend(id);
        let app = app.filter(|app| allowed && !self.turns_away(id) && self.all_apps.options(*app).dialog);
        self.server.open(id, ClientType::Tcp, app, true, Form::Raw);
        log::info!("ClientType: {}", ClientType::Tcp);
        if allowed {
            self.welcome(id);
        } else {
            let error = format!("No connection allowed from: {}", self.server.clients[id].ip);
            self.server.counters.refused(Reason::Address);
            self.server.dismiss(id, Some(&error), CloseCode::POLICY_VIOLATION);
        }
        self.go_on(id, end);
    }

    /// Answers a request with a status in place of the 101.
    fn refuse(&mut self, id: SocketId, refusal: &Refusal) {
        self.failed(id, &format!("Handshake aborted - {refusal}"));
        self.server.counters.refused(refusal.reason);
        self.server.push_bytes(id, &refusal.response());
        self.server.begin_close(id);
        self.sockets[id].stage = Stage::Ignored;
    }

    pub(super) fn handshake_timed_out(&mut self, id: SocketId) {
        let socket = &self.sockets[id];
        let raw_head = match &socket.stage {
            Stage::Head(head) if self.server.limits().raw_dialect && head.starts_with(raw::GREETING) => Some(head.len()),
            _ => None,
        };
        let nothing_can_be_said = match &socket.stage {
            Stage::Preface => Some("PROXY header timeout"),
            _ => socket.stream.is_handshaking().then_some("TLS handshake timeout"),
        };
        if let Some(problem) = nothing_can_be_said {
            self.failed(id, problem);
            self.server.counters.refused(Reason::Tls);
            self.peer_gone(id, Peer::Gone);
        } else if let Some(end) = raw_head {
            self.raw_handshake(id, None, end);
        } else {
            self.refuse(id, &Refusal::timeout());
        }
    }
}

/// `Client-Type: php` makes a backend of a client, in any case and on any resource.
fn client_type(request: &Request) -> ClientType {
    match request.header("client-type") {
        Some(value) if value.eq_ignore_ascii_case("php") => ClientType::Php,
        _ => ClientType::Websocket,
    }
}

/// Newer backends say that they find every frame, however many a read gives.
fn reads_many_frames(request: &Request) -> bool {
    request.header("frames-per-read").is_some_and(|value| value.eq_ignore_ascii_case("any"))
}
