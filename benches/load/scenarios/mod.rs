//! The scenarios, one file each. `large` is `echo` with other defaults, `idle` is `echo` or `dialog`
//! on few of many connections.

pub mod broadcast;
pub mod connect;
pub mod dialog;
pub mod echo;
pub mod feedback;

use std::rc::Rc;

use crate::wire::{Frame, TEXT, masked, patch};

/// Text of any length.
fn filler(size: usize) -> String {
    ('a'..='z').cycle().take(size).collect()
}

/// A text frame with a time in it, and perhaps more that changes.
struct Stamped {
    frame: Rc<[u8]>,
    at: usize,
}

/// What stands in a packet before the time, and the time's digits.
const STAMP: &str = r#""at":""#;
const DIGITS: usize = 16;

impl Stamped {
    /// A frame of this packet, which must contain the mark and 16 characters behind it.
    fn new(packet: &str) -> Stamped {
        let at = packet.find(STAMP).map_or(0, |at| at + STAMP.len());
        Stamped { frame: masked(TEXT, packet.as_bytes()).into(), at }
    }

    /// The frame with this time; copied only where the last one has not been written yet.
    fn at(&mut self, time: u64) -> &Rc<[u8]> {
        let mut digits = [0; DIGITS];
        for (index, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(time >> (60 - 4 * index) & 15) as usize];
        }
        patch(Rc::make_mut(&mut self.frame), self.at, &digits);
        &self.frame
    }
}

/// The time in a packet.
fn stamp(frame: &Frame<'_>) -> Result<u64, String> {
    let at = frame.start.windows(STAMP.len()).position(|part| part == STAMP.as_bytes());
    let digits = at.and_then(|at| frame.start.get(at + STAMP.len()..)?.first_chunk::<DIGITS>());
    let time = digits.and_then(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    time.ok_or_else(|| surprise("a message with its time", frame))
}

/// Something else came.
fn surprise(expected: &str, frame: &Frame<'_>) -> String {
    let shown = String::from_utf8_lossy(&frame.start[..frame.start.len().min(120)]);
    format!("instead of {expected}: {} bytes, opcode {}: {shown}", frame.len, frame.opcode)
}
