//! Reading what Redis said. What is not as expected is nothing.

use serde_json::Value;

use super::wire::{Line, Remote};
use crate::extras::redis::Reply;

/// A room of a client, as it stands in Redis: `[room, name, announce, position]`; the position is for Redis alone.
pub(super) struct RoomOf {
    pub(super) room: String,
    pub(super) name: String,
    pub(super) announce: bool,
}

/// An element of a reply that is a list.
pub(super) fn element(reply: &Reply, at: usize) -> Option<&Reply> {
    match reply {
        Reply::Array(elements) => elements.get(at),
        _ => None,
    }
}

pub(super) fn elements(reply: Option<&Reply>) -> &[Reply] {
    match reply {
        Some(Reply::Array(elements)) => elements,
        _ => &[],
    }
}

pub(super) fn text(reply: Option<&Reply>) -> Option<&str> {
    match reply? {
        Reply::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        Reply::Status(text) => Some(text),
        _ => None,
    }
}

pub(super) fn number(reply: Option<&Reply>) -> Option<i64> {
    match reply? {
        Reply::Int(number) => Some(*number),
        other => text(Some(other))?.parse().ok(),
    }
}

/// The list of rooms of a client; what is no room is passed over.
pub(super) fn rooms(json: &str) -> Vec<RoomOf> {
    let list: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let room = |entry: &Value| {
        Some(RoomOf { room: entry[0].as_str()?.into(), name: entry[1].as_str()?.into(), announce: entry[2].as_bool()? })
    };
    list.iter().filter_map(room).collect()
}

/// The messages in a slice, in the order of their positions.
pub(super) fn messages(slice: Option<&Reply>) -> Vec<Remote> {
    let parse = |payload: &Reply| match payload {
        Reply::Bytes(bytes) => Line::parse(bytes),
        _ => None,
    };
    let mut messages: Vec<Remote> = elements(slice)
        .iter()
        .filter_map(parse)
        .filter_map(|line| match line {
            Line::Message(remote) => Some(remote),
            _ => None,
        })
        .collect();
    messages.sort_by_key(|remote| remote.at);
    messages
}
