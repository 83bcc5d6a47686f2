//! The members of a room in all processes together.
//!
//! A room of this process asks the others for their members once, and hears from then on what changes there. Until
//! it knows them, announcements are held back: the first member anywhere has decided whether there are any. Each
//! question is answered: without other processes at once, and else if need be without them.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::announcement::Announcement;
use super::store::{Found, Question};
use crate::elsewhere::{Envelope, Members, Others};
use crate::ids::SocketId;
use crate::server::Server;

/// Names of one process that others can list.
const NAMES: usize = 100;
/// Names in one answer to `who`; the count is whole.
const LISTED_NAMES: usize = 100;

/// Answers a question about the members of a room: at once where this process knows enough, else when all processes
/// were asked.
pub(super) fn ask(server: &mut Server, room: &str, question: Question) {
    let knows_enough = matches!(question, Question::Joined(_)) && server.extras.rooms.knows_elsewhere(room);
    if knows_enough || server.elsewhere.others != Others::Joined {
        return answer(server, room, question, &Found::default());
    }
    let ask = Some(server.extras.rooms.open(question));
    server.elsewhere.post(Envelope::CountMembers { room: room.into(), ask });
}

/// The members elsewhere are known.
pub(crate) fn counted(server: &mut Server, room: &str, ask: Option<u64>, found: &Found) {
    server.extras.rooms.set_elsewhere(room, found);
    settle(server, room, ask, found);
}

/// They could not be had: it goes on without them.
pub(crate) fn not_counted(server: &mut Server, room: &str, ask: Option<u64>) {
    settle(server, room, ask, &Found::default());
}

/// The client that asked is answered, if one did, and what was held back is announced. It is gone by now if its room
/// is: then nobody would hear it.
fn settle(server: &mut Server, room: &str, ask: Option<u64>, found: &Found) {
    if let Some(question) = ask.and_then(|ask| server.extras.rooms.close(ask)) {
        answer(server, room, question, found);
    }
    for announcement in server.extras.rooms.take_held_back(room) {
        server.announce(&announcement);
    }
}

/// Members that are not known, or could not be had, are not counted.
fn answer(server: &mut Server, room: &str, question: Question, found: &Found) {
    match question {
        Question::Joined(id) => answer_joined(server, id, room),
        Question::Who(id) => answer_who(server, id, room, found),
    }
}

/// Tells a client how many are in the room that it joined.
fn answer_joined(server: &mut Server, id: SocketId, room: &str) {
    let count = server.who(room).len() + server.extras.rooms.count_elsewhere(room);
    server.write(id, &format!(r#"{{"opcode":"joined","room":{},"count":{count}}}"#, Value::from(room)));
}

/// Tells a client how many are in a room, and where it is allowed their names, as far as they gave any.
fn answer_who(server: &mut Server, id: SocketId, room: &str, elsewhere: &Found) {
    let count = server.who(room).len() + elsewhere.counts.values().sum::<usize>();
    let mut names = String::new();
    if server.limits().room_names {
        let named = server.who(room).map(|(_, name)| name).filter(|name| !name.is_empty());
        let named: Vec<&str> = named.chain(elsewhere.names.iter().map(String::as_str)).take(LISTED_NAMES).collect();
        names = format!(r#","names":{}"#, Value::from(named));
    }
    server.write(id, &format!(r#"{{"opcode":"who","room":{},"count":{count}{names}}}"#, Value::from(room)));
}

/// Tells the other processes what has changed in a room here. While they are not reached there is no need to: all
/// rooms are told of once they are reached again.
pub(super) fn tell(server: &mut Server, announcement: &Announcement) {
    if server.elsewhere.others == Others::Joined {
        let members = members(server, announcement);
        server.elsewhere.post(Envelope::Members(members));
    }
}

/// Every room of this process as others are told of it, and whether its members are announced.
pub(crate) fn all_members(server: &Server) -> Vec<(Members, bool)> {
    let rooms = server.extras.rooms.all_as_they_are();
    rooms.iter().map(|announcement| (members(server, announcement), announcement.announce)).collect()
}

fn members(server: &Server, announcement: &Announcement) -> Members {
    let room = &*announcement.room;
    let names = server.who(room).map(|(_, name)| name).filter(|name| !name.is_empty());
    let listed = if server.limits().room_names { NAMES } else { 0 };
    let names = names.take(listed).map(str::to_owned).collect();
    Members { room: room.into(), count: announcement.count, names, moved: announcement.moved() }
}

/// Gives an announcement back, unless the members elsewhere are to be known first. The first that is held back asks for
/// them; the others of its room wait for the same answer.
pub(super) fn hold_back(server: &mut Server, announcement: Announcement) -> Option<Announcement> {
    let room = announcement.room.clone();
    let reached = server.elsewhere.others == Others::Joined;
    if !reached || announcement.count == 0 || server.extras.rooms.knows_elsewhere(&room) {
        return Some(announcement);
    }
    if server.extras.rooms.hold_back(announcement) {
        server.elsewhere.post(Envelope::CountMembers { room: (&*room).into(), ask: None });
    }
    None
}

/// Another process tells of its members of a room; `moved` has those that came and went.
pub(crate) fn moved(server: &mut Server, node: &str, room: &str, count: usize, moved: &Value) {
    if server.extras.rooms.set_elsewhere_in(node, room, count)
        && let Some(moved) = moved.as_object()
    {
        announce_from(server, room, moved);
    }
}

/// Another process is gone, and its members with it: gives the rooms in which it had some.
pub(crate) fn process_gone(server: &mut Server, node: &str) -> Vec<Rc<str>> {
    let lost = server.extras.rooms.forget_process(node);
    for (room, count) in &lost {
        let moved = Map::from_iter([("left".to_owned(), json!(count))]);
        announce_from(server, room, &moved);
    }
    lost.into_iter().map(|(room, _)| room).collect()
}

/// Tells the members here of those that came and went in another process, if it is announced.
fn announce_from(server: &mut Server, room: &str, moved: &Map<String, Value>) {
    let Some(audience) = server.extras.rooms.audience(room).filter(|audience| audience.announce) else { return };
    if !moved.is_empty() {
        let members: String = moved.iter().map(|(key, value)| format!(r#","{key}":{value}"#)).collect();
        let count = audience.count + server.extras.rooms.count_elsewhere(room);
        let text = format!(r#"{{"opcode":"presence","room":{},"count":{count}{members}}}"#, Value::from(room));
        server.tell(&audience, &text);
    }
}
