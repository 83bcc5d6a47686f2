//! A message that is to be sent: its text, and its receivers.

use slotmap::SecondaryMap;

use crate::ids::{AppId, SocketId};
use crate::mail::keyed::MAX_KEY;

/// The receivers of a message.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// This client.
    Client(SocketId),
    /// As in a packet of feedback: the browser of that uuid, else the client of that ident.
    Name {
        /// A uuid, or empty.
        uuid: &'a str,
        /// An ident, or empty.
        ident: &'a str,
    },
    /// All browsers of the dialog.
    All,
    /// All browsers of one resource: see [`Server::app`](crate::Server::app).
    Resource(AppId),
    /// The members of the group of that name.
    Members(&'a str),
}

/// A message that is to be sent, for [`Server::send`](crate::Server::send).
///
/// ```
/// use phpws::{Delivery, Server, To};
///
/// fn tell_prices(server: &mut Server, uuid: &str) {
///     // A browser that reads slowly gets the newest price only.
///     server.send(Delivery::new(To::All, r#"{"price":9.5}"#).key("price"));
///     server.send(Delivery::new(To::Name { uuid, ident: "" }, r#"{"done":true}"#));
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The client that sent it, which gets no copy.
    pub(crate) sender: Option<SocketId>,
    pub(crate) to: To<'a>,
    pub(crate) text: &'a str,
    /// While it waits to be sent a newer one with the same key takes its place.
    pub(crate) key: Option<&'a str>,
    /// Whether it will be asked what became of it.
    pub(crate) asked: bool,
    /// Clients that get no copy of a message for many.
    pub(crate) without: Option<&'a SecondaryMap<SocketId, u64>>,
}

impl<'a> Delivery<'a> {
    /// A message that no client sent and nobody will ask about.
    pub fn new(to: To<'a>, text: &'a str) -> Delivery<'a> {
        Delivery { sender: None, to, text, key: None, asked: false, without: None }
    }

    /// Sent by that client; `SocketId::default()` is none.
    pub fn from(self, sender: SocketId) -> Delivery<'a> {
        Delivery { sender: Some(sender).filter(|sender| *sender != SocketId::default()), ..self }
    }

    /// With a key of at most 128 bytes: while the message waits for a slow client, a newer one with the same key
    /// takes its place. A longer key counts as none.
    pub fn key(self, key: &'a str) -> Delivery<'a> {
        self.keyed(Some(key).filter(|key| !key.is_empty() && key.len() <= MAX_KEY))
    }

    /// With a key, if there is one.
    pub(crate) fn keyed(self, key: Option<&'a str>) -> Delivery<'a> {
        Delivery { key, ..self }
    }

    /// Whether it will be asked what became of it: then it must be asked.
    pub(crate) fn asked(self, asked: bool) -> Delivery<'a> {
        Delivery { asked, ..self }
    }

    pub(crate) fn is_for_one(&self) -> bool {
        matches!(self.to, To::Name { .. } | To::Client(_))
    }
}

/// What became of a message, once the loop has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Clients whose socket took the last byte.
    pub delivered: usize,
    /// Clients for which it waits: behind a socket that takes no more, or until they come back.
    pub queued: usize,
    /// Clients that were closed before they had it, or that had no room for it.
    pub failed: usize,
    /// Whether other processes did not answer, so that the counts are of this one alone.
    pub unknown: bool,
    /// Why it went nowhere.
    pub error: Option<String>,
}
