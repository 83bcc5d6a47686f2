//! A load that notices when a server can't be reached: visitors who come without end, one connection
//! after the other, and pages that stay and come back when they are told to go.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::page::Page;
use super::{Frame, NEXT, PATIENCE, masked, parse, request, wait_for};

/// Threads that connect, are told `ready`, say something, and go.
pub struct Visitors {
    stop: Arc<AtomicBool>,
    welcome: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Visits>>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Visits {
    /// Those that were told `ready`.
    pub welcome: usize,
    /// Those that were not, and why.
    pub failed: Vec<String>,
    /// From the connect to `ready`.
    pub slowest: Duration,
    /// Those that took longer than half a second for it.
    pub slow: usize,
}

impl Visitors {
    pub fn start(addr: SocketAddr, threads: usize) -> Visitors {
        let (stop, welcome) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let visiting = || {
            let (stop, welcome) = (stop.clone(), welcome.clone());
            std::thread::spawn(move || visits(addr, &stop, &welcome))
        };
        let threads = (0..threads).map(|_| visiting()).collect();
        Visitors { stop, welcome, threads }
    }

    /// Waits until so many more were told `ready`.
    pub fn wait_for_more(&self, count: usize) {
        let before = self.welcome.load(Ordering::SeqCst);
        wait_for("more visitors", || (self.welcome.load(Ordering::SeqCst) >= before + count).then_some(()));
    }

    pub fn finish(self) -> Visits {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).fold(Visits::default(), |mut sum, visits| {
            sum.welcome += visits.welcome;
            sum.failed.extend(visits.failed);
            sum.slowest = sum.slowest.max(visits.slowest);
            sum.slow += visits.slow;
            sum
        })
    }
}

fn visits(addr: SocketAddr, stop: &AtomicBool, welcome: &AtomicUsize) -> Visits {
    let mut visits = Visits::default();
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        match visit(addr) {
            Ok(welcomed) => {
                visits.welcome += 1;
                welcome.fetch_add(1, Ordering::SeqCst);
                visits.slowest = visits.slowest.max(welcomed - start);
                visits.slow += usize::from(welcomed - start > Duration::from_millis(500));
            }
            Err(problem) => visits.failed.push(problem),
        }
    }
    visits
}

/// One visit; gives the moment when it was told `ready`.
fn visit(addr: SocketAddr) -> Result<Instant, String> {
    let mut wire = TcpStream::connect_timeout(&addr, PATIENCE).map_err(failed("connect"))?;
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    wire.set_nodelay(true).unwrap();
    wire.write_all(request("/web", "").as_bytes()).map_err(failed("request"))?;
    let mut bytes = Vec::new();
    read_until(&mut wire, &mut bytes, |bytes| bytes.windows(4).any(|four| four == b"\r\n\r\n")).map_err(failed("head"))?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    read_until(&mut wire, &mut bytes, |bytes| parse(bytes).is_some()).map_err(failed("ready"))?;
    let welcomed = Instant::now();
    let (ready, len) = parse(&bytes).unwrap();
    if !ready.text().contains("ready") {
        return Err(ready.text().to_owned());
    }
    bytes.drain(..len);
    // Whether the server parts from it after `ready` is no matter: a page would come back.
    let said = wire.write_all(&masked(true, 1, br#"{"opcode":"echo"}"#));
    let is_for_others = |frame: &Frame| frame.opcode == 1 && frame.text().contains(r#""opcode":"broadcast""#);
    while said.is_ok() && read_until(&mut wire, &mut bytes, |bytes| parse(bytes).is_some()).is_ok() {
        let (next, len) = parse(&bytes).unwrap();
        bytes.drain(..len);
        if is_for_others(&next) {
            continue;
        }
        if next.opcode == 1 && next.text() != NEXT && !next.text().contains("close") {
            return Err(format!("not next: {}", next.text()));
        }
        let _ = wire.write_all(&masked(true, 8, &1000u16.to_be_bytes()));
        break;
    }
    Ok(welcomed)
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn read_until(wire: &mut TcpStream, bytes: &mut Vec<u8>, is_enough: impl Fn(&[u8]) -> bool) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while !is_enough(bytes) {
        match wire.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

/// Threads with a page each, which stays, and comes back by itself when it is told to go.
pub struct Pages {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Page>>,
}

impl Pages {
    /// All of them have been told `ready`.
    pub fn start(addrs: &[SocketAddr], count: usize) -> Pages {
        let stop = Arc::new(AtomicBool::new(false));
        let pages: Vec<Page> = (0..count).map(|_| Page::ready(addrs, "/web")).collect();
        let threads = pages
            .into_iter()
            .map(|mut page| {
                let stop = stop.clone();
                std::thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        page.step(Duration::from_millis(100));
                    }
                    page
                })
            })
            .collect();
        Pages { stop, threads }
    }

    pub fn finish(self) -> Vec<Page> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}
