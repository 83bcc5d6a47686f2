//! `phpws status`: asks a server how it is, prints a short table, ends with 0 if it takes clients.
//!
//! It reads `/health` and `/metrics` as any monitor does. Fit for Docker's HEALTHCHECK.

use serde_json::Value;

use super::{Failure, Outcome, Target, options, usage};

const USAGE: &str = "Usage: phpws status [OPTIONS] [URL]\n\n\
    Asks the server at URL (ws://, wss://, http://, https:// or HOST[:PORT]; default: PHPWS_ADDRESS, else\n\
    ws://127.0.0.1:8095) how it is. Ends with 0 if it takes clients, with 1 if it is being stopped, can't be\n\
    reached or does not answer this host, with 2 if the command line is wrong.";

pub(super) fn run(args: &[String]) -> Result<Outcome, Failure> {
    let options = options();
    let flags = options.parse(args).map_err(usage)?;
    if flags.opt_present("help") {
        return Ok(Outcome { text: options.usage(USAGE), success: true });
    }
    if let Some(extra) = flags.free.get(1) {
        return Err(usage(format_args!("unexpected argument '{extra}'")));
    }
    let target = Target::of(flags.free.first().map(String::as_str), &flags)?;
    let (status, health) = target.read(target.agent.get(target.url("/health")).call())?;
    let health: Value =
        serde_json::from_str(&health).map_err(|_| target.failed(format_args!("{status}, {}", health.trim_end())))?;
    let (_, metrics) = target.read(target.agent.get(target.url("/metrics")).call())?;
    Ok(Outcome { text: table(&health, &Samples(&metrics)), success: status == 200 })
}

fn table(health: &Value, samples: &Samples) -> String {
    let word = |key: &str| health[key].as_str().unwrap_or("unknown").to_owned();
    let of_type = |name: &str| format!("{} {name}", samples.labelled("phpws_clients", name));
    let types = ["websocket", "php", "tcp"].map(of_type).join(", ");
    let rows = [
        ("status", word("status")),
        ("version", word("version")),
        ("uptime", duration(health["uptime_seconds"].as_u64().unwrap_or_default())),
        ("clients", format!("{} ({types})", samples.sum("phpws_clients"))),
        (
            "messages",
            format!("{} in, {} out", samples.sum("phpws_messages_received_total"), samples.sum("phpws_messages_sent_total")),
        ),
        ("bytes", format!("{} in, {} out", samples.sum("phpws_received_bytes_total"), samples.sum("phpws_sent_bytes_total"))),
        (
            "waiting",
            format!("{} bytes, {} for one client", samples.sum("phpws_outbox_bytes"), samples.sum("phpws_outbox_max_bytes")),
        ),
        ("refused", samples.sum("phpws_refusals_total").to_string()),
        ("too slow", samples.sum("phpws_slow_clients_dropped_total").to_string()),
        ("memory", format!("{} KiB", samples.sum("process_resident_memory_bytes") / 1024)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
}

/// `1 d 2 h`, or the two greatest units of less.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The text of `/metrics`.
struct Samples<'a>(&'a str);

impl Samples<'_> {
    /// All samples of a family together.
    fn sum(&self, name: &str) -> u64 {
        self.values(name, "")
    }

    /// The samples of a family that have this value of a label.
    fn labelled(&self, name: &str, value: &str) -> u64 {
        self.values(name, &format!("=\"{value}\""))
    }

    fn values(&self, name: &str, label: &str) -> u64 {
        let samples = self.0.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
        let values = samples.filter(|rest| rest.contains(label)).filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_family_and_label() {
        let samples = Samples("# HELP a b\na{t=\"x\"} 2\na{t=\"y\"} 3\na_more 9\nb 1.5e3\n");
        assert_eq!((samples.sum("a"), samples.labelled("a", "y"), samples.sum("b"), samples.sum("c")), (5, 3, 1500, 0));
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!([59, 61, 3700, 90_000].map(duration), ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
