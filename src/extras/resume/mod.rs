//! Clients that outlive their connection: what they may not have got yet waits until they come back.
//!
//! A client that opted in has a [`Kept`]: its messages have numbers and stay in a queue until a pong
//! says that they have come. When the connection breaks, the record stays open and is `away`; nobody
//! but the loop notices. This file knows no sockets: how a connection is taken from a client, and a
//! new one given to it, is in `web_socket_server/resume.rs`. The PHP original has no counterpart.

use std::rc::Rc;

use uuid::Uuid;

use crate::client::{Client, State};
use crate::deadlines::{Deadline, after};
use crate::ids::AppId;
use crate::ids::{ClientType, SocketId};
use crate::mail::keyed::KeyedFrame;
pub(crate) use crate::mail::numbered::{Held, Kept, Meanwhile, Standing};
use crate::mail::numbered::{Item, asking_ping};
use crate::mail::outbox::Spares;
use crate::packet::{Message, Packet};
use crate::rfc6455::{CloseCode, Opcode, Request, frame};
use crate::server::Server;

mod takeover;

/// Bytes of messages that are handed to a connection at a time.
const FILL: usize = 64 * 1024;
/// So much of what may be kept is sent before a ping asks how far the client has come.
const ASK_AFTER: usize = 4;

/// The greatest number that a client may say it has seen: what JavaScript holds exactly. No server gets there.
const MAX_NUMBER: u64 = 1 << 53;

/// What a request says of resuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A new client that may resume later.
    Begin,
    /// The client of that uuid, which may be none, comes back, having seen the messages up to `seq`.
    Resume { uuid: Option<Uuid>, seq: u64, at: u64 },
}

impl Wish {
    /// The wish in a query; `None` where there is none.
    pub(crate) fn of(request: &Request) -> Option<Wish> {
        let (mut resume, mut seq, mut at) = (None, 0, 0);
        let number = |value: &str| value.parse::<u64>().unwrap_or_default().min(MAX_NUMBER);
        for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
            match &*name {
                "resume" => resume = Some(value),
                "seq" => seq = number(&value),
                "at" => at = number(&value),
                _ => {}
            }
        }
        Some(match resume? {
            empty if empty.is_empty() => Wish::Begin,
            uuid => Wish::Resume { uuid: Uuid::try_parse(&uuid).ok(), seq, at },
        })
    }

    /// How a client stands that was not found again.
    pub(crate) fn standing(self) -> Standing {
        match self {
            Wish::Begin => Standing::New,
            Wish::Resume { .. } => Standing::Lost,
        }
    }
}
impl Client {
    /// Whether the client's connection broke and it may still come back.
    pub fn is_away(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.away.is_some())
    }

    /// Whether frames reach it.
    pub(crate) fn is_here(&self) -> bool {
        self.state == State::Open && !self.is_away()
    }

    /// Fills an empty outbox with what is kept; says whether there is anything to write.
    pub(crate) fn fill(&mut self, spares: &mut Spares, resume_bytes: usize) -> bool {
        match &mut self.kept {
            Some(kept) if self.outbox.is_empty() && kept.away.is_none() => {
                self.hand_over(spares, resume_bytes, FILL);
            }
            _ => {}
        }
        !self.outbox.is_empty()
    }

    /// Hands messages to the connection, up to some bytes, and asks now and then how far the client has come.
    fn hand_over(&mut self, spares: &mut Spares, resume_bytes: usize, up_to: usize) {
        let Some(kept) = &mut self.kept else { return };
        while kept.unsent > 0 && self.outbox.bytes() < up_to {
            self.outbox.push_with(spares, false, |run| {
                kept.send_next(run);
            });
            if kept.unasked > resume_bytes / ASK_AFTER {
                kept.unasked = 0;
                let ping = asking_ping(kept.sent_up_to());
                self.outbox.push_with(spares, false, |run| frame::encode(Opcode::Ping, ping.as_bytes(), run));
            }
        }
    }

    /// Makes of a client that goes away the record of its old connection, which only has to end.
    pub(crate) fn ghost(&mut self) -> Client {
        let mut ghost = Client::new(self.ip);
        ghost.state = State::Closing;
        ghost.client_type = self.client_type;
        ghost.outbox = std::mem::take(&mut self.outbox);
        ghost.close_code = self.close_code.take();
        self.expect_pong = false;
        self.dirty = false;
        ghost
    }
}

impl Server {
    /// Whether clients of this kind may resume; those that get one frame a read can't.
    pub(crate) fn may_resume(&self, client_type: ClientType, paced: bool) -> bool {
        !self.limits().resume_time.is_zero() && client_type != ClientType::Tcp && !paced
    }

    /// The open client with that uuid, if it may resume, has this application and is of this type.
    /// Who has seen more than was sent from here has been in another process since.
    pub(crate) fn find_resumable(&self, wish: Wish, app: Option<AppId>, client_type: ClientType) -> Option<SocketId> {
        let Wish::Resume { uuid: Some(uuid), seq, at } = wish else { return None };
        let id = self.by_uuid(uuid)?;
        let client = &self.clients[id];
        // Where nothing with a place was sent, an `at` may be an application's own.
        let has_seen_more = |kept: &Kept| seq > kept.sent_up_to() || kept.told > 0 && at > kept.told;
        let elsewhere = self.has_backplane() && client.kept.as_deref().is_some_and(has_seen_more);
        (client.kept.is_some() && !elsewhere && client.app == app && client.client_type == client_type).then_some(id)
    }

    /// Queues a message under its number, for a client that may resume.
    pub(crate) fn keep(&mut self, id: SocketId, text: &Rc<str>, frame: Option<&Rc<KeyedFrame>>) {
        let max = self.limits().resume_bytes;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.state == State::Open) else { return };
        let Some(kept) = &mut client.kept else { return };
        if let Some(meanwhile) = kept.meanwhile.as_mut().filter(|_| self.at > 0) {
            return meanwhile.hold((self.at, frame.cloned(), text.clone()), max);
        }
        kept.place = kept.place.max(self.at);
        // With other processes every message says how far the client is in what they share.
        let replaced = kept.push(Item { text: text.clone(), at: kept.place, frame: frame.cloned() });
        if let Some(old) = replaced.and_then(|item| item.frame).filter(|old| old.tracked.get()) {
            old.replaced.borrow_mut().insert(id);
        }
        self.metrics.lost += kept.trim(max);
        self.metrics.frame_out(Opcode::Text);
        self.mark_dirty(id);
    }

    /// Whether a client that may resume is kept as it ends: not if it, or an application, said goodbye, and not
    /// before it was told `ready`, since it knows no uuid to come back with.
    pub(crate) fn is_kept(&self, id: SocketId) -> bool {
        const KEPT: [u16; 4] = [CloseCode::GOING_AWAY.0, 1006, CloseCode::SERVICE_RESTART.0, CloseCode::TRY_AGAIN_LATER.0];
        let Some(client) = self.clients.get(id) else { return false };
        let room = self.limits().max_away == 0 || self.away < self.limits().max_away;
        let may = client.is_known() && client.kept.is_some() && !self.metrics.draining;
        may && (client.is_away() || room) && KEPT.contains(&client.final_code())
    }

    /// Marks a client as away; the loop takes its connection before it sleeps.
    pub(crate) fn lose(&mut self, id: SocketId) {
        let (now, max) = (self.now, self.limits().resume_bytes);
        let client = &mut self.clients[id];
        client.buffer = None;
        let Some(kept) = client.kept.as_mut().filter(|kept| kept.away.is_none()) else { return };
        kept.away = Some(now);
        self.metrics.lost += kept.trim(max);
        self.away += 1;
        self.closing.push(id);
    }

    /// A client came back: it is told `ready`, and gets what it has not seen once the loop writes.
    pub(crate) fn come_back(&mut self, id: SocketId, seq: u64) {
        let client = &mut self.clients[id];
        let Some(kept) = &mut client.kept else { return };
        self.away -= usize::from(kept.away.is_some());
        kept.rewind(seq);
        log::info!("Client resumes on #{id}: {:?}, {} messages wait", kept.standing, kept.items.len());
        self.metrics.resumed += 1;
    }

    /// Has the loop look, once the time of a client that is away may be over. There is one reminder for
    /// each client, however often it comes and goes.
    pub(crate) fn remind_of(&mut self, id: SocketId) {
        let keep = self.limits().resume_time;
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        let Some(away) = kept.away.filter(|_| !kept.reminded) else { return };
        kept.reminded = true;
        self.deadlines.set(after(away, keep), Deadline::Away(id));
    }

    /// The time of a client that is away may be over.
    pub(crate) fn give_up(&mut self, id: SocketId) {
        let keep = self.limits().resume_time;
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        kept.reminded = false;
        if kept.away.is_some_and(|away| self.now.saturating_duration_since(away) >= keep) {
            log::info!("Client of socket #{id} did not come back");
            self.metrics.given_up += 1;
            self.forsake(id);
            self.end(id);
        } else {
            self.remind_of(id);
        }
    }

    /// A client will not come back.
    pub(crate) fn forsake(&mut self, id: SocketId) {
        if let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.take()) {
            self.away -= usize::from(kept.away.is_some());
        }
    }

    /// Whether this client's message is acknowledged only when other processes can have it: it may send it
    /// again to another one, if this one dies in between.
    pub(crate) fn defers_next(&self, id: SocketId) -> bool {
        self.has_backplane() && self.clients.get(id).is_some_and(|client| client.kept.is_some())
    }

    /// Acknowledges a message that was acted on. Behind one that waits for other processes it waits too, since a
    /// client takes each `next` for its oldest message.
    pub(crate) fn next_if_done(&mut self, id: SocketId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.kept.as_mut().filter(|kept| kept.given > 0) {
            Some(kept) => kept.owed += 1,
            None => self.next(id),
        }
    }

    /// The client's message was given to other processes, and waits to be acknowledged.
    pub(crate) fn gave(&mut self, id: SocketId) {
        if let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) {
            kept.given += 1;
        }
    }

    /// That is over: the client may send its next one.
    pub(crate) fn release(&mut self, id: SocketId) {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        kept.given = kept.given.saturating_sub(1);
        if kept.given == 0 {
            (0..std::mem::take(&mut kept.owed)).for_each(|_| self.next(id));
        }
    }

    /// The pong to a ping that asked how far the client has come.
    pub(crate) fn acknowledged(&mut self, id: SocketId, payload: &[u8]) {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return };
        let number =
            std::str::from_utf8(payload).ok().and_then(|text| text.rsplit_once(r#""seq":"#)?.1.strip_suffix('}')?.parse().ok());
        if let Some(seq) = number {
            kept.acknowledge(seq);
        }
    }

    /// Whether a client that may resume sent this message before: then it is only acknowledged.
    pub(crate) fn has_seen(&mut self, id: SocketId, message: Message<'_>) -> bool {
        let Some(kept) = self.clients.get_mut(id).and_then(|client| client.kept.as_mut()) else { return false };
        let Some(cseq) = Packet::parse(message).ok().and_then(|packet| packet.cseq()) else { return false };
        let seen = cseq <= kept.cseq;
        kept.cseq = kept.cseq.max(cseq);
        self.in_hand = Some((id, cseq)).filter(|_| !seen && self.backplane.is_some());
        seen
    }

    /// `ready`, with what a client that may resume needs to know.
    pub(crate) fn ready_message(&self, id: SocketId) -> String {
        let client = &self.clients[id];
        let members = client.kept.as_ref().map_or(String::new(), |kept| kept.ready_members(self.limits()));
        format!(r#"{{"opcode":"ready","uuid":"{}"{members}}}"#, client.uuid)
    }

    /// The ping of this client: one that may resume says in the pong how far it has come.
    pub(crate) fn ping_payload(&mut self, id: SocketId) -> String {
        match &mut self.clients[id].kept {
            Some(kept) => {
                kept.unasked = 0;
                asking_ping(kept.sent_up_to())
            }
            None => r#"{"opcode":"PING"}"#.into(),
        }
    }

    /// Before a close frame: what is kept goes out, if the client gets it at all.
    pub(crate) fn hand_over(&mut self, id: SocketId) {
        let resume_bytes = self.limits().resume_bytes;
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.is_here()) {
            client.hand_over(&mut self.spares, resume_bytes, usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_wishes() {
        let wish = |target: &str| Wish::of(&Request::parse(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap());
        let uuid = "e7369655-7143-43dd-a710-75937c023233";
        assert_eq!(wish("/web"), None);
        assert_eq!(wish("/web?x=1&seq=3"), None);
        assert_eq!(wish("/web?resume"), Some(Wish::Begin));
        assert_eq!(wish("/web?a=b&resume="), Some(Wish::Begin));
        let expected = Wish::Resume { uuid: Uuid::try_parse(uuid).ok(), seq: 3, at: 9 };
        assert_eq!(wish(&format!("/web?seq=3&at=9&resume={uuid}")), Some(expected));
        assert_eq!(wish("/web?resume=x&seq=-1"), Some(Wish::Resume { uuid: None, seq: 0, at: 0 }));
        let huge = Wish::Resume { uuid: None, seq: MAX_NUMBER, at: 0 };
        assert_eq!(wish("/web?resume=x&seq=18446744073709551615&at=18446744073709551616"), Some(huge));
    }
}
