//! How a program turns the optional parts on, before the start.

use std::io;

use super::cluster::Cluster;
use super::http::tokens::Tokens;
use super::notices::{Notices, Receiver};
use super::sessions::Sessions;
use crate::error::StartError;
use crate::limits::Limits;
use crate::program::systemd::Systemd;
use crate::web_socket_server::WebSocketServer;

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

    /// A server that nobody can connect to, for a program that only checks its settings.
    #[doc(hidden)]
    pub fn unbound(limits: Limits) -> Result<WebSocketServer, StartError> {
        WebSocketServer::without_listener(limits)
    }

    /// Finds out whether [`start`](WebSocketServer::start) would refuse what was set and registered.
    #[doc(hidden)]
    pub fn check(&self) -> io::Result<()> {
        self.before_start()
    }
}
