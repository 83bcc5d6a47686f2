//! Who is the server's own host: the same answer at every entrance.

use crate::util::folder::Folder;
use crate::util::tls::{self, Pair};
use crate::util::{Client, Phpws, Wire, json, request};

/// What a forwarder writes.
const FORWARDED: [&str; 8] = [
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
    "Forwarded: for=127.0.0.1",
    "Via: 1.1 proxy",
    "X-Real-IP: 127.0.0.1",
    "CF-Connecting-IP: ::1",
    "True-Client-IP: ::1",
];
/// The paths that the own host may ask without a token.
const PATHS: [&str; 3] = ["/health", "/metrics", "/clients/x"];

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n")
}

/// The status of one request, sent behind `before` from this address, and the line that says why.
fn ask_from(server: &Phpws, ip: [u8; 4], before: &[u8], request: &str) -> (u16, String) {
    answer(server.connect_from(ip), before, request)
}

fn answer(wire: impl Wire + 'static, before: &[u8], request: &str) -> (u16, String) {
    let mut client = Client::over(wire);
    client.send(&[before, request.as_bytes()].concat());
    let head = client.head();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, if status == 101 { String::new() } else { String::from_utf8_lossy(&client.rest()).into_owned() })
}

fn ask(server: &Phpws, request: &str) -> (u16, String) {
    ask_from(server, [127, 0, 0, 1], b"", request)
}

fn php(fields: &str) -> String {
    request("/php", &format!("Client-Type: php\r\n{fields}"))
}

#[test]
fn what_an_unnamed_proxy_passes_on_is_not_of_this_host() {
    let server = Phpws::start(&[]);
    for line in FORWARDED {
        let (status, why) = ask(&server, &php(&format!("{line}\r\n")));
        assert!(status == 403 && why.contains("--trusted-proxy"), "{line}: {status} {why}");
        for path in PATHS {
            assert_eq!(ask(&server, &get(path, &format!("Host: x\r\n{line}"))).0, 403, "{path} {line}");
        }
        let mut watcher = server.upgrade("/status", &format!("{line}\r\n"));
        watcher.closed_with(1008);
    }
    assert_eq!(ask(&server, &php("")).0, 101);
    server.log_line("A request from 127.0.0.1 was forwarded; if 127.0.0.1 is your proxy, give --trusted-proxy 127.0.0.1");
    assert_eq!(server.log().iter().filter(|line| line.contains("was forwarded")).count(), 1, "logged once");
}

#[test]
fn a_php_client_behind_an_unnamed_proxy_does_not_walk_past_the_session() {
    let folder = Folder::new();
    let path = folder.path().to_str().unwrap().to_owned();
    let server = Phpws::start(&["--require-session", "--session-path", &path, "--allowed-origin", "https://shop.example"]);
    assert_eq!(ask(&server, &php("X-Real-IP: 203.0.113.5\r\n")).0, 403);
    assert_eq!(ask(&server, &php("")).0, 101);
}

#[test]
fn an_address_that_a_proxy_names_is_never_this_host() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.9", "--allowed-ip", "192.0.2.7"]);
    let from = |request: &str| ask_from(&server, [127, 0, 0, 9], b"", request).0;
    for named in ["::1", "127.0.0.1", "::ffff:127.0.0.1", "127.0.0.9", "192.0.2.7, 127.0.0.1", "unknown", ""] {
        assert_eq!(from(&php(&format!("X-Forwarded-For: {named}\r\n"))), 403, "{named}");
        for path in PATHS {
            assert_eq!(from(&get(path, &format!("Host: x\r\nX-Forwarded-For: {named}"))), 403, "{path} {named}");
        }
    }
    assert_eq!(from(&php("X-Forwarded-For: 192.0.2.7\r\n")), 101);
    assert_eq!(from(&get("/metrics", "Host: ws.example.com\r\nX-Forwarded-For: 192.0.2.7")), 200);
    assert_eq!(from(&php("Via: 1.1 proxy\r\n")), 403, "a proxy that names nobody");
    server.log_line("The proxy 127.0.0.9 names no client: let it write X-Forwarded-For");
    let open = Phpws::start(&["--trusted-proxy", "127.0.0.9", "--allowed-ip", "127.0.0.1"]);
    assert_eq!(ask_from(&open, [127, 0, 0, 9], b"", &php("X-Forwarded-For: 127.0.0.1\r\n")).0, 101, "the list says so");
}

/// A header of version 2: command, family, and what they announce.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family, 0, rest.len() as u8][..], rest].concat()
}

#[test]
fn what_a_proxy_header_says_is_never_this_host() {
    let server = Phpws::start(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--allowed-ip", "192.0.2.7"]);
    let from = |header: &[u8], request: &str| ask_from(&server, [127, 0, 0, 9], header, request).0;
    let loopback = [127, 0, 0, 1, 127, 0, 0, 1, 0x13, 0x88, 0, 80];
    let (local, lives) = (v2(0, 0, b""), get("/health", "Host: ws.example.com"));
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 127.0.0.1 127.0.0.1 5000 80\r\n".to_vec(),
        b"PROXY TCP6 ::1 ::1 5000 80\r\n".to_vec(),
        b"PROXY TCP6 ::ffff:127.0.0.1 ::1 5000 80\r\n".to_vec(),
        v2(1, 0x11, &loopback),
        v2(1, 0, b""),
        v2(1, 0x31, &[0; 216]),
        local.clone(),
        v2(0, 0x11, &loopback),
    ] {
        assert_eq!(from(&header, &php("")), 403, "{header:?}");
        for path in PATHS {
            let expected = if path == "/health" && header.get(12) == Some(&0x20) { 200 } else { 403 };
            assert_eq!(from(&header, &get(path, "Host: x")), expected, "{path} {header:?}");
        }
        let mut raw = Client::over(server.connect_from([127, 0, 0, 9]));
        raw.send(&[&header, &b"php process\nGET /php HTTP/1.1\n"[..]].concat());
        let told = String::from_utf8(raw.rest()).unwrap();
        assert!(told.contains("No connection allowed from: "), "{told}");
    }
    assert_eq!(from(&local, &lives), 200, "by any name");
    assert_eq!(from(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n", &php("")), 101);
}

#[test]
fn a_page_that_had_its_name_lead_here_reads_nothing() {
    let server = Phpws::start(&[]);
    let watch = |host: &str| {
        request("/status", "").replace("Host: x\r\nOrigin: http://x", &format!("Host: {host}\r\nOrigin: http://{host}"))
    };
    for host in ["evil.example:8095", "evil.example", "127.0.0.1.evil.example:8095"] {
        for path in PATHS {
            let (status, why) = ask(&server, &get(path, &format!("Host: {host}")));
            assert!(status == 403 && why.contains("--host NAME"), "{path} {host}: {status} {why}");
        }
        let (status, why) = ask(&server, &watch(host));
        assert!(status == 403 && why.contains("--host NAME"), "{host}: {status} {why}");
    }
    server.log_line("Host 'evil.example:8095' from 127.0.0.1 is none of this server's names; if it is, give --host");
    for host in ["127.0.0.1:8095", "[::1]:8095", "192.0.2.1", "localhost", "LOCALHOST:1", "till7", "localhost."] {
        assert_eq!(ask(&server, &get("/health", &format!("Host: {host}"))).0, 200, "{host}");
        assert_eq!(ask(&server, &watch(host)).0, 101, "{host}");
    }
    assert_eq!(ask(&server, "GET /health HTTP/1.0\r\n\r\n").0, 200, "no browser is so old");
    // Backends say what they like, and no page can make one of a browser.
    assert_eq!(ask(&server, &php("").replace("Host: x", "Host: tcp://shop.example")).0, 101);
    assert_eq!(ask(&server, &request("/web", "").replace("Host: x", "Host: shop.example")).0, 101, "no right is gained");
}

#[test]
fn names_of_this_host_are_given_by_a_setting() {
    let server = Phpws::start(&["--host", "ws.example.com,till.shop.example", "--host", "a.example"]);
    for (host, expected) in [
        ("ws.example.com", 200),
        ("WS.Example.com:8095", 200),
        ("till.shop.example.", 200),
        ("a.example", 200),
        ("shop.example", 403),
        ("x.a.example", 403),
    ] {
        assert_eq!(ask(&server, &get("/health", &format!("Host: {host}"))).0, expected, "{host}");
    }
}

#[test]
fn the_names_in_the_certificate_are_names_of_this_host() {
    let files = Pair::new();
    let server = files.server(&[]);
    let ask = |host: &str| {
        let stream = tls::connect(server.addr, &files.client_config());
        answer(stream, b"", &get("/health", &format!("Host: {host}"))).0
    };
    assert_eq!((ask("ws.shop.example:8095"), ask("evil.example:8095")), (200, 403));
}

#[test]
fn a_token_needs_no_name() {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "the-old-token-of-yesterday\n");
    let server = Phpws::start(&["--publish-token-file", &file]);
    let token = "Authorization: Bearer the-old-token-of-yesterday";
    assert_eq!(ask(&server, &get("/clients/x", "Host: ws.example.com")).0, 403);
    assert_eq!(ask(&server, &get("/clients/x", &format!("Host: ws.example.com\r\n{token}"))).0, 404, "nobody has that uuid");
    assert_eq!(ask(&server, &get("/clients/x", &format!("Host: x\r\nX-Forwarded-For: ::1\r\n{token}"))).0, 404);
}

#[test]
fn other_sites_say_so_themselves() {
    let server = Phpws::start(&[]);
    for site in ["cross-site", "same-site"] {
        for path in PATHS {
            assert_eq!(ask(&server, &get(path, &format!("Host: localhost\r\nSec-Fetch-Site: {site}"))).0, 403, "{path} {site}");
        }
        assert_eq!(ask(&server, &request("/status", &format!("Sec-Fetch-Site: {site}\r\n"))).0, 403);
    }
    for site in ["none", "same-origin"] {
        assert_eq!(ask(&server, &get("/metrics", &format!("Host: localhost\r\nSec-Fetch-Site: {site}"))).0, 200, "{site}");
    }
}

#[test]
fn a_stranger_can_not_take_the_name_of_a_till() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.9"]);
    let mut thief = Client::over(server.connect_from([127, 0, 0, 9]));
    thief.send(request("/web", "X-Forwarded-For: 203.0.113.5\r\nIdent: till 7\r\n").as_bytes());
    thief.head();
    let uuid = json(&thief.text(), "uuid");
    let (_other, _) = server.ready_on("/web", "Via: 1.1 proxy\r\nIdent: till 7\r\n");
    let (mut till, _) = server.ready_on("/web", "Ident: till 7\r\n");
    let (mut sender, _) = server.browser();
    sender.say(r#"{"opcode":"feedback","ident":"till 7","message":"for the till"}"#);
    assert!(till.text().contains("for the till"));
    sender.say(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"for the thief"}}"#));
    assert!(thief.text().contains("for the thief"));
    server.log_line("Ident of 203.0.113.5 ignored: only backends have one; see --allowed-ip");
}

#[test]
fn an_ident_is_short() {
    let server = Phpws::start(&[]);
    let (most, more) = (format!("Ident: {}\r\n", "x".repeat(128)), format!("Ident: {}\r\n", "x".repeat(129)));
    for fields in ["", "Client-Type: php\r\n", "X-Forwarded-For: 203.0.113.5\r\n"] {
        let (status, why) = ask(&server, &request("/web", &format!("{fields}{more}")));
        assert_eq!((status, why.as_str()), (400, "The header ident is over 128 bytes\n"), "{fields}");
    }
    assert_eq!(ask(&server, &request("/web", &most)).0, 101);
}
