//! What a client may not have got yet: a queue of numbered messages, and how far they have come.
//!
//! It knows no server and no connection: what is due is handed out, and a number says what has come. The
//! states of a message are its places in the queue: handed over (`sent` from the front), then not yet.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use uuid::Uuid;

use crate::limits::Limits;
use crate::mail::keyed::{KeyedFrame, MAX_KEY};
use crate::memory::Shared;
use crate::rfc6455::{Opcode, frame};
use ResumeOutcome::{Gap, Lost, New, Resumed};

/// What an item costs beside its text, and a frame with a key beside its bytes.
pub(crate) const ITEM: usize = 64;

/// The text of a message, which all clients hold together that may not have got it.
pub(crate) type Text = Rc<Shared<String>>;

/// Whether a message can be kept for a client that is away; else it would be dropped at once.
pub(crate) fn can_be_kept(text: &str, max: usize) -> bool {
    text.len() + ITEM <= max
}

/// A text that may be held together.
pub(crate) fn text_of(text: &str) -> Text {
    Rc::new(Shared::new(text.to_owned()))
}

/// What a client may not have got yet, and where it stands.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) items: VecDeque<Item>,
    /// The number of the first item; those before it have come, or are lost.
    pub(crate) first: u64,
    /// Items, from the front, that were handed to the connection.
    pub(crate) sent: usize,
    /// What all items cost, and those that were not sent.
    pub(crate) cost: usize,
    pub(crate) unsent: usize,
    /// Bytes sent since the last ping that asked how far the client has come.
    pub(crate) unasked: usize,
    /// The number of the newest message with each key.
    pub(crate) keys: HashMap<Rc<str>, u64>,
    /// When its connection came.
    pub(crate) connected_at: Option<Instant>,
    /// Since when the client has no connection.
    pub(crate) away_since: Option<Instant>,
    /// Whether somebody will look whether its time is over.
    pub(crate) reminded: bool,
    /// The greatest `cseq` of the client.
    pub(crate) cseq: u64,
    /// The position, in what several processes share, of the last message, and of the last one that has come.
    pub(crate) position: u64,
    pub(crate) acked_position: u64,
    /// The greatest position that was handed to a connection from here.
    pub(crate) sent_position: u64,
    /// Messages of it that are on their way to other processes, and how often it gets `next` once they are there.
    pub(crate) unconfirmed: usize,
    pub(crate) owed_nexts: usize,
    /// Whether messages of other processes are missing that were never queued.
    pub(crate) missing: bool,
    /// Where it gets what it missed from other processes first: what comes until then.
    pub(crate) held_back: Option<Box<HeldBack>>,
    /// What the next `ready` says.
    pub(crate) outcome: ResumeOutcome,
    /// What its request asked for, until that is settled.
    pub(crate) request: Option<Box<ResumeRequest>>,
}

/// What a request says of resuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeRequest {
    /// A new client that may resume later.
    Begin,
    /// The client of that uuid, which may be none, comes back, having seen the messages up to `seq`.
    Resume { uuid: Option<Uuid>, seq: u64, at: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) text: Text,
    /// Its position in what several processes share; 0 where there is none.
    pub(crate) position: u64,
    /// Whether only this process has it: it came without a position.
    pub(crate) own: bool,
    /// The frame with a key that it belongs to.
    pub(crate) frame: Option<Rc<KeyedFrame>>,
}

/// What comes for a client while Redis is asked for what it missed.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    /// Whether what it missed is being fetched, or waits for that.
    pub(crate) fetching: bool,
    pub(crate) held: Vec<Held>,
    pub(crate) bytes: usize,
    /// Whether some was too much to be held.
    pub(crate) spilled: bool,
}

/// A message with a position, the frame with a key that it belongs to, and its text.
pub(crate) type Held = (u64, Option<Rc<KeyedFrame>>, Text);

impl HeldBack {
    pub(crate) fn hold(&mut self, held: Held, max: usize) {
        self.bytes += held.2.len() + ITEM;
        self.spilled |= self.bytes > max;
        match self.spilled {
            true => self.held.clear(),
            false => self.held.push(held),
        }
    }
}

/// What a client that may resume is told with `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeOutcome {
    /// It is new.
    New,
    /// It misses nothing beyond what follows.
    Resumed,
    /// So many messages are gone, or a number that is not known.
    Gap(Option<u64>),
    /// It asked for a client that is not known any more, and is a new one.
    Lost,
}
impl Kept {
    pub(crate) fn new(outcome: ResumeOutcome) -> Kept {
        Kept {
            items: VecDeque::new(),
            first: 1,
            sent: 0,
            cost: 0,
            unsent: 0,
            unasked: 0,
            keys: HashMap::new(),
            connected_at: None,
            away_since: None,
            reminded: false,
            cseq: 0,
            position: 0,
            acked_position: 0,
            sent_position: 0,
            unconfirmed: 0,
            owed_nexts: 0,
            missing: false,
            held_back: None,
            outcome,
            request: None,
        }
    }

    /// A client that comes from another process, having seen the messages up to `seq` and `position`.
    pub(crate) fn of(outcome: ResumeOutcome, seq: u64, cseq: u64, position: u64) -> Kept {
        Kept { first: seq + 1, cseq, position, acked_position: position, sent_position: position, ..Kept::new(outcome) }
    }

    /// The position of the last message that has come.
    pub(crate) fn acked_up_to(&self) -> u64 {
        self.acked_position
    }

    /// The number of the last message that was handed to the connection.
    pub(crate) fn sent_up_to(&self) -> u64 {
        self.first + self.sent as u64 - 1
    }

    /// Adds a message, or holds it back while its position says that it belongs behind what is still being fetched.
    /// Then it is `None`; else what was replaced.
    pub(crate) fn post(&mut self, item: Item, max: usize) -> Option<Option<Item>> {
        if let Some(held_back) = self.held_back.as_mut().filter(|_| item.position > 0) {
            held_back.hold((item.position, item.frame, item.text), max);
            return None;
        }
        // With other processes every message says how far the client is in what they share.
        self.position = self.position.max(item.position);
        Some(self.push(Item { position: self.position, ..item }))
    }

    /// Adds a message. One with a key takes the place, and the number, of one with the same key that was
    /// not sent: that one is given back.
    pub(crate) fn push(&mut self, item: Item) -> Option<Item> {
        let cost = item.cost();
        self.cost += cost;
        self.unsent += cost;
        if let Some(frame) = &item.frame {
            let next = self.first + self.items.len() as u64;
            let unsent = |seq: &&mut u64| **seq > self.first + self.sent as u64 - 1;
            if let Some(seq) = self.keys.get_mut(&frame.key).filter(unsent) {
                let slot = &mut self.items[(*seq - self.first) as usize];
                // Its position in what is shared stays too: a client that has seen it has not seen what is between the two.
                let item = Item { position: slot.position, ..item };
                let replaced = std::mem::replace(slot, item);
                self.cost -= replaced.cost();
                self.unsent -= replaced.cost();
                return Some(replaced);
            }
            self.keys.insert(frame.key.clone(), next);
        }
        self.items.push_back(item);
        None
    }

    /// Lets go of the oldest messages beyond `max` bytes: of those that were sent, and while the client
    /// is away of any. Says how many were never sent.
    pub(crate) fn trim(&mut self, max: usize) -> u64 {
        let mut lost = 0;
        while self.cost > max && (self.sent > 0 || self.away_since.is_some() && !self.items.is_empty()) {
            lost += u64::from(self.sent == 0);
            self.drop_first();
        }
        lost
    }

    /// All messages are lost, and so many more that were never put here. Says how many were never sent.
    pub(crate) fn lose_all(&mut self, more: u64) -> u64 {
        let unsent = (self.items.len() - self.sent) as u64;
        while !self.items.is_empty() {
            self.drop_first();
        }
        self.first += more;
        unsent + more
    }

    pub(crate) fn drop_first(&mut self) {
        let Some(item) = self.items.pop_front() else { return };
        // A key that is never used again must not stay behind.
        if let Some(frame) = &item.frame
            && self.keys.get(&frame.key) == Some(&self.first)
        {
            self.keys.remove(&frame.key);
        }
        self.first += 1;
        self.cost -= item.cost();
        match self.sent {
            0 => self.unsent -= item.cost(),
            _ => self.sent -= 1,
        }
        if self.items.is_empty() {
            (self.items, self.keys) = Default::default();
        }
    }

    /// The messages up to this number have come.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        while self.sent > 0 && self.first <= seq {
            self.acked_position = self.items.front().map_or(0, |item| item.position).max(self.acked_position);
            self.drop_first();
        }
    }

    /// The client comes back and has seen the messages up to `seq`: what is behind is to be sent again.
    pub(crate) fn rewind(&mut self, seq: u64) {
        self.acknowledge(seq);
        self.sent = 0;
        self.unsent = self.cost;
        self.unasked = 0;
        self.away_since = None;
        // What was not acknowledged is sent again.
        self.owed_nexts = 0;
        self.outcome = match self.first.saturating_sub(seq.saturating_add(1)) {
            _ if std::mem::take(&mut self.missing) => Gap(None),
            0 => Resumed,
            lost => Gap(Some(lost)),
        };
    }

    /// What it holds in memory beside texts.
    pub(crate) fn own_cost(&self) -> usize {
        let held_back = self.held_back.as_ref().map_or(0, |held_back| held_back.held.len());
        ITEM * (self.items.len() + self.keys.len() + held_back)
    }

    /// The next message, if it is longer than that and its text can be sent as it is, up to its last brace: the text,
    /// that part, and what comes behind.
    pub(crate) fn next_shared(&mut self, longer: usize) -> Option<(Text, Range<usize>, String)> {
        let item = self.items.get(self.sent).filter(|item| item.text.len() > longer)?;
        let (text, range) = (item.text.clone(), members(&item.text)?);
        let tail = tail(item.position, self.first + self.sent as u64);
        self.sends(range.len() + tail.len());
        Some((text, range, tail))
    }

    /// The text of the next message with its number, appended as a frame; `false` where nothing waits.
    pub(crate) fn send_next(&mut self, run: &mut Vec<u8>) -> bool {
        let Some(item) = self.items.get(self.sent) else { return false };
        let before = run.len();
        encode_numbered(&item.text, item.position, self.first + self.sent as u64, run);
        self.sends(run.len() - before);
        true
    }

    /// The next message goes out in so many bytes.
    fn sends(&mut self, bytes: usize) {
        let Some(item) = self.items.get(self.sent) else { return };
        self.unasked += bytes;
        self.unsent -= item.cost();
        self.sent_position = self.sent_position.max(item.position);
        self.sent += 1;
    }

    /// The members that `ready` has beside the usual ones.
    pub(crate) fn ready_members(&self, limits: &Limits) -> String {
        let word = match self.outcome {
            New => r#""new""#.to_owned(),
            Resumed => r#""resumed""#.to_owned(),
            Gap(None) => r#""gap""#.to_owned(),
            Gap(Some(lost)) => format!(r#""gap","lost":{lost}"#),
            Lost => r#""lost""#.to_owned(),
        };
        format!(r#","resume":{word},"seq":{},"keep":{}"#, self.first - 1, limits.resume_time.as_secs())
    }
}

impl Item {
    pub(crate) fn cost(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |frame| frame.bytes.len() + MAX_KEY + ITEM);
        self.text.len() + ITEM + frame
    }
}

/// The ping that asks how far a client has acked_position: the pong repeats the number.
pub(crate) fn asking_ping(seq: u64) -> String {
    format!(r#"{{"opcode":"PING","seq":{seq}}}"#)
}

/// The part of a JSON object before its last brace; `None` where it has no members, or is none.
fn members(text: &str) -> Option<Range<usize>> {
    let begin = text.len() - text.trim_start().len();
    let members = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_end();
    (!members.trim_start().is_empty()).then(|| begin..begin + 1 + members.len())
}

/// What comes behind the members of an object that has some.
fn tail(at: u64, seq: u64) -> String {
    let at = if at > 0 { format!(r#","at":{at}"#) } else { String::new() };
    format!(r#"{at},"seq":{seq}}}"#)
}

/// Text as a JSON object, as which it goes out: other text is put into one.
pub(crate) fn object(text: &str) -> Cow<'_, str> {
    match text.trim().strip_prefix('{').is_some_and(|rest| rest.ends_with('}')) {
        true => text.into(),
        false => format!(r#"{{"opcode":"text","text":{}}}"#, serde_json::Value::from(text)).into(),
    }
}

/// Appends a text frame of a JSON object with the number as its last member, where it counts even if
/// there is one of that name already; other text is put into an object.
pub(crate) fn encode_numbered(text: &str, at: u64, seq: u64, run: &mut Vec<u8>) {
    let tail = tail(at, seq);
    let text = object(text);
    let numbered = match members(&text) {
        Some(range) => text[range].to_owned() + &tail,
        None => format!("{{{}", &tail[1..]),
    };
    frame::encode(Opcode::Text, numbered.as_bytes(), run);
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(text: &str, at: u64) -> String {
        let mut run = Vec::new();
        encode_numbered(text, at, 7, &mut run);
        String::from_utf8(run[2..].to_vec()).unwrap()
    }

    fn kept(texts: &[&str]) -> Kept {
        let mut kept = Kept::new(ResumeOutcome::New);
        for text in texts {
            kept.push(Item { text: text_of(text), position: 0, own: true, frame: None });
        }
        kept
    }

    fn send_all(kept: &mut Kept) -> usize {
        let mut run = Vec::new();
        (0..).take_while(|_| kept.send_next(&mut run)).count()
    }

    #[test]
    fn a_number_is_the_last_member() {
        for (text, expected) in [
            (r#"{"a":1}"#, r#"{"a":1,"seq":7}"#),
            (" {\"a\":{} }\n", r#"{"a":{},"seq":7}"#),
            ("{ \n }", r#"{"seq":7}"#),
            ("[1]", r#"{"opcode":"text","text":"[1]","seq":7}"#),
            ("say \"hi\"", r#"{"opcode":"text","text":"say \"hi\"","seq":7}"#),
            ("{", r#"{"opcode":"text","text":"{","seq":7}"#),
        ] {
            assert_eq!(numbered(text, 0), expected);
        }
        assert_eq!(numbered(r#"{"a":1}"#, 12), r#"{"a":1,"at":12,"seq":7}"#);
    }

    #[test]
    fn what_was_acknowledged_is_forgotten_and_the_rest_is_sent_again() {
        let mut kept = kept(&["a", "b", "c"]);
        assert_eq!(send_all(&mut kept), 3);
        kept.acknowledge(1);
        kept.acknowledge(99);
        assert_eq!((kept.items.len(), kept.cost, kept.unsent), (0, 0, 0));
        kept.push(Item { text: text_of("d"), position: 0, own: true, frame: None });
        kept.push(Item { text: text_of("e"), position: 0, own: true, frame: None });
        kept.acknowledge(4);
        assert_eq!(kept.items.len(), 2, "nobody has got what was not sent");
        assert_eq!(send_all(&mut kept), 2);
        kept.rewind(4);
        assert_eq!((kept.outcome, kept.first, send_all(&mut kept)), (ResumeOutcome::Resumed, 5, 1));
    }

    #[test]
    fn a_client_that_knows_less_than_is_kept_has_a_gap() {
        let mut kept = kept(&["a", "b", "c"]);
        send_all(&mut kept);
        kept.acknowledge(2);
        kept.rewind(0);
        assert_eq!((kept.outcome, kept.first), (ResumeOutcome::Gap(Some(2)), 3));
        kept.rewind(u64::MAX);
        assert_eq!((kept.outcome, kept.first), (ResumeOutcome::Resumed, 3));
    }

    #[test]
    fn the_oldest_go_first_and_unsent_ones_only_while_the_client_is_away() {
        let mut kept = kept(&["a", "b", "c"]);
        let one = kept.cost / 3;
        assert_eq!(kept.trim(one), 0, "nothing was sent");
        kept.send_next(&mut Vec::new());
        assert_eq!((kept.trim(one), kept.items.len()), (0, 2));
        kept.away_since = Some(Instant::now());
        assert_eq!((kept.trim(one), kept.items.len(), kept.first), (1, 1, 3));
        assert_eq!((kept.cost, kept.unsent), (one, one));
    }
}
