//! One connection and many requests, and the time that each part may take.

use std::io::Write;

use super::{NOBODY, answer, post, status};
use crate::util::{Phpws, json, request, wait_for};

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
    let server = Phpws::start(&["--handshake-timeout", "0.8"]);
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
