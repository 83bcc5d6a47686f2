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
use crate::extras::redis::url::Place;

pub(super) struct Targets {
    known: Vec<Target>,
    /// The one that is tried, or that answered last.
    at: usize,
    /// How many of this round are still to be tried, that one too.
    left: usize,
    /// What to look up anew; nothing where addresses can't change.
    name: Option<(String, u16)>,
    lookup: Option<Receiver<io::Result<Vec<Target>>>>,
    /// Why the name has no address.
    failure: Option<String>,
}

impl Targets {
    /// Looks the name up, however long that takes. A name that has no address yet may have one later.
    pub(super) fn new(place: &Place) -> Targets {
        let (known, name) = match place {
            Place::Unix(path) => (vec![Target::Unix(path.clone())], None),
            Place::Tcp(host, port) => match host.parse::<IpAddr>() {
                Ok(ip) => (vec![Target::Tcp(SocketAddr::new(ip, *port))], None),
                Err(_) => (Vec::new(), Some((host.clone(), *port))),
            },
        };
        let mut targets = Targets { name, ..Targets::of(known) };
        if let Some(name) = &targets.name {
            let found = resolve(name);
            targets.learn(found);
        }
        targets
    }

    /// Addresses that stay as they are.
    pub(super) fn of(known: Vec<Target>) -> Targets {
        Targets { known, at: 0, left: 0, name: None, lookup: None, failure: None }
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
        let Some(name) = self.name.clone().filter(|_| self.lookup.is_none()) else { return };
        let (sender, receiver) = channel();
        let work = move || {
            // Nobody waits for it any more: the server has ended.
            let _ = sender.send(resolve(&name));
        };
        // Where there can't be a thread the known addresses stay.
        if thread::Builder::new().name("redis-name".into()).spawn(work).is_ok() {
            self.lookup = Some(receiver);
        }
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

fn resolve((host, port): &(String, u16)) -> io::Result<Vec<Target>> {
    Ok((host.as_str(), *port).to_socket_addrs()?.map(Target::Tcp).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Target {
        Target::Tcp(text.parse().unwrap())
    }

    #[test]
    fn a_round_tries_each_address_once_and_begins_with_the_one_that_answered() {
        let mut targets = Targets::new(&Place::Tcp("127.0.0.1".into(), 1));
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
        let mut targets = Targets::new(&Place::Tcp("nowhere.invalid".into(), 1));
        assert!(targets.current().unwrap_err().contains("can't be looked up"));
        targets.name = Some(("localhost".into(), 1));
        targets.look_up();
        targets.lookup = targets.lookup.take().map(|lookup| {
            let (sender, receiver) = channel();
            sender.send(lookup.recv().unwrap()).unwrap();
            receiver
        });
        assert!(matches!(targets.current(), Ok(Target::Tcp(_))));
    }
}
