//! The opcodes of rooms: `join`, `leave`, `who`, and `broadcast` to a room.
//!
//! The part of the dialog that is not in PHP. What a room is stands in `rooms.rs`; here is who may
//! ask what of it, and how it is answered.

use serde_json::Value;

use crate::client::Client;
use crate::extras::browser_opcodes;
use crate::extras::cluster::RoomQuestion;
use crate::extras::rooms::RoomError;
use crate::ids::{ClientType, SocketId};
use crate::packet::Packet;
use crate::server::Server;

/// Names in one answer to `who`; the count is whole.
const LISTED_NAMES: usize = 100;

/// Does what the opcode says, or answers `refused`.
pub(crate) fn in_room(server: &mut Server, id: SocketId, packet: &Packet<'_>) {
    let outcome = match packet.opcode() {
        "join" => join(server, id, packet),
        "leave" => leave(server, id, packet),
        "who" => who(server, id, packet),
        _ => broadcast(server, id, packet),
    };
    if let Err(error) = outcome {
        browser_opcodes::refuse(server, id, packet.opcode(), packet.room(), Some(&error.to_string()));
    }
}

/// A name is kept only where the members may hear it.
fn join(server: &mut Server, id: SocketId, packet: &Packet<'_>) -> Result<(), RoomError> {
    let name = if server.limits().room_names { packet.name() } else { "" };
    server.join(id, packet.room(), name, packet.announce())?;
    if !server.ask_room(packet.room(), RoomQuestion::Joined(id)) {
        answer_joined(server, id, packet.room());
    }
    Ok(())
}

fn leave(server: &mut Server, id: SocketId, packet: &Packet<'_>) -> Result<(), RoomError> {
    let count = server.leave(id, packet.room())?;
    let room = Value::from(packet.room());
    server.write(id, &format!(r#"{{"opcode":"left","room":{room},"count":{count}}}"#));
    Ok(())
}

fn who(server: &mut Server, id: SocketId, packet: &Packet<'_>) -> Result<(), RoomError> {
    check_member(server, id, packet)?;
    if !server.ask_room(packet.room(), RoomQuestion::Who(id)) {
        answer_who(server, id, packet.room(), 0, &[]);
    }
    Ok(())
}

/// Tells a client how many are in the room that it joined.
pub(crate) fn answer_joined(server: &mut Server, id: SocketId, room: &str) {
    let count = server.who(room).len() + server.count_elsewhere(room);
    server.write(id, &format!(r#"{{"opcode":"joined","room":{},"count":{count}}}"#, Value::from(room)));
}

/// Tells a client how many are in a room, and where it is allowed their names, as far as they gave any;
/// `elsewhere` and `others` are of other processes.
pub(crate) fn answer_who(server: &mut Server, id: SocketId, room: &str, elsewhere: usize, others: &[String]) {
    let count = server.who(room).len() + elsewhere;
    let mut names = String::new();
    if server.limits().room_names {
        let named = server.who(room).map(|(_, name)| name).filter(|name| !name.is_empty());
        let named: Vec<&str> = named.chain(others.iter().map(String::as_str)).take(LISTED_NAMES).collect();
        names = format!(r#","names":{}"#, Value::from(named));
    }
    server.write(id, &format!(r#"{{"opcode":"who","room":{},"count":{count}{names}}}"#, Value::from(room)));
}

fn broadcast(server: &mut Server, id: SocketId, packet: &Packet<'_>) -> Result<(), RoomError> {
    check_member(server, id, packet)?;
    if packet.has_wishes() {
        server.publish_packet(id, packet);
    } else {
        server.broadcast_room(id, packet.room(), packet.text());
    }
    Ok(())
}

/// Browsers see and reach the rooms that they are in; backends all.
fn check_member(server: &Server, id: SocketId, packet: &Packet<'_>) -> Result<(), RoomError> {
    if packet.room().is_empty() {
        return Err(RoomError::BadRoom);
    }
    let browser = server.client(id).map(Client::client_type) == Some(ClientType::Websocket);
    if browser && !server.is_member(id, packet.room()) {
        return Err(RoomError::NotMember);
    }
    Ok(())
}
