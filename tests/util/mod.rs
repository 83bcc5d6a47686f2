//! What the tests share: a phpws process on a port of its own, and clients that speak bytes.
//!
//! The client here is written from RFC 6455 and knows nothing of the library, so that a mistake in
//! the one can't hide a mistake in the other.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

pub mod crowd;
pub mod embedded;
pub mod folder;
pub mod http;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod page;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod redis_cluster;
pub mod sockets;
#[cfg(target_os = "linux")]
pub mod swarm;
pub mod tls;
pub mod visitors;
pub mod waiting;

pub use waiting::{PATIENCE, wait_for};

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// A running phpws; it ends with the value.
pub struct Phpws {
    pub child: Child,
    pub addr: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Phpws {
    /// Starts the program on 127.0.0.1 with further arguments.
    pub fn start(args: &[&str]) -> Phpws {
        Phpws::start_on("ws://127.0.0.1:0", args)
    }

    pub fn start_on(address: &str, args: &[&str]) -> Phpws {
        Phpws::started_by(Command::new(env!("CARGO_BIN_EXE_phpws")).args(args).arg(address))
    }

    /// Starts it by any command that becomes phpws.
    pub fn started_by(command: &mut Command) -> Phpws {
        // Tests wait for lines, also in a flood. A flag says otherwise.
        let mut child = command.env("PHPWS_LOG_RATE", "0").stdout(Stdio::piped()).spawn().expect("phpws starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, sink) = (child.stdout.take().unwrap(), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let mut server = Phpws { child, addr: ([127, 0, 0, 1], 0).into(), lines };
        let line = server.log_line("Server initialized on ");
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "on").unwrap();
        server.addr = words[at + 2].trim_end_matches("\"}").parse().expect("the log names the address");
        server
    }

    /// Waits for a log line that contains `text`, and gives it without its date.
    pub fn log_line(&self, text: &str) -> String {
        wait_for(&format!("log line '{text}'"), || {
            let lines = self.lines.lock().unwrap();
            let line = lines.iter().find(|line| line.contains(text))?;
            Some(line.split_once(';').map_or(line.as_str(), |(_, message)| message).to_owned())
        })
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Asks it to stop, and waits until it has begun to.
    pub fn begin_stopping(&self) {
        self.signal("TERM");
        self.log_line("Shutting down");
    }

    /// Lets it rest for as long as this takes: what is sent meanwhile, it finds at once.
    pub fn at_rest<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        let result = act();
        self.signal("CONT");
        result
    }

    /// Waits for the end of the process.
    pub fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of phpws", || self.child.try_wait().unwrap()).code()
    }

    /// A browser client of `/web` that has been told `ready`, and its uuid.
    pub fn browser(&self) -> (Client, String) {
        self.ready_on("/web", "")
    }

    /// A client of any path with further header lines, told `ready`.
    pub fn ready_on(&self, path: &str, headers: &str) -> (Client, String) {
        let mut client = self.upgrade(path, headers);
        let ready = client.text();
        let uuid = json(&ready, "uuid");
        assert_eq!(json(&ready, "opcode"), "ready", "{ready}");
        (client, uuid)
    }

    /// The same, which reads nothing and whose system takes few bytes: with a few megabytes waiting for it, nothing
    /// more leaves the server.
    pub fn narrow_on(&self, path: &str, headers: &str) -> (Client, String) {
        let mut client = Client::over(sockets::narrow(self.addr));
        client.send(request(path, headers).as_bytes());
        client.head();
        let uuid = json(&client.text(), "uuid");
        (client, uuid)
    }

    /// A client past the 101.
    pub fn upgrade(&self, path: &str, headers: &str) -> Client {
        let mut client = self.connect();
        client.send(request(path, headers).as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        client
    }

    /// Connects from another address of the loopback range, which is not the server's own.
    pub fn connect_from(&self, ip: [u8; 4]) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect(&self.addr.into()).unwrap();
        TcpStream::from(socket)
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }
}

impl Drop for Phpws {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell that becomes phpws with `stdin` as the descriptors from 3 on that systemd would pass.
pub fn activated(stdin: impl Into<OwnedFd>, count: usize, args: &[&str]) -> Command {
    let dup: String = (3..3 + count).map(|fd| format!("{fd}<&0 ")).collect();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("LISTEN_FDS={count} LISTEN_PID=$$ exec \"$@\" {dup}</dev/null"),
        "sh",
        env!("CARGO_BIN_EXE_phpws"),
    ]);
    command.args(args).stdin(Stdio::from(stdin.into()));
    command
}

/// A good request with further header lines, each ending with CRLF.
pub fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A frame as a server sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The code of a close frame.
    pub fn code(&self) -> u16 {
        assert_eq!(self.opcode, 8, "not a close frame: {self:?}");
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

/// Anything a client can speak through.
pub trait Wire: Read + Write + Send {
    fn finish(&mut self);
    fn set_patience(&mut self, patience: Duration);
}

impl Wire for TcpStream {
    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).unwrap();
    }

    fn set_patience(&mut self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }
}

/// A client that writes and reads bytes.
pub struct Client {
    pub wire: Box<dyn Wire>,
    bytes: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream)
    }

    pub fn over(mut wire: impl Wire + 'static) -> Client {
        wire.set_patience(PATIENCE);
        Client { wire: Box::new(wire), bytes: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).unwrap();
    }

    /// Sends it so that what follows comes in another read: `other`, a client of the same server, is answered first,
    /// and answers leave when all that was there has been read.
    pub fn send_apart(&mut self, bytes: &[u8], other: &mut Client) {
        self.send(bytes);
        other.say("{}");
    }

    pub fn send_text(&mut self, text: &str) {
        self.send(&masked(true, 1, text.as_bytes()));
    }

    /// Sends a message and reads its `next`.
    pub fn say(&mut self, text: &str) {
        self.send_text(text);
        assert_eq!(self.text(), NEXT);
    }

    /// Reads more; `false` at the end.
    pub fn read_more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.wire.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                true
            }
            // A process that was stopped and goes on finds its read interrupted.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_more(),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => false,
            Err(error) => panic!("nothing to read: {error}; so far {:?}", String::from_utf8_lossy(&self.bytes)),
        }
    }

    /// An HTTP head, with its empty line.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.bytes.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.read_more(), "the end before a whole head: {:?}", String::from_utf8_lossy(&self.bytes));
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count {
            assert!(self.read_more(), "the end before {count} bytes: {:?}", String::from_utf8_lossy(&self.bytes));
        }
        self.bytes.drain(..count).collect()
    }

    /// The body of an answer whose head was read: a JSON object without others in it.
    pub fn rest_of_body(&mut self) -> String {
        loop {
            if let Some(at) = self.bytes.iter().position(|byte| *byte == b'}') {
                return String::from_utf8(self.bytes.drain(..=at).collect()).unwrap();
            }
            assert!(self.read_more(), "the end before a whole body: {:?}", String::from_utf8_lossy(&self.bytes));
        }
    }

    /// Everything until the server ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.bytes)
    }

    /// The next frame; `None` at the end of the connection.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.bytes) {
                self.bytes.drain(..len);
                return Some(frame);
            }
            if !self.read_more() {
                assert!(self.bytes.is_empty(), "the end inside a frame: {:?}", self.bytes);
                return None;
            }
        }
    }

    /// The next frame, which must be text.
    pub fn text(&mut self) -> String {
        let frame = self.frame().expect("a frame before the end");
        assert_eq!((frame.fin, frame.opcode), (true, 1), "not text: {frame:?}");
        frame.text().to_owned()
    }

    /// The next frame, which must be a close frame with this code, and then the end.
    pub fn closed_with(&mut self, code: u16) {
        let frame = self.frame().expect("a close frame before the end");
        assert_eq!(frame.code(), code, "{frame:?}");
        assert_eq!(self.frame(), None);
    }

    /// Whether nothing comes for a moment.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.wire.set_patience(time);
        let mut buffer = [0; 1024];
        let silent = match self.wire.read(&mut buffer) {
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                false
            }
            Err(_) => self.bytes.is_empty(),
        };
        self.wire.set_patience(PATIENCE);
        silent
    }
}

pub const NEXT: &str = r#"{"opcode":"next","fyi":""}"#;

/// A masked frame, as a client sends it.
pub fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![u8::from(fin) << 7 | opcode];
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
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The first server frame in `bytes` and its length.
pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "servers must not mask");
    assert_eq!(first & 0x70, 0, "no extension was agreed");
    let (len, at) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(at..at + len)?.to_vec();
    Some((Frame { fin: first & 0x80 != 0, opcode: first & 0x0F, payload }, at + len))
}

/// A string in a JSON object.
pub fn json(text: &str, key: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {text}")).to_owned()
}
