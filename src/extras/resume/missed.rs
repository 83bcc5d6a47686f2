//! What clients that are away have missed of messages for many: each message is kept once, for all of them.
//!
//! There is a shelf for each audience: all browsers, those of a resource, the members of a room. A client that loses its
//! connection notes where each of its shelves ends. When it comes back it gets what was put there since, in the order of
//! all, and between that what was for it alone. So a message for many costs the same however many clients are away.
//!
//! A shelf holds as many bytes as are kept for one client: whoever reads it would have lost what is beyond. It knows no
//! server; what a client is owed goes into its [`Kept`].

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use slotmap::SecondaryMap;

use super::Kept;
use crate::extras::rooms::store::RoomId;
use crate::ids::{AppId, SocketId};
use crate::mail::numbered::{ITEM, Item};
use crate::memory::{Charge, Kind};

/// The clients that a message for many is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    /// All browsers of the dialog.
    All,
    /// Those of a resource.
    Resource(AppId),
    /// The members of a room.
    Room(RoomId),
}

/// All shelves, and those that read them.
pub(crate) struct Missed {
    shelves: HashMap<Audience, Shelf>,
    readers: SecondaryMap<SocketId, Reader>,
    /// The number of the next message, of all shelves together.
    next: u64,
    /// When the last reader came.
    newest_reader: u64,
    /// How many messages there are on all shelves, and for one client alone, and what they cost beside their texts.
    count: usize,
    charge: Charge,
}

impl Default for Missed {
    fn default() -> Missed {
        Missed {
            shelves: HashMap::new(),
            readers: SecondaryMap::new(),
            next: 0,
            newest_reader: 0,
            count: 0,
            charge: Charge::new(Kind::Kept),
        }
    }
}

/// The messages of one audience.
#[derive(Default)]
struct Shelf {
    readers: usize,
    entries: VecDeque<Entry>,
    cost: usize,
    /// How many there were from the start, how many of them were dropped, and the number behind the last one.
    count: u64,
    dropped: u64,
    begin: u64,
    keys: HashMap<Rc<str>, Places>,
    /// Entries that are empty.
    holes: usize,
}

/// The entries with a key: the newest one, and before it one that holds its place for those that have missed both.
#[derive(Clone, Copy)]
struct Places {
    first: u64,
    newest: u64,
}

struct Entry {
    number: u64,
    /// `None` where whoever misses it gets a newer one in an older one's place.
    item: Option<Item>,
    sender: Option<SocketId>,
    cost: usize,
}

/// A client that is away.
struct Reader {
    /// The number of the first message that it may have missed.
    from: u64,
    /// Its shelves, and how many messages each had had.
    shelves: Vec<(Audience, u64)>,
    /// What was for it alone, with the number of the message for many that comes behind.
    own: Vec<(u64, Item)>,
    own_cost: usize,
}

impl Missed {
    /// A client is away from here on.
    pub(crate) fn begin(&mut self, id: SocketId, audiences: impl Iterator<Item = Audience>) {
        let shelves = audiences.map(|audience| {
            let shelf = self.shelves.entry(audience).or_default();
            shelf.readers += 1;
            (audience, shelf.count)
        });
        self.newest_reader = self.next;
        let reader = Reader { from: self.next, shelves: shelves.collect(), own: Vec::new(), own_cost: 0 };
        self.readers.insert(id, reader);
    }

    /// A client is not away any more. What was kept for it alone is gone; what nobody else reads too.
    pub(crate) fn end(&mut self, id: SocketId) {
        let Some(reader) = self.readers.remove(id) else { return };
        self.counts(-(reader.own.len() as isize));
        for (audience, _) in reader.shelves {
            if let Some(shelf) = self.shelves.get_mut(&audience) {
                shelf.readers -= 1;
                if shelf.readers == 0 {
                    let count = shelf.entries.len() as isize;
                    self.shelves.remove(&audience);
                    self.counts(-count);
                }
            }
        }
    }

    /// So many messages more, or less.
    fn counts(&mut self, more: isize) {
        self.count = self.count.saturating_add_signed(more);
        self.charge.set(ITEM * self.count);
    }

    /// How many clients that are away belong to an audience.
    pub(crate) fn count(&self, audience: Audience) -> usize {
        self.shelves.get(&audience).map_or(0, |shelf| shelf.readers)
    }

    /// Whether a client is one of those.
    pub(crate) fn reads(&self, id: SocketId, audience: Audience) -> bool {
        self.readers.get(id).is_some_and(|reader| reader.shelves.iter().any(|(other, _)| *other == audience))
    }

    /// Keeps a message for the clients of an audience that are away; `item` makes it, if there are any.
    pub(crate) fn put(&mut self, audience: Audience, sender: Option<SocketId>, max: usize, item: impl FnOnce() -> Item) {
        let Some(shelf) = self.shelves.get_mut(&audience) else { return };
        let before = shelf.entries.len() as isize;
        shelf.put(self.next, self.newest_reader, item(), sender);
        shelf.trim(max);
        self.next += 1;
        let more = shelf.entries.len() as isize - before;
        self.counts(more);
    }

    /// Keeps a message for one client that is away; gives it back where it may go into the client's own queue at once.
    /// `true` where it is time to put what is kept there.
    pub(crate) fn put_own(&mut self, id: SocketId, item: Item, max: usize) -> Result<bool, Item> {
        let Some(reader) = self.readers.get_mut(id) else { return Err(item) };
        let count = |audience| self.shelves.get(audience).map_or(0, |shelf| shelf.count);
        // Nothing else comes before it.
        if reader.own.is_empty() && reader.shelves.iter().all(|(audience, before)| count(audience) == *before) {
            return Err(item);
        }
        reader.own_cost += item.cost();
        reader.own.push((self.next, item));
        let is_full = reader.own_cost > max;
        self.counts(1);
        Ok(is_full)
    }

    /// Puts all that a client has missed into its own queue, in order, as if it had been put there at once. Says how
    /// many messages were too many to keep.
    pub(crate) fn settle(&mut self, id: SocketId, kept: &mut Kept, max: usize) -> u64 {
        let Some(reader) = self.readers.get_mut(id) else { return 0 };
        let from = std::mem::replace(&mut reader.from, self.next);
        reader.own_cost = 0;
        let own = std::mem::take(&mut reader.own);
        let own_count = own.len() as isize;
        let own = own.into_iter();
        let (mut dropped, mut cut) = (0, None);
        let mut missed: Vec<(u64, bool, Item)> = own.map(|(number, item)| (number, false, item)).collect();
        for (audience, count) in &mut reader.shelves {
            let Some(shelf) = self.shelves.get(audience) else { continue };
            if shelf.begin > from {
                dropped += shelf.dropped.saturating_sub(*count).max(1);
                cut = cut.max(Some(shelf.begin - 1));
            }
            *count = shelf.count;
            let behind = shelf.entries.partition_point(|entry| entry.number < from);
            let entries = shelf.entries.range(behind..).filter(|entry| entry.sender != Some(id));
            missed.extend(entries.filter_map(|entry| Some((entry.number, true, entry.item.clone()?))));
        }
        // What was for it alone comes before the message for many that has its number.
        missed.sort_by_key(|(number, is_shared, _)| (*number, *is_shared));
        let mut lost = if cut.is_some() { kept.lose_all(dropped) } else { 0 };
        for (number, is_shared, item) in missed {
            if cut.is_some_and(|cut| number < cut || number == cut && !is_shared) {
                lost += kept.lose_all(1);
                continue;
            }
            kept.post(item, max);
            lost += kept.trim(max);
        }
        self.counts(-own_count);
        lost
    }

    /// Lets go of the older half of the shelf that holds most; `false` where there is nothing to let go of.
    pub(crate) fn shrink(&mut self) -> bool {
        let fullest = self.shelves.values_mut().max_by_key(|shelf| shelf.cost);
        let Some(shelf) = fullest.filter(|shelf| !shelf.entries.is_empty()) else { return false };
        let before = shelf.entries.len() as isize;
        shelf.trim(shelf.cost / 2);
        let less = before - shelf.entries.len() as isize;
        self.counts(-less);
        less > 0
    }
}

impl Shelf {
    fn put(&mut self, number: u64, newest_reader: u64, item: Item, sender: Option<SocketId>) {
        let cost = item.cost();
        if let Some(frame) = &item.frame {
            let places = self.keys.get(&frame.key).copied();
            let first = places.map_or(number, |places| self.give_place(places, newest_reader, &item));
            self.keys.insert(frame.key.clone(), Places { first, newest: number });
        }
        self.entries.push_back(Entry { number, item: Some(item), sender, cost });
        self.cost += cost;
        self.count += 1;
        if self.holes > 16 + self.entries.len() / 2 {
            self.entries.retain(|entry| entry.item.is_some());
            self.holes = 0;
        }
    }

    /// Whoever has missed an older entry with the key gets the newer one in its place, so the older text can go. Where
    /// all have missed a still older one, the older entry can go too. Gives the entry that holds the place.
    fn give_place(&mut self, Places { first, newest }: Places, newest_reader: u64, item: &Item) -> u64 {
        let all_missed_first = first != newest && newest_reader <= first;
        let place = if all_missed_first { first } else { newest };
        if all_missed_first && let Some(entry) = self.entry(newest) {
            entry.item = None;
            let cost = std::mem::take(&mut entry.cost);
            self.cost -= cost;
            self.holes += 1;
        }
        if let Some(entry) = self.entry(place) {
            let position = entry.item.as_ref().map_or(0, |old| old.position);
            entry.item = Some(Item { position, ..item.clone() });
            let cost = std::mem::replace(&mut entry.cost, ITEM);
            self.cost = self.cost + ITEM - cost;
        }
        place
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.entries.get_mut(at)
    }

    fn trim(&mut self, max: usize) {
        while self.cost > max
            && let Some(entry) = self.entries.pop_front()
        {
            self.cost -= entry.cost;
            self.dropped += 1;
            self.begin = entry.number + 1;
            let Some(item) = entry.item else {
                self.holes -= 1;
                continue;
            };
            if let Some(frame) = item.frame
                && self.keys.get(&frame.key).is_some_and(|places| places.newest == entry.number)
            {
                self.keys.remove(&frame.key);
            }
        }
    }
}

#[cfg(test)]
mod properties;
