//! What operators are told of a Redis that is not as it should be.
//!
//! Needs redis-server: `make cluster-tests`.

use super::process;
use crate::util::http::metric;
use crate::util::redis::Redis;
use crate::util::{Phpws, wait_for};

fn works(server: &Phpws, expected: f64) {
    wait_for("the metric", || (metric(server, "phpws_backplane_up") == expected).then_some(()));
}

/// A user with all rights but some.
fn user(redis: &Redis, rules: &[&str]) -> String {
    let all = ["acl", "setuser", "ws", "reset", "on", ">secret", "~*", "&*", "+@all"];
    assert_eq!(redis.cli(&[&all, rules].concat()), "OK");
    format!("redis://ws:secret@127.0.0.1:{}", redis.port)
}

#[test]
fn each_right_that_lacks_is_named_in_one_line() {
    for (rules, named) in [
        (&["-xadd", "-hset", "-script|load"][..], "hset, script|load, xadd;"),
        (&["resetkeys", "~other:*"], "the key phpws:versions, the keys phpws:2:*;"),
        (&["resetkeys", "~phpws:2:*"], "the key phpws:versions;"),
        (&["resetchannels"], "the channels phpws:2:*;"),
    ] {
        let redis = Redis::start();
        let server = Phpws::start(&["--backplane", &user(&redis, rules)]);
        let line = server.log_line("Redis forbids");
        assert!(line.contains(&format!("Redis forbids its user {named}")) && line.contains("docs/cluster.md"), "{line}");
        works(&server, 0.0);
        user(&redis, &[]);
        works(&server, 1.0);
        assert_eq!(server.log().iter().filter(|line| line.contains("forbids")).count(), 1, "{rules:?}: {:#?}", server.log());
    }
}

#[test]
fn rights_that_are_taken_away_are_named_too() {
    let redis = Redis::start();
    let server = Phpws::start(&["--backplane", &user(&redis, &[])]);
    server.log_line("Backplane is up");
    works(&server, 1.0);
    assert_eq!(redis.cli(&["acl", "setuser", "ws", "-evalsha"]), "OK");
    assert!(server.log_line("Redis forbids").contains("its user evalsha;"));
    works(&server, 0.0);
}

#[test]
fn a_redis_that_is_full_or_wants_another_password_counts_as_down() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    works(&server, 1.0);
    redis.cli(&["config", "set", "maxmemory", "1"]);
    works(&server, 0.0);
    redis.cli(&["config", "set", "maxmemory", "0"]);
    works(&server, 1.0);
    let other = Phpws::start(&["--backplane", &format!("redis://nobody:wrong@127.0.0.1:{}", redis.port)]);
    other.log_line("Backplane is away");
    works(&other, 0.0);
}

#[test]
fn a_policy_that_drops_keys_is_named_with_the_way_out() {
    let redis = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]);
    let line = process(&redis, &[]).log_line("drops clients");
    assert!(line.contains("volatile-lru") && line.contains("set maxmemory-policy noeviction"), "{line}");
    for args in
        [["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"], ["--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"]]
    {
        let redis = Redis::start_with(&args);
        let server = process(&redis, &[]);
        works(&server, 1.0);
        assert!(server.log().iter().all(|line| !line.contains("drops")), "{args:?}");
    }
    // Whoever may not ask is not told, and nothing else changes.
    let url = user(&redis, &["-info"]);
    let server = Phpws::start(&["--backplane", &url]);
    server.log_line("Backplane is up");
    works(&server, 1.0);
    assert!(server.log().iter().all(|line| !line.contains("drops") && !line.contains("forbids")));
}

#[test]
fn another_version_is_seen_on_both_sides() {
    let redis = Redis::start();
    let server = process(&redis, &[]);
    wait_for("this version", || (redis.cli(&["zrange", "phpws:versions", "0", "-1"]) == "2").then_some(()));
    let other_beats = || {
        let time = redis.cli(&["time"]);
        redis.cli(&["zadd", "phpws:versions", time.lines().next().unwrap(), "7"]);
    };
    other_beats();
    server.log_line("version 7 of the names in Redis");
    let new = process(&redis, &[]);
    other_beats();
    new.log_line("version 7 of the names in Redis");
    wait_for("the end of the other version", || (redis.cli(&["zrange", "phpws:versions", "0", "-1"]) == "2").then_some(()));
}
