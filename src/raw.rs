//! The raw dialect of the oldest PHP backends: `php process`, a `GET` line, then bare JSON.
//!
//! There are no frames and no lengths: a message ends where its JSON value or control string ends.
//! Like the [`Inbox`](crate::rfc6455::Inbox) it knows no socket. PHP counterpart: the first branch of
//! `Handshake`, and PHP's habit of taking one read for one message.

/// The first line of such a client.
pub const GREETING: &[u8] = b"php process\n";

/// What the first bytes of a connection say about this dialect.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting<'a> {
    /// It is something else.
    Other,
    /// It may become this; more bytes are needed.
    Incomplete,
    /// It is this: the resource that is asked for, if one is, and how many bytes said so.
    Complete(Option<&'a str>, usize),
}

/// Reads `php process\nGET /php HTTP/1.1\n`.
pub fn greeting(bytes: &[u8]) -> Greeting<'_> {
    let Some(rest) = bytes.strip_prefix(GREETING) else {
        return if GREETING.starts_with(bytes) { Greeting::Incomplete } else { Greeting::Other };
    };
    let verb = &rest[..rest.len().min(4)];
    if !verb.eq_ignore_ascii_case(&b"GET "[..verb.len()]) {
        return Greeting::Complete(None, bytes.len());
    }
    match rest.iter().position(|byte| *byte == b'\n') {
        None => Greeting::Incomplete,
        Some(end) => Greeting::Complete(resource(&rest[..end]), GREETING.len() + end + 1),
    }
}

/// The path of `GET /php?x=1 HTTP/1.1`.
fn resource(line: &[u8]) -> Option<&str> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let target = words.nth(1)?;
    words.next().filter(|version| version.to_ascii_uppercase().starts_with("HTTP"))?;
    Some(target.split_once('?').map_or(target, |(path, _)| path))
}

/// More bytes than a message may have.
#[derive(Debug, PartialEq, Eq)]
pub struct TooBig;

/// The reading half of a raw connection: bytes in, messages out. It holds no heap memory between
/// messages.
#[derive(Debug)]
pub struct RawInbox {
    max_message: usize,
    bytes: Vec<u8>,
    scan: Scan,
}

impl RawInbox {
    /// An inbox for messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> RawInbox {
        RawInbox { max_message, bytes: Vec::new(), scan: Scan::default() }
    }

    /// Whether a message has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// What it holds in memory.
    pub fn cost(&self) -> usize {
        self.bytes.capacity()
    }

    /// The next message in `input`, which is advanced past it; `None` when more bytes are needed.
    ///
    /// While the client is `buffering`, between `bufferON` and `bufferOFF`, its bytes are chunks
    /// without any end of their own: one read is one chunk, as in PHP.
    pub fn next_message(&mut self, input: &mut &[u8], buffering: bool) -> Result<Option<Vec<u8>>, TooBig> {
        if buffering {
            return Ok(next_chunk(input));
        }
        while let [byte, rest @ ..] = input {
            let step = self.scan.step(*byte);
            if step == Step::EndedBefore {
                return Ok(Some(self.finish()));
            }
            *input = rest;
            if step == Step::Skip {
                continue;
            }
            if self.bytes.len() == self.max_message {
                return Err(TooBig);
            }
            self.bytes.push(*byte);
            if step == Step::Ended {
                return Ok(Some(self.finish()));
            }
        }
        // A number or other bare word has no end of its own: the read's end must do.
        let ended = self.scan.is_word() && !b"bufferON".starts_with(&self.bytes) && !b"bufferOFF".starts_with(&self.bytes);
        Ok(ended.then(|| self.finish()))
    }

    fn finish(&mut self) -> Vec<u8> {
        self.scan = Scan::default();
        std::mem::take(&mut self.bytes)
    }
}

/// All of `input`, but for a `bufferOFF` that came in one read with the chunk that ends the JSON.
fn next_chunk(input: &mut &[u8]) -> Option<Vec<u8>> {
    let chunk = match input.strip_suffix(b"bufferOFF") {
        Some(json @ [.., b'}' | b']']) => json,
        _ => input,
    };
    *input = &input[chunk.len()..];
    (!chunk.is_empty()).then(|| chunk.to_vec())
}

/// How far the current value has been read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Scan {
    /// Nothing yet.
    #[default]
    Start,
    /// A control string, a number, or anything else without brackets or quotes.
    Word(u8),
    /// Inside brackets or quotes.
    Value { depth: usize, quoted: bool, escaped: bool },
}

#[derive(PartialEq, Eq)]
enum Step {
    /// White space between values.
    Skip,
    /// Belongs to the value.
    Inside,
    /// Is the last byte of the value.
    Ended,
    /// Does not belong to the value, which is over.
    EndedBefore,
}

impl Scan {
    fn is_word(&self) -> bool {
        matches!(self, Scan::Word(_))
    }

    fn step(&mut self, byte: u8) -> Step {
        match self {
            Scan::Start => match byte {
                b' ' | b'\t' | b'\r' | b'\n' => Step::Skip,
                b'{' | b'[' => self.to(Scan::Value { depth: 1, quoted: false, escaped: false }),
                b'"' => self.to(Scan::Value { depth: 0, quoted: true, escaped: false }),
                _ => self.to(Scan::Word(1)),
            },
            Scan::Word(len) => {
                if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'{' | b'[' | b'"') {
                    return Step::EndedBefore;
                }
                *len = len.saturating_add(1);
                // The two control strings differ in their seventh byte on; each ends where it ends.
                if (*len, byte) == (8, b'N') || (*len, byte) == (9, b'F') { Step::Ended } else { Step::Inside }
            }
            Scan::Value { depth, quoted, escaped } => {
                match byte {
                    _ if *escaped => *escaped = false,
                    b'\\' if *quoted => *escaped = true,
                    b'"' => *quoted = !*quoted,
                    b'{' | b'[' if !*quoted => *depth += 1,
                    b'}' | b']' if !*quoted => *depth = depth.saturating_sub(1),
                    _ => {}
                }
                if *depth == 0 && !*quoted { Step::Ended } else { Step::Inside }
            }
        }
    }

    fn to(&mut self, next: Scan) -> Step {
        *self = next;
        Step::Inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(reads: &[&[u8]]) -> Vec<String> {
        let mut inbox = RawInbox::new(1000);
        let mut all = Vec::new();
        for mut input in reads.iter().copied() {
            while let Some(message) = inbox.next_message(&mut input, false).unwrap() {
                all.push(String::from_utf8(message).unwrap());
            }
        }
        all
    }

    #[test]
    fn the_greeting_is_known_from_its_first_bytes() {
        assert_eq!(greeting(b"php pro"), Greeting::Incomplete);
        assert_eq!(greeting(b"php process\nGET /php HTTP/1.1"), Greeting::Incomplete);
        assert_eq!(greeting(b"php process\nGET /php HTTP/1.1\n{}"), Greeting::Complete(Some("/php"), 30));
        assert_eq!(greeting(b"php process\nGET /php?x HTTP/1.1\n"), Greeting::Complete(Some("/php"), 32));
        assert_eq!(greeting(b"php process\nhello"), Greeting::Complete(None, 17));
        assert_eq!(greeting(b"php process\nGET\n"), Greeting::Complete(None, 16));
        assert_eq!(greeting(b"php process\r\n"), Greeting::Other);
        assert_eq!(greeting(b"GET / HTTP/1.1"), Greeting::Other);
    }

    #[test]
    fn a_message_ends_where_its_value_ends() {
        let text = br#" {"a":"}\"]"} [1,[2]]"x"bufferON bufferOFF{"b":{}}"#;
        let expected = [r#"{"a":"}\"]"}"#, "[1,[2]]", "\"x\"", "bufferON", "bufferOFF", r#"{"b":{}}"#];
        assert_eq!(messages(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(messages(&bytes), expected);
    }

    #[test]
    fn a_bare_word_ends_with_its_read() {
        assert_eq!(messages(&[b"hello", b"{}"]), ["hello", "{}"]);
        assert_eq!(messages(&[b"5", b"true{}"]), ["5", "true", "{}"]);
        assert_eq!(messages(&[b"buff", b"erON"]), ["bufferON"]);
    }

    #[test]
    fn an_endless_message_is_too_big() {
        let mut inbox = RawInbox::new(4);
        assert_eq!(inbox.next_message(&mut &b"{\"aaaa"[..], false), Err(TooBig));
    }

    #[test]
    fn while_buffering_a_read_is_a_chunk() {
        let mut inbox = RawInbox::new(1000);
        let mut read = |mut input: &[u8]| {
            let chunk = inbox.next_message(&mut input, true).unwrap();
            (chunk.map(|chunk| String::from_utf8(chunk).unwrap()), input.len())
        };
        assert_eq!(read(b"{\"a\":"), (Some("{\"a\":".into()), 0));
        assert_eq!(read(b"bufferOFF"), (Some("bufferOFF".into()), 0));
        assert_eq!(read(b"1}bufferOFF"), (Some("1}".into()), 9));
        assert_eq!(read(b""), (None, 0));
    }
}
