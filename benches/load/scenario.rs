//! What a scenario is: what to send, and whether an answer is right.
//!
//! Sending and answers are apart: `message` sees what lies in the read buffer and may only count,
//! `answered` sends, on any connection.

use std::rc::Rc;

use crate::connection::Connection;
use crate::meter::Meter;
use crate::wire::Frame;

/// A way to use a server.
pub trait Scenario {
    /// Further request headers of a connection, each ending with CRLF.
    fn headers(&self, _id: usize) -> &'static str {
        ""
    }

    /// Whether a connection is open only with its `ready`.
    fn dialog(&self) -> bool {
        false
    }

    /// A connection is open; `uuid` is empty without dialog.
    fn opened(&mut self, _id: usize, _uuid: &str) {}

    /// All connections are open: send the first messages.
    fn start(&mut self, _wires: &mut Wires, _meter: &mut Meter) {}

    /// Whether the payloads of this connection are still to be compared, so that they are kept whole.
    fn wants_whole(&self, _id: usize) -> bool {
        false
    }

    /// A message has come. It must be counted here; sending is for `answered`.
    fn message(&mut self, meter: &mut Meter, id: usize, frame: &Frame<'_>) -> Result<(), String>;

    /// All messages of one read have come.
    fn answered(&mut self, _wires: &mut Wires, _meter: &mut Meter, _id: usize) {}

    /// Sends what is due by the clock, and says when the next is.
    fn on_time(&mut self, _wires: &mut Wires, _meter: &mut Meter) -> Option<u64> {
        None
    }

    /// Sends nothing more.
    fn stop(&mut self) {}

    /// Messages whose answers have not come yet.
    fn outstanding(&self) -> u64 {
        0
    }
}

/// The connections, by number, as a scenario sees them.
#[derive(Default)]
pub struct Wires {
    pub connections: Vec<Option<Connection>>,
    /// What could not be sent on, and why.
    pub broken: Vec<(usize, String)>,
}

impl Wires {
    /// The connection of that number, if it is there.
    pub fn get(&mut self, id: usize) -> Option<&mut Connection> {
        self.connections.get_mut(id)?.as_mut()
    }

    /// Sends the first `len` of `bytes`.
    pub fn send(&mut self, id: usize, bytes: &Rc<[u8]>, len: usize) {
        if let Some(connection) = self.get(id)
            && let Err(error) = connection.stream.send(bytes, len)
        {
            self.broken.push((id, error.to_string()));
        }
    }
}
