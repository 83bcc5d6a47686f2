//! The bounds that keep one stranger from harming the others: how often each acted, and one line a minute in the log.
//!
//! Whatever slows a client down, drops something, or refuses somebody says so here. The metrics, the status page and the
//! log take their words from one table. Time is an argument. PHP has no counterpart.

use std::time::{Duration, Instant};

/// Time between two lines in the log about the same bound.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// What acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Turn,
    Rate,
    PutOff,
    Feedback,
    Slow,
    Pressure,
    Memory,
    Kept,
    Away,
    Newcomers,
    Guesses,
    Requests,
}

/// How a bound is called and told of.
pub(crate) struct Words {
    pub(crate) bound: Bound,
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// What the log says behind the number.
    line: &'static str,
}

const fn words(bound: Bound, name: &'static str, help: &'static str, line: &'static str) -> Words {
    Words { bound, name, help, line }
}

/// All of them, in the order of the values above.
pub(crate) const ALL: [Words; 12] = [
    words(
        Bound::Turn,
        "phpws_turns_cut_total",
        "Turns of the loop that ended before everybody was served.",
        "turns of the loop ended before everybody was served",
    ),
    words(
        Bound::Rate,
        "phpws_paced_total",
        "How often a client was held back since it sent too fast.",
        "times a client was not read for a while, since it sent too fast",
    ),
    words(
        Bound::PutOff,
        "phpws_feedback_put_off_total",
        "Messages that waited with their sender for a full receiver.",
        "messages waited with their sender, since their receiver was full",
    ),
    words(
        Bound::Feedback,
        "phpws_feedback_dropped_total",
        "Messages for one client that were dropped since it read too slowly.",
        "messages for one client were dropped, since it read too slowly",
    ),
    words(
        Bound::Slow,
        "phpws_slow_clients_dropped_total",
        "Clients dropped because they read too slowly.",
        "clients were closed, since they read too slowly",
    ),
    words(
        Bound::Pressure,
        "phpws_memory_pauses_total",
        "Turns in which senders were not read since memory was short.",
        "turns of the loop left senders unread, since memory was short",
    ),
    words(
        Bound::Memory,
        "phpws_memory_evicted_total",
        "Clients closed since memory was short and they held most.",
        "clients were closed, since memory was short and they held most",
    ),
    words(
        Bound::Kept,
        "phpws_resume_lost_messages_total",
        "Messages that were too many to keep for a client.",
        "messages were too many to keep for clients that may come back",
    ),
    words(
        Bound::Away,
        "phpws_away_refused_total",
        "Clients that were not kept since too many were away.",
        "clients whose connection broke were not kept, since max-away others were",
    ),
    words(
        Bound::Newcomers,
        "phpws_newcomers_evicted_total",
        "Connections that were no clients and gave way to newer ones.",
        "connections that were no clients gave way to newer ones",
    ),
    words(
        Bound::Guesses,
        "phpws_wrong_uuids_refused_total",
        "Wrong uuids that were refused since too many came from their address.",
        "wrong uuids were refused, since too many came from their address",
    ),
    words(
        Bound::Requests,
        "phpws_publishing_refused_total",
        "Requests for publishing answered with 429.",
        "requests for publishing were refused, since too many or wrong ones came from their address",
    ),
];

/// How often each acted.
#[derive(Debug, Default)]
pub(crate) struct Bounds([Acted; ALL.len()]);

#[derive(Debug, Default)]
struct Acted {
    count: u64,
    /// How many of them the log has, and when it got the last line.
    told: u64,
    told_at: Option<Instant>,
}

impl Bounds {
    /// A bound acted so many times.
    #[cold]
    pub(crate) fn acted(&mut self, bound: Bound, count: u64, now: Instant) {
        if let Some(untold) = self.0[bound as usize].add(count, now) {
            log::warn!(target: "phpws", "{untold} {}", ALL[bound as usize].line);
        }
    }

    pub(crate) fn count(&self, bound: Bound) -> u64 {
        self.0[bound as usize].count
    }
}

impl Acted {
    /// Counts; gives how many the log has not heard of, if it is time to tell.
    fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.count += count;
        let due = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= LOG_PAUSE);
        due.then(|| {
            self.told_at = Some(now);
            self.count - std::mem::replace(&mut self.told, self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_logged_once_a_minute_with_all_that_happened_since() {
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        let mut acted = Acted::default();
        let told = [(1, start), (2, start), (3, start + minute / 2), (1, start + minute)];
        assert_eq!(told.map(|(count, now)| acted.add(count, now)), [Some(1), None, None, Some(6)]);
        assert_eq!(acted.count, 7);
    }

    #[test]
    fn the_table_is_in_the_order_of_the_bounds() {
        assert!(ALL.iter().enumerate().all(|(at, words)| words.bound as usize == at));
    }
}
