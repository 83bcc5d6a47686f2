//! What the document does not have, one folder each. The port knows them by the moments at which it
//! calls them (`web_socket_server/moments.rs`) and by nothing else.

use notices::Notices;
use publishing::Receipts;
use rooms::Rooms;

pub mod browser_opcodes;
pub(crate) mod cluster;
pub mod http;
pub(crate) mod metrics;
pub mod notices;
pub(crate) mod proxy;
pub(crate) mod publishing;
pub(crate) mod redis;
pub(crate) mod resume;
pub(crate) mod rooms;
pub mod sessions;

/// The parts that applications reach through the [`Server`](crate::Server), which is why it owns them.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) rooms: Rooms,
    pub(crate) receipts: Receipts,
    pub(crate) notices: Option<Box<Notices>>,
}
