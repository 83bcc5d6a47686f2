//! Several processes on one Redis: they act as one server, and survive each other and Redis.
//!
//! Needs redis-server (Debian: `apt-get install redis-server`): `make cluster-tests`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use serde_json::{Value, json};
use util::http::{feedback, get, post};
use util::page::Page;
use util::redis::Redis;
use util::{Phpws, wait_for};

/// So many processes on one Redis, each connected.
fn processes(redis: &Redis, count: usize, args: &[&str]) -> Vec<Phpws> {
    (0..count).map(|_| process(redis, args)).collect()
}

fn process(redis: &Redis, args: &[&str]) -> Phpws {
    let url = redis.url();
    let server = Phpws::start(&[&["--backplane", &url], args].concat());
    server.log_line("Backplane is up");
    server
}

#[test]
fn feedback_finds_a_browser_in_another_process() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut browser, uuid) = servers[0].browser();
    let (mut backend, _) = servers[1].ready_on("/php", "");
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":1.0}}"#);
    backend.say(&packet);
    assert_eq!(browser.text(), packet);
    assert_eq!(feedback(&servers[1], &uuid, r#"{"message":2}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(browser.text().contains(r#""message":2"#));
    assert_eq!(feedback(&servers[1], "e7369655-7143-43dd-a710-75937c023233", "1").0, 404);
    drop(browser);
    wait_for("the browser to be gone", || (feedback(&servers[1], &uuid, "1").0 == 404).then_some(()));
}

#[test]
fn feedback_finds_a_backend_by_its_ident_in_another_process() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut worker, _) = servers[0].ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n");
    assert_eq!(post(&servers[1], "/feedback?ident=worker", r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(worker.text().contains(r#""message":1"#));
    assert_eq!(post(&servers[1], "/feedback?ident=nobody", r#"{"message":1}"#).0, 404);
}

#[test]
fn a_broadcast_reaches_all_but_its_sender_once() {
    let redis = Redis::start();
    let servers = processes(&redis, 3, &[]);
    let mut browsers: Vec<_> = servers.iter().flat_map(|server| [server.browser().0, server.ready_on("/", "").0]).collect();
    for number in 0..20 {
        let packet = format!(r#"{{"opcode":"broadcast","message":{number}}}"#);
        browsers[0].say(&packet);
        for browser in &mut browsers[1..] {
            assert_eq!(browser.text(), packet);
        }
    }
    assert_eq!(post(&servers[2], "/broadcast", r#"{"message":1}"#), (200, json!({"delivered": 6, "queued": 0})));
    for browser in &mut browsers {
        assert!(browser.text().contains(r#""message":1"#));
    }
    assert_eq!(post(&servers[1], "/broadcast?resource=/web", "1"), (200, json!({"delivered": 3, "queued": 0})));
}

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
fn another_process_knows_a_client() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_browser, uuid) = servers[0].browser();
    let (status, known) = get(&servers[1], &format!("/clients/{uuid}"));
    assert_eq!((status, &known["connected"], &known["resource"]), (200, &json!(true), &json!("/web")));
    assert_eq!(get(&servers[1], "/clients/e7369655-7143-43dd-a710-75937c023233").0, 404);
}

#[test]
fn a_page_resumes_in_another_process() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut other, _) = servers[1].browser();
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
    other.say(r#"{"opcode":"broadcast","message":3}"#);
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
