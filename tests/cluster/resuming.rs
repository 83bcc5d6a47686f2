//! Clients that come back to another process.

use std::io::Write;
use std::time::Duration;

use super::{next_message, open, process, processes, say, uuid};
use crate::util::http::{feedback, get, metric, post};
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::{Client, wait_for};
use serde_json::{Value, json};

#[test]
fn a_page_resumes_in_another_process() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    page.say(r#"{"opcode":"join","room":"r"}"#);
    page.until("joined", |page| page.got.len() == 1);
    assert_eq!(feedback(&servers[1], &page.uuid, r#"{"message":1}"#).0, 200);
    page.until("feedback", |page| page.got.len() == 2);
    page.break_off();
    wait_for("the page to be away", || {
        (get(&servers[1], &format!("/clients/{}", page.uuid)).1["connected"] == json!(false)).then_some(())
    });
    assert_eq!(feedback(&servers[1], &page.uuid, r#"{"message":2}"#), (202, json!({"delivered": 0, "queued": 1})));
    // Answered only when Redis had it, so that it is before the next one.
    post(&servers[1], "/broadcast", r#"{"message":3}"#);
    post(&servers[0], "/broadcast?room=r", r#"{"message":4}"#);
    page.addrs = vec![servers[1].addr];
    page.until("what was missed", |page| page.got.len() == 5);
    let numbers: Vec<_> = page.got[1..].iter().map(|text| text["message"].as_u64().unwrap()).collect();
    assert_eq!((numbers, page.standings.last().unwrap().as_str()), (vec![1, 2, 3, 4], "resumed"));
    servers[0].log_line("goes on in another process");
    // It is a member there, and goes on in order.
    post(&servers[0], "/broadcast?room=r", r#"{"message":5}"#);
    feedback(&servers[0], &page.uuid, r#"{"message":6}"#);
    page.until("what follows", |page| page.got.len() == 7);
}

#[test]
fn a_connection_elsewhere_is_closed_when_its_client_resumes() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let mut old = servers[0].upgrade("/web?resume=", "");
    let ready: Value = serde_json::from_str(&old.text()).unwrap();
    let uuid = ready["uuid"].as_str().unwrap();
    let mut new = servers[1].upgrade(&format!("/web?resume={uuid}&seq=0"), "");
    assert!(new.text().contains(r#""resume":"resumed""#));
    old.closed_with(4000);
    assert_eq!(feedback(&servers[0], uuid, r#"{"message":1}"#).0, 200);
    let first: Value = serde_json::from_str(&new.text()).unwrap();
    assert_eq!(first["message"], 1);
    // And back again, to a process that had it before.
    let mut again = servers[0].upgrade(&format!("/web?resume={uuid}&seq=1&at={}", first["at"]), "");
    assert!(again.text().contains(r#""resume":"resumed""#));
    new.closed_with(4000);
    assert_eq!(feedback(&servers[1], uuid, r#"{"message":2}"#).0, 200);
    assert!(again.text().contains(r#""message":2"#));
}

#[test]
fn a_page_resumes_when_its_process_was_killed() {
    let redis = Redis::start();
    let mut servers = processes(&redis, 2, &[]);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    feedback(&servers[1], &page.uuid, r#"{"message":1}"#);
    page.until("feedback", |page| page.got.len() == 1);
    drop(servers.remove(0));
    assert_eq!(feedback(&servers[0], &page.uuid, r#"{"message":2}"#), (202, json!({"delivered": 0, "queued": 1})));
    page.addrs = vec![servers[0].addr];
    page.until("what was missed", |page| page.got.len() == 2);
    assert_eq!(page.standings.last().unwrap(), "resumed");
}

/// The request and the end of its connection come in one turn: the client is gone before Redis has answered.
#[test]
fn who_is_gone_before_it_is_known_leaves_nothing_behind() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &["--resume-time", "1"]);
    let (_page, ready) = open(&servers[0], "/web?resume=");
    let known = format!("/web?resume={}&seq=0", uuid(&ready));
    for (target, headers) in [(&*known, ""), ("/web?resume=", ""), ("/php", "Client-Type: php\r\nIdent: worker\r\n")] {
        let socket = std::net::TcpStream::connect(servers[1].addr).unwrap();
        servers[1].signal("STOP");
        (&socket).write_all(crate::util::request(target, headers).as_bytes()).unwrap();
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        servers[1].signal("CONT");
        wait_for("the client to be gone", || (metric(&servers[1], "phpws_clients{type=\"websocket\"}") == 0.0).then_some(()));
        assert_eq!(metric(&servers[1], "phpws_clients_away"), 0.0, "{target}");
    }
    let (mut worker, _) = servers[0].ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n");
    assert_eq!(post(&servers[0], "/feedback?ident=worker", r#"{"message":1}"#).0, 200);
    worker.text();
    let ident = redis.cli(&["zcard", "phpws:2:ident:worker"]);
    assert_eq!(ident, "1");
}

/// A page gives up on a connection that is not answered, and makes another one: both are answered at once.
#[test]
fn of_two_that_come_to_another_process_at_once_the_last_one_wins() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_page, ready) = open(&servers[0], "/web?resume=");
    let target = format!("/web?resume={}&seq=0", uuid(&ready));
    redis.cli(&["client", "pause", "500"]);
    let (mut one, mut two) = (servers[1].upgrade(&target, ""), servers[1].upgrade(&target, ""));
    assert!(two.text().contains("resumed"));
    assert!(one.text().contains("resumed"));
    one.closed_with(4000);
    drop(one);
    assert_eq!(feedback(&servers[0], &uuid(&ready), r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(next_message(&mut two)["message"], 1);
    assert_eq!(metric(&servers[1], "phpws_clients{type=\"websocket\"}"), 1.0);
    assert_eq!(metric(&servers[1], "phpws_clients_resumed_total"), 2.0);
    drop(two);
    let (_, ready) = open(&servers[0], &target);
    assert_eq!(ready["resume"], "resumed");
}

/// A client that was in another process since may know fewer messages than were sent from here.
#[test]
fn who_has_seen_more_elsewhere_is_fetched_again() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut client, ready) = open(&servers[0], "/web?resume=");
    // Each echo goes through Redis, behind its `next`.
    let early: usize = (0..5).map(|_| say(&mut client, r#"{"opcode":"echo"}"#).len()).sum();
    (early..5).for_each(|_| _ = next_message(&mut client));
    assert_eq!(feedback(&servers[1], &uuid(&ready), r#"{"message":1}"#).0, 200);
    let seen = std::iter::repeat_with(|| next_message(&mut client)).find(|message| message["message"] == 1).unwrap();
    drop(client);
    wait_for("the client to be away", || {
        (get(&servers[1], &format!("/clients/{}", uuid(&ready))).1["connected"] == json!(false)).then_some(())
    });
    feedback(&servers[1], &uuid(&ready), r#"{"message":2}"#);
    // This is what it would say, had it seen the second message elsewhere.
    let target = format!("/web?resume={}&seq=3&at={}", uuid(&ready), seen["at"].as_u64().unwrap() + 1);
    let (mut client, _) = open(&servers[0], &target);
    let next = next_message(&mut client);
    assert_eq!((&next["message"], &next["seq"]), (&json!(2), &json!(4)), "{next}");
    // And numbers that nobody ever gave.
    let target = format!("/web?resume={}&seq={}&at={}", uuid(&ready), u64::MAX, u64::MAX);
    let (mut client, _) = open(&servers[1], &target);
    client.say(r#"{"opcode":"echo"}"#);
    next_message(&mut client);
}

/// Pings find out in twice their interval that nobody reads; what was sent until then is not yet forgotten.
#[test]
fn messages_are_kept_as_long_as_a_dead_connection_may_go_unnoticed() {
    let redis = Redis::start();
    let server = process(&redis, &["--ping-interval", "300"]);
    let (_client, ready) = open(&server, "/web?resume=");
    let ttl: u64 = redis.cli(&["ttl", &format!("phpws:2:client:{}", uuid(&ready))]).parse().unwrap();
    assert!(ttl > 660, "{ttl}");
}

/// More clients than are fetched at a time come back, and Redis can't tell of most of them.
#[test]
fn who_waits_behind_clients_that_can_not_be_fetched_is_fetched() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let clients: Vec<_> = (0..12).map(|_| open(&servers[0], "/web?resume=")).collect();
    for (_, ready) in &clients[..10] {
        redis.cli(&["hset", &format!("phpws:2:client:{}", uuid(ready)), "rooms", "nonsense"]);
    }
    redis.cli(&["client", "pause", "500"]);
    let mut back: Vec<Client> =
        clients.iter().map(|(_, ready)| servers[1].upgrade(&format!("/web?resume={}&seq=0", uuid(ready)), "")).collect();
    for client in &mut back[..10] {
        client.closed_with(1013);
    }
    for client in &mut back[10..] {
        assert!(client.text().contains("resumed"));
    }
}

/// A keyed message that took the place of an older one came later than those behind it.
#[test]
fn a_message_with_a_key_does_not_make_others_look_seen() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (client, ready) = open(&servers[0], "/web?resume=");
    let uuid = uuid(&ready);
    drop(client);
    wait_for("the client to be away", || {
        (get(&servers[1], &format!("/clients/{uuid}")).1["connected"] == json!(false)).then_some(())
    });
    for (key, number) in [("p", 1), ("q", 2), ("p", 3)] {
        feedback(&servers[1], &uuid, &format!(r#"{{"key":"{key}","message":{number}}}"#));
    }
    let (mut client, _) = open(&servers[0], &format!("/web?resume={uuid}&seq=0"));
    let first = next_message(&mut client);
    assert_eq!(first["message"], 3);
    drop(client);
    let (mut client, _) = open(&servers[1], &format!("/web?resume={uuid}&seq=1&at={}", first["at"]));
    assert_eq!(next_message(&mut client)["message"], 2);
}

/// All come at once, while Redis is slow: a few are looked up at a time, and the right one waits for its turn.
#[test]
fn a_page_resumes_in_another_process_in_the_middle_of_a_flood_of_wrong_uuids_from_its_address() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_page, ready) = open(&servers[0], "/web?resume=");
    let mut guesses: Vec<Client> = (0..500).map(|_| servers[1].connect()).collect();
    let mut right = servers[1].connect();
    redis.cli(&["client", "pause", "1000"]);
    servers[1].at_rest(|| {
        let wrong = crate::util::request("/web?resume=e7369655-7143-43dd-a710-75937c023233&seq=0", "");
        guesses.iter_mut().for_each(|client| client.send(wrong.as_bytes()));
        right.send(crate::util::request(&format!("/web?resume={}&seq=0", uuid(&ready)), "").as_bytes());
    });
    guesses.iter_mut().for_each(|client| assert!(client.head().starts_with("HTTP/1.1 101 ")));
    let unanswered = metric(&servers[1], "phpws_backplane_unanswered");
    assert!((16.0..=20.0).contains(&unanswered), "{unanswered}: the look-ups, and what a process says of itself");
    right.head();
    assert!(right.text().contains(r#""resume":"resumed""#));
    let mut refused = 0;
    for client in &mut guesses {
        let frame = client.frame().unwrap();
        if frame.opcode == 8 {
            assert_eq!(frame.code(), 1013);
            refused += 1;
        } else {
            assert!(frame.text().contains(r#""resume":"lost""#));
        }
    }
    assert!((100..=300).contains(&refused), "{refused} of 500 refused, of which 200 are forgiven");
}
