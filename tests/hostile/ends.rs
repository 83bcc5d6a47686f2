//! Connections that end in every way, and a server that is killed.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::time::Instant;

use super::SECOND;
use crate::util::lab::{self, Honest, Lab, unfinished};
use crate::util::waiting::wait_up_to;
use crate::util::{Client, NEXT, masked, request, wait_for};

fn reset_after(lab: &Lab, last: &[u8]) {
    let stream = lab.connect();
    let (mut client, _) = lab::ready_over(stream.try_clone().unwrap(), "/web", "");
    client.send(last);
    drop(client);
    lab::reset(stream);
}

#[test]
fn connections_that_are_reset_leave_nothing_behind() {
    const RESETS: usize = 2000;
    let lab = Lab::start(&["--handshake-timeout", "2", "--ping-interval", "0"]);
    type Kind = (&'static str, fn(&Lab));
    let kinds: [Kind; 4] = [
        ("right after connecting", |lab| lab::reset(lab.connect())),
        ("in the middle of the head", |lab| {
            let mut stream = lab.connect();
            stream.write_all(&request("/web", "").as_bytes()[..60]).unwrap();
            lab::reset(stream);
        }),
        ("in the middle of a frame", |lab| reset_after(lab, &unfinished(1, true, 1000, 10))),
        ("with answers unread", |lab| reset_after(lab, &masked(true, 1, br#"{"opcode":"echo"}"#))),
    ];
    let mut honest = Honest(lab.browser());
    for (name, kind) in kinds {
        let start = Instant::now();
        (0..RESETS).for_each(|_| kind(&lab));
        let time = start.elapsed();
        let settled = lab.wait_until_left(1, 2 * SECOND);
        println!("{RESETS} resets {name}: {time:.1?}, gone {settled:.0?} later");
        honest.round_trip();
    }
    drop(honest);
    lab.wait_until_empty(2 * SECOND);
    assert_eq!(lab.log_count("Connection closed to socket #"), lab.log_count("New client connecting"));
}

#[test]
fn an_end_that_comes_together_with_the_last_bytes_is_seen() {
    let lab = Lab::start(&["--ping-interval", "0"]);
    let half_a_frame = unfinished(1, true, 1000, 10);
    // The server rests until both are there, so that it hears of them at once.
    let together = |client: &mut Client, bytes: &[u8], end: &dyn Fn()| {
        lab.signal("STOP");
        client.send(bytes);
        end();
        lab.signal("CONT");
    };
    let stream = lab.connect();
    let (mut client, _) = lab::ready_over(stream.try_clone().unwrap(), "/web", "");
    together(&mut client, &masked(true, 1, br#"{"opcode":"echo"}"#), &|| stream.shutdown(Shutdown::Write).unwrap());
    assert_eq!(client.text(), NEXT);
    assert_eq!(client.text(), r#"{"opcode":"echo"}"#);
    assert_eq!(client.frame(), None, "the peer has ended its side, so the connection ends");
    drop((client, stream));
    lab.wait_until_empty(2 * SECOND);

    for reset in [false, true] {
        let stream = lab.connect();
        let (mut client, _) = lab::ready_over(stream.try_clone().unwrap(), "/web", "");
        lab.signal("STOP");
        client.send(&half_a_frame);
        drop(client);
        if reset {
            lab::reset(stream)
        } else {
            drop(stream)
        }
        lab.signal("CONT");
        let time = lab.wait_until_empty(SECOND);
        println!("half a frame and the end at once, reset {reset}: gone after {time:.0?}");
    }
}

/// Waits until the system has room for so many more connections in TIME_WAIT. It has a bound for them, which floods
/// reach; what comes then is forgotten at once. Each stays for a minute.
fn wait_for_room_in_time_wait(connections: usize) {
    let number = |text: &str| text.trim().parse::<usize>().unwrap();
    let most = number(&fs::read_to_string("/proc/sys/net/ipv4/tcp_max_tw_buckets").unwrap());
    let waiting = || {
        let stats = fs::read_to_string("/proc/net/sockstat").unwrap();
        number(stats.split_once(" tw ").unwrap().1.split_whitespace().next().unwrap())
    };
    let room = "room for connections in TIME_WAIT";
    wait_up_to(90 * SECOND, room, || (waiting() + 2 * connections < most).then_some(()));
}

#[test]
fn after_a_kill_the_port_is_free_at_once() {
    const CONNECTIONS: usize = 100;
    const TIME_WAIT: &str = "06";
    wait_for_room_in_time_wait(CONNECTIONS);
    let lab = Lab::start(&[]);
    let addr = lab.addr;
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| lab.browser()).collect();
    lab.kill();
    for mut client in clients {
        assert_eq!(client.frame(), None);
    }
    let waiting = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let local = format!(":{:04X}", addr.port());
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.get(1).is_some_and(|at| at.ends_with(&local)) && row.get(3) == Some(&TIME_WAIT)).count()
    };
    wait_for("the old connections to be in TIME_WAIT", || (waiting() >= CONNECTIONS).then_some(()));
    // The state is one that stops a program that does not say SO_REUSEADDR.
    let bare = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert!(bare.bind(&addr.into()).is_err());
    let start = Instant::now();
    let again = Lab::start_as(&[], &format!("ws://{addr}"), &[]);
    Honest(again.browser()).round_trip();
    println!("kill: served again {:.0?} after the start, {} old connections in TIME_WAIT", start.elapsed(), waiting());
}
