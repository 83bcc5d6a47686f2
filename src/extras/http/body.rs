//! The body of a request: how long it is (RFC 9112, section 6), and its bytes as they come.
//!
//! Sans-IO: it is fed pieces of any size and says how many bytes belong to it. What two readers could
//! read in two ways is refused, since a proxy before this server may be the other one.

use httparse::Status;

use crate::memory::{Charge, Kind};
use crate::rfc6455::handshake::check_field;
use crate::rfc6455::{Refusal, Request};

/// The longest line of a chunked body, in bytes: a size and its extensions. A longer one is answered with 400.
const MAX_CHUNK_LINE: usize = 1024;
/// Bytes of all trailer fields of a chunked body. More are answered with 400.
const MAX_TRAILERS: usize = 8 * 1024;

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It says nothing: there is no body.
    None,
    /// So many bytes; `usize::MAX` for a number beyond that.
    Length(usize),
    /// Chunks, the last one empty.
    Chunked,
}

impl Framing {
    /// Reads the framing. The one `Host` that HTTP/1.1 asks for is checked too: like the framing, it is
    /// something that two readers must not read in two ways.
    pub fn of(request: &Request) -> Result<Framing, Refusal> {
        match request.values("host").count() {
            0 if !request.is_http_1_0() => return Err(Refusal::bad_request("Missing header: host")),
            0 | 1 => {}
            _ => return Err(Refusal::bad_request("Duplicate header: host")),
        }
        let (codings, lengths): (Vec<&str>, Vec<&str>) =
            (request.values("transfer-encoding").collect(), request.values("content-length").collect());
        match (codings.is_empty(), lengths.is_empty()) {
            (true, true) => Ok(Framing::None),
            (true, false) => length(&lengths),
            (false, false) => Err(Refusal::bad_request("Both Content-Length and Transfer-Encoding")),
            (false, true) if request.is_http_1_0() => Err(Refusal::bad_request("Transfer-Encoding in HTTP/1.0")),
            (false, true) if codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (false, true) => Err(Refusal::not_implemented("Transfer-Encoding must be chunked alone")),
        }
    }
}

/// The same number several times is one number; digits only.
fn length(values: &[&str]) -> Result<Framing, Refusal> {
    let digits = |value: &&str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !values.iter().all(digits) || values.iter().any(|value| *value != values[0]) {
        return Err(Refusal::bad_request("Bad value of header: content-length"));
    }
    // Digits that are no number are more than any number.
    Ok(Framing::Length(values[0].parse().unwrap_or(usize::MAX)))
}

/// Why a body can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than are allowed.
    TooLarge,
    /// Not the form of chunks.
    BadChunk,
    /// More trailer fields, or a longer line, than is sensible.
    TooLong,
}

/// A body as far as it has come; at most as many bytes as are allowed.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    charge: Charge,
    max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes to go.
    Length(usize),
    /// The line with a chunk's size, as far as it has come.
    Size(Vec<u8>),
    /// So many bytes of a chunk to go.
    Chunk(usize),
    /// The line's end behind a chunk.
    ChunkEnd(Vec<u8>),
    /// The line of trailers that is under way, and the bytes of all of them.
    Trailer(Vec<u8>, usize),
    Done,
}

impl Body {
    /// A body of that framing with at most `max` bytes.
    pub fn new(framing: Framing, max: usize) -> Result<Body, BodyError> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) if length > max => return Err(BodyError::TooLarge),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(Vec::new()),
        };
        Ok(Body { bytes: Vec::new(), charge: Charge::new(Kind::Inbox), max, state })
    }

    /// Whether all of it is there.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The bytes without their framing, as far as they have come.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes without their framing.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes what belongs to the body and says how much that was; the rest is the next request.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut used = 0;
        while used < input.len() && !self.is_done() {
            used += self.step(&input[used..])?;
        }
        self.charge.set(self.bytes.capacity());
        Ok(used)
    }

    fn step(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        match &mut self.state {
            State::Length(left) | State::Chunk(left) => {
                let count = input.len().min(*left);
                self.bytes.extend_from_slice(&input[..count]);
                *left -= count;
                if *left == 0 {
                    let chunked = matches!(self.state, State::Chunk(_));
                    self.state = if chunked { State::ChunkEnd(Vec::new()) } else { State::Done };
                }
                Ok(count)
            }
            State::Size(line) => {
                let used = take_line(line, input, MAX_CHUNK_LINE, BodyError::TooLong)?;
                if line.ends_with(b"\n") {
                    self.state = chunk(line, self.max - self.bytes.len())?;
                }
                Ok(used)
            }
            State::ChunkEnd(line) => {
                let used = take_line(line, input, 2, BodyError::BadChunk)?;
                if line.ends_with(b"\n") {
                    self.state = State::Size(Vec::new());
                }
                Ok(used)
            }
            State::Trailer(line, total) => {
                let used = take_line(line, input, MAX_TRAILERS - *total, BodyError::TooLong)?;
                if line == b"\r\n" {
                    self.state = State::Done;
                } else if line.ends_with(b"\n") {
                    check_field(&String::from_utf8_lossy(&line[..line.len() - 2])).map_err(|_| BodyError::BadChunk)?;
                    *total += line.len();
                    line.clear();
                }
                Ok(used)
            }
            State::Done => Ok(0),
        }
    }
}

/// What follows the line with a chunk's size.
fn chunk(line: &[u8], room: usize) -> Result<State, BodyError> {
    // The bytes of an extension are passed over, but one that another reader may take for a line's end is none.
    if line[..line.len() - 2].iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
        return Err(BodyError::BadChunk);
    }
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((_, size))) if line[0].is_ascii_hexdigit() => match usize::try_from(size) {
            Ok(0) => Ok(State::Trailer(Vec::new(), 0)),
            Ok(size) if size <= room => Ok(State::Chunk(size)),
            _ => Err(BodyError::TooLarge),
        },
        _ => Err(BodyError::BadChunk),
    }
}

/// Adds to a line up to its end, which is CRLF and nothing else; `too_long` past `max` bytes.
fn take_line(line: &mut Vec<u8>, input: &[u8], max: usize, too_long: BodyError) -> Result<usize, BodyError> {
    let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
    if line.len() + end > max {
        return Err(too_long);
    }
    line.extend_from_slice(&input[..end]);
    let bare = line.ends_with(b"\n") && !line.ends_with(b"\r\n");
    if bare { Err(BodyError::BadChunk) } else { Ok(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &str) -> Result<Framing, &'static str> {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        Framing::of(&Request::parse(head.as_bytes()).unwrap()).map_err(|refusal| refusal.status.as_str())
    }

    /// The body that these pieces make, and how much of them it is.
    fn read(framing: Framing, max: usize, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), BodyError> {
        let mut body = Body::new(framing, max)?;
        let mut used = 0;
        for piece in pieces {
            used += body.feed(piece)?;
        }
        assert!(body.is_done(), "{body:?}");
        Ok((body.into_bytes(), used))
    }

    #[test]
    fn framing_is_read_in_one_way_only() {
        for (fields, expected) in [
            ("X: y", Ok(Framing::None)),
            ("Content-Length: 5", Ok(Framing::Length(5))),
            ("content-length: 005", Ok(Framing::Length(5))),
            ("Content-Length: 5\r\nContent-Length: 5", Ok(Framing::Length(5))),
            ("Content-Length: 99999999999999999999999", Ok(Framing::Length(usize::MAX))),
            ("Transfer-Encoding: Chunked", Ok(Framing::Chunked)),
            ("Content-Length: 5\r\nContent-Length: 6", Err("400 Bad Request")),
            ("Content-Length: 5, 5", Err("400 Bad Request")),
            ("Content-Length: +5", Err("400 Bad Request")),
            ("Content-Length: -5", Err("400 Bad Request")),
            ("Content-Length: 0x5", Err("400 Bad Request")),
            ("Content-Length:", Err("400 Bad Request")),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Err("400 Bad Request")),
            ("Transfer-Encoding: gzip, chunked", Err("501 Not Implemented")),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err("501 Not Implemented")),
            ("Transfer-Encoding: xchunked", Err("501 Not Implemented")),
            ("Transfer-Encoding: \tchunked\t ", Ok(Framing::Chunked)),
            ("Transfer-Encoding: \u{a0}chunked", Err("501 Not Implemented")),
            ("Transfer-Encoding: chunked\u{2003}", Err("501 Not Implemented")),
            ("Content-Length: \t5\t", Ok(Framing::Length(5))),
            ("Content-Length: \u{a0}5", Err("400 Bad Request")),
            ("Content-Length: 5\u{85}", Err("400 Bad Request")),
            ("Content-Length: 5\u{3000}", Err("400 Bad Request")),
            ("Host: y", Err("400 Bad Request")),
        ] {
            assert_eq!(framing(fields), expected, "{fields}");
        }
    }

    #[test]
    fn a_body_is_the_same_however_it_is_split() {
        let chunked = b"3\r\nabc\r\n0A;x=\"\ty\xff\"\r\ndefghijklm\r\n000\r\nTrailer: yes\r\nB:\t\xff\r\n\r\nGET";
        for (framing, input, body) in [
            (Framing::Length(5), &b"abcdeGET"[..], &b"abcde"[..]),
            (Framing::Chunked, chunked, b"abcdefghijklm"),
            (Framing::None, b"GET", b""),
        ] {
            for cut in 0..input.len() {
                assert_eq!(read(framing, 100, &[&input[..cut], &input[cut..]]), Ok((body.to_vec(), input.len() - 3)), "{cut}");
            }
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(read(framing, 100, &bytes), Ok((body.to_vec(), input.len() - 3)));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            &b"\r\n"[..],
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"x\r\n",
            b"-3\r\n",
            b"0x3\r\n",
            b"3\nabc",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc\rxx",
            b"0\r\nTrailer: x\n\r\n",
            b"ffffffffffffffffff\r\n",
            b"3;a=\0\r\n",
            b"3;a\rb\r\n",
            b"3;a=\x7f\r\n",
            b"3;a=\x1b\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nA: \0\r\n\r\n",
            b"0\r\nA: b\rC: d\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nA: b\r\n folded\r\n\r\n",
        ] {
            let mut body = Body::new(Framing::Chunked, 100).unwrap();
            assert_eq!(body.feed(bad), Err(BodyError::BadChunk), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_body_has_its_limits() {
        assert_eq!(Body::new(Framing::Length(11), 10).map(drop), Err(BodyError::TooLarge));
        let feed = |input: &[u8]| Body::new(Framing::Chunked, 10).unwrap().feed(input);
        assert_eq!(feed(b"b\r\n"), Err(BodyError::TooLarge));
        assert_eq!(feed(b"9\r\nabcdefghi\r\n2\r\n"), Err(BodyError::TooLarge));
        assert_eq!(feed(b"ffffffffffffffff\r\n"), Err(BodyError::TooLarge));
        assert_eq!(feed(&[b"1;".as_slice(), &[b'a'; 2000]].concat()), Err(BodyError::TooLong));
        assert_eq!(feed(&[b"0\r\n".as_slice(), &b"A: b\r\n".repeat(2000)].concat()), Err(BodyError::TooLong));
    }
}
