//! Who is let in, how many, and what happens to those who read too slowly.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::time::Duration;

use util::{Client, Phpws, masked, request};

fn dismissed(client: &mut Client, error: &str, code: u16) {
    assert_eq!(client.text(), format!(r#"{{"opcode":"close","error":"{error}"}}"#));
    client.closed_with(code);
}

#[test]
fn connections_of_one_address_are_counted_exactly() {
    let server = Phpws::start(&["--max-per-ip", "2"]);
    let (first, _) = server.browser();
    let (_second, _) = server.browser();
    for _ in 0..3 {
        dismissed(&mut server.upgrade("/web", ""), "To many connections from:  127.0.0.1", 1008);
    }
    server.log_line(", To many connections from:  127.0.0.1");
    // Backends and refused requests do not count; a connection that ends frees its place.
    server.ready_on("/php", "Client-Type: php\r\n");
    drop(first);
    server.log_line("Client disconnected by Server - TCP connection lost");
    let (mut third, _) = server.browser();
    dismissed(&mut server.upgrade("/web", ""), "To many connections from:  127.0.0.1", 1008);
    third.say(r#"{"opcode":"quit"}"#);
    third.closed_with(1000);
    server.browser();
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = Phpws::start(&["--max-clients", "2"]);
    let _silent = server.connect();
    let (_first, _) = server.browser();
    let (second, _) = server.ready_on("/php", "Client-Type: php\r\n");
    dismissed(&mut server.upgrade("/web", ""), "Too many connections", 1013);
    drop(second);
    server.log_line("TCP connection lost");
    server.browser();
}

/// Connects from another address of the loopback range, which is not the server's own.
fn from_127_0_0_9(server: &Phpws) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    Client::over(std::net::TcpStream::from(socket))
}

#[test]
fn a_stranger_is_no_backend_behind_a_trusted_proxy() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.9", "--allowed-ip", "192.0.2.0/24"]);
    for (forwarded, status) in [
        ("203.0.113.5", "403 Forbidden"),
        ("::1, 203.0.113.5", "403 Forbidden"),
        ("192.0.2.44", "101 Switching Protocols"),
        ("::ffff:192.0.2.44", "101 Switching Protocols"),
    ] {
        let mut client = from_127_0_0_9(&server);
        client.send(request("/php", &format!("Client-Type: php\r\nX-Forwarded-For: {forwarded}\r\n")).as_bytes());
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{forwarded}: {head}");
    }
    server.log_line(", No connection allowed from: 203.0.113.5");
}

#[test]
fn nobody_else_is_believed_about_addresses() {
    let server = Phpws::start(&["--max-per-ip", "1"]);
    let (_first, _) = server.ready_on("/web", "X-Forwarded-For: 203.0.113.5\r\n");
    dismissed(&mut server.upgrade("/web", "X-Forwarded-For: 203.0.113.6\r\n"), "To many connections from:  127.0.0.1", 1008);
}

#[test]
fn a_trusted_proxys_clients_are_counted_by_their_own_address() {
    let server = Phpws::start(&["--max-per-ip", "1", "--trusted-proxy", "127.0.0.1"]);
    let (_first, _) = server.ready_on("/web", "X-Forwarded-For: 203.0.113.5\r\n");
    let (_second, _) = server.ready_on("/web", "X-Forwarded-For: 203.0.113.6\r\n");
    dismissed(&mut server.upgrade("/web", "X-Forwarded-For: 203.0.113.6\r\n"), "To many connections from:  203.0.113.6", 1008);
}

#[test]
fn allowed_origins_are_compared_whole_and_do_not_bind_backends() {
    let server = Phpws::start(&["--allowed-origin", "http://x", "--allowed-origin", "https://shop.example"]);
    server.browser();
    server.ready_on("/php", "Client-Type: php\r\n");
    let mut evil = server.connect();
    evil.send(request("/web", "").replace("http://x", "http://X").as_bytes());
    assert!(evil.head().starts_with("HTTP/1.1 403 "));
    let mut php = server.connect();
    php.send(request("/php", "Client-Type: php\r\n").replace("http://x", "").as_bytes());
    assert!(php.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_client_that_does_not_read_is_dropped_alone() {
    let server = Phpws::start(&["--max-outbox", "1000000"]);
    let (mut sender, _) = server.browser();
    let (mut stuck, _) = server.browser();
    let (mut reader, _) = server.browser();
    let packet = format!("{{\"opcode\":\"broadcast\",\"m\":\"{}\"}}", "x".repeat(100_000));
    let dropped = || server.log().iter().any(|line| line.contains("client reads too slowly"));
    for round in 0.. {
        sender.say(&packet);
        assert_eq!(reader.text(), packet);
        if dropped() {
            break;
        }
        assert!(round < 1000, "never dropped");
    }
    // What was on its way arrives whole, then the reason.
    let last = std::iter::from_fn(|| stuck.frame()).last().unwrap();
    assert_eq!(last.code(), 1013);
    sender.say(&packet);
    assert_eq!(reader.text(), packet);
}

#[test]
fn a_fast_sender_does_not_starve_others() {
    let server = Phpws::start(&[]);
    let (mut flood, _) = server.browser();
    let (mut calm, _) = server.browser();
    let burst: Vec<u8> = masked(true, 1, b"{\"opcode\":\"none\"}").repeat(20_000);
    let flooding = std::thread::spawn(move || {
        for _ in 0..10 {
            flood.send(&burst);
            for _ in 0..20_000 {
                flood.text();
            }
        }
    });
    for _ in 0..50 {
        calm.say("{}");
    }
    flooding.join().unwrap();
}

#[test]
fn pings_find_dead_browsers_also_when_the_server_is_busy() {
    let server = Phpws::start(&["--ping-interval", "0.3"]);
    let (mut dead, _) = server.browser();
    let (mut alive, _) = server.browser();
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\n");
    let mut pongs = 0;
    while pongs < 3 {
        alive.send_text("{}");
        let frame = alive.frame().unwrap();
        if frame.opcode == 9 {
            assert_eq!(frame.text(), r#"{"opcode":"PING"}"#);
            alive.send(&masked(true, 10, &frame.payload));
            pongs += 1;
        }
    }
    assert_eq!(dead.frame().unwrap().opcode, 9);
    dead.closed_with(1001);
    assert!(php.is_silent(Duration::from_millis(50)), "backends are not pinged");
    php.say("{}");
    server.log_line("Socket #1 timed out (No PONG received). Closing.");
    server.log_line("Expected Pong frame received from socket #2");
    server.log_line("Ping Clients");
}

#[test]
fn a_message_must_come_in_time() {
    let server = Phpws::start(&["--message-timeout", "0.3"]);
    let (mut frame, _) = server.browser();
    frame.send(&masked(true, 1, b"{\"opcode\":\"echo\"}")[..9]);
    dismissed(&mut frame, "Message took too long", 1008);
    let (mut fragments, _) = server.browser();
    fragments.send(&masked(false, 1, b"{"));
    dismissed(&mut fragments, "Message took too long", 1008);
    let (mut quiet, _) = server.browser();
    assert!(quiet.is_silent(Duration::from_millis(500)));
    quiet.say("{}");
}

#[test]
fn silence_ends_only_where_a_setting_says_so() {
    let server = Phpws::start(&["--idle-timeout", "0.4", "--ping-interval", "0"]);
    let (mut talker, _) = server.browser();
    let (mut silent, _) = server.browser();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150));
        talker.say("{}");
    }
    dismissed(&mut silent, "Idle for too long", 1001);
    talker.say("{}");
}

#[test]
fn a_peer_that_never_answers_a_close_is_let_go() {
    let server = Phpws::start(&["--close-timeout", "0.3"]);
    let (mut client, _) = server.browser();
    client.say(r#"{"opcode":"quit"}"#);
    assert_eq!(client.frame().unwrap().code(), 1000);
    // The server has ended its side at once, and forgets the connection after the timeout.
    assert_eq!(client.frame(), None);
    util::wait_for("an error on writing", || client.wire.write_all(&masked(true, 1, b"late")).is_err().then_some(()));
}
