//! The addresses that Redis may have: which is next, and looking the name up anew.
//!
//! A name is looked up once at the start, where it may take its time, and then whenever no address
//! answered, by a thread of its own, so that the loop never waits for a name server. What it finds is
//! used in the next round.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use super::stream::Target;
use crate::extras::redis::url::{Host, Place};

pub(super) struct Targets {
    known: Vec<Target>,
    /// The one that is tried, or that answered last.
    at: usize,
    /// How many of this round are still to be tried, that one too.
    left: usize,
    /// What to look up anew; nothing where addresses can't change.
    names: Vec<Host>,
    lookup: Option<Receiver<io::Result<Vec<Target>>>>,
    /// Why the name has no address.
    failure: Option<String>,
}

impl Targets {
    /// Looks the names up, however long that takes. A name that has no address yet may have one later.
    pub(super) fn new(place: &Place) -> Targets {
        match place {
            Place::Unix(path) => Targets::of(vec![Target::Unix(path.clone())]),
            Place::Tcp(hosts) => {
                let mut targets = Targets::hosts(hosts);
                if !targets.names.is_empty() {
                    targets.learn(resolve(&targets.names));
                }
                targets
            }
        }
    }

    /// The one that another server has named; its name is being looked up.
    pub(super) fn named(host: Host) -> Targets {
        let mut targets = Targets::hosts(&[host]);
        targets.look_up();
        targets
    }

    fn hosts(hosts: &[Host]) -> Targets {
        let address = |(host, port): &Host| Some(Target::at(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port)));
        match hosts.iter().map(address).collect() {
            Some(known) => Targets::of(known),
            None => Targets { names: hosts.to_vec(), ..Targets::of(Vec::new()) },
        }
    }

    /// Addresses that stay as they are.
    pub(super) fn of(known: Vec<Target>) -> Targets {
        Targets { known, at: 0, left: 0, names: Vec::new(), lookup: None, failure: None }
    }

    /// The address to try now; the first of a round is the one that answered last.
    pub(super) fn current(&mut self) -> Result<Target, String> {
        if self.left == 0 {
            self.collect();
            self.left = self.known.len();
        }
        self.known.get(self.at).cloned().ok_or_else(|| self.failure.clone().unwrap_or_default())
    }

    /// Goes on to the next address; `false` where all of this round were tried.
    pub(super) fn try_next(&mut self) -> bool {
        self.at = (self.at + 1) % self.known.len().max(1);
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    /// Ends the round: the next one begins with the current address.
    pub(super) fn end_round(&mut self) {
        self.left = 0;
    }

    /// Begins to look the name up.
    pub(super) fn look_up(&mut self) {
        if self.names.is_empty() || self.lookup.is_some() {
            return;
        }
        let names = self.names.clone();
        let (sender, receiver) = channel();
        let work = move || {
            // Nobody waits for it any more: the server has ended.
            let _ = sender.send(resolve(&names));
        };
        // Where there can't be a thread the known addresses stay.
        if thread::Builder::new().name("redis-name".into()).spawn(work).is_ok() {
            self.lookup = Some(receiver);
        }
    }

    /// Whether no address is known yet, since the lookup takes its time.
    pub(super) fn is_waiting(&mut self) -> bool {
        self.collect();
        self.known.is_empty() && self.lookup.is_some()
    }

    fn collect(&mut self) {
        let Some(lookup) = &self.lookup else { return };
        match lookup.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {}
            Ok(found) => self.learn(found),
        }
        self.lookup = None;
    }

    fn learn(&mut self, found: io::Result<Vec<Target>>) {
        match found {
            Ok(found) if !found.is_empty() => {
                let current = self.known.get(self.at);
                self.at = found.iter().position(|target| Some(target) == current).unwrap_or(0);
                self.known = found;
            }
            Ok(_) => self.failure = Some("the host has no address".into()),
            Err(error) => self.failure = Some(format!("the host can't be looked up: {error}")),
        }
    }
}

/// The addresses of all names; an error where none has one.
fn resolve(names: &[Host]) -> io::Result<Vec<Target>> {
    let (mut found, mut failure) = (Vec::new(), None);
    for (host, port) in names {
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(addresses) => found.extend(addresses.map(|address| Target::Tcp(address, host.as_str().into()))),
            Err(error) => failure = Some(error),
        }
    }
    failure.filter(|_| found.is_empty()).map_or(Ok(found), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Target {
        Target::at(text.parse().unwrap())
    }

    #[test]
    fn a_round_tries_each_address_once_and_begins_with_the_one_that_answered() {
        let mut targets = Targets::new(&Place::Tcp(vec![("127.0.0.1".into(), 1)]));
        targets.learn(Ok(vec![tcp("127.0.0.1:1"), tcp("127.0.0.2:1"), tcp("127.0.0.3:1")]));
        assert_eq!(targets.current(), Ok(tcp("127.0.0.1:1")));
        assert!(targets.try_next());
        assert_eq!(targets.current(), Ok(tcp("127.0.0.2:1")));
        targets.end_round();
        assert_eq!(targets.current(), Ok(tcp("127.0.0.2:1")), "it answered");
        assert!(targets.try_next() && targets.try_next());
        assert!(!targets.try_next(), "all three were tried");
        targets.learn(Ok(vec![tcp("127.0.0.9:1"), tcp("127.0.0.2:1")]));
        assert_eq!(targets.current(), Ok(tcp("127.0.0.2:1")), "it is still there");
        targets.learn(Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(targets.current(), Ok(tcp("127.0.0.2:1")), "a failed lookup takes nothing away");
    }

    #[test]
    fn a_name_without_an_address_is_looked_up_again() {
        let mut targets = Targets::new(&Place::Tcp(vec![("nowhere.invalid".into(), 1)]));
        assert!(targets.current().unwrap_err().contains("can't be looked up"));
        targets.names = vec![("localhost".into(), 1), ("nowhere.invalid".into(), 1)];
        targets.look_up();
        targets.lookup = targets.lookup.take().map(|lookup| {
            let (sender, receiver) = channel();
            sender.send(lookup.recv().unwrap()).unwrap();
            receiver
        });
        assert!(matches!(targets.current(), Ok(Target::Tcp(..))));
    }
}
