//! The resource `/rvk`: long queries that a page may abort.
//!
//! A backend that runs a query connects here beside it, under an ident of its own, and says which
//! page it works for. The page may then ask for the end of the query by that ident, and a page that is
//! gone asks by that. Ending it is the backend's business; the resource knows no query and no time. A
//! page reaches no query but its own.
//!
//! The document tells of this application; PHP's server does not come with it.
//!
//! | who | says | means |
//! |---|---|---|
//! | backend | `watch` with `uuid` | it works for this page; answered by `gone` if that is not there |
//! | backend | `feedback`, and the others of `/php` | as there |
//! | page | `abort` with `ident` | the query of that backend is to end |
//! | server | `abort` | to the backend: the page wants it |
//! | server | `aborting` with `ident` | to the page: the backend was told |
//! | server | `gone` | to the backend: nobody waits for the answer |
//! | server | `refused` with `error` | to the page: nothing was done |
//!
//! Nothing here grows but with connections: a backend works for one page at a time.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::{refuse, talk};
use crate::ids::{ClientType, SocketId};
use crate::packet::{Message, Packet};
use crate::resource::Resource;
use crate::server::Server;

/// The application that aborts queries.
#[derive(Default)]
pub struct ResourceRvk {
    /// The backends that work for each page.
    pages: HashMap<SocketId, BTreeSet<SocketId>>,
    /// The page that each backend works for.
    backends: HashMap<SocketId, SocketId>,
}

impl Resource for ResourceRvk {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        if server.client(id).is_some_and(|client| client.client_type() == ClientType::Websocket) {
            self.pages.insert(id, BTreeSet::new());
        }
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let is_page = self.pages.contains_key(&id);
        match Packet::parse(message) {
            Ok(packet) => match (packet.opcode(), is_page) {
                ("abort", true) => self.abort(server, id, packet.ident()),
                ("watch", false) => self.watch(server, id, packet.uuid()),
                ("quit", _) | (_, false) => talk(server, id, message),
                _ => refuse(server, id, "a page may only abort"),
            },
            Err(_) => talk(server, id, message),
        }
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        for backend in self.pages.remove(&id).unwrap_or_default() {
            self.backends.remove(&backend);
            server.write(backend, r#"{"opcode":"gone"}"#);
        }
        self.rest(id);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

impl ResourceRvk {
    fn watch(&mut self, server: &mut Server, backend: SocketId, uuid: &str) {
        self.rest(backend);
        let page = server.find_uuid(uuid).and_then(|page| Some((page, self.pages.get_mut(&page)?)));
        match page {
            Some((page, backends)) => {
                backends.insert(backend);
                self.backends.insert(backend, page);
            }
            None => server.write(backend, r#"{"opcode":"gone"}"#),
        }
    }

    fn abort(&self, server: &mut Server, page: SocketId, ident: &str) {
        let own = self.pages.get(&page).into_iter().flatten().copied();
        let named = |backend: &SocketId| server.client(*backend).is_some_and(|client| client.ident() == ident);
        let Some(backend) = own.filter(|_| !ident.is_empty()).find(named) else {
            return refuse(server, page, "no query of this page has that ident");
        };
        server.write(backend, r#"{"opcode":"abort"}"#);
        server.write(page, &json!({"opcode": "aborting", "ident": ident}).to_string());
    }

    /// A backend that works for nobody any more.
    fn rest(&mut self, backend: SocketId) {
        let page = self.backends.remove(&backend);
        if let Some(backends) = page.and_then(|page| self.pages.get_mut(&page)) {
            backends.remove(&backend);
        }
    }
}
