//! What a client says: messages of every kind, whole and in pieces, and what no client may send.

use super::{CLIENTS, Connection, Host, Kind, Then, count};
use crate::util::lab::unfinished;
use crate::util::masked;

impl Host<'_> {
    /// One to five messages without waiting.
    pub(super) fn talk(&mut self, kind: Kind, connection: &mut Connection) {
        for _ in 0..=self.random.below(5) {
            match self.random.below(20) {
                0..10 => {
                    let echo = self.echo();
                    self.message_of(kind, connection, &echo);
                    connection.echoes.push_back(echo);
                }
                10..14 => {
                    let number = self.random.below(CLIENTS);
                    let uuid = self.party.uuids[number].lock().unwrap().clone();
                    self.message_of(kind, connection, &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
                }
                14..16 => {
                    let (high, low) = (self.random.next(), self.random.next() >> 16);
                    let uuid = format!("{:08x}-{:04x}-4{:03x}-8000-{low:012x}", high >> 32, high >> 16 & 0xFFFF, high & 0xFFF);
                    self.message_of(kind, connection, &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
                }
                16 if kind == Kind::Browser && self.random.one_in(200) => {
                    count(&self.party.totals.broadcasts);
                    self.message_of(kind, connection, r#"{"opcode":"broadcast","m":"to all"}"#);
                }
                _ => self.message_of(kind, connection, r#"{"opcode":"none"}"#),
            }
        }
    }

    fn message_of(&self, kind: Kind, connection: &mut Connection, text: &str) {
        match kind {
            Kind::Raw => {
                count(&self.party.totals.messages);
                connection.nexts += 1;
                connection.client.send(text.as_bytes());
            }
            _ => self.message(connection, text),
        }
    }

    pub(super) fn message(&self, connection: &mut Connection, text: &str) {
        count(&self.party.totals.messages);
        connection.nexts += 1;
        connection.client.send_text(text);
    }

    fn echo(&mut self) -> String {
        let len = if self.random.one_in(100) { 100_000 } else { self.random.below(2000) };
        format!(r#"{{"opcode":"echo","n":{},"m":"{}"}}"#, self.random.next(), "x".repeat(len))
    }

    /// A message in fragments, with pings between them, some of them in pieces.
    pub(super) fn fragments(&mut self, connection: &mut Connection) {
        let echo = self.echo();
        let size = 1 + self.random.below(echo.len());
        let pieces: Vec<&[u8]> = echo.as_bytes().chunks(size.max(echo.len() / 20)).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let frame = masked(number + 1 == pieces.len(), u8::from(number == 0), piece);
            let (first, second) = frame.split_at(self.random.below(frame.len()));
            connection.client.send(first);
            connection.client.send(second);
            if number + 1 < pieces.len() && self.random.one_in(3) {
                self.ping(connection);
            }
        }
        count(&self.party.totals.messages);
        connection.nexts += 1;
        connection.echoes.push_back(echo);
    }

    pub(super) fn chunks(&mut self, connection: &mut Connection) {
        let echo = self.echo();
        self.message(connection, "bufferON");
        for chunk in echo.as_bytes().chunks(echo.len() / 10 + 1) {
            self.message(connection, std::str::from_utf8(chunk).unwrap());
        }
        self.message(connection, "bufferOFF");
        connection.echoes.push_back(echo);
    }

    pub(super) fn pings(&mut self, connection: &mut Connection) {
        for _ in 0..=self.random.below(3) {
            self.ping(connection);
        }
        if self.random.one_in(4) {
            connection.client.send(&masked(true, 10, b"nobody asked for this"));
        }
    }

    fn ping(&mut self, connection: &mut Connection) {
        count(&self.party.totals.pings);
        let payload = self.random.next().to_be_bytes().repeat(1 + self.random.below(15));
        connection.client.send(&masked(true, 9, &payload));
        connection.pongs.push_back(payload);
    }

    /// Good messages, and then something that no client may send.
    pub(super) fn garbage(&mut self, connection: &mut Connection) {
        count(&self.party.totals.garbage);
        self.message(connection, "{}");
        let (bytes, code): (&[u8], u16) = match self.random.below(6) {
            0 => (b"\x81\x02{}", 1002),
            1 => (b"\xC1\x82\0\0\0\0{}", 1002),
            2 => (b"\x09\x80\0\0\0\0", 1002),
            3 => (b"\x81\x82\0\0\0\0\xFF\xFF", 1007),
            4 => (b"\x81\xFF\0\0\0\0\x7F\0\0\0\0\0\0\0", 1009),
            _ => (b"\x83\x80\0\0\0\0", 1002),
        };
        connection.client.send(bytes);
        connection.then = Then::Closed(code);
    }

    /// Perhaps some bytes of a frame.
    pub(super) fn half_a_frame(&mut self, connection: &mut Connection) {
        if self.random.one_in(2) {
            let sent = self.random.below(900);
            connection.client.send(&unfinished(1, self.random.one_in(2), 1000, sent));
        }
    }
}
