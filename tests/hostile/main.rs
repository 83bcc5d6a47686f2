//! Hostile peers, and hostile circumstances, seen from outside.
//!
//! Not part of `cargo test`: the figures need a release build and a machine that is not busy.
//!
//! ```sh
//! cargo test --release --test hostile -- --nocapture --test-threads=1
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../util/mod.rs"]
mod util;

mod budgets;
mod descriptors;
mod ends;
mod floods_of_connections;
mod floods_of_messages;
mod held_back;
mod memory;
mod memory_sum;
mod operations;
mod slow_peers;
mod strangers;

use std::time::Duration;

use crate::util::lab::{Honest, KIB, Times, compare};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// What an honest client may suffer: five times what it has without the attack, and a little.
fn hardly_slower(name: &str, mut without: Times, mut with: Times) -> Result<(), String> {
    compare(name, &mut without, &mut with);
    within(name, with.p99(), 5 * without.p99() + 4 * MS)
}

fn within(name: &str, time: Duration, bound: Duration) -> Result<(), String> {
    if time <= bound { Ok(()) } else { Err(format!("{name}: {time:.1?} where {bound:.1?} are allowed")) }
}

/// The same for one figure of several, said in any case.
fn holds(name: &str, figure: Duration, bound: Duration) -> Result<(), String> {
    println!("{name}: {figure:.1?}, bound {bound:.1?}");
    within(name, figure, bound)
}

/// The same for bytes.
fn fits(name: &str, bytes: usize, bound: usize) -> Result<(), String> {
    println!("{name}: {} KiB, bound {} KiB", bytes / KIB, bound / KIB);
    if bytes <= bound { Ok(()) } else { Err(format!("{name}: {} KiB where {} KiB are allowed", bytes / KIB, bound / KIB)) }
}

/// Fails with all that does not hold.
fn verdict(outcomes: impl IntoIterator<Item = Result<(), String>>) {
    let problems: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Runs `attack` beside an honest client and without it, in turns, and gives the round trips.
fn in_turns<T: Send>(
    honest: &mut Honest,
    turns: usize,
    mut attack: impl FnMut() -> T + Send,
    mut result: impl FnMut(T),
) -> (Times, Times) {
    let (mut without, mut with) = (Times::default(), Times::default());
    for _ in 0..turns {
        without.extend(honest.during(SECOND, MS));
        std::thread::scope(|scope| {
            let attack = scope.spawn(&mut attack);
            with.extend(honest.until(MS, || attack.is_finished()));
            result(attack.join().unwrap());
        });
    }
    (without, with)
}
