//! One connection to Redis, from its first byte to its end: the greeting, what is queued, what is
//! unanswered, and whether it is alive.
//!
//! It ends with the first error, a line that says why, and is then thrown away. Knows nothing of
//! addresses and of what comes after it.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use super::greeting::{self, Errand, Kind};
use super::refusal;
use super::resp::{Answer, Inbox, Reply, encode, encoded_len};
use super::stream::Stream;
use super::{Busy, LinkEvent, MAX_QUEUED};
use crate::extras::redis::url::{Host, RedisUrl};

/// How long connecting may take, and the greeting after it.
const GREETING_TIME: Duration = Duration::from_secs(2);
/// How long Redis may be silent while it owes an answer; then the connection is made anew.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// After how long a silence it is asked whether it is there.
const IDLE_TIME: Duration = Duration::from_secs(1);
/// What one read takes in, and what one turn of the loop does.
const READ_SIZE: usize = 64 * 1024;
const READ_BUDGET: usize = 256 * 1024;
/// A queue that grew beyond this gives its memory back once it is empty.
const KEPT_QUEUE: usize = 1024 * 1024;

pub(super) struct Session {
    url: RedisUrl,
    errand: Errand,
    /// What the other side is, once it has said so.
    kind: Kind,
    /// The host that it is at, and the one that it has named in its place.
    host: String,
    named: Option<Host>,
    stream: Stream,
    phase: Phase,
    inbox: Inbox,
    out: BytesMut,
    asked: VecDeque<Asked>,
    scratch: Box<[u8]>,
    /// Whether there may be more to read, or room to write, than was last found.
    readable: bool,
    writable: bool,
    /// The turn of the loop, and the bytes that may still be read in it.
    turn: Instant,
    budget: usize,
    /// When the last byte came.
    heard: Instant,
    /// Since when Redis owes an answer and has said nothing.
    owing: Option<Instant>,
}

/// Connecting → Greeting → Up, each at the other side's word.
#[derive(Clone, Copy)]
enum Phase {
    /// Until then the connection must be there.
    Connecting(Instant),
    /// Until then everything of the greeting must be answered.
    Greeting(Instant),
    /// Since then.
    Up(Instant),
}

/// What the next answer is for.
#[derive(Clone, Copy)]
enum Asked {
    Command(u64),
    Hello,
    Select,
    /// The last word of the greeting: only a Redis that serves answers it well.
    Ready,
    /// Whether a node of a Redis Cluster has our keys. It is not up before.
    Home,
    /// The address of the master, of a Sentinel.
    Master,
    Ping,
    /// Its answer is a push, or a refusal.
    Subscription,
}

impl Session {
    /// A connection to that host that is being made, with its greeting queued.
    pub(super) fn new(stream: Stream, host: &str, url: &RedisUrl, errand: Errand, now: Instant) -> Session {
        let mut session = Session {
            url: url.clone(),
            errand,
            kind: Kind::Alone,
            host: host.into(),
            named: None,
            stream,
            phase: Phase::Connecting(now + GREETING_TIME),
            inbox: Inbox::default(),
            out: BytesMut::new(),
            asked: VecDeque::new(),
            scratch: vec![0; READ_SIZE].into(),
            readable: true,
            writable: true,
            turn: now,
            budget: READ_BUDGET,
            heard: now,
            owing: None,
        };
        session.greet(url);
        session
    }

    fn greet(&mut self, url: &RedisUrl) {
        let login = match (&self.errand, &url.sentinel) {
            (Errand::FindMaster { .. }, Some(sentinel)) => &sentinel.login,
            _ => &url.login,
        };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(login) = login {
            hello.extend([b"AUTH".as_slice(), login.user.as_bytes(), login.password.as_bytes()]);
        }
        hello.extend([b"SETNAME".as_slice(), b"phpws"]);
        self.queue(Asked::Hello, &hello);
        if let Errand::FindMaster { name } = &self.errand {
            let name = name.clone();
            return self.queue(Asked::Master, &[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
        }
        if url.db != 0 {
            self.queue(Asked::Select, &[b"SELECT", url.db.to_string().as_bytes()]);
        }
        self.queue(Asked::Ready, &[b"PING"]);
    }

    fn queue(&mut self, asked: Asked, command: &[&[u8]]) {
        encode(command, &mut self.out);
        self.asked.push_back(asked);
    }

    /// The poll told of it.
    pub(super) fn ready(&mut self) {
        self.readable = true;
        self.writable = true;
    }

    /// Reads, asks, writes. An error is the end of this connection.
    pub(super) fn drive(&mut self, now: Instant, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        if let Phase::Connecting(until) = self.phase {
            if !self.stream.is_connected().map_err(|error| error.to_string())? {
                return if now < until { Ok(()) } else { Err("no connection within 2 s".into()) };
            }
            self.phase = Phase::Greeting(now + GREETING_TIME);
        }
        // A loop that was held up for long finds the answer in the socket.
        self.readable |= self.overdue(now).is_some();
        self.read(now, events)?;
        if let Some(why) = self.overdue(now) {
            return Err(why.into());
        }
        if self.is_up() && self.asked.is_empty() && now >= self.heard + IDLE_TIME {
            self.queue(Asked::Ping, &[b"PING"]);
        }
        self.owing = self.owing.or(Some(now)).filter(|_| !self.asked.is_empty());
        self.write()
    }

    fn overdue(&self, now: Instant) -> Option<&'static str> {
        match self.phase {
            // A Redis without TLS waits for more of what it takes for a command.
            Phase::Greeting(until) if now >= until && self.stream.is_handshaking() => {
                Some("no TLS within 2 s; if there is none at this port, write redis:// in place of rediss://")
            }
            Phase::Greeting(until) if now >= until => Some("connected, but no answer within 2 s"),
            Phase::Up(_) if self.owing.is_some_and(|since| now >= since + ANSWER_TIME) => Some("no answer for 3 s"),
            _ => None,
        }
    }

    fn read(&mut self, now: Instant, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        if now != self.turn {
            (self.turn, self.budget) = (now, READ_BUDGET);
        }
        while self.readable && self.budget > 0 {
            match self.stream.read(&mut self.scratch) {
                Ok(0) if self.is_up() => {
                    return Err("closed by Redis: it ended, or its client-output-buffer-limit pubsub was reached".into());
                }
                Ok(0) => return Err(self.ended("closed by Redis".into())),
                Ok(count) => {
                    self.heard = now;
                    self.owing = None;
                    self.budget = self.budget.saturating_sub(count);
                    self.inbox.extend(&self.scratch[..count]);
                    self.take_answers(now, events)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended(refusal::lost(&error))),
            }
        }
        Ok(())
    }

    fn take_answers(&mut self, now: Instant, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        while let Some(answer) = self.inbox.next()? {
            match answer {
                Answer::Reply(reply) => self.replied(reply, now, events)?,
                Answer::Push(items) => self.pushed(items, events)?,
            }
        }
        Ok(())
    }

    fn replied(&mut self, reply: Reply, now: Instant, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        match (self.asked.pop_front(), reply) {
            (Some(asked), Reply::Error(text)) => return self.refused(asked, text, now, events),
            (Some(Asked::Command(tag)), reply) => events.push_back(LinkEvent::Reply { tag, reply }),
            (Some(Asked::Hello), Reply::Array(items)) if speaks_resp3(&items) => self.welcomed(&items)?,
            (Some(Asked::Select | Asked::Ping), Reply::Status(_)) => {}
            (Some(Asked::Ready), Reply::Status(_)) if self.kind == Kind::ClusterNode => {}
            (Some(Asked::Ready), Reply::Status(_)) | (Some(Asked::Home), Reply::Int(_)) => self.up(now, events),
            (Some(Asked::Master), reply @ (Reply::Array(_) | Reply::Nil)) => return Err(self.master_named(&reply)),
            _ => return Err("this is no Redis: it sent an answer that fits nothing that was asked".into()),
        }
        Ok(())
    }

    fn up(&mut self, now: Instant, events: &mut VecDeque<LinkEvent>) {
        self.phase = Phase::Up(now);
        events.push_back(LinkEvent::Up);
    }

    /// The other side has said what it is.
    fn welcomed(&mut self, hello: &[Reply]) -> Result<(), String> {
        self.kind = self.errand.check(hello, &self.url)?;
        if let (Kind::ClusterNode, Errand::Serve { home }) = (self.kind, &self.errand) {
            let home = home.clone();
            self.queue(Asked::Home, &[b"EXISTS", home.as_bytes()]);
        }
        Ok(())
    }

    fn master_named(&mut self, reply: &Reply) -> String {
        self.named = greeting::master(reply);
        "this Sentinel knows no master of that name; see sentinel monitor in its configuration".into()
    }

    /// An error: of the owner's command, or the end of this connection.
    fn refused(&mut self, asked: Asked, text: String, now: Instant, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        if let Some((host, port)) = greeting::moved(&text).filter(|_| self.kind == Kind::ClusterNode) {
            self.named = Some((host.unwrap_or_else(|| self.host.clone()), port));
            return Err("our keys are on another node now".into());
        }
        match asked {
            Asked::Command(_) if greeting::is_read_only(&text) => Err("READONLY: this Redis is a replica now".into()),
            Asked::Command(tag) => {
                events.push_back(LinkEvent::Reply { tag, reply: Reply::Error(text) });
                Ok(())
            }
            // What else is forbidden is the owner's to find out, all at once.
            Asked::Home if text.starts_with("NOPERM") => {
                self.up(now, events);
                Ok(())
            }
            asked => Err(refusal::refused(asked.name(), &self.url.redact(&text))),
        }
    }

    fn pushed(&mut self, items: Vec<Reply>, events: &mut VecDeque<LinkEvent>) -> Result<(), String> {
        let mut items = items.into_iter();
        let Some(Reply::Bytes(kind)) = items.next() else { return Ok(()) };
        match (&kind[..], items.next(), items.next()) {
            (b"message", Some(Reply::Bytes(channel)), Some(Reply::Bytes(payload))) => {
                events.push_back(LinkEvent::Message { channel, payload });
            }
            (b"subscribe" | b"unsubscribe", ..) if !matches!(self.asked.pop_front(), Some(Asked::Subscription)) => {
                return Err("it confirmed a subscription that nobody asked for".into());
            }
            // There are others, such as of keys that changed, which nobody asks for here.
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        while self.writable && (!self.out.is_empty() || self.stream.holds_back()) {
            match self.stream.write(&self.out) {
                Ok(count) => self.out.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended(refusal::lost(&error))),
            }
        }
        if self.out.is_empty() && self.out.capacity() > KEPT_QUEUE {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// A Redis that expects TLS ends a connection without it, and has no words for that.
    fn ended(&self, why: String) -> String {
        match self.is_up() || self.stream.is_secure() {
            true => why,
            false => format!("{why} during the greeting; if Redis asks for TLS at this port, write rediss://"),
        }
    }

    /// Queues a command of the owner's.
    pub(super) fn send(&mut self, tag: u64, command: &[&[u8]]) -> Result<(), Busy> {
        if !self.is_up() || self.out.len() + encoded_len(command) > MAX_QUEUED {
            return Err(Busy);
        }
        self.queue(Asked::Command(tag), command);
        Ok(())
    }

    /// Queues SUBSCRIBE or UNSUBSCRIBE; before the connection is up it does nothing.
    pub(super) fn subscription(&mut self, verb: &str, channel: &str) {
        if self.is_up() {
            self.queue(Asked::Subscription, &[verb.as_bytes(), channel.as_bytes()]);
        }
    }

    /// The server that this one has named in its place.
    pub(super) fn take_named(&mut self) -> Option<Host> {
        self.named.take()
    }

    /// Whether this is a node of a Redis Cluster.
    pub(super) fn is_cluster_node(&self) -> bool {
        self.kind == Kind::ClusterNode
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// How long it has been up.
    pub(super) fn up_for(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Up(since) => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// When it wants to be driven again, whatever happens until then.
    pub(super) fn deadline(&self) -> Instant {
        match (self.phase, self.owing) {
            (Phase::Connecting(until), _) => until,
            // The budget was used up and more is there: the moment is now, or was.
            _ if self.readable => self.heard,
            (Phase::Greeting(until), _) => until,
            (Phase::Up(_), Some(since)) => since + ANSWER_TIME,
            (Phase::Up(_), None) => self.heard + IDLE_TIME,
        }
    }

    /// Commands of the owner's without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.iter().filter(|asked| matches!(asked, Asked::Command(_))).count()
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.out.len()
    }
}

/// Whether the answer to HELLO, keys and values, says so; what sends back all it gets says something else.
fn speaks_resp3(items: &[Reply]) -> bool {
    items.chunks(2).any(|pair| matches!(pair, [Reply::Bytes(key), Reply::Int(3)] if key == "proto"))
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Asked::Command(_) => "the command",
            Asked::Hello => "HELLO",
            Asked::Select => "SELECT",
            Asked::Home => "EXISTS",
            Asked::Master => "SENTINEL",
            Asked::Ready | Asked::Ping => "PING",
            Asked::Subscription => "SUBSCRIBE",
        }
    }
}
