//! How much one connection may have done before others go first, and what of it waits.
//!
//! A part of the loop: the books of [`Turns`](crate::turns::Turns). What was read and goes beyond a connection's share is
//! held; while it is, nothing more is read, so the rest waits with its sender. Only messages are held back: pings and pongs that were read
//! are acted on, and the connection's clocks stand still. PHP has no counterpart.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::dialog::extract_collected;
use super::{WebSocketServer, pacing};
use crate::bounds::Bound;
use crate::client::{Client, State};
use crate::deadlines::{Deadline, after};
use crate::ids::SocketId;
use crate::rfc6455::Opcode;
use crate::rfc6455::frame::Header;
use crate::socket::{Held, Stage};
use crate::turns::MESSAGE;

/// How long a sender to many is held back at most while much is to be written.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// What is taken at a time of what is held.
const PIECE: usize = 16 * 1024;
/// How long the loop rests while all that wait have to wait on.
pub(super) const REST: Duration = Duration::from_millis(10);
/// When a deadline that fell due while the connection waited is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// When it is looked again whether the receiver of a message that waits has room.
const TRY_AGAIN: Duration = Duration::from_millis(15);

impl WebSocketServer {
    /// Serves those that wait, in their order, until the turn is over.
    pub(super) fn serve_waiting(&mut self) {
        let (mut held_back, mut served) = (Vec::new(), false);
        while let Some((id, waited)) = self.turns.next(Instant::now()) {
            let Some(socket) = self.sockets.get(id) else { continue };
            let crowds_out = self.turns.behind && self.server.writes.congested && socket.spreads;
            if waited < LONGEST_HOLD && (crowds_out || self.must_spare_memory(id)) {
                held_back.push((id, waited));
                continue;
            }
            served = true;
            self.server.counters.waits.observe(waited);
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.unread = false;
            // Its time has not run meanwhile.
            socket.deadline = socket.deadline.map(|deadline| after(deadline, waited));
            self.serve_at_cost(id);
        }
        // What this turn leaves unread, or the last one unwritten, is for the next one.
        if !self.turns.nobody_waits() || self.turns.behind {
            self.server.acted(Bound::Turn, 1);
        }
        self.turns.resting = !served && !held_back.is_empty();
        for (id, waited) in held_back {
            self.turns.wait_on(id, self.sockets.get(id).map(|socket| socket.share).unwrap_or_default(), waited, self.server.now);
        }
        self.server.counters.waiting = self.turns.count_waiting();
    }

    /// Serves a connection and charges what that costs to it, or to the address of one that is no client yet. What an
    /// answer to a TLS handshake takes can only be measured.
    #[inline(never)]
    pub(super) fn serve_at_cost(&mut self, id: SocketId) {
        if self.server.writes.congested {
            self.before_sleep();
        }
        let Some(client) = self.server.clients.get(id) else { return };
        let (newcomer, work, messages) = (client.newcomer(), self.server.work(), self.server.counters.messages_in);
        let begun = newcomer.map(|_| Instant::now());
        self.read(id);
        let (work, messages) = (self.server.work() - work, self.server.counters.messages_in - messages);
        if let (Some(ip), Some(begun)) = (newcomer, begun) {
            let work = work.max(self.turns.took(begun.elapsed()));
            self.turns.charge_address(ip, work);
        } else if let Some(socket) = self.sockets.get_mut(id) {
            // An answer costs a few units beside `next`, and so does feedback.
            socket.spreads = work.checked_div(messages).map_or(socket.spreads, |each| each > 8 * MESSAGE);
            self.turns.charge(&mut socket.share, work);
        }
    }

    /// Makes the next turn read this connection, whether or not the poll tells of it.
    pub(crate) fn read_again(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.may_read()) {
            socket.unread = true;
            let newcomer = self.server.clients[id].newcomer();
            self.turns.wait(id, socket.share, newcomer, self.server.now);
        }
    }

    /// Reads no more of a connection until it is woken. `rest` was read already.
    pub(crate) fn pause(&mut self, id: SocketId, rest: Vec<u8>) {
        let socket = &mut self.sockets[id];
        socket.paused = true;
        socket.held = Held::new(rest);
    }

    /// Goes on with a connection that was paused: first with what was read already, in the next turn.
    pub(crate) fn wake(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.paused = false;
            socket.unread &= socket.rest.take().is_none();
            self.read_again(id);
        }
    }

    /// Keeps what is left in the buffer for the connection's next turn, behind a message that was put off. The pings and
    /// pongs in it are acted on now.
    #[cold]
    pub(super) fn hold(&mut self, id: SocketId, rest: Range<usize>) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if !socket.held.give_back(rest.len()) {
            let mut rest = self.buffer.bytes[rest].to_vec();
            if matches!(socket.stage, Stage::Frames(_)) {
                rest = self.take_control(id, &mut rest);
            }
            let Some(socket) = self.sockets.get_mut(id) else { return };
            socket.held.put(rest);
            socket.greedy = true;
        }
        self.rest(id);
        self.read_again(id);
    }

    /// Has a connection rest whose client has sent as much as its rate allows, or whose message waits for its receiver.
    #[inline(never)]
    pub(super) fn rest(&mut self, id: SocketId) {
        let untaken = self.server.writes.untaken.take();
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.may_read()) else { return };
        socket.held.untaken = untaken.or(socket.held.untaken.take());
        let waits = socket.held.untaken.is_some();
        if let Some(client) = self.server.clients.get_mut(id) {
            socket.greedy |= client.rate.is_some();
            client.may_rest = waits || client.rate.is_some();
        }
        let Some(rest) = pacing::rest(&self.server, id).or(waits.then_some(TRY_AGAIN)) else { return };
        if !waits {
            self.server.acted(Bound::Rate, 1);
        }
        let until = after(self.server.now, rest);
        socket.unread = true;
        socket.rest = Some(Box::new(self.server.now..until));
        self.server.deadlines.set(until, Deadline::Rested(id));
    }

    /// A connection that has rested waits for its turn. Its time has not run meanwhile.
    pub(super) fn rested(&mut self, id: SocketId) {
        let WebSocketServer { sockets, server, .. } = self;
        // An older reminder is passed over.
        let Some(socket) = sockets.get_mut(id) else { return };
        let Some(rest) = socket.rest.as_mut().filter(|rest| rest.end <= server.now) else { return };
        if socket.held.untaken.as_ref().is_some_and(|untaken| pacing::waits_on(server, id, untaken)) {
            rest.end = after(server.now, TRY_AGAIN);
            return server.deadlines.set(rest.end, Deadline::Rested(id));
        }
        socket.deadline = socket.deadline.map(|deadline| after(deadline, server.now - rest.start));
        (socket.unread, socket.rest) = (false, None);
        self.read_again(id);
    }

    /// Acts on pings and pongs between whole frames, up to a close frame or an error, and gives the rest.
    fn take_control(&mut self, id: SocketId, mut rest: &mut [u8]) -> Vec<u8> {
        let mut messages = Vec::with_capacity(rest.len());
        let mut whole = 0;
        while let Ok(Some((header, begin))) = Header::parse(rest) {
            let Some(end) = usize::try_from(header.len).ok().and_then(|len| begin.checked_add(len)) else { break };
            if end > rest.len() {
                break;
            }
            let (frame, behind) = std::mem::take(&mut rest).split_at_mut(end);
            rest = behind;
            if !self.control(id, header, &mut frame[begin..]) {
                messages.extend_from_slice(frame);
                whole += usize::from(header.fin);
                if header.opcode == Opcode::Close {
                    break;
                }
            }
        }
        messages.extend_from_slice(rest);
        // One may always come, of any length.
        if whole > 1 {
            pacing::bears(&mut self.server, id, whole, messages.len());
        }
        messages
    }

    /// Takes what was held, or as much of it as a share will hardly go beyond. It fits into the buffer, from which it
    /// came.
    pub(super) fn take_held(&mut self, id: SocketId) {
        let WebSocketServer { sockets, server, all_apps, .. } = self;
        let socket = &mut sockets[id];
        if let Some(untaken) = socket.held.untaken.take_if(|untaken| !pacing::waits_on(server, id, untaken)) {
            server.writes.late = true;
            extract_collected(server, all_apps, id, Opcode::Text, untaken.bytes);
            server.writes.late = false;
            self.answer_at_once(id);
            self.rest(id);
            return self.read_again(id);
        }
        if socket.held.untaken.is_some() {
            return self.rest(id);
        }
        let most = if matches!(socket.stage, Stage::Frames(_)) { PIECE } else { usize::MAX };
        let piece = socket.held.lend(most);
        let count = piece.len();
        self.buffer.bytes[..count].copy_from_slice(piece);
        self.received(id, count);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.held.keep();
            socket.account(self.server.clients.get(id).map_or(0, Client::chunks_cost));
        }
        self.answer_at_once(id);
        self.read_again(id);
    }

    /// Whether a deadline has to wait since the connection does; it is looked at again.
    pub(super) fn clock_stands(&mut self, id: SocketId) -> bool {
        let stands = self.sockets[id].unread;
        if stands {
            let again = after(self.server.now, LOOK_AGAIN);
            self.sockets[id].reminder = Some(again);
            self.server.deadlines.set(again, Deadline::Socket(id));
        }
        stands
    }
}

impl Client {
    /// The address of a connection that is no client yet.
    pub(crate) fn newcomer(&self) -> Option<std::net::IpAddr> {
        (self.state == State::Handshake).then_some(self.ip)
    }
}
