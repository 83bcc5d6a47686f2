//! Senders over HTTP: each sends the next message when the last one was answered.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use super::{RESUMING, ROOMS, Shared};
use crate::util::crowd::Dice;
use crate::util::http::try_post;

/// The receivers of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A page, by number and uuid.
    Page(usize, String),
    All,
    Room(&'static str),
    /// The sender itself: an echo.
    Itself,
}

/// What was said to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// With so many it is, or waits.
    Counts(usize),
    NotFound,
    /// It was dropped, and that was said.
    Failed,
    /// Nobody knows.
    Unknown,
    /// Nothing was asked.
    Nothing,
    /// A receipt is to come.
    Later,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub sender: usize,
    pub number: u64,
    pub to: To,
    pub key: Option<String>,
    pub sent: Instant,
    pub answered: Instant,
    pub told: Told,
    /// For whoever reads of it.
    pub how: String,
}

pub fn told(status: u16, answer: &Value) -> Told {
    match (status, answer["delivered"].as_u64(), answer["queued"].as_u64()) {
        (404, ..) => Told::NotFound,
        (200 | 202, Some(delivered), Some(queued)) => Told::Counts((delivered + queued) as usize),
        (503, Some(0), _) => Told::Failed,
        _ => Told::Unknown,
    }
}

/// One of the receivers, by chance.
pub fn receiver(dice: &mut Dice, shared: &Shared) -> To {
    match dice.below(8) {
        0..4 => {
            let page = dice.below(shared.uuids.len());
            let uuid = shared.uuids[page].lock().unwrap().clone();
            if uuid.is_empty() { To::All } else { To::Page(page, uuid) }
        }
        4..6 => To::All,
        _ => To::Room(ROOMS[dice.below(ROOMS.len())]),
    }
}

pub fn publish(sender: usize, addrs: &[SocketAddr], shared: &Shared, mut dice: Dice) -> Vec<Sent> {
    let (mut all, mut number) = (Vec::new(), 0);
    while !Shared::is(&shared.quiet) {
        let addr = addrs[dice.below(addrs.len())];
        let mut one = |dice: &mut Dice| {
            number += 1;
            let to = receiver(dice, shared);
            // A key is one sender's own, so that its values have an order.
            let key = (dice.below(4) == 0).then(|| format!("{sender}-{}", dice.below(2)));
            let key = key.filter(|_| matches!(to, To::Page(..) | To::All));
            let (sent, how) = (Instant::now(), String::new());
            Sent { sender, number, to, key, sent, answered: sent, told: Told::Unknown, how }
        };
        if dice.below(6) == 0 {
            let mut list: Vec<Sent> = (0..2 + dice.below(4)).map(|_| one(&mut dice)).collect();
            post_list(addr, &mut list);
            all.extend(list);
        } else {
            let mut sent = one(&mut dice);
            post_one(addr, &mut sent, dice.below(4));
            all.push(sent);
        }
        dice.sleep(3, 20);
    }
    all
}

fn post_one(addr: SocketAddr, sent: &mut Sent, way: usize) {
    let mut path = match &sent.to {
        // Names are found too; they are those of pages that resume.
        To::Page(page, _) if way == 0 && *page < RESUMING => format!("/feedback?ident=page{page}"),
        To::Page(_, uuid) => format!("/feedback/{uuid}?"),
        To::All if way == 0 => "/broadcast?resource=/web".into(),
        To::All => "/broadcast?".into(),
        To::Room(room) => format!("/broadcast?room={room}"),
        To::Itself => return,
    };
    if let Some(key) = &sent.key {
        path += &format!("{}key={key}", if path.ends_with('?') { "" } else { "&" });
    }
    let answer = try_post(addr, path.trim_end_matches('?'), &format!(r#"{{"s":{},"n":{}}}"#, sent.sender, sent.number));
    sent.answered = Instant::now();
    sent.told = answer.as_ref().map_or(Told::Unknown, |(status, answer)| told(*status, answer));
    sent.how = format!("POST {path} at {addr}: {answer:?}");
}

fn post_list(addr: SocketAddr, list: &mut [Sent]) {
    let one = |sent: &Sent| {
        let to = match &sent.to {
            To::Page(_, uuid) => format!(r#""uuid":"{uuid}""#),
            To::Room(room) => format!(r#""room":"{room}""#),
            _ => r#""broadcast":true"#.into(),
        };
        let key = sent.key.as_ref().map(|key| format!(r#","key":"{key}""#)).unwrap_or_default();
        format!(r#"{{{to}{key},"message":{{"s":{},"n":{}}}}}"#, sent.sender, sent.number)
    };
    let body: Vec<String> = list.iter().map(one).collect();
    let answer = try_post(addr, "/publish", &format!("[{}]", body.join(",")));
    for (place, sent) in list.iter_mut().enumerate() {
        sent.answered = Instant::now();
        let result = answer.as_ref().and_then(|(_, answer)| answer["results"].get(place));
        let status = result.and_then(|result| result["status"].as_u64()).unwrap_or_default() as u16;
        sent.told = result.map_or(Told::Unknown, |result| told(status, result));
        sent.how = format!("in a list to {addr}, to {:?}: {result:?}", sent.to);
    }
}
