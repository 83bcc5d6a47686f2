//! The load generator against phpws: every scenario runs, reports, and finds nothing wrong.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::util::Phpws;
use serde_json::Value;

/// A program that cargo builds from an `[[example]]`.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_phpws")).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// The plain echo server; it ends with the value.
struct Echo {
    child: Child,
    addr: String,
}

impl Echo {
    fn start(files: &[&str]) -> Echo {
        let mut child =
            Command::new(example("echo")).args(["127.0.0.1", "0"]).args(files).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Echo { child, addr: line.trim().trim_start_matches("echo on ").to_owned() }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(scenario: &str, url: &str, options: &str) -> Output {
    load_for("0.2", scenario, url, options)
}

fn load_for(seconds: &str, scenario: &str, url: &str, options: &str) -> Output {
    let times = ["--seconds", seconds, "--warmup", "0.05", "--json"];
    Command::new(example("load")).args([scenario, url]).args(times).args(options.split_whitespace()).output().unwrap()
}

/// The report of a run in which nothing went wrong.
fn report(seconds: &str, scenario: &str, url: &str, options: &str) -> Value {
    let output = load_for(seconds, scenario, url, options);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{scenario} {options}: {stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["errors"], 0, "{report}");
    assert_eq!(report["scenario"], scenario, "{report}");
    report
}

/// The same, where messages were answered and the server was found.
fn busy(scenario: &str, url: &str, options: &str, server: &Child) -> Value {
    busy_with(scenario, url, options, server, "/messages")
}

/// The same with one more figure that is above 0.
fn busy_with(scenario: &str, url: &str, options: &str, server: &Child, figure: &str) -> Value {
    let figures =
        ["/messages", "/per_second", "/latency_us/p50", "/latency_us/max", "/server/rss_kib", "/load_cpu_percent", figure];
    // On a machine that has much to do the first answer may come when a short run is over.
    for seconds in ["0.2", "2", "20"] {
        let report = report(seconds, scenario, url, options);
        assert_eq!(report["server"]["pid"], server.id(), "{report}");
        let missing = |pointer: &&&str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0) <= 0.0;
        match figures.iter().find(missing) {
            None => return report,
            Some(pointer) => println!("{scenario} {options}: no {pointer} in {seconds} s: {report}"),
        }
    }
    panic!("{scenario} {options}: nothing was measured");
}

#[test]
fn echo_takes_messages_of_any_size_and_any_depth() {
    let server = Echo::start(&[]);
    let url = format!("ws://{}/", server.addr);
    for options in
        ["-c 10", "-c 3 --depth 50", "-c 2 --size 125", "-c 2 --size 126", "-c 2 --size 65536 --depth 3", "--quickack --spin"]
    {
        busy("echo", &url, options, &server.child);
    }
    busy("echo", &url, "-c 1 --size 4194304", &server.child);
    let large = busy("large", &url, "", &server.child);
    assert_eq!(large["size"], 1 << 20);
}

#[test]
fn the_dialog_scenarios_find_all_as_it_should_be() {
    let server = Phpws::start(&[]);
    let url = format!("ws://{}/web", server.addr);
    busy("dialog", &url, "-c 5", &server.child);
    busy("dialog", &url, "-c 2 --depth 4 --size 100000", &server.child);
    busy("feedback", &url, "-c 7", &server.child);
    busy("feedback", &url, "-c 3 --senders 2 --depth 8 --size 500", &server.child);
    busy_with("broadcast", &url, "-c 7", &server.child, "/broadcasts_per_second");
    busy("broadcast", &url, "-c 7 --senders 3 --rate 500", &server.child);
}

#[test]
fn connections_are_counted_and_weighed() {
    let server = Phpws::start(&[]);
    let url = format!("ws://{}/web", server.addr);
    busy_with("connect", &url, "--dialog --concurrency 8", &server.child, "/handshakes_per_second");
    busy_with("connect", &url, "--burst 20", &server.child, "/burst_ms/p50");
    let idle = report("0.2", "idle", &url, "--dialog -c 100");
    assert!(idle["bytes_per_connection"].is_number(), "{idle}");
    busy("idle", &url, "--dialog -c 20 --busy 3", &server.child);
}

#[test]
fn all_of_it_works_over_tls() {
    let (cert, key) = ("tests/keys/pkcs8.crt", "tests/keys/pkcs8.key");
    let echo = Echo::start(&[cert, key]);
    let url = format!("wss://{}/", echo.addr);
    busy("echo", &url, "-c 3 --depth 20", &echo.child);
    busy("echo", &url, "-c 1 --size 1000000", &echo.child);
    let server = Phpws::start_on("wss://127.0.0.1:0", &["--cert", cert, "--key", key]);
    let url = format!("wss://{}/web", server.addr);
    for (scenario, options) in [
        ("dialog", "-c 3"),
        ("broadcast", "-c 3"),
        ("feedback", "-c 3"),
        ("connect", "--dialog"),
        ("idle", "--dialog --busy 1 -c 9"),
    ] {
        busy(scenario, &url, options, &server.child);
    }
}

#[test]
fn what_a_server_does_wrong_is_an_error() {
    let server = Phpws::start(&[]);
    let fails = |scenario: &str, path: &str, message: &str| {
        let output = load(scenario, &format!("ws://{}{path}", server.addr), "-c 2");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    };
    // No echo but ready comes, an unknown path, and nothing that listens.
    fails("echo", "/web", ": instead of");
    fails("dialog", "/nowhere", r#"'{"opcode":"close"}' instead of ready"#);
    let closed = load("echo", "ws://127.0.0.1:1/", "-c 1");
    assert_eq!(closed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&closed.stderr).contains("is the server running?"));
}

#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    for (scenario, url, options, message) in [
        ("dance", "ws://127.0.0.1:1/", "", "dance: no such scenario; --help lists them"),
        ("echo", "http://127.0.0.1:1/", "", "the URL must be ws://host:port/path"),
        ("echo", "ws://127.0.0.1:1/", "--depth 0", "--depth must be at least 1"),
        ("dialog", "tcp://127.0.0.1:1", "", "raw bytes (tcp://) work with echo and large only"),
        ("idle", "ws://127.0.0.1:1/", "-c 3 --busy 4", "--busy must be at most --connections"),
    ] {
        let output = load(scenario, url, options);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(message) && stderr.lines().count() == 1, "{stderr}");
    }
}
