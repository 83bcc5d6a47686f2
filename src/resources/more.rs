//! The opcodes and wishes of a packet that PHP's server does not know.

use crate::extras::rooms::opcodes;
use crate::ids::SocketId;
use crate::packet::Packet;
use crate::server::Server;

/// Does what a packet says, if it says something of this kind: `join`, `leave`, `who`, a broadcast to a room, or
/// feedback and broadcasts with a key or a receipt. Says whether it did.
pub(super) fn talk(server: &mut Server, id: SocketId, packet: &Packet<'_>) -> bool {
    match packet.opcode() {
        "join" | "leave" | "who" => opcodes::in_room(server, id, packet),
        "broadcast" if !packet.room().is_empty() => opcodes::in_room(server, id, packet),
        "feedback" | "broadcast" if packet.has_wishes() => server.publish_packet(id, packet),
        _ => return false,
    }
    true
}
