//! What stands in a file, and whether it admits.

use std::fs;
use std::path::Path;

use super::{DAMAGED, FALSE, SavePath, array, cookie, verdict};
use phpws::sessions::Sessions;

#[test]
fn what_php_wrote_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
    let sessions = Sessions::new(folder.to_str().unwrap(), Sessions::COOKIE, Sessions::KEY).unwrap();
    for handler in ["php", "php-serialize"] {
        for (file, verdict) in [("", Ok(())), ("-first", Ok(())), ("-false", Err(FALSE)), ("-never", Err(FALSE))] {
            assert_eq!(sessions.check(&cookie(&format!("{handler}{file}"))), verdict, "{handler}{file}");
        }
    }
    assert_eq!(sessions.check(&cookie("php-binary")), Err(DAMAGED));
}

#[test]
fn no_cut_of_what_php_wrote_is_admitted() {
    let path = SavePath::new();
    for id in ["php", "php-serialize"] {
        let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sessions/sess_{id}"))).unwrap();
        assert_eq!(path.sessions().check_file(&file), Ok(()));
        for end in 0..file.len() {
            assert!(path.sessions().check_file(&file[..end]).is_err(), "{id}, {end} bytes");
        }
    }
}

#[test]
fn what_php_takes_as_true_admits() {
    for (value, truth) in [
        ("b:1;", true),
        ("b:0;", false),
        ("N;", false),
        ("i:1;", true),
        ("i:-1;", true),
        ("i:0;", false),
        ("i:-0;", false),
        ("i:9223372036854775807;", true),
        ("d:0.5;", true),
        ("d:1.0E-25;", true),
        ("d:1e5;", true),
        ("d:INF;", true),
        ("d:-INF;", true),
        ("d:NAN;", true),
        ("d:0;", false),
        ("d:-0;", false),
        ("d:0.0;", false),
        ("s:1:\"1\";", true),
        ("s:2:\"no\";", true),
        ("s:2:\"00\";", true),
        ("s:1:\" \";", true),
        ("s:1:\"0\";", false),
        ("s:0:\"\";", false),
        ("a:0:{}", false),
        ("a:1:{i:0;b:1;}", false),
        ("O:8:\"stdClass\":0:{}", false),
        ("O:8:\"stdClass\":1:{s:12:\"allowconnect\";b:1;}", false),
        ("C:3:\"Foo\":4:{b:1;}", false),
        ("E:9:\"Suit:Ace1\";", false),
        ("r:1;", false),
        ("R:1;", false),
    ] {
        let expected = if truth { Ok(()) } else { Err(FALSE) };
        let entry = format!("s:12:\"allowconnect\";{value}");
        assert_eq!(verdict(format!("allowconnect|{value}").as_bytes()), expected, "php: {value}");
        assert_eq!(verdict(&array(&[entry.as_bytes()])), expected, "php_serialize: {value}");
    }
}

#[test]
fn only_the_key_itself_counts() {
    for file in [
        "",
        "a:0:{}",
        "x|b:1;",
        "xallowconnect|b:1;",
        "allowconnectx|b:1;",
        "AllowConnect|b:1;",
        " allowconnect|b:1;",
        "x|s:17:\"allowconnect|b:1;\";",
        "x|s:19:\";allowconnect|b:1;;\";",
        "x|a:1:{s:12:\"allowconnect\";b:1;}",
        "x|a:1:{s:1:\"y\";a:1:{s:12:\"allowconnect\";b:1;}}",
        "x|O:3:\"Foo\":1:{s:12:\"allowconnect\";b:1;}",
        "x|C:3:\"Foo\":17:{allowconnect|b:1;}",
        "x|O:17:\"allowconnect|b:1;\":0:{}",
        "allowconnect|b:1;allowconnect|b:0;",
        "a:1:{s:1:\"x\";s:17:\"allowconnect|b:1;\";}",
        "a:1:{s:1:\"x\";a:1:{s:12:\"allowconnect\";b:1;}}",
        "a:2:{s:12:\"allowconnect\";b:1;s:12:\"allowconnect\";b:0;}",
        "a:1:{i:12;b:1;}",
        "!allowconnect|",
        "!allowconnect|b:1;",
    ] {
        assert_eq!(verdict(file.as_bytes()), Err(FALSE), "{file}");
    }
}

#[test]
fn keys_before_and_behind_are_skipped() {
    for file in [
        "allowconnect|b:1;x|N;",
        "x|s:17:\"allowconnect|b:0;\";allowconnect|b:1;",
        "x|s:4:\"\";}|\";allowconnect|b:1;",
        "user|O:4:\"User\":2:{s:2:\"id\";i:7;s:5:\"roles\";a:1:{i:0;E:10:\"Role:Admin\";}}allowconnect|b:1;",
        "x|C:3:\"Foo\":4:{{}|}}allowconnect|b:1;",
        "allowconnect|b:0;allowconnect|b:1;",
        "|N;allowconnect|b:1;",
        "größe|d:1.5;allowconnect|b:1;",
        // PHP to 7.0: a key without a value.
        "!gone|allowconnect|b:1;",
        "allowconnect|b:1;!gone|",
        // PHP since 7.1: a key like any other.
        "!here|s:1:\"x\";allowconnect|b:1;",
        "a:2:{i:7;N;s:12:\"allowconnect\";b:1;}",
        "a:2:{s:12:\"allowconnect\";b:1;s:1:\"x\";a:1:{i:0;O:8:\"stdClass\":0:{}}}",
    ] {
        assert_eq!(verdict(file.as_bytes()), Ok(()), "{file}");
    }
}

#[test]
fn what_is_not_whole_is_refused() {
    for file in [
        "x",
        "|",
        "allowconnect",
        "allowconnect|",
        "allowconnect|b:1",
        "allowconnect|b:1;x",
        "allowconnect|b:1;x|",
        "allowconnect|b:1;x|s:5:\"abc\";",
        "allowconnect|b:1;x|s:2:\"abc\";",
        "allowconnect|b:1;x|s:3:'abc';",
        "allowconnect|b:1;x|s:-1:\"\";",
        "allowconnect|b:1;x|s:+1:\"a\";",
        "allowconnect|b:1;x|s::\"\";",
        "allowconnect|b:1;x|b:2;",
        "allowconnect|b:1;x|b:;",
        "allowconnect|b:1;x|i:;",
        "allowconnect|b:1;x|i:1x;",
        "allowconnect|b:1;x|i:99999999999999999999;",
        "allowconnect|b:1;x|d:;",
        "allowconnect|b:1;x|d:inf;",
        "allowconnect|b:1;x|d:infinity;",
        "allowconnect|b:1;x|d:+INF;",
        "allowconnect|b:1;x|d:0x1;",
        "allowconnect|b:1;x|E:3:\"Ace\";",
        "allowconnect|b:1;x|r:-1;",
        "allowconnect|b:1;x|Z:1;",
        "allowconnect|b:1;x|S:1:\"a\";",
        "allowconnect|b:1;x|a:1:{}",
        "allowconnect|b:1;x|a:0:{i:0;i:0;}",
        "allowconnect|b:1;x|a:1:{i:0;}",
        "allowconnect|b:1;x|a:1:{b:1;i:0;}",
        "allowconnect|b:1;x|a:1:{a:0:{}i:0;}",
        "allowconnect|b:1;x|a:1:{i:0;i:0;",
        "allowconnect|b:1;x|a:1:i:0;i:0;}",
        "allowconnect|b:1;x|}",
        "allowconnect|b:1;x|O:3:\"Foo\":1:{}",
        "allowconnect|b:1;x|O:3:\"Foo\"",
        "allowconnect|b:1;x|C:3:\"Foo\":9:{}",
        "allowconnect|b:1;\n",
        "allowconnect|b:1;\0",
        "a:1:{s:12:\"allowconnect\";b:1;",
        "a:2:{s:12:\"allowconnect\";b:1;}",
        "a:1:{s:12:\"allowconnect\";b:1;}x",
        "a:1:{s:12:\"allowconnect\";b:1;}}",
        "a:1:{s:12:\"allowconnect\";b:1;}x|N;",
        "a:1:{S:12:\"allowconnect\";b:1;}",
        "b:1;",
        "s:12:\"allowconnect\";",
        "O:8:\"stdClass\":1:{s:12:\"allowconnect\";b:1;}",
    ] {
        assert_eq!(verdict(file.as_bytes()), Err(DAMAGED), "{file}");
    }
}

#[test]
fn claimed_sizes_cost_nothing() {
    for size in ["4294967295", "9223372036854775807", "18446744073709551615", "18446744073709551616", &"9".repeat(1000)] {
        for value in [
            format!("s:{size}:\"x\";"),
            format!("a:{size}:{{i:0;i:0;}}"),
            format!("O:{size}:\"x\":0:{{}}"),
            format!("O:1:\"x\":{size}:{{}}"),
            format!("C:1:\"x\":{size}:{{}}"),
            format!("E:{size}:\"x\";"),
        ] {
            assert_eq!(verdict(format!("allowconnect|b:1;x|{value}").as_bytes()), Err(DAMAGED), "{value}");
        }
        assert_eq!(verdict(format!("a:{size}:{{s:12:\"allowconnect\";b:1;}}").as_bytes()), Err(DAMAGED), "{size}");
    }
}

#[test]
fn arrays_are_as_deep_as_php_reads_them() {
    let nested = |depth: usize, open: &str| format!("x|{}N;{}allowconnect|b:1;", open.repeat(depth), "}".repeat(depth));
    for open in ["a:1:{i:0;", "O:1:\"x\":1:{s:0:\"\";"] {
        assert_eq!(verdict(nested(4096, open).as_bytes()), Ok(()));
        assert_eq!(verdict(nested(4097, open).as_bytes()), Err(DAMAGED));
    }
    assert_eq!(verdict(nested(100_000, "a:1:{i:0;").as_bytes()), Err(DAMAGED));
    assert_eq!(verdict("a:1:{i:0;".repeat(100_000).as_bytes()), Err(DAMAGED));
    assert_eq!(verdict("a:1:{s:1:\"|\";".repeat(80_000).as_bytes()), Err(DAMAGED));
}

/// What a visitor typed in must not pass for a key when the file is of another handler.
#[test]
fn a_string_cannot_change_the_handler() {
    let text = |text: &str| format!("s:{}:\"{text}\";", text.len());
    let swallow_string = text("|b:1;allowconnect|b:1;x|s:1:\"y");
    let swallow_array = text("|b:1;allowconnect|b:1;x|a:1:{i:0;s:1:\"y");
    let swallow_object = text("|b:1;allowconnect|b:1;x|C:1:\"y\":2:{");
    let binary = format!("\u{4}name{swallow_string}");
    let one_long_name = format!("{}{}{swallow_string}", 'A', "n".repeat(65));
    let igbinary = "\0\0\0\u{2}\u{14}\u{1}\u{11}\u{4}name\u{11}\u{16}|b:1;allowconnect|b:1;";
    let json = "{\"name\":\"|b:1;allowconnect|b:1;x|C:1:'y':2:{\"}";
    let json_quoted = "{\"name\":\"|b:1;allowconnect|b:1;x|C:1:\"y\":2:{\"}";
    let msgpack = b"\x81\xa4name\xb6|b:1;allowconnect|b:1;";
    for file in
        [binary.as_bytes(), one_long_name.as_bytes(), igbinary.as_bytes(), json.as_bytes(), json_quoted.as_bytes(), msgpack]
    {
        assert_eq!(verdict(file), Err(DAMAGED), "{}", String::from_utf8_lossy(file));
    }
    for value in [&swallow_string, &swallow_array, &swallow_object] {
        let file = array(&[format!("s:4:\"name\";{value}").as_bytes()]);
        assert_eq!(verdict(&file), Err(FALSE), "{value}");
        // Deeper than the reader goes, so that it is no array to it.
        let file = format!("a:1:{{s:4:\"deep\";{}{}{value}{}}}", "a:2:{i:0;N;i:1;".repeat(5000), "", "}".repeat(5000));
        assert_eq!(verdict(file.as_bytes()), Err(DAMAGED), "{value}");
    }
}

/// Nor a key that somebody may choose, when the file is of `php` but also makes an array.
#[test]
fn a_file_that_reads_both_ways_must_be_true_both_ways() {
    let rest = "|a:1:{i:0;s:5:\"xxxxx";
    let php = format!("a:2:{{s:12:\"allowconnect\";b:1;i:0;s:{}:\"{rest}\";}}", rest.len());
    assert_eq!(verdict(php.as_bytes()), Err(FALSE));
    let rest = "|N;allowconnect|b:1;y|a:1:{i:0;s:5:\"xxxxx";
    let both = format!("a:2:{{s:12:\"allowconnect\";b:1;i:0;s:{}:\"{rest}\";}}", rest.len());
    assert_eq!(verdict(both.as_bytes()), Ok(()));
}
