//! One round of the loop: wait, read, act, write.
//!
//! PHP counterpart: the `while` in `Start` with its `stream_select` and `fread`.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;
use mio::event::Event;

use super::{LISTENER, OTHERS, SIGNALS, WAKERS, WebSocketServer};
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
        self.read_left_over();
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
        self.sweep();
        self.before_sleep();
        Ok(())
    }

    /// The turns in which nothing happens but that this client has something to be read, until the loop would
    /// sleep.
    pub(crate) fn turn_for(&mut self, id: SocketId) {
        self.woken();
        self.readable(id);
        self.sweep();
        self.before_sleep();
        while !self.again.is_empty() {
            self.read_left_over();
            self.before_sleep();
        }
    }

    /// Connections that had more to read than the last turn allowed get their next share.
    fn read_left_over(&mut self) {
        for id in std::mem::take(&mut self.again) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.unread = false;
                self.readable(id);
            }
        }
    }

    /// How long the loop may sleep: until the next deadline, and not at all if work was left over.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        if self.listener.again || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = self.next_moment().map(|deadline| deadline.saturating_duration_since(now));
        [self.server.deadlines.sleep(now), deadline].into_iter().flatten().min()
    }

    fn socket_event(&mut self, id: SocketId, event: &Event) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let ended = event.is_read_closed() || event.is_error();
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

    /// Reads a connection once. What is more than a bufferful waits for the next turn, so that a fast
    /// sender does not starve the others.
    fn readable(&mut self, id: SocketId) {
        if self.server.congested {
            self.before_sleep();
        }
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.may_read()) else { return };
        if matches!(socket.stage, Stage::Preface) {
            return self.preface(id);
        }
        if !socket.held.is_empty() {
            return self.take_held(id);
        }
        match socket.read(&mut self.buffer.bytes) {
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

    /// Makes the next turn read this connection, whether or not the poll tells of it.
    pub(crate) fn read_again(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id)
            && !std::mem::replace(&mut socket.unread, true)
        {
            self.again.push(id);
        }
    }

    /// Reads no more of a connection until it is woken. `rest` was read already.
    pub(crate) fn pause(&mut self, id: SocketId, rest: Vec<u8>) {
        let socket = &mut self.sockets[id];
        socket.paused = true;
        socket.held = rest;
    }

    /// Goes on with a connection that was paused: first with what was read already, in the next turn.
    pub(crate) fn wake(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.paused = false;
            self.read_again(id);
        }
    }

    /// Takes what was read while the connection was paused. It fits into the buffer, from which it came.
    fn take_held(&mut self, id: SocketId) {
        let held = std::mem::take(&mut self.sockets[id].held);
        self.buffer.bytes[..held.len()].copy_from_slice(&held);
        self.received(id, held.len());
        self.answer_at_once(id);
        self.read_again(id);
    }
}
