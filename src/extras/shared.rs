//! The parts that applications reach through the [`Server`](crate::Server), which is why it owns them.
//!
//! Data only: what is done with it is in the folders of the parts.

use super::idempotency::Idempotency;
use super::notices::queue::Notices;
use super::publishing::receipts::Receipts;
use super::resume::Kept;
use super::resume::missed::{Audience, Missed};
use super::rooms::store::Rooms;
use crate::client::Client;
use crate::elsewhere::{Elsewhere, Envelope};
use crate::ids::{ClientType, SocketId};
use crate::mail::numbered::Item;
use crate::rate::Rates;

/// What they are.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) rooms: Rooms,
    pub(crate) missed: Missed,
    pub(crate) resumes: Resumes,
    pub(crate) receipts: Receipts,
    pub(crate) idempotency: Idempotency,
    pub(crate) notices: Option<Box<Notices>>,
}

/// What is counted of clients that may come back.
#[derive(Default)]
pub(crate) struct Resumes {
    /// How often each address asked for clients that nobody has.
    pub(crate) wrong_uuids: Rates,
    /// Clients that came back.
    pub(crate) resumed: u64,
    /// Clients that did not in time.
    pub(crate) expired: u64,
}

impl Extras {
    /// A client ends: it leaves all its rooms, and other processes are told.
    pub(crate) fn forget(&mut self, id: SocketId, elsewhere: &mut Elsewhere) {
        if !elsewhere.is_alone() {
            for (room, ..) in self.rooms.of_client(id) {
                elsewhere.post(Envelope::Left { id, room: room.into() });
            }
        }
        self.rooms.forget(id);
        self.missed.end(id);
    }

    /// A client loses its connection and may come back.
    pub(crate) fn went_away(&mut self, id: SocketId, client: &Client) {
        self.rooms.set_away(id, true);
        let is_browser = client.dialog && client.client_type == ClientType::Websocket;
        let browsers = [Some(Audience::All), client.app.map(Audience::Resource)];
        let browsers = browsers.into_iter().flatten().filter(|_| is_browser);
        self.missed.begin(id, browsers.chain(self.rooms.ids_of(id).map(Audience::Room)));
    }

    /// It has one again.
    pub(crate) fn came_back(&mut self, id: SocketId) {
        self.rooms.set_away(id, false);
        self.missed.end(id);
    }

    /// Keeps a message for one client that is away. Says how many older ones were too many.
    pub(crate) fn keep(&mut self, id: SocketId, kept: &mut Kept, item: Item, max: usize) -> u64 {
        match self.missed.put_own(id, item, max) {
            Ok(false) => 0,
            Ok(true) => self.missed.settle(id, kept, max),
            Err(item) => {
                kept.post(item, max);
                kept.trim(max)
            }
        }
    }
}
