//! What the clients of one thread do, one thing after the other: come, act, go, stop.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use super::{Connection, Guest, Host, Kind, STOPPED, STOPPED_FOR, Stopped, TOGETHER, Then, count};
use crate::util::lab;
use crate::util::{Client, json, masked, request};

impl Host<'_> {
    /// Lets clients talk, come and go until `end`, then leave.
    pub(super) fn entertain(&mut self, mut guests: Vec<Guest>, end: Instant) {
        while Instant::now() < end {
            for at in (1..guests.len()).rev() {
                guests.swap(at, self.random.below(at + 1));
            }
            for group in guests.chunks_mut(TOGETHER) {
                group.iter_mut().for_each(|guest| self.act(guest));
                group.iter_mut().for_each(|guest| self.settle(guest));
            }
            self.look_after_stopped();
        }
        for guest in &mut guests {
            let Some(connection) = guest.connection.take() else { continue };
            match self.random.below(3) {
                0 => self.reset(connection),
                1 => connection.stream.shutdown(Shutdown::Both).unwrap(),
                _ => drop(connection),
            }
        }
    }

    /// Begins something; whatever has answers is settled later, so that many are under way at once.
    fn act(&mut self, guest: &mut Guest) {
        let Some(mut connection) = guest.connection.take() else {
            if guest.kind == Kind::Browser && self.random.one_in(10) {
                self.stranger(guest);
            }
            guest.connection = Some(self.enter(guest));
            return;
        };
        if guest.kind == Kind::Raw {
            self.talk(guest.kind, &mut connection);
            match self.random.below(30) {
                0 => return self.reset(connection),
                1 => return count(&self.party.totals.drops),
                _ => guest.connection = Some(connection),
            }
            return;
        }
        match self.random.below(100) {
            0..45 => self.talk(guest.kind, &mut connection),
            45..57 => self.fragments(&mut connection),
            57..65 => self.chunks(&mut connection),
            65..75 => self.pings(&mut connection),
            75..78 => self.garbage(&mut connection),
            78..82 => {
                self.talk(guest.kind, &mut connection);
                self.half_a_frame(&mut connection);
                return self.reset(connection);
            }
            82..85 => {
                self.talk(guest.kind, &mut connection);
                self.half_a_frame(&mut connection);
                return count(&self.party.totals.drops);
            }
            85..88 => return self.stop(guest, connection),
            88..92 => {
                self.talk(guest.kind, &mut connection);
                connection.stream.shutdown(Shutdown::Write).unwrap();
                connection.then = Then::HalfClosed;
                count(&self.party.totals.half_closes);
            }
            92..96 => {
                self.talk(guest.kind, &mut connection);
                connection.client.send(&masked(true, 8, &[0x0F, 0xA0]));
                connection.then = Then::Closed(4000);
                count(&self.party.totals.closes);
            }
            _ => {
                self.talk(guest.kind, &mut connection);
                self.message(&mut connection, r#"{"opcode":"quit"}"#);
                connection.then = Then::Closed(1000);
                count(&self.party.totals.quits);
            }
        }
        guest.connection = Some(connection);
    }

    fn enter(&self, guest: &Guest) -> Connection {
        let stream = lab::connect_from(guest.address, self.party.lab.addr);
        let mut client = Client::over(stream.try_clone().unwrap());
        count(&self.party.totals.connections);
        match guest.kind {
            Kind::Raw => {
                client.send(b"php process\nGET /php HTTP/1.1\n");
                let mut ready = [0; r#"{"opcode":"ready","uuid":""}"#.len() + 36];
                client.wire.read_exact(&mut ready).unwrap();
                assert!(ready.starts_with(br#"{"opcode":"ready""#) && ready.ends_with(b"}"), "{ready:?}");
            }
            kind => {
                let (path, headers) = match kind {
                    Kind::Php => ("/php", "Client-Type: php\r\n".into()),
                    _ => ("/web", super::forwarded(guest.address)),
                };
                client.send(request(path, &headers).as_bytes());
                let head = client.head();
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                let ready = client.text();
                assert_eq!(json(&ready, "opcode"), "ready", "{ready}");
                *self.party.uuids[guest.number].lock().unwrap() = json(&ready, "uuid");
            }
        }
        Connection { stream, client, nexts: 0, echoes: VecDeque::new(), pongs: VecDeque::new(), then: Then::Stay }
    }

    /// Somebody who never becomes a client.
    fn stranger(&mut self, guest: &Guest) {
        count(&self.party.totals.strangers);
        let mut stream = lab::connect_from(guest.address, self.party.lab.addr);
        let half = &request("/web", "")[..30 + self.random.below(100)];
        match self.random.below(6) {
            0 => return lab::reset(stream),
            1 => return,
            2 => {
                stream.write_all(half.as_bytes()).unwrap();
                return lab::reset(stream);
            }
            3 => return stream.write_all(half.as_bytes()).unwrap(),
            4 => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap(),
            _ => stream.write_all(b"\x16\x03\x01\n\n no HTTP \r\n\r\n").unwrap(),
        }
        let answer = Client::over(stream).rest();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    }

    fn reset(&self, connection: Connection) {
        count(&self.party.totals.resets);
        let Connection { stream, client, .. } = connection;
        drop(client);
        lab::reset(stream);
    }

    /// The client is not heard of again, and reads nothing; the server has to notice.
    fn stop(&mut self, guest: &Guest, mut connection: Connection) {
        let here = self.stopped.iter().filter(|stopped| stopped.address == guest.address).count();
        if here >= STOPPED || guest.kind != Kind::Browser {
            return self.reset(connection);
        }
        count(&self.party.totals.stops);
        self.half_a_frame(&mut connection);
        self.stopped.push(Stopped { connection, address: guest.address, since: Instant::now() });
    }

    fn look_after_stopped(&mut self) {
        let old = self.stopped.iter().take_while(|stopped| stopped.since.elapsed() > STOPPED_FOR).count();
        for stopped in self.stopped.drain(..old) {
            let mut stream = stopped.connection.stream;
            let mut bytes = Vec::new();
            // It has been told why, or its connection is gone altogether.
            match stream.read_to_end(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                outcome => {
                    outcome.expect("the server drops clients that have stopped");
                    assert!(
                        String::from_utf8_lossy(&bytes).contains("No PONG")
                            || String::from_utf8_lossy(&bytes).contains("too long")
                    );
                }
            }
        }
    }
}
