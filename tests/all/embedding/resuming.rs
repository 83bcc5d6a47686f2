//! Applications whose clients resume.

use std::sync::mpsc;
use std::time::Duration;

use crate::util::embedded::Embedded;
use crate::util::{Client, PATIENCE, wait_for};
use phpws::{Limits, Message, Packet, Resource, Server, SocketId};

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

/// A client that went away, by its uuid, and another one that sees it: both have opened.
fn one_away(server: &Embedded, told: &mpsc::Receiver<String>) -> (String, Client) {
    let (client, uuid) = server.ready_on("/witness?resume=", "");
    let (mut other, _) = server.ready_on("/witness", "");
    assert_eq!([(); 2].map(|()| told.recv_timeout(PATIENCE).unwrap()), ["open", "open"]);
    drop(client);
    wait_until_away(&mut other, 1);
    (uuid, other)
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
    let (server, told) = witnessed(Duration::from_millis(1500));
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let (uuid, mut other) = one_away(&server, &told);
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
    let (uuid, mut other) = one_away(&server, &told);
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
