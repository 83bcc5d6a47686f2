//! Which opcodes browsers may send, for each resource.
//!
//! Attaches to the dialog with one line, before the application sees a message; backends never come
//! here. It knows opcodes as words only, not what they do. No PHP counterpart.

use crate::error::InvalidValue;
use crate::ids::{ClientType, SocketId};
use crate::packet::{Message, Packet};
use crate::printable::Printable;
use crate::server::Server;

/// What browsers may send under `receive_only`: nothing that reaches others but their coming and going.
const RECEIVING: [&str; 4] = ["quit", "join", "leave", "who"];
/// The opcodes whose refusals are logged apart: one bit each, and one for all others.
const OURS: [&str; 7] = ["quit", "feedback", "echo", "broadcast", "join", "leave", "who"];
/// Bytes of an opcode, and of a room's name, that a refusal repeats.
const REPEATED: usize = 128;
/// All resources that have no list of their own.
const OTHERS: &str = "*";

/// Lists of opcodes by the path of their resource. Empty lists nothing and so permits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrowserOpcodes {
    lists: Vec<List>,
    /// The list that was named last.
    current: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    path: String,
    all: bool,
    opcodes: Vec<String>,
}

impl BrowserOpcodes {
    /// Adds one item: an opcode, `all` or `none`; `PATH=` before it names the resource for it and the
    /// items that follow, `*=` all resources without a list, which is where the first items go.
    pub fn add(&mut self, item: &str) -> Result<(), InvalidValue> {
        let named = item.split_once('=').filter(|(path, _)| path.starts_with('/') || *path == OTHERS);
        let opcode = named.map_or(item, |(_, opcode)| opcode);
        if opcode.is_empty() {
            return Err(format!("'{item}' names no opcode; write all, none, or opcodes separated by commas").into());
        }
        if let Some(path) = named.map(|(path, _)| path).or(self.lists.is_empty().then_some(OTHERS)) {
            self.current = self.of(path).unwrap_or_else(|| {
                self.lists.push(List { path: path.to_owned(), ..List::default() });
                self.lists.len() - 1
            });
        }
        let list = &mut self.lists[self.current];
        match opcode {
            "all" => list.all = true,
            "none" => {}
            opcode => list.opcodes.push(opcode.to_owned()),
        }
        Ok(())
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// A path that has a list though it is none of these.
    pub(crate) fn stray<'a>(&self, known: impl Iterator<Item = &'a str>) -> Option<&str> {
        let known: Vec<&str> = known.chain([OTHERS]).collect();
        self.lists.iter().map(|list| list.path.as_str()).find(|path| !known.contains(path))
    }

    fn of(&self, path: &str) -> Option<usize> {
        self.lists.iter().position(|list| list.path == path)
    }
}

impl Server {
    /// Whether a browser may send this message to the resource of that path; if not, it is told so.
    /// What is no packet, or one without an opcode, has the empty word for one.
    pub(crate) fn permits(&mut self, id: SocketId, path: &str, message: Message<'_>) -> bool {
        let limits = self.limits();
        let restricted = limits.receive_only || !limits.browser_opcodes.is_empty();
        if !restricted || self.clients[id].client_type != ClientType::Websocket {
            return true;
        }
        let lists = &limits.browser_opcodes;
        let list = lists.of(path).or_else(|| lists.of(OTHERS)).map(|at| &lists.lists[at]);
        if list.map_or(!limits.receive_only, |list| list.all) {
            return true;
        }
        let packet = Packet::parse(message).ok();
        let (opcode, room) = packet.as_ref().map_or(("", ""), |packet| (packet.opcode(), packet.room()));
        let permitted = match list {
            Some(list) => list.opcodes.iter().any(|listed| listed == opcode),
            None => RECEIVING.contains(&opcode),
        };
        if !permitted {
            self.refuse(id, opcode, room, None);
        }
        permitted
    }

    /// Tells a client that its message was not acted on. The log has it once for each opcode of ours,
    /// and once for all others: a flood of them is not to fill it.
    pub(crate) fn refuse(&mut self, id: SocketId, opcode: &str, room: &str, error: Option<&str>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let kind = 1 << OURS.iter().position(|ours| *ours == opcode).unwrap_or(OURS.len());
        let logged = client.refusals_logged & kind != 0;
        client.refusals_logged |= kind;
        let why = error.unwrap_or("not permitted to browsers here");
        if !logged {
            log::info!("Socket {id} - refused opcode '{}': {why}", Printable(opcode));
        }
        self.write(id, &refusal(opcode, room, error));
    }
}

fn refusal(opcode: &str, room: &str, error: Option<&str>) -> String {
    let quoted = |text: &str| serde_json::Value::from(&text[..text.floor_char_boundary(REPEATED)]);
    let room = if room.is_empty() { String::new() } else { format!(r#","room":{}"#, quoted(room)) };
    let error = error.map_or(String::new(), |error| format!(r#","error":{}"#, quoted(error)));
    format!(r#"{{"opcode":"refused","refused":{}{room}{error}}}"#, quoted(opcode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(items: &[&str]) -> Vec<(String, bool, Vec<String>)> {
        let mut opcodes = BrowserOpcodes::default();
        items.iter().for_each(|item| opcodes.add(item).unwrap());
        opcodes.lists.into_iter().map(|list| (list.path, list.all, list.opcodes)).collect()
    }

    fn list(path: &str, all: bool, opcodes: &[&str]) -> (String, bool, Vec<String>) {
        (path.into(), all, opcodes.iter().map(|opcode| (*opcode).into()).collect())
    }

    #[test]
    fn an_opcode_belongs_to_the_path_before_it() {
        assert_eq!(lists(&["quit", "echo"]), [list("*", false, &["quit", "echo"])]);
        let both = [list("/web", false, &["quit", "a=b"]), list("*", true, &[])];
        assert_eq!(lists(&["/web=quit", "a=b", "*=all"]), both);
        let again = [list("/a", false, &["x", "y"]), list("/b", false, &[])];
        assert_eq!(lists(&["/a=x", "/b=none", "/a=y"]), again);
    }

    #[test]
    fn an_item_without_an_opcode_is_an_error() {
        for item in ["", "/web=", "*="] {
            assert!(BrowserOpcodes::default().add(item).is_err(), "{item}");
        }
    }

    #[test]
    fn a_refusal_repeats_no_long_words() {
        let text = refusal(&"ä".repeat(1000), "", Some("why"));
        assert_eq!(text, format!(r#"{{"opcode":"refused","refused":"{}","error":"why"}}"#, "ä".repeat(64)));
    }
}
