//! Any value that PHP can write, cut, damaged and random.

use super::{DAMAGED, FALSE, array, cookie};
use phpws::sessions::Sessions;
use proptest::prelude::*;

/// A value as PHP writes it, and whether PHP takes it as true (arrays and objects: never here).
type Written = (Vec<u8>, bool);

fn written(text: impl Into<Vec<u8>>, truth: bool) -> Written {
    (text.into(), truth)
}

fn quoted(kind: &str, bytes: &[u8], end: &str) -> Vec<u8> {
    [format!("{kind}{}:\"", bytes.len()).as_bytes(), bytes, b"\"", end.as_bytes()].concat()
}

/// Text that looks like the format's own signs as often as not.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let signs =
        prop::sample::select(vec!["|", "\"", ";", "}", "{", ":", "allowconnect|b:1;", "a:1:{", "\";}", "!", "\0", "ö", "x"]);
    prop_oneof![
        prop::collection::vec(signs, 0..6).prop_map(|signs| signs.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(b"allowconnect".to_vec()),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any::<i64>().prop_map(|key| format!("i:{key};").into_bytes()), text().prop_map(|key| quoted("s:", &key, ";"))]
}

fn scalar() -> impl Strategy<Value = Written> {
    prop_oneof![
        Just(written("N;", false)),
        any::<bool>().prop_map(|value| written(format!("b:{};", u8::from(value)), value)),
        any::<i64>().prop_map(|value| written(format!("i:{value};"), value != 0)),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| written(format!("d:{value:E};"), value != 0.0)),
        prop::sample::select(vec!["d:INF;", "d:-INF;", "d:NAN;"]).prop_map(|value| written(value, true)),
        text().prop_map(|value| (quoted("s:", &value, ";"), !value.is_empty() && value != b"0")),
        text().prop_map(|name| (quoted("E:", &[&name[..], b":Case"].concat(), ";"), false)),
        any::<u32>().prop_map(|slot| written(format!("r:{slot};"), false)),
        any::<u32>().prop_map(|slot| written(format!("R:{slot};"), false)),
        (text(), text()).prop_map(|(name, data)| {
            let data = [format!("{}:{{", data.len()).as_bytes(), &data, b"}"].concat();
            ([quoted("C:", &name, ":"), data].concat(), false)
        }),
    ]
}

fn value() -> impl Strategy<Value = Written> {
    scalar().prop_recursive(6, 48, 5, |inner| {
        let entries = || prop::collection::vec((key(), inner.clone()), 0..5);
        prop_oneof![
            entries().prop_map(|entries| (block(b"a:", &entries), false)),
            (text(), entries()).prop_map(|(name, entries)| (block(&quoted("O:", &name, ":"), &entries), false)),
        ]
    })
}

fn block(head: &[u8], entries: &[(Vec<u8>, Written)]) -> Vec<u8> {
    let inside: Vec<u8> = entries.iter().flat_map(|(key, (value, _))| [&key[..], value].concat()).collect();
    [head, format!("{}:{{", entries.len()).as_bytes(), &inside, b"}"].concat()
}

fn in_php(value: &[u8], file: &Sessions) -> [Result<(), &'static str>; 2] {
    let before = [b"x|", value, b"allowconnect|b:1;y|", value].concat();
    let of_key = [b"x|N;allowconnect|", value].concat();
    [file.check_file(&before), file.check_file(&of_key)]
}

fn in_php_serialize(value: &[u8], file: &Sessions) -> [Result<(), &'static str>; 2] {
    let allow = b"s:12:\"allowconnect\";";
    let before = array(&[&[b"i:7;", value].concat(), &[&allow[..], b"b:1;"].concat(), &[b"s:1:\"y\";", value].concat()]);
    let of_key = array(&[b"s:1:\"x\";N;", &[&allow[..], value].concat()]);
    [file.check_file(&before), file.check_file(&of_key)]
}

fn anywhere() -> Sessions {
    Sessions::new(".", Sessions::COOKIE, Sessions::KEY).unwrap()
}

proptest! {
    #[test]
    fn any_value_is_skipped_exactly_and_known_for_true_or_not((value, truth) in value()) {
        let expected = [Ok(()), if truth { Ok(()) } else { Err(FALSE) }];
        prop_assert_eq!(in_php(&value, &anywhere()), expected);
        prop_assert_eq!(in_php_serialize(&value, &anywhere()), expected);
    }

    #[test]
    fn a_value_that_is_cut_or_has_a_tail_is_none((value, _) in value(), cut in any::<prop::sample::Index>(), tail in 1_u8..) {
        let cut = &value[..cut.index(value.len())];
        prop_assert_eq!(anywhere().check_file(&[b"allowconnect|b:1;x|", cut].concat()), Err(DAMAGED));
        prop_assert_eq!(anywhere().check_file(&[b"allowconnect|b:1;x|", &value[..], &[tail]].concat()), Err(DAMAGED));
    }

    #[test]
    fn random_bytes_never_panic_and_admit_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(anywhere().check_file(&bytes).is_err());
    }

    #[test]
    fn damaged_files_never_panic(
        (value, _) in value(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut file in [[b"x|", &value[..], b"allowconnect|b:1;"].concat(), array(&[&[b"i:0;", &value[..]].concat()])] {
            for (at, byte) in &damage {
                let at = at.index(file.len());
                file[at] = *byte;
            }
            let _ = anywhere().check_file(&file);
        }
    }

    #[test]
    fn random_cookies_never_panic_and_admit_nobody(value in "[^\\x00-\\x1f\\x7f]{0,300}") {
        prop_assert!(!anywhere().admits(&cookie(&value)));
    }
}
