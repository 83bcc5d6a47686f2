//! Several processes on one Redis: they act as one server, and survive each other and Redis.
//!
//! Needs redis-server (Debian: `apt-get install redis-server`): `make cluster-tests`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::io::Write;
use std::time::{Duration, Instant};

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

// ---- odd moments

/// A client past `ready`, and what that said.
fn open(server: &Phpws, target: &str) -> (Client, Value) {
    let mut client = server.upgrade(target, "");
    let ready: Value = serde_json::from_str(&client.text()).unwrap();
    assert_eq!(ready["opcode"], "ready", "{ready}");
    (client, ready)
}

fn uuid(ready: &Value) -> String {
    ready["uuid"].as_str().unwrap().to_owned()
}

fn metric(server: &Phpws, name: &str) -> f64 {
    let text = String::from_utf8(metrics(server)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line.parse().unwrap()
}

/// The next text that is no `next`, without looking at pings.
fn next_message(client: &mut Client) -> Value {
    serde_json::from_str(&std::iter::repeat_with(|| client.text()).find(|text| text != NEXT).unwrap()).unwrap()
}

#[test]
fn who_is_asked_to_come_again_leaves_nothing_behind() {
    let mut redis = Redis::start();
    let server = process(&redis, &[]);
    redis.kill();
    server.log_line("Backplane is away");
    for _ in 0..3 {
        let mut client = server.upgrade("/web?resume=e7369655-7143-43dd-a710-75937c023233&seq=0", "");
        client.closed_with(1013);
    }
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
    assert_eq!(metric(&server, "phpws_clients{type=\"websocket\"}"), 0.0);
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
        (&socket).write_all(util::request(target, headers).as_bytes()).unwrap();
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        servers[1].signal("CONT");
        wait_for("the client to be gone", || (metric(&servers[1], "phpws_clients{type=\"websocket\"}") == 0.0).then_some(()));
        assert_eq!(metric(&servers[1], "phpws_clients_away"), 0.0, "{target}");
    }
    let (mut worker, _) = servers[0].ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n");
    assert_eq!(post(&servers[0], "/feedback?ident=worker", r#"{"message":1}"#).0, 200);
    worker.text();
    let ident = redis.cli(&["zcard", "phpws:1:ident:worker"]);
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

#[test]
fn receipts_that_are_too_long_do_not_use_up_the_questions() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut browser, _) = server.browser();
    let packet = format!(r#"{{"opcode":"feedback","ident":"nobody","receipt":"{}"}}"#, "x".repeat(200));
    for _ in 0..101 {
        browser.send(&util::masked(true, 1, packet.as_bytes()).repeat(100));
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
    let broadcast = |cseq: u64| util::masked(true, 1, format!(r#"{{"opcode":"broadcast","cseq":{cseq}}}"#).as_bytes());
    let echo = |cseq: u64| util::masked(true, 1, format!(r#"{{"opcode":"echo","cseq":{cseq}}}"#).as_bytes());
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
        let nodes = redis.cli(&["zrange", "phpws:1:nodes", "0", "-1"]);
        (nodes.lines().count() == 2).then_some(nodes)
    });
    for node in nodes.lines() {
        redis.cli(&["hset", &format!("phpws:1:client:{uuid}"), "node", node, "type", "websocket"]);
        assert_eq!(feedback(&servers[0], uuid, "1").0, 404);
    }
    redis.cli(&["hset", &format!("phpws:1:client:{uuid}"), "resume", "1"]);
    assert_eq!(feedback(&servers[0], uuid, "1"), (202, json!({"delivered": 0, "queued": 1})));
}

#[test]
fn what_is_known_here_is_said_while_redis_refuses_or_is_away() {
    let mut redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    redis.cli(&["config", "set", "maxmemory", "1"]);
    assert_eq!(feedback(&server, &uuid(&ready), r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(next_message(&mut client)["message"], 1);
    redis.kill();
    server.log_line("Backplane");
    assert_eq!(get(&server, &format!("/clients/{}", uuid(&ready))).0, 200);
    wait_for("an honest answer", || (get(&server, "/clients/e7369655-7143-43dd-a710-75937c023233").0 == 503).then_some(()));
}

/// Redis has told of a message, and is gone before the other process has said what became of it.
#[test]
fn who_waits_for_another_process_as_redis_goes_is_answered() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (_browser, _) = servers[1].browser();
    servers[1].signal("STOP");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| post(&servers[0], "/broadcast", "1"));
        std::thread::sleep(Duration::from_millis(300));
        redis.kill();
        let (status, answer) = asked.join().unwrap();
        assert_eq!((status, &answer["delivered"]), (202, &json!("unknown")));
    });
    servers[1].signal("CONT");
}

/// A client that was in another process since may know fewer messages than were sent from here.
#[test]
fn who_has_seen_more_elsewhere_is_fetched_again() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut client, ready) = open(&servers[0], "/web?resume=");
    for _ in 0..5 {
        say(&mut client, r#"{"opcode":"echo"}"#);
    }
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

/// Redis has handed a message out before anybody here needed it, and is gone later.
#[test]
fn what_was_sent_before_a_client_came_is_not_for_it() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut other, _) = servers[1].browser();
    let (mut publisher, mut browser) = (servers[0].connect(), servers[0].connect());
    servers[0].signal("STOP");
    publisher.send(b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1");
    browser.send(util::request("/web", "").as_bytes());
    servers[0].signal("CONT");
    assert!(publisher.head().starts_with("HTTP/1.1 200 "));
    browser.head();
    assert!(browser.text().contains("ready"));
    other.text();
    redis.kill();
    servers[0].log_line("Backplane is away");
    assert!(browser.is_silent(Duration::from_millis(300)));
}

/// Pings find out in twice their interval that nobody reads; what was sent until then is not yet forgotten.
#[test]
fn messages_are_kept_as_long_as_a_dead_connection_may_go_unnoticed() {
    let redis = Redis::start();
    let server = process(&redis, &["--ping-interval", "300"]);
    let (_client, ready) = open(&server, "/web?resume=");
    let ttl: u64 = redis.cli(&["ttl", &format!("phpws:1:client:{}", uuid(&ready))]).parse().unwrap();
    assert!(ttl > 660, "{ttl}");
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
    wait_for("the room to go", || (redis.cli(&["exists", "phpws:1:room:r"]) == "0").then_some(()));
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

/// Somebody else writes to the same Redis.
#[test]
fn strange_things_in_redis_harm_no_client() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut ann, _) = server.browser();
    let (mut page, ready) = open(&server, "/web?resume=");
    ann.say(r#"{"opcode":"join","room":"r","announce":true}"#);
    next_with(&mut ann, r#""opcode":"presence""#);
    let deep = "[".repeat(100_000);
    let message = |members: &str| format!("{{\"v\":1,\"at\":1,{members}}}\nx");
    for payload in [
        "",
        "x",
        &deep,
        "{\"v\":1}\n",
        &message(r#""kind":"message","from":"n","id":1,"to":[]"#),
        &message(r#""kind":"message","from":"n","id":18446744073709551615,"to":{"uuid":"nobody"},"ask":7"#),
        &message(r#""kind":"presence","from":"n","room":"r","count":18446744073709551615,"moved":7"#),
        &message(r#""kind":"presence","from":"m","room":"r","count":18446744073709551615,"moved":{"joined":[]}"#),
        &message(r#""kind":"yield","uuid":"nobody""#),
        &message(r#""kind":"fate","ask":7,"delivered":18446744073709551615,"queued":0,"failed":0"#),
    ] {
        redis.cli(&["publish", "phpws:1:room:r", payload]);
        redis.cli(&["publish", "phpws:1:all", payload]);
    }
    redis.cli(&["hset", "phpws:1:room:r", "announce", "7", "nobody", "nonsense"]);
    redis.cli(&["hset", &format!("phpws:1:client:{}", uuid(&ready)), "rooms", "{}", "cseq", "x"]);
    redis.cli(&["del", "phpws:1:clock"]);
    redis.cli(&["lpush", "phpws:1:clock", "x"]);
    let answer = feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(answer, (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(next_message(&mut page)["message"], 1);
    redis.cli(&["del", "phpws:1:clock"]);
    server.log_line("works again");
    ann.send_text(r#"{"opcode":"who","room":"r"}"#);
    next_with(&mut ann, r#""opcode":"who""#);
    drop(page);
    wait_for("all to be well", || (post(&server, "/broadcast", "1").1["delivered"] == 1).then_some(()));
}

/// More clients than are fetched at a time come back, and Redis can't tell of most of them.
#[test]
fn who_waits_behind_clients_that_can_not_be_fetched_is_fetched() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let clients: Vec<_> = (0..12).map(|_| open(&servers[0], "/web?resume=")).collect();
    for (_, ready) in &clients[..10] {
        redis.cli(&["hset", &format!("phpws:1:client:{}", uuid(ready)), "rooms", "nonsense"]);
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

/// While its clients are made known to a Redis that knows nothing, a process gets messages for them already.
#[test]
fn who_is_not_known_to_redis_yet_misses_nothing() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &["--resume-bytes", "16000000"]);
    let mut clients: Vec<Client> = (0..300).map(|_| open(&servers[0], "/web?resume=").0).collect();
    let (mut browser, _) = servers[0].browser();
    let (mut sender, _) = servers[1].browser();
    redis.kill();
    servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
    redis.start_again();
    let until = Instant::now() + Duration::from_secs(3);
    let mut sent = 0;
    while Instant::now() < until {
        sent += 1;
        sender.say(&format!(r#"{{"opcode":"broadcast","message":{sent}}}"#));
        std::thread::sleep(Duration::from_millis(1));
    }
    let numbers = |client: &mut Client| -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&sent) {
            numbers.push(next_message(client)["message"].as_u64().unwrap());
        }
        numbers
    };
    let expected = numbers(&mut browser);
    for client in &mut clients {
        let got = numbers(client);
        let lost: Vec<&u64> = expected.iter().filter(|number| !got.contains(number)).collect();
        assert!(got == expected, "lost {lost:?}");
    }
}

/// Whoever joins and leaves rooms in one breath must not fill Redis.
#[test]
fn a_room_that_nobody_stays_in_ends_in_redis() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    let (mut client, ready) = open(&server, "/web?resume=");
    let frame = |opcode: &str| util::masked(true, 1, format!(r#"{{"opcode":"{opcode}","room":"r"}}"#).as_bytes());
    client.send(&[frame("join"), frame("leave")].concat());
    next_with(&mut client, r#""opcode":"left""#);
    redis.cli(&["del", &format!("phpws:1:client:{}", uuid(&ready))]);
    client.send(&[frame("join"), frame("leave")].concat());
    next_with(&mut client, r#""opcode":"left""#);
    // What was asked after the rooms is answered after them.
    client.send_text(r#"{"opcode":"who","room":"r"}"#);
    next_with(&mut client, "Not a member");
    wait_for("all to be written", || (post(&server, "/broadcast", "1").0 == 200).then_some(()));
    for key in redis.cli(&["--scan"]).lines().filter(|key| !["phpws:1:clock", "phpws:1:nodes"].contains(key)) {
        assert_ne!(redis.cli(&["ttl", key]), "-1", "{key} stays for ever");
    }
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

#[test]
fn a_process_that_has_just_come_is_counted() {
    let redis = Redis::start();
    let first = process(&redis, &[]);
    std::thread::sleep(Duration::from_millis(100));
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
    other.until("what was missed", |other| !other.got.is_empty());
    assert_eq!(other.got[0]["message"], 2, "{:?}", other.got);
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
