//! The old connection and the new one of a client at the same time, in every order.

use std::io::Write;

use super::{break_off, message, open, uuid};
use crate::util::http::{feedback, metric};
use crate::util::{Client, NEXT, Phpws, masked, request};
use serde_json::Value;

#[test]
fn the_new_connection_wins_and_the_old_one_is_told() {
    let server = Phpws::start(&[]);
    let (mut old, ready) = open(&server, "/web?resume=");
    let (mut new, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    old.closed_with(4000);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(message(&mut new), r#"{"message":1,"seq":1}"#);
}

/// The server finds the end of the old connection and the request of the new one in one turn, in either order.
#[test]
fn a_client_may_come_back_in_the_turn_in_which_its_old_connection_ends() {
    let server = Phpws::start(&[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let target = |seq| request(&format!("/web?resume={}&seq={seq}", uuid(&ready)), "");
    for round in 0..20 {
        let mut next = server.connect();
        server.signal("STOP");
        let goodbye = || masked(true, 8, &1001u16.to_be_bytes());
        match round % 4 {
            0 => (drop(client), next.send(target(round).as_bytes())).1,
            1 => (next.send(target(round).as_bytes()), drop(client)).0,
            2 => (client.send(&goodbye()), next.send(target(round).as_bytes())).1,
            _ => (next.send(target(round).as_bytes()), client.send(&goodbye())).0,
        }
        server.signal("CONT");
        assert!(next.head().starts_with("HTTP/1.1 101 "));
        assert!(next.text().contains(r#""resume":"resumed""#));
        feedback(&server, &uuid(&ready), &format!(r#"{{"message":{round}}}"#));
        assert_eq!(message(&mut next), format!(r#"{{"message":{round},"seq":{}}}"#, round + 1));
        client = next;
    }
}

/// Two new connections, and whatever the old one still says, in one turn.
#[test]
fn of_two_that_come_back_at_once_the_last_one_wins() {
    let server = Phpws::start(&[]);
    let (mut other, _) = server.browser();
    let (mut old, ready) = open(&server, "/web?resume=");
    let (mut one, mut two) = (server.connect(), server.connect());
    // The poll has told of both before, so that it tells of the old one first.
    other.say("{}");
    other.say("{}");
    server.signal("STOP");
    old.send_text(r#"{"opcode":"broadcast","message":1,"cseq":1}"#);
    for client in [&mut one, &mut two] {
        client.send(request(&format!("/web?resume={}", uuid(&ready)), "").as_bytes());
    }
    server.signal("CONT");
    assert!(other.text().contains(r#""message":1"#));
    let told: Vec<String> = [&mut one, &mut two].into_iter().map(|client| (client.head(), client.text()).1).collect();
    assert!(told.iter().all(|ready| ready.contains(r#""resume":"resumed""#)), "{told:?}");
    feedback(&server, &uuid(&ready), r#"{"message":2}"#);
    let got = [&mut one, &mut two].map(|client| client.frame().unwrap().opcode);
    assert!(got == [1, 8] || got == [8, 1], "{got:?}");
    other.say(r#"{"opcode":"echo","message":"after"}"#);
    assert_eq!(metric(&server, "phpws_clients{type=\"websocket\"}"), 2.0);
}

/// The old connection was closed by the server and its peer does not close yet.
#[test]
fn a_client_may_come_back_while_its_old_connection_is_still_closing() {
    let server = Phpws::start(&["--idle-timeout", "1", "--close-timeout", "60"]);
    let (mut old, ready) = open(&server, "/web?resume=");
    assert!(old.text().contains("Idle for too long"));
    assert_eq!(old.frame().unwrap().code(), 1001);
    let (mut new, ready) = open(&server, &format!("/web?resume={}&seq=1", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    old.send_text(r#"{"opcode":"echo","message":"nobody listens"}"#);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert!(message(&mut new).starts_with(r#"{"message":1,"#));
    // Where the server, or an application, says goodbye for good, there is nobody to come back to.
    let (mut gone, ready) = open(&server, "/web?resume=");
    gone.send_text("no json");
    assert_eq!(gone.text(), NEXT);
    assert!(gone.text().contains("jsonerror"));
    let (_, ready) = open(&server, &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["resume"], "lost");
}

#[test]
fn a_client_comes_back_from_another_address_which_then_counts() {
    let server = Phpws::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--max-per-ip", "1"]);
    let connect = |ip: &str, target: &str| {
        let mut tcp = server.connect_from([127, 0, 0, 9]);
        tcp.write_all(format!("PROXY TCP4 {ip} 192.0.2.1 5000 80\r\n{}", request(target, "")).as_bytes()).unwrap();
        let mut client = Client::over(tcp);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let first = client.text();
        (client, serde_json::from_str::<Value>(&first).unwrap())
    };
    let (client, ready) = connect("203.0.113.7", "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    // It counts where it was as long as it is away.
    assert_eq!(connect("203.0.113.7", "/web").1["opcode"], "close");
    let (_moved, ready) = connect("203.0.113.8", &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    assert_eq!(connect("203.0.113.8", "/web").1["opcode"], "close");
    assert_eq!(connect("203.0.113.7", "/web").1["opcode"], "ready");
}
