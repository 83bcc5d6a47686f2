//! What docs/cluster.md and docs/resume.md promise, where faults and moves meet: one test for each promise.
//!
//! | File | Promises |
//! |---|---|
//! | `moves` | a page that goes to another process takes everything along |
//! | `faults` | Redis, or one process' link to it, fails and comes back |
//! | `words` | what a publisher is told, and the order of messages |
//!
//! Names of keys and channels are matched by their ends, so that the version of the protocol does not matter.

mod faults;
mod moves;
mod words;

use std::time::Duration;

use serde_json::json;

use super::{open, uuid};
use crate::util::http::{feedback, get};
use crate::util::page::Page;
use crate::util::proxy::Proxy;
use crate::util::redis::Redis;
use crate::util::{Client, Phpws, wait_for};

/// What ends a list of messages in a test.
const END: &str = r#"{"message":"end"}"#;

/// Processes, each with a network of its own between it and Redis.
struct Net {
    redis: Redis,
    proxies: Vec<Proxy>,
    servers: Vec<Phpws>,
}

impl Net {
    fn start(count: usize, args: &[&str]) -> Net {
        let redis = Redis::start();
        let proxies: Vec<Proxy> = (0..count).map(|_| Proxy::start(redis.port)).collect();
        let start = |proxy: &Proxy| {
            let server = Phpws::start(&[&["--backplane", &proxy.url()], args].concat());
            server.log_line("Backplane is up");
            server
        };
        let servers = proxies.iter().map(start).collect();
        Net { redis, proxies, servers }
    }
}

/// Waits until two processes reach each other, in both directions.
struct Reach {
    clients: Vec<(Client, String)>,
}

impl Reach {
    fn new(servers: &[Phpws]) -> Reach {
        Reach { clients: servers.iter().map(Phpws::browser).collect() }
    }

    fn wait(&self, servers: &[Phpws]) {
        for (at, server) in servers.iter().enumerate() {
            for (_, other) in self.clients.iter().enumerate().filter(|(of, _)| *of != at).map(|(_, client)| client) {
                wait_for("the processes to reach each other", || (feedback(server, other, "1").0 == 200).then_some(()));
            }
        }
    }
}

/// Waits until a process knows that a page has lost its connection.
fn wait_until_away(server: &Phpws, uuid: &str) {
    let is_away = || get(server, &format!("/clients/{uuid}")).1["connected"] == json!(false);
    wait_for("the page to be away", || is_away().then_some(()));
}

/// Waits until Redis has so many processes that listen.
fn wait_for_processes(redis: &Redis, count: usize) {
    let living = || redis.cli(&["pubsub", "channels", "*:to:*"]).lines().count();
    wait_for("Redis to notice", || (living() == count).then_some(()));
}

/// The page comes back at a process; gives the standing that it was told.
fn resume_at(page: &mut Page, server: &Phpws) -> String {
    page.break_off();
    page.addrs = vec![server.addr];
    let told = page.standings.len();
    page.until("ready", |page| page.standings.len() > told);
    page.standings[told].clone()
}

/// Everything that comes to a page until a last message, which is sent to it now.
fn read_to_end(page: &mut Page, server: &Phpws) {
    let uuid = page.uuid.clone();
    wait_for("the last message to be taken", || (feedback(server, &uuid, END).0 < 300).then_some(()));
    page.until("the last message", |page| page.got.last().is_some_and(|text| text["message"] == "end"));
}

/// The numbers in the messages of a page.
fn numbers(page: &Page) -> Vec<u64> {
    page.got.iter().filter_map(|text| text["message"].as_u64()).collect()
}

/// The numbers in the messages of a plain client, until the last message.
fn numbers_until_end(client: &mut Client) -> Vec<u64> {
    let texts = std::iter::repeat_with(|| super::next_message(client)).take_while(|text| text["message"] != "end");
    texts.filter_map(|text| text["message"].as_u64()).collect()
}

/// A page that comes back gets all of these, or is told that something is missing.
fn comes_or_is_said(page: &mut Page, server: &Phpws, expected: &[u64]) {
    let standing = resume_at(page, server);
    read_to_end(page, server);
    let got = numbers(page);
    let lacks: Vec<&u64> = expected.iter().filter(|number| !got.contains(number)).collect();
    assert!(standing != "resumed" || lacks.is_empty(), "told {standing}, got {got:?}, lacks {lacks:?}");
}

/// A client that resumes, of which a test reads as much as it wants to, and its uuid.
fn resuming(server: &Phpws) -> (Client, String) {
    let (client, ready) = open(server, "/web?resume=");
    let uuid = uuid(&ready);
    (client, uuid)
}

/// A moment in which nothing has to happen: what was late is then later than what came meanwhile.
fn let_time_pass() {
    std::thread::sleep(Duration::from_millis(300));
}
