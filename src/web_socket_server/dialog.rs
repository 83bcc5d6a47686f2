//! From bytes to applications: frames, and the dialog of messages and `next`.
//!
//! A part of the loop, which calls it with what it read. PHP counterpart: the part of `Start` behind
//! `fread`, and `extractMessage`.

use std::rc::Rc;
use std::time::Duration;

use super::{WebSocketServer, moments, pacing};
use crate::client::{Client, Command, PONG_LOGGED, State};
use crate::deadlines::after;
use crate::ids::{AppId, SocketId};
use crate::memory::Shared;
use crate::packet::Message;
use crate::printable::Elided;
use crate::raw;
use crate::resource::AllApps;
use crate::rfc6455::frame::{Header, unmask};
use crate::rfc6455::{CloseCode, Event, Opcode, ProtocolError};
use crate::server::Server;
use crate::socket::{Peer, Socket, Stage};

impl WebSocketServer {
    /// Takes the first `count` bytes of the buffer as the connection's next ones.
    pub(crate) fn received(&mut self, id: SocketId, count: usize) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match &mut socket.stage {
            Stage::Head(head) => {
                let begins = head.is_empty() && socket.reused;
                head.extend_from_slice(&self.buffer.bytes[..count]);
                if begins {
                    self.server.clients.begins(id);
                    self.set_deadline(id, self.server.limits().handshake_timeout);
                }
                self.head(id);
            }
            Stage::Plain => self.body(id, count),
            Stage::Raw(_) => self.raw_messages(id, count),
            Stage::Frames(_) => return self.frames(id, count),
            Stage::Preface | Stage::Ignored => {}
        }
        self.move_deadline(id);
    }

    /// The time that a connection has for what comes next; 0 is no limit.
    pub(crate) fn set_deadline(&mut self, id: SocketId, timeout: Duration) {
        self.sockets[id].deadline = (!timeout.is_zero()).then(|| after(self.server.now, timeout));
        self.remind(id);
    }

    /// After bytes came: a message that is under way must end in time, and so must silence.
    #[inline(never)]
    pub(super) fn move_deadline(&mut self, id: SocketId) {
        let (Some(client), Some(socket)) = (self.server.clients.get(id), self.sockets.get_mut(id)) else { return };
        let awaits_rest = awaits_rest(socket, client);
        let timed = std::mem::replace(&mut socket.message_timed, awaits_rest);
        socket.account(client.chunks_cost());
        let limits = &self.server.limits;
        // The deadline of a message stands from its first byte on.
        if client.is_open() && (!awaits_rest || !timed) {
            self.set_deadline(id, if awaits_rest { limits.message_timeout } else { limits.idle_timeout });
        }
    }

    /// PHP's `foreach` over `readDecode`. What is more than the connection's share is held for its next turn.
    fn frames(&mut self, id: SocketId, count: usize) {
        let WebSocketServer { sockets, server, all_apps, buffer, .. } = self;
        let Some(socket) = sockets.get_mut(id) else { return };
        let Socket { stage: Stage::Frames(inbox), peer, message_timed, deadline, charge, .. } = socket else { return };
        // What was read to its place in the inbox is not in the buffer.
        let count = count - inbox.arrived();
        let mut bytes = &mut buffer.bytes[..count];
        let mut end = 0;
        loop {
            let event = match inbox.next_event(&mut bytes) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    self.protocol_error(id, error);
                    return self.move_deadline(id);
                }
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
                Event::Text(text) => extract_message(server, all_apps, id, Message::Text(text)),
                Event::Binary(data) => extract_message(server, all_apps, id, Message::Binary(data)),
                Event::Collected(opcode, data) => extract_collected(server, all_apps, id, opcode, data),
                Event::Ping(payload) => control(server, id, Opcode::Ping, &payload),
                Event::Pong(payload) => control(server, id, Opcode::Pong, &payload),
            }
            if !bytes.is_empty() && pacing::has_done_enough(server, id, &mut end) {
                break;
            }
        }
        let left = bytes.len();
        if left > 0 {
            self.hold(id, count - left..count);
            return self.move_deadline(id);
        }
        let Some(client) = server.clients.get(id) else { return };
        // The common case: nothing is under way, nothing was, and silence has no limit.
        let is_between = !inbox.is_mid_message() && !client.is_buffering() && !*message_timed;
        let is_timed = deadline.is_some() || !server.limits.idle_timeout.is_zero();
        let is_free = charge.bytes() == 0 && !client.may_rest;
        if *peer == Peer::Talking && is_between && !is_timed && is_free {
            return;
        }
        // Parting was held up until the peer's close frame came.
        if *peer > Peer::Talking && client.state == State::Closed {
            self.peer_gone(id, Peer::Finished);
        }
        self.move_deadline(id);
        self.rest(id);
    }

    /// Acts on a control frame of bytes that are held; `false` where it is none, or a close frame, which stays where it is.
    pub(super) fn control(&mut self, id: SocketId, header: Header, payload: &mut [u8]) -> bool {
        let is_control = matches!(header.opcode, Opcode::Ping | Opcode::Pong);
        if is_control {
            unmask(payload, header.mask);
            control(&mut self.server, id, header.opcode, payload);
        }
        is_control
    }

    /// Closes with the error's code; what the peer still sends is discarded.
    #[cold]
    pub(crate) fn protocol_error(&mut self, id: SocketId, error: ProtocolError) {
        if self.server.is_open(id) {
            self.failed(id, &format!("Protocol error: {error}"));
            self.server.close_with(id, error.close_code(), &error.to_string());
        }
    }

    #[inline(never)]
    fn raw_messages(&mut self, id: SocketId, count: usize) {
        let WebSocketServer { sockets, server, all_apps, buffer, .. } = self;
        let Some(Socket { stage: Stage::Raw(inbox), message_timed, .. }) = sockets.get_mut(id) else { return };
        let (mut bytes, mut end) = (&buffer.bytes[..count], 0);
        while server.is_open(id) {
            if server.writes.untaken.is_some() || !bytes.is_empty() && pacing::has_done_enough(server, id, &mut end) {
                let left = bytes.len();
                return self.hold(id, count - left..count);
            }
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

/// Whether a message, or the chunks of one, have begun and not ended.
pub(crate) fn awaits_rest(socket: &Socket, client: &Client) -> bool {
    socket.is_mid_message() || client.is_buffering()
}

/// Acknowledges a message, lets the server take what is meant for it, and hands on the rest.
#[doc(alias = "extractMessage")]
fn extract_message(server: &mut Server, all_apps: &mut AllApps, id: SocketId, message: Message<'_>) {
    let Some(client) = server.clients.get(id).filter(|client| client.is_connected()) else { return };
    let (app, dialog, has_rate) = (client.app, client.dialog, client.rate.is_some());
    if !server.writes.full.is_empty() && pacing::puts_off(server, id, message) {
        return;
    }
    if has_rate {
        pacing::spend(server, id);
    }
    let Some(app) = app else { return };
    server.counters.message_in(app, message.bytes());
    if !dialog {
        return all_apps.call(app, server, Some(id), |app, server| app.on_data(server, id, message));
    }
    let deferred = moments::defers_next(server, id);
    if !deferred {
        server.next(id);
    }
    dispatch(server, all_apps, id, app, message);
    if deferred {
        moments::acted_on(server, id);
    }
}

/// Lets the server take what is meant for it, and hands on the rest.
fn dispatch(server: &mut Server, all_apps: &mut AllApps, id: SocketId, app: AppId, message: Message<'_>) {
    let (max_chunks, max_message) = (server.limits().max_chunks, server.limits().max_message);
    let Some(client) = server.clients.get_mut(id).filter(|client| client.is_open()) else { return };
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
    if !message.bytes().is_empty() && moments::received(server, id, all_apps.path(app), message) {
        all_apps.call(app, server, Some(id), |app, server| app.on_data(server, id, message));
    }
}

/// The same for a message in memory of its own, which outboxes may then share.
#[inline(never)]
pub(super) fn extract_collected(server: &mut Server, all_apps: &mut AllApps, id: SocketId, opcode: Opcode, data: Vec<u8>) {
    let data = Rc::new(Shared::new(data));
    let message = if opcode == Opcode::Text { Message::from_bytes(&data) } else { Message::Binary(&data) };
    server.current.message = Some(data.clone());
    extract_message(server, all_apps, id, message);
    server.current.message = None;
}

/// A ping is answered; a pong may say what has come.
#[inline(never)]
fn control(server: &mut Server, id: SocketId, opcode: Opcode, payload: &[u8]) {
    server.counters.controls_in += 1;
    if pacing::bears(server, id, 1, 0) {
        match opcode {
            Opcode::Ping => server.push(id, Opcode::Pong, payload),
            _ => pong(server, id, payload),
        }
    }
}

#[inline(never)]
fn pong(server: &mut Server, id: SocketId, payload: &[u8]) {
    let client = &mut server.clients[id];
    client.mail.acknowledge(payload);
    if std::mem::take(&mut client.expect_pong) {
        log::info!("Expected Pong frame received from socket #{id}");
    } else if !client.log_once(PONG_LOGGED) {
        log::info!("Unsolicited Pong frame received from socket #{id}");
    }
}

/// "When sending a Close frame in response, the endpoint typically echos the status code it received."
#[inline(never)]
fn closed_by_peer(server: &mut Server, id: SocketId, code: Option<CloseCode>) {
    if server.is_open(id) {
        log::info!("Connection Close frame received from socket #{id}");
        let body = code.map(|code| code.0.to_be_bytes());
        server.push_close(id, body.as_ref().map_or(&[], |body| &body[..]));
        // A client that closes with a code of its own may come back. A close with 1000 is final.
        if code.is_some_and(|code| code != CloseCode::NORMAL) && server.clients[id].mail.is_numbered() {
            server.clients[id].close_code = Some(CloseCode::GOING_AWAY.0);
        }
        server.begin_close(id);
    }
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
