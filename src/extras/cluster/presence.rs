//! Who is in a room, in all processes together.
//!
//! Each process writes the number of its members, and some of their names, into a hash of the room, and
//! tells the others on the room's channel when it changes. A process that is dead counts no more.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{DEAD_AFTER, Pending, element, elements, number, text, wire};
use crate::extras::redis::Reply;
use crate::extras::rooms::{Announcement, opcodes};
use crate::ids::SocketId;
use crate::server::Server;

/// Names of one process that others can list.
const NAMES: usize = 100;
/// The field of a room's hash that says whether joins and leaves are announced.
const ANNOUNCE: &str = "announce";

/// What other processes have of a room that has members here.
#[derive(Default)]
pub(crate) struct Elsewhere {
    counts: HashMap<String, usize>,
}

/// Who waits for the members of a room in all processes, and how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RoomQuestion {
    Joined(SocketId),
    Who(SocketId),
}

impl Server {
    /// Members of a room in other processes, as far as it is known.
    pub(crate) fn count_elsewhere(&self, room: &str) -> usize {
        let rooms = self.backplane.as_ref().map(|backplane| &backplane.rooms);
        rooms.and_then(|rooms| rooms.get(room)).map_or(0, |room| room.counts.values().sum())
    }

    /// Asks all processes for the members of a room; `false` where this one knows all there is.
    pub(crate) fn ask_room(&mut self, room: &str, question: RoomQuestion) -> bool {
        let known = self.backplane.as_ref().is_some_and(|backplane| backplane.rooms.contains_key(room));
        if known && matches!(question, RoomQuestion::Joined(_)) {
            return false;
        }
        self.fetch_room(room, Some(question))
    }

    fn fetch_room(&mut self, room: &str, question: Option<RoomQuestion>) -> bool {
        let Some(backplane) = self.backplane.as_mut().filter(|backplane| backplane.is_up()) else { return false };
        backplane.run(|scripts| &scripts.members, &[room], Pending::Room(room.into(), question)).is_ok()
    }

    /// A client joined a room here.
    pub(crate) fn joined_here(&mut self, id: SocketId, room: &str, announce: bool) {
        if self.backplane.is_none() {
            return;
        }
        self.share_room(room);
        self.store_announce(room, announce);
        self.store_rooms(id);
    }

    /// Whether joins are announced in a room; who was there first has decided that. The key gets an end at once,
    /// since the room may be empty again before it is written the next time.
    fn store_announce(&mut self, room: &str, announce: bool) {
        let ms = self.key_time();
        let Some(backplane) = &mut self.backplane else { return };
        let key = backplane.key(&format!("room:{room}"));
        let announce: &[u8] = if announce { b"1" } else { b"0" };
        backplane.command("storing a room", &[b"HSETNX", key.as_bytes(), ANNOUNCE.as_bytes(), announce]);
        backplane.command("renewing a key", &[b"PEXPIRE", key.as_bytes(), ms.as_bytes()]);
    }

    /// A client left a room here.
    pub(crate) fn left_here(&mut self, id: SocketId, room: &str) {
        self.unshare_room(room);
        self.store_rooms(id);
    }

    /// Members came to a room of this process, or went: the others are told.
    pub(crate) fn tell_elsewhere(&mut self, announcement: &Announcement) {
        if self.backplane.is_none() {
            return;
        }
        self.store_room(announcement);
        let Some(backplane) = &mut self.backplane else { return };
        let (room, count) = (&*announcement.room, announcement.ids.len());
        let moved: Value = serde_json::from_str(&announcement.moved()).unwrap_or_default();
        let members = json!({"from": backplane.node, "room": room, "count": count, "moved": moved});
        backplane.publish("telling of a room", &format!("room:{room}"), &wire::line("presence", members, ""));
    }

    /// Writes how many members a room has here, and some of their names.
    fn store_room(&mut self, announcement: &Announcement) {
        let names = match self.limits().room_names {
            true => self
                .who(&announcement.room)
                .map(|(_, name)| name.to_owned())
                .filter(|name| !name.is_empty())
                .take(NAMES)
                .collect(),
            false => Vec::new(),
        };
        let count = announcement.ids.len();
        let ms = self.key_time();
        let Some(backplane) = &mut self.backplane else { return };
        let (node, room) = (backplane.node.clone(), &*announcement.room);
        if count == 0 {
            backplane.rooms.remove(room);
            // Where it does not get through the room ends with its time.
            let _ = backplane.run(|scripts| &scripts.leave, &[room, &node], Pending::Done("storing a room"));
        } else {
            let key = backplane.key(&format!("room:{room}"));
            let entry = json!({"count": count, "names": names}).to_string();
            backplane.command("storing a room", &[b"HSET", key.as_bytes(), node.as_bytes(), entry.as_bytes()]);
            backplane.command("renewing a key", &[b"PEXPIRE", key.as_bytes(), ms.as_bytes()]);
        }
    }

    /// Every room of this process once more, lest its key end.
    pub(super) fn renew_rooms(&mut self) {
        for announcement in self.extras.rooms.all_as_they_are() {
            self.store_room(&announcement);
        }
    }

    /// Whether joins are announced in a room the first member anywhere has decided: until that is known, what
    /// there is to announce waits.
    pub(crate) fn hold_back(&mut self, announcement: Announcement) -> Option<Announcement> {
        let room: Box<str> = (&*announcement.room).into();
        let Some(backplane) = self.backplane.as_mut().filter(|backplane| backplane.is_up()) else { return Some(announcement) };
        if announcement.ids.is_empty() || backplane.rooms.contains_key(&room) {
            return Some(announcement);
        }
        let untold = backplane.untold.entry(room.clone()).or_default();
        untold.push(announcement);
        if untold.len() == 1 && !self.fetch_room(&room, None) {
            return self.backplane.as_mut()?.untold.remove(&room)?.pop();
        }
        None
    }

    /// Another process tells of its members of a room.
    pub(super) fn moved_elsewhere(&mut self, from: &str, room: &str, count: usize, moved: &Value) {
        let Some(backplane) = self.backplane.as_mut().filter(|backplane| backplane.node != from) else { return };
        let Some(elsewhere) = backplane.rooms.get_mut(room) else { return };
        match count {
            0 => drop(elsewhere.counts.remove(from)),
            count => drop(elsewhere.counts.insert(from.into(), count)),
        }
        self.announce_from_elsewhere(room, moved);
    }

    fn announce_from_elsewhere(&mut self, room: &str, moved: &Value) {
        let Some((announced, ids)) = self.extras.rooms.audience(room) else { return };
        let moved = moved.as_object().filter(|moved| announced && !moved.is_empty());
        let Some(moved) = moved else { return };
        let members: String = moved.iter().map(|(key, value)| format!(r#","{key}":{value}"#)).collect();
        let count = ids.len() + self.count_elsewhere(room);
        let text = format!(r#"{{"opcode":"presence","room":{},"count":{count}{members}}}"#, Value::from(room));
        self.tell(&ids, &text);
    }

    /// The members of a room in all processes came, or could not be had; somebody may wait for them.
    pub(super) fn room_elsewhere(&mut self, room: &str, question: Option<RoomQuestion>, reply: Option<&Reply>) {
        let (mut counts, mut names, mut announce) = (HashMap::new(), Vec::new(), None);
        let fields = elements(reply);
        let Some(backplane) = &mut self.backplane else { return };
        for pair in fields.chunks_exact(2) {
            let (Some(field), Some(value)) = (text(Some(&pair[0])), text(Some(&pair[1]))) else { continue };
            if field == ANNOUNCE {
                announce = Some(value == "1");
            } else if field != backplane.node {
                let entry: Value = serde_json::from_str(value).unwrap_or_default();
                counts.insert(field.to_owned(), wire::count(entry["count"].as_u64().unwrap_or_default()));
                names.extend(entry["names"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            }
        }
        let others: usize = counts.values().sum();
        if let Some((_, ids)) = self.extras.rooms.audience(room)
            && reply.is_some()
        {
            debug_assert!(!ids.is_empty());
            backplane.rooms.insert(room.into(), Elsewhere { counts });
            announce.into_iter().for_each(|announce| self.extras.rooms.set_announce(room, announce));
        }
        match question {
            Some(RoomQuestion::Joined(id)) => opcodes::answer_joined(self, id, room),
            Some(RoomQuestion::Who(id)) => opcodes::answer_who(self, id, room, others, &names),
            None => {}
        }
        let untold = self.backplane.as_mut().and_then(|backplane| backplane.untold.remove(room));
        for mut announcement in untold.into_iter().flatten() {
            announcement.announce = announce.unwrap_or(announcement.announce);
            // Some may be gone by now.
            announcement.ids = self.who(room).map(|(id, _)| id).collect();
            self.announce(&announcement);
        }
    }

    /// After a new connection to Redis every room of this process is written again, and read.
    pub(super) fn resync_rooms(&mut self) {
        for announcement in self.extras.rooms.all_as_they_are() {
            self.store_announce(&announcement.room, announcement.announce);
            self.tell_elsewhere(&announcement);
            self.fetch_room(&announcement.room, None);
        }
    }

    /// Says that this process lives, renews its keys, and lets go of questions that waited for too long.
    pub(super) fn beat(&mut self) {
        let now = self.now;
        let Some(backplane) = &mut self.backplane else { return };
        // Also without a connection: answers that were on their way don't come any more.
        backplane.asks.expire(now);
        backplane.next_beat = Some(now + super::BEAT);
        if !backplane.is_up() {
            return;
        }
        let (node, ms) = (backplane.node.clone(), DEAD_AFTER.as_millis().to_string());
        // A beat that can't be sent is made good by the next one.
        let _ = backplane.run(|scripts| &scripts.beat, &[&node, &ms], Pending::Beat);
        self.renew();
    }

    /// The processes that live: what the others had of rooms is no more.
    pub(super) fn nodes_live(&mut self, reply: &Reply) {
        self.backplane_well();
        let nodes = elements(element(reply, 1)).iter().filter_map(|node| text(Some(node)));
        let live: BTreeSet<String> = nodes.map(str::to_owned).collect();
        let Some(backplane) = &mut self.backplane else { return };
        let was_buried = number(element(reply, 0)) == Some(1) && backplane.nodes.contains(&backplane.node);
        let dead: Vec<String> = backplane.nodes.difference(&live).cloned().collect();
        backplane.nodes = live;
        if was_buried {
            log::warn!("Backplane: the others have taken this process for dead");
            self.resync_rooms();
        }
        for node in dead {
            log::warn!("Backplane: process {node} is gone");
            self.buried(&node);
        }
    }

    fn buried(&mut self, node: &str) {
        let Some(backplane) = &mut self.backplane else { return };
        let lost: Vec<(Box<str>, usize)> = backplane
            .rooms
            .iter_mut()
            .filter_map(|(room, elsewhere)| Some((room.clone(), elsewhere.counts.remove(node)?)))
            .collect();
        for (room, count) in lost {
            if let Some(backplane) = &mut self.backplane {
                let key = backplane.key(&format!("room:{room}"));
                backplane.command("storing a room", &[b"HDEL", key.as_bytes(), node.as_bytes()]);
            }
            self.announce_from_elsewhere(&room, &json!({"left": count}));
        }
    }
}
