//! What a publisher is told, the order of messages, and messages that are sent again.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{END, Net, numbers_until_end, resuming, wait_for_processes, wait_until_away};
use crate::util::http::{feedback, post};
use crate::util::proxy::Way;
use crate::util::redis::Redis;
use crate::util::{Client, NEXT, Phpws, request, wait_for};
use crate::{open, process, processes};

/// A page that resets its connection, and the same connection as a client.
fn page_to_reset(server: &Phpws) -> (TcpStream, String) {
    let stream = TcpStream::connect(server.addr).unwrap();
    let mut client = Client::over(stream.try_clone().unwrap());
    client.send(request("/web?resume=", "").as_bytes());
    client.head();
    let ready: Value = serde_json::from_str(&client.text()).unwrap();
    (stream, super::uuid(&ready))
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The connection is reset in the turn in which the message is written to it; `path` has UUID for the page's.
fn reset_as_it_is_written(server: &Phpws, path: &str) -> (u16, Value) {
    let (stream, uuid) = page_to_reset(server);
    let mut publisher = server.connect();
    // The server knows this connection by now, so that the request comes in the same turn as the reset, and before it.
    publisher.send(b"GET /clients/x HTTP/1.1\r\nHost: x\r\n\r\n");
    publisher.head();
    publisher.rest_of_body();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", path.replace("UUID", &uuid));
    server.at_rest(|| {
        publisher.send(format!("{head}Content-Length: 1\r\n\r\n1").as_bytes());
        reset(stream);
    });
    let answer = String::from_utf8(publisher.rest()).unwrap();
    let (head, body) = answer.trim_start().split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_page_that_resets_as_it_is_written_to_gets_it_later() {
    let redis = Redis::start();
    for server in [Phpws::start(&[]), process(&redis, &[])] {
        for path in ["/feedback/UUID", "/feedback/UUID?key=k"].repeat(5) {
            assert_eq!(reset_as_it_is_written(&server, path), (202, json!({"delivered": 0, "queued": 1})), "{path}");
        }
    }
}

#[test]
fn a_broadcast_counts_a_page_that_resets_as_it_is_written_to_as_queued() {
    let redis = Redis::start();
    for path in ["/broadcast", "/broadcast?resource=/web", "/broadcast?key=k"] {
        for server in [Phpws::start(&[]), process(&redis, &["--backplane-prefix", &path.replace(['/', '?'], "")])] {
            assert_eq!(reset_as_it_is_written(&server, path), (202, json!({"delivered": 0, "queued": 1})), "{path}");
        }
    }
}

/// The same where another process was asked: it waits for the answer of the page's own.
#[test]
fn a_page_that_resets_as_another_process_writes_to_it_gets_it_later() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let published = || {
        let stats = redis.cli(&["info", "commandstats"]);
        stats.lines().find(|line| line.starts_with("cmdstat_publish:")).map(str::to_owned)
    };
    let answer = wait_for("an answer in time", || {
        let (stream, uuid) = page_to_reset(&servers[0]);
        let before = published();
        let answer = std::thread::scope(|scope| {
            let asked = servers[0].at_rest(|| {
                let asked = scope.spawn(|| feedback(&servers[1], &uuid, "1"));
                wait_for("the message to be in Redis", || (published() != before).then_some(()));
                reset(stream);
                asked
            });
            asked.join().unwrap()
        });
        // On a machine that is busy it may take longer than a process waits.
        (answer.1["delivered"] != "unknown").then_some(answer)
    });
    assert_eq!(answer, (202, json!({"delivered": 0, "queued": 1})));
}

#[test]
fn feedback_that_is_sent_again_elsewhere_comes_once() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut plain, target) = servers[0].browser();
    let say = |client: &mut Client, number: u64| {
        client.send_text(&format!(r#"{{"opcode":"feedback","uuid":"{target}","message":{number},"cseq":{number}}}"#));
    };
    let (mut sender, uuid) = resuming(&servers[0]);
    say(&mut sender, 1);
    assert!(plain.text().contains(r#""message":1"#));
    // Its `next` is lost.
    drop(sender);
    let (mut sender, ready) = open(&servers[1], &format!("/web?resume={uuid}&seq=0"));
    assert_eq!(ready["resume"], "resumed");
    for number in [1, 2] {
        say(&mut sender, number);
        while sender.text() != NEXT {}
    }
    assert_eq!(feedback(&servers[1], &target, END).0, 200);
    assert_eq!(numbers_until_end(&mut plain), [2]);
}

#[test]
fn of_one_list_feedback_does_not_overtake_a_broadcast() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut plain, uuid) = servers[0].browser();
    let one = |number: u64| match number % 2 {
        1 => format!(r#"{{"broadcast":true,"message":{number}}}"#),
        _ => format!(r#"{{"uuid":"{uuid}","message":{number}}}"#),
    };
    let list: Vec<String> = (1..=6).map(one).collect();
    assert_eq!(post(&servers[0], "/publish", &format!("[{}]", list.join(","))).0, 200);
    assert_eq!(feedback(&servers[0], &uuid, END).0, 200);
    assert_eq!(numbers_until_end(&mut plain), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn of_a_sender_that_waits_feedback_does_not_overtake_a_broadcast() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut plain, uuid) = servers[0].browser();
    let (mut sender, _) = servers[0].browser();
    redis.cli(&["client", "pause", "500"]);
    sender.say(r#"{"opcode":"broadcast","message":1}"#);
    sender.say(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":2}}"#));
    wait_for("the last message", || (feedback(&servers[1], &uuid, END).0 == 200).then_some(()));
    assert_eq!(numbers_until_end(&mut plain), [1, 2]);
}

/// The older value was on its way to Redis, and reaches the clients here as the link is lost.
#[test]
fn as_a_link_is_lost_no_older_value_of_a_key_comes() {
    let net = Net::start(2, &[]);
    let (mut plain, uuid) = net.servers[0].browser();
    net.proxies[0].freeze(Way::Up);
    let list = format!(r#"[{{"broadcast":true,"key":"k","message":1}},{{"uuid":"{uuid}","key":"k","message":2}}]"#);
    post(&net.servers[0], "/publish", &list);
    net.proxies[0].cut();
    net.servers[0].log_line("Backplane is away");
    assert_eq!(feedback(&net.servers[0], &uuid, END).0, 200);
    let got = numbers_until_end(&mut plain);
    assert!(got.is_sorted() && got.contains(&2), "{got:?}");
}

#[test]
fn databases_of_one_redis_are_apart() {
    let redis = Redis::start();
    let servers = ["/0", "/1"].map(|database| {
        let server = Phpws::start(&["--backplane", &(redis.url() + database)]);
        server.log_line("Backplane is up");
        server
    });
    let mut clients = [0, 1].map(|at| servers[at].browser());
    assert_eq!(post(&servers[0], "/broadcast", r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert_eq!(feedback(&servers[0], &clients[1].1, r#"{"message":2}"#).0, 404);
    for (server, (client, uuid)) in servers.iter().zip(&mut clients) {
        assert_eq!(feedback(server, uuid, END).0, 200);
        let expected: &[u64] = if server.addr == servers[0].addr { &[1] } else { &[] };
        assert_eq!(numbers_until_end(client), expected);
    }
}

/// Nobody is told that a message waits that can't be kept.
#[test]
fn what_is_too_large_to_be_kept_is_not_queued() {
    let redis = Redis::start();
    let bytes = ["--resume-bytes", "4096"];
    let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(8192));
    let alone = Phpws::start(&bytes);
    let (page, uuid) = resuming(&alone);
    drop(page);
    wait_until_away(&alone, &uuid);
    let mut statuses = vec![("alone", feedback(&alone, &uuid, &large).0)];
    let mut servers = processes(&redis, 2, &bytes);
    let (page, uuid) = resuming(&servers[0]);
    drop(page);
    wait_until_away(&servers[0], &uuid);
    statuses.push(("at its own process", feedback(&servers[0], &uuid, &large).0));
    statuses.push(("at another process", feedback(&servers[1], &uuid, &large).0));
    servers.remove(0);
    wait_for_processes(&redis, 1);
    statuses.push(("between two processes", feedback(&servers[0], &uuid, &large).0));
    assert!(statuses.iter().all(|(_, status)| *status >= 400), "{statuses:?}");
}
