//! What was measured, as one JSON object or as a small table.

use serde_json::{Map, Value, json};

use crate::load::Load;
use crate::server_process::{Cpu, ServerProcess, round};

/// The measured part of a run.
pub struct Window {
    begin: u64,
    server: Cpu,
    own: Cpu,
}

pub type Report = Map<String, Value>;

impl Window {
    /// Begins to measure.
    pub fn open(load: &mut Load, server: Option<&ServerProcess>) -> Window {
        load.meter.tick();
        load.meter.measuring = true;
        Window { begin: load.meter.now, server: server.map(ServerProcess::cpu).unwrap_or_default(), own: Cpu::of("self") }
    }

    /// Ends it, and says what there is to say of any scenario.
    pub fn close(self, load: &mut Load, server: Option<&ServerProcess>) -> Report {
        load.meter.tick();
        load.meter.measuring = false;
        let (meter, options) = (&load.meter, &load.options);
        let seconds = (meter.now - self.begin) as f64 / 1e9;
        let own = Cpu::of("self") - self.own;
        let quantile = |quantile| meter.latency_us(quantile).map(round);
        let report = json!({
            "scenario": options.name,
            "url": options.url.text,
            "connections": options.connections,
            "senders": options.senders,
            "size": options.size,
            "depth": options.depth,
            "seconds": round(seconds),
            "messages": meter.messages,
            "per_second": round(meter.messages as f64 / seconds),
            "bytes_per_second": round(meter.bytes as f64 / seconds),
            "latency_us": {"p50": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999), "max": quantile(1.0)},
            "server": server.map(|server| server.report(server.cpu() - self.server, meter.messages, seconds)),
            "load_cpu_percent": round(100.0 * own.seconds() / seconds),
        });
        match report {
            Value::Object(report) => report,
            _ => unreachable!("the macro above makes an object"),
        }
    }
}

/// The rows of the table: what it is called, where it stands, its unit.
const ROWS: [(&str, &str, &str); 19] = [
    ("messages", "/per_second", "/s"),
    ("payload", "/bytes_per_second", "bytes/s"),
    ("broadcasts", "/broadcasts_per_second", "/s"),
    ("handshakes", "/handshakes_per_second", "/s"),
    ("burst, median", "/burst_ms/p50", "ms"),
    ("burst, longest", "/burst_ms/max", "ms"),
    ("latency, p50", "/latency_us/p50", "µs"),
    ("latency, p99", "/latency_us/p99", "µs"),
    ("latency, p99.9", "/latency_us/p999", "µs"),
    ("latency, longest", "/latency_us/max", "µs"),
    ("server per message", "/server/cpu_us_per_message", "µs of CPU"),
    ("  in the program", "/server/user_us_per_message", "µs"),
    ("  in the system", "/server/system_us_per_message", "µs"),
    ("server", "/server/cpu_percent", "% of a CPU"),
    ("server memory before", "/server/rss_kib_before", "KiB"),
    ("server memory", "/server/rss_kib", "KiB"),
    ("per connection", "/bytes_per_connection", "bytes"),
    ("this generator", "/load_cpu_percent", "% of a CPU"),
    ("errors", "/errors", ""),
];

pub fn table(report: Report) -> String {
    let report = Value::Object(report);
    let row = |(name, pointer, unit): &(&str, &str, &str)| {
        let number = report.pointer(pointer)?.as_f64()?;
        Some(format!("{name:<22}{number:>16.1} {unit}").trim_end().to_owned())
    };
    let head = format!("{} {}", report["scenario"].as_str().unwrap_or(""), report["url"].as_str().unwrap_or(""));
    std::iter::once(head).chain(ROWS.iter().filter_map(row)).collect::<Vec<_>>().join("\n")
}
