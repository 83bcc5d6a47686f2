//! Sentinels name the master: the processes find it, and find it again after a failover.
//!
//! Needs redis-server, which is the Sentinel too: `make cluster-tests`.

use std::cell::RefCell;

use super::under_load::count_while;
use crate::util::http::{feedback, post};
use crate::util::redis::Redis;
use crate::util::redis_cluster::Watched;
use crate::util::{Phpws, wait_for};

fn process(url: &str) -> Phpws {
    let server = Phpws::start(&["--backplane", url]);
    server.log_line("Backplane is up");
    server
}

/// A message crosses from one process to the other.
fn crosses(servers: &[Phpws], number: usize) {
    let (mut browser, uuid) = servers[1].browser();
    let message = format!(r#"{{"message":{number}}}"#);
    wait_for("feedback to another process", || (feedback(&servers[0], &uuid, &message).0 == 200).then_some(()));
    assert!(browser.text().contains(&format!(r#""message":{number}"#)));
}

#[test]
fn the_master_is_found_and_found_again() {
    let mut watched = Watched::start();
    let servers = [(); 2].map(|()| process(&watched.url()));
    crosses(&servers, 1);
    // The first one that is asked is gone too.
    watched.sentinels[0].kill();
    watched.redis[0].kill();
    servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
    crosses(&servers, 2);
    assert_eq!(watched.master(), watched.redis[1].port);
    // It comes back as a replica, and nobody goes there.
    watched.redis[0].start_again();
    wait_for("the old master as a replica", || watched.redis[0].cli(&["role"]).starts_with("slave").then_some(()));
    crosses(&servers, 3);
}

/// The master becomes a replica while it is connected to.
#[test]
fn a_master_that_becomes_a_replica_is_left() {
    let watched = Watched::start();
    let servers = [(); 2].map(|()| process(&watched.url()));
    crosses(&servers, 1);
    let old = watched.master();
    assert_eq!(watched.sentinels[0].cli(&["sentinel", "failover", "main"]), "OK");
    wait_for("the other master", || (watched.master() != old).then_some(()));
    crosses(&servers, 2);
    let replica = watched.redis.iter().find(|redis| redis.port == old).unwrap();
    wait_for("the old one to be left", || (!replica.cli(&["client", "list"]).contains("name=phpws")).then_some(()));
}

/// A replica alone refuses writes. It is said, and tried again until it is a master.
#[test]
fn a_replica_is_named_as_one() {
    let master = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let server = Phpws::start(&["--backplane", &replica.url()]);
    assert!(server.log_line("Backplane is away").contains("this is a replica"));
    replica.cli(&["replicaof", "no", "one"]);
    server.log_line("Backplane is up");
    replica.cli(&["replicaof", "127.0.0.1", &master.port.to_string()]);
    wait_for("READONLY", || server.log().iter().any(|line| line.contains("is a replica now")).then_some(()));
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let redis = Redis::start_with(&["--requirepass", "of-master"]);
    let sentinel = Redis::sentinel_with(redis.port, "sentinel auth-pass main of-master\nrequirepass of-sentinel\n");
    let at = |master: &str, name: &str, password: &str| {
        format!("redis+sentinel://:{master}@127.0.0.1:{}/{name}?sentinel-password={password}", sentinel.port)
    };
    process(&at("of-master", "main", "of-sentinel"));
    for (url, part) in [
        (at("of-master", "main", "wr0ng"), "WRONGPASS"),
        (at("wr0ng", "main", "of-sentinel"), "WRONGPASS"),
        (at("of-master", "other", "of-sentinel"), "knows no master of that name"),
        (format!("redis://:of-sentinel@127.0.0.1:{}", sentinel.port), "this is a Sentinel"),
        (format!("redis+sentinel://127.0.0.1:{}/main?sentinel-password=of-master", redis.port), "this is no Sentinel"),
    ] {
        let server = Phpws::start(&["--backplane", &url]);
        let line = server.log_line("Backplane is away");
        assert!(line.contains(part) && !line.contains("wr0ng"), "{url}: {line}");
    }
}

#[test]
fn a_failover_under_load_doubles_nothing_and_nobody_is_told_a_falsehood() {
    let watched = RefCell::new(Watched::start());
    let url = watched.borrow().url();
    let mut kills = 0;
    count_while(&url, |_| {
        let mut watched = watched.borrow_mut();
        let master = watched.master();
        let dead = watched.redis.iter().position(|redis| redis.port == master).unwrap();
        watched.redis[dead].kill();
        wait_for("a new master", || (watched.master() != master).then_some(()));
        watched.redis[dead].start_again();
        let synced = |info: String| info.contains("role:slave") && info.contains("master_link_status:up");
        wait_for("the dead one as a replica", || synced(watched.redis[dead].cli(&["info", "replication"])).then_some(()));
        kills += 1;
    });
    println!("Sentinel: {kills} masters killed");
    assert!(kills > 0);
}

#[test]
fn all_is_as_before_after_a_failover() {
    let mut watched = Watched::start();
    let servers = [(); 2].map(|()| process(&watched.url()));
    let (_ann, _) = servers[0].browser();
    let (_bob, _) = servers[1].browser();
    watched.redis[0].kill();
    wait_for("all clients to be reached", || {
        let (status, answer) = post(&servers[0], "/broadcast", "1");
        (status == 200 && answer["delivered"] == 2).then_some(())
    });
}
