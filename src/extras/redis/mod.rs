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
//!
//! A Sentinel, or a node of a Redis Cluster that lacks our keys, names another server while it is greeted. That one is
//! connected to next. Once it is lost the search begins anew at the hosts of the URL.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Registry, Token};

use self::greeting::Errand;
use self::session::Session;
use self::stream::{Stream, Target, Tls};
use self::targets::Targets;
use crate::error::StartError;
use crate::extras::redis::url::{Host, RedisUrl, TlsFiles};

mod greeting;
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
/// How often it is looked whether the name of a server that another one has named is found.
const LOOKUP_WAIT: Duration = Duration::from_millis(20);
/// Servers in a row that name another one; then it is taken for a failure.
const MAX_HOPS: u32 = 5;

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
    sentinel_tls: Option<Tls>,
    /// A key of the owner's: in a Redis Cluster its node is the one that all goes to.
    home: Arc<str>,
    /// The hosts of the URL.
    targets: Targets,
    /// The server that one of them has named, and how many have named one in a row.
    named: Option<Targets>,
    hops: u32,
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
    /// Reads the files for TLS and looks the hosts' names up, which may take as long as name servers do. Whether Redis is
    /// there shows later. `home` is a key of the owner's, in a Redis Cluster where it is.
    pub(crate) fn new(url: RedisUrl, home: &str) -> Result<Link, StartError> {
        let load = |hosts: &[Host], files: &Option<TlsFiles>| {
            let tls = files.as_ref().map(|files| Tls::load(hosts, files)).transpose();
            tls.map_err(|problem| StartError::new(&url, problem))
        };
        let (tls, sentinel_tls) = match &url.sentinel {
            None => (load(url.hosts(), &url.tls)?, None),
            Some(sentinel) => (load(&[], &url.tls)?, load(url.hosts(), &sentinel.tls)?),
        };
        let targets = Targets::new(&url.place);
        Ok(Link {
            url,
            tls,
            sentinel_tls,
            home: home.into(),
            targets,
            named: None,
            hops: 0,
            state: State::Waiting(None),
            failures: 0,
            next_tag: 0,
            events: VecDeque::new(),
        })
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
        if self.named.as_mut().is_some_and(Targets::is_waiting) {
            self.state = State::Waiting(Some(now + LOOKUP_WAIT));
            return;
        }
        let target = match self.current_targets().current() {
            Ok(target) => target,
            Err(why) => return self.unreachable(&why, now),
        };
        let (errand, tls) = match &self.url.sentinel {
            Some(sentinel) if self.named.is_none() => {
                (Errand::FindMaster { name: sentinel.name.clone() }, self.sentinel_tls.as_ref())
            }
            _ => (Errand::Serve { home: self.home.clone() }, self.tls.as_ref()),
        };
        match Stream::connect(&target, tls, registry, token) {
            Ok(stream) => {
                let host = if let Target::Tcp(_, host) = &target { host } else { "" };
                self.state = State::Joined(Box::new(Session::new(stream, host, &self.url, errand, now)));
            }
            Err(error) => self.cant_connect(&error.to_string(), now),
        }
    }

    /// The server that was named, else the hosts of the URL.
    fn current_targets(&mut self) -> &mut Targets {
        self.named.as_mut().unwrap_or(&mut self.targets)
    }

    /// The address that answers is the first to be tried the next time.
    fn note_up(&mut self) {
        if self.is_up() {
            self.current_targets().end_round();
            self.hops = 0;
        }
    }

    fn lost(&mut self, why: &str, now: Instant) {
        let State::Joined(session) = &mut self.state else { return };
        let named = session.take_named();
        if session.is_connecting() {
            return self.cant_connect(why, now);
        }
        let was_up = session.is_up();
        if let Some(host) = named.clone().filter(|_| !was_up && self.hops < MAX_HOPS) {
            return self.go_to(host);
        }
        if was_up && session.up_for(now) >= LONGEST_WAIT {
            self.failures = 0;
        }
        let why = match session.unanswered() {
            0 => why.to_owned(),
            count => format!("{why}; {count} commands are left unanswered"),
        };
        // What greets badly may be there, but be another server than the one at the next address.
        if !was_up {
            self.targets.try_next();
        }
        self.targets.end_round();
        self.named = named.filter(|_| was_up).map(Targets::named);
        self.down(why, now);
    }

    /// The other side has named the server that is wanted.
    fn go_to(&mut self, host: Host) {
        self.hops += 1;
        self.targets.end_round();
        self.named = Some(Targets::named(host));
        self.state = State::Waiting(None);
    }

    /// This address has failed; others of the host may not.
    fn cant_connect(&mut self, why: &str, now: Instant) {
        let targets = self.current_targets();
        let why = targets.current().map_or(why.to_owned(), |target| format!("{target}: {why}"));
        match targets.try_next() {
            true => self.state = State::Waiting(None),
            false => self.unreachable(&why, now),
        }
    }

    /// No address has answered. Whoever named that server may be wrong, so the next one is asked.
    fn unreachable(&mut self, why: &str, now: Instant) {
        if self.named.take().is_some() {
            self.targets.try_next();
            self.targets.end_round();
        }
        self.down(why.to_owned(), now);
    }

    fn down(&mut self, why: String, now: Instant) {
        self.hops = 0;
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

    /// Whether it is up at a node of a Redis Cluster.
    pub(crate) fn is_clustered(&self) -> bool {
        self.session().is_some_and(Session::is_cluster_node)
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
