//! Clients that outlive their connection: what they may not have got yet waits until they come back.
//!
//! A client that opted in has a [`Kept`]: its messages have numbers and stay in a queue until a pong
//! says that they have come. When the connection breaks, the record stays open and is `away`; nobody
//! but the loop notices. This file knows no sockets: how a connection is taken from a client, and a
//! new one given to it, is in `web_socket_server/resume.rs`. The PHP original has no counterpart.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use uuid::Uuid;

use crate::client::{Client, ClientType, SocketId, State};
use crate::deadlines::{Deadline, after};
use crate::limits::Limits;
use crate::outbox::Spares;
use crate::outbox::keyed::{KeyedFrame, MAX_KEY};
use crate::resource::{AppId, Message, Packet};
use crate::rfc6455::{CloseCode, Opcode, Request, frame};
use crate::server::Server;

/// Bytes of messages that are handed to a connection at a time.
const FILL: usize = 64 * 1024;
/// What an item costs beside its text, and a frame with a key beside its bytes.
const ITEM: usize = 64;
/// So much of what may be kept is sent before a ping asks how far the client has come.
const ASK_AFTER: usize = 4;

/// The greatest number that a client may say it has seen: what JavaScript holds exactly. No server gets there.
const MAX_NUMBER: u64 = 1 << 53;

/// What a client may not have got yet, and where it stands.
#[derive(Debug)]
pub(crate) struct Kept {
    items: VecDeque<Item>,
    /// The number of the first item; those before it have come, or are lost.
    first: u64,
    /// Items, from the front, that were handed to the connection.
    sent: usize,
    /// What all items cost, and those that were not sent.
    cost: usize,
    unsent: usize,
    /// Bytes sent since the last ping that asked how far the client has come.
    unasked: usize,
    /// The number of the newest message with each key.
    keys: HashMap<Rc<str>, u64>,
    /// Since when the client has no connection.
    away: Option<Instant>,
    /// Whether somebody will look whether its time is over.
    reminded: bool,
    /// The greatest `cseq` of the client.
    cseq: u64,
    /// The place, in what several processes share, of the last message, and of the last one that has come.
    pub(crate) place: u64,
    come: u64,
    /// The greatest place that was handed to a connection from here.
    told: u64,
    /// Messages of it that are on their way to other processes, and how often it gets `next` once they are there.
    given: usize,
    owed: usize,
    /// Whether messages of other processes are missing that were never queued.
    pub(crate) missing: bool,
    /// Where it gets what it missed from other processes first: what comes until then.
    pub(crate) meanwhile: Option<Box<Meanwhile>>,
    /// What the next `ready` says.
    standing: Standing,
}

#[derive(Debug)]
struct Item {
    text: Rc<str>,
    /// Its place in what several processes share; 0 where there is none.
    at: u64,
    /// The frame with a key that it belongs to.
    frame: Option<Rc<KeyedFrame>>,
}

/// What comes for a client while Redis is asked for what it missed.
#[derive(Debug, Default)]
pub(crate) struct Meanwhile {
    /// Whether what it missed is being fetched, or waits for that.
    pub(crate) fetching: bool,
    pub(crate) held: Vec<Held>,
    bytes: usize,
    /// Whether some was too much to be held.
    pub(crate) spilled: bool,
}

/// A message with a place, the frame with a key that it belongs to, and its text.
pub(crate) type Held = (u64, Option<Rc<KeyedFrame>>, Rc<str>);

impl Meanwhile {
    fn hold(&mut self, held: Held, max: usize) {
        self.bytes += held.2.len() + ITEM;
        self.spilled |= self.bytes > max;
        match self.spilled {
            true => self.held.clear(),
            false => self.held.push(held),
        }
    }
}

/// How a client that may resume stands when it is told `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is new.
    New,
    /// It misses nothing beyond what follows.
    Resumed,
    /// So many messages are gone, or a number that is not known.
    Gap(Option<u64>),
    /// It asked for a client that is not known any more, and is a new one.
    Lost,
}

/// What a request says of resuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A new client that may resume later.
    Begin,
    /// The client of that uuid, which may be none, comes back, having seen the messages up to `seq`.
    Resume { uuid: Option<Uuid>, seq: u64, at: u64 },
}

impl Wish {
    /// The wish in a query; `None` where there is none.
    pub(crate) fn of(request: &Request) -> Option<Wish> {
        let (mut resume, mut seq, mut at) = (None, 0, 0);
        let number = |value: &str| value.parse::<u64>().unwrap_or_default().min(MAX_NUMBER);
        for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
            match &*name {
                "resume" => resume = Some(value),
                "seq" => seq = number(&value),
                "at" => at = number(&value),
                _ => {}
            }
        }
        Some(match resume? {
            empty if empty.is_empty() => Wish::Begin,
            uuid => Wish::Resume { uuid: Uuid::try_parse(&uuid).ok(), seq, at },
        })
    }

    /// How a client stands that was not found again.
    pub(crate) fn standing(self) -> Standing {
        match self {
            Wish::Begin => Standing::New,
            Wish::Resume { .. } => Standing::Lost,
        }
    }
}

impl Kept {
    pub(crate) fn new(standing: Standing) -> Kept {
        Kept {
            items: VecDeque::new(),
            first: 1,
            sent: 0,
            cost: 0,
            unsent: 0,
            unasked: 0,
            keys: HashMap::new(),
            away: None,
            reminded: false,
            cseq: 0,
            place: 0,
            come: 0,
            told: 0,
            given: 0,
            owed: 0,
            missing: false,
            meanwhile: None,
            standing,
        }
    }

    /// A client that comes from another process, having seen the messages up to `seq` and `place`.
    pub(crate) fn of(standing: Standing, seq: u64, cseq: u64, place: u64) -> Kept {
        Kept { first: seq + 1, cseq, place, come: place, told: place, ..Kept::new(standing) }
    }

    /// The place of the last message that has come.
    pub(crate) fn come_up_to(&self) -> u64 {
        self.come
    }

    /// The number of the last message that was handed to the connection.
    fn sent_up_to(&self) -> u64 {
        self.first + self.sent as u64 - 1
    }

    /// What waits to be sent, in bytes of memory.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Adds a message. One with a key takes the place, and the number, of one with the same key that was
    /// not sent: that one is given back.
    fn push(&mut self, item: Item) -> Option<Item> {
        let cost = item.cost();
        self.cost += cost;
        self.unsent += cost;
        if let Some(frame) = &item.frame {
            let next = self.first + self.items.len() as u64;
            let unsent = |seq: &&mut u64| **seq > self.first + self.sent as u64 - 1;
            if let Some(seq) = self.keys.get_mut(&frame.key).filter(unsent) {
                let slot = &mut self.items[(*seq - self.first) as usize];
                // Its place in what is shared stays too: who has seen it has not seen what is between the two.
                let item = Item { at: slot.at, ..item };
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
    fn trim(&mut self, max: usize) -> u64 {
        let mut lost = 0;
        while self.cost > max && (self.sent > 0 || self.away.is_some() && !self.items.is_empty()) {
            lost += u64::from(self.sent == 0);
            self.drop_first();
        }
        lost
    }

    fn drop_first(&mut self) {
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
    fn acknowledge(&mut self, seq: u64) {
        while self.sent > 0 && self.first <= seq {
            self.come = self.items.front().map_or(0, |item| item.at).max(self.come);
            self.drop_first();
        }
    }

    /// The client comes back and has seen the messages up to `seq`: what is behind is to be sent again.
    fn rewind(&mut self, seq: u64) {
        self.acknowledge(seq);
        self.sent = 0;
        self.unsent = self.cost;
        self.unasked = 0;
        self.away = None;
        // What was not acknowledged is sent again.
        self.owed = 0;
        self.standing = match self.first.saturating_sub(seq.saturating_add(1)) {
            _ if std::mem::take(&mut self.missing) => Standing::Gap(None),
            0 => Standing::Resumed,
            lost => Standing::Gap(Some(lost)),
        };
    }

    /// The text of the next message with its number, appended as a frame; `false` where nothing waits.
    fn send_next(&mut self, run: &mut Vec<u8>) -> bool {
        let Some(item) = self.items.get(self.sent) else { return false };
        let before = run.len();
        encode_numbered(&item.text, item.at, self.first + self.sent as u64, run);
        self.unasked += run.len() - before;
        self.unsent -= item.cost();
        self.told = self.told.max(item.at);
        self.sent += 1;
        true
    }

    /// The members that `ready` has beside the usual ones.
    fn ready_members(&self, limits: &Limits) -> String {
        let word = match self.standing {
            Standing::New => r#""new""#.to_owned(),
            Standing::Resumed => r#""resumed""#.to_owned(),
            Standing::Gap(None) => r#""gap""#.to_owned(),
            Standing::Gap(Some(lost)) => format!(r#""gap","lost":{lost}"#),
            Standing::Lost => r#""lost""#.to_owned(),
        };
        format!(r#","resume":{word},"seq":{},"keep":{}"#, self.first - 1, limits.resume_time.as_secs())
    }
}

impl Item {
    fn cost(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |frame| frame.bytes.len() + MAX_KEY + ITEM);
        self.text.len() + ITEM + frame
    }
}

/// The ping that asks how far a client has come: the pong repeats the number.
fn asking_ping(seq: u64) -> String {
    format!(r#"{{"opcode":"PING","seq":{seq}}}"#)
}

/// Appends a text frame of a JSON object with the number as its last member, where it counts even if
/// there is one of that name already; other text is put into an object.
fn encode_numbered(text: &str, at: u64, seq: u64, run: &mut Vec<u8>) {
    let at = if at > 0 { format!(r#""at":{at},"#) } else { String::new() };
    let object = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(str::trim_end);
    let numbered = match object {
        Some(members) if members.trim_start().is_empty() => format!(r#"{{{at}"seq":{seq}}}"#),
        Some(members) => format!(r#"{{{members},{at}"seq":{seq}}}"#),
        None => format!(r#"{{"opcode":"text","text":{},{at}"seq":{seq}}}"#, serde_json::Value::from(text)),
    };
    frame::encode(Opcode::Text, numbered.as_bytes(), run);
}

impl Client {
    /// Whether the client's connection broke and it may still come back.
    pub fn is_away(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.away.is_some())
    }

    /// Whether frames reach it.
    pub(crate) fn is_here(&self) -> bool {
        self.state == State::Open && !self.is_away()
    }

    /// Fills an empty outbox with what is kept; says whether there is anything to write.
    pub(crate) fn fill(&mut self, spares: &mut Spares, resume_bytes: usize) -> bool {
        match &mut self.kept {
            Some(kept) if self.outbox.is_empty() && kept.away.is_none() => {
                self.hand_over(spares, resume_bytes, FILL);
            }
            _ => {}
        }
        !self.outbox.is_empty()
    }

    /// Hands messages to the connection, up to some bytes, and asks now and then how far the client has come.
    fn hand_over(&mut self, spares: &mut Spares, resume_bytes: usize, up_to: usize) {
        let Some(kept) = &mut self.kept else { return };
        while kept.unsent > 0 && self.outbox.bytes() < up_to {
            self.outbox.push_with(spares, false, |run| {
                kept.send_next(run);
            });
            if kept.unasked > resume_bytes / ASK_AFTER {
                kept.unasked = 0;
                let ping = asking_ping(kept.sent_up_to());
                self.outbox.push_with(spares, false, |run| frame::encode(Opcode::Ping, ping.as_bytes(), run));
            }
        }
    }

    /// Makes of a client that goes away the record of its old connection, which only has to end.
    pub(crate) fn ghost(&mut self) -> Client {
        let mut ghost = Client::new(self.ip);
        ghost.state = State::Closing;
        ghost.client_type = self.client_type;
        ghost.outbox = std::mem::take(&mut self.outbox);
        ghost.close_code = self.close_code.take();
        self.expect_pong = false;
        self.dirty = false;
        ghost
    }
}

impl Server {
    /// Whether clients of this kind may resume; those that get one frame a read can't.
    pub(crate) fn may_resume(&self, client_type: ClientType, paced: bool) -> bool {
        !self.limits().resume_time.is_zero() && client_type != ClientType::Tcp && !paced
    }

    /// The open client with that uuid, if it may resume, has this application and is of this type.
    /// Who has seen more than was sent from here has been in another process since.
    pub(crate) fn find_resumable(&self, wish: Wish, app: Option<AppId>, client_type: ClientType) -> Option<SocketId> {
        let Wish::Resume { uuid: Some(uuid), seq, at } = wish else { return None };
        let id = self.by_uuid(uuid)?;
        let client = &self.clients[id];
        // Where nothing with a place was sent, an `at` may be an application's own.
        let has_seen_more = |kept: &Kept| seq > kept.sent_up_to() || kept.told > 0 && at > kept.told;
        let elsewhere = self.has_backplane() && client.kept.as_deref().is_some_and(has_seen_more);
        (client.kept.is_some() && !elsewhere && client.app == app && client.client_type == client_type).then_some(id)
    }

    /// Queues a message under its number, for a client that may resume.
    pub(crate) fn keep(&mut self, id: SocketId, text: &Rc<str>, frame: Option<&Rc<KeyedFrame>>) {
        let max = self.limits().resume_bytes;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.state == State::Open) else { return };
        let Some(kept) = &mut client.kept else { return };
        if let Some(meanwhile) = kept.meanwhile.as_mut().filter(|_| self.at > 0) {
            return meanwhile.hold((self.at, frame.cloned(), text.clone()), max);
        }
        kept.place = kept.place.max(self.at);
        // With other processes every message says how far the client is in what they share.
        let replaced = kept.push(Item { text: text.clone(), at: kept.place, frame: frame.cloned() });
        if let Some(old) = replaced.and_then(|item| item.frame).filter(|old| old.tracked.get()) {
            old.replaced.borrow_mut().insert(id);
        }
        self.metrics.lost += kept.trim(max);
        self.metrics.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Whether a client that may resume is kept as it ends: not if it, or an application, said goodbye, and not
    /// before it was told `ready`, since it knows no uuid to come back with.
    pub(crate) fn is_kept(&self, id: SocketId) -> bool {
        const KEPT: [u16; 4] = [CloseCode::GOING_AWAY.0, 1006, CloseCode::SERVICE_RESTART.0, CloseCode::TRY_AGAIN_LATER.0];
        let Some(client) = self.clients.get(id) else { return false };
        let room = self.limits().max_away == 0 || self.away < self.limits().max_away;
        let may = client.is_known() && client.kept.is_some() && !self.metrics.draining;
        may && (client.is_away() || room) && KEPT.contains(&client.final_code())
    }

    /// Marks a client as away; the loop takes its connection before it sleeps.
    pub(crate) fn lose(&mut self, id: SocketId) {
        let (now, max) = (self.now, self.limits().resume_bytes);
        let client = &mut self.clients[id];
        client.buffer = None;
        let Some(kept) = client.kept.as_mut().filter(|kept| kept.away.is_none()) else { return };
        kept.away = Some(now);
        self.metrics.lost += kept.trim(max);
        self.away += 1;
        self.closing.push(id);
    }

    /// A client came back: it is told `ready`, and gets what it has not seen once the loop writes.
    pub(crate) fn come_back(&mut self, id: SocketId, seq: u64) {
        let client = &mut self.clients[id];
        let Some(kept) = &mut client.kept else { return };
        self.away -= usize::from(kept.away.is_some());
        kept.rewind(seq);
        log::info!("Client resumes on #{id}: {:?}, {} messages wait", kept.standing, kept.items.len());
        self.metrics.resumed += 1;
    }

    /// Has the loop look, once the time of a client that is away may be over. There is one reminder for
    /// each client, however often it comes and goes.
    pub(crate) fn remind_of(&mut self, id: SocketId) {
        let keep = self.limits().resume_time;
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        let Some(away) = kept.away.filter(|_| !kept.reminded) else { return };
        kept.reminded = true;
        self.deadlines.set(after(away, keep), Deadline::Away(id));
    }

    /// The time of a client that is away may be over.
    pub(crate) fn give_up(&mut self, id: SocketId) {
        let keep = self.limits().resume_time;
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        kept.reminded = false;
        if kept.away.is_some_and(|away| self.now.saturating_duration_since(away) >= keep) {
            log::info!("Client of socket #{id} did not come back");
            self.metrics.given_up += 1;
            self.forsake(id);
            self.end(id);
        } else {
            self.remind_of(id);
        }
    }

    /// A client will not come back.
    pub(crate) fn forsake(&mut self, id: SocketId) {
        if let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.take()) {
            self.away -= usize::from(kept.away.is_some());
        }
    }

    /// Whether this client's message is acknowledged only when other processes can have it: it may send it
    /// again to another one, if this one dies in between.
    pub(crate) fn defers_next(&self, id: SocketId) -> bool {
        self.has_backplane() && self.clients.get(id).is_some_and(|client| client.kept.is_some())
    }

    /// Acknowledges a message that was acted on. Behind one that waits for other processes it waits too, since a
    /// client takes each `next` for its oldest message.
    pub(crate) fn next_if_done(&mut self, id: SocketId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.kept.as_mut().filter(|kept| kept.given > 0) {
            Some(kept) => kept.owed += 1,
            None => self.next(id),
        }
    }

    /// The client's message was given to other processes, and waits to be acknowledged.
    pub(crate) fn gave(&mut self, id: SocketId) {
        if let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) {
            kept.given += 1;
        }
    }

    /// That is over: the client may send its next one.
    pub(crate) fn release(&mut self, id: SocketId) {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        kept.given = kept.given.saturating_sub(1);
        if kept.given == 0 {
            (0..std::mem::take(&mut kept.owed)).for_each(|_| self.next(id));
        }
    }

    /// The pong to a ping that asked how far the client has come.
    pub(crate) fn acknowledged(&mut self, id: SocketId, payload: &[u8]) {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        let number =
            std::str::from_utf8(payload).ok().and_then(|text| text.rsplit_once(r#""seq":"#)?.1.strip_suffix('}')?.parse().ok());
        if let Some(seq) = number {
            kept.acknowledge(seq);
        }
    }

    /// Whether a client that may resume sent this message before: then it is only acknowledged.
    pub(crate) fn has_seen(&mut self, id: SocketId, message: Message<'_>) -> bool {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return false };
        let Some(cseq) = Packet::parse(message).ok().and_then(|packet| packet.cseq()) else { return false };
        let seen = cseq <= kept.cseq;
        kept.cseq = kept.cseq.max(cseq);
        self.in_hand = Some((id, cseq)).filter(|_| !seen);
        seen
    }

    /// `ready`, with what a client that may resume needs to know.
    pub(crate) fn ready_message(&self, id: SocketId) -> String {
        let client = &self.clients[id];
        let members = client.kept.as_ref().map_or(String::new(), |kept| kept.ready_members(self.limits()));
        format!(r#"{{"opcode":"ready","uuid":"{}"{members}}}"#, client.uuid)
    }

    /// The ping of this client: one that may resume says in the pong how far it has come.
    pub(crate) fn ping_payload(&mut self, id: SocketId) -> String {
        match &mut self.clients[id].kept {
            Some(kept) => {
                kept.unasked = 0;
                asking_ping(kept.sent_up_to())
            }
            None => r#"{"opcode":"PING"}"#.into(),
        }
    }

    /// Before a close frame: what is kept goes out, if the client gets it at all.
    pub(crate) fn hand_over(&mut self, id: SocketId) {
        let resume_bytes = self.limits().resume_bytes;
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.is_here()) {
            client.hand_over(&mut self.spares, resume_bytes, usize::MAX);
        }
    }
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
        let mut kept = Kept::new(Standing::New);
        for text in texts {
            kept.push(Item { text: (*text).into(), at: 0, frame: None });
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
        kept.push(Item { text: "d".into(), at: 0, frame: None });
        kept.push(Item { text: "e".into(), at: 0, frame: None });
        kept.acknowledge(4);
        assert_eq!(kept.items.len(), 2, "nobody has got what was not sent");
        assert_eq!(send_all(&mut kept), 2);
        kept.rewind(4);
        assert_eq!((kept.standing, kept.first, send_all(&mut kept)), (Standing::Resumed, 5, 1));
    }

    #[test]
    fn a_client_that_knows_less_than_is_kept_has_a_gap() {
        let mut kept = kept(&["a", "b", "c"]);
        send_all(&mut kept);
        kept.acknowledge(2);
        kept.rewind(0);
        assert_eq!((kept.standing, kept.first), (Standing::Gap(Some(2)), 3));
        kept.rewind(u64::MAX);
        assert_eq!((kept.standing, kept.first), (Standing::Resumed, 3));
    }

    #[test]
    fn the_oldest_go_first_and_unsent_ones_only_while_the_client_is_away() {
        let mut kept = kept(&["a", "b", "c"]);
        let one = kept.cost / 3;
        assert_eq!(kept.trim(one), 0, "nothing was sent");
        kept.send_next(&mut Vec::new());
        assert_eq!((kept.trim(one), kept.items.len()), (0, 2));
        kept.away = Some(Instant::now());
        assert_eq!((kept.trim(one), kept.items.len(), kept.first), (1, 1, 3));
        assert_eq!((kept.cost, kept.unsent), (one, one));
    }

    #[test]
    fn what_a_query_wishes() {
        let wish = |target: &str| Wish::of(&Request::parse(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap());
        let uuid = "e7369655-7143-43dd-a710-75937c023233";
        assert_eq!(wish("/web"), None);
        assert_eq!(wish("/web?x=1&seq=3"), None);
        assert_eq!(wish("/web?resume"), Some(Wish::Begin));
        assert_eq!(wish("/web?a=b&resume="), Some(Wish::Begin));
        let expected = Wish::Resume { uuid: Uuid::try_parse(uuid).ok(), seq: 3, at: 9 };
        assert_eq!(wish(&format!("/web?seq=3&at=9&resume={uuid}")), Some(expected));
        assert_eq!(wish("/web?resume=x&seq=-1"), Some(Wish::Resume { uuid: None, seq: 0, at: 0 }));
        let huge = Wish::Resume { uuid: None, seq: MAX_NUMBER, at: 0 };
        assert_eq!(wish("/web?resume=x&seq=18446744073709551615&at=18446744073709551616"), Some(huge));
    }
}
