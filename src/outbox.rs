//! What waits to be written to one client.
//!
//! A queue of byte runs: small frames of one client are joined into one run, a broadcast is shared
//! by all its receivers. It knows no socket; the loop asks for slices and says how far it got.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use keyed::{Keyed, KeyedFrame};

pub(crate) mod keyed;

/// Frames are joined up to this many bytes, so that one run stays cheap to append to.
const JOIN_UP_TO: usize = 16 * 1024;

/// The writing half of one connection. It holds no heap memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    runs: VecDeque<Run>,
    /// Bytes of the first run that are written already.
    written: usize,
    bytes: usize,
    /// Where the frames with a key are, while there are any.
    keyed: Option<Box<Keyed>>,
}

#[derive(Debug)]
enum Run {
    Own(Vec<u8>),
    Shared(Rc<[u8]>),
    /// The text of a frame that is made when its turn comes: then it takes more bytes.
    Later(Box<str>),
    /// A frame that a newer one with the same key may take the place of.
    Keyed(Rc<KeyedFrame>),
}

impl Run {
    fn bytes(&self) -> &[u8] {
        match self {
            Run::Own(bytes) => bytes,
            Run::Shared(bytes) => bytes,
            Run::Later(text) => text.as_bytes(),
            Run::Keyed(frame) => &frame.bytes,
        }
    }
}

impl Outbox {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the queue costs in memory: the bytes, and the bookkeeping of each run.
    pub fn cost(&self) -> usize {
        const RUN: usize = 64;
        self.bytes + RUN * self.runs.len() + self.keyed.as_ref().map_or(0, |keyed| keyed.cost())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues what `encode` appends to the buffer it is given; joined to the last run unless `alone`.
    pub fn push_with(&mut self, alone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        match self.runs.back_mut() {
            Some(Run::Own(run)) if !alone && run.len() < JOIN_UP_TO => {
                let before = run.len();
                encode(run);
                self.bytes += run.len() - before;
            }
            _ => {
                let mut run = Vec::new();
                encode(&mut run);
                self.bytes += run.len();
                self.runs.push_back(Run::Own(run));
            }
        }
    }

    /// Queues bytes that other outboxes hold too. Small ones behind others are copied: that is less
    /// than another run costs.
    pub fn push_shared(&mut self, bytes: &Rc<[u8]>) {
        const SMALL: usize = 512;
        if !self.is_empty() && bytes.len() <= SMALL {
            return self.push_with(false, |run| run.extend_from_slice(bytes));
        }
        self.bytes += bytes.len();
        self.runs.push_back(Run::Shared(bytes.clone()));
    }

    /// Queues text that [`make_front`](Self::make_front) makes a frame of.
    pub fn push_later(&mut self, text: &str) {
        self.bytes += text.len();
        self.runs.push_back(Run::Later(text.into()));
    }

    /// Makes the first run, if it waits for that, into what `encode` appends to the buffer it is given.
    pub fn make_front(&mut self, encode: impl FnOnce(&str, &mut Vec<u8>)) {
        if let Some(Run::Later(text)) = self.runs.front() {
            let mut run = Vec::new();
            encode(text, &mut run);
            self.bytes = self.bytes - text.len() + run.len();
            self.runs[0] = Run::Own(run);
        }
    }

    /// Queues a frame with a key, in the place of an unsent one with the same key if there is one: that
    /// one is given back.
    pub(crate) fn push_keyed(&mut self, frame: &Rc<KeyedFrame>) -> Option<Rc<KeyedFrame>> {
        let next = self.runs.len();
        let keyed = self.keyed.get_or_insert_default();
        let under_way = usize::from(self.written > 0);
        self.bytes += frame.bytes.len();
        if let Some(at) = keyed.find(&frame.key).filter(|at| *at >= under_way)
            && let Run::Keyed(old) = &mut self.runs[at]
        {
            self.bytes -= old.bytes.len();
            return Some(std::mem::replace(old, frame.clone()));
        }
        keyed.insert(frame.key.clone(), next);
        self.runs.push_back(Run::Keyed(frame.clone()));
        None
    }

    /// Fills `slices` with what is to be written next and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut filled = 0;
        for (slot, run) in slices.iter_mut().zip(&self.runs) {
            *slot = IoSlice::new(&run.bytes()[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Takes `count` written bytes off the front; `true` when that ended a run.
    pub fn advance(&mut self, count: usize) -> bool {
        let runs = self.runs.len();
        self.bytes -= count;
        self.written += count;
        while let Some(run) = self.runs.front()
            && self.written >= run.bytes().len()
        {
            self.written -= run.bytes().len();
            let run = self.runs.pop_front();
            if let Some(keyed) = &mut self.keyed {
                keyed.popped(run);
            }
        }
        let ended = self.runs.len() < runs;
        if self.is_empty() {
            *self = Outbox::default();
        }
        ended
    }

    /// Whether the first run is written in part, so that it must be finished whatever comes.
    pub fn is_mid_run(&self) -> bool {
        self.written > 0
    }

    /// Forgets everything but a run that is written in part.
    pub fn discard_unsent(&mut self) {
        let keep = usize::from(self.is_mid_run());
        self.keyed = None;
        self.runs.truncate(keep);
        self.bytes = self.runs.front().map_or(0, |run| run.bytes().len() - self.written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(outbox: &Outbox) -> Vec<Vec<u8>> {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().map(|slice| slice.to_vec()).collect()
    }

    fn push(outbox: &mut Outbox, alone: bool, bytes: &[u8]) {
        outbox.push_with(alone, |run| run.extend_from_slice(bytes));
    }

    #[test]
    fn small_frames_are_joined_and_shared_ones_are_not() {
        let mut outbox = Outbox::default();
        push(&mut outbox, false, b"ab");
        push(&mut outbox, false, b"cd");
        outbox.push_shared(&Rc::from(&b"ef"[..]));
        outbox.push_shared(&Rc::from([b'x'; 600]));
        push(&mut outbox, true, b"gh");
        push(&mut outbox, true, b"ij");
        assert_eq!(front(&outbox), [&b"abcdef"[..], &[b'x'; 600], b"gh", b"ij"]);
        assert_eq!(outbox.bytes(), 610);
        assert_eq!(outbox.cost(), 610 + 4 * 64);
    }

    #[test]
    fn a_run_may_be_made_when_its_turn_comes() {
        let mut outbox = Outbox::default();
        outbox.push_later("ab");
        outbox.push_later("cd");
        assert_eq!(outbox.bytes(), 4);
        outbox.make_front(|text, run| run.extend(text.repeat(3).bytes()));
        outbox.make_front(|_, _| panic!("it is made"));
        assert_eq!(outbox.bytes(), 8);
        assert!(outbox.advance(6));
        outbox.make_front(|text, run| run.extend(text.bytes()));
        assert_eq!(front(&outbox), [b"cd"]);
    }

    #[test]
    fn advancing_crosses_runs_and_keeps_the_rest() {
        let mut outbox = Outbox::default();
        push(&mut outbox, true, b"abc");
        push(&mut outbox, true, b"defg");
        assert!(!outbox.advance(2));
        assert!(outbox.advance(3));
        assert!(outbox.is_mid_run());
        assert_eq!(front(&outbox), [b"fg"]);
        assert!(outbox.advance(2));
        assert!(outbox.is_empty() && !outbox.is_mid_run());
    }

    #[test]
    fn discarding_keeps_the_run_that_is_under_way() {
        let mut outbox = Outbox::default();
        push(&mut outbox, true, b"abc");
        push(&mut outbox, true, b"def");
        outbox.advance(1);
        outbox.discard_unsent();
        assert_eq!(front(&outbox), [b"bc"]);
        assert_eq!(outbox.bytes(), 2);
        let mut unsent = Outbox::default();
        push(&mut unsent, true, b"abc");
        unsent.discard_unsent();
        assert!(unsent.is_empty());
    }
}
