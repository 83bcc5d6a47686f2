//! What backends need: padding, one frame per read, and the raw dialect of the oldest ones.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::util::{NEXT, PATIENCE, Phpws, json, masked, parse, request};

const QUIET: Duration = Duration::from_millis(150);

#[test]
fn the_101_and_ready_fill_one_read_each() {
    let server = Phpws::start(&[]);
    for path in ["/php", "/web", "/"] {
        let mut client = server.connect();
        client.send(request(path, "Client-Type: php\r\n").as_bytes());
        let mut bytes = vec![0; 2048];
        client.wire.read_exact(&mut bytes).unwrap();
        assert!(bytes[..1024].starts_with(b"HTTP/1.1 101 ") && bytes[..1024].ends_with(b"\r\n\r\n"));
        let (ready, len) = parse(&bytes[1024..]).unwrap();
        assert_eq!(len, 1024);
        assert_eq!(json(ready.text(), "opcode"), "ready");
    }
    server.log_line("ClientType: php");
}

#[test]
fn browsers_are_never_padded() {
    let server = Phpws::start(&[]);
    let mut client = server.upgrade("/web", "");
    assert_eq!(client.frame().unwrap().payload.len(), r#"{"opcode":"ready","uuid":""}"#.len() + 36);
}

#[test]
fn an_unknown_resource_is_told_to_php_in_one_read_too() {
    let server = Phpws::start(&[]);
    let mut client = server.upgrade("/nothing", "Client-Type: php\r\n");
    let close = client.frame().unwrap();
    assert_eq!((close.text().trim_end(), close.payload.len()), (r#"{"opcode":"close"}"#, 1020));
    client.closed_with(1008);
}

/// Reads as PHP clients do: one read of up to 8,192 bytes, whose first frame is completed by its
/// length; whatever else the read gave is lost.
fn first_frame_of_a_read(wire: &mut dyn Read) -> String {
    let mut buffer = vec![0; 8192];
    let count = wire.read(&mut buffer).unwrap();
    buffer.truncate(count);
    loop {
        if let Some((frame, _)) = parse(&buffer) {
            return frame.text().trim_end().to_owned();
        }
        let mut more = [0; 1];
        wire.read_exact(&mut more).unwrap();
        buffer.extend(more);
    }
}

fn feedback_to_receiver(n: usize, len: usize) -> String {
    format!(r#"{{"opcode":"feedback","ident":"receiver","m":"{}","n":"{n}"}}"#, "\u{e4}".repeat(len / 2))
}

#[test]
fn frames_for_php_come_one_at_a_time() {
    let server = Phpws::start(&["--php-pause", "200"]);
    let (mut receiver, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut sender, _) = server.browser();
    let start = Instant::now();
    for n in 0..20 {
        sender.say(&feedback_to_receiver(n, 0));
    }
    for n in 0..20 {
        assert_eq!(json(&first_frame_of_a_read(&mut *receiver.wire), "n"), n.to_string());
    }
    // Frames that fill whole reads keep apart by themselves: a tenth of the pause is enough.
    assert!(start.elapsed() >= Duration::from_millis(19 * 20), "paced");
}

#[test]
fn a_php_client_that_is_busy_for_long_finds_every_frame_later() {
    let server = Phpws::start(&["--php-pause", "0"]);
    let (mut receiver, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut sender, _) = server.browser();
    let lens = [0, 100, 8000, 8100, 8192, 20_000, 65_400, 65_500, 65_600, 100_000, 0, 0];
    for (n, len) in lens.into_iter().enumerate() {
        sender.say(&feedback_to_receiver(n, len));
    }
    for (n, len) in lens.into_iter().enumerate() {
        assert_eq!(first_frame_of_a_read(&mut *receiver.wire), feedback_to_receiver(n, len));
    }
}

#[test]
fn a_php_client_that_speaks_is_answered_at_once() {
    let server = Phpws::start(&["--php-pause", "5000"]);
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\n");
    let start = Instant::now();
    for _ in 0..100 {
        php.send_text(r#"{"opcode":"nothing"}"#);
        assert_eq!(first_frame_of_a_read(&mut *php.wire), NEXT);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    // The echo is a second frame for one message, so it waits its turn behind `next`.
    php.send_text(r#"{"opcode":"echo"}"#);
    assert_eq!(first_frame_of_a_read(&mut *php.wire), NEXT);
    assert!(php.is_silent(QUIET));
    php.send_text(r#"{"opcode":"nothing"}"#);
    assert_eq!(first_frame_of_a_read(&mut *php.wire), r#"{"opcode":"echo"}"#);
}

#[test]
fn a_backend_that_reads_any_number_of_frames_is_neither_paced_nor_padded() {
    let server = Phpws::start(&["--php-pause", "5000"]);
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: receiver\r\n");
    for n in 0..10 {
        php.say(&feedback_to_receiver(n, 0));
        assert_eq!(php.text(), feedback_to_receiver(n, 0));
    }
    assert!(php.is_silent(QUIET));
    server.log_line("ClientType: php");
}

#[test]
fn a_php_clients_continuation_of_nothing_is_a_message() {
    let server = Phpws::start(&[]);
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\n");
    for opcode in [1, 0, 0] {
        php.send(&masked(true, opcode, br#"{"opcode":"nothing"}"#));
        assert_eq!(php.text(), NEXT);
    }
    let (mut browser, _) = server.browser();
    browser.send(&masked(true, 0, b"{}"));
    browser.closed_with(1002);
}

/// A raw client past its greeting, and its uuid.
fn raw(server: &Phpws, path: &str) -> (TcpStream, String) {
    let mut client = TcpStream::connect(server.addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut client, format!("php process\nGET {path} HTTP/1.1\n").as_bytes()).unwrap();
    let ready = read_256(&mut client);
    let uuid = json(&ready, "uuid");
    (client, uuid)
}

fn read_256(client: &mut TcpStream) -> String {
    let mut buffer = [0; 256];
    let count = client.read(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

fn write_wait(client: &mut TcpStream, message: &str) {
    std::io::Write::write_all(client, message.as_bytes()).unwrap();
    assert_eq!(read_256(client), NEXT, "{message}");
}

#[test]
fn a_raw_client_talks_bare_json_in_lockstep() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let (mut client, own) = raw(&server, "/php?x=1");
    assert_eq!(own.len(), 36);
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"done"}}"#);
    write_wait(&mut client, &packet);
    assert_eq!(page.text(), packet);
    write_wait(&mut client, r#"{"opcode":"broadcast","message":"\"}"}"#);
    assert_eq!(page.text(), r#"{"opcode":"broadcast","message":"\"}"}"#);
    // Neither broadcasts nor feedback by uuid reach a backend.
    page.say(r#"{"opcode":"broadcast"}"#);
    page.say(&format!(r#"{{"opcode":"feedback","uuid":"{own}"}}"#));
    client.set_read_timeout(Some(QUIET)).unwrap();
    assert!(client.read(&mut [0; 1]).is_err());
    server.log_line("ClientType: tcp");
}

#[test]
fn a_raw_client_sends_long_messages_in_chunks() {
    let server = Phpws::start(&[]);
    let (mut page, _) = server.browser();
    let (mut client, _) = raw(&server, "/php");
    let packet = format!(r#"{{"opcode":"broadcast","message":"{}"}}"#, "\u{e4}bufferOFF".repeat(3000));
    write_wait(&mut client, "bufferON");
    let mut rest = packet.as_str();
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(rest.floor_char_boundary(6144));
        write_wait(&mut client, chunk);
        rest = tail;
    }
    write_wait(&mut client, "bufferOFF");
    assert_eq!(page.text(), packet);
}

#[test]
fn raw_messages_may_share_or_split_segments() {
    let server = Phpws::start(&[]);
    let (mut client, _) = raw(&server, "/php");
    std::io::Write::write_all(&mut client, br#"{"opcode":"echo","a":"}"} {"opcode":"ec"#).unwrap();
    let mut got = String::new();
    let expected = format!(r#"{NEXT}{{"opcode":"echo","a":"}}"}}"#);
    while got.len() < expected.len() {
        got += &read_256(&mut client);
    }
    assert_eq!(got, expected);
    std::io::Write::write_all(&mut client, br#"ho"}"#).unwrap();
    let expected = format!(r#"{NEXT}{{"opcode":"echo"}}"#);
    let mut got = String::new();
    while got.len() < expected.len() {
        got += &read_256(&mut client);
    }
    assert_eq!(got, expected);
}

fn raw_answer(server: &Phpws, bytes: &str) -> String {
    let mut client = server.connect();
    client.send(bytes.as_bytes());
    String::from_utf8(client.rest()).unwrap()
}

#[test]
fn a_raw_client_without_a_known_resource_is_told_to_close() {
    let server = Phpws::start(&["--handshake-timeout", "0.3"]);
    for greeting in [
        "php process\nhello\n",
        "php process\nGET /nothing HTTP/1.1\n",
        "php process\nGET\n",
        "php process\n",
        "php process\nGET /php",
    ] {
        assert_eq!(raw_answer(&server, greeting), r#"{"opcode":"close"}"#, "{greeting}");
    }
}

#[test]
fn bad_json_ends_a_raw_connection() {
    let server = Phpws::start(&[]);
    let answer = raw_answer(&server, "php process\nGET /php HTTP/1.1\nhello");
    assert!(answer.ends_with(&format!(r#"{NEXT}{{"opcode":"close","error":"jsonerror"}}"#)), "{answer}");
}

#[test]
fn a_raw_message_is_bounded_and_timed() {
    let server = Phpws::start(&["--max-message", "1000", "--message-timeout", "0.3"]);
    let long = format!("php process\nGET /php HTTP/1.1\n{{\"a\":\"{}", "x".repeat(2000));
    assert!(raw_answer(&server, &long).ends_with(r#"{"opcode":"close","error":"Message too big"}"#));
    let unfinished = "php process\nGET /php HTTP/1.1\n{\"a\":";
    assert!(raw_answer(&server, unfinished).ends_with(r#"{"opcode":"close","error":"Message took too long"}"#));
}

#[test]
fn one_setting_turns_the_raw_dialect_off() {
    let server = Phpws::start(&["--raw-dialect=off", "--handshake-timeout", "0.3"]);
    assert!(raw_answer(&server, "php process\n").starts_with("HTTP/1.1 408 "));
    let answer = raw_answer(&server, "php process\nGET /php HTTP/1.1\n\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}
