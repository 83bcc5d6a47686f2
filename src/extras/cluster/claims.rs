//! Clients that come back to another process, and clients that get what they missed of others.
//!
//! What a client missed is read from Redis in slices, a few clients at a time, since everything that
//! Redis has to say comes through one connection of bounded memory. The last slice also makes the
//! client this process's own, so that nothing comes between it and what is published from then on.
//!
//! ```text
//!   comes back:  its rooms ──▶ slices ──▶ the last one: claimed ──▶ told `ready` ──▶ what it missed, what comes
//!   is here:     held back ──▶ slices ──▶ the last one          ──▶ what it missed and what was held back, in order
//! ```

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use uuid::Uuid;

use super::commands::flag;
use super::replies::{RoomOf, element, elements, messages, number, rooms, text};
use super::wire::Remote;
use super::yields::Wanted;
use super::{Cluster, Pending, Registered, Registration, key_time, path_of};
use crate::elsewhere::Target;
use crate::extras::publishing::Report;
use crate::extras::redis::Reply;
use crate::extras::resume::{self, Held, HeldBack, Kept, ResumeOutcome, ResumeRequest};
use crate::ids::SocketId;
use crate::mail::numbered::text_of;
use crate::mail::{Form, Letter};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Clients whose messages are read at a time. More would not be faster, and Redis ends a connection for which too much
/// waits.
const MAX_RUNNING: usize = 8;

/// What is being fetched, and what waits for that.
#[derive(Default)]
pub(super) struct Claims {
    waiting: VecDeque<Fetch>,
    running: usize,
}

/// One client, and what was read for it so far. It is in the queue, or with the command that asks for the next slice.
pub(super) struct Fetch {
    id: SocketId,
    uuid: Uuid,
    /// What the client asked that comes back; `None` for one that is here already, and gets what it missed as Redis was
    /// away.
    request: Option<ResumeRequest>,
    /// Rooms that were subscribed to before the client is in them. Each path that ends a fetch drops them.
    rooms: Vec<String>,
    /// Everything up to this position is read.
    position: u64,
    missed: VecDeque<Remote>,
    bytes: usize,
    /// Whether something is missing before what was read: it was cut from a log, or is more than may be kept.
    gap: bool,
    /// Whether the process that had it has let go of it.
    yielded: bool,
}

/// What another process left of a client. Until the client is told `ready` it may still be gone.
pub(super) struct Claim {
    kept: Kept,
    rooms: Vec<RoomOf>,
    ident: String,
    /// What it had asked and its process did not answer.
    owed: Vec<String>,
    /// Rooms that are subscribed to until the client is in them.
    subscribed: Vec<String>,
    missed: VecDeque<Remote>,
}

impl Fetch {
    fn new(id: SocketId, uuid: Uuid, request: Option<ResumeRequest>, position: u64) -> Fetch {
        Fetch { id, uuid, request, rooms: Vec::new(), position, missed: VecDeque::new(), bytes: 0, gap: false, yielded: false }
    }

    pub(super) fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Adds a slice; what is more than may be kept for a client goes from the front. It is the
    /// bound that one process has too, so that a client that was away for long takes no more memory here.
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

impl Claim {
    pub(super) fn subscribed(&self) -> &[String] {
        &self.subscribed
    }
}

/// Fetching.
impl Cluster {
    /// The rooms of a client that comes back are known, as JSON. They are subscribed to before it is fetched: what is
    /// published there from now on comes behind what is read.
    pub(super) fn claim(&mut self, server: &mut Server, Registration { id, uuid, request }: Registration, in_rooms: &str) {
        let Some(ResumeRequest::Resume { at, .. }) = request else { return };
        self.subscribe_client(server, id);
        let mut fetch = Fetch::new(id, uuid, request, at);
        fetch.rooms = rooms(in_rooms).into_iter().map(|room| room.room).collect();
        fetch.rooms.iter().for_each(|room| self.subscribe_to_room(room));
        self.fetch(server, fetch);
    }

    /// After a new connection to Redis every client is made known again, and those that may resume get what
    /// they missed. Until that is there nothing else from others goes to them, or it would come before.
    pub(super) fn resync_clients(&mut self, server: &mut Server) {
        let known = server.clients.iter().filter(|(_, client)| client.is_known());
        let known: Vec<(SocketId, Uuid)> = known.map(|(id, client)| (id, client.uuid)).collect();
        for (id, uuid) in known {
            self.subscribe_client(server, id);
            // What it has missed since it is away counts as had.
            resume::settle(server, id);
            let fetched = server.clients[id].mail.kept_mut().map(|kept| {
                let fetching = std::mem::replace(&mut kept.held_back.get_or_insert_default().fetching, true);
                (kept.position, fetching)
            });
            // Those that it joined or left meanwhile.
            self.store_rooms(server, id);
            match fetched {
                // It was not yet its turn the last time.
                Some((_, true)) => {}
                Some((position, false)) => self.fetch(server, Fetch::new(id, uuid, None, position)),
                None => drop(self.send_registration(server, id, uuid, Pending::Done("registering a client"))),
            };
        }
    }

    fn fetch(&mut self, server: &mut Server, fetch: Fetch) {
        self.claims.waiting.push_back(fetch);
        self.fetch_next(server);
    }

    /// Begins with as many as may be read at a time; those that are gone by now are passed over. Called wherever one has
    /// ended, so that those behind it never wait for nothing.
    fn fetch_next(&mut self, server: &mut Server) {
        while self.claims.running < MAX_RUNNING
            && let Some(fetch) = self.claims.waiting.pop_front()
        {
            match server.clients.get(fetch.id).filter(|client| client.is_waiting() || client.is_known()) {
                Some(_) => self.send_claim(server, fetch),
                None => self.drop_rooms(&fetch.rooms),
            }
        }
    }

    /// Asks for the next slice, behind the last position that was read. The one for a client that is here claims nothing:
    /// if another process has it by now, that one keeps it.
    fn send_claim(&mut self, server: &mut Server, fetch: Fetch) {
        let Some(client) = server.clients.get(fetch.id) else { return };
        let (path, ms) = (path_of(server, client.app), key_time(server.limits()));
        let (node, position) = (self.node.clone(), fetch.position.to_string());
        let (own, seq) = match fetch.request {
            Some(ResumeRequest::Resume { seq, .. }) => ("0", seq),
            _ => ("1", 0),
        };
        let yielded = flag(fetch.yielded);
        // Where the client has come to another process since, this claim takes nothing.
        let (earliest, latest) = self.came_at(client).unwrap_or_default();
        let (uuid, client_type) = (fetch.uuid.to_string(), client.client_type.to_string());
        let [earliest, latest, seq] = [earliest, latest, seq].map(|number| number.to_string());
        let arguments = [&*uuid, &node, &client_type, path, &position, &ms, own, &earliest, &seq, yielded, &latest];
        match self.run_with(|scripts| &scripts.claim, &arguments) {
            Ok(tag) => {
                self.claims.running += 1;
                self.pending.insert(tag, Pending::Claim(fetch));
            }
            Err(_) => {
                // Where the connection is lost this is no news, and all is made good once it is back.
                self.refused(server.now, "too much waits to be written");
                self.give_up(server, &fetch);
            }
        }
    }

    /// The process that had a client has let go of it, or was waited for.
    pub(super) fn fetch_yielded(&mut self, server: &mut Server, fetch: Fetch) {
        self.fetch(server, Fetch { yielded: true, ..fetch });
    }

    /// A slice came, the last one perhaps, or an answer that says that no such client exists, or that another process
    /// has it.
    pub(super) fn fetched(&mut self, server: &mut Server, mut fetch: Fetch, reply: &Reply) {
        self.claims.running = self.claims.running.saturating_sub(1);
        fetch.gap |= number(element(reply, 1)) == Some(1);
        fetch.add(messages(element(reply, 2)), server.limits().resume_bytes);
        match (text(element(reply, 0)), fetch.request, reply) {
            (Some("more"), ..) => {
                // It is free, or it has been waited for.
                fetch.yielded = true;
                let position = number(element(reply, 3)).and_then(|position| u64::try_from(position).ok());
                fetch.position = position.unwrap_or(fetch.position);
                self.send_claim(server, fetch);
            }
            (Some("all"), Some(request), _) => self.claimed(server, fetch, request, reply),
            (Some("all"), None, _) => {
                // What waits was read too.
                self.unpark(fetch.id);
                self.inbox.begins_behind(fetch.id);
                self.resynced(server, fetch);
            }
            (_, Some(_), Reply::Nil) => {
                self.drop_rooms(&fetch.rooms);
                self.register_anew(server, fetch.id);
            }
            (_, None, Reply::Nil) => self.forgotten(server, fetch),
            (Some("moved"), ..) => {
                let [at, seq] = [1, 2].map(|place| number(element(reply, place)).unwrap_or_default().unsigned_abs());
                self.yield_client(server, &Wanted { uuid: fetch.uuid.to_string(), at, seq, node: None });
            }
            (Some("wait"), ..) => self.await_yield(server.now, fetch),
            (Some("other"), Some(_), _) => {
                self.drop_rooms(&fetch.rooms);
                self.register_anew(server, fetch.id);
            }
            _ => self.give_up(server, &fetch),
        }
        self.fetch_next(server);
    }

    /// Redis refused, or nobody knows whether it was carried out.
    pub(super) fn not_fetched(&mut self, server: &mut Server, fetch: &Fetch) {
        self.claims.running = self.claims.running.saturating_sub(1);
        self.give_up(server, fetch);
        self.fetch_next(server);
    }

    /// A client that comes back is asked to come again. One that is here gets what it missed once Redis is well:
    /// until then it goes on as it is, or what it missed would be taken for seen.
    pub(super) fn give_up(&mut self, server: &mut Server, fetch: &Fetch) {
        self.drop_rooms(&fetch.rooms);
        if fetch.request.is_some() {
            ask_to_come_again(server, fetch.id);
        } else if let Some(held_back) = held_back(server, fetch.id) {
            held_back.fetching = false;
        }
    }

    /// Rooms are not needed any more for a client that is not in them yet, or is in them by now.
    pub(super) fn drop_rooms(&mut self, rooms: &[String]) {
        rooms.iter().for_each(|room| self.unsubscribe_from_room(room));
    }
}

/// What was fetched.
impl Cluster {
    /// A client is this process's own: it may be told `ready`. What is published from now on comes behind this reply, and
    /// is heard once that is done.
    fn claimed(&mut self, server: &Server, fetch: Fetch, request: ResumeRequest, reply: &Reply) {
        let ResumeRequest::Resume { seq, at, .. } = request else { return };
        if !server.is_open(fetch.id) {
            return self.drop_rooms(&fetch.rooms);
        }
        let cseq = text(element(reply, 3)).and_then(|cseq| cseq.parse().ok()).unwrap_or_default();
        let rooms = rooms(text(element(reply, 4)).unwrap_or("[]"));
        let ident = text(element(reply, 5)).unwrap_or_default().to_owned();
        let outcome = if fetch.gap { ResumeOutcome::Gap(None) } else { ResumeOutcome::Resumed };
        log::info!("Client comes from another process on #{}", fetch.id);
        let kept = Kept::of(outcome, seq, cseq, at);
        let owed = elements(element(reply, 6)).iter().filter_map(|receipt| text(Some(receipt)).map(str::to_owned)).collect();
        let claim = Claim { kept, rooms, ident, owed, subscribed: fetch.rooms, missed: fetch.missed };
        self.may_start(Registered { id: fetch.id, uuid: fetch.uuid, claim: Some(claim) });
    }

    /// Gives a client what its other process left: rooms, and messages that it missed. Where it may not
    /// join a room again, for instance since there are too many by now, that is logged.
    pub(super) fn take_over(&mut self, server: &mut Server, id: SocketId, uuid: Uuid, claim: Claim) {
        let client = &mut server.clients[id];
        let connected_at = client.mail.kept().and_then(|kept| kept.connected_at);
        client.mail.form = Form::Numbered(Box::new(Kept { connected_at, ..claim.kept }));
        if !claim.ident.is_empty() {
            client.set_ident(&claim.ident);
        }
        server.extras.resumes.resumed += 1;
        for room in claim.rooms {
            if let Err(error) = server.join(id, &room.room, &room.name, room.announce) {
                log::info!("Socket {id} - {error}: not again in a room");
            }
        }
        // As a member it is subscribed to them itself, before they are dropped: nothing is missed in between.
        self.empty_mailbox(server);
        self.drop_rooms(&claim.subscribed);
        catch_up(server, id, uuid, claim.missed, Vec::new());
        for receipt in claim.owed {
            server.write(id, &Report::unknown().receipt(&receipt));
        }
    }

    /// A client gets what it missed, what it got without Redis left out, and what was held back.
    fn resynced(&mut self, server: &mut Server, mut fetch: Fetch) {
        resume::settle(server, fetch.id);
        let Some(kept) = server.clients.get_mut(fetch.id).and_then(|client| client.mail.kept_mut()) else { return };
        let held_back = kept.held_back.take().unwrap_or_default();
        if fetch.gap {
            return miss(server, fetch.id);
        }
        fetch.missed.retain(|remote| !self.was_delivered_alone(remote) && !self.messages.has_newer(remote));
        catch_up(server, fetch.id, fetch.uuid, fetch.missed, held_back.held);
    }

    /// Redis does not know a client that is here any more, since it came back empty: it is made known again. What was held
    /// back is all that can be had.
    fn forgotten(&mut self, server: &mut Server, mut fetch: Fetch) {
        if server.is_open(fetch.id) {
            self.send_registration(server, fetch.id, fetch.uuid, Pending::Done("registering a client"));
            self.store_rooms(server, fetch.id);
            fetch.gap |= held_back(server, fetch.id).is_some_and(|held_back| held_back.spilled);
            self.resynced(server, fetch);
        }
    }

    /// The rooms of a client that may resume are kept where another process finds them. The whole list is written each
    /// time; a script adds since when the client is in each.
    pub(super) fn store_rooms(&mut self, server: &Server, id: SocketId) {
        let client = server.clients.get(id).filter(|client| self.is_subscribed(id) && client.mail.kept().is_some());
        let Some(client) = client else { return };
        let (uuid, node, ms) = (client.uuid.to_string(), self.node.clone(), key_time(server.limits()));
        let rooms = server.extras.rooms.of_client(id).map(|(room, name, announce)| json!([room, name, announce]));
        let rooms = rooms.collect::<Value>().to_string();
        // Where it does not get through it is made good after the next connection.
        let _ = self.run(|scripts| &scripts.store, &[&uuid, &node, &rooms, &ms], Pending::Done("storing rooms"));
    }
}

/// A client has missed messages that can't be had: it is asked to come again, and then hears of that.
pub(super) fn miss(server: &mut Server, id: SocketId) {
    if let Some(kept) = server.clients.get_mut(id).and_then(|client| client.mail.kept_mut()) {
        kept.missing = true;
        if !server.clients[id].is_away() {
            server.close_with(id, CloseCode::TRY_AGAIN_LATER, "Some messages are lost");
        }
    }
}

/// It can't be said whether that client is known: it is asked to come again.
pub(super) fn ask_to_come_again(server: &mut Server, id: SocketId) {
    log::info!("Client of socket #{id} can't resume while the backplane is away");
    server.close_with(id, CloseCode::TRY_AGAIN_LATER, "Can't resume now");
}

/// What is held back for a client while it is fetched.
fn held_back(server: &mut Server, id: SocketId) -> Option<&mut HeldBack> {
    server.clients.get_mut(id)?.mail.kept_mut()?.held_back.as_deref_mut()
}

/// Queues what a client missed, but its own messages to many, and what came while that was read, in order. Positions
/// say what is the same message.
fn catch_up(server: &mut Server, id: SocketId, uuid: Uuid, missed: VecDeque<Remote>, held: Vec<Held>) {
    let uuid = uuid.to_string();
    let is_own = |remote: &Remote| remote.sender == uuid && !matches!(remote.to, Target::One { .. });
    let missed = missed.into_iter().filter(|remote| !is_own(remote)).map(|remote| (remote.at, None, text_of(&remote.text)));
    // What was held back may be among what was read.
    let all: BTreeMap<u64, Held> = missed.chain(held).map(|message| (message.0, message)).collect();
    for (position, frame, text) in all.into_values() {
        let whole = text.clone();
        server.post(id, &mut Letter::new(&whole).kept(text).keyed(frame).at(position));
    }
}
