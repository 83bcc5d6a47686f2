//! A new process takes the place of an old one, under load: nobody who connects is turned away.
//!
//! `make restart` runs this, with the figures that it prints.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use util::http::metric;
use util::visitors::{Pages, Visitors};
use util::{Client, Phpws, activated, wait_for};

/// Restarts in a row.
const ROUNDS: usize = 5;
const VISITORS: usize = 8;
const PAGES: usize = 100;
const DRAIN: [&str; 4] = ["--drain-time", "1", "--close-timeout", "1"];

/// Replaces a server again and again while visitors come and pages stay.
fn restarts(how: &str, mut server: Phpws, next: impl Fn() -> Phpws) {
    let visitors = Visitors::start(server.addr, VISITORS);
    let pages = Pages::start(&[server.addr], PAGES);
    for _ in 0..ROUNDS {
        wait_for("all pages", || (metric(&server, "phpws_clients{type=\"websocket\"}") >= PAGES as f64).then_some(()));
        visitors.wait_for_more(20 * VISITORS);
        let new = next();
        new.log_line("Starting server...");
        let start = Instant::now();
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        assert!(start.elapsed() > Duration::from_millis(900), "the clients had {:?} to go", start.elapsed());
        server = new;
    }
    let (pages, visits) = (pages.finish(), visitors.finish());
    let tries: usize = pages.iter().map(|page| page.tries).sum();
    let ready: usize = pages.iter().map(|page| page.standings.len()).sum();
    println!(
        "{how}: {ROUNDS} restarts; {} visitors welcome, {} failed, slowest {:?}, {} over 0.5 s; {PAGES} pages connected {tries} times, {ready} times ready",
        visits.welcome,
        visits.failed.len(),
        visits.slowest,
        visits.slow,
    );
    assert_eq!(visits.failed, [""; 0]);
    assert!(visits.welcome > 1000, "a load of {} visitors", visits.welcome);
    assert_eq!(tries, ready, "each connect of a page was answered");
    assert!(pages.iter().all(|page| page.standings.len() > ROUNDS / 2), "the pages moved");
}

#[test]
fn nobody_notices_a_restart_on_a_shared_port() {
    let args = [&DRAIN[..], &["--reuse-port"]].concat();
    let server = Phpws::start(&args);
    let address = format!("ws://{}", server.addr);
    restarts("reuse-port", server, || Phpws::start_on(&address, &args));
}

#[test]
fn nobody_notices_a_restart_on_a_socket_of_systemd() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = [&DRAIN[..], &[&address]].concat();
    let start = || Phpws::started_by(&mut activated(listener.try_clone().unwrap(), 1, &args));
    restarts("LISTEN_FDS", start(), start);
}

#[test]
fn the_cluster_starts_several_processes_and_ends_them_together() {
    // Bound and not listened on, the port is reserved and takes nothing away. It is shared only then: a port that is shared
    // from the beginning may be one that somebody else shares too.
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    reserved.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    reserved.set_reuse_port(true).unwrap();
    let address = format!("ws://{}", reserved.local_addr().unwrap().as_socket().unwrap());
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/cluster"));
    let mut cluster =
        Phpws::started_by(command.args(["3", "--drain-time", "0.2", &address]).env("PHPWS", env!("CARGO_BIN_EXE_phpws")));
    for number in 1..=3 {
        let started = |line: &String| line.starts_with(&format!("{number}: ")) && line.ends_with("/status");
        wait_for("each process", || cluster.log().iter().any(started).then_some(()));
    }
    let mut clients: Vec<Client> = (0..20).map(|_| cluster.browser().0).collect();
    cluster.signal("INT");
    for client in &mut clients {
        assert_eq!(client.text(), r#"{"opcode":"close"}"#);
        client.closed_with(1012);
    }
    drop(clients);
    assert_eq!(cluster.exit_code(), Some(0));
    wait_for("the last words", || {
        (cluster.log().iter().filter(|line| line.ends_with("Server stopped")).count() == 3).then_some(())
    });
}
