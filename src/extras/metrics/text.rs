//! The counters in Prometheus' text format, version 0.0.4, for `GET /metrics`.
//!
//! A part of [`metrics`](super). The table of all names stands in docs/operations.md; a test holds
//! the two together.

use std::fmt::{Display, Write};
use std::time::UNIX_EPOCH;

use super::census::{Census, TYPES};
use super::process::Process;
use crate::counters::{BOUNDS, Counters, Histogram};
use crate::extras::cluster::Cluster;
use crate::memory::{self, Kind};
use crate::program::{log_rate, log_writer};
use crate::rfc6455::Reason;
use crate::server::Server;

/// The media type of what [`text`] gives.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole answer to a scrape.
pub(crate) fn text(server: &Server, cluster: Option<&Cluster>) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    let metrics = &server.counters;
    let census = Census::of(server);
    page.server(server);
    page.clients(server, &census);
    page.traffic(metrics, &census);
    page.endings(metrics);
    page.histogram("phpws_turn_seconds", "Time from the end of a poll to the beginning of the next.", &metrics.turns);
    page.one("phpws_memory_limit_bytes", "Most that clients may hold in memory together.", server.limits().max_memory);
    page.one("phpws_waiting", "Connections that wait for their turn.", metrics.waiting);
    page.histogram("phpws_wait_seconds", "Time that connections waited for their turn.", &metrics.waits);
    let help = "Time from accepting a connection to its 101, of those that got one.";
    page.histogram("phpws_handshake_seconds", help, &metrics.handshakes);
    page.notices(server);
    if let Some(cluster) = cluster {
        page.cluster(cluster, server.elsewhere.unsent);
    }
    page.process(metrics);
    page.0
}

/// The text so far.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A family with one sample for each value of a label.
    fn many<L: AsRef<str>>(&mut self, name: &str, help: &str, label: &str, samples: impl Iterator<Item = (L, u64)>) {
        self.family(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help);
        for (value, count) in samples {
            self.line(format_args!("{name}{{{label}=\"{}\"}} {count}", escaped(value.as_ref())));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut total = 0;
        for (micros, count) in BOUNDS.iter().zip(histogram.counts) {
            total += count;
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {total}", *micros as f64 / 1e6));
        }
        total += histogram.counts[BOUNDS.len()];
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {total}"));
        self.line(format_args!("{name}_sum {}\n{name}_count {total}", histogram.nanos as f64 / 1e9));
    }

    fn server(&mut self, server: &Server) {
        let uptime = server.now.saturating_duration_since(server.counters.started).as_secs_f64();
        self.many("phpws_build_info", "The version that runs.", "version", [(env!("CARGO_PKG_VERSION"), 1)].into_iter());
        self.one("phpws_uptime_seconds", "Time since the start.", uptime);
        self.one("phpws_draining", "1 while the server is being stopped.", u8::from(server.stopping));
    }

    fn clients(&mut self, server: &Server, census: &Census) {
        let metrics = &server.counters;
        let open = census.open() - census.away;
        let states = [("handshake", census.handshaking), ("open", open), ("closing", census.closing)];
        self.many("phpws_connections", "Connections by how far they have come.", "state", states.into_iter());
        self.one("phpws_connections_accepted_total", "Connections accepted.", metrics.accepted);
        self.one("phpws_newcomers", "Connections that are no clients.", server.clients.newcomers.len());
        self.one("phpws_newcomers_evicted_total", "Those that gave way to newer ones.", server.clients.newcomers.evicted);
        self.one("phpws_clients_away", "Open clients whose connection broke and who may come back.", census.away);
        self.one("phpws_clients_resumed_total", "Clients that came back.", server.extras.resumes.resumed);
        self.one("phpws_clients_given_up_total", "Clients that did not come back in time.", server.extras.resumes.expired);
        self.one("phpws_resume_lost_messages_total", "Messages that were too many to keep for a client.", metrics.lost);
        let types = || TYPES.iter().map(ToString::to_string);
        self.many("phpws_clients", "Clients that are open.", "type", types().zip(census.clients));
        self.many("phpws_clients_opened_total", "Clients that came past the handshake.", "type", types().zip(metrics.opened));
        let paths = || metrics.resources.iter().map(|resource| resource.path.clone());
        self.many("phpws_resource_clients", "Open clients of each resource.", "resource", paths().zip(census.resources.clone()));
        let messages = metrics.resources.iter().map(|resource| resource.messages);
        self.many("phpws_resource_messages_total", "Messages that each resource got.", "resource", paths().zip(messages));
    }

    fn traffic(&mut self, metrics: &Counters, census: &Census) {
        self.one("phpws_messages_received_total", "Messages from clients.", metrics.messages_in);
        self.one("phpws_messages_sent_total", "Messages queued for clients.", metrics.messages_out);
        self.one("phpws_received_bytes_total", "Bytes read, without TLS.", metrics.bytes_in);
        self.one("phpws_sent_bytes_total", "Bytes written, without TLS.", metrics.bytes_out);
        self.one("phpws_outbox_bytes", "Bytes that wait to be written to clients.", census.outbox_bytes);
        let kinds = Kind::ALL.iter().map(|(kind, name)| (*name, memory::held(*kind) as u64));
        self.many("phpws_memory_bytes", "Bytes that clients hold in memory together.", "kind", kinds);
        self.one("phpws_outbox_max_bytes", "Bytes that wait for the one client for whom most wait.", census.outbox_max);
        self.one("phpws_feedback_unheard_total", "Feedback that reached nobody.", metrics.unheard);
        self.one("phpws_log_lines_dropped_total", "Log lines that could not be written.", log_writer::dropped());
        self.one("phpws_log_lines_left_out_total", "Log lines of connections beyond the rate.", log_rate::left_out());
        let help = "Messages for one client that were dropped since it read too slowly.";
        self.one("phpws_feedback_dropped_total", help, metrics.feedback_dropped);
        self.one("phpws_buffer_commands_total", "Messages bufferON and bufferOFF.", metrics.buffering);
    }

    fn endings(&mut self, metrics: &Counters) {
        let refusals = metrics.refusals.iter().map(|(reason, count)| (refusal_label(*reason), *count));
        self.many("phpws_refusals_total", "Requests and clients that were not let in.", "reason", refusals);
        let closes = metrics.closes.iter().map(|(code, count)| (code, *count));
        self.many("phpws_closes_total", "Clients that have gone, by close code.", "code", closes);
        let help = "Clients closed since memory was short and they held most.";
        self.one("phpws_memory_evicted_total", help, metrics.evicted);
        self.one("phpws_paced_total", "How often a client was held back since it sent too fast.", metrics.paced);
        self.one("phpws_slow_clients_dropped_total", "Clients dropped because they read too slowly.", metrics.slow);
    }

    fn notices(&mut self, server: &Server) {
        let Some(counts) = server.extras.notices.as_ref().map(|notices| notices.counts()) else { return };
        self.one("phpws_notices_waiting", "Notices that wait to be sent.", counts.waiting);
        self.one("phpws_notices_sent_total", "Notices that were taken by the other side.", counts.sent);
        self.one("phpws_notices_dropped_total", "Notices that found the queue full.", counts.dropped);
        self.one(
            "phpws_notices_failures_total",
            "Requests with notices that failed, and were or will be repeated.",
            counts.failures,
        );
    }

    /// `unsent` messages were never given to other processes.
    fn cluster(&mut self, cluster: &Cluster, unsent: u64) {
        let counts = cluster.counts;
        self.one("phpws_backplane_up", "1 while Redis is connected and does what it is asked.", u8::from(cluster.works()));
        self.one("phpws_backplane_unanswered", "Commands that Redis has not answered yet.", cluster.unanswered());
        self.one("phpws_backplane_queued_bytes", "Bytes that Redis has not taken yet.", cluster.queued_bytes());
        self.one("phpws_backplane_sent_total", "Messages given to other processes.", counts.sent);
        self.one("phpws_backplane_received_total", "Messages from Redis, this process's own among them.", counts.received);
        self.one(
            "phpws_backplane_undelivered_total",
            "Messages that did not, or may not have, reached other processes.",
            counts.undelivered + unsent,
        );
        self.one("phpws_backplane_lost_total", "How often Redis was lost, or not reached.", counts.lost);
    }

    fn process(&mut self, metrics: &Counters) {
        let process = Process::read();
        let start = metrics.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.one("process_start_time_seconds", "When the process started, in seconds since 1970.", start);
        self.some("process_cpu_seconds_total", "CPU time of the process.", process.cpu_seconds);
        self.some("process_resident_memory_bytes", "Memory that the process has in RAM.", process.resident_bytes);
        self.some("process_open_fds", "Open file descriptors (Linux 6.2 or later).", process.open_fds);
        self.some("process_max_fds", "Most file descriptors that may be open.", process.max_fds);
    }

    fn some(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(name, help, value);
        }
    }
}

/// `404 Not Found` is shown as `http_404`.
fn refusal_label(reason: Reason) -> String {
    match reason {
        Reason::Request(status) => format!("http_{}", status.code()),
        reason => reason.to_string(),
    }
}

/// A label's value, as the format wants it between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc6455::Status;

    #[test]
    fn labels_are_escaped_and_statuses_named() {
        assert_eq!(escaped("/a\"b\\c\nd"), r#"/a\"b\\c\nd"#);
        assert_eq!(refusal_label(Reason::Request(Status::NotFound)), "http_404");
        assert_eq!(refusal_label(Reason::Session), "session");
    }
}
