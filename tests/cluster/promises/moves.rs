//! A page that goes to another process takes everything along.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Net, let_time_pass, numbers, read_to_end, resume_at, resuming, wait_for_processes, wait_until_away};
use crate::util::http::{feedback, get, metric, post};
use crate::util::page::Page;
use crate::util::proxy::Way;
use crate::util::redis::Redis;
use crate::util::{NEXT, Phpws, masked, request, wait_for};
use crate::{next_with, open, processes};

/// The page at A, then at B where it gets nothing, then at C. At B the connection ends in some way.
fn moves_twice(rooms: &[&str], end_at_b: fn(&Phpws, &Page)) {
    let redis = Redis::start();
    let servers = processes(&redis, 3, &[]);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    for room in rooms {
        page.say(&format!(r#"{{"opcode":"join","room":"{room}"}}"#));
    }
    page.until("joined", |page| page.got.len() == rooms.len());
    page.break_off();
    wait_until_away(&servers[0], &page.uuid);
    let feedback_path = format!("/feedback/{}", page.uuid);
    let room_paths = rooms.iter().map(|room| format!("/broadcast?room={room}"));
    let paths: Vec<String> = room_paths.chain(["/broadcast".into(), "/broadcast?resource=/web".into(), feedback_path]).collect();
    let mut sent = Vec::new();
    for path in paths.iter().chain(&paths) {
        sent.push(sent.len() as u64);
        let answer = post(&servers[0], path, &format!(r#"{{"message":{}}}"#, sent.len() - 1));
        assert_eq!(answer, (202, json!({"delivered": 0, "queued": 1})), "{path}");
    }
    end_at_b(&servers[1], &page);
    assert_eq!(resume_at(&mut page, &servers[2]), "resumed");
    read_to_end(&mut page, &servers[2]);
    assert_eq!(numbers(&page), sent);
}

/// It is told `ready`, reads nothing more, and is away.
fn away_after_ready(server: &Phpws, page: &Page) {
    let (unread, ready) = open(server, &page.target());
    assert_eq!(ready["resume"], "resumed");
    drop(unread);
    wait_until_away(server, &page.uuid);
}

/// The request and the end of its connection come in one turn.
fn gone_before_ready(server: &Phpws, page: &Page) {
    let socket = TcpStream::connect(server.addr).unwrap();
    server.at_rest(|| {
        (&socket).write_all(request(&page.target(), "").as_bytes()).unwrap();
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
    });
    wait_for("the client to be gone", || (metric(server, "phpws_clients{type=\"websocket\"}") == 0.0).then_some(()));
}

/// It ends at some moment while Redis is asked, a bit later each time.
fn gone_at_any_moment(server: &Phpws, page: &Page) {
    for moment in 0..30 {
        let socket = TcpStream::connect(server.addr).unwrap();
        (&socket).write_all(request(&page.target(), "").as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(200 * moment));
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The process at which it has read nothing is stopped.
fn stopped(server: &Phpws, page: &Page) {
    let (mut unread, ready) = open(server, &page.target());
    assert_eq!(ready["resume"], "resumed");
    server.begin_stopping();
    while unread.frame().is_some_and(|frame| frame.opcode != 8) {}
}

const ENDS: [fn(&Phpws, &Page); 4] = [away_after_ready, gone_before_ready, gone_at_any_moment, stopped];

#[test]
fn a_page_in_two_rooms_moves_twice_and_has_read_nothing_in_between() {
    ENDS.iter().for_each(|end| moves_twice(&["r", "s"], *end));
}

#[test]
fn a_page_in_three_rooms_moves_twice_and_has_read_nothing_in_between() {
    ENDS.iter().for_each(|end| moves_twice(&["r", "s", "t"], *end));
}

/// A name stays the client's: the key that finds it is renewed in the process that has the client now.
fn keeps_its_name(headers_later: &str) {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &["--resume-time", "1", "--ping-interval", "1"]);
    let mut old = servers[0].upgrade("/web?resume=", "Ident: worker\r\n");
    let ready: Value = serde_json::from_str(&old.text()).unwrap();
    let uuid = ready["uuid"].as_str().unwrap();
    let mut new = servers[1].upgrade(&format!("/web?resume={uuid}&seq=0"), headers_later);
    assert!(new.text().contains(r#""resume":"resumed""#));
    // Most of the time of the name is over. Where it is not renewed, it ends before this loop does.
    let keys = redis.cli(&["--scan", "--pattern", "*:ident:worker"]);
    assert_eq!(redis.cli(&["pexpire", &keys, "10000"]), "1", "{keys}");
    let time = || redis.cli(&["ttl", &keys]).parse::<i64>().unwrap();
    let reading = std::thread::spawn(move || {
        // It answers pings, so that it stays.
        while let Some(frame) = new.frame() {
            match frame.opcode {
                9 => new.send(&masked(true, 10, &frame.payload)),
                1 if frame.text().contains(r#""message":1"#) => return true,
                _ => {}
            }
        }
        false
    });
    wait_for("the name to be renewed, or to end", || (time() > 20 || time() == -2).then_some(()));
    assert_eq!(post(&servers[0], "/feedback?ident=worker", r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    assert!(reading.join().unwrap(), "the client got it");
}

#[test]
fn a_client_with_a_name_that_moves_and_says_it_again_is_found_by_it_for_ever() {
    keeps_its_name("Ident: worker\r\n");
}

#[test]
fn a_client_with_a_name_that_moves_and_does_not_say_it_again_is_found_by_it_for_ever() {
    keeps_its_name("");
}

/// How the process fares that has the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    Lives,
    IsKilled,
}

/// The answer to this message was not read at A. It comes at B, or the page is told that something is missing.
fn answer_moves(old: Old, message: &str, answer: &str, is_target_slow: bool) {
    let redis = Redis::start();
    let mut servers = processes(&redis, 3, &[]);
    let (_target, target) = servers[2].browser();
    let (mut page, uuid) = resuming(&servers[0]);
    if is_target_slow {
        servers[2].signal("STOP");
    }
    page.send_text(&message.replace("TARGET", &target));
    while page.text() != NEXT {}
    if old == Old::IsKilled {
        servers[0].child.kill().unwrap();
        servers[0].child.wait().unwrap();
        wait_for_processes(&redis, 2);
    }
    drop(page);
    let (mut page, ready) = open(&servers[1], &format!("/web?resume={uuid}&seq=0&at=0"));
    if is_target_slow {
        servers[2].signal("CONT");
    }
    if ready["resume"] != "resumed" {
        return;
    }
    let arrived = wait_for("the answer, or a message behind it", || {
        feedback(&servers[1], &uuid, r#"{"message":"end"}"#);
        let texts = std::iter::repeat_with(|| page.frame().unwrap()).filter(|frame| frame.opcode == 1);
        let end = texts.map(|frame| frame.text().to_owned()).find(|text| text.contains(answer) || text.contains(r#""end""#));
        // A receipt may take as long as the answer of another process.
        let is_it = end.is_some_and(|text| text.contains(answer));
        (is_it || !is_target_slow).then_some(is_it)
    });
    assert!(arrived, "the page resumed, and {answer} never came");
}

const ECHO: &str = r#"{"opcode":"echo","message":1,"cseq":1}"#;
const ASK: &str = r#"{"opcode":"feedback","uuid":"TARGET","message":1,"receipt":"r1","cseq":1}"#;

#[test]
fn an_echo_comes_where_its_page_goes() {
    answer_moves(Old::Lives, ECHO, r#""opcode":"echo""#, false);
}

#[test]
fn an_echo_comes_or_is_missed_where_its_process_was_killed() {
    answer_moves(Old::IsKilled, ECHO, r#""opcode":"echo""#, false);
}

#[test]
fn a_receipt_comes_where_its_page_goes() {
    answer_moves(Old::Lives, ASK, r#""receipt":"r1""#, false);
}

#[test]
fn a_receipt_that_is_not_known_yet_comes_where_its_page_goes() {
    answer_moves(Old::Lives, ASK, r#""receipt":"r1""#, true);
}

#[test]
fn a_receipt_comes_or_is_missed_where_its_process_was_killed() {
    answer_moves(Old::IsKilled, ASK, r#""receipt":"r1""#, false);
}

/// B is slow to ask for the page, which has gone to C meanwhile.
#[test]
fn who_came_later_has_the_page_also_where_redis_is_asked_in_another_order() {
    let net = Net::start(3, &[]);
    let [a, b, c] = [&net.servers[0], &net.servers[1], &net.servers[2]];
    let (page, uuid) = resuming(a);
    drop(page);
    wait_until_away(a, &uuid);
    let target = format!("/web?resume={uuid}&seq=0");
    net.proxies[1].freeze(Way::Up);
    let mut slow = b.upgrade(&target, "");
    wait_for("B to have its client", || (metric(b, "phpws_clients{type=\"websocket\"}") >= 1.0).then_some(()));
    let_time_pass();
    let (mut page, ready) = open(c, &target);
    assert_eq!(ready["resume"], "resumed");
    net.proxies[1].heal();
    slow.closed_with(1013);
    assert_eq!(feedback(a, &uuid, r#"{"message":1}"#), (200, json!({"delivered": 1, "queued": 0})));
    next_with(&mut page, r#""message":1"#);
    page.say(r#"{"opcode":"last"}"#);
}

/// A page between two processes is there for everybody who asks.
fn is_between(end: fn(&mut Phpws)) {
    let redis = Redis::start();
    let mut servers = processes(&redis, 2, &[]);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    page.say(r#"{"opcode":"join","room":"r"}"#);
    page.until("joined", |page| page.got.len() == 1);
    end(&mut servers[0]);
    wait_for_processes(&redis, 1);
    page.break_off();
    let paths = ["/broadcast", "/broadcast?resource=/web", "/broadcast?room=r", &format!("/feedback/{}", page.uuid)];
    let answers: Vec<_> = paths.iter().map(|path| post(&servers[1], path, r#"{"message":1}"#)).collect();
    let (status, known) = get(&servers[1], &format!("/clients/{}", page.uuid));
    assert_eq!(resume_at(&mut page, &servers[1]), "resumed");
    page.until("all", |page| numbers(page).len() == 4);
    for (path, answer) in paths.iter().zip(answers) {
        assert_eq!(answer, (202, json!({"delivered": 0, "queued": 1})), "{path}");
    }
    assert_eq!((status, &known["connected"]), (200, &json!(false)), "{known}");
}

#[test]
fn a_page_whose_process_was_killed_is_counted_and_known() {
    is_between(|server| {
        server.child.kill().unwrap();
        server.child.wait().unwrap();
    });
}

#[test]
fn a_page_whose_process_was_stopped_is_counted_and_known() {
    is_between(|server| {
        server.signal("TERM");
        server.exit_code();
    });
}
