//! Frames as a client needs them: masked ones made in advance, and a reader of server frames that
//! looks at headers only.
//!
//! Written from RFC 6455 and not from the library under test, so that a mistake in the one can't hide
//! a mistake in the other. Knows no socket and no scenario.

/// How much of each message is kept for the scenario to look at.
const START: usize = 256;

/// Every client frame is masked with this key.
pub const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A masked client frame.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=65535 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Writes over a part of the payload of a masked frame, `at` bytes into it.
pub fn patch(frame: &mut [u8], at: usize, bytes: &[u8]) {
    let payload = frame.len() - payload_len(frame);
    for (index, byte) in bytes.iter().enumerate() {
        frame[payload + at + index] = byte ^ MASK[(at + index) % 4];
    }
}

fn payload_len(frame: &[u8]) -> usize {
    let header = match frame[1] & 0x7F {
        126 => 8,
        127 => 14,
        _ => 6,
    };
    frame.len() - header
}

/// What the bytes of a connection are.
#[derive(Clone, Copy)]
pub enum Framing {
    WebSocket,
    /// Messages of so many bytes, with nothing around them.
    Bytes(usize),
}

/// A message, or a control frame.
pub struct Frame<'a> {
    pub opcode: u8,
    pub len: u64,
    /// The payload's first bytes, all of them where the reader was told to keep all.
    pub start: &'a [u8],
}

struct Shape {
    opcode: u8,
    header: usize,
    len: u64,
}

/// Cuts what comes from a server into frames; what is incomplete waits here.
pub struct Inbox {
    framing: Framing,
    /// The frame that is incomplete: its header and the part of its payload that is kept.
    partial: Vec<u8>,
    /// Bytes of its payload that have come and were not kept.
    skipped: u64,
    done: bool,
    whole: bool,
}

impl Inbox {
    pub fn new(framing: Framing) -> Inbox {
        Inbox { framing, partial: Vec::new(), skipped: 0, done: false, whole: true }
    }

    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether payloads are kept whole, to be compared, from now on.
    pub fn keep_whole(&mut self, whole: bool) {
        if self.whole && !whole {
            self.partial.shrink_to(START);
        }
        self.whole = whole;
    }

    /// The next frame of `input`, which is consumed as far as that goes; `None` when more is needed.
    pub fn next_frame<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'a>>, String> {
        if self.done {
            self.partial.clear();
            self.done = false;
        }
        if self.partial.is_empty()
            && let Some(Shape { opcode, header, len }) = shape(self.framing, input)?
            && input.len() as u64 >= header as u64 + len
        {
            let (frame, rest) = input.split_at(header + len as usize);
            *input = rest;
            return Ok(Some(Frame { opcode, len, start: &frame[header..] }));
        }
        self.collect(input)
    }

    /// The same for a frame that is not in `input` as a whole.
    fn collect<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<Frame<'a>>, String> {
        let Shape { opcode, header, len } = loop {
            match shape(self.framing, &self.partial)? {
                Some(shape) => break shape,
                None if input.is_empty() => return Ok(None),
                None => self.take(input, 1),
            }
        };
        let limit = if self.whole { len } else { len.min(START as u64) };
        let wanted = self.partial.len().max(header + limit as usize);
        self.take(input, wanted - self.partial.len());
        if self.partial.len() < wanted {
            return Ok(None);
        }
        let not_kept = len - (wanted - header) as u64;
        let count = (not_kept - self.skipped).min(input.len() as u64);
        *input = &input[count as usize..];
        self.skipped += count;
        if self.skipped < not_kept {
            return Ok(None);
        }
        (self.skipped, self.done) = (0, true);
        Ok(Some(Frame { opcode, len, start: &self.partial[header..] }))
    }

    fn take(&mut self, input: &mut &[u8], count: usize) {
        let (taken, rest) = input.split_at(count.min(input.len()));
        self.partial.extend_from_slice(taken);
        *input = rest;
    }
}

/// What a header says; `None` where it is incomplete.
fn shape(framing: Framing, bytes: &[u8]) -> Result<Option<Shape>, String> {
    if let Framing::Bytes(len) = framing {
        return Ok((!bytes.is_empty()).then_some(Shape { opcode: TEXT, header: 0, len: len as u64 }));
    }
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("a frame that begins with {first:02x} {second:02x}: in fragments, with reserved bits, or masked"));
    }
    let opcode = first & 0x0F;
    Ok(match (second, rest) {
        (126, [a, b, ..]) => Some(Shape { opcode, header: 4, len: u16::from_be_bytes([*a, *b]).into() }),
        (127, rest) => rest.first_chunk().map(|len| Shape { opcode, header: 10, len: u64::from_be_bytes(*len) }),
        (126, _) => None,
        (short, _) => Some(Shape { opcode, header: 2, len: (*short).into() }),
    })
}

/// The value of a string in a JSON object whose key is among its first bytes; no escapes.
pub fn word<'a>(json: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let at = json
        .windows(key.len() + 2)
        .position(|part| part[0] == b'"' && part[1..].starts_with(key.as_bytes()) && part[key.len() + 1] == b'"')?;
    let value = json[at + key.len() + 2..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    value.split(|byte| *byte == b'"').next()
}

/// The `opcode` of a packet, empty where there is none.
pub fn packet_opcode(json: &[u8]) -> &[u8] {
    let rest = json.strip_prefix(br#"{"opcode":""#);
    let quick = rest.and_then(|rest| rest.iter().position(|byte| *byte == b'"').map(|end| &rest[..end]));
    quick.or_else(|| word(json, "opcode")).unwrap_or_default()
}
