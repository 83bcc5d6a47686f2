//! What a process knows of a client, for another one that is asked: the process is found first, and then asked.

use serde_json::json;

use super::replies::{number, text};
use super::{Cluster, Pending, wire};
use crate::extras::http::endpoints;
use crate::extras::redis::Reply;
use crate::server::Server;

impl Cluster {
    /// Asks Redis for the process that has a client.
    pub(super) fn ask_about(&mut self, server: &mut Server, uuid: Box<str>, ask: u64) {
        let key = self.key(&format!("client:{uuid}"));
        if self.send(&[b"HGET", key.as_bytes(), b"node"], Pending::WhereIs { ask, uuid }).is_err() {
            server.extras.receipts.asks.unknown(ask);
        }
    }

    /// Asks that process.
    pub(super) fn describe_at(&mut self, server: &mut Server, ask: u64, uuid: &str, reply: &Reply) {
        let asks = &mut server.extras.receipts.asks;
        let Some(node) = text(Some(reply)) else { return asks.nowhere(ask, "nobody has that uuid") };
        let channel = self.key(&format!("to:{node}"));
        let line = wire::line("describe", json!({"from": self.node, "ask": ask, "uuid": uuid}), "");
        if self.send(&[b"PUBLISH", channel.as_bytes(), line.as_bytes()], Pending::Describe(ask)).is_err() {
            asks.unknown(ask);
        }
    }

    /// It was asked, if it lives.
    pub(super) fn describing(&mut self, server: &mut Server, ask: u64, reply: &Reply) {
        if number(Some(reply)) == Some(0) {
            server.extras.receipts.asks.nowhere(ask, "the process that had that client is gone");
        }
    }

    /// Another process asks; an empty answer says that the client is not here.
    pub(super) fn describe(&mut self, server: &mut Server, from: &str, ask: u64, uuid: &str) {
        let text = server.find_uuid(uuid).and_then(|id| endpoints::describe(server, id)).unwrap_or_default();
        self.publish("an answer", &format!("to:{from}"), &wire::line("description", json!({"ask": ask}), &text));
    }
}

/// It has answered.
pub(super) fn described(server: &mut Server, ask: u64, text: String) {
    match text.is_empty() {
        true => server.extras.receipts.asks.nowhere(ask, "nobody has that uuid"),
        false => server.extras.receipts.asks.text(ask, text),
    }
}
