//! The parts that applications reach through the [`Server`](crate::Server), which is why it owns them.
//!
//! Data only: what is done with it is in the folders of the parts.

use super::notices::queue::Notices;
use super::publishing::receipts::Receipts;
use super::rooms::store::Rooms;
use crate::elsewhere::{Elsewhere, Envelope};
use crate::ids::SocketId;

/// What they are.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) rooms: Rooms,
    pub(crate) resumes: Resumes,
    pub(crate) receipts: Receipts,
    pub(crate) notices: Option<Box<Notices>>,
}

/// What is counted of clients that may come back. Both only grow.
#[derive(Default)]
pub(crate) struct Resumes {
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
    }
}
