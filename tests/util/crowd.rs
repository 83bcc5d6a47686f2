//! A load whose every message is counted: pages that come back wherever they can, and senders that do
//! the same and repeat what was not acknowledged.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::page::Page;

/// A schedule that is the same for the same seed: `PHPWS_KILL_SEED`.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Dice {
        let seed = setting("PHPWS_KILL_SEED", 42);
        println!("seed {seed}");
        Dice::of(seed)
    }

    /// Of a seed that somebody else knows.
    pub fn of(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Sleeps between so many milliseconds.
    pub fn sleep(&mut self, from: usize, to: usize) {
        std::thread::sleep(Duration::from_millis((from + self.below(to - from)) as u64));
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The addresses, beginning with another one.
pub fn turned(addrs: &[SocketAddr], by: usize) -> Vec<SocketAddr> {
    let by = by % addrs.len();
    [&addrs[by..], &addrs[..by]].concat()
}

/// Threads with a page each, all of them in the room `r`.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    pub uuids: Vec<String>,
    threads: Vec<JoinHandle<Page>>,
}

impl Crowd {
    pub fn start(addrs: &[SocketAddr], count: usize) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let mut crowd = Crowd { stop, uuids: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let mut page = Page::ready(&turned(addrs, number), "/web");
            page.say(r#"{"opcode":"join","room":"r"}"#);
            crowd.uuids.push(page.uuid.clone());
            let stop = crowd.stop.clone();
            crowd.threads.push(std::thread::spawn(move || read_to_the_end(page, &stop)));
        }
        crowd
    }

    /// The pages, once nothing more comes.
    pub fn finish(self) -> Vec<Page> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|page| page.join().unwrap()).collect()
    }
}

/// Reads until nothing more has come for a while, once the senders are done.
fn read_to_the_end(mut page: Page, stop: &AtomicBool) -> Page {
    let mut quiet = 0;
    while quiet < 30 {
        let before = page.got.len() + page.tries;
        page.step(Duration::from_millis(100));
        let stopped = stop.load(Ordering::SeqCst);
        quiet = if stopped && before == page.got.len() + page.tries { quiet + 1 } else { 0 };
    }
    page
}

/// Threads that send feedback to each page in turn, broadcasts, and messages to the room, all numbered.
/// They are clients that resume, so they may repeat what they are not sure of.
pub struct Senders {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Sent>>,
}

/// What one of them sent, and how it fared.
pub struct Sent {
    pub single: usize,
    pub many: usize,
    pub page: Page,
}

impl Senders {
    pub fn start(addrs: &[SocketAddr], count: usize, uuids: &[String]) -> Senders {
        let done = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|number| {
                let (addrs, uuids, done) = (turned(addrs, number), uuids.to_vec(), done.clone());
                std::thread::spawn(move || send_numbered(number, &addrs, &uuids, &done))
            })
            .collect();
        Senders { done, threads }
    }

    pub fn finish(self) -> Vec<Sent> {
        self.done.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|sender| sender.join().unwrap()).collect()
    }
}

fn send_numbered(number: usize, addrs: &[SocketAddr], uuids: &[String], done: &AtomicBool) -> Sent {
    let mut page = Page::ready(addrs, "/web");
    page.say(r#"{"opcode":"join","room":"r"}"#);
    let (mut single, mut many) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        for _ in 0..5 {
            let uuid = &uuids[single % uuids.len()];
            page.say(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}","s":{number},"one":{single}}}"#));
            single += 1;
        }
        page.say(&format!(r#"{{"opcode":"broadcast","s":{number},"all":{many}}}"#));
        page.say(&format!(r#"{{"opcode":"broadcast","room":"r","s":{number},"all":{}}}"#, many + 1));
        many += 2;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(page.standings[1..].iter().all(|standing| standing == "resumed"), "{:?}", page.standings);
    Sent { single, many, page }
}

/// Checks that every message reached each page once, in the order of its sender; gives one line of figures, and how
/// often the pages resumed.
pub fn judge(pages: &[Page], sent: &[Sent]) -> (String, usize) {
    let (mut received, mut lost, mut doubled, mut disorder) = (0, 0, 0, 0);
    for (at, page) in pages.iter().enumerate() {
        assert!(page.standings[1..].iter().all(|standing| standing == "resumed"), "{:?}", page.standings);
        for (sender, sent) in sent.iter().enumerate() {
            let to_this = (at..sent.single).step_by(pages.len()).collect::<Vec<_>>();
            for (key, expected) in [("one", to_this), ("all", (0..sent.many).collect())] {
                let got = numbers(page.got.iter().filter(|text| text["s"] == json!(sender)), key);
                let mut sorted = got.clone();
                sorted.sort_unstable();
                disorder += usize::from(sorted != got);
                sorted.dedup();
                doubled += got.len() - sorted.len();
                let missing: Vec<_> = expected.iter().filter(|number| sorted.binary_search(number).is_err()).collect();
                if let Some(first) = missing.first() {
                    println!("page {at} lacks {} of sender {sender}, {key}: {first} ...", missing.len());
                }
                lost += missing.len();
                received += got.len();
            }
        }
    }
    let resumed: usize = pages.iter().map(|page| page.standings.len() - 1).sum();
    let given: usize = sent.iter().map(|sent| sent.single + sent.many).sum();
    let line = format!(
        "{resumed} resumes of {} pages; sent {given}, received {received}, lost {lost}, doubled {doubled}, out of order {disorder}",
        pages.len()
    );
    assert_eq!((lost, doubled, disorder), (0, 0, 0), "{line}");
    (line, resumed)
}

/// The numbers under a key, in the order of the messages.
pub fn numbers<'a>(messages: impl Iterator<Item = &'a Value>, key: &str) -> Vec<usize> {
    messages.filter_map(|text| text[key].as_u64()).map(|number| number as usize).collect()
}
