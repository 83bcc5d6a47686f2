//! From bytes to messages: the reading half of a WebSocket connection.
//!
//! An [`Inbox`] is fed what the socket gave and yields [`Event`]s; what is incomplete it keeps.
//! A message that lies whole in the bytes given is unmasked where it stands and borrowed, so the
//! common case copies nothing; only messages in pieces are collected. The rest of a large one may be
//! read right to its place ([`Inbox::room`]), so large messages are hardly copied either.
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

use super::frame::{self, Header, MAX_HEADER};
use super::{CloseCode, Opcode, ProtocolError};

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A whole message that came in pieces: text, which is UTF-8, or binary.
    Collected(Opcode, Vec<u8>),
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
    message: Option<Box<Assembly>>,
    control: Option<Box<Assembly>>,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; MAX_HEADER], len: u8 },
    Payload(Header),
    Done,
}

const NO_HEADER: State = State::Header { bytes: [0; MAX_HEADER], len: 0 };

/// The header of a frame of at most 125 bytes: two bytes and the mask.
const SHORT_HEADER: usize = 6;

/// From how many awaited bytes on it pays to read them to their place.
const LARGE: u64 = 64 * 1024;

/// A message in pieces, or a control frame. Text is checked as it comes, so that it fails at the first
/// wrong byte.
#[derive(Debug)]
struct Assembly {
    opcode: Opcode,
    /// What has come, and behind it room for what is to come.
    bytes: Vec<u8>,
    filled: usize,
    /// Bytes behind those that were read to their place and not looked at yet.
    arrived: usize,
    /// How far it is known to be UTF-8.
    checked: usize,
}

impl Inbox {
    /// An inbox for messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> Inbox {
        Inbox { max_message, orphans_are_text: false, state: NO_HEADER, message: None, control: None }
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
    #[inline]
    pub fn next_event<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        if input.is_empty() && self.arrived() == 0 {
            return Ok(None);
        }
        let event = match self.short_message(input) {
            Some(event) => event.map(Some),
            None => self.advance(input),
        };
        if matches!(event, Err(_) | Ok(Some(Event::Close(..)))) {
            *self = Inbox { state: State::Done, ..Inbox::new(0) };
        }
        event
    }

    /// Whether a message or a frame has begun and not ended.
    #[inline]
    pub fn is_mid_message(&self) -> bool {
        self.message.is_some() || !matches!(self.state, State::Header { len: 0, .. } | State::Done)
    }

    /// Whether the bytes of a single frame are still awaited, so that the peer can't send another.
    pub fn is_mid_frame(&self) -> bool {
        !matches!(self.state, State::Header { len: 0, .. } | State::Done)
    }

    /// Where the next bytes of the connection may be read to, `most` of them, instead of being given as
    /// input: the place of what a large message lacks. [`filled`](Self::filled) says how many came.
    #[inline]
    pub fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        match (&self.state, &mut self.message) {
            (State::Payload(header), Some(message)) if !header.opcode.is_control() && header.len >= LARGE => {
                message.room(header.len, most)
            }
            _ => None,
        }
    }

    /// So many bytes were read to the beginning of the room; [`next_event`](Self::next_event) takes them.
    pub fn filled(&mut self, count: usize) {
        if let Some(message) = &mut self.message {
            message.arrived = count;
        }
    }

    /// Bytes that were read to their place and that `next_event` has not taken.
    #[inline]
    pub fn arrived(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.arrived)
    }

    /// What it holds in memory.
    pub fn cost(&self) -> usize {
        [&self.message, &self.control].into_iter().flatten().map(|part| part.bytes.capacity()).sum()
    }

    /// The most common case by far, looked for first: a message of at most 125 bytes in one frame, which lies
    /// whole in `input` and follows another. `None` is anything else, of which nothing was taken.
    #[inline]
    fn short_message<'a>(&self, input: &mut &'a mut [u8]) -> Option<Result<Event<'a>, ProtocolError>> {
        let [first @ (0x81 | 0x82), second @ 0x80..=0xFD, a, b, c, d, rest @ ..] = &**input else { return None };
        let opcode = if *first == 0x81 { Opcode::Text } else { Opcode::Binary };
        let header = Header { fin: true, opcode, len: u64::from(second & 0x7F), mask: [*a, *b, *c, *d] };
        let len = header.len as usize;
        let is_next = matches!(self.state, State::Header { len: 0, .. }) && self.message.is_none();
        if !is_next || len > rest.len() || len > self.max_message {
            return None;
        }
        let (frame, behind) = std::mem::take(input).split_at_mut_checked(SHORT_HEADER + len)?;
        *input = behind;
        Some(whole_message(header, &mut frame[SHORT_HEADER..]))
    }

    #[inline(never)]
    fn advance<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        while !input.is_empty() || self.arrived() > 0 {
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

    /// A message of one frame that lies whole in `input` is at once an event. The others are left to functions
    /// that are not inlined, so that its way is short.
    fn read_header<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.is_mid_frame() {
            return self.collect_header(input);
        }
        let Some((header, used)) = Header::parse(input)? else { return self.collect_header(input) };
        take(input, used);
        let is_whole = header.fin && self.message.is_none() && header.len <= self.max_message.min(input.len()) as u64;
        let is_message = match header.opcode {
            Opcode::Text | Opcode::Binary => true,
            Opcode::Continuation => self.orphans_are_text,
            Opcode::Close | Opcode::Ping | Opcode::Pong => false,
        };
        if is_whole && is_message {
            return whole_message(header, take(input, header.len as usize)).map(Some);
        }
        self.begin_frame(header)
    }

    /// Keeps what there is of a header, until all of it has come.
    #[inline(never)]
    fn collect_header<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        let State::Header { bytes, len } = &mut self.state else { return Ok(None) };
        while let [first, ..] = **input {
            bytes[usize::from(*len)] = first;
            *len += 1;
            take(input, 1);
            if let Some((header, _)) = Header::parse(&bytes[..usize::from(*len)])? {
                return self.begin_frame(header);
            }
        }
        Ok(None)
    }

    #[inline(never)]
    fn begin_frame<'a>(&mut self, mut header: Header) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.orphans_are_text && self.message.is_none() && header.opcode == Opcode::Continuation {
            header.opcode = Opcode::Text;
        }
        self.check_order(header)?;
        let begun = self.message.as_ref().map_or(0, |message| message.filled) as u64;
        if !header.opcode.is_control() && header.len > (self.max_message as u64).saturating_sub(begun) {
            return Err(ProtocolError::TooBig);
        }
        self.state = State::Payload(header);
        // An empty payload is complete although no further byte comes.
        if header.len == 0 { self.finish_frame(header) } else { Ok(None) }
    }

    /// RFC 6455, section 5.4: fragments of one message are not interleaved with another's.
    fn check_order(&self, header: Header) -> Result<(), ProtocolError> {
        match header.opcode {
            Opcode::Continuation if self.message.is_none() => Err(ProtocolError::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.message.is_some() => Err(ProtocolError::ExpectedContinuation),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn read_payload<'a>(&mut self, mut header: Header, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        let part = if header.opcode.is_control() { &mut self.control } else { &mut self.message };
        let part = part.get_or_insert_with(|| Box::new(Assembly::new(header.opcode)));
        if part.arrived == 0 {
            let available = header.len.min(input.len() as u64);
            part.append(take(input, available as usize), header.len - available);
        }
        let (arrived, mask) = part.take_in(header.mask)?;
        (header.len, header.mask) = (header.len - arrived as u64, mask);
        self.state = State::Payload(header);
        if header.len == 0 { self.finish_frame(header) } else { Ok(None) }
    }

    fn finish_frame<'a>(&mut self, header: Header) -> Result<Option<Event<'a>>, ProtocolError> {
        self.state = NO_HEADER;
        let mut control = || self.control.take().map_or_else(Vec::new, |part| part.bytes);
        match header.opcode {
            Opcode::Ping => Ok(Some(Event::Ping(control()))),
            Opcode::Pong => Ok(Some(Event::Pong(control()))),
            Opcode::Close => close_event(&control()).map(Some),
            opcode => {
                let message = self.message.take().unwrap_or_else(|| Box::new(Assembly::new(opcode)));
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
        Assembly { opcode, bytes: Vec::new(), filled: 0, arrived: 0, checked: 0 }
    }

    /// How many of the bytes that are still to come are reckoned with: as far as the peer has proved
    /// that it sends, fourfold what it sent.
    fn expected(&self, to_come: u64) -> usize {
        to_come.min(4 * (self.filled + self.arrived) as u64) as usize
    }

    /// Room for `most` of the bytes that are still to come, if so many are expected that it pays.
    fn room(&mut self, to_come: u64, most: usize) -> Option<&mut [u8]> {
        let expected = self.expected(to_come);
        let room = expected.min(most);
        if (room as u64) < LARGE {
            return None;
        }
        let end = self.filled + room;
        if self.bytes.len() < end {
            self.bytes.reserve(self.filled + expected - self.bytes.len());
            self.bytes.resize(end, 0);
        }
        Some(&mut self.bytes[self.filled..end])
    }

    /// Copies a piece of a frame of which so many bytes are still to come to its place.
    fn append(&mut self, piece: &[u8], to_come: u64) {
        self.arrived = piece.len();
        let (front, back) = piece.split_at(piece.len().min(self.bytes.len() - self.filled));
        self.bytes[self.filled..][..front.len()].copy_from_slice(front);
        self.bytes.reserve(back.len() + self.expected(to_come));
        self.bytes.extend_from_slice(back);
    }

    /// Unmasks and checks what has arrived; how much that is, and the mask as the next byte needs it.
    fn take_in(&mut self, mask: [u8; 4]) -> Result<(usize, [u8; 4]), ProtocolError> {
        let arrived = std::mem::take(&mut self.arrived);
        let begin = self.filled;
        self.filled += arrived;
        let mask = frame::unmask(&mut self.bytes[begin..self.filled], mask);
        if self.opcode == Opcode::Text {
            match simdutf8::compat::from_utf8(&self.bytes[self.checked..self.filled]) {
                Ok(_) => self.checked = self.filled,
                Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
                // A character is cut in two: it is looked at again when more of it is there.
                Err(error) => self.checked += error.valid_up_to(),
            }
        }
        Ok((arrived, mask))
    }

    fn finish<'a>(self) -> Result<Event<'a>, ProtocolError> {
        match self.opcode {
            Opcode::Text if self.checked < self.filled => Err(ProtocolError::InvalidUtf8),
            opcode => Ok(Event::Collected(opcode, self.bytes)),
        }
    }
}

/// A message of one frame that lies whole in the bytes given.
#[inline(always)]
fn whole_message(header: Header, payload: &mut [u8]) -> Result<Event<'_>, ProtocolError> {
    frame::unmask(payload, header.mask);
    if header.opcode == Opcode::Binary {
        return Ok(Event::Binary(payload));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Event::Text(text))
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
