//! What Redis is told: commands, scripts, subscriptions.
//!
//! Nothing here waits. A command that can't be given, since the connection is lost or too much waits, is either made
//! good later or reported as [`Busy`].

use std::rc::Rc;

use super::scripts::{Script, Scripts};
use super::wire::channel;
use super::{Cluster, Pending, VERSION};
use crate::elsewhere::Target;
use crate::error::InvalidValue;
use crate::extras::redis::Busy;

/// What scripts take for yes and no.
pub(super) fn flag(is: bool) -> &'static str {
    if is { "1" } else { "0" }
}

impl Cluster {
    /// What all names begin with.
    pub(super) fn root(&self) -> &str {
        if self.link.is_clustered() { &self.braced } else { &self.prefix }
    }

    /// The full name of a key.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}:{VERSION}:{rest}", self.root())
    }

    /// The key that processes of all versions share.
    pub(super) fn versions_key(&self) -> String {
        format!("{}:versions", self.root())
    }

    /// The full name of a channel. Redis passes what is published to all of its databases.
    fn channel(&self, rest: &str) -> String {
        self.key(&format!("{}:{rest}", self.database))
    }

    /// Sends a command of which only an error is of interest; `what` is what it does.
    pub(super) fn command(&mut self, what: &'static str, command: &[&[u8]]) {
        // Where it can't be sent all is written anew after the next connection.
        let _ = self.send(command, Pending::Done(what));
    }

    /// Sends a command.
    pub(super) fn send(&mut self, command: &[&[u8]], pending: Pending) -> Result<(), Busy> {
        let tag = self.link.send(command)?;
        self.pending.insert(tag, pending);
        Ok(())
    }

    /// Publishes a line for one process, or for the members of a room.
    pub(super) fn publish(&mut self, what: &'static str, channel: &str, payload: &str) {
        let channel = self.channel(channel);
        self.command(what, &[b"PUBLISH", channel.as_bytes(), payload.as_bytes()]);
    }

    pub(super) fn load_scripts(&mut self) {
        let texts = self.scripts.all().map(|script| script.text.clone());
        for text in texts {
            self.command("loading a script", &[b"SCRIPT", b"LOAD", text.as_bytes()]);
        }
    }

    pub(super) fn run(&mut self, script: impl Fn(&Scripts) -> &Script, arguments: &[&str], pending: Pending) -> Result<(), Busy> {
        let tag = self.run_with(script, arguments)?;
        self.pending.insert(tag, pending);
        Ok(())
    }

    /// Runs a script; gives the tag of the reply. One key is named for all: with it a node of a Redis Cluster that has lost
    /// them says so.
    pub(super) fn run_with(&mut self, script: impl Fn(&Scripts) -> &Script, arguments: &[&str]) -> Result<u64, Busy> {
        let (prefix, clock) = (self.key(""), self.key("clock"));
        let digest = script(&self.scripts).digest.as_bytes();
        let mut command = vec![b"EVALSHA".as_slice(), digest, b"1", clock.as_bytes(), prefix.as_bytes()];
        command.extend(arguments.iter().map(|argument| argument.as_bytes()));
        self.link.send(&command)
    }

    /// One more client needs a channel.
    pub(super) fn subscribe(&mut self, channel: Rc<str>) {
        let name = self.channel(&channel);
        let count = self.subscriptions.entry(channel).or_default();
        *count += 1;
        if *count == 1 && self.link.is_up() {
            self.link.subscribe(&name);
        }
    }

    /// One client less does.
    pub(super) fn unsubscribe(&mut self, channel: &Rc<str>) {
        let Some(count) = self.subscriptions.get_mut(channel) else { return };
        *count -= 1;
        if *count == 0 {
            self.subscriptions.remove(channel);
            let name = self.channel(channel);
            if self.link.is_up() {
                self.link.unsubscribe(&name);
            }
        }
    }

    pub(super) fn subscribe_to_room(&mut self, room: &str) {
        self.subscribe(channel(&Target::Room(room.into())));
    }

    pub(super) fn unsubscribe_from_room(&mut self, room: &str) {
        self.unsubscribe(&channel(&Target::Room(room.into())));
    }

    /// After a new connection: all channels that are needed, and that of this process.
    pub(super) fn subscribe_again(&mut self) {
        let own = format!("to:{}", self.node);
        let channels: Vec<String> = self.subscriptions.keys().map(|channel| channel.to_string()).chain([own]).collect();
        for channel in channels {
            let name = self.channel(&channel);
            self.link.subscribe(&name);
        }
    }
}

/// Whether a prefix can be used: without one processes would be in a cluster that nobody chose.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), InvalidValue> {
    match prefix {
        "" => Err("must not be empty: processes with the same one belong together".into()),
        _ if prefix.contains(['{', '}']) => Err("must not contain { or }: in a Redis Cluster phpws adds them".into()),
        _ => Ok(()),
    }
}
