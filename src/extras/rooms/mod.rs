//! Rooms: groups of clients that a message reaches together, and their members.
//!
//! What may be done with them; the rooms themselves are in `store.rs`. A room spans resources and knows
//! nothing of opcodes: those are in `opcodes.rs`. What other processes have of it is in `everywhere.rs`. Joins and leaves are gathered while a turn lasts and
//! announced once before the loop sleeps, so that a thousand clients that vanish together cost each
//! remaining member one message. No PHP counterpart.

use std::fmt;

use crate::elsewhere::Envelope;
use crate::ids::SocketId;
use crate::printable::Printable;
use crate::server::Server;
use crate::server::delivery::{Delivery, To};

mod announcement;
pub(crate) mod everywhere;
pub(crate) mod opcodes;
pub(crate) mod store;

use super::resume::{self, missed::Audience};
use announcement::Announcement;
pub(crate) use store::Found;

/// Bytes of a room's name; a longer one is refused with the reason.
const MAX_ROOM: usize = 128;
/// Bytes of a member's name; a longer one is refused with the reason.
const MAX_NAME: usize = 64;

/// Why a client can't do what it asked of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomError {
    /// The room's name is empty, too long, or not printable.
    BadRoom,
    /// The member's name is too long or not printable.
    BadName,
    /// There are `max_rooms` rooms.
    TooManyRooms,
    /// The client is in `max_rooms_per_client` rooms.
    TooManyOfClient,
    /// The client is not in that room.
    NotMember,
    /// The client is not open.
    NotOpen,
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoomError::BadRoom => "A room has a printable name of 1 to 128 bytes",
            RoomError::BadName => "A name is printable and has at most 64 bytes",
            RoomError::TooManyRooms => "Too many rooms",
            RoomError::TooManyOfClient => "Too many rooms for one client",
            RoomError::NotMember => "Not a member",
            RoomError::NotOpen => "Not connected",
        })
    }
}

impl std::error::Error for RoomError {}

impl Server {
    /// Puts a client of any type into a room, under a name for the other members or none, and gives the
    /// number of members. The first member makes the room and decides with `announce` whether its members
    /// are told of joins and leaves. Joining again only changes the name.
    pub fn join(&mut self, id: SocketId, room: &str, name: &str, announce: bool) -> Result<usize, RoomError> {
        if !self.is_open(id) {
            return Err(RoomError::NotOpen);
        }
        if room.is_empty() || !is_printable(room, MAX_ROOM) {
            return Err(RoomError::BadRoom);
        }
        if !is_printable(name, MAX_NAME) {
            return Err(RoomError::BadName);
        }
        let (max_rooms, max_own) = (self.limits().max_rooms, self.limits().max_rooms_per_client);
        self.extras.rooms.admit(id, room, max_rooms, max_own)?;
        let is_new = !self.extras.rooms.has(id, room);
        let count = resume::change_rooms(self, id, |rooms| rooms.join(id, room, name, announce));
        if is_new && !self.elsewhere.is_alone() {
            self.elsewhere.post(Envelope::Joined { id, room: room.into(), announce });
        }
        Ok(count + self.extras.rooms.count_elsewhere(room))
    }

    /// Takes a client out of a room and gives the number of members that remain. A client leaves its
    /// rooms by itself when its connection ends.
    pub fn leave(&mut self, id: SocketId, room: &str) -> Result<usize, RoomError> {
        // With the last member here the room goes, and what is known of it elsewhere.
        let elsewhere = self.extras.rooms.count_elsewhere(room);
        let remaining = resume::change_rooms(self, id, |rooms| rooms.leave(id, room)).ok_or(RoomError::NotMember)?;
        if !self.elsewhere.is_alone() {
            self.elsewhere.post(Envelope::Left { id, room: room.into() });
        }
        Ok(remaining + elsewhere)
    }

    /// Sends text to the members of a room but `sender`, which need not be one of them, and gives their
    /// number; `SocketId::default()` is nobody.
    pub fn broadcast_room(&mut self, sender: SocketId, room: &str, message: &str) -> usize {
        self.deliver(Delivery::new(To::Members(room), message).from(sender));
        let here = self.who(room).len() - usize::from(self.is_member(sender, room));
        here + self.extras.rooms.count_elsewhere(room)
    }

    /// The members of a room that are in this process with their names, in no certain order; `len` is their
    /// number.
    pub fn who(&self, room: &str) -> impl ExactSizeIterator<Item = (SocketId, &str)> {
        self.extras.rooms.members(room).iter().map(|(id, name)| (*id, &**name))
    }

    /// Whether a client is in a room.
    pub fn is_member(&self, id: SocketId, room: &str) -> bool {
        self.extras.rooms.has(id, room)
    }

    /// Tells the members of each room that asked for it which ones came and went in this turn.
    pub(crate) fn announce_presence(&mut self) {
        while let Some(announcement) = self.extras.rooms.next_announcement() {
            everywhere::tell(self, &announcement);
            if let Some(announcement) = everywhere::hold_back(self, announcement) {
                self.announce(&announcement);
            }
        }
    }

    fn announce(&mut self, announcement: &Announcement) {
        if announcement.announce {
            let text = announcement.text(self.extras.rooms.count_elsewhere(&announcement.room));
            self.tell(announcement, &text);
        }
    }

    /// Sends text that no member waits for: a PHP client gets it filled up to its reads.
    fn tell(&mut self, to: &Announcement, message: &str) {
        let mut letter = self.letter(message).unasked().many();
        for id in &to.ids {
            self.post(*id, &mut letter);
        }
        self.extras.missed.put(Audience::Room(to.key), None, self.limits.kept_bytes(), || letter.item());
    }
}

fn is_printable(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes && Printable(text).to_string() == text
}
