//! JSON as it came: where it is wrong, which members it has, and members added in front of it.
//!
//! Values stay text from the socket to the receiver, so that no number and no order of keys changes on
//! the way.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{lone_surrogate_at, too_deep_at};

/// What is wrong with a text that ought to be JSON, and where: line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    what: String,
    line: usize,
    column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.what, self.line, self.column)
    }
}

impl Fault {
    /// A fault at a byte of a text.
    fn at(bytes: &[u8], at: usize, what: &str) -> Fault {
        let before = &bytes[..at];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Fault { what: what.into(), line, column: 1 + at - line_start }
    }

    fn of(error: &serde_json::Error) -> Fault {
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        Fault { what: what.into(), line: error.line(), column: error.column() }
    }
}

/// The text of one JSON value that every receiver can read.
pub fn check(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| Fault::at(bytes, error.valid_up_to(), "invalid UTF-8"))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Fault::of(&error))?;
    if let Some(at) = too_deep_at(text) {
        return Err(Fault::at(bytes, at, "nested deeper than 512 levels"));
    }
    match lone_surrogate_at(text) {
        Some(at) => Err(Fault::at(bytes, at, "half of a surrogate pair")),
        None => Ok(text),
    }
}

/// The elements of a list as text; an error past `max` of them.
pub fn list(text: &str, max: usize) -> Result<Vec<&RawValue>, Fault> {
    struct ListVisitor(usize);
    impl<'de> Visitor<'de> for ListVisitor {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == self.0 {
                    return Err(A::Error::custom(format_args!("more than {} messages", self.0)));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(ListVisitor(max)).map_err(|error| Fault::of(&error))
}

/// The members of an object that publishing looks at, as text.
#[derive(Debug, Default)]
pub struct Members<'a> {
    /// The opcode of a packet.
    pub opcode: Option<&'a RawValue>,
    /// Whose message it is.
    pub uuid: Option<&'a RawValue>,
    /// The same by name.
    pub ident: Option<&'a RawValue>,
    /// `true` for everybody.
    pub broadcast: Option<&'a RawValue>,
    /// A path for everybody on it.
    pub resource: Option<&'a RawValue>,
    /// A room for everybody in it.
    pub room: Option<&'a RawValue>,
    /// What a newer message replaces.
    pub key: Option<&'a RawValue>,
    /// What is sent.
    pub message: Option<&'a RawValue>,
    /// The first name that is none of these.
    pub other: Option<Cow<'a, str>>,
}

impl<'a> Members<'a> {
    /// The members of an object; of any other value none.
    pub fn of(text: &'a str) -> Members<'a> {
        match text.trim_ascii_start().starts_with('{') {
            true => serde_json::from_str(text).unwrap_or_default(),
            false => Members::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(Name(name)) = map.next_key()? {
                    let slot = match &*name {
                        "opcode" => &mut members.opcode,
                        "uuid" => &mut members.uuid,
                        "ident" => &mut members.ident,
                        "broadcast" => &mut members.broadcast,
                        "resource" => &mut members.resource,
                        "room" => &mut members.room,
                        "key" => &mut members.key,
                        "message" => &mut members.message,
                        _ => {
                            members.other.get_or_insert(name);
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = Some(map.next_value()?);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A name of a member, lent where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.into())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// A packet made of any JSON value: an object with an opcode is one as it is; one without gets the opcode
/// and the receiver in front (uuid, ident or room), unless it names one; all else becomes the packet's message.
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

/// A string where the value is one.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
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
        let texts = |text| list(text, 3).map(|list| list.iter().map(|value| value.get().to_owned()).collect::<Vec<_>>());
        assert_eq!(texts("[1.0, {\"a\":[2]}]").unwrap(), ["1.0", "{\"a\":[2]}"]);
        assert!(texts("[1,2,3,4]").unwrap_err().to_string().starts_with("more than 3 messages"));
        assert!(texts("{}").unwrap_err().to_string().contains("expected a list"));
        assert_eq!(Members::of(r#"{"a":{"uuid":1},"x":2}"#).other.unwrap(), "a");
    }
}
