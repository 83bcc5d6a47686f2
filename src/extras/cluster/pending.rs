//! Replies that are still to come, and what is done with each.

use std::net::IpAddr;
use std::time::Instant;

use super::claims::Fetch;
use super::inspection::Inspection;
use super::under_way::Given;
use super::{Cluster, Registration, descriptions, idempotency};
use crate::extras::redis::Reply;
use crate::extras::resume;
use crate::extras::rooms::everywhere;
use crate::ids::SocketId;
use crate::printable::Printable;
use crate::server::Server;

/// What a reply belongs to.
pub(super) enum Pending {
    /// Only an error is of interest; what was done.
    Done(&'static str),
    /// A message went to many.
    Cast(Given),
    /// It went to one.
    Tell(Given),
    /// A new client is told `ready` when it is known everywhere.
    Register(Registration),
    /// A client comes back, from this address: whether it is known, and then what it missed.
    LookUp(IpAddr, Registration),
    Claim(Fetch),
    /// Members of a room in all processes, and the number of the question.
    Room(Box<str>, Option<u64>),
    /// The processes that live.
    Beat,
    /// What time it is; when that was asked.
    Time(Instant),
    /// What is known of a client that somebody asks about, and whether its process was reached.
    Describe(u64),
    /// The author of a message may send the next one.
    Acted(SocketId),
    /// Who has the key of a request, which has claimed it with that text.
    HasKey {
        number: u64,
        own: String,
    },
    /// What Redis permits, and who else is there.
    Inspection(Inspection),
}

impl Cluster {
    /// A reply came.
    pub(super) fn replied(&mut self, server: &mut Server, tag: u64, reply: Reply) {
        let Some(pending) = self.pending.remove(&tag) else { return };
        if let Pending::Inspection(what) = pending {
            return self.inspected(server.now, what, &reply);
        }
        if let Reply::Error(error) = reply {
            return self.without_reply(server, pending, Some(&error));
        }
        match pending {
            Pending::Done(_) | Pending::Inspection(_) => {}
            Pending::Cast(given) => self.was_cast(server, given, &reply),
            Pending::Tell(given) => self.was_told(server, given, &reply),
            Pending::Register(registration) => self.was_registered(server, registration, &reply),
            Pending::LookUp(ip, registration) => self.looked_up(server, ip, registration, &reply),
            Pending::Claim(fetch) => self.fetched(server, fetch, &reply),
            Pending::Room(room, ask) => self.members_counted(server, &room, ask, &reply),
            Pending::Beat => self.nodes_live(server, &reply),
            Pending::Time(asked) => self.time_is(asked, server.now, &reply),
            Pending::Describe(ask) => descriptions::describing(server, ask, &reply),
            Pending::Acted(id) => resume::send_owed_nexts(server, id),
            Pending::HasKey { number, own } => self.key_held(server, number, &own, &reply),
        }
    }

    /// A command failed, or nobody knows whether it was carried out.
    pub(super) fn without_reply(&mut self, server: &mut Server, pending: Pending, error: Option<&str>) {
        if let Some(error) = error {
            self.refused(server.now, error);
        }
        match pending {
            Pending::Cast(given) | Pending::Tell(given) => self.undelivered(server, given),
            Pending::Register(registration) => self.register_alone(registration),
            Pending::LookUp(ip, registration) => self.not_looked_up(server, ip, registration),
            Pending::Claim(fetch) => self.not_fetched(server, &fetch),
            Pending::Room(room, ask) => everywhere::not_counted(server, &room, ask),
            Pending::Acted(id) => resume::send_owed_nexts(server, id),
            Pending::Describe(ask) => server.extras.receipts.asks.unknown(ask),
            Pending::HasKey { number, .. } => idempotency::key_unknown(server, number),
            Pending::Done(what) => error.into_iter().for_each(|error| log::debug!("Backplane: {what}: {}", Printable(error))),
            Pending::Beat | Pending::Time(_) | Pending::Inspection(_) => {}
        }
    }

    /// Redis answers with an error: it is full, or was told to forget the scripts. Said once, until it is well.
    pub(super) fn refused(&mut self, now: Instant, error: &str) {
        if error.starts_with("NOSCRIPT") {
            self.load_scripts();
        }
        // All that is forbidden is found out and said at once.
        if !self.findings.lacks_rights() && (error.contains("NOPERM") || error.contains("ACL failure")) {
            self.try_rights();
        }
        if self.down.is_none() {
            self.down = Some(now);
            log::error!(target: "phpws", "Backplane refuses, other processes are not reached: {}", Printable(error));
        }
    }

    /// Redis does what it is asked; if it did not before, everything is written anew.
    pub(super) fn well(&mut self, server: &mut Server) {
        if !self.findings.lacks_rights() && self.down.take().is_some() {
            log::info!(target: "phpws", "Backplane works again");
            self.resync_clients(server);
            self.resync_rooms(server);
        }
    }
}
