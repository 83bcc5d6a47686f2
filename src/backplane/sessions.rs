//! Clients: known everywhere before they are told `ready`, and taken over from another process.
//!
//! All of it rests on one property of the one connection: what is published before a script runs is in
//! the logs that it reads, and what is published after it comes behind its reply. So a client that gets
//! what the script read, and then what comes, misses nothing and gets nothing twice.

use serde_json::{Value, json};
use uuid::Uuid;

use super::delivery::channels;
use super::link::Reply;
use super::target::Target;
use super::wire::{News, Remote};
use super::{MARGIN, Pending, element, elements, number, text};
use crate::client::{ClientType, SocketId};
use crate::resume::{Kept, Standing, Wish};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// A client that waits for its `ready`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduction {
    id: SocketId,
    uuid: Uuid,
    wish: Option<Wish>,
}

/// One that may be told `ready` now.
pub(crate) struct Introduced {
    pub(crate) id: SocketId,
    pub(crate) uuid: Uuid,
    pub(crate) claim: Option<Claim>,
    /// Whether it wanted to be a client that nobody knows.
    pub(crate) guessed: bool,
}

/// What another process left of a client.
pub(crate) struct Claim {
    pub(crate) kept: Kept,
    rooms: Vec<RoomOf>,
    missed: Vec<Remote>,
}

/// A room of a client, as it stands in Redis: `[room, name, announce, place]`.
struct RoomOf {
    room: String,
    name: String,
    announce: bool,
    place: u64,
}

impl Server {
    /// Makes an open client known to all processes, or fetches it from another one. `false` where nobody
    /// needs to know: then it is told `ready` at once.
    pub(crate) fn introduce_elsewhere(&mut self, id: SocketId, wish: Option<Wish>) -> bool {
        let Some(backplane) = &mut self.backplane else { return false };
        if self.clients[id].client_type == ClientType::Tcp {
            return false;
        }
        let introduction = |uuid| Introduction { id, uuid, wish };
        match (wish, backplane.is_up()) {
            (Some(Wish::Resume { uuid: Some(uuid), .. }), true) => {
                let key = backplane.key(&format!("client:{uuid}"));
                if let Ok(tag) = backplane.link.send(&[b"HGET", key.as_bytes(), b"rooms"]) {
                    backplane.pending.insert(tag, Pending::RoomsOf(introduction(uuid)));
                    return true;
                }
                self.come_again(introduction(uuid));
                true
            }
            // Its process may be there, and what it missed: it comes again while that lasts.
            (Some(Wish::Resume { uuid: Some(uuid), .. }), false) => {
                let lasts =
                    backplane.down.is_none_or(|down| self.now.saturating_duration_since(down) < self.limits().resume_time);
                if lasts {
                    self.come_again(introduction(uuid));
                }
                lasts
            }
            (_, true) => self.register(introduction(Uuid::new_v4())),
            (_, false) => false,
        }
    }

    /// Has a client found everywhere; `false` where that can't be.
    fn register(&mut self, introduction: Introduction) -> bool {
        self.share(introduction.id);
        self.send_registration(introduction.id, introduction.uuid, Pending::Register(introduction))
    }

    fn send_registration(&mut self, id: SocketId, uuid: Uuid, pending: Pending) -> bool {
        let ms = self.key_time();
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(id)) else { return false };
        let path = client.app.and_then(|app| self.metrics.path(app)).map(|path| path.to_string()).unwrap_or_default();
        let (uuid, node, resumes) = (uuid.to_string(), backplane.node.clone(), if client.kept.is_some() { "1" } else { "0" });
        let arguments = [&*uuid, &node, &client.client_type.to_string(), &path, &client.ident, resumes, &ms];
        backplane.run(|scripts| &scripts.register, &arguments, pending).is_ok()
    }

    pub(super) fn registered(&mut self, introduction: Introduction, reply: &Reply) {
        let place = text(Some(reply)).and_then(|place| place.parse().ok()).unwrap_or_default();
        if let Some(kept) = self.clients.get_mut(introduction.id).and_then(|client| client.kept.as_mut()) {
            kept.place = place;
        }
        self.introduce_alone(introduction);
    }

    /// The client is told `ready`, whoever else knows of it.
    pub(super) fn introduce_alone(&mut self, Introduction { id, uuid, wish }: Introduction) {
        let guessed = matches!(wish, Some(Wish::Resume { .. }));
        if let Some(backplane) = &mut self.backplane {
            backplane.introduced.push(Introduced { id, uuid, claim: None, guessed });
        }
    }

    /// It can't be said whether that client is known: it is asked to come again.
    pub(super) fn come_again(&mut self, introduction: Introduction) {
        log::info!("Client of socket #{} can't resume while the backplane is away", introduction.id);
        self.close_with(introduction.id, CloseCode::TRY_AGAIN_LATER, "Can't resume now");
    }

    /// The rooms of a client that comes back are subscribed to before it is fetched.
    pub(super) fn claim(&mut self, introduction: Introduction, reply: &Reply) {
        if !self.is_open(introduction.id) {
            return;
        }
        self.share(introduction.id);
        for room in rooms(text(Some(reply)).unwrap_or("[]")) {
            self.share_room(&room.room);
        }
        let Some(Wish::Resume { at, .. }) = introduction.wish else { return };
        if !self.send_claim(introduction.id, introduction.uuid, at, false, Pending::Claim(introduction)) {
            self.come_again(introduction);
        }
    }

    fn send_claim(&mut self, id: SocketId, uuid: Uuid, at: u64, own: bool, pending: Pending) -> bool {
        let ms = self.key_time();
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(id)) else { return false };
        let path = client.app.and_then(|app| self.metrics.path(app)).map(|path| path.to_string()).unwrap_or_default();
        let (uuid, node, own) = (uuid.to_string(), backplane.node.clone(), if own { "1" } else { "0" });
        let arguments = [&*uuid, &node, &client.client_type.to_string(), &path, &at.to_string(), &ms, own];
        backplane.run(|scripts| &scripts.claim, &arguments, pending).is_ok()
    }

    pub(super) fn claimed(&mut self, introduction: Introduction, reply: &Reply) {
        let Introduction { id, uuid, wish } = introduction;
        let (Some(Wish::Resume { seq, at, .. }), Some(client)) = (wish, self.clients.get(id)) else { return };
        if element(reply, 0).is_none() {
            let introduction = Introduction { uuid: Uuid::new_v4(), ..introduction };
            if !self.send_registration(id, introduction.uuid, Pending::Register(introduction)) {
                self.introduce_alone(introduction);
            }
            return;
        }
        let cseq = text(element(reply, 0)).and_then(|cseq| cseq.parse().ok()).unwrap_or_default();
        let standing = if number(element(reply, 2)) == Some(1) { Standing::Gap(None) } else { Standing::Resumed };
        let rooms = rooms(text(element(reply, 1)).unwrap_or("[]"));
        log::info!("Client {} comes from another process on #{id}", client.client_type);
        let claim = Claim { kept: Kept::of(standing, seq, cseq, at), rooms, missed: missed(reply) };
        if let Some(backplane) = &mut self.backplane {
            backplane.introduced.push(Introduced { id, uuid, claim: Some(claim), guessed: false });
        }
    }

    /// Clients that may be told `ready` now.
    pub(crate) fn take_introduced(&mut self) -> Vec<Introduced> {
        self.backplane.as_mut().map(|backplane| std::mem::take(&mut backplane.introduced)).unwrap_or_default()
    }

    /// Gives a client what its other process left: rooms, and messages that it missed.
    pub(crate) fn restore(&mut self, id: SocketId, uuid: Uuid, claim: Claim) {
        let mut kept = claim.kept;
        kept.rooms = claim.rooms.iter().map(|room| (room.room.as_str().into(), room.place)).collect();
        self.clients[id].kept = Some(Box::new(kept));
        for room in claim.rooms {
            // Its rooms were subscribed to before it was in them.
            self.unshare_room(&room.room);
            if let Err(error) = self.join(id, &room.room, &room.name, room.announce) {
                log::info!("Socket {id} - {error}: not again in a room");
            }
        }
        self.catch_up(id, uuid, claim.missed);
    }

    /// Queues what a client missed, in order, but its own broadcasts and what it got without Redis.
    fn catch_up(&mut self, id: SocketId, uuid: Uuid, missed: Vec<Remote>) {
        let uuid = uuid.to_string();
        for remote in missed {
            let alone = self.backplane.as_ref().is_some_and(|own| remote.from == own.node && own.alone.contains(&remote.id));
            if remote.sender != uuid && !alone {
                self.at = remote.at;
                self.keep(id, &remote.text.into(), None);
                self.at = 0;
            }
        }
    }

    /// After a new connection to Redis: every client is made known again, and those that may resume get
    /// what they missed. Until that is there nothing else goes to them, or it would come before.
    pub(super) fn resync_clients(&mut self) {
        let known: Vec<(SocketId, Uuid)> =
            self.clients.iter().filter(|(_, client)| client.is_known()).map(|(id, client)| (id, client.uuid)).collect();
        for (id, uuid) in known {
            self.share(id);
            let place = self.clients[id].kept.as_mut().map(|kept| {
                kept.syncing = true;
                kept.place
            });
            match place {
                Some(place) => self.send_claim(id, uuid, place, true, Pending::Resync(id)),
                None => self.send_registration(id, uuid, Pending::Done("registering a client")),
            };
        }
    }

    pub(super) fn resynced(&mut self, id: SocketId, reply: &Reply) {
        self.synced(id);
        let Some(client) = self.clients.get(id).filter(|client| client.is_known()) else { return };
        let uuid = client.uuid;
        match reply {
            // Redis has forgotten it.
            Reply::Nil => {
                self.send_registration(id, uuid, Pending::Done("registering a client"));
                self.store_rooms(id);
            }
            Reply::Array(_) => self.catch_up(id, uuid, missed(reply)),
            _ => self.yield_client(&uuid.to_string()),
        }
    }

    pub(super) fn synced(&mut self, id: SocketId) {
        if let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) {
            kept.syncing = false;
        }
    }

    /// Another process has this client: the one here ends, and takes nothing of it out of Redis.
    pub(super) fn yield_client(&mut self, uuid: &str) {
        let Some(id) = Uuid::try_parse(uuid).ok().and_then(|uuid| self.by_uuid(uuid)) else { return };
        log::info!("Client of socket #{id} goes on in another process");
        self.unshare(id, false);
        self.push_close(id, &CloseCode::RESUMED_ELSEWHERE.body("Resumed on another connection"));
        self.forsake(id);
        self.end(id);
    }

    /// A client is found by other processes from here on: its channels are subscribed to.
    fn share(&mut self, id: SocketId) {
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get_mut(id)) else { return };
        if std::mem::replace(&mut client.shared, true) {
            return;
        }
        let path = client.app.and_then(|app| self.metrics.path(app));
        channels(client.client_type, path.map(|path| &**path)).into_iter().for_each(|channel| backplane.subscribe(channel));
    }

    /// A client is gone; unless another process has it, or it may come back to one, from Redis too.
    pub(crate) fn unshare(&mut self, id: SocketId, release: bool) {
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get_mut(id)) else { return };
        if !std::mem::replace(&mut client.shared, false) {
            return;
        }
        let path = client.app.and_then(|app| self.metrics.path(app));
        for channel in channels(client.client_type, path.map(|path| &**path)) {
            backplane.unsubscribe(&channel);
        }
        if release && !client.uuid.is_nil() {
            let (uuid, node) = (client.uuid.to_string(), backplane.node.clone());
            // Where it does not get through, the key ends with its time.
            let _ =
                backplane.run(|scripts| &scripts.release, &[&uuid, &node, &client.ident], Pending::Done("releasing a client"));
        }
    }

    pub(super) fn share_room(&mut self, room: &str) {
        if let Some(backplane) = &mut self.backplane {
            backplane.subscribe(Target::Room(room.into()).channel());
        }
    }

    pub(crate) fn unshare_room(&mut self, room: &str) {
        if let Some(backplane) = &mut self.backplane {
            backplane.unsubscribe(&Target::Room(room.into()).channel());
        }
    }

    /// The rooms of a client that may resume are kept where another process finds them.
    pub(super) fn store_rooms(&mut self, id: SocketId) {
        let Some(client) = self.clients.get(id).filter(|client| client.kept.is_some() && client.shared) else { return };
        let places = client.kept.as_ref().map(|kept| &kept.rooms);
        let rooms: Vec<Value> = self
            .rooms
            .of_client(id)
            .map(|(room, name, announce)| {
                let place = places.and_then(|places| places.get(room)).copied().unwrap_or_default();
                json!([room, name, announce, place])
            })
            .collect();
        let (uuid, rooms) = (client.uuid, Value::from(rooms).to_string());
        let Some(backplane) = &mut self.backplane else { return };
        let key = backplane.key(&format!("client:{uuid}"));
        backplane.command("storing rooms", &[b"HSET", key.as_bytes(), b"rooms", rooms.as_bytes()]);
    }

    /// Renews some of the keys of this process, each once in a while.
    pub(super) fn renew(&mut self) {
        let Some(backplane) = &mut self.backplane else { return };
        if backplane.renewals.is_empty() {
            backplane.renewals = self.clients.iter().filter(|(_, client)| client.shared).map(|(id, _)| id).collect();
            self.renew_rooms();
        }
        let some = 1 + self.clients.len() / super::RENEWAL_BEATS;
        for _ in 0..some {
            let Some(id) = self.backplane.as_mut().and_then(|backplane| backplane.renewals.pop()) else { return };
            self.renew_client(id);
        }
    }

    fn renew_client(&mut self, id: SocketId) {
        let Some(client) = self.clients.get(id).filter(|client| client.shared && !client.uuid.is_nil()) else { return };
        let uuid = client.uuid;
        let ms = self.key_time();
        let (Some(backplane), Some(kept)) = (&mut self.backplane, &client.kept) else {
            self.send_registration(id, uuid, Pending::Done("renewing a client"));
            return;
        };
        let (queue, from) = (backplane.key(&format!("queue:{uuid}")), (kept.come_up_to() + 1).to_string());
        backplane.command("trimming a queue", &[b"XTRIM", queue.as_bytes(), b"MINID", from.as_bytes()]);
        backplane.command("renewing a queue", &[b"PEXPIRE", queue.as_bytes(), ms.as_bytes()]);
        self.send_registration(id, uuid, Pending::Done("renewing a client"));
    }

    /// How long keys live without being renewed.
    fn key_time(&self) -> String {
        (self.limits().resume_time + MARGIN).as_millis().to_string()
    }
}

fn rooms(json: &str) -> Vec<RoomOf> {
    let list: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let room = |entry: &Value| {
        Some(RoomOf {
            room: entry[0].as_str()?.into(),
            name: entry[1].as_str()?.into(),
            announce: entry[2].as_bool()?,
            place: entry[3].as_u64()?,
        })
    };
    list.iter().filter_map(room).collect()
}

/// The messages of all logs in a reply, in the order of their places.
fn missed(reply: &Reply) -> Vec<Remote> {
    let payloads = elements(element(reply, 3)).iter().flat_map(|log| elements(Some(log)));
    let parse = |payload: &Reply| match payload {
        Reply::Bytes(bytes) => News::parse(bytes),
        _ => None,
    };
    let mut missed: Vec<Remote> = payloads
        .filter_map(parse)
        .filter_map(|news| match news {
            News::Message(remote) => Some(remote),
            _ => None,
        })
        .collect();
    missed.sort_by_key(|remote| remote.at);
    missed
}
