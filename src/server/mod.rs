//! What an application may do: the [`Server`] that every callback gets.
//!
//! Nothing here touches a socket. What is written goes to outboxes, what is closed goes on a queue,
//! and the loop acts on both before it sleeps; so an application may call anything from anywhere.
//! PHP counterpart: the methods of `webSocketServer` that `resource.php` hands out, and
//! `specificChecks`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slotmap::SlotMap;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::client::{Client, State};
use crate::deadlines::{Deadline, Deadlines, after};
use crate::extras::cluster::Backplane;
use crate::extras::metrics::Metrics;
use crate::extras::notices::Notices;
use crate::extras::publishing::{Receipt, To};
use crate::extras::rooms::Rooms;
use crate::ids::AppId;
use crate::ids::{ClientType, SocketId};
use crate::limits::{Limits, counted_address};
use crate::mail::outbox::Spares;
use crate::mail::pace::Pace;
use crate::packet::Packet;
use crate::printable::Printable;
use crate::rate::Rate;
use crate::rfc6455::handshake::PHP_FIRST_READ;
use crate::rfc6455::{CloseCode, Opcode, Reason, Request, frame};

/// The records of all connections, and what may be done with them.
pub struct Server {
    limits: Limits,
    #[doc(alias = "Clients")]
    pub(crate) clients: SlotMap<SocketId, Client>,
    #[doc(alias = "clientIPs")]
    client_ips: HashMap<IpAddr, usize>,
    by_uuid: HashMap<Uuid, SocketId, BuildHasherDefault<RandomKey>>,
    by_ident: HashMap<Box<str>, Vec<SocketId>>,
    pub(crate) rooms: Rooms,
    /// Clients that are open: past their handshake, not yet closing.
    open: usize,
    /// Those of them that have lost their connection and may come back.
    pub(crate) away: usize,
    /// The place, in what several processes share, of the message that is being delivered; 0 if it has none.
    pub(crate) at: u64,
    pub(crate) dirty: Vec<SocketId>,
    pub(crate) closing: Vec<SocketId>,
    /// Who wants to know what became of a message of this turn, and of how many receivers.
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) remembered: usize,
    /// Whether some outbox is half full, so that the loop should write before it reads on.
    pub(crate) congested: bool,
    pub(crate) spares: Spares,
    /// The message that an application is being given, where it has memory of its own: who is sent
    /// just this shares it.
    pub(crate) collected: Option<Rc<Vec<u8>>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) now: Instant,
    /// Whose numbered message is being acted on, and its `cseq`, until it is given to other processes.
    pub(crate) in_hand: Option<(SocketId, u64)>,
    /// The way to other processes.
    pub(crate) backplane: Option<Box<Backplane>>,
    /// The application that is being called.
    pub(crate) app: Option<AppId>,
    pub(crate) metrics: Metrics,
    pub(crate) notices: Option<Notices>,
}

/// The hash of a uuid: its first bytes, since the keys of the table are the random ones that the server gave.
/// What clients ask for is only looked up.
#[derive(Default)]
struct RandomKey(u64);

impl Hasher for RandomKey {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Why `specific_checks` shows a client the door.
pub(crate) struct Dismissal {
    pub(crate) error: Option<String>,
    pub(crate) code: CloseCode,
}

impl Server {
    pub(crate) fn new(limits: Limits, now: Instant) -> Server {
        Server {
            limits,
            clients: SlotMap::with_key(),
            client_ips: HashMap::new(),
            by_uuid: HashMap::default(),
            by_ident: HashMap::new(),
            rooms: Rooms::default(),
            open: 0,
            away: 0,
            at: 0,
            dirty: Vec::new(),
            closing: Vec::new(),
            receipts: Vec::new(),
            remembered: 0,
            congested: false,
            spares: Spares::default(),
            collected: None,
            deadlines: Deadlines::default(),
            now,
            in_hand: None,
            backplane: None,
            app: None,
            metrics: Metrics::new(now),
            notices: None,
        }
    }

    /// The knobs.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The record of a connection; `None` before the application was given it, and after `on_close`.
    pub fn client(&self, id: SocketId) -> Option<&Client> {
        self.clients.get(id).filter(|client| matches!(client.state, State::Open | State::Closing))
    }

    /// All clients that are open, of all resources; those that wait for their `ready` are not.
    pub fn clients(&self) -> impl Iterator<Item = (SocketId, &Client)> {
        self.clients.iter().filter(|(_, client)| client.state == State::Open && !client.is_awaiting())
    }

    /// The open client of that uuid, lower case with hyphens.
    pub fn find_uuid(&self, uuid: &str) -> Option<SocketId> {
        // Other spellings of the same number name nobody, as where strings are compared.
        let canonical = uuid.len() == Hyphenated::LENGTH && !uuid.bytes().any(|byte| byte.is_ascii_uppercase());
        let uuid = canonical.then(|| Uuid::try_parse(uuid).ok()).flatten()?;
        self.by_uuid.get(&uuid).copied()
    }

    pub(crate) fn by_uuid(&self, uuid: Uuid) -> Option<SocketId> {
        self.by_uuid.get(&uuid).copied()
    }

    /// The open client of that name; the first, if several share it.
    pub fn find_ident(&self, ident: &str) -> Option<SocketId> {
        self.by_ident.get(ident).and_then(|ids| ids.first()).copied()
    }

    /// The time of this turn of the loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends text to one client: a frame, or to a raw client the bare text.
    #[doc(alias = "Write")]
    pub fn write(&mut self, id: SocketId, message: &str) {
        match self.clients.get(id).is_some_and(|client| client.kept.is_some()) {
            true => self.keep(id, &message.into(), None),
            false => self.push(id, Opcode::Text, message.as_bytes()),
        }
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
    /// its `ident` names; `false` where nobody of that name is there. Whether other processes have it is
    /// not known here: then it is `true`.
    pub fn feedback(&mut self, packet: &Packet<'_>) -> bool {
        if self.backplane.is_some() {
            let to = To::Name { uuid: packet.uuid(), ident: packet.ident() };
            return self.publish(SocketId::default(), to, packet.text(), None, false).error.is_none();
        }
        let target = self.receiver(packet.uuid(), packet.ident());
        match target {
            Some(id) => self.write_unasked(id, packet.text()),
            None => {
                self.nobody(packet.uuid(), packet.ident());
            }
        }
        target.is_some()
    }

    /// Whom feedback reaches: the browser of that uuid, else the client of that ident.
    pub(crate) fn receiver(&self, uuid: &str, ident: &str) -> Option<SocketId> {
        let browser = self.find_uuid(uuid).filter(|id| self.clients[*id].client_type == ClientType::Websocket);
        browser.or_else(|| self.find_ident(ident))
    }

    /// Sends text to all browser clients that take part in the dialog, on any resource, but `sender`;
    /// `SocketId::default()` is nobody, for a broadcast that no client asked for.
    #[doc(alias = "broadCast")]
    pub fn broadcast(&mut self, sender: SocketId, message: &str) {
        if self.backplane.is_some() {
            self.publish(sender, To::All, message, None, false);
            return;
        }
        let receivers =
            |(id, client): &(SocketId, &Client)| client.dialog && client.client_type == ClientType::Websocket && *id != sender;
        let ids: Vec<SocketId> = self.clients().filter(receivers).map(|(id, _)| id).collect();
        self.write_all(&ids, message);
    }

    /// Sends the same text to many clients; the frame is made once and shared.
    pub fn write_all(&mut self, ids: &[SocketId], message: &str) {
        let encoded = self.shared(message.as_bytes()).is_none().then(|| {
            let mut encoded = Vec::new();
            frame::encode(Opcode::Text, message.as_bytes(), &mut encoded);
            Rc::new(encoded)
        });
        let mut text = None;
        for id in ids {
            let Some(client) = self.clients.get_mut(*id).filter(|client| client.state == State::Open) else { continue };
            let is_browser = client.client_type == ClientType::Websocket;
            if client.kept.is_some() {
                self.keep(*id, text.get_or_insert_with(|| message.into()), None);
            } else if let Some(encoded) = encoded.as_ref().filter(|_| is_browser) {
                client.outbox.push_shared(&mut self.spares, encoded);
                self.metrics.frame_out(Opcode::Text);
                self.mark_dirty(*id);
            } else {
                self.write(*id, message);
            }
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
            self.end(id);
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
        if let Some(app) = self.app {
            self.deadlines.set(after(self.now, delay), Deadline::App(app, tag));
        }
    }

    /// Pings all browser clients and closes those that have not answered the last ping.
    #[doc(alias = "pingClients")]
    pub(crate) fn ping_clients(&mut self) {
        let browsers = self.clients().filter(|(_, client)| client.client_type == ClientType::Websocket && client.is_here());
        let ids: Vec<SocketId> = browsers.map(|(id, _)| id).collect();
        for id in ids {
            if std::mem::replace(&mut self.clients[id].expect_pong, true) {
                log::info!("Socket #{id} timed out (No PONG received). Closing.");
                self.close_with(id, CloseCode::GOING_AWAY, "No PONG received");
            } else {
                let payload = self.ping_payload(id);
                self.push(id, Opcode::Ping, payload.as_bytes());
            }
        }
    }

    /// Takes messages and bytes from a client's allowance; past it, the client is told once and
    /// closed. Says whether it is open.
    pub(crate) fn spend(&mut self, id: SocketId, messages: u32, bytes: usize) -> bool {
        let now = self.now;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_here()) else { return false };
        let enough = client.rate.as_mut().is_none_or(|rate| rate.take(messages, bytes, now));
        if !enough {
            log::warn!("Socket {id} - sends too much");
            self.dismiss(id, Some("Too many messages"), CloseCode::POLICY_VIOLATION);
        }
        enough
    }

    pub(crate) fn is_open(&self, id: SocketId) -> bool {
        self.clients.get(id).is_some_and(|client| client.state == State::Open)
    }

    /// Takes over what the handshake found out; the client is open from here on.
    pub(crate) fn open(&mut self, id: SocketId, client_type: ClientType, app: Option<AppId>, dialog: bool) {
        let client = &mut self.clients[id];
        client.state = State::Open;
        client.opened = Some(self.now);
        client.client_type = client_type;
        client.app = app;
        client.dialog = dialog;
        let (messages, bytes) = (self.limits.max_message_rate, self.limits.max_byte_rate);
        let limited = client_type == ClientType::Websocket && (messages > 0 || bytes > 0);
        client.rate = limited.then(|| Box::new(Rate::new(messages, bytes, self.now)));
        self.open += 1;
        self.metrics.opened(client_type);
    }

    /// Releases frames to this client one at a time, and fills its unasked ones up to whole reads.
    pub(crate) fn pace(&mut self, id: SocketId) {
        self.clients[id].pace = Some(Box::new(Pace::new(self.now)));
    }

    /// Keeps the request and what its headers say of the client.
    pub(crate) fn introduce(&mut self, id: SocketId, request: Request) {
        let client = &mut self.clients[id];
        client.set_ident(request.header("ident").unwrap_or_default());
        client.request = Some(Box::new(request));
    }

    /// What is checked once the handshake is right, in PHP's order.
    #[doc(alias = "specificChecks")]
    pub(crate) fn specific_checks(&mut self, id: SocketId) -> Result<(), Dismissal> {
        let client = &mut self.clients[id];
        if client.app.is_none() {
            self.metrics.refused(Reason::Resource);
            log::info!("Application incomplete or does not exist; Telling Client to disconnect on #{id}");
            return Err(Dismissal { error: None, code: CloseCode::POLICY_VIOLATION });
        }
        if self.limits.max_clients > 0 && self.open > self.limits.max_clients {
            self.metrics.refused(Reason::MaxClients);
            log::info!("{id}, Too many connections");
            return Err(Dismissal { error: Some("Too many connections".into()), code: CloseCode::TRY_AGAIN_LATER });
        }
        if self.limits.max_per_ip > 0 && client.client_type == ClientType::Websocket {
            let count = self.client_ips.entry(counted_address(client.ip)).or_default();
            if *count >= self.limits.max_per_ip {
                let error = format!("To many connections from:  {}", client.ip);
                self.metrics.refused(Reason::MaxPerIp);
                log::info!("{id}, {error}");
                return Err(Dismissal { error: Some(error), code: CloseCode::POLICY_VIOLATION });
            }
            *count += 1;
            client.counted_ip = true;
        }
        Ok(())
    }

    /// Tells the client to start: gives it a uuid and sends `ready`.
    #[doc(alias = "guidv4")]
    pub(crate) fn ready(&mut self, id: SocketId) {
        self.ready_as(id, Uuid::new_v4());
    }

    /// The same with a uuid that is known elsewhere already.
    pub(crate) fn ready_as(&mut self, id: SocketId, uuid: Uuid) {
        log::info!("Telling Client to start on #{id}");
        let client = &mut self.clients[id];
        client.uuid = uuid;
        self.by_uuid.insert(uuid, id);
        if !client.ident().is_empty() {
            self.by_ident.entry(client.ident().into()).or_default().push(id);
        }
        self.push_ready(id);
    }

    pub(crate) fn push_ready(&mut self, id: SocketId) {
        self.push_first(id, &self.ready_message(id));
    }

    /// Sends the first message of a client: alone in one read where the client takes one frame a read.
    pub(crate) fn push_first(&mut self, id: SocketId, message: &str) {
        if self.clients[id].pace.is_none() {
            return self.push(id, Opcode::Text, message.as_bytes());
        }
        self.clients[id].outbox.push_with(&mut self.spares, true, |run| frame::encode_filled(message, PHP_FIRST_READ, run));
        self.metrics.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Sends JSON that the client may not be waiting for. A PHP client that is busy finds several such
    /// frames in its socket later: filled up to its read size when they go, none of them is lost.
    pub(crate) fn write_unasked(&mut self, id: SocketId, message: &str) {
        if self.clients[id].pace.is_none() {
            return self.write(id, message);
        }
        self.clients[id].outbox.push_later(&mut self.spares, message);
        self.metrics.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Acknowledges a message: the client may send its next one.
    pub(crate) fn next(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if let Some(pace) = &mut client.pace {
            pace.client_spoke();
        }
        if client.fyi().is_empty() {
            return self.push(id, Opcode::Text, br#"{"opcode":"next","fyi":""}"#);
        }
        let fyi = serde_json::Value::from(client.fyi());
        self.push(id, Opcode::Text, format!(r#"{{"opcode":"next","fyi":{fyi}}}"#).as_bytes());
    }

    /// Queues bytes that are no frame: an HTTP answer.
    pub(crate) fn push_bytes(&mut self, id: SocketId, bytes: &[u8]) {
        self.clients[id].outbox.push_with(&mut self.spares, true, |run| run.extend_from_slice(bytes));
        self.mark_dirty(id);
    }

    /// Queues the last frame of a connection; raw clients have no such thing.
    pub(crate) fn push_close(&mut self, id: SocketId, body: &[u8]) {
        self.clients[id].set_close_code(body);
        if self.clients[id].client_type != ClientType::Tcp {
            self.push(id, Opcode::Close, body);
        }
    }

    /// Queues a frame for an open client.
    pub(crate) fn push(&mut self, id: SocketId, opcode: Opcode, payload: &[u8]) {
        let shared = self.shared(payload);
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_here()) else { return };
        log::trace!("#{id} > {}", Elided(opcode, payload));
        let alone = client.pace.is_some();
        match (client.client_type, opcode) {
            (ClientType::Tcp, Opcode::Text | Opcode::Binary) => {
                client.outbox.push_with(&mut self.spares, alone, |run| run.extend_from_slice(payload));
            }
            (ClientType::Tcp, _) => return,
            _ => match shared.filter(|_| !alone) {
                Some(shared) => {
                    client.outbox.push_with(&mut self.spares, false, |run| frame::encode_header(opcode, payload.len(), run));
                    client.outbox.push_shared(&mut self.spares, &shared);
                }
                None => client.outbox.push_with(&mut self.spares, alone, |run| frame::encode(opcode, payload, run)),
            },
        }
        self.metrics.frame_out(opcode);
        self.mark_dirty(id);
    }

    /// The memory of the message that an application is being given, if `payload` is that very message.
    fn shared(&self, payload: &[u8]) -> Option<Rc<Vec<u8>>> {
        self.collected.clone().filter(|collected| std::ptr::eq(collected.as_slice(), payload))
    }

    /// Drops a client that reads too slowly: what waits is forgotten, but for a run under way.
    pub(crate) fn drop_slow(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        if client.state != State::Open || client.waiting_cost() <= self.limits.max_outbox {
            return;
        }
        log::warn!("Socket {id} - {} bytes queued, client reads too slowly", client.queued_bytes());
        client.outbox.discard_unsent();
        client.pace = None;
        self.metrics.slow += 1;
        if client.client_type == ClientType::Tcp {
            self.write(id, &close_message(Some("Too slow")));
        }
        self.push_close(id, &CloseCode::TRY_AGAIN_LATER.0.to_be_bytes());
        self.end(id);
    }

    pub(crate) fn mark_dirty(&mut self, id: SocketId) {
        let client = &mut self.clients[id];
        self.congested |= client.waiting_cost() > self.limits.max_outbox / 2 && client.is_here();
        if !std::mem::replace(&mut client.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Nothing is queued for this client any more; the loop buries it. One that may come back only loses
    /// its connection.
    pub(crate) fn end(&mut self, id: SocketId) {
        if self.is_kept(id) {
            return self.lose(id);
        }
        // One that may come back to another process is left for that.
        let leaves = self.metrics.draining && self.clients.get(id).is_some_and(|client| client.kept.is_some());
        self.unshare(id, !leaves);
        self.forsake(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.state {
            State::Open => self.open -= 1,
            State::Handshake => {}
            State::Closing | State::Closed => return,
        }
        client.state = State::Closing;
        client.buffer = None;
        self.closing.push(id);
        self.forget(id);
    }

    /// Takes the client out of the indexes and counts: nobody finds it any more.
    fn forget(&mut self, id: SocketId) {
        self.forget_rooms(id);
        let client = &self.clients[id];
        // A client that came twice is found by its last connection.
        if self.by_uuid.get(&client.uuid) == Some(&id) {
            self.by_uuid.remove(&client.uuid);
        }
        if let Some(ids) = self.by_ident.get_mut(client.ident()) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_ident.remove(client.ident());
            }
        }
        if client.counted_ip {
            self.discount(client.ip);
        }
    }

    fn discount(&mut self, ip: IpAddr) {
        let address = counted_address(ip);
        if let Some(count) = self.client_ips.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.client_ips.remove(&address);
            }
        }
    }

    /// A client came back from this address, where it is counted from here on.
    pub(crate) fn moved(&mut self, id: SocketId, ip: IpAddr) {
        let before = std::mem::replace(&mut self.clients[id].ip, ip);
        if self.clients[id].counted_ip {
            self.discount(before);
            *self.client_ips.entry(counted_address(ip)).or_default() += 1;
        }
    }
}

/// `{"opcode":"close"}`, with the error where there is one.
pub(crate) fn close_message(error: Option<&str>) -> String {
    match error {
        None => r#"{"opcode":"close"}"#.into(),
        Some(error) => format!(r#"{{"opcode":"close","error":{}}}"#, serde_json::Value::from(error)),
    }
}

/// A frame as the trace shows it: what it is, how long, and how it begins.
pub(crate) struct Elided<'a>(pub(crate) Opcode, pub(crate) &'a [u8]);

impl std::fmt::Display for Elided<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 64;
        let beginning = String::from_utf8_lossy(&self.1[..self.1.len().min(SHOWN)]);
        let dots = if self.1.len() > SHOWN { "…" } else { "" };
        write!(f, "{:?} {} bytes {}{dots}", self.0, self.1.len(), Printable(&beginning))
    }
}
