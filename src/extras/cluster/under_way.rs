//! Messages of this process that others may not have yet. Data, which knows neither Redis nor clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::wire::{Remote, channel};
use crate::elsewhere::Target;
use crate::ids::SocketId;

/// Keys of messages that are remembered.
const MAX_KEYS: usize = 10_000;

/// Messages of this process, by their number here.
#[derive(Default)]
pub(super) struct UnderWay {
    pub(super) last: u64,
    /// Those that were given to Redis and have not come back.
    pub(super) given: BTreeMap<u64, Remote>,
    /// Those that were delivered here alone, since nobody knows whether Redis had them. The newest of them are
    /// remembered: an older one would have come back by now.
    pub(super) alone: BTreeSet<u64>,
    /// When clients here got a message with a key that others may not have got, by its receivers and the key.
    keys: HashMap<(String, String), u64>,
}

impl UnderWay {
    /// Those that were given to Redis and have not come back.
    pub(super) fn under_way(&self) -> usize {
        self.given.len()
    }

    /// Clients here got a message with that key alone, at that position.
    pub(super) fn note_key(&mut self, to: &Target, key: &str, position: Option<u64>) {
        if self.keys.len() >= MAX_KEYS {
            self.keys.clear();
        }
        if let Some(position) = position {
            self.keys.insert((receivers(to), key.to_owned()), position);
        }
    }

    /// Whether the clients here got a newer message with the same key alone.
    pub(super) fn has_newer(&self, remote: &Remote) -> bool {
        let Some(key) = remote.key.as_ref().filter(|_| !self.keys.is_empty()) else { return false };
        self.keys.get(&(receivers(&remote.to), key.clone())).is_some_and(|position| *position > remote.at)
    }
}

/// The receivers as text: a channel, or a uuid.
fn receivers(to: &Target) -> String {
    match to {
        Target::One { uuid, .. } => uuid.to_string(),
        many => channel(many).to_string(),
    }
}

/// A message that was given to Redis, until the reply comes. The message itself is in [`UnderWay`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// Its number.
    pub(super) id: u64,
    /// The number of the question what became of it.
    pub(super) ask: Option<u64>,
    /// The client that gets its `next` for it now.
    pub(super) client: Option<SocketId>,
    /// Whether it was for clients that were here as it was sent, so that it comes back.
    pub(super) comes_back: bool,
}
