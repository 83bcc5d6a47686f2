//! The resource `/web`: web pages. PHP counterpart: `resourceWeb.php`.

use super::talk;
use crate::client::SocketId;
use crate::resource::{Message, Resource};
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
