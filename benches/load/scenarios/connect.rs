//! Handshakes: each connection is opened, waited for and ended; one after the other in as many
//! places as are set, or many at once.

use crate::connection::Connection;
use crate::load::Load;
use crate::meter::{Meter, ns};
use crate::scenario::Scenario;
use crate::wire::Frame;

/// Says nothing, and listens to nothing behind the handshake.
pub struct Silence {
    pub dialog: bool,
}

impl Scenario for Silence {
    fn dialog(&self) -> bool {
        self.dialog
    }

    fn message(&mut self, _meter: &mut Meter, _id: usize, _frame: &Frame<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Keeps `concurrency` handshakes going for a while.
pub fn keep_connecting(load: &mut Load, seconds: f64, silence: &mut Silence) -> Result<(), String> {
    let (begin, length) = (load.meter.now, ns(seconds));
    load.meter.stage("connect", length);
    while load.meter.now - begin < length && load.meter.errors == 0 {
        load.turn(silence, 10)?;
        load.meter.progress(load.meter.now - begin);
        while let Some(id) = load.fresh.pop() {
            finish(load, id);
            load.dial(id, silence)?;
        }
    }
    Ok(())
}

/// Begins the first handshakes.
pub fn begin(load: &mut Load, silence: &mut Silence) -> Result<(), String> {
    load.meter.tick();
    (0..load.options.concurrency).try_for_each(|id| load.dial(id, silence))
}

/// Many at once, again and again for the measured time: how long each took until the last was open, in
/// milliseconds.
pub fn bursts(load: &mut Load, silence: &mut Silence) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    let end = load.meter.now + ns(load.options.seconds);
    load.meter.stage("bursts", ns(load.options.seconds));
    while times.is_empty() || (load.meter.now < end && load.meter.errors == 0) {
        times.push(burst(load, silence)?);
    }
    Ok(times)
}

fn burst(load: &mut Load, silence: &mut Silence) -> Result<f64, String> {
    let (count, patience) = (load.options.burst, ns(30.0));
    load.meter.tick();
    let begin = load.meter.now;
    (0..count).try_for_each(|id| load.dial(id, silence))?;
    while load.open < count && load.meter.errors == 0 && load.meter.now - begin < patience {
        load.turn(silence, 10)?;
    }
    let (open, time) = (load.open, load.meter.now - begin);
    if open < count {
        load.meter.error(&format!("only {open} of {count} connections were opened"));
    }
    load.fresh.clear();
    (0..count).for_each(|id| finish(load, id));
    Ok(time as f64 / 1e6)
}

/// Counts a handshake and ends its connection.
fn finish(load: &mut Load, id: usize) {
    if let Some(connection) = load.hang_up(id).filter(Connection::is_open) {
        load.meter.record(1, 0, load.meter.now - connection.begun);
    }
}
