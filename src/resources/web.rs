//! The resource `/web`: web pages. PHP counterpart: `resourceWeb.php`.

use super::talk;
use crate::ids::SocketId;
use crate::packet::Message;
use crate::resource::Resource;
use crate::server::Server;

/// The application for web pages.
#[doc(alias = "resourceWeb")]
pub struct ResourceWeb;

impl Resource for ResourceWeb {
    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        talk(server, id, message);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}
