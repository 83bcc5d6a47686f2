//! Clients that go on in another process: their process lets go of them first.
//!
//! A process that is connected may know something of a client that Redis does not: what it was sent while Redis was away,
//! or that it is here again. So it is asked. It gives Redis what the client has not seen, and answers; the claim
//! then finds it. One that does not answer is not waited for.
//!
//! ```text
//!   claim ──▶ `wait`, and a yield ──▶ what only it knows ──▶ yielded ──▶ claim
//! ```

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::claims::Fetch;
use super::delivery::find;
use super::{Cluster, wire};
use crate::client::Client;
use crate::elsewhere::{Message, Target};
use crate::extras::resume;
use crate::ids::SocketId;
use crate::mail::numbered::Text;
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// How long another process is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Claims that wait for the process that has the client.
#[derive(Default)]
pub(super) struct Yields(Vec<(Instant, Fetch)>);

impl Yields {
    /// When a claim is waited for no longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|(until, _)| *until).min()
    }
}

/// A process wants to have a client.
pub(super) struct Wanted {
    pub(super) uuid: String,
    /// The position at which the client came there, and the number up to which it had seen its messages.
    pub(super) at: u64,
    pub(super) seq: u64,
    /// The process, if it waits for an answer.
    pub(super) node: Option<String>,
}

/// Here it is wanted.
impl Cluster {
    /// The process that has the client was asked.
    pub(super) fn await_yield(&mut self, now: Instant, fetch: Fetch) {
        self.yields.0.push((now + PATIENCE, fetch));
    }

    /// That process has answered: the client is free, or is there still.
    pub(super) fn yielded(&mut self, server: &mut Server, uuid: &str, free: bool) {
        let uuid = Uuid::try_parse(uuid).unwrap_or_default();
        while let Some(place) = self.yields.0.iter().position(|(_, fetch)| fetch.uuid() == uuid) {
            let (_, fetch) = self.yields.0.swap_remove(place);
            if free {
                self.fetch_yielded(server, fetch);
            } else {
                self.give_up(server, &fetch);
            }
        }
    }

    /// Goes on without an answer.
    pub(super) fn expire_yields(&mut self, server: &mut Server) {
        if self.yields.deadline().is_none_or(|until| until > server.now) {
            return;
        }
        let (late, waiting) = std::mem::take(&mut self.yields.0).into_iter().partition(|(until, _)| *until <= server.now);
        self.yields.0 = waiting;
        let late: Vec<(Instant, Fetch)> = late;
        late.into_iter().for_each(|(_, fetch)| self.fetch_yielded(server, fetch));
    }

    /// The connection is lost, and no answer comes.
    pub(super) fn give_up_yields(&mut self, server: &mut Server) {
        for (_, fetch) in std::mem::take(&mut self.yields.0) {
            self.give_up(server, &fetch);
        }
    }
}

/// Here it is.
impl Cluster {
    /// Lets go of a client for another process, unless that one's claim is older than the connection here. What it has
    /// not seen and only this process knows goes to it there.
    pub(super) fn yield_client(&mut self, server: &mut Server, wanted: &Wanted) {
        let id = find(server, &wanted.uuid);
        let stays = id.is_some_and(|id| self.is_newer_here(server, id, wanted.at));
        if let Some(id) = id.filter(|_| !stays || wanted.node.is_none()) {
            log::info!("Client of socket #{id} goes on in another process");
            self.hand_over(server, id, wanted.seq);
            let code = if stays { CloseCode::TRY_AGAIN_LATER } else { CloseCode::RESUMED_ELSEWHERE };
            resume::replaced(server, id, code);
        }
        if let Some(node) = &wanted.node {
            let line = wire::line("yielded", json!({"uuid": wanted.uuid, "free": !stays}), "");
            self.publish("letting go of a client", &format!("to:{node}"), &line);
        }
    }

    /// Whether a client has a connection that may have come after that position. If that is wrong it comes back there.
    fn is_newer_here(&self, server: &Server, id: SocketId, at: u64) -> bool {
        let client = &server.clients[id];
        let came = client.mail.kept().and_then(|kept| self.clock.latest(kept.connected_at?));
        client.is_connected() && came.is_some_and(|came| came > at)
    }

    /// Gives others what only this process has for a client, but for what it has seen.
    fn hand_over(&mut self, server: &mut Server, id: SocketId, seq: u64) {
        resume::settle(server, id);
        let Some(client) = server.clients.get_mut(id) else { return };
        let (uuid, kept) = (client.uuid.to_string(), client.mail.kept_mut());
        let Some(kept) = kept else { return };
        kept.acknowledge(seq);
        let own = kept.items.iter().filter(|item| item.own);
        let own: Vec<(Text, Option<String>)> =
            own.map(|item| (item.text.clone(), item.frame.as_ref().map(|frame| frame.key.to_string()))).collect();
        for (text, key) in own {
            let to = Target::One { uuid: uuid.as_str().into(), ident: "".into() };
            self.give(server, Message { to, text: text.as_str().to_owned(), sender: None, key, ask: None, author: None });
        }
    }

    /// The position at which the connection of a client came: the earliest and the latest that it may be.
    pub(super) fn came_at(&self, client: &Client) -> Option<(u64, u64)> {
        let at = client.mail.kept()?.connected_at?;
        Some((self.clock.earliest(at)?, self.clock.latest(at)?))
    }
}

/// A client that came back found that Redis had forgotten it, and is a new one: the record of the old one is of no use.
pub(super) fn lost(server: &mut Server, uuid: &str) {
    if let Some(id) = find(server, uuid).filter(|id| server.clients[*id].is_away()) {
        log::info!("Client of socket #{id} has come back as a new one");
        server.clients[id].mail.stop_keeping();
        server.begin_close(id);
    }
}
