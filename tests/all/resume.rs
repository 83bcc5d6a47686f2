//! Clients that come back: what they missed, in order and once, under the same uuid.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::http::{feedback, get, post};
use crate::util::page::Page;
use crate::util::tls::{Pair, connection};
use crate::util::{Client, NEXT, PATIENCE, Phpws, masked, request, wait_for};
use serde_json::{Value, json};

/// A client past `ready`, and what that said.
fn open(server: &Phpws, target: &str) -> (Client, Value) {
    let mut client = server.upgrade(target, "");
    let ready = serde_json::from_str(&client.text()).unwrap();
    (client, ready)
}

fn uuid(ready: &Value) -> String {
    ready["uuid"].as_str().unwrap().to_owned()
}

/// Breaks the connection, and waits until the server knows.
fn break_off(server: &Phpws, client: Client, uuid: &str) {
    drop(client);
    wait_for("the client to be away", || (clients(server, uuid)["connected"] == json!(false)).then_some(()));
}

fn clients(server: &Phpws, uuid: &str) -> Value {
    get(server, &format!("/clients/{uuid}")).1
}

/// The next message, without what publishing puts before its members.
fn message(client: &mut Client) -> String {
    let frame = client.frame().expect("a frame before the end");
    if frame.opcode == 9 {
        return message(client);
    }
    let text = frame.text().to_owned();
    match text.split_once(r#""message":"#) {
        Some((head, rest)) if head.contains(r#""opcode":"feedback""#) => format!(r#"{{"message":{rest}"#),
        _ => text,
    }
}

fn numbers(texts: &[Value]) -> Vec<u64> {
    texts.iter().map(|text| text["message"].as_u64().unwrap()).collect()
}

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

#[test]
fn the_new_connection_wins_and_the_old_one_is_told() {
    let server = Phpws::start(&[]);
    let (mut old, ready) = open(&server, "/web?resume=");
    let (mut new, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    old.closed_with(4000);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(message(&mut new), r#"{"message":1,"seq":1}"#);
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
fn a_client_that_is_not_known_becomes_a_new_one() {
    let server = Phpws::start(&["--resume-time", "1"]);
    let (client, first) = open(&server, "/web?resume=");
    for target in [
        "/web?resume=e7369655-7143-43dd-a710-75937c023233&seq=7".to_owned(),
        "/web?resume=nonsense".to_owned(),
        format!("/?resume={}", uuid(&first)),
    ] {
        let (_, ready) = open(&server, &target);
        assert_eq!((&ready["resume"], &ready["seq"]), (&json!("lost"), &json!(0)), "{target}");
        assert_ne!(ready["uuid"], first["uuid"]);
    }
    break_off(&server, client, &uuid(&first));
    server.log_line("did not come back");
    assert_eq!(feedback(&server, &uuid(&first), "1").0, 404);
    let (_, ready) = open(&server, &format!("/web?resume={}", uuid(&first)));
    assert_eq!(ready["resume"], "lost");
}

#[test]
fn a_client_without_resume_can_not_be_resumed() {
    let server = Phpws::start(&[]);
    let (_client, uuid) = server.browser();
    let (_, ready) = open(&server, &format!("/web?resume={uuid}"));
    assert_eq!(ready["resume"], "lost");
}

#[test]
fn who_says_goodbye_is_not_kept() {
    let server = Phpws::start(&[]);
    for goodbye in [masked(true, 8, &1000u16.to_be_bytes()), masked(true, 8, b""), masked(true, 1, br#"{"opcode":"quit"}"#)] {
        let (mut client, ready) = open(&server, "/web?resume=");
        client.send(&goodbye);
        client.rest();
        wait_for("the client to be gone", || (feedback(&server, &uuid(&ready), "1").0 == 404).then_some(()));
    }
    let (mut client, ready) = open(&server, "/web?resume=");
    client.send(&masked(true, 8, &1001u16.to_be_bytes()));
    client.rest();
    assert_eq!(feedback(&server, &uuid(&ready), "1").0, 202);
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
fn beyond_max_away_nobody_is_kept() {
    let server = Phpws::start(&["--max-away", "2"]);
    let uuids: Vec<String> = (0..3)
        .map(|_| {
            let (client, ready) = open(&server, "/web?resume=");
            drop(client);
            uuid(&ready)
        })
        .collect();
    wait_for("two to be kept", || {
        let kept = uuids.iter().filter(|uuid| feedback(&server, uuid, "1").0 == 202).count();
        (kept == 2).then_some(())
    });
}

#[test]
fn guessing_uuids_is_slow() {
    let server = Phpws::start(&[]);
    let (_, ready) = open(&server, "/web?resume=");
    let mut refused = 0;
    for _ in 0..300 {
        let mut client = server.connect();
        client.send(request("/web?resume=e7369655-7143-43dd-a710-75937c023233", "").as_bytes());
        let head = client.head();
        refused += usize::from(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nRetry-After: 1\r\n"));
    }
    assert!((1..=100).contains(&refused), "{refused} of 300 refused");
    wait_for("the next try", || {
        let mut client = server.connect();
        client.send(request(&format!("/web?resume={}", uuid(&ready)), "").as_bytes());
        client.head().starts_with("HTTP/1.1 101 ").then(|| assert!(client.text().contains("resumed")))
    });
}

#[test]
fn nobody_is_kept_where_it_is_off() {
    let server = Phpws::start(&["--resume-time", "0"]);
    let (_, ready) = open(&server, "/web?resume=");
    assert_eq!(ready.as_object().unwrap().len(), 2, "{ready}");
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
        feedback(&server, &uuid(&ready), &body);
        server.log().iter().any(|line| line.contains("client reads too slowly")).then_some(())
    });
    client.rest();
    let mut page = Page::new(&[server.addr], "/web");
    page.uuid = uuid(&ready);
    page.until("what is kept", |page| page.got.len() > 2);
    assert_eq!(page.standings, ["gap"]);
}

// ---- abuse, and odd moments

fn metric(server: &Phpws, name: &str) -> f64 {
    let mut client = server.connect();
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line.parse().unwrap()
}

#[test]
fn who_is_away_and_what_became_of_them_is_counted() {
    let server = Phpws::start(&["--resume-time", "1", "--resume-bytes", "300"]);
    let (client, ready) = open(&server, "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    assert_eq!(metric(&server, "phpws_clients_away"), 1.0);
    assert_eq!(metric(&server, "phpws_connections{state=\"open\"}"), 0.0);
    for _ in 0..5 {
        feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    }
    let lost = metric(&server, "phpws_resume_lost_messages_total");
    assert!((1.0..5.0).contains(&lost), "{lost}");
    let (client, ready) = open(&server, &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["lost"].as_f64(), Some(lost));
    assert_eq!((metric(&server, "phpws_clients_away"), metric(&server, "phpws_clients_resumed_total")), (0.0, 1.0));
    drop(client);
    wait_for("the end of its time", || (metric(&server, "phpws_clients_given_up_total") == 1.0).then_some(()));
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
    assert_eq!(metric(&server, "phpws_closes_total{code=\"1006\"}"), 1.0);
    let mut watcher = server.upgrade("/status", "");
    let picture: Value = serde_json::from_str(&watcher.text()).unwrap();
    assert_eq!(picture["resume"], json!({"away": 0, "resumed": 1, "given_up": 1, "lost": lost as u64}));
}

#[test]
fn who_is_not_let_in_is_not_kept() {
    let server = Phpws::start(&["--max-clients", "1"]);
    let (first, _) = server.browser();
    for _ in 0..3 {
        let mut refused = server.upgrade("/web?resume=", "");
        assert!(refused.text().contains("Too many connections"));
        refused.closed_with(1013);
    }
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
    drop(first);
    wait_for("the place to be free", || server.upgrade("/web?resume=", "").text().contains("ready").then_some(()));
}

#[test]
fn who_does_not_answer_pings_is_away_until_it_comes_back() {
    let server = Phpws::start(&["--ping-interval", "0.3"]);
    let (mut client, ready) = open(&server, "/web?resume=");
    assert_eq!(client.frame().unwrap().text(), r#"{"opcode":"PING","seq":0}"#);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(client.text().split_once(r#""message""#).unwrap().1, r#":1,"seq":1}"#);
    client.closed_with(1001);
    assert_eq!(feedback(&server, &uuid(&ready), r#"{"message":2}"#).0, 202);
    let (mut client, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    assert_eq!(message(&mut client), r#"{"message":1,"seq":1}"#);
    assert_eq!(message(&mut client), r#"{"message":2,"seq":2}"#);
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

/// The server finds the end of the old connection and the request of the new one in one turn, in either order.
#[test]
fn a_client_may_come_back_in_the_turn_in_which_its_old_connection_ends() {
    let server = Phpws::start(&[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let target = |seq| request(&format!("/web?resume={}&seq={seq}", uuid(&ready)), "");
    for round in 0..20 {
        let mut next = server.connect();
        server.signal("STOP");
        let goodbye = || masked(true, 8, &1001u16.to_be_bytes());
        match round % 4 {
            0 => (drop(client), next.send(target(round).as_bytes())).1,
            1 => (next.send(target(round).as_bytes()), drop(client)).0,
            2 => (client.send(&goodbye()), next.send(target(round).as_bytes())).1,
            _ => (next.send(target(round).as_bytes()), client.send(&goodbye())).0,
        }
        server.signal("CONT");
        assert!(next.head().starts_with("HTTP/1.1 101 "));
        assert!(next.text().contains(r#""resume":"resumed""#));
        feedback(&server, &uuid(&ready), &format!(r#"{{"message":{round}}}"#));
        assert_eq!(message(&mut next), format!(r#"{{"message":{round},"seq":{}}}"#, round + 1));
        client = next;
    }
}

/// Two new connections, and whatever the old one still says, in one turn.
#[test]
fn of_two_that_come_back_at_once_the_last_one_wins() {
    let server = Phpws::start(&[]);
    let (mut other, _) = server.browser();
    let (mut old, ready) = open(&server, "/web?resume=");
    let (mut one, mut two) = (server.connect(), server.connect());
    server.signal("STOP");
    old.send_text(r#"{"opcode":"broadcast","message":1,"cseq":1}"#);
    for client in [&mut one, &mut two] {
        client.send(request(&format!("/web?resume={}", uuid(&ready)), "").as_bytes());
    }
    server.signal("CONT");
    assert!(other.text().contains(r#""message":1"#));
    let told: Vec<String> = [&mut one, &mut two].into_iter().map(|client| (client.head(), client.text()).1).collect();
    assert!(told.iter().all(|ready| ready.contains(r#""resume":"resumed""#)), "{told:?}");
    feedback(&server, &uuid(&ready), r#"{"message":2}"#);
    let got = [&mut one, &mut two].map(|client| client.frame().unwrap().opcode);
    assert!(got == [1, 8] || got == [8, 1], "{got:?}");
    other.say(r#"{"opcode":"echo","message":"after"}"#);
    assert_eq!(metric(&server, "phpws_clients{type=\"websocket\"}"), 2.0);
}

/// The old connection was closed by the server and its peer does not close yet.
#[test]
fn a_client_may_come_back_while_its_old_connection_is_still_closing() {
    let server = Phpws::start(&["--idle-timeout", "0.3", "--close-timeout", "60"]);
    let (mut old, ready) = open(&server, "/web?resume=");
    assert!(old.text().contains("Idle for too long"));
    assert_eq!(old.frame().unwrap().code(), 1001);
    let (mut new, ready) = open(&server, &format!("/web?resume={}&seq=1", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    old.send_text(r#"{"opcode":"echo","message":"nobody listens"}"#);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert!(message(&mut new).starts_with(r#"{"message":1,"#));
    // Where the server, or an application, says goodbye for good, there is nobody to come back to.
    let (mut gone, ready) = open(&server, "/web?resume=");
    gone.send_text("no json");
    assert_eq!(gone.text(), NEXT);
    assert!(gone.text().contains("jsonerror"));
    let (_, ready) = open(&server, &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["resume"], "lost");
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
    let files = Pair::new("resume");
    let server = files.server(&[]);
    let secure = || {
        let tcp = TcpStream::connect(server.addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        rustls::StreamOwned::new(connection(&files.client_config()), tcp)
    };
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

#[test]
fn a_client_comes_back_from_another_address_which_then_counts() {
    let server = Phpws::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--max-per-ip", "1"]);
    let connect = |ip: &str, target: &str| {
        let mut tcp = server.connect_from([127, 0, 0, 9]);
        tcp.write_all(format!("PROXY TCP4 {ip} 192.0.2.1 5000 80\r\n{}", request(target, "")).as_bytes()).unwrap();
        let mut client = Client::over(tcp);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let first = client.text();
        (client, serde_json::from_str::<Value>(&first).unwrap())
    };
    let (client, ready) = connect("203.0.113.7", "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    // It counts where it was as long as it is away.
    assert_eq!(connect("203.0.113.7", "/web").1["opcode"], "close");
    let (_moved, ready) = connect("203.0.113.8", &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    assert_eq!(connect("203.0.113.8", "/web").1["opcode"], "close");
    assert_eq!(connect("203.0.113.7", "/web").1["opcode"], "ready");
}

/// Somebody opens clients that may resume, and breaks them, as fast as he can.
#[test]
fn a_flood_of_clients_that_break_is_kept_up_to_the_limit_and_no_longer_than_said() {
    let server = Phpws::start(&["--max-away", "50", "--resume-time", "1.5"]);
    let addr = server.addr;
    let flood = move || {
        for _ in 0..200 {
            let mut client = Client::connect(addr);
            client.send(request("/web?resume=", "").as_bytes());
            client.head();
            client.text();
        }
    };
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(flood)).collect();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        let away = metric(&server, "phpws_clients_away");
        assert!(away <= 50.0, "{away} are away");
    }
    wait_for("nobody to be left", || (metric(&server, "phpws_clients{type=\"websocket\"}") == 0.0).then_some(()));
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
}

// ---- cutting

/// A proxy that cuts its first connection once so many bytes have gone one way, and lets all others through.
struct Cutter {
    addr: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Way {
    ToClient,
    ToServer,
}

impl Cutter {
    fn start(server: SocketAddr, way: Way, limit: usize, connections: usize) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = cuts.clone();
        std::thread::spawn(move || {
            for number in 0.. {
                let (Ok((client, _)), Ok(server)) = (listener.accept(), TcpStream::connect(server)) else { return };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (forth, back) = match way {
                    _ if number >= connections => (usize::MAX, usize::MAX),
                    Way::ToServer => (limit, usize::MAX),
                    Way::ToClient => (usize::MAX, limit),
                };
                let both = [(client.try_clone(), server.try_clone(), forth), (server.try_clone(), client.try_clone(), back)];
                for (from, to, limit) in both {
                    let (from, to, cuts) = (from.unwrap(), to.unwrap(), counter.clone());
                    std::thread::spawn(move || copy(from, to, limit, &cuts));
                }
            }
        });
        Cutter { addr, cuts }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut limit: usize, cuts: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while limit > 0 {
        let up_to = limit.min(buffer.len());
        match from.read(&mut buffer[..up_to]) {
            Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => limit -= count,
            _ => break,
        }
    }
    cuts.fetch_add(usize::from(limit == 0), Ordering::SeqCst);
    // Both ways, and for both copies of each stream.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A dialog of each kind of message, with the page behind a proxy. Gives how often the proxy cut.
fn scripted(server: &Phpws, way: Way, limit: usize, connections: usize) -> usize {
    let cutter = Cutter::start(server.addr, way, limit, connections);
    let (mut other, _) = server.ready_on("/", "");
    let mut page = Page::ready(&[cutter.addr], "/web");
    let room = format!("r{}", page.uuid);
    feedback(server, &page.uuid, r#"{"message":1}"#);
    page.say(r#"{"opcode":"echo","message":2}"#);
    feedback(server, &page.uuid, &format!(r#"{{"message":3,"filling":"{}"}}"#, "x".repeat(150)));
    page.say(&format!(r#"{{"opcode":"join","room":"{room}","message":0}}"#));
    other.say(&format!(r#"{{"opcode":"join","room":"{room}"}}"#));
    assert!(other.text().contains(r#""count":2"#));
    other.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":5}}"#));
    page.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":1}}"#));
    page.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":2}}"#));
    feedback(server, &page.uuid, r#"{"message":6}"#);
    page.say(r#"{"opcode":"echo","message":7}"#);
    page.until("the last echo", |page| page.got.last().is_some_and(|last| last["message"] == 7));
    page.got[3]["message"] = json!(4);
    assert_eq!(page.got[3]["opcode"], "joined");
    assert_eq!(numbers(&page.got), [1, 2, 3, 4, 5, 6, 7], "cut after {limit} bytes");
    assert!(page.standings[1..].iter().all(|standing| standing == "resumed"), "{:?}", page.standings);
    for number in 1..=2 {
        assert!(other.text().contains(&format!(r#""message":{number},"cseq""#)), "cut after {limit} bytes");
    }
    other.say(r#"{"opcode":"echo","message":"nothing before me"}"#);
    assert!(other.text().contains("nothing before me"));
    cutter.cuts.load(Ordering::SeqCst)
}

#[test]
fn a_connection_may_be_cut_after_any_byte_that_the_server_sends() {
    cut_everywhere(Way::ToClient);
}

#[test]
fn a_connection_may_be_cut_after_any_byte_that_the_client_sends() {
    cut_everywhere(Way::ToServer);
}

fn cut_everywhere(way: Way) {
    let server = Phpws::start(&["--max-away", "0"]);
    let mut limit = 1;
    // The last one lets everything through.
    while scripted(&server, way, limit, 1) > 0 {
        limit += 1;
    }
    println!("cut after each of {limit} bytes: each message came once and in order");
    assert!(limit > 500, "the dialog is longer than {limit} bytes");
}

/// The head has some 130 bytes and `ready` 130 more: beyond that each connection gets a little further.
#[test]
fn every_connection_may_be_cut() {
    let server = Phpws::start(&["--max-away", "0"]);
    for limit in (500..900).step_by(7) {
        scripted(&server, Way::ToClient, limit, usize::MAX);
    }
}
