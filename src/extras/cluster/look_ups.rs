//! Uuids that this process does not know: Redis is asked for so many of one address at a time.
//!
//! Whoever guesses uuids makes work for Redis, and shares his address with others. So the look-ups of one address stand in
//! a queue: a right uuid waits for its turn there, and is never refused. A wrong one costs a single read of Redis. Those
//! whose connection has ended by their turn cost none.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::claims::ask_to_come_again;
use super::replies::{element, text};
use super::{Cluster, Pending, Registration};
use crate::extras::redis::Reply;
use crate::limits::counted_address;
use crate::server::Server;

/// Look-ups of one address that are under way at a time.
const MAX_OF_ADDRESS: usize = 16;

/// The look-ups of each address that has some.
#[derive(Default)]
pub(super) struct LookUps(HashMap<IpAddr, OfAddress>);

#[derive(Default)]
struct OfAddress {
    running: usize,
    waiting: VecDeque<Registration>,
}

impl Cluster {
    /// Asks Redis for a client that comes back, once it is its turn.
    pub(super) fn look_up(&mut self, server: &mut Server, registration: Registration) {
        let ip = counted_address(server.clients[registration.id].ip);
        self.look_ups.0.entry(ip).or_default().waiting.push_back(registration);
        self.look_up_next(server, ip);
    }

    /// Asks for as many of an address as may be under way.
    fn look_up_next(&mut self, server: &mut Server, ip: IpAddr) {
        while let Some(of_address) = self.look_ups.0.get_mut(&ip).filter(|of_address| of_address.running < MAX_OF_ADDRESS) {
            let Some(next) = of_address.waiting.pop_front() else {
                if of_address.running == 0 {
                    self.look_ups.0.remove(&ip);
                }
                return;
            };
            if !server.is_open(next.id) {
                continue;
            }
            of_address.running += 1;
            let key = self.key(&format!("client:{}", next.uuid));
            if self.send(&[b"HMGET", key.as_bytes(), b"resume", b"rooms"], Pending::LookUp(ip, next)).is_err() {
                self.look_up_ended(ip);
                ask_to_come_again(server, next.id);
            }
        }
    }

    /// Redis said whether it knows the client.
    pub(super) fn looked_up(&mut self, server: &mut Server, ip: IpAddr, registration: Registration, reply: &Reply) {
        self.look_up_ended(ip);
        match text(element(reply, 0)) {
            // A wrong guess counts also if its connection has ended.
            None => self.register_unknown(server, ip, registration.id, registration.uuid),
            Some(_) if server.is_open(registration.id) => {
                self.claim(server, registration, text(element(reply, 1)).unwrap_or("[]"));
            }
            Some(_) => {}
        }
        self.look_up_next(server, ip);
    }

    /// Redis did not answer.
    pub(super) fn not_looked_up(&mut self, server: &mut Server, ip: IpAddr, registration: Registration) {
        self.look_up_ended(ip);
        ask_to_come_again(server, registration.id);
        self.look_up_next(server, ip);
    }

    fn look_up_ended(&mut self, ip: IpAddr) {
        if let Some(of_address) = self.look_ups.0.get_mut(&ip) {
            of_address.running = of_address.running.saturating_sub(1);
        }
    }
}
