//! The codec without sockets: whole, byte by byte, with a tail, and split anywhere.

use crate::util::masked;
use phpws::rfc6455::handshake::{accept_token, head_end, switching_protocols_for_php};
use phpws::rfc6455::{CloseCode, Event, Inbox, Opcode, ProtocolError, Request};
use proptest::prelude::*;

/// An event without its borrow.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(ProtocolError),
}

const MAX: usize = 70_000;

/// What an inbox says to bytes that come in these pieces.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut inbox = Inbox::new(MAX);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match inbox.next_event(&mut input) {
                Ok(None) => break,
                Ok(Some(event)) => seen.push(match event {
                    Event::Text(text) => Seen::Text(text.to_owned()),
                    Event::Binary(data) => Seen::Binary(data.to_vec()),
                    Event::Collected(Opcode::Text, text) => Seen::Text(String::from_utf8(text).unwrap()),
                    Event::Collected(_, data) => Seen::Binary(data),
                    Event::Ping(data) => Seen::Ping(data),
                    Event::Pong(data) => Seen::Pong(data),
                    Event::Close(code, reason) => Seen::Close(code.map(|code| code.0), reason),
                }),
                Err(error) => seen.push(Seen::Failed(error)),
            }
        }
        assert!(input.is_empty());
    }
    seen
}

/// The same where the bytes are read to their places, as far as the inbox has room for them.
fn feed_in_place(mut bytes: &[u8], max_message: usize, piece: usize) -> (Vec<Event<'static>>, usize) {
    let mut inbox = Inbox::new(max_message);
    let (mut seen, mut in_place) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let mut given = Vec::new();
        let (now, rest) = match inbox.room(piece) {
            Some(room) => {
                let (now, rest) = bytes.split_at(room.len().min(bytes.len()));
                room[..now.len()].copy_from_slice(now);
                inbox.filled(now.len());
                in_place += now.len();
                (now, rest)
            }
            None => {
                let (now, rest) = bytes.split_at(piece.min(bytes.len()));
                given.extend_from_slice(now);
                (now, rest)
            }
        };
        bytes = rest;
        assert!(inbox.arrived() == 0 || inbox.arrived() == now.len());
        let mut input = &mut given[..];
        while let Some(event) = inbox.next_event(&mut input).unwrap() {
            match event {
                Event::Collected(opcode, data) => seen.push(Event::Collected(opcode, data)),
                Event::Ping(data) => seen.push(Event::Ping(data)),
                other => panic!("{other:?} was to be in pieces"),
            }
        }
        assert!(input.is_empty() && inbox.arrived() == 0);
    }
    (seen, in_place)
}

/// Feeds whole, byte by byte, and in two parts at every place; all must say the same.
fn every_way(bytes: &[u8]) -> Vec<Seen> {
    let whole = feed([bytes]);
    assert_eq!(feed(bytes.chunks(1)), whole, "byte by byte");
    for at in (0..bytes.len().min(300)).chain(bytes.len().saturating_sub(50)..bytes.len()) {
        assert_eq!(feed([&bytes[..at], &bytes[at..]]), whole, "in two at {at}");
    }
    whole
}

#[test]
fn the_rest_of_a_large_message_is_read_to_its_place() {
    let message = "na\u{ef}ve \u{1f980} ".repeat(40_000);
    let (one, two) = message.split_at(message.len() / 2);
    let mut bytes = masked(true, 1, message.as_bytes());
    bytes.extend(masked(false, 1, one.as_bytes()));
    bytes.extend(masked(true, 9, b"between"));
    bytes.extend(masked(true, 0, two.as_bytes()));
    bytes.extend(masked(true, 2, message.as_bytes()));
    let whole = |opcode| Event::Collected(opcode, message.clone().into());
    let expected = [whole(Opcode::Text), Event::Ping(b"between".into()), whole(Opcode::Text), whole(Opcode::Binary)];
    for piece in [65_536, 65_537, 100_001, 262_144] {
        let (seen, in_place) = feed_in_place(&bytes, message.len(), piece);
        assert!(seen == expected, "{piece}");
        assert!(in_place > bytes.len() / 4, "only {in_place} of {} bytes by pieces of {piece}", bytes.len());
    }
}

#[test]
fn who_has_sent_little_gets_little_room() {
    let bytes = masked(true, 1, &[b'x'; 1 << 20]);
    let mut inbox = Inbox::new(1 << 20);
    let mut sent = 0;
    while sent < bytes.len() / 2 {
        let mut piece = bytes[sent..sent + 1000].to_vec();
        assert_eq!(inbox.next_event(&mut &mut piece[..]).unwrap(), None);
        sent += 1000;
        assert!(inbox.room(1 << 20).map_or(0, |room| room.len()) <= 4 * sent);
    }
    assert!(inbox.room(1 << 20).is_some());
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

#[test]
fn messages_of_every_length_form_arrive() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let message = "x".repeat(len);
        assert_eq!(every_way(&masked(true, 1, message.as_bytes())), [text(&message)], "{len}");
        assert_eq!(every_way(&masked(true, 2, message.as_bytes())), [Seen::Binary(message.into())], "{len}");
    }
}

#[test]
fn fragments_become_one_message_and_control_frames_come_between() {
    let mut bytes = masked(false, 1, "gr\u{fc}".as_bytes());
    bytes.extend(masked(true, 9, b"there?"));
    bytes.extend(masked(false, 0, b""));
    bytes.extend(masked(true, 10, b"yes"));
    bytes.extend(masked(true, 0, "\u{df}e".as_bytes()));
    bytes.extend(masked(true, 1, b"next"));
    let expected = [Seen::Ping(b"there?".into()), Seen::Pong(b"yes".into()), text("gr\u{fc}\u{df}e"), text("next")];
    assert_eq!(every_way(&bytes), expected);
}

#[test]
fn a_character_may_be_cut_by_fragments() {
    let bytes = "\u{1f600}".as_bytes();
    let mut frames = masked(false, 1, &bytes[..1]);
    frames.extend(masked(false, 0, &bytes[1..3]));
    frames.extend(masked(true, 0, &bytes[3..]));
    assert_eq!(every_way(&frames), [text("\u{1f600}")]);
}

#[test]
fn an_unfinished_message_is_no_event() {
    let mut bytes = masked(true, 1, b"whole");
    bytes.extend(&masked(true, 1, b"the tail is missing")[..12]);
    assert_eq!(every_way(&bytes), [text("whole")]);
}

#[test]
fn bad_text_fails_at_its_first_bad_byte() {
    let good = masked(true, 1, b"ok");
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\x80"] {
        let mut bytes = good.clone();
        bytes.extend(masked(true, 1, bad));
        bytes.extend(&good);
        assert_eq!(every_way(&bytes), [text("ok"), Seen::Failed(ProtocolError::InvalidUtf8)], "{bad:?}");
    }
    let truncated = masked(true, 1, b"abc\xe2\x82");
    assert_eq!(every_way(&truncated), [Seen::Failed(ProtocolError::InvalidUtf8)]);
    // Inside an unfinished frame: F4 90 can't become a character.
    let unfinished = &masked(true, 1, b"\xf4\x90\x80\x80")[..8];
    assert_eq!(feed([unfinished]), [Seen::Failed(ProtocolError::InvalidUtf8)]);
}

#[test]
fn the_order_of_fragments_is_checked() {
    assert_eq!(every_way(&masked(true, 0, b"x")), [Seen::Failed(ProtocolError::UnexpectedContinuation)]);
    let mut nested = masked(false, 1, b"a");
    nested.extend(masked(true, 2, b"b"));
    assert_eq!(every_way(&nested), [Seen::Failed(ProtocolError::ExpectedContinuation)]);
}

#[test]
fn a_message_over_the_limit_fails_at_its_header() {
    assert_eq!(feed([&masked(true, 1, &vec![b'x'; MAX + 1])[..14]]), [Seen::Failed(ProtocolError::TooBig)]);
    let mut fragments = masked(false, 2, &vec![b'x'; MAX - 1]);
    fragments.extend(masked(false, 0, b"x"));
    fragments.extend(masked(true, 0, b"x"));
    assert_eq!(feed([&fragments[..]]), [Seen::Failed(ProtocolError::TooBig)]);
}

#[test]
fn close_frames_are_read_and_end_everything() {
    let after = masked(true, 1, b"never seen");
    for (body, seen) in [
        (&b""[..], Seen::Close(None, String::new())),
        (b"\x03\xe8bye", Seen::Close(Some(1000), "bye".into())),
        (b"\x0f\xa0", Seen::Close(Some(4000), String::new())),
        (b"\x03", Seen::Failed(ProtocolError::BadClose)),
        (b"\x03\xed", Seen::Failed(ProtocolError::BadClose)),
        (b"\x03\xe7", Seen::Failed(ProtocolError::BadClose)),
        (b"\x03\xf7", Seen::Failed(ProtocolError::BadClose)),
        (b"\x03\xe8\xff", Seen::Failed(ProtocolError::InvalidUtf8)),
    ] {
        let mut bytes = masked(true, 8, body);
        bytes.extend(&after);
        assert_eq!(every_way(&bytes), [seen], "{body:?}");
    }
}

#[test]
fn every_code_a_peer_may_send_is_in_the_registry() {
    let allowed: Vec<u16> = (0..=5000).filter(|code| CloseCode(*code).may_be_received()).collect();
    let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
    assert_eq!(allowed, expected);
}

#[test]
fn the_accept_token_is_the_one_of_the_rfc() {
    assert_eq!(accept_token("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn the_101_for_php_fills_one_read_exactly() {
    let response = switching_protocols_for_php("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.len(), 1024);
    assert_eq!(head_end(&response), Some(1024));
}

#[test]
fn a_head_ends_at_its_empty_line_and_not_before() {
    let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\ntail";
    assert_eq!(head_end(head), Some(head.len() - 4));
    for cut in 0..head.len() - 4 {
        assert_eq!(head_end(&head[..cut]), None);
    }
}

#[test]
fn a_request_shows_its_parts() {
    let request =
        Request::parse(b"GET /web?user=7&x HTTP/1.1\r\nCookie: a=1; PHPSESSID=q w\r\nCOOKIE: b=2\r\nIdent:  me \r\n\r\n")
            .unwrap();
    assert_eq!((request.method(), request.path(), request.query()), ("GET", "/web", "user=7&x"));
    assert_eq!(request.header("IDENT"), Some("me"));
    assert_eq!(request.header("none"), None);
    assert_eq!(request.cookie("PHPSESSID"), Some("q w"));
    assert_eq!((request.cookie("b"), request.cookie("c")), (Some("2"), None));
    assert_eq!(request.headers().count(), 3);
    for (target, path) in [("ws://h:1/web?a=/b", "/web"), ("http://h?next=/a", "/"), ("ws://h", "/"), ("/x?u=ws://h/y", "/x")] {
        let request = Request::parse(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(request.path(), path, "{target}");
    }
}

/// A run of valid frames: messages in random fragments with control frames between them.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let message = (any::<bool>(), ".{0,40}", prop::collection::vec(0usize..60, 0..4), prop::option::of(".{0,5}"));
    prop::collection::vec(message, 0..6).prop_map(|messages| {
        let mut bytes = Vec::new();
        for (binary, text, mut cuts, ping) in messages {
            let payload = text.as_bytes();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(payload.len()));
            cuts.sort_unstable();
            cuts.push(payload.len());
            let mut from = 0;
            for (index, cut) in cuts.iter().enumerate() {
                let opcode = if index > 0 { 0 } else { 1 + u8::from(binary) };
                bytes.extend(masked(index + 1 == cuts.len(), opcode, &payload[from..*cut]));
                if let Some(ping) = &ping {
                    bytes.extend(masked(true, 9, ping.as_bytes()));
                }
                from = *cut;
            }
        }
        bytes
    })
}

fn split_anywhere<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut from = 0;
    at.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

proptest! {
    #[test]
    fn any_split_of_good_frames_gives_the_same_events(bytes in conversation(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = feed([&bytes[..]]);
        prop_assert!(!whole.iter().any(|seen| matches!(seen, Seen::Failed(_))));
        prop_assert_eq!(feed(split_anywhere(&bytes, &cuts)), whole);
    }

    #[test]
    fn any_split_of_damaged_frames_gives_the_same_events_and_one_error_at_most(
        mut bytes in conversation(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let whole = feed([&bytes[..]]);
        prop_assert!(whole.iter().filter(|seen| matches!(seen, Seen::Failed(_))).count() <= 1);
        prop_assert_eq!(feed(split_anywhere(&bytes, &cuts)), whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let seen = feed([&bytes[..]]);
        prop_assert!(seen.iter().filter(|seen| matches!(seen, Seen::Failed(_))).count() <= 1);
        let _ = Request::parse(&bytes);
    }
}
