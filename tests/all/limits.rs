//! Who is let in, how many, and what happens to those who read too slowly.

use std::time::Duration;

use crate::util::folder::Folder;
use crate::util::{Client, NEXT, Phpws, masked, request, wait_for};

fn dismissed(client: &mut Client, error: &str, code: u16) {
    assert_eq!(client.text(), format!(r#"{{"opcode":"close","error":"{error}"}}"#));
    client.closed_with(code);
}

#[test]
fn connections_of_one_address_are_counted_exactly() {
    const ADDRESS: &str = "X-Forwarded-For: 192.0.2.7\r\n";
    let server = Phpws::start(&["--max-per-ip", "2", "--trusted-proxy", "127.0.0.1"]);
    let browser = || server.ready_on("/web", ADDRESS);
    let (first, _) = browser();
    let (_second, _) = browser();
    for _ in 0..3 {
        dismissed(&mut server.upgrade("/web", ADDRESS), "To many connections from:  192.0.2.7", 1008);
    }
    server.log_line(", To many connections from:  192.0.2.7");
    // Backends and refused requests do not count; a connection that ends frees its place.
    server.ready_on("/php", "Client-Type: php\r\n");
    drop(first);
    server.log_line("Client disconnected by Server - TCP connection lost");
    let (mut third, _) = browser();
    dismissed(&mut server.upgrade("/web", ADDRESS), "To many connections from:  192.0.2.7", 1008);
    third.say(r#"{"opcode":"quit"}"#);
    third.closed_with(1000);
    browser();
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

#[test]
fn a_stranger_is_no_backend_behind_a_trusted_proxy() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.9", "--allowed-ip", "192.0.2.0/24"]);
    for (forwarded, status) in [
        ("203.0.113.5", "403 Forbidden"),
        ("::1, 203.0.113.5", "403 Forbidden"),
        ("192.0.2.44", "101 Switching Protocols"),
        ("::ffff:192.0.2.44", "101 Switching Protocols"),
    ] {
        let mut client = Client::over(server.connect_from([127, 0, 0, 9]));
        client.send(request("/php", &format!("Client-Type: php\r\nX-Forwarded-For: {forwarded}\r\n")).as_bytes());
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{forwarded}: {head}");
    }
    server.log_line(", No connection allowed from: 203.0.113.5");
}

#[test]
fn nobody_else_is_believed_about_addresses() {
    // What a proxy in front of the trusted one says is the word of a stranger.
    let server = Phpws::start(&["--max-per-ip", "1", "--trusted-proxy", "127.0.0.1"]);
    let (_first, _) = server.ready_on("/web", "X-Forwarded-For: 203.0.113.5, 192.0.2.7\r\n");
    let mut second = server.upgrade("/web", "X-Forwarded-For: 203.0.113.6, 192.0.2.7\r\n");
    dismissed(&mut second, "To many connections from:  192.0.2.7", 1008);
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
fn messages_that_each_come_in_time_never_add_up_to_a_timeout() {
    let server = Phpws::start(&["--message-timeout", "0.8"]);
    let (mut client, _) = server.browser();
    let frame = masked(true, 1, b"{}");
    let (head, tail) = frame.split_at(3);
    client.send(head);
    for _ in 0..12 {
        // Messages that take a tenth of the timeout each, and longer than it together.
        std::thread::sleep(Duration::from_millis(80));
        // Every read ends inside a frame, though a message has ended in it.
        client.send(&[tail, head].concat());
        assert_eq!(client.text(), NEXT);
    }
}

#[test]
fn silence_ends_only_where_a_setting_says_so() {
    let server = Phpws::start(&["--idle-timeout", "1", "--ping-interval", "0"]);
    let (mut talker, _) = server.browser();
    let (mut silent, _) = server.browser();
    for _ in 0..4 {
        // Long enough for the silent one in all, and never long enough for the talker.
        std::thread::sleep(Duration::from_millis(350));
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
    wait_for("an error on writing", || client.wire.write_all(&masked(true, 1, b"late")).is_err().then_some(()));
}

#[test]
fn a_client_that_sends_far_too_much_is_told_once_and_closed() {
    let server = Phpws::start(&["--max-message-rate", "10", "--max-byte-rate", "100000"]);
    let (mut calm, _) = server.browser();
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\n");
    for flood in [masked(true, 1, b"{}").repeat(400), masked(true, 9, b"").repeat(400)] {
        let (mut client, _) = server.browser();
        client.send(&flood);
        let frames: Vec<_> = std::iter::from_fn(|| client.frame()).collect();
        assert_eq!(frames.last().unwrap().code(), 1008);
        let told = r#"{"opcode":"close","error":"Too many messages"}"#;
        assert_eq!(frames.iter().filter(|frame| frame.opcode == 1 && frame.text() == told).count(), 1);
    }
    server.log_line("sends too much");
    for _ in 0..25 {
        calm.say("{}");
    }
    for _ in 0..50 {
        backend.say("{}");
    }
}

/// A connection from the proxy at 127.0.0.9 that begins with these bytes.
fn proxied(server: &Phpws, header: &[u8], rest: &str) -> Client {
    let mut client = Client::over(server.connect_from([127, 0, 0, 9]));
    client.send(&[header, rest.as_bytes()].concat());
    client
}

#[test]
fn a_trusted_proxy_names_the_client_by_the_proxy_protocol() {
    let server = Phpws::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--max-per-ip", "1"]);
    let v1 = |ip: &str| format!("PROXY TCP4 {ip} 192.0.2.1 5000 80\r\n").into_bytes();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 8, 192, 0, 2, 1, 0x13, 0x88, 0, 80]);
    let mut first = proxied(&server, &v1("203.0.113.7"), &request("/web", ""));
    first.head();
    assert!(first.text().contains("ready"));
    let mut second = proxied(&server, &v2, &request("/web", ""));
    second.head();
    assert!(second.text().contains("ready"));
    let mut third = proxied(&server, &v1("203.0.113.8"), &request("/web", ""));
    third.head();
    dismissed(&mut third, "To many connections from:  203.0.113.8", 1008);
    // A backend behind the proxy is judged by the proxied address.
    let mut php = proxied(&server, &v1("203.0.113.9"), &request("/php", "Client-Type: php\r\n"));
    assert!(php.head().starts_with("HTTP/1.1 403 "));
    server.log_line("Proxied client 203.0.113.7:5000 on socket #1");
    // Others come without a header, and theirs is not believed.
    server.browser();
    let mut forger = server.connect();
    forger.send(&[v1("203.0.113.10"), request("/web", "").into_bytes()].concat());
    assert!(forger.head().starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_proxy_header_may_come_in_pieces_and_must_be_right() {
    let server = Phpws::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--handshake-timeout", "1"]);
    let (mut other, _) = server.browser();
    let mut slow = Client::over(server.connect_from([127, 0, 0, 9]));
    for byte in b"PROXY UNKNOWN\r\n" {
        slow.send_apart(&[*byte], &mut other);
    }
    slow.send(request("/web", "").as_bytes());
    slow.head();
    assert!(slow.text().contains("ready"));
    let mut wrong = proxied(&server, b"GET / HTTP/1.1\r\n\r\n", "");
    assert_eq!(wrong.rest(), b"");
    server.log_line("Bad PROXY header: ");
    let mut silent = proxied(&server, b"PROXY TCP4 ", "");
    silent.rest();
}

#[test]
fn a_browser_needs_a_live_session_before_the_101_and_a_backend_its_host() {
    let folder = Folder::new();
    folder.write("sess_good", "user|s:3:\"ann\";allowconnect|b:1;");
    folder.write("sess_bad", "user|s:3:\"ann\";allowconnect|b:0;");
    let server = Phpws::start(&["--require-session", "--session-path", folder.path().to_str().unwrap()]);
    for cookie in ["", "Cookie: PHPSESSID=bad\r\n", "Cookie: PHPSESSID=../sess_good\r\n", "Cookie: PHPSESSID=none\r\n"] {
        let mut client = server.connect();
        client.send(request("/web", cookie).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 403 "), "{cookie}");
        assert_eq!(client.rest(), b"No live session\n");
    }
    server.log_line("Client handshake status: unauthorized");
    server.ready_on("/web", "Cookie: a=b; PHPSESSID=good\r\n");
    server.ready_on("/php", "Client-Type: php\r\n");
}
