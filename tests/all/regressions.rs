//! One test for each mistake that was found and mended.

use std::sync::mpsc;
use std::time::Duration;

use crate::util::tls::{self, Pair};
use crate::util::{Client, NEXT, Phpws, json, masked, request, wait_for};
use phpws::{Address, Limits, Message, Resource, Server, SocketId, WebSocketServer};

/// Starts a server with one application in a thread and connects a client to it.
fn embedded(limits: Limits, app: impl Resource + Send + 'static) -> Client {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0").unwrap(), None, limits).unwrap();
        server.register_resource("/app", app).unwrap();
        sender.send(server.local_addr()).unwrap();
        server.start().unwrap();
    });
    let mut client = Client::connect(receiver.recv().unwrap());
    client.send(request("/app", "").as_bytes());
    client.head();
    assert!(client.text().contains("ready"));
    client
}

#[test]
fn an_end_in_one_event_with_the_last_bytes_is_seen() {
    let server = Phpws::start(&["--ping-interval", "0"]);
    for _ in 0..50 {
        let mut client = server.connect();
        client.send(&[request("/web", "").into_bytes(), masked(true, 1, b"{}")].concat());
        client.wire.finish();
        let rest = client.rest();
        assert!(rest.ends_with(NEXT.as_bytes()), "what was asked is answered before the end");
    }
    assert!(!server.log().is_empty());
}

#[test]
fn a_version_that_is_no_text_is_a_bad_request() {
    let server = Phpws::start(&[]);
    for line in [&b"GET / HTTP/\xff"[..], b"GET / \xff\xff\xff\xff", b"GET /\xff HTTP/1.1", b"\xff / HTTP/1.1"] {
        let mut client = server.connect();
        client.send(&[line, b"\r\n\r\n"].concat());
        assert!(client.head().starts_with("HTTP/1.1 400 "), "{line:?}");
    }
    server.browser();
}

#[test]
fn feedback_of_any_length_reaches_a_php_client_and_harms_nobody() {
    let server = Phpws::start(&["--php-pause", "0"]);
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut sender, _) = server.browser();
    for len in [65_400, 65_470, 65_480, 66_000, 200_000, 3_000_000] {
        let packet = format!(r#"{{"opcode":"feedback","ident":"receiver","m":"{}"}}"#, "x".repeat(len));
        sender.say(&packet);
        assert_eq!(php.text().trim_end(), packet);
    }
}

#[test]
fn a_burst_of_feedback_does_not_drop_a_php_client_that_reads() {
    let server = Phpws::start(&[]);
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut sender, _) = server.browser();
    let burst: Vec<u8> = (0..1500)
        .flat_map(|n| masked(true, 1, format!(r#"{{"opcode":"feedback","ident":"receiver","n":"{n}"}}"#).as_bytes()))
        .collect();
    sender.send(&burst);
    for n in 0..1500 {
        assert_eq!(json(&php.text(), "n"), n.to_string());
    }
}

#[test]
fn a_control_frame_in_two_reads_is_no_beginning_of_a_message() {
    let server = Phpws::start(&["--message-timeout", "0.8"]);
    let (mut client, _) = server.browser();
    let (mut other, _) = server.browser();
    let pong = masked(true, 10, b"split");
    client.send_apart(&pong[..4], &mut other);
    client.send(&pong[4..]);
    server.log_line("Unsolicited Pong");
    // For longer than a message may take; were one beginning, it would end now.
    std::thread::sleep(Duration::from_millis(1000));
    let message = masked(true, 1, b"{}");
    client.send_apart(&message[..4], &mut other);
    client.send(&message[4..]);
    assert_eq!(client.text(), NEXT);
}

#[test]
fn chunks_that_never_end_are_timed_out() {
    let server = Phpws::start(&["--message-timeout", "1"]);
    let (mut client, _) = server.browser();
    client.say("bufferON");
    client.say("a chunk");
    assert_eq!(client.text(), r#"{"opcode":"close","error":"Message took too long"}"#);
    client.closed_with(1008);
}

#[test]
fn many_broadcasts_of_one_turn_drop_nobody_who_reads() {
    let server = Phpws::start(&["--max-outbox", "300000"]);
    let (mut reader, _) = server.browser();
    let (mut sender, _) = server.browser();
    let packet = format!(r#"{{"opcode":"broadcast","m":"{}"}}"#, "x".repeat(60_000));
    let reading = std::thread::spawn(move || (0..40).map(|_| reader.text().len()).sum::<usize>());
    sender.send(&masked(true, 1, packet.as_bytes()).repeat(40));
    for _ in 0..40 {
        assert_eq!(sender.text(), NEXT);
    }
    assert_eq!(reading.join().unwrap(), 40 * packet.len());
}

#[test]
fn a_raw_client_that_reads_too_slowly_gets_no_frame() {
    let server = Phpws::start(&["--max-outbox", "100000"]);
    let mut client = server.connect();
    let echo = format!(r#"{{"opcode":"echo","m":"{}"}}"#, "x".repeat(3_000_000));
    client.send(format!("php process\nGET /php HTTP/1.1\n{echo}{echo}{echo}").as_bytes());
    server.log_line("client reads too slowly");
    let rest = String::from_utf8(client.rest()).expect("text only");
    assert!(rest.ends_with(r#"{"opcode":"close","error":"Too slow"}"#));
}

#[test]
fn nobody_finds_a_client_that_is_closing() {
    struct Closer;
    impl Resource for Closer {
        fn on_data(&mut self, server: &mut Server, id: SocketId, _: Message<'_>) {
            let uuid = server.client(id).unwrap().uuid().to_string();
            assert_eq!(server.find_uuid(&uuid), Some(id));
            server.close(id);
            assert_eq!(server.find_uuid(&uuid), None);
        }
    }
    let mut client = embedded(Limits::default(), Closer);
    client.say("x");
    client.closed_with(1000);
}

#[test]
fn a_timer_that_sets_itself_anew_at_once_leaves_room_for_others() {
    struct Restless;
    impl Resource for Restless {
        fn on_start(&mut self, server: &mut Server) {
            server.call_after(Duration::ZERO, 0);
        }
        fn on_timer(&mut self, server: &mut Server, tag: u64) {
            server.call_after(Duration::ZERO, tag + 1);
        }
    }
    let mut client = embedded(Limits::default(), Restless);
    client.say("x");
}

#[test]
fn a_duration_beyond_all_time_is_never() {
    struct Patient;
    impl Resource for Patient {
        fn on_data(&mut self, server: &mut Server, id: SocketId, _: Message<'_>) {
            server.call_after(Duration::MAX, 1);
            server.write(id, "fine");
        }
    }
    let limits = Limits {
        handshake_timeout: Duration::MAX,
        message_timeout: Duration::MAX,
        idle_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        ping_interval: Duration::MAX,
        php_pause: Duration::MAX,
        ..Limits::default()
    };
    let mut client = embedded(limits, Patient);
    client.say("x");
    assert_eq!(client.text(), "fine");
}

#[test]
fn a_proxy_that_does_not_know_its_client_makes_no_backend_of_it() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.1"]);
    for forwarded in ["unknown", "203.0.113.5, unknown", "_hidden", "", "203.0.113.5"] {
        let mut client = server.connect();
        client.send(request("/php", &format!("Client-Type: php\r\nX-Forwarded-For: {forwarded}\r\n")).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 403 "), "{forwarded}");
    }
}

#[test]
fn a_long_word_of_a_peer_is_cut_in_the_log() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    client.say(&format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, "y".repeat(1_000_000)));
    assert!(server.log_line("No client for feedback").len() < 400);
}

#[test]
fn a_tls_error_behind_good_bytes_ends_the_connection() {
    use std::io::{Read, Write};

    let pair = Pair::new();
    let server = pair.server(&[]);
    let mut stream = tls::connect(server.addr, &pair.client_config());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    // A good record and a broken one in a single segment.
    stream.conn.writer().write_all(request("/web", "").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut bytes).unwrap();
    }
    bytes.extend([0x17, 3, 3, 0, 20]);
    bytes.extend([0xAA; 20]);
    stream.sock.write_all(&bytes).unwrap();
    let mut rest = Vec::new();
    // The end, or a reset: both are an end.
    let _ = stream.sock.read_to_end(&mut rest);
    server.log_line("Connection closed to socket #1");
}

/// `trace` shows every frame, also those that are no answer.
#[test]
fn trace_shows_ready_feedback_and_broadcasts() {
    let server = Phpws::start(&["--log-level", "trace"]);
    let (_page, uuid) = server.browser();
    let (mut other, _) = server.browser();
    other.say(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
    other.say(r#"{"opcode":"broadcast"}"#);
    for opcode in ["ready", "feedback", "broadcast"] {
        let shown = |line: &String| line.contains("#1 > Text") && line.contains(&format!(r#"{{"opcode":"{opcode}""#));
        wait_for(opcode, || server.log().iter().any(shown).then_some(()));
    }
}
