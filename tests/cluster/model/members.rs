//! Pages: they read, break, move, and some of them send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::publishers::{Sent, To, Told, receiver};
use super::{RESUMING, RESUMING_SENDERS, Shared, rooms_of};
use crate::util::crowd::{Dice, turned};
use crate::util::page::Page;
use crate::util::request;

const TICK: Duration = Duration::from_millis(20);

pub struct Member {
    pub number: usize,
    pub page: Page,
    /// When it was in all its rooms, after each time that it was a new client.
    pub joined: Vec<Instant>,
    pub sent: Vec<Sent>,
    /// How often another process knew it no more, and it did not read that.
    pub lost_unread: Vec<Instant>,
    /// When its connections ended, and the numbers that it sent more than once; known at the end.
    pub offs: Vec<Instant>,
    pub resent: Vec<u64>,
    /// How many `ready` were seen to.
    seen: usize,
    shared: Arc<Shared>,
}

impl Member {
    /// Connected, and in its rooms.
    pub fn start(number: usize, addrs: &[SocketAddr], shared: Arc<Shared>) -> Member {
        let mut page = Page::new(&turned(addrs, number), "/web");
        page.is_plain = number >= RESUMING;
        page.notes = Some(Vec::new());
        if !page.is_plain {
            page.headers = format!("Ident: page{number}\r\n");
        }
        let mut member = Member {
            number,
            page,
            joined: Vec::new(),
            sent: Vec::new(),
            lost_unread: Vec::new(),
            offs: Vec::new(),
            resent: Vec::new(),
            seen: 0,
            shared,
        };
        member.page.until("ready", |page| !page.standings.is_empty());
        member.settle();
        member
    }

    pub fn name(&self) -> String {
        format!("p{}.{}", self.number, self.page.uuid)
    }

    /// A new client joins its rooms, and all may write to it.
    fn settle(&mut self) {
        while self.seen < self.page.standings.len() {
            self.seen = self.page.standings.len();
            if matches!(&*self.page.standings[self.seen - 1], "resumed" | "gap") {
                continue;
            }
            for room in rooms_of(self.number) {
                let name = self.name();
                self.page.say(&format!(r#"{{"opcode":"join","room":"{room}","name":"{name}"}}"#));
            }
            self.joined.push(Instant::now());
        }
        self.shared.uuids[self.number].lock().unwrap().clone_from(&self.page.uuid);
    }

    /// Until the run is over.
    pub fn live(mut self, mut dice: Dice) -> Member {
        let is_sender = self.page.is_plain || self.number < RESUMING_SENDERS;
        let (mut number, mut next) = (0, Instant::now());
        while !Shared::is(&self.shared.over) {
            self.page.step(TICK);
            self.settle();
            if self.page.got.last().is_some_and(|text| text["end"] == true) {
                self.shared.rested[self.number].store(true, Ordering::SeqCst);
            }
            if self.shared.reset[self.number].swap(false, Ordering::SeqCst) {
                self.page.reset();
            }
            // Also where messages come all the time, a page does not break more often.
            let is_time = next < Instant::now();
            if !is_time {
                continue;
            }
            next = Instant::now() + TICK;
            if !Shared::is(&self.shared.calm) {
                self.stumble(&mut dice);
            }
            if is_sender && !Shared::is(&self.shared.quiet) && dice.below(3) == 0 && !self.page.uuid.is_empty() {
                number += 1;
                self.send(&mut dice, number);
            }
        }
        let notes = self.page.notes.iter().flatten();
        self.offs = notes.filter(|(_, note)| note == "is off").map(|(time, _)| *time).collect();
        self
    }

    /// Sometimes its connection ends.
    fn stumble(&mut self, dice: &mut Dice) {
        // Sometimes it goes to the same process, sometimes to the one after the next.
        let turn = dice.below(3);
        match dice.below(if self.page.is_plain { 600 } else { 100 }) {
            0 => self.page.break_off(),
            1 => self.page.reset(),
            2 if !self.page.is_plain => self.touch(dice),
            _ => return,
        }
        self.page.tries += turn;
    }

    /// Goes to a process, and breaks off before it got anything.
    fn touch(&mut self, dice: &mut Dice) {
        self.page.break_off();
        let addr = self.page.addrs[dice.below(self.page.addrs.len())];
        let Ok(mut wire) = TcpStream::connect(addr) else { return };
        let target = self.page.target();
        let _ = wire.write_all(request(&target, &self.page.headers).as_bytes());
        wire.set_read_timeout(Some(Duration::from_millis(1 + 40 * dice.below(3) as u64))).unwrap();
        let (mut head, mut buffer) = (Vec::new(), [0; 512]);
        while let Ok(count @ 1..) = wire.read(&mut buffer)
            && head.len() < 300
        {
            head.extend_from_slice(&buffer[..count]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let said = head.find(r#""resume":"#).map_or("nothing", |at| head[at..].split(',').next().unwrap_or_default());
        // Where it reads nothing it may have been a new one all the same.
        if !said.contains("resumed") && !said.contains("gap") {
            self.lost_unread.push(Instant::now());
        }
        let note = format!("touches {addr} behind {target}, and is told {said}");
        self.page.notes.iter_mut().for_each(|notes| notes.push((Instant::now(), note.clone())));
        if dice.below(2) == 0 {
            socket2::SockRef::from(&wire).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn send(&mut self, dice: &mut Dice, number: u64) {
        let (sender, sent) = (self.number, Instant::now());
        let to = if dice.below(4) == 0 { To::Itself } else { receiver(dice, &self.shared) };
        let head = match &to {
            To::Page(_, uuid) => format!(r#""opcode":"feedback","uuid":"{uuid}""#),
            To::All => r#""opcode":"broadcast""#.into(),
            To::Room(room) => format!(r#""opcode":"broadcast","room":"{room}""#),
            To::Itself => r#""opcode":"echo""#.into(),
        };
        let is_asked = to != To::Itself && dice.below(2) == 0;
        let receipt = if is_asked { format!(r#","receipt":{number}"#) } else { String::new() };
        self.page.loses_next = !self.page.is_plain && !Shared::is(&self.shared.calm) && dice.below(20) == 0;
        let before = self.page.readies.len();
        let had_next = self.page.say(&format!(r#"{{{head},"s":{sender},"n":{number}{receipt}}}"#));
        if self.page.readies.len() > before {
            self.resent.push(number);
        }
        let told = if is_asked { Told::Later } else { Told::Nothing };
        let how = format!("said to {to:?}, next {had_next}, receipt {is_asked}");
        self.sent.push(Sent { sender, number, to, key: None, sent, answered: Instant::now(), told, how });
    }

    /// The messages of a sender with a number, with the identity that got them and their place.
    pub fn got(&self) -> impl Iterator<Item = (usize, &str, u64, u64, &Value)> {
        self.page.got.iter().enumerate().filter_map(|(place, text)| {
            // What was sent in a list is in `message`.
            let body = if text["message"].is_object() { &text["message"] } else { text };
            let (sender, number) = (body["s"].as_u64()?, body["n"].as_u64()?);
            let ready = self.page.readies.iter().rfind(|(_, _, before)| *before <= place)?;
            Some((place, &*ready.1, sender, number, text))
        })
    }
}
