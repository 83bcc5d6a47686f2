//! What is sent, and to whom.

use super::{NOBODY, ask, post, status};
use crate::util::{Phpws, wait_for};
use serde_json::Value;

#[test]
fn feedback_reaches_the_page_and_says_so() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    for (body, expected) in [
        (r#""half done""#.to_owned(), format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"half done"}}"#)),
        (r#"{"progress":1.0}"#.to_owned(), format!(r#"{{"opcode":"feedback","uuid":"{uuid}","progress":1.0}}"#)),
        (
            " [12345678901234567890]\n".to_owned(),
            format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":[12345678901234567890]}}"#),
        ),
        (r#" {"opcode":"mine", "n":1e3}"#.to_owned(), r#" {"opcode":"mine", "n":1e3}"#.to_owned()),
        ("null".to_owned(), format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":null}}"#)),
    ] {
        let answer = ask(&server, post(&format!("/feedback/{uuid}"), "", &body));
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"delivered\":1,\"queued\":0}\n"));
        assert!(answer.fields.contains("content-type: application/json\r\n"), "{}", answer.fields);
        assert_eq!(page.text(), expected);
    }
}

#[test]
fn feedback_by_ident_reaches_pages_and_backends() {
    let server = Phpws::start(&[]);
    let (mut page, _) = server.ready_on("/web", "Ident: b\u{fc}ro 1\r\n");
    let (mut backend, uuid) = server.ready_on("/php", "Ident: worker\r\nClient-Type: php\r\nFrames-Per-Read: any\r\n");
    assert_eq!(status(&server, post("/feedback?ident=b%C3%BCro+1", "", "1")), 200);
    assert_eq!(page.text(), r#"{"opcode":"feedback","ident":"büro 1","message":1}"#);
    assert_eq!(status(&server, post("/feedback?ident=worker", "", "2")), 200);
    assert_eq!(backend.text(), r#"{"opcode":"feedback","ident":"worker","message":2}"#);
    let by_uuid = ask(&server, post(&format!("/feedback/{uuid}"), "", "3"));
    assert_eq!((by_uuid.status, by_uuid.error().as_str()), (404, "that uuid is a backend's, which is found by its ident"));
}

#[test]
fn who_is_not_there_is_not_found() {
    let server = Phpws::start(&[]);
    for (request, error) in [
        (post(&format!("/feedback/{NOBODY}"), "", "1"), "nobody has that uuid"),
        (post("/feedback/no-uuid", "", "1"), "nobody has that uuid"),
        (post("/feedback?ident=x", "", "1"), "nobody has that ident"),
        (post("/broadcast?resource=/nothing", "", "1"), "no resource has that path"),
        (format!("GET /clients/{NOBODY} HTTP/1.1\r\nHost: x\r\n\r\n"), "nobody has that uuid"),
    ] {
        let answer = ask(&server, &request);
        assert_eq!((answer.status, answer.error().as_str()), (404, error), "{request}");
    }
}

#[test]
fn a_broadcast_reaches_the_members_of_a_room() {
    let server = Phpws::start(&[]);
    let (mut member, _) = server.browser();
    let (_other, _) = server.browser();
    assert_eq!(ask(&server, post("/broadcast?room=r", "", "0")).body, "{\"delivered\":0,\"queued\":0}\n");
    member.say(r#"{"opcode":"join","room":"r"}"#);
    assert!(member.text().contains("joined"));
    for request in [post("/broadcast?room=r", "", "1"), post("/publish", "", r#"[{"room":"r","message":1,"key":"k"}]"#)] {
        let answer = ask(&server, request);
        assert!(answer.status == 200 && answer.body.contains("\"delivered\":1,\"queued\":0"), "{}", answer.body);
        assert_eq!(member.text(), r#"{"opcode":"broadcast","room":"r","message":1}"#);
    }
    let both = ask(&server, post("/broadcast?room=r&resource=/web", "", "1"));
    assert_eq!(both.status, 400, "{}", both.body);

    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    backend.say(r#"{"opcode":"broadcast","room":"r","message":2,"receipt":7}"#);
    assert_eq!(backend.text(), r#"{"opcode":"receipt","receipt":7,"status":200,"delivered":1,"queued":0}"#);
    assert!(member.text().contains("\"message\":2"));
    let (mut stranger, _) = server.browser();
    stranger.say(r#"{"opcode":"broadcast","room":"r","message":3,"receipt":8}"#);
    assert!(stranger.text().contains("refused"), "the answer to who is no member");
}

#[test]
fn a_broadcast_reaches_pages_everywhere_or_on_one_resource() {
    let server = Phpws::start(&[]);
    assert_eq!(ask(&server, post("/broadcast", "", "0")).body, "{\"delivered\":0,\"queued\":0}\n");
    let (mut web, _) = server.browser();
    let (mut root, _) = server.ready_on("/", "");
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    assert_eq!(ask(&server, post("/broadcast", "", "1")).body, "{\"delivered\":2,\"queued\":0}\n");
    assert_eq!(ask(&server, post("/broadcast?resource=/web", "", r#"{"n":2}"#)).body, "{\"delivered\":1,\"queued\":0}\n");
    assert_eq!(web.text(), r#"{"opcode":"broadcast","message":1}"#);
    assert_eq!(web.text(), r#"{"opcode":"broadcast","n":2}"#);
    assert_eq!(root.text(), r#"{"opcode":"broadcast","message":1}"#);
    root.say(r#"{"opcode":"nothing"}"#);
    backend.say(r#"{"opcode":"nothing"}"#);
}

#[test]
fn a_list_is_answered_item_by_item() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let good = format!(
        r#"[{{"uuid":"{uuid}","message":1}},{{"broadcast":true,"message":{{"n":2}}}},{{"resource":"/web","message":3,"key":"k"}}]"#
    );
    let answer = ask(&server, post("/publish", "", &good));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.matches(r#"{"status":200,"delivered":1,"queued":0}"#).count(), 3, "{}", answer.body);
    assert!(
        page.text().ends_with(r#""message":1}"#)
            && page.text().ends_with(r#","n":2}"#)
            && page.text().ends_with(r#""message":3}"#)
    );
    for (item, status, error) in [
        (format!(r#"{{"uuid":"{NOBODY}","message":1}}"#), 404, "nobody has that uuid"),
        (r#"{"ident":"x","message":1}"#.into(), 404, "nobody has that ident"),
        (r#"{"resource":"/x","message":1}"#.into(), 404, "no resource has that path"),
        (r#"{"broadcast":true}"#.into(), 400, "'message' is missing"),
        (r#"{"message":1}"#.into(), 400, "name one receiver: 'uuid', 'ident', 'broadcast', 'resource' or 'room'"),
        (
            r#"{"uuid":"x","broadcast":true,"message":1}"#.into(),
            400,
            "name one receiver: 'uuid', 'ident', 'broadcast', 'resource' or 'room'",
        ),
        (r#"{"broadcast":1,"message":1}"#.into(), 400, "'broadcast' can only be true"),
        (r#"{"uuid":1,"message":1}"#.into(), 400, "'uuid', 'ident', 'resource', 'room', 'key' and 'idempotency-key' are strings"),
        (r#"{"broadcast":true,"rom":"x","message":1}"#.into(), 400, "unknown member 'rom'"),
        (format!(r#"{{"broadcast":true,"key":"{}","message":1}}"#, "k".repeat(129)), 400, "The key is over 128 bytes"),
        ("5".into(), 400, "'message' is missing"),
    ] {
        let answer = ask(&server, post("/publish", "", &format!(r#"[{{"broadcast":true,"message":0}},{item}]"#)));
        assert_eq!(answer.status, 207, "{item}");
        let results = answer.json();
        assert_eq!(results["results"][0]["delivered"], 1);
        assert_eq!(
            (&results["results"][1]["status"], results["results"][1]["error"].as_str()),
            (&Value::from(status), Some(error))
        );
    }
    assert_eq!(ask(&server, post("/publish", "", "[]")).body, "{\"results\":[]}\n");
}

#[test]
fn a_client_can_be_asked_after() {
    let server = Phpws::start(&[]);
    let (page, uuid) = server.browser();
    let known = ask(&server, format!("GET /clients/{uuid} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let value = known.json();
    assert_eq!((known.status, &value["connected"], &value["queued"]), (200, &Value::from(true), &Value::from(0)));
    assert_eq!((value["client_type"].as_str(), value["resource"].as_str()), (Some("websocket"), Some("/web")));
    let since = value["since"].as_str().unwrap();
    assert!(since.len() == 20 && since.ends_with('Z') && value["seconds"].as_u64().unwrap() < 10, "{}", known.body);
    let mut client = server.connect();
    client.send(format!("HEAD /clients/{uuid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    assert!(client.head().contains(&format!("Content-Length: {}\r\n", known.body.len())));
    assert!(client.rest().is_empty());
    drop(page);
    wait_for("the page's end", || {
        (status(&server, format!("GET /clients/{uuid} HTTP/1.1\r\nHost: x\r\n\r\n")) == 404).then_some(())
    });
}
