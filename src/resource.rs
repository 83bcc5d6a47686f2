//! What an application is: a [`Resource`] registered under a path.
//!
//! PHP counterpart: `resource.php`. An application gets the [`Server`] with every call instead of
//! keeping a pointer to it (`registerServer`), and never sees a socket.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde::de::Deserialize;

use crate::client::SocketId;
use crate::json;
use crate::log_file::Printable;
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// An application. Every method has a default, as in PHP's base class; the server comes with each
/// call and need not be registered with it.
#[doc(alias = "registerServer")]
#[doc(alias = "registerServerMethods")]
pub trait Resource {
    /// The server is about to start: the place to ask for the first timer.
    fn on_start(&mut self, _server: &mut Server) {}

    /// A client passed all checks and was told `ready`.
    #[doc(alias = "onOpen")]
    fn on_open(&mut self, _server: &mut Server, _id: SocketId) {}

    /// A message came; `next` is already queued.
    #[doc(alias = "onData")]
    fn on_data(&mut self, _server: &mut Server, _id: SocketId, _message: Message<'_>) {}

    /// A client that was opened is gone. Its record can still be read, nothing reaches it any more.
    #[doc(alias = "onClose")]
    fn on_close(&mut self, _server: &mut Server, _id: SocketId) {}

    /// A client's connection failed; `on_close` follows.
    #[doc(alias = "onError")]
    fn on_error(&mut self, _server: &mut Server, _id: SocketId, _message: &str) {}

    /// The time asked for with [`Server::call_after`] is over.
    fn on_timer(&mut self, _server: &mut Server, _tag: u64) {}

    /// Asked once, at registration, like the two below: whether clients of this resource get `ready` and `next`, and take part in `broadcast` and
    /// `feedback`. Without it the resource is a plain WebSocket server.
    fn dialog(&self) -> bool {
        true
    }

    /// Whether the handshake must carry an `Origin`, unless the server is set to do without.
    fn origin_required(&self) -> bool {
        true
    }

    /// Whether the request that opened a connection stays readable after `on_open`, at about half a
    /// kilobyte for each browser.
    fn keeps_request(&self) -> bool {
        true
    }
}

/// A whole message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text in UTF-8.
    Text(&'a str),
    /// Any bytes. The dialog takes them as text, as PHP does.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The message as bytes.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Text where the bytes are UTF-8.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Message<'a> {
        simdutf8::basic::from_utf8(bytes).map_or(Message::Binary(bytes), Message::Text)
    }
}

/// A message read as JSON: the keys the server itself needs, and the text as it came.
///
/// The text is what is forwarded, so numbers, unknown keys and their order survive untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    text: &'a str,
    opcode: Cow<'a, str>,
    uuid: Cow<'a, str>,
    ident: Cow<'a, str>,
    room: Cow<'a, str>,
    name: Cow<'a, str>,
    announce: bool,
    key: Option<&'a str>,
    receipt: Option<&'a str>,
    cseq: Option<u64>,
}

/// The message is not JSON, or nested deeper than PHP allows.
#[derive(Debug)]
pub struct JsonError;

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("jsonerror")
    }
}

impl std::error::Error for JsonError {}

impl<'a> Packet<'a> {
    /// Reads a message. JSON that is no object is a packet without an opcode.
    #[doc(alias = "getPacket")]
    pub fn parse(message: Message<'a>) -> Result<Packet<'a>, JsonError> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => simdutf8::basic::from_utf8(bytes).map_err(|_| JsonError)?,
        };
        let mut packet = Packet { text, ..Packet::default() };
        json::members(text, |key, value| match key {
            // Of a key that comes twice the last value counts, as in PHP.
            "opcode" => packet.opcode = word(value),
            "uuid" => packet.uuid = word(value),
            "ident" => packet.ident = word(value),
            "room" => packet.room = word(value),
            "name" => packet.name = word(value),
            "announce" => packet.announce = value == "true",
            "key" => packet.key = Some(value),
            "receipt" => packet.receipt = Some(value),
            "cseq" => packet.cseq = value.parse().ok(),
            _ => {}
        })
        .ok_or(JsonError)?;
        Ok(packet)
    }

    /// The message as it came.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The value of `opcode`; empty where there is none.
    pub fn opcode(&self) -> &str {
        &self.opcode
    }

    /// The value of `uuid`; empty where there is none.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The value of `ident`; empty where there is none.
    pub fn ident(&self) -> &str {
        &self.ident
    }

    /// The value of `room`; empty where there is none.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The value of `name`; empty where there is none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `announce` is `true`.
    pub fn announce(&self) -> bool {
        self.announce
    }

    /// The value of `key` where it is a string: a newer message takes the place of an older one with the
    /// same key that still waits for a slow client.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        let key = self.key.filter(|key| key.starts_with('"'))?;
        serde_json::from_str(key).map(Cow::Owned).ok()
    }

    /// The text of `receipt` where it is a string, a number or a truth value: the sender wants to know
    /// what became of its message.
    pub fn receipt(&self) -> Option<&'a str> {
        self.receipt.filter(|receipt| !receipt.starts_with(['{', '[', 'n']))
    }

    /// The value of `cseq` where it is a number: a client that may resume numbers its messages, so that one
    /// that it sends again is not acted on twice.
    pub fn cseq(&self) -> Option<u64> {
        self.cseq
    }

    /// Whether the message wants more than to be sent.
    pub(crate) fn has_wishes(&self) -> bool {
        self.key.is_some() || self.receipt.is_some()
    }

    /// The whole packet as a JSON value, for applications with keys of their own. An error where a
    /// number is beyond what a value holds, like `1e999`.
    pub fn value(&self) -> Result<serde_json::Value, JsonError> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        // The depth was checked by `parse`.
        json.disable_recursion_limit();
        serde_json::Value::deserialize(&mut json).map_err(|_| JsonError)
    }
}

/// A string, or a number as its text: PHP clients turn numeric strings into numbers.
fn word(raw: &str) -> Cow<'_, str> {
    match raw.as_bytes() {
        [b'"', .., b'"'] if !raw.contains('\\') => Cow::Borrowed(&raw[1..raw.len() - 1]),
        [b'"', ..] => Cow::Owned(serde_json::from_str(raw).unwrap_or_default()),
        [b'-' | b'0'..=b'9', ..] => Cow::Borrowed(raw),
        _ => Cow::Borrowed(""),
    }
}

/// Names a registered application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppId(u32);

impl AppId {
    /// That of a place in the order of registration.
    pub(crate) fn of(index: usize) -> AppId {
        AppId(index as u32)
    }

    /// Its place in the order of registration.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an application says of itself, asked once when it is registered.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) dialog: bool,
    pub(crate) origin_required: bool,
    pub(crate) keeps_request: bool,
}

/// As for a path that nobody serves.
impl Default for Traits {
    fn default() -> Traits {
        Traits { dialog: true, origin_required: true, keeps_request: false }
    }
}

struct App {
    path: Box<str>,
    traits: Traits,
    resource: Box<dyn Resource>,
}

/// The applications by path; PHP's `$allApps`.
#[derive(Default)]
#[doc(alias = "allApps")]
pub(crate) struct AllApps {
    apps: Vec<App>,
    fallback: Option<AppId>,
}

impl AllApps {
    /// Adds an application; `false` where the path is taken.
    pub(crate) fn insert(&mut self, path: &str, resource: Box<dyn Resource>) -> bool {
        let free = self.apps.iter().all(|app| *app.path != *path);
        if free {
            let traits = Traits {
                dialog: resource.dialog(),
                origin_required: resource.origin_required(),
                keeps_request: resource.keeps_request(),
            };
            self.apps.push(App { path: path.into(), traits, resource });
        }
        free
    }

    /// Adds the application for every path that has none of its own.
    pub(crate) fn insert_fallback(&mut self, resource: Box<dyn Resource>) -> bool {
        let id = AppId::of(self.apps.len());
        let free = self.fallback.is_none() && self.insert("*", resource);
        self.fallback = self.fallback.or(free.then_some(id));
        free
    }

    /// The application of a path.
    pub(crate) fn find(&self, path: &str) -> Option<AppId> {
        let own = self.apps.iter().position(|app| *app.path == *path && path != "*");
        own.map(AppId::of).or(self.fallback)
    }

    pub(crate) fn traits(&self, id: AppId) -> Traits {
        self.apps[id.index()].traits
    }

    /// Calls an application, for a client where there is one. A panic ends there: it is logged with
    /// the application's path and closes that client, unless the limits say that it ends the process.
    pub(crate) fn call(
        &mut self,
        app: AppId,
        server: &mut Server,
        client: Option<SocketId>,
        callback: impl FnOnce(&mut dyn Resource, &mut Server),
    ) {
        let App { path, resource, .. } = &mut self.apps[app.index()];
        server.app = Some(app);
        let outcome = catch_unwind(AssertUnwindSafe(|| callback(&mut **resource, server)));
        server.app = None;
        let Err(panic) = outcome else { return };
        log::error!("Application {path} panicked: {}", Printable(panic_message(&*panic)));
        if server.limits().exit_on_panic {
            resume_unwind(panic);
        }
        if let Some(id) = client {
            server.dismiss(id, Some("Application failed"), CloseCode::INTERNAL_ERROR);
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = AppId> + use<> {
        (0..self.apps.len()).map(AppId::of)
    }

    pub(crate) fn path(&self, id: AppId) -> &str {
        &self.apps[id.index()].path
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.apps.iter().map(|app| &*app.path)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Packet<'_>, JsonError> {
        Packet::parse(Message::Text(text))
    }

    #[test]
    fn a_packet_keeps_its_text_and_shows_its_keys() {
        let text = r#" {"message":{"opcode":"no"},"opcode":"feedback","uuid":"u-1","ident":"caf\u00e9","n":1.0}"#;
        let packet = parse(text).unwrap();
        assert_eq!((packet.opcode(), packet.uuid(), packet.ident()), ("feedback", "u-1", "café"));
        assert_eq!(packet.text(), text);
        assert_eq!(packet.value().unwrap()["n"], 1.0);
    }

    #[test]
    fn a_packet_shows_the_keys_of_a_room() {
        let packet = parse(r#"{"opcode":"join","room":7,"name":"\u0041nn","announce":true}"#).unwrap();
        assert_eq!((packet.room(), packet.name(), packet.announce()), ("7", "Ann", true));
        for text in [r#"{"announce":1}"#, r#"{"announce":"true"}"#, r#"{"room":null,"name":[]}"#, "{}"] {
            let packet = parse(text).unwrap();
            assert_eq!((packet.room(), packet.name(), packet.announce()), ("", "", false), "{text}");
        }
    }

    #[test]
    fn only_strings_and_numbers_name_anybody() {
        for (text, uuid) in [
            (r#"{"uuid":true}"#, ""),
            (r#"{"uuid":null}"#, ""),
            (r#"{"uuid":["x"]}"#, ""),
            (r#"{"uuid":""}"#, ""),
            (r#"{"uuid":4711}"#, "4711"),
            (r#"{"uuid":"a","uuid":"b"}"#, "b"),
        ] {
            assert_eq!(parse(text).unwrap().uuid(), uuid, "{text}");
        }
    }

    #[test]
    fn json_that_is_no_object_has_no_opcode() {
        for text in ["[1,2]", "5", "\"opcode\"", "null", "true"] {
            assert_eq!(parse(text).unwrap().opcode(), "", "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for text in ["", " ", "{", "hello", "{\"a\":1,}", "{'a':1}", "[1] x", "{\"a\":01}", "\u{feff}{}"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Packet::parse(Message::Binary(b"{\"a\":\"\xff\"}")).is_err());
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for good in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9\n\ud83d\ude00\ud83d\ude00x""#, r#"{"\ud83d\ude00":1}"#] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\ud83d\ude00""#,
            r#""\ud83dx\ude00""#,
            r#""\ud83d\n\ude00""#,
            r#"{"a":{"\ud83d":1}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("1e999").unwrap().value().is_err());
    }

    #[test]
    fn nesting_ends_where_php_ends_it() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(512)).is_ok());
        assert!(parse(&nested(513)).is_err());
        let object = format!("{{\"opcode\":\"x\",\"a\":{}}}", nested(511));
        assert_eq!(parse(&object).unwrap().opcode(), "x");
        assert!(parse(&object).unwrap().value().unwrap().is_object());
        let quoted = format!("{{\"opcode\":\"{}\"}}", "[".repeat(2000));
        assert!(parse(&quoted).is_ok());
    }
}
