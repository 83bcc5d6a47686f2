//! The process under test, seen from outside: who it is, its time on the CPU, its memory. From
//! `/proc`, so only where the server runs on this machine.

use std::fs;
use std::net::SocketAddr;
use std::ops::Sub;
use std::path::Path;

use serde_json::{Value, json};

/// The processes of a server; several where it forks workers.
pub struct ServerProcess {
    pids: Vec<u32>,
    rss_kib_before: u64,
    anon_kib_before: u64,
}

/// Time on the CPU so far.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// Nanoseconds, by the scheduler.
    total: u64,
    /// Ticks in the program and in the system, for their proportion.
    user: u64,
    system: u64,
}

impl Cpu {
    pub fn of(pid: &str) -> Cpu {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).map_while(|word| word.parse().ok());
        let (user, system) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let total = threads.map(|thread| first_number(&thread.path().join("schedstat"))).sum();
        Cpu { total, user, system }
    }

    pub fn seconds(&self) -> f64 {
        self.total as f64 / 1e9
    }

    fn user_share(&self) -> f64 {
        self.user as f64 / (self.user + self.system).max(1) as f64
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu {
            total: self.total.saturating_sub(before.total),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

impl ServerProcess {
    /// The processes of these ids, or those that listen on `addr`; `None` where there are none.
    pub fn find(pids: &[u32], addr: SocketAddr) -> Option<ServerProcess> {
        let pids = if pids.is_empty() { listeners(addr) } else { pids.to_vec() };
        let mut server = ServerProcess { pids, rss_kib_before: 0, anon_kib_before: 0 };
        (server.rss_kib_before, server.anon_kib_before) = (server.memory("VmRSS:"), server.memory("RssAnon:"));
        (server.rss_kib_before > 0).then_some(server)
    }

    pub fn cpu(&self) -> Cpu {
        let all = self.pids.iter().map(|pid| Cpu::of(&pid.to_string()));
        all.fold(Cpu::default(), |a, b| Cpu { total: a.total + b.total, user: a.user + b.user, system: a.system + b.system })
    }

    /// KiB of its own memory, files not counted, that it has gained since the start.
    pub fn gained_kib(&self) -> i64 {
        self.memory("RssAnon:") as i64 - self.anon_kib_before as i64
    }

    fn memory(&self, key: &str) -> u64 {
        self.pids.iter().map(|pid| memory(*pid, key)).sum()
    }

    /// What the report says of it, after `messages` in `seconds` that took it `cpu`.
    pub fn report(&self, cpu: Cpu, messages: u64, seconds: f64) -> Value {
        let per_message = (messages > 0).then(|| cpu.seconds() * 1e6 / messages as f64);
        json!({
            "pid": self.pids[0],
            "cpu_us_per_message": per_message.map(round),
            "user_us_per_message": per_message.map(|us| round(us * cpu.user_share())),
            "system_us_per_message": per_message.map(|us| round(us * (1.0 - cpu.user_share()))),
            "cpu_percent": round(100.0 * cpu.seconds() / seconds),
            "rss_kib_before": self.rss_kib_before,
            "rss_kib": self.memory("VmRSS:"),
        })
    }
}

/// To three digits behind the point.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn first_number(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn memory(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The processes that hold a listening socket of this port.
fn listeners(addr: SocketAddr) -> Vec<u32> {
    let links: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| inodes(table, addr.port())).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.filter(|pid| holds(*pid, &links)).collect();
    pids.sort_unstable();
    pids
}

fn inodes(table: &str, port: u16) -> Vec<String> {
    let listening = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields.get(1)?.ends_with(&format!(":{port:04X}")) && fields.get(3) == Some(&"0A");
        ours.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    };
    fs::read_to_string(table).unwrap_or_default().lines().filter_map(listening).collect()
}

fn holds(pid: u32, links: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|target| links.iter().any(|link| link == target)))
}
