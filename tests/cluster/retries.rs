//! A request that comes again to another process, and what holds while Redis or a process is away.

use super::{processes, uuid};
use crate::util::http::metric;
use crate::util::redis::Redis;
use crate::util::{Client, Phpws, wait_for};
use std::time::Duration;

/// The head and the body of an answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn is_repeat(&self) -> bool {
        self.head.contains("\r\nIdempotency-Replayed: true\r\n")
    }
}

fn begin(server: &Phpws, target: &str, key: &str, body: &str) -> Client {
    let mut client = server.connect();
    let (key, length) = (format!("Idempotency-Key: {key}\r\n"), body.len());
    client.send(
        format!("POST {target} HTTP/1.1\r\nHost: x\r\n{key}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    client
}

fn end(mut client: Client) -> Answer {
    let text = String::from_utf8(client.rest()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    Answer { status: head[9..12].parse().unwrap(), head: format!("{head}\r\n"), body: body.to_owned() }
}

fn publish(server: &Phpws, target: &str, key: &str, body: &str) -> Answer {
    end(begin(server, target, key, body))
}

/// The one key in Redis of a request.
fn key_in(redis: &Redis) -> String {
    wait_for("a key", || Some(redis.cli(&["keys", "phpws:2:once:*"])).filter(|key| !key.is_empty()))
}

#[test]
fn another_process_gives_the_same_answer_again() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let mut pages: Vec<Client> = servers.iter().map(|server| server.browser().0).collect();
    let first = publish(&servers[0], "/broadcast", "k", "1");
    assert_eq!((first.status, first.body.as_str(), first.is_repeat()), (200, "{\"delivered\":2,\"queued\":0}\n", false));
    for server in [&servers[1], &servers[0], &servers[1]] {
        let again = publish(server, "/broadcast", "k", "1");
        assert_eq!((again.status, &again.body, again.is_repeat()), (200, &first.body, true));
        assert_eq!(publish(server, "/broadcast", "k", "2").status, 422);
    }
    let seconds: u64 = redis.cli(&["ttl", &key_in(&redis)]).parse().unwrap();
    assert!((280..=300).contains(&seconds), "{seconds}");
    for page in &mut pages {
        assert!(page.text().contains("\"message\":1}"));
        assert!(page.is_silent(Duration::from_millis(100)));
    }
    assert_eq!(metric(&servers[1], "phpws_idempotency_total{result=\"repeated\"}"), 2.0);
}

#[test]
fn a_key_ends_with_its_time_in_redis() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    assert_eq!(publish(&servers[0], "/broadcast", "k", "1").status, 200);
    redis.cli(&["pexpire", &key_in(&redis), "1"]);
    wait_for("its end", || redis.cli(&["keys", "phpws:2:once:*"]).is_empty().then_some(()));
    let next = publish(&servers[1], "/broadcast", "k", "2");
    assert_eq!((next.status, next.is_repeat()), (200, false));
}

#[test]
fn messages_of_a_list_have_keys_in_all_processes() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut page, id) = servers[0].browser();
    let item = |number: usize| format!(r#"{{"uuid":"{id}","message":{number},"idempotency-key":"{number}"}}"#);
    let list: Vec<String> = (0..500).map(item).collect();
    let half = format!("[{}]", list[..250].join(","));
    assert_eq!(publish(&servers[0], "/publish", "half", &half).status, 200);
    let all = publish(&servers[1], "/publish", "all", &format!("[{}]", list.join(",")));
    assert_eq!((all.status, all.body.matches("\"replayed\":true").count()), (200, 250), "{}", all.body);
    for number in 0..500 {
        let text = page.text();
        assert!(text.ends_with(&format!("\"message\":{number}}}")), "{text}");
    }
    assert!(page.is_silent(Duration::from_millis(100)));
}

#[test]
fn what_reached_nobody_is_free_in_all_processes() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    assert_eq!(publish(&servers[0], "/feedback?ident=page", "k", "1").status, 404);
    let (mut page, _) = servers[0].ready_on("/web", "Ident: page\r\n");
    let first = publish(&servers[1], "/feedback?ident=page", "k", "1");
    assert_eq!((first.status, first.is_repeat()), (200, false));
    assert!(page.text().contains("\"message\":1}"));
}

/// While Redis is slow a request is under way: here, and for others as soon as they can ask.
#[test]
fn the_same_request_under_way_is_told_to_come_later() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    redis.cli(&["client", "pause", "1000", "all"]);
    let first = begin(&servers[0], "/broadcast", "k", "1");
    wait_for("the first to be under way", || (metric(&servers[0], "phpws_idempotency_keys") == 1.0).then_some(()));
    let second = publish(&servers[0], "/broadcast", "k", "1");
    assert_eq!(second.status, 409);
    assert!(second.head.contains("\r\nRetry-After: 1\r\n"), "{}", second.head);
    assert_eq!(publish(&servers[0], "/broadcast", "k", "2").status, 422);
    let elsewhere = publish(&servers[1], "/broadcast", "k", "1");
    assert!(elsewhere.status == 409 || elsewhere.is_repeat(), "{} {}", elsewhere.status, elsewhere.body);
    assert_eq!(end(first).status, 200);
    assert!(publish(&servers[1], "/broadcast", "k", "1").is_repeat());
}

/// The process that holds a claim is killed before it has answered.
#[test]
fn the_claim_of_a_process_that_was_killed_is_taken_over() {
    let redis = Redis::start();
    let servers = processes(&redis, 3, &[]);
    let (mut page, ready) = super::open(&servers[2], "/web");
    let target = format!("/feedback/{}", uuid(&ready));
    // It does not answer, so the first process waits.
    servers[2].signal("STOP");
    let first = begin(&servers[0], &target, "k", "1");
    let key = key_in(&redis);
    assert_eq!(publish(&servers[1], &target, "k", "1").status, 409);
    servers[0].signal("KILL");
    drop(first);
    servers[2].signal("CONT");
    let left: u64 = redis.cli(&["pttl", &key]).parse().unwrap();
    assert!((1..=10_000).contains(&left), "{left}");
    assert_eq!(publish(&servers[1], &target, "k", "2").status, 422);
    redis.cli(&["pexpire", &key, "1"]);
    let second = wait_for("the claim to end", || Some(publish(&servers[1], &target, "k", "1")).filter(|it| it.status != 409));
    assert_eq!((second.status, second.is_repeat()), (200, false));
    assert!(page.text().contains("\"message\":1}"), "once, or twice as the docs say");
    assert!(publish(&servers[1], &target, "k", "1").is_repeat());
}

#[test]
fn without_redis_each_process_remembers_what_it_sent_itself() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut page, _) = servers[0].browser();
    assert_eq!(publish(&servers[0], "/broadcast", "before", "1").status, 200);
    assert!(page.text().contains("\"message\":1}"));
    redis.kill();
    servers.iter().for_each(|server| drop(server.log_line("Backplane is away")));
    assert!(publish(&servers[0], "/broadcast", "before", "1").is_repeat());
    let first = publish(&servers[0], "/broadcast", "away", "2");
    let again = publish(&servers[0], "/broadcast", "away", "2");
    assert_eq!((first.status, first.is_repeat(), again.status, again.is_repeat()), (202, false, 202, true));
    assert!(page.text().contains("\"message\":2}"));
    assert!(page.is_silent(Duration::from_millis(100)));
    assert!(!publish(&servers[1], "/broadcast", "away", "2").is_repeat(), "the other one has not heard of it");
}

/// Redis goes while a request waits for what it says of the key: it is sent.
#[test]
fn who_waits_for_a_key_as_redis_goes_is_served() {
    let mut redis = Redis::start();
    let servers = processes(&redis, 1, &[]);
    let (mut page, _) = servers[0].browser();
    redis.signal("STOP");
    let first = begin(&servers[0], "/broadcast", "k", "1");
    wait_for("the first to be under way", || (metric(&servers[0], "phpws_idempotency_keys") == 1.0).then_some(()));
    redis.kill();
    assert_eq!(end(first).status, 202);
    assert!(page.text().contains("\"message\":1}"));
    assert!(publish(&servers[0], "/broadcast", "k", "1").is_repeat());
}

#[test]
fn a_full_redis_and_strange_values_keep_no_message_back() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (mut page, _) = servers[0].browser();
    assert_eq!(publish(&servers[0], "/broadcast", "k", "1").status, 200);
    redis.cli(&["set", &key_in(&redis), "answer of somebody else"]);
    assert!(!publish(&servers[1], "/broadcast", "k", "1").is_repeat());
    redis.cli(&["config", "set", "maxmemory", "1"]);
    assert_eq!(publish(&servers[0], "/broadcast", "full", "2").status, 202);
    assert!(publish(&servers[0], "/broadcast", "full", "2").is_repeat());
    for part in ["\"message\":1}", "\"message\":1}", "\"message\":2}"] {
        assert!(page.text().contains(part));
    }
}
