//! Packets: what is taken for JSON, and which words are read from it, compared with `serde_json::Value`.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use phpws::{Message, Packet};
use serde::Deserialize;
use serde_json::Value;

/// The nesting that PHP's `json_decode` allows, and so the deepest that is read here.
const MAX_DEPTH: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let packet = Packet::parse(Message::Binary(bytes)).ok();
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(packet.is_none(), "not UTF-8 and yet a packet");
        return;
    };
    assert_eq!(Packet::parse(Message::Text(text)).ok(), packet, "as text and as bytes");
    match value(text) {
        Ok(value) => {
            assert_eq!(packet.is_some(), depth(&value) <= MAX_DEPTH, "JSON {} deep", depth(&value));
            if let Some(packet) = packet {
                the_words_agree(&packet, &value);
                assert_eq!(packet.text(), text);
                assert_eq!(packet.value().ok(), Some(value));
            }
        }
        Err(error) => {
            if let Some(packet) = packet {
                // The grammar of JSON allows 1e999, which is forwarded untouched, but no value holds it.
                assert!(error.to_string().starts_with("number out of range"), "taken for JSON: {error}");
                assert!(packet.value().is_err());
            }
        }
    }
});

/// The text as a value, however deep, with nothing behind it.
fn value(text: &str) -> serde_json::Result<Value> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.disable_recursion_limit();
    let value = Value::deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn the_words_agree(packet: &Packet<'_>, value: &Value) {
    assert_eq!(packet.announce(), value.get("announce") == Some(&Value::Bool(true)));
    let words = [packet.opcode(), packet.uuid(), packet.ident(), packet.room(), packet.name()];
    for (key, word) in ["opcode", "uuid", "ident", "room", "name"].into_iter().zip(words) {
        let expected = match value.get(key) {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            // A number keeps the form it came in, which a value forgets.
            Some(Value::Number(number)) => {
                let read: Value = serde_json::from_str(word).expect("a number is read as its text");
                assert_eq!(read, Value::Number(number.clone()), "{key}");
                continue;
            }
            _ => Cow::Borrowed(""),
        };
        assert_eq!(word, expected, "{key}");
    }
}
