//! Rooms over the wire: joining, leaving, sending to a room, asking who is there, announcements,
//! limits. And which opcodes browsers may send.

use std::process::{Command, Output};

use crate::util::{Client, NEXT, Phpws, masked, wait_for};

const JOIN: &str = r#"{"opcode":"join","room":"r"}"#;
const LEAVE: &str = r#"{"opcode":"leave","room":"r"}"#;
const WHO: &str = r#"{"opcode":"who","room":"r"}"#;

/// Sends a message and gives the answer behind its `next`.
fn ask(client: &mut Client, text: &str) -> String {
    client.say(text);
    client.text().trim_end().to_owned()
}

/// Whether nothing came before the answer to an echo.
fn got_nothing(client: &mut Client) -> bool {
    let echo = r#"{"opcode":"echo","message":"nothing before me?"}"#;
    client.send_text(echo);
    let first = client.text();
    first.trim_end() == NEXT && client.text().trim_end() == echo
}

fn joined(count: usize) -> String {
    format!(r#"{{"opcode":"joined","room":"r","count":{count}}}"#)
}

fn refused(opcode: &str, room: &str, error: &str) -> String {
    format!(r#"{{"opcode":"refused","refused":"{opcode}","room":"{room}","error":"{error}"}}"#)
}

#[test]
fn a_room_counts_who_joins_and_leaves() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.ready_on("/", "");
    assert_eq!(ask(&mut ann, JOIN), joined(1));
    assert_eq!(ask(&mut bob, JOIN), joined(2));
    assert_eq!(ask(&mut bob, JOIN), joined(2), "joining again changes nothing");
    assert_eq!(ask(&mut ann, WHO), r#"{"opcode":"who","room":"r","count":2}"#);
    assert_eq!(ask(&mut ann, LEAVE), r#"{"opcode":"left","room":"r","count":1}"#);
    assert_eq!(ask(&mut ann, LEAVE), refused("leave", "r", "Not a member"));
    assert_eq!(ask(&mut bob, LEAVE), r#"{"opcode":"left","room":"r","count":0}"#);
    assert_eq!(ask(&mut ann, JOIN), joined(1));
}

#[test]
fn a_broadcast_to_a_room_reaches_its_members_but_the_sender_as_it_came() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.ready_on("/", "");
    let (mut eve, _) = server.browser();
    ask(&mut ann, JOIN);
    ask(&mut bob, JOIN);
    let packet = r#"{ "room":"r", "message":[1.0, "é"],"opcode":"broadcast" }"#;
    ann.say(packet);
    assert_eq!(bob.text(), packet);
    assert!(got_nothing(&mut eve) && got_nothing(&mut ann));
}

#[test]
fn a_broadcast_without_a_room_goes_to_everybody_as_before() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut eve, _) = server.browser();
    ask(&mut ann, JOIN);
    for packet in [r#"{"opcode":"broadcast"}"#, r#"{"opcode":"broadcast","room":""}"#, r#"{"opcode":"broadcast","room":null}"#] {
        ann.say(packet);
        assert_eq!(eve.text(), packet);
    }
}

#[test]
fn a_browser_must_be_a_member_and_a_backend_need_not() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut eve, _) = server.browser();
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    ask(&mut ann, JOIN);
    let packet = r#"{"opcode":"broadcast","room":"r","message":"x"}"#;
    assert_eq!(ask(&mut eve, packet), refused("broadcast", "r", "Not a member"));
    assert_eq!(ask(&mut eve, WHO), refused("who", "r", "Not a member"));
    assert!(got_nothing(&mut ann));
    assert_eq!(ask(&mut php, WHO), r#"{"opcode":"who","room":"r","count":1}"#);
    php.say(packet);
    assert_eq!(ann.text(), packet);
    assert_eq!(ask(&mut php, r#"{"opcode":"who","room":"nobody's"}"#), r#"{"opcode":"who","room":"nobody's","count":0}"#);
    server.log_line("Socket 2 - refused opcode 'broadcast': Not a member");
}

#[test]
fn backends_hear_only_of_the_rooms_they_joined() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut outside, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    let (mut paced, _) = server.ready_on("/php", "Client-Type: php\r\n");
    let mut raw = server.connect();
    raw.send(b"php process\nGET /php HTTP/1.1\n");
    assert_eq!(ask(&mut ann, r#"{"opcode":"join","room":"r","announce":true}"#), joined(1));
    ann.text();
    assert_eq!(ask(&mut paced, JOIN), joined(2));
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":2,"joined":1}"#);
    let presence = paced.frame().unwrap();
    assert_eq!(presence.text().trim_end(), r#"{"opcode":"presence","room":"r","count":2,"joined":1}"#);
    assert_eq!((presence.payload.len() + 4) % 8192, 0, "filled up to whole reads");
    raw.send(JOIN.as_bytes());
    let mut heard = String::new();
    wait_for("the raw client's announcement", || {
        let mut buffer = [0; 4096];
        let count = raw.wire.read(&mut buffer).unwrap();
        heard += std::str::from_utf8(&buffer[..count]).unwrap();
        heard.ends_with(r#"{"opcode":"presence","room":"r","count":3,"joined":1}"#).then_some(())
    });
    assert!(heard.contains(&format!("{NEXT}{}", joined(3))), "{heard}");
    assert!(got_nothing(&mut outside));
}

#[test]
fn members_are_told_of_joins_and_leaves_where_the_first_of_them_asked_for_it() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.browser();
    assert_eq!(ask(&mut ann, r#"{"opcode":"join","room":"r","announce":true}"#), joined(1));
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"joined":1}"#);
    assert_eq!(ask(&mut bob, JOIN), joined(2));
    for member in [&mut ann, &mut bob] {
        assert_eq!(member.text(), r#"{"opcode":"presence","room":"r","count":2,"joined":1}"#);
    }
    assert_eq!(ask(&mut bob, LEAVE), r#"{"opcode":"left","room":"r","count":1}"#);
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"left":1}"#);
    assert!(got_nothing(&mut bob));

    let quiet = r#"{"opcode":"join","room":"quiet"}"#;
    ask(&mut ann, quiet);
    ask(&mut bob, r#"{"opcode":"join","room":"quiet","announce":true}"#);
    assert!(got_nothing(&mut ann) && got_nothing(&mut bob));
}

#[test]
fn who_vanishes_leaves_its_rooms() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    assert_eq!(ask(&mut ann, r#"{"opcode":"join","room":"r","announce":true}"#), joined(1));
    ann.text();
    let (mut bob, _) = server.browser();
    ask(&mut bob, JOIN);
    ann.text();
    drop(bob);
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"left":1}"#);
    let (mut bob, _) = server.browser();
    ask(&mut bob, JOIN);
    ann.text();
    bob.send(&masked(true, 8, b"\x03\xe8"));
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"left":1}"#);
    assert_eq!(ask(&mut ann, WHO), r#"{"opcode":"who","room":"r","count":1}"#);
}

/// Each turn has one announcement, however many came and went in it.
#[test]
fn the_changes_of_a_turn_are_announced_together() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    ask(&mut ann, r#"{"opcode":"join","room":"r","announce":true}"#);
    let mut sender = server.browser().0;
    let packets: Vec<u8> =
        (0..300).flat_map(|_| [masked(true, 1, JOIN.as_bytes()), masked(true, 1, LEAVE.as_bytes())]).flatten().collect();
    sender.send(&packets);
    let mut announcements = 0;
    let (mut joins, mut leaves) = (0, 0);
    while leaves < 300 {
        let value: serde_json::Value = serde_json::from_str(&ann.text()).unwrap();
        assert_eq!(value["opcode"], "presence");
        joins += value["joined"].as_u64().unwrap_or_default();
        leaves += value["left"].as_u64().unwrap_or_default();
        announcements += 1;
    }
    // One more is Ann's own. The packets are 24 KB, which come in a handful of reads at most.
    assert_eq!((joins, leaves), (301, 300));
    assert!(announcements <= 30, "{announcements} announcements");
}

#[test]
fn a_crowd_that_vanishes_is_counted_to_the_last() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    ask(&mut ann, r#"{"opcode":"join","room":"r","announce":true}"#);
    let mut crowd: Vec<Client> = (0..400).map(|_| server.browser().0).collect();
    for member in &mut crowd {
        member.send_text(JOIN);
    }
    let mut moved = |word: &str, wanted: u64| {
        let (mut sum, mut announcements) = (0, 0);
        while sum < wanted {
            let value: serde_json::Value = serde_json::from_str(&ann.text()).unwrap();
            sum += value[word].as_u64().unwrap();
            announcements += 1;
        }
        assert_eq!(sum, wanted);
        announcements
    };
    let joins = moved("joined", 401);
    drop(crowd);
    let leaves = moved("left", 400);
    println!("401 that came were {joins} announcements, 400 that vanished {leaves}");
    assert_eq!(ask(&mut ann, WHO), r#"{"opcode":"who","room":"r","count":1}"#);
}

#[test]
fn names_are_told_only_where_the_settings_allow() {
    let server = Phpws::start(&[]);
    let (mut ann, _) = server.browser();
    let named = r#"{"opcode":"join","room":"r","name":"Ann","announce":true}"#;
    assert_eq!(ask(&mut ann, named), joined(1));
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"joined":1}"#);
    assert_eq!(ask(&mut ann, WHO), r#"{"opcode":"who","room":"r","count":1}"#);

    let server = Phpws::start(&["--room-names"]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.browser();
    assert_eq!(ask(&mut ann, named), joined(1));
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":1,"joined":1,"joinedNames":["Ann"]}"#);
    assert_eq!(ask(&mut bob, JOIN), joined(2));
    assert_eq!(bob.text(), r#"{"opcode":"presence","room":"r","count":2,"joined":1}"#);
    assert_eq!(ask(&mut bob, WHO), r#"{"opcode":"who","room":"r","count":2,"names":["Ann"]}"#);
    assert_eq!(ann.text(), r#"{"opcode":"presence","room":"r","count":2,"joined":1}"#);
    ask(&mut ann, r#"{"opcode":"join","room":"r","name":"\"A\""}"#);
    assert_eq!(ask(&mut bob, WHO), r#"{"opcode":"who","room":"r","count":2,"names":["\"A\""]}"#);
    drop(ann);
    assert_eq!(bob.text(), r#"{"opcode":"presence","room":"r","count":1,"left":1,"leftNames":["\"A\""]}"#);
}

#[test]
fn who_lists_a_hundred_names_and_counts_all() {
    let server = Phpws::start(&["--room-names"]);
    let mut members: Vec<Client> = (0..120).map(|_| server.browser().0).collect();
    for (at, member) in members.iter_mut().enumerate() {
        ask(member, &format!(r#"{{"opcode":"join","room":"r","name":"member {at}"}}"#));
    }
    let answer: serde_json::Value = serde_json::from_str(&ask(&mut members[0], WHO)).unwrap();
    assert_eq!(answer["count"], 120);
    assert_eq!(answer["names"].as_array().unwrap().len(), 100);
}

#[test]
fn rooms_and_names_are_short_and_printable() {
    let server = Phpws::start(&["--room-names"]);
    let (mut ann, _) = server.browser();
    let bad_room = "A room has a printable name of 1 to 128 bytes";
    let longest = "x".repeat(128);
    let of = |room: &str| format!(r#"{{"opcode":"join","room":"{room}"}}"#);
    assert!(ask(&mut ann, &of(&longest)).contains("joined"));
    assert_eq!(ask(&mut ann, &of(&"x".repeat(129))), refused("join", &longest, bad_room));
    assert_eq!(ask(&mut ann, &of("a\\n")), refused("join", "a\\n", bad_room));
    assert_eq!(ask(&mut ann, &of("\\u202e")), refused("join", "\u{202e}", bad_room));
    for opcode in ["join", "who"] {
        let answer = ask(&mut ann, &format!(r#"{{"opcode":"{opcode}"}}"#));
        assert_eq!(answer, format!(r#"{{"opcode":"refused","refused":"{opcode}","error":"{bad_room}"}}"#));
    }
    let named = |name: &str| format!(r#"{{"opcode":"join","room":"r","name":"{name}"}}"#);
    let bad_name = "A name is printable and has at most 64 bytes";
    assert_eq!(ask(&mut ann, &named(&"y".repeat(65))), refused("join", "r", bad_name));
    assert_eq!(ask(&mut ann, &named("\\u0007")), refused("join", "r", bad_name));
    assert_eq!(ask(&mut ann, &named(&"y".repeat(64))), joined(1));
    assert_eq!(ask(&mut ann, r#"{"opcode":"join","room":7}"#), r#"{"opcode":"joined","room":"7","count":1}"#);
}

#[test]
fn the_number_of_rooms_has_limits() {
    let server = Phpws::start(&["--max-rooms", "3", "--max-rooms-per-client", "2"]);
    let (mut ann, _) = server.browser();
    let (mut bob, _) = server.browser();
    let join = |room: &str| format!(r#"{{"opcode":"join","room":"{room}"}}"#);
    for room in ["a", "b"] {
        assert!(ask(&mut ann, &join(room)).contains("joined"));
    }
    assert_eq!(ask(&mut ann, &join("c")), refused("join", "c", "Too many rooms for one client"));
    assert!(ask(&mut ann, &join("a")).contains("joined"), "it is in that one");
    assert!(ask(&mut bob, &join("c")).contains("joined"));
    assert_eq!(ask(&mut bob, &join("d")), refused("join", "d", "Too many rooms"));
    assert!(ask(&mut bob, &join("a")).contains("joined"), "that one is there");
    drop(ann);
    server.log_line("Connection closed to socket #1");
    let (mut eve, _) = server.browser();
    assert!(ask(&mut eve, &join("d")).contains("joined"), "room b is gone with its last member");
    let refusals = server.log().iter().filter(|line| line.contains("refused opcode 'join'")).count();
    assert_eq!(refusals, 2, "one for each client");
}

// ---- which opcodes browsers may send

/// What is refused under a list is answered with `next` and the refusal.
fn is_refused(client: &mut Client, text: &str, opcode: &str) -> bool {
    ask(client, text) == format!(r#"{{"opcode":"refused","refused":"{opcode}"}}"#)
}

#[test]
fn browsers_may_send_only_what_is_listed_for_their_resource() {
    let server = Phpws::start(&["--browser-opcodes", "quit,echo,/php=all", "--browser-opcodes", "/=none"]);
    let (mut web, _) = server.browser();
    let (mut root, _) = server.ready_on("/", "");
    let (mut on_php, _) = server.ready_on("/php", "");
    let (mut backend, _) = server.ready_on("/web", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    let broadcast = r#"{"opcode":"broadcast","message":1}"#;
    assert!(got_nothing(&mut web));
    assert!(is_refused(&mut web, broadcast, "broadcast"));
    assert!(is_refused(&mut root, r#"{"opcode":"echo"}"#, "echo"));
    on_php.say(broadcast);
    backend.say(broadcast);
    for receiver in [&mut web, &mut root] {
        assert_eq!((receiver.text(), receiver.text()), (broadcast.into(), broadcast.into()));
    }
    web.say(r#"{"opcode":"quit"}"#);
    web.closed_with(1000);
}

#[test]
fn receive_only_leaves_a_browser_the_reading_opcodes() {
    let server = Phpws::start(&["--receive-only"]);
    let (mut ann, uuid) = server.browser();
    for opcode in ["echo", "feedback", "broadcast", "anything"] {
        assert!(is_refused(&mut ann, &format!(r#"{{"opcode":"{opcode}","uuid":"{uuid}"}}"#), opcode));
    }
    let in_room = r#"{"opcode":"broadcast","room":"r"}"#;
    assert_eq!(ask(&mut ann, in_room), r#"{"opcode":"refused","refused":"broadcast","room":"r"}"#);
    assert_eq!(ask(&mut ann, JOIN), joined(1));
    let (mut php, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    php.say(in_room);
    assert_eq!(ann.text(), in_room);
    ann.say(r#"{"opcode":"quit"}"#);
    ann.closed_with(1000);
}

#[test]
fn what_is_no_packet_is_refused_under_a_list_and_so_are_chunks() {
    let server = Phpws::start(&["--receive-only"]);
    let (mut ann, _) = server.browser();
    for text in ["hello", "{}", "[1]", r#"{"opcode":""}"#, r#"{"opcode":["quit"]}"#] {
        assert!(is_refused(&mut ann, text, ""), "{text}");
    }
    ann.say("");
    for part in ["bufferON", r#"{"opcode":"bro"#, r#"adcast"}"#] {
        ann.say(part);
    }
    assert!(is_refused(&mut ann, "bufferOFF", "broadcast"));
}

#[test]
fn a_flood_of_refused_messages_is_logged_once_for_each_opcode() {
    let server = Phpws::start(&["--receive-only"]);
    let (mut ann, _) = server.browser();
    for round in 0..20 {
        assert!(is_refused(&mut ann, r#"{"opcode":"echo"}"#, "echo"));
        assert!(is_refused(&mut ann, &format!(r#"{{"opcode":"other {round}"}}"#), &format!("other {round}")));
    }
    server.log_line("Socket 1 - refused opcode 'echo': not permitted to browsers here");
    server.log_line("refused opcode 'other 0'");
    assert_eq!(server.log().iter().filter(|line| line.contains("refused opcode")).count(), 2);
}

#[test]
fn a_list_for_a_path_that_nobody_serves_ends_the_start() {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_phpws"))
        .args(["--console=off", "--browser-opcodes", "/wbe=none", "ws://127.0.0.1:0"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(error, "phpws: --browser-opcodes: nothing is registered under /wbe\n");
}
