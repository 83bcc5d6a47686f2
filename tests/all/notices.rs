//! Notices of who came and who went, as the page gets them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::util::folder::Folder;
use crate::util::http::metric;
use crate::util::receiver::{Answer, Received, Receiver};
use crate::util::{Phpws, wait_for};
use ring::hmac;
use serde_json::Value;

const SECRET: &str = "a secret of both sides";

/// A server that tells `receiver`; it has read the secret when it has started.
fn start(receiver: &Receiver) -> Phpws {
    let folder = Folder::new();
    let file = folder.write_secret("secret", format!("{SECRET}\n"));
    Phpws::start(&["--notify-url", &receiver.url(), "--notify-secret-file", &file])
}

/// The events of all requests in the order they came, each once however often it was sent.
fn events(receiver: &Receiver) -> Vec<Value> {
    let mut batches: Vec<Value> = Vec::new();
    for content in receiver.received().iter().map(Received::json) {
        if batches.last().is_none_or(|last| last["batch"] != content["batch"]) {
            batches.push(content);
        }
    }
    batches.iter().flat_map(|batch| batch["events"].as_array().cloned().unwrap_or_default()).collect()
}

fn wait_for_events(receiver: &Receiver, count: usize) -> Vec<Value> {
    let mut news = news(receiver);
    wait_for(&format!("{count} events"), || news().then(|| events(receiver)).filter(|events| events.len() >= count))
}

/// Whether a request has come since it was asked last: to read all of them takes a while.
fn news(receiver: &Receiver) -> impl FnMut() -> bool {
    let mut seen = 0;
    move || std::mem::replace(&mut seen, receiver.count()) != seen
}

fn wait_for_requests(receiver: &Receiver, count: usize) -> Vec<Received> {
    wait_for(&format!("{count} requests"), || Some(receiver.received()).filter(|received| received.len() >= count))
}

#[test]
fn the_first_request_says_that_nobody_is_there() {
    let receiver = Receiver::start();
    let _server = start(&receiver);
    let first = &wait_for_requests(&receiver, 1)[0];
    assert_eq!(first.line, "POST /notices.php?shop=1 HTTP/1.1");
    assert_eq!(first.header("content-type"), "application/json");
    let content = first.json();
    assert_eq!((&content["resync"], &content["seq"], &content["batch"]), (&true.into(), &0.into(), &1.into()));
    assert_eq!((&content["page"], &content["pages"], &content["clients"]), (&1.into(), &1.into(), &Value::Array(vec![])));
    assert_eq!(content["server"].as_str().unwrap().len(), 36);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - content["started"].as_f64().unwrap()).abs() < 60.0);
}

#[test]
fn coming_and_going_is_told_in_order_with_who_and_why() {
    let receiver = Receiver::start();
    let server = start(&receiver);
    let (mut browser, uuid) = server.ready_on("/web", "Ident: till 7\r\n");
    let (php, _) = server.ready_on("/php", "Client-Type: php\r\nIdent: worker\r\n");
    drop(php);
    server.log_line("Connection closed to socket #2");
    browser.say(r#"{"opcode":"quit"}"#);
    let events = wait_for_events(&receiver, 4);
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{} {} {} {} {}", event["seq"], event["event"], event["resource"], event["client_type"], event["ident"])
        })
        .collect();
    let expected = [
        r#"1 "came" "/web" "websocket" "till 7""#,
        r#"2 "came" "/php" "php" "worker""#,
        r#"3 "left" "/php" "php" "worker""#,
        r#"4 "left" "/web" "websocket" "till 7""#,
    ];
    assert_eq!(told, expected);
    assert_eq!((&events[0]["uuid"], &events[0]["ip"], &events[0]["code"]), (&uuid.into(), &"127.0.0.1".into(), &Value::Null));
    assert_eq!((&events[2]["code"], &events[3]["code"]), (&1006.into(), &1000.into()));
    assert_eq!((&events[0]["id"], &events[1]["id"]), (&events[3]["id"], &events[2]["id"]));
    assert!(events[0]["time"].as_f64() <= events[3]["time"].as_f64());
}

#[test]
fn who_was_not_let_in_or_takes_no_part_is_not_told_of() {
    let receiver = Receiver::start();
    let server = start(&receiver);
    assert!(server.upgrade("/nowhere", "").text().contains("close"));
    server.upgrade("/status", "").frame();
    let mut page = server.connect();
    page.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    page.rest();
    let (_browser, uuid) = server.browser();
    let events = wait_for_events(&receiver, 1);
    assert_eq!((&events[0]["seq"], &events[0]["uuid"]), (&1.into(), &uuid.into()));
}

#[test]
fn each_request_is_signed_with_its_time_and_body() {
    let receiver = Receiver::start();
    let server = start(&receiver);
    let _browser = server.browser();
    for request in wait_for_requests(&receiver, 2) {
        let (time, signature) = request.header("x-phpws-signature").strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert!(hmac::verify(&key, format!("{time}.{}", request.body).as_bytes(), &bytes).is_ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now - time.parse::<u64>().unwrap() < 60);
    }
}

#[test]
fn what_is_not_taken_is_sent_again_and_nothing_overtakes_it() {
    let receiver = Receiver::start();
    receiver.order([
        Answer::Status("500 Internal Server Error", "oops"),
        Answer::Close,
        Answer::Status("302 Found", ""),
        Answer::Status("200 OK", ""),
        Answer::Status("503 Service Unavailable", ""),
    ]);
    let server = start(&receiver);
    let _browser = server.browser();
    let received = wait_for_requests(&receiver, 6);
    let batches: Vec<Value> = received.iter().map(|request| request.json()["batch"].clone()).collect();
    assert_eq!(batches, [1, 1, 1, 1, 2, 2]);
    assert!(received[..4].iter().all(|request| request.body == received[0].body));
    assert_eq!(received[4].body, received[5].body);
    server.log_line("Notices are not taken: the answer is 500 Internal Server Error; trying again");
    server.log_line("Notices are taken again");
    assert_eq!(wait_for_events(&receiver, 1)[0]["seq"], 1);
}

#[test]
fn a_burst_goes_in_batches_of_at_most_a_hundred_over_one_connection() {
    let receiver = Receiver::start();
    let server = start(&receiver);
    let clients: Vec<_> = (0..250).map(|_| server.browser()).collect();
    let told = wait_for_events(&receiver, clients.len());
    let numbers: Vec<u64> = told.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=250).collect::<Vec<u64>>());
    let sizes: Vec<usize> =
        receiver.received().iter().filter_map(|request| Some(request.json()["events"].as_array()?.len())).collect();
    assert!(sizes.iter().all(|size| *size <= 100) && sizes.len() < 50, "{sizes:?}");
    assert_eq!(receiver.connections(), 1);
}

#[test]
fn a_page_that_hangs_holds_up_nobody() {
    let receiver = Receiver::start();
    receiver.order((0..20).map(|_| Answer::Hang));
    let server = start(&receiver);
    let (mut client, _) = server.browser();
    wait_for_requests(&receiver, 1);
    let mut slowest = Duration::ZERO;
    for number in 0..300 {
        let begin = Instant::now();
        client.say(&format!(r#"{{"opcode":"echo","message":{number}}}"#));
        client.text();
        let _passer_by = server.browser();
        slowest = slowest.max(begin.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "an echo took {slowest:?}");
    assert!(receiver.received().iter().all(|request| request.json()["batch"] == 1), "one request at a time");
}

#[test]
fn after_an_overflow_a_list_says_who_is_there() {
    let receiver = Receiver::start();
    receiver.order((0..20).map(|_| Answer::Hang));
    let server = start(&receiver);
    let (_stays, uuid) = server.browser();
    wait_for_requests(&receiver, 1);
    // Raw clients are the quickest to come and go: two events each.
    let come_and_go = || {
        for _ in 0..1_275 {
            let mut client = server.connect();
            client.send(b"php process\nGET /php HTTP/1.1\n{\"opcode\":\"quit\"}");
            client.rest();
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(come_and_go))));
    server.log_line("Notices: 10000 wait, further ones are dropped; a list of all clients will follow");
    receiver.let_go();
    let mut news = news(&receiver);
    let list = wait_for("a list", || {
        if !news() {
            return None;
        }
        let lists = receiver.received().into_iter().map(|request| request.json()).filter(|content| content["resync"] == true);
        lists.into_iter().find(|content| content["seq"] != 0)
    });
    assert_eq!(list["seq"], 10_201);
    assert_eq!((&list["clients"].as_array().unwrap().len(), &list["clients"][0]["uuid"]), (&1, &uuid.into()));
    let before = events(&receiver);
    assert!(before.len() >= 9_999 && before.len() <= 10_001, "{}", before.len());
    let in_order = before.iter().zip(1..).all(|(event, number)| event["seq"] == number);
    assert!(in_order, "what was kept is told in order and without holes");
    let dropped = 10_201 - before.len();
    let (_next, _) = server.browser();
    assert_eq!(wait_for_events(&receiver, before.len() + 1).last().unwrap()["seq"], 10_202);
    assert_eq!(metric(&server, "phpws_notices_dropped_total"), dropped as f64);
}

#[test]
fn a_server_that_stops_tells_who_left_before_it_ends() {
    let receiver = Receiver::start();
    let mut server = start(&receiver);
    let _clients: Vec<_> = (0..150).map(|_| server.browser()).collect();
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    let events = events(&receiver);
    assert_eq!(events.len(), 300);
    assert!(events[150..].iter().all(|event| event["event"] == "left" && event["code"] == 1001));
}

#[test]
fn a_page_that_hangs_does_not_keep_a_server_from_ending() {
    let receiver = Receiver::start();
    receiver.order((0..20).map(|_| Answer::Hang));
    let mut server = start(&receiver);
    let (browser, _) = server.browser();
    wait_for_requests(&receiver, 1);
    drop(browser);
    server.log_line("Connection closed to socket #1");
    let begin = Instant::now();
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    server.log_line("2 notices were not delivered");
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let refusal = |args: &[&str], secret: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phpws"));
        let output = command.arg("--check").args(args).env("PHPWS_NOTIFY_SECRET", secret).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap().trim_end().to_owned())
    };
    let url = ["--notify-url", "http://127.0.0.1/n.php"];
    let needs = "phpws: --notify-url: needs a secret: give --notify-secret-file FILE or set PHPWS_NOTIFY_SECRET";
    assert_eq!(refusal(&url, ""), (1, needs.to_owned()));
    assert_eq!(refusal(&url, SECRET), (0, String::new()));
    let short = "a secret has at least 16 bytes, not 15; make one with: openssl rand -hex 32";
    assert_eq!(refusal(&url, "fifteen letters"), (1, format!("phpws: PHPWS_NOTIFY_SECRET: {short}")));
    let folder = Folder::new();
    let file = folder.write_secret("secret", "fifteen letters\n");
    let with_file = [url[0], url[1], "--notify-secret-file", &file];
    assert_eq!(refusal(&with_file, SECRET), (1, format!("phpws: --notify-secret-file {file}: {short}")));
    for (mode, why) in [(0o644, "everybody may read it"), (0o620, "others may write it"), (0o602, "others may write it")] {
        folder.write_secret("secret", SECRET);
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let expected = format!("{why} (mode {mode:03o}); chmod 600 {file}, or chmod 640 {file} for a group");
        assert_eq!(refusal(&with_file, ""), (1, format!("phpws: --notify-secret-file {file}: {expected}")));
    }
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(refusal(&with_file, ""), (0, String::new()));
    let (code, line) = refusal(&["--notify-url", "shop.example/n.php"], SECRET);
    assert_eq!(
        (code, line.as_str()),
        (1, "phpws: --notify-url: 'shop.example/n.php' is not http://HOST/PATH or https://HOST/PATH")
    );
    let (code, line) = refusal(&[url[0], url[1], "--notify-secret-file", "/dev/null"], SECRET);
    assert_eq!((code, line.as_str()), (1, "phpws: --notify-secret-file /dev/null: holds nothing; write the secret into it"));
}
