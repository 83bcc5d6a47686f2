//! What the document does not have, one folder each. The port knows them by the moments at which it
//! calls them (`web_socket_server/moments.rs`) and by nothing else.

use crate::error::StartError;
use crate::ids::SocketId;
use crate::program::systemd::Systemd;
use crate::rfc6455::{Refusal, Request};
use crate::web_socket_server::WebSocketServer;
use cluster::Cluster;
use http::Http;
use http::tokens::Tokens;
use notices::{Notices, Receiver};
use publishing::Receipts;
use rooms::Rooms;
use sessions::Sessions;

pub mod browser_opcodes;
pub(crate) mod cluster;
pub mod http;
pub(crate) mod metrics;
pub mod notices;
pub(crate) mod proxy;
pub(crate) mod publishing;
pub(crate) mod redis;
pub(crate) mod resume;
pub(crate) mod rooms;
pub mod sessions;

/// The parts that belong to the loop.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) sessions: Option<Sessions>,
    pub(crate) http: Http,
    pub(crate) cluster: Option<Box<Cluster>>,
    pub(crate) systemd: Systemd,
}

impl Parts {
    /// Browsers come with a PHP session, where the server asks for one.
    pub(crate) fn check_session(&self, id: SocketId, request: &Request) -> Result<(), Refusal> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        sessions.check(request).map_err(|reason| {
            log::info!("{id}, Client handshake status: unauthorized, {reason}");
            Refusal::forbidden("No live session")
        })
    }
}

/// The parts that applications reach through the [`Server`](crate::Server), which is why it owns them.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) rooms: Rooms,
    pub(crate) receipts: Receipts,
    pub(crate) notices: Option<Box<Notices>>,
}

/// How a program switches the parts on, before the start.
impl WebSocketServer {
    /// Admits browsers only with a PHP session; backends are admitted by their host as before.
    pub fn require_session(&mut self, sessions: Option<Sessions>) {
        self.parts.sessions = sessions;
    }

    /// Tells a PHP page which clients come and go, if there is such a page.
    pub fn send_notices(&mut self, receiver: Option<Receiver>) -> Result<(), StartError> {
        self.server.extras.notices = receiver.map(Notices::start).transpose()?.map(Box::new);
        Ok(())
    }

    /// Lets those who have one of these tokens publish over HTTP, beside allowed hosts.
    pub fn publish_tokens(&mut self, tokens: Tokens) {
        self.parts.http.admission.tokens = tokens;
    }

    /// Acts with other processes as one server, through Redis or Valkey at an address like
    /// `redis://127.0.0.1`; `prefix` begins the name of everything there.
    pub fn join_backplane(&mut self, url: &str, prefix: &str) -> Result<(), StartError> {
        self.parts.cluster = Some(Box::new(Cluster::new(url, prefix, &mut self.server)?));
        Ok(())
    }

    /// Tells systemd when the server is ready, reloads, stops, and that it lives.
    pub fn notify(&mut self, systemd: Systemd) {
        self.parts.systemd = systemd;
    }
}
