//! Who came, who went: notices to a plain PHP page by HTTP POST.
//!
//! This is the loop's half. It numbers what happens and puts it on a queue with an end; a thread of
//! its own (`sender.rs`) does everything that may take time: names, TLS, a slow page. What finds the
//! queue full is dropped and counted, and once all that waited is delivered a list of all who are
//! there follows. The core calls `came` and `left` and knows nothing else. The PHP original has no
//! counterpart.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Client;
use crate::deadlines::{Deadline, after};
use crate::error::{InvalidValue, StartError};
use crate::ids::{ClientType, SocketId};
use crate::server::Server;

mod sender;

/// Notices that may wait; further ones are dropped, and a list of all clients follows.
const QUEUED_NOTICES: usize = 10_000;
/// Bytes of an ident in a notice; the rest is cut.
const MAX_IDENT: usize = 256;
/// How often it is looked, after some were dropped, whether the list can go out.
const RESYNC_PAUSE: Duration = Duration::from_millis(200);
/// How long the end of the server waits for the notices that are left.
const FINISH_TIME: Duration = Duration::from_secs(3);

/// Who gets the notices, and the secret they are signed with.
#[derive(Clone, Debug)]
pub struct Receiver {
    url: String,
    secret: Secret,
}

/// What only the two sides know. It is not shown by `{:?}`.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Receiver {
    /// A page at an `http://` or `https://` address; the secret must not be empty.
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
    /// The bytes without white space around them; `None` where nothing is left.
    pub fn new(bytes: &[u8]) -> Option<Secret> {
        let bytes = bytes.trim_ascii();
        (!bytes.is_empty()).then(|| Secret(bytes.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What goes to the thread.
enum Parcel {
    Event(Event),
    /// Everybody who is there, after the event of that number.
    Listing(u64, Vec<Present>),
}

struct Event {
    seq: u64,
    /// The close code of one who left; none for one who came.
    left: Option<u16>,
    who: Present,
    time: SystemTime,
}

/// What is told of a client.
struct Present {
    id: SocketId,
    uuid: Uuid,
    resource: Arc<str>,
    client_type: ClientType,
    ident: Box<str>,
    ip: IpAddr,
}

impl Present {
    fn of(id: SocketId, client: &Client, resource: &Arc<str>) -> Present {
        let ident = client.ident();
        Present {
            id,
            uuid: client.uuid(),
            resource: resource.clone(),
            client_type: client.client_type(),
            ident: ident[..ident.floor_char_boundary(MAX_IDENT)].into(),
            ip: client.ip(),
        }
    }

    fn json(&self) -> Value {
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
struct Tally {
    /// Put on the queue and not yet delivered.
    waiting: AtomicU64,
    sent: AtomicU64,
    failures: AtomicU64,
    /// Whether the server ends, so that pauses are short.
    ending: AtomicBool,
}

/// The counters at one moment.
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) failures: u64,
}

impl Counts {
    pub(crate) fn json(&self) -> Value {
        json!({"waiting": self.waiting, "sent": self.sent, "dropped": self.dropped, "failures": self.failures})
    }
}

/// The loop's half.
pub(crate) struct Notices {
    queue: SyncSender<Parcel>,
    courier: Thread,
    ended: mpsc::Receiver<()>,
    tally: Arc<Tally>,
    /// The number of the last event.
    seq: u64,
    dropped: u64,
    /// Whether events were dropped since the last list.
    gap: bool,
}

impl Notices {
    /// Starts the thread, which first of all says that nobody is there.
    pub(crate) fn start(receiver: Receiver) -> Result<Notices, StartError> {
        let (queue, parcels) = mpsc::sync_channel(QUEUED_NOTICES);
        let tally = Arc::new(Tally::default());
        let (courier, ended) = sender::start(receiver, parcels, tally.clone())?;
        Ok(Notices { queue, courier, ended, tally, seq: 0, dropped: 0, gap: false })
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Tally { waiting, sent, failures, .. } = &*self.tally;
        Counts { waiting: read(waiting), sent: read(sent), dropped: self.dropped, failures: read(failures) }
    }

    /// Gives what is left a bounded time.
    pub(crate) fn finish(self) {
        let Notices { queue, courier, ended, tally, .. } = self;
        drop(queue);
        tally.ending.store(true, Ordering::Relaxed);
        courier.unpark();
        if ended.recv_timeout(FINISH_TIME) == Err(RecvTimeoutError::Timeout) {
            log::warn!("{} notices were not delivered", tally.waiting.load(Ordering::Relaxed));
        }
    }

    fn put(&mut self, parcel: Parcel) -> bool {
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.queue.try_send(parcel).is_ok();
        if !taken {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Numbers an event and queues it; says whether it is the first that was dropped.
    fn notice(&mut self, left: Option<u16>, who: Present) -> bool {
        self.seq += 1;
        let event = Event { seq: self.seq, left, who, time: SystemTime::now() };
        // The list that closes a gap covers all that happens before it.
        if !self.gap && self.put(Parcel::Event(event)) {
            return false;
        }
        self.dropped += 1;
        if !self.gap {
            log::warn!("Notices: {QUEUED_NOTICES} wait, further ones are dropped; a list of all clients will follow");
        }
        !std::mem::replace(&mut self.gap, true)
    }
}

impl Server {
    /// A client of the dialog was told `ready`.
    pub(crate) fn came(&mut self, id: SocketId) {
        self.notice(id, |_| None);
    }

    /// A client's connection is over; those that no application was given are not told of.
    pub(crate) fn left(&mut self, id: SocketId) {
        self.notice(id, |client| Some(client.final_code()));
    }

    fn notice(&mut self, id: SocketId, code: impl FnOnce(&Client) -> Option<u16>) {
        let (Some(notices), Some(client)) = (&mut self.notices, self.clients.get(id)) else { return };
        let Some(path) = client.app.and_then(|app| self.metrics.path(app)).filter(|_| client.dialog) else { return };
        if notices.notice(code(client), Present::of(id, client, path)) {
            self.deadlines.set(after(self.now, RESYNC_PAUSE), Deadline::Resync);
        }
    }

    /// After a gap: once everything that waited is delivered, the list of all clients follows.
    pub(crate) fn resync(&mut self) {
        let Some(notices) = &mut self.notices else { return };
        let delivered = notices.tally.waiting.load(Ordering::Relaxed) == 0;
        let clients = self.clients.iter().filter(|(_, client)| delivered && client.is_known());
        let listed = clients.filter_map(|(id, client)| Some(Present::of(id, client, self.metrics.path(client.app?)?))).collect();
        if delivered && notices.put(Parcel::Listing(notices.seq, listed)) {
            notices.gap = false;
        } else {
            self.deadlines.set(after(self.now, RESYNC_PAUSE), Deadline::Resync);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_secret_are_needed() {
        let secret = Secret::new(b" s3cret\n").unwrap();
        assert_eq!((&*secret.0, format!("{secret:?}").as_str()), (&b"s3cret"[..], "Secret"));
        assert!(Secret::new(b" \n").is_none());
        for good in ["http://127.0.0.1/notices.php", "https://example.org:8443/n.php?server=a"] {
            assert!(Receiver::new(good, secret.clone()).is_ok(), "{good}");
        }
        for bad in ["", "example.org/n.php", "ws://example.org/", "http://", "http:///x", "http://a b/"] {
            assert!(Receiver::new(bad, secret.clone()).is_err(), "{bad}");
        }
    }
}
