//! What waits to be written to one client.
//!
//! A queue of byte runs: small frames of one client are joined into one run, a broadcast is shared
//! by all its receivers. Most answers are one run and gone at once, so the last run, which frames are
//! joined to, stands apart: as long as it is the only one, the queue of the others is not touched. It
//! knows no socket; the loop asks for bytes and says how far it got.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use super::keyed::{Keyed, KeyedFrame};
use super::numbered::Text;
use crate::memory::{Block, Charge, Kind};

/// Frames are joined up to this many bytes. With another small one a run still has no more memory than 8 KiB: the
/// allocator gives a block that large without a page beside it.
const JOIN_UP_TO: usize = 7 * 1024;
/// Shared frames up to this size are copied: that is less than sharing costs.
pub(super) const SMALL: usize = 512;
/// Queues that wait for their next use, and the most memory that one of them may have.
const POOLED_QUEUES: usize = 1024;
const POOLED_TAIL: usize = 1024;
const POOLED_RUNS: usize = 8;

/// The writing half of one connection. It holds no heap memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox(Option<Box<Queue>>);

#[derive(Debug)]
struct Queue {
    /// Everything but the tail; nothing is joined to these any more.
    runs: VecDeque<Run>,
    /// The last run, if it is not empty: further frames are joined to it.
    tail: Vec<u8>,
    /// Bytes of the first run that are written already.
    written: usize,
    /// Bytes that wait in all runs.
    bytes: usize,
    /// The memory of those `runs` that no other queue holds.
    own: usize,
    /// Where the frames with a key are, while there are any.
    keyed: Option<Box<Keyed>>,
    /// The memory of the tail, as it was last looked at.
    room: usize,
    /// What all that takes of the memory of all. As long as nothing but a tail waits, in memory of the pool, it is 0: most
    /// of that is written at once.
    charge: Charge,
}

#[derive(Debug)]
pub(super) enum Run {
    Own(Vec<u8>),
    Shared(Block),
    /// A part of a text that other clients are told too.
    Part(Text, Range<usize>),
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
            Run::Part(text, range) => &text.as_bytes()[range.clone()],
            Run::Later(text) => text.as_bytes(),
            Run::Keyed(frame) => &frame.bytes,
        }
    }

    /// The memory of its bytes, unless other queues hold it too.
    fn own(&self) -> usize {
        match self {
            Run::Own(bytes) => bytes.capacity(),
            Run::Later(text) => text.len(),
            Run::Shared(_) | Run::Part(..) | Run::Keyed(_) => 0,
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
        let cost = |queue: &Queue| queue.bytes + RUN * queue.len() + queue.keyed.as_ref().map_or(0, |keyed| keyed.cost());
        self.0.as_deref().map_or(0, cost)
    }

    /// What it takes of the memory of all, without what other queues hold too.
    pub(crate) fn charged(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.charge.bytes())
    }

    /// Charges what is still to be written.
    pub(crate) fn account(&mut self) {
        if let Some(queue) = &mut self.0 {
            queue.account();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Queues what `encode` appends to the buffer it is given; joined to the last run unless `alone`.
    #[inline]
    pub fn push_with(&mut self, pool: &mut BufferPool, alone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue(pool);
        if alone || queue.tail.len() >= JOIN_UP_TO {
            queue.end_tail();
        }
        let before = queue.tail.len();
        encode(&mut queue.tail);
        queue.bytes += queue.tail.len() - before;
        // Here and not as it is written: many turns may come before that.
        if queue.tail.capacity() != queue.room {
            queue.account();
        }
    }

    /// Queues bytes that other outboxes hold too.
    pub(crate) fn push_shared(&mut self, pool: &mut BufferPool, bytes: &Block) {
        if bytes.len() <= SMALL {
            return self.push_with(pool, false, |run| run.extend_from_slice(bytes));
        }
        self.queue(pool).push(Run::Shared(bytes.clone()));
    }

    /// Queues a part of a text that other outboxes hold too.
    pub(crate) fn push_part(&mut self, pool: &mut BufferPool, text: Text, range: Range<usize>) {
        self.queue(pool).push(Run::Part(text, range));
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
            queue.own = queue.own - text.len() + run.capacity();
            queue.runs[0] = Run::Own(run);
            queue.account();
        }
    }

    /// Queues a frame with a key, in the place of an unsent one with the same key if there is one: that
    /// one is given back.
    pub(crate) fn push_keyed(&mut self, pool: &mut BufferPool, frame: &Rc<KeyedFrame>) -> Option<Rc<KeyedFrame>> {
        let queue = self.queue(pool);
        queue.end_tail();
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

    /// What is to be written next: the first run, or the rest of it.
    pub fn front(&self) -> &[u8] {
        let Some(queue) = &self.0 else { return &[] };
        &queue.first()[queue.written..]
    }

    /// Fills `slices` with what is to be written next and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(queue) = &self.0 else { return 0 };
        let tail = Some(&queue.tail[..]).filter(|tail| !tail.is_empty());
        let mut skip = queue.written;
        let mut filled = 0;
        for (slot, run) in slices.iter_mut().zip(queue.runs.iter().map(Run::bytes).chain(tail)) {
            *slot = IoSlice::new(&run[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// The same, if it is a run that frames are joined to and nothing else waits: so are most answers.
    #[inline]
    pub fn only_run(&self) -> Option<&[u8]> {
        let queue = self.0.as_ref().filter(|queue| queue.runs.is_empty())?;
        queue.tail.get(queue.written..)
    }

    /// Takes `count` written bytes off the front; `true` when that ended a run.
    #[inline]
    pub fn advance(&mut self, pool: &mut BufferPool, count: usize) -> bool {
        match &mut self.0 {
            None => false,
            Some(queue) if count < queue.bytes => queue.advance(count),
            all => {
                pool.put(all.take());
                true
            }
        }
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
            if !queue.runs.is_empty() {
                queue.runs.truncate(1);
                queue.runs.shrink_to_fit();
                queue.tail = Vec::new();
            }
            queue.bytes = queue.first().len() - queue.written;
            queue.own = queue.runs.front().map_or(0, Run::own);
            queue.account();
        }
    }

    fn queue(&mut self, pool: &mut BufferPool) -> &mut Queue {
        self.0.get_or_insert_with(|| pool.0.pop().unwrap_or_default())
    }
}

impl Default for Queue {
    fn default() -> Queue {
        let charge = Charge::new(Kind::Outbox);
        Queue { runs: VecDeque::new(), tail: Vec::new(), written: 0, bytes: 0, own: 0, keyed: None, room: 0, charge }
    }
}

impl Queue {
    /// How many runs there are.
    fn len(&self) -> usize {
        self.runs.len() + usize::from(!self.tail.is_empty())
    }

    fn first(&self) -> &[u8] {
        self.runs.front().map_or(&self.tail, Run::bytes)
    }

    /// Nothing is joined to what was the tail.
    #[inline(never)]
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.own += self.tail.capacity();
            self.runs.push_back(Run::Own(std::mem::take(&mut self.tail)));
            self.account();
        }
    }

    fn push(&mut self, run: Run) {
        self.end_tail();
        self.bytes += run.bytes().len();
        self.own += run.own();
        self.runs.push_back(run);
        self.account();
    }

    /// Charges what it holds: the memory, however much of it is used.
    #[cold]
    #[inline(never)]
    fn account(&mut self) {
        let runs = self.runs.capacity() * size_of::<Run>();
        let keyed = self.keyed.as_ref().map_or(0, |keyed| keyed.cost());
        self.room = self.tail.capacity();
        self.charge.set(self.own + self.room + runs + keyed);
    }

    /// Whether it is worth keeping once it is empty.
    fn is_small(&self) -> bool {
        self.tail.capacity() <= POOLED_TAIL && self.runs.capacity() <= POOLED_RUNS
    }

    fn clear(&mut self) {
        // Most have had nothing but a tail.
        if self.charge.bytes() > 0 {
            self.clear_runs();
        }
        self.tail.clear();
        (self.written, self.bytes) = (0, 0);
    }

    #[cold]
    #[inline(never)]
    fn clear_runs(&mut self) {
        self.runs.clear();
        self.keyed = None;
        self.own = 0;
        self.charge.set(0);
    }

    /// Takes less than all bytes off the front.
    #[inline(never)]
    fn advance(&mut self, count: usize) -> bool {
        self.bytes -= count;
        self.written += count;
        let mut ended = false;
        while let Some(run) = self.runs.front()
            && self.written >= run.bytes().len()
        {
            self.written -= run.bytes().len();
            let run = self.runs.pop_front();
            self.own -= run.as_ref().map_or(0, Run::own);
            if let Some(keyed) = &mut self.keyed {
                keyed.popped(run.as_ref());
            }
            ended = true;
        }
        if ended {
            self.account();
        }
        ended
    }
}

impl BufferPool {
    /// Takes a queue of which everything is written.
    fn put(&mut self, queue: Option<Box<Queue>>) {
        let Some(mut queue) = queue.filter(|queue| self.0.len() < POOLED_QUEUES && queue.is_small()) else { return };
        queue.clear();
        self.0.push(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    fn front(outbox: &Outbox) -> Vec<Vec<u8>> {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().map(|slice| slice.to_vec()).collect()
    }

    fn shared(bytes: Vec<u8>) -> Block {
        Rc::new(crate::memory::Shared::new(bytes))
    }

    fn push(outbox: &mut Outbox, alone: bool, bytes: &[u8]) {
        outbox.push_with(&mut BufferPool::default(), alone, |run| run.extend_from_slice(bytes));
    }

    #[test]
    fn small_frames_are_joined_and_shared_ones_are_not() {
        let mut outbox = Outbox::default();
        push(&mut outbox, false, b"ab");
        push(&mut outbox, false, b"cd");
        outbox.push_shared(&mut BufferPool::default(), &shared(b"ef".to_vec()));
        outbox.push_shared(&mut BufferPool::default(), &shared(vec![b'x'; 600]));
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

    proptest::proptest! {
        /// Each step queues so many bytes in one of three ways, or writes so many.
        #[test]
        fn what_goes_out_is_what_was_queued(steps in proptest::collection::vec((0..4, 1..3_000usize), 0..40)) {
            let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
            let (mut expected, mut next) = (Vec::new(), 0_u8);
            for (step, count) in steps {
                next = next.wrapping_add(1);
                let bytes = vec![next; count];
                match step {
                    0 => outbox.push_with(&mut pool, false, |run| run.extend_from_slice(&bytes)),
                    1 => outbox.push_with(&mut pool, true, |run| run.extend_from_slice(&bytes)),
                    2 => outbox.push_shared(&mut pool, &shared(bytes.clone())),
                    _ => {
                        let count = count.min(expected.len());
                        expected.drain(..count);
                        outbox.advance(&mut pool, count);
                    }
                }
                if step < 3 {
                    expected.extend(bytes);
                }
                let mut slices = [IoSlice::new(&[]); 64];
                let filled = outbox.slices(&mut slices);
                let mut waiting = Vec::new();
                slices[..filled].iter().for_each(|slice| waiting.extend_from_slice(slice));
                assert_eq!(waiting, expected);
                assert_eq!((outbox.bytes(), outbox.is_empty()), (expected.len(), expected.is_empty()));
                assert_eq!(outbox.front(), &*slices[0]);
                outbox.account();
                let queue = outbox.0.as_deref();
                assert_eq!(queue.map_or(0, |queue| queue.own), queue.map_or(0, |queue| queue.runs.iter().map(Run::own).sum()));
                assert_eq!(memory::held(Kind::Outbox), outbox.charged());
                assert!(outbox.only_run().is_none_or(|run| filled < 2 && run == outbox.front()));
            }
        }
    }
}
