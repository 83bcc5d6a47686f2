//! What Redis keeps for clients that may come back has an end in bytes too.

use super::{next_message, open, process, processes, uuid};
use crate::util::http::{get, post};
use crate::util::redis::Redis;
use crate::util::{Phpws, wait_for};
use serde_json::json;

const RESUME_BYTES: usize = 64 * 1024;
/// What a log holds at most, and how much of that is cut off at a time.
const MOST: usize = 4 * RESUME_BYTES;
const PART: usize = MOST / 16;

/// The positions and sizes of the messages in a log.
fn entries(redis: &Redis, log: &str) -> Vec<(u64, usize)> {
    let text = redis.cli(&["xrange", &format!("phpws:2:{log}"), "-", "+"]);
    let lines: Vec<&str> = text.lines().collect();
    // An id, the name of the field, and the two lines of the message.
    let entries = lines.chunks(4).map(|entry| {
        assert!(entry[1] == "m" && entry[2].starts_with(r#"{"v":1,"#), "{entry:?}");
        (entry[0].strip_suffix("-0").unwrap().parse().unwrap(), entry[2].len() + 1 + entry[3].len())
    });
    entries.collect()
}

/// Publishes so many messages with a text of that length.
fn publish(server: &Phpws, receiver: &str, count: usize, length: usize) {
    let one = format!(r#"{{{receiver},"message":"{}"}}"#, "x".repeat(length));
    let list = vec![one; count.min(1000)];
    for _ in 0..count / list.len() {
        let (status, answer) = post(server, "/publish", &format!("[{}]", list.join(",")));
        assert!(status < 300, "{status}: {answer}");
    }
}

fn break_off(server: &Phpws, uuid: &str, client: crate::util::Client) {
    drop(client);
    wait_for("the client to be away", || (get(server, &format!("/clients/{uuid}")).1["connected"] == json!(false)).then_some(()));
}

#[test]
fn every_log_has_an_end_in_bytes_and_keeps_the_newest_messages() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &["--resume-bytes", &RESUME_BYTES.to_string()]);
    let (mut page, ready) = open(&servers[0], "/web?resume=");
    let uuid = uuid(&ready);
    page.say(r#"{"opcode":"join","room":"r"}"#);
    page.text();
    break_off(&servers[0], &uuid, page);
    let receivers = [
        ("log:all", r#""broadcast":true"#.to_owned()),
        ("log:path:/web", r#""resource":"/web""#.to_owned()),
        ("log:room:r", r#""room":"r""#.to_owned()),
        (&*format!("queue:{uuid}"), format!(r#""uuid":"{uuid}""#)),
    ];
    for (log, receiver) in &receivers {
        // Tiny ones are mostly the line in front of them; of large ones few fit.
        for (count, length) in [(3000, 1), (2000, 1000), (50, 30_000)] {
            publish(&servers[1], receiver, count, length);
            let entries = entries(&redis, log);
            let bytes: usize = entries.iter().map(|entry| entry.1).sum();
            let usage: usize = redis.cli(&["memory", "usage", &format!("phpws:2:{log}"), "samples", "0"]).parse().unwrap();
            println!("{log}: {count} of {length} bytes: {} are kept with {bytes} bytes, in {usage} of memory", entries.len());
            let newest = length + 200;
            assert!(bytes <= MOST && bytes + PART.max(newest) + newest >= MOST, "{log}: {bytes}");
            assert!(usage <= MOST + MOST / 2, "{log}: {usage}");
        }
        // Larger than all that may be kept: alone, and only until the next one.
        publish(&servers[1], receiver, 1, 2 * MOST);
        assert_eq!(entries(&redis, log).len(), 1, "{log}");
        publish(&servers[1], receiver, 1, 1);
        let entries = entries(&redis, log);
        assert_eq!((entries.len(), entries[0].1 < PART), (1, true), "{log}");
        let parts: usize = redis.cli(&["hlen", &format!("phpws:2:parts:{log}")]).parse().unwrap();
        assert!(parts <= 4 + 32, "{parts}");
    }
}

#[test]
fn who_missed_something_that_was_cut_off_is_told_and_nobody_else() {
    let redis = Redis::start();
    // The process that publishes cuts the log at less than a client is owed by the others.
    let servers = processes(&redis, 2, &[]);
    let publisher = process(&redis, &["--resume-bytes", "16384"]);
    let clients: Vec<_> = (0..2).map(|_| open(&servers[0], "/web?resume=")).collect();
    let uuids: Vec<String> = clients.iter().map(|client| uuid(&client.1)).collect();
    for ((client, _), uuid) in clients.into_iter().zip(&uuids) {
        break_off(&servers[0], uuid, client);
    }
    publish(&publisher, r#""broadcast":true"#, 1000, 1000);
    let cut: u64 = redis.cli(&["zscore", "phpws:2:gaps", "log:all"]).parse().unwrap();
    let kept = entries(&redis, "log:all");
    assert!(cut < kept[0].0);
    // The last message that is no longer there was seen, or it was not.
    for (uuid, at, standing) in [(&uuids[0], cut, "resumed"), (&uuids[1], cut - 1, "gap")] {
        let (mut client, ready) = open(&servers[1], &format!("/web?resume={uuid}&seq=0&at={at}"));
        assert_eq!(ready["resume"], standing, "behind {at}, where {cut} was cut off");
        assert_eq!(next_message(&mut client)["at"], json!(kept[0].0));
    }
}

#[test]
fn all_logs_together_have_an_end_and_those_written_to_longest_ago_go_first() {
    const ALL: usize = 256 * 1024 * 1024;
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let (client, ready) = open(&servers[0], "/web?resume=");
    let (client, ready) = (client, uuid(&ready));
    break_off(&servers[0], &ready, client);
    publish(&servers[1], r#""broadcast":true"#, 1, 1);
    let first = entries(&redis, "log:all")[0].0;
    publish(&servers[1], &format!(r#""uuid":"{ready}""#), 1, 1);
    // Larger than a log, so each is all that its room keeps.
    for room in 0..70 {
        publish(&servers[1], &format!(r#""room":"{room}""#), 1, 4_900_000);
    }
    let used = |redis: &Redis| -> usize {
        let info = redis.cli(&["info", "memory"]);
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        line.trim().parse().unwrap()
    };
    let counted = |redis: &Redis| -> usize { redis.cli(&["hget", "phpws:2:sizes", "all"]).parse().unwrap() };
    println!("all logs: {} bytes counted, {} of memory", counted(&redis), used(&redis));
    assert!((ALL - 5_000_000..=ALL).contains(&counted(&redis)) && used(&redis) < ALL * 3 / 2);
    let logs: usize = redis.cli(&["zcard", "phpws:2:logs"]).parse().unwrap();
    let streams = redis.cli(&["--scan", "--pattern", "phpws:2:log:room:*"]).lines().count();
    assert_eq!((logs, streams), (54, 54));
    // Whoever missed what went is told.
    assert_eq!(redis.cli(&["zscore", "phpws:2:gaps", "log:all"]), first.to_string());
    let (_client, back) = open(&servers[1], &format!("/web?resume={ready}&seq=0"));
    assert_eq!(back["resume"], "gap");
    // A client that is gone takes its log with it.
    let (mut client, ready) = open(&servers[0], "/web?resume=");
    let before = counted(&redis);
    publish(&servers[1], &format!(r#""uuid":"{}""#, uuid(&ready)), 1, 1);
    assert!(counted(&redis) > before);
    client.send_text(r#"{"opcode":"quit"}"#);
    wait_for("its log to be gone", || (counted(&redis) == before).then_some(()));
}

#[test]
fn the_last_log_leaves_no_key_behind() {
    let redis = Redis::start();
    let servers = processes(&redis, 1, &[]);
    let (mut client, ready) = open(&servers[0], "/web?resume=");
    publish(&servers[0], &format!(r#""uuid":"{}""#, uuid(&ready)), 1, 1);
    let keys = |redis: &Redis| redis.cli(&["exists", "phpws:2:sizes", "phpws:2:logs"]);
    assert_eq!(keys(&redis), "2");
    client.send_text(r#"{"opcode":"quit"}"#);
    wait_for("its keys to be gone", || (keys(&redis) == "0").then_some(()));
}
