//! What can be counted from the records when somebody asks: clients, resources, what waits.
//!
//! A part of [`metrics`](super). One pass over all records, some ten nanoseconds each; nothing of it
//! is kept up to date in between.

use crate::client::State;
use crate::ids::ClientType;
use crate::server::Server;

/// The types of clients, in the order of their counters.
pub(super) const TYPES: [ClientType; 3] = [ClientType::Websocket, ClientType::Php, ClientType::Tcp];

/// Connections and what waits for them, now.
pub(crate) struct Census {
    /// Connections that have sent no whole request yet.
    pub(super) handshaking: u64,
    /// Clients that are open, by type.
    pub(super) clients: [u64; 3],
    /// Connections that have ended and wait for their last bytes.
    pub(super) closing: u64,
    /// Open clients of each application.
    pub(super) resources: Vec<u64>,
    /// Those of the open clients that have no connection.
    pub(super) away: u64,
    pub(super) outbox_bytes: u64,
    pub(super) outbox_max: u64,
}

impl Census {
    pub(crate) fn of(server: &Server) -> Census {
        let resources = vec![0; server.counters.resources.len()];
        let away = server.clients.count_away() as u64;
        let mut census = Census { handshaking: 0, clients: [0; 3], closing: 0, resources, away, outbox_bytes: 0, outbox_max: 0 };
        for client in server.clients.values() {
            let queued = client.queued_bytes() as u64;
            census.outbox_bytes += queued;
            census.outbox_max = census.outbox_max.max(queued);
            match client.state {
                State::Handshake => census.handshaking += 1,
                State::Closing | State::Closed => census.closing += 1,
                State::Waiting | State::Open | State::Away => {
                    census.count_open(client.client_type, client.app.map(|app| app.index()))
                }
            }
        }
        census
    }

    fn count_open(&mut self, client_type: ClientType, app: Option<usize>) {
        self.clients[client_type as usize] += 1;
        if let Some(count) = app.and_then(|app| self.resources.get_mut(app)) {
            *count += 1;
        }
    }

    /// Open clients of all types.
    pub(crate) fn open(&self) -> u64 {
        self.clients.iter().sum()
    }
}
