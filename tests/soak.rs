//! Two thousand clients of every kind, at random, for as long as one likes; then nothing may be left.
//!
//! Not part of `cargo test`. The same seed gives each thread the same choices again:
//!
//! ```sh
//! PHPWS_SOAK_SECONDS=3600 PHPWS_SOAK_SEED=1 cargo test --release --test soak -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "hostile/lab.rs"]
mod lab;
mod util;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lab::{Lab, MIB, unfinished};
use util::{Client, NEXT, json, masked, request};

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

impl Host<'_> {
    /// Lets clients talk, come and go until `end`, then leave.
    fn entertain(&mut self, mut guests: Vec<Guest>, end: Instant) {
        while Instant::now() < end {
            for at in (1..guests.len()).rev() {
                guests.swap(at, self.random.below(at + 1));
            }
            for group in guests.chunks_mut(TOGETHER) {
                group.iter_mut().for_each(|guest| self.act(guest));
                group.iter_mut().for_each(|guest| self.settle(guest));
            }
            self.look_after_stopped();
        }
        for guest in &mut guests {
            let Some(connection) = guest.connection.take() else { continue };
            match self.random.below(3) {
                0 => self.reset(connection),
                1 => connection.stream.shutdown(Shutdown::Both).unwrap(),
                _ => drop(connection),
            }
        }
    }

    /// Begins something; whatever has answers is settled later, so that many are under way at once.
    fn act(&mut self, guest: &mut Guest) {
        let Some(mut connection) = guest.connection.take() else {
            if guest.kind == Kind::Browser && self.random.one_in(10) {
                self.stranger(guest);
            }
            guest.connection = Some(self.enter(guest));
            return;
        };
        if guest.kind == Kind::Raw {
            self.talk(guest.kind, &mut connection);
            match self.random.below(30) {
                0 => return self.reset(connection),
                1 => return count(&self.party.totals.drops),
                _ => guest.connection = Some(connection),
            }
            return;
        }
        match self.random.below(100) {
            0..45 => self.talk(guest.kind, &mut connection),
            45..57 => self.fragments(&mut connection),
            57..65 => self.chunks(&mut connection),
            65..75 => self.pings(&mut connection),
            75..78 => self.garbage(&mut connection),
            78..82 => {
                self.talk(guest.kind, &mut connection);
                self.half_a_frame(&mut connection);
                return self.reset(connection);
            }
            82..85 => {
                self.talk(guest.kind, &mut connection);
                self.half_a_frame(&mut connection);
                return count(&self.party.totals.drops);
            }
            85..88 => return self.stop(guest, connection),
            88..92 => {
                self.talk(guest.kind, &mut connection);
                connection.stream.shutdown(Shutdown::Write).unwrap();
                connection.then = Then::HalfClosed;
                count(&self.party.totals.half_closes);
            }
            92..96 => {
                self.talk(guest.kind, &mut connection);
                connection.client.send(&masked(true, 8, &[0x0F, 0xA0]));
                connection.then = Then::Closed(4000);
                count(&self.party.totals.closes);
            }
            _ => {
                self.talk(guest.kind, &mut connection);
                self.message(&mut connection, r#"{"opcode":"quit"}"#);
                connection.then = Then::Closed(1000);
                count(&self.party.totals.quits);
            }
        }
        guest.connection = Some(connection);
    }

    fn enter(&self, guest: &Guest) -> Connection {
        let stream = lab::connect_from(guest.address, self.party.lab.addr);
        let mut client = Client::over(stream.try_clone().unwrap());
        count(&self.party.totals.connections);
        match guest.kind {
            Kind::Raw => {
                client.send(b"php process\nGET /php HTTP/1.1\n");
                let mut ready = [0; r#"{"opcode":"ready","uuid":""}"#.len() + 36];
                client.wire.read_exact(&mut ready).unwrap();
                assert!(ready.starts_with(br#"{"opcode":"ready""#) && ready.ends_with(b"}"), "{ready:?}");
            }
            kind => {
                let (path, headers) = if kind == Kind::Php { ("/php", "Client-Type: php\r\n") } else { ("/web", "") };
                client.send(request(path, headers).as_bytes());
                let head = client.head();
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                let ready = client.text();
                assert_eq!(json(&ready, "opcode"), "ready", "{ready}");
                *self.party.uuids[guest.number].lock().unwrap() = json(&ready, "uuid");
            }
        }
        Connection { stream, client, nexts: 0, echoes: VecDeque::new(), pongs: VecDeque::new(), then: Then::Stay }
    }

    /// Somebody who never becomes a client.
    fn stranger(&mut self, guest: &Guest) {
        count(&self.party.totals.strangers);
        let mut stream = lab::connect_from(guest.address, self.party.lab.addr);
        let half = &request("/web", "")[..30 + self.random.below(100)];
        match self.random.below(6) {
            0 => return lab::reset(stream),
            1 => return,
            2 => {
                stream.write_all(half.as_bytes()).unwrap();
                return lab::reset(stream);
            }
            3 => return stream.write_all(half.as_bytes()).unwrap(),
            4 => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap(),
            _ => stream.write_all(b"\x16\x03\x01\n\n no HTTP \r\n\r\n").unwrap(),
        }
        let answer = Client::over(stream).rest();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    }

    /// One to five messages without waiting.
    fn talk(&mut self, kind: Kind, connection: &mut Connection) {
        for _ in 0..=self.random.below(5) {
            match self.random.below(20) {
                0..10 => {
                    let echo = self.echo();
                    self.message_of(kind, connection, &echo);
                    connection.echoes.push_back(echo);
                }
                10..14 => {
                    let number = self.random.below(CLIENTS);
                    let uuid = self.party.uuids[number].lock().unwrap().clone();
                    self.message_of(kind, connection, &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
                }
                14..16 => {
                    let (high, low) = (self.random.next(), self.random.next() >> 16);
                    let uuid = format!("{:08x}-{:04x}-4{:03x}-8000-{low:012x}", high >> 32, high >> 16 & 0xFFFF, high & 0xFFF);
                    self.message_of(kind, connection, &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
                }
                16 if kind == Kind::Browser && self.random.one_in(200) => {
                    count(&self.party.totals.broadcasts);
                    self.message_of(kind, connection, r#"{"opcode":"broadcast","m":"to all"}"#);
                }
                _ => self.message_of(kind, connection, r#"{"opcode":"none"}"#),
            }
        }
    }

    fn message_of(&self, kind: Kind, connection: &mut Connection, text: &str) {
        match kind {
            Kind::Raw => {
                count(&self.party.totals.messages);
                connection.nexts += 1;
                connection.client.send(text.as_bytes());
            }
            _ => self.message(connection, text),
        }
    }

    fn message(&self, connection: &mut Connection, text: &str) {
        count(&self.party.totals.messages);
        connection.nexts += 1;
        connection.client.send_text(text);
    }

    fn echo(&mut self) -> String {
        let len = if self.random.one_in(100) { 100_000 } else { self.random.below(2000) };
        format!(r#"{{"opcode":"echo","n":{},"m":"{}"}}"#, self.random.next(), "x".repeat(len))
    }

    /// A message in fragments, with pings between them, some of them in pieces.
    fn fragments(&mut self, connection: &mut Connection) {
        let echo = self.echo();
        let size = 1 + self.random.below(echo.len());
        let pieces: Vec<&[u8]> = echo.as_bytes().chunks(size.max(echo.len() / 20)).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let frame = masked(number + 1 == pieces.len(), u8::from(number == 0), piece);
            let (first, second) = frame.split_at(self.random.below(frame.len()));
            connection.client.send(first);
            connection.client.send(second);
            if number + 1 < pieces.len() && self.random.one_in(3) {
                self.ping(connection);
            }
        }
        count(&self.party.totals.messages);
        connection.nexts += 1;
        connection.echoes.push_back(echo);
    }

    fn chunks(&mut self, connection: &mut Connection) {
        let echo = self.echo();
        self.message(connection, "bufferON");
        for chunk in echo.as_bytes().chunks(echo.len() / 10 + 1) {
            self.message(connection, std::str::from_utf8(chunk).unwrap());
        }
        self.message(connection, "bufferOFF");
        connection.echoes.push_back(echo);
    }

    fn pings(&mut self, connection: &mut Connection) {
        for _ in 0..=self.random.below(3) {
            self.ping(connection);
        }
        if self.random.one_in(4) {
            connection.client.send(&masked(true, 10, b"nobody asked for this"));
        }
    }

    fn ping(&mut self, connection: &mut Connection) {
        count(&self.party.totals.pings);
        let payload = self.random.next().to_be_bytes().repeat(1 + self.random.below(15));
        connection.client.send(&masked(true, 9, &payload));
        connection.pongs.push_back(payload);
    }

    /// Good messages, and then something that no client may send.
    fn garbage(&mut self, connection: &mut Connection) {
        count(&self.party.totals.garbage);
        self.message(connection, "{}");
        let (bytes, code): (&[u8], u16) = match self.random.below(6) {
            0 => (b"\x81\x02{}", 1002),
            1 => (b"\xC1\x82\0\0\0\0{}", 1002),
            2 => (b"\x09\x80\0\0\0\0", 1002),
            3 => (b"\x81\x82\0\0\0\0\xFF\xFF", 1007),
            4 => (b"\x81\xFF\0\0\0\0\x7F\0\0\0\0\0\0\0", 1009),
            _ => (b"\x83\x80\0\0\0\0", 1002),
        };
        connection.client.send(bytes);
        connection.then = Then::Closed(code);
    }

    /// Perhaps some bytes of a frame.
    fn half_a_frame(&mut self, connection: &mut Connection) {
        if self.random.one_in(2) {
            let sent = self.random.below(900);
            connection.client.send(&unfinished(1, self.random.one_in(2), 1000, sent));
        }
    }

    fn reset(&self, connection: Connection) {
        count(&self.party.totals.resets);
        let Connection { stream, client, .. } = connection;
        drop(client);
        lab::reset(stream);
    }

    /// The client is not heard of again, and reads nothing; the server has to notice.
    fn stop(&mut self, guest: &Guest, mut connection: Connection) {
        let here = self.stopped.iter().filter(|stopped| stopped.address == guest.address).count();
        if here >= STOPPED || guest.kind != Kind::Browser {
            return self.reset(connection);
        }
        count(&self.party.totals.stops);
        self.half_a_frame(&mut connection);
        self.stopped.push(Stopped { connection, address: guest.address, since: Instant::now() });
    }

    fn look_after_stopped(&mut self) {
        let old = self.stopped.iter().take_while(|stopped| stopped.since.elapsed() > STOPPED_FOR).count();
        for stopped in self.stopped.drain(..old) {
            let mut stream = stopped.connection.stream;
            let mut bytes = Vec::new();
            // It has been told why, or its connection is gone altogether.
            match stream.read_to_end(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                outcome => {
                    outcome.expect("the server drops clients that have stopped");
                    assert!(
                        String::from_utf8_lossy(&bytes).contains("No PONG")
                            || String::from_utf8_lossy(&bytes).contains("too long")
                    );
                }
            }
        }
    }

    /// Reads until every answer is there: exactly one `next` for each message.
    fn settle(&self, guest: &mut Guest) {
        let Some(mut connection) = guest.connection.take() else { return };
        if guest.kind == Kind::Raw {
            self.settle_raw(&mut connection);
            guest.connection = Some(connection);
            return;
        }
        let totals = &self.party.totals;
        loop {
            let missing = connection.nexts + connection.echoes.len() + connection.pongs.len();
            if missing == 0 && connection.then == Then::Stay {
                guest.connection = Some(connection);
                return;
            }
            let Some(frame) = connection.client.frame() else {
                assert!(connection.then == Then::HalfClosed, "the end, unasked");
                assert_eq!(missing, 0, "answers are missing at the end of a half-closed connection");
                return;
            };
            match frame.opcode {
                9 => {
                    if connection.then == Then::Stay {
                        connection.client.send(&masked(true, 10, &frame.payload));
                        count(&totals.pings_answered);
                    }
                }
                10 => {
                    assert_eq!(connection.pongs.pop_front(), Some(frame.payload), "a pong that nobody waits for");
                    count(&totals.pongs);
                }
                8 => {
                    let Then::Closed(code) = connection.then else { panic!("closed, unasked: {frame:?}") };
                    assert_eq!((frame.code(), missing), (code, 0), "{frame:?}");
                    assert_eq!(connection.client.frame(), None);
                    return;
                }
                _ if frame.text() == NEXT => {
                    connection.nexts = connection.nexts.checked_sub(1).expect("no next too many");
                    count(&totals.nexts);
                }
                _ => self.text(&mut connection, frame.text()),
            }
        }
    }

    fn text(&self, connection: &mut Connection, text: &str) {
        let totals = &self.party.totals;
        if text.starts_with(r#"{"opcode":"echo""#) {
            assert_eq!(connection.echoes.pop_front().as_deref(), Some(text), "echoes come in order");
            count(&totals.echoes);
        } else if text.starts_with(r#"{"opcode":"broadcast""#) {
            count(&totals.broadcasts_received);
        } else if text.starts_with(r#"{"opcode":"feedback""#) {
            count(&totals.feedback_received);
        } else {
            panic!("nobody waits for {text}");
        }
    }

    /// There are no frames: the answers stand one behind the other.
    fn settle_raw(&self, connection: &mut Connection) {
        let len = connection.nexts * NEXT.len() + connection.echoes.iter().map(String::len).sum::<usize>();
        let mut bytes = vec![0; len];
        connection.stream.read_exact(&mut bytes).unwrap();
        let mut answers = String::from_utf8(bytes).unwrap();
        for echo in connection.echoes.drain(..) {
            let at = answers.find(&echo).expect("the echo");
            answers.replace_range(at..at + echo.len(), "");
            count(&self.party.totals.echoes);
        }
        assert_eq!(answers, NEXT.repeat(connection.nexts));
        self.party.totals.nexts.fetch_add(connection.nexts, Ordering::Relaxed);
        connection.nexts = 0;
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

fn address(number: usize) -> [u8; 4] {
    [127, 0, 2, (number % ADDRESSES) as u8 + 1]
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
            client.send(request("/web", "").as_bytes());
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
