//! Who may publish: addresses, tokens, rates.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::{Answer, TOKEN, ask, post, status};
use crate::util::Phpws;
use crate::util::folder::Folder;
use crate::util::waiting::at_best;

#[test]
fn a_stranger_a_page_and_a_proxy_need_a_token() {
    let behind = Phpws::start(&["--trusted-proxy", "127.0.0.1", "--allowed-ip", "198.51.100.7"]);
    let from = |ip: &str| ask(&behind, post("/broadcast", &format!("X-Forwarded-For: {ip}\r\nX-Real-IP: {ip}\r\n"), "1"));
    assert_eq!(from("198.51.100.7").status, 200);
    assert_eq!(from("203.0.113.9, 198.51.100.7").status, 200);
    for stranger in ["203.0.113.9", "198.51.100.7, 203.0.113.9", "127.0.0.1", "::1", "unknown"] {
        let refused = from(stranger);
        assert_eq!((refused.status, refused.error().as_str()), (403, "No publishing from this address"), "{stranger}");
        assert!(refused.fields.contains("connection: close\r\n"));
    }
    let server = Phpws::start(&[]);
    for fields in [
        "Origin: http://x\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "X-Forwarded-For: ::1\r\n",
        "Forwarded: for=x\r\n",
        "Via: x\r\n",
    ] {
        let refused = ask(&server, post("/broadcast", fields, "1"));
        assert_eq!(refused.status, 403, "{fields}");
        assert!(refused.error().contains("needs a token"), "{}", refused.body);
    }
    server.log_line("No publishing for ");
}

#[test]
fn tokens_are_rotated_without_a_gap() {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "the-old-token-of-yesterday\n");
    let server = Phpws::start(&["--publish", "token", "--publish-token-file", &file]);
    let with = |token: &str| status(&server, post("/broadcast", &format!("Authorization: Bearer {token}\r\n"), "1"));
    assert_eq!((with("the-old-token-of-yesterday"), with("the-new-token-of-tomorrow")), (200, 401));
    std::fs::write(&file, "# both for a while\nthe-old-token-of-yesterday\nthe-new-token-of-tomorrow\n").unwrap();
    server.signal("HUP");
    server.log_line("Tokens reloaded");
    assert_eq!((with("the-old-token-of-yesterday"), with("the-new-token-of-tomorrow")), (200, 200));
    std::fs::write(&file, "short\n").unwrap();
    server.signal("HUP");
    server.log_line("Tokens not reloaded, the old ones stay: ");
    assert_eq!(with("the-new-token-of-tomorrow"), 200);
    let refused = ask(&server, post("/broadcast", "", "1"));
    assert_eq!((refused.status, refused.error().as_str()), (403, "This server wants a token from every host"));
}

#[test]
fn a_wrong_token_is_asked_for_again_and_guessing_is_slowed_and_locks_nobody_out() {
    at_best(guessing_is_slowed);
}

fn guessing_is_slowed() -> Result<(), String> {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "the-old-token-of-yesterday\n");
    let server = Phpws::start(&["--publish", "token", "--publish-token-file", &file]);
    let mut answers: Vec<Answer> =
        (0..20).map(|_| ask(&server, post("/broadcast", "Authorization: Bearer wrong\r\n", "1"))).collect();
    assert!(answers[0].status == 401 && answers[0].fields.contains("www-authenticate: bearer realm=\"phpws\"\r\n"));
    let last = answers.pop().unwrap();
    assert_eq!(status(&server, post("/broadcast", TOKEN, "1")), 200, "nobody is locked out");
    // Five a second are forgiven, and so is a test that takes its time.
    if last.status != 429 {
        return Err(format!("{} after 20 wrong tokens", last.status));
    }
    assert!(last.fields.contains("retry-after: 1\r\n"), "{}", last.fields);
    Ok(())
}

#[test]
fn a_rate_holds_for_each_address() {
    at_best(a_rate_holds);
}

fn a_rate_holds() -> Result<(), String> {
    let server = Phpws::start(&["--max-publish-rate", "5"]);
    let answers: Vec<Answer> = (0..15).map(|_| ask(&server, post("/broadcast", "", "1"))).collect();
    assert!(answers[..10].iter().all(|answer| answer.status == 200));
    let last = answers.last().unwrap();
    if last.status != 429 {
        return Err(format!("{} after 14 others, of which five a second are forgiven", last.status));
    }
    assert!(last.fields.contains("retry-after: 1\r\n"), "{}", last.body);
    Ok(())
}

#[test]
fn each_message_of_a_list_counts() {
    let server = Phpws::start(&["--max-publish-rate", "10"]);
    let list = |count: usize| post("/publish", "", &format!("[{}]", vec![r#"{"broadcast":true,"message":1}"#; count].join(",")));
    assert_eq!(ask(&server, list(1000)).status, 200, "the bucket is full");
    let refused = ask(&server, list(1000));
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.fields.contains("retry-after: 9"), "{}", refused.fields);
}

#[test]
fn one_setting_takes_the_paths_away() {
    let server = Phpws::start(&["--publish", "off"]);
    assert_eq!(status(&server, post("/broadcast", "", "1")), 405);
    assert_eq!(status(&server, "GET /clients/x HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
}

#[test]
fn tokens_that_others_may_read_are_refused() {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "the-old-token-of-yesterday\n");
    let server = Phpws::start(&["--publish", "token", "--publish-token-file", &file]);
    for mode in [0o604, 0o644, 0o660, 0o602] {
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        server.signal("HUP");
        let why = if mode & 0o022 == 0 { "everybody may read it" } else { "others may write it" };
        let expected = format!("{why} (mode {mode:03o}); chmod 600 {file}, or chmod 640 {file} for a group");
        server.log_line(&format!("Tokens not reloaded, the old ones stay: --publish-token-file {file}: {expected}"));
    }
    assert_eq!(status(&server, post("/broadcast", TOKEN, "1")), 200);
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    server.signal("HUP");
    server.log_line("Tokens reloaded");
}
