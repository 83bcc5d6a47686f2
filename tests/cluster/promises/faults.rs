//! Redis, or one process' link to it, fails and comes back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Net, Reach, comes_or_is_said, numbers, read_to_end, resume_at, wait_for_processes, wait_until_away};
use crate::util::http::{feedback, get, post};
use crate::util::page::Page;
use crate::util::redis::Redis;
use crate::util::{PATIENCE, Phpws, wait_for};
use crate::{next_with, processes};

/// What was taken for a page while Redis could not be told comes to it at another process, or the page is told.
fn taken_without_redis(fault: impl FnOnce(&Redis, &[Phpws]), repair: impl FnOnce(&Redis)) {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let reach = Reach::new(&servers);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    fault(&redis, &servers);
    // The page does not read this one any more.
    assert_eq!(feedback(&servers[0], &page.uuid, r#"{"message":1}"#).0, 200);
    page.break_off();
    wait_until_away(&servers[0], &page.uuid);
    assert_eq!(feedback(&servers[0], &page.uuid, r#"{"message":2}"#).0, 202);
    repair(&redis);
    reach.wait(&servers);
    comes_or_is_said(&mut page, &servers[1], &[1, 2]);
}

#[test]
fn what_is_taken_while_redis_is_away_is_not_lost_silently() {
    let fault = |redis: &Redis, servers: &[Phpws]| {
        redis.signal("STOP");
        servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
    };
    taken_without_redis(fault, |redis| redis.signal("CONT"));
}

#[test]
fn what_is_taken_while_redis_is_full_is_not_lost_silently() {
    let set = |redis: &Redis, most: &str| assert_eq!(redis.cli(&["config", "set", "maxmemory", most]), "OK");
    taken_without_redis(|redis, _| set(redis, "1"), |redis| set(redis, "0"));
}

#[test]
fn what_is_taken_while_redis_is_read_only_is_not_lost_silently() {
    let fault = |redis: &Redis, _: &[Phpws]| assert_eq!(redis.cli(&["replicaof", "127.0.0.1", "1"]), "OK");
    taken_without_redis(fault, |redis| assert_eq!(redis.cli(&["replicaof", "no", "one"]), "OK"));
}

#[test]
fn what_is_taken_while_redis_refuses_the_password_is_not_lost_silently() {
    let fault = |redis: &Redis, servers: &[Phpws]| {
        redis.cli(&["config", "set", "requirepass", "other"]);
        for kind in ["normal", "pubsub"] {
            redis.cli(&["-a", "other", "client", "kill", "type", kind]);
        }
        servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
    };
    taken_without_redis(fault, |redis| drop(redis.cli(&["-a", "other", "config", "set", "requirepass", ""])));
}

/// Redis had the messages, and has forgotten them. The page has not read them.
fn forgotten_by_redis(is_connected: bool) {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let reach = Reach::new(&servers);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    if !is_connected {
        page.break_off();
        wait_until_away(&servers[0], &page.uuid);
    }
    for number in 1..=2 {
        let (status, answer) = feedback(&servers[1], &page.uuid, &format!(r#"{{"message":{number}}}"#));
        assert!(status == if is_connected { 200 } else { 202 }, "{status}: {answer}");
    }
    redis.kill();
    servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
    redis.start_again();
    reach.wait(&servers);
    comes_or_is_said(&mut page, &servers[1], &[1, 2]);
}

#[test]
fn what_an_empty_redis_has_forgotten_for_a_page_that_is_here_is_not_lost_silently() {
    forgotten_by_redis(true);
}

#[test]
fn what_an_empty_redis_has_forgotten_for_a_page_that_is_away_is_not_lost_silently() {
    forgotten_by_redis(false);
}

/// All three questions at once, soon after the link is lost: later the process may be taken for dead.
fn asked_about_a_process_that_is_cut_off(net: &Net, plain: &str) -> (Duration, [(u16, Value); 3]) {
    let cut = Instant::now();
    net.proxies[0].cut();
    wait_for_processes(&net.redis, 1);
    let other = &net.servers[1];
    // Each may take as long as a process waits for another one.
    let answers = std::thread::scope(|scope| {
        let told = scope.spawn(|| feedback(other, plain, r#"{"message":1}"#));
        let known = scope.spawn(|| get(other, &format!("/clients/{plain}")));
        let cast = scope.spawn(|| post(other, "/broadcast", r#"{"message":1}"#));
        [told, known, cast].map(|asked| asked.join().unwrap())
    });
    (cut.elapsed(), answers)
}

#[test]
fn of_the_clients_of_a_process_that_is_cut_off_nobody_is_told_that_they_are_gone() {
    let net = Net::start(2, &[]);
    let (_client, plain) = net.servers[0].browser();
    let (_other, _) = net.servers[1].browser();
    let reach = Reach::new(&net.servers);
    let [told, known, cast] = wait_for("a try that did not take too long", || {
        let (time, answers) = asked_about_a_process_that_is_cut_off(&net, &plain);
        net.proxies[0].heal();
        reach.wait(&net.servers);
        (time < Duration::from_secs(4)).then_some(answers)
    });
    assert_eq!((told.0, &told.1["delivered"]), (503, &json!("unknown")), "{told:?}");
    assert_eq!(known.0, 503, "{known:?}");
    assert_eq!((cast.0, &cast.1["delivered"]), (202, &json!("unknown")), "{cast:?}");
}

#[test]
fn what_came_during_a_freeze_does_not_come_again_at_another_process() {
    let redis = Redis::start();
    let servers = processes(&redis, 2, &[]);
    let reach = Reach::new(&servers);
    let mut page = Page::ready(&[servers[0].addr], "/web");
    redis.signal("STOP");
    let list = format!(r#"[{{"broadcast":true,"message":1}},{{"uuid":"{}","message":2}}]"#, page.uuid);
    post(&servers[0], "/publish", &list);
    page.until("what was sent", |page| page.got.len() == 2);
    redis.signal("CONT");
    reach.wait(&servers);
    assert_ne!(resume_at(&mut page, &servers[1]), "lost");
    read_to_end(&mut page, &servers[1]);
    assert_eq!(numbers(&page), [1, 2]);
}

/// While A was cut off, Redis got an older value for the page of A, and A a newer one.
#[test]
fn after_a_lost_link_no_older_value_of_a_key_comes() {
    let net = Net::start(2, &[]);
    let reach = Reach::new(&net.servers);
    let mut page = Page::ready(&[net.servers[0].addr], "/web");
    net.proxies[0].cut();
    net.servers[0].log_line("Backplane is away");
    wait_for_processes(&net.redis, 1);
    let paths = [format!("/feedback/{}?key=k", page.uuid), "/broadcast?key=l".into()];
    for (server, number) in [(1, 1), (0, 2)] {
        for path in &paths {
            post(&net.servers[server], path, &format!(r#"{{"message":{number},"path":"{path}"}}"#));
            super::let_time_pass();
        }
    }
    page.until("the newer ones", |page| page.got.len() == 2);
    net.proxies[0].heal();
    reach.wait(&net.servers);
    page.until("one more", |page| {
        feedback(&net.servers[1], &page.uuid, r#"{"message":"end"}"#);
        page.got.last().is_some_and(|text| text["message"] == "end")
    });
    for path in &paths {
        let of_key = page.got.iter().filter(|text| text["path"] == **path);
        let values: Vec<u64> = of_key.filter_map(|text| text["message"].as_u64()).collect();
        assert!(values.is_sorted(), "{path}: {values:?}");
    }
}

/// The page came back as a new one; what it was before is nobody's any more.
fn lost_to_redis(fault: fn(&mut Redis, &[Phpws], &Reach)) {
    let mut redis = Redis::start();
    let servers = processes(&redis, 2, &["--room-names"]);
    let reach = Reach::new(&servers);
    // Eve is where the page was: once she is named, all that this process has to say is known.
    let [mut eve, mut bob] = [0, 1].map(|at: usize| servers[at].browser().0);
    for (client, name) in [(&mut eve, "Eve"), (&mut bob, "Bob")] {
        client.send_text(&format!(r#"{{"opcode":"join","room":"r","name":"{name}"}}"#));
        next_with(client, r#""opcode":"joined""#);
    }
    let mut page = Page::ready(&[servers[0].addr], "/web");
    page.say(r#"{"opcode":"join","room":"r","name":"Ann"}"#);
    page.until("joined", |page| page.got.len() == 1);
    page.break_off();
    wait_until_away(&servers[0], &page.uuid);
    fault(&mut redis, &servers, &reach);
    let mut expected = vec!["Bob", "Eve"];
    if resume_at(&mut page, &servers[1]) != "lost" {
        expected.insert(0, "Ann");
    }
    let deadline = Instant::now() + PATIENCE;
    let mut named = || {
        bob.send_text(r#"{"opcode":"who","room":"r"}"#);
        let who: Value = serde_json::from_str(&next_with(&mut bob, r#""opcode":"who""#)).unwrap();
        let names = who["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        (who["count"].as_u64().unwrap(), names)
    };
    let is_right = |(count, names): &(u64, Vec<String>)| *count == names.len() as u64 && *names == expected;
    let mut last = named();
    while !is_right(&last) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        last = named();
    }
    assert!(is_right(&last), "{last:?}, and there are {expected:?}");
}

#[test]
fn who_is_lost_after_an_empty_redis_is_in_no_room() {
    lost_to_redis(|redis, servers, reach| {
        redis.kill();
        servers.iter().for_each(|server| _ = server.log_line("Backplane is away"));
        redis.start_again();
        reach.wait(servers);
    });
}

/// The page comes back before its process has made it known again.
#[test]
fn who_comes_back_to_an_empty_redis_is_in_no_room_as_who_it_was() {
    lost_to_redis(|redis, _, _| assert_eq!(redis.cli(&["flushall"]), "OK"));
}
