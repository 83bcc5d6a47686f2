//! Messages find their receivers in any process, and what is said of them is so.

use std::time::{Duration, Instant};

use super::{next_with, open, process, processes, uuid};
use crate::util::http::{feedback, get, post};
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::{NEXT, wait_for};
use serde_json::json;

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
fn another_process_knows_a_client() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_browser, uuid) = servers[0].browser();
    let (status, known) = get(&servers[1], &format!("/clients/{uuid}"));
    assert_eq!((status, &known["connected"], &known["resource"]), (200, &json!(true), &json!("/web")));
    assert_eq!(get(&servers[1], "/clients/e7369655-7143-43dd-a710-75937c023233").0, 404);
}

#[test]
fn prefixes_keep_servers_apart() {
    let redis = Redis::start();
    let (ours, theirs) = (process(&redis, &[]), process(&redis, &["--backplane-prefix", "other"]));
    let (_browser, uuid) = ours.browser();
    assert_eq!(feedback(&theirs, &uuid, "1").0, 404);
    assert_eq!(post(&theirs, "/broadcast", "1"), (200, json!({"delivered": 0, "queued": 0})));
    let keys = redis.cli(&["--scan"]);
    assert!(
        keys.lines()
            .all(|key| ["phpws:2:", "other:2:", "phpws:versions", "other:versions"].iter().any(|start| key.starts_with(start))),
        "{keys}"
    );
}

#[test]
fn what_ends_leaves_nothing_in_redis() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut browser, _) = server.browser();
    browser.say(r#"{"opcode":"join","room":"r"}"#);
    next_with(&mut browser, "joined");
    let (mut worker, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: w\r\n");
    assert_eq!(redis.cli(&["exists", "phpws:2:room:r"]), "1");
    browser.say(r#"{"opcode":"quit"}"#);
    worker.say(r#"{"opcode":"quit"}"#);
    wait_for("the keys to go", || {
        let keys = redis.cli(&["--scan"]);
        keys.lines()
            .all(|key| ["phpws:2:clock", "phpws:2:nodes", "phpws:2:processes", "phpws:versions", "phpws:2:room:r"].contains(&key))
            .then_some(())
    });
    // What may be left has an end.
    assert_ne!(redis.cli(&["ttl", "phpws:2:room:r"]), "-1");
    assert_eq!(redis.cli(&["pubsub", "channels", "phpws:2:0:a*"]), "", "a process without clients needs no broadcasts");
}

#[test]
fn receipts_that_are_too_long_do_not_use_up_the_questions() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut browser, _) = server.browser();
    let packet = format!(r#"{{"opcode":"feedback","ident":"nobody","receipt":"{}"}}"#, "x".repeat(200));
    for _ in 0..101 {
        browser.send(&crate::util::masked(true, 1, packet.as_bytes()).repeat(100));
        for _ in 0..100 {
            next_with(&mut browser, "is over 128 bytes");
        }
    }
    assert_eq!(post(&server, "/broadcast", "1"), (200, json!({"delivered": 1, "queued": 0})));
}

#[test]
fn each_message_gets_its_next_also_behind_one_that_waits() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let broadcast = |cseq: u64| crate::util::masked(true, 1, format!(r#"{{"opcode":"broadcast","cseq":{cseq}}}"#).as_bytes());
    let echo = |cseq: u64| crate::util::masked(true, 1, format!(r#"{{"opcode":"echo","cseq":{cseq}}}"#).as_bytes());
    client.send(&[broadcast(1), echo(2), broadcast(3), echo(4)].concat());
    client.send_text(r#"{"opcode":"last"}"#);
    let texts: Vec<String> = (0..7).map(|_| client.text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == NEXT).count(), 5, "{texts:?}");
    // One that waits for its `next` as the connection breaks, and is sent again.
    redis.cli(&["client", "pause", "500"]);
    client.send(&broadcast(5));
    drop(client);
    let (mut client, _) = open(&server, &format!("/web?resume={}&seq=2", uuid(&ready)));
    client.send(&broadcast(5));
    client.send_text(r#"{"opcode":"echo","cseq":6}"#);
    let mut texts: Vec<String> = (0..3).map(|_| client.text()).collect();
    client.send_text(r#"{"opcode":"echo","cseq":7}"#);
    texts.extend((0..2).map(|_| client.text()));
    assert_eq!(texts.iter().filter(|text| *text == NEXT).count(), 3, "{texts:?}");
    assert!(client.is_silent(Duration::from_millis(100)));
}

#[test]
fn numbers_of_messages_are_told_apart_however_large() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut other, _) = server.browser();
    let (mut client, _) = open(&server, "/web?resume=");
    for cseq in [1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
        client.say(&format!(r#"{{"opcode":"broadcast","cseq":{cseq}}}"#));
        assert!(other.text().ends_with(&format!(":{cseq}}}")));
    }
}

/// Redis says that a process has a client, and the process knows nothing of it.
#[test]
fn what_reaches_nobody_is_not_said_to_be_delivered() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let uuid = "e7369655-7143-43dd-a710-75937c023233";
    let nodes = wait_for("both to be alive", || {
        let nodes = redis.cli(&["zrange", "phpws:2:nodes", "0", "-1"]);
        (nodes.lines().count() == 2).then_some(nodes)
    });
    for node in nodes.lines() {
        redis.cli(&["hset", &format!("phpws:2:client:{uuid}"), "node", node, "type", "websocket"]);
        assert_eq!(feedback(&servers[0], uuid, "1").0, 404);
    }
    redis.cli(&["hset", &format!("phpws:2:client:{uuid}"), "resume", "1"]);
    assert_eq!(feedback(&servers[0], uuid, "1"), (202, json!({"delivered": 0, "queued": 1})));
}

/// Redis has handed a message out before anybody here needed it, and is gone later.
#[test]
fn what_was_sent_before_a_client_came_is_not_for_it() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut other, _) = servers[1].browser();
    let (mut publisher, mut browser) = (servers[0].connect(), servers[0].connect());
    servers[0].signal("STOP");
    publisher.send(b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1");
    browser.send(crate::util::request("/web", "").as_bytes());
    servers[0].signal("CONT");
    assert!(publisher.head().starts_with("HTTP/1.1 200 "));
    browser.head();
    assert!(browser.text().contains("ready"));
    other.text();
    redis.kill();
    servers[0].log_line("Backplane is away");
    assert!(browser.is_silent(Duration::from_millis(300)));
}

/// What follows from an answer of Redis is asked at once, not when something else happens.
#[test]
fn a_question_that_leads_to_others_takes_no_beats() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_browser, uuid) = servers[0].browser();
    let mut page = Page::ready(&[servers[0].addr], "/web");
    let begin = Instant::now();
    for _ in 0..5 {
        assert_eq!(get(&servers[1], &format!("/clients/{uuid}")).0, 200);
    }
    for server in servers.iter().chain(&servers) {
        page.break_off();
        page.addrs = vec![server.addr];
        let told = page.standings.len();
        page.until("ready", |page| page.standings.len() > told);
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// A worker whose process died must not stand in the way of the one that took its place.
#[test]
fn a_name_finds_the_living() {
    let redis = Redis::start();
    let mut servers = processes(&redis, 2, &[]);
    let worker = "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n";
    let (_dead, _) = servers[1].ready_on("/php", worker);
    drop(servers.pop());
    let third = process(&redis, &[]);
    let (mut living, _) = third.ready_on("/php", worker);
    assert_eq!(post(&servers[0], "/feedback?ident=worker", r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(living.text().contains(r#""message":1"#));
}
