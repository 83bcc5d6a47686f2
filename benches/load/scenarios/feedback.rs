//! Backends report to browsers: `feedback` by uuid, to one browser after the other. A message is
//! complete with the backend's `next` and the browser's frame.

use super::{STAMP, Stamped, filler, stamp, surprise};
use crate::meter::Meter;
use crate::options::Options;
use crate::scenario::{Scenario, Wires};
use crate::wire::{Frame, packet_opcode};

pub struct Feedback {
    /// The first connections; the others are browsers.
    backends: Vec<Backend>,
    size: usize,
    depth: u64,
    /// Backends that a delivery concerned in this read.
    moved: Vec<usize>,
    running: bool,
}

/// One that sends.
#[derive(Default)]
struct Backend {
    /// Its message for each browser.
    messages: Vec<Stamped>,
    /// The browser whose turn it is.
    turn: usize,
    sent: u64,
    nexts: u64,
    delivered: u64,
}

impl Backend {
    fn outstanding(&self) -> u64 {
        self.sent - self.nexts.min(self.delivered)
    }

    fn send(&mut self, wires: &mut Wires, id: usize, now: u64) {
        let count = self.messages.len();
        let frame = self.messages[self.turn % count].at(now);
        wires.send(id, frame, frame.len());
        self.turn = (self.turn + 1) % count;
        self.sent += 1;
    }
}

impl Feedback {
    pub fn new(options: &Options) -> Feedback {
        // Backends begin with different browsers.
        let turn = |id| id * options.connections / options.senders;
        Feedback {
            backends: (0..options.senders).map(|id| Backend { turn: turn(id), ..Backend::default() }).collect(),
            size: options.size,
            depth: options.depth,
            moved: Vec::new(),
            running: false,
        }
    }

    fn fill(&mut self, wires: &mut Wires, meter: &Meter, id: usize) {
        while self.running && self.backends[id].outstanding() < self.depth {
            self.backends[id].send(wires, id, meter.now);
        }
    }
}

impl Scenario for Feedback {
    fn dialog(&self) -> bool {
        true
    }

    fn headers(&self, id: usize) -> &'static str {
        if id < self.backends.len() { "Client-Type: php\r\nFrames-Per-Read: any\r\n" } else { "" }
    }

    fn opened(&mut self, id: usize, uuid: &str) {
        if id < self.backends.len() {
            return;
        }
        for (from, backend) in self.backends.iter_mut().enumerate() {
            let text = filler(self.size);
            let head = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","ident":"","from":"{from:08x}""#);
            backend.messages.push(Stamped::new(&format!(r#"{head},{STAMP}0000000000000000","message":"{text}"}}"#)));
        }
    }

    fn start(&mut self, wires: &mut Wires, meter: &mut Meter) {
        self.running = true;
        for id in 0..self.backends.len() {
            self.fill(wires, meter, id);
        }
    }

    fn message(&mut self, meter: &mut Meter, id: usize, frame: &Frame<'_>) -> Result<(), String> {
        let from = match (packet_opcode(frame.start), id < self.backends.len()) {
            (b"next", true) => id,
            (b"feedback", false) => from(frame).ok_or_else(|| surprise("feedback with its sender", frame))?,
            _ => return Err(surprise("feedback or its next", frame)),
        };
        let backend = self.backends.get_mut(from).ok_or_else(|| surprise("feedback of a known sender", frame))?;
        if from == id {
            backend.nexts += 1;
        } else {
            backend.delivered += 1;
            meter.record(1, frame.len, meter.now.saturating_sub(stamp(frame)?));
        }
        if backend.nexts.max(backend.delivered) > backend.sent {
            return Err(surprise("nothing", frame));
        }
        self.moved.push(from);
        Ok(())
    }

    fn answered(&mut self, wires: &mut Wires, meter: &mut Meter, _id: usize) {
        while let Some(id) = self.moved.pop() {
            self.fill(wires, meter, id);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn outstanding(&self) -> u64 {
        self.backends.iter().map(Backend::outstanding).sum()
    }
}

/// The number of the backend that sent a message.
fn from(frame: &Frame<'_>) -> Option<usize> {
    let digits = crate::wire::word(frame.start, "from")?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
