//! The dialog: `ready`, `next`, the opcodes, chunks, control frames. The numbers are those of the
//! rules that the clients in the field depend on.

use std::time::Duration;

use crate::util::{NEXT, Phpws, json, masked};

const QUIET: Duration = Duration::from_millis(150);

#[test]
fn ready_comes_after_the_101_with_a_uuid_of_36_characters() {
    let server = Phpws::start(&[]);
    let (_client, uuid) = server.browser();
    assert_eq!(uuid.len(), 36);
    assert_eq!(uuid, uuid.to_ascii_lowercase());
    assert_eq!(uuid.as_bytes()[14], b'4', "version 4");
    server.log_line("Handshake: /web Client");
    server.log_line("ClientType: websocket");
    server.log_line("Telling Client to start on #1");
}

#[test]
fn every_data_message_gets_exactly_one_next() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    for message in [
        "{\"opcode\":\"unknown\"}",
        "{}",
        "[1,2]",
        "5",
        "null",
        "\"text\"",
        "",
        "bufferON",
        "chunk",
        "bufferON",
        "bufferOFF",
        "bufferOFF",
    ] {
        client.send_text(message);
        assert_eq!(client.text(), NEXT, "{message}");
    }
    client.send(&masked(true, 2, b"{\"opcode\":\"nothing\"}"));
    assert_eq!(client.text(), NEXT);
    client.send(&[masked(false, 1, b"{\"opcode\""), masked(false, 0, b":"), masked(true, 0, b"\"x\"}")].concat());
    assert_eq!(client.text(), NEXT);
    assert!(client.is_silent(QUIET));
}

#[test]
fn next_comes_before_the_answer() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    let packet = r#"{"opcode":"echo","message":"x","n":1.0,"big":123456789012345678901,"e":"\u00e9"}"#;
    client.say(packet);
    assert_eq!(client.text(), packet);
}

#[test]
fn control_frames_get_no_next() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    client.send(&masked(true, 9, b"hello"));
    let pong = client.frame().unwrap();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (10, &b"hello"[..]));
    client.send(&masked(true, 10, b"unasked"));
    assert!(client.is_silent(QUIET));
    server.log_line("Unsolicited Pong frame received from socket #1");
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    client.send(&masked(false, 1, b"{\"opcode\":"));
    client.send(&masked(true, 9, b"?"));
    assert_eq!(client.frame().unwrap().opcode, 10);
    client.send(&masked(true, 0, b"\"echo\"}"));
    assert_eq!(client.text(), NEXT);
    assert_eq!(client.text(), "{\"opcode\":\"echo\"}");
}

#[test]
fn the_code_of_a_close_frame_is_echoed() {
    let server = Phpws::start(&[]);
    for (body, answer) in [(&b"\x03\xe8"[..], &b"\x03\xe8"[..]), (b"\x0f\xa1bye", b"\x0f\xa1"), (b"", b"")] {
        let (mut client, _) = server.browser();
        client.send(&masked(true, 8, body));
        let close = client.frame().unwrap();
        assert_eq!((close.opcode, close.payload.as_slice()), (8, answer));
        assert_eq!(client.frame(), None);
    }
    server.log_line("Connection Close frame received from socket #");
}

#[test]
fn nothing_is_dispatched_after_a_close_frame() {
    let server = Phpws::start(&[]);
    let (mut other, _) = server.browser();
    let (mut client, _) = server.browser();
    client.send(&[masked(true, 8, b""), masked(true, 1, b"{\"opcode\":\"broadcast\"}")].concat());
    assert_eq!(client.frame().unwrap().opcode, 8);
    assert_eq!(client.frame(), None);
    assert!(other.is_silent(QUIET));
}

#[test]
fn broadcast_goes_as_it_came_to_all_browsers_but_the_sender() {
    let server = Phpws::start(&[]);
    let (mut sender, _) = server.browser();
    let (mut web, _) = server.browser();
    let (mut root, _) = server.ready_on("/", "");
    let (mut php, _) = server.ready_on("/php", "Client-Type: PHP\r\n");
    let packet = r#"{ "message" : ["a", 1.0], "opcode":"broadcast" }"#;
    sender.say(packet);
    assert_eq!(web.text(), packet);
    assert_eq!(root.text(), packet);
    php.say(r#"{"opcode":"broadcast","message":"from php"}"#);
    for client in [&mut sender, &mut web, &mut root] {
        assert_eq!(client.text(), r#"{"opcode":"broadcast","message":"from php"}"#);
    }
    assert!(php.is_silent(QUIET));
}

#[test]
fn feedback_by_uuid_reaches_that_browser_with_all_its_keys() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let (mut other, _) = server.browser();
    let (mut php, own) = server.ready_on("/php", "Client-Type: php\r\n");
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"loop 4000","fromUUID":"{own}","odd":[1]}}"#);
    php.say(&packet);
    assert_eq!(page.text(), packet);
    assert!(other.is_silent(QUIET));
}

#[test]
fn feedback_by_ident_reaches_a_client_of_any_type_and_the_first_of_many() {
    let server = Phpws::start(&[]);
    let (mut receiver, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut second, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: receiver\r\n");
    let (mut browser, _) = server.ready_on("/web", "IDENT: tab 7\r\n");
    let (mut sender, _) = server.browser();
    let packet = r#"{"opcode":"feedback","ident":"receiver","uuid":"","message":"Hello"}"#;
    sender.say(packet);
    assert_eq!(receiver.text().trim_end(), packet);
    assert!(second.is_silent(QUIET));
    sender.say(r#"{"opcode":"feedback","ident":"tab 7"}"#);
    assert_eq!(browser.text(), r#"{"opcode":"feedback","ident":"tab 7"}"#);
    receiver.send(&masked(true, 8, b""));
    assert_eq!(receiver.frame().unwrap().opcode, 8);
    server.log_line("Connection Close frame received");
    sender.say(packet);
    assert_eq!(second.text().trim_end(), packet);
}

#[test]
fn feedback_to_nobody_is_only_acknowledged() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let (mut sender, _) = server.browser();
    let (mut php, php_uuid) = server.ready_on("/php", "Client-Type: php\r\n");
    let capitals = uuid.to_ascii_uppercase();
    for target in [
        "\"uuid\":\"00000000-0000-4000-8000-000000000000\"".to_owned(),
        "\"uuid\":true".into(),
        "\"uuid\":\"\",\"ident\":\"\"".into(),
        "\"ident\":true".into(),
        format!("\"uuid\":\"{capitals}\""),
        format!("\"uuid\":[\"{uuid}\"]"),
        format!("\"uuid\":\"{php_uuid}\""),
        "\"x\":1".into(),
    ] {
        sender.say(&format!("{{\"opcode\":\"feedback\",{target}}}"));
    }
    assert!(page.is_silent(QUIET) && php.is_silent(QUIET) && sender.is_silent(QUIET));
    server.log_line("No client for feedback: uuid '00000000-0000-4000-8000-000000000000'");
}

#[test]
fn chunks_between_buffer_on_and_off_become_one_message() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    for part in ["bufferON", "lost", "bufferON", "{\"opcode\":", "\"echo\",", "\"a\":1}"] {
        client.say(part);
    }
    client.say("bufferOFF");
    assert_eq!(client.text(), "{\"opcode\":\"echo\",\"a\":1}");
    for part in [&b"bufferON"[..], b"{\"opcode\":\"echo\"}", b"bufferOFF"] {
        client.send(&masked(true, 2, part));
        assert_eq!(client.text(), NEXT);
    }
    assert_eq!(client.text(), "{\"opcode\":\"echo\"}");
    client.say("bufferOFF");
    client.say("{\"opcode\":\"bufferON\"}");
    assert!(client.is_silent(QUIET));
    server.log_line("Buffering ON");
    server.log_line("Buffering OFF");
}

#[test]
fn one_chunk_more_than_max_chunks_is_accepted_and_the_next_ends_the_connection() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    client.say("bufferON");
    for _ in 0..101 {
        client.say("[");
    }
    client.say("[");
    assert_eq!(client.text(), r#"{"opcode":"close","error":"Too many chunks"}"#);
    client.closed_with(1009);
    server.log_line("Too many chunks from socket #1");
}

#[test]
fn chunks_never_pass_the_message_limit() {
    let server = Phpws::start(&["--max-message", "1000", "--max-chunks", "0"]);
    let (mut client, _) = server.browser();
    client.say("bufferON");
    client.say(&"x".repeat(900));
    client.say(&"x".repeat(101));
    assert_eq!(client.text(), r#"{"opcode":"close","error":"Too many chunks"}"#);
    client.closed_with(1009);
}

#[test]
fn quit_is_acknowledged_and_closes() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    client.send(&[masked(true, 1, b"{\"opcode\":\"quit\"}"), masked(true, 8, b"")].concat());
    assert_eq!(client.text(), NEXT);
    client.closed_with(1000);
    server.log_line("QUIT; Connection closed to socket #1");
}

#[test]
fn what_is_not_json_is_acknowledged_and_closes() {
    let server = Phpws::start(&[]);
    let deep = "[".repeat(513) + &"]".repeat(513);
    for bad in ["hello", "{", "{\"opcode\":\"echo\",}", &deep] {
        let (mut client, _) = server.browser();
        client.say(bad);
        assert_eq!(client.text(), r#"{"opcode":"close","error":"jsonerror"}"#);
        client.closed_with(1007);
    }
    let (mut client, _) = server.browser();
    client.send(&masked(true, 2, b"{\"a\":\"\xff\"}"));
    assert_eq!(client.text(), NEXT);
    server.log_line("jsonerror closing #");
    let (mut client, _) = server.browser();
    client.say(r#"{"opcode":"jsonerror"}"#);
    client.say(r#"{"opcode":"echo"}"#);
}

#[test]
fn an_unknown_resource_is_told_to_close() {
    let server = Phpws::start(&[]);
    for path in ["/nothing", "/web/", "/WEB", "/web%20"] {
        let mut client = server.upgrade(path, "");
        assert_eq!(client.text(), r#"{"opcode":"close"}"#, "{path}");
        client.closed_with(1008);
    }
    server.log_line("Application incomplete or does not exist; Telling Client to disconnect on #");
    server.ready_on("/web?x=1", "");
}

#[test]
fn protocol_errors_close_with_their_code() {
    let server = Phpws::start(&["--max-message", "1000"]);
    for (bytes, code) in [
        (b"\x81\x02hi".to_vec(), 1002),
        (masked(true, 3, b""), 1002),
        (masked(true, 1, b"\xff"), 1007),
        (masked(true, 1, &[b'x'; 1001]), 1009),
        (masked(true, 8, b"\x03"), 1002),
    ] {
        let (mut client, _) = server.browser();
        client.send(&bytes);
        let close = client.frame().unwrap();
        assert_eq!(close.code(), code);
        assert_eq!(client.frame(), None);
    }
    server.log_line("Protocol error: frame not masked");
}

#[test]
fn many_messages_in_one_segment_are_answered_in_order() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    let bytes: Vec<u8> =
        (0..500).flat_map(|n| masked(true, 1, format!("{{\"opcode\":\"echo\",\"n\":\"{n}\"}}").as_bytes())).collect();
    client.send(&bytes);
    for n in 0..500 {
        assert_eq!(client.text(), NEXT);
        assert_eq!(json(&client.text(), "n"), n.to_string());
    }
}

#[test]
fn large_messages_pass_both_ways() {
    let server = Phpws::start(&[]);
    let (mut client, _) = server.browser();
    for len in [100, 40_000, 70_000, 1_000_000, 5_000_000] {
        let packet = format!("{{\"opcode\":\"echo\",\"m\":\"{}\"}}", "\u{e4}".repeat(len / 2));
        client.say(&packet);
        assert_eq!(client.text(), packet);
    }
}
