//! Publishing over HTTP: what is admitted, what is sent, what is answered, and how requests follow
//! each other on one connection.

use std::io::Write;

use crate::util::{Client, Phpws, json, masked, request, wait_for};
use serde_json::Value;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const TOKEN: &str = "Authorization: Bearer the-old-token-of-yesterday\r\n";

/// One answer: status, fields in lower case, body.
struct Answer {
    status: u16,
    fields: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn error(&self) -> String {
        json(&self.body, "error")
    }
}

/// Reads one answer, with the body that its length announces.
fn answer(client: &mut Client) -> Answer {
    let head = client.head();
    let fields = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = fields.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let body = String::from_utf8(client.bytes(length)).unwrap();
    Answer { status, fields, body }
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// One request on a connection of its own.
fn ask(server: &Phpws, request: impl AsRef<[u8]>) -> Answer {
    let mut client = server.connect();
    client.send(request.as_ref());
    answer(&mut client)
}

fn status(server: &Phpws, request: impl AsRef<[u8]>) -> u16 {
    ask(server, request).status
}

// ---- what is sent

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
        (r#"{"uuid":1,"message":1}"#.into(), 400, "'uuid', 'ident', 'resource', 'room' and 'key' are strings"),
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

// ---- what became of it

/// A page that reads nothing, with so much waiting for it that its socket, whose buffers grow, takes
/// no more.
fn stuck_page(server: &Phpws) -> (Client, String) {
    let (page, uuid) = server.browser();
    let body = format!("\"{}\"", "x".repeat(2_000_000));
    wait_for("a full socket", || {
        status(server, post(&format!("/feedback/{uuid}"), "", &body));
        (queued(server, &uuid) > 20_000_000).then_some(())
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
fn a_client_that_is_dropped_for_it_has_not_got_it() {
    let server = Phpws::start(&["--max-outbox", "300000"]);
    let (_page, uuid) = server.browser();
    let body = format!("\"{}\"", "x".repeat(200_000));
    let mut last = 0;
    let failed = wait_for("the end of the client", || {
        let answer = ask(&server, post(&format!("/feedback/{uuid}"), "", &body));
        let ended = answer.status == 404;
        assert!(ended || answer.status >= last, "202 after 200, 404 after 202");
        last = answer.status;
        ended.then_some(answer)
    });
    assert_eq!(
        failed.body,
        "{\"delivered\":0,\"queued\":0,\"failed\":1,\"error\":\"the client was closed before it had the message\"}\n"
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

// ---- what is refused

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let server = Phpws::start(&[]);
    let (page, uuid) = server.browser();
    let deep = "[".repeat(513) + &"]".repeat(513);
    for (body, error) in [
        (&b"hello"[..], "Not JSON: expected value at line 1 column 1"),
        (b"", "Not JSON: EOF while parsing a value at line 1 column 0"),
        (b"{\n\"a\":01}", "Not JSON: invalid number at line 2 column 6"),
        (b"[1] x", "Not JSON: trailing characters at line 1 column 5"),
        (b"\"\\ud83d\"", "Not JSON: half of a surrogate pair at line 1 column 2"),
        (b"\"\xff\"", "Not JSON: invalid UTF-8 at line 1 column 2"),
        (deep.as_bytes(), "Not JSON: nested deeper than 512 levels at line 1 column 513"),
        (&deep.as_bytes()[1..1025], "Not JSON: nested deeper than 512 levels as a packet"),
        (b"message=hi", "Not JSON: expected value at line 1 column 1"),
    ] {
        let mut request = post(&format!("/feedback/{uuid}"), "", "").into_bytes();
        request.truncate(request.len() - "0\r\n\r\n".len());
        write!(request, "{}\r\n\r\n", body.len()).unwrap();
        request.extend_from_slice(body);
        let answer = ask(&server, &request);
        assert_eq!((answer.status, answer.error().as_str()), (400, error));
    }
    let list = ask(&server, post("/publish", "", "{}"));
    assert!(list.status == 400 && list.error().starts_with("Not a list of messages: "), "{}", list.body);
    let long = format!("[{}1]", "1,".repeat(1000));
    assert!(ask(&server, post("/publish", "", &long)).error().starts_with("Not a list of messages: more than 1000 messages"));
    drop(page);
}

#[test]
fn each_wrong_request_has_its_status() {
    let server = Phpws::start(&["--max-message", "100"]);
    let expect = |request: String, expected: u16, field: &str| {
        let answer = ask(&server, &request);
        assert_eq!(answer.status, expected, "{request} {}", answer.body);
        assert!(answer.fields.contains(field), "{request} {}", answer.fields);
        assert!(!answer.error().is_empty());
    };
    expect(post("/broadcast", "", &"1".repeat(101)), 413, "connection: close\r\n");
    expect(
        "POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".into(),
        413,
        "connection: close\r\n",
    );
    expect(
        "POST /broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n".into(),
        413,
        "connection: close\r\n",
    );
    expect("POST /broadcast HTTP/1.1\r\nHost: x\r\n\r\n".into(), 411, "connection: keep-alive\r\n");
    expect("GET /broadcast HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405, "allow: post\r\n");
    expect("PUT /feedback/x HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405, "allow: post\r\n");
    expect("OPTIONS /publish HTTP/1.1\r\nHost: x\r\n\r\n".into(), 405, "allow: post\r\n");
    expect(post("/clients/x", "", "1"), 405, "allow: get, head\r\n");
    expect("GET /clients/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1".into(), 400, "connection: close\r\n");
    expect(post("/broadcast", "Content-Type: text/plain\r\n", "1"), 415, "connection: close\r\n");
    expect(post("/broadcast", "Content-Encoding: gzip\r\n", "1"), 415, "");
    expect(post("/broadcast", "Expect: more\r\n", "1"), 417, "");
    expect(post("/broadcast?rom=x", "", "1"), 400, "");
    expect(post("/broadcast?key=1&key=2", "", "1"), 400, "");
    expect(post("/publish?key=1", "", "[]"), 400, "");
    expect(post("/feedback", "", "1"), 400, "");
    expect(post("/feedback/x?ident=y", "", "1"), 400, "");
    for path in ["/feedback/", "/feedback/a/b", "/clients", "/clients/", "/Publish"] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status(&server, get), 404, "{path}");
    }
    for good in ["application/json", "Text/JSON; charset=utf-8", "application/x-www-form-urlencoded"] {
        assert_eq!(status(&server, post("/broadcast", &format!("Content-Type: {good}\r\n"), "1")), 200);
    }
}

#[test]
fn what_two_readers_could_read_in_two_ways_ends_the_connection() {
    let server = Phpws::start(&[]);
    for (fields, expected) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "400"),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "400"),
        ("Content-Length: 1, 2\r\n", "400"),
        ("Content-Length: +1\r\n", "400"),
        ("Content-Length: 1 1\r\n", "400"),
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
        ("Transfer-Encoding: chunked, identity\r\n", "501"),
        ("Transfer-Encoding : chunked\r\n", "400"),
        ("Transfer-Encoding:\u{b}chunked\r\n", "400"),
        ("Host: y\r\nContent-Length: 1\r\n", "400"),
    ] {
        for smuggled in ["0\r\n\r\n", "1"] {
            let mut client = server.connect();
            let next = post("/broadcast", "", "\"smuggled\"");
            client.send(format!("POST /broadcast HTTP/1.1\r\nHost: x\r\n{fields}\r\n{smuggled}{next}").as_bytes());
            let all = String::from_utf8(client.rest()).unwrap();
            assert!(all.starts_with(&format!("HTTP/1.1 {expected} ")) && all.matches("HTTP/1.1 ").count() == 1, "{fields} {all}");
            assert!(all.to_ascii_lowercase().contains("connection: close\r\n"));
        }
    }
    let mut client = server.connect();
    client.send(b"POST /broadcast HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 400 "));
}

// ---- who may

#[test]
fn a_stranger_a_page_and_a_proxy_need_a_token() {
    let behind = Phpws::start(&["--trusted-proxy", "127.0.0.1", "--allowed-ip", "198.51.100.7"]);
    let from = |ip: &str| ask(&behind, post("/broadcast", &format!("X-Forwarded-For: {ip}\r\nX-Real-IP: {ip}\r\n"), "1"));
    assert_eq!(from("198.51.100.7").status, 200);
    assert_eq!(from("203.0.113.9, 198.51.100.7").status, 200);
    for stranger in ["203.0.113.9", "198.51.100.7, 203.0.113.9", "127.0.0.1", "::1", "unknown"] {
        let refused = from(stranger);
        assert_eq!((refused.status, refused.error().as_str()), (403, "No publishing from this address"), "{stranger}");
        assert!(refused.fields.contains("connection: close\r\n"));
    }
    let server = Phpws::start(&[]);
    for fields in [
        "Origin: http://x\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "X-Forwarded-For: ::1\r\n",
        "Forwarded: for=x\r\n",
        "Via: x\r\n",
    ] {
        let refused = ask(&server, post("/broadcast", fields, "1"));
        assert_eq!(refused.status, 403, "{fields}");
        assert!(refused.error().contains("needs a token"), "{}", refused.body);
    }
    server.log_line("No publishing for ");
}

#[test]
fn tokens_are_rotated_without_a_gap() {
    let file = std::env::temp_dir().join(format!("phpws-tokens-{}", std::process::id()));
    std::fs::write(&file, "the-old-token-of-yesterday\n").unwrap();
    let server = Phpws::start(&["--publish", "token", "--publish-token-file", file.to_str().unwrap()]);
    let with = |token: &str| status(&server, post("/broadcast", &format!("Authorization: Bearer {token}\r\n"), "1"));
    assert_eq!((with("the-old-token-of-yesterday"), with("the-new-token-of-tomorrow")), (200, 401));
    std::fs::write(&file, "# both for a while\nthe-old-token-of-yesterday\nthe-new-token-of-tomorrow\n").unwrap();
    server.signal("HUP");
    server.log_line("Tokens reloaded");
    assert_eq!((with("the-old-token-of-yesterday"), with("the-new-token-of-tomorrow")), (200, 200));
    std::fs::write(&file, "short\n").unwrap();
    server.signal("HUP");
    server.log_line("Tokens not reloaded, the old ones stay: ");
    assert_eq!(with("the-new-token-of-tomorrow"), 200);
    std::fs::remove_file(&file).unwrap();
    let refused = ask(&server, post("/broadcast", "", "1"));
    assert_eq!((refused.status, refused.error().as_str()), (403, "This server wants a token from every host"));
}

#[test]
fn a_wrong_token_is_asked_for_again_and_guessing_is_slowed() {
    let server = Phpws::start(&["--publish", "token", "--publish-token-file", &token_file("guess")]);
    let mut answers: Vec<Answer> =
        (0..20).map(|_| ask(&server, post("/broadcast", "Authorization: Bearer wrong\r\n", "1"))).collect();
    assert!(answers[0].status == 401 && answers[0].fields.contains("www-authenticate: bearer realm=\"phpws\"\r\n"));
    let last = answers.pop().unwrap();
    assert!(last.status == 429 && last.fields.contains("retry-after: 1\r\n"), "{}", last.fields);
    assert_eq!(status(&server, post("/broadcast", TOKEN, "1")), 429);
    wait_for("the end of the wait", || (status(&server, post("/broadcast", TOKEN, "1")) == 200).then_some(()));
}

fn token_file(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("phpws-token-{name}-{}", std::process::id()));
    std::fs::write(&file, "the-old-token-of-yesterday\n").unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_rate_holds_for_each_address() {
    let server = Phpws::start(&["--max-publish-rate", "5"]);
    let answers: Vec<Answer> = (0..15).map(|_| ask(&server, post("/broadcast", "", "1"))).collect();
    assert!(answers[..10].iter().all(|answer| answer.status == 200));
    let last = answers.last().unwrap();
    assert!(last.status == 429 && last.fields.contains("retry-after: 1\r\n"), "{}", last.body);
}

#[test]
fn one_setting_takes_the_paths_away() {
    let server = Phpws::start(&["--publish", "off"]);
    assert_eq!(status(&server, post("/broadcast", "", "1")), 405);
    assert_eq!(status(&server, "GET /clients/x HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
}

// ---- one connection, many requests

#[test]
fn a_connection_is_kept_and_an_upgrade_may_follow() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    for n in 0..5 {
        client.send(post("/broadcast", "", &n.to_string()).as_bytes());
        let answer = answer(&mut client);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"delivered\":0,\"queued\":0}\n"));
        assert!(answer.fields.contains("connection: keep-alive\r\nkeep-alive: timeout=5\r\n"));
    }
    client.send(b"GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer(&mut client).status, 200);
    client.send(request("/web", "").as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let uuid = json(&client.text(), "uuid");
    assert_eq!(status(&server, post(&format!("/feedback/{uuid}"), "", "\"here\"")), 200);
    assert!(client.text().contains("here"));
}

#[test]
fn requests_that_come_at_once_are_answered_in_order() {
    let server = Phpws::start(&[]);
    let (mut page, uuid) = server.browser();
    let mut client = server.connect();
    let mut requests = String::new();
    for n in 0..50 {
        requests += &post(&format!("/feedback/{uuid}"), "", &n.to_string());
        requests += &post(&format!("/feedback/{NOBODY}"), "", &n.to_string());
        requests +=
            &format!("POST /broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", n + 10);
    }
    requests += &request("/web", "");
    client.send(requests.as_bytes());
    for n in 0..50 {
        for expected in [200, 404, 200] {
            assert_eq!(answer(&mut client).status, expected, "{n}");
        }
        assert!(page.text().ends_with(&format!("\"message\":{n}}}")));
        assert_eq!(page.text(), format!(r#"{{"opcode":"broadcast","message":{}}}"#, n + 10));
    }
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert!(client.text().contains("ready"));
}

#[test]
fn a_request_is_the_same_however_it_is_split() {
    let server = Phpws::start(&[]);
    let chunked =
        "POST /broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n1\r\n2\r\n23\r\n0\r\nA: b\r\n\r\n";
    let both = post("/broadcast", "", "12") + chunked;
    let mut client = server.connect();
    for cut in 1..both.len() {
        client.send(&both.as_bytes()[..cut]);
        // Written apart, and read apart where an answer comes between.
        let first = (cut >= both.len() - chunked.len()).then(|| answer(&mut client).status);
        client.send(&both.as_bytes()[cut..]);
        let first = first.unwrap_or_else(|| answer(&mut client).status);
        assert_eq!((first, answer(&mut client).status), (200, 200), "{cut}");
    }
    for byte in both.as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!((answer(&mut client).status, answer(&mut client).status), (200, 200));
}

#[test]
fn a_line_too_many_behind_a_body_does_no_harm() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    client.send((post("/broadcast", "", "1") + "\r\n" + &post("/broadcast", "", "2")).as_bytes());
    assert_eq!((answer(&mut client).status, answer(&mut client).status), (200, 200));
}

#[test]
fn http_1_0_and_close_end_the_connection() {
    let server = Phpws::start(&[]);
    for head in ["POST /broadcast HTTP/1.0\r\n", "POST /broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"] {
        let mut client = server.connect();
        client.send(format!("{head}Content-Length: 1\r\n\r\n1").as_bytes());
        let all = String::from_utf8(client.rest()).unwrap();
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.contains("Connection: close\r\n"), "{all}");
    }
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(b"POST /broadcast HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1");
        assert!(answer(&mut client).fields.contains("connection: keep-alive\r\n"));
    }
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_after_the_checks() {
    let server = Phpws::start(&["--max-message", "100"]);
    let head = |length: usize, fields: &str| {
        format!("POST /broadcast HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{fields}Content-Length: {length}\r\n\r\n")
    };
    let mut client = server.connect();
    client.send(head(1, "").as_bytes());
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"1");
    assert_eq!(answer(&mut client).status, 200);
    client.send((head(1, "") + "1").as_bytes());
    assert_eq!(answer(&mut client).status, 200, "who does not wait is not asked");
    assert_eq!(status(&server, head(101, "")), 413);
    assert_eq!(status(&server, head(1, "Origin: http://x\r\n")), 403);
    assert_eq!(status(&server, head(1, "Content-Type: text/plain\r\n")), 415);
}

// ---- time

#[test]
fn a_slow_body_is_ended_in_time() {
    let server = Phpws::start(&["--message-timeout", "0.3"]);
    let mut client = server.connect();
    client.send(b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1");
    let slow = answer(&mut client);
    assert_eq!((slow.status, slow.error().as_str()), (408, "The body took too long"));
    assert!(slow.fields.contains("connection: close\r\n"));
    assert!(client.rest().is_empty());
}

#[test]
fn a_slow_head_behind_a_request_is_ended_in_time() {
    let server = Phpws::start(&["--handshake-timeout", "0.3"]);
    let mut client = server.connect();
    client.send((post("/broadcast", "", "1") + "POST /").as_bytes());
    assert_eq!(answer(&mut client).status, 200);
    assert!(client.head().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_connection_without_a_next_request_ends_without_a_word() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    client.send(post("/broadcast", "", "1").as_bytes());
    assert_eq!(answer(&mut client).status, 200);
    assert!(client.rest().is_empty());
}

#[test]
fn who_does_not_read_its_answers_is_not_read_from() {
    let server = Phpws::start(&["--message-timeout", "1"]);
    let stream = std::net::TcpStream::connect(server.addr).unwrap();
    stream.set_nonblocking(true).unwrap();
    let requests = "GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut sent = 0;
    // The system's buffers fill up, and then nothing is taken any more, until the connection is ended.
    let ended = wait_for("the end of the connection", || match (&stream).write(requests.as_bytes()) {
        Ok(count) => {
            sent += count;
            None
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        Err(error) => Some(error.kind()),
    });
    assert!(matches!(ended, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{ended}");
    assert_eq!(status(&server, post("/broadcast", "", "1")), 200);
}

#[test]
fn a_stopping_server_ends_its_kept_connections() {
    let mut server = Phpws::start(&[]);
    let mut client = server.connect();
    client.send(post("/broadcast", "", "1").as_bytes());
    assert_eq!(answer(&mut client).status, 200);
    server.signal("TERM");
    assert!(client.rest().is_empty());
    assert_eq!(server.exit_code(), Some(0));
}
