//! The three applications that the document tells of, as their pages and backends meet them.

use std::time::Duration;

use crate::util::embedded::Embedded;
use crate::util::{Client, NEXT, masked, wait_for};
use phpws::Limits;
use phpws::resources::emas::{MAX_BOOKINGS, MAX_ID, MAX_IDS, MAX_LOCK};
use phpws::resources::{ResourceEmas, ResourceRvk, ResourceWlbriserva};
use serde_json::{Value, json};

const BACKEND: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";
const MOMENT: Duration = Duration::from_millis(100);

fn server() -> Embedded {
    Embedded::start(|server| {
        server.register_resource("/emas", ResourceEmas::default()).unwrap();
        server.register_resource("/rvk", ResourceRvk::default()).unwrap();
        server.register_resource("/wlbriserva", ResourceWlbriserva::default()).unwrap();
    })
}

fn backend(server: &Embedded, path: &str, ident: &str) -> Client {
    server.ready_on(path, &format!("{BACKEND}Ident: {ident}\r\n")).0
}

/// Sends a packet and gives what comes behind its `next`.
fn ask(client: &mut Client, packet: &Value) -> Value {
    client.say(&packet.to_string());
    heard(client)
}

fn heard(client: &mut Client) -> Value {
    serde_json::from_str(&client.text()).unwrap()
}

fn lock(client: &mut Client, ids: &[&str]) -> Value {
    ask(client, &json!({"opcode": "lock", "ids": ids}))["ids"].clone()
}

fn is_refused(client: &mut Client, packet: &Value, error: &str) {
    assert_eq!(ask(client, packet), json!({"opcode": "refused", "error": error}), "{packet}");
}

// ---- EMAS

#[test]
fn who_asks_first_holds_a_book_and_the_others_are_told() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    let answer = ask(&mut ann, &json!({"opcode": "lock", "page": 7, "ids": ["a", "b", "c", "b"]}));
    assert_eq!(answer, json!({"opcode": "locked", "page": 7, "ids": []}));
    assert_eq!(lock(&mut bob, &["c", "d", "b"]), json!(["b", "c"]));
    assert_eq!(lock(&mut ann, &["a", "b", "c", "d"]), json!(["d"]));
    assert_eq!(lock(&mut ann, &["a", "b", "c", "d"]), json!(["d"]), "asking again changes nothing");
}

#[test]
fn whole_numbers_are_ids_too() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    ask(&mut ann, &json!({"opcode": "lock", "ids": [4711, -1, 12345678901234567890u64]}));
    assert_eq!(lock(&mut bob, &["4711", "-1", "12345678901234567890"]), json!(["-1", "12345678901234567890", "4711"]));
}

#[test]
fn a_page_that_turns_over_frees_what_it_no_longer_shows() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    lock(&mut ann, &["a", "b", "c"]);
    lock(&mut bob, &["a", "b", "c"]);
    assert_eq!(lock(&mut ann, &["c", "d"]), json!([]));
    assert_eq!(heard(&mut bob), json!({"opcode": "unlocked", "ids": ["a", "b"]}));
    assert_eq!(lock(&mut ann, &["a", "c"]), json!(["a"]), "who comes back goes to the end of the line");
}

#[test]
fn those_who_wait_get_a_book_in_the_order_they_came() {
    let server = server();
    let mut pages: Vec<Client> = (0..4).map(|_| server.ready_on("/emas", "").0).collect();
    for page in &mut pages {
        lock(page, &["a"]);
    }
    let mut first = pages.remove(0);
    assert_eq!(lock(&mut pages[1], &["other"]), json!([]), "one in the middle of the line goes away");
    assert_eq!(lock(&mut first, &[]), json!([]));
    assert_eq!(heard(&mut pages[0]), json!({"opcode": "unlocked", "ids": ["a"]}));
    assert!(pages[1].is_silent(MOMENT) && pages[2].is_silent(MOMENT), "nobody else is told");
    drop(pages.remove(0));
    assert_eq!(heard(&mut pages[1]), json!({"opcode": "unlocked", "ids": ["a"]}));
}

#[test]
fn a_page_that_quits_or_vanishes_frees_all_it_held() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    let (mut carl, _) = server.ready_on("/emas", "");
    for page in [&mut ann, &mut bob, &mut carl] {
        lock(page, &["a", "b"]);
    }
    ann.say(r#"{"opcode":"quit"}"#);
    assert_eq!(heard(&mut bob), json!({"opcode": "unlocked", "ids": ["a", "b"]}));
    drop(bob); // the connection just ends
    assert_eq!(heard(&mut carl), json!({"opcode": "unlocked", "ids": ["a", "b"]}));
}

#[test]
fn a_page_whose_network_is_cut_frees_its_books_when_it_misses_a_ping() {
    let limits = Limits { ping_interval: Duration::from_millis(300), ..Limits::default() };
    let server = Embedded::start_with(limits, |server| server.register_resource("/emas", ResourceEmas::default()).unwrap());
    let (mut cut, _) = server.ready_on("/emas", "");
    let (mut ann, _) = server.ready_on("/emas", "");
    cut.send_text(r#"{"opcode":"lock","ids":["a"]}"#);
    assert_eq!(text_between_pings(&mut cut), NEXT);
    assert!(text_between_pings(&mut cut).contains("locked"));
    ann.send_text(r#"{"opcode":"lock","ids":["a"]}"#);
    assert_eq!(text_between_pings(&mut ann), NEXT);
    assert_eq!(text_between_pings(&mut ann), r#"{"ids":["a"],"opcode":"locked","page":null}"#);
    // Nothing comes of `cut` any more: to the server it is a host without a network.
    assert_eq!(text_between_pings(&mut ann), r#"{"ids":["a"],"opcode":"unlocked"}"#);
}

/// The next text; pings before it are answered.
fn text_between_pings(client: &mut Client) -> String {
    loop {
        let frame = client.frame().unwrap();
        match frame.opcode {
            9 => client.send(&masked(true, 10, &frame.payload)),
            _ => return frame.text().to_owned(),
        }
    }
}

#[test]
fn only_those_who_could_not_get_a_book_hear_of_it() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    lock(&mut ann, &["a", "b"]);
    lock(&mut bob, &["b", "c"]);
    lock(&mut bob, &["c"]);
    drop(ann);
    assert!(bob.is_silent(MOMENT), "it waits for nothing any more");
    assert_eq!(lock(&mut bob, &["a", "b"]), json!([]));
}

#[test]
fn a_backend_asks_who_holds_a_book_and_announces_an_order() {
    let server = server();
    let (mut ann, uuid) = server.ready_on("/emas", "");
    let (mut bob, other) = server.ready_on("/emas", "");
    let mut backend = backend(&server, "/emas", "");
    lock(&mut ann, &["a", "b"]);
    lock(&mut bob, &["b", "c"]);
    let mut holds = |uuid: &str| ask(&mut backend, &json!({"opcode": "holds", "uuid": uuid, "ids": ["a", "b", "c", "d"]}));
    assert_eq!(holds(&uuid), json!({"opcode": "holds", "uuid": uuid, "ids": ["a", "b"]}));
    assert_eq!(holds(&other)["ids"], json!(["c"]));
    assert_eq!(holds("nobody")["ids"], json!([]));
    let announcement = r#"{"opcode":"announce","ordered":["a"]}"#;
    backend.say(announcement);
    assert_eq!((ann.text(), bob.text()), (announcement.into(), announcement.into()));
    backend.say(&json!({"opcode": "feedback", "uuid": uuid, "message": "done"}).to_string());
    assert_eq!(heard(&mut ann)["message"], "done");
}

#[test]
fn a_page_may_only_lock_and_a_backend_holds_nothing() {
    let server = server();
    let (mut page, uuid) = server.ready_on("/emas", "");
    let (mut other, _) = server.ready_on("/emas", "");
    for opcode in ["holds", "announce", "broadcast", "feedback", "echo", "", "lock me"] {
        is_refused(&mut page, &json!({"opcode": opcode, "uuid": uuid, "ids": []}), "a page may only lock");
    }
    let mut backend = backend(&server, "/emas", "");
    backend.say(r#"{"opcode":"lock","ids":["a"]}"#);
    assert_eq!(lock(&mut other, &["a"]), json!([]));
    page.send_text("no json");
    assert_eq!((page.text().as_str(), page.text().as_str()), (NEXT, r#"{"opcode":"close","error":"jsonerror"}"#));
}

#[test]
fn what_is_over_a_limit_is_refused_and_changes_nothing() {
    let server = server();
    let (mut ann, _) = server.ready_on("/emas", "");
    let (mut bob, _) = server.ready_on("/emas", "");
    lock(&mut ann, &["a"]);
    let no_id = "an id must be text of 1 to 64 bytes";
    let many: Vec<String> = (0..=MAX_IDS).map(|n| n.to_string()).collect();
    for (ids, error) in [
        (json!([""]), no_id),
        (json!(["x".repeat(MAX_ID + 1)]), no_id),
        (json!([1.5]), no_id),
        (json!([["a"]]), no_id),
        (json!([null]), no_id),
        (json!("a"), "ids must be a list"),
        (Value::Null, "ids must be a list"),
        (json!(many), "too many ids"),
        (json!(["x".repeat(MAX_LOCK)]), "the message is too long"),
    ] {
        is_refused(&mut ann, &json!({"opcode": "lock", "ids": ids}), error);
    }
    ann.say(r#"{"opcode":"lock","ids":[],"page":1e999}"#);
    assert_eq!(heard(&mut ann)["error"], "a number is too large");
    assert_eq!(lock(&mut bob, &["a"]), json!(["a"]), "it is still held");
    let most = json!({"opcode": "lock", "ids": many[..MAX_IDS]});
    assert_eq!(ask(&mut ann, &most)["ids"], json!([]));
    assert_eq!(heard(&mut bob)["ids"], json!(["a"]));
    assert_eq!(lock(&mut bob, &["é".repeat(MAX_ID / 2).as_str()]), json!([]));
}

#[test]
fn when_all_places_are_taken_a_page_keeps_what_it_had() {
    let server = server();
    let full: Vec<Client> = (0..MAX_BOOKINGS / MAX_IDS)
        .map(|page| {
            let mut client = server.ready_on("/emas", "").0;
            let ids: Vec<String> = (0..MAX_IDS).map(|n| format!("{page}-{n}")).collect();
            ask(&mut client, &json!({"opcode": "lock", "ids": ids}));
            client
        })
        .collect();
    let (mut ann, _) = server.ready_on("/emas", "");
    is_refused(&mut ann, &json!({"opcode": "lock", "ids": ["a"]}), "all pages together show too many books");
    let mut full = full.into_iter();
    let mut bob = full.next().unwrap();
    let mut fewer: Vec<String> = (1..MAX_IDS).map(|n| format!("0-{n}")).collect();
    assert_eq!(ask(&mut bob, &json!({"opcode": "lock", "ids": fewer}))["ids"], json!([]));
    assert_eq!(lock(&mut ann, &["a"]), json!([]), "one place is free, and it is taken");
    fewer.push("0-0".into());
    is_refused(&mut bob, &json!({"opcode": "lock", "ids": fewer}), "all pages together show too many books");
    drop(full);
    wait_for("places", || (lock(&mut ann, &["a", "0-1"]) == json!(["0-1"])).then_some(()));
}

// ---- RVK browser

#[test]
fn a_page_aborts_its_own_query_by_ident() {
    let server = server();
    let (mut ann, uuid) = server.ready_on("/rvk", "");
    let (mut bob, _) = server.ready_on("/rvk", "");
    let mut query = backend(&server, "/rvk", "query-1");
    query.say(&json!({"opcode": "watch", "uuid": uuid}).to_string());
    query.say(&json!({"opcode": "feedback", "uuid": uuid, "elapsed": 3}).to_string());
    assert_eq!(heard(&mut ann)["elapsed"], 3);
    let abort = json!({"opcode": "abort", "ident": "query-1"});
    is_refused(&mut bob, &abort, "no query of this page has that ident");
    assert_eq!(ask(&mut ann, &abort), json!({"opcode": "aborting", "ident": "query-1"}));
    assert_eq!(heard(&mut query), json!({"opcode": "abort"}));
    for ident in ["query-2", ""] {
        is_refused(&mut ann, &json!({"opcode": "abort", "ident": ident}), "no query of this page has that ident");
    }
    drop(query);
    wait_for("the end of the backend", || (ask(&mut ann, &abort)["opcode"] == "refused").then_some(()));
}

#[test]
fn a_page_with_the_name_of_a_backend_is_not_taken_for_it() {
    let server = server();
    let (mut ann, uuid) = server.ready_on("/rvk", "");
    let (mut thief, _) = server.ready_on("/rvk", "Ident: query-1\r\n");
    let mut query = backend(&server, "/rvk", "query-1");
    query.say(&json!({"opcode": "watch", "uuid": uuid}).to_string());
    ann.say(r#"{"opcode":"abort","ident":"query-1"}"#);
    assert_eq!(heard(&mut query), json!({"opcode": "abort"}));
    assert!(thief.is_silent(MOMENT));
}

#[test]
fn the_queries_of_a_page_that_is_gone_are_told() {
    let server = server();
    let (ann, uuid) = server.ready_on("/rvk", "");
    let (_bob, other) = server.ready_on("/rvk", "");
    let mut queries: Vec<Client> = ["a", "b", "c"].iter().map(|ident| backend(&server, "/rvk", ident)).collect();
    for (query, page) in queries.iter_mut().zip([&uuid, &uuid, &other]) {
        query.say(&json!({"opcode": "watch", "uuid": page}).to_string());
    }
    drop(ann);
    assert_eq!(heard(&mut queries[0]), json!({"opcode": "gone"}));
    assert_eq!(heard(&mut queries[1]), json!({"opcode": "gone"}));
    assert!(queries[2].is_silent(MOMENT));
    assert_eq!(ask(&mut queries[0], &json!({"opcode": "watch", "uuid": uuid})), json!({"opcode": "gone"}));
}

#[test]
fn a_query_works_for_one_page_of_this_resource() {
    let server = server();
    let (ann, first) = server.ready_on("/rvk", "");
    let (mut bob, second) = server.ready_on("/rvk", "");
    let (_stranger, elsewhere) = server.ready_on("/emas", "");
    let mut query = backend(&server, "/rvk", "q");
    query.say(&json!({"opcode": "watch", "uuid": first}).to_string());
    query.say(&json!({"opcode": "watch", "uuid": second}).to_string());
    drop(ann);
    assert!(query.is_silent(MOMENT), "it had turned to another page");
    assert_eq!(ask(&mut bob, &json!({"opcode": "abort", "ident": "q"}))["opcode"], "aborting");
    assert_eq!(heard(&mut query), json!({"opcode": "abort"}));
    assert_eq!(ask(&mut query, &json!({"opcode": "watch", "uuid": elsewhere})), json!({"opcode": "gone"}));
    is_refused(&mut bob, &json!({"opcode": "watch", "uuid": first}), "a page may only abort");
    is_refused(&mut bob, &json!({"opcode": "broadcast", "message": "hi"}), "a page may only abort");
}

// ---- WLBRISERVA

#[test]
fn a_backend_reports_to_one_page_and_announces_to_all() {
    let server = server();
    let (mut ann, uuid) = server.ready_on("/wlbriserva", "");
    let (mut bob, _) = server.ready_on("/wlbriserva", "");
    let (mut stranger, _) = server.ready_on("/emas", "");
    let mut backend = backend(&server, "/wlbriserva", "");
    backend.say(&json!({"opcode": "feedback", "uuid": uuid, "message": "Reading the calendar"}).to_string());
    backend.say(r#"{"opcode":"announce","taken":"desk 7"}"#);
    assert_eq!(heard(&mut ann)["message"], "Reading the calendar");
    assert_eq!(heard(&mut ann)["taken"], "desk 7");
    assert_eq!(heard(&mut bob)["taken"], "desk 7");
    assert!(stranger.is_silent(MOMENT), "other resources have nothing to do with it");
}

#[test]
fn a_page_that_reserves_only_listens() {
    let server = server();
    let (mut ann, uuid) = server.ready_on("/wlbriserva", "");
    let (mut bob, _) = server.ready_on("/wlbriserva", "");
    for opcode in ["announce", "broadcast", "feedback", "echo"] {
        is_refused(&mut bob, &json!({"opcode": opcode, "uuid": uuid}), "a page may only listen");
    }
    assert!(ann.is_silent(MOMENT));
    bob.say(r#"{"opcode":"quit"}"#);
    bob.closed_with(1000);
}
