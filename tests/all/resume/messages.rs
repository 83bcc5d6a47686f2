//! What a client gets when it comes back: numbers, gaps, keys, what is acknowledged.

use std::io::Write;

use super::{break_off, message, open, uuid};
use crate::util::http::{feedback, post};
use crate::util::page::Page;
use crate::util::tls::{self, Pair};
use crate::util::{Client, NEXT, Phpws, masked, request, wait_for};
use serde_json::{Value, json};

#[test]
fn who_does_not_ask_sees_no_change() {
    let server = Phpws::start(&[]);
    let (mut client, uuid) = server.browser();
    feedback(&server, &uuid, r#"{"message":1}"#);
    assert_eq!(message(&mut client), r#"{"message":1}"#);
    let (_, ready) = open(&server, "/web?x=1");
    assert_eq!(ready.as_object().unwrap().len(), 2, "{ready}");
}

#[test]
fn each_message_has_a_number_as_its_last_member() {
    let server = Phpws::start(&[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    assert_eq!(ready["resume"], "new");
    assert_eq!((&ready["seq"], &ready["keep"]), (&json!(0), &json!(60)));
    for (packet, expected) in [
        (r#"{"opcode":"echo","message":1.0}"#, r#"{"opcode":"echo","message":1.0,"seq":1}"#),
        (" { \"seq\": 99, \"opcode\":\"echo\", \"a\" : {} } \n", "{ \"seq\": 99, \"opcode\":\"echo\", \"a\" : {},\"seq\":2}"),
    ] {
        client.say(packet);
        assert_eq!(client.text(), expected);
    }
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(message(&mut client), r#"{"message":1,"seq":3}"#);
}

#[test]
fn what_was_missed_comes_once_and_in_order() {
    let server = Phpws::start(&[]);
    let (mut other, _) = server.browser();
    let (mut client, ready) = open(&server, "/web?resume=");
    let uuid = uuid(&ready);
    for number in 1..=3 {
        feedback(&server, &uuid, &format!(r#"{{"message":{number}}}"#));
    }
    assert_eq!(message(&mut client), r#"{"message":1,"seq":1}"#);
    break_off(&server, client, &uuid);
    let (status, answer) = feedback(&server, &uuid, r#"{"message":4}"#);
    assert_eq!((status, answer), (202, json!({"delivered": 0, "queued": 1})));
    other.say(r#"{"opcode":"broadcast","message":5}"#);
    let (mut client, ready) = open(&server, &format!("/web?resume={uuid}&seq=1"));
    assert_eq!(ready, json!({"opcode": "ready", "uuid": uuid, "resume": "resumed", "seq": 1, "keep": 60}));
    for number in 2..=5 {
        let text: Value = serde_json::from_str(&client.text()).unwrap();
        assert_eq!((&text["message"], &text["seq"]), (&json!(number), &json!(number)));
    }
    assert_eq!(feedback(&server, &uuid, r#"{"message":6}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(message(&mut client), r#"{"message":6,"seq":6}"#);
}

#[test]
fn rooms_stay_and_nobody_hears_of_the_break() {
    let server = Phpws::start(&[]);
    let join = r#"{"opcode":"join","room":"r","announce":true}"#;
    let (mut other, _) = server.browser();
    other.say(join);
    other.text();
    let (mut client, ready) = open(&server, "/web?resume=");
    client.say(join);
    assert!(client.text().contains(r#""count":2"#));
    assert!(client.text().contains(r#""joined":1"#));
    assert!(other.text().contains(r#""count":1,"joined":1"#));
    assert!(other.text().contains(r#""count":2,"joined":1"#));
    break_off(&server, client, &uuid(&ready));
    other.say(r#"{"opcode":"broadcast","room":"r","message":7}"#);
    other.say(r#"{"opcode":"who","room":"r"}"#);
    assert_eq!(other.text(), r#"{"opcode":"who","room":"r","count":2}"#);
    let (mut client, _) = open(&server, &format!("/web?resume={}&seq=2", uuid(&ready)));
    assert_eq!(client.text(), r#"{"opcode":"broadcast","room":"r","message":7,"seq":3}"#);
    client.say(r#"{"opcode":"broadcast","room":"r","message":8}"#);
    assert_eq!(other.text(), r#"{"opcode":"broadcast","room":"r","message":8}"#);
}

/// A reader that stalls while a frame is on its way to it: the old connection keeps its half, the new
/// one gets the whole.
#[test]
fn a_frame_that_is_written_in_part_is_sent_again() {
    let server = Phpws::start(&["--resume-bytes", "100000000", "--max-outbox", "100000000"]);
    let (old, ready) = open(&server, "/web?resume=");
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(3_000_000));
    for _ in 0..5 {
        feedback(&server, &uuid(&ready), &body);
    }
    let (mut new, _) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    for seq in 1..=5 {
        assert!(message(&mut new) == format!(r#"{},"seq":{seq}}}"#, &body[..body.len() - 1]), "message {seq}");
    }
    drop(old);
    feedback(&server, &uuid(&ready), r#"{"message":6}"#);
    assert_eq!(message(&mut new), r#"{"message":6,"seq":6}"#);
}

#[test]
fn a_gap_is_named() {
    let server = Phpws::start(&["--resume-bytes", "1000"]);
    let (client, ready) = open(&server, "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    for number in 1..=20 {
        feedback(&server, &uuid(&ready), &format!(r#"{{"message":{number}}}"#));
    }
    let (mut client, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    let lost = ready["lost"].as_u64().unwrap();
    assert_eq!((&ready["resume"], ready["seq"].as_u64()), (&json!("gap"), Some(lost)));
    assert!((1..20).contains(&lost), "{lost}");
    for number in lost + 1..=20 {
        assert_eq!(message(&mut client), format!(r#"{{"message":{number},"seq":{number}}}"#));
    }
}

#[test]
fn a_message_that_is_sent_again_is_only_acknowledged() {
    let server = Phpws::start(&[]);
    let (mut other, _) = server.browser();
    let (mut client, ready) = open(&server, "/web?resume=");
    client.say(r#"{"opcode":"broadcast","message":1,"cseq":1}"#);
    let (mut client, _) = open(&server, &format!("/web?resume={}", uuid(&ready)));
    client.say(r#"{"opcode":"broadcast","message":1,"cseq":1}"#);
    client.say(r#"{"opcode":"broadcast","message":2,"cseq":2}"#);
    client.say(r#"{"opcode":"broadcast","message":2,"cseq":2}"#);
    client.say(r#"{"opcode":"broadcast","message":3}"#);
    assert!(other.text().contains(r#""message":1"#));
    assert!(other.text().contains(r#""message":2"#));
    assert!(other.text().contains(r#""message":3"#));
}

#[test]
fn a_message_with_a_key_takes_the_place_of_an_older_one_and_its_number() {
    let server = Phpws::start(&[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let uuid = uuid(&ready);
    feedback(&server, &uuid, r#"{"key":"p","message":1}"#);
    client.text();
    break_off(&server, client, &uuid);
    for (key, number) in [("p", 2), ("q", 3), ("p", 4), ("q", 5), ("p", 6)] {
        feedback(&server, &uuid, &format!(r#"{{"key":"{key}","message":{number}}}"#));
    }
    let (mut client, _) = open(&server, &format!("/web?resume={uuid}&seq=1"));
    assert_eq!(message(&mut client), r#"{"message":6,"seq":2}"#);
    assert_eq!(message(&mut client), r#"{"message":5,"seq":3}"#);
    feedback(&server, &uuid, r#"{"key":"p","message":7}"#);
    assert_eq!(message(&mut client), r#"{"message":7,"seq":4}"#);
}

#[test]
fn pongs_let_the_server_forget() {
    let server = Phpws::start(&["--resume-bytes", "4000"]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let mut seq = 0;
    for number in 1..=100 {
        feedback(&server, &uuid(&ready), &format!(r#"{{"message":{number},"filling":"{}"}}"#, "x".repeat(200)));
        loop {
            let frame = client.frame().unwrap();
            if frame.opcode == 9 {
                assert_eq!(frame.text(), format!(r#"{{"opcode":"PING","seq":{seq}}}"#));
                client.send(&masked(true, 10, &frame.payload));
            } else {
                seq += 1;
                break;
            }
        }
    }
    break_off(&server, client, &uuid(&ready));
    let (_, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    // Had nobody answered, some 14 messages would be kept.
    assert!(ready["lost"].as_u64() > Some(90), "{ready}");
}

#[test]
fn pongs_that_lie_cost_only_the_liar() {
    let server = Phpws::start(&[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    for number in 1..=3 {
        feedback(&server, &uuid(&ready), &format!(r#"{{"message":{number}}}"#));
        client.text();
    }
    let huge = format!(r#"{{"opcode":"PING","seq":{}}}"#, u64::MAX);
    for pong in [r#"{"opcode":"PING","seq":-1}"#, r#"{"seq":1e3}"#, r#""seq":"#, "", r#""seq":2}"#, &huge] {
        client.send(&masked(true, 10, pong.as_bytes()));
    }
    client.say(r#"{"opcode":"echo","message":4}"#);
    assert_eq!(client.text(), r#"{"opcode":"echo","message":4,"seq":4}"#);
    break_off(&server, client, &uuid(&ready));
    feedback(&server, &uuid(&ready), r#"{"message":5}"#);
    let (mut client, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    assert_eq!((&ready["resume"], &ready["lost"], &ready["seq"]), (&json!("gap"), &json!(3), &json!(3)));
    assert_eq!(client.text(), r#"{"opcode":"echo","message":4,"seq":4}"#);
    assert_eq!(message(&mut client), r#"{"message":5,"seq":5}"#);
    // And one that claims to have seen what was never sent.
    let (mut client, ready) = open(&server, &format!("/web?resume={}&seq={}", uuid(&ready), u64::MAX));
    assert_eq!((&ready["resume"], &ready["seq"]), (&json!("resumed"), &json!(5)));
    feedback(&server, &uuid(&ready), r#"{"message":6}"#);
    assert_eq!(message(&mut client), r#"{"message":6,"seq":6}"#);
}

#[test]
fn a_php_client_resumes_where_it_reads_many_frames() {
    let server = Phpws::start(&[]);
    let (_, ready) = server.ready_on("/php?resume=", "Client-Type: php\r\nIdent: job\r\n");
    assert!(!ready.contains("resume"));
    let headers = "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n";
    let mut client = server.upgrade("/php?resume=", headers);
    let ready: Value = serde_json::from_str(&client.text()).unwrap();
    assert_eq!(ready["resume"], "new");
    break_off(&server, client, &uuid(&ready));
    assert_eq!(post(&server, "/feedback?ident=worker", r#"{"message":1}"#).0, 202);
    let mut client = server.upgrade(&format!("/php?resume={}", uuid(&ready)), headers);
    assert!(client.text().contains("resumed"));
    assert_eq!(message(&mut client), r#"{"message":1,"seq":1}"#);
}

#[test]
fn a_client_that_reads_too_slowly_comes_back_to_what_is_kept() {
    let server = Phpws::start(&["--max-outbox", "100000"]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(50_000));
    wait_for("the client to be dropped", || {
        post(&server, "/broadcast", &body);
        server.log().iter().any(|line| line.contains("client reads too slowly")).then_some(())
    });
    client.rest();
    let mut page = Page::new(&[server.addr], "/web");
    page.uuid = uuid(&ready);
    page.until("what is kept", |page| page.got.len() > 2);
    assert_eq!(page.standings, ["gap"]);
}

/// A frame behind the request, in the same segment, belongs to the client that comes back.
#[test]
fn what_is_sent_behind_the_request_is_acted_on() {
    let server = Phpws::start(&[]);
    let (client, ready) = open(&server, "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    let mut client = server.connect();
    let request = request(&format!("/web?resume={}", uuid(&ready)), "");
    client.send(&[request.as_bytes(), &masked(true, 1, br#"{"opcode":"echo","message":1}"#)].concat());
    client.head();
    assert!(client.text().contains("resumed"));
    assert_eq!(client.text(), NEXT);
    assert_eq!(client.text(), r#"{"opcode":"echo","message":1,"seq":1}"#);
}

#[test]
fn a_client_comes_back_over_tls_with_more_behind_its_request_than_one_read_takes() {
    let files = Pair::new();
    let server = files.server(&[]);
    let secure = || tls::connect(server.addr, &files.client_config());
    let mut client = Client::over(secure());
    client.send(request("/web?resume=", "").as_bytes());
    client.head();
    let ready: Value = serde_json::from_str(&client.text()).unwrap();
    for round in 0..3 {
        let mut stream = secure();
        stream.conn.complete_io(&mut stream.sock).unwrap();
        server.signal("STOP");
        stream.write_all(request(&format!("/web?resume={}&seq={}", uuid(&ready), 100 * round), "").as_bytes()).unwrap();
        for number in 0..100 {
            stream.write_all(&masked(true, 1, format!(r#"{{"opcode":"echo","message":{number}}}"#).as_bytes())).unwrap();
        }
        server.signal("CONT");
        let mut new = Client::over(stream);
        assert!(new.head().starts_with("HTTP/1.1 101 "));
        assert!(new.text().contains("resumed"));
        let mut answers = std::iter::repeat_with(|| new.text()).filter(|text| text != NEXT);
        for number in 0..100 {
            assert_eq!(
                answers.next().unwrap(),
                format!(r#"{{"opcode":"echo","message":{number},"seq":{}}}"#, 100 * round + number + 1)
            );
        }
        client.closed_with(4000);
        client = new;
    }
}
