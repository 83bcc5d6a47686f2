//! The resource `/emas`: who works with which books, so that no two people order the same one.
//!
//! A page sends the ids of the titles it shows. For each id there is a line: who stands first holds
//! the book, the others wait. A page is told which of its ids others hold, and at once when it has
//! come first. Leaving a line is part of showing other titles and of closing, however that comes
//! about. All of it is in memory; titles and orders are the backend's business. Work for a message
//! grows with the ids that it brings and takes away, not with what is held in all.
//!
//! The document tells of this application; PHP's server does not come with it.
//!
//! | who | says | means |
//! |---|---|---|
//! | page | `lock` with `ids`, and a number as `page` | these titles are shown now, and none of those before |
//! | server | `locked` with `ids` and that `page` | of these others hold so many; the page holds the rest |
//! | server | `unlocked` with `ids` | the page holds these now |
//! | server | `refused` with `error` | nothing of the message was done |
//! | backend | `holds` with `uuid` and `ids` | which of these does that page hold? The answer is alike |
//! | backend | `announce`, and what it likes | to all pages of this resource, as it is |
//!
//! # Limits
//!
//! | constant | value | meaning | at the limit |
//! |---|---|---|---|
//! | [`MAX_LOCK`] | 64 KiB | bytes of a message with ids | `refused` |
//! | [`MAX_IDS`] | 500 | ids in one message, and so of one page | `refused` |
//! | [`MAX_ID`] | 64 | bytes of an id | `refused` |
//! | [`MAX_BOOKINGS`] | 250,000 | places in all lines, of holders and of those who wait | `refused`; what the page had it keeps |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use serde_json::{Value, json};

use super::{refuse, talk};
use crate::ids::{ClientType, SocketId};
use crate::packet::{Message, Packet};
use crate::resource::Resource;
use crate::server::Server;

/// Bytes of a message with ids; a longer one is refused and changes nothing.
pub const MAX_LOCK: usize = 64 * 1024;
/// Ids in one message, and so of one page; a message with more is refused.
pub const MAX_IDS: usize = 500;
/// Bytes of an id; a message with a longer one is refused.
pub const MAX_ID: usize = 64;
/// Places in all lines, of holders and of those who wait.
pub const MAX_BOOKINGS: usize = 250_000;

/// Places grow, so the first in a line is who came first.
type Place = u64;

/// The application that locks books.
#[derive(Default)]
pub struct ResourceEmas {
    /// Who wants a book: the first holds it, the others wait. No line is empty.
    lines: HashMap<Rc<str>, BTreeMap<Place, SocketId>>,
    /// What each page shows, with its place in each line.
    pages: HashMap<SocketId, BTreeMap<Rc<str>, Place>>,
    /// Places in all lines.
    bookings: usize,
    next_place: Place,
}

impl Resource for ResourceEmas {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        if server.client(id).is_some_and(|client| client.client_type() == ClientType::Websocket) {
            self.pages.insert(id, BTreeMap::new());
        }
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let is_page = self.pages.contains_key(&id);
        match Packet::parse(message) {
            Ok(packet) => match (packet.opcode(), is_page) {
                ("lock", true) => self.lock(server, id, &packet),
                ("holds", false) => self.holds(server, id, &packet),
                ("announce", false) => self.announce(server, &packet),
                ("quit", _) | (_, false) => talk(server, id, message),
                _ => refuse(server, id, "a page may only lock"),
            },
            Err(_) => talk(server, id, message),
        }
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        let shown = self.pages.remove(&id).unwrap_or_default();
        self.leave(server, shown);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

impl ResourceEmas {
    /// A page shows these titles now: it leaves the lines of those before, keeps its place where an id
    /// stays, and goes to the end of the other lines.
    fn lock(&mut self, server: &mut Server, id: SocketId, packet: &Packet<'_>) {
        let (value, wanted) = match ids_of(packet) {
            Ok(read) => read,
            Err(error) => return refuse(server, id, error),
        };
        let shown = self.pages.remove(&id).unwrap_or_default();
        let (kept, left): (BTreeMap<_, _>, BTreeMap<_, _>) = shown.into_iter().partition(|(book, _)| wanted.contains(&**book));
        if self.bookings - left.len() - kept.len() + wanted.len() > MAX_BOOKINGS {
            self.pages.insert(id, kept.into_iter().chain(left).collect());
            return refuse(server, id, "all pages together show too many books");
        }
        self.leave(server, left);
        let mut page = kept;
        let locked: Vec<&String> = wanted.iter().filter(|book| !self.join(id, &mut page, book)).collect();
        self.pages.insert(id, page);
        server.write(id, &json!({"opcode": "locked", "page": value["page"].as_u64(), "ids": locked}).to_string());
    }

    /// Puts a page into the line for a book, unless it stands there already; says whether it is first.
    fn join(&mut self, id: SocketId, page: &mut BTreeMap<Rc<str>, Place>, book: &str) -> bool {
        if !page.contains_key(book) {
            let name = self.lines.get_key_value(book).map_or_else(|| Rc::from(book), |(name, _)| name.clone());
            self.lines.entry(name.clone()).or_default().insert(self.next_place, id);
            page.insert(name, self.next_place);
            self.next_place += 1;
            self.bookings += 1;
        }
        self.holder(book) == Some(id)
    }

    /// Gives up places, and tells those who have come first by it, each in one message.
    fn leave(&mut self, server: &mut Server, places: BTreeMap<Rc<str>, Place>) {
        let mut unlocked: BTreeMap<SocketId, Vec<&str>> = BTreeMap::new();
        for (book, place) in &places {
            if let Some(next) = self.give_up(book, *place) {
                unlocked.entry(next).or_default().push(book);
            }
        }
        for (id, books) in unlocked {
            server.write(id, &json!({"opcode": "unlocked", "ids": books}).to_string());
        }
    }

    /// Gives up one place; who holds the book by it now, if that is somebody else than before.
    fn give_up(&mut self, book: &str, place: Place) -> Option<SocketId> {
        let line = self.lines.get_mut(book)?;
        let (first, _) = line.first_key_value()?;
        let was_first = *first == place;
        line.remove(&place);
        self.bookings -= 1;
        if line.is_empty() {
            self.lines.remove(book);
        }
        was_first.then(|| self.holder(book)).flatten()
    }

    fn holder(&self, book: &str) -> Option<SocketId> {
        self.lines.get(book)?.first_key_value().map(|(_, id)| *id)
    }

    /// Answers a backend, which of these ids the page of that uuid holds.
    fn holds(&self, server: &mut Server, id: SocketId, packet: &Packet<'_>) {
        let books = match ids_of(packet) {
            Ok((_, books)) => books,
            Err(error) => return refuse(server, id, error),
        };
        let page = server.find_uuid(packet.uuid());
        let held: Vec<&String> = books.iter().filter(|book| page.is_some() && self.holder(book) == page).collect();
        server.write(id, &json!({"opcode": "holds", "uuid": packet.uuid(), "ids": held}).to_string());
    }

    fn announce(&self, server: &mut Server, packet: &Packet<'_>) {
        let pages: Vec<SocketId> = self.pages.keys().copied().collect();
        server.write_all(&pages, packet.text());
    }
}

/// The packet as JSON and its ids, each once, or why it is refused. Whole numbers count as their text.
fn ids_of(packet: &Packet<'_>) -> Result<(Value, BTreeSet<String>), &'static str> {
    if packet.text().len() > MAX_LOCK {
        return Err("the message is too long");
    }
    let value = packet.value().map_err(|_| "a number is too large")?;
    let Some(list) = value["ids"].as_array() else { return Err("ids must be a list") };
    if list.len() > MAX_IDS {
        return Err("too many ids");
    }
    let ids = list.iter().map(id_of).collect::<Option<_>>().ok_or("an id must be text of 1 to 64 bytes")?;
    Ok((value, ids))
}

fn id_of(value: &Value) -> Option<String> {
    let id = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    (1..=MAX_ID).contains(&id.len()).then_some(id)
}
