//! Clients of which the server reads no more for a while, and TLS, whose handshakes cost more than they look.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{MS, SECOND, holds, verdict};
use crate::util::folder::Folder;
use crate::util::http::try_get;
use crate::util::lab::{self, KIB, Lab, Times, compare};
use crate::util::sockets::narrow;
use crate::util::swarm::{Prober, Swarm, enter};
use crate::util::tls::client_config;
use crate::util::{masked, parse, wait_for};

const ANY: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";

/// A certificate whose signatures take the server milliseconds each: its files.
fn rsa_4096(folder: &Folder) -> (String, String) {
    lab::needs("openssl", "openssl");
    let config = folder.write(
        "openssl.cnf",
        "[req]\ndistinguished_name=name\nx509_extensions=ext\nprompt=no\n[name]\nCN=localhost\n\
         [ext]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n",
    );
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.file(name).to_str().unwrap().to_owned());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:4096", "-nodes", "-days", "2"])
        .args(["-config", &config, "-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

#[test]
fn bursts_of_tls_handshakes_hold_nobody_up() {
    const BURST: usize = 200;
    const ROUNDS: usize = 3;
    const NAME: &str = "bursts of 200 TLS handshakes, RSA 4096";
    let folder = Folder::new();
    let (cert, key) = rsa_4096(&folder);
    // On a busy machine the handshakes of a burst alone take longer than the usual three seconds.
    let args = ["--cert", &cert, "--key", &key, "--ping-interval", "0", "--handshake-timeout", "10"];
    let lab = Lab::start_as(&[], "wss://127.0.0.1:0", &args);
    let config = client_config(cert.as_ref(), rustls::ALL_VERSIONS);
    let mut honest = Prober::new(lab::secure_browser(&lab, &config).unwrap());
    // The bytes of one serve for all: it costs its sender nothing.
    let hello = lab::client_hello(&config);
    let (mut quiet, mut with, mut newcomers) = (Vec::new(), Vec::new(), Times::default());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut without = honest.until(MS, Prober::echo, || start.elapsed() >= 700 * MS);
        let (mut times, newcomer) = std::thread::scope(|scope| {
            let burst = scope.spawn(|| {
                let start = Instant::now();
                let streams: Vec<TcpStream> = (0..BURST)
                    .map(|_| {
                        let mut stream = lab.connect();
                        stream.write_all(&hello).unwrap();
                        stream
                    })
                    .collect();
                let newcomer = scope.spawn(|| {
                    let start = Instant::now();
                    lab::secure_browser(&lab, &config).map(|_| start.elapsed())
                });
                let answered = streams.into_iter().map(|mut stream| stream.read(&mut [0; 8]).unwrap_or(0));
                let answered = answered.filter(|count| *count > 0).count();
                println!("{NAME}: {answered} answered after {:.1?}", start.elapsed());
                newcomer.join().unwrap()
            });
            (honest.until(MS, Prober::echo, || burst.is_finished()), burst.join().unwrap())
        });
        newcomers.add(newcomer.expect("a newcomer gets in beside the burst"));
        compare(NAME, &mut without, &mut times);
        quiet.push(without.p99());
        with.push(times.p99());
    }
    with.sort();
    println!("{NAME}: a newcomer is ready after {}", newcomers.show());
    verdict([
        holds(&format!("{NAME}, an echo over TLS, p99"), with[ROUNDS / 2], 50 * MS),
        holds(&format!("{NAME}, a newcomer, longest"), newcomers.percentile(100), 10 * SECOND),
    ]);
}

/// A page sends feedback to a PHP client that is served a frame at a time and reads one in `rest`, if at all.
fn feed_a_till(name: &str, rest: Option<Duration>) -> Vec<Result<(), String>> {
    const TIME: Duration = Duration::from_secs(4);
    const BYTES: usize = 3_700_000;
    let lab = Lab::start(&["--ping-interval", "0"]);
    let (mut till, _) = lab::ready_over(narrow(lab.addr), "/php", "Client-Type: php\r\nIdent: till\r\n");
    let message = masked(true, 1, br#"{"opcode":"feedback","ident":"till"}"#);
    let (stop, frames) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut outcomes = Vec::new();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut closed = None;
            while let Some(rest) = rest.filter(|_| !stop.load(Ordering::SeqCst)) {
                match till.frame() {
                    Some(frame) if frame.opcode == 1 => frames.fetch_add(1, Ordering::SeqCst),
                    Some(frame) => return Some(frame.code()),
                    None => return closed,
                };
                closed = Some(0);
                std::thread::sleep(rest);
            }
            None
        });
        // As fast as it goes: what is longest is the pause between two reads of its answers.
        let flooder = Swarm::flooders(enter(|| lab.connect(), 1, "/web", "", b""), &message, BYTES);
        flooder.flood();
        let (start, mut read, mut last, mut longest) = (Instant::now(), 0, Instant::now(), Duration::ZERO);
        while start.elapsed() < TIME {
            std::thread::sleep(5 * MS);
            if flooder.read() > read || flooder.read() == BYTES / message.len() * 28 {
                (read, last) = (flooder.read(), Instant::now());
            }
            longest = longest.max(last.elapsed());
        }
        println!("{name}: {} KiB of {} KiB taken, {} answered", flooder.written() / KIB, BYTES / KIB, read / 28);
        drop(flooder);
        outcomes.push(holds(&format!("{name}, the longest pause between two next"), longest, SECOND + SECOND / 2));
        // And one that waits for each `next`, beside what still waits.
        let mut page = Prober::new(lab.browser());
        let start = Instant::now();
        let mut times =
            page.until(MS, |page| page.next(r#"{"opcode":"feedback","ident":"till"}"#), || start.elapsed() >= 2 * SECOND);
        println!("{name}: one after the other {}", times.show());
        outcomes.push(holds(&format!("{name}, a next, longest"), times.percentile(100), SECOND + SECOND / 2));
        stop.store(true, Ordering::SeqCst);
        if let Some(code) = reading.join().unwrap() {
            outcomes.push(Err(format!("{name}: the till was closed with {code}")));
        }
    });
    println!("{name}: the till read {} frames", frames.into_inner());
    if lab.log_count("client reads too slowly") > 0 {
        outcomes.push(Err(format!("{name}: the till was closed for reading too slowly")));
    }
    outcomes
}

#[test]
fn a_backend_that_is_served_a_frame_at_a_time_is_not_closed_for_what_a_page_sends_it() {
    let mut outcomes = feed_a_till("a till that reads 100 frames a second", Some(10 * MS));
    outcomes.extend(feed_a_till("a till that does not read", None));
    verdict(outcomes);
}

/// Sends a message without a pause and answers each ping as soon as it reads it; ends with a reset, or as it was ended.
struct Flooder {
    stream: TcpStream,
    uuid: String,
}

impl Flooder {
    fn start(lab: &Lab, greeting: &[u8]) -> Flooder {
        let (stream, uuid) = enter(|| lab.connect(), 1, "/web", "", greeting).pop().unwrap();
        Flooder { stream, uuid }
    }

    /// The number of pings answered, and the code of the close frame if one came.
    fn flood(&self, message: &[u8], time: Duration) -> (usize, Option<u16>) {
        let (batch, pings, stop) = (message.repeat(16 * KIB / message.len()), AtomicUsize::new(0), AtomicBool::new(false));
        let [mut reader, mut writer] = [(); 2].map(|()| self.stream.try_clone().unwrap());
        reader.set_read_timeout(Some(100 * MS)).unwrap();
        writer.set_write_timeout(Some(100 * MS)).unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let (mut seen, mut buffer) = (Vec::new(), vec![0; 64 * KIB]);
                while !stop.load(Ordering::SeqCst) {
                    match reader.read(&mut buffer) {
                        Ok(0) => return None,
                        Ok(count) => seen.extend_from_slice(&buffer[..count]),
                        Err(_) => continue,
                    }
                    let mut at = 0;
                    while let Some((frame, length)) = parse(&seen[at..]) {
                        at += length;
                        match frame.opcode {
                            9 => drop(pings.fetch_add(1, Ordering::SeqCst)),
                            8 => return Some(frame.code()),
                            _ => {}
                        }
                    }
                    seen.drain(..at);
                }
                None
            });
            let (start, mut answered, mut rest) = (Instant::now(), 0, Vec::new());
            while start.elapsed() < time && !reading.is_finished() {
                if rest.is_empty() {
                    let due = pings.load(Ordering::SeqCst) - answered;
                    answered += due;
                    rest = [masked(true, 10, br#"{"opcode":"PING"}"#).repeat(due), batch.clone()].concat();
                }
                let written = writer.write(&rest).unwrap_or(0);
                rest.drain(..written);
            }
            stop.store(true, Ordering::SeqCst);
            (answered, reading.join().unwrap())
        })
    }
}

#[test]
fn a_client_of_which_nothing_is_read_for_a_while_is_not_late_and_its_reset_is_noticed() {
    const NAME: &str = "a flooder that is held back";
    const READERS: usize = 2000;
    let lab = Lab::start(&["--ping-interval", "1"]);
    // Backends are not pinged, and get what is sent to their room.
    let greeting = masked(true, 1, br#"{"opcode":"join","room":"r"}"#);
    let readers = Swarm::readers(enter(|| lab.connect(), READERS, "/php", ANY, &greeting), usize::MAX);
    let flooder = Flooder::start(&lab, &greeting);
    let known = |uuid: &str| try_get(lab.addr, &format!("/clients/{uuid}")).map(|answer| answer.0);
    wait_for("it to be known", || (known(&flooder.uuid) == Some(200)).then_some(()));
    let message = masked(true, 1, br#"{"opcode":"broadcast","room":"r"}"#);
    let (pings, code) = flooder.flood(&message, 5 * SECOND);
    println!("{NAME}: {pings} pings answered in 5 s, closed with {code:?}, readers read {} KiB", readers.read() / KIB);
    let mut outcomes = Vec::new();
    if code.is_some() || lab.log_count("timed out (No PONG received)") > 0 {
        outcomes.push(Err(format!("{NAME}: closed with {code:?} for a missing pong")));
    }
    assert_eq!(readers.lost(), 0);
    let Flooder { stream, uuid } = flooder;
    let start = Instant::now();
    lab::reset(stream);
    wait_for("its record to be gone", || (known(&uuid) == Some(404)).then_some(()));
    outcomes.push(holds(&format!("{NAME}, gone after a reset"), start.elapsed(), SECOND));
    verdict(outcomes);
}
