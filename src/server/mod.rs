//! What an application may do: the [`Server`] that every callback gets.
//!
//! Nothing here touches a socket. What is written goes to outboxes, what is closed goes on a queue,
//! and the loop acts on both before it sleeps; so an application may call anything from anywhere.
//! PHP counterpart: the methods of `webSocketServer` that `resource.php` hands out, and
//! `specificChecks`. The words `elsewhere`, `number`, `position` and `away` serve optional parts: a first reader skips
//! them.

use std::time::{Duration, Instant};

use crate::bounds::Bound;
use crate::client::{Client, State};
use crate::counters::Counters;
use crate::deadlines::{Deadline, Deadlines, after};
use crate::elsewhere::Elsewhere;
use crate::extras::shared::Extras;
use crate::ids::{AppId, ClientType, SocketId};
use crate::limits::Limits;
use crate::mail::Letter;
use crate::mail::outbox::BufferPool;
use crate::memory::Block;
use crate::packet::Packet;
use crate::printable::Elided;
use crate::rfc6455::{CloseCode, Opcode};
use clients::Clients;
use delivery::{Delivery, To};
use writes::Writes;

mod clients;
pub(crate) mod delivery;
mod lifecycle;
pub(crate) mod writes;

/// The records of all connections, and what may be done with them.
pub struct Server {
    pub(crate) limits: Limits,
    #[doc(alias = "Clients")]
    pub(crate) clients: Clients,
    /// Clients that are to be written to, and those that are to be closed, before the loop sleeps.
    pub(crate) writes: Writes,
    pub(crate) closing: Vec<SocketId>,
    pub(crate) pool: BufferPool,
    pub(crate) current: Current,
    pub(crate) deadlines: Deadlines,
    pub(crate) now: Instant,
    /// Whether the server is being stopped.
    pub(crate) stopping: bool,
    pub(crate) counters: Counters,
    /// What is to leave for other processes.
    pub(crate) elsewhere: Elsewhere,
    pub(crate) extras: Extras,
}

/// A timer of an application that can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(u64);

/// The message that is processed now.
#[derive(Default)]
pub(crate) struct Current {
    /// The application that is being called.
    pub(crate) app: Option<AppId>,
    /// The message that it is being given, where that has memory of its own: clients that are sent just this share it.
    pub(crate) message: Option<Block>,
    /// The client whose numbered message is being acted on, and the number.
    pub(crate) number: Option<(SocketId, u64)>,
    /// The position, in what several processes share, of the message that is being delivered; 0 if it has none.
    pub(crate) position: u64,
}

impl Server {
    pub(crate) fn new(limits: Limits, now: Instant) -> Server {
        Server {
            limits,
            clients: Clients::default(),
            writes: Writes::default(),
            closing: Vec::new(),
            pool: BufferPool::default(),
            current: Current::default(),
            deadlines: Deadlines::default(),
            now,
            stopping: false,
            counters: Counters::new(now),
            elsewhere: Elsewhere::default(),
            extras: Extras::default(),
        }
    }

    /// The knobs.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The record of a connection; `None` before its handshake is done, and after `on_close`.
    pub fn client(&self, id: SocketId) -> Option<&Client> {
        self.clients.get(id).filter(|client| client.is_open() || client.state == State::Closing)
    }

    /// All clients that are open, of all resources; those that wait for their `ready` are not.
    pub fn clients(&self) -> impl Iterator<Item = (SocketId, &Client)> {
        self.clients.iter().filter(|(_, client)| client.is_ready())
    }

    /// The open client of that uuid, lower case with hyphens.
    pub fn find_uuid(&self, uuid: &str) -> Option<SocketId> {
        self.clients.find_uuid(uuid)
    }

    /// The open client of that name; the first, if several share it.
    pub fn find_ident(&self, ident: &str) -> Option<SocketId> {
        self.clients.find_ident(ident)
    }

    /// The application of a path, once the server has started.
    pub fn app(&self, path: &str) -> Option<AppId> {
        self.counters.app(path)
    }

    /// The time of this turn of the loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends text to one client: a frame, or to a raw client the bare text.
    #[doc(alias = "Write")]
    pub fn write(&mut self, id: SocketId, message: &str) {
        if self.clients.get(id).is_some_and(|client| client.mail.is_numbered()) {
            return self.write_numbered(id, message);
        }
        // To the others an answer is a frame like any other, and needs no letter.
        self.push_inlined(id, Opcode::Text, message.as_bytes());
    }

    /// Sends bytes to one client as a binary frame. A client that is away does not get it later.
    pub fn write_binary(&mut self, id: SocketId, message: &[u8]) {
        self.push(id, Opcode::Binary, message);
    }

    /// Sends a packet back to where it came from.
    pub fn echo(&mut self, id: SocketId, packet: &Packet<'_>) {
        self.write(id, packet.text());
    }

    /// Sends a packet to the browser client that its `uuid` names, or to the client of any type that
    /// its `ident` names; `false` where nobody of that name exists, or too much waits for it already. Whether other
    /// processes have it is not known here: then it is `true`.
    pub fn feedback(&mut self, packet: &Packet<'_>) -> bool {
        let to = To::Name { uuid: packet.uuid(), ident: packet.ident() };
        self.deliver(Delivery::new(to, packet.text())).error.is_none()
    }

    /// The client that feedback reaches: the browser of that uuid, else the client of that ident.
    pub(crate) fn receiver(&self, uuid: &str, ident: &str) -> Option<SocketId> {
        let browser = self.find_uuid(uuid).filter(|id| self.clients[*id].client_type == ClientType::Websocket);
        browser.or_else(|| self.find_ident(ident))
    }

    /// The clients that a broadcast reaches now: all browsers of the dialog with a connection, of one application or of
    /// all, but the sender.
    pub(crate) fn browsers(&self, sender: Option<SocketId>, app: Option<AppId>) -> Vec<SocketId> {
        let browsers = self.clients.browsers().iter().copied().filter(|id| Some(*id) != sender);
        browsers.filter(|id| app.is_none() || self.clients[*id].app == app).collect()
    }

    /// Sends text to all browser clients that take part in the dialog, on any resource, but `sender`;
    /// `SocketId::default()` is nobody, for a broadcast that no client asked for.
    #[doc(alias = "broadCast")]
    pub fn broadcast(&mut self, sender: SocketId, message: &str) {
        self.deliver(Delivery::new(To::All, message).from(sender));
    }

    /// Sends the same text to many clients; the frame is made once and shared.
    pub fn write_all(&mut self, ids: &[SocketId], message: &str) {
        let mut letter = self.letter(message).many();
        for id in ids {
            self.post(*id, &mut letter);
        }
    }

    /// Closes a connection: what is queued still goes out, then a close frame with 1000.
    #[doc(alias = "Close")]
    pub fn close(&mut self, id: SocketId) {
        self.close_with(id, CloseCode::NORMAL, "");
    }

    /// The same with a code and a reason of at most 123 bytes.
    pub fn close_with(&mut self, id: SocketId, code: CloseCode, reason: &str) {
        if self.is_open(id) {
            self.hand_over(id);
            self.push_close(id, &code.body(reason));
            self.begin_close(id);
        }
    }

    /// Tells a client of the dialog why, in the words that old clients know, and closes.
    pub fn dismiss(&mut self, id: SocketId, error: Option<&str>, code: CloseCode) {
        if self.is_open(id) {
            self.hand_over(id);
            if self.clients[id].dialog {
                self.push(id, Opcode::Text, close_message(error).as_bytes());
            }
            self.close_with(id, code, error.unwrap_or_default());
        }
    }

    /// Sets what goes out with every `next` to this client.
    pub fn set_fyi(&mut self, id: SocketId, fyi: &str) {
        if let Some(client) = self.clients.get_mut(id) {
            client.set_fyi(fyi);
        }
    }

    /// Calls the application that asks, and is being called now, again after a while: its
    /// `on_timer` with `tag`. Outside of a callback it does nothing.
    pub fn call_after(&mut self, delay: Duration, tag: u64) {
        if let Some(app) = self.current.app {
            self.deadlines.set(after(self.now, delay), Deadline::App(app, tag));
        }
    }

    /// The same with a handle by which [`cancel`](Self::cancel) takes it back. `None` outside of a callback.
    ///
    /// ```
    /// use phpws::{Message, Resource, Server, SocketId, Timer};
    ///
    /// /// Says something once nobody has spoken for a minute.
    /// #[derive(Default)]
    /// struct Host(Option<Timer>);
    ///
    /// impl Resource for Host {
    ///     fn on_data(&mut self, server: &mut Server, _id: SocketId, _message: Message<'_>) {
    ///         self.0.take().map(|timer| server.cancel(timer));
    ///         self.0 = server.timer_after(std::time::Duration::from_secs(60), 0);
    ///     }
    ///
    ///     fn on_timer(&mut self, server: &mut Server, _tag: u64) {
    ///         server.broadcast(SocketId::default(), r#"{"opcode":"quiet"}"#);
    ///     }
    /// }
    /// ```
    pub fn timer_after(&mut self, delay: Duration, tag: u64) -> Option<Timer> {
        let app = self.current.app?;
        Some(Timer(self.deadlines.set_timer(after(self.now, delay), app, tag)))
    }

    /// Cancels a timer; `false` where it has run out, or was cancelled before.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        self.deadlines.cancel(timer.0)
    }

    /// Pings all browser clients and closes those that have not answered the last ping.
    #[doc(alias = "pingClients")]
    pub(crate) fn ping_clients(&mut self) {
        let is_pinged = |client: &Client| client.client_type == ClientType::Websocket && client.state == State::Open;
        let ids: Vec<SocketId> = self.clients.iter().filter(|(_, client)| is_pinged(client)).map(|(id, _)| id).collect();
        for id in ids {
            let client = &mut self.clients[id];
            if std::mem::replace(&mut client.expect_pong, true) {
                log::info!("Socket #{id} timed out (No PONG received). Closing.");
                self.close_with(id, CloseCode::GOING_AWAY, "No PONG received");
            } else {
                let payload = client.mail.ping_payload();
                self.push(id, Opcode::Ping, payload.as_bytes());
            }
        }
    }

    pub(crate) fn is_open(&self, id: SocketId) -> bool {
        self.clients.get(id).is_some_and(Client::is_open)
    }

    /// Text on its way to clients; what is being handed out is shared, not copied.
    pub(crate) fn letter<'a>(&self, text: &'a str) -> Letter<'a> {
        Letter::new(text).in_memory(self.current.memory_of(text.as_bytes()).cloned()).at(self.current.position)
    }

    /// Queues a message for an open client in the client's own form.
    pub(crate) fn post(&mut self, id: SocketId, letter: &mut Letter<'_>) {
        let Some(client) = self.clients.open_mut(id) else { return };
        log::trace!("#{id} > {}", Elided(Opcode::Text, letter.bytes()));
        if let (true, Some(kept)) = (client.state == State::Away, client.mail.kept_mut()) {
            let lost = self.extras.keep(id, kept, letter.item(), self.limits.kept_bytes());
            self.acted(Bound::Kept, lost);
            return self.counters.frame_out(Opcode::Text);
        }
        let is_browser = client.client_type == ClientType::Websocket;
        let Some(lost) = client.mail.post(&mut self.pool, letter, id, &self.limits, is_browser) else { return };
        self.acted(Bound::Kept, lost);
        self.counters.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Queues a frame for a client that has a connection.
    pub(crate) fn push(&mut self, id: SocketId, opcode: Opcode, payload: &[u8]) {
        self.push_inlined(id, opcode, payload);
    }

    /// The same for where it pays to be part of the caller.
    #[inline(always)]
    fn push_inlined(&mut self, id: SocketId, opcode: Opcode, payload: &[u8]) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_connected()) else { return };
        log::trace!("#{id} > {}", Elided(opcode, payload));
        if client.mail.frame(&mut self.pool, opcode, payload, self.current.memory_of(payload)) {
            self.counters.frame_out(opcode);
            if client.mail.cost() > self.limits.full_outbox() {
                self.writes.note_full(id);
            }
            if client.mail.becomes_dirty() {
                self.writes.push(id);
            }
        }
    }

    /// Queues the first message of a client: alone in one read where the client takes one frame a read.
    pub(crate) fn push_first(&mut self, id: SocketId, message: &str) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_connected()) else { return };
        log::trace!("#{id} > {}", Elided(Opcode::Text, message.as_bytes()));
        client.mail.first(&mut self.pool, message);
        self.counters.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Queues bytes that are no frame: an HTTP answer.
    pub(crate) fn push_bytes(&mut self, id: SocketId, bytes: &[u8]) {
        self.clients[id].mail.bytes(&mut self.pool, bytes);
        self.mark_dirty(id);
    }

    /// Queues the last frame of a connection; raw clients have no such thing.
    pub(crate) fn push_close(&mut self, id: SocketId, body: &[u8]) {
        self.clients[id].set_close_code(body);
        self.push(id, Opcode::Close, body);
    }

    /// Before a close frame: what is kept goes out, if the client gets it at all.
    pub(crate) fn hand_over(&mut self, id: SocketId) {
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.is_connected()) {
            client.mail.hand_over(&mut self.pool, self.limits.kept_bytes(), usize::MAX);
        }
    }

    /// Acknowledges a message: the client may send its next one.
    pub(crate) fn next(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if let Some(pace) = client.mail.pace() {
            pace.client_spoke();
        }
        if client.fyi().is_empty() {
            return self.push(id, Opcode::Text, br#"{"opcode":"next","fyi":""}"#);
        }
        let fyi = serde_json::Value::from(client.fyi());
        self.push(id, Opcode::Text, format!(r#"{{"opcode":"next","fyi":{fyi}}}"#).as_bytes());
    }

    pub(crate) fn mark_dirty(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if client.mail.cost() > self.limits.full_outbox() && client.is_connected() {
            self.writes.note_full(id);
        }
        if client.mail.becomes_dirty() {
            self.writes.push(id);
        }
    }
}

impl Current {
    /// The memory of the message that an application is being given, if `payload` is that very message.
    fn memory_of(&self, payload: &[u8]) -> Option<&Block> {
        self.message.as_ref().filter(|message| std::ptr::eq(message.as_slice(), payload))
    }
}

/// `{"opcode":"close"}`, with the error where there is one.
pub(crate) fn close_message(error: Option<&str>) -> String {
    match error {
        None => r#"{"opcode":"close"}"#.into(),
        Some(error) => format!(r#"{{"opcode":"close","error":{}}}"#, serde_json::Value::from(error)),
    }
}
