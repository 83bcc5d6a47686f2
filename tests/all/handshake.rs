//! The opening handshake against a live server (RFC 6455, section 4.2).

use crate::util::{Client, NEXT, Phpws, masked, request};

/// Sends a request and gives the whole answer: status line, headers in lower case, body.
fn answer(server: &Phpws, request: &str) -> (String, String, String) {
    let mut client = server.connect();
    client.send(request.as_bytes());
    whole_answer(&mut client)
}

fn whole_answer(client: &mut Client) -> (String, String, String) {
    let head = client.head();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let body = String::from_utf8(client.rest()).unwrap();
    let headers = headers.to_ascii_lowercase();
    assert!(headers.contains(&format!("content-length: {}\r\n", body.len())), "{head}{body}");
    (status.to_owned(), headers, body)
}

fn without(header: &str) -> String {
    let lines = request("/web", "");
    lines.split_inclusive("\r\n").filter(|line| !line.starts_with(header)).collect()
}

fn with(from: &str, to: &str) -> String {
    let good = request("/web", "");
    assert!(good.contains(from));
    good.replace(from, to)
}

#[test]
fn the_101_is_letter_for_letter_what_old_clients_compare() {
    let server = Phpws::start(&[]);
    let mut client = server.connect();
    client.send(request("/web", "").as_bytes());
    assert_eq!(
        client.head(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn a_request_may_come_in_any_pieces_and_a_frame_behind_it_is_kept() {
    let server = Phpws::start(&[]);
    let mut bytes = request("/web", "").into_bytes();
    bytes.extend(masked(true, 1, br#"{"opcode":"echo","n":1}"#));
    for pieces in [1, 7, bytes.len() - 1, bytes.len()] {
        let mut client = server.connect();
        for piece in bytes.chunks(pieces) {
            client.send(piece);
        }
        client.head();
        assert!(client.text().contains("ready"));
        assert_eq!(client.text(), NEXT);
        assert_eq!(client.text(), r#"{"opcode":"echo","n":1}"#);
    }
}

#[test]
fn what_may_differ_does() {
    let server = Phpws::start(&[]);
    for good in [
        with("GET /web", "get /web"),
        with("Host: x", "HOST:tcp://127.0.0.1"),
        with("Origin: http://x", "Origin:"),
        with("Upgrade: websocket", "upgrade: WebSocket"),
        with("Connection: Upgrade", "Connection: keep-alive, UPGRADE"),
        with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        with("/web", "/web?a=/b&c"),
        with("/web", "ws://x:80/web"),
        with("\r\n", "\n"),
        with("Host: x", "Host: x\r\nContent-Length: 0"),
        with("Sec-WebSocket-Key: ", "sec-websocket-key:\t"),
        with("Host: x", "Host: x\r\nX-Odd: caf\u{e9}"),
    ] {
        let mut client = server.connect();
        client.send(good.as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "), "{good}");
        assert!(client.text().contains("ready"), "{good}");
    }
}

#[test]
fn each_missing_header_is_named() {
    let server = Phpws::start(&[]);
    for name in ["Host", "Origin", "Upgrade", "Connection", "Sec-WebSocket-Key"] {
        let (status, _, body) = answer(&server, &without(name));
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{name}");
        assert_eq!(body, format!("Missing header: {}\n", name.to_ascii_lowercase()));
        server.log_line(&format!("Handshake aborted - Missing header: {}", name.to_ascii_lowercase()));
    }
}

#[test]
fn bad_requests_are_refused_with_400() {
    let server = Phpws::start(&[]);
    for (bad, reason) in [
        (with("Upgrade: websocket", "Upgrade: h2c"), "Bad value of header: upgrade"),
        (with("Connection: Upgrade", "Connection: keep-alive"), "Bad value of header: connection"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "Bad value of header: sec-websocket-key"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!"), "Bad value of header: sec-websocket-key"),
        (with("Host: x", "Host: x\r\nHost: y"), "Duplicate header: host"),
        (
            with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"),
            "Duplicate header: sec-websocket-key",
        ),
        (
            with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"),
            "Duplicate header: sec-websocket-version",
        ),
        (with("HTTP/1.1", "HTTP/1.0"), "HTTP/1.1 required"),
        (with("Host: x", "Host: x\r\n folded"), "Folded header"),
        (with("Host: x", "Host : x"), "Bad header name"),
        (with("Host: x", "Host: x\u{1}"), "Control character in a header"),
        (with("Host: x", "nonsense"), "Header without a colon"),
        (with("GET /web HTTP/1.1", "GET /web"), "Bad request line"),
        (with("GET /web HTTP/1.1", "GET  /web HTTP/1.1"), "Bad request line"),
        (with("GET /web HTTP/1.1", "hello"), "Bad request line"),
        (with("HTTP/1.1", "HTTP/1.2"), "Bad request line"),
        (with("HTTP/1.1", "HTTP/1.9"), "Bad request line"),
        (with("HTTP/1.1", "HTTP/2.0"), "Bad request line"),
        (with("HTTP/1.1", "http/1.1"), "Bad request line"),
        (with("HTTP/1.1", "Http/1.1"), "Bad request line"),
        (with("Upgrade: websocket", "Upgrade:\u{a0}websocket"), "Bad value of header: upgrade"),
        (with("Connection: Upgrade", "Connection: keep-alive,\u{2003}Upgrade"), "Bad value of header: connection"),
        (with("Version: 13", "Version: 13\r\nX-Last: a\u{c}"), "Control character in a header"),
        (with("Version: 13", "Version: 13\r\nX-Last: a\r"), "Control character in a header"),
        (with("Host: x", "Host: x\r\nContent-Length: 1"), "An upgrade has no body"),
        (with("Host: x", "Host: x\r\nTransfer-Encoding: chunked"), "An upgrade has no body"),
        (with("Host: x", "Host: x\r\nContent-Length: 0\r\nContent-Length: 1"), "Bad value of header: content-length"),
        (with("Host: x", "Host: x\r\nClient-Type: php\r\nContent-Length: 5"), "An upgrade has no body"),
        ("\u{16}\u{3}\u{1}\u{2}\0\r\n\r\n".into(), "Bad request line"),
    ] {
        let (status, headers, body) = answer(&server, &bad);
        assert_eq!((status.as_str(), body.trim_end()), ("HTTP/1.1 400 Bad Request", reason), "{bad}");
        assert!(headers.contains("connection: close"));
    }
}

#[test]
fn other_refusals_have_their_own_status() {
    let server = Phpws::start(&["--allowed-origin", "http://x"]);
    let cases = [
        (with("Version: 13", "Version: 8"), "426 Upgrade Required", "sec-websocket-version: 13\r\n"),
        (without("Sec-WebSocket-Version"), "426 Upgrade Required", "sec-websocket-version: 13\r\n"),
        ("GET /web HTTP/1.1\r\nHost: x\r\n\r\n".into(), "426 Upgrade Required", "upgrade: websocket\r\n"),
        (with("GET", "POST"), "405 Method Not Allowed", "allow: get\r\n"),
        ("DELETE /web HTTP/1.1\r\nHost: x\r\n\r\n".into(), "405 Method Not Allowed", "allow: get\r\n"),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".into(), "404 Not Found", ""),
        (with("http://x", "http://evil"), "403 Forbidden", ""),
        (with("http://x", "http://x.evil"), "403 Forbidden", ""),
        (with("Host: x", &format!("Host: x\r\nX-Long: {}", "a".repeat(9000))), "431 Request Header Fields Too Large", ""),
        ("GET /".to_owned() + &"a".repeat(9000), "431 Request Header Fields Too Large", ""),
    ];
    for (bad, expected, header) in cases {
        let (status, headers, body) = answer(&server, &bad);
        assert_eq!(status, format!("HTTP/1.1 {expected}"), "{bad}");
        assert!(headers.contains(header), "{headers}");
        assert_eq!(body.lines().count(), 1);
    }
    server.log_line("Rejected missing or invalid origin: http://evil");
}

#[test]
fn a_slow_request_ends_with_408() {
    let server = Phpws::start(&["--handshake-timeout", "0.3"]);
    let mut client = server.connect();
    client.send(b"GET /web HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(whole_answer(&mut client).0, "HTTP/1.1 408 Request Timeout");
    let mut silent = server.connect();
    assert_eq!(whole_answer(&mut silent).0, "HTTP/1.1 408 Request Timeout");
}

#[test]
fn one_setting_lets_requests_without_origin_in() {
    let server = Phpws::start(&["--allow-missing-origin"]);
    let mut client = server.connect();
    client.send(without("Origin").as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn the_request_of_2021_is_refused_clearly() {
    let server = Phpws::start(&[]);
    let (status, ..) =
        answer(&server, "GET /php HTTP/1.1\r\n\r\n        Host: tcp://127.0.0.1\r\n\r\n        Upgrade: websocket\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 426 Upgrade Required");
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let server = Phpws::start(&[]);
    let many = "\r\n".repeat(3000);
    for before in ["\r\n", "\r\n\r\n", &many] {
        let bytes = format!("{before}{}", request("/web", ""));
        for pieces in [1, 3, bytes.len()] {
            let mut client = server.connect();
            for piece in bytes.as_bytes().chunks(pieces.max(bytes.len() / 200)) {
                client.send(piece);
            }
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            assert!(client.text().contains("ready"));
        }
    }
    // Between two requests too: the answers are those of the requests alone.
    let mut client = server.connect();
    client.send(b"\r\nGET /page.js HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 ") && all.contains("HTTP/1.1 404 ") && all.matches("HTTP/1.1 ").count() == 2);
}

#[test]
fn empty_lines_have_an_end_and_make_no_raw_client() {
    let server = Phpws::start(&["--handshake-timeout", "1"]);
    let too_many = format!("{}{}", "\r\n".repeat(4090), request("/web", ""));
    assert_eq!(answer(&server, &too_many).0, "HTTP/1.1 431 Request Header Fields Too Large");
    for bad in ["\nGET /web HTTP/1.1\r\nHost: x\r\n\r\n", "\rGET /web HTTP/1.1\r\nHost: x\r\n\r\n"] {
        assert_eq!(answer(&server, bad).0, "HTTP/1.1 400 Bad Request", "{bad:?}");
    }
    let (mut other, _) = server.browser();
    let mut client = server.connect();
    client.send_apart(b"\r\n", &mut other);
    client.send(b"php process\nGET /php HTTP/1.1\n\n");
    assert_eq!(whole_answer(&mut client).0, "HTTP/1.1 400 Bad Request");
    let mut silent = server.connect();
    silent.send(b"\r\n\r\n");
    assert_eq!(whole_answer(&mut silent).0, "HTTP/1.1 408 Request Timeout");
}
