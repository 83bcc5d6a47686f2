//! One frame a read: when the next frame may go to a PHP client that decodes only the first frame of
//! what it reads. It knows no client; time is an argument.

use std::time::{Duration, Instant};

use crate::deadlines::after;
use crate::rfc6455::handshake::PHP_READ;

/// When the next frame may go to a client that decodes one frame per read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Frames that may go at once: the 101 and `ready`, then one for each message of the client.
    credits: u8,
    next: Instant,
    pub(crate) armed: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { credits: 2, next: now, armed: false }
    }

    /// The client spoke, so it reads again: what comes next can't share a read with what came before.
    pub(crate) fn client_spoke(&mut self) {
        self.credits = 1;
    }

    /// Until when the next frame has to wait.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        (self.credits == 0 && now < self.next).then_some(self.next)
    }

    /// A frame of so many bytes went out. One that fills whole reads keeps apart from the next by itself.
    pub(crate) fn released(&mut self, now: Instant, count: usize, pause: Duration) {
        let pause = if count.is_multiple_of(PHP_READ) { pause / 10 } else { pause };
        self.credits = self.credits.saturating_sub(1);
        self.next = after(now, pause);
    }
}
