//! The library as a migrator uses it: own applications, timers, state, plain resources.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use crate::util::embedded::Embedded;
use crate::util::{Client, NEXT, PATIENCE, masked, request, wait_for};
use phpws::{Address, CloseCode, Limits, Message, Packet, Resource, RoomError, Server, SocketId, WebSocketServer};

/// Everything an application may do, in one.
#[derive(Default)]
struct Porter {
    names: HashMap<SocketId, String>,
}

impl Resource for Porter {
    fn on_start(&mut self, server: &mut Server) {
        server.call_after(Duration::from_millis(1), 1);
    }

    fn on_timer(&mut self, server: &mut Server, tag: u64) {
        if tag > 1 {
            server.write(SocketId::from_u64(tag), "timer");
        }
    }

    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let request = server.client(id).unwrap().request().unwrap();
        let name =
            format!("{} {} {}", request.query(), request.cookie("sid").unwrap_or("-"), request.header("X-Mine").unwrap_or("-"));
        self.names.insert(id, name);
        server.set_fyi(id, "for \"your\" information");
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        match text {
            "name" => server.write(id, &self.names[&id]),
            "timer" => server.call_after(Duration::from_millis(20), id.as_u64()),
            "close" => {
                server.close_with(id, CloseCode(4001), "as you wish");
                server.close(id);
                server.write(id, "nothing reaches a closed client");
            }
            "close all" => {
                let all: Vec<SocketId> = server.clients().map(|(id, _)| id).collect();
                all.into_iter().for_each(|id| server.close(id));
            }
            other => server.broadcast(id, other),
        }
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        let name = self.names.remove(&id).unwrap();
        assert!(server.client(id).is_some(), "the record can still be read");
        server.write(id, "too late");
        server.broadcast(id, &format!("gone: {name}"));
    }
}

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

/// A plain resource: no dialog, no Origin.
struct Plain;

impl Resource for Plain {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        server.write(id, "welcome");
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        server.write_binary(id, message.bytes());
    }

    fn dialog(&self) -> bool {
        false
    }

    fn origin_required(&self) -> bool {
        false
    }
}

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

/// Fails wherever it is told to.
struct Clumsy;

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
        panic!("clumsy in on_timer {tag}");
    }

    fn on_close(&mut self, _server: &mut Server, _id: SocketId) {
        panic!("clumsy in on_close");
    }
}

#[test]
fn a_panic_closes_only_the_connection_that_caused_it() {
    let server = Embedded::start(|server| server.register_resource("/clumsy", Clumsy).unwrap());
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
    std::thread::sleep(Duration::from_millis(20));
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
        server.register_resource("/clumsy", Clumsy).unwrap();
        sender.send(server.local_addr()).unwrap();
        server.start().unwrap();
    });
    let mut client = Client::connect(receiver.recv().unwrap());
    client.send(&[request("/clumsy", "").into_bytes(), masked(true, 1, b"panic")].concat());
    assert!(thread.join().is_err());
}

/// One room for each query: `/game?7` and its likes.
struct Tables;

impl Resource for Tables {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let table = table(server, id);
        let name = format!("player {}", server.who(&table).len() + 1);
        let count = server.join(id, &table, &name, false).unwrap();
        server.write(id, &format!("{count} at table {table}"));
        assert_eq!(server.join(id, "", "", false), Err(RoomError::BadRoom));
        assert_eq!(server.leave(id, "elsewhere"), Err(RoomError::NotMember));
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let (Message::Text(text), table) = (message, table(server, id)) else { return };
        let others = server.broadcast_room(id, &table, text);
        let names: Vec<&str> = server.who(&table).map(|(_, name)| name).collect();
        let answer = format!("told {others} of {names:?}");
        server.write(id, &answer);
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        let table = table(server, id);
        assert!(!server.is_member(id, &table), "who is gone is in no room");
        assert_eq!(server.join(id, &table, "", false), Err(RoomError::NotOpen));
        server.broadcast_room(SocketId::default(), &table, "one less");
    }
}

fn table(server: &Server, id: SocketId) -> String {
    server.client(id).unwrap().request().unwrap().query().to_owned()
}

#[test]
fn an_application_puts_clients_into_rooms() {
    let server = Embedded::start(|server| server.register_resource("/game", Tables).unwrap());
    let mut players: Vec<Client> = ["7", "7", "8"].iter().map(|table| server.upgrade(&format!("/game?{table}"), "")).collect();
    for (player, seat) in players.iter_mut().zip(["1 at table 7", "2 at table 7", "1 at table 8"]) {
        assert!(player.text().contains("ready"));
        assert_eq!(player.text(), seat);
    }
    players[1].say("a move");
    assert_eq!(players[1].text(), r#"told 1 of ["player 1", "player 2"]"#);
    assert_eq!(players[0].text(), "a move");
    players[2].say("nobody hears me");
    assert_eq!(players[2].text(), r#"told 0 of ["player 1"]"#);
    drop(players.remove(1));
    assert_eq!(players[0].text(), "one less");
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

/// Reports what it is told of its clients, and does what they say.
struct Witness(mpsc::Sender<String>);

impl Resource for Witness {
    fn on_open(&mut self, _server: &mut Server, _id: SocketId) {
        self.0.send("open".into()).unwrap();
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        match Packet::parse(message).unwrap().opcode() {
            "text" => server.write(id, "no \"object\""),
            "bytes" => server.write_binary(id, b"bytes"),
            "panic" => panic!("as was wanted"),
            "away" => {
                let away = server.clients().filter(|(_, client)| client.is_away()).count();
                server.write(id, &format!(r#"{{"away":{away}}}"#));
            }
            "close others" => {
                let others: Vec<SocketId> = server.clients().map(|(id, _)| id).filter(|other| *other != id).collect();
                others.into_iter().for_each(|other| server.close(other));
            }
            _ => {}
        }
    }

    fn on_error(&mut self, _server: &mut Server, _id: SocketId, message: &str) {
        self.0.send(format!("error: {message}")).unwrap();
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        assert!(server.client(id).is_some(), "the record can still be read");
        self.0.send("close".into()).unwrap();
    }
}

fn witnessed(resume_time: Duration) -> (Embedded, mpsc::Receiver<String>) {
    let (sender, told) = mpsc::channel();
    let limits = Limits { resume_time, ..Limits::default() };
    let server = Embedded::start_with(limits, |server| server.register_resource("/witness", Witness(sender)).unwrap());
    (server, told)
}

/// Says something until the server answers that so many clients are away.
fn wait_until_away(client: &mut Client, count: usize) {
    wait_for("a client to be away", || {
        client.say(r#"{"opcode":"away"}"#);
        (client.text() == format!(r#"{{"away":{count}}}"#)).then_some(())
    });
}

#[test]
fn an_application_hears_of_a_client_that_resumes_as_of_one_that_stayed() {
    let (server, told) = witnessed(Duration::from_millis(600));
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let (client, uuid) = server.ready_on("/witness?resume=", "");
    let (mut other, _) = server.ready_on("/witness", "");
    assert_eq!([next(), next()], ["open", "open"]);
    drop(client);
    wait_until_away(&mut other, 1);
    let (mut client, again) = server.ready_on(&format!("/witness?resume={uuid}"), "");
    assert_eq!(again, uuid);
    wait_until_away(&mut other, 0);
    client.say(r#"{"opcode":"text"}"#);
    assert_eq!(client.text(), r#"{"opcode":"text","text":"no \"object\"","seq":1}"#);
    client.say(r#"{"opcode":"bytes"}"#);
    assert_eq!(client.frame().unwrap().payload, b"bytes");
    drop(client);
    wait_until_away(&mut other, 1);
    assert!(told.try_recv().is_err(), "nothing has happened yet");
    assert_eq!(next(), "close");
    wait_until_away(&mut other, 0);
    assert!(told.try_recv().is_err(), "and that was all");
}

#[test]
fn an_application_may_end_a_client_that_is_away() {
    let (server, told) = witnessed(Duration::from_secs(60));
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let (client, uuid) = server.ready_on("/witness?resume=", "");
    let (mut other, _) = server.ready_on("/witness", "");
    assert_eq!([next(), next()], ["open", "open"]);
    drop(client);
    wait_until_away(&mut other, 1);
    other.say(r#"{"opcode":"close others"}"#);
    assert_eq!(next(), "close");
    wait_until_away(&mut other, 0);
    let mut client = server.upgrade(&format!("/witness?resume={uuid}"), "");
    assert!(client.text().contains(r#""resume":"lost""#));
}

#[test]
fn a_panic_ends_a_client_that_could_have_resumed() {
    let (server, told) = witnessed(Duration::from_secs(60));
    let (mut client, uuid) = server.ready_on("/witness?resume=", "");
    client.say(r#"{"opcode":"panic"}"#);
    assert!(client.text().starts_with(r#"{"opcode":"close","error":"Application failed""#));
    client.closed_with(1011);
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["open", "close"]);
    let mut client = server.upgrade(&format!("/witness?resume={uuid}"), "");
    assert!(client.text().contains(r#""resume":"lost""#));
}
