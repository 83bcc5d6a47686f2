//! Plain HTTP requests, each on a connection of its own: status and JSON of the answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::{PATIENCE, Phpws};

pub fn feedback(server: &Phpws, uuid: &str, body: &str) -> (u16, Value) {
    post(server, &format!("/feedback/{uuid}"), body)
}

pub fn post(server: &Phpws, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    ask(server, &format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"))
}

pub fn get(server: &Phpws, path: &str) -> (u16, Value) {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// The text of `/metrics`.
pub fn metrics(server: &Phpws) -> String {
    let mut client = server.connect();
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    String::from_utf8(client.rest()).unwrap()
}

/// One sample of it.
pub fn metric(server: &Phpws, name: &str) -> f64 {
    let text = metrics(server);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line.parse().unwrap()
}

fn ask(server: &Phpws, request: &str) -> (u16, Value) {
    let mut client = server.connect();
    client.send(request.as_bytes());
    let answer = String::from_utf8(client.rest()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// The same where the server, or its answer, may fail to come: then there is none.
pub fn try_post(addr: SocketAddr, path: &str, body: &str) -> Option<(u16, Value)> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    try_ask(addr, &(head + body))
}

pub fn try_get(addr: SocketAddr, path: &str) -> Option<(u16, Value)> {
    try_ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn try_ask(addr: SocketAddr, request: &str) -> Option<(u16, Value)> {
    let mut wire = TcpStream::connect(addr).ok()?;
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    wire.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    wire.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}
