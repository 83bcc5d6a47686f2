//! The opening handshake: where a head ends, what a request says, and what it is answered.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use libfuzzer_sys::fuzz_target;
use phpws::rfc6455::handshake::{accept_token, head_begin, head_end};
use phpws::rfc6455::{Refusal, Request};

/// The white space of HTTP.
const BLANKS: [char; 2] = [' ', '\t'];

fuzz_target!(|bytes: &[u8]| {
    let begin = head_begin(bytes);
    assert!(bytes[..begin].chunks(2).all(|line| line == b"\r\n") && !bytes[begin..].starts_with(b"\r\n"));
    let bytes = &bytes[begin..];
    let end = head_end(bytes);
    the_end_does_not_depend_on_what_came_so_far(bytes, end);
    match Request::parse(&bytes[..end.unwrap_or(bytes.len())]) {
        Ok(request) => {
            the_version_is_one_of_two(bytes, &request);
            the_parts_fit_together(&request);
            for origin_required in [true, false] {
                match request.accept_token(origin_required) {
                    Ok(token) => only_a_good_request_is_accepted(&request, &token, origin_required),
                    Err(refusal) => a_refusal_is_a_whole_answer(&refusal),
                }
            }
        }
        Err(refusal) => a_refusal_is_a_whole_answer(&refusal),
    }
});

/// Bytes that come bit by bit end where they end when they come at once.
fn the_end_does_not_depend_on_what_came_so_far(bytes: &[u8], end: Option<usize>) {
    if let Some(end) = end {
        assert!(end <= bytes.len() && bytes[..end].ends_with(b"\n"));
        assert_eq!(head_end(&bytes[..end]), Some(end));
    }
    // Every cut of a short head, and those next to a line's end of a long one.
    let unfinished = end.map_or(bytes.len(), |end| end - 1);
    let is_near_line_end = |cut: &usize| bytes[cut.saturating_sub(2)..*cut].contains(&b'\n');
    for cut in (0..=unfinished).filter(|cut| unfinished <= 64 || is_near_line_end(cut)).take(100) {
        assert_eq!(head_end(&bytes[..cut]), None, "cut at {cut}");
    }
    if end.is_some() {
        let longer = [bytes, b"\n\n"].concat();
        assert_eq!(head_end(&longer), end);
    }
}

fn the_version_is_one_of_two(bytes: &[u8], request: &Request) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    assert!(line.ends_with(if request.is_http_1_0() { b" HTTP/1.0" } else { b" HTTP/1.1" }), "{line:?}");
}

fn the_parts_fit_together(request: &Request) {
    assert!(!request.method().is_empty());
    assert!(!request.path().contains(['?', ' ', '\r', '\n']));
    assert!(!request.query().contains([' ', '\r', '\n']));
    for (name, value) in request.headers() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'), "{name:?}");
        assert!(value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()), "{value:?}");
        assert_eq!(value, value.trim_matches(BLANKS));
        let first = request.headers().find(|(other, _)| other.eq_ignore_ascii_case(name));
        assert_eq!(request.header(&name.to_ascii_uppercase()), first.map(|(_, value)| value));
        if name.eq_ignore_ascii_case("cookie") {
            for (key, _) in value.split(';').filter_map(|pair| pair.split_once('=')) {
                assert!(request.cookie(key.trim_matches(BLANKS)).is_some_and(|value| !value.contains(';')), "{key:?}");
            }
        }
    }
    if request.header("cookie").is_none() {
        assert_eq!(request.cookie("PHPSESSID"), None);
    }
    let _ = request.is_upgrade();
}

/// What RFC 6455, section 4.2.1 asks for, read from the headers once more.
fn only_a_good_request_is_accepted(request: &Request, token: &str, origin_required: bool) {
    let values = |name: &'static str| request.headers().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
    let single = |name| values(name).count() == 1;
    let listed = |name, token: &str| {
        values(name).flat_map(|(_, value)| value.split(',')).any(|item| item.trim_matches(BLANKS).eq_ignore_ascii_case(token))
    };
    assert!(request.is_upgrade() && request.method().eq_ignore_ascii_case("GET"));
    assert!(single("host") && single("sec-websocket-key") && single("sec-websocket-version"));
    assert!(single("origin") || !origin_required);
    assert!(listed("upgrade", "websocket") && listed("connection", "upgrade"));
    assert_eq!(request.header("sec-websocket-version"), Some("13"));
    let key = request.header("sec-websocket-key").unwrap_or_default();
    assert_eq!(BASE64.decode(key).map(|key| key.len()), Ok(16));
    assert_eq!(token, accept_token(key));
    assert_eq!(BASE64.decode(token).map(|digest| digest.len()), Ok(20));
}

/// One status line, one empty line, and as many bytes as `Content-Length` says: one line of text.
fn a_refusal_is_a_whole_answer(refusal: &Refusal) {
    let response = String::from_utf8(refusal.response()).expect("an answer is text");
    let end = head_end(response.as_bytes()).expect("an answer has a head");
    let (head, body) = response.split_at(end);
    assert!(head.starts_with("HTTP/1.1 4"), "{head:?}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head:?}");
    assert_eq!(body.trim_end_matches('\n').lines().count(), 1);
    assert!(!refusal.text.contains(char::is_control), "{:?}", refusal.text);
}
