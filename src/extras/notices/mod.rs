//! Clients that came, clients that left: notices to a plain PHP page by HTTP POST.
//!
//! This is the loop's half. It numbers what happens and puts it on a queue with an end; a thread of
//! its own (`sender.rs`) does everything that may take time: names, TLS, a slow page. What finds the
//! queue full is dropped and counted. Once all that waited is delivered, a list of all clients follows.
//! The loop calls `came` and `left` and knows nothing else. The PHP original has no counterpart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::client::Client;
use crate::deadlines::{Deadline, after};
use crate::ids::SocketId;
use crate::server::Server;
pub(crate) use queue::Notices;
use queue::{Job, Present};
pub use queue::{Receiver, Secret};

pub(crate) mod queue;
mod sender;

/// How often it is looked, after some were dropped, whether the list can go out.
const RESYNC_PAUSE: Duration = Duration::from_millis(200);

/// The server ends: what is left gets a bounded time.
pub(crate) fn finish(server: &mut Server) {
    if let Some(notices) = server.extras.notices.take() {
        notices.finish();
    }
}

/// A client of the dialog was told `ready`.
pub(crate) fn came(server: &mut Server, id: SocketId) {
    notice(server, id, |_| None);
}

/// A client's connection is over; those that no application was given are not told of.
pub(crate) fn left(server: &mut Server, id: SocketId) {
    notice(server, id, |client| Some(client.final_code()));
}

fn notice(server: &mut Server, id: SocketId, code: impl FnOnce(&Client) -> Option<u16>) {
    let (Some(notices), Some(client)) = (&mut server.extras.notices, server.clients.get(id)) else { return };
    let Some(path) = client.app.and_then(|app| server.counters.path(app)).filter(|_| client.dialog) else { return };
    if notices.notice(code(client), Present::of(id, client, path)) {
        server.deadlines.set(after(server.now, RESYNC_PAUSE), Deadline::Listing);
    }
}

/// After a gap: once everything that waited is delivered, the list of all clients follows.
pub(crate) fn resync(server: &mut Server) {
    let Some(notices) = &mut server.extras.notices else { return };
    let delivered = notices.counters.waiting.load(Ordering::Relaxed) == 0;
    let clients = server.clients.iter().filter(|(_, client)| delivered && client.is_known());
    let listed = clients.filter_map(|(id, client)| Some(Present::of(id, client, server.counters.path(client.app?)?))).collect();
    if delivered && notices.put(Job::Listing(notices.seq, listed)) {
        notices.gap = false;
    } else {
        server.deadlines.set(after(server.now, RESYNC_PAUSE), Deadline::Listing);
    }
}
