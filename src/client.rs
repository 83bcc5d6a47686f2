//! One record of `$Clients`: what the server and its applications know of a connection.
//!
//! The record knows no socket; it is found by the same key. PHP counterpart: the object that `Start`
//! stores in `$this->Clients[$SocketID]`, and `serverCommand`.

use std::net::IpAddr;
use std::time::Instant;

use uuid::Uuid;

use crate::forwarded::{ClientAddress, Way};
use crate::ids::{AppId, ClientType};
use crate::mail::Mail;
use crate::newcomers::Origin;
use crate::packet::Message;
use crate::rate::Rate;
use crate::rfc6455::{CloseCode, Request};

/// How far a client has come.
///
/// | from | what happens | to |
/// |---|---|---|
/// | Handshake | a good request | Waiting |
/// | Waiting | it is told `ready` | Open |
/// | Open | its connection breaks, and it may come back | Away |
/// | Away | it comes back | Open |
/// | Handshake, Waiting, Open, Away | something ends it | Closing |
/// | Closing | the end of the turn | Closed |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No request yet.
    Handshake,
    /// Its handshake is done; it has not been told `ready`.
    Waiting,
    /// The application has it.
    Open,
    /// It has lost its connection and may come back.
    Away,
    /// Something ended it; the application has not been told yet.
    Closing,
    /// The application has been told; the last bytes may still be on their way.
    Closed,
}

/// One record of `$Clients`.
#[derive(Debug)]
pub struct Client {
    pub(crate) state: State,
    pub(crate) uuid: Uuid,
    pub(crate) client_type: ClientType,
    pub(crate) app: Option<AppId>,
    pub(crate) ip: IpAddr,
    pub(crate) way: Way,
    /// Whether a backend may come from there: the server's own host, or an allowed one.
    pub(crate) from_ours: bool,
    pub(crate) counted_ip: bool,
    /// Whether the limits for one address do not apply to it.
    pub(crate) exempt: bool,
    /// When its handshake was done.
    pub(crate) opened: Option<Instant>,
    /// For the few that have one.
    names: Option<Box<Names>>,
    pub(crate) dialog: bool,
    pub(crate) buffer: Option<Box<ChunkBuffer>>,
    pub(crate) expect_pong: bool,
    /// What was logged of it once and is not to fill the log: a bit each.
    pub(crate) logged: u16,
    /// The code of the close frame that was queued, or would have been to a raw client.
    pub(crate) close_code: Option<u16>,
    pub(crate) request: Option<Box<Request>>,
    pub(crate) mail: Mail,
    pub(crate) rate: Option<Box<Rate>>,
    /// Whether it has a rate, or a message of it was put off.
    pub(crate) may_rest: bool,
}

/// Bytes of the header `Ident`; a request with a longer one is answered with 400.
pub(crate) const MAX_IDENT: usize = 128;

/// Bits of `logged`; the lower ones are for the opcodes that were refused.
pub(crate) const PONG_LOGGED: u16 = 1 << 15;
const BUFFERING_LOGGED: u16 = 1 << 14;

/// What a client is called and told, beside its uuid.
#[derive(Debug, Default)]
struct Names {
    ident: Box<str>,
    fyi: Box<str>,
}

/// The chunks between `bufferON` and `bufferOFF`.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuffer {
    chunks: usize,
    bytes: Vec<u8>,
}

/// What is to be done with a message after `server_command` saw it.
pub(crate) enum Command<'a> {
    /// It goes to the application.
    Deliver(Message<'a>),
    /// These chunks go to the application.
    DeliverChunks(Vec<u8>),
    /// It was for the server itself, or is kept.
    Taken,
    /// More than may be kept.
    TooManyChunks,
}

impl Client {
    pub(crate) fn new(ip: IpAddr) -> Client {
        Client {
            state: State::Handshake,
            uuid: Uuid::nil(),
            client_type: ClientType::Websocket,
            app: None,
            ip,
            way: Way::Direct,
            from_ours: false,
            counted_ip: false,
            exempt: false,
            opened: None,
            names: None,
            dialog: true,
            buffer: None,
            expect_pong: false,
            logged: 0,
            close_code: None,
            request: None,
            mail: Mail::default(),
            rate: None,
            may_rest: false,
        }
    }

    /// The name by which feedback finds this client; nil until `ready`, and without the dialog.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Who is at the other end.
    #[doc(alias = "clientType")]
    pub fn client_type(&self) -> ClientType {
        self.client_type
    }

    /// The peer's address; behind a trusted proxy the one that the proxy names.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The same, with the way on which the client came.
    pub(crate) fn address(&self) -> ClientAddress {
        ClientAddress { ip: self.ip, way: self.way }
    }

    /// Where its connection counts, while it is no client.
    pub(crate) fn origin(&self) -> Origin {
        Origin::new(self.ip, self.exempt)
    }

    /// The name the client gave itself with the header `Ident`; empty if it gave none, or may be no backend.
    pub fn ident(&self) -> &str {
        self.names.as_ref().map_or("", |names| &names.ident)
    }

    /// What goes out with every `next`.
    pub fn fyi(&self) -> &str {
        self.names.as_ref().map_or("", |names| &names.fyi)
    }

    pub(crate) fn set_ident(&mut self, ident: &str) {
        if self.ident() != ident {
            self.names.get_or_insert_default().ident = ident.into();
        }
    }

    pub(crate) fn set_fyi(&mut self, fyi: &str) {
        if self.fyi() != fyi {
            self.names.get_or_insert_default().fyi = fyi.into();
        }
    }

    /// The request that opened the connection: path, query, headers, cookies. `None` for raw clients,
    /// and after `on_open` where the application does not keep it.
    #[doc(alias = "headers")]
    pub fn request(&self) -> Option<&Request> {
        self.request.as_deref()
    }

    /// Bytes that wait to be written to this client.
    pub fn queued_bytes(&self) -> usize {
        self.mail.waiting()
    }

    /// Whether the client's connection broke and it may still come back.
    pub fn is_away(&self) -> bool {
        self.state == State::Away
    }

    /// Whether it is past its handshake and not closing.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Open | State::Away)
    }

    /// Whether frames reach it.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Waiting | State::Open)
    }

    /// Whether it waits for its `ready` until other processes know of it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether it was told `ready` and is still open.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Open | State::Away)
    }

    /// The same, for the dialog: others find it by its uuid.
    pub(crate) fn is_known(&self) -> bool {
        self.is_ready() && self.dialog
    }

    /// Whether it may come back on another connection: not if it, or an application, closed normally, and not before it
    /// was told `ready`, since it knows no uuid to come back with.
    pub(crate) fn may_come_back(&self) -> bool {
        const TEMPORARY: [u16; 4] = [CloseCode::GOING_AWAY.0, 1006, CloseCode::SERVICE_RESTART.0, CloseCode::TRY_AGAIN_LATER.0];
        self.is_known() && self.mail.is_numbered() && TEMPORARY.contains(&self.final_code())
    }

    /// Whether its application was told of it.
    pub(crate) fn was_opened(&self) -> bool {
        self.app.is_some() && (!self.dialog || !self.uuid.is_nil())
    }

    /// Notes that something was logged of it; says whether it was before.
    pub(crate) fn log_once(&mut self, bit: u16) -> bool {
        let before = self.logged & bit != 0;
        self.logged |= bit;
        before
    }

    /// Between `bufferON` and `bufferOFF`, where bytes are chunks and not messages.
    pub(crate) fn is_buffering(&self) -> bool {
        self.buffer.is_some()
    }

    /// What the chunks cost in memory.
    pub(crate) fn chunks_cost(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.capacity())
    }

    /// The first pair of each client is shown, the others only to those who look closely.
    fn buffering_level(&self) -> log::Level {
        if self.logged & BUFFERING_LOGGED != 0 { log::Level::Debug } else { log::Level::Info }
    }

    /// Keeps the code of a close frame's body; an empty one has none (1005, RFC 6455, section 7.1.5).
    pub(crate) fn set_close_code(&mut self, body: &[u8]) {
        self.close_code = Some(body.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
    }

    /// The code that the connection ended with; 1006 where it broke without a close frame.
    pub(crate) fn final_code(&self) -> u16 {
        self.close_code.unwrap_or(1006)
    }

    /// What an application would get of a message: all chunks with the last, and none of those before.
    pub(crate) fn whole<'a>(&'a self, message: &'a [u8]) -> Option<&'a [u8]> {
        match &self.buffer {
            None => Some(message),
            Some(buffer) => (message == b"bufferOFF").then_some(&buffer.bytes),
        }
    }

    /// `bufferON`, `bufferOFF` and the chunks between them. A limit of 0 chunks means no limit.
    #[doc(alias = "serverCommand")]
    pub(crate) fn server_command<'a>(&mut self, message: Message<'a>, max_chunks: usize, max_bytes: usize) -> Command<'a> {
        match (message.bytes(), &mut self.buffer) {
            (b"bufferON", _) => {
                log::log!(self.buffering_level(), "Buffering ON");
                self.buffer = Some(Box::default());
                Command::Taken
            }
            (b"bufferOFF", buffer) => {
                let bytes = buffer.take().unwrap_or_default().bytes;
                log::log!(self.buffering_level(), "Buffering OFF");
                self.logged |= BUFFERING_LOGGED;
                Command::DeliverChunks(bytes)
            }
            (chunk, Some(buffer)) => {
                let full = max_chunks > 0 && buffer.chunks > max_chunks;
                if full || buffer.bytes.len() + chunk.len() > max_bytes {
                    return Command::TooManyChunks;
                }
                buffer.chunks += 1;
                buffer.bytes.extend_from_slice(chunk);
                Command::Taken
            }
            (_, None) => Command::Deliver(message),
        }
    }
}
