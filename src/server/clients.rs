//! The records of all clients, and how they are found: PHP's `$Clients` and `$clientIPs`.
//!
//! PHP goes over all clients to find a uuid or an ident; here two indexes stand beside the records. Ids
//! carry a generation, so an id that outlives its connection finds nothing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use slotmap::SlotMap;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::client::{Client, State};
use crate::ids::{ClientType, SocketId};
use crate::limits::counted_address;
use crate::newcomers::{Newcomers, Rank};
use crate::places::Places;

/// All records, by id; what is only looked at or changed goes through the table itself.
#[derive(Default)]
pub(crate) struct Clients {
    records: SlotMap<SocketId, Client>,
    by_uuid: HashMap<Uuid, SocketId, BuildHasherDefault<RandomKey>>,
    by_ident: HashMap<Box<str>, Vec<SocketId>>,
    #[doc(alias = "clientIPs")]
    client_ips: HashMap<IpAddr, usize>,
    open: usize,
    away: usize,
    /// The browsers of the dialog that have a connection.
    browsers: Places<SocketId>,
    /// Those that are no clients, and have a connection.
    pub(crate) newcomers: Newcomers,
}

/// The hash of a uuid: its first bytes, since the keys of the table are the random ones that the server gave.
/// What clients ask for is only looked up.
#[derive(Default)]
struct RandomKey(u64);

impl Hasher for RandomKey {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Deref for Clients {
    type Target = SlotMap<SocketId, Client>;

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl DerefMut for Clients {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.records
    }
}

impl Clients {
    /// A connection comes, or goes on as a record of its own.
    pub(crate) fn insert(&mut self, client: Client) -> SocketId {
        let (origin, state) = (client.origin(), client.state);
        let id = self.records.insert(client);
        match state {
            State::Handshake => self.newcomers.come(id, origin),
            _ => self.newcomers.put(id, origin, Rank::Ended),
        }
        id
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<Client> {
        self.newcomers.remove(id);
        self.records.remove(id)
    }

    /// A connection that was answered begins another request.
    pub(crate) fn begins(&mut self, id: SocketId) {
        self.newcomers.rank(id, Rank::Handshake);
    }

    /// A proxy says who is at the other end.
    pub(crate) fn name(&mut self, id: SocketId, ip: IpAddr, exempt: bool) {
        let client = &mut self.records[id];
        (client.ip, client.exempt) = (ip, exempt);
        let origin = client.origin();
        self.newcomers.put(id, origin, Rank::Handshake);
    }

    /// Clients that count for an address.
    pub(crate) fn counted(&self, ip: IpAddr) -> usize {
        self.client_ips.get(&ip).copied().unwrap_or_default()
    }

    /// The record, if the client is past its handshake and not closing.
    pub(crate) fn open_mut(&mut self, id: SocketId) -> Option<&mut Client> {
        self.records.get_mut(id).filter(|client| client.is_open())
    }

    /// Puts a client into a state, and keeps the counts.
    pub(crate) fn enter(&mut self, id: SocketId, state: State) {
        let client = &mut self.records[id];
        let (was_open, was_away) = (client.is_open(), client.is_away());
        client.state = state;
        match state {
            State::Closing => self.newcomers.put(id, client.origin(), Rank::Ended),
            State::Closed => {}
            _ => _ = self.newcomers.remove(id),
        }
        self.open = self.open + usize::from(client.is_open()) - usize::from(was_open);
        self.away = self.away + usize::from(client.is_away()) - usize::from(was_away);
        let hears = state == State::Open && client.dialog && client.client_type == ClientType::Websocket;
        if hears {
            self.browsers.insert(id);
        } else {
            self.browsers.remove(id);
        }
    }

    /// The browsers of the dialog that have a connection, in no order.
    pub(crate) fn browsers(&self) -> &[SocketId] {
        self.browsers.list()
    }

    /// Clients that are past their handshake and not closing.
    pub(crate) fn count_open(&self) -> usize {
        self.open
    }

    /// Those of them that have lost their connection and may come back.
    pub(crate) fn count_away(&self) -> usize {
        self.away
    }

    /// The open client of a uuid as text, lower case with hyphens. Other spellings of the same number name
    /// nobody, as where strings are compared.
    pub(crate) fn find_uuid(&self, uuid: &str) -> Option<SocketId> {
        let canonical = uuid.len() == Hyphenated::LENGTH && !uuid.bytes().any(|byte| byte.is_ascii_uppercase());
        canonical.then(|| Uuid::try_parse(uuid).ok()).flatten().and_then(|uuid| self.by_uuid(uuid))
    }

    /// The open client of a uuid.
    pub(crate) fn by_uuid(&self, uuid: Uuid) -> Option<SocketId> {
        self.by_uuid.get(&uuid).copied()
    }

    /// The open client of an ident; the first, if several share it.
    pub(crate) fn find_ident(&self, ident: &str) -> Option<SocketId> {
        self.by_ident.get(ident).and_then(|ids| ids.first()).copied()
    }

    /// Lets a client be found by its uuid and ident.
    pub(crate) fn index(&mut self, id: SocketId, uuid: Uuid) {
        let client = &mut self.records[id];
        client.uuid = uuid;
        self.by_uuid.insert(uuid, id);
        if !client.ident().is_empty() {
            self.by_ident.entry(client.ident().into()).or_default().push(id);
        }
    }

    /// Takes a client out of the indexes and counts: nobody finds it any more.
    pub(crate) fn forget(&mut self, id: SocketId) {
        let client = &self.records[id];
        // A client that came twice is found by its last connection.
        if self.by_uuid.get(&client.uuid) == Some(&id) {
            self.by_uuid.remove(&client.uuid);
        }
        if let Some(ids) = self.by_ident.get_mut(client.ident()) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_ident.remove(client.ident());
            }
        }
        if client.counted_ip {
            self.discount(client.ip);
        }
    }

    /// Counts a client for its address; `false` where `max` of that address are there.
    pub(crate) fn count_ip(&mut self, id: SocketId, max: usize) -> bool {
        let client = &mut self.records[id];
        let count = self.client_ips.entry(counted_address(client.ip)).or_default();
        client.counted_ip = *count < max;
        *count += usize::from(client.counted_ip);
        client.counted_ip
    }

    /// A client goes on from another address, where it is counted from here on.
    pub(crate) fn move_ip(&mut self, id: SocketId, ip: IpAddr) {
        let before = std::mem::replace(&mut self.records[id].ip, ip);
        if self.records[id].counted_ip {
            self.discount(before);
            *self.client_ips.entry(counted_address(ip)).or_default() += 1;
        }
    }

    fn discount(&mut self, ip: IpAddr) {
        let address = counted_address(ip);
        if let Some(count) = self.client_ips.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.client_ips.remove(&address);
            }
        }
    }
}
