//! Connections that are no clients, and what becomes of them when there are too many, or no descriptor is left.

use std::process::Command;

use crate::util::{Client, Phpws, request, wait_for};

const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection that has had an answer and may ask again.
fn idle(server: &Phpws, ip: [u8; 4], before: &str) -> Client {
    let mut client = Client::over(server.connect_from(ip));
    client.send(before.as_bytes());
    client.send(HEAD);
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client
}

/// Whether the server still has it.
fn is_there(client: &mut Client) -> bool {
    client.wire.write_all(HEAD).is_ok() && client.read_more()
}

/// So many browsers come, one after the other, and are told `ready`.
fn newcomers(server: &Phpws, ip: [u8; 4], count: usize) {
    for _ in 0..count {
        let mut client = Client::over(server.connect_from(ip));
        client.send(request("/web", "").as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        assert!(client.text().contains(r#""ready""#));
    }
}

fn metric(server: &Phpws, name: &str) -> usize {
    let mut client = server.connect();
    client.send(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A server whose shell has set its limits of descriptors.
fn limited(ulimit: &str, args: &[&str]) -> Phpws {
    let script = format!(r#"{ulimit} && exec "$0" "$@""#);
    Phpws::started_by(Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_phpws")]).args(args).arg("ws://127.0.0.1:0"))
}

#[test]
fn idle_connections_give_way_to_newcomers_of_any_address() {
    let server = Phpws::start(&["--max-newcomers", "50"]);
    let mut honest = idle(&server, [127, 0, 0, 3], "");
    let mut held: Vec<Client> = (0..200).map(|_| idle(&server, [127, 0, 0, 2], "")).collect();
    newcomers(&server, [127, 0, 0, 1], 5);
    newcomers(&server, [127, 0, 0, 2], 5);
    assert!(metric(&server, "phpws_newcomers") <= 51);
    assert!(metric(&server, "phpws_newcomers_evicted_total") >= 150);
    assert!(metric(&server, r#"phpws_refusals_total{reason="evicted"}"#) >= 150);
    // The address with one connection has kept it; of the other the oldest went.
    assert!(is_there(&mut honest));
    assert!(!is_there(&mut held[0]) && is_there(&mut held[199]));
    let lines = server.log().iter().filter(|line| line.contains("gave way to newer ones")).count();
    assert_eq!(lines, 1);
}

#[test]
fn by_default_an_eighth_of_the_descriptors_and_what_max_clients_leaves_may_be_no_clients() {
    for (ulimit, args) in [("ulimit -n 1024", &[][..]), ("ulimit -n 8192", &["--max-clients", "10"])] {
        let server = limited(ulimit, args);
        let held: Vec<Client> = (0..1100).map(|_| idle(&server, [127, 0, 0, 2], "")).collect();
        newcomers(&server, [127, 0, 0, 2], 5);
        newcomers(&server, [127, 0, 0, 1], 5);
        let now = metric(&server, "phpws_newcomers");
        assert!((250..=257).contains(&now), "{now}");
        drop(held);
    }
}

#[test]
fn silent_connections_give_way_and_one_in_the_middle_of_a_body_stays() {
    let server = Phpws::start(&["--max-newcomers", "20", "--handshake-timeout", "60"]);
    let mut busy = server.connect();
    let body = r#"{"opcode":"broadcast","m":1}"#;
    let head = format!(
        "POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    busy.send(head.as_bytes());
    let mut silent: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    newcomers(&server, [127, 0, 0, 1], 5);
    wait_for("the others to go", || (metric(&server, "phpws_newcomers") <= 21).then_some(()));
    busy.send(body.as_bytes());
    assert!(busy.head().starts_with("HTTP/1.1 20"));
    assert!(silent[0].rest().is_empty());
    assert!(is_there(&mut silent[99]));
}

#[test]
fn one_address_has_only_so_many_connections_of_all_kinds() {
    let args = ["--max-per-ip", "10", "--proxy-protocol", "--trusted-proxy", "127.0.0.9", "--handshake-timeout", "60"];
    let server = Phpws::start(&args);
    let proxied = |ip: &str| format!("PROXY TCP4 {ip} 192.0.2.1 1000 80\r\n");
    let mut other = idle(&server, [127, 0, 0, 9], &proxied("203.0.113.6"));
    let client = |ip: &str| {
        let mut client = Client::over(server.connect_from([127, 0, 0, 9]));
        client.send((proxied(ip) + &request("/web", "")).as_bytes());
        client.head();
        let first = client.text();
        (client, first)
    };
    let clients: Vec<_> = (0..5).map(|_| client("203.0.113.5")).collect();
    assert!(clients.iter().all(|(_, first)| first.contains(r#""ready""#)));
    let mut held: Vec<Client> = (0..50).map(|_| idle(&server, [127, 0, 0, 9], &proxied("203.0.113.5"))).collect();
    // Five clients leave eight of ten in any case: that many are told that they are too many.
    let left = held.iter_mut().map(is_there).filter(|there| *there).count();
    assert!((7..=9).contains(&left), "{left}");
    assert!(is_there(&mut other));
    let more: Vec<_> = (0..7).map(|_| client("203.0.113.5")).collect();
    let refused = more.iter().filter(|(_, first)| first.contains("To many connections from:  203.0.113.5")).count();
    assert_eq!(refused, 2);
}

#[test]
fn hosts_of_backends_and_proxies_themselves_have_no_limit_of_their_address() {
    let args = ["--max-per-ip", "1", "--allowed-ip", "192.0.2.7", "--trusted-proxy", "127.0.0.1"];
    let server = Phpws::start(&args);
    let browsers = |headers: &str| (0..3).map(|_| server.ready_on("/web", headers).0).collect::<Vec<_>>();
    let _all = [browsers(""), browsers("X-Forwarded-For: 192.0.2.7\r\n"), browsers("X-Forwarded-For: 127.0.0.1\r\n")];
    let _idle: Vec<Client> = (0..30).map(|_| idle(&server, [127, 0, 0, 1], "")).collect();
    assert_eq!(metric(&server, "phpws_newcomers_evicted_total"), 0);
    server.ready_on("/web", "X-Forwarded-For: 203.0.113.5\r\n");
}

#[test]
fn many_requests_through_a_proxy_belong_to_whom_it_names_while_they_last() {
    let server = Phpws::start(&["--max-per-ip", "1", "--trusted-proxy", "127.0.0.9"]);
    let mut proxy: Vec<Client> = (0..30).map(|_| idle(&server, [127, 0, 0, 9], "")).collect();
    for client in &mut proxy {
        client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n");
        client.head();
    }
    newcomers(&server, [127, 0, 0, 9], 3);
    assert!(proxy.iter_mut().all(is_there), "answered, they are the proxy's again");
}

#[test]
fn without_descriptors_the_longest_idle_connection_goes() {
    let server = limited("ulimit -n 64", &["--handshake-timeout", "60"]);
    let mut held: Vec<Client> = (0..200).map(|_| idle(&server, [127, 0, 0, 2], "")).collect();
    newcomers(&server, [127, 0, 0, 1], 5);
    newcomers(&server, [127, 0, 0, 3], 5);
    assert!(!is_there(&mut held[0]) && is_there(&mut held[199]));
    // The same with those that say nothing.
    let _silent: Vec<Client> = (0..200).map(|_| Client::over(server.connect_from([127, 0, 0, 2]))).collect();
    newcomers(&server, [127, 0, 0, 1], 5);
    // Clients stay. When they have all descriptors, newcomers wait for the end of one.
    drop(held);
}

#[test]
fn clients_do_not_give_way() {
    let server = limited("ulimit -n 40", &[]);
    let connect = || {
        let mut client = server.connect();
        client.send(request("/web", "").as_bytes());
        client
    };
    let mut clients: Vec<Client> = (0..60).map(|_| connect()).collect();
    server.log_line("Connection could not be established: ");
    // They are told one after the other, each in its turn.
    let told = || server.log().iter().filter(|line| line.contains("Telling Client to start")).count();
    let inside = wait_for("those for whom there is a descriptor", || Some(told()).filter(|count| *count >= 10));
    assert!(inside < 40, "{inside}");
    for mut client in clients.drain(..inside) {
        client.head();
        client.text();
        client.say("{}");
    }
    // Those who waited come in.
    for client in clients.iter_mut().take(inside.min(20)) {
        client.head();
        assert!(client.text().contains(r#""ready""#));
    }
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let server = limited("ulimit -Sn 100 && ulimit -Hn 300", &[]);
    assert_eq!(metric(&server, "process_max_fds"), 300);
}
