//! All that the server counts, as one list in groups: `GET /metrics` and the status page show it, each in its form.
//!
//! A part of [`metrics`](super). The table of all names stands in docs/operations.md; a test holds the two together.

use std::time::UNIX_EPOCH;

use super::census::{Census, TYPES};
use super::process::Process;
use crate::bounds;
use crate::counters::{BOUNDS, Counters, Histogram};
use crate::extras::cluster::Cluster;
use crate::extras::idempotency::{Counts, Idempotency};
use crate::memory::{self, Kind};
use crate::program::{log_rate, log_writer};
use crate::rfc6455::Reason;
use crate::server::Server;

/// What belongs together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) figures: Vec<Figure>,
}

/// One family of samples, in Prometheus' words.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: Samples,
}

pub(super) enum Samples {
    One(f64),
    /// One for each value of a label.
    Many(&'static str, Vec<(String, f64)>),
    /// How many took up to each bound and no less, and the time of all in seconds.
    Times([u64; BOUNDS.len() + 1], f64),
}

/// Everything; the figures of the cluster are known to the loop alone.
pub(super) fn all(server: &Server, cluster: Option<&Cluster>) -> Vec<Group> {
    let (metrics, census) = (&server.counters, Census::of(server));
    let mut list = List(Vec::new());
    list.server(server);
    list.clients(server, &census);
    list.traffic(metrics, &census);
    list.endings(metrics);
    list.memory(server);
    list.bounds(server);
    list.idempotency(&server.extras.idempotency);
    list.notices(server);
    if let Some(cluster) = cluster {
        list.cluster(cluster, server.elsewhere.unsent);
    }
    list.process(metrics);
    list.0
}

/// The list so far.
struct List(Vec<Group>);

impl List {
    fn group(&mut self, title: &'static str) {
        self.0.push(Group { title, figures: Vec::new() });
    }

    fn add(&mut self, name: &'static str, help: &'static str, samples: Samples) {
        if let Some(group) = self.0.last_mut() {
            group.figures.push(Figure { name, help, samples });
        }
    }

    fn one(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.add(name, help, Samples::One(value as f64));
    }

    fn some(&mut self, name: &'static str, help: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.add(name, help, Samples::One(value));
        }
    }

    fn many<L: AsRef<str>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        samples: impl Iterator<Item = (L, u64)>,
    ) {
        let samples = samples.map(|(value, count)| (value.as_ref().to_owned(), count as f64)).collect();
        self.add(name, help, Samples::Many(label, samples));
    }

    fn times(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        self.add(name, help, Samples::Times(histogram.counts, histogram.nanos as f64 / 1e9));
    }

    fn server(&mut self, server: &Server) {
        self.group("Server");
        let uptime = server.now.saturating_duration_since(server.counters.started).as_secs_f64();
        self.many("phpws_build_info", "The version that runs.", "version", [(env!("CARGO_PKG_VERSION"), 1)].into_iter());
        self.some("phpws_uptime_seconds", "Time since the start.", Some(uptime));
        self.one("phpws_draining", "1 while the server is being stopped.", server.stopping.into());
        let help = "Time from the end of a poll to the beginning of the next.";
        self.times("phpws_turn_seconds", help, &server.counters.turns);
    }

    fn clients(&mut self, server: &Server, census: &Census) {
        self.group("Connections and clients");
        let metrics = &server.counters;
        let open = census.open() - census.away;
        let states = [("handshake", census.handshaking), ("open", open), ("closing", census.closing)];
        self.many("phpws_connections", "Connections by how far they have come.", "state", states.into_iter());
        self.one("phpws_connections_accepted_total", "Connections accepted.", metrics.accepted);
        self.one("phpws_newcomers", "Connections that are no clients.", server.clients.newcomers.len() as u64);
        let help = "Time from accepting a connection to its 101, of those that got one.";
        self.times("phpws_handshake_seconds", help, &metrics.handshakes);
        let types = || TYPES.iter().map(ToString::to_string);
        self.many("phpws_clients", "Clients that are open.", "type", types().zip(census.clients));
        self.many("phpws_clients_opened_total", "Clients that came past the handshake.", "type", types().zip(metrics.opened));
        let paths = || metrics.resources.iter().map(|resource| resource.path.clone());
        self.many("phpws_resource_clients", "Open clients of each resource.", "resource", paths().zip(census.resources.clone()));
        self.one("phpws_clients_away", "Open clients whose connection broke and who may come back.", census.away);
        self.one("phpws_clients_resumed_total", "Clients that came back.", server.extras.resumes.resumed);
        self.one("phpws_clients_given_up_total", "Clients that did not come back in time.", server.extras.resumes.expired);
    }

    fn traffic(&mut self, metrics: &Counters, census: &Census) {
        self.group("Messages and bytes");
        self.one("phpws_messages_received_total", "Messages from clients.", metrics.messages_in);
        self.one("phpws_messages_sent_total", "Messages queued for clients.", metrics.messages_out);
        let messages = metrics.resources.iter().map(|resource| (resource.path.clone(), resource.messages));
        self.many("phpws_resource_messages_total", "Messages that each resource got.", "resource", messages);
        self.one("phpws_received_bytes_total", "Bytes read, without TLS.", metrics.bytes_in);
        self.one("phpws_sent_bytes_total", "Bytes written, without TLS.", metrics.bytes_out);
        self.one("phpws_outbox_bytes", "Bytes that wait to be written to clients.", census.outbox_bytes);
        self.one("phpws_outbox_max_bytes", "Bytes that wait for the one client for whom most wait.", census.outbox_max);
        self.one("phpws_feedback_unheard_total", "Feedback that reached nobody.", metrics.unheard);
        self.one("phpws_buffer_commands_total", "Messages bufferON and bufferOFF.", metrics.buffering);
    }

    fn endings(&mut self, metrics: &Counters) {
        self.group("Refused and gone");
        let refusals = metrics.refusals.iter().map(|(reason, count)| (refusal_label(*reason), *count));
        self.many("phpws_refusals_total", "Requests and clients that were not let in.", "reason", refusals);
        let closes = metrics.closes.iter().map(|(code, count)| (code, *count));
        self.many("phpws_closes_total", "Clients that have gone, by close code.", "code", closes);
    }

    fn memory(&mut self, server: &Server) {
        self.group("Memory");
        let kinds = Kind::ALL.iter().map(|(kind, name)| (*name, memory::held(*kind) as u64));
        self.many("phpws_memory_bytes", "Bytes that clients hold in memory together.", "kind", kinds);
        let limit = server.limits().max_memory as u64;
        self.one("phpws_memory_limit_bytes", "Most that clients may hold in memory together.", limit);
    }

    fn bounds(&mut self, server: &Server) {
        self.group("Bounds: slowed down, dropped, refused");
        let metrics = &server.counters;
        self.one("phpws_waiting", "Connections that wait for their turn.", metrics.waiting as u64);
        self.times("phpws_wait_seconds", "Time that connections waited for their turn.", &metrics.waits);
        for words in &bounds::ALL {
            self.one(words.name, words.help, metrics.bounds.count(words.bound));
        }
        self.one("phpws_log_lines_dropped_total", "Log lines that could not be written.", log_writer::dropped());
        self.one("phpws_log_lines_left_out_total", "Log lines of connections beyond the rate.", log_rate::left_out());
    }

    fn idempotency(&mut self, keys: &Idempotency) {
        self.group("Requests that came again");
        self.one("phpws_idempotency_keys", "Keys of requests that are remembered.", keys.len() as u64);
        let Counts { repeated, under_way, other } = keys.counts;
        let results = [("repeated", repeated), ("conflict", under_way), ("mismatch", other)];
        let help = "Requests and messages with a known Idempotency-Key, which were not sent.";
        self.many("phpws_idempotency_total", help, "result", results.into_iter());
    }

    fn notices(&mut self, server: &Server) {
        let Some(counts) = server.extras.notices.as_ref().map(|notices| notices.counts()) else { return };
        self.group("Notices");
        self.one("phpws_notices_waiting", "Notices that wait to be sent.", counts.waiting);
        self.one("phpws_notices_sent_total", "Notices that were taken by the other side.", counts.sent);
        self.one("phpws_notices_dropped_total", "Notices that found the queue full.", counts.dropped);
        let help = "Requests with notices that failed, and were or will be repeated.";
        self.one("phpws_notices_failures_total", help, counts.failures);
    }

    /// `unsent` messages were never given to other processes.
    fn cluster(&mut self, cluster: &Cluster, unsent: u64) {
        self.group("Other processes");
        let counts = cluster.counts;
        self.one("phpws_backplane_up", "1 while Redis is connected and does what it is asked.", cluster.works().into());
        self.one("phpws_backplane_unanswered", "Commands that Redis has not answered yet.", cluster.unanswered() as u64);
        self.one("phpws_backplane_queued_bytes", "Bytes that Redis has not taken yet.", cluster.queued_bytes() as u64);
        self.one("phpws_backplane_sent_total", "Messages given to other processes.", counts.sent);
        self.one("phpws_backplane_received_total", "Messages from Redis, this process's own among them.", counts.received);
        let help = "Messages that did not, or may not have, reached other processes.";
        self.one("phpws_backplane_undelivered_total", help, counts.undelivered + unsent);
        self.one("phpws_backplane_dropped_total", "Messages from Redis that were too many to be delivered.", counts.dropped);
        self.one("phpws_backplane_lost_total", "How often Redis was lost, or not reached.", counts.lost);
    }

    fn process(&mut self, metrics: &Counters) {
        self.group("Process");
        let process = Process::read();
        let start = metrics.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.some("process_start_time_seconds", "When the process started, in seconds since 1970.", Some(start));
        self.some("process_cpu_seconds_total", "CPU time of the process.", process.cpu_seconds);
        let bytes = process.resident_bytes.map(|bytes| bytes as f64);
        self.some("process_resident_memory_bytes", "Memory that the process has in RAM.", bytes);
        let open_fds = process.open_fds.map(|count| count as f64);
        self.some("process_open_fds", "Open file descriptors (Linux 6.2 or later).", open_fds);
        self.some("process_max_fds", "Most file descriptors that may be open.", process.max_fds.map(|count| count as f64));
    }
}

/// `404 Not Found` is shown as `http_404`.
fn refusal_label(reason: Reason) -> String {
    match reason {
        Reason::Request(status) => format!("http_{}", status.code()),
        reason => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc6455::Status;

    #[test]
    fn statuses_are_named() {
        assert_eq!(refusal_label(Reason::Request(Status::NotFound)), "http_404");
        assert_eq!(refusal_label(Reason::Session), "session");
    }
}
