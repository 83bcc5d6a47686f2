//! Signals, and the log file that SIGHUP opens anew.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::time::{Duration, Instant};

use util::{Phpws, masked, request};

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
    server.signal("TERM");
    server.log_line("Shutting down");
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
    server.signal("TERM");
    server.log_line("Shutting down");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
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
    let dir = std::env::temp_dir().join(format!("phpws-hup-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (path, moved) = (dir.join("phpws.log"), dir.join("phpws.old"));
    let server = Phpws::start(&["--log-file", path.to_str().unwrap()]);
    server.browser();
    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    server.log_line("Log file reopened");
    server.browser();
    let file = |path| std::fs::read_to_string(path).unwrap();
    util::wait_for("the new file", || file(&path).contains("Telling Client to start on").then_some(()));
    assert!(file(&moved).contains(";Starting server...\n"));
    std::fs::remove_dir_all(&dir).unwrap();
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
