//! How much is read of one connection at a time, and what of it has to wait.
//!
//! A part of the loop, which asks between messages: see `hold.rs` for what becomes of the rest. PHP has no counterpart.

use std::io;
use std::time::Duration;

use crate::bounds::Bound;
use crate::client::Client;
use crate::deadlines::after;
use crate::ids::SocketId;
use crate::packet::{Message, Packet};
use crate::rfc6455::CloseCode;
use crate::server::Server;
use crate::socket::{Socket, Untaken};
use crate::turns;

/// What is read of a connection that has more to say than its share.
const GREEDY_READ: usize = 16 * 1024;
/// How long a client that is not full any more may stand among those that are.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a message waits for room at its receiver.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a client that sends more has had its share, which ends at `end` once that is set, or all that its rate
/// allows.
#[inline(never)]
pub(super) fn has_done_enough(server: &Server, id: SocketId, end: &mut u64) -> bool {
    if *end == 0 {
        *end = server.work() + turns::SLICE;
    }
    if server.writes.untaken.is_some() || server.limits.paces() && rest(server, id).is_some() {
        return true;
    }
    server.work() >= *end && server.clients.get(id).is_some_and(Client::is_connected)
}

/// Reads a connection that is greedy, or whose client has a rate.
#[cold]
pub(super) fn read_greedy(server: &mut Server, id: SocketId, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(rate) = server.clients.get_mut(id).and_then(|client| client.rate.as_mut()) else {
        // Whoever sent more than could be taken is read in small pieces.
        socket.greedy = false;
        let most = GREEDY_READ.min(buffer.len());
        return socket.read(&mut buffer[..most]);
    };
    // What has come during a rest is looked at as a whole.
    let count = socket.read(buffer)?;
    rate.is_read(server.now);
    rate.take(0, count, server.now);
    Ok(count)
}

/// Takes a message from a client's allowance.
#[inline(never)]
pub(super) fn spend(server: &mut Server, id: SocketId) {
    if let Some(rate) = server.clients.get_mut(id).and_then(|client| client.rate.as_mut()) {
        rate.take(1, 0, server.now);
    }
}

/// How long nothing is to be read of a client, since its rate allows no more.
pub(super) fn rest(server: &Server, id: SocketId) -> Option<Duration> {
    let client = server.clients.get(id).filter(|client| client.is_connected())?;
    client.rate.as_ref()?.rest(server.now)
}

/// Whether a client still has a connection after this came of it, which nothing had asked for: where it is far too
/// much, the client is told and closed.
pub(super) fn bears(server: &mut Server, id: SocketId, messages: usize, bytes: usize) -> bool {
    let Some(client) = server.clients.get_mut(id).filter(|client| client.is_connected()) else { return false };
    let floods = client.rate.as_mut().is_some_and(|rate| rate.floods(messages, bytes, server.now));
    if floods {
        log::warn!("Socket {id} - sends too much");
        server.dismiss(id, Some("Too many messages"), CloseCode::POLICY_VIOLATION);
    }
    !floods
}

/// Whether a message of a client is put off, since it is feedback for somebody who is full. Asked while somebody is.
#[cold]
pub(super) fn puts_off(server: &mut Server, id: SocketId, message: Message<'_>) -> bool {
    if server.writes.looked.is_none_or(|looked| server.now.saturating_duration_since(looked) >= LOOK_AGAIN) {
        let mut full = std::mem::take(&mut server.writes.full);
        full.retain(|id, ()| server.is_full(id));
        (server.writes.full, server.writes.looked) = (full, Some(server.now));
    }
    let receiver = server.clients.get(id).filter(|client| client.dialog).and_then(|client| {
        let packet = Packet::parse(Message::Binary(client.whole(message.bytes())?)).ok()?;
        server.receiver(packet.uuid(), packet.ident()).filter(|_| packet.opcode() == "feedback")
    });
    let Some(receiver) = receiver.filter(|receiver| server.is_full(*receiver) && !server.writes.late) else { return false };
    let until = after(server.now, PATIENCE);
    server.writes.untaken = Some(Box::new(Untaken { bytes: message.bytes().to_vec(), receiver, until }));
    server.clients[id].may_rest = true;
    server.acted(Bound::PutOff, 1);
    true
}

/// Whether a message of a client waits on: its receiver is still full, and there is time.
pub(super) fn waits_on(server: &Server, id: SocketId, untaken: &Untaken) -> bool {
    let connected = server.clients.get(id).is_some_and(Client::is_connected);
    connected && server.now < untaken.until && server.is_full(untaken.receiver)
}
