use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

type Seen = Vec<(String, String)>;

fn seen(text: &str) -> Result<Seen, Fault> {
    let mut seen = Seen::new();
    members(text, |name, value| seen.push((name.to_owned(), value.text().to_owned()))).map(|()| seen)
}

#[test]
fn values_are_given_as_they_are_spelled_and_names_are_read() {
    let text = " {\"a\" : [1, {\"b\": 2}] ,\"\\u0041\":-1.50e+2, \"\":\"x\\\"y\"}\n";
    let expected = [("a", "[1, {\"b\": 2}]"), ("A", "-1.50e+2"), ("", "\"x\\\"y\"")];
    assert_eq!(seen(text), Ok(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
    assert_eq!(seen("[{\"a\":1}]"), Ok(Vec::new()));
}

#[test]
fn a_long_string_ends_where_it_ends() {
    for len in 0..200 {
        let long = "\u{fc}".repeat(len);
        let at = |text: &str| seen(text).map_err(|fault| fault.at);
        assert_eq!(at(&format!("{{\"k\":\"{long}\"}}")).map(|seen| seen[0].1.len()), Ok(2 * len + 2));
        assert_eq!(at(&format!("\"{long}\u{1f}\"")), Err(2 * len + 1));
        assert_eq!(at(&format!("\"{long}\\\"")), Err(2 * len + 3));
        assert_eq!(at(&format!("\"{long}")), Err(2 * len + 1));
    }
}

#[test]
fn a_fault_is_at_its_byte() {
    let deep = "[{\"a\":".repeat(300);
    for (text, at, what) in [
        (deep.as_str(), 6 * 256, "nested deeper than 512 levels"),
        (r#"["x\ud83dx"]"#, 3, "half of a surrogate pair"),
        (r#"["x\ud83d\u0041"]"#, 3, "half of a surrogate pair"),
        (r#"["\ude00"]"#, 2, "half of a surrogate pair"),
        (r#"["\ud83d\u00x0"]"#, 12, "invalid escape"),
        (r#"["\ux000"]"#, 4, "invalid escape"),
        ("[\"\u{1}\"]", 2, CONTROL_CHARACTER),
        ("\0", 0, "expected value"),
        ("1\0", 1, "trailing characters"),
    ] {
        assert_eq!(check(text), Err(Fault { at, what }), "{text:?}");
    }
    assert_eq!(items(" 5", |_| Ok(())), Err(Fault { at: 1, what: "expected a list" }));
}

/// What serde_json says of a text: its members, or what is wrong and where.
fn by_serde(text: &str) -> Result<Seen, (String, usize, usize)> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Seen;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
            let mut seen = Seen::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                seen.push((name, value.get().into()));
            }
            Ok(seen)
        }
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let what = error.to_string();
        (what.split(" at line ").next().unwrap_or_default().to_owned(), error.line(), error.column())
    })?;
    Ok(serde_json::Deserializer::from_str(text).deserialize_map(InOrder).unwrap_or_default())
}

/// Line and column as serde_json counts them.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (1 + before.iter().filter(|byte| **byte == b'\n').count(), text.len().min(at + 1) - line_start)
}

fn serde_agrees(text: &str) -> Result<(), TestCaseError> {
    match (seen(text), by_serde(text)) {
        (Ok(ours), theirs) => prop_assert_eq!(Ok(ours), theirs, "{}", text),
        // PHP's two limits.
        (Err(fault), _) if fault.what.starts_with("half") || fault.what.starts_with("nested") => {}
        (Err(fault), Ok(_)) => prop_assert!(false, "{fault:?}: {text}"),
        (Err(fault), Err((what, line, column))) => {
            prop_assert_eq!(fault.what, what, "{}", text);
            // serde_json points at the last digit of a bad escape, before a control character, and behind a line's end.
            let elsewhere = fault.what == "invalid escape"
                || fault.what == CONTROL_CHARACTER
                || text.as_bytes().get(fault.at) == Some(&b'\n');
            prop_assert!(elsewhere || place(text, fault.at) == (line, column), "{fault:?} {line} {column}: {text}");
        }
    }
    Ok(())
}

#[test]
fn serde_agrees_on_all_short_texts_of_these_pieces() {
    let pieces =
        ["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u00e9", "0", "01", "-", "1.", "1e5", "true", "nul", " ", "\n"];
    let count = pieces.len();
    for number in 0..count.pow(4) {
        let text: String = (0..4).map(|place| pieces[number / count.pow(place) % count]).collect();
        serde_agrees(&text).unwrap();
    }
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t\r "])
}

/// A string as it is spelled, of every length around those at which the scanner changes its way.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ -!#-\\[\\]-~]{0,20}",
        1 => "[\u{80}-\u{10FFFF}]{1,4}",
        1 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\uD83d\\ude00", "\\ud83d"]).prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// JSON with white space anywhere.
fn json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?";
    let leaf =
        prop_oneof![4 => string(), 2 => number, 1 => prop::sample::select(vec!["true", "false", "null"]).prop_map(String::from)];
    leaf.prop_recursive(4, 32, 6, |value| {
        let name = prop_oneof![string(), prop::sample::select(vec!["\"opcode\"", "\"uuid\""]).prop_map(String::from)];
        let spaced =
            (space(), value.clone(), space()).prop_map(|(before, value, after)| format!("{before}{value}{after}")).boxed();
        let member = (space(), name, space(), spaced.clone())
            .prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        prop_oneof![
            (space(), prop::collection::vec(spaced, 0..6)).prop_map(|(space, items)| format!("[{space}{}]", items.join(","))),
            (space(), prop::collection::vec(member, 0..6))
                .prop_map(|(space, members)| format!("{{{space}{}}}", members.join(","))),
        ]
    })
}

/// One byte or so of a text taken away, doubled or replaced.
fn mutated(text: &str, at: Index, by: &str, taken: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = at.index(chars.len() + 1);
    let rest = chars.iter().skip(at + taken);
    let mut mutated: String = chars[..at].iter().collect();
    mutated.write_str(by).unwrap();
    mutated.extend(rest);
    mutated
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn serde_agrees_on_json(text in json()) {
        serde_agrees(&text)?;
    }

    #[test]
    fn serde_agrees_on_what_is_nearly_json(
        text in json(),
        at: Index,
        by in "|[\\[\\]{}\",:\\\\0-9.eEtu\u{1}\\- ü]{1,2}",
        taken in 0..3_usize,
    ) {
        serde_agrees(&mutated(&text, at, &by, taken))?;
    }
}
