//! Each bound that slows somebody down, drops something or refuses somebody is counted, and says so in one line of the log.

use crate::util::http::{feedback, metric, post};
use crate::util::{Client, Phpws, json, masked, request, wait_for};

const BACKEND: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";

/// What makes a bound act: called again and again until it has, with the connections of the times before.
type Act = fn(&Phpws, &mut Vec<Client>);

/// More messages than a turn has time for.
fn many_talk(server: &Phpws, clients: &mut Vec<Client>) {
    let more = (0..20).map(|_| server.browser().0);
    clients.extend(more);
    server.at_rest(|| clients.iter_mut().for_each(|client| client.send(&masked(true, 1, b"{}").repeat(1000))));
}

fn one_talks(server: &Phpws, clients: &mut Vec<Client>) {
    clients.push(server.browser().0);
    clients.last_mut().unwrap().send(&masked(true, 1, b"{}").repeat(60));
}

/// A browser that does not read, and a backend that has something for it alone.
fn feedback_for_one(server: &Phpws, clients: &mut Vec<Client>) {
    let (stuck, uuid) = server.browser();
    let (mut backend, _) = server.ready_on("/php", BACKEND);
    let message = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"{}"}}"#, "x".repeat(60_000));
    (0..300).for_each(|_| backend.send_text(&message));
    clients.extend([stuck, backend]);
}

/// A browser that does not read, and broadcasts.
fn broadcasts(server: &Phpws, clients: &mut Vec<Client>) {
    if clients.is_empty() {
        clients.extend([server.browser().0, server.ready_on("/php", BACKEND).0]);
    }
    let message = format!(r#"{{"opcode":"broadcast","message":"{}"}}"#, "x".repeat(60_000));
    (0..50).for_each(|_| clients[1].send_text(&message));
}

fn many_connect(server: &Phpws, clients: &mut Vec<Client>) {
    clients.extend((0..20).map(|_| server.connect()));
}

/// Clients that may come back lose their connection.
fn some_go_away(server: &Phpws, _: &mut Vec<Client>) {
    (0..3).for_each(|_| _ = server.upgrade("/web?resume=", "").text());
}

/// More is sent to one of them than is kept.
fn one_misses_much(server: &Phpws, _: &mut Vec<Client>) {
    let uuid = json(&server.upgrade("/web?resume=", "").text(), "uuid");
    (0..20).for_each(|_| _ = feedback(server, &uuid, r#"{"message":"some words that are kept"}"#));
}

fn wrong_uuids(server: &Phpws, clients: &mut Vec<Client>) {
    clients.extend((0..300).map(|_| server.connect()));
    let guess = request("/web?resume=e7369655-7143-43dd-a710-75937c023233", "");
    server.at_rest(|| clients.iter_mut().rev().take(300).for_each(|client| client.send(guess.as_bytes())));
}

fn requests(server: &Phpws, _: &mut Vec<Client>) {
    (0..5).for_each(|_| _ = post(server, "/broadcast", "1"));
}

#[test]
fn each_bound_is_counted_and_logged_once() {
    let narrow = ["--max-outbox", "100000", "--max-message", "100000"];
    let little = ["--max-memory", "2000000"];
    let bounds: [(&str, &str, &[&str], Act); 12] = [
        ("turns_cut", "turns of the loop ended before everybody was served", &[], many_talk),
        ("paced", "times a client was not read for a while, since it sent too fast", &["--max-message-rate", "10"], one_talks),
        ("feedback_put_off", "messages waited with their sender, since their receiver was full", &narrow, feedback_for_one),
        ("feedback_dropped", "messages for one client were dropped, since it read too slowly", &narrow, feedback_for_one),
        ("slow_clients_dropped", "clients were closed, since they read too slowly", &narrow, broadcasts),
        ("memory_pauses", "turns of the loop left senders unread, since memory was short", &little, broadcasts),
        ("memory_evicted", "clients were closed, since memory was short and they held most", &little, broadcasts),
        (
            "resume_lost_messages",
            "messages were too many to keep for clients that may come back",
            &["--resume-bytes", "300"],
            one_misses_much,
        ),
        (
            "away_refused",
            "clients whose connection broke were not kept, since max-away others were",
            &["--max-away", "1"],
            some_go_away,
        ),
        ("newcomers_evicted", "connections that were no clients gave way to newer ones", &["--max-newcomers", "8"], many_connect),
        ("wrong_uuids_refused", "wrong uuids were refused, since too many came from their address", &[], wrong_uuids),
        (
            "publishing_refused",
            "requests for publishing were refused, since too many or wrong ones",
            &["--max-publish-rate", "1"],
            requests,
        ),
    ];
    for (name, line, args, act) in bounds {
        let server = Phpws::start(args);
        let mut clients = Vec::new();
        wait_for(name, || {
            act(&server, &mut clients);
            (metric(&server, &format!("phpws_{name}_total")) > 0.0).then_some(())
        });
        server.log_line(line);
        act(&server, &mut clients);
        let lines = server.log().iter().filter(|logged| logged.contains(line)).count();
        assert_eq!(lines, 1, "{name}");
    }
}
