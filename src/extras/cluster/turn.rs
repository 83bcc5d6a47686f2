//! The cluster in the loop: as a client is opened, and before anything is written.
//!
//! A part of the loop. It lends the server to the cluster, and does for clients from the cluster what needs sockets and
//! applications: they are told `ready`, and what they have sent meanwhile is read.

use super::Registered;
use crate::extras::resume;
use crate::ids::SocketId;
use crate::rfc6455::CloseCode;
use crate::web_socket_server::{OTHERS, WebSocketServer};

impl WebSocketServer {
    /// Lets the other processes know of an open client, or fetches it from one of them. `false` where it need not
    /// wait for that.
    pub(crate) fn register_elsewhere(&mut self, id: SocketId) -> bool {
        let Some(cluster) = &mut self.parts.cluster else { return false };
        let request = self.server.clients[id].mail.kept_mut().and_then(|kept| kept.request.take()).map(|request| *request);
        cluster.open(&mut self.server, id, request)
    }

    /// Gives the other processes what is for them, and acts on what came from them. Says whether anything came: then
    /// there may be something to be written.
    pub(crate) fn exchange_with_others(&mut self) -> bool {
        let mut heard = false;
        if let Some(cluster) = &mut self.parts.cluster {
            cluster.drive(&mut self.server, self.poll.registry(), OTHERS);
        }
        loop {
            heard |= self.parts.cluster.as_mut().is_some_and(|cluster| cluster.hear(&mut self.server));
            if !self.start_registered() {
                return heard;
            }
            heard = true;
        }
    }

    /// Tells clients `ready` that the other processes know by now, and goes on with what they sent meanwhile. Says
    /// whether there was one.
    fn start_registered(&mut self) -> bool {
        let registered = self.parts.cluster.as_mut().map(|cluster| cluster.take_registered()).unwrap_or_default();
        let any = !registered.is_empty();
        for registered in registered {
            let Registered { id, uuid, .. } = registered;
            if !self.parts.cluster.as_mut().is_some_and(|cluster| cluster.restore(&mut self.server, registered)) {
                continue;
            }
            // It may have come twice while the others were asked: the last one wins.
            if let Some(other) = self.server.clients.by_uuid(uuid) {
                log::info!("Client of socket #{other} comes back on #{id}, its old connection is closed");
                resume::replaced(&mut self.server, other, CloseCode::RESUMED_ELSEWHERE);
            }
            self.tell_to_start(id, uuid);
            self.wake(id);
        }
        any
    }
}
