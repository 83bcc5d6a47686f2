//! From the handshake to the end: what happens to the record of a client.
//!
//! The states stand above [`State`]. PHP counterpart: `specificChecks`, the end of `Handshake`, and
//! `Close`, which has three steps here: `begin_close` counts the client out, `finish_close` calls its application,
//! `drop_socket` closes. The last two are the loop's.

use uuid::Uuid;

use super::Server;
use crate::bounds::Bound;
use crate::client::{Client, State};
use crate::elsewhere::{Ending, Envelope};
use crate::ids::{AppId, ClientType, SocketId};
use crate::mail::Form;
use crate::rate::Rate;
use crate::rfc6455::{CloseCode, Reason, Request};

/// Why `specific_checks` refuses a client.
pub(crate) struct Dismissal {
    pub(crate) error: Option<String>,
    pub(crate) code: CloseCode,
}

impl Server {
    /// Takes over what the handshake found out; the client is past it from here on.
    pub(crate) fn open(&mut self, id: SocketId, client_type: ClientType, app: Option<AppId>, dialog: bool, form: Form) {
        self.clients.enter(id, State::Waiting);
        let client = &mut self.clients[id];
        client.opened = Some(self.now);
        client.client_type = client_type;
        client.app = app;
        client.dialog = dialog;
        client.mail.form = form;
        let (messages, bytes) = (self.limits.max_message_rate, self.limits.max_byte_rate);
        let limited = client_type == ClientType::Websocket && (messages > 0 || bytes > 0);
        client.may_rest = limited;
        client.rate = limited.then(|| Box::new(Rate::new(messages, bytes, self.now)));
        self.counters.opened(client_type);
    }

    /// Keeps the request and what its headers say of the client.
    pub(crate) fn remember_request(&mut self, id: SocketId, request: Request) {
        let client = &mut self.clients[id];
        client.set_ident(request.header("ident").filter(|_| client.from_ours).unwrap_or_default());
        client.request = Some(Box::new(request));
    }

    /// What is checked once the handshake is right, in PHP's order. Origin and `allowedIP`, which PHP checks here too, are
    /// in `check_origin`.
    #[doc(alias = "specificChecks")]
    pub(crate) fn specific_checks(&mut self, id: SocketId) -> Result<(), Dismissal> {
        let client = &self.clients[id];
        if client.app.is_none() {
            self.counters.refused(Reason::Resource);
            log::info!("Application incomplete or does not exist; Telling Client to disconnect on #{id}");
            return Err(Dismissal { error: None, code: CloseCode::POLICY_VIOLATION });
        }
        if self.limits.max_clients > 0 && self.clients.count_open() > self.limits.max_clients {
            self.counters.refused(Reason::MaxClients);
            log::info!("{id}, Too many connections");
            return Err(Dismissal { error: Some("Too many connections".into()), code: CloseCode::TRY_AGAIN_LATER });
        }
        let counts = client.client_type == ClientType::Websocket && !client.exempt;
        let (ip, limited) = (client.ip, self.limits.max_per_ip > 0 && counts);
        if limited && !self.clients.count_ip(id, self.limits.max_per_ip) {
            let error = format!("To many connections from:  {ip}");
            self.counters.refused(Reason::MaxPerIp);
            log::info!("{id}, {error}");
            return Err(Dismissal { error: Some(error), code: CloseCode::POLICY_VIOLATION });
        }
        Ok(())
    }

    /// Tells the client to start, under this uuid.
    #[doc(alias = "guidv4")]
    pub(crate) fn ready(&mut self, id: SocketId, uuid: Uuid) {
        log::info!("Telling Client to start on #{id}");
        self.clients.index(id, uuid);
        self.push_ready(id);
    }

    pub(crate) fn push_ready(&mut self, id: SocketId) {
        let client = &self.clients[id];
        let members = client.mail.kept().map_or(String::new(), |kept| kept.ready_members(&self.limits));
        let ready = format!(r#"{{"opcode":"ready","uuid":"{}"{members}}}"#, client.uuid);
        self.push_first(id, &ready);
    }

    /// Nothing is queued for this client any more; before it sleeps the loop finishes what this begins. A
    /// client that may come back only loses its connection.
    #[doc(alias = "Close")]
    pub(crate) fn begin_close(&mut self, id: SocketId) {
        if self.may_stay(id) {
            return self.mark_away(id);
        }
        if self.could_stay(id) {
            self.acted(Bound::Away, 1);
        }
        // One that may come back to another process is left for that.
        let leaves = self.stopping && self.clients.get(id).is_some_and(|client| client.mail.kept().is_some());
        self.end(id, if leaves { Ending::Left } else { Ending::Released });
    }

    /// The same for a client that does not stay, with what becomes of it elsewhere.
    pub(crate) fn end(&mut self, id: SocketId, ending: Ending) {
        let Some(client) = self.clients.get(id).filter(|client| client.is_open() || client.state == State::Handshake) else {
            return;
        };
        if client.is_open() {
            self.elsewhere.post(Envelope::Ended { id, uuid: client.uuid, ending });
        }
        self.extras.forget(id, &mut self.elsewhere);
        self.clients.forget(id);
        self.clients.enter(id, State::Closing);
        let client = &mut self.clients[id];
        client.mail.stop_keeping();
        client.buffer = None;
        self.closing.push(id);
    }

    /// Whether a client stays as its connection ends: if it may come back, and there is a place left.
    pub(crate) fn may_stay(&self, id: SocketId) -> bool {
        let place_left = self.limits.max_away == 0 || self.clients.count_away() < self.limits.max_away;
        self.could_stay(id) && (place_left || self.clients[id].is_away())
    }

    fn could_stay(&self, id: SocketId) -> bool {
        !self.stopping && self.clients.get(id).is_some_and(Client::may_come_back)
    }

    /// Marks a client as away; before it sleeps the loop takes its connection.
    fn mark_away(&mut self, id: SocketId) {
        if self.clients[id].is_away() {
            return;
        }
        self.clients.enter(id, State::Away);
        let client = &mut self.clients[id];
        client.buffer = None;
        if let Some(kept) = client.mail.kept_mut() {
            kept.away_since = Some(self.now);
            let lost = kept.trim(self.limits.kept_bytes());
            self.acted(Bound::Kept, lost);
        }
        self.extras.went_away(id, &self.clients[id]);
        self.closing.push(id);
    }
}
