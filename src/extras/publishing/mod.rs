//! Publishing with an answer: to whom a message goes, and what became of it.
//!
//! Whoever asks, a WebSocket client with `receipt` or an HTTP request, gets a [`Receipt`]: it waits until
//! the loop has written what was queued, and then says for how many clients the system took the
//! message. What nobody asks about never comes here. The PHP original has no counterpart.

use std::rc::Rc;

use crate::ids::AppId;
use crate::ids::SocketId;
use crate::mail::keyed::{KeyedFrame, MAX_KEY};
use crate::packet::Packet;
use crate::printable::Printable;
use crate::server::Server;

/// The longest `receipt` of a packet, in bytes.
const MAX_RECEIPT: usize = 128;
/// Receivers that are remembered in one turn for all receipts together; those beyond count as queued.
const MAX_RECEIVERS: usize = 1 << 20;
/// Receipts of one turn, after which the loop writes before it reads on.
const RECEIPTS_PER_TURN: usize = 1024;

/// Whom a message is for.
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
    /// All members of a room.
    Room(&'a str),
}

/// Where a message went, until it is known what became of it.
pub(crate) struct Sent {
    receivers: Vec<SocketId>,
    /// Receivers that were too many to remember.
    uncounted: usize,
    /// Why it went nowhere.
    pub(crate) error: Option<(u16, String)>,
    /// Whether it was for one client, and nobody else will do.
    single: bool,
    frame: Option<Rc<KeyedFrame>>,
    /// The number of the question that other processes answer.
    pub(crate) ask: Option<u64>,
    /// Whether nobody knows what became of it in other processes.
    unknown: bool,
}

/// Who wants to know.
pub(crate) enum Asker {
    /// A client of the dialog, with the text of its `receipt`.
    Client(SocketId, Box<str>),
    /// An HTTP request with one message, or with a list of them.
    Http { id: SocketId, list: bool },
    /// An HTTP request about a client of another process.
    Description(SocketId),
    /// Another process, with the number of its question.
    Node { node: Box<str>, ask: u64 },
}

/// A question that is answered once the loop has written.
pub(crate) struct Receipt {
    pub(crate) asker: Asker,
    pub(crate) sent: Vec<Sent>,
}

/// The questions that are open.
#[derive(Default)]
pub(crate) struct Receipts {
    pub(crate) open: Vec<Receipt>,
    /// Receivers that are remembered in this turn, for all of them together.
    pub(crate) remembered: usize,
}

/// What became of a message for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The system took its last byte.
    Delivered,
    /// It waits behind a socket that takes no more, or for its turn.
    Queued,
    /// The client was closed before it had the message.
    Failed,
}

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) status: u16,
    delivered: usize,
    queued: usize,
    failed: usize,
    pub(crate) error: Option<String>,
    /// Whether it was for one client.
    single: bool,
    /// Whether nobody knows what became of it in other processes; the counts are of those that are known.
    unknown: bool,
    /// What was asked for, where that is not the fate of a message.
    pub(crate) text: Option<String>,
}

impl Sent {
    /// A message that goes nowhere, and why.
    pub(crate) fn nowhere(status: u16, error: impl Into<String>) -> Sent {
        Sent { error: Some((status, error.into())), ..Sent::to(Vec::new(), true, None) }
    }

    /// A message to these.
    fn to(receivers: Vec<SocketId>, single: bool, frame: Option<Rc<KeyedFrame>>) -> Sent {
        Sent { receivers, uncounted: 0, error: None, single, frame, ask: None, unknown: false }
    }

    /// A message that other processes have to say about.
    pub(crate) fn elsewhere(ask: Option<u64>) -> Sent {
        Sent { ask, ..Sent::to(Vec::new(), false, None) }
    }

    /// A message for one client, of whom nobody knows whether it is there.
    pub(crate) fn unknown() -> Sent {
        Sent::to(Vec::new(), true, None).and_unknown()
    }

    /// The same, with nothing known of other processes.
    pub(crate) fn and_unknown(self) -> Sent {
        Sent { unknown: true, ..self }
    }

    /// Counts what `fate` says of each receiver.
    pub(crate) fn report(self, mut fate: impl FnMut(SocketId) -> Fate) -> Report {
        if let Some((status, error)) = self.error {
            return Report { status, error: Some(error), ..Report::default() };
        }
        let mut report = Report { queued: self.uncounted, unknown: self.unknown, single: self.single, ..Report::default() };
        for id in self.receivers {
            let replaced = self.frame.as_ref().is_some_and(|frame| frame.replaced.borrow().contains(&id));
            match fate(id) {
                Fate::Failed => report.failed += 1,
                Fate::Delivered if !replaced => report.delivered += 1,
                _ => report.queued += 1,
            }
        }
        if let Some(frame) = self.frame {
            frame.tracked.set(false);
            frame.replaced.take();
        }
        report.judged()
    }
}

impl Report {
    /// An answer that other processes will give.
    pub(crate) fn about(single: bool) -> Report {
        Report { single, ..Report::default() }
    }

    pub(crate) fn add(&mut self, delivered: usize, queued: usize, failed: usize) {
        self.delivered += delivered;
        self.queued += queued;
        self.failed += failed;
    }

    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.delivered, self.queued, self.failed)
    }

    pub(crate) fn set_error(&mut self, status: u16, why: &str) {
        (self.status, self.error) = (status, Some(why.into()));
    }

    /// What was not delivered waits elsewhere.
    pub(crate) fn wait(&mut self) {
        self.queued += std::mem::take(&mut self.failed);
    }

    pub(crate) fn set_unknown(&mut self) {
        self.unknown = true;
    }

    /// With the status that follows from the rest.
    pub(crate) fn judged(mut self) -> Report {
        if self.error.is_some() {
            return self;
        }
        // The one client that it is for is here.
        self.unknown &= !self.single || self.delivered + self.queued + self.failed == 0;
        self.status = match self.queued {
            _ if self.unknown && self.single => 503,
            _ if self.unknown => 202,
            0 if self.single && self.failed > 0 => 404,
            0 => 200,
            _ => 202,
        };
        match self.status {
            404 => self.error = Some("the client was closed before it had the message".into()),
            503 => self.error = Some("other processes are not reached: nobody knows whether the client is there".into()),
            _ => {}
        }
        self
    }

    /// The counts and the error as members of a JSON object.
    pub(crate) fn members(&self) -> String {
        let failed = if self.failed > 0 { format!(r#","failed":{}"#, self.failed) } else { String::new() };
        let delivered =
            if self.unknown { format!(r#""unknown","known":{}"#, self.delivered) } else { self.delivered.to_string() };
        let error = self.error.as_ref().map(|error| format!(r#","error":{}"#, serde_json::Value::from(&**error)));
        format!(r#""delivered":{delivered},"queued":{}{failed}{}"#, self.queued, error.unwrap_or_default())
    }
}

impl Server {
    /// Sends text to clients of all processes, and remembers to whom if the answer is wanted.
    pub(crate) fn publish(&mut self, sender: SocketId, to: To<'_>, text: &str, key: Option<&str>, asked: bool) -> Sent {
        match self.publish_elsewhere(sender, to, text, key, asked) {
            Some(sent) => sent,
            None => self.publish_here(sender, to, text, key, asked),
        }
    }

    /// The same for the clients of this process.
    pub(crate) fn publish_here(&mut self, sender: SocketId, to: To<'_>, text: &str, key: Option<&str>, asked: bool) -> Sent {
        let single = matches!(to, To::Name { .. } | To::Client(_));
        let receivers = match self.receivers(sender, to) {
            Ok(receivers) => receivers,
            Err(error) => return Sent::nowhere(404, error),
        };
        let frame = key.map(|key| Rc::new(KeyedFrame::new(key, text, asked)));
        let letter = self.letter(text).unasked().keyed(frame.clone());
        let mut letter = if single { letter } else { letter.many() };
        for id in &receivers {
            self.post(*id, &mut letter);
        }
        let mut sent = Sent::to(receivers, single, frame);
        if asked {
            self.extras.receipts.remembered += sent.receivers.len();
            if self.extras.receipts.remembered > MAX_RECEIVERS {
                sent.uncounted = std::mem::take(&mut sent.receivers).len();
            }
        }
        sent
    }

    /// Has the question answered before the loop sleeps.
    pub(crate) fn ask(&mut self, asker: Asker, sent: Vec<Sent>) {
        self.extras.receipts.open.push(Receipt { asker, sent });
        self.congested |= self.extras.receipts.open.len() >= RECEIPTS_PER_TURN || self.extras.receipts.remembered > MAX_RECEIVERS;
    }

    /// A packet of feedback or broadcast that has a key or asks for a receipt.
    pub(crate) fn publish_packet(&mut self, id: SocketId, packet: &Packet<'_>) {
        let to = match packet.opcode() {
            "broadcast" if packet.room().is_empty() => To::All,
            "broadcast" => To::Room(packet.room()),
            _ => To::Name { uuid: packet.uuid(), ident: packet.ident() },
        };
        let key = packet.key();
        let key = key.as_deref().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
        let receipt = packet.receipt();
        // A question that is opened must be answered.
        let asked = receipt.is_some_and(|receipt| receipt.len() <= MAX_RECEIPT);
        let sent = self.publish(id, to, packet.text(), key, asked);
        match receipt {
            Some(_) if !asked => {
                let too_long = Sent::nowhere(400, format!("the message was sent, but its receipt is over {MAX_RECEIPT} bytes"));
                self.ask(Asker::Client(id, "null".into()), vec![too_long]);
            }
            Some(receipt) => self.ask(Asker::Client(id, receipt.into()), vec![sent]),
            None => {}
        }
    }

    fn receivers(&mut self, sender: SocketId, to: To<'_>) -> Result<Vec<SocketId>, &'static str> {
        Ok(match to {
            To::Name { uuid, ident } => match self.receiver(uuid, ident) {
                Some(id) => vec![id],
                None => return Err(self.log_unreachable(uuid, ident)),
            },
            To::Client(id) => vec![id],
            To::Room(room) => self.who(room).map(|(id, _)| id).filter(|id| *id != sender).collect(),
            To::All => self.browsers(sender, None),
            To::Resource(app) => self.browsers(sender, Some(app)),
        })
    }

    /// Logs that feedback reached nobody, and says why.
    pub(crate) fn log_unreachable(&mut self, uuid: &str, ident: &str) -> &'static str {
        let level = self.counters.unheard(self.now);
        log::log!(level, "No client for feedback: uuid '{}' ident '{}'", Printable(uuid), Printable(ident));
        match (uuid.is_empty(), ident.is_empty()) {
            (false, _) if self.find_uuid(uuid).is_some() => "that uuid is a backend's, which is found by its ident",
            (false, true) => "nobody has that uuid",
            (true, false) => "nobody has that ident",
            _ => "nobody has that uuid or ident",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64, single: bool) -> Sent {
        let receivers = (1..=count).map(SocketId::from_u64).collect();
        Sent::to(receivers, single, None)
    }

    #[test]
    fn the_status_says_what_became_of_it() {
        for (fates, single, status, members) in [
            (&[Fate::Delivered][..], true, 200, r#""delivered":1,"queued":0"#),
            (&[Fate::Queued], true, 202, r#""delivered":0,"queued":1"#),
            (&[], false, 200, r#""delivered":0,"queued":0"#),
            (&[Fate::Delivered, Fate::Queued, Fate::Failed], false, 202, r#""delivered":1,"queued":1,"failed":1"#),
            (&[Fate::Delivered, Fate::Failed], false, 200, r#""delivered":1,"queued":0,"failed":1"#),
        ] {
            let mut rest = fates.iter().copied();
            let report = sent(fates.len() as u64, single).report(|_| rest.next().expect("a fate for each"));
            assert_eq!((report.status, report.members().as_str()), (status, members));
        }
        assert_eq!(sent(1, true).report(|_| Fate::Failed).status, 404);
        assert_eq!(
            Sent::nowhere(404, "nobody").report(|_| Fate::Failed).members(),
            r#""delivered":0,"queued":0,"error":"nobody""#
        );
    }

    #[test]
    fn a_message_that_was_replaced_counts_as_queued() {
        let frame = Rc::new(KeyedFrame::new("k", "text", true));
        frame.replaced.borrow_mut().insert(SocketId::from_u64(2));
        let report = Sent { frame: Some(frame.clone()), ..sent(3, false) }.report(|_| Fate::Delivered);
        assert_eq!((report.delivered, report.queued), (2, 1));
        assert!(!frame.tracked.get() && frame.replaced.borrow().is_empty());
    }
}
