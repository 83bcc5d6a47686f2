//! Several processes on one Redis: they act as one server, and survive each other and Redis.
//!
//! Needs redis-server (Debian: `apt-get install redis-server`): `make cluster-tests`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../util/mod.rs"]
mod util;

mod budgets;
mod documentation;
mod logs;
mod messages;
mod model;
mod operators;
mod promises;
mod redis_cluster;
mod redis_fails;
mod resuming;
mod retries;
mod rooms;
mod sentinel;
mod under_load;
mod waiting_clients;

use crate::util::redis::Redis;
use crate::util::{Client, NEXT, Phpws};
use serde_json::Value;

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

/// The next text that is no `next`, without looking at pings.
fn next_message(client: &mut Client) -> Value {
    serde_json::from_str(&std::iter::repeat_with(|| client.text()).find(|text| text != NEXT).unwrap()).unwrap()
}
