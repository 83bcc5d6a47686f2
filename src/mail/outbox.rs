//! What waits to be written to one client.
//!
//! A queue of byte runs: small frames of one client are joined into one run, a broadcast is shared
//! by all its receivers. It knows no socket; the loop asks for slices and says how far it got.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::keyed::{Keyed, KeyedFrame};

/// Frames are joined up to this many bytes, so that one run stays cheap to append to.
const JOIN_UP_TO: usize = 16 * 1024;
/// Shared frames up to this size are copied: that is less than sharing costs.
const SMALL: usize = 512;
/// Queues that wait for their next use, and the most that each of them keeps of its memory.
const POOLED_QUEUES: usize = 1024;
const POOLED_BUFFER: usize = 1024;
const POOLED_RUNS: usize = 8;

/// The writing half of one connection. It holds no heap memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<Run>,
    /// Bytes of the first run that are written already.
    written: usize,
    bytes: usize,
    /// Empty memory for the next run.
    buffer: Vec<u8>,
    /// Where the frames with a key are, while there are any.
    keyed: Option<Box<Keyed>>,
}

#[derive(Debug)]
pub(super) enum Run {
    Own(Vec<u8>),
    Shared(Rc<Vec<u8>>),
    /// The text of a frame that is made when its turn comes: then it takes more bytes.
    Later(Box<str>),
    /// A frame that a newer one with the same key may take the place of.
    Keyed(Rc<KeyedFrame>),
}

/// Empty queues for the outboxes that are filled next, so that an answer allocates nothing.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "the boxes move between here and the outboxes")]
pub struct BufferPool(Vec<Box<Queue>>);

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
        self.0.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// What the queue costs in memory: the bytes, and the bookkeeping of each run.
    pub fn cost(&self) -> usize {
        const RUN: usize = 64;
        let cost = |queue: &Queue| queue.bytes + RUN * queue.runs.len() + queue.keyed.as_ref().map_or(0, |keyed| keyed.cost());
        self.0.as_deref().map_or(0, cost)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Queues what `encode` appends to the buffer it is given; joined to the last run unless `alone`.
    pub fn push_with(&mut self, pool: &mut BufferPool, alone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue(pool);
        match queue.runs.back_mut() {
            Some(Run::Own(run)) if !alone && run.len() < JOIN_UP_TO => {
                let before = run.len();
                encode(run);
                queue.bytes += run.len() - before;
            }
            _ => {
                let mut run = std::mem::take(&mut queue.buffer);
                encode(&mut run);
                queue.push(Run::Own(run));
            }
        }
    }

    /// Queues bytes that other outboxes hold too.
    pub fn push_shared(&mut self, pool: &mut BufferPool, bytes: &Rc<Vec<u8>>) {
        if bytes.len() <= SMALL {
            return self.push_with(pool, false, |run| run.extend_from_slice(bytes));
        }
        self.queue(pool).push(Run::Shared(bytes.clone()));
    }

    /// Queues text that [`make_front`](Self::make_front) makes a frame of.
    pub fn push_later(&mut self, pool: &mut BufferPool, text: &str) {
        self.queue(pool).push(Run::Later(text.into()));
    }

    /// Makes the first run, if it waits for that, into what `encode` appends to the buffer it is given.
    pub fn make_front(&mut self, encode: impl FnOnce(&str, &mut Vec<u8>)) {
        if let Some(queue) = &mut self.0
            && let Some(Run::Later(text)) = queue.runs.front()
        {
            let mut run = Vec::new();
            encode(text, &mut run);
            queue.bytes = queue.bytes - text.len() + run.len();
            queue.runs[0] = Run::Own(run);
        }
    }

    /// Queues a frame with a key, in the place of an unsent one with the same key if there is one: that
    /// one is given back.
    pub(crate) fn push_keyed(&mut self, pool: &mut BufferPool, frame: &Rc<KeyedFrame>) -> Option<Rc<KeyedFrame>> {
        let queue = self.queue(pool);
        let next = queue.runs.len();
        let keyed = queue.keyed.get_or_insert_default();
        let under_way = usize::from(queue.written > 0);
        if let Some(at) = keyed.find(&frame.key).filter(|at| *at >= under_way)
            && let Run::Keyed(old) = &mut queue.runs[at]
        {
            queue.bytes = queue.bytes + frame.bytes.len() - old.bytes.len();
            return Some(std::mem::replace(old, frame.clone()));
        }
        keyed.insert(frame.key.clone(), next);
        queue.push(Run::Keyed(frame.clone()));
        None
    }

    /// Fills `slices` with what is to be written next and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(queue) = &self.0 else { return 0 };
        let mut skip = queue.written;
        let mut filled = 0;
        for (slot, run) in slices.iter_mut().zip(&queue.runs) {
            *slot = IoSlice::new(&run.bytes()[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Whether there are several runs, so that [`slices`](Self::slices) fills more than one.
    pub fn has_many_runs(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.runs.len() > 1)
    }

    /// Takes `count` written bytes off the front; `true` when that ended a run.
    pub fn advance(&mut self, pool: &mut BufferPool, count: usize) -> bool {
        let Some(queue) = &mut self.0 else { return false };
        let ended = queue.advance(count);
        if queue.bytes == 0 {
            pool.put(self.0.take());
        }
        ended
    }

    /// Whether the first run is written in part, so that it must be finished whatever comes.
    pub fn is_mid_run(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.written > 0)
    }

    /// Forgets everything but a run that is written in part.
    pub fn discard_unsent(&mut self) {
        if !self.is_mid_run() {
            self.0 = None;
        }
        if let Some(queue) = &mut self.0 {
            queue.keyed = None;
            queue.runs.truncate(1);
            queue.bytes = queue.runs[0].bytes().len() - queue.written;
        }
    }

    fn queue(&mut self, pool: &mut BufferPool) -> &mut Queue {
        self.0.get_or_insert_with(|| pool.0.pop().unwrap_or_default())
    }
}

impl Queue {
    fn push(&mut self, run: Run) {
        self.bytes += run.bytes().len();
        self.runs.push_back(run);
    }

    fn advance(&mut self, count: usize) -> bool {
        self.bytes -= count;
        self.written += count;
        let mut ended = false;
        while let Some(run) = self.runs.front()
            && self.written >= run.bytes().len()
        {
            self.written -= run.bytes().len();
            let run = self.runs.pop_front();
            if let Some(keyed) = &mut self.keyed {
                keyed.popped(run.as_ref());
            }
            if let Some(Run::Own(mut run)) = run
                && run.capacity() <= POOLED_BUFFER
            {
                run.clear();
                self.buffer = run;
            }
            ended = true;
        }
        ended
    }
}

impl BufferPool {
    fn put(&mut self, queue: Option<Box<Queue>>) {
        let Some(mut queue) = queue.filter(|queue| self.0.len() < POOLED_QUEUES && queue.runs.capacity() <= POOLED_RUNS) else {
            return;
        };
        queue.keyed = None;
        self.0.push(queue);
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
        outbox.push_with(&mut BufferPool::default(), alone, |run| run.extend_from_slice(bytes));
    }

    #[test]
    fn small_frames_are_joined_and_shared_ones_are_not() {
        let mut outbox = Outbox::default();
        push(&mut outbox, false, b"ab");
        push(&mut outbox, false, b"cd");
        outbox.push_shared(&mut BufferPool::default(), &Rc::new(b"ef".to_vec()));
        outbox.push_shared(&mut BufferPool::default(), &Rc::new(vec![b'x'; 600]));
        push(&mut outbox, true, b"gh");
        push(&mut outbox, true, b"ij");
        assert_eq!(front(&outbox), [&b"abcdef"[..], &[b'x'; 600], b"gh", b"ij"]);
        assert_eq!(outbox.bytes(), 610);
        assert_eq!(outbox.cost(), 610 + 4 * 64);
    }

    #[test]
    fn a_run_may_be_made_when_its_turn_comes() {
        let mut outbox = Outbox::default();
        outbox.push_later(&mut BufferPool::default(), "ab");
        outbox.push_later(&mut BufferPool::default(), "cd");
        assert_eq!(outbox.bytes(), 4);
        outbox.make_front(|text, run| run.extend(text.repeat(3).bytes()));
        outbox.make_front(|_, _| panic!("it is made"));
        assert_eq!(outbox.bytes(), 8);
        assert!(outbox.advance(&mut BufferPool::default(), 6));
        outbox.make_front(|text, run| run.extend(text.bytes()));
        assert_eq!(front(&outbox), [b"cd"]);
    }

    #[test]
    fn advancing_crosses_runs_and_keeps_the_rest() {
        let mut outbox = Outbox::default();
        push(&mut outbox, true, b"abc");
        push(&mut outbox, true, b"defg");
        assert!(!outbox.advance(&mut BufferPool::default(), 2));
        assert!(outbox.advance(&mut BufferPool::default(), 3));
        assert!(outbox.is_mid_run());
        assert_eq!(front(&outbox), [b"fg"]);
        assert!(outbox.advance(&mut BufferPool::default(), 2));
        assert!(outbox.is_empty() && !outbox.is_mid_run());
    }

    #[test]
    fn discarding_keeps_the_run_that_is_under_way() {
        let mut outbox = Outbox::default();
        push(&mut outbox, true, b"abc");
        push(&mut outbox, true, b"def");
        outbox.advance(&mut BufferPool::default(), 1);
        outbox.discard_unsent();
        assert_eq!(front(&outbox), [b"bc"]);
        assert_eq!(outbox.bytes(), 2);
        let mut unsent = Outbox::default();
        push(&mut unsent, true, b"abc");
        unsent.discard_unsent();
        assert!(unsent.is_empty());
    }
}
