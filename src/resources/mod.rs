//! The applications of the original, one file each.
//!
//! PHP has the same `onData` three times; here [`talk`] is the one copy that all three call.

mod default;
mod php;
mod web;

pub use default::ResourceDefault;
pub use php::ResourcePhp;
pub use web::ResourceWeb;

use crate::client::SocketId;
use crate::resource::{Message, Packet};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Does what the opcode of a message says: `quit`, `feedback`, `echo` or `broadcast`. An unknown one
/// does nothing; what is not JSON ends the connection.
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
        "feedback" | "broadcast" if packet.has_wishes() => server.publish_packet(id, &packet),
        "feedback" => {
            server.feedback(&packet);
        }
        "echo" => server.echo(id, &packet),
        "broadcast" => server.broadcast(id, packet.text()),
        _ => {}
    }
}
