//! Plain HTTP on the server's port: the built-in page, publishing, and clear answers to the rest.
//!
//! Here are the table of paths, the form of answers, and whether a connection goes on behind one. How
//! bytes become a body is `body`, who may publish is `admission`, what the paths do is `endpoints` and `list`; none
//! of them knows a socket, the loop drives them (`exchange`, and `retries` for requests that come again). The PHP
//! original has no counterpart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use slotmap::SecondaryMap;

use crate::ids::SocketId;
use crate::limits::{Limits, Publish};
use crate::rfc6455::handshake::trim;
use crate::rfc6455::{Refusal, Request, Status};
use admission::Admission;
use body::Framing;
use endpoints::Endpoint;
use exchange::Begun;
use list::SendList;
use retries::Asked;

pub(crate) mod admission;
pub mod body;
pub(crate) mod endpoints;
mod exchange;
pub(crate) mod health;
mod list;
pub mod members;
mod page;
mod retries;
pub mod tokens;

/// Seconds that a connection may wait for its next request; then it ends.
pub(crate) const KEEP_ALIVE: u64 = 5;

/// What a path leads to.
pub(crate) enum Route {
    /// An answer that needs no further look at the request.
    Ready(Answer),
    /// Publishing, for those who may.
    Publish(Endpoint),
}

/// The table of paths, for requests that ask for no upgrade; `is_resource` says whether the path is a
/// WebSocket resource.
pub(crate) fn route(request: &Request, is_resource: bool, limits: &Limits) -> Result<Route, Refusal> {
    if limits.publish != Publish::Off
        && let Some(endpoint) = Endpoint::find(request.path())
    {
        return Ok(Route::Publish(endpoint));
    }
    match page::find(request.path()).filter(|_| limits.page) {
        _ if !is_get(request) && !is_head(request) => Err(Refusal::method_not_allowed()),
        Some(answer) => Ok(Route::Ready(answer)),
        None if is_resource => Err(Refusal::upgrade_required("This is a WebSocket resource: send Upgrade: websocket")),
        None => Err(Refusal::not_found("Nothing is registered under this path")),
    }
}

pub(crate) fn is_get(request: &Request) -> bool {
    request.method().eq_ignore_ascii_case("GET")
}

pub(crate) fn is_head(request: &Request) -> bool {
    request.method().eq_ignore_ascii_case("HEAD")
}

/// An upgrade has no body: what follows it is frames to one reader, and may be its body to another.
pub(crate) fn check_upgrade(request: &Request) -> Result<(), Refusal> {
    match Framing::of(request)? {
        Framing::None | Framing::Length(0) => Ok(()),
        _ => Err(Refusal::bad_request("An upgrade has no body")),
    }
}

/// One answer, before it is known how the connection goes on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    fields: String,
    body: Cow<'static, str>,
}

impl Answer {
    pub(crate) fn new(status: Status, content_type: &str, body: impl Into<Cow<'static, str>>) -> Answer {
        let answer = Answer { status, fields: String::new(), body: body.into() };
        answer.with("Content-Type", content_type).with("X-Content-Type-Options", "nosniff")
    }

    /// What programs read: one JSON value in one line.
    pub(crate) fn json(status: Status, body: String) -> Answer {
        Answer::new(status, "application/json", body + "\n").with("Cache-Control", "no-store")
    }

    /// A failure, with one line that says why.
    pub(crate) fn error(status: Status, why: &str) -> Answer {
        Answer::json(status, format!(r#"{{"error":{}}}"#, serde_json::Value::from(why)))
    }

    /// With one more field.
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Answer {
        // Writing to a string can't fail.
        let _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }

    /// The answer to HEAD.
    fn without_body(&self, persistence: Persistence) -> String {
        let (status, fields, len) = (self.status, &self.fields, self.body.len());
        format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {len}\r\n{}\r\n", persistence.fields())
    }

    /// The whole answer.
    pub(crate) fn bytes(&self, persistence: Persistence, with_body: bool) -> Vec<u8> {
        let mut answer = self.without_body(persistence);
        if with_body {
            answer.push_str(&self.body);
        }
        answer.into_bytes()
    }
}

/// Whether a connection goes on behind an answer (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    Close,
    KeepAlive,
}

impl Persistence {
    /// What the request asks for: HTTP/1.1 goes on unless it says `close`, HTTP/1.0 ends unless it says
    /// `keep-alive`.
    pub(crate) fn of(request: &Request) -> Persistence {
        let says = |token: &str| {
            let items = request.values("connection").flat_map(|value| value.split(','));
            items.map(trim).any(|item| item.eq_ignore_ascii_case(token))
        };
        match says("close") || request.is_http_1_0() && !says("keep-alive") {
            true => Persistence::Close,
            false => Persistence::KeepAlive,
        }
    }

    fn fields(self) -> String {
        match self {
            Persistence::Close => "Connection: close\r\n".into(),
            Persistence::KeepAlive => format!("Connection: keep-alive\r\nKeep-Alive: timeout={KEEP_ALIVE}\r\n"),
        }
    }
}

/// Requests that are under way, and who may publish.
#[derive(Default)]
pub(crate) struct Http {
    pub(crate) admission: Admission,
    exchanges: SecondaryMap<SocketId, Exchange>,
    /// Claims of keys that others are asked about, by their numbers.
    asked: HashMap<u64, Asked>,
}

impl Http {
    /// The tokens are read again.
    pub(crate) fn reload(&mut self) {
        match self.admission.tokens.reload() {
            Some(Ok(())) => log::info!(target: "phpws", "Tokens reloaded"),
            Some(Err(error)) => log::error!(target: "phpws", "Tokens not reloaded, the old ones stay: {error}"),
            None => {}
        }
    }

    /// A connection is over.
    pub(crate) fn ended(&mut self, id: SocketId) {
        self.exchanges.remove(id);
    }
}

/// One request and its answer, from the end of the head to the last byte of the answer.
struct Exchange {
    /// Where the request comes from.
    from: IpAddr,
    persistence: Persistence,
    /// Whether the answer has its body: not for HEAD.
    with_body: bool,
    phase: Phase,
}

/// How far an exchange has come.
enum Phase {
    /// The body comes in.
    Body(Box<Begun>),
    /// The body is whole, and others are asked whether the request has been carried out.
    Claiming(Box<Begun>),
    /// A list of messages is being sent.
    Sending(Box<SendList>),
    /// It is not known yet what became of the message.
    Asking,
    /// The answer is on its way.
    Answered,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::parse(format!("{text}\r\n\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_connection_goes_on_as_its_version_and_words_say() {
        for (text, expected) in [
            ("GET / HTTP/1.1", Persistence::KeepAlive),
            ("GET / HTTP/1.1\r\nConnection: Close", Persistence::Close),
            ("GET / HTTP/1.1\r\nConnection: x, close", Persistence::Close),
            ("GET / HTTP/1.1\r\nConnection: x\r\nConnection: close", Persistence::Close),
            ("GET / HTTP/1.0", Persistence::Close),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive", Persistence::KeepAlive),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive, close", Persistence::Close),
        ] {
            assert_eq!(Persistence::of(&request(text)), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let answer = Answer::error(Status::BadRequest, "a \"quoted\" line");
        let bytes = String::from_utf8(answer.bytes(Persistence::Close, true)).unwrap();
        assert!(bytes.starts_with("HTTP/1.1 400 Bad Request\r\n") && bytes.contains("\r\nContent-Length: 30\r\n"), "{bytes}");
        assert!(bytes.ends_with("\r\n\r\n{\"error\":\"a \\\"quoted\\\" line\"}\n"), "{bytes}");
        let head = answer.bytes(Persistence::KeepAlive, false);
        assert!(head.ends_with(b"timeout=5\r\n\r\n"));
    }
}
