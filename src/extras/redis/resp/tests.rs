//! Frames of every kind in every split, what is no frame, what is too large, and how long large ones take.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn decode(pieces: &[&[u8]]) -> Result<Vec<Answer>, String> {
    let mut inbox = Inbox::default();
    let mut answers = Vec::new();
    for piece in pieces {
        inbox.extend(piece);
        while let Some(answer) = inbox.next()? {
            answers.push(answer);
        }
    }
    Ok(answers)
}

fn bytes(text: &'static str) -> Reply {
    Reply::Bytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn every_kind_of_frame_in_any_split() {
    let wire =
        b"+OK\r\n-ERR no\r\n:-12\r\n_\r\n,1.5\r\n#t\r\n#f\r\n(123\r\n$3\r\na\r\n\r\n$0\r\n\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n\
        *0\r\n*2\r\n:1\r\n*1\r\n$1\r\nb\r\n~1\r\n:1\r\n%1\r\n+k\r\n*0\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n\
        |1\r\n+ttl\r\n:3\r\n:7\r\n*2\r\n|1\r\n+a\r\n*0\r\n:1\r\n:2\r\n$-1\r\n*-1\r\n"
            .as_slice();
    let mut expected: Vec<Answer> = [
        Reply::Status("OK".into()),
        Reply::Error("ERR no".into()),
        Reply::Int(-12),
        Reply::Nil,
        Reply::Status("1.5".into()),
        Reply::Int(1),
        Reply::Int(0),
        Reply::Status("123".into()),
        bytes("a\r\n"),
        bytes(""),
        bytes("abc"),
        Reply::Error("ERR x".into()),
        Reply::Array(vec![]),
        Reply::Array(vec![Reply::Int(1), Reply::Array(vec![bytes("b")])]),
        Reply::Array(vec![Reply::Int(1)]),
        Reply::Array(vec![Reply::Status("k".into()), Reply::Array(vec![])]),
        Reply::Nil,
        Reply::Int(7),
        Reply::Array(vec![Reply::Int(1), Reply::Int(2)]),
        Reply::Nil,
        Reply::Nil,
    ]
    .into_iter()
    .map(Answer::Reply)
    .collect();
    expected[16] = Answer::Push(vec![bytes("message"), bytes("c"), bytes("p")]);
    assert_eq!(decode(&[wire]).unwrap(), expected, "at once");
    let single: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(decode(&single).unwrap(), expected, "byte by byte");
    for at in 0..wire.len() {
        assert_eq!(decode(&[&wire[..at], &wire[at..]]).unwrap(), expected, "split at {at}");
        assert!(decode(&[&wire[..at]]).unwrap().len() <= expected.len(), "what is not whole waits");
    }
}

#[test]
fn a_command_decodes_as_what_it_was() {
    let mut out = BytesMut::new();
    let command: [&[u8]; 3] = [b"SET", b"a\r\n", b""];
    encode(&command, &mut out);
    assert!(out.len() <= encoded_len(&command));
    assert_eq!(decode(&[&out]).unwrap(), [Answer::Reply(Reply::Array(vec![bytes("SET"), bytes("a\r\n"), bytes("")]))]);
}

#[test]
fn what_is_no_redis_is_named() {
    for (wire, part) in [
        (b"HTTP/1.1 400 Bad Request".as_slice(), "\"HTTP/1.1\""),
        (b"\x15\x03\x03\x00\x02", "rediss://"),
        (b"\0\x01", "\\x00\\x01"),
        (b"\r\n", "no Redis"),
        (b"*x\r\n", "length"),
        (b"$-2\r\n", "length"),
        (b"$?\r\n", "length"),
        (b":1x\r\n", "integer"),
        (b"#x\r\n", "boolean"),
        (b"+OK\n", "ends wrongly"),
        (b"$1\r\nabc\r\n", "longer"),
        (b"$67108865\r\n", "64 MiB"),
        (b"*99999999999999999999\r\n", "length"),
        (b"%18446744073709551615\r\n", "64 MiB"),
    ] {
        let error = decode(&[wire]).unwrap_err();
        assert!(error.contains(part) && !error.contains(['\r', '\n']), "{error}");
    }
    assert!(decode(&[&b"*1\r\n".repeat(100_000)]).unwrap_err().contains("deep"));
    assert!(decode(&[&b"*1\r\n".repeat(MAX_DEPTH), b":1\r\n"]).is_ok());
    assert!(decode(&[b"+", &[b'x'; MAX_LINE]]).unwrap_err().contains("without an end"));
}

#[test]
fn a_frame_is_bounded_by_what_it_takes_in_memory() {
    let mut small = b"*60000000\r\n".to_vec();
    small.extend(b"_\r\n".repeat(2_000_000));
    assert!(decode(&[&small]).unwrap_err().contains("64 MiB"), "items cost more than their bytes");
    let two = [b"*2\r\n$40000000\r\n".as_slice(), &[b'x'; 40_000_000], b"\r\n", b"$40000000\r\n"];
    assert!(decode(&two).unwrap_err().contains("64 MiB"), "the head of the second is enough");
}

#[test]
fn large_replies_in_small_reads_take_time_in_proportion_to_their_bytes() {
    let length = 16 << 20;
    let mut one = format!("${length}\r\n").into_bytes();
    one.resize(one.len() + length, b'x');
    one.extend_from_slice(b"\r\n");
    let items = length / 16;
    let mut many = format!("*{items}\r\n").into_bytes();
    many.extend(b"$9\r\nabcdefghi\r\n".repeat(items));
    for wire in [one, many] {
        let start = Instant::now();
        let pieces: Vec<&[u8]> = wire.chunks(64 * 1024).collect();
        assert_eq!(decode(&pieces).unwrap().len(), 1);
        let took = start.elapsed();
        println!("{} bytes in {} reads: {took:?}", wire.len(), pieces.len());
        // Reading anew from the start of the frame at every read takes minutes in a debug build.
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_answers_or_one_error_in_any_split(
        wire in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"+-:$*>%|~_#12\r\n".to_vec())], 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(wire.len() + 1);
        prop_assert_eq!(decode(&[&wire]).ok(), decode(&[&wire[..at], &wire[at..]]).ok());
    }
}
