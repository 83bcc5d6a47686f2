//! Signals, and the log file that SIGHUP opens anew.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::util::folder::Folder;
use crate::util::waiting::at_best;
use crate::util::{Client, Phpws, masked, request, wait_for};

#[test]
fn sigterm_finishes_what_is_queued_and_tells_everybody() {
    for signal in ["TERM", "INT"] {
        let mut server = Phpws::start(&[]);
        let (mut sender, _) = server.browser();
        let (mut receiver, _) = server.browser();
        let packet = format!(r#"{{"opcode":"broadcast","m":"{}"}}"#, "x".repeat(3_000_000));
        sender.say(&packet);
        server.signal(signal);
        assert_eq!(receiver.text(), packet);
        for client in [&mut sender, &mut receiver] {
            assert_eq!(client.text(), r#"{"opcode":"close"}"#);
            let close = client.frame().unwrap();
            assert_eq!(close.code(), 1001);
            client.send(&masked(true, 8, &close.payload));
            assert_eq!(client.frame(), None);
        }
        assert_eq!(server.exit_code(), Some(0));
        server.log_line("Shutting down server gracefully...");
    }
}

#[test]
fn nobody_is_accepted_while_stopping() {
    let mut server = Phpws::start(&["--close-timeout", "1"]);
    let (_client, _) = server.browser();
    server.begin_stopping();
    assert!(std::net::TcpStream::connect(server.addr).is_err());
    // The client never answers the close frame: the server ends all the same.
    let start = Instant::now();
    assert_eq!(server.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Phpws::start(&["--close-timeout", "60"]);
    let (_client, _) = server.browser();
    server.begin_stopping();
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn clients_that_may_resume_are_told_to_come_back() {
    let server = Phpws::start(&[]);
    let mut client = server.upgrade("/web?resume=", "");
    client.text();
    server.signal("TERM");
    assert!(client.text().starts_with(r#"{"opcode":"close""#));
    client.closed_with(1012);
}

/// Reads until a client is told to go; gives how long that took.
fn told_to_go(client: &mut Client, since: Instant) -> Duration {
    assert_eq!(client.text(), r#"{"opcode":"close"}"#);
    let told = since.elapsed();
    client.closed_with(1012);
    told
}

#[test]
fn goodbyes_are_spread_over_the_drain_time() {
    at_best(goodbyes);
}

fn goodbyes() -> Result<(), String> {
    // Seconds: so long that what a busy machine does to a process for a moment is a small part of it.
    const DRAIN: f64 = 3.0;
    let mut server = Phpws::start(&["--drain-time", &DRAIN.to_string()]);
    let clients: Vec<Client> = (0..20).map(|_| server.browser().0).collect();
    let start = Instant::now();
    server.signal("TERM");
    let told = clients.into_iter().map(|mut client| std::thread::spawn(move || told_to_go(&mut client, start)));
    let told: Vec<JoinHandle<Duration>> = told.collect();
    let mut told: Vec<f64> = told.into_iter().map(|thread| thread.join().unwrap().as_secs_f64()).collect();
    told.sort_by(f64::total_cmp);
    assert_eq!(server.exit_code(), Some(0));
    for (index, at) in told.iter().enumerate() {
        let due = DRAIN * (index + 1) as f64 / 20.0;
        assert!(*at >= due - 0.06, "number {index} at {at:.3} s of {told:.3?}");
        if *at >= due + 0.3 * DRAIN {
            return Err(format!("number {index} at {at:.3} s of {told:.3?}"));
        }
    }
    Ok(())
}

#[test]
fn a_few_clients_are_spread_over_a_long_time() {
    let server = Phpws::start(&["--drain-time", "60"]);
    let (mut first, _) = server.browser();
    let (mut second, _) = server.browser();
    server.begin_stopping();
    assert!(first.is_silent(Duration::from_millis(1500)) && second.is_silent(Duration::from_millis(10)));
    second.say(r#"{"opcode":"broadcast","message":1}"#);
    assert_eq!(first.text(), r#"{"opcode":"broadcast","message":1}"#, "who is still there is served");
}

#[test]
fn a_draining_server_ends_once_nobody_is_there() {
    let mut server = Phpws::start(&["--drain-time", "60"]);
    let (client, _) = server.browser();
    let mut away = server.upgrade("/web?resume=", "");
    away.text();
    drop(away);
    server.log_line("goes on as");
    server.begin_stopping();
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
    server.log_line("Server stopped");
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let mut server = Phpws::start(&["--drain-time", "60"]);
    let (_client, _) = server.browser();
    server.begin_stopping();
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn who_was_connecting_is_served_while_the_server_drains() {
    let server = Phpws::start(&["--drain-time", "2"]);
    let mut kept = server.connect();
    kept.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(kept.head().starts_with("HTTP/1.1 200 "));
    let mut early = server.connect();
    early.send(b"GET /web HTTP/1.1\r\n");
    let start = Instant::now();
    server.begin_stopping();
    assert!(std::net::TcpStream::connect(server.addr).is_err());
    kept.rest_of_body();
    kept.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(kept.head().trim_start().starts_with("HTTP/1.1 503 "));
    assert!(kept.rest_of_body().contains(r#""status":"draining""#));
    kept.send(request("/web", "").as_bytes());
    assert!(kept.head().trim_start().starts_with("HTTP/1.1 503 "));
    early.send(request("/web", "").split_once("\r\n").unwrap().1.as_bytes());
    assert!(early.head().starts_with("HTTP/1.1 101 "));
    assert!(early.text().contains("ready"));
    let told = told_to_go(&mut early, start);
    assert!(told > Duration::from_millis(1900), "told at {told:?}");
}

#[test]
fn several_processes_share_a_port_where_all_say_so() {
    let first = Phpws::start(&["--reuse-port"]);
    let address = format!("ws://{}", first.addr);
    let second = Phpws::start_on(&address, &["--reuse-port"]);
    let clients: Vec<Client> = (0..60).map(|_| first.browser().0).collect();
    first.log_line("Telling Client to start");
    second.log_line("Telling Client to start");
    drop(clients);
    let alone = std::process::Command::new(env!("CARGO_BIN_EXE_phpws")).args(["--console=off", &address]).output().unwrap();
    assert!(String::from_utf8_lossy(&alone.stderr).contains("stop the other program or choose another port"));
}

#[test]
fn the_port_is_free_again_at_once() {
    let mut server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    server.signal("TERM");
    assert_eq!(client.text(), r#"{"opcode":"close"}"#);
    client.closed_with(1001);
    drop(client);
    server.exit_code();
    let again = Phpws::start_on(&format!("ws://{}", server.addr), &[]);
    again.browser();
}

#[test]
fn log_lines_go_to_a_file_that_sighup_opens_anew() {
    let folder = Folder::new();
    let (path, moved) = (folder.file("phpws.log"), folder.file("phpws.old"));
    let server = Phpws::start(&["--log-file", path.to_str().unwrap()]);
    server.browser();
    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    server.log_line("Log file reopened");
    server.browser();
    let file = |path| std::fs::read_to_string(path).unwrap();
    wait_for("the new file", || file(&path).contains("Telling Client to start on").then_some(()));
    assert!(file(&moved).contains(";Starting server...\n"));
}

#[test]
fn a_peer_cannot_forge_log_lines() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    client.send(request("/web", "").replace("/web", "/\u{85}2030;QUIT").as_bytes());
    client.rest();
    let (mut client, _) = server.browser();
    client.say("{\"opcode\":\"feedback\",\"uuid\":\"x\\r\\nSun, 1 Jan 2030 00:00:00 +0000;Starting server...\"}");
    let line = server.log_line("No client for feedback");
    assert!(line.contains("\\u{d}\\u{a}"), "{line}");
    assert_eq!(server.log().iter().filter(|line| line.ends_with("Starting server...")).count(), 1);
}

#[test]
fn frames_are_shown_at_trace_level_with_their_payload_cut() {
    let server = Phpws::start(&["--log-level", "trace"]);
    let (mut client, _) = server.browser();
    client.say(&format!("{{\"opcode\":\"x\",\"m\":\"{}\"}}", "y".repeat(1000)));
    let line = server.log_line("#1 < Text 1021 bytes {\"opcode\":\"x\"");
    assert!(line.ends_with("yyy…") && line.len() < 120, "{line}");
    server.log_line("#1 > Text 26 bytes {\"opcode\":\"next\",\"fyi\":\"\"}");
}
