//! What the hostile suites share: a phpws process under observation, and figures.
//!
//! The server runs on one CPU and the load on another, so that what is measured is the server. What
//! it holds is read from outside, in `/proc`: descriptors, memory, time on the CPU.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::{Domain, SockRef, Socket, Type};

use super::folder::Folder;
use super::sockets::narrow;
use super::tls::{self, Pair};
use super::waiting::wait_up_to;
use super::{Client, NEXT, PATIENCE, Wire, json, masked, request, wait_for};

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * 1024;

/// Descriptors, memory and time come back within this long after the server's own timeouts.
const SETTLING: Duration = Duration::from_secs(5);

/// A running phpws that logs to a file; it ends with the value.
pub struct Lab {
    child: Child,
    pub addr: SocketAddr,
    folder: Folder,
    descriptors_at_start: usize,
}

impl Lab {
    /// Starts the program on 127.0.0.1 with further arguments, and pins it and the load.
    pub fn start(args: &[&str]) -> Lab {
        Lab::start_as(&[], "ws://127.0.0.1:0", args)
    }

    /// The same on any address, as the last arguments of another command.
    pub fn start_as(command: &[&str], address: &str, args: &[&str]) -> Lab {
        let folder = Folder::new();
        let log = folder.file("log");
        let (for_server, for_load) = cpus();
        taskset(&["-a", "-c", "-p", &for_load, &std::process::id().to_string()]).status().unwrap();
        let child = taskset(&["-c", &for_server])
            .args(command)
            .arg(env!("CARGO_BIN_EXE_phpws"))
            .args(["--console=off", "--log-size", "0", "--log-file", log.to_str().unwrap()])
            .args(args)
            // What is counted must be there; a test may say otherwise.
            .env("PHPWS_LOG_RATE", "0")
            .arg(address)
            .spawn()
            .unwrap();
        let mut lab = Lab { child, addr: ([127, 0, 0, 1], 0).into(), folder, descriptors_at_start: 0 };
        lab.wait_for_log("Starting server...", 1);
        let text = lab.log();
        let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        let at = words.iter().position(|word| *word == "on").unwrap();
        lab.addr = words[at + 2].parse().expect("the log names the address");
        lab.descriptors_at_start = lab.descriptors();
        lab
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.file("log")).unwrap_or_default()
    }

    /// How many lines of the log contain `text`.
    pub fn log_count(&self, text: &str) -> usize {
        let Ok(file) = File::open(self.folder.file("log")) else { return 0 };
        let lines = BufReader::new(file).lines();
        lines.map_while(Result::ok).filter(|line| line.contains(text)).count()
    }

    pub fn wait_for_log(&self, text: &str, count: usize) {
        wait_for(&format!("{count} log lines '{text}'"), || (self.log_count(text) >= count).then_some(()));
    }

    pub fn signal(&self, name: &str) {
        super::signal(&self.child, name);
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of phpws", || self.child.try_wait().unwrap()).code()
    }

    /// Ends it as the system would, with no time for anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Descriptors of connections.
    pub fn connections(&self) -> usize {
        self.descriptors().saturating_sub(self.descriptors_at_start)
    }

    /// Waits until no connection is left; `own` is the longest of the server's own timeouts involved.
    pub fn wait_until_empty(&self, own: Duration) -> Duration {
        self.wait_until_left(0, own)
    }

    /// The same with so many connections left.
    pub fn wait_until_left(&self, count: usize, own: Duration) -> Duration {
        let start = Instant::now();
        let what = format!("the end of all connections but {count}");
        wait_up_to(own + SETTLING, &what, || (self.connections() <= count).then_some(()));
        start.elapsed()
    }

    /// Resident bytes.
    pub fn rss(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most resident bytes since the start.
    pub fn peak_rss(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * KIB
    }

    /// Time on the CPU since the start, in the system's ticks of 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// The same of its thread, to the nanosecond.
    pub fn ran(&self) -> Duration {
        let stat = std::fs::read_to_string(self.proc("schedstat")).unwrap();
        Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
    }

    /// The share of one CPU, in percent, that the server takes during `time`.
    pub fn cpu_share(&self, time: Duration) -> f64 {
        let before = self.cpu();
        std::thread::sleep(time);
        100.0 * (self.cpu() - before).as_secs_f64() / time.as_secs_f64()
    }

    pub fn connect(&self) -> TcpStream {
        connect_from([127, 0, 0, 1], self.addr)
    }

    /// A client past the 101 and `ready`, and its uuid.
    pub fn ready_on(&self, path: &str, headers: &str) -> (Client, String) {
        ready_over(self.connect(), path, headers)
    }

    pub fn browser(&self) -> Client {
        self.ready_on("/web", "").0
    }

    /// A browser whose system takes few bytes that it does not read.
    pub fn narrow(&self, path: &str, headers: &str) -> (Client, SocketAddr) {
        let stream = narrow(self.addr);
        let local = stream.local_addr().unwrap();
        (ready_over(stream, path, headers).0, local)
    }

    /// Waits until the server has read all that the client at `local` sent, and gives the bytes for the
    /// client that are in the system's buffers.
    pub fn wait_until_read(&self, local: SocketAddr) -> usize {
        wait_for("the server to have read all", || {
            let (down, up) = self.in_the_kernel(local)?;
            (up == 0).then_some(down)
        })
    }

    /// Bytes for the client at `local` that have left the server's process and that the client has
    /// not read, and bytes from it that the server has not read. None where the system's table lacks the
    /// connection: it may, if others come and go while it is read.
    fn in_the_kernel(&self, local: SocketAddr) -> Option<(usize, usize)> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let queues = |from: SocketAddr, to: SocketAddr| {
            let end = |addr: SocketAddr| format!(":{:04X}", addr.port());
            let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| {
                row.get(1).is_some_and(|text| text.ends_with(&end(from)))
                    && row.get(2).is_some_and(|text| text.ends_with(&end(to)))
            });
            let (tx, rx) = row?[4].split_once(':').unwrap();
            Some((usize::from_str_radix(tx, 16).unwrap(), usize::from_str_radix(rx, 16).unwrap()))
        };
        let (down, unread_up) = queues(self.addr, local)?;
        let (up, unread_down) = queues(local, self.addr)?;
        Some((down + unread_down, up + unread_up))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the server's log:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// The CPU of the server and that of the load: the first two this process may use.
fn cpus() -> (String, String) {
    static CPUS: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let cpus = CPUS.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let ranges = list.split(',').map(|range| range.split_once('-').unwrap_or((range, range)));
        ranges.flat_map(|(first, last)| first.parse::<usize>().unwrap()..=last.parse().unwrap()).collect()
    });
    if cpus.len() < 2 {
        println!("one CPU only: server and load share it");
    }
    (cpus[0].to_string(), cpus[1.min(cpus.len() - 1)].to_string())
}

fn taskset(args: &[&str]) -> Command {
    needs("taskset", "util-linux");
    let mut command = Command::new("taskset");
    command.args(args).stdout(Stdio::null());
    command
}

/// Fails with the name of the Debian package where a program is missing.
pub fn needs(program: &str, package: &str) {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{program} is missing: install the Debian package {package}");
}

/// A connection from an address of the loopback range.
pub fn connect_from(ip: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if ip != [127, 0, 0, 1] {
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    }
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn ready_over(wire: impl Wire + 'static, path: &str, headers: &str) -> (Client, String) {
    let mut client = Client::over(wire);
    client.send(request(path, headers).as_bytes());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ready = client.text();
    assert_eq!(json(&ready, "opcode"), "ready", "{ready}");
    let uuid = json(&ready, "uuid");
    (client, uuid)
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Round trips, and what can be said of them.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    /// By nearest rank: of a few, the high ones are the longest.
    pub fn percentile(&mut self, percent: usize) -> Duration {
        self.0.sort();
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }

    pub fn p99(&mut self) -> Duration {
        self.percentile(99)
    }

    pub fn show(&mut self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let [half, most, all] = [50, 99, 100].map(|percent| ms(self.percentile(percent)));
        format!("p50 {half:.3} ms, p99 {most:.3} ms, longest {all:.3} ms of {} round trips", self.0.len())
    }
}

/// Prints both and gives their ratio at p99.
pub fn compare(name: &str, without: &mut Times, with: &mut Times) -> f64 {
    let ratio = with.p99().as_secs_f64() / without.p99().as_secs_f64();
    println!("{name}: without {}", without.show());
    println!("{name}: with    {}", with.show());
    println!("{name}: ratio at p99 {ratio:.2}");
    ratio
}

/// A client that behaves: it sends an echo and waits for `next` and the echo.
pub struct Honest(pub Client);

impl Honest {
    pub fn round_trip(&mut self) -> Duration {
        const ECHO: &str = r#"{"opcode":"echo","from":"an honest client"}"#;
        let start = Instant::now();
        self.0.send_text(ECHO);
        for expected in [NEXT, ECHO] {
            // Broadcasts of others may come between.
            while self.0.text() != expected {}
        }
        start.elapsed()
    }

    /// Round trips, a pause after each, until `done`.
    pub fn until(&mut self, pause: Duration, mut done: impl FnMut() -> bool) -> Times {
        let mut times = Times::default();
        while !done() {
            times.add(self.round_trip());
            std::thread::sleep(pause);
        }
        times
    }

    pub fn during(&mut self, time: Duration, pause: Duration) -> Times {
        let start = Instant::now();
        self.until(pause, || start.elapsed() >= time)
    }
}

/// The header of a masked frame whose payload is `len` bytes, and then `sent` bytes of `x`.
pub fn unfinished(opcode: u8, fin: bool, len: usize, sent: usize) -> Vec<u8> {
    let mut bytes = masked(fin, opcode, &vec![b'x'; len]);
    bytes.truncate(bytes.len() - len + sent);
    bytes
}

/// A server with this pair.
pub fn secure_server(pair: &Pair, args: &[&str]) -> Lab {
    let files = pair.args();
    let files = files.iter().map(String::as_str);
    Lab::start_as(&[], "wss://127.0.0.1:0", &files.chain(args.iter().copied()).collect::<Vec<_>>())
}

/// The first bytes of a TLS client.
pub fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls::connection(config).write_tls(&mut bytes).unwrap();
    bytes
}

pub fn secure_browser(lab: &Lab, config: &Arc<ClientConfig>) -> io::Result<Client> {
    let mut stream = tls::over(lab.connect(), config);
    stream.flush()?;
    Ok(ready_over(stream, "/web", "").0)
}

/// A device that has no room.
pub fn full_disk() -> &'static Path {
    Path::new("/dev/full")
}

/// Opens the full disk for writing.
pub fn full_disk_file() -> File {
    File::options().write(true).open(full_disk()).unwrap()
}
