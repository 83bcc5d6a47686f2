//! A page that resumes: it comes back whenever its connection breaks, and insists on getting each
//! message once and in order. Written from docs/resume.md.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Frame, NEXT, PATIENCE, masked, parse, request};

pub struct Page {
    /// Where it connects, one after the other.
    pub addrs: Vec<SocketAddr>,
    path: String,
    pub uuid: String,
    pub seq: u64,
    pub at: u64,
    cseq: u64,
    wire: Option<TcpStream>,
    bytes: Vec<u8>,
    /// The messages, without `seq` and `at`.
    pub got: Vec<Value>,
    /// What each `ready` said in `resume`.
    pub standings: Vec<String>,
    /// When that was, the uuid that it said, and how many messages had come before it.
    pub readies: Vec<(Instant, String, usize)>,
    /// How often it connected, also in vain.
    pub tries: usize,
    /// `next` that nobody has waited for yet.
    nexts: usize,
    /// Whether `ready` came on this connection.
    told: bool,
    /// Further lines of its requests.
    pub headers: String,
    /// A client that does not resume: without a connection it is nobody.
    pub is_plain: bool,
    /// Where the next message breaks the connection behind itself, so that its `next` is lost.
    pub loses_next: bool,
    /// What happened, for a test that tells it later. Then what is not as it should be is noted there too, and counted.
    pub notes: Option<Vec<(Instant, String)>>,
    pub wrong: Vec<String>,
}

impl Page {
    pub fn new(addrs: &[SocketAddr], path: &str) -> Page {
        Page {
            addrs: addrs.to_vec(),
            path: path.into(),
            uuid: String::new(),
            seq: 0,
            at: 0,
            cseq: 0,
            wire: None,
            bytes: Vec::new(),
            got: Vec::new(),
            standings: Vec::new(),
            readies: Vec::new(),
            tries: 0,
            nexts: 0,
            told: false,
            headers: String::new(),
            is_plain: false,
            loses_next: false,
            notes: None,
            wrong: Vec::new(),
        }
    }

    /// Notes what happened, where somebody wants to know.
    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push((Instant::now(), what()));
        }
    }

    /// What must be so; where it is only noted, the page goes on.
    fn insist(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            let what = what();
            assert!(self.notes.is_some(), "{what}");
            self.note(|| format!("WRONG: {what}"));
            self.wrong.push(what);
        }
    }

    /// The same, connected and told `ready`.
    pub fn ready(addrs: &[SocketAddr], path: &str) -> Page {
        let mut page = Page::new(addrs, path);
        page.until("ready", |page| !page.uuid.is_empty());
        page
    }

    /// Goes on until something is so; panics where it takes too long.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Page) -> bool) {
        let deadline = Instant::now() + 3 * PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}; got {:?}, {:?}", self.got, self.standings);
            self.step(Duration::from_millis(100));
        }
    }

    /// Sends a message, again and again until its `next` comes. A plain client does that once; gives whether it came.
    pub fn say(&mut self, text: &str) -> bool {
        self.cseq += 1;
        let number = if self.is_plain { String::new() } else { format!(r#","cseq":{}"#, self.cseq) };
        let text = format!("{}{number}}}", text.strip_suffix('}').unwrap());
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            // Before it is told `ready` a client sends nothing.
            while !self.is_told() {
                assert!(Instant::now() < deadline, "can't connect to say {text}");
                self.step(Duration::from_millis(100));
            }
            self.nexts = 0;
            let told = self.standings.len();
            let sent = self.wire.as_mut().is_some_and(|wire| wire.write_all(&masked(true, 1, text.as_bytes())).is_ok());
            self.note(|| format!("says {text}"));
            if !sent || std::mem::take(&mut self.loses_next) {
                self.break_off();
            }
            while self.is_told() && self.standings.len() == told {
                assert!(Instant::now() < deadline, "no next for {text}");
                self.step(Duration::from_millis(100));
                if self.nexts > 0 {
                    return true;
                }
            }
            if self.is_plain {
                return false;
            }
        }
    }

    /// Whether this connection has been told `ready`.
    fn is_told(&self) -> bool {
        self.wire.is_some() && self.told
    }

    /// Breaks the connection as a network does.
    pub fn break_off(&mut self) {
        if self.wire.is_some() {
            self.note(|| "is off".into());
        }
        if self.is_plain {
            self.uuid.clear();
        }
        self.wire = None;
        self.told = false;
        self.bytes.clear();
    }

    /// Breaks the connection with a reset: the server finds out as it writes.
    pub fn reset(&mut self) {
        if let Some(wire) = &self.wire {
            socket2::SockRef::from(wire).set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.break_off();
    }

    /// What it asks for to come back.
    pub fn target(&self) -> String {
        let Page { path, uuid, seq, at, .. } = self;
        if self.is_plain {
            return path.clone();
        }
        if uuid.is_empty() { format!("{path}?resume=") } else { format!("{path}?resume={uuid}&seq={seq}&at={at}") }
    }

    /// Reads what comes within a time, one frame at most; connects where there is no connection.
    pub fn step(&mut self, patience: Duration) {
        if self.wire.is_none() && !self.connect() {
            // A page waits before it tries again.
            std::thread::sleep(Duration::from_millis(5));
            return;
        }
        if let Some((frame, len)) = parse(&self.bytes) {
            self.bytes.drain(..len);
            return self.take(&frame);
        }
        let Some(wire) = &mut self.wire else { return };
        wire.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 65536];
        match wire.read(&mut buffer) {
            Ok(0) => self.break_off(),
            Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => self.break_off(),
        }
    }

    fn connect(&mut self) -> bool {
        self.tries += 1;
        self.bytes.clear();
        let addr = self.addrs[self.tries % self.addrs.len()];
        self.note(|| format!("goes to {addr}"));
        self.wire = self.upgrade(addr);
        self.wire.is_some()
    }

    /// Past the 101; what came behind it is kept.
    fn upgrade(&mut self, addr: SocketAddr) -> Option<TcpStream> {
        let mut wire = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
        wire.set_nodelay(true).unwrap();
        wire.set_read_timeout(Some(PATIENCE)).unwrap();
        wire.write_all(request(&self.target(), &self.headers).as_bytes()).ok()?;
        let mut buffer = [0; 65536];
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.bytes.drain(..at + 4).collect()).unwrap();
                return head.starts_with("HTTP/1.1 101 ").then_some(wire);
            }
            match wire.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn take(&mut self, frame: &Frame) {
        match frame.opcode {
            1 => self.message(frame.text()),
            9 => {
                if let Some(wire) = &mut self.wire {
                    // Where it fails, the next read finds out.
                    let _ = wire.write_all(&masked(true, 10, &frame.payload));
                }
            }
            8 => {
                self.note(|| format!("is closed with {}", frame.code()));
                self.insist(frame.code() != 4000, || "closed with 4000, but nobody else came with this uuid".into());
            }
            other => panic!("frame with opcode {other}"),
        }
    }

    fn message(&mut self, text: &str) {
        if text == NEXT {
            self.nexts += 1;
            return;
        }
        let mut value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let seq = value["seq"].as_u64();
        match value["opcode"].as_str() {
            Some("ready") => {
                self.note(|| text.into());
                let standing = if self.is_plain { Some("plain") } else { value["resume"].as_str() };
                let standing = standing.unwrap_or_else(|| panic!("no resume: {text}")).to_owned();
                let uuid = value["uuid"].as_str().unwrap();
                let is_same = standing == "lost" || self.uuid.is_empty() || self.uuid == uuid;
                self.insist(is_same, || format!("another uuid: {text}"));
                let before = self.seq;
                self.insist(standing != "resumed" || seq == Some(before), || format!("not behind {before}: {text}"));
                (self.uuid, self.seq) = (uuid.into(), seq.unwrap_or_default());
                self.standings.push(standing);
                self.readies.push((Instant::now(), uuid.into(), self.got.len()));
                self.told = true;
            }
            Some("close") if seq.is_none() => {}
            _ if self.is_plain => {
                self.note(|| text.into());
                self.got.push(value);
            }
            _ => {
                self.note(|| text.into());
                let next = self.seq + 1;
                self.insist(seq == Some(next), || format!("not the next message, {next}: {text}"));
                self.insist(text.ends_with(&format!(r#""seq":{next}}}"#)), || format!("the number is not last: {text}"));
                self.seq = seq.unwrap_or(next);
                let at = value["at"].as_u64().unwrap_or(self.at);
                let before = self.at;
                self.insist(at >= before, || format!("{at} after {before}"));
                self.at = at;
                let members = value.as_object_mut().unwrap();
                members.remove("seq");
                members.remove("at");
                self.got.push(value);
            }
        }
    }
}
