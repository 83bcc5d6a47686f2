//! What is too fast waits for its `next`: a sender beyond its rate, and one whose receiver is full. Time is what the test
//! says.

use std::time::{Duration, Instant};

use phpws::resources::{ResourcePhp, ResourceWeb};
use phpws::testing::Harness;
use phpws::{Delivery, Limits, Message, Outcome, Resource, Server, SocketId, To};
use proptest::prelude::*;

use crate::util::http::metric;
use crate::util::lab::{ready_over, reset};
use crate::util::{NEXT, Phpws, masked};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn web(limits: Limits) -> Harness {
    let mut harness = Harness::with_limits(Limits { ping_interval: Duration::ZERO, ..limits });
    harness.register("/web", ResourceWeb);
    harness
}

fn rates(messages: u32, bytes: u32) -> Limits {
    Limits { max_message_rate: messages, max_byte_rate: bytes, ..Limits::default() }
}

/// A client sends a message and waits for its `next`; how long that took.
fn round(harness: &mut Harness, client: SocketId, frames: &[u8]) -> Duration {
    harness.feed(client, frames);
    let mut waited = Duration::ZERO;
    loop {
        assert!(!harness.is_closed(client), "it waits for its next");
        match &harness.texts(client)[..] {
            [] => {}
            texts => {
                assert_eq!(texts, [NEXT]);
                return waited;
            }
        }
        harness.advance(MS);
        waited += MS;
        assert!(waited < 10_000 * SECOND, "next never comes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Messages in one frame or in three, chunks, and pings before and between them, after pauses of any length.
    #[test]
    fn a_client_that_waits_for_its_next_is_never_closed_and_keeps_to_the_rate(
        messages in 1..50_u32,
        bytes in prop::sample::select(vec![0_u32, 1000, 100_000]),
        sent in prop::collection::vec((0..4_u8, 0..100_u64, 0..3000_usize), 1..150),
    ) {
        let limits = rates(messages, bytes);
        let mut harness = web(Limits { message_timeout: SECOND, idle_timeout: SECOND, ..limits });
        let client = harness.connect("/web");
        let (mut time, mut total, mut longest) = (2 * SECOND, 0, 0);
        for (kind, pause, size) in &sent {
            harness.advance(*pause as u32 * MS);
            let text = "1".repeat(*size);
            let (first, rest) = text.split_at(size / 2);
            let frames = match kind {
                0 => masked(true, 1, text.as_bytes()),
                1 => [masked(false, 1, first.as_bytes()), masked(true, 9, b"p"), masked(true, 0, rest.as_bytes())].concat(),
                2 => masked(true, 1, b"bufferON"),
                _ => [masked(true, 9, b""), masked(true, 1, b"bufferOFF")].concat(),
            };
            time += *pause as u32 * MS + round(&mut harness, client, &frames);
            total += frames.len();
            longest = longest.max(frames.len());
        }
        let most = |each_second: u32| f64::from(each_second) * time.as_secs_f64() + 1.0;
        prop_assert!(sent.len() as f64 <= most(messages), "{} in {time:?}", sent.len());
        prop_assert!(bytes == 0 || (total - longest) as f64 <= most(bytes), "{total} in {time:?}");
    }
}

/// Sends so many messages each tenth of a second without waiting for `next`; how many were answered, and whether it was
/// closed.
fn flood(each_second: usize, tenths: usize, limits: Limits) -> (usize, bool) {
    let mut harness = web(limits);
    let client = harness.connect("/web");
    let (mut answered, frames) = (0, masked(true, 1, b"{}").repeat(each_second / 10));
    for _ in 0..tenths {
        harness.feed(client, &frames);
        harness.advance(100 * MS);
        let texts = harness.texts(client);
        if texts.iter().any(|text| text.contains("Too many messages")) {
            return (answered, true);
        }
        answered += texts.len();
    }
    (answered, false)
}

#[test]
fn who_goes_on_without_waiting_is_slowed_down_and_at_far_more_than_ten_times_the_rate_closed() {
    for times in [1, 3, 8] {
        let (answered, closed) = flood(10 * times, 600, rates(10, 0));
        assert!(!closed && (590..=620).contains(&answered), "{times} times: {answered}, {closed}");
    }
    for times in [20, 1000] {
        let (answered, closed) = flood(10 * times, 600, rates(10, 0));
        assert!(closed && answered <= 600, "{times} times: {answered}, {closed}");
    }
    let (answered, closed) = flood(300, 600, rates(0, 1600));
    assert!(!closed && (9000..=13_000).contains(&answered), "bytes: {answered}");
    assert!(flood(10_000, 600, rates(0, 160)).1);
}

#[test]
fn a_page_that_draws_is_not_held_up_at_its_rate_and_slowed_down_at_less() {
    for (rate, least) in [(60, 0), (20, 2)] {
        let mut harness = web(rates(rate, 0));
        let client = harness.connect("/web");
        let mut waited = Duration::ZERO;
        for _ in 0..60 * 3 {
            harness.advance(17 * MS);
            waited += round(&mut harness, client, &masked(true, 1, br#"{"opcode":"draw","x":1,"y":2}"#));
        }
        assert!(waited >= least * SECOND && waited <= 2 * least * SECOND, "{waited:?} at {rate} a second");
    }
}

#[test]
fn an_office_behind_one_address_is_served() {
    for limits in [Limits::default(), rates(60, 0)] {
        let mut harness = web(limits);
        let people: Vec<SocketId> = (0..500).map(|_| harness.connect("/web")).collect();
        for _ in 0..20 {
            harness.advance(20 * MS);
            for person in &people {
                harness.send(*person, r#"{"opcode":"none"}"#);
            }
            assert!(people.iter().all(|person| harness.texts(*person) == [NEXT]));
        }
    }
}

/// A message of more bytes than a bucket holds comes in pieces, and takes longer than any clock of the connection.
#[test]
fn the_clocks_of_a_client_that_is_held_back_stand_still() {
    let limits = Limits { message_timeout: SECOND, idle_timeout: SECOND, ..rates(0, 10_000) };
    let mut harness = Harness::with_limits(Limits { ping_interval: SECOND, ..limits });
    harness.register("/web", ResourceWeb);
    let client = harness.connect("/web");
    let frame = masked(true, 1, &[b'1'; 999_986]);
    let mut frames = Vec::new();
    for (at, piece) in frame.chunks(100_000).enumerate() {
        harness.feed(client, piece);
        for _ in 0..if at == 0 { 80 } else { 100 } {
            harness.advance(100 * MS);
            frames.extend(harness.frames(client));
        }
    }
    assert!(!harness.is_closed(client));
    let count = |wanted: u8| frames.iter().filter(|(opcode, _)| *opcode == wanted).count();
    assert_eq!(count(1), 1, "next");
    assert!(count(9) > 90, "{} pings", count(9));
}

#[test]
fn a_rest_ends_with_its_connection() {
    let mut harness = web(rates(0, 100));
    let client = harness.connect("/web");
    harness.feed(client, &masked(true, 1, &[b'1'; 2000]));
    harness.feed(client, &masked(true, 8, &[]));
    let server = harness.server();
    server.close(client);
    harness.turn();
    assert!(harness.is_closed(client) && harness.server().client(client).is_none());
}

#[test]
fn who_is_held_back_is_counted_answers_pings_and_may_break() {
    let server = Phpws::start(&["--max-message-rate", "10", "--ping-interval", "0"]);
    let stream = server.connect_from([127, 0, 0, 1]);
    let (mut fast, _) = ready_over(stream.try_clone().unwrap(), "/web", "");
    fast.send(&[masked(true, 1, b"{}").repeat(60), masked(true, 9, b"ping")].concat());
    let opcodes: Vec<u8> = (0..21).map(|_| fast.frame().unwrap().opcode).collect();
    assert_eq!(opcodes.iter().filter(|opcode| **opcode == 10).count(), 1, "the ping stands behind what waits");
    assert!(metric(&server, "phpws_paced_total") >= 1.0);
    // A reset is noticed while four seconds' worth wait.
    let start = Instant::now();
    drop(fast);
    reset(stream);
    server.log_line("Client disconnected by Server - TCP connection lost");
    assert!(start.elapsed() < SECOND);
}

const TO_TILL: &str = r#"{"opcode":"feedback","ident":"till"}"#;

/// A server with a backend that is served a frame at a time, for which as much waits as feedback may fill.
fn full_till(php_pause: Duration) -> (Harness, SocketId) {
    let mut harness = web(Limits { max_outbox: 20_000, php_pause, ..Limits::default() });
    harness.register("/php", ResourcePhp);
    harness.register("/tell", Tell::default());
    let till = harness.connect_with("/php", "Client-Type: php\r\nIdent: till\r\n");
    let page = harness.connect("/web");
    // Each costs its 36 bytes and 64 more.
    for _ in 0..101 {
        harness.send(page, TO_TILL);
        assert_eq!(harness.texts(page), [NEXT]);
    }
    (harness, till)
}

/// Tells a client what became of what was sent to the till for it.
#[derive(Default)]
struct Tell(Option<SocketId>);

impl Resource for Tell {
    fn on_data(&mut self, server: &mut Server, id: SocketId, _message: Message<'_>) {
        self.0 = Some(id);
        server.send_and_tell(Delivery::new(To::Name { uuid: "", ident: "till" }, "{}"), 7);
    }

    fn on_sent(&mut self, server: &mut Server, number: u64, outcome: &Outcome) {
        let told = format!("{number}: failed {}, {}", outcome.failed, outcome.error.as_deref().unwrap_or_default());
        server.write(self.0.unwrap(), &told);
    }
}

#[test]
fn feedback_for_somebody_who_is_full_waits_until_there_is_room() {
    let (mut harness, till) = full_till(10 * MS);
    let (page, other) = (harness.connect("/web"), harness.connect("/web"));
    harness.feed(page, &[masked(true, 1, TO_TILL.as_bytes()), masked(true, 9, b"p"), masked(true, 1, b"{}")].concat());
    harness.send(page, "bufferON");
    assert_eq!(harness.frames(page), [(10, b"p".to_vec())], "what is behind it waits too, but for the ping");
    for message in ["{}", r#"{"opcode":"feedback","ident":"nobody"}"#, r#"{"opcode":"broadcast"}"#] {
        harness.send(other, message);
        assert_eq!(harness.texts(other), [NEXT], "others don't wait");
    }
    let (mut waited, mut answered) = (Duration::ZERO, 0);
    harness.texts(till);
    while answered < 3 {
        harness.advance(5 * MS);
        waited += 5 * MS;
        answered += harness.texts(page).iter().filter(|text| *text == NEXT).count();
    }
    assert!((10 * MS..100 * MS).contains(&waited), "{waited:?}");
    assert!(!harness.texts(till).is_empty());
}

#[test]
fn feedback_in_chunks_waits_with_the_last_one() {
    let (mut harness, _) = full_till(10 * MS);
    let page = harness.connect("/web");
    for (message, nexts) in [("bufferON", 1), (&TO_TILL[..9], 1), (&TO_TILL[9..], 1), ("bufferOFF", 0)] {
        harness.send(page, message);
        assert_eq!(harness.texts(page).len(), nexts, "{message}");
    }
    (0..10).for_each(|_| harness.advance(15 * MS));
    assert_eq!(harness.texts(page), [NEXT]);
}

#[test]
fn feedback_for_somebody_who_stays_full_is_dropped_after_a_second_and_the_sender_told() {
    let (mut harness, till) = full_till(10_000 * SECOND);
    let (page, tell) = (harness.connect("/web"), harness.connect("/tell"));
    harness.send(tell, "x");
    let told = "7: failed 1, too much waits for the client: it reads too slowly";
    assert_eq!(harness.texts(tell), [NEXT, told], "an application is told at once");
    let receipt = r#"{"opcode":"feedback","ident":"till","receipt":1}"#;
    let frame = masked(true, 1, receipt.as_bytes());
    harness.feed(page, &frame.repeat(5));
    for _ in 0..5 {
        let mut waited = Duration::ZERO;
        let texts = loop {
            harness.advance(5 * MS);
            waited += 5 * MS;
            match harness.texts(page) {
                texts if texts.is_empty() => assert!(waited < 2 * SECOND),
                texts => break texts,
            }
        };
        assert!(waited >= SECOND && waited <= SECOND + 50 * MS, "{waited:?}");
        assert!(texts.len() == 2 && texts[0] == NEXT && texts[1].contains(r#""failed":1"#), "{texts:?}");
    }
    harness.send(page, "{}");
    assert_eq!(harness.texts(page), [NEXT]);
    assert!(!harness.is_closed(till));
}

#[test]
fn raw_clients_and_backends_wait_like_pages() {
    let (mut harness, _) = full_till(10_000 * SECOND);
    let (raw, backend) = (harness.open(), harness.connect_with("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n"));
    harness.feed(raw, b"php process\nGET /php HTTP/1.1\n");
    harness.discard(raw);
    harness.discard(backend);
    harness.feed(raw, format!("{TO_TILL}{TO_TILL}{{}}").as_bytes());
    harness.send(backend, TO_TILL);
    assert_eq!((harness.discard(raw), harness.discard(backend)), (0, 0));
    (0..70).for_each(|_| harness.advance(15 * MS));
    assert_eq!((harness.discard(raw), harness.discard(backend)), (NEXT.len(), NEXT.len() + 2));
    (0..70).for_each(|_| harness.advance(15 * MS));
    assert_eq!(harness.discard(raw), 2 * NEXT.len());
}

#[test]
fn many_senders_together_do_not_close_a_receiver_and_none_of_them_waits_longer() {
    let (mut harness, till) = full_till(10 * MS);
    let pages: Vec<SocketId> = (0..60).map(|_| harness.connect("/web")).collect();
    let small = r#"{"opcode":"feedback","ident":"till","receipt":1}"#;
    let large = format!(r#"{{"opcode":"feedback","ident":"till","receipt":1,"m":"{}"}}"#, "x".repeat(7000));
    for (at, page) in pages.iter().enumerate() {
        let text = if at % 10 == 0 { &large } else { small };
        harness.feed(*page, &masked(true, 1, text.as_bytes()).repeat(5));
    }
    let (mut delivered, mut failed) = (0, 0);
    for round in 0..600 {
        harness.advance(10 * MS);
        // Its own messages are answered meanwhile.
        harness.send(till, "{}");
        assert!(!harness.is_closed(till), "in round {round}");
        for page in &pages {
            for text in harness.texts(*page) {
                failed += usize::from(text.contains(r#""failed":1"#));
                delivered += usize::from(text.contains(r#""queued":1"#));
            }
        }
    }
    assert_eq!(delivered + failed, 300, "{delivered} {failed}");
    assert!(delivered > 100 && failed > 0, "{delivered} {failed}");
}
