//! A publish that is sent again is not delivered twice: the keys of requests, and the answers that they got.
//!
//! A request with a key claims it. The first one is carried out, and its answer is given again to those that come with
//! the same key. It is plain data: it knows no connection, and time is an argument. Only digests are kept of keys and
//! requests. Other processes have the same in Redis, as text that is made and read here. The PHP original has no
//! counterpart.
//!
//! ```text
//!   nothing ──claim──▶ under way ──answer──▶ answered ──5 min──▶ nothing
//!                        │    └── nothing was delivered ──▶ nothing
//!                        └── 10 s without an answer: the next one takes it over
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};

use crate::memory::{Charge, Kind};

#[cfg(test)]
mod tests;

/// The longest key, in characters. A longer one is answered with 400.
const MAX_IDEMPOTENCY_KEY: usize = 255;
/// How long an answer is given again.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(300);
/// A request without an answer for so long gives its key to the next one with it.
pub(crate) const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);
/// Keys that one process remembers. Beyond them the oldest are forgotten.
const MAX_KEYS: usize = 100_000;
/// All keys and answers may take this part of `max_memory`. Beyond it the oldest are forgotten.
const SHARE_OF_MEMORY: usize = 16;
/// The longest answer that is remembered, in bytes. It is that of a list of a thousand messages.
const MAX_KEPT_ANSWER: usize = 256 * 1024;
/// What a key costs beside its answer.
const RECORD: usize = 320;

/// A key as it may be written: visible characters, and perhaps quotes around them.
pub(crate) fn check_key(key: &str) -> Result<&str, &'static str> {
    let inner = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key);
    let is_good = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    match (1..=MAX_IDEMPOTENCY_KEY).contains(&inner.len()) && inner.bytes().all(is_good) {
        true => Ok(inner),
        false => Err("An Idempotency-Key has 1 to 255 visible ASCII characters, and no quote or backslash among them"),
    }
}

/// What stands for a key and its owner, and for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Of several parts, so that no two lists of parts have the same.
    pub(crate) fn of(parts: &[&[u8]]) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What `Display` wrote.
    fn parse(text: &str) -> Option<Digest> {
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        (text.len() == 64).then_some(Digest(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A request that has the key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: Digest,
    pub(crate) request: Digest,
    pub(crate) number: u64,
    since: Instant,
}

impl Claim {
    /// Whether the next one may have taken the key over.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= TAKEN_OVER_AFTER
    }
}

/// The keys that one request has, until it is answered.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) whole: Option<Claim>,
    /// Those of the messages of a list, in its order; fewer than messages where the last ones have none.
    pub(crate) items: Vec<Option<Claim>>,
}

impl Claims {
    /// `None` without any key, so that requests without one cost nothing.
    pub(crate) fn boxed(self) -> Option<Box<Claims>> {
        (self.whole.is_some() || !self.items.is_empty()).then(|| Box::new(self))
    }
}

/// An answer that may be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) body: Rc<str>,
}

impl Kept {
    /// `None` for one that is too long to be remembered.
    pub(crate) fn new(status: u16, body: &str) -> Option<Kept> {
        (body.len() <= MAX_KEPT_ANSWER).then(|| Kept { status, body: body.into() })
    }
}

/// What a request with a key is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried out.
    First(Claim),
    /// It gets this answer, and is not carried out.
    Again(Kept),
    /// The same request is under way.
    UnderWay,
    /// Another request had the key.
    Other,
}

/// Who has a key, in the words of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// That request is under way in another process.
    Claimed(Digest),
    /// It got this answer.
    Answered(Digest, Kept),
}

impl Found {
    /// The text of a claim: the request, and who has it.
    pub(crate) fn claimed(request: &str, node: &str, number: u64) -> String {
        format!("claim {request} {node} {number}")
    }

    /// The text of an answer.
    pub(crate) fn answered(request: Digest, kept: &Kept) -> String {
        format!("answer {request} {} {}", kept.status, kept.body)
    }

    /// Reads either of them; what is neither is nothing.
    pub(crate) fn parse(text: &str) -> Option<Found> {
        let mut words = text.splitn(4, ' ');
        let (kind, request, third) = (words.next()?, Digest::parse(words.next()?)?, words.next()?);
        match kind {
            "claim" => Some(Found::Claimed(request)),
            "answer" => Some(Found::Answered(request, Kept::new(third.parse().ok()?, words.next()?)?)),
            _ => None,
        }
    }

    fn verdict(self, request: Digest) -> Verdict {
        match self {
            Found::Claimed(of) | Found::Answered(of, _) if of != request => Verdict::Other,
            Found::Claimed(_) => Verdict::UnderWay,
            Found::Answered(_, kept) => Verdict::Again(kept),
        }
    }
}

/// Requests with a key that were not carried out; all only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) repeated: u64,
    pub(crate) under_way: u64,
    pub(crate) other: u64,
}

/// The keys of this process, and what was heard of them from others.
pub(crate) struct Idempotency {
    records: HashMap<Digest, Record>,
    /// The names by the numbers of their records: the oldest first.
    order: BTreeMap<u64, Digest>,
    last: u64,
    bytes: Charge,
    pub(crate) heard: Vec<(u64, Option<Found>)>,
    pub(crate) counts: Counts,
}

struct Record {
    number: u64,
    since: Instant,
    found: Found,
}

impl Default for Idempotency {
    fn default() -> Idempotency {
        Idempotency {
            records: HashMap::new(),
            order: BTreeMap::new(),
            last: 0,
            bytes: Charge::new(Kind::Answers),
            heard: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl Idempotency {
    /// Claims a key for a request, as far as this process knows.
    pub(crate) fn claim(&mut self, name: Digest, request: Digest, max_memory: usize, now: Instant) -> Verdict {
        if let Some(record) = self.records.get(&name).filter(|record| record.lasts(now)) {
            let verdict = record.found.clone().verdict(request);
            return self.counted(verdict);
        }
        let number = self.put(name, Found::Claimed(request), max_memory, now);
        Verdict::First(Claim { name, request, number, since: now })
    }

    /// The same once others were asked: `None` where they know nothing, or can't say.
    pub(crate) fn decide(&mut self, claim: Claim, found: Option<Found>) -> Verdict {
        let Some(found) = found else { return Verdict::First(claim) };
        self.forget(&claim);
        let verdict = found.verdict(claim.request);
        self.counted(verdict)
    }

    /// Remembers the answer, unless the key was taken over.
    pub(crate) fn answered(&mut self, claim: &Claim, kept: Kept, max_memory: usize, now: Instant) {
        let is_others = |record: &Record| record.number != claim.number && record.lasts(now);
        if !self.records.get(&claim.name).is_some_and(is_others) {
            self.put(claim.name, Found::Answered(claim.request, kept), max_memory, now);
        }
    }

    /// Gives the key back: the next one with it is the first. Says whether it was this claim's.
    pub(crate) fn forget(&mut self, claim: &Claim) -> bool {
        let has_it = self.records.get(&claim.name).is_some_and(|record| record.number == claim.number);
        if has_it {
            self.remove(claim.name);
        }
        has_it
    }

    /// Keys that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    fn counted(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::First(_) => {}
            Verdict::Again(_) => self.counts.repeated += 1,
            Verdict::UnderWay => self.counts.under_way += 1,
            Verdict::Other => self.counts.other += 1,
        }
        verdict
    }

    /// Puts a record behind all others, and drops the oldest that are over or too many.
    fn put(&mut self, name: Digest, found: Found, max_memory: usize, now: Instant) -> u64 {
        self.remove(name);
        self.last += 1;
        let record = Record { number: self.last, since: now, found };
        self.bytes.set(self.bytes.bytes() + record.cost());
        self.records.insert(name, record);
        self.order.insert(self.last, name);
        while let Some((number, oldest)) = self.order.first_key_value().map(|(number, name)| (*number, *name)) {
            let is_over = self.records.get(&oldest).is_none_or(|record| !record.lasts(now));
            let are_too_many = self.len() > MAX_KEYS || self.bytes.bytes() > max_memory / SHARE_OF_MEMORY;
            if number == self.last || !is_over && !are_too_many {
                break;
            }
            self.remove(oldest);
        }
        self.last
    }

    fn remove(&mut self, name: Digest) {
        if let Some(record) = self.records.remove(&name) {
            self.order.remove(&record.number);
            self.bytes.set(self.bytes.bytes() - record.cost());
        }
    }
}

impl Record {
    fn lasts(&self, now: Instant) -> bool {
        let time = match self.found {
            Found::Claimed(_) => TAKEN_OVER_AFTER,
            Found::Answered(..) => KEPT_FOR,
        };
        now.saturating_duration_since(self.since) < time
    }

    fn cost(&self) -> usize {
        match &self.found {
            Found::Claimed(_) => RECORD,
            Found::Answered(_, kept) => RECORD + kept.body.len(),
        }
    }
}
