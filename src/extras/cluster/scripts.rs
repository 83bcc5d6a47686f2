//! What runs inside Redis, so that it happens at once: the scripts, which stand in the folder of that name.
//!
//! Each begins with the same helpers and gets the prefix of all keys first. What is passed to all databases of a Redis,
//! the channels, has the database in its names. `tick` gives a position that
//! grows: the time of Redis in microseconds, or one more than the last. `keep` adds a message to a log
//! and remembers up to where a log was cut for its length. docs/cluster.md describes keys and channels.
//!
//! A log has bounds for its messages and for their bytes. Nobody counts what is in it: what Redis drops for its age is
//! not told, and to look at the oldest message would copy it each time. So a log is counted in parts, of a sixteenth of
//! its bounds each. The open one is counted with each message. When it is full, or has been open for an eighth of the
//! time that messages are kept, the closed ones are looked at, and as many of the oldest are cut off as the next one
//! needs. A message that is larger than the bound is a part of its own.
//!
//! All logs together have a bound too, since a room is made in no time. What is over it is taken from the log that was
//! written to longest ago, which goes as a whole.

use sha1::{Digest, Sha1};

const HELPERS: &str = include_str!("scripts/helpers.lua");

/// A script and the digest by which Redis knows it.
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) digest: String,
}

/// All of them.
pub(crate) struct Scripts {
    pub(crate) cast: Script,
    pub(crate) tell: Script,
    pub(crate) register: Script,
    pub(crate) claim: Script,
    pub(crate) store: Script,
    pub(crate) members: Script,
    pub(crate) leave: Script,
    pub(crate) release: Script,
    pub(crate) beat: Script,
    pub(crate) acted: Script,
    pub(crate) owe: Script,
    pub(crate) free: Script,
    pub(crate) describe: Script,
}

impl Scripts {
    /// For one database of a Redis.
    pub(crate) fn new(database: u32) -> Scripts {
        let helpers = HELPERS.replace("%DATABASE%", &database.to_string());
        let script = |body| Script::new(&helpers, body);
        Scripts {
            cast: script(include_str!("scripts/cast.lua")),
            tell: script(include_str!("scripts/tell.lua")),
            register: script(include_str!("scripts/register.lua")),
            claim: script(include_str!("scripts/claim.lua")),
            store: script(include_str!("scripts/store.lua")),
            members: script(include_str!("scripts/members.lua")),
            leave: script(include_str!("scripts/leave.lua")),
            release: script(include_str!("scripts/release.lua")),
            beat: script(include_str!("scripts/beat.lua")),
            acted: script(include_str!("scripts/acted.lua")),
            owe: script(include_str!("scripts/owe.lua")),
            free: script(include_str!("scripts/free.lua")),
            describe: script(include_str!("scripts/describe.lua")),
        }
    }

    pub(crate) fn all(&self) -> [&Script; 13] {
        let Scripts { cast, tell, register, claim, store, members, leave, release, beat, acted, owe, free, describe } = self;
        [cast, tell, register, claim, store, members, leave, release, beat, acted, owe, free, describe]
    }
}

impl Script {
    fn new(helpers: &str, body: &str) -> Script {
        let text = helpers.to_owned() + body;
        let digest = Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        Script { text, digest }
    }
}
