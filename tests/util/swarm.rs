//! Thousands of clients on one thread, which read as fast as they are told to, and send as fast as the server takes it;
//! and a client that measures beside them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream as Socket;
use mio::{Events, Interest, Poll, Token};

use super::lab::{KIB, Times};
use super::{Client, NEXT, Wire, json, masked, request};

/// So many handshakes are under way at once.
const GROUP: usize = 100;
/// Slow members read once in this time.
const TICK: Duration = Duration::from_millis(50);

/// Connects so many clients and gives each past its `ready`, with its uuid. `greeting` is sent behind the request.
pub fn enter(
    connect: impl Fn() -> std::net::TcpStream,
    count: usize,
    path: &str,
    headers: &str,
    greeting: &[u8],
) -> Vec<(std::net::TcpStream, String)> {
    let first = [request(path, headers).as_bytes(), greeting].concat();
    let mut entered = Vec::with_capacity(count);
    while entered.len() < count {
        let group: Vec<_> = (0..GROUP.min(count - entered.len()))
            .map(|_| {
                let mut stream = connect();
                stream.write_all(&first).unwrap();
                stream
            })
            .collect();
        for stream in group {
            let mut client = Client::over(stream.try_clone().unwrap());
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            let uuid = json(&client.text(), "uuid");
            entered.push((stream, uuid));
        }
    }
    entered
}

/// How the members behave, and what they have seen.
#[derive(Default)]
struct Shared {
    /// Bytes that each of them reads in a tick; `usize::MAX` for all there is, at once.
    pace: AtomicUsize,
    flooding: AtomicBool,
    stop: AtomicBool,
    read: AtomicUsize,
    written: AtomicUsize,
    lost: AtomicUsize,
}

/// Clients that one thread reads for and writes for; they end with the value.
pub struct Swarm {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    pub uuids: Vec<String>,
}

struct Member {
    stream: Socket,
    sent: usize,
    /// Bytes that it wants to send in all.
    most: usize,
    gone: bool,
}

impl Swarm {
    /// Readers: each reads so many bytes in a tick.
    pub fn readers(entered: Vec<(std::net::TcpStream, String)>, pace: usize) -> Swarm {
        Swarm::start(entered, pace, Arc::from([]), 0)
    }

    /// Readers of all there is that, once they are told to, send `message` again and again up to so many bytes each.
    pub fn flooders(entered: Vec<(std::net::TcpStream, String)>, message: &[u8], bytes: usize) -> Swarm {
        // A whole number of messages, so that the buffer can be sent again and again.
        let buffer = message.repeat((64 * KIB).div_ceil(message.len()));
        Swarm::start(entered, usize::MAX, buffer.into(), bytes)
    }

    fn start(entered: Vec<(std::net::TcpStream, String)>, pace: usize, buffer: Arc<[u8]>, bytes: usize) -> Swarm {
        let shared = Arc::new(Shared { pace: AtomicUsize::new(pace), ..Shared::default() });
        let (streams, uuids): (Vec<_>, Vec<_>) = entered.into_iter().unzip();
        let members = streams.into_iter().map(|stream| {
            stream.set_nonblocking(true).unwrap();
            Member { stream: Socket::from_std(stream), sent: 0, most: bytes, gone: false }
        });
        let (members, all) = (members.collect(), shared.clone());
        let thread = Some(std::thread::spawn(move || run(members, &all, &buffer)));
        Swarm { shared, thread, uuids }
    }

    /// Lets them read at another pace.
    pub fn read_at(&self, pace: usize) {
        self.shared.pace.store(pace, Ordering::SeqCst);
    }

    /// Lets them send.
    pub fn flood(&self) {
        self.shared.flooding.store(true, Ordering::SeqCst);
    }

    /// Lets them send no more.
    pub fn rest(&self) {
        self.shared.flooding.store(false, Ordering::SeqCst);
    }

    /// Bytes that all of them have read so far.
    pub fn read(&self) -> usize {
        self.shared.read.load(Ordering::SeqCst)
    }

    /// Bytes that all of them have sent so far.
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Those whose connection the server has ended.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn run(mut members: Vec<Member>, shared: &Shared, buffer: &[u8]) {
    let mut poll = Poll::new().unwrap();
    for (at, member) in members.iter_mut().enumerate() {
        poll.registry().register(&mut member.stream, Token(at), Interest::READABLE | Interest::WRITABLE).unwrap();
    }
    let (mut events, mut bytes) = (Events::with_capacity(1024), vec![0; 256 * KIB]);
    let (mut paced, mut flooding) = (true, false);
    while !shared.stop.load(Ordering::SeqCst) {
        let pace = shared.pace.load(Ordering::SeqCst);
        // What came before they were told to read, or to send, has no event of its own any more.
        let fast = pace == usize::MAX;
        if !fast || paced {
            members.iter_mut().for_each(|member| member.read(shared, &mut bytes, pace));
        }
        paced = !fast;
        let begins = shared.flooding.load(Ordering::SeqCst) && !flooding;
        flooding = shared.flooding.load(Ordering::SeqCst);
        if begins {
            members.iter_mut().for_each(|member| member.write(shared, buffer));
        }
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
            Ok(()) if !fast => std::thread::sleep(TICK),
            Ok(()) => {
                for event in &events {
                    let member = &mut members[event.token().0];
                    if event.is_readable() {
                        member.read(shared, &mut bytes, usize::MAX);
                    }
                    if event.is_writable() && flooding {
                        member.write(shared, buffer);
                    }
                }
            }
        }
    }
}

impl Member {
    fn read(&mut self, shared: &Shared, buffer: &mut [u8], pace: usize) {
        let mut most = pace;
        while !self.gone && most > 0 {
            let room = buffer.len().min(most);
            match self.stream.read(&mut buffer[..room]) {
                Ok(count) if count > 0 => {
                    shared.read.fetch_add(count, Ordering::SeqCst);
                    most = most.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.lose(shared),
            }
        }
    }

    fn write(&mut self, shared: &Shared, buffer: &[u8]) {
        while !self.gone && self.sent < self.most {
            let rest = &buffer[self.sent % buffer.len()..];
            match self.stream.write(&rest[..rest.len().min(self.most - self.sent)]) {
                Ok(count) => {
                    self.sent += count;
                    shared.written.fetch_add(count, Ordering::SeqCst);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.lose(shared),
            }
        }
    }

    fn lose(&mut self, shared: &Shared) {
        self.gone = true;
        shared.lost.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client that behaves and measures, also among thousands of broadcasts: what comes between is not taken apart.
pub struct Prober {
    wire: Box<dyn Wire>,
    count: usize,
    seen: Vec<u8>,
    buffer: Vec<u8>,
}

impl Prober {
    /// A wait that is not over after this long is not measured any further.
    pub const PATIENCE: Duration = Duration::from_secs(6);

    pub fn new(client: Client) -> Prober {
        let mut wire = client.wire;
        wire.set_patience(Prober::PATIENCE);
        Prober { wire, count: 0, seen: Vec::new(), buffer: vec![0; 64 * KIB] }
    }

    /// The time until the answer to a message is there; an error is the time after which it was given up.
    pub fn ask(&mut self, message: &str, answer: &str) -> Result<Duration, Duration> {
        let start = Instant::now();
        if self.wire.write_all(&masked(true, 1, message.as_bytes())).is_err() {
            return Err(Prober::PATIENCE);
        }
        self.seen.clear();
        while start.elapsed() < Prober::PATIENCE {
            match self.wire.read(&mut self.buffer) {
                Ok(count) if count > 0 => self.seen.extend_from_slice(&self.buffer[..count]),
                // The end of the connection is as bad as no answer.
                Ok(_) => return Err(Prober::PATIENCE),
                Err(_) => break,
            }
            if memmem::find(&self.seen, answer.as_bytes()).is_some() {
                return Ok(start.elapsed());
            }
            // The answer may have begun.
            self.seen.drain(..self.seen.len().saturating_sub(answer.len()));
        }
        Err(start.elapsed())
    }

    pub fn echo(&mut self) -> Result<Duration, Duration> {
        self.count += 1;
        let echo = format!(r#"{{"opcode":"echo","probe":{}}}"#, self.count);
        self.ask(&echo, &echo)
    }

    /// A message of which only `next` comes back.
    pub fn next(&mut self, message: &str) -> Result<Duration, Duration> {
        self.ask(message, NEXT)
    }

    /// Measures again and again, a pause after each time, until `done` or until an answer did not come. A long wait
    /// counts as all those that would have begun meanwhile: else many short ones after it would hide it.
    pub fn until(
        &mut self,
        pause: Duration,
        mut measure: impl FnMut(&mut Prober) -> Result<Duration, Duration>,
        mut done: impl FnMut() -> bool,
    ) -> Times {
        let mut times = Times::default();
        loop {
            let result = measure(self);
            let (Ok(mut time) | Err(mut time)) = result;
            times.add(time);
            while time > 2 * pause {
                time -= pause;
                times.add(time);
            }
            if result.is_err() || done() {
                return times;
            }
            std::thread::sleep(pause);
        }
    }
}
