//! The applications of the original, one file each, three that its author describes, and the one behind the
//! status page.
//!
//! PHP has the same `onData` three times; here [`talk`] is the one copy that all three call. `/emas`,
//! `/rvk` and `/wlbriserva` are no part of the program: a program of one's own registers what it needs
//! of them, as `examples/demo.rs` does.

mod default;
pub mod emas;
mod more;
mod php;
mod rvk;
mod status;
mod web;
mod wlbriserva;

pub use default::ResourceDefault;
pub use emas::ResourceEmas;
pub use php::ResourcePhp;
pub use rvk::ResourceRvk;
pub use status::ResourceStatus;
pub use web::ResourceWeb;
pub use wlbriserva::ResourceWlbriserva;

use crate::ids::SocketId;
use crate::packet::{Message, Packet};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Does what the opcode of a message says: `quit`, `feedback`, `echo` or `broadcast`, and what PHP's server
/// does not know. An unknown one does nothing; invalid JSON closes the connection.
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
        "echo" => server.echo(id, &packet),
        // Opcodes and keys of optional parts.
        _ if more::talk(server, id, &packet) => {}
        "feedback" => {
            server.feedback(&packet);
        }
        "broadcast" => server.broadcast(id, packet.text()),
        _ => {}
    }
}

/// Tells a client that its message was not acted on, and why.
fn refuse(server: &mut Server, id: SocketId, error: &str) {
    log::debug!("Socket {id} - refused: {error}");
    server.write(id, &serde_json::json!({"opcode": "refused", "error": error}).to_string());
}
