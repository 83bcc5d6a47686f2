//! What can be counted from the records when somebody asks: clients, resources, what waits.
//!
//! A part of [`metrics`](super). One pass over all records, some ten nanoseconds each; nothing of it
//! is kept up to date in between. [`snapshot`] is the whole picture for the status page.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::process::Process;
use crate::client::State;
use crate::counters::{BOUNDS, Histogram};
use crate::ids::ClientType;
use crate::memory::{self, Kind};
use crate::program::{log_rate, log_writer};
use crate::server::Server;

/// The types of clients, in the order of their counters.
pub(super) const TYPES: [ClientType; 3] = [ClientType::Websocket, ClientType::Php, ClientType::Tcp];

/// Connections and what waits for them, now.
pub(crate) struct Census {
    /// Connections that have sent no whole request yet.
    pub(super) handshaking: u64,
    /// Clients that are open, by type.
    pub(super) clients: [u64; 3],
    /// Connections that have ended and wait for their last bytes.
    pub(super) closing: u64,
    /// Open clients of each application.
    pub(super) resources: Vec<u64>,
    /// Those of the open clients that have no connection.
    pub(super) away: u64,
    pub(super) outbox_bytes: u64,
    pub(super) outbox_max: u64,
}

impl Census {
    pub(crate) fn of(server: &Server) -> Census {
        let resources = vec![0; server.counters.resources.len()];
        let away = server.clients.count_away() as u64;
        let mut census = Census { handshaking: 0, clients: [0; 3], closing: 0, resources, away, outbox_bytes: 0, outbox_max: 0 };
        for client in server.clients.values() {
            let queued = client.queued_bytes() as u64;
            census.outbox_bytes += queued;
            census.outbox_max = census.outbox_max.max(queued);
            match client.state {
                State::Handshake => census.handshaking += 1,
                State::Closing | State::Closed => census.closing += 1,
                State::Waiting | State::Open | State::Away => {
                    census.count_open(client.client_type, client.app.map(|app| app.index()))
                }
            }
        }
        census
    }

    fn count_open(&mut self, client_type: ClientType, app: Option<usize>) {
        self.clients[client_type as usize] += 1;
        if let Some(count) = app.and_then(|app| self.resources.get_mut(app)) {
            *count += 1;
        }
    }

    /// Open clients of all types.
    pub(crate) fn open(&self) -> u64 {
        self.clients.iter().sum()
    }
}

/// Everything that is counted, as the status page gets it. Times are in seconds.
pub(crate) fn snapshot(server: &Server) -> Value {
    let (metrics, census, process) = (&server.counters, Census::of(server), Process::read());
    let resources = metrics.resources.iter().zip(&census.resources);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": metrics.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "uptime": server.now.saturating_duration_since(metrics.started).as_secs_f64(),
        "draining": server.stopping,
        "clients": by_type(&census.clients),
        "opened": by_type(&metrics.opened),
        "resume": {"away": census.away, "resumed": server.extras.resumes.resumed, "given_up": server.extras.resumes.expired, "lost": metrics.lost},
        "newcomers": {"now": server.clients.newcomers.len(), "evicted": server.clients.newcomers.evicted},
        "handshaking": census.handshaking,
        "accepted": metrics.accepted,
        "messages": {"in": metrics.messages_in, "out": metrics.messages_out},
        "paced": metrics.paced,
        "bytes": {"in": metrics.bytes_in, "out": metrics.bytes_out},
        "outbox": {"bytes": census.outbox_bytes, "max": census.outbox_max, "slow": metrics.slow, "dropped": metrics.feedback_dropped},
        "log": {"dropped": log_writer::dropped(), "left_out": log_rate::left_out()},
        "memory": {"limit": server.limits().max_memory, "evicted": metrics.evicted,
            "held": Kind::ALL.iter().map(|(kind, name)| ((*name).to_owned(), memory::held(*kind))).collect::<BTreeMap<_, _>>()},
        "waits": {"now": metrics.waiting, "times": histogram(&metrics.waits)},
        "resources": resources.map(|(resource, clients)| json!({"path": &*resource.path, "clients": clients, "messages": resource.messages}))
            .collect::<Vec<_>>(),
        "refusals": metrics.refusals.iter().map(|(reason, count)| (reason.to_string(), *count)).collect::<BTreeMap<_, _>>(),
        "closes": metrics.closes,
        "turns": histogram(&metrics.turns),
        "handshakes": histogram(&metrics.handshakes),
        "notices": server.extras.notices.as_ref().map(|notices| notices.counts().json()),
        "process": {"resident": process.resident_bytes, "cpu": process.cpu_seconds, "fds": process.open_fds, "max_fds": process.max_fds},
    })
}

fn by_type(counts: &[u64; 3]) -> Value {
    TYPES.iter().zip(counts).map(|(client_type, count)| (client_type.to_string(), Value::from(*count))).collect()
}

fn histogram(histogram: &Histogram) -> Value {
    let bounds: Vec<f64> = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).collect();
    json!({"bounds": bounds, "counts": histogram.counts, "sum": histogram.nanos as f64 / 1e9})
}
