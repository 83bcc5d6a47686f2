//! What became of a message: delivered, queued, replaced, and receipts.

use super::{NOBODY, ask, post, status};
use crate::util::http::metric;
use crate::util::{Client, Phpws, masked, wait_for};
use serde_json::Value;

/// A page that reads nothing, with so much waiting for it that its socket takes no more.
fn stuck_page(server: &Phpws) -> (Client, String) {
    let (page, uuid) = server.narrow_on("/web", "");
    let body = format!("\"{}\"", "x".repeat(500_000));
    wait_for("a full socket", || {
        status(server, post(&format!("/feedback/{uuid}"), "", &body));
        (queued(server, &uuid) > 4_000_000).then_some(())
    });
    (page, uuid)
}

fn queued(server: &Phpws, uuid: &str) -> u64 {
    ask(server, format!("GET /clients/{uuid} HTTP/1.1\r\nHost: x\r\n\r\n")).json()["queued"].as_u64().unwrap()
}

#[test]
fn what_waits_behind_a_full_socket_is_queued() {
    let server = Phpws::start(&["--max-outbox", "100000000"]);
    let (mut page, uuid) = stuck_page(&server);
    let path = format!("/feedback/{uuid}");
    assert_eq!(ask(&server, post(&path, "", "1")).body, "{\"delivered\":0,\"queued\":1}\n");
    let (_other, _) = server.browser();
    let both = ask(&server, post("/broadcast", "", "2"));
    assert_eq!((both.status, both.body.as_str()), (202, "{\"delivered\":1,\"queued\":1}\n"));
    let list = format!(r#"[{{"uuid":"{uuid}","message":3}}]"#);
    assert_eq!(status(&server, post("/publish", "", &list)), 202);
    let mut last = String::new();
    while !last.ends_with(r#""message":3}"#) {
        last = page.text();
    }
}

#[test]
fn a_message_for_a_client_that_is_full_is_dropped_and_the_client_stays() {
    let server = Phpws::start(&["--max-outbox", "300000"]);
    let (mut page, uuid) = server.narrow_on("/web", "");
    let body = format!("\"{}\"", "x".repeat(200_000));
    let (mut last, mut taken) = (0, 0);
    let dropped = wait_for("a full client", || {
        let answer = ask(&server, post(&format!("/feedback/{uuid}"), "", &body));
        assert!(answer.status >= last, "202 after 200, 503 after 202");
        last = answer.status;
        taken += usize::from(last < 300);
        (last >= 300).then_some(answer)
    });
    assert_eq!(
        dropped.body,
        "{\"delivered\":0,\"queued\":0,\"failed\":1,\"error\":\"too much waits for the client: it reads too slowly\"}\n"
    );
    assert_eq!(dropped.status, 503);
    let list = ask(&server, post("/publish", "", &format!(r#"[{{"uuid":"{uuid}","message":{body}}}]"#)));
    assert_eq!((list.status, &list.json()["results"][0]["status"]), (207, &Value::from(503)));
    assert_eq!(metric(&server, "phpws_feedback_dropped_total"), 2.0);
    // It gets what was not dropped, and goes on.
    for _ in 0..taken {
        assert!(page.text().len() > 200_000);
    }
    page.say("{}");
    assert_eq!(ask(&server, post(&format!("/feedback/{uuid}"), "", "1")).status, 200);
}

#[test]
fn a_client_that_is_dropped_for_a_broadcast_has_not_got_what_came_before() {
    let server = Phpws::start(&["--max-outbox", "300000"]);
    let (_page, uuid) = server.narrow_on("/web", "");
    let broadcast = format!(r#"{{"broadcast":true,"message":"{}"}}"#, "x".repeat(100_000));
    let list = format!(r#"[{{"uuid":"{uuid}","message":1}}{}]"#, format!(",{broadcast}").repeat(40));
    let results = ask(&server, post("/publish", "", &list)).json();
    assert_eq!(
        results["results"][0],
        serde_json::json!({"status": 404, "delivered": 0, "queued": 0, "failed": 1,
            "error": "the client was closed before it had the message"})
    );
    assert_eq!(ask(&server, post(&format!("/feedback/{uuid}"), "", "1")).error(), "nobody has that uuid");
}

#[test]
fn a_newer_message_takes_the_place_of_one_with_its_key() {
    let server = Phpws::start(&["--max-outbox", "100000000"]);
    let (mut page, uuid) = stuck_page(&server);
    let path = format!("/feedback/{uuid}");
    for percent in 0..100 {
        let answer = ask(&server, post(&format!("{path}?key=job"), "", &format!(r#"{{"percent":{percent}}}"#)));
        assert_eq!(answer.status, 202);
    }
    assert_eq!(status(&server, post(&path, "", r#"{"key":"other","percent":100}"#)), 202);
    assert_eq!(status(&server, post(&path, "", r#"{"key":"other","percent":101}"#)), 202);
    assert_eq!(status(&server, post(&path, "", r#"{"percent":102}"#)), 202);
    let mut seen = Vec::new();
    while seen.last() != Some(&102) {
        let value: Value = serde_json::from_str(&page.text()).unwrap();
        seen.extend(value["percent"].as_u64());
    }
    assert_eq!(seen, [99, 101, 102]);
    let long = "k".repeat(129);
    assert_eq!(ask(&server, post(&format!("{path}?key={long}"), "", "1")).error(), "The key is over 128 bytes");
    assert_eq!(status(&server, post(&path, "", &format!(r#"{{"key":"{long}"}}"#))), 400);
    assert_eq!(status(&server, post(&path, "", r#"{"key":{"of":"the application"}}"#)), 200);
}

#[test]
fn a_keyed_broadcast_is_one_frame_for_all_and_replaced_for_the_slow() {
    let server = Phpws::start(&["--max-outbox", "100000000"]);
    let (mut slow, _) = stuck_page(&server);
    let (mut quick, _) = server.browser();
    for price in 1..=3 {
        let answer = ask(&server, post("/broadcast?key=price", "", &format!(r#"{{"price":{price}}}"#)));
        assert_eq!(answer.body, "{\"delivered\":1,\"queued\":1}\n");
        assert_eq!(quick.text(), format!(r#"{{"opcode":"broadcast","price":{price}}}"#));
    }
    assert_eq!(status(&server, post("/broadcast", "", "\"end\"")), 202);
    let mut prices = Vec::new();
    loop {
        let text = slow.text();
        match text.split_once("\"price\":") {
            Some((_, price)) => prices.push(price.to_owned()),
            None if text.ends_with("\"end\"}") => break,
            None => {}
        }
    }
    assert_eq!(prices, ["3}"]);
}

#[test]
fn a_websocket_client_that_asks_gets_a_receipt_after_next() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    for (packet, receipt) in [
        (
            format!(r#"{{"opcode":"feedback","uuid":"{uuid}","receipt":7}}"#),
            r#""receipt":7,"status":200,"delivered":1,"queued":0"#,
        ),
        (r#"{"opcode":"broadcast","receipt":"a\"b"}"#.into(), r#""receipt":"a\"b","status":200,"delivered":1,"queued":0"#),
        (
            format!(r#"{{"opcode":"feedback","uuid":"{NOBODY}","receipt":true}}"#),
            r#""receipt":true,"status":404,"delivered":0,"queued":0,"error":"nobody has that uuid""#,
        ),
        (
            format!(r#"{{"opcode":"feedback","uuid":"{uuid}","receipt":"{}"}}"#, "r".repeat(200)),
            r#""receipt":null,"status":400,"delivered":0,"queued":0,"error":"the message was sent, but its receipt is over 128 bytes""#,
        ),
    ] {
        backend.say(&packet);
        assert_eq!(backend.text(), format!(r#"{{"opcode":"receipt",{receipt}}}"#));
    }
    for packet in
        [r#"{"opcode":"broadcast","receipt":null}"#, r#"{"opcode":"broadcast","receipt":[1]}"#, r#"{"opcode":"broadcast"}"#]
    {
        backend.say(packet);
    }
    backend.say(r#"{"opcode":"broadcast","key":"k","message":"last"}"#);
    backend.say(r#"{"opcode":"nothing"}"#);
    while !page.text().contains("last") {}
}

#[test]
fn messages_that_replace_each_other_in_one_turn_are_not_called_delivered() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    let packet =
        |n| masked(true, 1, format!(r#"{{"opcode":"feedback","uuid":"{uuid}","key":"k","receipt":{n},"n":{n}}}"#).as_bytes());
    backend.send(&[packet(1), packet(2), packet(3)].concat());
    let mut said: Vec<String> = (0..6).map(|_| backend.text()).collect();
    said.retain(|text| text.contains("receipt"));
    assert_eq!(said[0], r#"{"opcode":"receipt","receipt":1,"status":202,"delivered":0,"queued":1}"#);
    assert_eq!(said[1], r#"{"opcode":"receipt","receipt":2,"status":202,"delivered":0,"queued":1}"#);
    assert_eq!(said[2], r#"{"opcode":"receipt","receipt":3,"status":200,"delivered":1,"queued":0}"#);
    assert!(page.text().ends_with(r#""n":3}"#));
}
