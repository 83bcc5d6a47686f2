//! What processes say to each other: one line of JSON, and behind it the text as it came.
//!
//! The line has a version, the position that Redis gave the message, and its kind; docs/cluster.md has the
//! table. Nothing here knows Redis or clients.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::elsewhere::{Fates, Target};

/// The version that these processes speak; others are not understood.
const VERSION: u64 = 1;

/// What came on a channel.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// A message for clients.
    Message(Remote),
    /// What became of a message that was asked about.
    Fate { ask: u64, fates: Fates },
    /// Another process has that client from here on, or wants to have it: then it has a name and waits for an answer. The
    /// client came there at that position, and had seen the messages up to that number.
    Yield { uuid: String, at: u64, seq: u64, node: Option<String> },
    /// The answer: that client is free, or it is here still.
    Yielded { uuid: String, free: bool },
    /// That client has come back as a new one: whoever has it lets go of it.
    Lost { uuid: String },
    /// How many members of a room a process has, and those that came and went.
    Presence { from: String, room: String, count: usize, moved: Value },
    /// Another process wants to know of a client.
    Describe { from: String, ask: u64, uuid: String },
    /// The answer to that.
    Description { ask: u64, text: String },
}

/// A message for clients, on its way between processes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remote {
    /// Its position; 0 where it has none.
    pub(crate) at: u64,
    /// The process that it comes from, and its number there.
    pub(crate) from: String,
    pub(crate) id: u64,
    pub(crate) to: Target,
    /// The uuid of the client that sent it, or empty.
    pub(crate) sender: String,
    pub(crate) key: Option<String>,
    /// The number of the question what became of it.
    pub(crate) ask: Option<u64>,
    pub(crate) text: String,
}

impl Remote {
    /// All but version and position, which Redis puts before it; the target of a message for one too.
    pub(crate) fn rest(&self) -> String {
        let mut line = json!({"kind": "message", "from": self.from, "id": self.id});
        match &self.to {
            Target::All => line["to"] = "all".into(),
            Target::Path(path) => line["to"] = json!({"path": path}),
            Target::Room(room) => line["to"] = json!({"room": room}),
            Target::One { .. } => {}
        }
        if !self.sender.is_empty() {
            line["sender"] = self.sender.as_str().into();
        }
        if let Some(key) = &self.key {
            line["key"] = key.as_str().into();
        }
        if let Some(ask) = self.ask {
            line["ask"] = ask.into();
        }
        format!("{}\n{}", &line.to_string()[1..], self.text)
    }
}

/// A line of another kind, for one process or the members of a room.
pub(crate) fn line(kind: &str, members: Value, text: &str) -> String {
    let mut line = json!({"v": VERSION, "at": 0, "kind": kind});
    if let (Some(line), Value::Object(members)) = (line.as_object_mut(), members) {
        line.extend(members);
    }
    format!("{line}\n{text}")
}

impl Line {
    /// Reads what came; `None` where it is nothing that this version understands.
    pub(crate) fn parse(payload: &[u8]) -> Option<Line> {
        let payload = std::str::from_utf8(payload).ok()?;
        let (head, text) = payload.split_once('\n')?;
        let line: Value = serde_json::from_str(head).ok()?;
        if line["v"].as_u64() != Some(VERSION) {
            return None;
        }
        let string = |key: &str| line[key].as_str().map(str::to_owned);
        let number = |key: &str| line[key].as_u64();
        let count = |key: &str| number(key).map(count);
        Some(match line["kind"].as_str()? {
            "message" => Line::Message(Remote {
                at: number("at")?,
                from: string("from")?,
                id: number("id")?,
                to: target(&line["to"])?,
                sender: string("sender").unwrap_or_default(),
                key: string("key"),
                ask: number("ask"),
                text: text.to_owned(),
            }),
            "fate" => Line::Fate {
                ask: number("ask")?,
                fates: Fates {
                    delivered: count("delivered")?,
                    queued: count("queued")?,
                    failed: count("failed")?,
                    dropped: line["dropped"] == true,
                },
            },
            "yield" => Line::Yield { uuid: string("uuid")?, at: number("at")?, seq: number("seq")?, node: string("node") },
            "yielded" => Line::Yielded { uuid: string("uuid")?, free: line["free"].as_bool()? },
            "lost" => Line::Lost { uuid: string("uuid")? },
            "presence" => Line::Presence {
                from: string("from")?,
                room: string("room")?,
                count: count("count")?,
                moved: line["moved"].clone(),
            },
            "describe" => Line::Describe { from: string("from")?, ask: number("ask")?, uuid: string("uuid")? },
            "description" => Line::Description { ask: number("ask")?, text: text.to_owned() },
            _ => return None,
        })
    }
}

/// The channel of a target that is not one client.
pub(crate) fn channel(to: &Target) -> Rc<str> {
    match to {
        Target::All => "all".into(),
        Target::Path(path) => format!("path:{path}").into(),
        Target::Room(room) => format!("room:{room}").into(),
        Target::One { .. } => "".into(),
    }
}

/// A count that sums of many can't overflow.
pub(crate) fn count(number: u64) -> usize {
    number.min(u32::MAX.into()) as usize
}

fn target(value: &Value) -> Option<Target> {
    let member = |key: &str| value[key].as_str().map(Box::from);
    match value.as_str() {
        Some("all") => Some(Target::All),
        Some(_) => None,
        None => member("path").map(Target::Path).or(member("room").map(Target::Room)).or_else(|| {
            let uuid = value["uuid"].as_str()?.into();
            Some(Target::One { uuid, ident: Box::default() })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_as_it_went() {
        let text = "{\"opcode\":\"broadcast\",\"n\":1.0}\n with a line";
        for to in [Target::All, Target::Path("/web".into()), Target::Room("a \"room\"".into())] {
            let remote = Remote {
                at: 17,
                from: "node".into(),
                id: 3,
                to,
                sender: "uuid".into(),
                key: Some("k\n".into()),
                ask: Some(9),
                text: text.into(),
            };
            let payload = format!(r#"{{"v":1,"at":17,{}"#, remote.rest());
            assert_eq!(Line::parse(payload.as_bytes()), Some(Line::Message(remote)));
        }
        let one = "{\"v\":1,\"at\":5,\"to\":{\"uuid\":\"u\"},\"kind\":\"message\",\"from\":\"n\",\"id\":1}\nx";
        assert!(matches!(Line::parse(one.as_bytes()), Some(Line::Message(Remote { to: Target::One { .. }, .. }))));
    }

    #[test]
    fn what_is_of_another_version_or_kind_is_nothing() {
        for payload in [
            "",
            "{}",
            "{}\n",
            "nonsense\n",
            "{\"v\":2,\"at\":1,\"kind\":\"yield\",\"uuid\":\"u\"}\n",
            "{\"v\":1,\"kind\":\"other\"}\n",
            "{\"v\":1,\"kind\":\"yield\"}\n",
            "{\"v\":1,\"kind\":\"message\",\"at\":-1}\n",
        ] {
            assert_eq!(Line::parse(payload.as_bytes()), None, "{payload}");
        }
        assert_eq!(Line::parse(b"\xFF\n"), None);
        let fate = line("fate", json!({"ask": 1, "delivered": 2, "queued": 3, "failed": 4}), "");
        assert_eq!(
            Line::parse(fate.as_bytes()),
            Some(Line::Fate { ask: 1, fates: Fates { delivered: 2, queued: 3, failed: 4, dropped: false } })
        );
    }
}
