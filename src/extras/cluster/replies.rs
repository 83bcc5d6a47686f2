//! Reading what Redis said. What is not as expected is nothing.

use crate::extras::redis::Reply;

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
