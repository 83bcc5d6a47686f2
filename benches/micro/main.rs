//! Micro-benches of what the server does between `read` and `write`, with no socket in them:
//! nanoseconds for each operation, and bytes per second where bytes are what it costs.
//!
//! `make microbench`; `cargo bench --bench micro -- unmask` runs those that have `unmask` in their name.

#[path = "../samples/mod.rs"]
mod samples;

use std::time::{Duration, Instant};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use phpws::rfc6455::frame::{self, Header};
use phpws::rfc6455::{Inbox, Opcode};
use phpws::{Message, Packet};
use samples::{SHORT, UUID};

const SIZES: [usize; 6] = [16, 20, 125, 4 << 10, 64 << 10, 1 << 20];
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const MAX_MESSAGE: usize = 16 << 20;

fn main() {
    divan::main();
}

/// Measures what is warm: divan judges by the first call how many it must time together.
fn timed<O>(bencher: Bencher, mut operation: impl FnMut() -> O) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2) {
        black_box(operation());
    }
    bencher.bench_local(operation);
}

/// The three forms of a header.
#[divan::bench(args = [20, 1000, 100_000])]
fn header_parse(bencher: Bencher, len: usize) {
    let frame = samples::text(&prose(len, true));
    timed(bencher, || Header::parse(black_box(&frame)));
}

#[divan::bench(args = SIZES)]
fn unmask(bencher: Bencher, len: usize) {
    let mut payload = vec![b'x'; len];
    timed(bencher.counter(BytesCount::new(len)), || frame::unmask(black_box(&mut payload), black_box(MASK)));
}

#[divan::bench(args = SIZES)]
fn utf8_ascii(bencher: Bencher, len: usize) {
    utf8(bencher, &prose(len, true));
}

#[divan::bench(args = SIZES)]
fn utf8_multibyte(bencher: Bencher, len: usize) {
    utf8(bencher, &prose(len, false));
}

/// The check that the inbox does.
fn utf8(bencher: Bencher, text: &str) {
    timed(bencher.counter(BytesCount::of_str(text)), || simdutf8::basic::from_utf8(black_box(text.as_bytes())).is_ok());
}

#[divan::bench(args = SIZES)]
fn inbox_whole(bencher: Bencher, len: usize) {
    inbox(bencher, len, &mut [&mut samples::text(&prose(len, true))]);
}

/// A frame that comes in two reads.
#[divan::bench(args = SIZES)]
fn inbox_split(bencher: Bencher, len: usize) {
    let mut frame = samples::text(&prose(len, true));
    let middle = frame.len() / 2;
    let (first, second) = frame.split_at_mut(middle);
    inbox(bencher, len, &mut [first, second]);
}

/// A message in four fragments that come in one read.
#[divan::bench(args = SIZES)]
fn inbox_fragments(bencher: Bencher, len: usize) {
    inbox(bencher, len, &mut [&mut samples::fragments(&prose(len, true), 4)]);
}

/// Reads of one message, with its one event.
fn inbox(bencher: Bencher, len: usize, reads: &mut [&mut [u8]]) {
    let mut inbox = Inbox::new(MAX_MESSAGE);
    timed(bencher.counter(BytesCount::new(len)), || {
        let mut events = 0;
        for read in reads.iter_mut() {
            let mut input: &mut [u8] = black_box(read);
            while let Ok(Some(event)) = inbox.next_event(&mut input) {
                black_box(event);
                events += 1;
            }
        }
        assert_eq!(events, 1);
    });
}

#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher, len: usize) {
    let payload = vec![b'x'; len];
    let mut out = Vec::with_capacity(len + 10);
    timed(bencher.counter(BytesCount::new(len)), || {
        out.clear();
        frame::encode(Opcode::Text, black_box(&payload), &mut out);
        black_box(&out);
    });
}

/// Messages of 20 bytes, of 300, and the longest that PHP clients send.
#[divan::bench(args = [20, 300, 60_000])]
fn packet_parse(bencher: Bencher, len: usize) {
    let packet = samples::packet("feedback", UUID, len);
    timed(bencher.counter(BytesCount::of_str(&packet)), || Packet::parse(black_box(Message::Text(&packet))).is_ok());
}

/// From the frame of an echo packet to `next` and the answer, taken out of the outbox.
#[divan::bench(args = [20, 300, 60_000])]
fn dialog_echo(bencher: Bencher, len: usize) {
    let (mut server, ids) = samples::with_clients(1);
    let packet = samples::packet("echo", UUID, len);
    let frame = samples::text(&packet);
    timed(bencher.counter(BytesCount::of_str(&packet)), || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard_all() > packet.len());
    });
}

/// The same for feedback from one client to another, among so many.
#[divan::bench(args = [2, 1000, 15_000])]
fn dialog_feedback(bencher: Bencher, clients: usize) {
    let (mut server, ids) = samples::with_clients(clients);
    let uuid = server.server().client(ids[clients / 2]).map(|client| client.uuid().to_string());
    let packet = samples::packet("feedback", &uuid.unwrap_or_default(), SHORT.len());
    let frame = samples::text(&packet);
    timed(bencher, || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard_all() > packet.len());
    });
}

/// A broadcast of 100 bytes to so many receivers and out of their outboxes; items are receivers.
#[divan::bench(args = [10, 1000, 15_000])]
fn broadcast_small(bencher: Bencher, receivers: usize) {
    broadcast(bencher, receivers, 100);
}

/// The same of 4 KiB, which the outboxes share.
#[divan::bench(args = [10, 1000, 15_000])]
fn broadcast_large(bencher: Bencher, receivers: usize) {
    broadcast(bencher, receivers, 4 << 10);
}

fn broadcast(bencher: Bencher, receivers: usize, len: usize) {
    let (mut server, ids) = samples::with_clients(receivers + 1);
    let packet = samples::packet("broadcast", UUID, len);
    let frame = samples::text(&packet);
    timed(bencher.counter(ItemsCount::new(receivers)), || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard_all() > packet.len() * receivers);
    });
}

/// About `len` bytes of text, in characters of one to four bytes unless `ascii`.
fn prose(len: usize, ascii: bool) -> String {
    let sentence = if ascii { "The quick brown fox jumps. " } else { "Grüße, κόσμε, 世界, мир 🙂! " };
    let mut text = sentence.repeat(len.div_ceil(sentence.len()));
    text.truncate(text.floor_char_boundary(len));
    text
}
