//! The thread that delivers notices: in order, one request at a time, again and again until taken.
//!
//! It knows no server and no client, only jobs and a page. It may wait as long as it likes: the
//! loop never waits for it but at the very end, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver as Queue, RecvTimeoutError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde_json::{Value, json};
use ureq::Agent;
use uuid::Uuid;

use super::queue::{Counters, Event, Job, Present, Receiver};
use crate::error::StartError;
use crate::printable::Printable;
use crate::program::http_client::{self, Trust};

/// Events of one request.
const EVENTS_PER_REQUEST: usize = 100;
/// How long an event waits for others to share its request.
const GATHER_TIME: Duration = Duration::from_millis(200);
/// Clients of one request with a part of the list.
const CLIENTS_PER_PAGE: usize = 1000;
/// Time for one request with its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed request; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Starts the thread; the channel ends with it.
pub(super) fn start(
    receiver: Receiver,
    queue: Queue<Job>,
    counters: Arc<Counters>,
) -> Result<(Thread, mpsc::Receiver<()>), StartError> {
    let failed = |problem: String| StartError::new("--notify-url", problem);
    let agent = http_client::agent(&receiver.url, &Trust::System, REQUEST_TIMEOUT).map_err(failed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &receiver.secret.0);
    let started = SystemTime::now();
    let sender = Sender {
        url: receiver.url,
        key,
        agent,
        queue,
        held: None,
        counters,
        server: Uuid::new_v4(),
        started,
        batch: 0,
        failing: false,
    };
    let (end, ended) = mpsc::channel();
    let body = move || {
        sender.run();
        drop(end);
    };
    let thread = thread::Builder::new().name("notices".into()).spawn(body).map_err(|error| failed(error.to_string()))?;
    Ok((thread.thread().clone(), ended))
}

struct Sender {
    url: String,
    key: hmac::Key,
    agent: Agent,
    queue: Queue<Job>,
    /// Taken off the queue, to be delivered next.
    held: Option<Job>,
    counters: Arc<Counters>,
    /// Names this start of the process.
    server: Uuid,
    started: SystemTime,
    batch: u64,
    failing: bool,
}

impl Sender {
    fn run(mut self) {
        self.deliver_listing(0, &[]);
        loop {
            match self.held.take().map_or_else(|| self.queue.recv(), Ok) {
                Ok(Job::Event(event)) => self.deliver_events(event),
                Ok(Job::Listing(seq, clients)) => {
                    self.deliver_listing(seq, &clients);
                    self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Err(_) => return,
            }
        }
    }

    fn deliver_events(&mut self, first: Event) {
        let events = self.gather(first);
        let count = events.len() as u64;
        self.deliver(json!({"events": events.iter().map(event_json).collect::<Vec<_>>()}));
        self.counters.sent.fetch_add(count, Ordering::Relaxed);
        self.counters.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// The events that come within the time, up to a whole request.
    fn gather(&mut self, first: Event) -> Vec<Event> {
        let until = Instant::now() + GATHER_TIME;
        let mut events = vec![first];
        while events.len() < EVENTS_PER_REQUEST {
            match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Job::Event(event)) => events.push(event),
                Ok(listing) => {
                    self.held = Some(listing);
                    break;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        events
    }

    /// An empty list is one page too.
    fn deliver_listing(&mut self, seq: u64, clients: &[Present]) {
        let pages = clients.len().div_ceil(CLIENTS_PER_PAGE).max(1);
        for page in 1..=pages {
            let listed: Vec<Value> = page_of(clients, page).iter().map(Present::json).collect();
            self.deliver(json!({"resync": true, "seq": seq, "page": page, "pages": pages, "clients": listed}));
        }
    }

    /// Posts until it is taken.
    fn deliver(&mut self, mut content: Value) {
        self.batch += 1;
        content["server"] = self.server.to_string().into();
        content["started"] = seconds(self.started).into();
        content["batch"] = self.batch.into();
        let body = content.to_string();
        let mut pause = FIRST_PAUSE;
        while let Err(problem) = self.post(&body) {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut self.failing, true) {
                log::warn!(target: "phpws", "Notices are not taken: {}; trying again", Printable(&problem));
            }
            self.rest(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if std::mem::take(&mut self.failing) {
            log::info!(target: "phpws", "Notices are taken again");
        }
    }

    /// One attempt, signed with the time at which it is made.
    fn post(&self, body: &str) -> Result<(), String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = hmac::sign(&self.key, format!("{now}.{body}").as_bytes());
        let request = self.agent.post(&self.url).header("Content-Type", "application/json");
        let request = request.header("X-Phpws-Signature", format!("t={now},v1={}", hex(signature.as_ref())));
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        // Read to its end, so that the connection serves the next request too.
        let _ = response.body_mut().with_config().limit(64 * 1024).read_to_vec();
        Ok(())
    }

    /// Waits for about so long, a little longer or shorter each time; not as long once the server ends.
    fn rest(&self, pause: Duration) {
        let spread = u32::from(Uuid::new_v4().as_bytes()[0]);
        let until = Instant::now() + pause * (128 + spread) / 256;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if self.counters.ending.load(Ordering::Relaxed) {
                return thread::sleep(left.min(FIRST_PAUSE));
            }
            thread::park_timeout(left);
        }
    }
}

/// The clients of a page; pages count from 1.
fn page_of<T>(clients: &[T], page: usize) -> &[T] {
    let from = (page - 1) * CLIENTS_PER_PAGE;
    &clients[from..clients.len().min(from + CLIENTS_PER_PAGE)]
}

fn event_json(event: &Event) -> Value {
    let mut content = event.client.json();
    content["seq"] = event.seq.into();
    content["event"] = if event.left.is_some() { "left" } else { "came" }.into();
    content["time"] = seconds(event.time).into();
    if let Some(code) = event.left {
        content["code"] = code.into();
    }
    content
}

/// Seconds since 1970, to the millisecond.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1000.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_but_the_last() {
        let clients: Vec<usize> = (0..2001).collect();
        let pages: Vec<&[usize]> = (1..=3).map(|page| page_of(&clients, page)).collect();
        assert_eq!(pages.concat(), clients);
        assert_eq!(pages[2], [2000]);
        assert!(page_of(&clients[..0], 1).is_empty());
        assert_eq!(page_of(&clients[..1000], 1).len(), 1000);
    }

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let signature = hmac::sign(&key, b"what do ya want for nothing?");
        assert_eq!(hex(signature.as_ref()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
