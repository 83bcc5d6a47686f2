//! Many processes, one server: what one of them has to tell the others goes through Redis.
//!
//! ```text
//!   mailbox ──▶ a script in Redis: position, log, PUBLISH ──▶ every process that needs it ──▶ its clients
//! ```
//!
//! The server knows nothing of this: it puts what concerns others into its mailbox ([`crate::elsewhere`]). The loop
//! has a [`Cluster`] that empties it, and that acts on the server as applications do when something comes. A message
//! for clients of several processes reaches those of this one by the same way, so that all see one order. Where Redis is
//! away the clients here are served as if there were no others, and questions are answered with `unknown`. Keys,
//! channels and messages: docs/cluster.md. The PHP original has no counterpart.
//!
//! | File | Does |
//! |---|---|
//! | `registration` | clients: known everywhere before they are told `ready`, until they end |
//! | `look_ups` | uuids that this process does not know, so many of one address at a time |
//! | `claims` | clients that come from another process, or missed something of others |
//! | `yields` | clients that go on in another process |
//! | `delivery` | messages, there and back |
//! | `inbox` | messages that came and wait for a turn of the loop |
//! | `parked` | messages that wait for a receiver that is full |
//! | `presence` | members of rooms, and the processes that live |
//! | `liveness` | whether a process that is not connected still lives |
//! | `inspection` | what Redis permits, and who else is there |
//! | `descriptions` | what a process knows of a client that another one asks about |
//! | `clock` | what time it is in Redis |
//! | `idempotency` | keys of requests that come again, to another process too |
//! | `turn` | what the loop does with all of this |
//! | `under_way`, `pending` | messages and commands that have no answer yet |
//! | `commands`, `replies` | what Redis is told, and reading what it says |
//! | `scripts`, `wire` | what runs in Redis, and what processes say to each other, as text |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use slotmap::SecondaryMap;
use uuid::Uuid;

use crate::elsewhere::{Envelope, Others};
use crate::error::StartError;
use crate::extras::redis::url::RedisUrl;
use crate::extras::redis::{Link, LinkEvent};
use crate::extras::resume::ResumeRequest;
use crate::ids::{AppId, SocketId};
use crate::limits::Limits;
use crate::server::Server;
use claims::{Claim, Claims};
use clock::Clock;
pub(crate) use commands::check_prefix;
use inbox::Inbox;
use inspection::Findings;
use look_ups::LookUps;
use parked::Parked;
use pending::Pending;
use scripts::Scripts;
use under_way::UnderWay;
use wire::Line;
use yields::{Wanted, Yields};

mod claims;
mod clock;
mod commands;
mod delivery;
mod descriptions;
mod idempotency;
mod inbox;
mod inspection;
mod liveness;
mod look_ups;
mod parked;
mod pending;
mod presence;
mod registration;
mod replies;
mod scripts;
mod turn;
mod under_way;
mod wire;
mod yields;

/// The version of keys and messages; it is part of every name.
const VERSION: &str = "2";
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
/// Bytes that are kept in a log, as a multiple of what one client may be owed: a line in front of a short text is longer
/// than what that text counts there.
const LOG_BYTES: usize = 4;

/// The way to the other processes, and what is under way.
pub(crate) struct Cluster {
    link: Link,
    scripts: Scripts,
    /// What all names begin with, and the same in braces: in a Redis Cluster these choose one node for all.
    prefix: String,
    braced: String,
    /// The number of the database, which the names of channels have.
    database: u32,
    /// The name of this process.
    node: String,
    /// How others of this host find it.
    identity: Option<String>,
    /// What the replies that are still to come belong to.
    pending: HashMap<u64, Pending>,
    /// Channels, and how many clients of this process need each.
    subscriptions: HashMap<Rc<str>, usize>,
    /// Clients that other processes find, and the resource whose broadcasts they get.
    subscribed: SecondaryMap<SocketId, Option<AppId>>,
    messages: UnderWay,
    inbox: Inbox,
    parked: Parked,
    /// Clients that may be told `ready`.
    registered: Vec<Registered>,
    look_ups: LookUps,
    claims: Claims,
    yields: Yields,
    /// The processes that live, once it is known.
    nodes: BTreeSet<String>,
    next_beat: Option<Instant>,
    clock: Clock,
    /// Clients whose keys are to be renewed in this round.
    renewals: Vec<SocketId>,
    /// Since when there is no connection, or Redis refuses; that was said.
    down: Option<Instant>,
    findings: Findings,
    pub(crate) counts: Counts,
}

/// What is counted; it only grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were given to Redis, and that came from it.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Messages that may not have reached other processes.
    pub(crate) undelivered: u64,
    /// Messages of others that were too many to be delivered here.
    pub(crate) dropped: u64,
    /// How often the connection was lost.
    pub(crate) lost: u64,
}

/// A client that waits for its `ready`, under the uuid that it will have.
#[derive(Clone, Copy, Debug)]
struct Registration {
    id: SocketId,
    uuid: Uuid,
    request: Option<ResumeRequest>,
}

/// A client that may be told `ready` now.
pub(crate) struct Registered {
    pub(crate) id: SocketId,
    pub(crate) uuid: Uuid,
    /// What another process left of it, if it comes from one.
    claim: Option<Claim>,
}

/// What the loop calls.
impl Cluster {
    /// Looks the name up; whether Redis is there shows once the loop turns. Until then the server is cut off.
    pub(crate) fn new(url: &str, prefix: &str, server: &mut Server) -> Result<Cluster, StartError> {
        let url = RedisUrl::parse(url).map_err(|problem| StartError::new("--backplane", problem))?;
        let database = url.database();
        check_prefix(prefix).map_err(|problem| StartError::new("--backplane-prefix", problem))?;
        let braced = format!("{{{prefix}}}");
        let link = Link::new(url, &format!("{braced}:{VERSION}:clock"))?;
        server.elsewhere.others = Others::CutOff;
        server.extras.rooms.share();
        Ok(Cluster {
            link,
            scripts: Scripts::new(database),
            prefix: prefix.into(),
            braced,
            database,
            node: Uuid::new_v4().simple().to_string(),
            identity: liveness::identity(),
            pending: HashMap::new(),
            subscriptions: HashMap::new(),
            subscribed: SecondaryMap::new(),
            messages: UnderWay::default(),
            inbox: Inbox::default(),
            parked: Parked::default(),
            registered: Vec::new(),
            look_ups: LookUps::default(),
            claims: Claims::default(),
            yields: Yields::default(),
            nodes: BTreeSet::new(),
            next_beat: None,
            clock: Clock::default(),
            renewals: Vec::new(),
            down: None,
            findings: Findings::default(),
            counts: Counts::default(),
        })
    }

    /// The poll told of the connection.
    pub(crate) fn ready(&mut self) {
        self.link.ready();
    }

    /// When it wants to be driven again without an event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // Where messages are left over the moment was now: the last turn's.
        let left = self.inbox.begun().filter(|_| !self.inbox.is_empty());
        [self.link.deadline(), self.next_beat, self.yields.deadline(), self.parked.deadline(), left].into_iter().flatten().min()
    }

    /// Gives Redis all that is for others, and reads. The loop calls it when the poll told of the connection, at its
    /// deadline, and before it writes to clients: what they are told of was given to Redis first.
    pub(crate) fn drive(&mut self, server: &mut Server, registry: &Registry, token: Token) {
        self.empty_mailbox(server);
        if self.next_beat.is_some_and(|beat| beat <= server.now) {
            self.beat(server);
        }
        self.expire_yields(server);
        self.link.drive(registry, token, server.now);
        server.elsewhere.others = if self.link.is_up() { Others::Joined } else { Others::CutOff };
    }

    /// Acts on what came, until a client is to be told `ready`: what came behind that is for it too. Messages for clients
    /// have a share of each turn. Says whether anything was acted on.
    pub(crate) fn hear(&mut self, server: &mut Server) -> bool {
        self.empty_mailbox(server);
        let mut heard = self.try_again(server);
        while self.registered.is_empty()
            && let Some(event) = self.link.next_event()
        {
            heard = true;
            match event {
                LinkEvent::Up => self.up(server),
                LinkEvent::Down(why) => self.down(server, &why),
                LinkEvent::Reply { tag, reply } => self.replied(server, tag, reply),
                LinkEvent::Message { payload, .. } => self.heard(server, &payload),
            }
            // What this brought about is told before what the next event does.
            self.empty_mailbox(server);
        }
        self.deliver_waiting(server) || heard
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Whether Redis is there and does what it is asked.
    pub(crate) fn works(&self) -> bool {
        self.is_up() && self.down.is_none()
    }

    /// Bytes that Redis has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.link.queued_bytes()
    }

    /// Commands and answers that are under way.
    pub(crate) fn unanswered(&self) -> usize {
        self.link.unanswered()
    }
}

impl Cluster {
    /// Passes on what the server has for others, in its order. Where Redis can't be told, each of them acts as if it had
    /// no answer.
    fn empty_mailbox(&mut self, server: &mut Server) {
        while let Some(envelope) = server.elsewhere.take() {
            match envelope {
                Envelope::Message(message) => self.give(server, message),
                Envelope::Ended { id, uuid, ending } => self.ended(server, id, uuid, ending),
                Envelope::Joined { id, room, announce } => self.joined(server, id, &room, announce),
                Envelope::Left { id, room } => self.left(server, id, &room),
                Envelope::Members(members) => self.tell_members(server.limits(), &members),
                Envelope::CountMembers { room, ask } => self.count_members(server, room, ask),
                Envelope::Resumed { id, uuid } => {
                    self.send_registration(server, id, uuid, Pending::Done("registering a client"));
                }
                Envelope::Owed { uuid, receipt, answered } => self.note_receipt(uuid, &receipt, answered),
                Envelope::Acted(author) => self.acted(server, author),
                Envelope::Keyed { to, key } => self.messages.note_key(&to, &key, self.clock.earliest(server.now)),
                Envelope::Describe { uuid, ask } => self.ask_about(server, &uuid, ask),
                Envelope::ClaimKey { name, request, number, seconds } => {
                    self.claim_key(server, &name, &request, number, seconds);
                }
                Envelope::SettleKey { name, text, seconds, is_late } => self.settle_key(&name, text.as_deref(), seconds, is_late),
                Envelope::Answer { node, ask, fates } => self.answer(&node, ask, fates),
            }
        }
        server.elsewhere.under_way = self.messages.under_way();
    }

    fn up(&mut self, server: &mut Server) {
        if !self.findings.lacks_rights() {
            log::info!(target: "phpws", "Backplane is up: this process is {}", self.node);
            self.down = None;
        }
        self.inspect();
        // A process that took this one for dead hears of its rooms below.
        self.nodes.remove(&self.node);
        self.ask_the_time(server.now);
        self.load_scripts();
        self.subscribe_again();
        self.beat(server);
        self.resync_clients(server);
        self.resync_rooms(server);
    }

    /// Everything that waits for an answer goes on without one.
    fn down(&mut self, server: &mut Server, why: &str) {
        self.counts.lost += 1;
        self.findings.lost();
        if self.down.is_none() {
            log::error!(target: "phpws", "Backplane is away, other processes are not reached: {why}");
        } else {
            log::debug!("Backplane is still away: {why}");
        }
        self.down.get_or_insert(server.now);
        self.clock.doubt();
        let pending: BTreeMap<u64, Pending> = std::mem::take(&mut self.pending).into_iter().collect();
        for pending in pending.into_values() {
            self.without_reply(server, pending, None);
        }
        self.give_up_yields(server);
        self.deliver_under_way(server);
    }

    /// Something was published on a channel.
    fn heard(&mut self, server: &mut Server, payload: &[u8]) {
        match Line::parse(payload) {
            Some(Line::Presence { from, .. }) if from == self.node => {}
            Some(line @ (Line::Message(_) | Line::Presence { .. })) => self.receive(server, line),
            Some(Line::Fate { ask, fates }) => server.extras.receipts.asks.answer(ask, fates),
            Some(Line::Yield { uuid, at, seq, node }) => self.yield_client(server, &Wanted { uuid, at, seq, node }),
            Some(Line::Yielded { uuid, free }) => self.yielded(server, &uuid, free),
            Some(Line::Lost { uuid }) => yields::lost(server, &uuid),
            Some(Line::Describe { from, ask, uuid }) => self.describe(server, &from, ask, &uuid),
            Some(Line::Description { ask, text }) => descriptions::described(server, ask, text),
            None => log::debug!("Backplane: a message of another version"),
        }
    }
}

/// How long keys live without being renewed, in milliseconds.
fn key_time(limits: &Limits) -> String {
    let Limits { resume_time, ping_interval, .. } = limits;
    resume_time.saturating_add(ping_interval.saturating_mul(2)).saturating_add(MARGIN).as_millis().to_string()
}

/// The path of a resource.
fn path_of(server: &Server, app: Option<AppId>) -> &str {
    app.and_then(|app| server.counters.path(app)).map_or("", |path| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{browser, got, server};
    use crate::mail::Form;
    use crate::server::delivery::{Delivery, To};

    /// A cluster that reaches no Redis, of a server that takes it to be reached.
    fn without_redis<const N: usize>(forms: [Form; N]) -> (Cluster, Server, [SocketId; N]) {
        let (mut server, ids) = server(Others::Alone, forms);
        let cluster = Cluster::new("redis://127.0.0.1:1", "test", &mut server).unwrap();
        assert_eq!(server.elsewhere.others, Others::CutOff);
        server.elsewhere.others = Others::Joined;
        (cluster, server, ids)
    }

    #[test]
    fn what_redis_does_not_take_reaches_the_clients_here_and_the_rest_is_unknown() {
        let (mut cluster, mut server, [one, two]) = without_redis([Form::Frames, Form::Frames]);
        let sent = server.deliver(Delivery::new(To::All, "{}").from(one).asked(true));
        let ask = sent.ask.unwrap();
        assert!(!cluster.hear(&mut server), "nothing came from elsewhere");
        assert!(got(&server, two) && !got(&server, one));
        assert_eq!((cluster.counts.sent, cluster.counts.undelivered), (1, 1));
        let own = server.extras.receipts.open.pop().unwrap();
        assert_eq!((own.sent.len(), server.extras.receipts.asks.is_done(ask)), (1, false), "this process answers last");
    }

    #[test]
    fn a_new_client_does_not_get_what_was_published_before() {
        let (mut cluster, mut server, [one]) = without_redis([Form::Frames]);
        server.deliver(Delivery::new(To::All, "{}"));
        let new = browser(&mut server, Form::Frames);
        assert!(!cluster.open(&mut server, new, None), "no other process needs to know");
        assert!(got(&server, one) && server.elsewhere.take().is_none());
        server.ready(new, Uuid::new_v4());
        server.clients[new].mail.outbox.discard_unsent();
        cluster.hear(&mut server);
        assert!(!got(&server, new));
    }

    #[test]
    fn channels_are_needed_as_long_as_a_member_is_here() {
        let (mut cluster, mut server, [one, two]) = without_redis([Form::Frames, Form::Frames]);
        for id in [one, two] {
            server.join(id, "r", "", false).unwrap();
        }
        cluster.hear(&mut server);
        assert_eq!(cluster.subscriptions.get("room:r"), Some(&2));
        server.leave(one, "r").unwrap();
        server.begin_close(two);
        cluster.hear(&mut server);
        assert!(cluster.subscriptions.is_empty());
    }
}
