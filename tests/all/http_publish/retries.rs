//! Requests that come again with an `Idempotency-Key`: what is sent once, and what is answered.

use std::time::Duration;

use super::{Answer, NOBODY, TOKEN, answer, ask, post};
use crate::util::folder::Folder;
use crate::util::http::metric;
use crate::util::{Client, Phpws};
use serde_json::Value;

const KEY: &str = "Idempotency-Key: order-17\r\n";

fn is_repeat(answer: &Answer) -> bool {
    answer.fields.contains("\r\nidempotency-replayed: true\r\n")
}

/// Nothing is sent to a page twice; what it had is this.
fn got_only(page: &mut Client, parts: &[&str]) {
    for part in parts {
        let text = page.text();
        assert!(text.contains(part), "{text}");
    }
    assert!(page.is_silent(Duration::from_millis(100)));
}

#[test]
fn a_request_that_comes_again_gets_its_answer_again_and_nothing_is_sent() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    for (target, body) in [(format!("/feedback/{uuid}"), "1"), ("/broadcast?resource=/web".into(), "2")] {
        let key = format!("Idempotency-Key: {body}\r\n");
        let first = ask(&server, post(&target, &key, body));
        assert_eq!((first.status, is_repeat(&first)), (200, false));
        for _ in 0..3 {
            let again = ask(&server, post(&target, &key, body));
            assert_eq!((again.status, &again.body, is_repeat(&again)), (200, &first.body, true));
        }
    }
    assert!(
        is_repeat(&ask(&server, post(&format!("/feedback/{uuid}"), "idempotency-key: \"1\"\r\n", "1"))),
        "quotes are no part"
    );
    got_only(&mut page, &["\"message\":1}", "\"message\":2}"]);
    assert_eq!(metric(&server, "phpws_idempotency_total{result=\"repeated\"}"), 7.0);
    assert_eq!(metric(&server, "phpws_idempotency_keys"), 2.0);
}

#[test]
fn a_key_is_for_one_request_only() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let target = format!("/feedback/{uuid}");
    assert_eq!(ask(&server, post(&target, KEY, "1")).status, 200);
    for (target, body) in [(&*target, "2"), (&format!("{target}?key=a"), "1"), ("/broadcast", "1"), ("/publish", "1")] {
        let other = ask(&server, post(target, KEY, body));
        assert_eq!(
            (other.status, other.error().as_str()),
            (422, "This Idempotency-Key was used for another request"),
            "{target}"
        );
        assert!(!is_repeat(&other));
    }
    got_only(&mut page, &["\"message\":1}"]);
    assert_eq!(metric(&server, "phpws_idempotency_total{result=\"mismatch\"}"), 4.0);
}

#[test]
fn a_wrong_key_is_refused_before_the_body_is_read() {
    let server = Phpws::start(&[]);
    let long = "x".repeat(256);
    for key in ["", "a b", "a\"b", "\"\"", &long] {
        let refused = ask(&server, post("/broadcast", &format!("Idempotency-Key: {key}\r\nExpect: 100-continue\r\n"), ""));
        assert_eq!(refused.status, 400, "{key}");
        assert!(refused.error().starts_with("An Idempotency-Key has 1 to 255 visible"), "{}", refused.body);
    }
    let twice = ask(&server, post("/broadcast", &KEY.repeat(2), "1"));
    assert_eq!((twice.status, twice.error().as_str()), (400, "Idempotency-Key stands there twice"));
    let asks = ask(&server, format!("GET /clients/{NOBODY} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a b\r\n\r\n"));
    assert_eq!(asks.status, 404, "who only asks needs no key");
}

#[test]
fn what_was_refused_or_had_no_receiver_may_be_tried_again() {
    let server = Phpws::start(&["--max-message", "100"]);
    assert_eq!(ask(&server, post("/feedback?ident=page", KEY, "[1")).status, 400);
    assert_eq!(ask(&server, post("/feedback?ident=page", KEY, &"1".repeat(101))).status, 413);
    assert_eq!(ask(&server, post("/feedback?ident=page", KEY, "1")).status, 404);
    let (mut page, _) = server.ready_on("/web", "Ident: page\r\n");
    let first = ask(&server, post("/feedback?ident=page", KEY, "1"));
    assert_eq!((first.status, is_repeat(&first)), (200, false));
    assert!(is_repeat(&ask(&server, post("/feedback?ident=page", KEY, "1"))));
    got_only(&mut page, &["\"message\":1}"]);
}

#[test]
fn each_sender_has_keys_of_its_own() {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "the-old-token-of-yesterday\nthe-new-token-of-tomorrow\n");
    let server = Phpws::start(&["--publish-token-file", &file]);
    let new = "Authorization: Bearer the-new-token-of-tomorrow\r\n";
    for sender in [TOKEN, new, ""] {
        for expected in [false, true] {
            let answer = ask(&server, post("/broadcast", &format!("{sender}{KEY}"), "1"));
            assert_eq!((answer.status, is_repeat(&answer)), (200, expected), "{sender}");
        }
    }
    let wrong = format!("Authorization: Bearer a-token-of-nobody\r\n{KEY}");
    assert!(is_repeat(&ask(&server, post("/broadcast", &wrong, "1"))), "a token that is none is not looked at");
}

#[test]
fn the_key_of_a_list_covers_all_of_it() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let list = format!(r#"[{{"uuid":"{uuid}","message":1}},{{"uuid":"{NOBODY}","message":2}}]"#);
    let first = ask(&server, post("/publish", KEY, &list));
    let again = ask(&server, post("/publish", KEY, &list));
    assert_eq!((first.status, is_repeat(&first)), (207, false));
    assert_eq!((again.status, &again.body, is_repeat(&again)), (207, &first.body, true));
    assert_eq!(ask(&server, post("/publish", KEY, "[]")).status, 422);
    got_only(&mut page, &["\"message\":1}"]);
    let lost = format!(r#"[{{"uuid":"{NOBODY}","message":2}}]"#);
    for _ in 0..2 {
        assert!(!is_repeat(&ask(&server, post("/publish", "Idempotency-Key: lost\r\n", &lost))), "nothing was delivered");
    }
}

#[test]
fn each_message_of_a_list_may_have_a_key() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let list = format!(
        r#"[{{"uuid":"{uuid}","message":1,"idempotency-key":"a"}},{{"ident":"late","message":2,"\u0069dempotency-key":"b"}},
            {{"broadcast":true,"message":{{"n":3}}}},{{"broadcast":true,"message":4,"idempotency-key":"a"}}]"#
    );
    let results = |answer: &Answer| -> Vec<(u64, bool)> {
        let results = answer.json()["results"].as_array().unwrap().clone();
        results.iter().map(|result| (result["status"].as_u64().unwrap(), result["replayed"] == true)).collect()
    };
    let first = ask(&server, post("/publish", "", &list));
    assert_eq!((first.status, results(&first)), (207, vec![(200, false), (404, false), (200, false), (422, false)]));
    let (mut late, _) = server.ready_on("/", "Ident: late\r\n");
    let again = ask(&server, post("/publish", "", &list));
    assert_eq!(results(&again), [(200, true), (200, false), (200, false), (422, false)], "what failed is sent now");
    assert_eq!(again.json()["results"][0]["delivered"], 1);
    got_only(&mut page, &["\"message\":1}", "\"n\":3}", "\"n\":3}"]);
    let text = late.text();
    assert!(text.ends_with("\"message\":2}") && !text.contains("idempotency"), "{text}");
}

#[test]
fn the_same_message_twice_in_a_list_is_sent_once() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let item = format!(r#"{{"uuid":"{uuid}","message":1,"idempotency-key":"a"}}"#);
    let answer = ask(&server, post("/publish", "", &format!("[{item},{item}]")));
    let second = &answer.json()["results"][1];
    assert_eq!((&second["status"], &second["delivered"]), (&Value::from(409), &Value::from(0)), "{second}");
    got_only(&mut page, &["\"message\":1}"]);
    assert_eq!(metric(&server, "phpws_idempotency_total{result=\"conflict\"}"), 1.0);
}

#[test]
fn a_wrong_key_in_a_list_is_said_of_its_message() {
    let server = Phpws::start(&[]);
    for (key, error) in [
        (r#""a b""#, "An Idempotency-Key has 1 to 255 visible ASCII characters, and no quote or backslash among them"),
        ("7", "'uuid', 'ident', 'resource', 'room', 'key' and 'idempotency-key' are strings"),
    ] {
        let answer =
            ask(&server, post("/publish", "", &format!(r#"[{{"broadcast":true,"message":1,"idempotency-key":{key}}}]"#)));
        let result = &answer.json()["results"][0];
        assert_eq!((&result["status"], result["error"].as_str()), (&Value::from(400), Some(error)));
    }
}

#[test]
fn the_answer_is_remembered_though_nobody_waited_for_it() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let target = format!("/feedback/{uuid}");
    let mut gone = server.connect();
    gone.send(post(&target, KEY, "1").as_bytes());
    drop(gone);
    assert!(page.text().contains("\"message\":1}"));
    let again = ask(&server, post(&target, KEY, "1"));
    assert_eq!((again.status, again.body.trim_end(), is_repeat(&again)), (200, r#"{"delivered":1,"queued":0}"#, true));
    got_only(&mut page, &[]);
}

#[test]
fn requests_on_one_connection_have_keys_of_their_own() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    let requests = post("/broadcast", KEY, "1") + &post("/broadcast", "", "1") + &post("/broadcast", KEY, "1");
    client.send(requests.as_bytes());
    assert_eq!([(); 3].map(|()| is_repeat(&answer(&mut client))), [false, false, true]);
}

/// One process that has lost the others: its own table holds, and what could not be sent may be tried again.
#[test]
fn a_process_that_is_cut_off_remembers_by_itself() {
    let server = Phpws::start(&["--backplane", "redis://127.0.0.1:1"]);
    let (mut page, _) = server.browser();
    let first = ask(&server, post("/broadcast", KEY, "1"));
    let again = ask(&server, post("/broadcast", KEY, "1"));
    assert_eq!((first.status, is_repeat(&first)), (202, false));
    assert_eq!((again.status, &again.body, is_repeat(&again)), (202, &first.body, true));
    got_only(&mut page, &["\"message\":1}"]);
    for _ in 0..2 {
        let unsent = ask(&server, post(&format!("/feedback/{NOBODY}"), "Idempotency-Key: one\r\n", "1"));
        assert_eq!((unsent.status, is_repeat(&unsent)), (503, false));
    }
}
