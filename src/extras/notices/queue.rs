//! The queue of notices, and what goes through it: data, which knows no server.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use super::sender;
use crate::client::Client;
use crate::error::{InvalidValue, StartError};
use crate::ids::{ClientType, SocketId};

/// Notices that may wait; further ones are dropped, and a list of all clients follows.
const QUEUED_NOTICES: usize = 10_000;
/// Bytes of a secret, at least; with a shorter one the server does not start.
const MIN_SECRET: usize = 16;
/// How long the end of the server waits for the notices that are left.
const FINISH_TIME: Duration = Duration::from_secs(3);

/// The page that gets the notices, and the secret they are signed with.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub(super) url: String,
    pub(super) secret: Secret,
}

/// What only the two sides know. It is not shown by `{:?}`.
#[derive(Clone)]
pub struct Secret(pub(super) Box<[u8]>);

impl Receiver {
    /// A page at an `http://` or `https://` address.
    pub fn new(url: &str, secret: Secret) -> Result<Receiver, InvalidValue> {
        let uri: Option<ureq::http::Uri> = url.parse().ok();
        let good = |uri: &ureq::http::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
        };
        match uri.filter(good) {
            Some(_) => Ok(Receiver { url: url.into(), secret }),
            None => Err(format!("'{url}' is not http://HOST/PATH or https://HOST/PATH").into()),
        }
    }
}

impl Secret {
    /// The bytes without white space around them; an error if too few are left.
    pub fn new(bytes: &[u8]) -> Result<Secret, InvalidValue> {
        match bytes.trim_ascii() {
            [] => Err("holds nothing; write the secret into it".into()),
            bytes if bytes.len() < MIN_SECRET => {
                let len = bytes.len();
                Err(format!("a secret has at least {MIN_SECRET} bytes, not {len}; make one with: openssl rand -hex 32").into())
            }
            bytes => Ok(Secret(bytes.into())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What goes to the thread.
pub(super) enum Job {
    Event(Event),
    /// All clients, after the event of that number.
    Listing(u64, Vec<Present>),
}

pub(super) struct Event {
    pub(super) seq: u64,
    /// The close code of a client that left; none for one that came.
    pub(super) left: Option<u16>,
    pub(super) client: Present,
    pub(super) time: SystemTime,
}

/// What is told of a client.
pub(super) struct Present {
    pub(super) id: SocketId,
    pub(super) uuid: Uuid,
    pub(super) resource: Arc<str>,
    pub(super) client_type: ClientType,
    pub(super) ident: Box<str>,
    pub(super) ip: IpAddr,
}

impl Present {
    pub(super) fn of(id: SocketId, client: &Client, resource: &Arc<str>) -> Present {
        Present {
            id,
            uuid: client.uuid(),
            resource: resource.clone(),
            client_type: client.client_type(),
            ident: client.ident().into(),
            ip: client.ip(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id.number(),
            "uuid": self.uuid.to_string(),
            "resource": &*self.resource,
            "client_type": self.client_type.to_string(),
            "ident": &*self.ident,
            "ip": self.ip.to_string(),
        })
    }
}

/// What both halves see.
#[derive(Default)]
pub(super) struct Counters {
    /// Put on the queue and not yet delivered.
    pub(super) waiting: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) failures: AtomicU64,
    /// Whether the server ends, so that pauses are short.
    pub(super) ending: AtomicBool,
}

/// The counters at one moment.
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) failures: u64,
}

/// The loop's half.
pub(crate) struct Notices {
    pub(super) queue: SyncSender<Job>,
    pub(super) thread: Thread,
    pub(super) ended: mpsc::Receiver<()>,
    pub(super) counters: Arc<Counters>,
    /// The number of the last event.
    pub(super) seq: u64,
    pub(super) dropped: u64,
    /// Whether events were dropped since the last list.
    pub(super) gap: bool,
}

impl Notices {
    /// Starts the thread, which first of all says that there are no clients.
    pub(crate) fn start(receiver: Receiver) -> Result<Notices, StartError> {
        let (queue, jobs) = mpsc::sync_channel(QUEUED_NOTICES);
        let counters = Arc::new(Counters::default());
        let (thread, ended) = sender::start(receiver, jobs, counters.clone())?;
        Ok(Notices { queue, thread, ended, counters, seq: 0, dropped: 0, gap: false })
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Counters { waiting, sent, failures, .. } = &*self.counters;
        Counts { waiting: read(waiting), sent: read(sent), dropped: self.dropped, failures: read(failures) }
    }

    /// Gives what is left a bounded time.
    pub(crate) fn finish(self) {
        let Notices { queue, thread, ended, counters, .. } = self;
        drop(queue);
        counters.ending.store(true, Ordering::Relaxed);
        thread.unpark();
        if ended.recv_timeout(FINISH_TIME) == Err(RecvTimeoutError::Timeout) {
            log::warn!(target: "phpws", "{} notices were not delivered", counters.waiting.load(Ordering::Relaxed));
        }
    }

    pub(super) fn put(&mut self, job: Job) -> bool {
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.queue.try_send(job).is_ok();
        if !taken {
            self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Numbers an event and queues it; says whether it is the first that was dropped.
    pub(super) fn notice(&mut self, left: Option<u16>, client: Present) -> bool {
        self.seq += 1;
        let event = Event { seq: self.seq, left, client, time: SystemTime::now() };
        // The list that closes a gap covers all that happens before it.
        if !self.gap && self.put(Job::Event(event)) {
            return false;
        }
        self.dropped += 1;
        if !self.gap {
            log::warn!(target: "phpws", "Notices: {QUEUED_NOTICES} wait, further ones are dropped; a list of all clients will follow");
        }
        !std::mem::replace(&mut self.gap, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_secret_are_needed() {
        let secret = Secret::new(b" the s3cret of all\n").unwrap();
        assert_eq!((&*secret.0, format!("{secret:?}").as_str()), (&b"the s3cret of all"[..], "Secret"));
        assert_eq!(Secret::new(b" \n").unwrap_err().to_string(), "holds nothing; write the secret into it");
        assert!(Secret::new(b"fifteen letters\n").is_err() && Secret::new(b"fifteen letters.\n").is_ok());
        for good in ["http://127.0.0.1/notices.php", "https://example.org:8443/n.php?server=a"] {
            assert!(Receiver::new(good, secret.clone()).is_ok(), "{good}");
        }
        for bad in ["", "example.org/n.php", "ws://example.org/", "http://", "http:///x", "http://a b/"] {
            assert!(Receiver::new(bad, secret.clone()).is_err(), "{bad}");
        }
    }
}
