//! Other processes, as the server sees them: whether there are any, and what is to leave for them.
//!
//! Plain data. What concerns other processes is put into one queue, in the order of the calls, as a message for a
//! client is put into its outbox. The part that knows the way empties it before anything is written, so that no
//! client is told of what the others have not been given. It also empties it before a new client is opened: that one
//! would else get what was sent before it came. Answers come back by number, to the part that asked. The PHP
//! original has no counterpart.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::ids::SocketId;

/// Bytes that wait here, after which the loop passes them on before it reads more.
const FULL: usize = 1024 * 1024;
/// What an envelope costs beside its text.
const ENVELOPE: usize = 128;

/// Whether there are other processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Others {
    /// This process is all there is.
    #[default]
    Alone,
    /// There may be others, and they are reached.
    Joined,
    /// There may be others, and they are not reached now.
    CutOff,
}

/// What is to leave for other processes.
#[derive(Default)]
pub(crate) struct Elsewhere {
    pub(crate) others: Others,
    mailbox: VecDeque<Envelope>,
    bytes: usize,
    /// How many of them are messages for clients.
    messages: usize,
    /// Messages for clients that were taken from here, and have not come to the clients of this process.
    pub(crate) under_way: usize,
    /// Messages for others that were never put here, since they were not reached.
    pub(crate) unsent: u64,
}

/// One thing that others are to be told, or asked.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// A message for clients.
    Message(Message),
    /// A client that may move asked what became of its message, by that text; or it got the answer.
    Owed { uuid: Uuid, receipt: Box<str>, answered: bool },
    /// A client came back to this process: it has a new connection.
    Resumed { id: SocketId, uuid: Uuid },
    /// A numbered message was acted on, and nothing came of it that others have.
    Acted(Author),
    /// Clients here got a message with a key, while others were not reached.
    Keyed { to: Target, key: Box<str> },
    /// A client has ended here; its uuid is nil if it was not told `ready`.
    Ended { id: SocketId, uuid: Uuid, ending: Ending },
    /// A client joined a room; `announce` is whether comings and goings are announced there.
    Joined { id: SocketId, room: Box<str>, announce: bool },
    /// A client left a room.
    Left { id: SocketId, room: Box<str> },
    /// The members of a room here have changed.
    Members(Members),
    /// How many members has a room elsewhere? An answer without a number is for the room itself.
    CountMembers { room: Box<str>, ask: Option<u64> },
    /// What does another process know of the client of that uuid?
    Describe { uuid: Box<str>, ask: u64 },
    /// A request has a key: who had it first, here or elsewhere? It is claimed for so long.
    ClaimKey { name: Box<str>, request: Box<str>, number: u64, seconds: u64 },
    /// The answer of such a request, to be kept for so long; without one the key is free again. It may come so late that
    /// somebody else has the key.
    SettleKey { name: Box<str>, text: Option<Box<str>>, seconds: u64, is_late: bool },
    /// The answer to a question of another process.
    Answer { node: Box<str>, ask: u64, fates: Fates },
}

/// A message for clients of any process.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) to: Target,
    pub(crate) text: String,
    /// The client that sent it, which gets no copy.
    pub(crate) sender: Option<Uuid>,
    pub(crate) key: Option<String>,
    /// The question what became of it.
    pub(crate) ask: Option<u64>,
    /// The client that numbers its messages, where this comes of one.
    pub(crate) author: Option<Author>,
}

/// A client that may send a message again, to another process too. It gets its `next` once the others have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author {
    pub(crate) id: SocketId,
    pub(crate) uuid: Uuid,
    pub(crate) cseq: u64,
}

/// The receivers of a message, in words that hold in every process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// All browsers of the dialog.
    All,
    /// All browsers of a resource.
    Path(Box<str>),
    /// All members of a room.
    Room(Box<str>),
    /// The client of that uuid, else of that ident.
    One { uuid: Box<str>, ident: Box<str> },
}

/// How a client ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is gone: no process finds it any more.
    Released,
    /// It goes on in another process, or may come back to one: what the others know of it stays.
    Left,
}

/// The members of a room in one process.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) room: Box<str>,
    pub(crate) count: usize,
    /// Some of their names.
    pub(crate) names: Vec<String>,
    /// Those that came and went, as a JSON object.
    pub(crate) moved: String,
}

/// What became of a message, by the number of its receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) delivered: usize,
    pub(crate) queued: usize,
    pub(crate) failed: usize,
    /// Whether the only receiver had no room for it.
    pub(crate) dropped: bool,
}

impl Elsewhere {
    /// Whether this process is all there is: then nothing is ever put here.
    pub(crate) fn is_alone(&self) -> bool {
        self.others == Others::Alone
    }

    /// Puts an envelope behind all others; without other processes it goes nowhere.
    pub(crate) fn post(&mut self, envelope: Envelope) {
        if !self.is_alone() {
            self.bytes += envelope.cost();
            self.messages += usize::from(matches!(envelope, Envelope::Message(_)));
            self.mailbox.push_back(envelope);
        }
    }

    /// Whether messages of this process may still come to its own clients.
    pub(crate) fn has_messages(&self) -> bool {
        self.under_way + self.messages > 0
    }

    /// Takes the oldest envelope.
    pub(crate) fn take(&mut self) -> Option<Envelope> {
        let envelope = self.mailbox.pop_front()?;
        self.bytes -= envelope.cost();
        self.messages -= usize::from(matches!(envelope, Envelope::Message(_)));
        Some(envelope)
    }

    /// Whether so much waits that it should leave before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > FULL
    }
}

impl Envelope {
    fn cost(&self) -> usize {
        match self {
            Envelope::Message(message) => message.text.len() + ENVELOPE,
            Envelope::SettleKey { text: Some(text), .. } => text.len() + ENVELOPE,
            _ => ENVELOPE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Envelope {
        let text = text.to_owned();
        Envelope::Message(Message { to: Target::All, text, sender: None, key: None, ask: None, author: None })
    }

    #[test]
    fn envelopes_leave_in_the_order_in_which_they_came() {
        let mut elsewhere = Elsewhere { others: Others::CutOff, ..Elsewhere::default() };
        elsewhere.post(message("a"));
        elsewhere.post(Envelope::Describe { uuid: "u".into(), ask: 1 });
        elsewhere.post(message(&"b".repeat(FULL)));
        assert!(elsewhere.is_full());
        assert!(matches!(elsewhere.take(), Some(Envelope::Message(Message { text, .. })) if text == "a"));
        assert!(matches!(elsewhere.take(), Some(Envelope::Describe { ask: 1, .. })));
        assert!(elsewhere.take().is_some() && elsewhere.take().is_none());
        assert!(!elsewhere.is_full() && elsewhere.bytes == 0);
    }

    #[test]
    fn a_process_that_is_alone_keeps_nothing_for_others() {
        let mut elsewhere = Elsewhere::default();
        elsewhere.post(message("a"));
        assert!(elsewhere.is_alone() && elsewhere.take().is_none());
    }
}
