//! Clients that wait for their `ready` while the others are asked.

use std::time::{Duration, Instant};

use crate::util::masked;
use crate::util::redis::Redis;

/// A client that waits for its `ready` is told to go, and goes: nothing more is waited for.
#[test]
fn a_stop_waits_no_longer_for_a_waiting_client_than_that_takes() {
    let redis = Redis::start();
    let mut server = super::process(&redis, &["--close-timeout", "8"]);
    redis.signal("STOP");
    let mut client = server.upgrade("/web", "");
    server.signal("TERM");
    client.text();
    client.closed_with(1001);
    client.send(&masked(true, 8, &1001_u16.to_be_bytes()));
    drop(client);
    let gone = Instant::now();
    server.exit_code();
    redis.signal("CONT");
    assert!(gone.elapsed() < Duration::from_secs(4), "{:?}", gone.elapsed());
}
