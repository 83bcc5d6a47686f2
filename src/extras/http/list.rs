//! A list of messages in one request: sent a few in each turn, those with a known key not at all.
//!
//! It knows the [`Server`] as `endpoints` does. Which keys are known is decided before the first message is sent, so that
//! all of them go in their order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Answer;
use super::endpoints::Message;
use super::members::{self as json, Members};
use super::retries::{Sender, not_sent};
use crate::extras::idempotency::{Claim, Claims, Digest, Verdict, check_key};
use crate::extras::publishing::Sent;
use crate::json::Value;
use crate::resource::AllApps;
use crate::rfc6455::Status;
use crate::server::Server;

/// How long messages of one list are sent in a turn.
const SENDING: Duration = Duration::from_millis(2);

/// A list of messages that is being sent, a few in each turn.
pub(crate) struct SendList {
    text: String,
    /// Where the messages are that are still to be sent, the last one first.
    left: Vec<Range<usize>>,
    sent: Vec<Sent>,
    claims: Claims,
    /// How many claims others are asked about: until they have answered nothing is sent.
    waits_for: usize,
    /// The messages that are not sent, by their place, and what is said of them.
    not_sent: BTreeMap<usize, Sent>,
}

impl SendList {
    /// The list in the body of a request.
    pub(crate) fn new(body: Vec<u8>, claim: Option<Claim>) -> Result<SendList, Answer> {
        let bad = |why: String| Answer::error(Status::BadRequest, &why);
        let text = json::check_owned(body).map_err(|fault| bad(format!("Not JSON: {fault}")))?;
        let items = json::list(&text).map_err(|fault| bad(format!("Not a list of messages: {fault}")))?;
        let begin = |item: &str| item.as_ptr() as usize - text.as_ptr() as usize;
        let left = items.iter().rev().map(|item| begin(item)..begin(item) + item.len()).collect();
        let (sent, claims) = (Vec::with_capacity(items.len()), Claims { whole: claim, ..Claims::default() });
        Ok(SendList { left, sent, text, claims, waits_for: 0, not_sent: BTreeMap::new() })
    }

    /// How many messages it has.
    pub(crate) fn len(&self) -> usize {
        self.left.len() + self.sent.len()
    }

    /// The keys of its messages: place, name and digest of each.
    pub(crate) fn keys(&self, sender: &Sender) -> Vec<(usize, Digest, Digest)> {
        // Without the word, or an escape that may spell it, nobody needs to look.
        if !self.text.contains("idempotency-key") && !self.text.contains("\\u") {
            return Vec::new();
        }
        let items = self.left.iter().rev().map(|item| &self.text[item.clone()]).enumerate();
        let keys = items.filter_map(|(place, item)| {
            let key = Members::of(item).idempotency_key?.string()?;
            let (name, request) = sender.item(check_key(&key).ok()?, item);
            Some((place, name, request))
        });
        keys.collect()
    }

    /// Others are asked about one more key.
    pub(crate) fn wait(&mut self) {
        self.waits_for += 1;
    }

    /// They have answered.
    pub(crate) fn has_answer(&mut self, place: usize, verdict: Verdict) {
        self.waits_for -= 1;
        self.decided(place, verdict);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waits_for > 0
    }

    /// The message at this place is sent, or not.
    pub(crate) fn decided(&mut self, place: usize, verdict: Verdict) {
        match verdict {
            Verdict::First(claim) => {
                let items = &mut self.claims.items;
                items.resize(items.len().max(place + 1), None);
                items[place] = Some(claim);
            }
            verdict => drop(self.not_sent.insert(place, not_sent(verdict))),
        }
    }

    /// Sends some of the messages, one at least; gives what became of all, and their keys, once all are sent.
    pub(crate) fn go_on(&mut self, server: &mut Server, all_apps: &AllApps) -> Option<(Vec<Sent>, Claims)> {
        let begun = Instant::now();
        while let Some(item) = self.left.pop() {
            let not_sent = self.not_sent.remove(&self.sent.len());
            self.sent.push(not_sent.unwrap_or_else(|| send_item(server, all_apps, &self.text[item])));
            if !self.left.is_empty() && begun.elapsed() >= SENDING {
                return None;
            }
        }
        Some((std::mem::take(&mut self.sent), std::mem::take(&mut self.claims)))
    }
}

fn send_item(server: &mut Server, all_apps: &AllApps, text: &str) -> Sent {
    let members = Members::of(text);
    if let Some(other) = members.opcode.map(|_| "opcode").or(members.other.as_deref()) {
        return Sent::nowhere(400, format!("unknown member '{other}'"));
    }
    let Some(message) = members.message else { return Sent::nowhere(400, "'message' is missing") };
    let strings = [members.uuid, members.ident, members.resource, members.room, members.key, members.idempotency_key]
        .map(|value| value.map(Value::string));
    if strings.contains(&Some(None)) {
        return Sent::nowhere(400, "'uuid', 'ident', 'resource', 'room', 'key' and 'idempotency-key' are strings");
    }
    let [uuid, ident, resource, room, key, idempotency_key] = strings.map(Option::flatten);
    if let Some(Err(why)) = idempotency_key.as_deref().map(check_key) {
        return Sent::nowhere(400, why);
    }
    let everybody = match members.broadcast.map(|value| value.text()) {
        None => false,
        Some("true") => true,
        Some(_) => return Sent::nowhere(400, "'broadcast' can only be true"),
    };
    let all = everybody || resource.is_some() || room.is_some();
    if usize::from(uuid.is_some()) + usize::from(ident.is_some()) + usize::from(all) != 1 {
        return Sent::nowhere(400, "name one receiver: 'uuid', 'ident', 'broadcast', 'resource' or 'room'");
    }
    let (uuid, ident) = (uuid.as_deref().unwrap_or_default(), ident.as_deref().unwrap_or_default());
    let (resource, room, key) = (resource.as_deref(), room.as_deref(), key.as_deref());
    Message { all, uuid, ident, resource, room, key, text: message.text() }.send(server, all_apps)
}
