//! The resource `/`. PHP counterpart: `resourceDefault.php`.

use super::talk;
use crate::ids::SocketId;
use crate::packet::Message;
use crate::resource::Resource;
use crate::server::Server;

/// The application of the path `/`.
#[doc(alias = "resourceDefault")]
pub struct ResourceDefault;

impl Resource for ResourceDefault {
    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        talk(server, id, message);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}
