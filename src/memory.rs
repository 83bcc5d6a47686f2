//! What the server holds in memory for its peers, as one sum: what waits to be written, what is kept for clients that
//! come back, what has been read and is not whole.
//!
//! Each part that holds bytes has a [`Charge`] and says how many they are; what several hold is a [`Shared`] and counts
//! once. Both count themselves out as they go, so nothing can be forgotten. The sum is of the thread, since a server has
//! one. How much there may be is read from the system: [`default_limit`]. PHP has one limit for each script.

use std::cell::Cell;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They wait to be written to one client.
    Outbox,
    /// They are kept for clients that may come back.
    Kept,
    /// They were read, and wait for more, or for their turn.
    Inbox,
    /// They are text or frames that several clients share.
    Shared,
    /// They are answers that may be asked for again.
    Answers,
}

impl Kind {
    pub(crate) const ALL: [(Kind, &str); 5] = [
        (Kind::Outbox, "outbox"),
        (Kind::Kept, "kept"),
        (Kind::Inbox, "inbox"),
        (Kind::Shared, "shared"),
        (Kind::Answers, "answers"),
    ];
}

thread_local! {
    static HELD: [Cell<usize>; 5] = const { [const { Cell::new(0) }; 5] };
    static SUM: Cell<usize> = const { Cell::new(0) };
}

/// Bytes of one kind.
pub(crate) fn held(kind: Kind) -> usize {
    HELD.with(|held| held[kind as usize].get())
}

/// All bytes.
#[inline]
pub(crate) fn in_use() -> usize {
    SUM.get()
}

fn change(kind: Kind, from: usize, to: usize) {
    let changed = |sum: usize| sum.wrapping_add(to).wrapping_sub(from);
    HELD.with(|held| held[kind as usize].set(changed(held[kind as usize].get())));
    SUM.set(changed(SUM.get()));
}

/// What one part holds.
#[derive(Debug)]
pub(crate) struct Charge {
    kind: Kind,
    bytes: usize,
}

impl Charge {
    pub(crate) const fn new(kind: Kind) -> Charge {
        Charge { kind, bytes: 0 }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The part holds so many bytes now.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        if self.bytes != bytes {
            change(self.kind, self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes that several outboxes may hold.
pub(crate) type Block = Rc<Shared<Vec<u8>>>;

/// What a shared block costs beside its bytes.
const BLOCK: usize = 64;

/// Bytes that several parts hold, in an `Rc`.
#[derive(Debug)]
pub(crate) struct Shared<B: AsRef<[u8]>>(B);

impl<B: AsRef<[u8]>> Shared<B> {
    pub(crate) fn new(bytes: B) -> Shared<B> {
        change(Kind::Shared, 0, bytes.as_ref().len() + BLOCK);
        Shared(bytes)
    }
}

impl<B: AsRef<[u8]>> Drop for Shared<B> {
    fn drop(&mut self) {
        change(Kind::Shared, self.0.as_ref().len() + BLOCK, 0);
    }
}

impl<B: AsRef<[u8]>> Deref for Shared<B> {
    type Target = B;

    #[inline]
    fn deref(&self) -> &B {
        &self.0
    }
}

/// The least that a server may hold.
pub(crate) const LEAST: usize = 32 * 1024 * 1024;
/// Where the size of the memory can't be read.
const UNKNOWN: u64 = 1 << 30;

/// A quarter of the memory that there is for this process: of the machine, or of the control group with the lowest limit
/// on the way to it. At least 32 MiB.
pub(crate) fn default_limit() -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_files(&groups).filter_map(|file| limit_of(&std::fs::read_to_string(file).ok()?));
    let least = limits.chain(ram(&meminfo)).min().unwrap_or(UNKNOWN);
    LEAST.max(usize::try_from(least / 4).unwrap_or(usize::MAX))
}

/// The line `MemTotal:  24576000 kB`.
fn ram(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The files with limits of all control groups on the way, of version 2 (`0::/a/b`) and 1 (`9:memory:/a/b`). In a
/// container the way may begin outside of what it sees, so the root is looked at too.
fn group_files(groups: &str) -> impl Iterator<Item = std::path::PathBuf> {
    groups
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            match controllers {
                "" => Some(("/sys/fs/cgroup", "memory.max", path)),
                list if list.split(',').any(|name| name == "memory") => {
                    Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
                }
                _ => None,
            }
        })
        .flat_map(|(root, file, path)| {
            let path = Path::new(path.trim_start_matches('/'));
            path.ancestors().map(move |group| Path::new(root).join(group).join(file)).collect::<Vec<_>>()
        })
}

/// A limit as the system writes it; `max`, or a number beyond all memory, is none.
fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_counted_out() {
        let before = in_use();
        let mut charge = Charge::new(Kind::Outbox);
        charge.set(100);
        charge.set(40);
        let shared = Rc::new(Shared::new(vec![0; 1000]));
        let other = shared.clone();
        assert_eq!((held(Kind::Outbox), in_use() - before), (40, 1040 + BLOCK));
        drop(shared);
        assert_eq!(in_use() - before, 1040 + BLOCK, "somebody holds it still");
        drop((charge, other));
        assert_eq!(in_use(), before);
    }

    #[test]
    fn the_lowest_limit_on_the_way_counts() {
        assert_eq!(ram("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!((limit_of("max\n"), limit_of("1048576\n"), limit_of("9223372036854771712\n")), (None, Some(1 << 20), None));
        let files = |groups: &str| group_files(groups).map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            files("0::/system.slice/phpws.service\n"),
            [
                "/sys/fs/cgroup/system.slice/phpws.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("5:cpu,memory:/docker\n4:pids:/x\nnonsense\n"),
            ["/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(default_limit() >= LEAST);
    }
}
