//! From bytes to messages: the reading half of a WebSocket connection.
//!
//! An [`Inbox`] is fed what the socket gave and yields [`Event`]s; what is incomplete it keeps.
//! A message that lies whole in the bytes given is unmasked where it stands and borrowed, so the
//! common case copies nothing; only messages in pieces are collected.
//!
//! | state | bytes | next state |
//! |---|---|---|
//! | header | not all of it | header |
//! | header | a whole header | payload |
//! | payload | not all of it | payload |
//! | payload | the last byte | header, with an event after a FIN |
//! | any | a close frame, or an error | done: whatever follows is discarded |
//!
//! PHP counterpart: `readDecode` (2026), `Decode` and the fragment part of `extractMessage`.

use std::borrow::Cow;

use super::frame::{self, Header, MAX_HEADER};
use super::{CloseCode, Opcode, ProtocolError};

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(Cow<'a, str>),
    /// A whole binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping; its payload goes back in a pong.
    Ping(Vec<u8>),
    /// A pong, asked for or not.
    Pong(Vec<u8>),
    /// A close frame: its code, if it had one, and its reason.
    Close(Option<CloseCode>, String),
}

/// The reading half of one connection. It holds no heap memory while no message is in pieces.
#[derive(Debug)]
pub struct Inbox {
    max_message: usize,
    orphans_are_text: bool,
    state: State,
    message: Option<Assembly>,
    control: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; MAX_HEADER], len: u8 },
    Payload(Header),
    Done,
}

const NO_HEADER: State = State::Header { bytes: [0; MAX_HEADER], len: 0 };

/// A message in pieces. Text is checked as it comes, so that it fails at the first wrong byte.
#[derive(Debug)]
enum Assembly {
    Text { text: String, tail: [u8; 4], tail_len: u8 },
    Binary(Vec<u8>),
}

impl Inbox {
    /// An inbox for messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> Inbox {
        Inbox { max_message, orphans_are_text: false, state: NO_HEADER, message: None, control: Vec::new() }
    }

    /// The same for PHP clients: those of 2025 send all but their first message as a continuation of
    /// nothing, which PHP servers take as text.
    pub fn for_php(max_message: usize) -> Inbox {
        Inbox { orphans_are_text: true, ..Inbox::new(max_message) }
    }

    /// The next event in `input`, which is advanced past the bytes used; `None` when all are used.
    ///
    /// The first error is the last thing an inbox says: afterwards it discards what it is given.
    #[doc(alias = "readDecode")]
    pub fn next_event<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        let event = self.advance(input);
        if matches!(event, Err(_) | Ok(Some(Event::Close(..)))) {
            *self = Inbox { state: State::Done, ..Inbox::new(0) };
        }
        event
    }

    /// Whether a message or a frame has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        self.message.is_some() || !matches!(self.state, State::Header { len: 0, .. } | State::Done)
    }

    /// Whether the bytes of a single frame are still awaited, so that the peer can't send another.
    pub fn is_mid_frame(&self) -> bool {
        !matches!(self.state, State::Header { len: 0, .. } | State::Done)
    }

    fn advance<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        while !input.is_empty() {
            let event = match self.state {
                State::Header { .. } => self.read_header(input)?,
                State::Payload(header) => self.read_payload(header, input)?,
                State::Done => {
                    *input = &mut [];
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn read_header<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(mut header) = self.take_header(input)? else { return Ok(None) };
        if self.orphans_are_text && self.message.is_none() && header.opcode == Opcode::Continuation {
            header.opcode = Opcode::Text;
        }
        self.check_order(header)?;
        let begun = self.message.as_ref().map_or(0, Assembly::len) as u64;
        if !header.opcode.is_control() && header.len > (self.max_message as u64).saturating_sub(begun) {
            return Err(ProtocolError::TooBig);
        }
        if header.fin && self.message.is_none() && !header.opcode.is_control() && header.len <= input.len() as u64 {
            self.state = NO_HEADER;
            return whole_message(header, take(input, header.len as usize)).map(Some);
        }
        self.state = State::Payload(header);
        // An empty payload is complete although no further byte comes.
        if header.len == 0 { self.finish_frame(header) } else { Ok(None) }
    }

    /// A header from `input`, or from the bytes kept of it and `input`.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        let State::Header { bytes, len } = &mut self.state else { return Ok(None) };
        if *len == 0
            && let Some((header, used)) = Header::parse(input)?
        {
            take(input, used);
            return Ok(Some(header));
        }
        while let [first, ..] = **input {
            bytes[usize::from(*len)] = first;
            *len += 1;
            take(input, 1);
            if let Some((header, _)) = Header::parse(&bytes[..usize::from(*len)])? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// RFC 6455, section 5.4: fragments of one message are not interleaved with another's.
    fn check_order(&self, header: Header) -> Result<(), ProtocolError> {
        match header.opcode {
            Opcode::Continuation if self.message.is_none() => Err(ProtocolError::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.message.is_some() => Err(ProtocolError::ExpectedContinuation),
            _ => Ok(()),
        }
    }

    fn read_payload<'a>(&mut self, mut header: Header, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        let available = header.len.min(input.len() as u64);
        let piece = take(input, available as usize);
        header.mask = frame::unmask(piece, header.mask);
        header.len -= available;
        if header.opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            self.message.get_or_insert_with(|| Assembly::new(header.opcode)).push(piece, header.len)?;
        }
        self.state = State::Payload(header);
        if header.len == 0 { self.finish_frame(header) } else { Ok(None) }
    }

    fn finish_frame<'a>(&mut self, header: Header) -> Result<Option<Event<'a>>, ProtocolError> {
        self.state = NO_HEADER;
        match header.opcode {
            Opcode::Ping => Ok(Some(Event::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => Ok(Some(Event::Pong(std::mem::take(&mut self.control)))),
            Opcode::Close => close_event(&std::mem::take(&mut self.control)).map(Some),
            opcode => {
                let message = self.message.take().unwrap_or_else(|| Assembly::new(opcode));
                if header.fin {
                    return message.finish().map(Some);
                }
                self.message = Some(message);
                Ok(None)
            }
        }
    }
}

impl Assembly {
    fn new(opcode: Opcode) -> Assembly {
        match opcode {
            Opcode::Text => Assembly::Text { text: String::new(), tail: [0; 4], tail_len: 0 },
            _ => Assembly::Binary(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Assembly::Text { text, tail_len, .. } => text.len() + usize::from(*tail_len),
            Assembly::Binary(bytes) => bytes.len(),
        }
    }

    /// Appends a piece of a frame of which so many bytes are still to come. They are reckoned with as
    /// far as the peer has proved that it sends: threefold what it sent.
    fn push(&mut self, piece: &[u8], to_come: u64) -> Result<(), ProtocolError> {
        let room = piece.len() + to_come.min(3 * (self.len() + piece.len()) as u64) as usize;
        match self {
            Assembly::Text { text, tail, tail_len } => {
                text.reserve(room);
                push_text(text, tail, tail_len, piece)
            }
            Assembly::Binary(bytes) => {
                bytes.reserve(room);
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    fn finish<'a>(self) -> Result<Event<'a>, ProtocolError> {
        match self {
            Assembly::Text { tail_len: 1.., .. } => Err(ProtocolError::InvalidUtf8),
            Assembly::Text { text, .. } => Ok(Event::Text(Cow::Owned(text))),
            Assembly::Binary(bytes) => Ok(Event::Binary(Cow::Owned(bytes))),
        }
    }
}

/// Appends `piece` to `text`; `tail` keeps the beginning of a character that `piece` cuts in two.
fn push_text(text: &mut String, tail: &mut [u8; 4], tail_len: &mut u8, mut piece: &[u8]) -> Result<(), ProtocolError> {
    while *tail_len > 0
        && let [first, rest @ ..] = piece
    {
        tail[usize::from(*tail_len)] = *first;
        *tail_len += 1;
        piece = rest;
        match std::str::from_utf8(&tail[..usize::from(*tail_len)]) {
            Ok(character) => {
                text.push_str(character);
                *tail_len = 0;
            }
            Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
            Err(_) => {}
        }
    }
    match simdutf8::compat::from_utf8(piece) {
        Ok(piece) => text.push_str(piece),
        Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
        Err(error) => {
            let (whole, cut) = piece.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(whole).map_err(|_| ProtocolError::InvalidUtf8)?);
            tail[..cut.len()].copy_from_slice(cut);
            *tail_len = cut.len() as u8;
        }
    }
    Ok(())
}

/// A message of one frame that lies whole in the bytes given.
fn whole_message(header: Header, payload: &mut [u8]) -> Result<Event<'_>, ProtocolError> {
    frame::unmask(payload, header.mask);
    if header.opcode == Opcode::Binary {
        return Ok(Event::Binary(Cow::Borrowed(payload)));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Event::Text(Cow::Borrowed(text)))
}

/// RFC 6455, section 5.5.1: an empty body, or a code and a reason in UTF-8.
fn close_event<'a>(body: &[u8]) -> Result<Event<'a>, ProtocolError> {
    let (code, reason) = match body {
        [] => return Ok(Event::Close(None, String::new())),
        [_] => return Err(ProtocolError::BadClose),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
    };
    if !code.may_be_received() {
        return Err(ProtocolError::BadClose);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Event::Close(Some(code), reason.to_owned()))
}

/// Splits the first `len` bytes off `input`.
fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (head, tail) = std::mem::take(input).split_at_mut(len);
    *input = tail;
    head
}
