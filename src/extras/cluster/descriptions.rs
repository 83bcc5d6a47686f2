//! What a process knows of a client, for another one that is asked.

use serde_json::json;

use super::replies::{element, number, text};
use super::{Cluster, Pending, wire};
use crate::extras::http::endpoints;
use crate::extras::redis::Reply;
use crate::server::Server;

impl Cluster {
    /// Asks the process that has a client.
    pub(super) fn ask_about(&mut self, server: &mut Server, uuid: &str, ask: u64) {
        let line = wire::line("describe", json!({"from": self.node, "ask": ask, "uuid": uuid}), "");
        if self.run(|scripts| &scripts.describe, &[uuid, &line], Pending::Describe(ask)).is_err() {
            server.extras.receipts.asks.unknown(ask);
        }
    }

    /// Another process asks; an empty answer says that the client is not here.
    pub(super) fn describe(&mut self, server: &mut Server, from: &str, ask: u64, uuid: &str) {
        let text = server.find_uuid(uuid).and_then(|id| endpoints::describe(server, id)).unwrap_or_default();
        self.publish("an answer", &format!("to:{from}"), &wire::line("description", json!({"ask": ask}), &text));
    }
}

/// It was asked, if it is connected. If not, one that may come back is known as far as Redis knows it; of
/// another one nobody knows.
pub(super) fn describing(server: &mut Server, ask: u64, reply: &Reply) {
    let asks = &mut server.extras.receipts.asks;
    match number(element(reply, 0)) {
        None => asks.nowhere(ask, "nobody has that uuid"),
        Some(0) if text(element(reply, 3)) == Some("1") => {
            let [born, bytes] = [4, 5].map(|place| number(element(reply, place)).unwrap_or_default().unsigned_abs());
            let [client_type, path] = [1, 2].map(|place| text(element(reply, place)).unwrap_or_default());
            asks.text(ask, endpoints::describe_between(born, wire::count(bytes), client_type, path));
        }
        Some(0) => asks.unknown(ask),
        Some(_) => {}
    }
}

/// It has answered.
pub(super) fn described(server: &mut Server, ask: u64, text: String) {
    match text.is_empty() {
        true => server.extras.receipts.asks.nowhere(ask, "nobody has that uuid"),
        false => server.extras.receipts.asks.text(ask, text),
    }
}
