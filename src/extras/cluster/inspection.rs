//! What a process finds out about Redis: whether it may do all that it needs, whether Redis may drop keys, and whether
//! processes of another version are there.
//!
//! Rights are tried at each new connection, and again while some are lacking. Each command runs on a key of its own, in a
//! form that changes nothing or is undone at once. So one line names all that is forbidden, before messages meet it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::replies::{elements, text};
use super::{Cluster, DEAD_AFTER, Pending, VERSION};
use crate::extras::redis::Reply;

/// Stands for the key and the channel that commands are tried on.
const OWN: &str = "<own>";
/// Stands for the key with the versions.
const VERSIONS: &str = "<versions>";

/// Each command that this process or one of its scripts runs. What makes a key is undone by those that follow.
const TRIES: &[&[&str]] = &[
    &["SCRIPT", "LOAD", "return 0"],
    &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
    &["TIME"],
    &["PUBLISH", OWN, ""],
    &["PUBSUB", "NUMSUB", OWN],
    &["HSETNX", OWN, "f", "1"],
    &["HSET", OWN, "f", "1"],
    &["PEXPIRE", OWN, "1000"],
    &["HINCRBY", OWN, "f", "0"],
    &["HGET", OWN, "f"],
    &["HMGET", OWN, "f"],
    &["HGETALL", OWN],
    &["HKEYS", OWN],
    &["HDEL", OWN, "f"],
    &["DEL", OWN],
    &["EXISTS", OWN],
    &["GET", OWN],
    &["SET", OWN, "", "PX", "1", "XX"],
    &["ZADD", OWN, "XX", "0", "m"],
    &["ZSCORE", OWN, "m"],
    &["ZRANGE", OWN, "0", "-1"],
    &["ZREM", OWN, "m"],
    &["ZREMRANGEBYSCORE", OWN, "0", "0"],
    &["XADD", OWN, "NOMKSTREAM", "*", "m", ""],
    &["XRANGE", OWN, "-", "+", "COUNT", "1"],
    &["XTRIM", OWN, "MINID", "0"],
    &["ZRANGE", VERSIONS, "0", "-1"],
];

/// What a reply tells.
#[derive(Clone, Copy)]
pub(super) enum Inspection {
    /// Whether the command with that number in [`TRIES`] is allowed.
    Right(usize),
    /// How Redis deals with its memory.
    Memory,
    /// The time, as Redis has it.
    Time,
    /// The versions that processes have.
    Versions,
    /// Nothing.
    Done,
}

/// What was found out, and said.
#[derive(Default)]
pub(super) struct Findings {
    /// Rights that lack, after the last round, and those of the round that is under way.
    lacking: BTreeSet<String>,
    found: BTreeSet<String>,
    /// Whether a round is under way.
    trying: bool,
    policy: String,
    others: BTreeSet<String>,
    clustered: bool,
}

impl Findings {
    pub(super) fn lacks_rights(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// The connection is lost.
    pub(super) fn lost(&mut self) {
        self.trying = false;
    }
}

impl Cluster {
    /// At each new connection, before anything else is asked for.
    pub(super) fn inspect(&mut self) {
        self.try_rights();
        self.look(&[b"INFO", b"memory"], Inspection::Memory);
        if self.link.is_clustered() && !self.findings.clustered {
            log::info!(target: "phpws", "Backplane: this is a Redis Cluster; all goes to the one node that has the slot of {}", self.root());
        }
        self.findings.clustered = self.link.is_clustered();
    }

    /// Finds out which commands are allowed, unless that is under way.
    pub(super) fn try_rights(&mut self) {
        if std::mem::replace(&mut self.findings.trying, true) {
            return;
        }
        self.findings.found.clear();
        let (own, versions) = (self.key(&format!("rights:{}", self.node)), self.versions_key());
        for (number, words) in TRIES.iter().enumerate() {
            let full = |word: &&'static str| match *word {
                OWN => own.clone(),
                VERSIONS => versions.clone(),
                word => word.to_owned(),
            };
            let words: Vec<String> = words.iter().map(full).collect();
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            self.look(&words, Inspection::Right(number));
        }
    }

    /// Each beat: this version is in use, and which others are?
    pub(super) fn look_for_versions(&mut self) {
        self.look(&[b"TIME"], Inspection::Time);
        if self.findings.lacks_rights() {
            self.try_rights();
        }
    }

    fn look(&mut self, command: &[&[u8]], what: Inspection) {
        // Where it can't be sent it is done at the next connection, or beat.
        let _ = self.send(command, Pending::Inspection(what));
    }

    /// A reply, perhaps an error: then nothing is found out, but of rights.
    pub(super) fn inspected(&mut self, now: Instant, what: Inspection, reply: &Reply) {
        match what {
            Inspection::Right(number) => self.right_tried(now, number, reply),
            Inspection::Memory => self.memory_seen(reply),
            Inspection::Time => self.time_seen(reply),
            Inspection::Versions => self.versions_seen(reply),
            Inspection::Done => {}
        }
    }

    fn right_tried(&mut self, now: Instant, number: usize, reply: &Reply) {
        if let Reply::Error(error) = reply
            && error.starts_with("NOPERM")
        {
            let lacking = self.lacking(TRIES[number], error);
            self.findings.found.insert(lacking);
        }
        if number + 1 < TRIES.len() {
            return;
        }
        self.findings.trying = false;
        let found = std::mem::take(&mut self.findings.found);
        if !found.is_empty() {
            self.down.get_or_insert(now);
        }
        if found != self.findings.lacking && !found.is_empty() {
            let list = found.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            log::error!(target: "phpws", "Backplane: Redis forbids its user {list}; docs/cluster.md has the ACL line with all rights");
        }
        self.findings.lacking = found;
    }

    /// What an error forbids: a command, keys or channels.
    fn lacking(&self, words: &[&str], error: &str) -> String {
        match error {
            _ if error.contains("channel") => format!("the channels {}", self.key("*")),
            _ if !error.contains("access") => command_name(words),
            _ if words.contains(&VERSIONS) => format!("the key {}", self.versions_key()),
            _ => format!("the keys {}", self.key("*")),
        }
    }

    fn memory_seen(&mut self, reply: &Reply) {
        let info = text(Some(reply)).unwrap_or_default();
        let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let (most, policy) = (value("maxmemory:"), value("maxmemory_policy:"));
        let drops = !matches!(most, "" | "0") && !matches!(policy, "" | "noeviction");
        let policy = if drops { policy } else { "" };
        if drops && policy != self.findings.policy {
            log::warn!(
                target: "phpws",
                "Backplane: a full Redis drops clients and messages (maxmemory-policy {policy}); set maxmemory-policy noeviction"
            );
        }
        self.findings.policy = policy.into();
    }

    fn time_seen(&mut self, reply: &Reply) {
        let Some(seconds) = text(elements(Some(reply)).first()).and_then(|seconds| seconds.parse::<u64>().ok()) else { return };
        let (key, now, old) = (self.versions_key(), seconds.to_string(), (seconds - DEAD_AFTER.as_secs()).to_string());
        self.look(&[b"ZADD", key.as_bytes(), now.as_bytes(), VERSION.as_bytes()], Inspection::Done);
        self.look(&[b"ZREMRANGEBYSCORE", key.as_bytes(), b"-inf", old.as_bytes()], Inspection::Done);
        self.look(&[b"ZRANGE", key.as_bytes(), b"0", b"-1"], Inspection::Versions);
    }

    fn versions_seen(&mut self, reply: &Reply) {
        let versions = elements(Some(reply)).iter().filter_map(|version| text(Some(version)));
        let others: BTreeSet<String> = versions.filter(|version| *version != VERSION).map(str::to_owned).collect();
        for other in others.difference(&self.findings.others) {
            log::warn!(
                target: "phpws",
                "Backplane: processes with version {other} of the names in Redis are there, this one has {VERSION}: they do not \
                 see each other, and pages that change between them are lost"
            );
        }
        self.findings.others = others;
    }
}

/// A command as ACL lines have it.
fn command_name(words: &[&str]) -> String {
    match words {
        [container @ ("SCRIPT" | "PUBSUB"), command, ..] => format!("{container}|{command}").to_lowercase(),
        [command, ..] => command.to_lowercase(),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rights_of_the_page_are_tried() {
        let page = include_str!("../../../docs/cluster.md");
        let rule = page.split("ACL SETUSER ").nth(1).unwrap().split("```").next().unwrap();
        let named: BTreeSet<String> =
            rule.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
        // The link itself uses these, and without the last one only less is said.
        let apart = ["@connection", "subscribe", "unsubscribe", "info"].map(str::to_owned);
        let tried: BTreeSet<String> = TRIES.iter().map(|words| command_name(words)).chain(apart).collect();
        assert_eq!(tried, named, "left: those that are tried, right: those of the page");
    }
}
