//! A list in no order in which each client stands once, with the place of each: adding, finding and removing take constant
//! time, a walk the time of what is in it. PHP has arrays by key.

use std::collections::HashMap;

use crate::ids::SocketId;

/// What stands in the list: a client, alone or with what is known of it there.
pub(crate) trait OfClient {
    fn id(&self) -> SocketId;
}

impl OfClient for SocketId {
    fn id(&self) -> SocketId {
        *self
    }
}

impl<T> OfClient for (SocketId, T) {
    fn id(&self) -> SocketId {
        self.0
    }
}

pub(crate) struct Places<T> {
    list: Vec<T>,
    places: HashMap<SocketId, usize>,
}

impl<T> Default for Places<T> {
    fn default() -> Places<T> {
        Places { list: Vec::new(), places: HashMap::new() }
    }
}

impl<T: OfClient> Places<T> {
    #[inline]
    pub(crate) fn list(&self) -> &[T] {
        &self.list
    }

    pub(crate) fn place(&self, id: SocketId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    pub(crate) fn get(&self, id: SocketId) -> Option<&T> {
        self.place(id).map(|place| &self.list[place])
    }

    /// Adds a client, or replaces what stands there of it; `true` where it is new.
    pub(crate) fn insert(&mut self, item: T) -> bool {
        let last = self.list.len();
        let place = *self.places.entry(item.id()).or_insert(last);
        if place < last {
            self.list[place] = item;
        } else {
            self.list.push(item);
        }
        place == last
    }

    /// Removes a client; the last one takes its place.
    pub(crate) fn remove(&mut self, id: SocketId) -> Option<T> {
        let place = self.places.remove(&id)?;
        let removed = self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(moved.id(), place);
        }
        Some(removed)
    }

    /// Two change their places.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        self.list.swap(one, other);
        for place in [one, other] {
            self.places.insert(self.list[place].id(), place);
        }
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn each_is_found_after_others_were_removed_in_any_order() {
        let mut ids = SlotMap::<SocketId, ()>::with_key();
        let ids: Vec<SocketId> = (0..100).map(|_| ids.insert(())).collect();
        let mut places = Places::default();
        ids.iter().for_each(|id| assert!(places.insert((*id, 0))));
        assert!(!places.insert((ids[7], 7)));
        for id in ids.iter().enumerate().filter(|(at, _)| at % 3 != 1).map(|(_, id)| *id) {
            assert!(places.remove(id).is_some() && places.remove(id).is_none());
        }
        assert_eq!((places.list.len(), places.places.len()), (33, 33));
        assert!(places.list.iter().all(|item| places.get(item.0) == Some(item)));
        assert_eq!(places.remove(ids[7]), Some((ids[7], 7)));
    }
}
