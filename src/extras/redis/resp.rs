//! Redis' protocol, RESP3: commands to bytes, bytes to replies and pushes.
//!
//! Knows no socket and no clock. Bytes come in any pieces. What has come of a frame is taken out of the
//! buffer item by item and waits on a stack, so nothing is read twice and one call takes no longer
//! than the bytes that came; a frame in a frame is a stack entry and not a call.
//! Spec: <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>.

use std::fmt::Write;

use bytes::{Buf, Bytes, BytesMut};

#[cfg(test)]
mod tests;

/// What a frame may take in memory, and so its bytes; Redis' own limit is 512 MiB.
const MAX_FRAME: usize = 64 * 1024 * 1024;
/// Bytes of a line: a status, an error, a number, a length.
const MAX_LINE: usize = 64 * 1024;
/// Frames inside frames.
const MAX_DEPTH: usize = 32;
/// The first byte of every kind of frame; streamed ones, which Redis never sends, are left out.
const KINDS: &[u8] = b"+-:_,#($=!*~%>|";
/// What a peer that sends something else is known by.
const SHOWN_GARBAGE: usize = 8;

/// An answer to a command. Its bytes are views of the read buffer: to keep a few of many, copy them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Nothing.
    Nil,
    /// An integer; booleans are 0 and 1.
    Int(i64),
    /// A string of any bytes.
    Bytes(Bytes),
    /// A short word, such as OK; doubles and big numbers come as their text.
    Status(String),
    /// An array or a set; a map as key, value, key, value.
    Array(Vec<Reply>),
    /// The command failed: `CODE text`.
    Error(String),
}

/// One whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer to the oldest command that has none.
    Reply(Reply),
    /// What no command asked for.
    Push(Vec<Reply>),
}

/// Bytes on their way to become answers. After an error it is of no more use.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    searched: usize,
    /// Frames that lack items, the outermost first.
    open: Vec<Open>,
    /// What the frame that is under way takes in memory.
    taken: usize,
}

struct Open {
    kind: u8,
    lacks: usize,
    items: Vec<Reply>,
}

enum Item {
    Value(Reply),
    /// The head of a frame with so many items.
    Open(u8, usize),
}

impl Inbox {
    /// Takes in what was read.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` needs more bytes. An error is one line that says what is wrong.
    pub(super) fn next(&mut self) -> Result<Option<Answer>, String> {
        while let Some(item) = self.item()? {
            let answer = match item {
                Item::Value(reply) => self.put(reply),
                Item::Open(kind, lacks) => self.open(kind, lacks)?,
            };
            if answer.is_some() {
                self.taken = 0;
                return Ok(answer);
            }
        }
        Ok(None)
    }

    fn item(&mut self) -> Result<Option<Item>, String> {
        let Some(&kind) = self.buffer.first() else { return Ok(None) };
        if !KINDS.contains(&kind) {
            return Err(stranger(&self.buffer));
        }
        let Some(end) = self.line_end()? else { return Ok(None) };
        let head = end + 2;
        let item = match kind {
            b'$' | b'=' | b'!' => match self.length(end)? {
                Some(length) => return self.blob(kind, head, length),
                None => Item::Value(Reply::Nil),
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => match self.length(end)? {
                Some(length) if kind == b'%' || kind == b'|' => Item::Open(kind, length * 2),
                Some(length) => Item::Open(kind, length),
                None => Item::Value(Reply::Nil),
            },
            _ => Item::Value(self.simple(kind, end)?),
        };
        self.take(head)?;
        self.buffer.advance(head);
        Ok(Some(item))
    }

    /// Where the first line ends.
    fn line_end(&mut self) -> Result<Option<usize>, String> {
        let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return if self.searched > MAX_LINE { Err(broken("a line without an end")) } else { Ok(None) };
        };
        let end = self.searched + found;
        self.searched = 0;
        match self.buffer[..end].last() {
            Some(b'\r') if end > 1 && end <= MAX_LINE => Ok(Some(end - 1)),
            _ => Err(broken("a line that ends wrongly")),
        }
    }

    fn text(&self, end: usize) -> &str {
        std::str::from_utf8(&self.buffer[1..end]).unwrap_or_default()
    }

    /// The number in a head; `None` is -1, the older protocol's nothing.
    fn length(&self, end: usize) -> Result<Option<usize>, String> {
        match self.text(end) {
            "-1" => Ok(None),
            text => match text.parse() {
                Ok(length) if length <= MAX_FRAME => Ok(Some(length)),
                Ok(_) => Err(too_large()),
                Err(_) => Err(broken("a length that is none")),
            },
        }
    }

    fn simple(&self, kind: u8, end: usize) -> Result<Reply, String> {
        let lossy = || String::from_utf8_lossy(&self.buffer[1..end]).into_owned();
        match (kind, self.text(end)) {
            (b'-', _) => Ok(Reply::Error(lossy())),
            (b'_', _) => Ok(Reply::Nil),
            (b':', text) => text.parse().map(Reply::Int).map_err(|_| broken("an integer that is none")),
            (b'#', "t") => Ok(Reply::Int(1)),
            (b'#', "f") => Ok(Reply::Int(0)),
            (b'#', _) => Err(broken("a boolean that is none")),
            _ => Ok(Reply::Status(lossy())),
        }
    }

    /// A string behind its length; until all of it is there it stays in the buffer.
    fn blob(&mut self, kind: u8, head: usize, length: usize) -> Result<Option<Item>, String> {
        let whole = head + length + 2;
        if self.taken + whole > MAX_FRAME {
            return Err(too_large());
        }
        if self.buffer.len() < whole {
            return Ok(None);
        }
        if &self.buffer[head + length..whole] != b"\r\n" {
            return Err(broken("a string that is longer than its length"));
        }
        self.take(whole)?;
        self.buffer.advance(head);
        let mut bytes = self.buffer.split_to(length).freeze();
        self.buffer.advance(2);
        Ok(Some(Item::Value(match kind {
            b'!' => Reply::Error(String::from_utf8_lossy(&bytes).into_owned()),
            // `txt:` stands before the text.
            b'=' => Reply::Bytes(bytes.split_off(bytes.len().min(4))),
            _ => Reply::Bytes(bytes),
        })))
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.taken += bytes + size_of::<Reply>();
        if self.taken > MAX_FRAME + 2 * size_of::<Reply>() { Err(too_large()) } else { Ok(()) }
    }

    fn open(&mut self, kind: u8, lacks: usize) -> Result<Option<Answer>, String> {
        if self.open.len() == MAX_DEPTH {
            return Err(broken(&format!("frames in frames, more than {MAX_DEPTH} deep")));
        }
        let open = Open { kind, lacks, items: Vec::with_capacity(lacks.min(1024)) };
        if lacks == 0 {
            return Ok(self.close(open));
        }
        self.open.push(open);
        Ok(None)
    }

    /// Puts a value where it belongs, and gives the answer that it makes whole.
    fn put(&mut self, reply: Reply) -> Option<Answer> {
        let Some(open) = self.open.last_mut() else { return Some(Answer::Reply(reply)) };
        open.items.push(reply);
        open.lacks -= 1;
        if open.lacks > 0 {
            return None;
        }
        let open = self.open.pop()?;
        self.close(open)
    }

    /// At most [`MAX_DEPTH`] calls deep, with `put`.
    fn close(&mut self, open: Open) -> Option<Answer> {
        match open.kind {
            // Attributes tell about the item that follows; nothing of theirs is used.
            b'|' => None,
            b'>' if self.open.is_empty() => Some(Answer::Push(open.items)),
            _ => self.put(Reply::Array(open.items)),
        }
    }
}

/// Appends a command.
pub(super) fn encode(command: &[&[u8]], out: &mut BytesMut) {
    // Writing into memory does not fail.
    let _ = write!(out, "*{}\r\n", command.len());
    for word in command {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Bytes that a command takes at the most.
pub(super) fn encoded_len(command: &[&[u8]]) -> usize {
    const HEAD: usize = 24;
    HEAD + command.iter().map(|word| word.len() + HEAD).sum::<usize>()
}

/// Names what is no Redis by its first bytes, which are too few to give anything away.
fn stranger(bytes: &[u8]) -> String {
    if matches!(bytes, [0x15 | 0x16, 3, ..]) {
        return "it speaks TLS; write rediss:// in place of redis://".into();
    }
    let shown = bytes[..bytes.len().min(SHOWN_GARBAGE)].escape_ascii();
    format!("this is no Redis: it sent \"{shown}\"; is the port right?")
}

fn broken(what: &str) -> String {
    format!("this is no Redis, or something tampers with its answers: it sent {what}")
}

fn too_large() -> String {
    format!("it sent an answer that takes more than {} MiB", MAX_FRAME / 1024 / 1024)
}
