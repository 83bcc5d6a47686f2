//! What happens to the server itself under load: a stop, another certificate, a full disk, another time of day.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::SECOND;
use crate::util::folder::Folder;
use crate::util::lab::{self, Lab};
use crate::util::tls::Pair;
use crate::util::{Client, NEXT, Phpws, json, masked, wait_for};

#[test]
fn sigterm_under_load_loses_no_broadcast_that_was_answered() {
    const SENDERS: usize = 50;
    const RECEIVERS: usize = 50;
    let mut lab = Lab::start(&["--ping-interval", "0", "--close-timeout", "10"]);
    let receivers: Vec<Client> = (0..RECEIVERS).map(|_| lab.browser()).collect();
    let senders: Vec<Client> = (0..SENDERS).map(|_| lab.browser()).collect();
    // How many broadcasts of each sender a client saw, all in order, until the close frame.
    let listen = |client: &mut Client, seen: &mut Vec<usize>, until_next: bool| -> bool {
        loop {
            let Some(frame) = client.frame() else { panic!("the end without a close frame") };
            if frame.opcode == 8 {
                assert_eq!(frame.code(), 1001);
                client.send(&masked(true, 8, &frame.payload));
                assert_eq!(client.frame(), None);
                return false;
            }
            match frame.text() {
                NEXT => {
                    if until_next {
                        return true;
                    }
                }
                r#"{"opcode":"close"}"# => {}
                text => {
                    let numbers: Vec<usize> = json(text, "m").split('-').map(|number| number.parse().unwrap()).collect();
                    seen[numbers[0]] += 1;
                    assert_eq!(seen[numbers[0]], numbers[1], "each broadcast once and in order");
                }
            }
        }
    };
    let start = Instant::now();
    let so_far = AtomicUsize::new(0);
    let (answered, seen) = std::thread::scope(|scope| {
        let receiving: Vec<_> = receivers
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    let mut seen = vec![0; SENDERS];
                    listen(&mut client, &mut seen, false);
                    seen
                })
            })
            .collect();
        let sending: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(number, mut client)| {
                let so_far = &so_far;
                scope.spawn(move || {
                    let (mut seen, mut answered) = (vec![0; SENDERS], 0);
                    loop {
                        let packet = format!(r#"{{"opcode":"broadcast","m":"{number}-{}"}}"#, answered + 1);
                        // Once the server has ended the connection nobody takes it any more.
                        let _ = client.wire.write_all(&masked(true, 1, packet.as_bytes()));
                        if !listen(&mut client, &mut seen, true) {
                            return answered;
                        }
                        answered += 1;
                        so_far.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        wait_for("all to be in full swing", || (so_far.load(Ordering::Relaxed) > 100 * SENDERS).then_some(()));
        lab.signal("TERM");
        let answered: Vec<usize> = sending.into_iter().map(|thread| thread.join().unwrap()).collect();
        (answered, receiving.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    });
    let all: usize = answered.iter().sum();
    println!(
        "SIGTERM under load: {all} broadcasts answered in {:.1?}, each of {RECEIVERS} receivers got them all",
        start.elapsed()
    );
    assert!(all > SENDERS);
    for seen in seen {
        assert_eq!(seen, answered);
    }
    assert_eq!(lab.exit_code(), Some(0));
}

#[test]
fn a_certificate_is_changed_under_load_and_no_message_is_lost() {
    const CLIENTS: usize = 50;
    const RELOADS: usize = 20;
    let pair = Pair::new();
    let lab = lab::secure_server(&pair, &["--ping-interval", "0"]);
    let config = pair.client_config();
    let clients: Vec<Client> = (0..CLIENTS).map(|_| lab::secure_browser(&lab, &config).unwrap()).collect();
    let stop = AtomicBool::new(false);
    let messages: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let packet = format!(r#"{{"opcode":"echo","n":{count},"m":"{}"}}"#, "x".repeat(count % 3000));
                        client.say(&packet);
                        assert_eq!(client.text(), packet);
                        count += 1;
                    }
                    client.say(r#"{"opcode":"quit"}"#);
                    client.closed_with(1000);
                    count
                })
            })
            .collect();
        for reload in 1..=RELOADS {
            pair.renew();
            lab.signal("HUP");
            lab.wait_for_log("Certificate reloaded", reload);
            // The new pair is in force: a client that trusts nothing else comes in.
            lab::secure_browser(&lab, &pair.client_config()).unwrap();
        }
        assert!(lab::secure_browser(&lab, &config).is_err(), "the first certificate is gone");
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("reload under load: {RELOADS} new pairs, {messages} echoes of {CLIENTS} clients, none lost");
    assert_eq!(lab.log_count("Certificate reloaded"), RELOADS);
    lab.wait_until_empty(3 * SECOND);
}

#[test]
fn a_full_disk_stops_nobody() {
    let server = Phpws::start(&["--log-file", lab::full_disk().to_str().unwrap(), "--log-size", "100"]);
    for _ in 0..100 {
        server.browser().0.say("{}");
    }
    server.signal("HUP");
    server.log_line("Log file reopened");
    server.browser().0.say("{}");
    assert!(lab::full_disk().exists(), "a device is not renamed");
    drop(server);

    // The console may be such a place too.
    let folder = Folder::new();
    let log = folder.file("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_phpws"))
        .args(["--log-file", log.to_str().unwrap(), "ws://127.0.0.1:0"])
        .stdout(lab::full_disk_file())
        .spawn()
        .unwrap();
    let addr = wait_for("the address", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find(|line| line.contains("Server initialized on "))?.to_owned();
        line.split_whitespace().find_map(|word| word.parse::<SocketAddr>().ok())
    });
    let outcome = std::panic::catch_unwind(|| {
        for _ in 0..100 {
            lab::ready_over(TcpStream::connect(addr).unwrap(), "/web", "").0.say("{}");
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    outcome.unwrap();
    println!("full disk: 201 clients served with no room for the log");
}

/// Jumps of the system's clock: a check of the source, since to move the clock needs privileges.
#[test]
fn no_timer_looks_at_the_clock_on_the_wall() {
    fn sources(dir: &str) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        files.into_iter().chain(dirs.iter().flat_map(|dir| sources(dir.to_str().unwrap()))).collect()
    }
    let files = sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let uses = |text: &str| -> Vec<String> {
        let found = files.iter().filter(|path| std::fs::read_to_string(path).unwrap().contains(text));
        found.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert!(!uses("Instant::now()").is_empty());
    // What stamps log lines, notices and the start of the process; none of them waits for a moment of that clock.
    const STAMPS: [&str; 6] = ["log_file.rs", "census.rs", "queue.rs", "sender.rs", "counters.rs", "figures.rs"];
    for wall in ["SystemTime", "Timestamp::now", "UNIX_EPOCH", "clock_gettime"] {
        let others: Vec<String> = uses(wall).into_iter().filter(|file| !STAMPS.contains(&file.as_str())).collect();
        assert_eq!(others, Vec::<String>::new(), "{wall}");
    }
    // The dates of log lines and answers, and nothing else.
    let mut dates = uses("jiff::");
    dates.sort();
    assert_eq!(dates, ["log_file.rs", "printable.rs"]);
    println!("clock jumps: {} source files, only the log and stamps ask for the time of day", files.len());
}
