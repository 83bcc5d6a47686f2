//! Clients that outlive their connection: what they may not have got yet waits until they come back.
//!
//! A client that opted in is written to under numbers, and its messages stay in a queue until a pong
//! says that they have come (`src/mail/numbered.rs`). When the connection breaks, its record stays and is
//! `Away`; nobody but the loop notices. This file knows no sockets: how a connection is taken from a
//! client, and a new one given to it, is in `takeover.rs`. The PHP original has no counterpart.

use std::net::IpAddr;

use uuid::Uuid;

use crate::bounds::Bound;
use crate::client::State;
use crate::deadlines::{Deadline, after};
use crate::elsewhere::{Ending, Envelope};
use crate::extras::rooms::store::Rooms;
use crate::ids::{AppId, ClientType, SocketId};
pub(crate) use crate::mail::numbered::{Held, HeldBack, Kept, ResumeOutcome, ResumeRequest};
use crate::memory;
use crate::packet::{Message, Packet};
use crate::rfc6455::{CloseCode, Request};
use crate::server::Server;

pub(crate) mod missed;
pub(crate) mod shared;
mod takeover;

/// The greatest number that a client may say it has seen: what JavaScript holds exactly. No server gets there.
const MAX_NUMBER: u64 = 1 << 53;
/// Uuids of no client that one address may come with in a second; twice as many in a burst. After a restart every page
/// of an office behind one address comes with one. Beyond: 429 for further wrong ones.
const MAX_WRONG_UUIDS: u32 = 100;

impl CloseCode {
    /// The client came back on another connection.
    pub const RESUMED_ELSEWHERE: CloseCode = CloseCode(4000);
}

impl ResumeRequest {
    /// What a query asks for; `None` where it says nothing of it.
    pub(crate) fn of(request: &Request) -> Option<ResumeRequest> {
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
            empty if empty.is_empty() => ResumeRequest::Begin,
            uuid => ResumeRequest::Resume { uuid: Uuid::try_parse(&uuid).ok(), seq, at },
        })
    }

    /// What a client is told that was not found again.
    pub(crate) fn outcome(self) -> ResumeOutcome {
        match self {
            ResumeRequest::Begin => ResumeOutcome::New,
            ResumeRequest::Resume { .. } => ResumeOutcome::Lost,
        }
    }
}

/// The open client with that uuid, if it may resume, has this application and is of this type. One that has
/// seen more than was sent from here has been in another process since.
pub(crate) fn find_resumable(
    server: &Server,
    request: ResumeRequest,
    app: Option<AppId>,
    client_type: ClientType,
) -> Option<SocketId> {
    let ResumeRequest::Resume { uuid: Some(uuid), seq, at } = request else { return None };
    let id = server.clients.by_uuid(uuid)?;
    let client = &server.clients[id];
    let kept = client.mail.kept()?;
    // Where nothing with a position was sent, an `at` may be an application's own.
    let has_seen_more = seq > kept.sent_up_to() || kept.sent_position > 0 && at > kept.sent_position;
    let elsewhere = !server.elsewhere.is_alone() && has_seen_more;
    (!elsewhere && client.app == app && client.client_type == client_type).then_some(id)
}

/// Counts a uuid that nobody has. Says whether that was too often from this address: then the client comes again later.
/// A right one is never asked about, since others may guess from the same address.
pub(crate) fn guesses_too_often(server: &mut Server, ip: IpAddr) -> bool {
    let too_often = server.extras.resumes.wrong_uuids.take(ip, MAX_WRONG_UUIDS, server.now).is_err();
    server.acted(Bound::Guesses, u64::from(too_often));
    too_often
}

/// A client came back: it is told `ready`, and gets what it has not seen once the loop writes.
pub(crate) fn resume(server: &mut Server, id: SocketId, seq: u64) {
    if server.clients[id].is_away() {
        settle(server, id);
        server.extras.came_back(id);
        server.clients.enter(id, State::Open);
    }
    let now = server.now;
    let Some(kept) = server.clients[id].mail.kept_mut() else { return };
    kept.connected_at = Some(now);
    kept.rewind(seq);
    log::info!("Client resumes on #{id}: {:?}, {} messages wait", kept.outcome, kept.items.len());
    server.extras.resumes.resumed += 1;
    let uuid = server.clients[id].uuid;
    server.elsewhere.post(Envelope::Resumed { id, uuid });
}

/// Puts what a client that is away has missed into its own queue.
pub(crate) fn settle(server: &mut Server, id: SocketId) {
    let max = server.limits().kept_bytes();
    if let Some(kept) = server.clients.get_mut(id).and_then(|client| client.mail.kept_mut()) {
        let lost = server.extras.missed.settle(id, kept, max);
        server.acted(Bound::Kept, lost);
    }
}

/// Changes the rooms of a client. One that is away has missed what came before as a member of its old ones.
pub(crate) fn change_rooms<T>(server: &mut Server, id: SocketId, change: impl FnOnce(&mut Rooms) -> T) -> T {
    if !server.clients[id].is_away() {
        return change(&mut server.extras.rooms);
    }
    settle(server, id);
    server.extras.came_back(id);
    let changed = change(&mut server.extras.rooms);
    server.extras.went_away(id, &server.clients[id]);
    changed
}

/// Lets go of what is kept for clients that are away, the oldest first, until no more than that is in use. They hear of
/// a gap when they come back.
pub(crate) fn let_go(server: &mut Server, enough: usize) {
    while memory::in_use() > enough && server.extras.missed.shrink() {}
    if memory::in_use() <= enough {
        return;
    }
    let away = server.clients.iter().filter_map(|(id, client)| Some((client.mail.kept()?.away_since?, id)));
    let mut away: Vec<_> = away.collect();
    away.sort_unstable();
    for (_, id) in away {
        settle(server, id);
        let Some(client) = server.clients.get_mut(id) else { continue };
        let lost = client.mail.kept_mut().map_or(0, |kept| kept.trim(0));
        client.mail.account();
        server.acted(Bound::Kept, lost);
        if memory::in_use() <= enough {
            return;
        }
    }
}

fn kept_mut(server: &mut Server, id: SocketId) -> Option<&mut Kept> {
    server.clients.get_mut(id)?.mail.kept_mut()
}

/// Has the loop look, once the time of a client that is away may be over. There is one reminder for
/// each client, however often it comes and goes.
pub(crate) fn remind_of(server: &mut Server, id: SocketId) {
    let keep = server.limits().resume_time;
    let Some(kept) = kept_mut(server, id) else { return };
    let Some(away) = kept.away_since.filter(|_| !kept.reminded) else { return };
    kept.reminded = true;
    server.deadlines.set(after(away, keep), Deadline::Away(id));
}

/// The time of a client that is away may be over.
pub(crate) fn expire(server: &mut Server, id: SocketId) {
    let (now, keep) = (server.now, server.limits().resume_time);
    let Some(kept) = kept_mut(server, id) else { return };
    kept.reminded = false;
    if kept.away_since.is_some_and(|away| now.saturating_duration_since(away) >= keep) {
        log::info!("Client of socket #{id} did not come back");
        server.extras.resumes.expired += 1;
        server.clients[id].mail.stop_keeping();
        server.begin_close(id);
    } else {
        remind_of(server, id);
    }
}

/// Whether this client's message is acknowledged only when other processes can have it: it may send it
/// again to another one, if this one dies in between.
pub(crate) fn defers_next(server: &Server, id: SocketId) -> bool {
    !server.elsewhere.is_alone() && server.clients.get(id).is_some_and(|client| client.mail.kept().is_some())
}

/// Acknowledges a message that was acted on. Behind one that waits for other processes it waits too, since a
/// client takes each `next` for its oldest message.
pub(crate) fn next_if_done(server: &mut Server, id: SocketId) {
    shared::note_number(server);
    if !server.clients.contains_key(id) {
        return;
    }
    match kept_mut(server, id).filter(|kept| kept.unconfirmed > 0) {
        Some(kept) => kept.owed_nexts += 1,
        None => server.next(id),
    }
}

/// Other processes have a message of a client, or nobody knows: the client may send its next one.
pub(crate) fn send_owed_nexts(server: &mut Server, id: SocketId) {
    let Some(kept) = kept_mut(server, id) else { return };
    kept.unconfirmed = kept.unconfirmed.saturating_sub(1);
    if kept.unconfirmed == 0 {
        (0..std::mem::take(&mut kept.owed_nexts)).for_each(|_| server.next(id));
    }
}

/// A client goes on elsewhere, or here on another connection: the one of this record ends. Nothing that others know of
/// the client is taken from them.
pub(crate) fn replaced(server: &mut Server, id: SocketId, code: CloseCode) {
    server.push_close(id, &code.body("Resumed on another connection"));
    if let Some(client) = server.clients.get_mut(id) {
        client.mail.stop_keeping();
    }
    server.end(id, Ending::Left);
}

/// Whether a client that may resume sent this message before: then it is only acknowledged.
pub(crate) fn has_seen(server: &mut Server, id: SocketId, message: Message<'_>) -> bool {
    let Some(kept) = kept_mut(server, id) else { return false };
    let Some(cseq) = Packet::parse(message).ok().and_then(|packet| packet.cseq()) else { return false };
    let seen = cseq <= kept.cseq;
    kept.cseq = kept.cseq.max(cseq);
    server.current.number = Some((id, cseq)).filter(|_| !seen && !server.elsewhere.is_alone());
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_wishes() {
        let wish =
            |target: &str| ResumeRequest::of(&Request::parse(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap());
        let uuid = "e7369655-7143-43dd-a710-75937c023233";
        assert_eq!(wish("/web"), None);
        assert_eq!(wish("/web?x=1&seq=3"), None);
        assert_eq!(wish("/web?resume"), Some(ResumeRequest::Begin));
        assert_eq!(wish("/web?a=b&resume="), Some(ResumeRequest::Begin));
        let expected = ResumeRequest::Resume { uuid: Uuid::try_parse(uuid).ok(), seq: 3, at: 9 };
        assert_eq!(wish(&format!("/web?seq=3&at=9&resume={uuid}")), Some(expected));
        assert_eq!(wish("/web?resume=x&seq=-1"), Some(ResumeRequest::Resume { uuid: None, seq: 0, at: 0 }));
        let huge = ResumeRequest::Resume { uuid: None, seq: MAX_NUMBER, at: 0 };
        assert_eq!(wish("/web?resume=x&seq=18446744073709551615&at=18446744073709551616"), Some(huge));
    }
}
