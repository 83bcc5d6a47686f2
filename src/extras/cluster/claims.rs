//! Clients that come back to another process, and clients that get what they missed of others.
//!
//! What a client missed is read from Redis in slices, a few clients at a time, since everything that
//! Redis has to say comes through one connection of bounded memory. The last slice also makes the
//! client this process's own, so that nothing comes between it and what is published from then on.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use uuid::Uuid;

use super::registration::{Introduced, Introduction};
use super::target::Target;
use super::wire::{News, Remote};
use super::{Pending, element, elements, number, text};
use crate::extras::redis::Reply;
use crate::extras::resume::{Held, HeldBack, Kept, ResumeOutcome, ResumeRequest};
use crate::ids::SocketId;
use crate::mail::{Form, Letter};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Clients whose messages are read at a time.
const MAX_RUNNING: usize = 8;

/// What is being fetched, and who waits for it.
#[derive(Default)]
pub(crate) struct Claims {
    waiting: VecDeque<Fetch>,
    running: usize,
}

/// One client, and what was read for it so far.
pub(crate) struct Fetch {
    id: SocketId,
    uuid: Uuid,
    /// The client that comes back; `None` for one that is here already.
    wish: Option<ResumeRequest>,
    /// Rooms that were subscribed to before the client is in them.
    rooms: Vec<String>,
    /// Everything up to this place is read.
    at: u64,
    missed: VecDeque<Remote>,
    bytes: usize,
    /// Whether something is missing before what was read.
    gap: bool,
}

/// What another process left of a client.
pub(crate) struct Claim {
    kept: Kept,
    rooms: Vec<RoomOf>,
    /// Rooms that are subscribed to until the client is in them.
    subscribed: Vec<String>,
    missed: VecDeque<Remote>,
}

/// A room of a client, as it stands in Redis: `[room, name, announce, place]`; the place is for Redis alone.
struct RoomOf {
    room: String,
    name: String,
    announce: bool,
}

impl Fetch {
    fn new(id: SocketId, uuid: Uuid, wish: Option<ResumeRequest>, at: u64) -> Fetch {
        Fetch { id, uuid, wish, rooms: Vec::new(), at, missed: VecDeque::new(), bytes: 0, gap: false }
    }

    /// Adds a slice; what is more than may be kept for a client goes from the front.
    fn add(&mut self, slice: Vec<Remote>, max: usize) {
        for remote in slice {
            self.bytes += remote.text.len();
            self.missed.push_back(remote);
            while self.bytes > max
                && let Some(oldest) = self.missed.pop_front()
            {
                self.bytes -= oldest.text.len();
                self.gap = true;
            }
        }
    }
}

impl Server {
    /// The rooms of a client that comes back are subscribed to before it is fetched.
    pub(super) fn claim(&mut self, introduction: Introduction, reply: &Reply) {
        let Introduction { id, uuid, wish } = introduction;
        let Some(ResumeRequest::Resume { at, .. }) = wish.filter(|_| self.is_open(id)) else { return };
        self.share(id);
        let mut fetch = Fetch::new(id, uuid, wish, at);
        fetch.rooms = rooms(text(Some(reply)).unwrap_or("[]")).into_iter().map(|room| room.room).collect();
        fetch.rooms.iter().for_each(|room| self.share_room(room));
        self.fetch(fetch);
    }

    /// After a new connection to Redis every client is made known again, and those that may resume get what
    /// they missed. Until that is there nothing else goes to them, or it would come before.
    pub(super) fn resync_clients(&mut self) {
        let known: Vec<(SocketId, Uuid)> =
            self.clients.iter().filter(|(_, client)| client.is_known()).map(|(id, client)| (id, client.uuid)).collect();
        for (id, uuid) in known {
            self.share(id);
            let place = self.clients[id].mail.kept_mut().map(|kept| {
                let fetching = std::mem::replace(&mut kept.held_back.get_or_insert_default().fetching, true);
                (kept.position, fetching)
            });
            // Those that it joined or left held_back.
            self.store_rooms(id);
            match place {
                // It was not yet its turn the last time.
                Some((_, true)) => {}
                Some((place, false)) => self.fetch(Fetch::new(id, uuid, None, place)),
                None => drop(self.send_registration(id, uuid, Pending::Done("registering a client"))),
            };
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        if let Some(backplane) = &mut self.backplane {
            backplane.claims.waiting.push_back(fetch);
        }
        self.fetch_next();
    }

    fn fetch_next(&mut self) {
        while let Some(backplane) = self.backplane.as_mut().filter(|backplane| backplane.claims.running < MAX_RUNNING)
            && let Some(fetch) = backplane.claims.waiting.pop_front()
        {
            match self.clients.get(fetch.id).filter(|client| client.is_waiting() || client.is_known()) {
                Some(_) => self.send_claim(fetch),
                None => self.drop_rooms(&fetch.rooms),
            }
        }
    }

    fn send_claim(&mut self, fetch: Fetch) {
        let ms = self.key_time();
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(fetch.id)) else { return };
        let path = client.app.and_then(|app| self.counters.path(app)).map(|path| path.to_string()).unwrap_or_default();
        let (uuid, node, at) = (fetch.uuid.to_string(), backplane.node.clone(), fetch.at.to_string());
        let own = if fetch.wish.is_some() { "0" } else { "1" };
        let arguments = [&*uuid, &node, &client.client_type.to_string(), &path, &at, &ms, own];
        match backplane.run_with(|scripts| &scripts.claim, &arguments) {
            Ok(tag) => {
                backplane.claims.running += 1;
                backplane.pending.insert(tag, Pending::Claim(fetch));
            }
            Err(_) => {
                // Where the connection is lost this is no news, and all is made good once it is back.
                self.backplane_refused("too much waits to be written");
                self.give_up_fetch(&fetch);
            }
        }
    }

    /// A slice came, the last one perhaps, or the news that there is no such client.
    pub(super) fn fetched(&mut self, mut fetch: Fetch, reply: &Reply) {
        let max = self.limits().resume_bytes;
        if let Some(backplane) = &mut self.backplane {
            backplane.claims.running = backplane.claims.running.saturating_sub(1);
        }
        fetch.gap |= number(element(reply, 1)) == Some(1);
        fetch.add(messages(element(reply, 2)), max);
        match (text(element(reply, 0)), reply) {
            (Some("more"), _) => {
                fetch.at = number(element(reply, 3)).and_then(|at| u64::try_from(at).ok()).unwrap_or(fetch.at);
                self.send_claim(fetch);
            }
            (Some("all"), _) if fetch.wish.is_some() => self.claimed(fetch, reply),
            (Some("all"), _) => self.resynced(fetch),
            (_, Reply::Nil) => self.unknown_client(fetch),
            _ => self.yield_client(&fetch.uuid.to_string()),
        }
        self.fetch_next();
    }

    /// Redis refused, or nobody knows whether it was carried out.
    pub(super) fn not_fetched(&mut self, fetch: &Fetch) {
        if let Some(backplane) = &mut self.backplane {
            backplane.claims.running = backplane.claims.running.saturating_sub(1);
        }
        self.give_up_fetch(fetch);
        self.fetch_next();
    }

    /// A client that comes back is asked to come again. One that is here gets what it missed once Redis is well:
    /// until then it goes on as it is, or what it missed would be taken for seen.
    fn give_up_fetch(&mut self, fetch: &Fetch) {
        self.drop_rooms(&fetch.rooms);
        if fetch.wish.is_some() {
            self.come_again(fetch.id);
        } else if let Some(held_back) = self.held_back(fetch.id) {
            held_back.fetching = false;
        }
    }

    fn drop_rooms(&mut self, rooms: &[String]) {
        rooms.iter().for_each(|room| self.unshare_room(room));
    }

    fn claimed(&mut self, fetch: Fetch, reply: &Reply) {
        let Some(ResumeRequest::Resume { seq, at, .. }) = fetch.wish.filter(|_| self.is_open(fetch.id)) else {
            return self.drop_rooms(&fetch.rooms);
        };
        let cseq = text(element(reply, 3)).and_then(|cseq| cseq.parse().ok()).unwrap_or_default();
        let rooms = rooms(text(element(reply, 4)).unwrap_or("[]"));
        let outcome = if fetch.gap { ResumeOutcome::Gap(None) } else { ResumeOutcome::Resumed };
        log::info!("Client comes from another process on #{}", fetch.id);
        let claim = Claim { kept: Kept::of(outcome, seq, cseq, at), rooms, subscribed: fetch.rooms, missed: fetch.missed };
        if let Some(backplane) = &mut self.backplane {
            backplane.introduced.push(Introduced { id: fetch.id, uuid: fetch.uuid, claim: Some(claim), guessed: false });
        }
    }

    /// Gives a client what its other process left: rooms, and messages that it missed.
    pub(crate) fn restore(&mut self, id: SocketId, uuid: Uuid, claim: Claim) {
        self.clients[id].mail.form = Form::Numbered(Box::new(claim.kept));
        self.counters.resumed += 1;
        for room in claim.rooms {
            if let Err(error) = self.join(id, &room.room, &room.name, room.announce) {
                log::info!("Socket {id} - {error}: not again in a room");
            }
        }
        self.drop_rooms(&claim.subscribed);
        self.catch_up(id, uuid, claim.missed, Vec::new());
    }

    /// A client that is gone by now leaves nothing behind: one that was fetched may still come back, a new one not.
    pub(crate) fn abandon(&mut self, uuid: Uuid, claim: Option<Claim>) {
        match claim {
            Some(claim) => self.drop_rooms(&claim.subscribed),
            None => self.release_client(uuid),
        }
    }

    fn held_back(&mut self, id: SocketId) -> Option<&mut HeldBack> {
        self.clients.get_mut(id)?.mail.kept_mut()?.held_back.as_deref_mut()
    }

    /// A client gets what it missed, what it got without Redis left out, and what came held_back.
    fn resynced(&mut self, mut fetch: Fetch) {
        let Some(kept) = self.clients.get_mut(fetch.id).and_then(|client| client.mail.kept_mut()) else { return };
        let held_back = kept.held_back.take().unwrap_or_default();
        if fetch.gap {
            // It hears of that when it comes back.
            kept.missing = true;
            return self.close_with(fetch.id, CloseCode::TRY_AGAIN_LATER, "Some messages are lost");
        }
        if let Some(own) = &self.backplane {
            fetch.missed.retain(|remote| remote.from != own.node || !own.alone.contains(&remote.id));
        }
        self.catch_up(fetch.id, fetch.uuid, fetch.missed, held_back.held);
    }

    /// Queues what a client missed, but its own messages to many, and what came while that was read, in order.
    fn catch_up(&mut self, id: SocketId, uuid: Uuid, missed: VecDeque<Remote>, held: Vec<Held>) {
        let uuid = uuid.to_string();
        let is_own = |remote: &Remote| remote.sender == uuid && !matches!(remote.to, Target::One { .. });
        let missed = missed.into_iter().filter(|remote| !is_own(remote)).map(|remote| (remote.at, None, remote.text.into()));
        // What came held_back may be among what was read.
        let all: BTreeMap<u64, Held> = missed.chain(held).map(|message| (message.0, message)).collect();
        for (at, frame, text) in all.into_values() {
            let whole = text.clone();
            self.post(id, &mut Letter::new(&whole).kept(text).keyed(frame).at(at));
        }
    }

    /// Redis does not know a client: it comes back as a new one, or is made known again.
    fn unknown_client(&mut self, mut fetch: Fetch) {
        self.drop_rooms(&fetch.rooms);
        if fetch.wish.is_some() {
            let introduction = Introduction { id: fetch.id, uuid: Uuid::new_v4(), wish: fetch.wish };
            if !self.send_registration(fetch.id, introduction.uuid, Pending::Register(introduction)) {
                self.introduce_alone(introduction);
            }
        } else if self.is_open(fetch.id) {
            self.send_registration(fetch.id, fetch.uuid, Pending::Done("registering a client"));
            self.store_rooms(fetch.id);
            fetch.gap |= self.held_back(fetch.id).is_some_and(|held_back| held_back.spilled);
            self.resynced(fetch);
        }
    }

    /// It can't be said whether that client is known: it is asked to come again.
    pub(super) fn come_again(&mut self, id: SocketId) {
        log::info!("Client of socket #{id} can't resume while the backplane is away");
        self.close_with(id, CloseCode::TRY_AGAIN_LATER, "Can't resume now");
    }

    /// The rooms of a client that may resume are kept where another process finds them.
    pub(super) fn store_rooms(&mut self, id: SocketId) {
        let Some(client) = self.clients.get(id).filter(|client| self.is_subscribed(id) && client.mail.kept().is_some()) else {
            return;
        };
        let (uuid, ms) = (client.uuid.to_string(), self.key_time());
        let rooms = self.extras.rooms.of_client(id).map(|(room, name, announce)| json!([room, name, announce]));
        let rooms = rooms.collect::<Value>().to_string();
        let Some(backplane) = &mut self.backplane else { return };
        let node = backplane.node.clone();
        // Where it does not get through it is made good after the next connection.
        let _ = backplane.run(|scripts| &scripts.store, &[&uuid, &node, &rooms, &ms], Pending::Done("storing rooms"));
    }
}

fn rooms(json: &str) -> Vec<RoomOf> {
    let list: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let room = |entry: &Value| {
        Some(RoomOf { room: entry[0].as_str()?.into(), name: entry[1].as_str()?.into(), announce: entry[2].as_bool()? })
    };
    list.iter().filter_map(room).collect()
}

/// The messages in a slice, in the order of their places.
fn messages(slice: Option<&Reply>) -> Vec<Remote> {
    let parse = |payload: &Reply| match payload {
        Reply::Bytes(bytes) => News::parse(bytes),
        _ => None,
    };
    let mut messages: Vec<Remote> = elements(slice)
        .iter()
        .filter_map(parse)
        .filter_map(|news| match news {
            News::Message(remote) => Some(remote),
            _ => None,
        })
        .collect();
    messages.sort_by_key(|remote| remote.at);
    messages
}
