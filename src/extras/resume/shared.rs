//! What other processes must know of a client that may go on in one of them.
//!
//! Whatever such a client is told, and may not have got, goes through what the processes share: also what its own
//! application writes. And the number of each message that it sent is known there before it gets `next`.

use uuid::Uuid;

use crate::client::Client;
use crate::elsewhere::{Author, Envelope, Message, Others, Target};
use crate::ids::{ClientType, SocketId};
use crate::server::Server;

/// The uuid of a client that may go on in another process, while others are reached.
pub(crate) fn uuid_of(server: &Server, id: SocketId) -> Option<Uuid> {
    let is_known = |client: &&Client| client.is_known() && client.client_type == ClientType::Websocket;
    let client = server.clients.get(id).filter(|_| server.elsewhere.others == Others::Joined)?;
    Some(client).filter(is_known).filter(|client| client.mail.is_numbered()).map(|client| client.uuid)
}

/// Writes to such a client, in whatever process it is.
pub(crate) fn write(server: &mut Server, uuid: Uuid, text: &str) {
    let author = take_author(server);
    let to = Target::One { uuid: uuid.to_string().into(), ident: "".into() };
    let message = Message { to, text: text.to_owned(), sender: Some(uuid), key: None, ask: None, author };
    server.elsewhere.post(Envelope::Message(message));
    server.writes.congested |= server.elsewhere.is_full();
}

/// Answers a client with `text` what became of its message; one that may move has a uuid.
pub(crate) fn write_receipt(server: &mut Server, id: SocketId, uuid: Option<Uuid>, receipt: &str, text: &str) {
    let Some(uuid) = uuid else { return server.write(id, text) };
    match server.is_open(id) {
        true => server.write(id, text),
        false => write(server, uuid, text),
    }
    server.elsewhere.post(Envelope::Owed { uuid, receipt: receipt.into(), answered: true });
}

/// The client whose numbered message is being acted on. It gets its `next` once others know.
pub(crate) fn take_author(server: &mut Server) -> Option<Author> {
    let (id, cseq) = server.current.number.take()?;
    let client = server.clients.get_mut(id)?;
    client.mail.kept_mut().into_iter().for_each(|kept| kept.unconfirmed += 1);
    Some(Author { id, uuid: client.uuid, cseq })
}

/// A numbered message was acted on. If nothing came of it that others have, they note its number: it is not to be acted
/// on again elsewhere.
pub(super) fn note_number(server: &mut Server) {
    if server.elsewhere.others == Others::Joined
        && let Some(author) = take_author(server)
    {
        server.elsewhere.post(Envelope::Acted(author));
    }
    server.current.number = None;
}
