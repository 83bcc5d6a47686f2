//! Connections in masses: more than a turn takes, than the limits say, than there are descriptors.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use super::{MS, SECOND, within};
use crate::util::lab::{self, Honest, Lab, Times, compare};
use crate::util::waiting::at_best;
use crate::util::{Client, json, request, wait_for};

#[test]
fn a_flood_of_connections_leaves_the_server_up_and_nothing_behind() {
    at_best(a_flood_of_connections);
}

fn a_flood_of_connections() -> Result<(), String> {
    const FLOOD: usize = 5000;
    // All of them may wait: what becomes of too many is in descriptors.rs.
    let lab = Lab::start(&["--handshake-timeout", "2", "--ping-interval", "0", "--max-newcomers", "10000"]);
    let mut honest = Honest(lab.browser());
    let mut without = honest.during(SECOND, MS);
    let mut outcomes = Vec::new();
    for handshake in [false, true] {
        let mut with = Times::default();
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let start = Instant::now();
                let mut streams: Vec<TcpStream> = Vec::with_capacity(FLOOD);
                for _ in 0..FLOOD {
                    let mut stream = lab.connect();
                    if handshake {
                        stream.write_all(request("/web", "").as_bytes()).unwrap();
                    }
                    streams.push(stream);
                }
                let connected = start.elapsed();
                let first = if handshake { "HTTP/1.1 101 " } else { "HTTP/1.1 408 " };
                for stream in streams {
                    let mut client = Client::over(stream);
                    assert!(client.head().starts_with(first));
                }
                connected
            });
            // One that comes now and then, beside one that is there.
            let newcomer = scope.spawn(|| {
                let mut times = Times::default();
                while !flood.is_finished() {
                    let start = Instant::now();
                    drop(lab.browser());
                    times.add(start.elapsed());
                    std::thread::sleep(10 * MS);
                }
                let time = flood.join().unwrap();
                println!("connect flood, handshake {handshake}: {:.0} connects a second", FLOOD as f64 / time.as_secs_f64());
                (times, time)
            });
            with.extend(honest.until(MS, || newcomer.is_finished()));
            let (mut newcomer, time) = newcomer.join().unwrap();
            println!("connect flood: a newcomer is ready after {}", newcomer.show());
            // Where the server's queue is short, the system throws first packets away, and each of those
            // is sent again a second later.
            outcomes.push(within("connect flood, all", time, 4 * SECOND));
            outcomes.push(within("connect flood, newcomer", newcomer.percentile(100), 4 * SECOND));
        });
        // Up to a thousand handshakes are answered in a turn, each with its lines in the log.
        compare("connect flood", &mut without, &mut with);
        outcomes.push(within("connect flood", with.p99(), 150 * MS));
        wait_for("the end of the flood's connections", || (lab.connections() == 1).then_some(()));
    }
    drop(honest);
    lab.wait_until_empty(2 * SECOND);
    outcomes.into_iter().collect()
}

#[test]
fn the_limits_on_clients_hold_exactly_during_a_flood() {
    let lab = Lab::start(&["--max-clients", "500", "--ping-interval", "0"]);
    let mut honest = Honest(lab.browser());
    // Each thread keeps those that were let in.
    let enter = |count: usize, ip: [u8; 4]| -> (Vec<Client>, usize) {
        let streams: Vec<TcpStream> = (0..count)
            .map(|_| {
                let mut stream = lab::connect_from(ip, lab.addr);
                stream.write_all(request("/web", "").as_bytes()).unwrap();
                stream
            })
            .collect();
        let mut inside = Vec::new();
        let mut refused = 0;
        for stream in streams {
            let mut client = Client::over(stream);
            client.head();
            let first = client.text();
            if first.contains(r#""ready""#) {
                inside.push(client);
            } else {
                assert_eq!(json(&first, "error"), "Too many connections");
                client.closed_with(1013);
                refused += 1;
            }
        }
        (inside, refused)
    };
    let flood = || {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| enter(500, [127, 0, 0, 1]))).collect();
            let parts: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            let refused: usize = parts.iter().map(|part| part.1).sum();
            (parts.into_iter().flat_map(|part| part.0).collect::<Vec<_>>(), refused)
        })
    };
    let (mut inside, refused) = flood();
    println!("max-clients 500: {} of 2,000 let in beside one, {refused} refused", inside.len());
    assert_eq!((inside.len(), refused), (499, 1501));
    honest.round_trip();
    inside.truncate(199);
    wait_for("the end of the others", || (lab.connections() == 200).then_some(()));
    let (more, _) = flood();
    println!("max-clients 500: {} let in where 300 had left", more.len());
    assert_eq!(more.len(), 300);
    drop((inside, more, honest));
    lab.wait_until_empty(2 * SECOND);
    drop(lab);

    // Loopback itself has no such limit.
    let lab = Lab::start(&["--max-per-ip", "20", "--ping-interval", "0", "--trusted-proxy", "127.0.1.0/24"]);
    let forwarded = |address: u8| format!("X-Forwarded-For: 192.0.2.{address}\r\n");
    let mut per_address: HashMap<u8, Vec<Client>> = HashMap::new();
    // All addresses at once, one connection of each at a time.
    let mut streams = Vec::new();
    for number in 0..40 {
        for address in 1..=50 {
            let mut stream = lab::connect_from([127, 0, 1, address], lab.addr);
            stream.write_all(request("/web", &forwarded(address)).as_bytes()).unwrap();
            streams.push((number, address, stream));
        }
    }
    for (number, address, stream) in streams {
        let mut client = Client::over(stream);
        client.head();
        let first = client.text();
        assert_eq!(first.contains(r#""ready""#), number < 20, "{first}");
        per_address.entry(address).or_default().push(client);
    }
    println!("max-per-ip 20: 20 of 40 let in from each of {} addresses", per_address.len());
    drop(per_address);
    lab.wait_until_empty(2 * SECOND);
    let again: Vec<Client> =
        (0..20).map(|_| lab::ready_over(lab::connect_from([127, 0, 1, 7], lab.addr), "/web", &forwarded(7)).0).collect();
    println!("max-per-ip 20: {} let in again from one address", again.len());
}

#[test]
fn without_descriptors_new_clients_wait_and_nothing_spins() {
    const LINE: &str = "Connection could not be established";
    lab::needs("prlimit", "util-linux");
    let limited = ["prlimit", "--nofile=64"];
    let lab = Lab::start_as(&limited, "ws://127.0.0.1:0", &["--ping-interval", "0", "--handshake-timeout", "30"]);
    let mut honest = Honest(lab.browser());
    let mut waiting: Vec<Client> = Vec::new();
    let mut arrive = || {
        let mut stream = lab.connect();
        stream.write_all(request("/web", "").as_bytes()).unwrap();
        waiting.push(Client::over(stream));
    };
    (0..100).for_each(|_| arrive());
    lab.wait_for_log(LINE, 1);

    let quiet = lab.cpu_share(2 * SECOND);
    // Newcomers must not wake the server more and more often.
    let before = lab.cpu();
    for _ in 0..40 {
        arrive();
        std::thread::sleep(50 * MS);
    }
    let arriving = 100.0 * (lab.cpu() - before).as_secs_f64() / 2.0;
    let afterwards = lab.cpu_share(2 * SECOND);
    let lines = lab.log_count(LINE);
    println!("no descriptors: CPU {quiet:.1} %, with newcomers {arriving:.1} %, afterwards {afterwards:.1} %, {lines} log line");
    assert!(quiet < 20.0 && arriving < 20.0 && afterwards < 20.0);
    assert_eq!(lines, 1);
    let mut times = honest.during(SECOND, MS);
    println!("no descriptors: honest {}", times.show());

    // The first in the queue were accepted. Those leave, and as many of the others come in.
    let accepted = lab.connections() - 1;
    let mut inside: Vec<Client> = waiting.drain(..accepted).collect();
    for client in &mut inside {
        client.head();
        assert!(client.text().contains("ready"));
    }
    let start = Instant::now();
    drop(inside);
    for client in waiting.iter_mut().take(accepted) {
        client.head();
        assert!(client.text().contains("ready"));
    }
    println!("no descriptors: {accepted} who waited were let in {:.1?} after {accepted} had left", start.elapsed());
    drop(waiting);
    drop(honest);
    lab.wait_until_empty(2 * SECOND);
    let lines = lab.log_count(LINE);
    println!("no descriptors: {lines} log lines in all");
    assert!(lines <= 1 + accepted);
}
