//! Messages: given to Redis, come from it, and what became of them.
//!
//! Redis gives each message its position and says how many processes got it; so many answer what became of it
//! there. A message that nobody knows to be in Redis, since the connection was lost or the command was refused, is
//! delivered to the clients here. If Redis had it after all, and it comes back, it is passed over.
//!
//! ```text
//!   give ──▶ given ──┬── Redis has it ──▶ it comes back ──▶ delivered here, with its position
//!                    │                └─▶ for none here ──▶ forgotten
//!                    └── nobody knows ──▶ delivered here without a position, and `alone`
//! ```

use std::collections::HashSet;
use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::commands::flag;
use super::replies::{element, number, text};
use super::under_way::Given;
use super::wire::{self, Line, Remote, channel};
use super::{Cluster, LOG_BYTES, MAX_LOG, MAX_QUEUE, Pending, claims, inbox, key_time, path_of};
use crate::elsewhere::{Author, Fates, Message, Target};
use crate::extras::publishing::{Asker, Sent, TOO_LARGE};
use crate::extras::redis::Reply;
use crate::extras::resume;
use crate::extras::rooms::everywhere;
use crate::ids::{ClientType, SocketId};
use crate::mail::numbered::can_be_kept;
use crate::server::Server;
use crate::server::delivery::{Delivery, To};

/// What a script says in place of the number of processes that got a message.
mod refused {
    /// The message was executed so late that it was given up.
    pub(super) const LATE: i64 = -2;
    /// The process that has the client is not connected.
    pub(super) const OUT_OF_REACH: i64 = -3;
    /// The client is away, and the message is too large to be kept for it.
    pub(super) const TOO_LARGE: i64 = -4;
}

/// There.
impl Cluster {
    /// Hands a message to Redis. It is noted as given before anything else can fail: from here on it is delivered here
    /// once, by whichever way.
    pub(super) fn give(&mut self, server: &mut Server, message: Message) {
        let Message { to, text, sender, key, ask, author } = message;
        let sender = sender.map(|uuid| uuid.to_string()).unwrap_or_default();
        self.messages.last += 1;
        let remote = Remote { at: 0, from: self.node.clone(), id: self.messages.last, to, sender, key, ask, text };
        let comes_back = self.subscriptions.contains_key(&channel(&remote.to));
        let given = Given { id: remote.id, ask, client: author.map(|author| author.id), comes_back };
        let (uuid, cseq) = author.map(|author| (author.uuid.to_string(), author.cseq.to_string())).unwrap_or_default();
        let taken = self.run_message(&remote, server, (&uuid, &cseq), given);
        self.messages.given.insert(given.id, remote);
        self.counts.sent += 1;
        if !taken {
            self.undelivered(server, given);
        }
    }

    /// Runs the script of a message, for one or for many; says whether it could be sent. With the author's number Redis
    /// knows a message that it had before, perhaps from another process, and does nothing.
    fn run_message(&mut self, remote: &Remote, server: &Server, (author, cseq): (&str, &str), given: Given) -> bool {
        let limits = server.limits();
        let (rest, ms, until) = (remote.rest(), &key_time(limits), &self.clock.deadline(server.now).to_string());
        let bytes = &limits.resume_bytes.saturating_mul(LOG_BYTES).to_string();
        let taken = match &remote.to {
            Target::One { uuid, ident } => {
                let large = flag(!can_be_kept(&remote.text, limits.kept_bytes()));
                let arguments = [uuid, ident, rest.as_str(), ms, &MAX_QUEUE.to_string(), bytes, author, cseq, until, large];
                self.run(|scripts| &scripts.tell, &arguments, Pending::Tell(given))
            }
            many => {
                let asked = flag(given.ask.is_some());
                let arguments = [&*channel(many), &rest, ms, &MAX_LOG.to_string(), bytes, author, cseq, until, asked];
                self.run(|scripts| &scripts.cast, &arguments, Pending::Cast(given))
            }
        };
        taken.is_ok()
    }

    /// A message was not given to Redis, or nobody knows whether: the clients that are here get it. For those that ask
    /// this process counts as the last one to answer, and the rest is unknown.
    pub(super) fn undelivered(&mut self, server: &mut Server, given: Given) {
        let Given { id, ask, .. } = given;
        send_next(server, given);
        self.counts.undelivered += 1;
        let asks = &mut server.extras.receipts.asks;
        let Some(remote) = self.messages.given.remove(&id) else {
            return ask.into_iter().for_each(|ask| asks.unknown(ask));
        };
        ask.into_iter().for_each(|ask| asks.alone(ask));
        self.messages.alone.insert(id);
        if self.messages.alone.len() > MAX_LOG {
            self.messages.alone.pop_first();
        }
        remote.key.iter().for_each(|key| self.messages.note_key(&remote.to, key, self.clock.earliest(server.now)));
        self.deliver_here(server, &Remote { at: 0, ask, ..remote });
    }

    /// Notes that an answer is owed to a client, or that it was given: should this process die, the next one says that
    /// nobody knows.
    pub(super) fn note_receipt(&mut self, uuid: Uuid, receipt: &str, answered: bool) {
        if answered {
            let (key, field) = (self.key(&format!("client:{uuid}")), format!("owed:{receipt}"));
            return self.command("forgetting a receipt", &[b"HDEL", key.as_bytes(), field.as_bytes()]);
        }
        // Where it can't be sent nobody else will claim the client for a while.
        let _ = self.run(|scripts| &scripts.owe, &[&uuid.to_string(), receipt], Pending::Done("noting a receipt"));
    }

    /// A numbered message had no effect that others know of: its number is noted before the client gets its `next`.
    pub(super) fn acted(&mut self, server: &mut Server, Author { id, uuid, cseq }: Author) {
        let (uuid, cseq) = (uuid.to_string(), cseq.to_string());
        if self.run(|scripts| &scripts.acted, &[&uuid, &cseq], Pending::Acted(id)).is_err() {
            resume::send_owed_nexts(server, id);
        }
    }

    /// The connection is lost: what was on its way back to the clients that are here reaches them now.
    pub(super) fn deliver_under_way(&mut self, server: &mut Server) {
        let given: Vec<u64> = self.messages.given.keys().copied().collect();
        given.into_iter().for_each(|id| self.undelivered(server, Given { id, ask: None, client: None, comes_back: false }));
    }

    /// Redis has a message for many, and so many processes got it; each of them answers those that ask. One that was sent
    /// before counts as got by none.
    pub(super) fn was_cast(&mut self, server: &mut Server, given: Given, reply: &Reply) {
        self.well(server);
        let processes = number(element(reply, 1)).unwrap_or_default();
        if processes == refused::LATE {
            return self.undelivered(server, given);
        }
        send_next(server, given);
        if let Some(ask) = given.ask {
            let asks = &mut server.extras.receipts.asks;
            let waiting = number(element(reply, 2)).and_then(|waiting| usize::try_from(waiting).ok());
            asks.out_of_reach(ask, waiting.unwrap_or_default(), number(element(reply, 3)) == Some(1));
            asks.expect(ask, usize::try_from(processes).unwrap_or_default());
        }
        if processes <= 0 || !given.comes_back {
            self.messages.given.remove(&given.id);
        }
    }

    /// Redis has a message for one, or has not found that client. Where its process is gone, but the client may come back
    /// to another one, the message waits for that.
    pub(super) fn was_told(&mut self, server: &mut Server, given: Given, reply: &Reply) {
        self.well(server);
        let found = text(element(reply, 0)).is_some_and(|position| position != "0");
        let (processes, kept) = (number(element(reply, 1)).unwrap_or_default(), number(element(reply, 2)) == Some(1));
        if processes == refused::LATE || processes == 0 && !kept && self.is_here(server, given) {
            return self.undelivered(server, given);
        }
        send_next(server, given);
        let to = self.messages.given.remove(&given.id).map(|remote| remote.to);
        if let (0, false, Some(Target::One { uuid, ident })) = (processes, kept, to) {
            let why = server.log_unreachable(&uuid, &ident);
            return given.ask.into_iter().for_each(|ask| server.extras.receipts.asks.nowhere(ask, why));
        }
        match (processes, given.ask) {
            (refused::OUT_OF_REACH, Some(ask)) => return server.extras.receipts.asks.unknown(ask),
            (refused::TOO_LARGE, Some(ask)) => return server.extras.receipts.asks.failed(ask, TOO_LARGE),
            _ => {}
        }
        let (Some(ask), asks) = (given.ask, &mut server.extras.receipts.asks) else { return };
        if kept {
            asks.keep(ask);
        }
        if processes == 0 && found && kept {
            asks.answer(ask, Fates { queued: 1, ..Fates::default() });
            asks.expect(ask, 1);
        } else {
            asks.expect(ask, usize::try_from(processes).unwrap_or_default());
        }
    }
}

impl Cluster {
    /// Whether a message is for a client of this process, though Redis does not know it: it was told to forget it.
    fn is_here(&self, server: &Server, given: Given) -> bool {
        let Some(Target::One { uuid, ident }) = self.messages.given.get(&given.id).map(|remote| &remote.to) else { return false };
        server.receiver(uuid, ident).is_some_and(|id| self.is_subscribed(id))
    }
}

/// And back.
impl Cluster {
    /// A message, or news of a room, came from Redis: it waits for its turn, if there is room.
    pub(super) fn receive(&mut self, server: &mut Server, line: Line) {
        match self.inbox.put(line, inbox::most(server.limits().max_memory)) {
            Some(Line::Message(remote)) => self.drop_message(server, remote),
            // The members are counted once there is room.
            Some(Line::Presence { room, .. }) => _ = self.inbox.lost.insert(Target::Room(room.into())),
            _ => {}
        }
    }

    /// Delivers messages that wait, as long as this turn has time for them.
    pub(super) fn deliver_waiting(&mut self, server: &mut Server) -> bool {
        let mut begun = Instant::now();
        let mut any = false;
        while self.registered.is_empty()
            && let Some(line) = self.inbox.take(server.now)
        {
            any = true;
            match line {
                Line::Message(remote) => self.deliver(server, remote),
                Line::Presence { from, room, count, moved } => everywhere::moved(server, &from, &room, count, &moved),
                _ => {}
            }
            self.empty_mailbox(server);
            let now = Instant::now();
            self.inbox.took(now - begun);
            begun = now;
        }
        any
    }

    /// There is no room for a message. Whoever asks about one client is told; the counts of one for many stay unknown.
    fn drop_message(&mut self, server: &mut Server, remote: Remote) {
        self.counts.dropped += 1;
        let node = self.took(&remote);
        if let (Some(ask), Target::One { .. }) = (remote.ask, &remote.to) {
            server.ask(Asker::Process { node, ask }, vec![Sent::dropped()]);
        }
        self.inbox.lost.insert(remote.to);
    }

    /// A message has come to this process, from another one, whose name it gives, or back.
    fn took(&mut self, remote: &Remote) -> Option<Box<str>> {
        if remote.from != self.node {
            return Some(remote.from.as_str().into());
        }
        self.messages.given.remove(&remote.id);
        None
    }

    /// Tells those that may have missed something since there was no room: clients that resume come again and hear of a
    /// gap, and members of rooms are counted anew.
    pub(super) fn tell_of_lost(&mut self, server: &mut Server) {
        let lost = std::mem::take(&mut self.inbox.lost);
        if lost.is_empty() {
            return;
        }
        log::warn!(target: "phpws", "Backplane: messages came faster than they can be delivered, {} were dropped", self.counts.dropped);
        let kept = server.clients.iter().filter(|(_, client)| client.is_known() && client.mail.is_numbered());
        let kept: Vec<SocketId> = kept.map(|(id, _)| id).filter(|id| is_among(server, *id, &lost)).collect();
        kept.into_iter().for_each(|id| claims::miss(server, id));
        let rooms = lost.into_iter().filter_map(|target| if let Target::Room(room) = target { Some(room) } else { None });
        rooms.for_each(|room| self.count_members(server, room, None));
    }

    /// It is the turn of a message, of this process or another one.
    pub(super) fn deliver(&mut self, server: &mut Server, remote: Remote) {
        self.counts.received += 1;
        self.took(&remote);
        // Redis woke up and did what an earlier connection had asked for: the clients here have it.
        if self.was_delivered_alone(&remote) {
            return;
        }
        let remote = match receivers_here(server, &remote.to) {
            // It was among what the client got as it came.
            Some(To::Client(id)) if !self.parked.has(id) && self.inbox.passed_over().contains_key(id) => return,
            Some(To::Client(id)) => self.park(server, id, remote),
            Some(to) if !self.parked.is_empty() => {
                let sender = find(server, &remote.sender).unwrap_or_default();
                self.park_for_many(server, sender, to, &remote);
                Some(remote)
            }
            _ => Some(remote),
        };
        remote.into_iter().for_each(|remote| self.deliver_here(server, &remote));
    }

    /// Whether the clients here got that message of this process as the others were not reached.
    pub(super) fn was_delivered_alone(&self, remote: &Remote) -> bool {
        remote.from == self.node && self.messages.alone.contains(&remote.id)
    }

    /// Sends a message to the clients here, as if it had been sent here; those that ask for its fate get an answer once
    /// the loop has written. Its position goes along: clients that may resume say with it what they have seen.
    pub(super) fn deliver_here(&mut self, server: &mut Server, remote: &Remote) {
        let sent = match receivers_here(server, &remote.to) {
            Some(to) => {
                let sender = find(server, &remote.sender).unwrap_or_default();
                let delivery = Delivery::new(to, &remote.text).from(sender).keyed(remote.key.as_deref());
                let came = remote.at > 0 && !delivery.is_for_one();
                let delivery = Delivery { without: came.then(|| self.inbox.passed_over()), ..delivery };
                server.current.position = remote.at;
                let sent = server.publish_here(delivery.asked(remote.ask.is_some()));
                server.current.position = 0;
                sent
            }
            None if remote.at == 0 => Sent::unknown(),
            None => Sent::nowhere(404, "nobody has that uuid"),
        };
        if let Some(ask) = remote.ask {
            let node = (remote.from != self.node).then(|| remote.from.as_str().into());
            server.ask(Asker::Process { node, ask }, vec![sent]);
        }
    }

    /// Tells another process what became of its message here.
    pub(super) fn answer(&mut self, node: &str, ask: u64, fates: Fates) {
        let Fates { delivered, queued, failed, dropped } = fates;
        let mut members = json!({"ask": ask, "delivered": delivered, "queued": queued, "failed": failed});
        if dropped {
            members["dropped"] = true.into();
        }
        self.publish("an answer", &format!("to:{node}"), &wire::line("fate", members, ""));
    }
}

/// The client that numbered the message may send its next one: whatever became of it, it need not be sent again.
fn send_next(server: &mut Server, given: Given) {
    given.client.into_iter().for_each(|client| resume::send_owed_nexts(server, client));
}

/// The clients here that a message is for; `None` where there is no such resource or client.
fn receivers_here<'a>(server: &Server, to: &'a Target) -> Option<To<'a>> {
    match to {
        Target::All => Some(To::All),
        Target::Path(path) => server.counters.app(path).map(To::Resource),
        Target::Room(room) => Some(To::Members(room)),
        // Redis has looked the name up; where it could not be asked it is looked up here.
        Target::One { uuid, ident } => {
            let by_ident = || server.find_ident(ident).filter(|_| !ident.is_empty());
            find(server, uuid).or_else(by_ident).map(To::Client)
        }
    }
}

/// Whether a client gets what is for one of these.
fn is_among(server: &Server, id: SocketId, targets: &HashSet<Target>) -> bool {
    let client = &server.clients[id];
    let is_browser = client.client_type == ClientType::Websocket;
    let broadcast =
        is_browser && [Target::All, Target::Path(path_of(server, client.app).into())].iter().any(|to| targets.contains(to));
    let in_room = || server.extras.rooms.of_client(id).any(|(room, ..)| targets.contains(&Target::Room(room.into())));
    let alone = || targets.contains(&Target::One { uuid: client.uuid.to_string().into(), ident: Box::default() });
    broadcast || in_room() || alone()
}

/// The client of that uuid, in any way of writing it.
pub(super) fn find(server: &Server, uuid: &str) -> Option<SocketId> {
    Uuid::try_parse(uuid).ok().and_then(|uuid| server.clients.by_uuid(uuid))
}
