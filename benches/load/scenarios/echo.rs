//! Messages to a plain echo resource: each answer is the message itself.

use std::rc::Rc;

use super::{filler, surprise};
use crate::meter::{Flight, Meter};
use crate::options::Options;
use crate::scenario::{Scenario, Wires};
use crate::url::Scheme;
use crate::wire::{Frame, TEXT, masked};

/// Many frames in one write, up to so many bytes.
const BLOCK: usize = 1 << 20;

pub struct Echo {
    /// The frame again and again, so that several leave in one write.
    block: Rc<[u8]>,
    frame_len: usize,
    /// What must come back.
    expected: Vec<u8>,
    depth: u64,
    talkers: Vec<Talker>,
    running: bool,
}

#[derive(Default)]
struct Talker {
    flight: Flight,
    /// Answers of this read.
    answers: u64,
    compared: bool,
}

impl Echo {
    /// The first `active` connections talk.
    pub fn new(options: &Options, active: usize) -> Echo {
        let payload = filler(options.size).into_bytes();
        let frame = masked(TEXT, &payload);
        let copies = (BLOCK / frame.len()).clamp(1, options.depth as usize);
        let expected = if options.url.scheme == Scheme::Tcp { frame.clone() } else { payload };
        Echo {
            block: frame.repeat(copies).into(),
            frame_len: frame.len(),
            expected,
            depth: options.depth,
            talkers: std::iter::repeat_with(Talker::default).take(active).collect(),
            running: false,
        }
    }

    fn send(&self, wires: &mut Wires, id: usize, mut count: u64) {
        while count > 0 {
            let now = count.min((self.block.len() / self.frame_len) as u64);
            wires.send(id, &self.block, now as usize * self.frame_len);
            count -= now;
        }
    }
}

impl Scenario for Echo {
    fn start(&mut self, wires: &mut Wires, meter: &mut Meter) {
        self.running = true;
        for id in 0..self.talkers.len() {
            self.talkers[id].flight.depart(meter.now, self.depth);
            self.send(wires, id, self.depth);
        }
    }

    fn wants_whole(&self, id: usize) -> bool {
        self.talkers.get(id).is_some_and(|talker| !talker.compared)
    }

    fn message(&mut self, _meter: &mut Meter, id: usize, frame: &Frame<'_>) -> Result<(), String> {
        let talker = self.talkers.get_mut(id).filter(|talker| talker.answers < talker.flight.outstanding());
        let talker = talker.ok_or_else(|| surprise("nothing", frame))?;
        let same = frame.len == self.expected.len() as u64 && (talker.compared || frame.start == self.expected);
        if !same {
            return Err(surprise(&format!("an echo of {} bytes", self.expected.len()), frame));
        }
        talker.compared = true;
        talker.answers += 1;
        Ok(())
    }

    fn answered(&mut self, wires: &mut Wires, meter: &mut Meter, id: usize) {
        let Some(talker) = self.talkers.get_mut(id) else { return };
        let answers = std::mem::take(&mut talker.answers);
        talker.flight.land(answers, self.expected.len() as u64, meter);
        if answers > 0 && self.running {
            talker.flight.depart(meter.now, answers);
            self.send(wires, id, answers);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn outstanding(&self) -> u64 {
        self.talkers.iter().map(|talker| talker.flight.outstanding()).sum()
    }
}
