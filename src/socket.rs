//! The I/O half of a connection, touched by the loop only.
//!
//! PHP counterpart: the stream in `$this->Sockets[$SocketID]`, with the buffers that PHP keeps beside
//! it.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Instant;

use crate::ids::SocketId;
use crate::mail::outbox::Outbox;
use crate::memory::{Charge, Kind};
use crate::raw::RawInbox;
use crate::rfc6455::Inbox;
use crate::tls::Stream;
use crate::turns::Share;

/// One connection's stream, and how its bytes are to be read.
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    pub(crate) stage: Stage,
    pub(crate) peer: Peer,
    /// When the connection is up for its next check; moved as the connection goes on.
    pub(crate) deadline: Option<Instant>,
    /// The reminder that is set for it; it may be earlier.
    pub(crate) reminder: Option<Instant>,
    /// Whether the deadline is that of the message which is under way.
    pub(crate) message_timed: bool,
    /// Whether the last write found it full.
    full: bool,
    /// Whether it has more to read than one turn allows, and waits for its turn, or rests.
    pub(crate) unread: bool,
    /// Whether nothing is read until it is woken.
    pub(crate) paused: bool,
    /// The time in which nothing is read of it, since it is too fast.
    pub(crate) rest: Option<Box<Range<Instant>>>,
    /// What was read and not taken.
    pub(crate) held: Held,
    /// Whether its last read was more than its share, or its client has a rate.
    pub(crate) greedy: bool,
    /// What was read and waits, with the chunks of its client, in memory.
    pub(crate) charge: Charge,
    /// Its place among those that wait: see [`Turns`](crate::turns::Turns).
    pub(crate) share: Share,
    /// Whether its last messages went to many others.
    pub(crate) spreads: bool,
    /// Whether the system has told of the end, which a read may come short of.
    pub(crate) read_to_end: bool,
    /// Whether a request was answered and the connection goes on behind it.
    pub(crate) reused: bool,
    /// Whether the server has ended its side.
    pub(crate) said_goodbye: bool,
}

/// Bytes that were read and wait to be taken.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    taken: usize,
    /// Whether some are looked at now, and may be given back.
    lent: bool,
    /// The message before them, which was read and waits for its receiver.
    pub(crate) untaken: Option<Box<Untaken>>,
}

/// A message of a client that is taken once its receiver is not full any more, or time is up.
#[derive(Debug)]
pub(crate) struct Untaken {
    pub(crate) bytes: Vec<u8>,
    pub(crate) receiver: SocketId,
    pub(crate) until: Instant,
}

impl Held {
    pub(crate) fn new(bytes: Vec<u8>) -> Held {
        Held { bytes, ..Held::default() }
    }

    /// Puts bytes where none are.
    pub(crate) fn put(&mut self, bytes: Vec<u8>) {
        (self.bytes, self.taken) = (bytes, 0);
    }

    /// The next bytes, `most` of them.
    pub(crate) fn lend(&mut self, most: usize) -> &[u8] {
        let begin = self.taken;
        self.taken += most.min(self.bytes.len() - begin);
        self.lent = true;
        &self.bytes[begin..self.taken]
    }

    /// The last of the bytes that are lent were not used; `false` where none are.
    pub(crate) fn give_back(&mut self, count: usize) -> bool {
        self.taken -= if self.lent { count } else { 0 };
        self.lent
    }

    /// What was lent is used, but for what was given back.
    pub(crate) fn keep(&mut self) {
        self.lent = false;
        if self.is_empty() {
            *self = Held::default();
        }
    }

    /// So many bytes are of no use.
    pub(crate) fn skip(&mut self, count: usize) {
        self.taken += count;
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len() && self.untaken.is_none()
    }

    /// What it costs in memory.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.capacity() + self.untaken.as_ref().map_or(0, |untaken| untaken.bytes.capacity())
    }

    pub(crate) fn starts_with(&self, bytes: &[u8]) -> bool {
        self.bytes[self.taken..].starts_with(bytes)
    }
}

/// What the bytes are.
pub(crate) enum Stage {
    /// What comes before the first request, as one of the optional parts reads it.
    Preface,
    /// The request head, as far as it has come.
    Head(Vec<u8>),
    /// Frames.
    Frames(Inbox),
    /// Bare JSON.
    Raw(RawInbox),
    /// The body of a request without an upgrade, which one of the optional parts answers.
    Plain,
    /// Nothing of interest: the answer was the last word.
    Ignored,
}

/// What may still be expected of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// It may send.
    Talking,
    /// It has ended its side; it may still read.
    Finished,
    /// Nothing reaches it any more.
    Gone,
}

impl Socket {
    pub(crate) fn new(stream: Stream, stage: Stage, deadline: Instant) -> Socket {
        Socket {
            stream,
            stage,
            peer: Peer::Talking,
            deadline: Some(deadline),
            reminder: None,
            message_timed: false,
            full: false,
            unread: false,
            paused: false,
            rest: None,
            held: Held::default(),
            greedy: false,
            charge: Charge::new(Kind::Inbox),
            share: Share::default(),
            spreads: false,
            read_to_end: false,
            reused: false,
            said_goodbye: false,
        }
    }

    /// Whether the loop may read it now.
    pub(crate) fn may_read(&self) -> bool {
        self.peer < Peer::Gone && !self.unread && !self.paused
    }

    /// Counts what it holds in memory, with the chunks of its client.
    pub(crate) fn account(&mut self, chunks: usize) {
        self.charge.set(self.cost() + chunks);
    }

    /// What it holds in memory by itself.
    fn cost(&self) -> usize {
        let stage = match &self.stage {
            Stage::Frames(inbox) => inbox.cost(),
            Stage::Raw(inbox) => inbox.cost(),
            Stage::Head(head) => head.capacity(),
            Stage::Preface | Stage::Plain | Stage::Ignored => 0,
        };
        stage + self.held.cost()
    }

    /// Whether it has not come past its handshake, or is a plain request.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.stage, Stage::Preface | Stage::Head(_) | Stage::Plain)
    }

    /// The server's address that the peer connected to; asked for now and then, it need not be kept.
    pub(crate) fn own_ip(&self) -> IpAddr {
        self.stream.pipe.own_ip()
    }

    /// Whether the connection waits for the rest of a message.
    pub(crate) fn is_mid_message(&self) -> bool {
        match &self.stage {
            Stage::Frames(inbox) => inbox.is_mid_message(),
            Stage::Raw(inbox) => inbox.is_mid_message(),
            Stage::Preface | Stage::Head(_) | Stage::Plain | Stage::Ignored => false,
        }
    }

    /// Reads once: the rest of a large message to its place in the inbox, and everything else to the
    /// beginning of `buffer`.
    #[inline(always)]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Stage::Frames(inbox) = &mut self.stage
            && let Some(room) = inbox.room(buffer.len())
        {
            let count = self.stream.read(room)?;
            inbox.filled(count);
            return Ok(count);
        }
        self.stream.read(buffer)
    }

    /// Writes the front of the outbox, one run of it if `single`, and says how much the socket took.
    #[inline]
    pub(crate) fn write(&mut self, outbox: &Outbox, single: bool) -> io::Result<usize> {
        let written = match outbox.only_run() {
            Some(run) => self.stream.write(run),
            None => self.write_runs(outbox, single),
        };
        self.full = matches!(&written, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        written
    }

    #[inline(never)]
    fn write_runs(&mut self, outbox: &Outbox, single: bool) -> io::Result<usize> {
        if single {
            return self.stream.write(outbox.front());
        }
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices);
        self.stream.write_vectored(&slices[..filled])
    }

    /// Whether something waits for the socket to take more; TLS may hold back records of its own.
    pub(crate) fn awaits_space(&self) -> bool {
        self.full || self.stream.is_secure()
    }
}
