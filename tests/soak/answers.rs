//! What a client is answered: exactly one `next` for each message, every echo and pong in order.

use std::io::Read;
use std::sync::atomic::Ordering;

use super::{Connection, Guest, Host, Kind, Then, count};
use crate::util::{NEXT, masked};

impl Host<'_> {
    /// Reads until every answer is there: exactly one `next` for each message.
    pub(super) fn settle(&self, guest: &mut Guest) {
        let Some(mut connection) = guest.connection.take() else { return };
        if guest.kind == Kind::Raw {
            self.settle_raw(&mut connection);
            guest.connection = Some(connection);
            return;
        }
        let totals = &self.party.totals;
        loop {
            let missing = connection.nexts + connection.echoes.len() + connection.pongs.len();
            if missing == 0 && connection.then == Then::Stay {
                guest.connection = Some(connection);
                return;
            }
            let Some(frame) = connection.client.frame() else {
                assert!(connection.then == Then::HalfClosed, "the end, unasked");
                assert_eq!(missing, 0, "answers are missing at the end of a half-closed connection");
                return;
            };
            match frame.opcode {
                9 => {
                    if connection.then == Then::Stay {
                        connection.client.send(&masked(true, 10, &frame.payload));
                        count(&totals.pings_answered);
                    }
                }
                10 => {
                    assert_eq!(connection.pongs.pop_front(), Some(frame.payload), "a pong that nobody waits for");
                    count(&totals.pongs);
                }
                8 => {
                    let Then::Closed(code) = connection.then else { panic!("closed, unasked: {frame:?}") };
                    assert_eq!((frame.code(), missing), (code, 0), "{frame:?}");
                    assert_eq!(connection.client.frame(), None);
                    return;
                }
                _ if frame.text() == NEXT => {
                    connection.nexts = connection.nexts.checked_sub(1).expect("no next too many");
                    count(&totals.nexts);
                }
                _ => self.text(&mut connection, frame.text()),
            }
        }
    }

    fn text(&self, connection: &mut Connection, text: &str) {
        let totals = &self.party.totals;
        if text.starts_with(r#"{"opcode":"echo""#) {
            assert_eq!(connection.echoes.pop_front().as_deref(), Some(text), "echoes come in order");
            count(&totals.echoes);
        } else if text.starts_with(r#"{"opcode":"broadcast""#) {
            count(&totals.broadcasts_received);
        } else if text.starts_with(r#"{"opcode":"feedback""#) {
            count(&totals.feedback_received);
        } else {
            panic!("nobody waits for {text}");
        }
    }

    /// There are no frames: the answers stand one behind the other.
    fn settle_raw(&self, connection: &mut Connection) {
        let len = connection.nexts * NEXT.len() + connection.echoes.iter().map(String::len).sum::<usize>();
        let mut bytes = vec![0; len];
        connection.stream.read_exact(&mut bytes).unwrap();
        let mut answers = String::from_utf8(bytes).unwrap();
        for echo in connection.echoes.drain(..) {
            let at = answers.find(&echo).expect("the echo");
            answers.replace_range(at..at + echo.len(), "");
            count(&self.party.totals.echoes);
        }
        assert_eq!(answers, NEXT.repeat(connection.nexts));
        self.party.totals.nexts.fetch_add(connection.nexts, Ordering::Relaxed);
        connection.nexts = 0;
    }
}
