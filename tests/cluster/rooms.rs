//! Rooms whose members are in several processes.

use super::{next_with, open, process, processes, say, uuid};
use crate::util::http::post;
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::wait_for;
use serde_json::{Value, json};

#[test]
fn rooms_span_processes() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &["--room-names"]);
    let (mut ann, _) = servers[0].browser();
    let (mut bob, _) = servers[1].browser();
    let (mut eve, _) = servers[1].browser();
    ann.say(r#"{"opcode":"join","room":"r","name":"Ann","announce":true}"#);
    assert_eq!(ann.text(), r#"{"opcode":"joined","room":"r","count":1}"#);
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"joined":1,"joinedNames":["Ann"]}"#);
    bob.say(r#"{"opcode":"join","room":"r","name":"Bob"}"#);
    let said = r#"{"opcode":"presence","room":"r","count":2,"joined":1,"joinedNames":["Bob"]}"#;
    assert_eq!(ann.text(), said);
    assert_eq!([bob.text(), bob.text()], [r#"{"opcode":"joined","room":"r","count":2}"#, said]);
    let packet = r#"{"opcode":"broadcast","room":"r","message":1}"#;
    ann.say(packet);
    assert_eq!(bob.text(), packet);
    bob.say(r#"{"opcode":"who","room":"r"}"#);
    let who: Value = serde_json::from_str(&bob.text()).unwrap();
    assert_eq!((&who["count"], who["names"].as_array().unwrap().len()), (&json!(2), 2));
    // Nobody in the room, a backend all the same.
    let third = process(&redis, &[]);
    let (mut backend, _) = third.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    backend.say(r#"{"opcode":"who","room":"r"}"#);
    assert_eq!(backend.text(), r#"{"opcode":"who","room":"r","count":2}"#);
    assert_eq!(post(&servers[1], "/broadcast?room=r", r#"{"message":2}"#), (200, json!({"delivered": 2, "queued": 0})));
    assert!(ann.text().contains(r#""message":2"#));
    drop(bob);
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"left":1,"leftNames":["Bob"]}"#);
    eve.say(r#"{"opcode":"echo"}"#);
    assert_eq!(eve.text(), r#"{"opcode":"echo"}"#, "who is in no room hears nothing of it");
}

#[test]
fn a_process_that_dies_is_counted_out_of_rooms() {
    let redis = Redis::start();
    let mut servers = processes(&redis, 2, &[]);
    let (mut ann, _) = servers[0].browser();
    let (mut bob, _) = servers[1].browser();
    for client in [&mut ann, &mut bob] {
        client.say(r#"{"opcode":"join","room":"r","announce":true}"#);
        next_with(client, "joined");
    }
    drop(servers.pop());
    next_with(&mut ann, r#""count":1,"left":1"#);
    say(&mut ann, r#"{"opcode":"who","room":"r"}"#);
    assert_eq!(next_with(&mut ann, r#""opcode":"who""#), r#"{"opcode":"who","room":"r","count":1}"#);
}

/// Who comes first makes a room, also one that was there before and is empty.
#[test]
fn an_empty_room_is_forgotten() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut ann, _) = servers[0].browser();
    ann.say(r#"{"opcode":"join","room":"r"}"#);
    ann.text();
    ann.say(r#"{"opcode":"leave","room":"r"}"#);
    ann.text();
    wait_for("the room to go", || (redis.cli(&["exists", "phpws:2:room:r"]) == "0").then_some(()));
    let (mut bob, _) = servers[1].browser();
    bob.say(r#"{"opcode":"join","room":"r","announce":true}"#);
    next_with(&mut bob, r#""joined":1"#);
}

/// A process that says nothing for some seconds is taken for dead; if it is not, it counts again.
#[test]
fn a_process_that_was_taken_for_dead_is_counted_again() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut ann, _) = servers[0].browser();
    let (mut bob, _) = servers[1].browser();
    for client in [&mut ann, &mut bob] {
        client.send_text(r#"{"opcode":"join","room":"r","announce":true}"#);
        next_with(client, r#""opcode":"joined""#);
    }
    servers[1].signal("STOP");
    next_with(&mut ann, r#""count":1,"left":1"#);
    servers[1].signal("CONT");
    wait_for("the other to count", || {
        let (mut new, _) = servers[0].browser();
        new.send_text(r#"{"opcode":"join","room":"r"}"#);
        let count = next_with(&mut new, r#""opcode":"joined""#);
        new.send_text(r#"{"opcode":"leave","room":"r"}"#);
        next_with(&mut new, r#""opcode":"left""#);
        count.contains(r#""count":3"#).then_some(())
    });
}

/// Redis is slow to say who is in a room, and some who joined it are gone by then.
#[test]
fn who_joins_and_goes_while_redis_is_asked_does_no_harm() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.browser();
    redis.cli(&["client", "pause", "700"]);
    for client in [&mut ann, &mut bob] {
        client.say(r#"{"opcode":"join","room":"r","announce":true}"#);
    }
    drop(bob);
    next_with(&mut ann, r#""opcode":"joined""#);
    assert!(next_with(&mut ann, r#""opcode":"presence""#).contains(r#""joined":"#));
    next_with(&mut ann, r#""left":1"#);
}

/// Whoever joins and leaves rooms in one breath must not fill Redis.
#[test]
fn a_room_that_nobody_stays_in_ends_in_redis() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let frame = |opcode: &str| crate::util::masked(true, 1, format!(r#"{{"opcode":"{opcode}","room":"r"}}"#).as_bytes());
    client.send(&[frame("join"), frame("leave")].concat());
    next_with(&mut client, r#""opcode":"left""#);
    redis.cli(&["del", &format!("phpws:2:client:{}", uuid(&ready))]);
    client.send(&[frame("join"), frame("leave")].concat());
    next_with(&mut client, r#""opcode":"left""#);
    // What was asked after the rooms is answered after them.
    client.send_text(r#"{"opcode":"who","room":"r"}"#);
    next_with(&mut client, "Not a member");
    wait_for("all to be written", || (post(&server, "/broadcast", "1").0 == 200).then_some(()));
    for key in redis
        .cli(&["--scan"])
        .lines()
        .filter(|key| !["phpws:2:clock", "phpws:2:nodes", "phpws:2:processes", "phpws:versions"].contains(key))
    {
        assert_ne!(redis.cli(&["ttl", key]), "-1", "{key} stays for ever");
    }
}

#[test]
fn a_process_that_has_just_come_is_counted() {
    let redis = Redis::start();
    let first = process(&redis, &[]);
    // Its beat, which says who is alive, was before the second one came.
    wait_for("a beat", || (redis.cli(&["zcard", "phpws:2:nodes"]) == "1").then_some(()));
    let second = process(&redis, &[]);
    let (mut ann, _) = second.browser();
    let (mut bob, _) = first.browser();
    ann.send_text(r#"{"opcode":"join","room":"r"}"#);
    next_with(&mut ann, r#""opcode":"joined""#);
    bob.send_text(r#"{"opcode":"join","room":"r"}"#);
    assert!(next_with(&mut bob, r#""opcode":"joined""#).contains(r#""count":2"#));
}

/// A room's messages are for who was in it when they were sent.
#[test]
fn who_comes_back_gets_nothing_from_before_it_joined() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    assert_eq!(post(&servers[1], "/broadcast?room=r", r#"{"message":1}"#).0, 200);
    page.say(r#"{"opcode":"join","room":"r"}"#);
    page.until("joined", |page| page.got.len() == 1);
    assert_eq!(post(&servers[1], "/broadcast?room=r", r#"{"message":2}"#).0, 200);
    page.until("the message", |page| page.got.len() == 2);
    page.break_off();
    assert_eq!(post(&servers[1], "/broadcast?room=r", r#"{"message":3}"#).0, 202);
    page.addrs = vec![servers[1].addr];
    page.until("what was missed", |page| page.got.len() == 3);
    // Once more, having seen nothing at all.
    let mut other = Page::ready(&[servers[0].addr], "/web");
    assert_eq!(post(&servers[1], "/broadcast?room=s", r#"{"message":1}"#).0, 200);
    other.say(r#"{"opcode":"join","room":"s"}"#);
    other.until("joined", |other| other.got.len() == 1);
    other.break_off();
    (other.seq, other.at) = (0, 0);
    other.got.clear();
    other.addrs = vec![servers[1].addr];
    assert_eq!(post(&servers[1], "/broadcast?room=s", r#"{"message":2}"#).0, 202);
    // The answer to its join is for it too.
    other.until("what was missed", |other| other.got.len() == 2);
    assert_eq!((&other.got[0]["opcode"], &other.got[1]["message"]), (&"joined".into(), &2.into()), "{:?}", other.got);
}
