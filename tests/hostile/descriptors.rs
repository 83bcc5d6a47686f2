//! Strangers that hold descriptors and ask for nothing, while others come.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{MS, SECOND};
use crate::util::lab::{self, Honest, Lab, Times};
use crate::util::{Client, request};

/// What a connection that only holds its descriptor says.
type Words = &'static [u8];

const SILENCE: Words = b"";
const HEAD: Words = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Connects from some addresses, over and over, and keeps the last thousand connections open.
fn hold(lab: &Lab, addresses: u8, words: Words, stop: &AtomicBool) -> usize {
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return number;
        }
        let mut stream = lab::connect_from([127, 0, 3, (number % usize::from(addresses)) as u8 + 1], lab.addr);
        if !words.is_empty() {
            // It may have had to go already.
            let _ = stream.write_all(words);
            let _ = stream.read(&mut [0; 256]);
        }
        held.push(stream);
        if held.len() > 1000 {
            held.remove(0);
        }
    }
    unreachable!()
}

/// Newcomers are told `ready` while strangers hold as many connections as they can, with so many descriptors.
fn newcomers_beside(name: &str, descriptors: u32, addresses: u8, words: Words) {
    lab::needs("prlimit", "util-linux");
    let limit = format!("--nofile={descriptors}");
    let args = ["--ping-interval", "0", "--handshake-timeout", "30"];
    let lab = Lab::start_as(&["prlimit", &limit], "ws://127.0.0.1:0", &args);
    let mut honest = Honest(lab.browser());
    let mut office = Vec::new();
    let (stop, mut times) = (AtomicBool::new(false), Times::default());
    let attempts = std::thread::scope(|scope| {
        let strangers = scope.spawn(|| hold(&lab, addresses, words, &stop));
        std::thread::sleep(SECOND);
        let end = Instant::now() + 3 * SECOND;
        while Instant::now() < end {
            let start = Instant::now();
            let mut stream = lab::connect_from([127, 0, 0, 2], lab.addr);
            stream.write_all(request("/web", "").as_bytes()).unwrap();
            let mut client = Client::over(stream);
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            assert!(client.text().contains(r#""ready""#));
            office.push(client);
            times.add(start.elapsed());
            honest.round_trip();
            if office.len() > 20 {
                office.remove(0);
            }
            std::thread::sleep(10 * MS);
        }
        stop.store(true, Ordering::Relaxed);
        strangers.join().unwrap()
    });
    println!("{name}, {descriptors} descriptors: {attempts} connects of strangers; newcomers ready after {}", times.show());
    println!("{name}: {} lines about it", lab.log_count("gave way to newer ones"));
    assert_eq!(lab.log_count("gave way to newer ones"), 1);
    assert!(times.percentile(100) < Duration::from_secs(2));
    drop((honest, office));
    lab.wait_until_empty(32 * SECOND);
}

#[test]
fn newcomers_are_served_while_strangers_hold_idle_connections() {
    newcomers_beside("idle", 1024, 1, HEAD);
    newcomers_beside("idle", 200, 1, HEAD);
    newcomers_beside("idle, fifty addresses", 1024, 50, HEAD);
}

#[test]
fn newcomers_are_served_while_strangers_say_nothing() {
    newcomers_beside("silent", 1024, 1, SILENCE);
    newcomers_beside("silent", 200, 1, SILENCE);
    newcomers_beside("silent, fifty addresses", 1024, 50, SILENCE);
}

#[test]
fn a_flood_of_connects_leaves_a_bounded_log() {
    let mut lab = Lab::start(&["--ping-interval", "0", "--log-rate", "1000"]);
    let start = Instant::now();
    let mut connects = 0;
    while start.elapsed() < 6 * SECOND {
        (0..100).for_each(|_| drop(lab.connect()));
        connects += 100;
    }
    // The server is through with them when it serves the next one.
    drop(lab.browser());
    let seconds = start.elapsed().as_secs() as usize + 1;
    lab.signal("TERM");
    assert_eq!(lab.exit_code(), Some(0));
    let (lines, notes) = (lab.log_count(";"), lab.log_count("log lines were left out"));
    println!("connects: {connects} in {seconds} s leave {lines} log lines, {notes} of them about the others");
    assert!(lines <= 10_000 + 1000 * seconds + 100 && (1..=seconds + 2).contains(&notes));
    assert_eq!(lab.log_count(";Server stopped"), 1);
}
