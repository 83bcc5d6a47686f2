//! What a connection may cost.

use std::io::Write;
use std::time::Instant;

use super::{MS, SECOND};
use crate::util::lab::{Honest, KIB, Lab, MIB, Times, unfinished};
use crate::util::{Client, NEXT, masked};

#[test]
fn a_connection_holds_no_more_memory_than_its_limits_say() {
    const MESSAGE: usize = MIB;
    const OUTBOX: usize = 2 * MIB;
    const CONNECTIONS: usize = 20;
    let limits = ["--max-message", &MESSAGE.to_string(), "--max-outbox", &OUTBOX.to_string(), "--message-timeout", "0"];
    let lab = Lab::start(&[&limits[..], &["--ping-interval", "0"]].concat());
    let before = lab.rss();
    let echo = format!(r#"{{"opcode":"echo","m":"{}"}}"#, "x".repeat(60 * KIB));
    let answers = echo.len() + 4 + NEXT.len() + 2;
    let mut least_queued = usize::MAX;
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| {
            let (mut client, local) = lab.narrow("/web", "");
            let mut produced = 0;
            // Echoes until one more would be over the limit.
            let queued = loop {
                let queued = produced - lab.wait_until_read(local).min(produced);
                if queued + 2 * answers > OUTBOX {
                    break queued;
                }
                client.send_text(&echo);
                produced += answers;
            };
            least_queued = least_queued.min(queued);
            // Chunks up to the limit, and a message that wants its last byte.
            client.send_text("bufferON");
            for _ in 0..64 {
                client.send_text(&"x".repeat(MESSAGE / 64));
            }
            client.send(&unfinished(1, true, MESSAGE, MESSAGE - 1));
            lab.wait_until_read(local);
            client
        })
        .collect();
    let each = (lab.rss() - before) / CONNECTIONS;
    // What grows by doubling may be twice as large as what it holds.
    let bound = 2 * MESSAGE + 2 * MESSAGE + OUTBOX + 64 * KIB;
    println!(
        "worst case: {} KiB for each of {CONNECTIONS}, bound 2 x max-message + 2 x max-message + max-outbox + 64 KiB = {} KiB \
         (at least {} KiB queued)",
        each / KIB,
        bound / KIB,
        least_queued / KIB
    );
    assert_eq!(lab.log_count("Connection closed"), 0);
    // The test reaches what it is about.
    assert!(least_queued >= OUTBOX * 9 / 10, "{least_queued}");
    assert!(each >= 2 * MESSAGE + least_queued && each <= bound, "{each}");
    drop(clients);
    lab.wait_until_empty(3 * SECOND);
    println!("worst case: {} KiB over the start once they have left", (lab.rss().saturating_sub(before)) / KIB);
}

#[test]
fn small_frames_in_an_outbox_cost_no_multiple_of_it() {
    const OUTBOX: usize = MIB;
    const MOST: usize = 3 * OUTBOX;
    let args = ["--max-outbox", &OUTBOX.to_string(), "--ping-interval", "0"];
    for (name, path, headers) in
        [("pongs for a browser", "/web", ""), ("pongs for a PHP client, a frame a read", "/php", "Client-Type: php\r\n")]
    {
        let lab = Lab::start(&args);
        let before = lab.rss();
        let (mut client, _) = lab.narrow(path, headers);
        let pings = masked(true, 9, b"").repeat(1000);
        for _ in 0..1000 {
            if client.wire.write_all(&pings).is_err() {
                break;
            }
        }
        let growth = lab.peak_rss() - before;
        println!("{name}: {} KiB for an outbox of {} KiB", growth / KIB, OUTBOX / KIB);
        assert!(growth <= MOST, "{name}: {growth}");
    }
    let lab = Lab::start(&args);
    let mut sender = lab.browser();
    let before = lab.rss();
    let _stuck: Vec<_> = (0..10).map(|_| lab.narrow("/web", "")).collect();
    // Each peer's system takes some before its outbox fills.
    let dropped = || lab.log_count("client reads too slowly");
    for round in 0.. {
        for _ in 0..5000 {
            sender.say(r#"{"opcode":"broadcast"}"#);
        }
        if dropped() == 10 {
            break;
        }
        assert!(round < 100, "never dropped");
    }
    let growth = (lab.peak_rss() - before) / 10;
    println!("small broadcasts for browsers: {} KiB each for an outbox of {} KiB", growth / KIB, OUTBOX / KIB);
    assert!(growth <= MOST, "{growth}");
}

#[test]
fn ten_thousand_idle_connections_are_cheap_and_keep_no_buffers() {
    const CONNECTIONS: usize = 10_000;
    let lab = Lab::start(&["--ping-interval", "0"]);
    let before = lab.rss();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| lab.browser()).collect();
    let idle = lab.rss() - before;
    println!("idle: {} bytes of memory for each of {CONNECTIONS} connections", idle / CONNECTIONS);
    assert!(idle / CONNECTIONS < 2 * KIB);
    let echo = format!(r#"{{"opcode":"echo","m":"{}"}}"#, "x".repeat(4000));
    let frame = masked(true, 1, echo.as_bytes());
    for client in &mut clients {
        // In two pieces, so that it is collected.
        client.send(&frame[..2000]);
        client.send(&frame[2000..]);
    }
    for client in &mut clients {
        assert_eq!(client.text(), NEXT);
        assert_eq!(client.text(), echo);
    }
    let after = lab.rss().saturating_sub(before);
    println!("idle: {} bytes for each after an echo of 4,000 bytes", after / CONNECTIONS);
    // A reminder each, and what the allocator keeps; buffers would be 40 MB.
    assert!(after <= idle + 8 * MIB, "{idle} {after}");
    drop(clients);
    let time = lab.wait_until_empty(3 * SECOND);
    println!("idle: all gone after {time:.1?}, {} KiB over the start", lab.rss().saturating_sub(before) / KIB);
}

#[test]
fn clients_that_come_and_break_hold_no_more_than_those_that_may_be_away() {
    const AWAY: usize = 5_000;
    // So many that 64 bytes kept of each would be more than the bound allows.
    const MORE: usize = 8 * AWAY;
    let lab = Lab::start(&["--ping-interval", "0", "--max-away", "5000", "--resume-bytes", "4096"]);
    let before = lab.rss();
    let mut honest = Honest(lab.browser());
    let flood = |count: usize| (0..count).for_each(|_| drop(lab.ready_on("/web?resume=", "")));
    flood(AWAY);
    lab.wait_for_log("goes on as", AWAY);
    let full = lab.rss() - before;
    println!("away: {} bytes of memory for each of {AWAY} clients that are away", full / AWAY);
    let mut with = Times::default();
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| flood(MORE));
        with.extend(honest.until(MS, || attack.is_finished()));
    });
    // At its end the log may still wait for the disk, and the allocator holds what was freed for ten seconds.
    let (end, start) = (lab.rss() - before, Instant::now());
    while lab.rss() - before >= full + 2 * MIB && start.elapsed() < 11 * SECOND {
        std::thread::sleep(20 * MS);
    }
    let after = lab.rss() - before;
    println!(
        "away: {} KiB after {AWAY}, {} KiB after {MORE} more, {} KiB after {:.1?}; p99 of an echo meanwhile {:.1?}",
        full / KIB,
        end / KIB,
        after / KIB,
        start.elapsed(),
        with.p99()
    );
    assert!(full / AWAY < 2 * KIB && after < full + 2 * MIB, "{full} {after}");
    // What they miss is bounded too: a broadcast for all of them is in memory once.
    let mut loud = lab.browser();
    let text = "x".repeat(1000);
    for number in 0..20 {
        loud.say(&format!(r#"{{"opcode":"broadcast","message":{number},"filling":"{text}"}}"#));
    }
    let kept = lab.rss() - before;
    println!("away: {} KiB with 4 KiB of broadcasts kept for each", kept / KIB);
    assert!(kept < after + AWAY * 1000, "{after} {kept}");
}
