//! One connection to the server under test, from its first packet to `ready` and beyond.

use std::io;
use std::rc::Rc;

use crate::meter::Meter;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::stream::Stream;
use crate::url::Scheme;
use crate::wire::{CLOSE, Frame, Framing, Inbox, PING, PONG, TEXT, masked, packet_opcode, word};

const LONGEST_HEAD: usize = 16 * 1024;
/// The key of every handshake, and what proves that the server has read it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

enum Stage {
    /// The request is on its way; the answer so far.
    Upgrading(Vec<u8>),
    /// Waits for `ready`.
    Greeting,
    Open,
}

pub struct Connection {
    pub stream: Stream,
    /// When it was begun.
    pub begun: u64,
    /// Whether its end is on the way.
    pub ending: bool,
    dialog: bool,
    stage: Stage,
    inbox: Inbox,
}

impl Connection {
    /// A connection that sends its request as soon as it can.
    pub fn new(mut stream: Stream, now: u64, options: &Options, headers: &str, dialog: bool) -> io::Result<Connection> {
        let framing = match options.url.scheme {
            Scheme::Tcp => Framing::Bytes(masked(TEXT, &vec![0; options.size]).len()),
            _ => Framing::WebSocket,
        };
        let request: Rc<[u8]> = match options.url.scheme {
            Scheme::Tcp => Rc::from([]),
            _ => request(options, headers).into_bytes().into(),
        };
        stream.send(&request, request.len())?;
        let stage = Stage::Upgrading(Vec::new());
        Ok(Connection { stream, begun: now, ending: false, dialog, stage, inbox: Inbox::new(framing) })
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Raw bytes need no handshake: a connection that takes bytes is open. Says whether it is now.
    pub fn opens_by_itself(&mut self) -> bool {
        let opens = matches!(self.inbox.framing(), Framing::Bytes(_)) && !self.is_open();
        if opens {
            self.stage = Stage::Open;
        }
        opens
    }

    /// Takes what has been read.
    pub fn take(&mut self, mut input: &[u8], scenario: &mut impl Scenario, meter: &mut Meter, id: usize) -> Result<(), String> {
        if let Stage::Upgrading(head) = &mut self.stage {
            let Some(rest) = end_of_head(head, input) else { return Ok(()) };
            check_head(head)?;
            input = rest;
            self.stage = if self.dialog { Stage::Greeting } else { Stage::Open };
            if !self.dialog {
                scenario.opened(id, "");
            }
        }
        self.inbox.keep_whole(scenario.wants_whole(id));
        while let Some(frame) = self.inbox.next_frame(&mut input)? {
            match (frame.opcode, &self.stage) {
                (PING, _) => pong(&mut self.stream, &frame)?,
                (PONG, _) => {}
                (CLOSE, _) => return Err(closed(&frame)),
                (_, Stage::Open) => scenario.message(meter, id, &frame)?,
                _ => {
                    scenario.opened(id, ready(&frame)?);
                    self.stage = Stage::Open;
                }
            }
        }
        Ok(())
    }
}

fn request(options: &Options, headers: &str) -> String {
    let (url, origin) = (&options.url, &options.origin);
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
        url.path, url.authority
    )
}

/// Adds to the head; what is behind it, once it is whole.
fn end_of_head<'a>(head: &mut Vec<u8>, input: &'a [u8]) -> Option<&'a [u8]> {
    let before = head.len();
    head.extend_from_slice(input);
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let end = end.or((head.len() > LONGEST_HEAD).then_some(head.len()))?;
    head.truncate(end);
    Some(&input[end - before..])
}

fn check_head(head: &[u8]) -> Result<(), String> {
    let proof = head.windows(ACCEPT.len()).any(|part| part == ACCEPT);
    if head.starts_with(b"HTTP/1.1 101 ") && proof {
        return Ok(());
    }
    let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(format!("no upgrade: {}", String::from_utf8_lossy(first)))
}

fn pong(stream: &mut Stream, ping: &Frame<'_>) -> Result<(), String> {
    let frame: Rc<[u8]> = masked(PONG, ping.start).into();
    stream.send(&frame, frame.len()).map_err(|error| error.to_string())
}

fn closed(frame: &Frame<'_>) -> String {
    match frame.start {
        [a, b, reason @ ..] => format!("close frame {} '{}'", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason)),
        _ => "close frame without code".into(),
    }
}

/// The uuid of `ready`.
fn ready<'a>(frame: &Frame<'a>) -> Result<&'a str, String> {
    let uuid = word(frame.start, "uuid").and_then(|uuid| std::str::from_utf8(uuid).ok());
    let greeted = packet_opcode(frame.start) == b"ready";
    uuid.filter(|_| greeted).ok_or_else(|| format!("'{}' instead of ready", String::from_utf8_lossy(frame.start)))
}
