//! The log when nobody takes it, when strangers would fill it, and when the server ends.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::util::folder::Folder;
use crate::util::{Client, NEXT, Phpws, masked, signal, wait_for};

/// A server whose address is in a log file; it ends with the value.
struct Logging {
    child: Child,
    addr: SocketAddr,
}

impl Logging {
    fn start(args: &[&str], stdout: Stdio, log: impl Fn() -> String) -> Logging {
        let child = Command::new(env!("CARGO_BIN_EXE_phpws")).args(args).arg("ws://127.0.0.1:0").stdout(stdout).spawn().unwrap();
        let addr = wait_for("the address", || {
            let text = log();
            let line = text.lines().find(|line| line.contains("Server initialized on "))?.to_owned();
            line.split_whitespace().find_map(|word| word.parse::<SocketAddr>().ok())
        });
        Logging { child, addr }
    }

    /// Asks for the page on so many connections, one after the other.
    fn ask(&self, count: usize) {
        for _ in 0..count {
            let mut client = Client::connect(self.addr);
            client.send(b"HEAD / HTTP/1.0\r\nHost: x\r\n\r\n");
            assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }

    fn stop(&mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        wait_for("the end of phpws", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn metric(addr: SocketAddr, name: &str) -> f64 {
    let mut client = Client::over(TcpStream::connect(addr).unwrap());
    client.send(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_console_that_nobody_reads_stops_nothing() {
    let folder = Folder::new();
    let log = folder.file("log");
    let args = ["--log-file", log.to_str().unwrap()];
    let mut server = Logging::start(&args, Stdio::piped(), || read(&log));
    server.ask(600);
    // The other place has all lines, and the descriptor is as it was: others may share it.
    assert_eq!(metric(server.addr, "phpws_log_lines_dropped_total"), 0.0);
    let info = read(format!("/proc/{}/fdinfo/1", server.child.id()).as_ref());
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    assert_eq!(u32::from_str_radix(flags.trim(), 8).unwrap() & 0o4000, 0, "{info}");
    assert_eq!(server.stop(), Some(0));
    assert!(read(&log).lines().filter(|line| line.contains("New client connecting")).count() >= 601);
    assert!(read(&log).ends_with(";Server stopped\n"));
    // What the pipe holds is whole lines from the first on.
    let mut text = String::new();
    server.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.lines().next().unwrap().contains("Server initialized on "));
}

#[test]
fn a_log_file_that_hangs_stops_nothing_and_what_was_dropped_is_told() {
    let folder = Folder::new();
    let fifo = folder.file("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Opening waits for the other end.
    let path = fifo.clone();
    let reader = std::thread::spawn(move || BufReader::new(std::fs::File::open(path).unwrap()));
    let server = Phpws::start(&["--log-file", fifo.to_str().unwrap(), "--log-level", "trace"]);
    let reader = reader.join().unwrap();
    let (mut client, _) = server.browser();
    let message = masked(true, 1, br#"{"opcode":"none","m":"a message that nobody needs, for the log has a line of it"}"#);
    let burst = message.repeat(1000);
    // Some 200 bytes of lines for each; the pipe and the queue take less than 5 MiB of them.
    let mut rounds = 0;
    while metric(server.addr, "phpws_log_lines_dropped_total") == 0.0 {
        client.send(&burst);
        (0..1000).for_each(|_| assert_eq!(client.text(), NEXT));
        rounds += 1;
        assert!(rounds < 100, "nothing is dropped");
    }
    // A reload does not wait for that file either.
    server.signal("HUP");
    client.say("{}");
    let mut lines = reader.lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains(" log lines were dropped")).expect("a line about the dropped ones");
    assert!(told.split(';').nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap() > 0, "{told}");
    client.say("{}");
}

#[test]
fn the_last_lines_are_written_before_the_program_ends() {
    for _ in 0..10 {
        let folder = Folder::new();
        let log = folder.file("log");
        let args = ["--console=off", "--log-file", log.to_str().unwrap()];
        let mut server = Logging::start(&args, Stdio::null(), || read(&log));
        server.ask(20);
        assert_eq!(server.stop(), Some(0));
        let text = read(&log);
        assert!(text.contains(";Shutting down server gracefully...\n") && text.ends_with(";Server stopped\n"), "{text}");
    }
}

#[test]
fn a_flood_of_connections_leaves_a_bounded_log_that_has_the_servers_own_lines() {
    let folder = Folder::new();
    let log = folder.file("log");
    let args = ["--console=off", "--log-rate", "20", "--log-file", log.to_str().unwrap()];
    let start = std::time::Instant::now();
    let mut server = Logging::start(&args, Stdio::null(), || read(&log));
    server.ask(1000);
    assert!(metric(server.addr, "phpws_log_lines_left_out_total") > 1000.0);
    assert_eq!(server.stop(), Some(0));
    let seconds = start.elapsed().as_secs() as usize + 1;
    let text = read(&log);
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    // The burst of ten seconds and what comes back meanwhile, beside a dozen lines of start and stop.
    let lines = text.lines().count();
    assert!((200..=230 + 22 * seconds).contains(&lines), "{lines} lines in {seconds} s");
    assert!((1..=seconds + 2).contains(&count(" log lines were left out: more than log-rate allows")));
    assert_eq!((count(";Shutting down server gracefully..."), count(";Server stopped")), (1, 1), "{text}");
}

#[test]
fn an_honest_servers_log_is_whole() {
    // The default.
    let server = Phpws::start(&["--log-rate", "1000"]);
    for _ in 0..200 {
        server.browser();
    }
    server.begin_stopping();
    let count = |what: &str| server.log().iter().filter(|line| line.contains(what)).count();
    wait_for("all lines", || (count("Telling Client to start on") == 200).then_some(()));
    assert_eq!(count("left out"), 0);
}
