//! What one process sends must not hold up the clients of another one, nor cost a slow receiver there its messages.

use std::time::{Duration, Instant};

use super::{next_with, open, processes, uuid};
use crate::util::http::{feedback, get, metric, post};
use crate::util::redis::Redis;
use crate::util::{Client, Phpws, masked, wait_for};
use serde_json::json;

const ANY: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";
const BROADCASTS: usize = 5000;

/// Sends broadcasts at one process while the other one, which has receivers, is stopped; that one goes on with all of
/// them before it.
fn flood_while_stopped(from: &Phpws, to: &Phpws) {
    let (mut sender, _) = from.browser();
    to.signal("STOP");
    for first in (0..BROADCASTS).step_by(100) {
        let packet = |number| masked(true, 1, format!(r#"{{"opcode":"broadcast","number":{number}}}"#).as_bytes());
        sender.send(&(first..first + 100).flat_map(packet).collect::<Vec<u8>>());
        (0..100).for_each(|_| drop(sender.text()));
    }
    // Each `next` comes when the message is on its way to Redis.
    wait_for("Redis to have them all", || (metric(from, "phpws_backplane_unanswered") == 0.0).then_some(()));
}

#[test]
fn a_flood_at_one_process_lets_those_of_another_talk_and_keeps_its_order() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &["--ping-interval", "0"]);
    let mut readers: Vec<Client> = (0..200).map(|_| servers[1].browser().0).collect();
    let (mut backend, _) = servers[1].ready_on("/php", ANY);
    let received = || metric(&servers[1], "phpws_backplane_received_total") as usize;
    flood_while_stopped(&servers[0], &servers[1]);
    servers[1].signal("CONT");
    // An answer, a new client, and what is asked of the other process come before the flood is over.
    backend.say(r#"{"opcode":"echo"}"#);
    assert!(backend.text().contains("echo"));
    let (mut newcomer, ready) = open(&servers[1], "/web?resume=");
    assert_eq!(get(&servers[0], &format!("/clients/{}", uuid(&ready))).0, 200);
    let got = received();
    assert!(got < BROADCASTS, "{got} broadcasts were delivered first");
    // What is for the newcomer comes behind them, in its order.
    assert_eq!(feedback(&servers[0], &uuid(&ready), "1").0, 200);
    // Nobody misses one, and the newcomer gets nothing that was sent before it came.
    post(&servers[0], "/broadcast", r#"{"last":true}"#);
    for reader in &mut readers[..10] {
        (0..BROADCASTS).for_each(|number| assert!(reader.text().contains(&format!(r#""number":{number}"#))));
        assert!(reader.text().contains("last"));
    }
    assert!(newcomer.text().contains("feedback"));
    assert!(newcomer.text().contains("last"));
}

/// A client that reads nothing, and for which more waits than feedback may add to.
fn full<'a>(servers: &'a [Phpws], ident: &str) -> (Client, impl Fn(&str) -> (u16, serde_json::Value) + 'a) {
    let (client, _) = servers[1].narrow_on("/php", &format!("{ANY}Ident: {ident}\r\n"));
    let path = format!("/feedback?ident={ident}");
    let tell = move |body: &str| post(&servers[0], &path, body);
    let filling = json!({"filling": "x".repeat(4000)}).to_string();
    wait_for("the client to be full", || (tell(&filling).0 == 503).then_some(()));
    (client, tell)
}

const NARROW: [&str; 4] = ["--max-outbox", "100000", "--ping-interval", "0"];

#[test]
fn feedback_from_another_process_waits_a_second_for_its_receiver_and_is_dropped_then() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &NARROW);
    let (_till, tell) = full(&servers, "till");
    let dropped = metric(&servers[1], "phpws_feedback_dropped_total");
    let begin = Instant::now();
    let (status, answer) = tell("1");
    let took = begin.elapsed();
    assert_eq!((status, &answer["failed"]), (503, &json!(1)), "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("reads too slowly"), "{answer}");
    assert!((Duration::from_millis(900)..Duration::from_millis(1900)).contains(&took), "{took:?}");
    assert_eq!(metric(&servers[1], "phpws_feedback_dropped_total"), dropped + 1.0);
    // A client hears the same in its receipt.
    let (mut page, _) = servers[0].browser();
    page.say(r#"{"opcode":"feedback","ident":"till","receipt":7}"#);
    let receipt = next_with(&mut page, "receipt");
    assert!(receipt.contains(r#""status":503"#) && receipt.contains(r#""failed":1"#), "{receipt}");
}

#[test]
fn feedback_that_waits_comes_once_there_is_room_and_in_its_order() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &NARROW);
    let (mut till, tell) = full(&servers, "till");
    till.send_text(r#"{"opcode":"join","room":"r"}"#);
    wait_for("the till to be in its room", || (post(&servers[0], "/broadcast?room=r", "0").1["queued"] == 1).then_some(()));
    let (mut page, _) = servers[0].browser();
    page.say(r#"{"opcode":"join","room":"r"}"#);
    next_with(&mut page, "joined");
    for number in 1..=9 {
        let packet = if number % 3 == 0 { r#""broadcast","room":"r""# } else { r#""feedback","ident":"till""# };
        page.say(&format!(r#"{{"opcode":{packet},"number":{number}}}"#));
    }
    let mut numbers: Vec<u32> = Vec::new();
    while numbers.len() < 9 {
        let text = till.text();
        numbers.extend(text.split(r#""number":"#).nth(1).map(|rest| rest.trim_end_matches('}').parse::<u32>().unwrap()));
    }
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    assert_eq!(tell("1").0, 200);
}
