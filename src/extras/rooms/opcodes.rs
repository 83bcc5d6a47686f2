//! The opcodes of rooms: `join`, `leave`, `who`, and `broadcast` to a room.
//!
//! The part of the dialog that is not in PHP. What a room is stands in `mod.rs`; here are the clients
//! that may ask something of it, and the answers.

use serde_json::Value;

use super::everywhere;
use super::store::Question;
use crate::client::Client;
use crate::extras::browser_opcodes;
use crate::extras::rooms::RoomError;
use crate::ids::{ClientType, SocketId};
use crate::packet::Packet;
use crate::server::Server;

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
    everywhere::ask(server, packet.room(), Question::Joined(id));
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
    everywhere::ask(server, packet.room(), Question::Who(id));
    Ok(())
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
