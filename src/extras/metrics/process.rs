//! What the system says of this process, read from `/proc/self` when somebody asks.
//!
//! A part of [`metrics`](super). What can't be read, for instance on another system, is left out.

use std::fs;

/// Ticks of `/proc/self/stat` in a second: fixed by Linux for all its programs.
const TICKS: f64 = 100.0;

/// What is known of the process.
#[derive(Default)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Process {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Process {
            resident_bytes: resident(&read("status")),
            cpu_seconds: cpu(&read("stat")),
            open_fds: open_fds(),
            max_fds: max_fds(&read("limits")),
        }
    }
}

/// The line `VmRSS:      5432 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The fields utime and stime, the 14th and 15th; the second one is a name that may hold blanks.
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS)
}

/// Linux tells the number as the size of the directory from version 6.2 on; counting ten thousand
/// entries would hold up the loop.
fn open_fds() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count > 0)
}

/// The soft limit of `Max open files   1024   524288   files`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_words_are_read() {
        assert_eq!(resident("VmHWM:\t 9 kB\nVmRSS:\t    5432 kB\n"), Some(5432 * 1024));
        assert_eq!(cpu("1 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20"), Some(2.0));
        assert_eq!(max_fds("Max open files            1024                 524288               files\n"), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files\n"), None);
        assert_eq!((resident(""), cpu(""), max_fds("")), (None, None, None));
    }

    #[test]
    fn this_process_is_known() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(100_000) && process.cpu_seconds.is_some() && process.max_fds > Some(10));
    }
}
