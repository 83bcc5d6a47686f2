//! Processes and Redis are killed and replaced under load, and every message is counted.
//!
//! Needs redis-server: `make cluster-tests`, with the figures that it prints. `PHPWS_KILL_SEED` is the seed of
//! what is killed when, `PHPWS_KILL_SECONDS` how long that goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::util::crowd::{Crowd, Dice, Senders, judge, numbers, setting};
use crate::util::http::{metric, post, try_post};
use crate::util::lab::compare;
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::swarm::{Prober, Swarm, enter};
use crate::util::visitors::Visitors;
use crate::util::{Client, NEXT, Phpws, masked, wait_for};
use serde_json::{Value, json};

const PAGES: usize = 20;
const SENDERS: usize = 3;

fn kill_time() -> Duration {
    Duration::from_secs(setting("PHPWS_KILL_SECONDS", 10))
}

fn process(redis: &Redis, address: &str, args: &[&str]) -> Phpws {
    let server = Phpws::start_on(address, &[&["--backplane", &redis.url()], args].concat());
    server.log_line("Backplane is up");
    server
}

#[test]
fn killed_processes_lose_nothing_and_double_nothing() {
    let (mut dice, redis) = (Dice::new(), Redis::start());
    let args = ["--resume-bytes", "16000000"];
    let mut servers: Vec<Phpws> = (0..3).map(|_| process(&redis, "ws://127.0.0.1:0", &args)).collect();
    let addrs: Vec<_> = servers.iter().map(|server| server.addr).collect();
    let crowd = Crowd::start(&addrs, PAGES);
    let senders = Senders::start(&addrs, SENDERS, &crowd.uuids);
    let (until, mut kills) = (Instant::now() + kill_time(), 0);
    while Instant::now() < until {
        dice.sleep(300, 1200);
        let victim = dice.below(3);
        let address = format!("ws://{}", servers[victim].addr);
        servers[victim].child.kill().unwrap();
        servers[victim].child.wait().unwrap();
        kills += 1;
        dice.sleep(0, 500);
        servers[victim] = process(&redis, &address, &args);
    }
    let sent = senders.finish();
    let (line, resumed) = judge(&crowd.finish(), &sent);
    println!("processes: {kills} kills, {line}");
    assert!(kills > 3 && resumed > PAGES / 2, "{kills} kills");
}

/// Restarts in a row.
const ROUNDS: usize = 5;

#[test]
fn restarts_under_load_lose_nothing_and_turn_nobody_away() {
    let redis = Redis::start();
    let args = ["--reuse-port", "--drain-time", "1", "--close-timeout", "1", "--resume-bytes", "16000000"];
    let mut server = process(&redis, "ws://127.0.0.1:0", &args);
    let (addr, address) = (server.addr, format!("ws://{}", server.addr));
    let crowd = Crowd::start(&[addr], PAGES);
    let senders = Senders::start(&[addr], SENDERS, &crowd.uuids);
    let visitors = Visitors::start(addr, 4);
    let all_are_there = |server: &Phpws| {
        let clients = || metric(server, "phpws_clients{type=\"websocket\"}");
        wait_for("pages and senders", || (clients() >= (PAGES + SENDERS) as f64).then_some(()));
        visitors.wait_for_more(100);
    };
    for _ in 0..ROUNDS {
        all_are_there(&server);
        let new = process(&redis, &address, &args);
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        server = new;
    }
    all_are_there(&server);
    let (visits, sent, pages) = (visitors.finish(), senders.finish(), crowd.finish());
    let all: Vec<&Page> = pages.iter().chain(sent.iter().map(|sent| &sent.page)).collect();
    let tries: usize = all.iter().map(|page| page.tries).sum();
    let ready: usize = all.iter().map(|page| page.standings.len()).sum();
    let (line, resumed) = judge(&pages, &sent);
    println!(
        "restarts: {ROUNDS}, {line}; pages and senders connected {tries} times, {} failed; {} visitors welcome, {} failed, slowest {:?}",
        tries - ready,
        visits.welcome,
        visits.failed.len(),
        visits.slowest
    );
    assert_eq!(visits.failed, [""; 0]);
    assert_eq!(tries, ready, "each connect of a page was answered");
    assert!(resumed > PAGES * ROUNDS / 2 && visits.welcome > 500, "{resumed} resumes");
}

// ---- Redis

/// What was said to become of a message.
#[derive(Debug)]
enum Told {
    /// It is with so many pages.
    Pages(usize),
    Unknown,
}

/// What was said of each message, by its number.
type Answers = BTreeMap<usize, Told>;

fn told(status: u16, answer: &Value) -> Told {
    match (answer["delivered"].as_u64(), answer["queued"].as_u64()) {
        (Some(delivered), Some(queued)) if status != 503 => Told::Pages((delivered + queued) as usize),
        _ => Told::Unknown,
    }
}

/// Sends over HTTP: odd numbers to a page in turn, even ones to all.
fn post_numbered(sender: usize, addr: SocketAddr, uuids: &[String], done: &AtomicBool) -> Answers {
    let mut answers = Answers::new();
    for number in 0.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let path = if number % 2 == 1 { format!("/feedback/{}", uuids[number % uuids.len()]) } else { "/broadcast".into() };
        let answer = try_post(addr, &path, &format!(r#"{{"s":{sender},"n":{number}}}"#));
        answers.insert(number, answer.map_or(Told::Unknown, |(status, answer)| told(status, &answer)));
        std::thread::sleep(Duration::from_millis(2));
    }
    answers
}

/// The same from a client with receipts; it is no page, so that it does not resume.
fn ask_numbered(sender: usize, addr: SocketAddr, uuids: &[String], done: &AtomicBool) -> Answers {
    let mut answers = Answers::new();
    let mut client = Client::connect(addr);
    client.send(crate::util::request("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n").as_bytes());
    client.head();
    assert!(client.text().contains("ready"));
    for number in 0.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let to = match number % 2 {
            1 => format!(r#""opcode":"feedback","uuid":"{}""#, uuids[number % uuids.len()]),
            _ => r#""opcode":"broadcast""#.into(),
        };
        client.send_text(&format!(r#"{{{to},"s":{sender},"n":{number},"receipt":{number}}}"#));
        let answer = std::iter::repeat_with(|| client.text()).find(|text| text != NEXT).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["receipt"], json!(number), "{answer}");
        answers.insert(number, told(answer["status"].as_u64().unwrap() as u16, &answer));
        std::thread::sleep(Duration::from_millis(2));
    }
    answers
}

/// Redis is killed and comes back empty, or freezes, while all processes live.
#[test]
fn a_redis_that_fails_doubles_nothing_and_nobody_is_told_a_falsehood() {
    let mut redis = Redis::start();
    let url = redis.url();
    let (mut kills, mut freezes) = (0, 0);
    count_while(&url, |dice| {
        if kills <= freezes {
            redis.kill();
            kills += 1;
            dice.sleep(0, 500);
            redis.start_again();
        } else {
            redis.signal("STOP");
            freezes += 1;
            // Every second time for so long that its clients give up.
            let long = 3000 * (freezes % 2);
            dice.sleep(long + 100, long + 900);
            redis.signal("CONT");
        }
    });
    println!("Redis: {kills} kills, {freezes} freezes");
    assert!(kills + freezes > 2, "{kills} kills, {freezes} freezes");
}

/// Does something to Redis again and again under load: what a sender is told is what became of its message, or that nobody
/// knows; no page gets anything twice.
pub fn count_while(url: &str, mut fault: impl FnMut(&mut Dice)) {
    let mut dice = Dice::new();
    let start = |_| {
        let server = Phpws::start(&["--backplane", url]);
        server.log_line("Backplane is up");
        server
    };
    let servers: Vec<Phpws> = (0..3).map(start).collect();
    let addrs: Vec<_> = servers.iter().map(|server| server.addr).collect();
    let crowd = Crowd::start(&addrs, PAGES);
    let done = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..2 * addrs.len())
        .map(|number| {
            let (addr, uuids, done) = (addrs[number % 3], crowd.uuids.clone(), done.clone());
            let send = if number < 3 { post_numbered } else { ask_numbered };
            std::thread::spawn(move || send(number, addr, &uuids, &done))
        })
        .collect();
    let until = Instant::now() + kill_time();
    while Instant::now() < until {
        dice.sleep(500, 1500);
        fault(&mut dice);
    }
    for server in &servers {
        let knows_all = || post(server, "/broadcast", "1").1["delivered"].is_u64();
        wait_for("the processes to reach each other", || knows_all().then_some(()));
    }
    done.store(true, Ordering::SeqCst);
    let answers: Vec<Answers> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let sent = check_answers(&answers, &crowd.finish());
    for server in &servers {
        server.log().iter().filter(|line| line.contains("ackplane")).take(6).for_each(|line| println!("{line}"));
    }
    assert!(sent > 1000, "{sent} messages whose fate is known");
}

/// What was told and what came; gives of how many messages the fate was known.
fn check_answers(answers: &[Answers], pages: &[Page]) -> usize {
    let (mut received, mut doubled, mut false_answers, mut unknown, mut sent, mut partly) = (0, 0, 0, 0, 0, 0);
    for (sender, answers) in answers.iter().enumerate() {
        let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
        for page in pages {
            let mut got = numbers(page.got.iter().filter(|text| text["s"] == json!(sender)), "n");
            received += got.len();
            got.sort_unstable();
            let before = got.len();
            got.dedup();
            doubled += before - got.len();
            got.into_iter().for_each(|number| *reached.entry(number).or_default() += 1);
        }
        for (number, told) in answers {
            sent += 1;
            let (reached, all) = (reached.get(number).copied().unwrap_or_default(), if number % 2 == 1 { 1 } else { PAGES });
            match told {
                Told::Unknown => unknown += 1,
                // More are reached than were told of where a process was just about to come back to Redis.
                Told::Pages(said) if *said > reached || all == 1 && *said < reached => {
                    println!("sender {sender}, message {number}: told {said}, reached {reached}");
                    false_answers += 1;
                }
                Told::Pages(said) => partly += usize::from(*said < all),
            }
        }
    }
    println!(
        "sent {sent}, received {received}, doubled {doubled}; \
         told unknown {unknown}, told of fewer than all {partly}, told a falsehood {false_answers}; standings of pages: {:?}",
        pages.iter().map(|page| page.standings.len()).max()
    );
    assert_eq!((doubled, false_answers), (0, 0));
    sent - unknown
}

/// The flood of one process in the eyes of another one's client. Redis, two servers and the load share the processors, so
/// the bounds are wide; without a budget the longest echo takes seconds.
#[test]
fn a_flood_of_broadcasts_at_one_process_hardly_slows_those_of_another() {
    const NAME: &str = "broadcasts of 8 senders at another process, 500 readers";
    let redis = Redis::start();
    let [to, from] = [(); 2].map(|()| process(&redis, "ws://127.0.0.1:0", &["--ping-interval", "0"]));
    let come = |server: &Phpws, count| enter(|| std::net::TcpStream::connect(server.addr).unwrap(), count, "/web", "", b"");
    let readers = Swarm::readers(come(&to, 500), usize::MAX);
    let flooders = Swarm::flooders(come(&from, 8), &masked(true, 1, br#"{"opcode":"broadcast"}"#), 128 * 1024);
    let mut backend = Prober::new(to.ready_on("/php", "Client-Type: php\r\nFrames-Per-Read: any\r\n").0);
    let mut echoes = |time| {
        let begin = Instant::now();
        backend.until(Duration::from_millis(2), Prober::echo, || begin.elapsed() > time)
    };
    let mut quiet = echoes(Duration::from_millis(700));
    flooders.flood();
    let mut with = echoes(Duration::from_secs(3));
    compare(NAME, &mut quiet, &mut with);
    let counts = ["received", "dropped"].map(|name| metric(&to, &format!("phpws_backplane_{name}_total")));
    println!("{NAME}: {counts:?} delivered and dropped, readers read {} KiB", readers.read() / 1024);
    assert_eq!(readers.lost(), 0);
    assert!(
        with.p99() <= (10 * quiet.p99()).max(Duration::from_millis(60)) && with.percentile(100) <= Duration::from_millis(500)
    );
}
