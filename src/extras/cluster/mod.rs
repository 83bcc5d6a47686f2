//! Many processes, one server: what one of them has to tell the others goes through Redis.
//!
//! ```text
//!   publish ──▶ a script in Redis: place, log, PUBLISH ──▶ every process that needs it ──▶ its clients
//! ```
//!
//! The server asks here first where a message goes; without a backplane nothing of this is ever called.
//! A message for clients of several processes reaches those of its own process by the same way, so that
//! all see one order. Where Redis is away the clients that are here are served as if there were no
//! others, and whoever asks hears that the rest is unknown. Keys, channels and messages: docs/cluster.md.
//! The PHP original has no counterpart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use slotmap::SecondaryMap;
use uuid::Uuid;

use crate::error::StartError;
use crate::extras::redis::url::RedisUrl;
use crate::extras::redis::{Busy, Link, LinkEvent, Reply};
use crate::extras::rooms::Announcement;
use crate::ids::SocketId;
use crate::printable::Printable;
use crate::server::Server;
use asks::Asks;
use claims::{Claims, Fetch};
use presence::Elsewhere;
pub(crate) use presence::RoomQuestion;
pub(crate) use registration::Introduced;
use registration::Introduction;
use scripts::{Script, Scripts};
use wire::{News, Remote};

mod asks;
mod claims;
mod delivery;
mod presence;
mod registration;
mod scripts;
mod target;
mod wire;

/// The version of keys and messages; it is part of every name.
const VERSION: &str = "1";
/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// When one that says nothing is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How long keys outlive the clients that they are of, beyond the time to find out that a connection is dead, and
/// to resume.
const MARGIN: Duration = Duration::from_secs(60);
/// In so many beats every key of this process is renewed once.
const RENEWAL_BEATS: usize = 40;
/// Messages that are kept in the log of a channel, and in that of one client.
const MAX_LOG: usize = 100_000;
const MAX_QUEUE: usize = 10_000;

/// The way to the other processes.
pub(crate) struct Backplane {
    link: Link,
    scripts: Scripts,
    prefix: String,
    node: String,
    /// What the replies that are still to come belong to.
    pending: HashMap<u64, Pending>,
    /// Channels, and how many clients of this process need each.
    subscriptions: HashMap<Rc<str>, usize>,
    /// Messages of this process that have not come back, by their number here.
    under_way: BTreeMap<u64, Remote>,
    /// Those of them that were delivered here alone, since nobody knows whether Redis had them.
    alone: BTreeSet<u64>,
    last_id: u64,
    asks: Asks,
    rooms: HashMap<Box<str>, Elsewhere>,
    /// What there is to announce in rooms of which it is not known yet who is in them elsewhere.
    untold: HashMap<Box<str>, Vec<Announcement>>,
    /// The processes that live, once it is known.
    nodes: BTreeSet<String>,
    introduced: Vec<Introduced>,
    claims: Claims,
    next_beat: Option<Instant>,
    /// Clients that other processes find.
    subscribed: SecondaryMap<SocketId, ()>,
    renewals: Vec<SocketId>,
    /// Since when there is no connection, and whether that was said.
    down: Option<Instant>,
    pub(crate) counts: Counts,
}

/// What is counted. All but `up` only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were given to Redis, and that came from it.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Messages that could not be given to other processes, or may not have been.
    pub(crate) undelivered: u64,
    /// How often the connection was lost.
    pub(crate) lost: u64,
}

/// A message that was given to Redis.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// Its number.
    id: u64,
    /// The number of the question what became of it.
    ask: Option<u64>,
    /// The client that gets its `next` for it now.
    client: Option<SocketId>,
    /// Whether it was for clients that were here as it was sent.
    comes_back: bool,
}

/// What a reply belongs to.
enum Pending {
    /// Only an error is of interest; what was done.
    Done(&'static str),
    /// A message went to many.
    Cast(Given),
    /// It went to one.
    Tell(Given),
    /// A new client is told `ready` when it is known everywhere.
    Register(Introduction),
    /// A client comes back: its rooms, and then what it missed.
    RoomsOf(Introduction),
    Claim(Fetch),
    /// Members of a room in all processes.
    Room(Box<str>, Option<RoomQuestion>),
    /// The processes that live.
    Beat,
    /// Where a client is that somebody asks about, and then whether its process was reached.
    WhereIs {
        ask: u64,
        uuid: String,
    },
    Describe(u64),
}

impl Backplane {
    /// Looks the name up; whether Redis is there shows once the loop turns.
    pub(crate) fn new(url: &str, prefix: &str) -> Result<Backplane, StartError> {
        let url = RedisUrl::parse(url).map_err(|problem| StartError::new("--backplane", problem))?;
        Ok(Backplane {
            link: Link::new(url)?,
            scripts: Scripts::new(),
            prefix: format!("{prefix}:{VERSION}:"),
            node: Uuid::new_v4().simple().to_string(),
            pending: HashMap::new(),
            subscriptions: HashMap::new(),
            under_way: BTreeMap::new(),
            alone: BTreeSet::new(),
            last_id: 0,
            asks: Asks::default(),
            rooms: HashMap::new(),
            untold: HashMap::new(),
            nodes: BTreeSet::new(),
            introduced: Vec::new(),
            claims: Claims::default(),
            next_beat: None,
            subscribed: SecondaryMap::new(),
            renewals: Vec::new(),
            down: None,
            counts: Counts::default(),
        })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// The poll told of the connection.
    pub(crate) fn ready(&mut self) {
        self.link.ready();
    }

    /// When it wants to be driven again without an event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.link.deadline(), self.next_beat].into_iter().flatten().min()
    }

    /// Bytes that Redis has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.link.queued_bytes()
    }

    /// Commands and answers that are under way.
    pub(crate) fn unanswered(&self) -> usize {
        self.link.unanswered()
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Sends a command of which only an error is of interest.
    fn command(&mut self, what: &'static str, command: &[&[u8]]) {
        if let Ok(tag) = self.link.send(command) {
            self.pending.insert(tag, Pending::Done(what));
        }
    }

    fn publish(&mut self, what: &'static str, channel: &str, payload: &str) {
        let channel = self.key(channel);
        self.command(what, &[b"PUBLISH", channel.as_bytes(), payload.as_bytes()]);
    }

    fn load_scripts(&mut self) {
        let texts = self.scripts.all().map(|script| script.text.clone());
        for text in texts {
            self.command("loading a script", &[b"SCRIPT", b"LOAD", text.as_bytes()]);
        }
    }

    fn run(&mut self, script: impl Fn(&Scripts) -> &Script, arguments: &[&str], pending: Pending) -> Result<(), Busy> {
        let tag = self.run_with(script, arguments)?;
        self.pending.insert(tag, pending);
        Ok(())
    }

    /// Runs a script; gives the tag of the reply.
    fn run_with(&mut self, script: impl Fn(&Scripts) -> &Script, arguments: &[&str]) -> Result<u64, Busy> {
        let mut command = vec![b"EVALSHA".as_slice(), script(&self.scripts).digest.as_bytes(), b"0", self.prefix.as_bytes()];
        command.extend(arguments.iter().map(|argument| argument.as_bytes()));
        self.link.send(&command)
    }

    /// One more client needs a channel.
    fn subscribe(&mut self, channel: Rc<str>) {
        let name = self.key(&channel);
        let count = self.subscriptions.entry(channel).or_default();
        *count += 1;
        if *count == 1 && self.link.is_up() {
            self.link.subscribe(&name);
        }
    }

    /// One less does.
    fn unsubscribe(&mut self, channel: &Rc<str>) {
        let Some(count) = self.subscriptions.get_mut(channel) else { return };
        *count -= 1;
        if *count == 0 {
            self.subscriptions.remove(channel);
            let name = self.key(channel);
            if self.link.is_up() {
                self.link.unsubscribe(&name);
            }
        }
    }
}

impl Server {
    pub(crate) fn has_backplane(&self) -> bool {
        self.backplane.is_some()
    }

    /// Reads and writes. The loop calls it when the poll told of the connection, at its
    /// deadline, and before it writes to clients: what they are told of was given to Redis first.
    pub(crate) fn drive_backplane(&mut self, registry: &Registry, token: Token) {
        let now = self.now;
        let Some(backplane) = &mut self.backplane else { return };
        if backplane.next_beat.is_some_and(|beat| beat <= now) {
            self.beat();
        }
        let Some(backplane) = &mut self.backplane else { return };
        backplane.link.drive(registry, token, now);
    }

    /// Acts on what came, until a client is to be told `ready`: what came behind that is for it too. Says whether
    /// there was anything: then there may be something to be written.
    pub(crate) fn hear_backplane(&mut self) -> bool {
        let mut heard = false;
        while let Some(backplane) = self.backplane.as_mut().filter(|backplane| backplane.introduced.is_empty())
            && let Some(event) = backplane.link.next_event()
        {
            heard = true;
            match event {
                LinkEvent::Up => self.backplane_up(),
                LinkEvent::Down(why) => self.backplane_down(&why),
                LinkEvent::Reply { tag, reply } => self.replied(tag, reply),
                LinkEvent::Message { payload, .. } => self.heard(&payload),
            }
        }
        heard
    }

    fn backplane_up(&mut self) {
        let now = self.now;
        let Some(backplane) = &mut self.backplane else { return };
        log::info!("Backplane is up: this process is {}", backplane.node);
        backplane.down = None;
        // Whoever took this process for dead hears of its rooms below.
        backplane.nodes.remove(&backplane.node);
        backplane.load_scripts();
        let own = format!("to:{}", backplane.node);
        let channels: Vec<String> = backplane.subscriptions.keys().map(|channel| channel.to_string()).chain([own]).collect();
        for channel in channels {
            let name = backplane.key(&channel);
            backplane.link.subscribe(&name);
        }
        backplane.next_beat = Some(now + BEAT);
        self.beat();
        self.resync_clients();
        self.resync_rooms();
    }

    /// Everything that waits for an answer goes on without one.
    fn backplane_down(&mut self, why: &str) {
        let now = self.now;
        let Some(backplane) = &mut self.backplane else { return };
        backplane.counts.lost += 1;
        if backplane.down.is_none() {
            log::error!("Backplane is away, other processes are not reached: {why}");
        } else {
            log::debug!("Backplane is still away: {why}");
        }
        backplane.down.get_or_insert(now);
        let pending: BTreeMap<u64, Pending> = std::mem::take(&mut backplane.pending).into_iter().collect();
        for pending in pending.into_values() {
            self.unanswered(pending, None);
        }
        self.alone();
    }

    fn replied(&mut self, tag: u64, reply: Reply) {
        let Some(pending) = self.backplane.as_mut().and_then(|backplane| backplane.pending.remove(&tag)) else { return };
        if let Reply::Error(error) = reply {
            return self.unanswered(pending, Some(&error));
        }
        match pending {
            Pending::Done(_) => {}
            Pending::Cast(given) => self.was_cast(given, &reply),
            Pending::Tell(given) => self.was_told(given, &reply),
            Pending::Register(introduction) => self.registered(introduction, &reply),
            Pending::RoomsOf(introduction) => self.claim(introduction, &reply),
            Pending::Claim(fetch) => self.fetched(fetch, &reply),
            Pending::Room(room, question) => self.room_elsewhere(&room, question, Some(&reply)),
            Pending::Beat => self.nodes_live(&reply),
            Pending::WhereIs { ask, uuid } => self.describe_at(ask, &uuid, &reply),
            Pending::Describe(ask) => self.describing(ask, &reply),
        }
    }

    /// A command failed, or nobody knows whether it was carried out.
    fn unanswered(&mut self, pending: Pending, error: Option<&str>) {
        if let Some(error) = error {
            self.backplane_refused(error);
        }
        match pending {
            Pending::Cast(given) | Pending::Tell(given) => self.undelivered(given),
            Pending::Register(introduction) => self.introduce_alone(introduction),
            Pending::RoomsOf(introduction) => self.come_again(introduction.id),
            Pending::Claim(fetch) => self.not_fetched(&fetch),
            Pending::Room(room, question) => self.room_elsewhere(&room, question, None),
            Pending::WhereIs { ask, .. } | Pending::Describe(ask) => self.unknown(ask),
            Pending::Done(what) => error.into_iter().for_each(|error| log::debug!("Backplane: {what}: {}", Printable(error))),
            Pending::Beat => {}
        }
    }

    /// Redis answers with an error: it is full, or was told to forget the scripts. Said once, until it is well.
    fn backplane_refused(&mut self, error: &str) {
        let Some(backplane) = &mut self.backplane else { return };
        if error.starts_with("NOSCRIPT") {
            backplane.load_scripts();
        }
        if backplane.down.is_none() {
            backplane.down = Some(self.now);
            log::error!("Backplane refuses, other processes are not reached: {}", Printable(error));
        }
    }

    /// Redis does what it is asked; if it did not before, everything is written anew.
    fn backplane_well(&mut self) {
        if self.backplane.as_mut().and_then(|backplane| backplane.down.take()).is_some() {
            log::info!("Backplane works again");
            self.resync_clients();
            self.resync_rooms();
        }
    }

    fn heard(&mut self, payload: &[u8]) {
        match News::parse(payload) {
            Some(News::Message(remote)) => self.deliver(&remote),
            Some(News::Fate { ask, delivered, queued, failed }) => self.answered(ask, delivered, queued, failed),
            Some(News::Yield { uuid }) => self.yield_client(&uuid),
            Some(News::Presence { from, room, count, moved }) => self.moved_elsewhere(&from, &room, count, &moved),
            Some(News::Describe { from, ask, uuid }) => self.describe(&from, ask, &uuid),
            Some(News::Description { ask, text }) => self.described(ask, text),
            None => log::debug!("Backplane: a message of another version"),
        }
    }
}

/// An element of a reply that is a list.
fn element(reply: &Reply, at: usize) -> Option<&Reply> {
    match reply {
        Reply::Array(elements) => elements.get(at),
        _ => None,
    }
}

fn elements(reply: Option<&Reply>) -> &[Reply] {
    match reply {
        Some(Reply::Array(elements)) => elements,
        _ => &[],
    }
}

fn text(reply: Option<&Reply>) -> Option<&str> {
    match reply? {
        Reply::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        Reply::Status(text) => Some(text),
        _ => None,
    }
}

fn number(reply: Option<&Reply>) -> Option<i64> {
    match reply? {
        Reply::Int(number) => Some(*number),
        other => text(Some(other))?.parse().ok(),
    }
}
