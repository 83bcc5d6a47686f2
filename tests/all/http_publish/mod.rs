//! Publishing over HTTP: what is admitted, what is sent, what is answered, and how requests follow
//! each other on one connection.

mod admission;
mod connection;
mod outcome;
mod refusals;
mod retries;
mod sending;

use crate::util::{Client, Phpws, json};
use serde_json::Value;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const TOKEN: &str = "Authorization: Bearer the-old-token-of-yesterday\r\n";

/// One answer: status, fields in lower case, body.
struct Answer {
    status: u16,
    fields: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn error(&self) -> String {
        json(&self.body, "error")
    }
}

/// Reads one answer, with the body that its length announces.
fn answer(client: &mut Client) -> Answer {
    let head = client.head();
    let fields = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = fields.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let body = String::from_utf8(client.bytes(length)).unwrap();
    Answer { status, fields, body }
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// One request on a connection of its own.
fn ask(server: &Phpws, request: impl AsRef<[u8]>) -> Answer {
    let mut client = server.connect();
    client.send(request.as_ref());
    answer(&mut client)
}

fn status(server: &Phpws, request: impl AsRef<[u8]>) -> u16 {
    ask(server, request).status
}
