//! Where the files are, and what is no file.

use std::fs;
use std::process::Command;

use super::{BAD_ID, FALSE, LIVE, NONE, NOT_REGULAR, SavePath, cookie, verdict};
use phpws::sessions::{MAX_FILE, Sessions};

#[test]
fn subdirectories_are_named_by_the_first_characters() {
    let path = SavePath::new();
    fs::create_dir_all(path.0.file("a/-")).unwrap();
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
    std::os::unix::fs::symlink(path.0.file("sess_real"), path.0.file("sess_link")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.0.file("sess_dangling")).unwrap();
    std::os::unix::fs::symlink("sess_loop", path.0.file("sess_loop")).unwrap();
    fs::create_dir(path.0.file("sess_dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path.0.file("sess_socket")).unwrap();
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
    let status = Command::new("mkfifo").arg(path.0.file("sess_fifo")).status().unwrap();
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
    let (dir, file) = (path.0.path().display().to_string(), path.0.file("sess_file").display().to_string());
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
