//! A Redis Cluster of real nodes on loopback ports, and Sentinels beside a master and its replica.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use super::redis::Redis;
use super::sockets::free_port;
use super::wait_for;

/// Three masters, each with a replica, which share the slots.
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
}

/// How many there are.
const SLOTS: u16 = 16384;

impl RedisCluster {
    pub fn start() -> RedisCluster {
        let node = |_| {
            // The default is the port and 10,000, which may be none.
            let bus = free_port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
            Redis::start_with(&[&args[..], &["--cluster-replica-validity-factor", "0"]].concat())
        };
        let nodes: Vec<Redis> = (0..6).map(node).collect();
        let at: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let words = ["--cluster-yes", "--cluster", "create"].into_iter().chain(at.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(["--cluster-replicas", "1"]).collect();
        let said = nodes[0].cli(&words);
        assert!(said.contains(&format!("All {SLOTS} slots covered")), "{said}");
        let cluster = RedisCluster { nodes };
        wait_for("the cluster", || {
            let all = |info: String| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6");
            let synced = |node: &Redis| {
                let info = node.cli(&["info", "replication"]);
                info.contains("role:master") && info.contains("state=online") || info.contains("master_link_status:up")
            };
            cluster.nodes.iter().all(|node| all(node.cli(&["cluster", "info"])) && synced(node)).then_some(())
        });
        cluster
    }

    /// The URL with all nodes.
    pub fn url(&self) -> String {
        let at: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis://{}", at.join(","))
    }

    /// The node that has the slot of a key, as one that lives says.
    pub fn home(&self, key: &str) -> usize {
        wait_for("the node of a slot", || self.nodes.iter().find_map(|node| self.home_by(node, key)))
    }

    fn home_by(&self, asked: &Redis, key: &str) -> Option<usize> {
        let slot: u16 = asked.cli(&["cluster", "keyslot", key]).parse().ok()?;
        let holds = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
        };
        let nodes = asked.cli(&["cluster", "nodes"]);
        let lives = |line: &&str| line.contains("master") && !line.contains("fail");
        let home = nodes.lines().filter(lives).find(|line| line.split(' ').skip(8).any(holds))?;
        self.nodes.iter().position(|node| home.contains(&format!("127.0.0.1:{}@", node.port)))
    }

    /// Moves the slot of a key to another master, with all that is in it.
    pub fn move_slot(&self, key: &str) -> usize {
        let from = self.home(key);
        let id = |node: &Redis| node.cli(&["cluster", "myid"]);
        let is_master = |node: &Redis| node.cli(&["role"]).starts_with("master");
        let to = (0..self.nodes.len()).find(|number| *number != from && is_master(&self.nodes[*number])).unwrap();
        let (source, target) = (id(&self.nodes[from]), id(&self.nodes[to]));
        let slot = self.nodes[from].cli(&["cluster", "keyslot", key]);
        self.nodes[to].cli(&["cluster", "setslot", &slot, "importing", &source]);
        self.nodes[from].cli(&["cluster", "setslot", &slot, "migrating", &target]);
        let port = self.nodes[to].port.to_string();
        loop {
            let keys = self.nodes[from].cli(&["cluster", "getkeysinslot", &slot, "1000"]);
            let keys: Vec<&str> = keys.lines().collect();
            if keys.is_empty() {
                break;
            }
            self.nodes[from].cli(&[&["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"], &keys[..]].concat());
        }
        for node in [to, from] {
            self.nodes[node].cli(&["cluster", "setslot", &slot, "node", &target]);
        }
        to
    }
}

/// A master and its replica, watched by three Sentinels.
pub struct Watched {
    pub redis: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

impl Watched {
    pub fn start() -> Watched {
        let master = Redis::start();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        wait_for("the replica", || replica.cli(&["info", "replication"]).contains("master_link_status:up").then_some(()));
        let sentinels: Vec<Redis> = (0..3).map(|_| Redis::sentinel(master.port)).collect();
        let watched = Watched { redis: vec![master, replica], sentinels };
        wait_for("the Sentinels to know each other and the replica", || {
            let knows = |sentinel: &Redis| {
                let info = sentinel.cli(&["info", "sentinel"]);
                info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
            };
            watched.sentinels.iter().all(knows).then_some(())
        });
        watched
    }

    pub fn url(&self) -> String {
        let at: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", at.join(","))
    }

    /// The port of the master, as the last Sentinel has it.
    pub fn master(&self) -> u16 {
        let said = self.sentinels[2].cli(&["sentinel", "get-master-addr-by-name", "main"]);
        said.lines().nth(1).unwrap().parse().unwrap()
    }
}
