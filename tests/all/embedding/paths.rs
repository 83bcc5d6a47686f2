//! Which resource has which path, and those without the dialog.

use std::time::Duration;

use super::{Plain, Porter};
use crate::util::embedded::Embedded;
use crate::util::{Client, masked, request};
use phpws::{Address, Limits, WebSocketServer};

#[test]
fn a_plain_resource_sends_no_ready_and_no_next() {
    let server = Embedded::start(|server| {
        server.register_resource("/plain", Plain).unwrap();
        server.register_resource("/port", Porter::default()).unwrap();
    });
    let mut plain = Client::connect(server.addr);
    plain.send(request("/plain", "Client-Type: php\r\n").replace("Origin: http://x\r\n", "").as_bytes());
    assert!(plain.head().len() < 200, "not padded");
    assert_eq!(plain.text(), "welcome");
    for message in [&b""[..], b"bufferON", b"\x00\xff"] {
        plain.send(&masked(true, 2, message));
        let frame = plain.frame().unwrap();
        assert_eq!((frame.opcode, frame.payload.as_slice()), (2, message));
    }
    let mut dialog = server.upgrade("/port", "");
    dialog.text();
    dialog.send_text("to all of the dialog");
    dialog.text();
    assert!(plain.is_silent(Duration::from_millis(100)), "broadcasts belong to the dialog");
}

#[test]
fn a_fallback_serves_every_other_path() {
    let server = Embedded::start(|server| {
        server.register_fallback(Plain).unwrap();
        server.register_resource("/port", Porter::default()).unwrap();
    });
    for path in ["/", "/anything/else", "/PORT"] {
        assert_eq!(server.upgrade(path, "").text(), "welcome");
    }
    assert!(server.upgrade("/port", "").text().contains("ready"));
}

#[test]
fn a_path_is_registered_once() {
    let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0").unwrap(), None, Limits::default()).unwrap();
    server.register_resource("/a", Plain).unwrap();
    let error = server.register_resource("/a", Plain).unwrap_err();
    assert_eq!(error.to_string(), "resource '/a': this path is registered already");
    assert_eq!(server.register_resource("a", Plain).unwrap_err().to_string(), "resource 'a': a path begins with /");
    server.register_fallback(Plain).unwrap();
    assert_eq!(server.register_fallback(Plain).unwrap_err().to_string(), "fallback resource: there is one already");
}

#[test]
fn an_application_under_a_path_of_publishing_gets_the_upgrades() {
    let server = Embedded::start(|server| {
        server.register_resource("/publish", Porter::default()).unwrap();
    });
    let mut client = server.upgrade("/publish", "");
    assert!(client.text().contains("ready"));
    let mut publisher = Client::connect(server.addr);
    let body = r#"[{"resource":"/publish","message":1}]"#;
    publisher.send(format!("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert!(publisher.head().starts_with("HTTP/1.1 200 "));
    while client.text() != r#"{"opcode":"broadcast","message":1}"# {}
}
