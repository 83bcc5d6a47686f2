//! Two thousand clients of every kind, at random, for as long as one likes; then nothing may be left.
//!
//! Not part of `cargo test`. The same seed gives each thread the same choices again:
//!
//! ```sh
//! PHPWS_SOAK_SECONDS=3600 PHPWS_SOAK_SEED=1 cargo test --release --test soak -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../util/mod.rs"]
mod util;

mod answers;
mod host;
mod talk;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::util::lab::{self, Lab, MIB};
use crate::util::{Client, json, request};

const THREADS: usize = 4;
const CLIENTS: usize = 2000;
const ADDRESSES: usize = 20;
/// The server's `--max-per-ip`: a hundred clients, those that stopped, and those on their way out.
const PER_ADDRESS: usize = 200;
/// Clients of one thread at one address that may have stopped.
const STOPPED: usize = 15;
/// Clients that act at the same time in one thread.
const TOGETHER: usize = 50;

const PING_INTERVAL: Duration = Duration::from_secs(4);
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(3);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// After this long the server has dropped a client that stopped.
const STOPPED_FOR: Duration = Duration::from_secs(12);

/// What may stay resident once all have left: the slots of the stores at their largest, and what the
/// allocator keeps of the memory that came back to it.
const RSS_LEFT: usize = 12 * MIB;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

macro_rules! totals {
    ($($name:ident)*) => {
        /// What happened in all.
        #[derive(Default)]
        struct Totals { $($name: AtomicUsize),* }

        impl Totals {
            fn print(&self) {
                let counts = [$((stringify!($name), self.$name.load(Ordering::Relaxed))),*];
                let words: Vec<String> = counts.iter().map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
                println!("soak: {}", words.join(", "));
            }
        }
    };
}

totals! {
    connections messages nexts echoes pings pongs broadcasts broadcasts_received feedback_received pings_answered
    strangers garbage resets drops stops half_closes closes quits
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Browser,
    Php,
    Raw,
}

/// What a client does once its answers are there, or without waiting for them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Stay,
    /// The server closes with this code.
    Closed(u16),
    /// The client has ended its side; the server follows.
    HalfClosed,
}

struct Connection {
    stream: TcpStream,
    client: Client,
    /// Answers that are still to come.
    nexts: usize,
    echoes: VecDeque<String>,
    pongs: VecDeque<Vec<u8>>,
    then: Then,
}

struct Guest {
    number: usize,
    kind: Kind,
    address: [u8; 4],
    connection: Option<Connection>,
}

struct Stopped {
    connection: Connection,
    address: [u8; 4],
    since: Instant,
}

/// What the threads share.
struct Party {
    lab: Lab,
    totals: Totals,
    /// The uuid of each client, as it last was.
    uuids: Vec<Mutex<String>>,
}

struct Host<'a> {
    party: &'a Party,
    random: Random,
    stopped: Vec<Stopped>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

fn address(number: usize) -> [u8; 4] {
    [127, 0, 2, (number % ADDRESSES) as u8 + 1]
}

/// What a proxy at that address says of its clients: the limits for one address do not apply to loopback itself.
fn forwarded(address: [u8; 4]) -> String {
    format!("X-Forwarded-For: 192.0.2.{}\r\n", address[3])
}

#[test]
fn after_any_traffic_nothing_is_left() {
    let seconds = setting("PHPWS_SOAK_SECONDS", 60);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = setting("PHPWS_SOAK_SEED", now.as_secs());
    println!("soak: {seconds} s, PHPWS_SOAK_SEED={seed}, {CLIENTS} clients");
    let per_address = PER_ADDRESS.to_string();
    let lab = Lab::start(&[
        "--max-per-ip",
        &per_address,
        "--trusted-proxy",
        "127.0.2.0/24",
        "--max-message",
        &MIB.to_string(),
        "--ping-interval",
        &PING_INTERVAL.as_secs().to_string(),
        "--message-timeout",
        &MESSAGE_TIMEOUT.as_secs().to_string(),
        "--close-timeout",
        &CLOSE_TIMEOUT.as_secs().to_string(),
    ]);
    let rss_at_start = lab.rss();
    let uuids = (0..CLIENTS).map(|_| Mutex::default()).collect();
    let party = Party { lab, totals: Totals::default(), uuids };
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let party = &party;
            scope.spawn(move || {
                let guests = (thread..CLIENTS).step_by(THREADS).map(|number| {
                    let kind = match number / THREADS % 50 {
                        0 => Kind::Php,
                        1 => Kind::Raw,
                        _ => Kind::Browser,
                    };
                    Guest { number, kind, address: address(number / THREADS), connection: None }
                });
                let random = Random(seed.wrapping_mul(THREADS as u64).wrapping_add(thread as u64));
                Host { party, random, stopped: Vec::new() }.entertain(guests.collect(), end);
            });
        }
    });
    let Party { lab, totals, .. } = party;
    totals.print();

    let time = lab.wait_until_empty(PING_INTERVAL + MESSAGE_TIMEOUT + CLOSE_TIMEOUT);
    println!("soak: the last descriptor came back {time:.1?} after all had left");
    // As many as ever from each address: nobody is counted who is gone.
    for number in 0..ADDRESSES {
        let enter = || {
            let mut client = Client::over(lab::connect_from(address(number), lab.addr));
            client.send(request("/web", &forwarded(address(number))).as_bytes());
            client.head();
            (json(&client.text(), "opcode"), client)
        };
        let clients: Vec<_> = (0..PER_ADDRESS).map(|_| enter()).collect();
        assert!(clients.iter().all(|(opcode, _)| opcode == "ready"), "connections from {:?} are still counted", address(number));
        assert_eq!(enter().0, "close");
    }
    println!("soak: {PER_ADDRESS} connections again from each of {ADDRESSES} addresses, one more refused");
    lab.wait_until_empty(PING_INTERVAL + MESSAGE_TIMEOUT + CLOSE_TIMEOUT);

    let opened = lab.log_count("New client connecting");
    // `QUIT; Connection closed to socket #` is another line.
    let closed = lab.log_count(";Connection closed to socket #");
    println!("soak: the log has {opened} connections opened and {closed} closed");
    assert_eq!(opened, closed);
    let (rss, peak) = (lab.rss(), lab.peak_rss());
    println!("soak: memory {} KiB at the start, {} at most, {} at the end", rss_at_start / 1024, peak / 1024, rss / 1024);
    assert!(rss <= rss_at_start + RSS_LEFT);
    let share = lab.cpu_share(Duration::from_secs(2));
    println!("soak: CPU {share:.1} % when idle, {:.1} s in all", lab.cpu().as_secs_f64());
    assert!(share < 5.0);
}
