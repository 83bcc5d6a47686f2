//! The applications of the original, one file each, and the one behind the status page.
//!
//! PHP has the same `onData` three times; here [`talk`] is the one copy that all three call.

mod default;
mod in_room;
mod php;
mod status;
mod web;

pub use default::ResourceDefault;
pub use php::ResourcePhp;
pub use status::ResourceStatus;
pub use web::ResourceWeb;

use crate::client::SocketId;
use crate::resource::{Message, Packet};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Does what the opcode of a message says: `quit`, `feedback`, `echo` or `broadcast`, and with rooms
/// `join`, `leave` and `who`. An unknown one does nothing; what is not JSON ends the connection.
pub fn talk(server: &mut Server, id: SocketId, message: Message<'_>) {
    let Ok(packet) = Packet::parse(message) else {
        log::info!("jsonerror closing #{id}");
        return server.dismiss(id, Some("jsonerror"), CloseCode::INVALID_PAYLOAD);
    };
    match packet.opcode() {
        "quit" => {
            log::info!("QUIT; Connection closed to socket #{id}");
            server.close(id);
        }
        "feedback" => {
            server.feedback(&packet);
        }
        "echo" => server.echo(id, &packet),
        "broadcast" if packet.room().is_empty() => server.broadcast(id, packet.text()),
        "broadcast" | "join" | "leave" | "who" => in_room::in_room(server, id, &packet),
        _ => {}
    }
}
