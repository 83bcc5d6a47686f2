//! One round of the loop: wait, read, act, write.
//!
//! PHP counterpart: the `while` in `Start` with its `stream_select` and `fread`.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;
use mio::event::Event;

use super::hold::REST;
use super::{LISTENER, OTHERS, SIGNALS, WAKERS, WebSocketServer, pacing};
use crate::ids::SocketId;
use crate::rfc6455::frame::MAX_HEADER;
use crate::socket::{Peer, Stage};

/// The one buffer that all connections are read into. With room for a header, so that a message of
/// 256 KiB fits into one read. What is more stays in the system's buffer for the next turn.
const READ_BUFFER: usize = 256 * 1024 + MAX_HEADER;
/// A read this large means that large messages are in use. A server of small ones need not keep freed memory.
const LARGE_READ: usize = 64 * 1024;

/// The memory that all connections are read into.
pub(crate) struct ReadBuffer {
    pub(crate) bytes: Box<[u8]>,
    /// Whether the allocator keeps freed memory by now.
    keeps_memory: bool,
}

impl ReadBuffer {
    pub(super) fn new() -> ReadBuffer {
        ReadBuffer { bytes: vec![0; READ_BUFFER].into(), keeps_memory: false }
    }

    /// Lets glibc keep up to 8 MiB of freed memory once large messages have come, so that these do not pay for
    /// their pages each time: it keeps twice as much as the largest block freed so far.
    fn note_read(&mut self, count: usize) {
        if count >= LARGE_READ && !std::mem::replace(&mut self.keeps_memory, true) {
            drop(std::hint::black_box(Vec::<u8>::with_capacity(4 * 1024 * 1024)));
        }
    }
}

impl WebSocketServer {
    /// One round of PHP's `while` in `Start`.
    pub(super) fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        self.server.counters.turns.observe(now.saturating_duration_since(self.server.now));
        match self.poll.poll(events, self.sleep(now)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.server.now = Instant::now(),
        }
        self.turns.begin(self.server.work());
        self.look_at_memory();
        for event in events.iter() {
            match event.token() {
                LISTENER => self.listener.again = true,
                SIGNALS => self.signalled(),
                WAKERS => self.woken(),
                OTHERS => self.others_ready(),
                token => self.socket_event(SocketId::from_u64(token.0 as u64), event),
            }
        }
        if std::mem::take(&mut self.listener.again) {
            self.accept();
        }
        self.serve_waiting();
        self.sweep();
        self.before_sleep();
        Ok(())
    }

    /// The turns in which nothing happens but that this client has something to be read, until the loop would
    /// sleep.
    pub(crate) fn turn_for(&mut self, id: SocketId) {
        self.turns.begin(self.server.work());
        self.look_at_memory();
        self.woken();
        self.readable(id);
        self.sweep();
        self.before_sleep();
        while self.has_work() && !self.turns.resting {
            self.turns.begin(self.server.work());
            self.serve_waiting();
            self.before_sleep();
        }
    }

    /// Whether a turn has left something over.
    fn has_work(&self) -> bool {
        !self.turns.nobody_waits() || self.turns.behind
    }

    /// How long the loop may sleep: until the next deadline, and not at all if work was left over.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        let rests = self.turns.resting && !self.turns.behind;
        if self.listener.again || self.has_work() && !rests {
            return Some(Duration::ZERO);
        }
        let deadline = self.next_moment().map(|deadline| deadline.saturating_duration_since(now));
        [self.server.deadlines.sleep(now), deadline, rests.then_some(REST)].into_iter().flatten().min()
    }

    fn socket_event(&mut self, id: SocketId, event: &Event) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let ended = event.is_read_closed() || event.is_error();
        if event.is_error() && (socket.rest.is_some() || !socket.held.is_empty()) {
            return self.peer_gone(id, Peer::Gone);
        }
        // The end may have come with the last bytes, and then it has no event of its own.
        socket.read_to_end |= ended;
        // Each event says so, whatever it is for.
        if event.is_writable() && socket.awaits_space() {
            self.flush(id);
        }
        if event.is_readable() || ended {
            self.readable(id);
        }
    }

    /// A connection has something to be read: now, if nobody waits.
    fn readable(&mut self, id: SocketId) {
        match self.turns.must_wait(self.server.work()) {
            true => self.read_again(id),
            false => self.serve(id),
        }
    }

    /// Reads a connection once, or takes more of what was read. What is too much for its share waits for its next
    /// turn, so that a fast sender does not starve the others.
    pub(super) fn serve(&mut self, id: SocketId) {
        if self.server.writes.congested {
            self.before_sleep();
        }
        let Some(socket) = self.sockets.get(id).filter(|socket| socket.may_read()) else { return };
        match socket.is_new() {
            // An answer to a TLS handshake may take longer than all else in a turn.
            true if socket.stream.is_handshaking() => self.read_again(id),
            true => self.serve_at_cost(id),
            false => self.read(id),
        }
    }

    /// The same without a look at what it costs.
    #[inline(always)]
    pub(super) fn read(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.may_read()) else { return };
        if matches!(socket.stage, Stage::Preface) {
            return self.preface(id);
        }
        if !socket.held.is_empty() {
            return self.take_held(id);
        }
        let buffer = &mut self.buffer.bytes;
        let read = if socket.greedy { pacing::read_greedy(&mut self.server, id, socket, buffer) } else { socket.read(buffer) };
        match read {
            Ok(0) => self.peer_gone(id, Peer::Finished),
            Ok(count) => {
                let drained = socket.stream.drained && !socket.read_to_end;
                self.server.counters.bytes_in += count as u64;
                self.received(id, count);
                self.answer_at_once(id);
                self.buffer.note_read(count);
                if !drained {
                    self.read_again(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_again(id),
            Err(error) => {
                log::debug!("Socket {id} - {error}");
                self.peer_gone(id, Peer::Gone);
            }
        }
    }
}
