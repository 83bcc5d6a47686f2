//! Senders at full speed, and bursts of broadcasts.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{MS, SECOND, in_turns, within};
use crate::util::lab::{self, Honest, KIB, Lab, compare};
use crate::util::waiting::at_best;
use crate::util::{Client, NEXT, masked, wait_for};

/// Sends a message again and again for a while, as fast as it is taken, then an echo, and waits until
/// all is answered. Gives the number of messages.
fn flood(lab: &Lab, message: &[u8], answer: usize, time: Duration) -> usize {
    const LAST: &str = r#"{"opcode":"echo","last":true}"#;
    let stream = lab.connect();
    let (mut client, _) = lab::ready_over(stream.try_clone().unwrap(), "/web", "");
    let (mut reader, expected) = (stream, AtomicUsize::new(usize::MAX));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut buffer, mut bytes) = (vec![0; 256 * KIB], 0);
            while bytes < expected.load(Ordering::SeqCst) {
                let count = reader.read(&mut buffer).expect("more answers");
                assert!(count > 0, "dropped");
                bytes += count;
            }
            bytes
        });
        let (batch, start, mut count) = (message.repeat(1000), Instant::now(), 0);
        while start.elapsed() < time {
            client.send(&batch);
            count += 1000;
        }
        let bytes = count * answer + NEXT.len() + LAST.len() + 4;
        expected.store(bytes, Ordering::SeqCst);
        client.send_text(LAST);
        assert_eq!(reading.join().unwrap(), bytes);
        count
    })
}

#[test]
fn a_sender_at_full_speed_does_not_starve_honest_clients() {
    // A turn reads 64 KiB of one connection: 11,000 of the smallest frames.
    const MESSAGES: Duration = Duration::from_millis(30);
    // The same where each of them writes a line to the log.
    const LINES: Duration = Duration::from_millis(80);
    let next = 2 + NEXT.len();
    for (name, message, answer, bound) in [
        ("full speed, messages", masked(true, 1, b"{}"), next, MESSAGES),
        ("full speed, pings", masked(true, 9, b""), 2, MESSAGES),
        ("full speed, feedback to nobody", masked(true, 1, br#"{"opcode":"feedback","uuid":"x"}"#), next, LINES),
        ("full speed, pongs", masked(true, 10, b""), 0, LINES),
    ] {
        at_best(|| full_speed(name, &message, answer, bound));
    }
}

fn full_speed(name: &str, message: &[u8], answer: usize, bound: Duration) -> Result<(), String> {
    let lab = Lab::start(&["--ping-interval", "0", "--max-outbox", "1000000000"]);
    let mut honest = Honest(lab.browser());
    let attack = || {
        let start = Instant::now();
        (flood(&lab, message, answer, 2 * SECOND), start.elapsed())
    };
    let (mut without, mut with) = in_turns(&mut honest, 2, attack, |(count, time)| {
        println!("{name}: {count} in {time:.1?}, all answered");
    });
    compare(name, &mut without, &mut with);
    within(name, with.p99(), bound)
}

#[test]
fn a_burst_of_broadcasts_to_many_does_not_stop_the_others() {
    at_best(a_burst_of_broadcasts);
}

fn a_burst_of_broadcasts() -> Result<(), String> {
    const BROWSERS: usize = 1000;
    const BROADCASTS: usize = 5000;
    let lab = Lab::start(&["--ping-interval", "0"]);
    let packet = r#"{"opcode":"broadcast"}"#;
    let browsers: Vec<Client> = (0..BROWSERS).map(|_| lab.browser()).collect();
    let mut sender = lab.browser();
    // A backend, which gets no broadcasts.
    let mut honest = Honest(lab.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n").0);
    let mut without = honest.during(SECOND, MS);
    // A few reads of the server, but five million frames to send.
    let burst = masked(true, 1, packet.as_bytes()).repeat(BROADCASTS);
    let start = Instant::now();
    sender.send(&burst);
    let all = browsers.len() * BROADCASTS * (packet.len() + 2);
    let (mut with, arrived) = std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut arrived = 0;
            for mut browser in browsers {
                let mut bytes = vec![0; BROADCASTS * (packet.len() + 2)];
                browser.wire.read_exact(&mut bytes).unwrap();
                let whole = bytes.chunks(packet.len() + 2).all(|frame| frame.ends_with(packet.as_bytes()));
                arrived += if whole { bytes.len() } else { 0 };
            }
            arrived
        });
        (honest.until(MS, || reading.is_finished()), reading.join().unwrap())
    });
    println!("burst of broadcasts: {BROADCASTS} to each of {BROWSERS} browsers in {:.1?}", start.elapsed());
    compare("burst of broadcasts", &mut without, &mut with);
    assert_eq!(arrived, all);
    within("burst of broadcasts", with.percentile(100), SECOND / 2)
}

#[test]
fn a_turn_full_of_broadcasts_costs_no_more_than_the_outboxes() {
    const BROWSERS: usize = 300;
    const SENDERS: usize = 50;
    const OUTBOX: usize = 256 * KIB;
    let lab = Lab::start(&["--ping-interval", "0", "--max-outbox", &OUTBOX.to_string()]);
    let _browsers: Vec<Client> = (0..BROWSERS).map(|_| lab.browser()).collect();
    let mut senders: Vec<Client> =
        (0..SENDERS).map(|_| lab.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n").0).collect();
    let before = lab.rss();
    // What one read takes of each of them, all in one turn: the server rests until it is there.
    let burst = masked(true, 1, br#"{"opcode":"broadcast"}"#).repeat(2300);
    lab.signal("STOP");
    senders.iter_mut().for_each(|sender| sender.send(&burst));
    lab.signal("CONT");
    let start = Instant::now();
    wait_for("the end of the turn", || (lab.cpu_share(100 * MS) < 5.0).then_some(()));
    let growth = lab.peak_rss() - before;
    let sent = SENDERS * burst.len();
    println!(
        "a turn of broadcasts: {} KiB in, the server grew by {} KiB, {BROWSERS} outboxes are {} KiB, {:.1?}",
        sent / KIB,
        growth / KIB,
        BROWSERS * OUTBOX / KIB,
        start.elapsed()
    );
    assert!(growth <= 2 * BROWSERS * OUTBOX, "{growth}");
}
