//! Clients: known everywhere before they are told `ready`, and taken over from another process.
//!
//! All of it rests on one property of the one connection: what is published before a script runs is in
//! the logs that it reads, and what is published after it comes behind its reply. So a client that gets
//! what the script read, and then what comes, misses nothing and gets nothing twice.

use uuid::Uuid;

use super::claims::Claim;
use super::delivery::channels;
use super::target::Target;
use super::{MARGIN, Pending, text};
use crate::extras::redis::Reply;
use crate::extras::resume::ResumeRequest;
use crate::ids::{ClientType, SocketId};
use crate::limits::Limits;
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// A client that waits for its `ready`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduction {
    pub(super) id: SocketId,
    pub(super) uuid: Uuid,
    pub(super) wish: Option<ResumeRequest>,
}

/// One that may be told `ready` now.
pub(crate) struct Introduced {
    pub(crate) id: SocketId,
    pub(crate) uuid: Uuid,
    pub(crate) claim: Option<Claim>,
    /// Whether it wanted to be a client that nobody knows.
    pub(crate) guessed: bool,
}

impl Server {
    /// Makes an open client known to all processes, or fetches it from another one. `false` where nobody
    /// needs to know: then it is told `ready` at once.
    pub(crate) fn introduce_elsewhere(&mut self, id: SocketId) -> bool {
        let wish = self.clients[id].mail.kept_mut().and_then(|kept| kept.request.take()).map(|request| *request);
        let Some(backplane) = &mut self.backplane else { return false };
        if self.clients[id].client_type == ClientType::Tcp {
            return false;
        }
        let introduction = |uuid| Introduction { id, uuid, wish };
        match (wish, backplane.is_up()) {
            (Some(ResumeRequest::Resume { uuid: Some(uuid), .. }), true) => {
                let key = backplane.key(&format!("client:{uuid}"));
                if let Ok(tag) = backplane.link.send(&[b"HGET", key.as_bytes(), b"rooms"]) {
                    backplane.pending.insert(tag, Pending::RoomsOf(introduction(uuid)));
                    return true;
                }
                self.come_again(id);
                true
            }
            // Its process may be there, and what it missed: it comes again while that lasts.
            (Some(ResumeRequest::Resume { uuid: Some(_), .. }), false) => {
                let lasts =
                    backplane.down.is_none_or(|down| self.now.saturating_duration_since(down) < self.limits().resume_time);
                if lasts {
                    self.come_again(id);
                }
                lasts
            }
            (_, true) => self.register(introduction(Uuid::new_v4())),
            (_, false) => false,
        }
    }

    /// Has a client found everywhere; `false` where that can't be.
    fn register(&mut self, introduction: Introduction) -> bool {
        self.share(introduction.id);
        self.send_registration(introduction.id, introduction.uuid, Pending::Register(introduction))
    }

    pub(super) fn send_registration(&mut self, id: SocketId, uuid: Uuid, pending: Pending) -> bool {
        let ms = self.key_time();
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(id)) else { return false };
        let path = client.app.and_then(|app| self.counters.path(app)).map(|path| path.to_string()).unwrap_or_default();
        let (uuid, node, resumes) =
            (uuid.to_string(), backplane.node.clone(), if client.mail.kept().is_some() { "1" } else { "0" });
        let arguments = [&*uuid, &node, &client.client_type.to_string(), &path, client.ident(), resumes, &ms];
        backplane.run(|scripts| &scripts.register, &arguments, pending).is_ok()
    }

    pub(super) fn registered(&mut self, introduction: Introduction, reply: &Reply) {
        let place = text(Some(reply)).and_then(|place| place.parse().ok()).unwrap_or_default();
        if let Some(kept) = self.clients.get_mut(introduction.id).and_then(|client| client.mail.kept_mut()) {
            kept.position = place;
        }
        self.introduce_alone(introduction);
    }

    /// The client is told `ready`, whoever else knows of it.
    pub(super) fn introduce_alone(&mut self, Introduction { id, uuid, wish }: Introduction) {
        let guessed = matches!(wish, Some(ResumeRequest::Resume { .. }));
        if let Some(backplane) = &mut self.backplane {
            backplane.introduced.push(Introduced { id, uuid, claim: None, guessed });
        }
    }

    /// Clients that may be told `ready` now.
    pub(crate) fn take_introduced(&mut self) -> Vec<Introduced> {
        self.backplane.as_mut().map(|backplane| std::mem::take(&mut backplane.introduced)).unwrap_or_default()
    }

    /// Another process has this client.
    pub(super) fn yield_client(&mut self, uuid: &str) {
        if let Some(id) = Uuid::try_parse(uuid).ok().and_then(|uuid| self.clients.by_uuid(uuid)) {
            log::info!("Client of socket #{id} goes on in another process");
            self.replaced(id);
        }
    }

    /// A client goes on elsewhere: the one here ends, and takes nothing of it out of Redis.
    pub(crate) fn replaced(&mut self, id: SocketId) {
        self.unsubscribe_client(id, false);
        self.push_close(id, &CloseCode::RESUMED_ELSEWHERE.body("Resumed on another connection"));
        if let Some(client) = self.clients.get_mut(id) {
            client.mail.stop_keeping();
        }
        self.begin_close(id);
    }

    /// A client is found by other processes from here on: its channels are subscribed to.
    pub(super) fn share(&mut self, id: SocketId) {
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(id)) else { return };
        if backplane.subscribed.insert(id, ()).is_some() {
            return;
        }
        let path = client.app.and_then(|app| self.counters.path(app));
        channels(client.client_type, path.map(|path| &**path)).into_iter().for_each(|channel| backplane.subscribe(channel));
    }

    /// A client is gone; unless another process has it, or it may come back to one, from Redis too.
    pub(crate) fn unsubscribe_client(&mut self, id: SocketId, release: bool) {
        let (Some(backplane), Some(client)) = (&mut self.backplane, self.clients.get(id)) else { return };
        if backplane.subscribed.remove(id).is_none() {
            return;
        }
        let path = client.app.and_then(|app| self.counters.path(app));
        for channel in channels(client.client_type, path.map(|path| &**path)) {
            backplane.unsubscribe(&channel);
        }
        let uuid = client.uuid;
        if release && !uuid.is_nil() {
            self.release_client(uuid);
        }
    }

    /// Takes a client of this process out of Redis.
    pub(crate) fn release_client(&mut self, uuid: Uuid) {
        let Some(backplane) = &mut self.backplane else { return };
        let (uuid, node) = (uuid.to_string(), backplane.node.clone());
        // Where it does not get through, the key ends with its time.
        let _ = backplane.run(|scripts| &scripts.release, &[&uuid, &node], Pending::Done("releasing a client"));
    }

    pub(super) fn is_subscribed(&self, id: SocketId) -> bool {
        self.backplane.as_ref().is_some_and(|backplane| backplane.subscribed.contains_key(id))
    }

    pub(super) fn share_room(&mut self, room: &str) {
        if let Some(backplane) = &mut self.backplane {
            backplane.subscribe(Target::Room(room.into()).channel());
        }
    }

    pub(crate) fn unshare_room(&mut self, room: &str) {
        if let Some(backplane) = &mut self.backplane {
            backplane.unsubscribe(&Target::Room(room.into()).channel());
        }
    }

    /// Renews some of the keys of this process, each once in a while.
    pub(super) fn renew(&mut self) {
        let Some(backplane) = &mut self.backplane else { return };
        if backplane.renewals.is_empty() {
            backplane.renewals = backplane.subscribed.keys().collect();
            self.renew_rooms();
        }
        let some = 1 + self.clients.len() / super::RENEWAL_BEATS;
        for _ in 0..some {
            let Some(id) = self.backplane.as_mut().and_then(|backplane| backplane.renewals.pop()) else { return };
            self.renew_client(id);
        }
    }

    fn renew_client(&mut self, id: SocketId) {
        let Some(client) = self.clients.get(id).filter(|client| self.is_subscribed(id) && !client.uuid.is_nil()) else { return };
        let uuid = client.uuid;
        let ms = self.key_time();
        if let (Some(backplane), Some(kept)) = (&mut self.backplane, client.mail.kept()) {
            let (queue, from) = (backplane.key(&format!("queue:{uuid}")), (kept.acked_up_to() + 1).to_string());
            backplane.command("trimming a queue", &[b"XTRIM", queue.as_bytes(), b"MINID", from.as_bytes()]);
            backplane.command("renewing a queue", &[b"PEXPIRE", queue.as_bytes(), ms.as_bytes()]);
        }
        self.send_registration(id, uuid, Pending::Done("renewing a client"));
    }

    /// How long keys live without being renewed.
    pub(super) fn key_time(&self) -> String {
        let Limits { resume_time, ping_interval, .. } = self.limits();
        resume_time.saturating_add(ping_interval.saturating_mul(2)).saturating_add(MARGIN).as_millis().to_string()
    }
}
