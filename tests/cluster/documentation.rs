//! docs/cluster.md against Redis: keys, channels, messages and rights are those that appear.
//!
//! Needs redis-server: `make cluster-tests`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::open;
use crate::util::folder::Folder;
use crate::util::http::{feedback, get, post};
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::{NEXT, Phpws, wait_for};
use serde_json::Value;

const PREFIX: &str = "phpws:2:";
/// What the names of channels begin with: that, and the database.
const CHANNELS: &str = "phpws:2:0:";
const VERSIONS: &str = "phpws:versions";

fn page_text() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cluster.md")).unwrap()
}

/// The cells of the rows of a table, by what its first cell quotes.
fn table(header: &str) -> BTreeMap<String, Vec<String>> {
    let text = page_text();
    let rows = text.split(header).nth(1).unwrap_or_else(|| panic!("no table {header}")).lines().skip(2);
    rows.take_while(|line| line.starts_with("| "))
        .map(|line| {
            let cells: Vec<String> = line.trim_matches(['|', ' ']).split(" | ").map(|cell| cell.trim().to_owned()).collect();
            (cells[0].trim_matches('`').to_owned(), cells)
        })
        .collect()
}

/// The row that a name stands in: `room:<room>` is the one of `room:r`.
fn row_of<'a>(rows: &'a BTreeMap<String, Vec<String>>, name: &str) -> &'a str {
    let fits = |pattern: &str| match pattern.split_once('<') {
        Some((start, _)) => name.len() > start.len() && name.starts_with(start),
        None => pattern == name,
    };
    let found: Vec<&String> = rows.keys().filter(|pattern| fits(pattern)).collect();
    assert_eq!(found.len(), 1, "docs/cluster.md has {found:?} for {name}");
    found[0]
}

/// A user that has the rights of the page, and no more.
fn grant(redis: &Redis) -> String {
    let text = page_text();
    let rule = text.split("ACL SETUSER ").nth(1).unwrap().split("```").next().unwrap();
    let words: Vec<String> = rule.split_whitespace().map(|word| word.replace("PASSWORD", "s3cret")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(redis.cli(&[&["acl", "setuser"], &words[..]].concat()), "OK");
    format!("redis://phpws:s3cret@127.0.0.1:{}", redis.port)
}

/// redis-cli that writes all commands into a file. A subscriber would count as a process.
fn listen(redis: &Redis, file: &std::path::Path) -> Child {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &redis.port.to_string(), "monitor"]).stdout(Stdio::from(File::create(file).unwrap()));
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    wait_for("the listener", || std::fs::read_to_string(file).unwrap().starts_with("OK").then_some(()));
    child
}

/// A bit of everything that crosses processes.
fn live(servers: &[Phpws; 2]) -> Page {
    let mut page = Page::ready(&[servers[0].addr], "/web");
    let (mut other, _) = servers[1].browser();
    page.say(r#"{"opcode":"join","room":"r","announce":true}"#);
    page.until("joined", |page| !page.got.is_empty());
    other.say(r#"{"opcode":"join","room":"r"}"#);
    other.text();
    other.send_text(r#"{"opcode":"who","room":"r"}"#);
    std::iter::repeat_with(|| other.text()).find(|text| text.contains(r#""opcode":"who""#)).unwrap();
    let (_worker, _) = servers[1].ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n");
    assert_eq!(post(&servers[0], "/feedback?ident=worker", "1").0, 200);
    assert_eq!(get(&servers[1], &format!("/clients/{}", page.uuid)).0, 200);
    other.send_text(r#"{"opcode":"broadcast","message":1}"#);
    std::iter::repeat_with(|| other.text()).find(|text| text == NEXT).unwrap();
    for path in ["/broadcast?key=k", "/broadcast?resource=/web", "/broadcast?room=r"] {
        assert_eq!(post(&servers[1], path, "1").0, 200);
    }
    assert_eq!(feedback(&servers[1], &page.uuid, "1").0, 200);
    // One key that stays, and one that is given back.
    let list = r#"[{"broadcast":true,"message":1,"idempotency-key":"a"},{"ident":"nobody","message":1,"idempotency-key":"b"}]"#;
    assert_eq!(post(&servers[1], "/publish", list).0, 207);
    page
}

#[test]
fn keys_channels_messages_and_rights_are_those_of_the_page() {
    let redis = Redis::start();
    let url = grant(&redis);
    let folder = Folder::new();
    let heard = folder.file("heard");
    let mut listener = listen(&redis, &heard);
    let servers = [(); 2].map(|()| {
        let server = Phpws::start(&["--backplane", &url]);
        server.log_line("Backplane is up");
        server
    });
    let mut page = live(&servers);
    let (_stays, _) = servers[1].ready_on("/", "Ident: stays\r\n");

    // More than is kept for a client that is away, so that its log is cut.
    page.break_off();
    let list = format!("[{}]", vec![format!(r#"{{"uuid":"{}","message":1}}"#, page.uuid); 1000].join(","));
    (0..11).for_each(|_| drop(post(&servers[1], "/publish", &list)));
    check_keys(&redis);
    check_channels(&redis);

    page.addrs = vec![servers[1].addr];
    page.until("what was kept", |page| page.standings.len() == 2);
    assert_eq!(page.standings[1], "gap");
    servers[0].log_line("goes on in another process");
    let (_new, ready) = open(&servers[1], "/web?resume=0f8fad5b-d9cb-469f-a165-70867728950e");
    assert_eq!(ready["resume"], "lost");
    // A whole beat of each process, which renews keys: its end is the beginning of the next one.
    for _ in 0..2 {
        let beats = || -> Vec<String> {
            let nodes = redis.cli(&["zrange", "phpws:2:nodes", "0", "-1", "withscores"]);
            nodes.lines().map(str::to_owned).collect()
        };
        let before = beats();
        wait_for("a beat of each process", || beats().iter().all(|word| !is_time(word) || !before.contains(word)).then_some(()));
    }
    assert_eq!(redis.cli(&["acl", "log"]), "", "something was not allowed");
    assert!(servers.iter().all(|server| server.log().iter().all(|line| !line.contains("refuses"))));
    listener.kill().unwrap();
    listener.wait().unwrap();
    check_messages(&std::fs::read_to_string(&heard).unwrap());
}

/// Whether a line of a sorted set is a score.
fn is_time(line: &str) -> bool {
    line.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_keys(redis: &Redis) {
    let rows = table("| Key | Type | Holds | Expires |");
    let mut seen = BTreeSet::new();
    for key in redis.cli(&["--scan"]).lines() {
        // One key is common to all versions, and has its whole name in the page.
        let name =
            if key == VERSIONS { VERSIONS } else { key.strip_prefix(PREFIX).unwrap_or_else(|| panic!("{key} has no prefix")) };
        let name = row_of(&rows, name);
        let cells = &rows[name];
        assert_eq!(cells[1], redis.cli(&["type", key]), "{key}");
        let is_for_ever = redis.cli(&["ttl", key]) == "-1";
        // Of the set of processes only the members end.
        let stays = cells[3] == "never" || cells[3].starts_with("members ");
        assert_eq!(is_for_ever, stays, "{key}: {}", cells[3]);
        if name.starts_with("client:") {
            for field in redis.cli(&["hkeys", key]).lines() {
                assert!(cells[2].contains(&format!("`{field}`")), "{field} of {key} is not in the page");
            }
        }
        if cells[1] == "stream" {
            let entry = redis.cli(&["xrange", key, "-", "+", "count", "1"]);
            let lines: Vec<&str> = entry.lines().collect();
            assert!(lines[0].ends_with("-0") && lines[1] == "m" && lines[2].starts_with(r#"{"v":1,"at":"#), "{key}: {entry}");
        }
        seen.insert(name.to_owned());
    }
    assert_eq!(seen, rows.into_keys().collect(), "left: those that are there, right: those of the page");
}

fn check_channels(redis: &Redis) {
    let rows = table("| Channel | Who subscribes |");
    let channels = redis.cli(&["pubsub", "channels"]);
    let seen: BTreeSet<String> =
        channels.lines().map(|channel| row_of(&rows, channel.strip_prefix(CHANNELS).unwrap()).to_owned()).collect();
    assert_eq!(seen, rows.into_keys().collect(), "left: those that are there, right: those of the page");
}

fn check_messages(heard: &str) {
    let rows = table("| `kind` | On | Members |");
    let mut seen = BTreeSet::new();
    for words in heard.lines().filter_map(|line| line.split_once(r#""PUBLISH" "#)).map(|(_, words)| words) {
        let words: Vec<String> = serde_json::Deserializer::from_str(words).into_iter().map(Result::unwrap).collect();
        if words[0].contains(":rights:") {
            continue;
        }
        let channel = words[0].strip_prefix(CHANNELS).unwrap();
        let (line, _) = words[1].split_once('\n').unwrap();
        let message: Value = serde_json::from_str(line).unwrap();
        let kind = message["kind"].as_str().unwrap();
        assert_eq!(message["v"], 1, "{line}");
        let cells = rows.get(kind).unwrap_or_else(|| panic!("no {kind} in the page"));
        let on = cells[1].split_whitespace().map(|word| word.trim_matches('`'));
        assert!(cells[1] == "all channels" || on.clone().any(|start| channel.starts_with(start)), "{kind} on {channel}");
        for member in message.as_object().unwrap().keys().filter(|member| !["v", "at", "kind"].contains(&&***member)) {
            assert!(cells[2].contains(&format!("`{member}`")), "{member} of {kind} is not in the page");
        }
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen, rows.into_keys().collect(), "left: those that came, right: those of the page");
}
