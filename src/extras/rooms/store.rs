//! The rooms and their members.
//!
//! A room is made by its first member and gone with its last. The store knows no client but by its
//! id, and sends nothing: it says what is to be announced, and to which members. What is known of members in other
//! processes is kept here too, set by the part that hears of them.

use std::collections::HashMap;
use std::rc::Rc;

use slotmap::SlotMap;

use super::RoomError;
use super::announcement::{Announcement, Changes, Movement};
use crate::ids::SocketId;
use crate::places::Places;

slotmap::new_key_type! {
    /// Names a room; never used twice.
    pub(crate) struct RoomId;
}

/// All rooms, by name and by member. All members are open clients.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: SlotMap<RoomId, Room>,
    by_name: HashMap<Rc<str>, RoomId>,
    /// Clients that are in rooms; the others cost nothing.
    of_client: HashMap<SocketId, Vec<RoomId>>,
    /// Rooms with a member that is not away.
    alive: usize,
    /// Rooms with changes to announce, each once.
    changed: Vec<RoomId>,
    /// Whether other processes have members too.
    shared: bool,
    /// Rooms that lost their last member here, where they are shared.
    gone: Vec<Announcement>,
    /// Questions about the members in other processes, by number.
    questions: HashMap<u64, Question>,
    last_question: u64,
}

/// A client that waits for the members of a room in all processes, and how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    Joined(SocketId),
    Who(SocketId),
}

/// The members of a room in all other processes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many each process has.
    pub(crate) counts: HashMap<Box<str>, usize>,
    /// Some of their names.
    pub(crate) names: Vec<String>,
    /// Whether they are announced, if somebody has decided that.
    pub(crate) announce: Option<bool>,
}

struct Room {
    key: RoomId,
    name: Rc<str>,
    announce: bool,
    members: Members,
    changes: Option<Box<Changes>>,
    /// How many members other processes have, while that is known.
    elsewhere: Option<HashMap<Box<str>, usize>>,
    /// What is announced once that is known.
    held_back: Vec<Announcement>,
}

/// Members and their names. Those that are away stand behind the others.
#[derive(Default)]
struct Members {
    all: Places<(SocketId, Box<str>)>,
    /// How many at the front are not away.
    here: usize,
}

impl Rooms {
    /// The members of a room with their names; none where there is no such room.
    pub(super) fn members(&self, name: &str) -> &[(SocketId, Box<str>)] {
        self.find(name).map_or(&[], |room| room.members.all.list())
    }

    /// Whether a client is in a room.
    pub(super) fn has(&self, id: SocketId, name: &str) -> bool {
        self.find(name).is_some_and(|room| room.members.all.place(id).is_some())
    }

    /// The members of a room that are not away, and where others are, by what name they miss a message; `None` where
    /// there is no such room.
    pub(crate) fn receivers(&self, name: &str) -> Option<(Vec<SocketId>, RoomId)> {
        self.by_name.get(name).map(|key| (self.rooms[*key].members.ids(), *key))
    }

    /// The rooms of a client.
    pub(crate) fn ids_of(&self, id: SocketId) -> impl Iterator<Item = RoomId> {
        self.of_client.get(&id).into_iter().flatten().copied()
    }

    /// A client loses its connection, or has one again.
    pub(crate) fn set_away(&mut self, id: SocketId, away: bool) {
        for key in self.of_client.get(&id).into_iter().flatten() {
            let members = &mut self.rooms[*key].members;
            let was_alive = members.here > 0;
            members.set_away(id, away);
            self.alive = self.alive + usize::from(members.here > 0) - usize::from(was_alive);
        }
    }

    /// Whether a client may be in a room, which it may already be. A room whose members are all away takes nobody's place.
    pub(super) fn admit(&self, id: SocketId, room: &str, max_rooms: usize, max_own: usize) -> Result<(), RoomError> {
        if self.has(id, room) {
            return Ok(());
        }
        if max_own > 0 && self.of_client.get(&id).is_some_and(|own| own.len() >= max_own) {
            return Err(RoomError::TooManyOfClient);
        }
        if max_rooms > 0 && self.find(room).is_none_or(|room| room.members.here == 0) && self.alive >= max_rooms {
            return Err(RoomError::TooManyRooms);
        }
        Ok(())
    }

    pub(super) fn join(&mut self, id: SocketId, name: &str, own_name: &str, announce: bool) -> usize {
        let key = self.by_name.get(name).copied().unwrap_or_else(|| self.create(name, announce));
        let members = &mut self.rooms[key].members;
        let was_alive = members.here > 0;
        if members.insert(id, own_name) {
            self.alive += usize::from(!was_alive);
            self.of_client.entry(id).or_default().push(key);
            self.note(key, |changes| &mut changes.joined, own_name);
        }
        self.rooms[key].members.count()
    }

    fn create(&mut self, name: &str, announce: bool) -> RoomId {
        let name: Rc<str> = name.into();
        let key = self.rooms.insert_with_key(|key| Room::new(key, name.clone(), announce));
        self.by_name.insert(name, key);
        key
    }

    pub(super) fn leave(&mut self, id: SocketId, name: &str) -> Option<usize> {
        let key = *self.by_name.get(name)?;
        let remaining = self.remove(id, key)?;
        if let Some(own) = self.of_client.get_mut(&id) {
            own.retain(|other| *other != key);
            if own.is_empty() {
                self.of_client.remove(&id);
            }
        }
        Some(remaining)
    }

    /// Takes a client that goes out of all its rooms.
    pub(crate) fn forget(&mut self, id: SocketId) {
        for key in self.of_client.remove(&id).unwrap_or_default() {
            self.remove(id, key);
        }
    }

    /// Takes a member out; with the last one the room goes.
    fn remove(&mut self, id: SocketId, key: RoomId) -> Option<usize> {
        let room = self.rooms.get_mut(key)?;
        let was_alive = room.members.here > 0;
        let own_name = room.members.remove(id)?;
        self.alive -= usize::from(was_alive && room.members.here == 0);
        let remaining = room.members.count();
        if remaining == 0 {
            self.by_name.remove(&room.name);
            let room = self.rooms.remove(key)?;
            if self.shared {
                let mut changes = room.changes.as_deref().cloned().unwrap_or_default();
                changes.left.add(&own_name);
                self.gone.push(room.announcement(changes));
            }
        } else {
            self.note(key, |changes| &mut changes.left, &own_name);
        }
        Some(remaining)
    }

    fn note(&mut self, key: RoomId, movement: impl FnOnce(&mut Changes) -> &mut Movement, name: &str) {
        let shared = self.shared;
        let Some(room) = self.rooms.get_mut(key).filter(|room| room.announce || shared) else { return };
        if room.changes.is_none() {
            self.changed.push(key);
        }
        movement(room.changes.get_or_insert_default()).add(name);
    }

    /// The next announcement that is due. A room that is gone has one only where it is shared: nobody here
    /// hears of it.
    pub(super) fn next_announcement(&mut self) -> Option<Announcement> {
        if let Some(gone) = self.gone.pop() {
            return Some(gone);
        }
        while let Some(key) = self.changed.pop() {
            if let Some(room) = self.rooms.get_mut(key)
                && let Some(changes) = room.changes.take()
            {
                return Some(room.announcement(*changes));
            }
        }
        None
    }

    /// Every room, with no member that came or went.
    pub(crate) fn all_as_they_are(&self) -> Vec<Announcement> {
        self.rooms.values().map(|room| room.announcement(Changes::default())).collect()
    }

    /// The rooms of a client: name, its own name there, whether joins and leaves are announced.
    pub(crate) fn of_client(&self, id: SocketId) -> impl Iterator<Item = (&str, &str, bool)> {
        let rooms = self.of_client.get(&id).into_iter().flatten().map(|key| &self.rooms[*key]);
        rooms.map(move |room| (&*room.name, room.members.name(id), room.announce))
    }

    /// An announcement of nothing yet; `None` where there is no such room.
    pub(crate) fn audience(&self, name: &str) -> Option<Announcement> {
        self.find(name).map(|room| room.announcement(Changes::default()))
    }

    /// Every change is of interest from here on, since other processes have members too.
    pub(crate) fn share(&mut self) {
        self.shared = true;
    }

    /// Members of a room in other processes, as far as they are known.
    pub(super) fn count_elsewhere(&self, name: &str) -> usize {
        self.find(name).and_then(|room| room.elsewhere.as_ref()).map_or(0, |counts| counts.values().sum())
    }

    /// Whether the members in other processes are known.
    pub(super) fn knows_elsewhere(&self, name: &str) -> bool {
        self.find(name).is_some_and(|room| room.elsewhere.is_some())
    }

    /// The members of a room in all other processes, of which the first may have decided whether they are announced.
    pub(super) fn set_elsewhere(&mut self, name: &str, found: &Found) {
        if let Some(room) = self.find_mut(name) {
            room.elsewhere = Some(found.counts.clone());
            room.announce = found.announce.unwrap_or(room.announce);
        }
    }

    /// So many members of a room are in that process; `false` where the others are not known yet.
    pub(super) fn set_elsewhere_in(&mut self, node: &str, name: &str, count: usize) -> bool {
        let Some(counts) = self.find_mut(name).and_then(|room| room.elsewhere.as_mut()) else { return false };
        match count {
            0 => drop(counts.remove(node)),
            count => drop(counts.insert(node.into(), count)),
        }
        true
    }

    /// Another process is gone: the rooms in which it had members, and how many.
    pub(super) fn forget_process(&mut self, node: &str) -> Vec<(Rc<str>, usize)> {
        let lost = |room: &mut Room| Some((room.name.clone(), room.elsewhere.as_mut()?.remove(node)?));
        self.rooms.values_mut().filter_map(lost).collect()
    }

    /// Holds an announcement back until the members in other processes are known; says whether it is the first.
    pub(super) fn hold_back(&mut self, announcement: Announcement) -> bool {
        let Some(room) = self.by_name.get(&announcement.room).and_then(|key| self.rooms.get_mut(*key)) else { return false };
        room.held_back.push(announcement);
        room.held_back.len() == 1
    }

    /// Takes what was held back, for those that are members now.
    pub(super) fn take_held_back(&mut self, name: &str) -> Vec<Announcement> {
        let Some(room) = self.find_mut(name) else { return Vec::new() };
        let held_back = std::mem::take(&mut room.held_back);
        held_back.into_iter().map(|held| room.announcement(held.changes)).collect()
    }

    /// Notes a question, and gives its number.
    pub(super) fn open(&mut self, question: Question) -> u64 {
        self.last_question += 1;
        self.questions.insert(self.last_question, question);
        self.last_question
    }

    /// The question of that number, which is answered now.
    pub(super) fn close(&mut self, number: u64) -> Option<Question> {
        self.questions.remove(&number)
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut Room> {
        self.by_name.get(name).and_then(|key| self.rooms.get_mut(*key))
    }

    fn find(&self, name: &str) -> Option<&Room> {
        self.by_name.get(name).map(|key| &self.rooms[*key])
    }
}

impl Room {
    fn new(key: RoomId, name: Rc<str>, announce: bool) -> Room {
        Room { key, name, announce, members: Members::default(), changes: None, elsewhere: None, held_back: Vec::new() }
    }

    fn announcement(&self, changes: Changes) -> Announcement {
        let (ids, count) = (self.members.ids(), self.members.count());
        Announcement { room: self.name.clone(), announce: self.announce, ids, key: self.key, count, changes }
    }
}

impl Members {
    fn count(&self) -> usize {
        self.all.list().len()
    }

    /// Those that are not away.
    fn ids(&self) -> Vec<SocketId> {
        self.all.list()[..self.here].iter().map(|(id, _)| *id).collect()
    }

    /// Moves a member behind those that are here, or among them.
    fn set_away(&mut self, id: SocketId, away: bool) {
        let Some(place) = self.all.place(id).filter(|place| (*place >= self.here) != away) else { return };
        if away {
            self.here -= 1;
            self.all.swap(place, self.here);
        } else {
            self.all.swap(place, self.here);
            self.here += 1;
        }
    }

    fn name(&self, id: SocketId) -> &str {
        self.all.get(id).map_or("", |(_, name)| name)
    }

    /// Adds a member, or changes its name; `true` where it is new.
    fn insert(&mut self, id: SocketId, name: &str) -> bool {
        let is_new = self.all.insert((id, name.into()));
        if is_new {
            self.set_away(id, false);
        }
        is_new
    }

    /// Removes a member and gives its name.
    fn remove(&mut self, id: SocketId) -> Option<Box<str>> {
        self.set_away(id, true);
        self.all.remove(id).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::announcement::ANNOUNCED_NAMES;
    use super::*;

    /// Ids as the server makes them.
    fn ids(count: usize) -> Vec<SocketId> {
        let mut sockets = SlotMap::<SocketId, ()>::with_key();
        (0..count).map(|_| sockets.insert(())).collect()
    }

    #[test]
    fn the_last_member_takes_all_memory_of_a_room_along() {
        let (mut rooms, ids) = (Rooms::default(), ids(3));
        for id in &ids {
            rooms.join(*id, "a", "", false);
            rooms.join(*id, "b", "", true);
        }
        assert_eq!(rooms.leave(ids[0], "a"), Some(2));
        assert_eq!(rooms.leave(ids[0], "a"), None);
        ids.iter().for_each(|id| rooms.forget(*id));
        assert!(rooms.rooms.is_empty() && rooms.by_name.is_empty() && rooms.of_client.is_empty());
        assert!(rooms.next_announcement().is_none(), "nobody is there to hear it");
        assert!(rooms.changed.is_empty());
    }

    #[test]
    fn a_thousand_that_vanish_in_one_turn_are_one_announcement_of_bounded_length() {
        let (mut rooms, ids) = (Rooms::default(), ids(1001));
        ids.iter().for_each(|id| _ = rooms.join(*id, "r", "Ann", true));
        let announcement = rooms.next_announcement().unwrap();
        let (text, told) = (announcement.text(0), announcement.ids);
        assert!(text.starts_with(r#"{"opcode":"presence","room":"r","count":1001,"joined":1001,"joinedNames":["Ann","#));
        assert_eq!(told.len(), 1001);
        ids[1..].iter().for_each(|id| rooms.forget(*id));
        let announcement = rooms.next_announcement().unwrap();
        let (text, told) = (announcement.text(0), announcement.ids);
        assert!(text.starts_with(r#"{"opcode":"presence","room":"r","count":1,"left":1000,"leftNames":["Ann","#));
        assert_eq!(text.matches("Ann").count(), ANNOUNCED_NAMES);
        assert_eq!(told, ids[..1]);
        assert!(rooms.next_announcement().is_none());
    }

    #[test]
    fn a_room_that_did_not_ask_announces_nothing() {
        let (mut rooms, ids) = (Rooms::default(), ids(2));
        assert_eq!(rooms.join(ids[0], "r", "", false), 1);
        assert_eq!(rooms.join(ids[1], "r", "", true), 2);
        rooms.forget(ids[0]);
        assert!(rooms.changed.is_empty());
    }
}
