//! A server without sockets, to test an application: [`Harness`].
//!
//! Clients are memory, time is what the test says, and everything else is the server itself: its loop reads the
//! handshake and the frames of each client, calls the application, and writes what a client would get. Each call
//! returns when the loop would sleep, so no test needs to wait.
//!
//! ```
//! use phpws::testing::Harness;
//! use phpws::{Message, Resource, Server, SocketId};
//!
//! struct Shout;
//!
//! impl Resource for Shout {
//!     fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
//!         let text = String::from_utf8_lossy(message.bytes()).to_uppercase();
//!         server.write(id, &text);
//!     }
//! }
//!
//! let mut harness = Harness::new();
//! harness.register("/shout", Shout);
//! let client = harness.connect("/shout");
//! harness.send(client, "hello");
//! assert_eq!(harness.texts(client), [r#"{"opcode":"next","fyi":""}"#, "HELLO"]);
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::client::Client;
use crate::deadlines::after;
use crate::ids::SocketId;
use crate::limits::Limits;
use crate::pipe::{Memory, Pipe};
use crate::resource::Resource;
use crate::rfc6455::Opcode;
use crate::rfc6455::frame;
use crate::server::Server;
use crate::socket::{Peer, Socket, Stage};
use crate::tls::Stream;
use crate::web_socket_server::WebSocketServer;

/// What a client masks its frames with.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A server whose clients are memory. What goes wrong panics with a line that says what.
pub struct Harness {
    server: WebSocketServer,
    started: bool,
}

impl Default for Harness {
    fn default() -> Harness {
        Harness::new()
    }
}

impl Harness {
    /// A server with the default limits.
    pub fn new() -> Harness {
        Harness::with_limits(Limits::default())
    }

    /// A server with these limits.
    pub fn with_limits(limits: Limits) -> Harness {
        let server = WebSocketServer::without_listener(limits).unwrap_or_else(|error| panic!("{error}"));
        Harness { server, started: false }
    }

    /// Registers an application under a path; before the first client.
    pub fn register(&mut self, path: &str, app: impl Resource + 'static) {
        self.server.register_resource(path, app).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The server's own handle, for instance for [`waker`](WebSocketServer::waker).
    pub fn web_socket_server(&mut self) -> &mut WebSocketServer {
        &mut self.server
    }

    /// What applications see.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server.server
    }

    /// A browser connects to a path and is told `ready`, which is taken away: [`texts`](Self::texts) begins
    /// behind it.
    pub fn connect(&mut self, path: &str) -> SocketId {
        let client = self.connect_with(path, "");
        let told = self.texts(client);
        let dialog = self.server.server.client(client).is_some_and(|client| client.dialog);
        assert!(!dialog || told.first().is_some_and(|text| text.contains(r#""opcode":"ready""#)), "not ready: {told:?}");
        client
    }

    /// A client connects with further header lines, each with its `\r\n`: `Client-Type: php\r\n` makes a backend.
    /// What it is told stays to be looked at.
    pub fn connect_with(&mut self, path: &str, fields: &str) -> SocketId {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n{fields}\r\n"
        );
        let client = self.open();
        self.feed(client, request.as_bytes());
        let answer = &mut self.memory(client).output;
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
        let head: Vec<u8> = answer.drain(..end).collect();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "no 101 for {path}: {}", String::from_utf8_lossy(&head));
        client
    }

    /// A connection on which nothing was said yet.
    pub fn open(&mut self) -> SocketId {
        if !std::mem::replace(&mut self.started, true) {
            self.server.begin().unwrap_or_else(|error| panic!("{error}"));
        }
        let id = self.server.server.clients.insert(Client::new(Ipv4Addr::LOCALHOST.into()));
        let deadline = after(self.server.server.now, self.server.server.limits().handshake_timeout);
        let stream = Stream::plain(Pipe::Memory(Box::default()));
        self.server.sockets.insert(id, Socket::new(stream, Stage::Head(Vec::new()), deadline));
        self.server.remind(id);
        id
    }

    /// A client sends one text message.
    pub fn send(&mut self, client: SocketId, text: &str) {
        self.feed(client, &masked(Opcode::Text, text.as_bytes()));
    }

    /// A client sends one binary message.
    pub fn send_binary(&mut self, client: SocketId, bytes: &[u8]) {
        self.feed(client, &masked(Opcode::Binary, bytes));
    }

    /// A client sends bytes as they are, and the loop acts until it would sleep.
    pub fn feed(&mut self, client: SocketId, bytes: &[u8]) {
        self.memory(client).input.extend_from_slice(bytes);
        self.server.turn_for(client);
    }

    /// A client's connection breaks.
    pub fn hang_up(&mut self, client: SocketId) {
        self.memory(client).ended = true;
        self.server.turn_for(client);
    }

    /// The loop acts until it would sleep, for instance on values of other threads.
    pub fn turn(&mut self) {
        self.server.turn_for(SocketId::default());
    }

    /// Time passes, and the loop acts on what is due.
    pub fn advance(&mut self, time: Duration) {
        self.server.server.now += time;
        self.server.turn_for(SocketId::default());
    }

    /// The text messages that a client was sent since the last time; other frames are passed over.
    pub fn texts(&mut self, client: SocketId) -> Vec<String> {
        let frames = self.frames(client);
        let texts = frames.into_iter().filter(|(opcode, _)| *opcode == 1);
        texts.map(|(_, payload)| String::from_utf8_lossy(&payload).into_owned()).collect()
    }

    /// All frames that a client was sent since the last time: opcode (RFC 6455, section 5.2) and payload.
    pub fn frames(&mut self, client: SocketId) -> Vec<(u8, Vec<u8>)> {
        let Some(socket) = self.server.sockets.get_mut(client) else { return Vec::new() };
        let bytes = std::mem::take(&mut socket.stream.memory().output);
        let mut rest = &bytes[..];
        std::iter::from_fn(|| take_frame(&mut rest)).collect()
    }

    /// Throws away what a client was sent; gives the number of bytes.
    pub fn discard(&mut self, client: SocketId) -> usize {
        let output = &mut self.memory(client).output;
        let count = output.len();
        output.clear();
        count
    }

    /// The same for all clients.
    pub fn discard_all(&mut self) -> usize {
        let outputs = self.server.sockets.values_mut().map(|socket| &mut socket.stream.memory().output);
        outputs.map(|output| output.drain(..).len()).sum()
    }

    /// Whether the server has ended a client's connection, or let it go.
    pub fn is_closed(&mut self, client: SocketId) -> bool {
        self.server.sockets.get_mut(client).is_none_or(|socket| socket.peer == Peer::Gone || socket.stream.memory().shut)
    }

    fn memory(&mut self, client: SocketId) -> &mut Memory {
        let socket = self.server.sockets.get_mut(client);
        socket.unwrap_or_else(|| panic!("client {client} has no connection any more")).stream.memory()
    }
}

/// A frame as a client sends it.
fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::encode_header(opcode, payload.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend_from_slice(&MASK);
    let begin = frame.len();
    frame.extend_from_slice(payload);
    frame::unmask(&mut frame[begin..], MASK);
    frame
}

/// Takes one unmasked frame off the front.
fn take_frame(rest: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
    let (opcode, short) = (rest.first()? & 0x0F, usize::from(rest.get(1)? & 0x7F));
    let (len, head) = match short {
        126 => (usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (short, 2),
    };
    let payload = rest.get(head..head + len)?.to_vec();
    *rest = &rest[head + len..];
    Some((opcode, payload))
}
