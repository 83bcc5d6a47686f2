//! What the program tells systemd, and the socket it takes from it. A datagram socket plays systemd, and a
//! shell passes descriptor 3; the units themselves are tested in tests/packaging.rs.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::util::{Client, PATIENCE, Phpws, activated, request, wait_for};

const PHPWS: &str = env!("CARGO_BIN_EXE_phpws");

/// systemd's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Manager {
        let path = std::env::temp_dir().join(format!("phpws-notify-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, path }
    }

    /// The next thing it is told.
    fn told(&self) -> String {
        let mut buffer = [0; 1024];
        let count = self.socket.recv(&mut buffer).expect("a word of the service");
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn systemd_hears_of_the_start_a_reload_and_the_stop() {
    let manager = Manager::new("life");
    let mut server = Phpws::started_by(Command::new(PHPWS).arg("127.0.0.1:0").env("NOTIFY_SOCKET", &manager.path));
    let ready = format!("READY=1\nSTATUS=Serving on {}\n", server.addr);
    assert_eq!(manager.told(), ready);
    server.browser();
    server.signal("HUP");
    let reloading = manager.told();
    let microseconds = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
    assert!(microseconds.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.told(), ready);
    server.signal("TERM");
    // The close timeout, and a second.
    assert_eq!(manager.told(), "STOPPING=1\nSTATUS=Waiting for the clients to close\nEXTEND_TIMEOUT_USEC=3000000\n");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn readiness_is_told_to_an_abstract_socket_too() {
    let name = format!("phpws-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _server = Phpws::started_by(Command::new(PHPWS).arg("127.0.0.1:0").env("NOTIFY_SOCKET", format!("@{name}")));
    assert!(socket.recv(&mut [0; 1024]).unwrap() > 0);
}

#[test]
fn nothing_is_told_when_the_start_fails() {
    let (manager, taken) = (Manager::new("fail"), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(PHPWS).args(["--console=off", &address]).env("NOTIFY_SOCKET", &manager.path).output().unwrap();
    assert!(refusal(&output).contains("Address already in use"));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 1024]).is_err());
}

#[test]
fn a_wrong_notify_socket_ends_the_start() {
    let output = Command::new(PHPWS).arg("127.0.0.1:0").env("NOTIFY_SOCKET", "/nonexistent/socket").output().unwrap();
    assert_eq!(refusal(&output), "phpws: NOTIFY_SOCKET: No such file or directory (os error 2)\n");
}

#[test]
fn the_watchdog_hears_of_a_loop_that_turns_and_not_of_one_that_hangs() {
    let manager = Manager::new("watchdog");
    let mut command = Command::new(PHPWS);
    command.args(["--ping-interval", "0", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "400000");
    let start = Instant::now();
    let server = Phpws::started_by(&mut command);
    assert_eq!(manager.told(), "WATCHDOG=1\n");
    assert!(manager.told().starts_with("READY=1\n"));
    for _ in 0..4 {
        assert_eq!(manager.told(), "WATCHDOG=1\n");
    }
    // Measured from before the first one: whoever reads late finds some that have come already.
    let each = start.elapsed() / 4;
    assert!(each > Duration::from_millis(150), "{each:?}");
    server.signal("STOP");
    manager.socket.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
    let silent = wait_for("silence", || Some(manager.socket.recv(&mut [0; 1024])).filter(Result::is_err));
    assert!(silent.is_err());
    server.signal("CONT");
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(manager.told(), "WATCHDOG=1\n");
}

#[test]
fn another_process_watchdog_is_not_ours() {
    let manager = Manager::new("other");
    let mut command = Command::new(PHPWS);
    command.arg("127.0.0.1:0").env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "50000").env("WATCHDOG_PID", "1");
    let server = Phpws::started_by(&mut command);
    assert!(manager.told().starts_with("READY=1\n"));
    server.signal("TERM");
    assert!(manager.told().starts_with("STOPPING=1\n"));
}

#[test]
fn a_server_without_free_descriptors_still_gives_signs_of_life() {
    let manager = Manager::new("full");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$@\"", "sh", PHPWS, "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "200000");
    let server = Phpws::started_by(&mut command);
    let _clients: Vec<Client> = (0..30).map(|_| server.connect()).collect();
    server.log_line("Too many open files");
    let seen: Vec<String> = (0..6).map(|_| manager.told()).collect();
    assert!(seen[2..].iter().all(|told| told == "WATCHDOG=1\n"), "{seen:?}");
}

#[test]
fn a_passed_socket_takes_the_place_of_binding() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // A client that came before the server finds it all the same.
    let mut early = Client::connect(addr);
    early.send(request("/web", "").as_bytes());
    let server = Phpws::started_by(&mut activated(listener.try_clone().unwrap(), 1, &["127.0.0.1:0"]));
    assert_eq!(server.addr, addr);
    assert!(early.head().starts_with("HTTP/1.1 101 "));
    server.browser();
    assert!(!server.log().iter().any(|line| line.contains("systemd passed")));
}

#[test]
fn clients_that_come_during_a_restart_wait_for_the_new_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Phpws::started_by(&mut activated(listener.try_clone().unwrap(), 1, &["127.0.0.1:0"]));
    // From here on it has its way with signals.
    server.log_line("Starting server...");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    let mut between = Client::connect(server.addr);
    between.send(request("/web", "").as_bytes());
    let _next = Phpws::started_by(&mut activated(listener, 1, &["127.0.0.1:0"]));
    assert!(between.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_socket_elsewhere_than_the_address_is_used_and_the_log_says_so() {
    let server = Phpws::started_by(&mut activated(TcpListener::bind("127.0.0.1:0").unwrap(), 1, &["127.0.0.1:8095"]));
    let line = server.log_line("systemd passed");
    assert_eq!(line, format!("systemd passed a socket on {}: it is used, and not ws://127.0.0.1:8095", server.addr));
    server.browser();
}

#[test]
fn a_socket_of_another_kind_or_a_second_one_ends_the_start() {
    let path = std::env::temp_dir().join(format!("phpws-activated-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for mut command in [activated(unix, 1, &["127.0.0.1:0"]), activated(udp, 1, &["127.0.0.1:0"])] {
        let line = refusal(&command.output().unwrap());
        assert!(line.starts_with("phpws: socket from systemd: ") && line.contains("ListenStream=IP:PORT"), "{line}");
    }
    let two = activated(TcpListener::bind("127.0.0.1:0").unwrap(), 2, &["127.0.0.1:0"]).output().unwrap();
    assert_eq!(refusal(&two), "phpws: socket from systemd: 2 were passed; give phpws.socket one ListenStream= only\n");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_units_bound_the_memory_of_one_process_and_of_two_alike() {
    let percent = |name: &str| {
        let unit = std::fs::read_to_string(format!("{}/packaging/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let service = unit.split("[Service]\n").nth(1).unwrap().split("\n[").next().unwrap();
        let value = service.lines().find_map(|line| line.strip_prefix("MemoryMax=")?.strip_suffix('%')).unwrap();
        value.parse::<u32>().unwrap()
    };
    assert!((20..=80).contains(&percent("phpws.service")));
    assert_eq!(2 * percent("phpws@.service"), percent("phpws.service"));
}

#[test]
fn a_socket_meant_for_another_process_is_not_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_FDS=1 LISTEN_PID=1 exec \"$@\" 3<&0", "sh", PHPWS, "127.0.0.1:0"]);
    let addr = taken.local_addr().unwrap();
    let server = Phpws::started_by(command.stdin(Stdio::from(OwnedFd::from(taken))));
    assert_ne!(server.addr, addr);
}
