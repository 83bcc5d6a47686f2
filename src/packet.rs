//! A message of a client, and what the server reads of it as JSON.
//!
//! PHP counterpart: `getPacket` of `resource.php`.

use std::borrow::Cow;
use std::fmt;

use serde::de::Deserialize;

use crate::json;

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
        json::members(text, |name, value| match name {
            // Of a key that comes twice the last value counts, as in PHP.
            "opcode" => packet.opcode = value.word(),
            "uuid" => packet.uuid = value.word(),
            "ident" => packet.ident = value.word(),
            "room" => packet.room = value.word(),
            "name" => packet.name = value.word(),
            "announce" => packet.announce = value.text() == "true",
            "key" => packet.key = Some(value.text()),
            "receipt" => packet.receipt = Some(value.text()),
            "cseq" => packet.cseq = value.text().parse().ok(),
            _ => {}
        })
        .map_err(|_| JsonError)?;
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
