//! Keys of requests that may come again, to another process too: who has one, and the answer that it got.
//!
//! One key in Redis for each, under a digest, with one of two texts: that of a claim, or that of an answer. Both expire by
//! themselves. Where Redis does not say who has a key, the table of this process decides alone.

use super::replies::text;
use super::{Cluster, Pending};
use crate::extras::idempotency::Found;
use crate::extras::redis::Reply;
use crate::server::Server;

impl Cluster {
    /// Claims a key for that many seconds, if nobody has it, and asks who has it then.
    pub(super) fn claim_key(&mut self, server: &mut Server, name: &str, request: &str, number: u64, seconds: u64) {
        let (key, seconds) = (self.key(&format!("once:{name}")), seconds.to_string());
        let own = Found::claimed(request, &self.node, number);
        self.command("claiming a key", &[b"SET", key.as_bytes(), own.as_bytes(), b"NX", b"EX", seconds.as_bytes()]);
        if self.send(&[b"GET", key.as_bytes()], Pending::HasKey { number, own }).is_err() {
            key_unknown(server, number);
        }
    }

    /// Redis says who has a key.
    pub(super) fn key_held(&mut self, server: &mut Server, number: u64, own: &str, reply: &Reply) {
        let found = text(Some(reply)).filter(|held| *held != own).and_then(Found::parse);
        server.extras.idempotency.heard.push((number, found));
    }

    /// Puts the answer in the place of the claim, or takes the claim away. What comes late must not harm a claim that has
    /// taken over.
    pub(super) fn settle_key(&mut self, name: &str, text: Option<&str>, seconds: u64, is_late: bool) {
        let (key, seconds) = (self.key(&format!("once:{name}")), seconds.to_string());
        match text {
            Some(text) => {
                let mut command: Vec<&[u8]> = vec![b"SET", key.as_bytes(), text.as_bytes(), b"EX", seconds.as_bytes()];
                command.extend(is_late.then_some(&b"NX"[..]));
                self.command("answering a key", &command);
            }
            None if is_late => {}
            None => self.command("freeing a key", &[b"DEL", key.as_bytes()]),
        }
    }
}

/// Nobody says who has a key.
pub(super) fn key_unknown(server: &mut Server, number: u64) {
    server.extras.idempotency.heard.push((number, None));
}
