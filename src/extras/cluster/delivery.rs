//! Messages: given to Redis, come from it, and what became of them.

use std::rc::Rc;

use serde_json::json;
use uuid::Uuid;

use super::target::Target;
use super::wire::{self, Remote};
use super::{Given, MAX_LOG, MAX_QUEUE, Pending, element, number, text};
use crate::extras::http::endpoints;
use crate::extras::publishing::{Asker, Report, Sent, To};
use crate::extras::redis::Reply;
use crate::extras::resume;
use crate::ids::{ClientType, SocketId};
use crate::server::Server;

impl Server {
    /// Gives a message to all processes that it concerns. `None` where it concerns this one alone.
    pub(crate) fn publish_elsewhere(
        &mut self,
        sender: SocketId,
        to: To<'_>,
        text: &str,
        key: Option<&str>,
        asked: bool,
    ) -> Option<Sent> {
        let is_up = self.backplane.as_ref()?.is_up();
        let target = match to {
            To::Client(_) => return None,
            To::All => Target::All,
            To::Resource(app) => Target::Path(self.counters.path(app)?.as_ref().into()),
            To::Room(room) => Target::Room(room.into()),
            To::Name { uuid, ident } => {
                let here = self.receiver(uuid, ident);
                // What is for a client that may resume elsewhere must be known there.
                if here.is_some_and(|id| !is_up || self.clients[id].mail.kept().is_none()) {
                    return None;
                }
                Target::One { uuid: uuid.into(), ident: ident.into() }
            }
        };
        if !is_up {
            return Some(self.publish_alone(sender, to, text, key, asked));
        }
        let (now, single) = (self.now, matches!(target, Target::One { .. }));
        let known = self.clients.get(sender).filter(|client| client.is_known());
        let sender = known.map(|client| client.uuid.to_string()).unwrap_or_default();
        let backplane = self.backplane.as_mut()?;
        backplane.last_id += 1;
        let ask = asked.then(|| backplane.asks.open(single, now));
        let (from, id, key, text) = (backplane.node.clone(), backplane.last_id, key.map(str::to_owned), text.to_owned());
        self.give(Remote { at: 0, from, id, to: target, sender, key, ask, text });
        Some(Sent::elsewhere(ask))
    }

    /// Hands a message to Redis. The one who sent it gets `next` when Redis has it, if it numbers its messages.
    fn give(&mut self, remote: Remote) {
        let ms = self.key_time();
        let hand = self.current.number.take();
        let author = hand.and_then(|(id, _)| self.clients.get(id)).map(|client| client.uuid.to_string()).unwrap_or_default();
        let cseq = hand.map(|(_, cseq)| cseq.to_string()).unwrap_or_default();
        hand.into_iter().for_each(|(id, _)| resume::owe_next(self, id));
        let Some(backplane) = &mut self.backplane else { return };
        let comes_back = backplane.subscriptions.contains_key(&remote.to.channel());
        let given = Given { id: remote.id, ask: remote.ask, client: hand.map(|(id, _)| id), comes_back };
        let rest = remote.rest();
        let taken = match &remote.to {
            Target::One { uuid, ident } => {
                let arguments = [uuid, ident, rest.as_str(), &ms, &MAX_QUEUE.to_string(), &author, &cseq];
                backplane.run(|scripts| &scripts.tell, &arguments, Pending::Tell(given))
            }
            many => {
                let arguments = [&*many.channel(), &rest, &ms, &MAX_LOG.to_string(), &author, &cseq];
                backplane.run(|scripts| &scripts.cast, &arguments, Pending::Cast(given))
            }
        };
        backplane.under_way.insert(given.id, remote);
        backplane.counts.sent += 1;
        if taken.is_err() {
            self.undelivered(given);
        }
    }

    /// Nobody else is reached: the clients that are here get it, and whoever asks hears so.
    fn publish_alone(&mut self, sender: SocketId, to: To<'_>, text: &str, key: Option<&str>, asked: bool) -> Sent {
        if let Some(backplane) = &mut self.backplane {
            backplane.counts.undelivered += 1;
        }
        match to {
            To::Name { .. } => Sent::unknown(),
            _ => self.publish_here(sender, to, text, key, asked).and_unknown(),
        }
    }

    /// A message was not given to Redis, or nobody knows whether: the clients that are here get it.
    pub(super) fn undelivered(&mut self, given: Given) {
        let Given { id, ask, client, .. } = given;
        client.into_iter().for_each(|client| resume::send_owed_nexts(self, client));
        let Some(backplane) = &mut self.backplane else { return };
        backplane.counts.undelivered += 1;
        let Some(remote) = backplane.under_way.remove(&id) else {
            return ask.into_iter().for_each(|ask| backplane.asks.unknown(ask));
        };
        ask.into_iter().for_each(|ask| backplane.asks.alone(ask));
        backplane.alone.insert(id);
        if backplane.alone.len() > MAX_LOG {
            backplane.alone.pop_first();
        }
        self.deliver_here(&Remote { at: 0, ask, ..remote });
    }

    /// The connection is lost: what was on its way back to the clients that are here reaches them now.
    pub(super) fn alone(&mut self) {
        let under_way: Vec<u64> = self.backplane.iter().flat_map(|backplane| backplane.under_way.keys().copied()).collect();
        under_way.into_iter().for_each(|id| self.undelivered(Given { id, ask: None, client: None, comes_back: false }));
    }

    pub(super) fn was_cast(&mut self, given: Given, reply: &Reply) {
        let Given { id, ask, client, comes_back } = given;
        client.into_iter().for_each(|client| resume::send_owed_nexts(self, client));
        let processes = number(element(reply, 1)).unwrap_or_default();
        self.backplane_well();
        let Some(backplane) = &mut self.backplane else { return };
        if let Some(ask) = ask {
            backplane.asks.expect(ask, usize::try_from(processes).unwrap_or_default());
        }
        if processes <= 0 || !comes_back {
            backplane.under_way.remove(&id);
        }
    }

    pub(super) fn was_told(&mut self, given: Given, reply: &Reply) {
        let Given { id, ask, client, .. } = given;
        client.into_iter().for_each(|client| resume::send_owed_nexts(self, client));
        let found = text(element(reply, 0)).is_some_and(|at| at != "0");
        let (processes, kept) = (number(element(reply, 1)).unwrap_or_default(), number(element(reply, 2)) == Some(1));
        self.backplane_well();
        let Some(backplane) = &mut self.backplane else { return };
        let remote = backplane.under_way.remove(&id);
        ask.filter(|_| kept).into_iter().for_each(|ask| backplane.asks.keep(ask));
        match (remote.map(|remote| remote.to), ask, processes) {
            (_, Some(ask), 0) if found && kept => {
                backplane.asks.answer(ask, 0, 1, 0);
                backplane.asks.expect(ask, 1);
            }
            (Some(Target::One { uuid, ident }), ask, 0) if !kept => {
                let why = self.log_unreachable(&uuid, &ident);
                if let (Some(ask), Some(backplane)) = (ask, &mut self.backplane) {
                    backplane.asks.nowhere(ask, why);
                }
            }
            (_, Some(ask), processes) => backplane.asks.expect(ask, usize::try_from(processes).unwrap_or_default()),
            (_, None, _) => {}
        }
    }

    /// A message came from Redis.
    pub(super) fn deliver(&mut self, remote: &Remote) {
        let Some(backplane) = &mut self.backplane else { return };
        backplane.counts.received += 1;
        if remote.from == backplane.node {
            backplane.under_way.remove(&remote.id);
            // Redis woke up and did what an earlier connection had asked for: the clients here have it.
            if backplane.alone.contains(&remote.id) {
                return;
            }
        }
        self.deliver_here(remote);
    }

    fn deliver_here(&mut self, remote: &Remote) {
        let id_of = |uuid: &str| Uuid::try_parse(uuid).ok().and_then(|uuid| self.clients.by_uuid(uuid));
        let sender = id_of(&remote.sender).unwrap_or_default();
        let to = match &remote.to {
            Target::All => Some(To::All),
            Target::Path(path) => self.counters.app(path).map(To::Resource),
            Target::Room(room) => Some(To::Room(room)),
            // Redis has looked the name up; where it could not be asked it is looked up here.
            Target::One { uuid, ident } => {
                id_of(uuid).or_else(|| self.find_ident(ident).filter(|_| !ident.is_empty())).map(To::Client)
            }
        };
        let sent = match to {
            Some(to) => {
                self.current.position = remote.at;
                let sent = self.publish_here(sender, to, &remote.text, remote.key.as_deref(), remote.ask.is_some());
                self.current.position = 0;
                sent
            }
            None if remote.at == 0 => Sent::unknown(),
            None => Sent::nowhere(404, "nobody has that uuid"),
        };
        if let Some(ask) = remote.ask {
            self.ask(Asker::Node { node: remote.from.as_str().into(), ask }, vec![sent]);
        }
    }

    /// Tells another process, or notes for this one, what became of a message.
    pub(crate) fn answer_node(&mut self, node: &str, ask: u64, report: &Report) {
        let (delivered, queued, failed) = report.counts();
        // Redis has told this process that it has the client; it had it.
        let failed = failed.max(usize::from(report.status == 404));
        let Some(backplane) = &mut self.backplane else { return };
        if node == backplane.node {
            return self.answered(ask, delivered, queued, failed);
        }
        let members = json!({"ask": ask, "delivered": delivered, "queued": queued, "failed": failed});
        backplane.publish("an answer", &format!("to:{node}"), &wire::line("fate", members, ""));
    }

    pub(super) fn answered(&mut self, ask: u64, delivered: usize, queued: usize, failed: usize) {
        if let Some(backplane) = &mut self.backplane {
            backplane.asks.answer(ask, delivered, queued, failed);
        }
    }

    pub(super) fn unknown(&mut self, ask: u64) {
        if let Some(backplane) = &mut self.backplane {
            backplane.asks.unknown(ask);
        }
    }

    /// Whether a question that went to other processes can be answered.
    pub(crate) fn is_answered(&self, ask: u64) -> bool {
        self.backplane.as_ref().is_none_or(|backplane| backplane.asks.is_done(ask))
    }

    pub(crate) fn take_answer(&mut self, ask: u64) -> Report {
        self.backplane.as_mut().map(|backplane| backplane.asks.take(ask)).unwrap_or_default()
    }

    /// Asks the process that has a client what it knows of it; the number of the question.
    pub(crate) fn ask_about(&mut self, uuid: &str) -> Option<u64> {
        let now = self.now;
        let backplane = self.backplane.as_mut().filter(|backplane| backplane.is_up())?;
        let key = backplane.key(&format!("client:{uuid}"));
        let tag = backplane.link.send(&[b"HGET", key.as_bytes(), b"node"]).ok()?;
        let ask = backplane.asks.open(true, now);
        backplane.pending.insert(tag, Pending::WhereIs { ask, uuid: uuid.into() });
        Some(ask)
    }

    pub(super) fn describe_at(&mut self, ask: u64, uuid: &str, reply: &Reply) {
        let Some(backplane) = &mut self.backplane else { return };
        let Some(node) = text(Some(reply)) else { return backplane.asks.nowhere(ask, "nobody has that uuid") };
        let channel = backplane.key(&format!("to:{node}"));
        let line = wire::line("describe", json!({"from": backplane.node, "ask": ask, "uuid": uuid}), "");
        match backplane.link.send(&[b"PUBLISH", channel.as_bytes(), line.as_bytes()]) {
            Ok(tag) => drop(backplane.pending.insert(tag, Pending::Describe(ask))),
            Err(_) => backplane.asks.unknown(ask),
        }
    }

    pub(super) fn describing(&mut self, ask: u64, reply: &Reply) {
        if let (Some(backplane), Some(0)) = (&mut self.backplane, number(Some(reply))) {
            backplane.asks.nowhere(ask, "the process that had that client is gone");
        }
    }

    pub(super) fn describe(&mut self, from: &str, ask: u64, uuid: &str) {
        let text = self.find_uuid(uuid).and_then(|id| endpoints::describe(self, id)).unwrap_or_default();
        if let Some(backplane) = &mut self.backplane {
            backplane.publish("an answer", &format!("to:{from}"), &wire::line("description", json!({"ask": ask}), &text));
        }
    }

    pub(super) fn described(&mut self, ask: u64, text: String) {
        let Some(backplane) = &mut self.backplane else { return };
        match text.is_empty() {
            true => backplane.asks.nowhere(ask, "nobody has that uuid"),
            false => backplane.asks.text(ask, text),
        }
    }
}

/// The channels that a client needs whatever rooms it is in.
pub(super) fn channels(client_type: ClientType, path: Option<&str>) -> Vec<Rc<str>> {
    match (client_type, path) {
        (ClientType::Websocket, Some(path)) => vec![Target::All.channel(), Target::Path(path.into()).channel()],
        _ => Vec::new(),
    }
}
