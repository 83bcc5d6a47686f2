//! Redis, processes, the networks between them, and what befalls them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ROOMS, Shared, rooms_of};
use crate::util::crowd::Dice;
use crate::util::http::{get, post};
use crate::util::proxy::{Proxy, Way};
use crate::util::redis::Redis;
use crate::util::{Client, Phpws, wait_for};

const PROCESSES: usize = 3;
const ARGS: [&str; 6] = ["--resume-bytes", "16000000", "--close-timeout", "1", "--room-names", "--backplane"];

pub struct World {
    redis: Redis,
    proxies: Vec<Proxy>,
    servers: Vec<Phpws>,
    shared: Arc<Shared>,
    /// What befell it, and when that was over.
    pub history: Vec<(Instant, String)>,
    /// When Redis was empty.
    pub empty: Vec<Instant>,
    pub kills: Vec<Instant>,
}

fn start(address: &str, proxy: &Proxy) -> Phpws {
    Phpws::start_on(address, &[&ARGS[..], &[&proxy.url()]].concat())
}

/// The next text that has this in it; pings may come too.
fn text_with(client: &mut Client, part: &str) -> String {
    let frames = std::iter::repeat_with(|| client.frame().unwrap());
    frames.filter(|frame| frame.opcode == 1).map(|frame| frame.text().to_owned()).find(|text| text.contains(part)).unwrap()
}

impl World {
    pub fn start(shared: Arc<Shared>) -> World {
        let redis = Redis::start();
        let proxies: Vec<Proxy> = (0..PROCESSES).map(|_| Proxy::start(redis.port)).collect();
        let servers: Vec<Phpws> = proxies.iter().map(|proxy| start("ws://127.0.0.1:0", proxy)).collect();
        servers.iter().for_each(|server| _ = server.log_line("Backplane is up"));
        World { redis, proxies, servers, shared, history: Vec::new(), empty: Vec::new(), kills: Vec::new() }
    }

    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.addr).collect()
    }

    fn note(&mut self, what: String) {
        self.history.push((Instant::now(), what));
    }

    /// One fault, and its end.
    pub fn fault(&mut self, dice: &mut Dice) {
        let victim = dice.below(PROCESSES);
        match dice.below(12) {
            0 => self.replace(victim, "KILL", dice),
            1 => self.replace(victim, "TERM", dice),
            2 | 3 => self.reset_as_they_are_written_to(victim, dice),
            4 => self.freeze_redis(100, 900, dice),
            5 => self.freeze_redis(3200, 4200, dice),
            6 => self.empty_redis(dice),
            7 => self.refuse(&["config", "set", "maxmemory", "1"], &["config", "set", "maxmemory", "0"], dice),
            8 => self.refuse(&["replicaof", "127.0.0.1", "1"], &["replicaof", "no", "one"], dice),
            9 => self.disturb(victim, "cut", dice, Proxy::cut),
            10 => {
                let way = if dice.below(2) == 0 { Way::Up } else { Way::Down };
                self.disturb(victim, &format!("frozen {way:?}"), dice, |proxy| proxy.freeze(way));
            }
            _ => self.disturb(victim, "slow by 2 s", dice, |proxy| proxy.lag(Duration::from_secs(2))),
        }
    }

    fn replace(&mut self, victim: usize, signal: &str, dice: &mut Dice) {
        self.note(format!("process {victim} gets {signal}"));
        let address = format!("ws://{}", self.servers[victim].addr);
        self.servers[victim].signal(signal);
        self.servers[victim].exit_code();
        self.kills.push(Instant::now());
        dice.sleep(0, 500);
        self.servers[victim] = start(&address, &self.proxies[victim]);
        self.note(format!("process {victim} is there again"));
    }

    /// While a process rests messages for its pages gather, and the pages go.
    fn reset_as_they_are_written_to(&mut self, victim: usize, dice: &mut Dice) {
        self.note(format!("pages go while process {victim} rests"));
        self.servers[victim].signal("STOP");
        dice.sleep(10, 60);
        for flag in self.shared.reset.iter().step_by(2) {
            flag.store(true, Ordering::SeqCst);
        }
        dice.sleep(30, 60);
        self.servers[victim].signal("CONT");
    }

    fn freeze_redis(&mut self, from: usize, to: usize, dice: &mut Dice) {
        self.note(format!("Redis freezes, {from} ms or longer"));
        self.redis.signal("STOP");
        dice.sleep(from, to);
        self.redis.signal("CONT");
        self.note("Redis goes on".into());
    }

    fn empty_redis(&mut self, dice: &mut Dice) {
        self.note("Redis is killed".into());
        self.redis.kill();
        dice.sleep(0, 500);
        self.redis.start_again();
        self.empty.push(Instant::now());
        self.note("Redis is there again, empty".into());
    }

    fn refuse(&mut self, fault: &[&str], repair: &[&str], dice: &mut Dice) {
        self.note(fault.join(" "));
        self.redis.cli(fault);
        dice.sleep(200, 1500);
        self.redis.cli(repair);
        self.note(repair.join(" "));
    }

    fn disturb(&mut self, victim: usize, how: &str, dice: &mut Dice, disturb: impl FnOnce(&Proxy)) {
        self.note(format!("the link of process {victim} is {how}"));
        disturb(&self.proxies[victim]);
        dice.sleep(300, 4000);
        self.proxies[victim].heal();
        self.note(format!("the link of process {victim} is well"));
    }

    pub fn heal(&mut self) {
        self.proxies.iter().for_each(Proxy::heal);
        self.note("all is well".into());
    }

    /// All processes answer for each other.
    pub fn wait_until_well(&self) {
        for server in &self.servers {
            wait_for("the processes to reach each other", || {
                post(server, "/broadcast", "1").1["delivered"].is_u64().then_some(())
            });
        }
    }

    /// The last message. Pages that are between two processes get it later.
    pub fn end(&self) -> bool {
        post(&self.servers[0], "/broadcast", r#"{"end":true}"#).1["delivered"].is_u64()
    }

    /// At the end all processes name those that are there; what is wrong for too long.
    pub fn check_presence(&self, shared: &Shared) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut watchers: Vec<_> = self.servers.iter().map(|server| server.browser().0).collect();
        for (at, watcher) in watchers.iter_mut().enumerate() {
            for room in ROOMS {
                watcher.send_text(&format!(r#"{{"opcode":"join","room":"{room}","name":"w{at}"}}"#));
                text_with(watcher, r#""opcode":"joined""#);
            }
        }
        loop {
            let uuids: Vec<String> = shared.uuids.iter().map(|uuid| uuid.lock().unwrap().clone()).collect();
            let mut wrong = Vec::new();
            for (at, server) in self.servers.iter().enumerate() {
                for (page, uuid) in uuids.iter().enumerate() {
                    let (status, known) = get(server, &format!("/clients/{uuid}"));
                    if status != 200 || known["connected"] != json!(true) {
                        wrong.push(format!("process {at} says of page {page}, {uuid}: {status}, {known}"));
                    }
                }
                for room in ROOMS {
                    watchers[at].send_text(&format!(r#"{{"opcode":"who","room":"{room}"}}"#));
                    let who: Value = serde_json::from_str(&text_with(&mut watchers[at], r#""opcode":"who""#)).unwrap();
                    let mut expected: Vec<String> = (0..PROCESSES).map(|at| format!("w{at}")).collect();
                    let members = uuids.iter().enumerate().filter(|(page, _)| rooms_of(*page).contains(&room));
                    expected.extend(members.map(|(page, uuid)| format!("p{page}.{uuid}")));
                    let names = who["names"].as_array().unwrap();
                    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                    let missing: Vec<_> = expected.iter().filter(|name| !names.contains(&name.as_str())).collect();
                    let more: Vec<_> = names.iter().filter(|name| !expected.contains(&(**name).to_owned())).collect();
                    if !missing.is_empty() || !more.is_empty() || who["count"] != json!(expected.len()) {
                        wrong
                            .push(format!("process {at}, room {room}: {} there, lacks {missing:?}, more {more:?}", who["count"]));
                    }
                }
            }
            if wrong.is_empty() || Instant::now() > deadline {
                return wrong;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
