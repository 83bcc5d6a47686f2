//! Questions what became of a message, while other processes answer them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::publish::Report;

/// How long the answers of other processes are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions at a time; those beyond are answered with `unknown` at once.
const MAX_ASKS: usize = 10_000;

/// All questions that are open, or answered and not fetched.
#[derive(Default)]
pub(crate) struct Asks {
    open: HashMap<u64, Ask>,
    last: u64,
}

struct Ask {
    /// How many processes have to answer, once it is known.
    expected: Option<usize>,
    answers: usize,
    /// Whether Redis keeps the message until its client comes back.
    kept: bool,
    report: Report,
    until: Instant,
    done: bool,
}

impl Asks {
    /// Opens a question, about a message for one client or for many.
    pub(crate) fn open(&mut self, single: bool, now: Instant) -> u64 {
        self.last += 1;
        let report = Report::about(single);
        let full = self.open.len() >= MAX_ASKS;
        let ask = Ask { expected: None, answers: 0, kept: false, report, until: now + PATIENCE, done: false };
        self.open.insert(self.last, ask);
        if full {
            self.unknown(self.last);
        }
        self.last
    }

    /// So many processes have the message.
    pub(crate) fn expect(&mut self, ask: u64, processes: usize) {
        self.change(ask, |ask| ask.expected = Some(processes));
    }

    /// Redis keeps it, should the process that has the client have let go of it.
    pub(crate) fn keep(&mut self, ask: u64) {
        self.change(ask, |ask| ask.kept = true);
    }

    /// One of them says what became of it.
    pub(crate) fn answer(&mut self, ask: u64, delivered: usize, queued: usize, failed: usize) {
        self.change(ask, |ask| {
            ask.answers += 1;
            ask.report.add(delivered, queued, failed);
        });
    }

    /// It went nowhere, and why.
    pub(crate) fn nowhere(&mut self, ask: u64, why: &str) {
        self.finish(ask, |report| report.set_error(404, why));
    }

    /// Nobody knows what became of it elsewhere; this process says what became of it here.
    pub(crate) fn alone(&mut self, ask: u64) {
        self.change(ask, |ask| {
            ask.report.set_unknown();
            ask.expected = Some(ask.answers + 1);
        });
    }

    /// Nobody knows.
    pub(crate) fn unknown(&mut self, ask: u64) {
        self.finish(ask, Report::set_unknown);
    }

    /// An answer that is not about a message.
    pub(crate) fn text(&mut self, ask: u64, text: String) {
        self.finish(ask, |report| report.text = Some(text));
    }

    /// Whether a question can be answered.
    pub(crate) fn is_done(&self, ask: u64) -> bool {
        self.open.get(&ask).is_none_or(|ask| ask.done)
    }

    /// Takes the answer.
    pub(crate) fn take(&mut self, ask: u64) -> Report {
        self.open.remove(&ask).map(|ask| ask.report.judged()).unwrap_or_default()
    }

    /// Ends the questions that waited for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = |ask: &Ask| !ask.done && ask.until <= now;
        let late: Vec<u64> = self.open.iter().filter(|(_, ask)| late(ask)).map(|(number, _)| *number).collect();
        late.into_iter().for_each(|ask| self.unknown(ask));
    }

    fn change(&mut self, ask: u64, change: impl FnOnce(&mut Ask)) {
        if let Some(ask) = self.open.get_mut(&ask).filter(|ask| !ask.done) {
            change(ask);
            ask.done = ask.expected.is_some_and(|expected| ask.answers >= expected);
            if ask.done && ask.report.is_of_nobody() {
                match ask.kept {
                    true => ask.report.add(0, 1, 0),
                    false => ask.report.set_error(404, "the client is gone"),
                }
            }
        }
    }

    fn finish(&mut self, ask: u64, change: impl FnOnce(&mut Report)) {
        if let Some(ask) = self.open.get_mut(&ask).filter(|ask| !ask.done) {
            change(&mut ask.report);
            ask.done = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_let_go_of_the_client_says_nothing_of_what_redis_keeps() {
        for (kept, status, counts) in [(true, 202, (0, 1, 0)), (false, 404, (0, 0, 0))] {
            let mut asks = Asks::default();
            let ask = asks.open(true, Instant::now());
            if kept {
                asks.keep(ask);
            }
            asks.answer(ask, 0, 0, 0);
            assert!(!asks.is_done(ask));
            asks.expect(ask, 1);
            assert!(asks.is_done(ask));
            let report = asks.take(ask);
            assert_eq!((report.status, report.counts()), (status, counts));
        }
    }

    #[test]
    fn nobody_knows_what_is_answered_too_late() {
        let (mut asks, now) = (Asks::default(), Instant::now());
        let ask = asks.open(true, now);
        asks.expect(ask, 1);
        asks.expire(now + PATIENCE / 2);
        assert!(!asks.is_done(ask));
        asks.expire(now + PATIENCE);
        asks.answer(ask, 1, 0, 0);
        assert_eq!(asks.take(ask).status, 503);
        assert_eq!(asks.take(ask), Report::default(), "it is taken once");
    }
}
