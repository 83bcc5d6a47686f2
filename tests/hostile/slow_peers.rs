//! Peers that are slow, stuck, or do not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{MS, SECOND, hardly_slower, in_turns};
use crate::util::lab::{self, Honest, KIB, Lab, MIB, Times, unfinished};
use crate::util::tls::Pair;
use crate::util::waiting::at_best;
use crate::util::{Client, NEXT, json, masked, request};

#[test]
fn slow_peers_are_dropped_by_their_timers_and_disturb_nobody() {
    at_best(slow_peers);
}

fn slow_peers() -> Result<(), String> {
    let lab =
        Lab::start(&["--handshake-timeout", "1.5", "--message-timeout", "1.5", "--close-timeout", "1", "--ping-interval", "0"]);
    let mut honest = Honest(lab.browser());
    let head = request("/web", &format!("X-Long: {}\r\n", "x".repeat(1000)));
    let frame = masked(true, 1, &[b'x'; 100]);
    let attack = || {
        let mut slow_heads: Vec<TcpStream> = (0..200).map(|_| lab.connect()).collect();
        let mut slow_frames: Vec<Client> = (0..200).map(|_| lab.browser()).collect();
        let mut stalled: Vec<Client> = (0..100).map(|_| lab.browser()).collect();
        for client in &mut stalled {
            client.send(&unfinished(1, true, 1000, 10));
        }
        let start = Instant::now();
        for tick in 0..30 {
            // A head a byte every 50 ms, a frame a byte every second.
            for stream in &mut slow_heads {
                let _ = stream.write(&head.as_bytes()[tick..=tick]);
            }
            if tick % 20 == 0 {
                for client in &mut slow_frames {
                    let _ = client.wire.write(&frame[tick / 20..=tick / 20]);
                }
            }
            std::thread::sleep((start + (tick as u32 + 1) * 50 * MS).saturating_duration_since(Instant::now()));
        }
        let mut dropped = [0; 3];
        for mut stream in slow_heads {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            dropped[0] += usize::from(answer.starts_with(b"HTTP/1.1 408 "));
        }
        for (count, clients) in [(1, slow_frames), (2, stalled)] {
            for mut client in clients {
                assert_eq!(json(&client.text(), "error"), "Message took too long");
                client.closed_with(1008);
                dropped[count] += 1;
            }
        }
        (dropped, start.elapsed())
    };
    let (without, with) = in_turns(&mut honest, 3, attack, |(dropped, time)| {
        println!("slow peers: {dropped:?} heads, frames and stalled frames dropped after {time:.1?}");
        assert_eq!(dropped, [200, 200, 100]);
        assert!(time < 3 * SECOND, "the timers are 1.5 s: {time:?}");
    });
    drop(honest);
    lab.wait_until_empty(2 * SECOND);
    hardly_slower("slow peers", without, with)
}

#[test]
fn stalled_tls_handshakes_are_dropped_by_their_timer_and_disturb_nobody() {
    at_best(stalled_tls_handshakes);
}

fn stalled_tls_handshakes() -> Result<(), String> {
    let pair = Pair::new();
    let config = pair.client_config();
    let lab = lab::secure_server(&pair, &["--handshake-timeout", "1", "--ping-interval", "0"]);
    let mut honest = Honest(lab::secure_browser(&lab, &config).unwrap());
    let attack = || {
        let mut stalled: Vec<TcpStream> = (0..100).map(|_| lab.connect()).collect();
        for (number, stream) in stalled.iter_mut().enumerate() {
            let hello = lab::client_hello(&config);
            // One half stalls in its first message, the other leaves the server's answer unread.
            let sent = if number % 2 == 0 { 3 } else { hello.len() };
            stream.write_all(&hello[..sent]).unwrap();
        }
        let start = Instant::now();
        for mut stream in stalled {
            let end = stream.read_to_end(&mut Vec::new());
            assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "not dropped");
        }
        start.elapsed()
    };
    let (without, with) = in_turns(&mut honest, 3, attack, |time| {
        println!("stalled TLS: 100 handshakes dropped after {time:.1?}");
        assert!(time < 3 * SECOND, "the timer is 1 s: {time:?}");
    });
    drop(honest);
    lab.wait_until_empty(2 * SECOND);
    hardly_slower("stalled TLS", without, with)
}

#[test]
fn a_peer_that_stops_reading_is_dropped_alone_and_costs_its_outbox() {
    at_best(a_peer_that_stops_reading);
}

fn a_peer_that_stops_reading() -> Result<(), String> {
    const OUTBOX: usize = MIB;
    const BROADCASTS: usize = 1000;
    let lab = Lab::start(&["--max-outbox", &OUTBOX.to_string(), "--close-timeout", "20", "--ping-interval", "0"]);
    let mut sender = lab.browser();
    let mut readers: Vec<Client> = (0..4).map(|_| lab.browser()).collect();
    let mut honest = Honest(lab.browser());
    let packet = format!(r#"{{"opcode":"broadcast","m":"{}"}}"#, "x".repeat(10_000));
    let mut series = || {
        let mut times = Times::default();
        for _ in 0..BROADCASTS {
            sender.say(&packet);
            for reader in &mut readers {
                assert_eq!(reader.text(), packet);
            }
            times.add(honest.round_trip());
        }
        times
    };
    let (mut without, mut with) = (Times::default(), Times::default());
    // The first series also brings the server's memory to where it stays.
    without.extend(series());
    let before = lab.rss();
    for round in 1..=3 {
        let (mut stuck, _) = lab.narrow("/web", "");
        with.extend(series());
        assert_eq!(lab.log_count("client reads too slowly"), round, "only the peer that does not read is dropped");
        let mut whole = 0;
        let last = loop {
            let frame = stuck.frame().expect("a close frame before the end");
            match frame.opcode {
                8 => break frame,
                _ => assert_eq!(frame.text(), packet),
            }
            whole += 1;
        };
        assert_eq!(last.code(), 1013);
        assert_eq!(stuck.frame(), None);
        println!("stops reading: {whole} of {BROADCASTS} broadcasts arrived whole before the close with 1013");
        without.extend(series());
    }
    let growth = lab.peak_rss().saturating_sub(before);
    println!("stops reading: the server grew by {} KiB, its outbox is {} KiB", growth / KIB, OUTBOX / KIB);
    // What the system holds for the peer is not the process's; a mebibyte is the allocator's.
    assert!(growth <= OUTBOX + MIB, "{growth}");
    hardly_slower("stops reading", without, with)
}

#[test]
fn a_peer_that_never_closes_costs_no_time_on_the_cpu() {
    let lab = Lab::start(&["--close-timeout", "3", "--ping-interval", "0"]);
    let mut clients: Vec<Client> = (0..100).map(|_| lab.browser()).collect();
    let mut honest = Honest(lab.browser());
    for client in &mut clients {
        client.say(r#"{"opcode":"quit"}"#);
        client.closed_with(1000);
    }
    // Their own side stays open: the server waits for its close timeout.
    let share = lab.cpu_share(SECOND);
    println!("100 peers that do not close: CPU {share:.1} % while they are waited for");
    assert!(share < 20.0, "{share}");
    honest.round_trip();
    drop(honest);
    lab.wait_until_empty(3 * SECOND);
}

#[test]
fn messages_back_to_back_are_not_one_long_message() {
    let lab = Lab::start(&["--message-timeout", "1", "--ping-interval", "0"]);
    let mut client = lab.browser();
    let message = masked(true, 1, format!(r#"{{"m":"{}"}}"#, "x".repeat(1000)).as_bytes());
    let (head, tail) = message.split_at(500);
    // At no moment is the connection between two messages.
    client.send(head);
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < 3 * SECOND {
        client.send(&[tail, head].concat());
        assert_eq!(client.text(), NEXT, "after {count} messages, each of which took milliseconds");
        count += 1;
        std::thread::sleep(10 * MS);
    }
    println!("back to back: {count} messages answered in 3 s");

    // Nor is a ping in pieces the beginning of a message.
    let (mut client, mut other) = (lab.browser(), lab.browser());
    let ping = masked(true, 9, b"ping");
    for piece in ping.chunks(5) {
        client.send_apart(piece, &mut other);
    }
    assert_eq!(client.frame().unwrap().payload, b"ping");
    // For longer than a message may take.
    std::thread::sleep(3 * SECOND / 2);
    client.send_apart(head, &mut other);
    client.send(tail);
    assert_eq!(client.text(), NEXT, "a ping in pieces is no message that takes too long");
}
