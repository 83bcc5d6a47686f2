//! Redis goes, freezes, is slow, is full, forgets, and holds strange things.

use std::time::{Duration, Instant};

use super::{next_message, next_with, open, process, processes, say, uuid};
use crate::util::http::{feedback, get, metric, post};
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::{Client, Phpws, wait_for};
use serde_json::json;

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
    let undelivered = metric(&servers[0], "phpws_backplane_undelivered_total");
    assert!(undelivered >= 4.0, "{undelivered}");
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

/// Redis answers late: who needs it waits, and nobody else.
#[test]
fn redis_may_be_slow() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut ann, ann_uuid) = servers[0].browser();
    let (mut eve, eve_uuid) = servers[1].browser();
    redis.cli(&["client", "pause", "1000", "all"]);
    let began = Instant::now();
    for _ in 0..100 {
        ann.say(r#"{"opcode":"echo"}"#);
        ann.text();
    }
    assert_eq!(feedback(&servers[0], &ann_uuid, r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(feedback(&servers[0], &eve_uuid, r#"{"message":2}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(eve.text().contains(r#""message":2"#));
    assert!(servers[0].log().iter().all(|line| !line.contains("Backplane is away")));
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
    let published = |redis: &Redis| {
        let stats = redis.cli(&["info", "commandstats"]);
        stats.lines().find(|line| line.starts_with("cmdstat_publish:")).map(str::to_owned)
    };
    let before = published(&redis);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| post(&servers[0], "/broadcast", "1"));
        wait_for("the message to be in Redis", || (published(&redis) != before).then_some(()));
        redis.kill();
        let (status, answer) = asked.join().unwrap();
        assert_eq!((status, &answer["delivered"]), (202, &json!("unknown")));
    });
    servers[1].signal("CONT");
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
        redis.cli(&["publish", "phpws:2:0:room:r", payload]);
        redis.cli(&["publish", "phpws:2:0:all", payload]);
    }
    redis.cli(&["hset", "phpws:2:room:r", "announce", "7", "nobody", "nonsense"]);
    redis.cli(&["hset", &format!("phpws:2:client:{}", uuid(&ready)), "rooms", "{}", "cseq", "x"]);
    redis.cli(&["del", "phpws:2:clock"]);
    redis.cli(&["lpush", "phpws:2:clock", "x"]);
    let answer = feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(answer, (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(next_message(&mut page)["message"], 1);
    redis.cli(&["del", "phpws:2:clock"]);
    server.log_line("works again");
    ann.send_text(r#"{"opcode":"who","room":"r"}"#);
    next_with(&mut ann, r#""opcode":"who""#);
    drop(page);
    wait_for("all to be well", || (post(&server, "/broadcast", "1").1["delivered"] == 1).then_some(()));
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
