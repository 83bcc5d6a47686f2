//! Clients: known everywhere before they are told `ready`, and until they end.
//!
//! All of it rests on one property of the one connection: what is published before a script runs is in
//! the logs that it reads, and what is published after it comes behind its reply. So a client that gets
//! what the script read, and then what comes, misses nothing and gets nothing twice.

use std::net::IpAddr;
use std::rc::Rc;

use serde_json::json;
use uuid::Uuid;

use super::claims::ask_to_come_again;
use super::commands::flag;
use super::replies::text;
use super::wire::{self, channel};
use super::{Cluster, Pending, RENEWAL_BEATS, Registered, Registration, key_time, path_of};
use crate::elsewhere::{Ending, Target};
use crate::extras::redis::Reply;
use crate::extras::resume::{self, ResumeRequest};
use crate::ids::{AppId, ClientType, SocketId};
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// How clients come, as the loop sees it.
impl Cluster {
    /// Makes an open client known to all processes, or fetches it from another one. `false` where no other process
    /// needs to know: then it is told `ready` at once.
    ///
    /// What waits for others goes first. A new client would else get what was published before it came.
    pub(crate) fn open(&mut self, server: &mut Server, id: SocketId, request: Option<ResumeRequest>) -> bool {
        self.empty_mailbox(server);
        if server.clients[id].client_type == ClientType::Tcp {
            return false;
        }
        // One without a uuid is a new client, and was counted as a wrong guess before its 101.
        let registration = |uuid| Registration { id, uuid, request };
        match (request, self.link.is_up()) {
            (Some(ResumeRequest::Resume { uuid: Some(uuid), .. }), true) => {
                self.look_up(server, registration(uuid));
                true
            }
            // Its process may be there, and what it missed: it comes again while that lasts.
            (Some(ResumeRequest::Resume { uuid: Some(_), .. }), false) => {
                let time = server.limits().resume_time;
                let lasts = self.down.is_none_or(|down| server.now.saturating_duration_since(down) < time);
                if lasts {
                    ask_to_come_again(server, id);
                }
                lasts
            }
            (_, true) => self.register(server, registration(Uuid::new_v4())),
            (_, false) => false,
        }
    }

    /// Clients that may be told `ready` now. Until they were, nothing more is heard.
    pub(crate) fn take_registered(&mut self) -> Vec<Registered> {
        std::mem::take(&mut self.registered)
    }

    /// Prepares a client to be told `ready`: it has its uuid, and what another process left of it. `false` where it is
    /// gone by now: then it leaves nothing behind. One that was fetched may still come back, a new one not.
    pub(crate) fn restore(&mut self, server: &mut Server, registered: Registered) -> bool {
        self.empty_mailbox(server);
        let Registered { id, uuid, claim, .. } = registered;
        match (server.is_open(id), claim) {
            (true, claim) => {
                server.clients[id].uuid = uuid;
                if let Some(claim) = claim {
                    self.take_over(server, id, uuid, claim);
                }
                return true;
            }
            (false, Some(claim)) => self.drop_rooms(claim.subscribed()),
            (false, None) => self.release(server, uuid),
        }
        false
    }
}

impl Cluster {
    /// Has a client found everywhere; `false` where that can't be. It is subscribed to its channels first, so that what
    /// is published behind its registration reaches it.
    fn register(&mut self, server: &mut Server, registration: Registration) -> bool {
        self.subscribe_client(server, registration.id);
        self.send_registration(server, registration.id, registration.uuid, Pending::Register(registration))
    }

    /// Writes what others need to know of a client; `false` where it can't be sent. A client that another process has by
    /// now stays that one's.
    pub(super) fn send_registration(&mut self, server: &Server, id: SocketId, uuid: Uuid, pending: Pending) -> bool {
        let Some(client) = server.clients.get(id) else { return false };
        let (path, ms) = (path_of(server, client.app), key_time(server.limits()));
        let (uuid, client_type) = (uuid.to_string(), client.client_type.to_string());
        let (resumes, is_known) = (flag(client.mail.is_numbered()), flag(client.is_known()));
        let (node, cseq) = (self.node.clone(), client.mail.kept().map_or(0, |kept| kept.cseq).to_string());
        let came = self.came_at(client).unwrap_or_default().0.to_string();
        let arguments = [&*uuid, &node, &client_type, path, client.ident(), resumes, &ms, &cseq, is_known, &came];
        self.run(|scripts| &scripts.register, &arguments, pending).is_ok()
    }

    /// Redis has a new client, at the position that it gave.
    pub(super) fn was_registered(&mut self, server: &mut Server, registration: Registration, reply: &Reply) {
        let position = text(Some(reply)).and_then(|position| position.parse().ok()).unwrap_or_default();
        if let Some(kept) = server.clients.get_mut(registration.id).and_then(|client| client.mail.kept_mut()) {
            kept.position = position;
        }
        self.register_alone(registration);
    }

    /// The client is told `ready`, whether or not others know of it.
    pub(super) fn register_alone(&mut self, Registration { id, uuid, .. }: Registration) {
        self.may_start(Registered { id, uuid, claim: None });
    }

    /// A client may be told `ready`. Messages that still wait came before it.
    pub(super) fn may_start(&mut self, registered: Registered) {
        self.inbox.begins_behind(registered.id);
        self.registered.push(registered);
    }

    /// Redis does not know the client that was asked for: it comes back as a new one. From an address that asks for too
    /// many of these it has to come again later, and Redis has no more work with it.
    pub(super) fn register_unknown(&mut self, server: &mut Server, ip: IpAddr, id: SocketId, uuid: Uuid) {
        if resume::guesses_too_often(server, ip) {
            return server.close_with(id, CloseCode::TRY_AGAIN_LATER, "Too many wrong uuids");
        }
        // Whoever keeps it still, though Redis forgot it, need not wait for it.
        self.publish("telling of a client", "all", &wire::line("lost", json!({"uuid": uuid.to_string()}), ""));
        self.register_anew(server, id);
    }

    /// A client that came back is registered as a new one.
    pub(super) fn register_anew(&mut self, server: &mut Server, id: SocketId) {
        let registration = Registration { id, uuid: Uuid::new_v4(), request: None };
        if server.is_open(id) && !self.register(server, registration) {
            self.register_alone(registration);
        }
    }

    /// A client is found by other processes from here on: its channels are subscribed to. Once for each client, however
    /// often it is made known.
    pub(super) fn subscribe_client(&mut self, server: &Server, id: SocketId) {
        let Some(client) = server.clients.get(id).filter(|_| !self.is_subscribed(id)) else { return };
        let app = client.app.filter(|_| client.client_type == ClientType::Websocket);
        self.subscribed.insert(id, app);
        channels(server, app).into_iter().for_each(|channel| self.subscribe(channel));
    }

    /// Whether other processes find a client.
    pub(super) fn is_subscribed(&self, id: SocketId) -> bool {
        self.subscribed.contains_key(id)
    }

    /// A client has ended; unless another process has it, or it may come back to one, it goes from Redis too.
    pub(super) fn ended(&mut self, server: &Server, id: SocketId, uuid: Uuid, ending: Ending) {
        let Some(app) = self.subscribed.remove(id) else { return };
        channels(server, app).iter().for_each(|channel| self.unsubscribe(channel));
        match ending {
            _ if uuid.is_nil() => {}
            Ending::Released => self.release(server, uuid),
            Ending::Left if server.stopping => self.free(uuid),
            Ending::Left => {}
        }
    }

    /// This process stops, and lets go of a client that may come back to another one.
    fn free(&mut self, uuid: Uuid) {
        let (uuid, node) = (uuid.to_string(), self.node.clone());
        // Where it does not get through, this process is asked in vain.
        let _ = self.run(|scripts| &scripts.free, &[&uuid, &node], Pending::Done("letting go of a client"));
    }

    /// Takes a client of this process out of Redis.
    fn release(&mut self, server: &Server, uuid: Uuid) {
        let (uuid, node, ms) = (uuid.to_string(), self.node.clone(), key_time(server.limits()));
        // Where it does not get through, the key ends with its time.
        let _ = self.run(|scripts| &scripts.release, &[&uuid, &node, &ms], Pending::Done("releasing a client"));
    }

    /// Renews some of the keys of this process, each once in a while: at each beat a share of the clients, so that Redis
    /// is never asked for all of them at once.
    pub(super) fn renew(&mut self, server: &Server) {
        if self.renewals.is_empty() {
            self.renewals = self.subscribed.keys().collect();
            self.renew_rooms(server);
        }
        let some = 1 + server.clients.len() / RENEWAL_BEATS;
        for id in self.renewals.split_off(self.renewals.len().saturating_sub(some)) {
            self.renew_client(server, id);
        }
    }

    /// A client's queue loses what the client is known to have; its keys live on.
    fn renew_client(&mut self, server: &Server, id: SocketId) {
        let Some(client) = server.clients.get(id).filter(|client| self.is_subscribed(id) && !client.uuid.is_nil()) else {
            return;
        };
        let (uuid, ms) = (client.uuid, key_time(server.limits()));
        if let Some(kept) = client.mail.kept() {
            let (queue, from) = (self.key(&format!("queue:{uuid}")), (kept.acked_up_to() + 1).to_string());
            self.command("trimming a queue", &[b"XTRIM", queue.as_bytes(), b"MINID", from.as_bytes()]);
            self.command("renewing a queue", &[b"PEXPIRE", queue.as_bytes(), ms.as_bytes()]);
        }
        self.send_registration(server, id, uuid, Pending::Done("renewing a client"));
    }
}

/// The channels that a browser of a resource needs, whatever rooms it is in; backends need none.
fn channels(server: &Server, app: Option<AppId>) -> Vec<Rc<str>> {
    match app.and_then(|app| server.counters.path(app)) {
        Some(path) => [Target::All, Target::Path(path.as_ref().into())].iter().map(channel).collect(),
        None => Vec::new(),
    }
}
