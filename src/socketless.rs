//! The way of a message through the server with no socket under it, for `benches/` alone: no part
//! of the interface.
//!
//! It calls what the loop calls with what was read, and before it sleeps: inbox, dialog, application
//! and outboxes are the server's own, only the system is left out. PHP has no counterpart.

use std::net::Ipv4Addr;
use std::time::Instant;

use slotmap::SecondaryMap;

use crate::client::Client;
use crate::ids::{ClientType, SocketId};
use crate::limits::Limits;
use crate::packet::Message;
use crate::resource::AllApps;
use crate::resources::ResourceWeb;
use crate::rfc6455::{Event, Inbox};
use crate::server::Server;
use crate::web_socket_server::{extract_collected, extract_message};

/// A server whose clients are all browsers on `/web`, and whose sockets take every byte.
pub struct Socketless {
    server: Server,
    all_apps: AllApps,
    inboxes: SecondaryMap<SocketId, Inbox>,
}

impl Socketless {
    /// A server with so many clients, and their ids. What it told them is already gone.
    pub fn with_clients(count: usize) -> (Socketless, Vec<SocketId>) {
        let mut all_apps = AllApps::default();
        all_apps.insert("/web", Box::new(ResourceWeb));
        let server = Server::new(Limits::default(), Instant::now());
        let mut socketless = Socketless { server, all_apps, inboxes: SecondaryMap::new() };
        let ids = (0..count).map(|_| socketless.connect()).collect();
        socketless.drain();
        (socketless, ids)
    }

    fn connect(&mut self) -> SocketId {
        let id = self.server.clients.insert(Client::new(Ipv4Addr::LOCALHOST.into()));
        self.inboxes.insert(id, Inbox::new(self.server.limits().max_message));
        self.server.open(id, ClientType::Websocket, self.all_apps.find("/web"), true);
        self.server.ready(id);
        id
    }

    /// What applications see.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Takes `bytes` as the connection's next ones, as the loop does; only messages are looked at.
    pub fn received(&mut self, id: SocketId, mut bytes: &mut [u8]) {
        self.server.spend(id, 0, bytes.len());
        while let Some(Ok(Some(event))) = self.inboxes.get_mut(id).map(|inbox| inbox.next_event(&mut bytes)) {
            let (server, all_apps) = (&mut self.server, &mut self.all_apps);
            if !server.spend(id, 1, 0) {
                continue;
            }
            match event {
                Event::Text(text) => extract_message(server, all_apps, id, Message::Text(text)),
                Event::Binary(data) => extract_message(server, all_apps, id, Message::Binary(data)),
                Event::Collected(opcode, data) => extract_collected(server, all_apps, id, opcode, data),
                _ => {}
            }
        }
    }

    /// Takes everything out of the outboxes as the loop does before it sleeps; says how many bytes.
    pub fn drain(&mut self) -> usize {
        let Server { dirty, clients, spares, .. } = &mut self.server;
        let mut drained = 0;
        while let Some(client) = dirty.pop().and_then(|id| clients.get_mut(id)) {
            client.dirty = false;
            while !client.outbox.is_empty() {
                let count = client.outbox.front().len();
                client.outbox.advance(spares, count);
                drained += count;
            }
        }
        drained
    }
}
