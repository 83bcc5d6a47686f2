//! What time it is in Redis, as far as this process can tell: positions are that time in microseconds.
//!
//! It is asked with each beat. It was read at some moment between the question and the answer, so a position is known
//! from its earliest to its latest.

use std::time::{Duration, Instant};

/// How long a message may take to be executed. It is less than the time after which a connection without an answer is
/// lost: what was not executed by then never is.
const PATIENCE: Duration = Duration::from_millis(2500);

/// How long a time may be under way to be known well, and how often it is asked again for that on a connection.
const VAGUE: Duration = Duration::from_micros(300);
const MOST_ASKED: u32 = 20;
/// How long a time is good enough: clocks drift.
const KEPT: Duration = Duration::from_secs(30);

/// The last time that was read.
#[derive(Debug, Default)]
pub(super) struct Clock {
    read: Option<Reading>,
    /// Whether that was on this connection.
    is_fresh: bool,
    /// How often it was asked once more.
    asked_again: u32,
}

/// A time of Redis, when it was asked for, and when it came.
#[derive(Clone, Copy, Debug)]
struct Reading {
    micros: u64,
    asked: Instant,
    came: Instant,
}

impl Clock {
    /// A time of Redis, in microseconds. One that was long under way does not replace a better one at once.
    pub(super) fn set(&mut self, micros: u64, asked: Instant, came: Instant) {
        let new = Reading { micros, asked, came };
        let is_worse = |old: &Reading| took(old) < took(&new) && came.saturating_duration_since(old.came) < KEPT;
        if !self.is_fresh || !self.read.as_ref().is_some_and(is_worse) {
            self.read = Some(new);
        }
        self.is_fresh = true;
    }

    /// The connection is lost: the next one may lead to another Redis.
    pub(super) fn doubt(&mut self) {
        (self.is_fresh, self.asked_again) = (false, 0);
    }

    /// The earliest position that a moment may have; `None` where no time was read yet.
    pub(super) fn earliest(&self, at: Instant) -> Option<u64> {
        self.read.map(|Reading { micros, came, .. }| shifted(micros, came, at))
    }

    /// The latest.
    pub(super) fn latest(&self, at: Instant) -> Option<u64> {
        self.read.map(|Reading { micros, asked, .. }| shifted(micros, asked, at))
    }

    /// Whether it is worth to ask once more at once: the times so far were long under way.
    pub(super) fn is_vague(&mut self) -> bool {
        let is_vague = self.read.is_some_and(|reading| took(&reading) > VAGUE) && self.asked_again < MOST_ASKED;
        self.asked_again += u32::from(is_vague);
        is_vague
    }

    /// Until when a message that is sent now may be executed; 0 where no time is known.
    pub(super) fn deadline(&self, now: Instant) -> u64 {
        let position = self.earliest(now).filter(|_| self.is_fresh);
        position.map_or(0, |position| position + PATIENCE.as_micros() as u64)
    }
}

/// How long a time was under way.
fn took(reading: &Reading) -> Duration {
    reading.came.saturating_duration_since(reading.asked)
}

/// A time in microseconds that was so at one moment, at another one.
fn shifted(micros: u64, from: Instant, to: Instant) -> u64 {
    let between = |from: Instant, to: Instant| to.saturating_duration_since(from).as_micros() as u64;
    (micros + between(from, to)).saturating_sub(between(to, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_and_back_from_what_was_read() {
        let (mut clock, now) = (Clock::default(), Instant::now() + Duration::from_secs(100));
        assert_eq!((clock.earliest(now), clock.latest(now), clock.deadline(now)), (None, None, 0));
        let second = Duration::from_secs(1);
        clock.set(50_000_000, now - second, now);
        assert_eq!((clock.earliest(now + second), clock.latest(now + second)), (Some(51_000_000), Some(52_000_000)));
        assert_eq!((clock.earliest(now - second), clock.latest(now - second)), (Some(49_000_000), Some(50_000_000)));
        assert_eq!(clock.deadline(now), 52_500_000);
        clock.set(60_000_000, now, now + 3 * second);
        assert_eq!(clock.earliest(now), Some(50_000_000), "the better one holds");
        clock.doubt();
        assert_eq!((clock.earliest(now), clock.deadline(now)), (Some(50_000_000), 0));
    }
}
