//! What a browser does: an `echo` packet, then its `next` and its answer in either order, then another.

use std::rc::Rc;

use serde_json::Value;

use super::{filler, surprise};
use crate::meter::{Flight, Meter};
use crate::options::Options;
use crate::scenario::{Scenario, Wires};
use crate::wire::{Frame, TEXT, masked, packet_opcode};

pub struct Dialog {
    text: String,
    depth: u64,
    active: usize,
    browsers: Vec<Browser>,
    running: bool,
}

/// One client; silent ones have no packet.
#[derive(Default)]
struct Browser {
    packet: String,
    frame: Rc<[u8]>,
    flight: Flight,
    nexts: u64,
    echoes: u64,
    /// The length of the answer, once the first has been compared.
    answer: Option<u64>,
}

impl Dialog {
    /// The first `active` connections talk.
    pub fn new(options: &Options, active: usize) -> Dialog {
        Dialog { text: filler(options.size), depth: options.depth, active, browsers: Vec::new(), running: false }
    }
}

impl Browser {
    fn send(&mut self, wires: &mut Wires, meter: &Meter, id: usize, count: u64) {
        self.flight.depart(meter.now, count);
        for _ in 0..count {
            wires.send(id, &self.frame, self.frame.len());
        }
    }

    fn echo(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let right = match self.answer {
            Some(len) => frame.len == len,
            None => same_packet(self.packet.as_bytes(), frame.start),
        };
        if !right || self.echoes == self.flight.outstanding() {
            return Err(surprise("the echo", frame));
        }
        self.answer = Some(frame.len);
        self.echoes += 1;
        Ok(())
    }

    fn next(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        if self.nexts == self.flight.outstanding() {
            return Err(surprise("nothing", frame));
        }
        self.nexts += 1;
        Ok(())
    }
}

/// Byte for byte, or at least the same JSON: servers may write it anew.
fn same_packet(sent: &[u8], answer: &[u8]) -> bool {
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    sent == answer || parse(answer).is_some_and(|value| parse(sent) == Some(value))
}

impl Scenario for Dialog {
    fn dialog(&self) -> bool {
        true
    }

    fn opened(&mut self, id: usize, uuid: &str) {
        if self.browsers.len() <= id {
            self.browsers.resize_with(id + 1, Browser::default);
        }
        if id < self.active {
            let packet = format!(r#"{{"opcode":"echo","uuid":"{uuid}","message":"{}"}}"#, self.text);
            let frame = masked(TEXT, packet.as_bytes()).into();
            self.browsers[id] = Browser { packet, frame, ..Browser::default() };
        }
    }

    fn start(&mut self, wires: &mut Wires, meter: &mut Meter) {
        self.running = true;
        for (id, browser) in self.browsers.iter_mut().enumerate().take(self.active) {
            browser.send(wires, meter, id, self.depth);
        }
    }

    fn wants_whole(&self, id: usize) -> bool {
        self.browsers.get(id).is_some_and(|browser| browser.answer.is_none() && browser.flight.outstanding() > 0)
    }

    fn message(&mut self, _meter: &mut Meter, id: usize, frame: &Frame<'_>) -> Result<(), String> {
        let browser = &mut self.browsers[id];
        match packet_opcode(frame.start) {
            b"next" => browser.next(frame),
            b"echo" => browser.echo(frame),
            _ => Err(surprise("next or the echo", frame)),
        }
    }

    fn answered(&mut self, wires: &mut Wires, meter: &mut Meter, id: usize) {
        let Some(browser) = self.browsers.get_mut(id) else { return };
        let complete = browser.nexts.min(browser.echoes);
        if complete == 0 {
            return;
        }
        browser.nexts -= complete;
        browser.echoes -= complete;
        browser.flight.land(complete, browser.answer.unwrap_or(0), meter);
        if self.running {
            browser.send(wires, meter, id, complete);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn outstanding(&self) -> u64 {
        self.browsers.iter().map(|browser| browser.flight.outstanding()).sum()
    }
}
