//! Applications that panic.

use std::sync::mpsc;
use std::time::Duration;

use crate::util::embedded::Embedded;
use crate::util::{Client, PATIENCE, masked, request};
use phpws::{Address, Limits, Message, Resource, Server, SocketId, WebSocketServer};

/// Fails wherever it is told to, and says so where nobody else would.
struct Clumsy(mpsc::Sender<&'static str>);

impl Resource for Clumsy {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let query = server.client(id).and_then(|client| client.request()).map(|request| request.query().to_owned());
        assert_ne!(query.as_deref(), Some("open"), "clumsy in on_open");
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        match message {
            Message::Text("panic") => panic!("clumsy in on_data"),
            Message::Text("later") => server.call_after(Duration::from_millis(1), 7),
            Message::Text(text) => server.write(id, text),
            Message::Binary(_) => {}
        }
    }

    fn on_timer(&mut self, _server: &mut Server, tag: u64) {
        self.0.send("on_timer").unwrap();
        panic!("clumsy in on_timer {tag}");
    }

    fn on_close(&mut self, _server: &mut Server, _id: SocketId) {
        panic!("clumsy in on_close");
    }
}

#[test]
fn a_panic_closes_only_the_connection_that_caused_it() {
    let (sender, failed) = mpsc::channel();
    let server = Embedded::start(|server| server.register_resource("/clumsy", Clumsy(sender)).unwrap());
    let mut calm = server.upgrade("/clumsy", "");
    calm.text();
    let mut opened = server.upgrade("/clumsy?open", "");
    assert!(opened.text().contains("ready"));
    assert_eq!(opened.text(), r#"{"opcode":"close","error":"Application failed"}"#);
    opened.closed_with(1011);
    let mut client = server.upgrade("/clumsy", "");
    client.text();
    client.send_text("panic");
    client.text();
    assert_eq!(client.text(), r#"{"opcode":"close","error":"Application failed"}"#);
    client.closed_with(1011);
    calm.send_text("later");
    calm.text();
    assert_eq!(failed.recv_timeout(PATIENCE), Ok("on_timer"));
    calm.send_text("still here");
    calm.text();
    assert_eq!(calm.text(), "still here");
}

#[test]
fn one_limit_lets_a_panic_end_the_process() {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let limits = Limits { exit_on_panic: true, ..Limits::default() };
        let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0").unwrap(), None, limits).unwrap();
        server.register_resource("/clumsy", Clumsy(mpsc::channel().0)).unwrap();
        sender.send(server.local_addr()).unwrap();
        server.start().unwrap();
    });
    let mut client = Client::connect(receiver.recv().unwrap());
    client.send(&[request("/clumsy", "").into_bytes(), masked(true, 1, b"panic")].concat());
    assert!(thread.join().is_err());
}
