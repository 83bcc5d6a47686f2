//! Publishing over HTTP: where a body ends, and what becomes of the JSON in it.
//!
//! An input is a [plan](pieces::plan), and then a request's head and body, or JSON alone.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use phpws::http::body::{Body, BodyError, Framing};
use phpws::http::members as json;
use phpws::rfc6455::Request;
use phpws::rfc6455::handshake::head_end;
use phpws::{Message, Packet};
use serde_json::Value;

const LIMITS: [usize; 4] = [0, 7, 100, 5 * 1024 * 1024];

fuzz_target!(|data: &[u8]| {
    let Some((plan, input)) = pieces::plan(data) else { return };
    a_body_checks_out_as_json(input);
    let Some(end) = head_end(input) else { return };
    let Ok(request) = Request::parse(&input[..end]) else { return };
    let Ok(framing) = Framing::of(&request) else { return };
    one_way_to_say_it(&request, framing);
    let limit = LIMITS[usize::from(plan.mode) % LIMITS.len()];
    let read = |pieces: &[&[u8]]| read(framing, limit, pieces);
    let rest = &input[end..];
    let whole = read(&[rest]);
    assert_eq!(whole, read(&rest.chunks(1).collect::<Vec<_>>()), "byte by byte");
    assert_eq!(whole, read(&plan.pieces(rest)), "in pieces of {plan:?}");
    if let Ok(Some((body, used))) = &whole {
        assert!(body.len() <= limit && body.len() <= *used && *used <= rest.len());
        let alone = read(&[&rest[..*used]]);
        assert_eq!(alone, whole, "what follows has no say");
        if framing == Framing::Chunked {
            the_lines_between_are_clean(&rest[..*used]);
        }
    }
});

/// The chunks are read once more: no line between them, and no trailer, has a character that ends a line elsewhere.
fn the_lines_between_are_clean(mut rest: &[u8]) {
    let mut trailers = false;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line ends");
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        assert!(line.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{line:?}");
        rest = behind;
        if trailers {
            if line.is_empty() {
                return assert!(behind.is_empty());
            }
            assert!(line.contains(&b':') && !line.starts_with(b":"), "{line:?}");
            continue;
        }
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match size.expect("a size") {
            0 => trailers = true,
            size => {
                assert!(behind[size..].starts_with(b"\r\n"));
                rest = &behind[size + 2..];
            }
        }
    }
}

type Outcome = Result<Option<(Vec<u8>, usize)>, BodyError>;

/// A whole body and what it took, `None` where more would have to come.
fn read(framing: Framing, limit: usize, pieces: &[&[u8]]) -> Outcome {
    let mut body = Body::new(framing, limit)?;
    let mut used = 0;
    for piece in pieces {
        used += body.feed(piece)?;
    }
    Ok(body.is_done().then(|| (body.into_bytes(), used)))
}

/// A request with a framing has no field that says something else.
fn one_way_to_say_it(request: &Request, framing: Framing) {
    let has = |name: &str| request.headers().any(|(field, _)| field.eq_ignore_ascii_case(name));
    match framing {
        Framing::None => assert!(!has("content-length") && !has("transfer-encoding")),
        Framing::Length(_) => assert!(has("content-length") && !has("transfer-encoding")),
        Framing::Chunked => assert!(!has("content-length") && !request.is_http_1_0()),
    }
    assert!(request.headers().filter(|(field, _)| field.eq_ignore_ascii_case("host")).count() <= 1);
}

/// What is taken is a packet for every receiver, with the value that was sent in it.
fn a_body_checks_out_as_json(bytes: &[u8]) {
    let as_message = std::str::from_utf8(bytes).is_ok_and(|text| Packet::parse(Message::Text(text)).is_ok());
    match json::check(bytes) {
        Err(fault) => {
            assert!(!as_message, "{fault}");
            assert_eq!(fault.to_string().lines().count(), 1);
        }
        Ok(text) => {
            assert!(as_message);
            the_packet_holds_the_value(text);
            let _ = json::list(text);
        }
    }
}

fn the_packet_holds_the_value(text: &str) {
    let packet = json::packet(text, "feedback", Some(("uuid", "u")));
    let Ok(packet) = Packet::parse(Message::Text(&packet)) else {
        return assert!(text.len() > 1000, "only depth can be too much: {packet}");
    };
    let (Ok(made), Ok(given)) = (packet.value(), Packet::parse(Message::Text(text)).and_then(|given| given.value())) else { return };
    match given {
        Value::Object(members) => {
            for (name, value) in &members {
                assert_eq!(&made[name], value, "{text}");
            }
            assert!(members.contains_key("opcode") || made["opcode"] == "feedback");
            assert!(members.contains_key("opcode") || members.contains_key("uuid") || made["uuid"] == "u");
        }
        other => assert_eq!((&made["message"], &made["uuid"]), (&other, &Value::from("u"))),
    }
}
