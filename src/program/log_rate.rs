//! How many log lines a second strangers may cause.
//!
//! Each connection writes some lines, and who connects without a pause would push everything older out of the log. So
//! the lines of connections have a rate. Those of the server itself, its start, its stop, its files, are always
//! written: their target is `phpws`. It knows no clock; time is an argument. PHP has no counterpart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::Level;

use crate::rate::Bucket;

/// The default: lines a second.
pub(crate) const LOG_RATE: u32 = 1000;
/// A burst may have as many lines as so many seconds.
const BURST: u64 = 10;
/// Time between two lines that say how many were left out.
const NOTE_PAUSE: Duration = Duration::from_secs(1);
/// What the targets of lines begin with that a connection may cause; a shorter one is the server's own.
const OF_CONNECTIONS: &str = "phpws::";

/// Lines that were left out since the start of the process.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Lines that were left out since the start of the process.
pub(crate) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether it is written.
    pub(super) written: bool,
    /// The number of lines that a line before it tells of.
    pub(super) note: Option<u64>,
}

/// The allowances for lines, and what was left out of late.
#[derive(Debug)]
pub(super) struct LogRate {
    each_second: u32,
    info: Option<Bucket<BURST>>,
    /// Warnings and errors have their own, so that a flood of other lines hides none of them.
    warnings: Option<Bucket<BURST>>,
    left_out: u64,
    noted: Option<Instant>,
}

impl LogRate {
    /// So many lines a second; 0 is no limit.
    pub(super) fn new(each_second: u32) -> LogRate {
        LogRate { each_second, info: None, warnings: None, left_out: 0, noted: None }
    }

    /// A line is to be written.
    pub(super) fn admit(&mut self, target: &str, level: Level, now: Instant) -> Verdict {
        let written = !target.starts_with(OF_CONNECTIONS) || self.take(level, now);
        if !written {
            self.left_out += 1;
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        let is_due = self.left_out > 0 && self.noted.is_none_or(|noted| now.saturating_duration_since(noted) >= NOTE_PAUSE);
        Verdict { written, note: is_due.then(|| self.note(now)) }
    }

    /// Takes one line of the allowance for its level, if there is any left.
    fn take(&mut self, level: Level, now: Instant) -> bool {
        let bucket = if level <= Level::Warn { &mut self.warnings } else { &mut self.info };
        let bucket = bucket.get_or_insert(Bucket::full(now));
        let fits = bucket.wait(1, self.each_second, now).is_none();
        if fits {
            bucket.take(1, self.each_second, now);
        }
        fits
    }

    /// What was left out and not yet told; none of it is told again.
    pub(super) fn rest(&mut self, now: Instant) -> Option<u64> {
        (self.left_out > 0).then(|| self.note(now))
    }

    fn note(&mut self, now: Instant) -> u64 {
        self.noted = Some(now);
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: &str = "phpws::web_socket_server::listener";

    fn written(rate: &mut LogRate, count: u64, now: Instant) -> u64 {
        (0..count).filter(|_| rate.admit(CONNECTION, Level::Info, now).written).count() as u64
    }

    #[test]
    fn a_flood_leaves_so_many_lines_a_second_and_one_about_the_others() {
        let start = Instant::now();
        let mut rate = LogRate::new(100);
        assert_eq!(written(&mut rate, 1000, start), 1000);
        // The first line that is left out is told of at once, the others a second later.
        let mut notes = Vec::new();
        for millis in 0..3000 {
            let now = start + Duration::from_millis(millis);
            notes.extend((0..10).filter_map(|_| rate.admit(CONNECTION, Level::Info, now).note));
        }
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert_eq!(notes[0], 1);
        let end = start + Duration::from_millis(2999);
        let left_out = notes.iter().sum::<u64>() + rate.rest(end).unwrap();
        assert_eq!(left_out, 30_000 - 299);
        assert_eq!(rate.rest(end), None);
    }

    #[test]
    fn lines_of_the_server_and_warnings_are_written_during_a_flood() {
        let now = Instant::now();
        let mut rate = LogRate::new(100);
        assert_eq!(written(&mut rate, 5000, now), 1000);
        assert!((0..5000).all(|_| rate.admit("phpws", Level::Info, now).written));
        assert!((0..5000).all(|_| rate.admit("shop", Level::Info, now).written));
        // Strangers can cause warnings too.
        assert_eq!((0..5000).filter(|_| rate.admit(CONNECTION, Level::Warn, now).written).count(), 1000);
        assert!(!rate.admit(CONNECTION, Level::Error, now).written);
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit_and_quiet_fills_the_allowance() {
        let now = Instant::now();
        assert_eq!(written(&mut LogRate::new(0), 100_000, now), 100_000);
        let mut rate = LogRate::new(10);
        assert_eq!(written(&mut rate, 1000, now), 100);
        assert_eq!(written(&mut rate, 1000, now + Duration::from_secs(1)), 10);
        assert_eq!(written(&mut rate, 1000, now + Duration::from_secs(3600)), 100);
    }
}
