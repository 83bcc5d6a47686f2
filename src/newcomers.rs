//! Connections that are no clients: those in their handshake, plain HTTP, and those that are ending. Which one goes first
//! when there are too many?
//!
//! Whoever connects and says nothing holds a descriptor. So there is a bound, and beyond it somebody goes for each one
//! that comes: of the address that holds most of them, the one that is missed least. Data only, without a socket or a
//! clock. PHP has no counterpart.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::ids::SocketId;
use crate::limits::counted_address;

/// So many are allowed in any case.
pub(crate) const MIN_NEWCOMERS: usize = 256;
/// So many of one address are allowed in any case: those over `max_per_ip` are told so in their handshake.
pub(crate) const MIN_OF_ADDRESS: usize = 8;
/// A descriptor limit beyond this counts as this one: some systems have limits that no memory suffices for.
pub(crate) const MAX_DESCRIPTORS: u64 = 1 << 20;
/// So many connections of a trusted address weigh as much as one of a stranger.
const TRUST: usize = 8;
/// Places that are kept when they are no longer needed, and addresses that wait to be looked at.
const KEPT: usize = 1024;

/// How many there may be where the process may have so many descriptors.
pub(crate) fn share_of(descriptors: u64) -> usize {
    MIN_NEWCOMERS.max(descriptors.min(MAX_DESCRIPTORS) as usize / 8)
}

/// What one is doing. The first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It has had an answer and may ask again.
    Idle,
    /// It is over, but for the peer's end.
    Ended,
    /// It has sent no whole request.
    Handshake,
    /// Its request is being read or answered.
    Busy,
}

/// Where one comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    address: IpAddr,
    /// Whether the limits for one address do not apply to it.
    exempt: bool,
}

impl Origin {
    pub(crate) fn new(ip: IpAddr, exempt: bool) -> Origin {
        Origin { address: counted_address(ip), exempt }
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Newcomers {
    places: HashMap<SocketId, (Origin, Rank, u64)>,
    /// In the order in which they go.
    origins: HashMap<Origin, BTreeSet<(Rank, u64, SocketId)>>,
    loads: BTreeSet<(usize, Origin)>,
    /// The number of the next change.
    next: u64,
    /// Those whose last change has a smaller number have been heard since.
    settled: u64,
    /// How many came since then, and which addresses may have too many.
    came: usize,
    crowded: BTreeSet<Origin>,
}

impl Newcomers {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// One comes.
    pub(crate) fn come(&mut self, id: SocketId, origin: Origin) {
        self.came += 1;
        self.put(id, origin, Rank::Handshake);
    }

    /// One does something else now, or is known to be from elsewhere, or is a client no longer.
    pub(crate) fn put(&mut self, id: SocketId, origin: Origin, rank: Rank) {
        self.remove(id);
        let place = (origin, rank, self.next);
        self.next += 1;
        self.places.insert(id, place);
        self.change(origin, |members| members.insert((rank, place.2, id)));
    }

    /// One does something else now.
    pub(crate) fn rank(&mut self, id: SocketId, rank: Rank) {
        if let Some((origin, ..)) = self.places.get(&id) {
            self.put(id, *origin, rank);
        }
    }

    /// One is a client now, or gone.
    pub(crate) fn remove(&mut self, id: SocketId) -> Option<(Origin, Rank)> {
        let (origin, rank, number) = self.places.remove(&id)?;
        self.change(origin, |members| members.remove(&(rank, number, id)));
        // A flood leaves no memory behind.
        if self.places.capacity() > KEPT.max(8 * self.places.len()) {
            self.places.shrink_to(2 * self.places.len());
            self.origins.shrink_to(2 * self.origins.len());
        }
        Some((origin, rank))
    }

    fn change(&mut self, origin: Origin, change: impl FnOnce(&mut BTreeSet<(Rank, u64, SocketId)>) -> bool) {
        let load = |members: usize| if origin.exempt { members } else { members * TRUST };
        let members = self.origins.entry(origin).or_default();
        self.loads.remove(&(load(members.len()), origin));
        change(members);
        // What finds no place here is noted at its next change.
        if members.len() > MIN_OF_ADDRESS && !origin.exempt && self.crowded.len() < KEPT {
            self.crowded.insert(origin);
        }
        match members.len() {
            0 => _ = self.origins.remove(&origin),
            left => _ = self.loads.insert((load(left), origin)),
        }
    }

    /// All that are here have been heard. Gives how many came since the last time, and addresses that may have too many.
    pub(crate) fn settle(&mut self) -> (usize, BTreeSet<Origin>) {
        self.settled = self.next;
        (std::mem::take(&mut self.came), std::mem::take(&mut self.crowded))
    }

    /// The one of all that goes first. Those that were not heard yet stay.
    pub(crate) fn first(&self) -> Option<SocketId> {
        self.loads.iter().rev().find_map(|(_, origin)| self.first_from(origin))
    }

    /// The one that goes first of an address that has more than `most` allows.
    pub(crate) fn surplus(&self, origin: Origin, most: impl FnOnce(IpAddr) -> usize) -> Option<SocketId> {
        let members = self.origins.get(&origin).filter(|_| !origin.exempt)?;
        if members.len() > most(origin.address) { self.first_from(&origin) } else { None }
    }

    fn first_from(&self, origin: &Origin) -> Option<SocketId> {
        let members = self.origins.get(origin)?;
        members.iter().find(|(_, number, _)| *number < self.settled).map(|(.., id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> SocketId {
        SocketId::from_u64(1 << 32 | number)
    }

    fn stranger(number: u8) -> Origin {
        Origin::new(IpAddr::from([192, 0, 2, number]), false)
    }

    fn trusted() -> Origin {
        Origin::new(IpAddr::from([127, 0, 0, 1]), true)
    }

    #[test]
    fn an_eighth_of_the_descriptors_may_be_no_clients() {
        assert_eq!([64, 1024, 4096, 65_536, u64::MAX].map(share_of), [256, 256, 512, 8192, 131_072]);
    }

    #[test]
    fn the_address_with_most_loses_its_idle_ones_then_its_oldest_handshakes_and_busy_ones_last() {
        let mut newcomers = Newcomers::default();
        for number in 0..4 {
            newcomers.put(id(number), stranger(1), Rank::Handshake);
        }
        newcomers.put(id(9), stranger(2), Rank::Idle);
        newcomers.rank(id(0), Rank::Busy);
        newcomers.rank(id(3), Rank::Idle);
        newcomers.settle();
        let mut gone = Vec::new();
        while let Some(next) = newcomers.first() {
            gone.push(next);
            newcomers.remove(next);
        }
        // With one left each, the greater address is the next one.
        assert_eq!(gone, [3, 1, 2, 9, 0].map(id));
        assert_eq!(newcomers.len(), 0);
    }

    #[test]
    fn a_trusted_address_stays_while_strangers_are_many() {
        let mut newcomers = Newcomers::default();
        for number in 0..8 {
            newcomers.put(id(number), trusted(), Rank::Idle);
        }
        newcomers.put(id(8), stranger(1), Rank::Busy);
        newcomers.put(id(9), stranger(1), Rank::Handshake);
        newcomers.settle();
        assert_eq!(newcomers.first(), Some(id(9)));
        assert_eq!(newcomers.surplus(trusted(), |_| 1), None);
        assert_eq!(newcomers.surplus(stranger(1), |_| 1), Some(id(9)));
        assert_eq!(newcomers.surplus(stranger(1), |_| 2), None);
    }

    #[test]
    fn who_was_not_heard_yet_does_not_go() {
        let mut newcomers = Newcomers::default();
        newcomers.come(id(1), stranger(1));
        assert_eq!(newcomers.settle().0, 1);
        newcomers.come(id(2), stranger(2));
        newcomers.come(id(3), stranger(2));
        assert_eq!(newcomers.first(), Some(id(1)));
        newcomers.remove(id(1));
        assert_eq!(newcomers.first(), None);
        assert_eq!(newcomers.settle().0, 2);
        assert_eq!(newcomers.first(), Some(id(2)));
    }

    #[test]
    fn only_addresses_with_many_are_looked_at() {
        let mut newcomers = Newcomers::default();
        for number in 0..20 {
            newcomers.come(id(number), trusted());
            newcomers.come(id(100 + number), stranger(1));
            newcomers.come(id(200 + number), stranger(2 + number as u8 / 8));
        }
        assert_eq!(newcomers.settle(), (60, [stranger(1)].into()));
        assert_eq!(newcomers.settle(), (0, [].into()));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Put(u64, u8, Rank),
        Rank(u64, Rank),
        Remove(u64),
        Evict,
        Settle,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let rank = || prop_oneof![Just(Rank::Idle), Just(Rank::Ended), Just(Rank::Handshake), Just(Rank::Busy)];
        let act = prop_oneof![
            4 => (0..20u64, 0..4u8, rank()).prop_map(|(id, origin, rank)| Act::Put(id, origin, rank)),
            2 => (0..20u64, rank()).prop_map(|(id, rank)| Act::Rank(id, rank)),
            1 => (0..20u64).prop_map(Act::Remove),
            2 => Just(Act::Evict),
            1 => Just(Act::Settle),
        ];
        proptest::collection::vec(act, 0..80)
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn the_right_one_goes_whatever_happened_before(acts in acts()) {
            let origin = |number: u8| if number == 0 { trusted() } else { stranger(number) };
            let mut newcomers = Newcomers::default();
            // The origin, rank, number and id of each.
            let mut model: Vec<(Origin, Rank, u64, u64)> = Vec::new();
            let (mut number, mut settled) = (0, 0);
            for act in acts {
                match act {
                    Act::Put(one, from, rank) => {
                        newcomers.put(id(one), origin(from), rank);
                        model.retain(|member| member.3 != one);
                        model.push((origin(from), rank, number, one));
                        number += 1;
                    }
                    Act::Rank(one, rank) => {
                        newcomers.rank(id(one), rank);
                        for member in model.iter_mut().filter(|member| member.3 == one) {
                            (member.1, member.2) = (rank, number);
                            number += 1;
                        }
                    }
                    Act::Remove(one) => {
                        newcomers.remove(id(one));
                        model.retain(|member| member.3 != one);
                    }
                    Act::Settle => {
                        newcomers.settle();
                        settled = number;
                    }
                    Act::Evict => {
                        let load = |from: Origin| {
                            let count = model.iter().filter(|member| member.0 == from).count();
                            if from.exempt { count } else { count * TRUST }
                        };
                        let heard = model.iter().filter(|member| member.2 < settled);
                        let expected = heard.min_by_key(|(from, rank, number, _)| {
                            (std::cmp::Reverse((load(*from), *from)), *rank, *number)
                        }).map(|member| member.3);
                        prop_assert_eq!(newcomers.first(), expected.map(id));
                        if let Some(one) = expected {
                            newcomers.remove(id(one));
                            model.retain(|member| member.3 != one);
                        }
                    }
                }
                prop_assert_eq!(newcomers.len(), model.len());
                prop_assert_eq!(newcomers.loads.len(), newcomers.origins.len());
            }
        }
    }
}
