//! The connection to Redis or Valkey, and making it again when it is lost.
//!
//! One RESP3 connection carries commands and subscriptions, so that replies and messages come in one
//! order. It is registered in the server's own poll and never blocks; the owner drives it, hands in the
//! time, and takes events out. It must not know what the commands are for, nor anything of clients.
//!
//! ```text
//!   Waiting ──▶ Connecting ──▶ Greeting ──▶ Up      the last three are session.rs
//!      ▲            │             │          │
//!      └────────────┴── an error, a timeout ─┘      the next address at once, else 100 ms … 5 s
//! ```

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Registry, Token};

use self::session::Session;
use self::stream::{Stream, Tls};
use self::targets::Targets;
use crate::error::StartError;
use crate::extras::redis::url::{Place, RedisUrl};

mod refusal;
mod resp;
mod session;
mod stream;
mod targets;
#[cfg(test)]
mod tests;
pub(crate) mod url;

pub(crate) use self::resp::Reply;

/// Bytes that may wait to be written. Beyond them commands are refused, and messages reach this process only.
pub(crate) const MAX_QUEUED: usize = 32 * 1024 * 1024;
/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait. A connection that was up for less does not end a row of failures.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What happened, in the order it did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// Commands are taken from now on; there is no subscription yet.
    Up,
    /// The connection is lost, or could not be made: one line that says why, and how many commands are left
    /// without an answer. Subscriptions are gone. Each round of failed attempts gives one.
    Down(String),
    /// The answer to the command that was given this tag.
    Reply { tag: u64, reply: Reply },
    /// Something was published on a channel that is subscribed to. The bytes are views of what was read.
    Message { channel: Bytes, payload: Bytes },
}

/// The link is not up, or more than [`MAX_QUEUED`] bytes would wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// The one connection to Redis.
pub(crate) struct Link {
    url: RedisUrl,
    tls: Option<Tls>,
    targets: Targets,
    state: State,
    /// Rounds that failed in a row.
    failures: u32,
    next_tag: u64,
    events: VecDeque<LinkEvent>,
}

enum State {
    /// Until that moment, or until the next call.
    Waiting(Option<Instant>),
    Joined(Box<Session>),
}

impl Link {
    /// Reads the files for TLS and looks the host's name up, which may take as long as name servers
    /// do. Whether Redis is there shows later.
    pub(crate) fn new(url: RedisUrl) -> Result<Link, StartError> {
        let tls = match (&url.tls, &url.place) {
            (Some(files), Place::Tcp(host, _)) => Some(Tls::load(host, files).map_err(|problem| StartError::new(&url, problem))?),
            _ => None,
        };
        let targets = Targets::new(&url.place);
        Ok(Link { url, tls, targets, state: State::Waiting(None), failures: 0, next_tag: 0, events: VecDeque::new() })
    }

    /// Notes that the poll told of the link's token; `drive` must follow.
    pub(crate) fn ready(&mut self) {
        if let State::Joined(session) = &mut self.state {
            session.ready();
        }
    }

    /// Connects, reads, writes what is queued. To be called after `ready`, when the deadline is over, and
    /// before the loop sleeps; without anything to do it costs no system call.
    pub(crate) fn drive(&mut self, registry: &Registry, token: Token, now: Instant) {
        loop {
            match &mut self.state {
                State::Waiting(Some(until)) if now < *until => return,
                State::Waiting(_) => self.connect(registry, token, now),
                State::Joined(session) => match session.drive(now, &mut self.events) {
                    Ok(()) => return self.note_up(),
                    Err(why) => self.lost(&why, now),
                },
            }
        }
    }

    fn connect(&mut self, registry: &Registry, token: Token, now: Instant) {
        let target = match self.targets.current() {
            Ok(target) => target,
            Err(why) => return self.down(why, now),
        };
        match Stream::connect(&target, self.tls.as_ref(), registry, token) {
            Ok(stream) => self.state = State::Joined(Box::new(Session::new(stream, &self.url, now))),
            Err(error) => self.unreachable(&error.to_string(), now),
        }
    }

    /// The address that answers is the first to be tried the next time.
    fn note_up(&mut self) {
        if self.is_up() {
            self.targets.end_round();
        }
    }

    fn lost(&mut self, why: &str, now: Instant) {
        let State::Joined(session) = &self.state else { return };
        if session.is_connecting() {
            return self.unreachable(why, now);
        }
        match session.is_up() {
            true if session.up_for(now) >= LONGEST_WAIT => self.failures = 0,
            true => {}
            // What greets badly may be there, but be another server than the one at the next address.
            false => _ = self.targets.try_next(),
        }
        let why = match session.unanswered() {
            0 => why.to_owned(),
            count => format!("{why}; {count} commands are left unanswered"),
        };
        self.targets.end_round();
        self.down(why, now);
    }

    /// This address has failed; others of the host may not.
    fn unreachable(&mut self, why: &str, now: Instant) {
        let why = self.targets.current().map_or(why.to_owned(), |target| format!("{target}: {why}"));
        match self.targets.try_next() {
            true => self.state = State::Waiting(None),
            false => self.down(why, now),
        }
    }

    fn down(&mut self, why: String, now: Instant) {
        self.targets.look_up();
        self.state = State::Waiting(Some(now + backoff(self.failures)));
        self.failures += 1;
        self.events.push_back(LinkEvent::Down(why));
    }

    /// What happened next.
    pub(crate) fn next_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Whether commands are taken.
    pub(crate) fn is_up(&self) -> bool {
        self.session().is_some_and(Session::is_up)
    }

    /// Queues a command, and gives the tag of its reply. `drive` writes it.
    pub(crate) fn send(&mut self, command: &[&[u8]]) -> Result<u64, Busy> {
        let State::Joined(session) = &mut self.state else { return Err(Busy) };
        session.send(self.next_tag, command)?;
        self.next_tag += 1;
        Ok(self.next_tag - 1)
    }

    /// Subscribes to a channel while the link is up, until it is down. A refusal takes the link down. From
    /// then on Redis ends the connection if more than its `client-output-buffer-limit pubsub` (32 MiB)
    /// waits to be read, be it messages or one reply.
    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.subscription("SUBSCRIBE", channel);
    }

    /// Ends a subscription; messages that are on their way still come.
    pub(crate) fn unsubscribe(&mut self, channel: &str) {
        self.subscription("UNSUBSCRIBE", channel);
    }

    fn subscription(&mut self, verb: &str, channel: &str) {
        if let State::Joined(session) = &mut self.state {
            session.subscription(verb, channel);
        }
    }

    /// Commands without an answer; it counts them.
    pub(crate) fn unanswered(&self) -> usize {
        self.session().map_or(0, Session::unanswered)
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.session().map_or(0, Session::queued_bytes)
    }

    /// When `drive` is to be called again at the latest; a moment that is over means at once.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(until) => *until,
            State::Joined(session) => Some(session.deadline()),
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Waiting(_) => None,
            State::Joined(session) => Some(session),
        }
    }
}

/// The wait after so many failures: between a half and all of it, so that many servers don't come at once.
fn backoff(failures: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
    // Each hasher has other keys.
    let random = RandomState::new().hash_one(failures) as u32;
    wait.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}
