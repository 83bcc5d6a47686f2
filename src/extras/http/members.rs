//! JSON as it came over HTTP: where it is wrong, which members it has, and members added in front of it.
//!
//! Values stay text from the socket to the receiver, so that no number and no order of keys changes on
//! the way. How JSON is read is `json`.

use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

use crate::json::{self, Value};

/// Messages in one list.
const MAX_LIST: usize = 1000;

/// What is wrong with a text that ought to be JSON, and where: line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    what: &'static str,
    line: usize,
    column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.what, self.line, self.column)
    }
}

impl Fault {
    /// A fault at a byte of a text; one at its end is shown at its last byte.
    fn at(bytes: &[u8], at: usize, what: &'static str) -> Fault {
        let before = &bytes[..at];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Fault { what, line, column: bytes.len().min(at + 1) - line_start }
    }

    fn no_text(bytes: &[u8], error: Utf8Error) -> Fault {
        Fault::at(bytes, error.valid_up_to(), "invalid UTF-8")
    }

    fn of(text: &str, fault: json::Fault) -> Fault {
        Fault::at(text.as_bytes(), fault.at, fault.what)
    }
}

/// The text of one JSON value that every receiver can read.
pub fn check(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::no_text(bytes, error))?;
    json::check(text).map(|()| text).map_err(|fault| Fault::of(text, fault))
}

/// The same for bytes that the text is to own.
pub fn check_owned(bytes: Vec<u8>) -> Result<String, Fault> {
    let text = String::from_utf8(bytes).map_err(|error| Fault::no_text(error.as_bytes(), error.utf8_error()))?;
    json::check(&text).map_err(|fault| Fault::of(&text, fault))?;
    Ok(text)
}

/// The messages of a list as text; an error past a thousand of them.
pub fn list(text: &str) -> Result<Vec<&str>, Fault> {
    let mut items = Vec::new();
    let read = json::items(text, |item| {
        items.push(item.text());
        if items.len() <= MAX_LIST { Ok(()) } else { Err("more than 1000 messages") }
    });
    read.map(|()| items).map_err(|fault| Fault::of(text, fault))
}

/// The members of an object that publishing looks at, as text.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    /// The opcode of a packet.
    pub(crate) opcode: Option<Value<'a>>,
    /// Whose message it is.
    pub(crate) uuid: Option<Value<'a>>,
    /// The same by name.
    pub(crate) ident: Option<Value<'a>>,
    /// `true` for everybody.
    pub(crate) broadcast: Option<Value<'a>>,
    /// A path for everybody on it.
    pub(crate) resource: Option<Value<'a>>,
    /// A room for everybody in it.
    pub(crate) room: Option<Value<'a>>,
    /// What a newer message replaces.
    pub(crate) key: Option<Value<'a>>,
    /// What says that a message comes again.
    pub(crate) idempotency_key: Option<Value<'a>>,
    /// What is sent.
    pub(crate) message: Option<Value<'a>>,
    /// The first name that is none of these.
    pub(crate) other: Option<String>,
}

impl<'a> Members<'a> {
    /// The members of an object; of any other value none. Of a name that comes twice the last value counts.
    pub(crate) fn of(text: &'a str) -> Members<'a> {
        let mut members = Members::default();
        let read = json::members(text, |name, value| {
            let slot = match name {
                "opcode" => &mut members.opcode,
                "uuid" => &mut members.uuid,
                "ident" => &mut members.ident,
                "broadcast" => &mut members.broadcast,
                "resource" => &mut members.resource,
                "room" => &mut members.room,
                "key" => &mut members.key,
                "idempotency-key" => &mut members.idempotency_key,
                "message" => &mut members.message,
                _ => {
                    members.other.get_or_insert_with(|| name.to_owned());
                    return;
                }
            };
            *slot = Some(value);
        });
        read.map(|()| members).unwrap_or_default()
    }
}

/// A packet made of any JSON value.
///
/// An object with an opcode is one as it is. One without gets the opcode and the receiver in front (uuid,
/// ident or room), unless it names one. All else becomes the packet's message.
pub fn packet<'a>(text: &'a str, opcode: &str, receiver: Option<(&str, &str)>) -> Cow<'a, str> {
    let members = Members::of(text);
    if members.opcode.is_some() {
        return Cow::Borrowed(text);
    }
    let named = |(name, _): &(&str, &str)| match *name {
        "uuid" => members.uuid.is_some(),
        "room" => members.room.is_some(),
        _ => members.ident.is_some(),
    };
    let receiver = receiver.filter(|receiver| !named(receiver)).map(|(name, value)| {
        let value = serde_json::Value::from(value);
        format!(r#","{name}":{value}"#)
    });
    let front = format!(r#"{{"opcode":"{opcode}"{}"#, receiver.unwrap_or_default());
    Cow::Owned(match text.trim_ascii().strip_prefix('{') {
        None => format!(r#"{front},"message":{}}}"#, text.trim_ascii()),
        Some(rest) if rest.trim_ascii_start().starts_with('}') => format!("{front}}}"),
        Some(rest) => format!("{front},{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_where_it_is() {
        let deep = format!("[\n{}{}]", "[".repeat(600), "]".repeat(600));
        for (text, expected) in [
            (&b""[..], "EOF while parsing a value at line 1 column 0"),
            (b"{\n \"a\": 01}", "invalid number at line 2 column 8"),
            (b"{} x", "trailing characters at line 1 column 4"),
            (b"[\"a\xff\"]", "invalid UTF-8 at line 1 column 4"),
            (b"\n[1,\n \"\\ud83d\"]", "half of a surrogate pair at line 3 column 3"),
            (b"\"\\ud83d\\ud83d\\ude00\"", "half of a surrogate pair at line 1 column 2"),
            (b"\"\\n\\ude00\"", "half of a surrogate pair at line 1 column 4"),
            (deep.as_bytes(), "nested deeper than 512 levels at line 2 column 512"),
        ] {
            assert_eq!(check(text).unwrap_err().to_string(), expected, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(check(b" 1e999 "), Ok(" 1e999 "));
    }

    #[test]
    fn packets_keep_their_text() {
        let uuid = Some(("uuid", "u-1"));
        for (text, expected) in [
            (r#" {"n":1.0,"opcode":"mine"}"#, r#" {"n":1.0,"opcode":"mine"}"#),
            (r#"{"opcode":null}"#, r#"{"opcode":null}"#),
            (r#"{"\u006fpcode":"x"}"#, r#"{"\u006fpcode":"x"}"#),
            (r#" { "n": 1.0 } "#, r#"{"opcode":"feedback","uuid":"u-1", "n": 1.0 }"#),
            (r#"{ }"#, r#"{"opcode":"feedback","uuid":"u-1"}"#),
            (r#"{"uuid":"v"}"#, r#"{"opcode":"feedback","uuid":"v"}"#),
            (" 1e999\n", r#"{"opcode":"feedback","uuid":"u-1","message":1e999}"#),
            (r#"["{"]"#, r#"{"opcode":"feedback","uuid":"u-1","message":["{"]}"#),
        ] {
            let text = check(text.as_bytes()).unwrap();
            assert_eq!(packet(text, "feedback", uuid), expected);
            assert!(check(packet(text, "feedback", uuid).as_bytes()).is_ok());
        }
        assert_eq!(packet("5", "broadcast", None), r#"{"opcode":"broadcast","message":5}"#);
        assert_eq!(packet("5", "broadcast", Some(("room", "r"))), r#"{"opcode":"broadcast","room":"r","message":5}"#);
        assert_eq!(packet(r#"{"room":"q"}"#, "broadcast", Some(("room", "r"))), r#"{"opcode":"broadcast","room":"q"}"#);
        assert_eq!(packet("5", "feedback", Some(("ident", "a\"b"))), r#"{"opcode":"feedback","ident":"a\"b","message":5}"#);
    }

    #[test]
    fn a_list_is_read_up_to_its_limit() {
        assert_eq!(list("[1.0, {\"a\":[2]}]").unwrap(), ["1.0", "{\"a\":[2]}"]);
        let numbers = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(list(&numbers(1000)).map(|items| items.len()), Ok(1000));
        assert!(list(&numbers(1001)).unwrap_err().to_string().starts_with("more than 1000 messages"));
        assert_eq!(list(" {}").unwrap_err().to_string(), "expected a list at line 1 column 2");
        assert_eq!(Members::of(r#"{"a":{"uuid":1},"x":2}"#).other.unwrap(), "a");
    }
}
