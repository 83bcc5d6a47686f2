//! Several processes on one Redis: they act as one server, and survive each other and Redis.
//!
//! Needs redis-server (Debian: `apt-get install redis-server`): `make cluster-tests`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use serde_json::{Value, json};
use util::http::{feedback, get, post};
use util::page::Page;
use util::redis::Redis;
use util::{Client, NEXT, Phpws, wait_for};

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

/// Sends a message, and gives what came before its `next`.
fn say(client: &mut Client, text: &str) -> Vec<String> {
    client.send_text(text);
    std::iter::repeat_with(|| client.text()).take_while(|text| text != NEXT).collect()
}

/// The next message that has this in it.
fn next_with(client: &mut Client, part: &str) -> String {
    std::iter::repeat_with(|| client.text()).find(|text| text.contains(part)).unwrap()
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

// ---- faults of Redis

/// Local clients go on, what can't be said of others is `unknown`, and once Redis is back all is as before.
fn survives(servers: &[Phpws], fault: impl FnOnce(), away: &str, repair: impl FnOnce(), back: &str) {
    let (mut ann, ann_uuid) = servers[0].browser();
    let (mut bob, bob_uuid) = servers[0].browser();
    let (mut eve, eve_uuid) = servers[1].browser();
    let mut page = Page::ready(&[servers[0].addr], "/web");
    for client in [&mut ann, &mut eve] {
        client.say(r#"{"opcode":"join","room":"r"}"#);
        next_with(client, "joined");
    }
    fault();
    // Whoever asks in the first moment gets an answer too.
    let (status, answer) = post(&servers[0], "/broadcast", r#"{"message":1}"#);
    assert_eq!((status, &answer["delivered"]), (202, &json!("unknown")), "{answer}");
    servers[0].log_line(away);
    servers[1].log_line(away);
    assert_eq!(
        post(&servers[0], "/broadcast", r#"{"message":2}"#),
        (202, json!({"delivered": "unknown", "known": 3, "queued": 0}))
    );
    assert_eq!(feedback(&servers[0], &ann_uuid, r#"{"message":3}"#), (200, json!({"delivered": 1, "queued": 0})));
    let (status, answer) = feedback(&servers[0], &eve_uuid, r#"{"message":4}"#);
    assert_eq!((status, &answer["delivered"], &answer["known"]), (503, &json!("unknown"), &json!(0)), "{answer}");
    let told = say(&mut bob, r#"{"opcode":"broadcast","message":5}"#);
    assert_eq!(told.len(), 2, "{told:?}");
    for number in [1, 2, 3, 5] {
        assert!(ann.text().contains(&format!(r#""message":{number}"#)));
    }
    let (mut new, _) = servers[0].browser();
    new.say(r#"{"opcode":"join","room":"r"}"#);
    next_with(&mut new, r#"{"opcode":"joined","room":"r","count":"#);
    page.until("what was sent here", |page| page.got.len() == 3);
    let said = servers[0].log().iter().filter(|line| line.contains(away)).count();
    assert_eq!(said, 1, "it is said once");
    repair();
    servers[0].log_line(back);
    wait_for("feedback to another process", || (feedback(&servers[1], &bob_uuid, r#"{"message":6}"#).0 == 200).then_some(()));
    next_with(&mut bob, r#""message":6"#);
    wait_for("presence to be right", || {
        say(&mut eve, r#"{"opcode":"who","room":"r"}"#);
        next_with(&mut eve, r#""opcode":"who""#).contains(r#""count":3"#).then_some(())
    });
    assert_eq!(post(&servers[1], "/broadcast", r#"{"message":7}"#), (200, json!({"delivered": 5, "queued": 0})));
    page.until("what is sent elsewhere", |page| page.got.len() == 4);
    let metrics = String::from_utf8(metrics(&servers[0])).unwrap();
    let undelivered = metrics.lines().find_map(|line| line.strip_prefix("phpws_backplane_undelivered_total ")).unwrap();
    assert!(undelivered.parse::<u64>().unwrap() >= 4, "{undelivered}");
}

fn metrics(server: &Phpws) -> Vec<u8> {
    let mut client = server.connect();
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.rest()
}

#[test]
fn redis_may_go_and_come_back_empty() {
    let redis = std::cell::RefCell::new(Redis::start());
    let servers = processes(&redis.borrow(), 2, &[]);
    survives(&servers, || redis.borrow_mut().kill(), "Backplane is away", || redis.borrow_mut().start_again(), "Backplane is up");
}

#[test]
fn redis_may_freeze() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    survives(&servers, || redis.signal("STOP"), "Backplane is away", || redis.signal("CONT"), "Backplane is up");
}

#[test]
fn redis_may_be_full() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let fault = || drop(redis.cli(&["config", "set", "maxmemory", "1"]));
    survives(&servers, fault, "Backplane refuses", || drop(redis.cli(&["config", "set", "maxmemory", "0"])), "works again");
}

#[test]
fn redis_may_forget_the_scripts() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut browser, uuid) = servers[0].browser();
    redis.cli(&["script", "flush"]);
    wait_for("feedback", || (feedback(&servers[1], &uuid, r#"{"message":1}"#).0 == 200).then_some(()));
    assert!(browser.text().contains(r#""message":1"#));
}

#[test]
fn a_wrong_password_is_said_and_the_clients_here_are_served() {
    let redis = Redis::start_with(&["--requirepass", "right-one"]);
    let url = format!("redis://:wr0ng-one@127.0.0.1:{}", redis.port);
    let server = Phpws::start(&["--backplane", &url]);
    let line = server.log_line("Backplane is away");
    assert!(line.contains("password") && !line.contains("wr0ng-one"), "{line}");
    let (mut browser, uuid) = server.browser();
    assert_eq!(feedback(&server, &uuid, r#"{"message":1}"#).0, 200);
    assert!(browser.text().contains(r#""message":1"#));
    let good = process_at(&format!("redis://:right-one@127.0.0.1:{}", redis.port));
    good.log_line("Backplane is up");
    assert!(good.log().iter().all(|line| !line.contains("right-one")));
}

fn process_at(url: &str) -> Phpws {
    Phpws::start(&["--backplane", url])
}

#[test]
fn prefixes_keep_servers_apart() {
    let redis = Redis::start();
    let (ours, theirs) = (process(&redis, &[]), process(&redis, &["--backplane-prefix", "other"]));
    let (_browser, uuid) = ours.browser();
    assert_eq!(feedback(&theirs, &uuid, "1").0, 404);
    assert_eq!(post(&theirs, "/broadcast", "1"), (200, json!({"delivered": 0, "queued": 0})));
    let keys = redis.cli(&["--scan"]);
    assert!(keys.lines().all(|key| key.starts_with("phpws:1:") || key.starts_with("other:1:")), "{keys}");
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

#[test]
fn what_ends_leaves_nothing_in_redis() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut browser, _) = server.browser();
    browser.say(r#"{"opcode":"join","room":"r"}"#);
    next_with(&mut browser, "joined");
    let (mut worker, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: w\r\n");
    assert_eq!(redis.cli(&["exists", "phpws:1:room:r"]), "1");
    browser.say(r#"{"opcode":"quit"}"#);
    worker.say(r#"{"opcode":"quit"}"#);
    wait_for("the keys to go", || {
        let keys = redis.cli(&["--scan"]);
        keys.lines().all(|key| ["phpws:1:clock", "phpws:1:nodes", "phpws:1:room:r"].contains(&key)).then_some(())
    });
    // What may be left has an end.
    assert_ne!(redis.cli(&["ttl", "phpws:1:room:r"]), "-1");
    assert_eq!(redis.cli(&["pubsub", "channels", "phpws:1:a*"]), "", "a process without clients needs no broadcasts");
}
