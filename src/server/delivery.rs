//! A message that is to be sent: its text, and its receivers.

use crate::ids::{AppId, SocketId};

/// The receivers of a message.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// This client.
    Client(SocketId),
    /// As in a packet of feedback: the browser of that uuid, else the client of that ident.
    Name { uuid: &'a str, ident: &'a str },
    /// All browsers of the dialog.
    All,
    /// All browsers of one resource.
    Resource(AppId),
    /// The members of the group of that name.
    Members(&'a str),
}

/// A message that is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// The client that sent it, which gets no copy.
    pub(crate) sender: Option<SocketId>,
    pub(crate) to: To<'a>,
    pub(crate) text: &'a str,
    /// While it waits to be sent a newer one with the same key takes its place.
    pub(crate) key: Option<&'a str>,
    /// Whether it will be asked what became of it.
    pub(crate) asked: bool,
}

impl<'a> Delivery<'a> {
    /// A message that no client sent and nobody will ask about.
    pub(crate) fn new(to: To<'a>, text: &'a str) -> Delivery<'a> {
        Delivery { sender: None, to, text, key: None, asked: false }
    }

    /// Sent by that client; `SocketId::default()` is none.
    pub(crate) fn from(self, sender: SocketId) -> Delivery<'a> {
        Delivery { sender: Some(sender).filter(|sender| *sender != SocketId::default()), ..self }
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
