//! The loop: opens connections, hands what comes to a scenario, keeps time.
//!
//! One thread, one poll, edge-triggered, one read buffer. A scenario is asked for nothing but what to
//! send and whether an answer is right.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::connection::Connection;
use crate::meter::{Meter, ns};
use crate::options::{Kind, Options};
use crate::scenario::{Scenario, Wires};
use crate::stream::{Stream, tls_config};
use crate::url::Scheme;

const READ_BUFFER: usize = 256 * 1024;
/// Without progress for this long, opening or the last answers are given up.
const PATIENCE: f64 = 10.0;
/// Connections from one source address, well below the number of ports.
const PER_SOURCE: usize = 20_000;
const SOURCES: usize = 200;

pub struct Load {
    pub options: Options,
    pub meter: Meter,
    pub wires: Wires,
    /// Connections that have been opened and not yet been looked at.
    pub fresh: Vec<usize>,
    poll: Poll,
    events: Events,
    again: Vec<usize>,
    buffer: Vec<u8>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    dialled: usize,
    pub open: usize,
}

impl Load {
    pub fn new(options: Options) -> Result<Load, Box<dyn std::error::Error>> {
        let tls = match options.url.scheme {
            Scheme::Wss => Some((tls_config()?, ServerName::try_from(options.url.host.clone())?)),
            _ => None,
        };
        Ok(Load {
            meter: Meter::new(options.quiet),
            options,
            wires: Wires::default(),
            fresh: Vec::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            again: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            tls,
            dialled: 0,
            open: 0,
        })
    }

    /// Begins to open connection `id`, in place of the one of that number if there is one.
    pub fn dial(&mut self, id: usize, scenario: &impl Scenario) -> Result<(), String> {
        let tls = self.tls.clone().map(|(config, name)| ClientConnection::new(config, name)).transpose();
        let tls = tls.map_err(|error| error.to_string())?;
        let source = self.source();
        self.dialled += 1;
        let stream = Stream::connect(self.options.url.addr, source, tls, self.options.quickack);
        let mut stream = stream.map_err(|error| format!("connection {id}: {}", told(&error)))?;
        let registered = self.poll.registry().register(&mut stream.tcp, Token(id), Interest::READABLE | Interest::WRITABLE);
        registered.map_err(|error| error.to_string())?;
        let connection = Connection::new(stream, self.meter.now, &self.options, scenario.headers(id), scenario.dialog());
        let connection = connection.map_err(|error| format!("connection {id}: {}", told(&error)))?;
        if self.wires.connections.len() <= id {
            self.wires.connections.resize_with(id + 1, || None);
        }
        self.wires.connections[id] = Some(connection);
        Ok(())
    }

    /// Loopback has more addresses than one: with them, ports do not run out.
    fn source(&self) -> Option<SocketAddr> {
        let turn = match self.options.kind {
            Kind::Connect => self.dialled % SOURCES,
            _ => self.dialled / PER_SOURCE,
        };
        let IpAddr::V4(target) = self.options.url.addr.ip() else { return None };
        (target.is_loopback() && turn > 0).then(|| SocketAddr::from(([127, 0, 1, turn as u8], 0)))
    }

    /// Ends a connection.
    pub fn hang_up(&mut self, id: usize) -> Option<Connection> {
        let connection = self.wires.connections.get_mut(id)?.take()?;
        self.open -= usize::from(connection.is_open());
        Some(connection)
    }

    /// Opens `count` connections, so many at a time.
    pub fn open_all(&mut self, count: usize, scenario: &mut impl Scenario) -> Result<(), String> {
        self.meter.stage("opening", count as u64);
        let mut dialled = 0;
        let mut progress = self.meter.now;
        while self.open < count {
            while dialled < count && dialled - self.open < self.options.concurrency {
                self.dial(dialled, scenario)?;
                dialled += 1;
            }
            let before = self.open;
            self.turn(scenario, 100)?;
            self.meter.progress(self.open as u64);
            if self.open > before {
                progress = self.meter.now;
            }
            if self.meter.errors > 0 {
                return Err(format!("only {} of {count} connections could be opened", self.open));
            }
            if self.meter.now - progress > ns(PATIENCE) {
                return Err(format!("{} of {count} connections are open, and no other for {PATIENCE} s", self.open));
            }
        }
        self.fresh.clear();
        Ok(())
    }

    /// Lets the scenario run for a while, or until no connection is left.
    pub fn run_for(&mut self, seconds: f64, name: &'static str, scenario: &mut impl Scenario) -> Result<(), String> {
        let (begin, length) = (self.meter.now, ns(seconds));
        let end = begin + length;
        self.meter.stage(name, length);
        while self.meter.now < end && self.open > 0 {
            let due = scenario.on_time(&mut self.wires, &mut self.meter).unwrap_or(end).min(end);
            // The poll counts in milliseconds: what is due sooner is waited for without sleeping.
            self.turn(scenario, due.saturating_sub(self.meter.now) / 1_000_000)?;
            self.meter.progress(self.meter.now - begin);
        }
        Ok(())
    }

    /// Waits for the last answers; those that do not come are errors.
    pub fn drain(&mut self, scenario: &mut impl Scenario) -> Result<(), String> {
        scenario.stop();
        let (mut left, mut progress) = (scenario.outstanding(), self.meter.now);
        while left > 0 && self.open > 0 && self.meter.now - progress < ns(PATIENCE) {
            self.turn(scenario, 10)?;
            let now_left = scenario.outstanding();
            if now_left != left {
                (left, progress) = (now_left, self.meter.now);
            }
        }
        if left > 0 && self.meter.errors == 0 {
            self.meter.error(&format!("{left} messages were never answered"));
        }
        Ok(())
    }

    /// One turn of the loop.
    pub fn turn(&mut self, scenario: &mut impl Scenario, timeout_ms: u64) -> Result<(), String> {
        let again = std::mem::take(&mut self.again);
        let timeout = if again.is_empty() && !self.options.spin { timeout_ms } else { 0 };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(Duration::from_millis(timeout))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(format!("poll: {error}")),
            _ => self.meter.tick(),
        }
        for event in &events {
            self.event(event, scenario);
        }
        self.events = events;
        for id in again {
            self.readable(id, scenario);
        }
        while let Some((id, error)) = self.wires.broken.pop() {
            self.fail(id, &error);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, scenario: &mut impl Scenario) {
        let Token(id) = event.token();
        let Some(connection) = self.wires.get(id) else { return };
        // An end that comes with the last bytes has no event of its own.
        connection.ending |= event.is_read_closed();
        if event.is_writable()
            && let Err(error) = connection.stream.flush()
        {
            return self.fail(id, &told(&error));
        }
        if event.is_writable() && connection.opens_by_itself() {
            scenario.opened(id, "");
            self.open += 1;
            self.fresh.push(id);
        }
        if event.is_readable() || event.is_error() {
            self.readable(id, scenario);
        }
    }

    fn readable(&mut self, id: usize, scenario: &mut impl Scenario) {
        let Some(connection) = self.wires.get(id) else { return };
        let gain = match connection.stream.read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return self.fail(id, "the server ended the connection"),
            Err(error) => return self.fail(id, &told(&error)),
            Ok(gain) => gain,
        };
        self.meter.tick();
        let was_open = connection.is_open();
        let taken = connection.take(&self.buffer[..gain.count], scenario, &mut self.meter, id);
        let (is_open, ending) = (connection.is_open(), connection.ending);
        if is_open && !was_open {
            self.open += 1;
            self.fresh.push(id);
        }
        if let Err(error) = taken {
            return self.fail(id, &error);
        }
        if gain.more || ending {
            self.again.push(id);
        }
        scenario.answered(&mut self.wires, &mut self.meter, id);
    }

    /// What must not happen has happened.
    fn fail(&mut self, id: usize, error: &str) {
        if self.hang_up(id).is_some() {
            self.meter.error(&format!("connection {id}: {error}"));
        }
    }
}

/// An error, and what helps.
fn told(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE) => ": raise the limit of open files, ulimit -n",
        Some(libc::ECONNREFUSED) => ": is the server running?",
        _ => "",
    };
    format!("{error}{advice}")
}
