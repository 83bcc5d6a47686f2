//! What all clients together may cost: the sum of what waits for them, whoever made it wait.

use std::process::Command;
use std::time::{Duration, Instant};

use super::budgets::away;
use super::{MS, SECOND, fits, holds, verdict};
use crate::util::http::try_get;
use crate::util::lab::{KIB, Lab, MIB};
use crate::util::sockets::narrow;
use crate::util::swarm::{Prober, Swarm, enter};
use crate::util::waiting::wait_up_to;
use crate::util::{Client, masked, request, wait_for};

/// The sum that is set here, and what the process may take beside it: the allocator, buffers of one turn.
const SUM: usize = 64 * MIB;
const MARGIN: usize = 16 * MIB;
/// What may be left of a peak.
const LEFT: usize = 32 * MIB;

const ANY: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";

/// A server with that sum, where it knows the setting.
fn limited(args: &[&str]) -> Lab {
    let help = Command::new(env!("CARGO_BIN_EXE_phpws")).arg("--help").output().unwrap();
    let sum = SUM.to_string();
    let known = String::from_utf8_lossy(&help.stdout).contains("--max-memory");
    if !known {
        println!("this server knows no --max-memory");
    }
    let setting: &[&str] = if known { &["--max-memory", &sum] } else { &[] };
    Lab::start(&[setting, args, &["--ping-interval", "0"]].concat())
}

/// All have left: what is resident after ten seconds at most, with a bound for so many connections at the peak.
fn what_is_left(name: &str, lab: &Lab, connections: usize) -> Result<(), String> {
    let (start, bound) = (Instant::now(), LEFT + connections * KIB);
    while (lab.rss() > bound || lab.connections() > 0) && start.elapsed() < 10 * SECOND {
        std::thread::sleep(20 * MS);
    }
    println!("{name}: {} connections left after {:.1?}", lab.connections(), start.elapsed());
    fits(&format!("{name}, resident once all have left"), lab.rss(), bound)
}

/// Waits until the server rests, for so long at most.
fn until_at_rest(lab: &Lab, time: Duration) {
    let start = Instant::now();
    while lab.cpu_share(200 * MS) > 10.0 && start.elapsed() < time {}
}

/// 16 MiB of the smallest broadcasts, to a thousand that read ten kilobytes a second.
struct Glut {
    lab: Lab,
    readers: Swarm,
    flooder: Swarm,
    growth: usize,
    outcomes: Vec<Result<(), String>>,
}

const GLUT: &str = "16 MiB of broadcasts to slow readers";
const READERS: usize = 1000;

fn glut() -> Glut {
    let lab = limited(&[]);
    let readers = Swarm::readers(enter(|| narrow(lab.addr), READERS, "/web", "", b""), 512);
    let message = masked(true, 1, br#"{"opcode":"broadcast"}"#);
    let flooder = Swarm::flooders(enter(|| lab.connect(), 1, "/web", "", b""), &message, 16 * MIB);
    let mut honest = Prober::new(lab.ready_on("/php", ANY).0);
    let before = lab.rss();
    flooder.flood();
    let start = Instant::now();
    let (mut echoes, health) = std::thread::scope(|scope| {
        let health = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while start.elapsed() < 5 * SECOND {
                let asked = Instant::now();
                let answer = try_get(lab.addr, "/health");
                assert_eq!(answer.map(|answer| answer.0), Some(200));
                longest = longest.max(asked.elapsed());
                std::thread::sleep(50 * MS);
            }
            longest
        });
        (honest.until(5 * MS, Prober::echo, || start.elapsed() >= 5 * SECOND), health.join().unwrap())
    });
    let growth = lab.peak_rss().saturating_sub(before);
    println!(
        "{GLUT}: in {:.1?} {} KiB were taken, {} of the readers are closed",
        start.elapsed(),
        flooder.written() / KIB,
        readers.lost()
    );
    println!("{GLUT}: an honest echo meanwhile {}", echoes.show());
    let outcomes = vec![
        fits(&format!("{GLUT}, growth"), growth, SUM + MARGIN),
        holds(&format!("{GLUT}, an honest echo, longest"), echoes.percentile(100), SECOND),
        holds(&format!("{GLUT}, /health, longest"), health, SECOND),
    ];
    Glut { lab, readers, flooder, growth, outcomes }
}

#[test]
fn a_glut_for_slow_readers_keeps_to_the_sum_and_leaves_nothing_behind() {
    let Glut { lab, readers, flooder, mut outcomes, .. } = glut();
    drop((readers, flooder));
    outcomes.push(what_is_left(GLUT, &lab, READERS));
    verdict(outcomes);
}

#[test]
fn at_the_bound_of_memory_the_server_still_stops() {
    let Glut { mut lab, readers, flooder, growth, .. } = glut();
    let start = Instant::now();
    lab.signal("TERM");
    assert_eq!(lab.exit_code(), Some(0));
    println!("{GLUT}: {} KiB over the start, then SIGTERM: gone after {:.1?}", growth / KIB, start.elapsed());
    let outcome = holds(&format!("{GLUT}, the end after SIGTERM"), start.elapsed(), 5 * SECOND);
    drop((readers, flooder));
    verdict([outcome]);
}

#[test]
fn broadcasts_for_clients_that_are_away_are_in_memory_once() {
    const NAME: &str = "1.8 MB of broadcasts, 10,000 away";
    const AWAY: usize = 10_000;
    let lab = limited(&["--resume-time", "600"]);
    let uuids = away(&lab, AWAY);
    let message = masked(true, 1, br#"{"opcode":"broadcast"}"#);
    let count = 1_800_000 / message.len();
    let flooder = Swarm::flooders(enter(|| lab.connect(), 1, "/web", "", b""), &message, count * message.len());
    let before = lab.rss();
    println!("{NAME}: {} KiB before", before / KIB);
    flooder.flood();
    let start = Instant::now();
    // Each is answered with `next`, 28 bytes.
    while flooder.read() < 28 * count && start.elapsed() < 8 * SECOND {
        std::thread::sleep(20 * MS);
    }
    println!("{NAME}: {} of {count} answered after {:.1?}", flooder.read() / 28, start.elapsed());
    let growth = lab.peak_rss().saturating_sub(before);
    let mut outcomes = vec![
        holds(&format!("{NAME}, all answered"), start.elapsed(), 8 * SECOND),
        fits(&format!("{NAME}, growth"), growth, 8 * MIB + AWAY * KIB),
    ];
    drop(flooder);
    if outcomes[0].is_ok() {
        // They come back, say that they have it all, and leave.
        for group in uuids.chunks(100) {
            let back = |uuid: &String| {
                let mut client = Client::over(lab.connect());
                client.send(request(&format!("/web?resume={uuid}&seq={count}"), "").as_bytes());
                client.send(&masked(true, 8, &1000_u16.to_be_bytes()));
                client
            };
            group.iter().map(back).collect::<Vec<_>>().into_iter().for_each(|mut client| drop(client.rest()));
        }
        println!("{NAME}: all came back and left");
        outcomes.push(what_is_left(NAME, &lab, AWAY));
    }
    verdict(outcomes);
}

#[test]
fn a_large_broadcast_for_clients_that_resume_is_in_memory_once() {
    large_broadcast("4.9 MB to 400 that resume", "");
}

#[test]
fn a_large_broadcast_with_a_key_for_clients_that_resume_is_in_memory_once() {
    large_broadcast("4.9 MB with a key to 400 that resume", r#""key":"k","#);
}

fn large_broadcast(name: &str, key: &str) {
    const READERS: usize = 400;
    const SIZE: usize = 4_900_000;
    let lab = limited(&["--resume-time", "2"]);
    let readers = Swarm::readers(enter(|| lab.connect(), READERS, "/web?resume=", "", b""), 0);
    let mut sender = lab.browser();
    let before = lab.rss();
    sender.say(&format!(r#"{{"opcode":"broadcast",{key}"m":"{}"}}"#, "x".repeat(SIZE)));
    until_at_rest(&lab, 8 * SECOND);
    let unread = lab.peak_rss().saturating_sub(before);
    let mut honest = Prober::new(lab.ready_on("/php", ANY).0);
    println!("{name}: an echo while they do not read {:.1?}", honest.echo().unwrap());
    println!("{name}: grown by {} KiB before anybody reads", unread / KIB);
    readers.read_at(usize::MAX);
    let start = Instant::now();
    wait_up_to(20 * SECOND, "all to have it", || (readers.read() >= READERS * SIZE).then_some(()));
    println!("{name}: all have it after {:.1?}, {} were closed", start.elapsed(), readers.lost());
    let growth = lab.peak_rss().saturating_sub(before);
    let mut outcomes = vec![fits(&format!("{name}, growth"), growth, LEFT)];
    assert_eq!(readers.lost(), 0);
    drop((readers, sender, honest));
    wait_for("the end of those that are away", || (lab.log_count("did not come back") >= READERS).then_some(()));
    outcomes.push(what_is_left(name, &lab, READERS));
    verdict(outcomes);
}
