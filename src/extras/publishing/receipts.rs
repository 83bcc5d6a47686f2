//! The questions what became of a message: data, which knows no server.

use uuid::Uuid;

use super::asks::Asks;
use super::report::Sent;
use crate::extras::idempotency::Claims;
use crate::ids::{AppId, SocketId};

/// The one that wants to know what became of a message.
pub(crate) enum Asker {
    /// A client of the dialog, with the text of its `receipt`; and its uuid, if it may go on in another process.
    Client { id: SocketId, receipt: Box<str>, uuid: Option<Uuid> },
    /// An application, with its number.
    App(AppId, u64),
    /// An HTTP request with one message, or with a list of them, and the keys that it has.
    Http { id: SocketId, list: bool, claims: Option<Box<Claims>> },
    /// An HTTP request about a client of another process.
    Description(SocketId),
    /// All processes are asked, by the one of that name or by this one, under that number there.
    Process { node: Option<Box<str>>, ask: u64 },
}

/// A question that is answered once the loop has written.
pub(crate) struct Receipt {
    pub(crate) asker: Asker,
    pub(crate) sent: Vec<Sent>,
    /// The place in the queue of writes behind all receivers.
    pub(crate) after: u64,
}

/// The questions that are open.
#[derive(Default)]
pub(crate) struct Receipts {
    pub(crate) open: Vec<Receipt>,
    /// Receivers that are remembered in this turn, for all of them together.
    pub(crate) remembered: usize,
    /// Those that other processes answer.
    pub(crate) asks: Asks,
}
