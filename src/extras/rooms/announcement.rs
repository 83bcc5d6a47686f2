//! What the members of a room are told of others that come and go.

use std::rc::Rc;

use serde_json::Value;

use super::store::RoomId;
use crate::ids::SocketId;

/// Names of each kind in one announcement; the counts are whole.
pub(super) const ANNOUNCED_NAMES: usize = 20;

/// The members that came to a room and those that went, and all that are in it.
pub(crate) struct Announcement {
    pub(crate) room: Rc<str>,
    /// Whether the members are told.
    pub(crate) announce: bool,
    /// The members that are not away, the room's own name, and the number of all.
    pub(crate) ids: Vec<SocketId>,
    pub(crate) key: RoomId,
    pub(crate) count: usize,
    pub(super) changes: Changes,
}

/// Members that came and went since the last announcement.
#[derive(Clone, Default)]
pub(super) struct Changes {
    pub(super) joined: Movement,
    pub(super) left: Movement,
}

#[derive(Clone, Default)]
pub(super) struct Movement {
    count: usize,
    names: Vec<Box<str>>,
}

impl Announcement {
    /// What the members are told; `elsewhere` are further ones in other processes.
    pub(super) fn text(&self, elsewhere: usize) -> String {
        let (room, count) = (Value::from(&*self.room), self.count + elsewhere);
        format!(r#"{{"opcode":"presence","room":{room},"count":{count}{}}}"#, self.members())
    }

    /// Those that came and went, as a JSON object.
    pub(crate) fn moved(&self) -> String {
        format!("{{{}}}", self.members().trim_start_matches(','))
    }

    fn members(&self) -> String {
        self.changes.joined.json("joined") + &self.changes.left.json("left")
    }
}

impl Movement {
    pub(super) fn add(&mut self, name: &str) {
        self.count += 1;
        if !name.is_empty() && self.names.len() < ANNOUNCED_NAMES {
            self.names.push(name.into());
        }
    }

    /// The keys that tell of it; nothing where nobody moved.
    fn json(&self, word: &str) -> String {
        let mut json = String::new();
        if self.count > 0 {
            json = format!(r#","{word}":{}"#, self.count);
        }
        if !self.names.is_empty() {
            let names: Vec<&str> = self.names.iter().map(|name| &**name).collect();
            json += &format!(r#","{word}Names":{}"#, Value::from(names));
        }
        json
    }
}
