//! Few send to all: each broadcast reaches every other client; the next follows its `next`, or the
//! clock where a rate is set.
//!
//! The time of sending travels in the message. With a rate it is the time when the message was due, so
//! that a server that falls behind does not hide it.

use super::{STAMP, Stamped, filler, stamp, surprise};
use crate::meter::Meter;
use crate::options::Options;
use crate::scenario::{Scenario, Wires};
use crate::wire::{Frame, packet_opcode};

pub struct Broadcast {
    /// The first connections; the others only receive.
    senders: Vec<Sender>,
    receivers: usize,
    /// Nanoseconds between two broadcasts of a sender, where there is a rate.
    pause: Option<u64>,
    sent: u64,
    delivered: u64,
    /// Broadcasts whose `next` came in the measured time.
    pub acknowledged: u64,
    running: bool,
}

struct Sender {
    message: Stamped,
    /// Whether it may send: its last one has its `next`.
    free: bool,
    due: u64,
}

impl Broadcast {
    pub fn new(options: &Options) -> Broadcast {
        let packet = format!(r#"{{"opcode":"broadcast",{STAMP}0000000000000000","message":"{}"}}"#, filler(options.size));
        let senders = options.senders;
        let pause = (options.rate > 0.0).then(|| (1e9 * senders as f64 / options.rate) as u64);
        Broadcast {
            senders: (0..senders).map(|_| Sender { message: Stamped::new(&packet), free: true, due: 0 }).collect(),
            receivers: options.connections,
            pause,
            sent: 0,
            delivered: 0,
            acknowledged: 0,
            running: false,
        }
    }

    fn send(&mut self, wires: &mut Wires, id: usize, time: u64) {
        let sender = &mut self.senders[id];
        let frame = sender.message.at(time);
        wires.send(id, frame, frame.len());
        sender.free = false;
        self.sent += 1;
    }
}

impl Scenario for Broadcast {
    fn dialog(&self) -> bool {
        true
    }

    fn start(&mut self, wires: &mut Wires, meter: &mut Meter) {
        self.running = true;
        let count = self.senders.len() as u64;
        for id in 0..self.senders.len() {
            match self.pause {
                // Spread over the pause, not all at once.
                Some(pause) => self.senders[id].due = meter.now + pause * id as u64 / count,
                None => self.send(wires, id, meter.now),
            }
        }
    }

    fn message(&mut self, meter: &mut Meter, id: usize, frame: &Frame<'_>) -> Result<(), String> {
        match (packet_opcode(frame.start), self.senders.get_mut(id)) {
            (b"broadcast", _) => {
                self.delivered += 1;
                meter.record(1, frame.len, meter.now.saturating_sub(stamp(frame)?));
                Ok(())
            }
            (b"next", Some(sender)) if !sender.free => {
                sender.free = true;
                self.acknowledged += u64::from(meter.measuring);
                Ok(())
            }
            _ => Err(surprise("a broadcast or its next", frame)),
        }
    }

    fn answered(&mut self, wires: &mut Wires, meter: &mut Meter, id: usize) {
        let free = self.senders.get(id).is_some_and(|sender| sender.free);
        if free && self.pause.is_none() && self.running {
            self.send(wires, id, meter.now);
        }
    }

    fn on_time(&mut self, wires: &mut Wires, meter: &mut Meter) -> Option<u64> {
        let pause = self.pause?;
        for id in 0..self.senders.len() {
            let (free, due) = (self.senders[id].free, self.senders[id].due);
            if free && due <= meter.now {
                self.send(wires, id, due);
                self.senders[id].due += pause;
            }
        }
        self.senders.iter().filter(|sender| sender.free).map(|sender| sender.due).min()
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn outstanding(&self) -> u64 {
        let others = (self.receivers + self.senders.len() - 1) as u64;
        let nexts = self.senders.iter().filter(|sender| !sender.free).count() as u64;
        nexts + (self.sent * others).saturating_sub(self.delivered)
    }
}
