//! The raw dialect: its greeting, and its messages, which end where their JSON ends.
//!
//! An input is a [plan](pieces::plan), whose first byte chooses the limit, and then a client's bytes.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use phpws::raw::{GREETING, Greeting, RawInbox, TooBig, greeting};
use pieces::Plan;
use serde_json::value::RawValue;

const LIMITS: [usize; 8] = [0, 1, 2, 7, 8, 100, 1000, 5 * 1024 * 1024];
const NO_LIMIT: usize = usize::MAX;

/// The messages that came, and whether one was too big at last.
type Seen = (Vec<Vec<u8>>, Option<TooBig>);

fuzz_target!(|data: &[u8]| {
    let Some((plan, bytes)) = pieces::plan(data) else { return };
    let limit = LIMITS[usize::from(plan.mode) % LIMITS.len()];
    let cut = plan.pieces(bytes);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();

    a_greeting_does_not_change_its_mind(bytes);
    let greeted = [GREETING, bytes].concat();
    a_greeting_does_not_change_its_mind(&greeted);

    let whole = feed(limit, &[bytes]);
    nothing_is_lost(&whole, bytes, limit);
    for reads in [&cut, &single] {
        nothing_is_lost(&feed(limit, reads), bytes, limit);
    }
    // A bare word ends with its read; all else ends where it ends, however it came.
    if feed(NO_LIMIT, &[bytes]).0.iter().all(|message| has_an_end_of_its_own(message)) {
        assert_eq!(feed(limit, &cut), whole, "in pieces of {plan:?}");
        assert_eq!(feed(limit, &single), whole, "byte by byte");
    }
    json_values_are_messages(bytes, &plan);
    chunks_are_reads(bytes);
    a_conversation_ends(limit, &cut);
    a_conversation_ends(limit, &[bytes]);
    a_document_in_chunks_arrives(bytes, &cut);
});

/// What is said of the first bytes holds when more come.
fn a_greeting_does_not_change_its_mind(bytes: &[u8]) {
    let whole = greeting(bytes);
    if let Greeting::Complete(path, end) = &whole {
        assert!(bytes.starts_with(GREETING) && (GREETING.len()..=bytes.len()).contains(end));
        assert!(path.is_none_or(|path| !path.contains(|c: char| c == '?' || c.is_ascii_whitespace())));
    }
    if whole == Greeting::Incomplete {
        let line = bytes.get(GREETING.len()..).unwrap_or_default().to_ascii_uppercase();
        assert!(!line.contains(&b'\n') && (line.starts_with(b"GET ") || b"GET ".starts_with(&line)), "{line:?} may go on");
    }
    for cut in (0..bytes.len()).take(80) {
        match (greeting(&bytes[..cut]), &whole) {
            (Greeting::Incomplete, _) | (Greeting::Other, Greeting::Other) => {}
            // No resource is named: all that came belongs to the greeting.
            (Greeting::Complete(None, end), Greeting::Complete(None, _)) if end == cut => {}
            (Greeting::Complete(path, end), Greeting::Complete(same, at)) if path == *same && end == *at => {}
            (early, late) => panic!("{early:?} at {cut}, later {late:?}"),
        }
    }
}

/// The messages in these reads, up to the first that is too big.
fn feed(limit: usize, reads: &[&[u8]]) -> Seen {
    let mut inbox = RawInbox::new(limit);
    let mut messages = Vec::new();
    for mut input in reads.iter().copied() {
        loop {
            let before = (input.len(), inbox.is_mid_message());
            match inbox.next_message(&mut input, false) {
                Ok(Some(message)) => {
                    assert!(!message.is_empty() && message.len() <= limit);
                    assert!((input.len(), false) < before, "no headway at {input:?}");
                    assert!(!inbox.is_mid_message());
                    messages.push(message);
                }
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.is_empty(), "bytes left over");
    }
    (messages, None)
}

/// But for white space, the messages are the bytes in their order.
fn nothing_is_lost((messages, error): &Seen, bytes: &[u8], limit: usize) {
    let dense = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect() };
    let (read, all) = (dense(&messages.concat()), dense(bytes));
    assert!(all.starts_with(&read));
    assert!(error.is_none() || bytes.len() > limit, "too big within {limit}");
}

/// Not so a number or another bare word. The beginning of a control string waits for its rest.
fn has_an_end_of_its_own(message: &[u8]) -> bool {
    matches!(message[0], b'{' | b'[' | b'"') || b"bufferON".starts_with(message) || b"bufferOFF".starts_with(message)
}

/// A read of JSON values, as `serde_json` finds them, gives exactly these. Those with an end of their own
/// need nothing between them, and a control string needs nothing around it.
fn json_values_are_messages(bytes: &[u8], plan: &Plan) {
    let stream = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    let Ok(values) = stream.collect::<Result<Vec<_>, _>>() else { return };
    let values: Vec<&[u8]> = values.into_iter().map(|value| value.get().as_bytes()).collect();
    assert_eq!(feed(NO_LIMIT, &[bytes]).0, values);
    if values.iter().all(|value| has_an_end_of_its_own(value)) {
        let between = values.iter().flat_map(|value| [value, &b"bufferOFF"[..], b"bufferON", b"bufferON", b"bufferOFF"]);
        let expected: Vec<&[u8]> = between.collect();
        assert_eq!(feed(NO_LIMIT, &[&expected.concat()]).0, expected);
        assert_eq!(feed(NO_LIMIT, &plan.pieces(&expected.concat())).0, expected);
    }
}

/// Between `bufferON` and `bufferOFF`: a read is a chunk, but for a `bufferOFF` behind the end of JSON.
fn chunks_are_reads(bytes: &[u8]) {
    let mut inbox = RawInbox::new(0);
    let mut input = bytes;
    let mut chunks = Vec::new();
    while let Ok(Some(chunk)) = inbox.next_message(&mut input, true) {
        assert!(!chunk.is_empty());
        chunks.push(chunk);
    }
    assert!(input.is_empty() && !inbox.is_mid_message());
    assert_eq!(chunks.concat(), bytes);
    match &chunks[..] {
        [] | [_] => {}
        [json, off] => assert!(off == b"bufferOFF" && json.ends_with(b"}") | json.ends_with(b"]")),
        _ => panic!("{} chunks of one read", chunks.len()),
    }
}

/// Reads as the server takes them, where the messages themselves switch buffering on and off.
fn a_conversation_ends(limit: usize, reads: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut inbox = RawInbox::new(limit);
    let mut buffer: Option<Vec<u8>> = None;
    let mut delivered = Vec::new();
    for mut input in reads.iter().copied() {
        let mut turns = 0..=2 * input.len() + 1;
        loop {
            turns.next().expect("no end of one read");
            match (inbox.next_message(&mut input, buffer.is_some()), &mut buffer) {
                (Ok(Some(message)), _) if message == b"bufferON" => buffer = Some(Vec::new()),
                (Ok(Some(message)), _) if message == b"bufferOFF" => delivered.push(buffer.take().unwrap_or_default()),
                (Ok(Some(chunk)), Some(buffer)) => buffer.extend(chunk),
                (Ok(Some(message)), None) => delivered.push(message),
                (Ok(None), _) => break,
                (Err(TooBig), _) => return delivered,
            }
        }
    }
    delivered
}

/// A document between `bufferON` and `bufferOFF` is delivered as it was, in whatever chunks it came,
/// also when `bufferOFF` comes in one read with its end.
fn a_document_in_chunks_arrives(document: &[u8], chunks: &[&[u8]]) {
    if !matches!(document, [b'{' | b'[', .., b'}' | b']']) || document.windows(6).any(|window| window == b"buffer") {
        return;
    }
    let apart = [&[&b"bufferON"[..]], chunks, &[b"bufferOFF"]].concat();
    assert_eq!(a_conversation_ends(NO_LIMIT, &apart), [document]);
    let (last, others) = chunks.split_last().expect("one chunk at least");
    if !last.is_empty() {
        let last = [last, &b"bufferOFF"[..]].concat();
        let together = [&[&b"bufferON"[..]], others, &[&last]].concat();
        assert_eq!(a_conversation_ends(NO_LIMIT, &together), [document]);
    }
}
