//! The load generator: uses a WebSocket server as browsers and backends do, as fast as it goes, and
//! says what that gave. benches/README.md explains its scenarios and figures.
//!
//! `cargo run --release --example load -- echo ws://127.0.0.1:8095/`
//!
//! It must be cheaper than any server under test: one thread, one poll, frames masked in advance, no
//! allocation for a message, headers of answers only. It shares no code with phpws.

mod connection;
mod load;
mod meter;
mod options;
mod report;
mod scenario;
mod scenarios;
mod server_process;
mod stream;
mod url;
mod wire;

use std::process::ExitCode;

use load::Load;
use options::{Kind, Options};
use report::{Report, Window};
use scenario::Scenario;
use scenarios::broadcast::Broadcast;
use scenarios::connect::{self, Silence};
use scenarios::dialog::Dialog;
use scenarios::echo::Echo;
use scenarios::feedback::Feedback;
use serde_json::{Value, json};
use server_process::{ServerProcess, round};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::parse(&args) {
        Ok(options) => options,
        Err((help, true)) => {
            println!("{help}");
            return ExitCode::SUCCESS;
        }
        Err((error, false)) => {
            eprintln!("load: {error}");
            return ExitCode::from(2);
        }
    };
    let json = options.json;
    match run(options) {
        Ok((report, errors)) => {
            println!("{}", if json { Value::Object(report).to_string() } else { report::table(report) });
            ExitCode::from(u8::from(errors > 0))
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The report, and how many errors there were.
fn run(options: Options) -> Result<(Report, u64)> {
    let server = ServerProcess::find(&options.pids, options.url.addr);
    let mut load = Load::new(options)?;
    let mut report = scenario(&mut load, server.as_ref())?;
    load.meter.finish();
    report.insert("errors".into(), load.meter.errors.into());
    Ok((report, load.meter.errors))
}

fn scenario(load: &mut Load, server: Option<&ServerProcess>) -> Result<Report> {
    let (options, clients) = (&load.options, load.options.connections);
    let all = clients + options.senders;
    match options.kind {
        Kind::Echo | Kind::Large => {
            let mut echo = Echo::new(options, clients);
            load.open_all(clients, &mut echo)?;
            measure(load, server, &mut echo)
        }
        Kind::Dialog => {
            let mut dialog = Dialog::new(options, clients);
            load.open_all(clients, &mut dialog)?;
            measure(load, server, &mut dialog)
        }
        Kind::Broadcast => {
            let mut broadcast = Broadcast::new(options);
            load.open_all(all, &mut broadcast)?;
            let mut report = measure(load, server, &mut broadcast)?;
            let seconds = report["seconds"].as_f64().unwrap_or(1.0);
            report.insert("broadcasts_per_second".into(), round(broadcast.acknowledged as f64 / seconds).into());
            Ok(report)
        }
        Kind::Feedback => {
            let mut feedback = Feedback::new(options);
            load.open_all(all, &mut feedback)?;
            measure(load, server, &mut feedback)
        }
        Kind::Connect => connections(load, server),
        Kind::Idle if options.dialog => idle(load, server, Dialog::new(&load.options, load.options.busy)),
        Kind::Idle => idle(load, server, Echo::new(&load.options, load.options.busy)),
    }
}

/// Warms up, measures, waits for the last answers.
fn measure(load: &mut Load, server: Option<&ServerProcess>, scenario: &mut impl Scenario) -> Result<Report> {
    load.meter.tick();
    scenario.start(&mut load.wires, &mut load.meter);
    load.run_for(load.options.warmup, "warm-up", scenario)?;
    let window = Window::open(load, server);
    load.run_for(load.options.seconds, "measure", scenario)?;
    let report = window.close(load, server);
    load.drain(scenario)?;
    if load.meter.messages == 0 && scenario.outstanding() > 0 {
        load.meter.error("no message was answered in the measured time");
    }
    Ok(report)
}

/// Opens connections and ends them.
fn connections(load: &mut Load, server: Option<&ServerProcess>) -> Result<Report> {
    let mut silence = Silence { dialog: load.options.dialog };
    let burst = load.options.burst > 0;
    if !burst {
        connect::begin(load, &mut silence)?;
        connect::keep_connecting(load, load.options.warmup, &mut silence)?;
    }
    let window = Window::open(load, server);
    let times = match burst {
        true => connect::bursts(load, &mut silence)?,
        false => connect::keep_connecting(load, load.options.seconds, &mut silence).map(|()| Vec::new())?,
    };
    let mut report = window.close(load, server);
    match burst {
        true => report.insert("burst_ms".into(), summary(times)),
        false => report.insert("handshakes_per_second".into(), report["per_second"].clone()),
    };
    Ok(report)
}

/// Bursts in milliseconds: how many, the median, the longest.
fn summary(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().map(round);
    json!({"count": times.len(), "p50": median, "max": times.last().copied().map(round)})
}

/// Opens connections, looks what they cost, and lets some of them talk.
fn idle(load: &mut Load, server: Option<&ServerProcess>, mut scenario: impl Scenario) -> Result<Report> {
    let count = load.options.connections;
    load.open_all(count, &mut scenario)?;
    load.run_for(load.options.warmup, "settle", &mut scenario)?;
    let gained = server.map(|server| round(server.gained_kib() as f64 * 1024.0 / count as f64));
    let mut report = measure(load, server, &mut scenario)?;
    report.insert("bytes_per_connection".into(), gained.into());
    report.insert("busy".into(), load.options.busy.into());
    Ok(report)
}
