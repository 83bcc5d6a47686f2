//! From bytes to applications: the handshake, the checks, and the dialog of `ready` and `next`.
//!
//! The second half of the loop, which `web_socket_server` calls with what it read. PHP counterpart:
//! the part of `Start` behind `fread`, and `extractMessage`.

use std::rc::Rc;

use uuid::Uuid;

use super::WebSocketServer;
use crate::client::{Client, Command, State};
use crate::deadlines::after;
use crate::extras::resume::{Kept, Wish};
use crate::forwarded::Forwarded;
use crate::ids::AppId;
use crate::ids::{ClientType, SocketId};
use crate::packet::Message;
use crate::printable::Printable;
use crate::raw::{self, Greeting, RawInbox};
use crate::resource::AllApps;
use crate::rfc6455::handshake::{self, MAX_HEAD};
use crate::rfc6455::{CloseCode, Event, Inbox, Opcode, ProtocolError, Reason, Refusal, Request};
use crate::server::{Elided, Server, close_message};
use crate::socket::{Peer, Socket, Stage};

impl WebSocketServer {
    /// Takes the first `count` bytes of the buffer as the connection's next ones.
    pub(crate) fn received(&mut self, id: SocketId, count: usize) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match &mut socket.stage {
            Stage::Head(head) => {
                let begins = head.is_empty() && socket.kept_alive;
                head.extend_from_slice(&self.buffer[..count]);
                if begins {
                    self.limit_head(id, false);
                }
                self.head(id);
            }
            Stage::Http(_) => self.body(id, count),
            Stage::Frames(_) => self.frames(id, count),
            Stage::Raw(_) => self.raw_messages(id, count),
            Stage::ProxyHeader | Stage::Ignored => {}
        }
        self.move_deadline(id);
    }

    /// After bytes came: a message that is under way must end in time, and so must silence.
    pub(crate) fn move_deadline(&mut self, id: SocketId) {
        let Some(client) = self.server.clients.get(id).filter(|client| client.state == State::Open) else { return };
        let (now, limits, socket) = (self.server.now, self.server.limits(), &mut self.sockets[id]);
        let awaits_rest = socket.is_mid_message() || client.is_buffering();
        // The deadline of a message stands from its first byte on.
        if !awaits_rest || !socket.message_timed {
            let timeout = if awaits_rest { limits.message_timeout } else { limits.idle_timeout };
            socket.deadline = (!timeout.is_zero()).then(|| after(now, timeout));
        }
        socket.message_timed = awaits_rest;
        if socket.deadline.is_some() {
            self.remind(id);
        }
    }

    /// Whether a message, or the chunks of one, have begun and not ended.
    pub(crate) fn awaits_rest(&self, id: SocketId) -> bool {
        self.sockets[id].is_mid_message() || self.server.clients[id].is_buffering()
    }

    /// Looks whether the request head is whole, and answers it.
    pub(crate) fn head(&mut self, id: SocketId) {
        let socket = &self.sockets[id];
        let Stage::Head(head) = &socket.stage else { return };
        // Behind an HTTP request there is HTTP: a proxy may have sent both.
        if self.server.limits().raw_dialect && !socket.kept_alive {
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
        let end = handshake::head_end(head);
        let outcome = match end {
            Some(end) if end <= MAX_HEAD => Request::parse(&head[..end]),
            None if head.len() <= MAX_HEAD => return,
            _ => Err(Refusal::head_too_large()),
        };
        let end = end.unwrap_or_default();
        let outcome = outcome.and_then(|request| match request.is_upgrade() {
            true => self.handshake(id, request).map(|id| self.go_on(id, end)),
            false => self.exchange(id, &request, end),
        });
        if let Err(refusal) = outcome {
            self.refuse(id, &refusal);
        }
    }

    /// Feeds what came behind the head, in the same segments, to the stage that follows it.
    pub(crate) fn go_on(&mut self, id: SocketId, end: usize) {
        let max_message = self.server.limits().max_message;
        let stage = match self.server.client(id).map(Client::client_type).filter(|_| self.server.is_open(id)) {
            Some(ClientType::Websocket) => Stage::Frames(Inbox::new(max_message)),
            Some(ClientType::Php) => Stage::Frames(Inbox::for_php(max_message)),
            Some(ClientType::Tcp) => Stage::Raw(RawInbox::new(max_message)),
            None => Stage::Ignored,
        };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.deadline = None;
        // It waits until other processes know of it, and so does what it sent meanwhile.
        if self.server.clients[id].is_awaiting() {
            if let Stage::Head(head) = &mut socket.stage {
                head.drain(..end);
            }
            return;
        }
        let Stage::Head(head) = std::mem::replace(&mut socket.stage, stage) else { return };
        // The head is at most one read longer than its limit, so the rest fits into the buffer.
        let rest = &head[end..];
        self.buffer[..rest.len()].copy_from_slice(rest);
        if !rest.is_empty() {
            self.received(id, rest.len());
        }
    }

    #[doc(alias = "Handshake")]
    /// Gives the id under which the connection goes on: another one where a client comes back.
    pub(crate) fn handshake(&mut self, id: SocketId, request: Request) -> Result<SocketId, Refusal> {
        let app = self.all_apps.find(request.path());
        if self.turns_away(id) {
            return Err(Refusal::unavailable());
        }
        log::info!("Handshake: {} Client", Printable(request.path()));
        let traits = app.map(|app| self.all_apps.traits(app)).unwrap_or_default();
        let origin_required = !self.server.limits().allow_missing_origin && traits.origin_required;
        let dialog = traits.dialog;
        let accept = request.accept_token(origin_required)?;
        let client_type = client_type(&request);
        self.admit(id, client_type, &request)?;
        let paced = client_type == ClientType::Php && dialog && !reads_many_frames(&request);
        let wish = Wish::of(&request).filter(|_| dialog && self.server.may_resume(client_type, paced));
        if let Some(wish @ Wish::Resume { seq, .. }) = wish
            && let Some(known) = self.find_resumed(id, wish, app, client_type)?
        {
            self.take_over(id, known, seq);
            self.server.push_bytes(known, &handshake::switching_protocols(&accept));
            self.server.push_ready(known);
            return Ok(known);
        }

        log::info!("ClientType: {client_type}");
        self.server.metrics.handshake(self.server.now, self.sockets[id].deadline, self.server.limits().handshake_timeout);
        self.server.open(id, client_type, app, dialog);
        self.server.clients[id].kept = wish.map(|wish| Box::new(Kept::new(wish.standing())));
        if paced {
            self.server.pace(id);
            self.server.push_bytes(id, &handshake::switching_protocols_for_php(&accept));
        } else {
            self.server.push_bytes(id, &handshake::switching_protocols(&accept));
        }
        self.server.introduce(id, request);
        self.welcome(id, wish);
        Ok(id)
    }

    /// The checks that come before the 101: who, and from where.
    pub(crate) fn admit(&mut self, id: SocketId, client_type: ClientType, request: &Request) -> Result<(), Refusal> {
        let peer = self.server.clients[id].ip;
        self.server.clients[id].ip = Forwarded::of(request).client(peer, self.server.limits()).ip;
        let origin = request.header("origin").unwrap_or_default();
        match client_type {
            ClientType::Websocket if !self.server.limits().allows_origin(origin) => {
                log::info!("{id}, Rejected missing or invalid origin: {}", Printable(origin));
                Err(Refusal::forbidden(Reason::Origin, "This origin is not allowed"))
            }
            ClientType::Websocket => self.check_session(id, request),
            ClientType::Php | ClientType::Tcp if !self.allows_backend(id) => {
                Err(Refusal::forbidden(Reason::Address, "No connection allowed from this address"))
            }
            _ => Ok(()),
        }
    }

    /// Browsers come with a PHP session, where the server asks for one.
    pub(crate) fn check_session(&self, id: SocketId, request: &Request) -> Result<(), Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        sessions.check(request).map_err(|reason| {
            log::info!("{id}, Client handshake status: unauthorized, {reason}");
            Refusal::forbidden(Reason::Session, "No live session")
        })
    }

    /// Backends come from the server's own host or from allowed ones.
    pub(crate) fn allows_backend(&self, id: SocketId) -> bool {
        let ip = self.server.clients[id].ip;
        let allowed = self.server.limits().allows_backend(ip, self.sockets[id].own_ip());
        if !allowed {
            log::info!("{id}, No connection allowed from: {ip}");
        }
        allowed
    }

    /// Checks an open client and tells it to start, or to go.
    pub(crate) fn welcome(&mut self, id: SocketId, wish: Option<Wish>) {
        if let Err(dismissal) = self.server.specific_checks(id) {
            // The application never hears of a client that it was not given.
            self.server.clients[id].app = None;
            if self.server.clients[id].dialog {
                self.server.push_first(id, &close_message(dismissal.error.as_deref()));
            }
            return self.server.close_with(id, dismissal.code, dismissal.error.as_deref().unwrap_or_default());
        }
        if !self.server.clients[id].dialog || !self.server.introduce_elsewhere(id, wish) {
            self.tell_to_start(id, None);
        }
    }

    /// Tells a client to start, under a uuid that it may have already.
    pub(crate) fn tell_to_start(&mut self, id: SocketId, uuid: Option<Uuid>) {
        if self.server.clients[id].dialog {
            match uuid {
                Some(uuid) => self.server.ready_as(id, uuid),
                None => self.server.ready(id),
            }
            self.server.came(id);
        }
        let Some(app) = self.server.clients[id].app else { return };
        self.all_apps.call(app, &mut self.server, Some(id), |app, server| app.on_open(server, id));
        if !self.all_apps.traits(app).keeps_request {
            self.server.clients[id].request = None;
        }
    }

    /// The oldest backends: no 101, no frames.
    pub(crate) fn raw_handshake(&mut self, id: SocketId, app: Option<AppId>, end: usize) {
        let allowed = self.allows_backend(id);
        let app = app.filter(|app| allowed && !self.turns_away(id) && self.all_apps.traits(*app).dialog);
        self.server.open(id, ClientType::Tcp, app, true);
        log::info!("ClientType: {}", ClientType::Tcp);
        if allowed {
            self.welcome(id, None);
        } else {
            let error = format!("No connection allowed from: {}", self.server.clients[id].ip);
            self.server.metrics.refused(Reason::Address);
            self.server.dismiss(id, Some(&error), CloseCode::POLICY_VIOLATION);
        }
        self.go_on(id, end);
    }

    /// Answers a request with a status in place of the 101.
    pub(crate) fn refuse(&mut self, id: SocketId, refusal: &Refusal) {
        self.failed(id, &format!("Handshake aborted - {refusal}"));
        self.server.metrics.refused(refusal.reason);
        self.server.push_bytes(id, &refusal.response());
        self.server.end(id);
        self.sockets[id].stage = Stage::Ignored;
    }

    pub(crate) fn handshake_timed_out(&mut self, id: SocketId) {
        let socket = &self.sockets[id];
        let raw_head = match &socket.stage {
            Stage::Head(head) if self.server.limits().raw_dialect && head.starts_with(raw::GREETING) => Some(head.len()),
            _ => None,
        };
        let nothing_can_be_said = match &socket.stage {
            Stage::ProxyHeader => Some("PROXY header timeout"),
            _ => socket.stream.is_handshaking().then_some("TLS handshake timeout"),
        };
        if let Some(problem) = nothing_can_be_said {
            self.failed(id, problem);
            self.server.metrics.refused(Reason::Tls);
            self.hang_up(id, Peer::Gone);
        } else if let Some(end) = raw_head {
            self.raw_handshake(id, None, end);
        } else {
            self.refuse(id, &Refusal::timeout());
        }
    }

    /// PHP's `foreach` over `readDecode`.
    pub(crate) fn frames(&mut self, id: SocketId, count: usize) {
        let WebSocketServer { sockets, server, all_apps, buffer, .. } = self;
        let Some(Socket { stage: Stage::Frames(inbox), peer, message_timed, .. }) = sockets.get_mut(id) else { return };
        // What was read to its place in the inbox is not in the buffer.
        let mut bytes = &mut buffer[..count - inbox.arrived()];
        server.spend(id, 0, count);
        loop {
            let event = match inbox.next_event(&mut bytes) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return self.protocol_error(id, error),
            };
            log::trace!("#{id} < {}", elided(&event));
            if matches!(event, Event::Text(_) | Event::Binary(_) | Event::Collected(..)) {
                *message_timed = false;
            }
            match event {
                // A closing client is only listened to for its close frame.
                Event::Close(code, _) => {
                    *peer = (*peer).max(Peer::Finished);
                    closed_by_peer(server, id, code);
                }
                _ if !server.spend(id, 1, 0) => {}
                Event::Text(text) => extract_message(server, all_apps, id, Message::Text(text)),
                Event::Binary(data) => extract_message(server, all_apps, id, Message::Binary(data)),
                Event::Collected(opcode, data) => extract_collected(server, all_apps, id, opcode, data),
                Event::Ping(payload) => server.push(id, Opcode::Pong, &payload),
                Event::Pong(payload) => pong(server, id, &payload),
            }
        }
        // Parting was held up until the peer's close frame came.
        if *peer > Peer::Talking && server.clients[id].state == State::Closed {
            self.hang_up(id, Peer::Finished);
        }
    }

    /// Closes with the error's code; what the peer still sends is discarded.
    pub(crate) fn protocol_error(&mut self, id: SocketId, error: ProtocolError) {
        if self.server.is_open(id) {
            self.failed(id, &format!("Protocol error: {error}"));
            self.server.close_with(id, error.close_code(), &error.to_string());
        }
    }

    pub(crate) fn raw_messages(&mut self, id: SocketId, count: usize) {
        let WebSocketServer { sockets, server, all_apps, buffer, .. } = self;
        let Some(Socket { stage: Stage::Raw(inbox), message_timed, .. }) = sockets.get_mut(id) else { return };
        let mut bytes = &buffer[..count];
        while server.is_open(id) {
            match inbox.next_message(&mut bytes, server.clients[id].is_buffering()) {
                Ok(Some(message)) => {
                    *message_timed = false;
                    log::trace!("#{id} < {}", Elided(Opcode::Text, &message));
                    extract_message(server, all_apps, id, Message::from_bytes(&message));
                }
                Ok(None) => break,
                Err(raw::TooBig) => {
                    log::info!("Message too big from socket #{id}");
                    server.dismiss(id, Some("Message too big"), CloseCode::MESSAGE_TOO_BIG);
                }
            }
        }
    }
}

/// Acknowledges a message, lets the server take what is meant for it, and hands on the rest.
#[doc(alias = "extractMessage")]
pub(crate) fn extract_message(server: &mut Server, all_apps: &mut AllApps, id: SocketId, message: Message<'_>) {
    let client = &mut server.clients[id];
    let Some(app) = client.app else { return };
    server.metrics.message_in(app, message.bytes());
    if !client.dialog {
        return all_apps.call(app, server, Some(id), |app, server| app.on_data(server, id, message));
    }
    if server.defers_next(id) {
        dispatch(server, all_apps, id, app, message);
        server.next_if_done(id);
        server.in_hand = None;
    } else {
        server.next(id);
        dispatch(server, all_apps, id, app, message);
    }
}

/// Lets the server take what is meant for it, and hands on the rest.
fn dispatch(server: &mut Server, all_apps: &mut AllApps, id: SocketId, app: AppId, message: Message<'_>) {
    let (max_chunks, max_message) = (server.limits().max_chunks, server.limits().max_message);
    let Some(client) = server.clients.get_mut(id).filter(|client| client.state == State::Open) else { return };
    let may_repeat = client.kept.is_some();
    let chunks;
    let message = match client.server_command(message, max_chunks, max_message) {
        Command::Taken => return,
        Command::TooManyChunks => {
            log::info!("Too many chunks from socket #{id}");
            return server.dismiss(id, Some("Too many chunks"), CloseCode::MESSAGE_TOO_BIG);
        }
        Command::Deliver(message @ Message::Text(_)) => message,
        Command::Deliver(Message::Binary(bytes)) => Message::from_bytes(bytes),
        Command::DeliverChunks(bytes) => {
            chunks = bytes;
            Message::from_bytes(&chunks)
        }
    };
    // As in PHP nobody is called for nothing: an empty message is only acknowledged.
    if message.bytes().is_empty() || may_repeat && server.has_seen(id, message) {
        return;
    }
    if server.permits(id, all_apps.path(app), message) {
        all_apps.call(app, server, Some(id), |app, server| app.on_data(server, id, message));
    }
}

/// The same for a message in memory of its own, which outboxes may then share.
pub(crate) fn extract_collected(server: &mut Server, all_apps: &mut AllApps, id: SocketId, opcode: Opcode, data: Vec<u8>) {
    let data = Rc::new(data);
    let message = if opcode == Opcode::Text { Message::from_bytes(&data) } else { Message::Binary(&data) };
    server.collected = Some(data.clone());
    extract_message(server, all_apps, id, message);
    server.collected = None;
}

fn pong(server: &mut Server, id: SocketId, payload: &[u8]) {
    server.acknowledged(id, payload);
    let client = &mut server.clients[id];
    if std::mem::take(&mut client.expect_pong) {
        log::info!("Expected Pong frame received from socket #{id}");
    } else if !std::mem::replace(&mut client.pong_logged, true) {
        log::info!("Unsolicited Pong frame received from socket #{id}");
    }
}

/// "When sending a Close frame in response, the endpoint typically echos the status code it received."
fn closed_by_peer(server: &mut Server, id: SocketId, code: Option<CloseCode>) {
    if server.is_open(id) {
        log::info!("Connection Close frame received from socket #{id}");
        let body = code.map(|code| code.0.to_be_bytes());
        server.push_close(id, body.as_ref().map_or(&[], |body| &body[..]));
        // Whoever gives up on a connection with a code of its own may come back; a plain goodbye is one.
        if code.is_some_and(|code| code != CloseCode::NORMAL) && server.clients[id].kept.is_some() {
            server.clients[id].close_code = Some(CloseCode::GOING_AWAY.0);
        }
        server.end(id);
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

fn elided<'a>(event: &'a Event<'_>) -> Elided<'a> {
    match event {
        Event::Text(text) => Elided(Opcode::Text, text.as_bytes()),
        Event::Binary(data) => Elided(Opcode::Binary, data),
        Event::Collected(opcode, data) => Elided(*opcode, data),
        Event::Ping(payload) => Elided(Opcode::Ping, payload),
        Event::Pong(payload) => Elided(Opcode::Pong, payload),
        Event::Close(_, reason) => Elided(Opcode::Close, reason.as_bytes()),
    }
}
