//! What the server counts of itself: plain numbers that the loop adds to, read when somebody asks.
//!
//! [`Server`](crate::Server) owns them, so that no counter needs a lock or an atomic. What can be
//! counted from the records (clients, what waits in outboxes) is counted when somebody asks. Every set of labels is closed: nothing a peer sends makes a new one. The PHP original
//! has no counterpart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::bounds::Bounds;
use crate::client::Client;
use crate::ids::{AppId, ClientType};
use crate::own_host::Warned;
use crate::rfc6455::{Opcode, Reason};

/// Lines on feedback to nobody in one minute; the others are logged at `debug`.
const UNHEARD_LOGGED: u32 = 10;

/// The counters. All begin at 0 with the process and only grow.
pub(crate) struct Counters {
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) accepted: u64,
    pub(crate) opened: [u64; 3],
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) messages_in: u64,
    /// Pings and pongs.
    pub(crate) controls_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) resources: Vec<Counted>,
    pub(crate) refusals: BTreeMap<Reason, u64>,
    pub(crate) closes: BTreeMap<&'static str, u64>,
    pub(crate) bounds: Bounds,
    /// How long connections waited that had more to say than a turn allows, and how many wait now.
    pub(crate) waits: Histogram,
    pub(crate) waiting: usize,
    pub(crate) unheard: u64,
    pub(crate) unheard_logged: (Instant, u32),
    pub(crate) warned: Warned,
    pub(crate) buffering: u64,
    pub(crate) turns: Histogram,
    pub(crate) handshakes: Histogram,
}

/// A resource and the messages it got.
pub(crate) struct Counted {
    pub(crate) path: Arc<str>,
    pub(crate) messages: u64,
}

/// Refusals that are shown before one has happened.
const REFUSALS: [Reason; 7] =
    [Reason::Address, Reason::Evicted, Reason::MaxClients, Reason::MaxPerIp, Reason::Origin, Reason::Resource, Reason::Session];

impl Counters {
    pub(crate) fn new(now: Instant) -> Counters {
        Counters {
            started: now,
            started_at: SystemTime::now(),
            accepted: 0,
            opened: [0; 3],
            bytes_in: 0,
            bytes_out: 0,
            messages_in: 0,
            controls_in: 0,
            messages_out: 0,
            resources: Vec::new(),
            refusals: REFUSALS.map(|reason| (reason, 0)).into(),
            closes: ["1000", "1001", "1006", "1008", "1012", "1013"].map(|code| (code, 0)).into(),
            bounds: Bounds::default(),
            waits: Histogram::default(),
            waiting: 0,
            unheard: 0,
            unheard_logged: (now, 0),
            warned: Warned::default(),
            buffering: 0,
            turns: Histogram::default(),
            handshakes: Histogram::default(),
        }
    }

    /// Takes the paths of all applications, in the order of their ids.
    pub(crate) fn set_resources<'a>(&mut self, paths: impl Iterator<Item = &'a str>) {
        self.resources = paths.map(|path| Counted { path: path.into(), messages: 0 }).collect();
    }

    /// The path of an application.
    pub(crate) fn path(&self, app: AppId) -> Option<&Arc<str>> {
        self.resources.get(app.index()).map(|resource| &resource.path)
    }

    /// The application of a path.
    pub(crate) fn app(&self, path: &str) -> Option<AppId> {
        self.resources.iter().position(|resource| &*resource.path == path).map(AppId::of)
    }

    /// A client is past its handshake.
    pub(crate) fn opened(&mut self, client_type: ClientType) {
        self.opened[client_type as usize] += 1;
    }

    /// A handshake that was given `timeout` and would have been too late at `deadline` is done.
    pub(crate) fn handshake(&mut self, now: Instant, deadline: Option<Instant>, timeout: Duration) {
        let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(now));
        self.handshakes.observe(timeout.saturating_sub(left));
    }

    /// A whole message came for an application.
    pub(crate) fn message_in(&mut self, app: AppId, message: &[u8]) {
        self.messages_in += 1;
        self.buffering += u64::from(message == b"bufferON" || message == b"bufferOFF");
        if let Some(resource) = self.resources.get_mut(app.index()) {
            resource.messages += 1;
        }
    }

    /// A frame was queued; control frames are no messages.
    pub(crate) fn frame_out(&mut self, opcode: Opcode) {
        self.messages_out += u64::from(!opcode.is_control());
    }

    /// A client was not let in.
    pub(crate) fn refused(&mut self, reason: Reason) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// The connection of a client that was open is over.
    pub(crate) fn closed(&mut self, client: &Client) {
        if client.app.is_some() || client.close_code.is_some() {
            *self.closes.entry(code_label(client.final_code())).or_default() += 1;
        }
    }

    /// Feedback reached nobody; gives the level of its log line, so that a flood of them does not
    /// push older lines out of the log.
    pub(crate) fn unheard(&mut self, now: Instant) -> log::Level {
        self.unheard += 1;
        let (since, lines) = &mut self.unheard_logged;
        if now.saturating_duration_since(*since) >= Duration::from_secs(60) {
            (*since, *lines) = (now, 0);
        }
        *lines = lines.saturating_add(1);
        if *lines <= UNHEARD_LOGGED { log::Level::Info } else { log::Level::Debug }
    }
}

/// A close code as a label; those that peers may choose freely are taken together.
fn code_label(code: u16) -> &'static str {
    const KNOWN: [&str; 15] =
        ["1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014"];
    match code {
        1000..=1014 => KNOWN[usize::from(code - 1000)],
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

/// The upper ends of the buckets of every histogram, in microseconds.
pub(crate) const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// How often something took how long.
#[derive(Default)]
pub(crate) struct Histogram {
    /// One for each bound, and one for what took longer than all of them.
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    pub(crate) nanos: u64,
}

impl Histogram {
    pub(crate) fn observe(&mut self, time: Duration) {
        let slot = BOUNDS.iter().position(|bound| time <= Duration::from_micros(*bound));
        self.counts[slot.unwrap_or(BOUNDS.len())] += 1;
        self.nanos += u64::try_from(time.as_nanos()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_includes_its_bound() {
        let mut histogram = Histogram::default();
        for micros in [0, 50, 51, 1_000_000, 1_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[13], histogram.counts[14]), (2, 1, 1, 1));
        assert_eq!(histogram.nanos, 2_000_102_000);
    }

    #[test]
    fn no_code_makes_a_label_of_its_own() {
        let labels: std::collections::BTreeSet<_> = (0..=u16::MAX).map(code_label).collect();
        assert_eq!(labels.len(), 18);
    }

    #[test]
    fn a_flood_of_feedback_to_nobody_is_logged_ten_times_a_minute() {
        let start = Instant::now();
        let mut counters = Counters::new(start);
        let mut shown = |now| (0..1000).filter(|_| counters.unheard(now) == log::Level::Info).count();
        assert_eq!((shown(start), shown(start + Duration::from_secs(59)), shown(start + Duration::from_secs(60))), (10, 0, 10));
        assert_eq!(counters.unheard, 3000);
    }

    #[test]
    fn a_handshake_took_what_is_missing_of_its_time() {
        let start = Instant::now();
        let mut counters = Counters::new(start);
        let timeout = Duration::from_secs(3);
        counters.handshake(start + Duration::from_millis(2), Some(start + timeout), timeout);
        assert_eq!((counters.handshakes.nanos, counters.handshakes.counts[5]), (2_000_000, 1));
    }
}
