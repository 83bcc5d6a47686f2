//! The resource `/wlbriserva`: reservations of workspaces, made in several steps by a backend.
//!
//! Pages only listen, as the document advises. A backend tells the page that it works for how far it
//! is (`feedback`), and all pages of this resource what has changed for them (`announce`), such as a
//! workspace that has just been taken. Calendar and reservations are the backend's business.
//!
//! The document tells of this application; PHP's server does not come with it.
//!
//! | who | says | means |
//! |---|---|---|
//! | backend | `feedback`, and the others of `/php` | as there |
//! | backend | `announce`, and what it likes | to all pages of this resource, as it is |
//! | server | `refused` with `error` | to a page that said anything but `quit` |
//!
//! Nothing here grows but with connections.

use std::collections::BTreeSet;

use super::{refuse, talk};
use crate::ids::{ClientType, SocketId};
use crate::packet::{Message, Packet};
use crate::resource::Resource;
use crate::server::Server;

/// The application that keeps pages up to date with reservations.
#[derive(Default)]
pub struct ResourceWlbriserva {
    pages: BTreeSet<SocketId>,
}

impl Resource for ResourceWlbriserva {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        if server.client(id).is_some_and(|client| client.client_type() == ClientType::Websocket) {
            self.pages.insert(id);
        }
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let is_page = self.pages.contains(&id);
        match Packet::parse(message) {
            Ok(packet) => match (packet.opcode(), is_page) {
                ("announce", false) => self.announce(server, packet.text()),
                ("quit", _) | (_, false) => talk(server, id, message),
                _ => refuse(server, id, "a page may only listen"),
            },
            Err(_) => talk(server, id, message),
        }
    }

    fn on_close(&mut self, _server: &mut Server, id: SocketId) {
        self.pages.remove(&id);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

impl ResourceWlbriserva {
    fn announce(&self, server: &mut Server, text: &str) {
        let pages: Vec<SocketId> = self.pages.iter().copied().collect();
        server.write_all(&pages, text);
    }
}
