//! Waiting for something that is so, and not for a time; and figures that a busy machine may spoil.

use std::time::{Duration, Instant};

/// No wait in a test is longer than this. It is long since it costs nothing where all is well, and a machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_up_to(PATIENCE, what, ask)
}

/// The same where the time that it may take is part of what is tested.
pub fn wait_up_to<T>(time: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Measures again, twice at most, where the figures were too bad: what else runs on the machine makes
/// them worse, and never better.
pub fn at_best(measure: impl Fn() -> Result<(), String>) {
    const ATTEMPTS: usize = 3;
    for attempt in 1.. {
        match measure() {
            Ok(()) => return,
            Err(problem) if attempt == ATTEMPTS => panic!("{problem}, at the best of {ATTEMPTS} attempts"),
            Err(problem) => println!("once more: {problem}"),
        }
    }
}
