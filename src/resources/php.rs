//! The resource `/php`: PHP backends. PHP counterpart: `resourcePHP.php`.

use super::talk;
use crate::ids::SocketId;
use crate::packet::Message;
use crate::resource::Resource;
use crate::server::Server;

/// The application for PHP backends.
#[doc(alias = "resourcePHP")]
pub struct ResourcePhp;

impl Resource for ResourcePhp {
    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        talk(server, id, message);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}
