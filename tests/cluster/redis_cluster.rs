//! A Redis Cluster: all names are in one slot, and the processes follow it from node to node.
//!
//! Needs redis-server 7 or later: `make cluster-tests`.

use std::cell::RefCell;

use super::under_load::count_while;
use crate::util::http::feedback;
use crate::util::page::Page;
use crate::util::redis_cluster::RedisCluster;
use crate::util::{Phpws, wait_for};

/// A key of ours: all others are in its slot.
const CLOCK: &str = "{phpws}:2:clock";

fn process(url: &str) -> Phpws {
    let server = Phpws::start(&["--backplane", url]);
    server.log_line("Backplane is up");
    server
}

fn crosses(servers: &[Phpws], number: usize) {
    let (mut browser, uuid) = servers[1].browser();
    let message = format!(r#"{{"message":{number}}}"#);
    wait_for("feedback to another process", || (feedback(&servers[0], &uuid, &message).0 == 200).then_some(()));
    assert!(browser.text().contains(&format!(r#""message":{number}"#)));
}

#[test]
fn every_node_leads_to_the_one_that_has_the_slot() {
    let cluster = RedisCluster::start();
    let servers: Vec<Phpws> = cluster.nodes.iter().map(|node| process(&node.url())).collect();
    servers.iter().for_each(|server| _ = server.log_line("this is a Redis Cluster"));
    crosses(&servers[..2], 1);
    let home = cluster.home(CLOCK);
    for (number, node) in cluster.nodes.iter().enumerate() {
        let here = node.cli(&["client", "list"]).matches("name=phpws").count();
        assert_eq!(here, if number == home { servers.len() } else { 0 }, "node {number}");
    }
    let keys = cluster.nodes[home].cli(&["--scan"]);
    assert!(keys.lines().all(|key| key.starts_with("{phpws}:")) && keys.contains(CLOCK), "{keys}");
}

#[test]
fn a_slot_that_moves_is_followed_and_no_page_loses_anything() {
    let cluster = RedisCluster::start();
    let servers: Vec<Phpws> = (0..2).map(|_| process(&cluster.url())).collect();
    let mut page = Page::ready(&[servers[1].addr], "/web");
    page.break_off();
    wait_for("the message to be kept", || (feedback(&servers[0], &page.uuid, r#"{"message":7}"#).0 == 202).then_some(()));
    let to = cluster.move_slot(CLOCK);
    for server in &servers {
        wait_for("the slot to be followed", || {
            server.log().iter().any(|line| line.contains("our keys are on another node")).then_some(())
        });
    }
    crosses(&servers, 1);
    assert_eq!(cluster.home(CLOCK), to);
    page.addrs = vec![servers[0].addr];
    page.until("what was kept", |page| page.got.iter().any(|text| text["message"] == 7));
    assert_eq!(page.standings[1], "resumed");
}

#[test]
fn a_failover_of_the_shard_doubles_nothing_and_nobody_is_told_a_falsehood() {
    let cluster = RefCell::new(RedisCluster::start());
    let url = cluster.borrow().url();
    let mut kills = 0;
    count_while(&url, |_| {
        let mut cluster = cluster.borrow_mut();
        let dead = cluster.home(CLOCK);
        cluster.nodes[dead].kill();
        wait_for("a new master", || (cluster.home(CLOCK) != dead).then_some(()));
        cluster.nodes[dead].start_again();
        let synced = |info: String| info.contains("role:slave") && info.contains("master_link_status:up");
        wait_for("the dead one as a replica", || synced(cluster.nodes[dead].cli(&["info", "replication"])).then_some(()));
        kills += 1;
    });
    println!("Redis Cluster: {kills} masters killed");
    assert!(kills > 0);
}
