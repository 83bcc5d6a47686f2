//! `/metrics`, `/health` and the resource `/status`: what is counted, and who may ask.

use std::collections::{BTreeMap, BTreeSet};

use crate::util::folder::Folder;
use crate::util::{Client, PATIENCE, Phpws, masked, request, wait_for};
use serde_json::Value;

/// Status line, head in lower case, body.
fn get(server: &Phpws, request: &str) -> (String, String, String) {
    let mut client = server.connect();
    client.send(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes());
    let head = client.head();
    let status = head.lines().next().unwrap().trim_start_matches("HTTP/1.1 ").to_owned();
    (status, head.to_ascii_lowercase(), String::from_utf8(client.rest()).unwrap())
}

fn scrape(server: &Phpws) -> String {
    let (status, head, text) = get(server, "GET /metrics HTTP/1.1\r\nHost: x");
    assert_eq!(status, "200 OK");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    text
}

/// All samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    samples.collect()
}

fn sample(server: &Phpws, name: &str) -> f64 {
    *samples(&scrape(server)).get(name).unwrap_or_else(|| panic!("no sample {name}"))
}

/// Waits until a sample has this value: what ends a connection is counted a turn later.
fn reaches(server: &Phpws, name: &str, value: f64) {
    wait_for(&format!("{name} {value}"), || (sample(server, name) == value).then_some(()));
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let server = Phpws::start(&[]);
    let _browser = server.browser();
    let text = scrape(&server);
    let (mut families, mut family, mut seen) = (BTreeSet::new(), String::new(), BTreeSet::new());
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(families.insert(name.to_owned()) && help.ends_with('.') | help.ends_with(')'), "{line}");
                family = name.to_owned();
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            }
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                assert!(name == family || base == family, "{line} stands under {family}");
                assert!(value.parse::<f64>().is_ok() && seen.insert(sample.to_owned()), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    assert!(text.ends_with('\n') && families.len() > 20);
}

#[test]
fn each_metric_is_documented_with_its_kind() {
    let folder = Folder::new();
    let secret = folder.write_secret("secret", "the secret of two sides\n");
    let notices = ["--notify-url", "http://127.0.0.1:1/", "--notify-secret-file", &secret];
    let text = scrape(&Phpws::start(&[&notices[..], &["--backplane", "redis://127.0.0.1:1"]].concat()));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let rows = page.split("| Metric | Kind |").nth(1).unwrap().lines().skip(2).take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<String> =
        rows.map(|row| row.split('|').take(3).collect::<Vec<_>>().join("|").replace(' ', "")).collect();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut told: BTreeSet<String> = kinds.map(|(name, kind)| format!("|`{name}`|{kind}")).collect();
    // An older kernel does not tell it cheaply.
    told.insert("|`process_open_fds`|gauge".into());
    assert_eq!(documented, told);
}

#[test]
fn clients_and_what_they_say_are_counted() {
    let server = Phpws::start(&[]);
    let (mut browser, _) = server.browser();
    let (_backend, _) = server.ready_on("/php", "Client-Type: php\r\n");
    browser.say(r#"{"opcode":"echo","message":"x"}"#);
    browser.text();
    browser.say(r#"{"opcode":"feedback","uuid":"nobody","message":"x"}"#);
    browser.say("bufferON");
    browser.say("bufferOFF");
    let now = samples(&scrape(&server));
    for (name, value) in [
        ("phpws_clients{type=\"websocket\"}", 1.0),
        ("phpws_clients{type=\"php\"}", 1.0),
        ("phpws_clients_opened_total{type=\"php\"}", 1.0),
        ("phpws_connections{state=\"open\"}", 2.0),
        ("phpws_connections{state=\"handshake\"}", 1.0),
        ("phpws_connections_accepted_total", 3.0),
        ("phpws_resource_clients{resource=\"/web\"}", 1.0),
        ("phpws_resource_messages_total{resource=\"/web\"}", 4.0),
        ("phpws_resource_messages_total{resource=\"/php\"}", 0.0),
        ("phpws_messages_received_total", 4.0),
        // Two times ready, four times next, one echo.
        ("phpws_messages_sent_total", 7.0),
        ("phpws_feedback_unheard_total", 1.0),
        ("phpws_buffer_commands_total", 2.0),
        ("phpws_handshake_seconds_count", 2.0),
        ("phpws_outbox_bytes", 0.0),
        ("phpws_draining", 0.0),
    ] {
        assert_eq!(now[name], value, "{name}");
    }
    assert!(now["phpws_received_bytes_total"] > 300.0 && now["phpws_sent_bytes_total"] > 1300.0);
    assert!(now["phpws_turn_seconds_count"] >= 6.0 && now["phpws_turn_seconds_sum"] > 0.0);
    assert!(now["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn endings_are_counted_by_code() {
    let server = Phpws::start(&[]);
    let code = |code: &str| format!("phpws_closes_total{{code=\"{code}\"}}");
    let (mut quits, _) = server.browser();
    quits.say(r#"{"opcode":"quit"}"#);
    reaches(&server, &code("1000"), 1.0);
    drop(server.browser());
    reaches(&server, &code("1006"), 1.0);
    for (said, counted) in [(Some(3001_u16), "3xxx"), (Some(4000), "4xxx"), (Some(4999), "4xxx"), (None, "1005")] {
        let (mut client, _) = server.browser();
        client.send(&masked(true, 8, &said.map(u16::to_be_bytes).unwrap_or_default()[..if said.is_some() { 2 } else { 0 }]));
        client.rest();
        assert!(sample(&server, &code(counted)) >= 1.0, "{said:?}");
    }
    assert_eq!(sample(&server, &code("4xxx")), 2.0);
    let (mut breaks, _) = server.browser();
    breaks.send(b"\xFF\xFF");
    breaks.closed_with(1002);
    reaches(&server, &code("1002"), 1.0);
}

#[test]
fn refusals_are_counted_by_reason() {
    let options = ["--allowed-origin", "http://x", "--max-per-ip", "1", "--trusted-proxy", "127.0.0.1"];
    let server = Phpws::start(&options);
    let reason = |reason: &str| format!("phpws_refusals_total{{reason=\"{reason}\"}}");
    for (request, counted) in [
        (request("/web", "").replace("Origin: http://x", "Origin: http://evil"), "origin"),
        (request("/php", "Client-Type: php\r\nX-Forwarded-For: 192.0.2.7\r\n"), "address"),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "http_404"),
        ("nonsense\r\n\r\n".to_owned(), "http_400"),
        ("GET /web HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "http_426"),
    ] {
        let before = samples(&scrape(&server)).get(&reason(counted)).copied().unwrap_or_default();
        let mut client = server.connect();
        client.send(request.as_bytes());
        client.head();
        assert_eq!(sample(&server, &reason(counted)), before + 1.0, "{counted}");
    }
    let stranger = "X-Forwarded-For: 192.0.2.7\r\n";
    let _first = server.ready_on("/web", stranger);
    assert!(server.upgrade("/web", stranger).text().contains("To many"));
    assert!(server.upgrade("/nowhere", "").text().contains("close"));
    reaches(&server, &reason("max_per_ip"), 1.0);
    reaches(&server, &reason("resource"), 1.0);
}

#[test]
fn a_client_that_reads_too_slowly_is_counted() {
    let server = Phpws::start(&["--max-outbox", "100000", "--max-message", "100000"]);
    let _stuck = server.browser();
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    let message = format!(r#"{{"opcode":"broadcast","message":"{}"}}"#, "x".repeat(60_000));
    wait_for("a slow client", || {
        backend.say(&message);
        (sample(&server, "phpws_slow_clients_dropped_total") == 1.0).then_some(())
    });
    reaches(&server, "phpws_closes_total{code=\"1013\"}", 1.0);
}

#[test]
fn what_waits_is_seen_while_it_waits() {
    let server = Phpws::start(&[]);
    let (_stuck, uuid) = server.browser();
    let (mut backend, _) = server.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n");
    let message = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"{}"}}"#, "x".repeat(100_000));
    let waiting = wait_for("bytes that wait", || {
        backend.say(&message);
        Some(samples(&scrape(&server))).filter(|now| now["phpws_outbox_bytes"] > 0.0)
    });
    assert_eq!(waiting["phpws_outbox_bytes"], waiting["phpws_outbox_max_bytes"]);
}

#[test]
fn health_says_ready_and_how_many() {
    let server = Phpws::start(&[]);
    let _browser = server.browser();
    let (status, head, body) = get(&server, "GET /health HTTP/1.1\r\nHost: x");
    assert_eq!(status, "200 OK");
    assert!(head.contains("content-type: application/json\r\n") && head.contains("cache-control: no-store\r\n"));
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&health["status"], &health["clients"]), (&"ready".into(), &1.into()));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let (status, head, body) = get(&server, "HEAD /health HTTP/1.1\r\nHost: x");
    assert!(status == "200 OK" && body.is_empty() && head.contains("content-length: "));
    assert_eq!(get(&server, "POST /health HTTP/1.1\r\nHost: x").0, "405 Method Not Allowed");
}

#[test]
fn a_server_that_is_being_stopped_says_so_to_those_who_are_connected() {
    let mut server = Phpws::start(&["--close-timeout", "5"]);
    let (mut monitor, mut late, mut raw) = (server.connect(), server.connect(), server.connect());
    // One who is connected and asks nothing holds up nobody.
    let _silent = server.connect();
    let (mut stays, _) = server.browser();
    server.begin_stopping();
    monitor.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(monitor.head().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(String::from_utf8(monitor.rest()).unwrap().contains(r#""status":"draining""#));
    late.send(request("/web", "").as_bytes());
    assert!(late.head().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert_eq!(late.rest(), b"The server is being stopped\n");
    raw.send(b"php process\nGET /php HTTP/1.1\n");
    assert_eq!(raw.rest(), br#"{"opcode":"close"}"#);
    assert_eq!(stays.text(), r#"{"opcode":"close"}"#);
    let close = stays.frame().unwrap();
    assert_eq!(close.code(), 1001);
    stays.send(&masked(true, 8, &close.payload));
    assert_eq!(stays.frame(), None);
    drop((monitor, late, raw));
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn only_allowed_hosts_may_ask() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.2", "--allowed-ip", "192.0.2.7"]);
    for path in ["/health", "/metrics"] {
        let ask = |ip: [u8; 4], headers: &str| {
            let mut client = Client::over(server.connect_from(ip));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").as_bytes());
            client.head().split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!(ask([127, 0, 0, 1], ""), "200");
        assert_eq!(ask([127, 0, 0, 1], "Origin: http://x\r\n"), "403");
        assert_eq!(ask([127, 0, 0, 1], "X-Forwarded-For: 127.0.0.1\r\n"), "403", "from a proxy that nobody named");
        assert_eq!(ask([127, 0, 0, 2], "X-Forwarded-For: 192.0.2.7\r\n"), "200");
        assert_eq!(ask([127, 0, 0, 2], "X-Forwarded-For: 192.0.2.8\r\n"), "403");
    }
}

/// The figures of a picture, by name.
fn figures(picture: &str) -> BTreeMap<String, Value> {
    let picture: Value = serde_json::from_str(picture).unwrap();
    let groups = picture["groups"].as_array().unwrap().iter();
    let figures = groups.flat_map(|group| group["figures"].as_array().unwrap());
    figures.map(|figure| (figure["name"].as_str().unwrap().to_owned(), figure.clone())).collect()
}

#[test]
fn watchers_get_a_picture_each_second() {
    let server = Phpws::start(&[]);
    let mut watcher = server.upgrade("/status", "");
    let first = figures(&watcher.text());
    let (_browser, _) = server.browser();
    let mut pictures = std::iter::repeat_with(|| figures(&watcher.text()));
    // Where the browser took its time, the next one is too early.
    let next = pictures.find(|picture| picture["phpws_clients"] != first["phpws_clients"]).unwrap();
    let browsers = |picture: &BTreeMap<String, Value>| picture["phpws_clients"]["values"][0].clone();
    assert_eq!(
        [browsers(&first), browsers(&next)],
        [serde_json::json!(["websocket", 1.0]), serde_json::json!(["websocket", 2.0])]
    );
    let uptime = |picture: &BTreeMap<String, Value>| picture["phpws_uptime_seconds"]["value"].as_f64().unwrap();
    let passed = uptime(&next) - uptime(&first);
    assert!(passed > 0.9 && passed < PATIENCE.as_secs_f64(), "{passed}");
    assert_eq!(first["process_start_time_seconds"], next["process_start_time_seconds"]);
}

#[test]
fn a_picture_has_each_figure_of_a_scrape() {
    let server = Phpws::start(&[]);
    let picture = figures(&server.upgrade("/status", "").text());
    let text = scrape(&server);
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), picture.keys().cloned().collect());
}

#[test]
fn watching_is_for_pages_of_the_server_on_allowed_hosts() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.2", "--allowed-ip", "192.0.2.7"]);
    let watch = |ip: [u8; 4], headers: &str, origin: &str| {
        let mut client = Client::over(server.connect_from(ip));
        client.send(request("/status", headers).replace("Origin: http://x", &format!("Origin: {origin}")).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let frame = client.frame().unwrap();
        if frame.opcode == 1 { 200 } else { frame.code() }
    };
    assert_eq!(watch([127, 0, 0, 1], "", "http://x"), 200);
    assert_eq!(watch([127, 0, 0, 1], "", "https://x"), 200);
    assert_eq!(watch([127, 0, 0, 1], "", "http://evil"), 1008);
    assert_eq!(watch([127, 0, 0, 1], "X-Forwarded-For: 127.0.0.1\r\n", "http://x"), 1008);
    assert_eq!(watch([127, 0, 0, 2], "X-Forwarded-For: 192.0.2.7\r\n", "http://x"), 200);
    assert_eq!(watch([127, 0, 0, 2], "X-Forwarded-For: 192.0.2.8\r\n", "http://x"), 1008);
}

#[test]
fn a_flood_of_lines_does_not_fill_the_log() {
    let server = Phpws::start(&[]);
    let (mut browser, _) = server.browser();
    for number in 0..100 {
        browser.say(&format!(r#"{{"opcode":"feedback","uuid":"nobody {number}","message":"x"}}"#));
        browser.say("bufferON");
        browser.say("bufferOFF");
    }
    browser.say(r#"{"opcode":"quit"}"#);
    server.log_line("QUIT");
    let lines = |text: &str| server.log().iter().filter(|line| line.contains(text)).count();
    assert_eq!((lines("No client for feedback"), lines("Buffering ON"), lines("Buffering OFF")), (10, 1, 1));
    let now = samples(&scrape(&server));
    assert_eq!((now["phpws_feedback_unheard_total"], now["phpws_buffer_commands_total"]), (100.0, 200.0));
}
