//! docs/openapi.json against the server: every path, method and status is provoked, every example is
//! sent or checked, every answer has the form that the file gives it.

use crate::util::folder::Folder;
use crate::util::{Client, Phpws, wait_for};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

const TOKEN: &str = "a-token-for-the-tests";

/// The file, with ways to look into it.
struct Api(Value);

impl Api {
    fn load() -> Api {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        Api(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// The value, or what its `$ref` leads to.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(pointer) => self.0.pointer(&pointer[1..]).unwrap_or_else(|| panic!("{pointer} leads nowhere")),
            None => value,
        }
    }

    /// All operations: path, method, what the file says of it.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().iter().map(move |(method, it)| (path.as_str(), method.as_str(), it))
            })
            .collect()
    }

    /// Checks a value against as much of JSON Schema as the file uses.
    fn check(&self, value: &Value, schema: &Value, place: &str) {
        let schema = self.resolved(schema);
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "type" => assert!(is_a(value, rule.as_str().unwrap()), "{place}: {value} is no {rule}"),
                "const" => assert_eq!(value, rule, "{place}"),
                "oneOf" => {
                    let fits = |one: &Value| {
                        one.get("const") == Some(value) || one["type"].as_str().is_some_and(|kind| is_a(value, kind))
                    };
                    assert_eq!(rule.as_array().unwrap().iter().filter(|one| fits(one)).count(), 1, "{place}: {value}");
                }
                "enum" => assert!(rule.as_array().unwrap().contains(value), "{place}: {value}"),
                "required" => {
                    for name in rule.as_array().unwrap() {
                        assert!(value.get(name.as_str().unwrap()).is_some(), "{place}: {name} is missing in {value}");
                    }
                }
                "properties" => {
                    for (name, member) in value.as_object().unwrap() {
                        let known = rule.get(name).unwrap_or_else(|| panic!("{place}: {name} is not in the file"));
                        self.check(member, known, &format!("{place}.{name}"));
                    }
                }
                "items" => value.as_array().unwrap().iter().for_each(|item| self.check(item, rule, place)),
                "additionalProperties" => assert_eq!(rule, false),
                "description" | "format" | "maxItems" | "maxLength" | "pattern" => {}
                other => panic!("{place}: this test knows no {other}"),
            }
        }
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        other => panic!("this test knows no {other}"),
    }
}

/// Servers in the states that the statuses need, and pages on them.
struct World {
    open: Phpws,
    tight: Phpws,
    closed: Phpws,
    /// One of several processes, which does not reach the others.
    apart: Phpws,
    /// One of several processes, which waits for them.
    patient: Phpws,
    page: (Client, String),
    stuck: (Client, String),
}

impl World {
    fn new() -> World {
        let folder = Folder::new();
        let tokens = folder.write_secret("tokens", TOKEN);
        let open = Phpws::start(&["--max-outbox", "100000000"]);
        let tight = Phpws::start(&["--max-message", "200", "--message-timeout", "0.2", "--max-publish-rate", "100"]);
        let closed = Phpws::start(&["--publish", "token", "--publish-token-file", &tokens, "--trusted-proxy", "127.0.0.1"]);
        let page = open.ready_on("/web", "Ident: page\r\n");
        let stuck = open.narrow_on("/", "Ident: stuck\r\n");
        let apart = Phpws::start(&["--backplane", "redis://127.0.0.1:1"]);
        let patient = Phpws::start(&["--backplane", &format!("redis://{}", mute_redis())]);
        World { open, tight, closed, apart, patient, page, stuck }
    }

    /// Fills the socket of the page that reads nothing.
    fn stick(&self) {
        let body = format!("\"{}\"", "x".repeat(500_000));
        let target = format!("/feedback/{}", self.stuck.1);
        wait_for("a full socket", || {
            request(&self.open, "POST", &target, "", &body);
            let client = request(&self.open, "GET", &format!("/clients/{}", self.stuck.1), "", "").json();
            (client["queued"].as_u64().unwrap() > 4_000_000).then_some(())
        });
    }

    /// A request for this path that is answered with this status.
    fn provoke(&self, path: &str, method: &str, status: &str) -> Answer {
        let method = method.to_ascii_uppercase();
        let (target, query) = match path {
            "/feedback" => ("/feedback?ident=page".to_owned(), "&"),
            "/feedback/{uuid}" | "/clients/{uuid}" => (path.replace("{uuid}", &self.page.1), "?"),
            other => (other.to_owned(), "?"),
        };
        let body = match (method.as_str(), path) {
            ("GET", _) => "",
            (_, "/publish") => r#"[{"broadcast":true,"message":1}]"#,
            _ => "1",
        };
        let ask = |server: &Phpws, fields: &str, body: &str| request(server, &method, &target, fields, body);
        let on_stuck = |body: &str| {
            request(&self.open, &method, &target.replace("page", "stuck").replace(&self.page.1, &self.stuck.1), "", body)
        };
        match (status, path) {
            ("200", _) => ask(&self.open, "", body),
            ("202", _) => on_stuck(body),
            ("207", _) => ask(&self.open, "", r#"[{"ident":"nobody","message":1}]"#),
            ("400", "/clients/{uuid}") => request(&self.open, "GET", &format!("{target}{query}x=y"), "", ""),
            ("400", _) => ask(&self.open, "", "[1"),
            ("401", _) => ask(&self.closed, "X-Forwarded-For: 203.0.113.9\r\n", body),
            ("403", _) => ask(&self.closed, "", body),
            ("404", "/feedback") => request(&self.open, &method, "/feedback?ident=nobody", "", body),
            ("404", "/broadcast") => request(&self.open, &method, "/broadcast?resource=/nothing", "", body),
            ("404", _) => request(&self.open, &method, &path.replace("{uuid}", "nobody"), "", body),
            ("408", _) => raw(&self.tight, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")),
            ("409", _) => {
                let mut tries = 0;
                wait_for("409", || {
                    tries += 1;
                    let key = format!("Idempotency-Key: {tries}\r\n");
                    let mut first = self.patient.connect();
                    let length = body.len();
                    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {length}\r\n\r\n");
                    first.send((head + body).as_bytes());
                    Some(ask(&self.patient, &key, body)).filter(|answer| answer.status == "409")
                })
            }
            ("411", _) => raw(&self.open, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n")),
            ("413", _) => ask(&self.tight, "", &"1".repeat(201)),
            ("415", _) => ask(&self.open, "Content-Type: text/plain\r\n", body),
            ("417", _) => ask(&self.open, "Expect: nothing\r\n", body),
            ("422", _) => {
                let key = format!("Idempotency-Key: {path}\r\n");
                ask(&self.open, &key, body);
                ask(&self.open, &key, &format!("{body} "))
            }
            ("429", _) => wait_for("429", || {
                Some(ask(&self.closed, "Authorization: Bearer wrong\r\n", body)).filter(|answer| answer.status == "429")
            }),
            ("503", _) => ask(&self.apart, "", body),
            _ => panic!("{method} {path}: this test can't provoke {status}"),
        }
    }
}

/// A Redis that greets and answers nothing else: what asks it has to wait. Gives its address.
fn mute_redis() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut read, mut greeted) = ([0; 4096], false);
                while let Ok(count @ 1..) = stream.read(&mut read) {
                    let text = String::from_utf8_lossy(&read[..count]).into_owned();
                    let greeting = if text.contains("HELLO") { "%1\r\n$5\r\nproto\r\n:3\r\n" } else { "" };
                    let pong = if text.contains("PING") && !std::mem::replace(&mut greeted, true) { "+PONG\r\n" } else { "" };
                    if stream.write_all(format!("{greeting}{pong}").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

struct Answer {
    status: String,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.body))
    }
}

fn request(server: &Phpws, method: &str, target: &str, fields: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    raw(server, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}{length}\r\n{body}"))
}

fn raw(server: &Phpws, request: &str) -> Answer {
    let mut client = server.connect();
    client.send(request.as_bytes());
    let head = client.head();
    let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let body = String::from_utf8(client.bytes(length)).unwrap();
    Answer { status: head.split(' ').nth(1).unwrap().to_owned(), head, body }
}

#[test]
fn every_status_of_every_path_is_as_the_file_says() {
    let (api, world) = (Api::load(), World::new());
    let mut provoked = 0;
    for early in [true, false] {
        if !early {
            world.stick();
        }
        for (path, method, operation) in api.operations() {
            let responses = operation["responses"].as_object().unwrap();
            // Once a page is stuck nothing that reaches it is delivered.
            for (status, response) in responses.iter().filter(|(status, _)| (*status == "202") != early) {
                let place = format!("{method} {path} {status}");
                let answer = world.provoke(path, method, status);
                assert_eq!(&answer.status, status, "{place}: {}", answer.body);
                check_answer(&api, &answer, api.resolved(response), &place);
                provoked += 1;
            }
        }
    }
    assert!(provoked > 50, "only {provoked}");
}

fn check_answer(api: &Api, answer: &Answer, response: &Value, place: &str) {
    let headers = response["headers"].as_object().into_iter().flatten();
    for (name, _) in headers.filter(|(_, header)| header["required"] == true) {
        assert!(answer.head.contains(&format!("\r\n{name}: ")), "{place}: no {name} in {}", answer.head);
    }
    let (content_type, content) = response["content"].as_object().unwrap().iter().next().unwrap();
    assert!(answer.head.contains(&format!("\r\nContent-Type: {content_type}\r\n")), "{place}: {}", answer.head);
    api.check(&answer.json(), &content["schema"], place);
}

#[test]
fn a_client_that_is_away_is_described_as_the_file_says() {
    let (api, server) = (Api::load(), Phpws::start(&[]));
    let (client, uuid) = server.ready_on("/web?resume=", "");
    drop(client);
    let away = || Some(request(&server, "GET", &format!("/clients/{uuid}"), "", "")).filter(|it| it.json()["connected"] == false);
    let answer = wait_for("the client to be away", away);
    check_answer(&api, &answer, &api.0["paths"]["/clients/{uuid}"]["get"]["responses"]["200"], "away");
    let queued = request(&server, "POST", &format!("/feedback/{uuid}"), "", "1");
    check_answer(&api, &queued, &api.0["paths"]["/feedback/{uuid}"]["post"]["responses"]["202"], "queued");
}

#[test]
fn what_nobody_knows_is_said_as_the_file_says() {
    let (api, server) = (Api::load(), Phpws::start(&["--backplane", "redis://127.0.0.1:1"]));
    let _page = server.browser();
    let answer = request(&server, "POST", "/broadcast", "", "1");
    assert_eq!((answer.status.as_str(), answer.body.trim_end()), ("202", r#"{"delivered":"unknown","known":1,"queued":0}"#));
    check_answer(&api, &answer, &api.0["paths"]["/broadcast"]["post"]["responses"]["202"], "a broadcast");
    let list = r#"[{"ident":"nobody","message":1},{"broadcast":true,"message":1}]"#;
    let answer = request(&server, "POST", "/publish", "", list);
    let statuses: Vec<_> = answer.json()["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!((answer.status.as_str(), statuses), ("207", vec![503.into(), 202.into()]));
    check_answer(&api, &answer, &api.0["paths"]["/publish"]["post"]["responses"]["207"], "a list");
}

#[test]
fn every_example_of_an_answer_has_the_form_it_stands_beside() {
    let api = Api::load();
    let mut count = 0;
    for (path, method, operation) in api.operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = &api.resolved(response)["content"]["application/json"];
            for (name, example) in content["examples"].as_object().unwrap() {
                api.check(&example["value"], &content["schema"], &format!("{method} {path} {status} {name}"));
                count += 1;
            }
        }
    }
    assert!(count > 50, "only {count}");
}

#[test]
fn every_example_of_a_body_is_taken() {
    let (api, world) = (Api::load(), World::new());
    for (path, method, operation) in api.operations() {
        let examples = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
        for (name, example) in examples.into_iter().flatten() {
            let body = example["value"].to_string().replace("e7369655-7143-43dd-a710-75937c023233", &world.page.1);
            let target = path.replace("{uuid}", &world.page.1);
            let target = if path == "/feedback" { "/feedback?ident=page".to_owned() } else { target };
            let answer = request(&world.open, &method.to_ascii_uppercase(), &target, "", &body);
            assert_eq!(answer.status, "200", "{method} {path} {name}: {}", answer.body);
        }
    }
}

#[test]
fn other_methods_are_answered_with_those_of_the_file() {
    let (api, world) = (Api::load(), World::new());
    for (path, method, _) in api.operations() {
        let target = path.replace("{uuid}", "x");
        for other in
            ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"].iter().filter(|other| !other.eq_ignore_ascii_case(method))
        {
            let answer = request(&world.open, other, &target, "", "");
            let allow = if method == "get" { "GET, HEAD".to_owned() } else { method.to_ascii_uppercase() };
            assert!(
                answer.status == "405" && answer.head.contains(&format!("\r\nAllow: {allow}\r\n")),
                "{other} {path} {}",
                answer.head
            );
        }
    }
}
