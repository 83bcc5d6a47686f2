//! Requests that are refused, each with its status.

use std::io::Write;

use super::{ask, post, status};
use crate::util::Phpws;

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
        ("Transfer-Encoding:\u{a0}chunked\r\n", "501"),
        ("Transfer-Encoding: chunked\u{85}\r\n", "501"),
        ("Content-Length: 1\u{2003}\r\n", "400"),
        ("Content-Length: \u{a0}1\r\n", "400"),
        ("Content-Length: 1\u{c}\r\n", "400"),
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

#[test]
fn chunks_that_two_readers_could_end_in_two_ways_end_the_connection() {
    let server = Phpws::start(&[]);
    for chunks in [
        "1;a=\0\r\n1\r\n0\r\n\r\n",
        "1;a\rb\r\n1\r\n0\r\n\r\n",
        "1\r\n1\r\n0\r\nno colon\r\n\r\n",
        "1\r\n1\r\n0\r\nA: \0\r\n\r\n",
        "1\r\n1\r\n0\r\nA: b\r\n folded\r\n\r\n",
        "1\r\n1\r\n0\r\nContent Length: 9\r\n\r\n",
    ] {
        let mut client = server.connect();
        let next = post("/broadcast", "", "\"smuggled\"");
        client
            .send(format!("POST /broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{next}").as_bytes());
        let all = String::from_utf8(client.rest()).unwrap();
        assert!(all.starts_with("HTTP/1.1 400 ") && all.matches("HTTP/1.1 ").count() == 1, "{chunks:?} {all}");
    }
    let good = "1;a=\"\tb\"\r\n1\r\n0\r\nA: b\r\nC:\r\n\r\n";
    assert_eq!(status(&server, format!("POST /broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{good}")), 200);
}
