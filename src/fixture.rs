//! Servers with clients and no sockets, for unit tests.

use std::net::Ipv4Addr;
use std::time::Instant;

use uuid::Uuid;

use crate::client::{Client, State};
use crate::elsewhere::Others;
use crate::extras::resume::{Kept, ResumeOutcome};
use crate::ids::{ClientType, SocketId};
use crate::limits::Limits;
use crate::mail::Form;
use crate::server::Server;

/// A server with a browser in each of these forms; what it told them is gone.
pub(crate) fn server<const N: usize>(others: Others, forms: [Form; N]) -> (Server, [SocketId; N]) {
    let mut server = Server::new(Limits::default(), Instant::now());
    server.elsewhere.others = others;
    let ids = forms.map(|form| {
        let id = browser(&mut server, form);
        server.ready(id, Uuid::new_v4());
        server.clients.enter(id, State::Open);
        server.clients[id].mail.outbox.discard_unsent();
        id
    });
    (server, ids)
}

/// A browser that waits for its `ready`.
pub(crate) fn browser(server: &mut Server, form: Form) -> SocketId {
    let id = server.clients.insert(Client::new(Ipv4Addr::LOCALHOST.into()));
    server.open(id, ClientType::Websocket, None, true, form);
    id
}

/// The form of a client that may resume.
pub(crate) fn numbered() -> Form {
    Form::Numbered(Box::new(Kept::new(ResumeOutcome::New)))
}

/// Whether something waits for a client.
pub(crate) fn got(server: &Server, id: SocketId) -> bool {
    server.clients[id].queued_bytes() > 0
}
