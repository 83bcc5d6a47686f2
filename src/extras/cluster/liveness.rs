//! Whether a process that is not connected still lives: others of its host can see that.
//!
//! A process that was killed and one that lost its link look the same from Redis. Of the clients of the first nobody need
//! know anything; of those of the second nobody does. On one host, in one namespace of processes and under one user,
//! `/proc` tells the two apart. Elsewhere it stays unknown until the keys of the process end.

use std::fs;

use super::replies::{element, elements, text};
use super::{Cluster, Pending};
use crate::extras::redis::Reply;

/// How this process can be found by others of its host: the boot, the namespace and the user, then the process and when
/// it began. `None` where the system does not say.
pub(super) fn identity() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.to_owned();
    let process = std::process::id().to_string();
    let begun = begun(&process)?;
    Some([boot.trim(), &namespace.display().to_string(), &user, &process, &begun].join(" "))
}

/// When a process began, in ticks since the boot.
fn begun(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether the process of another identity is gone for sure.
fn is_gone(own: &str, other: &str) -> bool {
    let [own, other] = [own, other].map(|identity| identity.split(' ').collect::<Vec<_>>());
    match other[..] {
        [boot, namespace, user, process, began] if own.starts_with(&[boot, namespace, user]) => {
            process.bytes().all(|byte| byte.is_ascii_digit()) && begun(process).as_deref() != Some(began)
        }
        _ => false,
    }
}

impl Cluster {
    /// Of the processes that are not connected those are noted as dead that this one can see to be gone.
    pub(super) fn note_dead(&mut self, reply: &Reply) {
        let Some(own) = self.identity.clone() else { return };
        for pair in elements(element(reply, 2)).chunks_exact(2) {
            if let (Some(node), Some(other)) = (text(Some(&pair[0])), text(Some(&pair[1])))
                && is_gone(&own, other)
            {
                let key = self.key("processes");
                let _ = self.send(&[b"HSET", key.as_bytes(), node.as_bytes(), b""], Pending::Done("noting a dead process"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_seen_is_known_to_be_gone() {
        let own = identity().unwrap();
        assert!(!is_gone(&own, &own));
        let mut child = std::process::Command::new("sleep").arg("9").spawn().unwrap();
        let parts: Vec<&str> = own.split(' ').collect();
        let process = child.id().to_string();
        let began = begun(&process).unwrap();
        let other = [parts[0], parts[1], parts[2], &process, &began].join(" ");
        assert!(!is_gone(&own, &other));
        assert!(is_gone(&own, &[parts[0], parts[1], parts[2], &process, "1"].join(" ")), "another one has its number");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(&own, &other));
        for elsewhere in ["", "a b c 1 1", &other.replacen(parts[0], "another", 1), &other.replacen(&process, "../1", 1)] {
            assert!(!is_gone(&own, elsewhere), "{elsewhere}");
        }
    }
}
