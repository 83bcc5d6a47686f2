//! Questions to other processes, most of them what became of a message, until they are answered.
//!
//! Each has a number and ends: with the answers, or after a while with `unknown`. The cluster only brings answers
//! here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::report::{About, Report};
use crate::elsewhere::Fates;

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
    report: Report,
    /// Whether the message is kept for a client that its process does not have any more.
    kept: bool,
    until: Instant,
    done: bool,
}

impl Asks {
    /// Opens a question, and gives its number.
    pub(crate) fn open(&mut self, about: About, now: Instant) -> u64 {
        self.last += 1;
        let report = Report::about(about);
        let full = self.open.len() >= MAX_ASKS;
        let ask = Ask { expected: None, answers: 0, report, kept: false, until: now + PATIENCE, done: false };
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

    /// It is kept for a client that may resume: where nobody has that client now it waits.
    pub(crate) fn keep(&mut self, ask: u64) {
        self.change(ask, |ask| ask.kept = true);
    }

    /// One of them says what became of it.
    pub(crate) fn answer(&mut self, ask: u64, fates: Fates) {
        self.change(ask, |ask| {
            ask.answers += 1;
            ask.report.add(fates);
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

    /// For so many clients it waits whose process is gone; whether there are others that nobody reaches.
    pub(crate) fn out_of_reach(&mut self, ask: u64, waiting: usize, unknown: bool) {
        self.change(ask, |ask| {
            ask.report.add(Fates { queued: waiting, ..Fates::default() });
            if unknown {
                ask.report.set_unknown();
            }
        });
    }

    /// Its one receiver does not get it, and why.
    pub(crate) fn failed(&mut self, ask: u64, why: &str) {
        self.finish(ask, |report| {
            report.add(Fates { failed: 1, ..Fates::default() });
            report.set_error(503, why);
        });
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
        let Some(Ask { mut report, kept, .. }) = self.open.remove(&ask) else { return Report::default() };
        if kept {
            report.wait();
        }
        report.judged()
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
        }
    }

    fn finish(&mut self, ask: u64, change: impl FnOnce(&mut Report)) {
        if let Some(ask) = self.open.get_mut(&ask).filter(|ask| !ask.done) {
            change(&mut ask.report);
            ask.done = true;
        }
    }
}
