//! A TCP proxy on loopback, as the network between two programs: it is cut, freezes, or lags.
//!
//! What a lagging or frozen network has taken arrives later, also where the one that sent it has given up.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub struct Proxy {
    pub port: u16,
    network: Arc<Network>,
}

/// Up is from the one that connects to the one that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

#[derive(Default)]
struct Network {
    weather: Mutex<Weather>,
    changed: Condvar,
}

#[derive(Default)]
struct Weather {
    is_cut: bool,
    frozen: Vec<Way>,
    lag: Duration,
    links: Vec<Arc<Connection>>,
    ended: bool,
}

/// The two sockets of one connection.
struct Connection {
    near: TcpStream,
    far: TcpStream,
    is_over: AtomicBool,
}

impl Proxy {
    /// Stands between whoever connects to it and a port of this host.
    pub fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network::default());
        let shared = network.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if shared.weather.lock().unwrap().ended {
                    return;
                }
                near.into_iter().for_each(|near| shared.join(near, to));
            }
        });
        Proxy { port, network }
    }

    /// As Redis' address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Breaks all connections, and lets no new one through.
    pub fn cut(&self) {
        self.network.change(|weather| {
            weather.is_cut = true;
            weather.links.drain(..).for_each(|link| link.end());
        });
    }

    /// Lets nothing through in that direction. Connections stay, and are made.
    pub fn freeze(&self, way: Way) {
        self.network.change(|weather| weather.frozen.push(way));
    }

    /// Lets each byte arrive so much later.
    pub fn lag(&self, lag: Duration) {
        self.network.change(|weather| weather.lag = lag);
    }

    /// All is well again. What was held arrives.
    pub fn heal(&self) {
        self.network.change(|weather| {
            weather.is_cut = false;
            weather.frozen.clear();
            weather.lag = Duration::ZERO;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.change(|weather| weather.ended = true);
        self.cut();
        // It wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Network {
    fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().unwrap());
        self.changed.notify_all();
    }

    fn join(self: &Arc<Network>, near: TcpStream, to: u16) {
        if self.weather.lock().unwrap().is_cut {
            return;
        }
        // Where there is nobody, whoever connected is told so by the end of its connection.
        let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { return };
        [&near, &far].into_iter().for_each(|socket| socket.set_nodelay(true).unwrap());
        let link = Arc::new(Connection { near, far, is_over: AtomicBool::new(false) });
        let mut weather = self.weather.lock().unwrap();
        weather.links.retain(|link| !link.is_over.load(Ordering::SeqCst));
        weather.links.push(link.clone());
        for way in [Way::Up, Way::Down] {
            let (chunks, held) = channel();
            let (reading, writing, network) = (link.clone(), link.clone(), self.clone());
            std::thread::spawn(move || reading.read(way, &chunks));
            std::thread::spawn(move || network.write(&writing, way, &held));
        }
    }

    /// Writes what was read, when the weather lets it.
    fn write(&self, link: &Connection, way: Way, chunks: &Receiver<(Instant, Vec<u8>)>) {
        let mut to = match way {
            Way::Up => &link.far,
            Way::Down => &link.near,
        };
        while let Ok((came, chunk)) = chunks.recv() {
            self.wait_for_way(link, way, came);
            if link.is_over.load(Ordering::SeqCst) || to.write_all(&chunk).is_err() {
                return link.end();
            }
        }
        self.wait_for_way(link, way, Instant::now());
        let _ = to.shutdown(Shutdown::Write);
        // An end in one direction is the end of both: neither program goes on with half a connection.
        if way == Way::Down {
            link.end();
        }
    }

    fn wait_for_way(&self, link: &Connection, way: Way, came: Instant) {
        let mut weather = self.weather.lock().unwrap();
        while !link.is_over.load(Ordering::SeqCst) {
            let left = (came + weather.lag).saturating_duration_since(Instant::now());
            let is_frozen = weather.frozen.contains(&way);
            if !is_frozen && left.is_zero() {
                return;
            }
            let patience = if is_frozen { Duration::from_secs(1) } else { left };
            weather = self.changed.wait_timeout(weather, patience).unwrap().0;
        }
    }
}

impl Connection {
    fn read(&self, way: Way, chunks: &Sender<(Instant, Vec<u8>)>) {
        let mut from = match way {
            Way::Up => &self.near,
            Way::Down => &self.far,
        };
        let mut buffer = vec![0; 65536];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if chunks.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        [&self.near, &self.far].into_iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }
}
