//! Frames with a key: while one waits, a newer one with the same key takes its place.
//!
//! A part of the outbox, made with the first such frame and gone when nothing waits any more. It knows
//! where in the queue each key's frame is; the PHP original has no counterpart.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::outbox::Run;
use crate::ids::SocketId;
use crate::memory::Shared;
use crate::rfc6455::{Opcode, frame};

/// The longest key, in bytes.
pub(crate) const MAX_KEY: usize = 128;

/// One frame, shared by all its receivers.
#[derive(Debug)]
pub(crate) struct KeyedFrame {
    pub(crate) key: Rc<str>,
    pub(crate) bytes: Shared<Vec<u8>>,
    /// Whether somebody waits to hear what became of it.
    pub(crate) tracked: Cell<bool>,
    /// The clients for whom a newer frame took its place meanwhile.
    pub(crate) replaced: RefCell<HashSet<SocketId>>,
}

impl KeyedFrame {
    pub(crate) fn new(key: &str, text: &str, tracked: bool) -> KeyedFrame {
        let mut bytes = Vec::new();
        frame::encode(Opcode::Text, text.as_bytes(), &mut bytes);
        KeyedFrame { key: key.into(), bytes: Shared::new(bytes), tracked: Cell::new(tracked), replaced: RefCell::default() }
    }
}

/// The place of each key's newest frame. A place counts all runs since the first key, also those that
/// have left the queue, so that it stays the same as the queue moves on.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    places: HashMap<Rc<str>, usize>,
    left: usize,
}

impl Keyed {
    /// Where in the queue the newest frame with that key is.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.places.get(key).and_then(|place| place.checked_sub(self.left))
    }

    pub(super) fn insert(&mut self, key: Rc<str>, at: usize) {
        self.places.insert(key, self.left + at);
    }

    /// The first run has left the queue.
    pub(super) fn popped(&mut self, run: Option<&Run>) {
        if let Some(Run::Keyed(frame)) = run
            && self.places.get(&frame.key) == Some(&self.left)
        {
            self.places.remove(&frame.key);
        }
        self.left += 1;
    }

    /// What the places cost in memory, with the longest keys.
    pub(super) fn cost(&self) -> usize {
        const PLACE: usize = 64;
        (MAX_KEY + PLACE) * self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::{BufferPool, Outbox};
    use super::*;

    fn frame(key: &str, text: &str) -> Rc<KeyedFrame> {
        Rc::new(KeyedFrame::new(key, text, false))
    }

    fn bytes(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_newer_frame_takes_the_place_of_the_older_with_its_key() {
        let mut outbox = Outbox::default();
        outbox.push_with(&mut BufferPool::default(), false, |run| run.extend(b"--"));
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "1")).is_none());
        outbox.push_with(&mut BufferPool::default(), false, |run| run.extend(b"=="));
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("b", "2")).is_none());
        let old = outbox.push_keyed(&mut BufferPool::default(), &frame("a", "345")).expect("the frame that waited");
        assert_eq!(*old.bytes, b"\x81\x011");
        assert_eq!(bytes(&outbox), b"--\x81\x03345==\x81\x012");
        assert_eq!(outbox.bytes(), bytes(&outbox).len());
    }

    #[test]
    fn places_hold_while_the_queue_moves_on() {
        let mut outbox = Outbox::default();
        outbox.push_with(&mut BufferPool::default(), true, |run| run.extend(b"--"));
        outbox.push_keyed(&mut BufferPool::default(), &frame("a", "1"));
        outbox.push_keyed(&mut BufferPool::default(), &frame("b", "2"));
        outbox.advance(&mut BufferPool::default(), 2);
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("b", "3")).is_some());
        outbox.advance(&mut BufferPool::default(), 3);
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "4")).is_none(), "what was sent is not replaced");
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("b", "5")).is_some());
        assert_eq!(bytes(&outbox), b"\x81\x015\x81\x014");
        outbox.advance(&mut BufferPool::default(), 6);
        assert!(outbox.is_empty() && outbox.cost() == 0);
    }

    #[test]
    fn a_frame_that_is_written_in_part_is_finished() {
        let mut outbox = Outbox::default();
        outbox.push_keyed(&mut BufferPool::default(), &frame("a", "1"));
        outbox.advance(&mut BufferPool::default(), 1);
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "2")).is_none());
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "3")).is_some());
        assert_eq!(bytes(&outbox), b"\x011\x81\x013");
        outbox.advance(&mut BufferPool::default(), 2);
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "4")).is_some());
        outbox.discard_unsent();
        assert!(outbox.push_keyed(&mut BufferPool::default(), &frame("a", "5")).is_none());
        assert_eq!(bytes(&outbox), b"\x81\x015");
    }

    #[test]
    fn keys_cost_what_they_hold() {
        let mut outbox = Outbox::default();
        outbox.push_keyed(&mut BufferPool::default(), &frame("a", "1"));
        outbox.push_keyed(&mut BufferPool::default(), &frame("a", "2"));
        assert_eq!(outbox.cost(), 3 + 64 + 192);
        outbox.push_keyed(&mut BufferPool::default(), &frame("b", "2"));
        assert_eq!(outbox.cost(), 2 * (3 + 64 + 192));
    }
}
