//! Log lines on their way to one place: a queue, and a thread that writes it.
//!
//! A terminal that is held, a pipe that nobody reads and a disk that hangs can stop whoever writes to them. So the
//! loop only queues its lines. Where the queue is full, or a line can't be written, the line is counted and dropped.
//! PHP has no counterpart.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of lines that wait for one place; further lines are dropped.
const QUEUED_LOG: usize = 4 * 1024 * 1024;
/// A buffer that grew beyond this in a burst is freed.
const KEPT: usize = 64 * 1024;
/// Pause before a place is tried again whose descriptor somebody else has made non-blocking.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Lines of this process that were dropped, all places together.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that could not be written since the start of the process.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Where lines are written to.
pub(super) trait Place: Send + 'static {
    /// Writes whole lines, and says how many are lost.
    fn write(&mut self, lines: &[u8]) -> u64;
    /// Opens the place anew, if it has a name.
    fn reopen(&mut self) {}
}

/// The lines that wait for a place.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Whoever waits looks again: the thread for lines, others for the thread to be done.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room behind these.
    dropped: u64,
    reopen: bool,
    /// Whether the thread waits for something to do.
    idle: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0 && !self.reopen
    }
}

impl Queue {
    /// Starts a thread that writes to a place. `note` makes the line that says how many lines are missing.
    pub(super) fn start(mut place: impl Place, note: impl Fn(u64) -> Vec<u8> + Send + 'static) -> io::Result<Arc<Queue>> {
        let queue = Arc::new(Queue { state: Mutex::default(), changed: Condvar::new() });
        let own = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || {
            let mut missing = 0;
            loop {
                let State { lines, dropped, reopen, .. } = own.next();
                missing = write(&mut place, missing, &lines, &note);
                if dropped > 0 {
                    missing = write(&mut place, missing + dropped, &[], &note);
                }
                if reopen {
                    place.reopen();
                }
                own.give_back(lines);
            }
        })?;
        Ok(queue)
    }

    /// Queues a line. It never waits for the place.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > QUEUED_LOG || state.dropped > 0 {
            state.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
        } else {
            state.lines.extend_from_slice(line);
        }
        self.wake(state);
    }

    /// Lets the place be opened anew behind the lines that are queued.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.reopen = true;
        self.wake(state);
    }

    /// Waits until all lines are written, or that moment has come; says whether they are.
    pub(super) fn flush(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while !(state.idle && state.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// What there is to do, for the thread.
    fn next(&self) -> State {
        let mut state = self.lock();
        if state.is_empty() {
            state.idle = true;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| state.is_empty()).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut *state)
    }

    /// Keeps the memory of lines that were written.
    fn give_back(&self, mut lines: Vec<u8>) {
        lines.clear();
        let mut state = self.lock();
        if state.lines.capacity() == 0 && lines.capacity() <= KEPT {
            state.lines = lines;
        }
    }

    /// Wakes the thread, if it sleeps: a system call that most lines of a burst do without.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.idle) {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines, and before them how many are missing there. Gives the number that is still to be told.
fn write(place: &mut impl Place, missing: u64, lines: &[u8], note: &impl Fn(u64) -> Vec<u8>) -> u64 {
    let lost = match missing {
        // While there is no room for the note, there is none for the lines.
        1.. if place.write(&note(missing)) > 0 => missing + count_lines(lines),
        _ => return place_lines(place, lines),
    };
    DROPPED.fetch_add(lost - missing, Ordering::Relaxed);
    lost
}

fn place_lines(place: &mut impl Place, lines: &[u8]) -> u64 {
    let lost = if lines.is_empty() { 0 } else { place.write(lines) };
    DROPPED.fetch_add(lost, Ordering::Relaxed);
    lost
}

/// Writes whole lines, however long that takes, and says how many are lost since an error came. `torn` is whether the
/// last line that went there has no end.
pub(super) fn write_lines(out: &mut impl Write, lines: &[u8], torn: &mut bool) -> u64 {
    // What is torn gets an end first, so that nothing is joined to it.
    if *torn && !write_bytes(out, b"\n").is_empty() {
        return count_lines(lines);
    }
    let left = write_bytes(out, lines);
    let written = &lines[..lines.len() - left.len()];
    *torn = !written.is_empty() && !written.ends_with(b"\n");
    count_lines(left)
}

/// Writes until an error comes, and gives what is left.
fn write_bytes<'a>(out: &mut impl Write, mut left: &'a [u8]) -> &'a [u8] {
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => break,
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(_) => break,
        }
    }
    left
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A place that takes lines when it is told to.
    struct Gate {
        asked: mpsc::Sender<()>,
        open: mpsc::Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Place for Gate {
        fn write(&mut self, lines: &[u8]) -> u64 {
            let _ = self.asked.send(());
            // Once the other end is gone it is open for good.
            let _ = self.open.recv();
            self.taken.lock().unwrap().extend_from_slice(lines);
            0
        }
    }

    fn note(count: u64) -> Vec<u8> {
        format!("{count} missing\n").into_bytes()
    }

    #[test]
    fn a_place_that_hangs_holds_up_nobody_and_what_was_dropped_is_told() {
        let (opener, open) = mpsc::channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (asked, asks) = mpsc::channel();
        let queue = Queue::start(Gate { asked, open, taken: taken.clone() }, note).unwrap();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        queue.push(&line);
        // The thread has the first line in hand.
        asks.recv().unwrap();
        let start = Instant::now();
        (0..QUEUED_LOG / 1024 + 10).for_each(|_| queue.push(&line));
        queue.flush(Instant::now() + Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(opener);
        queue.flush(Instant::now() + Duration::from_secs(10));
        queue.push(b"after\n");
        queue.flush(Instant::now() + Duration::from_secs(10));
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        let (notes, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.ends_with(" missing"));
        let missing: u64 = notes.iter().map(|note| note.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(missing, 10);
        assert_eq!(lines.len() as u64 + missing, QUEUED_LOG as u64 / 1024 + 12);
        assert_eq!(text.lines().last(), Some("after"));
        assert!(dropped() >= missing);
    }

    #[test]
    fn the_note_stands_where_the_lines_are_missing() {
        /// Takes nothing while it is full.
        struct Disk(u64, Vec<u8>);
        impl Place for Disk {
            fn write(&mut self, lines: &[u8]) -> u64 {
                if self.0 > 0 {
                    self.0 -= 1;
                    return count_lines(lines);
                }
                self.1.extend_from_slice(lines);
                0
            }
        }
        let mut disk = Disk(2, Vec::new());
        let missing = write(&mut disk, 0, b"1\n2\n", &note);
        assert_eq!(missing, 2);
        let missing = write(&mut disk, missing, b"3\n", &note);
        assert_eq!(missing, 3);
        assert_eq!(write(&mut disk, missing, b"4\n", &note), 0);
        assert_eq!(disk.1, b"3 missing\n4\n");
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next_one() {
        /// A disk with room for so many bytes.
        struct Room(usize, Vec<u8>);
        impl Write for Room {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let count = bytes.len().min(self.0);
                if count == 0 {
                    return Err(ErrorKind::StorageFull.into());
                }
                self.0 -= count;
                self.1.extend_from_slice(&bytes[..count]);
                Ok(count)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut disk, mut torn) = (Room(6, Vec::new()), false);
        assert_eq!(write_lines(&mut disk, b"one\ntwo\nthree\n", &mut torn), 2);
        assert!(torn);
        assert_eq!(write_lines(&mut disk, b"four\n", &mut torn), 1);
        assert!(torn);
        disk.0 = 100;
        assert_eq!(write_lines(&mut disk, b"five\n", &mut torn), 0);
        assert!(!torn);
        assert_eq!(disk.1, b"one\ntw\nfive\n");
    }
}
