//! What an application is told, and what it may do.

use std::sync::mpsc;
use std::time::Duration;

use super::Porter;
use crate::util::embedded::Embedded;
use crate::util::{Client, NEXT, masked, request};
use phpws::{Address, Limits, Resource, Server, SocketId, WebSocketServer};

#[test]
fn an_application_reads_requests_keeps_state_and_sets_fyi() {
    let server = Embedded::start(|server| server.register_resource("/port", Porter::default()).unwrap());
    let mut client = server.upgrade("/port?room=7", "Cookie: sid=abc\r\nX-Mine: yes\r\n");
    assert!(client.text().contains("ready"));
    client.send_text("name");
    assert_eq!(client.text(), r#"{"opcode":"next","fyi":"for \"your\" information"}"#);
    assert_eq!(client.text(), "room=7 abc yes");
}

#[test]
fn timers_call_the_application_that_asked() {
    let server = Embedded::start(|server| {
        server.register_resource("/other", Porter::default()).unwrap();
        server.register_resource("/port", Porter::default()).unwrap();
    });
    let mut client = server.upgrade("/port", "");
    client.text();
    client.send_text("timer");
    client.text();
    assert_eq!(client.text(), "timer");
}

#[test]
fn close_inside_a_callback_is_safe() {
    let server = Embedded::start(|server| server.register_resource("/port", Porter::default()).unwrap());
    let mut clients: Vec<Client> = (0..3).map(|n| server.upgrade(&format!("/port?{n}"), "")).collect();
    clients.iter_mut().for_each(|client| assert!(client.text().contains("ready")));
    clients[0].send(&[masked(true, 1, b"close"), masked(true, 1, b"name")].concat());
    clients[0].text();
    let close = clients[0].frame().unwrap();
    assert_eq!((close.code(), &close.payload[2..]), (4001, &b"as you wish"[..]));
    assert_eq!(clients[0].frame(), None);
    for client in &mut clients[1..] {
        assert_eq!(client.text(), "gone: 0 - -");
    }
    clients[1].send_text("close all");
    clients[1].text();
    clients[1].closed_with(1000);
    clients[2].closed_with(1000);
}

#[test]
fn an_application_never_hears_of_a_client_that_was_turned_away() {
    struct Counter(mpsc::Sender<&'static str>);
    impl Resource for Counter {
        fn on_open(&mut self, _server: &mut Server, _id: SocketId) {
            self.0.send("open").unwrap();
        }
        fn on_error(&mut self, _server: &mut Server, _id: SocketId, _message: &str) {
            self.0.send("error").unwrap();
        }
        fn on_close(&mut self, _server: &mut Server, _id: SocketId) {
            self.0.send("close").unwrap();
        }
        fn dialog(&self) -> bool {
            false
        }
    }
    let (sender, receiver) = mpsc::channel();
    let (address_sender, address) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let limits = Limits { max_clients: 1, close_timeout: Duration::from_millis(100), ..Limits::default() };
        let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0").unwrap(), None, limits).unwrap();
        server.register_resource("/count", Counter(sender)).unwrap();
        address_sender.send((server.local_addr(), server.stopper())).unwrap();
        server.start().unwrap();
    });
    let (addr, stopper) = address.recv().unwrap();
    let mut first = Client::connect(addr);
    first.send(request("/count", "").as_bytes());
    first.head();
    let mut second = Client::connect(addr);
    second.send(request("/count", "").as_bytes());
    second.head();
    second.closed_with(1013);
    first.send(&masked(true, 8, b""));
    first.frame();
    stopper.stop().unwrap();
    thread.join().unwrap();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["open", "close"]);
}

#[test]
fn a_stopped_server_says_goodbye() {
    let server = Embedded::start(|server| server.register_resource("/port", Porter::default()).unwrap());
    let mut client = server.upgrade("/port", "");
    client.text();
    client.send_text("name");
    assert_ne!(client.text(), NEXT);
    client.text();
    server.stopper.stop().unwrap();
    assert_eq!(client.text(), r#"{"opcode":"close"}"#);
    client.closed_with(1001);
}
