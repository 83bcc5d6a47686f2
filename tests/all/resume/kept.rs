//! Who is kept and for how long, and how many.

use super::{break_off, message, open, uuid};
use crate::util::http::{feedback, metric};
use crate::util::{Client, Phpws, masked, request, wait_for};
use serde_json::json;

#[test]
fn a_client_that_is_not_known_becomes_a_new_one() {
    let server = Phpws::start(&["--resume-time", "2"]);
    let (client, first) = open(&server, "/web?resume=");
    // They stay: else the log would tell of them that they did not come back.
    let mut others = Vec::new();
    for target in [
        "/web?resume=e7369655-7143-43dd-a710-75937c023233&seq=7".to_owned(),
        "/web?resume=nonsense".to_owned(),
        format!("/?resume={}", uuid(&first)),
    ] {
        let (other, ready) = open(&server, &target);
        assert_eq!((&ready["resume"], &ready["seq"]), (&json!("lost"), &json!(0)), "{target}");
        assert_ne!(ready["uuid"], first["uuid"]);
        others.push(other);
    }
    break_off(&server, client, &uuid(&first));
    server.log_line("did not come back");
    assert_eq!(feedback(&server, &uuid(&first), "1").0, 404);
    let (_, ready) = open(&server, &format!("/web?resume={}", uuid(&first)));
    assert_eq!(ready["resume"], "lost");
}

#[test]
fn a_client_without_resume_can_not_be_resumed() {
    let server = Phpws::start(&[]);
    let (_client, uuid) = server.browser();
    let (_, ready) = open(&server, &format!("/web?resume={uuid}"));
    assert_eq!(ready["resume"], "lost");
}

#[test]
fn who_says_goodbye_is_not_kept() {
    let server = Phpws::start(&[]);
    for goodbye in [masked(true, 8, &1000u16.to_be_bytes()), masked(true, 8, b""), masked(true, 1, br#"{"opcode":"quit"}"#)] {
        let (mut client, ready) = open(&server, "/web?resume=");
        client.send(&goodbye);
        client.rest();
        wait_for("the client to be gone", || (feedback(&server, &uuid(&ready), "1").0 == 404).then_some(()));
    }
    let (mut client, ready) = open(&server, "/web?resume=");
    client.send(&masked(true, 8, &1001u16.to_be_bytes()));
    client.rest();
    assert_eq!(feedback(&server, &uuid(&ready), "1").0, 202);
}

#[test]
fn beyond_max_away_nobody_is_kept() {
    let server = Phpws::start(&["--max-away", "2"]);
    let uuids: Vec<String> = (0..3)
        .map(|_| {
            let (client, ready) = open(&server, "/web?resume=");
            drop(client);
            uuid(&ready)
        })
        .collect();
    wait_for("two to be kept", || {
        let kept = uuids.iter().filter(|uuid| feedback(&server, uuid, "1").0 == 202).count();
        (kept == 2).then_some(())
    });
}

#[test]
fn nobody_is_kept_where_it_is_off() {
    let server = Phpws::start(&["--resume-time", "0"]);
    let (_, ready) = open(&server, "/web?resume=");
    assert_eq!(ready.as_object().unwrap().len(), 2, "{ready}");
}

#[test]
fn who_is_away_and_what_became_of_them_is_counted() {
    let server = Phpws::start(&["--resume-time", "3", "--resume-bytes", "300"]);
    let (client, ready) = open(&server, "/web?resume=");
    break_off(&server, client, &uuid(&ready));
    assert_eq!(metric(&server, "phpws_clients_away"), 1.0);
    assert_eq!(metric(&server, "phpws_connections{state=\"open\"}"), 0.0);
    for _ in 0..5 {
        feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    }
    let lost = metric(&server, "phpws_resume_lost_messages_total");
    assert!((1.0..5.0).contains(&lost), "{lost}");
    let (client, ready) = open(&server, &format!("/web?resume={}", uuid(&ready)));
    assert_eq!(ready["lost"].as_f64(), Some(lost));
    assert_eq!((metric(&server, "phpws_clients_away"), metric(&server, "phpws_clients_resumed_total")), (0.0, 1.0));
    drop(client);
    wait_for("the end of its time", || (metric(&server, "phpws_clients_given_up_total") == 1.0).then_some(()));
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
    assert_eq!(metric(&server, "phpws_closes_total{code=\"1006\"}"), 1.0);
}

#[test]
fn who_is_not_let_in_is_not_kept() {
    let server = Phpws::start(&["--max-clients", "1"]);
    let (first, _) = server.browser();
    for _ in 0..3 {
        let mut refused = server.upgrade("/web?resume=", "");
        assert!(refused.text().contains("Too many connections"));
        refused.closed_with(1013);
    }
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
    drop(first);
    wait_for("the place to be free", || server.upgrade("/web?resume=", "").text().contains("ready").then_some(()));
}

#[test]
fn who_does_not_answer_pings_is_away_until_it_comes_back() {
    let server = Phpws::start(&["--ping-interval", "0.8"]);
    let (mut client, ready) = open(&server, "/web?resume=");
    assert_eq!(client.frame().unwrap().text(), r#"{"opcode":"PING","seq":0}"#);
    feedback(&server, &uuid(&ready), r#"{"message":1}"#);
    assert_eq!(client.text().split_once(r#""message""#).unwrap().1, r#":1,"seq":1}"#);
    client.closed_with(1001);
    assert_eq!(feedback(&server, &uuid(&ready), r#"{"message":2}"#).0, 202);
    let (mut client, ready) = open(&server, &format!("/web?resume={}&seq=0", uuid(&ready)));
    assert_eq!(ready["resume"], "resumed");
    assert_eq!(message(&mut client), r#"{"message":1,"seq":1}"#);
    assert_eq!(message(&mut client), r#"{"message":2,"seq":2}"#);
}

/// Somebody opens clients that may resume, and breaks them, as fast as he can.
#[test]
fn a_flood_of_clients_that_break_is_kept_up_to_the_limit_and_no_longer_than_said() {
    let server = Phpws::start(&["--max-away", "50", "--resume-time", "1.5"]);
    let addr = server.addr;
    let flood = move || {
        for _ in 0..200 {
            let mut client = Client::connect(addr);
            client.send(request("/web?resume=", "").as_bytes());
            client.head();
            client.text();
        }
    };
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(flood)).collect();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        let away = metric(&server, "phpws_clients_away");
        assert!(away <= 50.0, "{away} are away");
    }
    wait_for("nobody to be left", || (metric(&server, "phpws_clients{type=\"websocket\"}") == 0.0).then_some(()));
    assert_eq!(metric(&server, "phpws_clients_away"), 0.0);
}
