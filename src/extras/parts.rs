//! The parts that belong to the loop, and what the smallest of them do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::http::Http;
use super::sessions::Sessions;
use crate::ids::SocketId;
use crate::program::systemd::Systemd;
use crate::rfc6455::{Reason, Refusal, Request};

/// The parts that belong to the loop.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) sessions: Option<Sessions>,
    pub(crate) http: Http,
    pub(crate) cluster: Option<Box<Cluster>>,
    pub(crate) systemd: Systemd,
}

impl Parts {
    /// The server takes clients, from the start or after its files were read again.
    pub(crate) fn ready(&self, local: SocketAddr) {
        self.systemd.ready(local);
    }

    /// Files are about to be read again.
    pub(crate) fn reloading(&self) {
        self.systemd.reloading();
    }

    /// Reads files again.
    pub(crate) fn reload(&mut self) {
        self.http.reload();
    }

    /// The server stops, which takes no longer than that.
    pub(crate) fn stopping(&self, longest: Duration) {
        self.systemd.stopping(longest);
    }

    /// Says that the server lives; when it wants to say so again.
    pub(crate) fn alive(&self) -> Option<Duration> {
        self.systemd.alive()
    }

    /// The connection of a client is over.
    pub(crate) fn ended(&mut self, id: SocketId) {
        self.http.ended(id);
    }

    /// When a part wants to act without an event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.cluster.as_ref().and_then(|cluster| cluster.deadline())
    }

    /// The poll told of the connection to other processes.
    pub(crate) fn others_ready(&mut self) {
        self.cluster.iter_mut().for_each(|cluster| cluster.ready());
    }

    /// Browsers come with a PHP session, where the server asks for one.
    pub(crate) fn check_session(&self, id: SocketId, request: &Request) -> Result<(), Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        sessions.check(request).map_err(|reason| {
            log::info!("{id}, Client handshake status: unauthorized, {reason}");
            Refusal::forbidden(Reason::Session, "No live session")
        })
    }
}
