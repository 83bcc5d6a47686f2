//! The session check against files: names that lead astray, files that are none, what PHP writes
//! and what it does not.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use phpws::rfc6455::Request;
use phpws::sessions::{MAX_FILE, Sessions};
use proptest::prelude::*;

const LIVE: &[u8] = b"user|s:3:\"Eva\";allowconnect|b:1;";

const NONE: &str = "no such session";
const BAD_ID: &str = "bad session id";
const NOT_REGULAR: &str = "the session file is not a regular file";
const FALSE: &str = "the key is not true in this session";
const DAMAGED: &str = "the session file is damaged, half written, or not of the handlers php and php_serialize";

/// A `session.save_path` of its own; it is removed with the value.
struct SavePath(PathBuf);

impl SavePath {
    fn new() -> SavePath {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("phpws-sessions-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        SavePath(path)
    }

    fn with(id: &str, file: &[u8]) -> SavePath {
        let path = SavePath::new();
        path.write(&format!("sess_{id}"), file);
        path
    }

    fn write(&self, name: &str, file: &[u8]) {
        fs::write(self.0.join(name), file).unwrap();
    }

    fn sessions(&self) -> Sessions {
        self.levels("")
    }

    /// With the beginning of PHP's other forms: `2;`, `2;0640;`.
    fn levels(&self, prefix: &str) -> Sessions {
        Sessions::new(&format!("{prefix}{}", self.0.display()), Sessions::COOKIE, Sessions::KEY).unwrap()
    }
}

impl Drop for SavePath {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn request(fields: &str) -> Request {
    Request::parse(format!("GET /web HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).unwrap()
}

fn cookie(id: &str) -> Request {
    request(&format!("Cookie: PHPSESSID={id}\r\n"))
}

/// What the check says of a session with this file, through a cookie and the disk.
fn verdict(file: &[u8]) -> Result<(), &'static str> {
    let sessions = SavePath::with("x", file);
    let request = cookie("x");
    let verdict = sessions.sessions().check(&request);
    assert_eq!(sessions.sessions().admits(&request), verdict.is_ok());
    verdict
}

/// `array($entries)` as `php_serialize` writes it, from entries as it writes them.
fn array(entries: &[&[u8]]) -> Vec<u8> {
    [format!("a:{}:{{", entries.len()).as_bytes(), &entries.concat(), b"}"].concat()
}

// ---- cookies

#[test]
fn the_cookie_names_the_session() {
    let path = SavePath::with("abc,-9Z", LIVE);
    let sessions = path.sessions();
    for fields in [
        "Cookie: PHPSESSID=abc,-9Z\r\n",
        "cookie:PHPSESSID=abc%2C-9Z\r\n",
        "Cookie: PHPSESSID=abc%2c-9Z\r\n",
        "Cookie: PHPSESSID=%61bc%2C%2D9Z\r\n",
        "Cookie: a=b; PHPSESSID=abc,-9Z ;c=d\r\n",
        "Cookie: a=b\r\nCookie: PHPSESSID=abc,-9Z\r\n",
        "Cookie: phpsessid=other; PHPSESSID=abc,-9Z; PHPSESSID=other\r\n",
    ] {
        assert_eq!(sessions.check(&request(fields)), Ok(()), "{fields}");
        assert!(sessions.admits(&request(fields)), "{fields}");
    }
}

#[test]
fn without_the_cookie_nobody_is_admitted() {
    let path = SavePath::with("abc", LIVE);
    for fields in ["", "Cookie: phpsessid=abc\r\n", "Cookie: XPHPSESSID=abc\r\n", "Cookie: PHPSESSID\r\n", "X: PHPSESSID=abc\r\n"]
    {
        assert_eq!(path.sessions().check(&request(fields)), Err("no session cookie"), "{fields}");
        assert!(!path.sessions().admits(&request(fields)), "{fields}");
    }
}

#[test]
fn of_several_cookies_the_first_one_counts() {
    let path = SavePath::with("abc", LIVE);
    for (fields, verdict) in [
        ("Cookie: PHPSESSID=abc; PHPSESSID=xyz\r\n", Ok(())),
        ("Cookie: PHPSESSID=xyz; PHPSESSID=abc\r\n", Err(NONE)),
        ("Cookie: PHPSESSID=\r\nCookie: PHPSESSID=abc\r\n", Err(BAD_ID)),
    ] {
        assert_eq!(path.sessions().check(&request(fields)), verdict, "{fields}");
    }
}

#[test]
fn cookie_and_key_bear_other_names() {
    let path = SavePath::with("abc", b"chat|i:1;");
    let sessions = Sessions::new(path.0.to_str().unwrap(), "__Host-shop", "chat").unwrap();
    assert!(sessions.admits(&request("Cookie: __Host-shop=abc\r\n")));
    assert!(!sessions.admits(&cookie("abc")));
    path.write("sess_abc", LIVE);
    assert_eq!(sessions.check(&request("Cookie: __Host-shop=abc\r\n")), Err(FALSE));
}

#[test]
fn an_id_never_leaves_the_directory() {
    let path = SavePath::new();
    fs::create_dir(path.0.join("inner")).unwrap();
    fs::create_dir(path.0.join("inner/sess_d")).unwrap();
    path.write("sess_outside", LIVE);
    path.write("inner/sess_d/inside", LIVE);
    path.write("inner/sess_", LIVE);
    path.write("inner/sess_a.b", LIVE);
    let inner = Sessions::new(path.0.join("inner").to_str().unwrap(), "PHPSESSID", "allowconnect").unwrap();
    let outside = path.0.join("sess_outside").display().to_string();
    for id in [
        "",
        ".",
        "..",
        "/../../sess_outside",
        "d/../../sess_outside",
        "%2F..%2F..%2Fsess_outside",
        "%2e%2e/sess_outside",
        "..%5Csess_outside",
        "d/inside",
        "d%2finside",
        "%00",
        "d%00",
        "outside%00",
        "a.b",
        "a b",
        "a+b",
        "a_b",
        "a%",
        "a%2",
        "%zz",
        "%252C",
        "\"outside\"",
        "größe",
        "%C3%B6",
        "%ff",
        "sess_outside",
        &outside,
        &"a".repeat(257),
        &"../".repeat(100),
    ] {
        assert_eq!(inner.check(&cookie(id)), Err(BAD_ID), "{id}");
    }
}

#[test]
fn ids_have_up_to_256_characters() {
    // With sess_ before it, a name may be 255 bytes long on most file systems.
    let path = SavePath::with(&"a".repeat(250), LIVE);
    for (length, verdict) in [(250, Ok(())), (249, Err(NONE)), (251, Err(NONE)), (256, Err(NONE)), (257, Err(BAD_ID))] {
        assert_eq!(path.sessions().check(&cookie(&"a".repeat(length))), verdict, "{length}");
    }
}

// ---- files

#[test]
fn subdirectories_are_named_by_the_first_characters() {
    let path = SavePath::new();
    fs::create_dir_all(path.0.join("a/-")).unwrap();
    path.write("a/-/sess_a-c", LIVE);
    path.write("a/-/sess_a-", LIVE);
    path.write("a/sess_a-c", b"allowconnect|b:0;");
    path.write("sess_abc", LIVE);
    path.write("a/b", b"");
    for prefix in ["2;", "2;0600;", "2;640;"] {
        let sessions = path.levels(prefix);
        assert_eq!(sessions.check(&cookie("a-c")), Ok(()), "{prefix}");
        assert_eq!(sessions.check(&cookie("abc")), Err(NONE), "{prefix}");
        assert_eq!(sessions.check(&cookie("xyz")), Err(NONE), "{prefix}");
        // PHP: an id must be longer than there are levels.
        assert_eq!(sessions.check(&cookie("a-")), Err(BAD_ID), "{prefix}");
    }
    assert_eq!(path.levels("1;").check(&cookie("a-c")), Err(FALSE));
    for prefix in ["", "0;", "0;0640;"] {
        assert_eq!(path.levels(prefix).check(&cookie("abc")), Ok(()), "{prefix}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let path = SavePath::with("real", LIVE);
    std::os::unix::fs::symlink(path.0.join("sess_real"), path.0.join("sess_link")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.0.join("sess_dangling")).unwrap();
    std::os::unix::fs::symlink("sess_loop", path.0.join("sess_loop")).unwrap();
    fs::create_dir(path.0.join("sess_dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path.0.join("sess_socket")).unwrap();
    for (id, verdict) in [
        ("real", Ok(())),
        ("none", Err(NONE)),
        ("link", Err(NOT_REGULAR)),
        ("dangling", Err(NOT_REGULAR)),
        ("loop", Err(NOT_REGULAR)),
        ("dir", Err(NOT_REGULAR)),
        ("socket", Err("the session file can't be opened")),
    ] {
        assert_eq!(path.sessions().check(&cookie(id)), verdict, "{id}");
    }
}

#[test]
fn a_fifo_does_not_hold_up_the_server() {
    let path = SavePath::new();
    let status = Command::new("mkfifo").arg(path.0.join("sess_fifo")).status().unwrap();
    assert!(status.success());
    assert_eq!(path.sessions().check(&cookie("fifo")), Err(NOT_REGULAR));
}

#[test]
fn files_have_up_to_a_mebibyte() {
    let head = b"allowconnect|b:1;x|s:1048540:\"";
    let room = MAX_FILE as usize - head.len() - 2;
    let text = [format!("allowconnect|b:1;x|s:{room}:\"").as_bytes(), &vec![b'|'; room], b"\";"].concat();
    assert_eq!(text.len() as u64, MAX_FILE);
    assert_eq!(verdict(&text), Ok(()));
    assert_eq!(verdict(&[&text[..], b"y|N;"].concat()), Err("the session file is over 1 MiB"));
}

#[test]
fn settings_that_cannot_work_are_named() {
    let path = SavePath::with("file", LIVE);
    let (dir, file) = (path.0.display().to_string(), path.0.join("sess_file").display().to_string());
    let form = |path: &str| format!("'{path}' is not /path, N;/path or N;MODE;/path");
    let missing = || "the directory is missing; if PHP's session.save_path is empty, it is PHP's temporary directory".to_owned();
    for (save_path, cookie, key, problem) in [
        ("", "PHPSESSID", "k", missing()),
        ("2;", "PHPSESSID", "k", missing()),
        ("x;/tmp", "PHPSESSID", "k", form("x;/tmp")),
        ("-1;/tmp", "PHPSESSID", "k", form("-1;/tmp")),
        ("256;/tmp", "PHPSESSID", "k", form("256;/tmp")),
        ("1;0680;/tmp", "PHPSESSID", "k", form("1;0680;/tmp")),
        (&file, "PHPSESSID", "k", format!("{file} is not a directory")),
        (&dir, "", "k", "'' can't be the name of a session cookie; it is PHP's session.name".into()),
        (&dir, "a=b", "k", "'a=b' can't be the name of a session cookie; it is PHP's session.name".into()),
        (&dir, "PHPSESSID", "", "'' can't be a key of a PHP session".into()),
        (&dir, "PHPSESSID", "a|b", "'a|b' can't be a key of a PHP session".into()),
        (&dir, "PHPSESSID", "!a", "'!a' can't be a key of a PHP session".into()),
        (&dir, "PHPSESSID", "42", "'42' can't be a key of a PHP session".into()),
    ] {
        assert_eq!(Sessions::new(save_path, cookie, key).unwrap_err().to_string(), problem);
    }
    let nowhere = Sessions::new(&format!("{dir}/nowhere"), "PHPSESSID", "k").unwrap_err().to_string();
    assert!(nowhere.starts_with(&format!("the directory {dir}/nowhere can't be entered: ")), "{nowhere}");
    assert!(!nowhere.contains('\n'));
}

// ---- contents

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

// ---- properties

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
