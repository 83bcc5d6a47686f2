//! The model: random pages, senders and faults of a seed, and what docs/cluster.md promises of all of them.
//!
//! ```text
//!   world:  Redis, a network for each process, processes, faults
//!   members: pages that break, move and send        publishers: HTTP, one answer after the other
//!                      └──────────▶ judge ◀──────────────┘
//! ```
//!
//! `PHPWS_MODEL_SEED` is one seed, `PHPWS_MODEL_SEEDS` how many follow each other from there, `PHPWS_MODEL_SECONDS` how
//! long each goes on: `make cluster-model`. A failure prints what concerned page and message lived through.

mod excuses;
mod judge;
mod members;
mod publishers;
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::util::crowd::{Dice, setting};
use crate::util::wait_for;
use judge::{COLUMNS, Row};
use members::Member;
use publishers::Sent;
use world::World;

/// Seeds that found something, or that meet many faults in a short time.
const SEEDS: [u64; 4] = [1, 2, 3, 4];
const ROOMS: [&str; 3] = ["r", "s", "t"];
/// Pages that resume, the first of which also send; pages that do not, likewise.
const RESUMING: usize = 10;
const PLAIN: usize = 3;
const RESUMING_SENDERS: usize = 3;
const PUBLISHERS: usize = 3;

/// What all threads of a run share.
struct Shared {
    /// Senders send no more.
    quiet: AtomicBool,
    /// Pages break no more.
    calm: AtomicBool,
    /// Pages end.
    over: AtomicBool,
    /// The uuid that each page has now.
    uuids: Vec<Mutex<String>>,
    /// Those that had the last message.
    rested: Vec<AtomicBool>,
    /// Those that are to reset their connection now.
    reset: Vec<AtomicBool>,
}

impl Shared {
    fn new() -> Shared {
        let flags = || (0..RESUMING + PLAIN).map(|_| AtomicBool::new(false)).collect();
        let uuids = (0..RESUMING + PLAIN).map(|_| Mutex::default()).collect();
        let [quiet, calm, over] = [(); 3].map(|()| AtomicBool::new(false));
        Shared { quiet, calm, over, uuids, rested: flags(), reset: flags() }
    }

    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::SeqCst)
    }
}

/// The rooms of a page: none, one, two or three.
fn rooms_of(page: usize) -> &'static [&'static str] {
    &ROOMS[..page % (ROOMS.len() + 1)]
}

fn run(seed: u64, time: Duration) -> Row {
    let (mut dice, shared) = (Dice::of(seed), Arc::new(Shared::new()));
    let mut world = World::start(shared.clone());
    let addrs = world.addrs();
    let members: Vec<_> = (0..RESUMING + PLAIN)
        .map(|number| {
            let member = Member::start(number, &addrs, shared.clone());
            let dice = Dice::of(seed * 1000 + number as u64);
            std::thread::spawn(move || member.live(dice))
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let (addrs, shared, dice) = (addrs.clone(), shared.clone(), Dice::of(seed * 1000 + 500 + number as u64));
            std::thread::spawn(move || publishers::publish(RESUMING + PLAIN + number, &addrs, &shared, dice))
        })
        .collect();
    let until = Instant::now() + time;
    while Instant::now() < until {
        dice.sleep(100, 900);
        world.fault(&mut dice);
    }
    world.heal();
    shared.calm.store(true, Ordering::SeqCst);
    shared.quiet.store(true, Ordering::SeqCst);
    let mut sent: Vec<Sent> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
    world.wait_until_well();
    let rested = || shared.rested.iter().filter(|rested| !Shared::is(rested)).count();
    let patience = Instant::now() + Duration::from_secs(20);
    wait_for("the last message to be taken", || world.end().then_some(()));
    while rested() > 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    let presence = world.check_presence(&shared);
    shared.over.store(true, Ordering::SeqCst);
    let members: Vec<Member> = members.into_iter().map(|member| member.join().unwrap()).collect();
    for member in &members {
        sent.extend(member.sent.iter().cloned());
    }
    let restless = shared.rested.iter().enumerate().filter(|(_, rested)| !Shared::is(rested));
    let restless = restless.map(|(page, _)| format!("page {page} never had the last message"));
    let presence = presence.into_iter().chain(restless).collect();
    judge::judge(seed, &world, &members, &sent, presence)
}

#[test]
fn every_message_is_where_it_was_said_to_be() {
    let time = Duration::from_secs(setting("PHPWS_MODEL_SECONDS", 12));
    let seeds: Vec<u64> = match (setting("PHPWS_MODEL_SEED", 0), setting("PHPWS_MODEL_SEEDS", 0)) {
        (0, 0) => SEEDS.to_vec(),
        (first, count) => (first.max(1)..first.max(1) + count.max(1)).collect(),
    };
    let rows: Vec<Row> = seeds.into_iter().map(|seed| run(seed, time)).collect();
    println!("\n| seed | messages | received | faults | {} | excused |", COLUMNS.join(" | "));
    println!("|{}", "---|".repeat(COLUMNS.len() + 5));
    rows.iter().for_each(|row| println!("{row}"));
    rows.iter()
        .flat_map(|row| &row.excused)
        .map(|(excuse, _)| excuse)
        .collect::<std::collections::BTreeSet<_>>()
        .iter()
        .for_each(|excuse| println!("{excuse:?}: {}", excuse.sentence()));
    let bad: Vec<u64> = rows.iter().filter(|row| row.faults() > 0).map(|row| row.seed).collect();
    assert!(bad.is_empty(), "seeds {bad:?}: PHPWS_MODEL_SEED=<seed> make cluster-model");
}
