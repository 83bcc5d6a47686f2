//! Members of rooms in all processes together, and the processes that live.
//!
//! Each process writes the number of its members, and some of their names, into a hash of the room, and
//! tells the others on the room's channel when it changes. A process that is dead counts no more: one that misses it
//! among those that live takes its members out of the hash and tells its own. The counts of the others are kept by the
//! rooms themselves.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::replies::{element, elements, number, text};
use super::{BEAT, Cluster, DEAD_AFTER, Pending, key_time, wire};
use crate::elsewhere::Members;
use crate::extras::redis::Reply;
use crate::extras::rooms::{Found, everywhere};
use crate::ids::SocketId;
use crate::limits::Limits;
use crate::server::Server;

/// The field of a room's hash that says whether joins and leaves are announced.
const ANNOUNCE: &str = "announce";

/// Rooms here, for the others.
impl Cluster {
    /// A client joined a room here: the room's channel is subscribed to before its members are counted.
    pub(super) fn joined(&mut self, server: &Server, id: SocketId, room: &str, announce: bool) {
        self.subscribe_to_room(room);
        self.store_announce(server.limits(), room, announce);
        self.store_rooms(server, id);
    }

    /// A client left a room here.
    pub(super) fn left(&mut self, server: &Server, id: SocketId, room: &str) {
        self.unsubscribe_from_room(room);
        self.store_rooms(server, id);
    }

    /// Whether joins are announced in a room; the first member anywhere has decided that. The key gets an end at once,
    /// since the room may be empty again before it is written the next time.
    fn store_announce(&mut self, limits: &Limits, room: &str, announce: bool) {
        let (key, ms) = (self.key(&format!("room:{room}")), key_time(limits));
        let announce: &[u8] = if announce { b"1" } else { b"0" };
        self.command("storing a room", &[b"HSETNX", key.as_bytes(), ANNOUNCE.as_bytes(), announce]);
        self.command("renewing a key", &[b"PEXPIRE", key.as_bytes(), ms.as_bytes()]);
    }

    /// Members came to a room here, or went: it is written, and those that have members too are told.
    pub(super) fn tell_members(&mut self, limits: &Limits, members: &Members) {
        self.store_members(limits, members);
        let Members { room, count, moved, .. } = members;
        let moved: Value = serde_json::from_str(moved).unwrap_or_default();
        let line = json!({"from": self.node, "room": room, "count": count, "moved": moved});
        self.publish("telling of a room", &format!("room:{room}"), &wire::line("presence", line, ""));
    }

    /// Writes how many members a room has here, and some of their names.
    fn store_members(&mut self, limits: &Limits, Members { room, count, names, .. }: &Members) {
        let node = self.node.clone();
        if *count == 0 {
            // Where it does not get through the room ends with its time.
            let _ = self.run(|scripts| &scripts.leave, &[room, &node], Pending::Done("storing a room"));
        } else {
            let (key, ms) = (self.key(&format!("room:{room}")), key_time(limits));
            let entry = json!({"count": count, "names": names}).to_string();
            self.command("storing a room", &[b"HSET", key.as_bytes(), node.as_bytes(), entry.as_bytes()]);
            self.command("renewing a key", &[b"PEXPIRE", key.as_bytes(), ms.as_bytes()]);
        }
    }

    /// Every room of this process once more, lest its key end.
    pub(super) fn renew_rooms(&mut self, server: &Server) {
        for (members, _) in everywhere::all_members(server) {
            self.store_members(server.limits(), &members);
        }
    }

    /// After a new connection to Redis every room of this process is written again, and read.
    pub(super) fn resync_rooms(&mut self, server: &mut Server) {
        for (members, announce) in everywhere::all_members(server) {
            self.store_announce(server.limits(), &members.room, announce);
            self.tell_members(server.limits(), &members);
            self.count_members(server, members.room, None);
        }
    }
}

/// Rooms elsewhere.
impl Cluster {
    /// Asks for the members of a room in all processes; `ask` is the number of the question.
    pub(super) fn count_members(&mut self, server: &mut Server, room: Box<str>, ask: Option<u64>) {
        let pending = Pending::Room(room.clone(), ask);
        if self.run(|scripts| &scripts.members, &[&room], pending).is_err() {
            everywhere::not_counted(server, &room, ask);
        }
    }

    /// They are known: name and value of each field of the room's hash, one for each process that lives.
    pub(super) fn members_counted(&mut self, server: &mut Server, room: &str, ask: Option<u64>, reply: &Reply) {
        let mut found = Found::default();
        for pair in elements(Some(reply)).chunks_exact(2) {
            let (Some(field), Some(value)) = (text(Some(&pair[0])), text(Some(&pair[1]))) else { continue };
            if field == ANNOUNCE {
                found.announce = Some(value == "1");
            } else if field != self.node {
                let entry: Value = serde_json::from_str(value).unwrap_or_default();
                found.counts.insert(field.into(), wire::count(entry["count"].as_u64().unwrap_or_default()));
                let names = entry["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
                found.names.extend(names.map(str::to_owned));
            }
        }
        everywhere::counted(server, room, ask, &found);
    }
}

/// Processes.
impl Cluster {
    /// Says that this process lives, renews its keys, and ends questions that waited for too long.
    pub(super) fn beat(&mut self, server: &mut Server) {
        // Also without a connection: answers that were on their way don't come any more.
        server.extras.receipts.asks.expire(server.now);
        self.next_beat = Some(server.now + BEAT);
        self.tell_of_lost(server);
        if !self.is_up() {
            return;
        }
        let (node, dead, forgotten) = (self.node.clone(), DEAD_AFTER.as_millis().to_string(), key_time(server.limits()));
        let identity = self.identity.clone().unwrap_or_else(|| "-".into());
        // A beat that can't be sent is made good by the next one.
        let _ = self.run(|scripts| &scripts.beat, &[&node, &dead, &forgotten, &identity], Pending::Beat);
        self.look_for_versions();
        self.renew(server);
        self.ask_the_time(server.now);
    }

    /// Asks Redis what time it is there.
    pub(super) fn ask_the_time(&mut self, now: Instant) {
        // Without an answer the last one holds.
        let _ = self.send(&[b"TIME"], Pending::Time(now));
    }

    pub(super) fn time_is(&mut self, asked: Instant, now: Instant, reply: &Reply) {
        let [seconds, micros] = [0, 1].map(|place| number(element(reply, place)).unwrap_or_default().unsigned_abs());
        self.clock.set(seconds * 1_000_000 + micros, asked, now);
        if self.clock.is_vague() {
            self.ask_the_time(now);
        }
    }

    /// The processes that live: the members that others had are no more.
    pub(super) fn nodes_live(&mut self, server: &mut Server, reply: &Reply) {
        self.well(server);
        self.note_dead(reply);
        let nodes = elements(element(reply, 1)).iter().filter_map(|node| text(Some(node)));
        let live: BTreeSet<String> = nodes.map(str::to_owned).collect();
        let was_taken_for_dead = number(element(reply, 0)) == Some(1) && self.nodes.contains(&self.node);
        let dead: Vec<String> = self.nodes.difference(&live).cloned().collect();
        self.nodes = live;
        if was_taken_for_dead {
            log::warn!(target: "phpws", "Backplane: the others have taken this process for dead");
            self.resync_rooms(server);
        }
        for node in dead {
            log::warn!(target: "phpws", "Backplane: process {node} is gone");
            for room in everywhere::process_gone(server, &node) {
                let key = self.key(&format!("room:{room}"));
                self.command("storing a room", &[b"HDEL", key.as_bytes(), node.as_bytes()]);
            }
        }
    }
}
