//! Publishing with an answer: the receivers of a message, and what became of it.
//!
//! A WebSocket client with `receipt`, or an HTTP request, gets a [`Receipt`]: it waits until the loop has written
//! what was queued. Then it says for how many clients the system took the message. With other processes it waits
//! for their answers too. The PHP original has no counterpart.

use std::rc::Rc;

use crate::client::Client;
use crate::elsewhere::{Envelope, Message, Others, Target};
use crate::extras::resume::missed::Audience;
use crate::extras::resume::shared;
use crate::ids::SocketId;
use crate::mail::keyed::{KeyedFrame, MAX_KEY};
use crate::mail::numbered::can_be_kept;
use crate::packet::Packet;
use crate::printable::Printable;
use crate::server::Server;
use crate::server::delivery::{Delivery, To};
pub(crate) use receipts::{Asker, Receipt};

pub(crate) mod asks;
pub(crate) mod receipts;
pub(crate) mod report;

pub(crate) use report::{About, Fate, Report, Sent, TOO_LARGE};

/// The longest `receipt` of a packet, in bytes.
const MAX_RECEIPT: usize = 128;
/// Receivers that are remembered in one turn for all receipts together; those beyond count as queued.
const MAX_RECEIVERS: usize = 1 << 20;
/// Receipts of one turn, after which the loop writes before it reads on.
const RECEIPTS_PER_TURN: usize = 1024;

impl Server {
    /// Sends a message to clients of all processes: [`broadcast`](Self::broadcast) and [`feedback`](Self::feedback)
    /// are short forms of it.
    pub fn send(&mut self, delivery: Delivery<'_>) {
        self.deliver(delivery);
    }

    /// The same, for an application that is being called: its `on_sent` gets this number, and what became of the
    /// message, once the loop has written. Other processes are waited for, two seconds at most.
    pub fn send_and_tell(&mut self, delivery: Delivery<'_>, number: u64) {
        let Some(app) = self.current.app else { return self.send(delivery) };
        let sent = self.deliver(delivery.asked(true));
        self.ask(Asker::App(app, number), vec![sent]);
    }

    /// Sends text to clients of all processes, and remembers to which if the answer is wanted.
    ///
    /// A message that concerns several processes goes to all of them by one way, and comes back to the clients here by
    /// the same: so all clients see one order. While the others are not reached, the clients here get theirs, and the
    /// rest is unknown.
    pub(crate) fn deliver(&mut self, delivery: Delivery<'_>) -> Sent {
        if self.elsewhere.is_alone() {
            return self.publish_here(delivery);
        }
        match (self.target(delivery.to), self.elsewhere.others) {
            (None, _) => self.publish_here(delivery),
            (Some(_), Others::Joined) if stays_here(self, delivery.to) => self.publish_here(delivery),
            (Some(target), Others::Joined) => self.publish_everywhere(delivery, target),
            (Some(target), _) => self.publish_cut_off(delivery, target),
        }
    }

    /// The receivers in words that others know; `None` where this process has them all.
    fn target(&self, to: To<'_>) -> Option<Target> {
        Some(match to {
            To::Client(_) => return None,
            To::All => Target::All,
            To::Resource(app) => Target::Path(self.counters.path(app)?.as_ref().into()),
            To::Members(room) => Target::Room(room.into()),
            To::Name { uuid, ident } => Target::One { uuid: uuid.into(), ident: ident.into() },
        })
    }

    /// Puts a message where it leaves for all processes, this one among them.
    fn publish_everywhere(&mut self, delivery: Delivery<'_>, to: Target) -> Sent {
        let Delivery { sender, text, key, asked, .. } = delivery;
        let known = sender.and_then(|sender| self.clients.get(sender)).filter(|client| client.is_known());
        let sender = known.map(|client| client.uuid);
        let about = if delivery.is_for_one() { About::One } else { About::Many };
        let ask = asked.then(|| self.extras.receipts.asks.open(about, self.now));
        // The first message that comes of a numbered one stands for it.
        let author = shared::take_author(self);
        let (text, key) = (text.to_owned(), key.map(str::to_owned));
        self.elsewhere.post(Envelope::Message(Message { to, text, sender, key, ask, author }));
        self.writes.congested |= self.elsewhere.is_full();
        Sent::elsewhere(ask)
    }

    /// Writes to a client that may resume: by way of the others, where it may go on in one of them.
    pub(crate) fn write_numbered(&mut self, id: SocketId, text: &str) {
        match shared::uuid_of(self, id) {
            Some(uuid) => shared::write(self, uuid, text),
            None => {
                let mut letter = self.letter(text);
                self.post(id, &mut letter);
            }
        }
    }

    /// The clients here get it; of the others nobody knows.
    fn publish_cut_off(&mut self, delivery: Delivery<'_>, to: Target) -> Sent {
        delivery.key.into_iter().for_each(|key| self.elsewhere.post(Envelope::Keyed { to: to.clone(), key: key.into() }));
        match delivery.to {
            To::Name { uuid, ident } if self.receiver(uuid, ident).is_some() => self.publish_here(delivery),
            To::Name { .. } => {
                self.elsewhere.unsent += 1;
                Sent::unknown()
            }
            _ => {
                self.elsewhere.unsent += 1;
                self.publish_here(delivery).and_unknown()
            }
        }
    }

    /// Sends text to clients of this process.
    pub(crate) fn publish_here(&mut self, delivery: Delivery<'_>) -> Sent {
        let Delivery { sender, to, text, key, asked, without } = delivery;
        let single = delivery.is_for_one();
        let (mut receivers, audience) = match self.receivers(sender, to) {
            Ok(receivers) => receivers,
            Err(error) => return Sent::nowhere(404, error),
        };
        if let Some(without) = without.filter(|without| !without.is_empty()) {
            receivers.retain(|id| !without.contains_key(*id));
        }
        if let [id] = receivers[..]
            && single
        {
            // What a client is told by its own application is never dropped for others.
            if sender != Some(id) && !self.has_room(id, text, key.is_some()) {
                return Sent::dropped();
            }
            if self.clients.get(id).is_some_and(Client::is_away) && !can_be_kept(text, self.limits.kept_bytes()) {
                return Sent::too_large();
            }
        }
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
        if let Some(audience) = audience {
            let missed = &mut self.extras.missed;
            // For the sender, if that is away by now, it is not.
            sent.uncounted += missed.count(audience) - usize::from(sender.is_some_and(|id| missed.reads(id, audience)));
            missed.put(audience, sender, self.limits.kept_bytes(), || letter.item());
        }
        sent
    }

    /// Has the question answered before the loop sleeps.
    pub(crate) fn ask(&mut self, asker: Asker, sent: Vec<Sent>) {
        self.extras.receipts.open.push(Receipt { asker, sent, after: self.writes.end() });
        self.writes.congested |=
            self.extras.receipts.open.len() >= RECEIPTS_PER_TURN || self.extras.receipts.remembered > MAX_RECEIVERS;
    }

    /// A packet of feedback or broadcast that has a key or asks for a receipt.
    pub(crate) fn publish_packet(&mut self, id: SocketId, packet: &Packet<'_>) {
        let to = match packet.opcode() {
            "broadcast" if packet.room().is_empty() => To::All,
            "broadcast" => To::Members(packet.room()),
            _ => To::Name { uuid: packet.uuid(), ident: packet.ident() },
        };
        let key = packet.key();
        let key = key.as_deref().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
        let receipt = packet.receipt();
        // A question that is opened must be answered.
        let asked = receipt.is_some_and(|receipt| receipt.len() <= MAX_RECEIPT);
        let sent = self.deliver(Delivery::new(to, packet.text()).from(id).keyed(key).asked(asked));
        match receipt {
            Some(_) if !asked => {
                let too_long = Sent::nowhere(400, format!("the message was sent, but its receipt is over {MAX_RECEIPT} bytes"));
                self.ask(Asker::Client { id, receipt: "null".into(), uuid: None }, vec![too_long]);
            }
            Some(receipt) => {
                let receipt: Box<str> = receipt.into();
                let uuid = shared::uuid_of(self, id);
                let owed = uuid.map(|uuid| Envelope::Owed { uuid, receipt: receipt.clone(), answered: false });
                owed.into_iter().for_each(|owed| self.elsewhere.post(owed));
                self.ask(Asker::Client { id, receipt, uuid }, vec![sent]);
            }
            None => {}
        }
    }

    /// The clients that get a message now, and where those look that are away.
    // A message for one should not pay for the call.
    #[inline(always)]
    pub(crate) fn receivers(
        &mut self,
        sender: Option<SocketId>,
        to: To<'_>,
    ) -> Result<(Vec<SocketId>, Option<Audience>), &'static str> {
        Ok(match to {
            To::Name { uuid, ident } => match self.receiver(uuid, ident) {
                Some(id) => (vec![id], None),
                None => return Err(self.log_unreachable(uuid, ident)),
            },
            To::Client(id) => (vec![id], None),
            To::Members(room) => match self.extras.rooms.receivers(room) {
                Some((members, room)) => {
                    (members.into_iter().filter(|id| Some(*id) != sender).collect(), Some(Audience::Room(room)))
                }
                None => (Vec::new(), None),
            },
            To::All => (self.browsers(sender, None), Some(Audience::All)),
            To::Resource(app) => (self.browsers(sender, Some(app)), Some(Audience::Resource(app))),
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

/// Whether no other process needs to know of a message. What is for a client that may come back to another one must be known
/// there, and what comes of a numbered message too. The rest is delivered here, unless it would overtake what is
/// under way.
fn stays_here(server: &Server, to: To<'_>) -> bool {
    let To::Name { uuid, ident } = to else { return false };
    let is_plain = |id: SocketId| !server.clients[id].mail.is_numbered();
    let is_free = server.current.number.is_none() && !server.elsewhere.has_messages();
    is_free && server.receiver(uuid, ident).is_some_and(is_plain)
}

/// Gives the counts of this process to the one that has opened the question.
pub(crate) fn answer_ask(server: &mut Server, node: Option<Box<str>>, ask: u64, report: &Report) {
    let mut fates = report.fates;
    // This process was told that it has the client; it had it.
    fates.failed = fates.failed.max(usize::from(report.status == 404));
    match node {
        None => server.extras.receipts.asks.answer(ask, fates),
        Some(node) => server.elsewhere.post(Envelope::Answer { node, ask, fates }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elsewhere::Ending;
    use crate::extras::resume;
    use crate::fixture::{got, numbered, server};
    use crate::mail::Form;

    fn name(uuid: &str) -> To<'_> {
        To::Name { uuid, ident: "" }
    }

    #[test]
    fn what_concerns_others_waits_for_them_and_the_rest_does_not() {
        let (mut server, [plain, kept]) = server(Others::Joined, [Form::Frames, numbered()]);
        let uuids = [plain, kept].map(|id| server.clients[id].uuid.to_string());
        let sent = server.deliver(Delivery::new(To::All, "{}").from(kept).asked(true));
        assert!(sent.ask.is_some() && !got(&server, plain), "it comes back in the order of all");
        server.deliver(Delivery::new(name(&uuids[1]), "{}"));
        assert!(!got(&server, kept), "other processes must know what such a client may have missed");
        server.deliver(Delivery::new(name(&uuids[0]), "{}"));
        assert!(!got(&server, plain), "it does not overtake what goes to all");
        server.write(kept, "{}");
        assert!(!got(&server, kept), "an answer is one more thing that such a client may miss");
        let sender = Some(server.clients[kept].uuid);
        assert!(
            matches!(server.elsewhere.take(), Some(Envelope::Message(Message { to: Target::All, sender: of, .. })) if of == sender)
        );
        for _ in 0..3 {
            assert!(matches!(
                server.elsewhere.take(),
                Some(Envelope::Message(Message { to: Target::One { .. }, ask: None, .. }))
            ));
        }
        assert!(server.elsewhere.take().is_none());
    }

    #[test]
    fn a_process_that_is_cut_off_serves_its_own_clients_and_knows_nothing_of_others() {
        let (mut server, [plain, kept]) = server(Others::CutOff, [Form::Frames, numbered()]);
        let uuid = server.clients[kept].uuid.to_string();
        let statuses = [To::All, name(&uuid), name("e7369655-7143-43dd-a710-75937c023233")].map(|to| {
            let sent = server.deliver(Delivery::new(to, "{}").asked(true));
            sent.report(|_| Fate::Delivered).status
        });
        assert_eq!((statuses, server.elsewhere.unsent), ([202, 200, 503], 2));
        assert!(got(&server, plain) && got(&server, kept) && server.elsewhere.take().is_none());
    }

    #[test]
    fn a_numbered_message_is_acknowledged_when_others_have_what_came_of_it() {
        let (mut server, [kept]) = server(Others::Joined, [numbered()]);
        server.current.number = Some((kept, 7));
        server.deliver(Delivery::new(To::All, "{}").from(kept));
        server.deliver(Delivery::new(To::All, "{}").from(kept));
        resume::next_if_done(&mut server, kept);
        assert!(!got(&server, kept));
        let authors: Vec<_> = std::iter::from_fn(|| server.elsewhere.take()).collect();
        let cseq = |envelope: &Envelope| match envelope {
            Envelope::Message(message) => message.author.map(|author| author.cseq),
            _ => None,
        };
        assert_eq!(authors.iter().map(cseq).collect::<Vec<_>>(), [Some(7), None]);
        resume::send_owed_nexts(&mut server, kept);
        assert!(got(&server, kept));
    }

    #[test]
    fn a_client_that_may_come_back_elsewhere_is_left_for_that() {
        let (mut server, [plain, kept]) = server(Others::Joined, [Form::Frames, numbered()]);
        server.stopping = true;
        [plain, kept].into_iter().for_each(|id| server.begin_close(id));
        let ended = std::iter::from_fn(|| server.elsewhere.take());
        let ended = ended.map(|envelope| matches!(envelope, Envelope::Ended { ending: Ending::Released, .. }));
        assert_eq!(ended.collect::<Vec<_>>(), [true, false]);
    }
}
