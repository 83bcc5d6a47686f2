//! From the cookie to the name of a file.

use std::fs;

use super::{BAD_ID, FALSE, LIVE, NONE, SavePath, cookie, request};
use phpws::sessions::Sessions;

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
    let sessions = Sessions::new(path.0.path().to_str().unwrap(), "__Host-shop", "chat").unwrap();
    assert!(sessions.admits(&request("Cookie: __Host-shop=abc\r\n")));
    assert!(!sessions.admits(&cookie("abc")));
    path.write("sess_abc", LIVE);
    assert_eq!(sessions.check(&request("Cookie: __Host-shop=abc\r\n")), Err(FALSE));
}

#[test]
fn an_id_never_leaves_the_directory() {
    let path = SavePath::new();
    fs::create_dir(path.0.file("inner")).unwrap();
    fs::create_dir(path.0.file("inner/sess_d")).unwrap();
    path.write("sess_outside", LIVE);
    path.write("inner/sess_d/inside", LIVE);
    path.write("inner/sess_", LIVE);
    path.write("inner/sess_a.b", LIVE);
    let inner = Sessions::new(path.0.file("inner").to_str().unwrap(), "PHPSESSID", "allowconnect").unwrap();
    let outside = path.0.file("sess_outside").display().to_string();
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
