//! The link against a real redis-server, one for each test, that ends with it. `make cluster-tests`
//! runs them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

mod tls;

/// A running redis-server with nothing in it, on a port and a socket file of its own.
struct Redis {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Redis {
    fn start(args: &[&str]) -> Redis {
        let port = free_port();
        Redis::start_on(port, &[&["--port", &port.to_string()], args].concat())
    }

    /// One that the arguments make listen on this port.
    fn start_on(port: u16, args: &[&str]) -> Redis {
        let folder = std::env::temp_dir().join(format!("phpws-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Redis { child: spawn(&folder, args), folder, port }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A link that is up.
    fn link(&self) -> Loop {
        Loop::up(&self.url())
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same port anew, with nothing in it.
    fn restart(&mut self) {
        self.child = spawn(&self.folder, &["--port", &self.port.to_string()]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free a moment ago: redis-server can't be told to choose one.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &Path, args: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
    command.arg(folder.join("redis.sock")).arg("--dir").arg(folder).args(args).stdout(Stdio::piped());
    let started = command.spawn();
    let mut child =
        started.unwrap_or_else(|error| panic!("redis-server can't be started: {error}; apt-get install redis-server"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let ready = lines.by_ref().any(|line| {
        seen.push(line);
        seen.last().is_some_and(|line| line.contains("Ready to accept connections") || line.contains("now ready to accept"))
    });
    assert!(ready, "redis-server ended: {seen:#?}");
    // What it says later must go somewhere.
    thread::spawn(move || lines.for_each(drop));
    child
}

fn text(text: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn ok() -> Reply {
    Reply::Status("OK".into())
}

fn message(channel: &str, payload: &str) -> LinkEvent {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    LinkEvent::Message { channel: bytes(channel), payload: bytes(payload) }
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn every_kind_of_reply_comes_to_its_command() {
    let redis = Redis::start(&[]);
    let mut this = redis.link();
    assert_eq!(this.ask(&["CLIENT", "GETNAME"]), text("phpws"));
    assert_eq!(this.ask(&["SET", "a", "1"]), ok());
    assert_eq!(this.ask(&["INCR", "a"]), Reply::Int(2));
    assert_eq!(this.ask(&["GET", "a"]), text("2"));
    assert_eq!(this.ask(&["GET", "nothing"]), Reply::Nil);
    assert_eq!(this.ask(&["SET", "binary", "\0\r\n$"]), ok());
    assert_eq!(this.ask(&["GET", "binary"]), text("\0\r\n$"));
    assert!(matches!(this.ask(&["LPUSH", "a", "1"]), Reply::Error(text) if text.starts_with("WRONGTYPE")));
    assert!(matches!(this.ask(&["NONSENSE"]), Reply::Error(text) if text.contains("unknown command")));
    assert_eq!(this.ask(&["RPUSH", "list", "x", "y"]), Reply::Int(2));
    assert_eq!(this.ask(&["LRANGE", "list", "0", "-1"]), Reply::Array(vec![text("x"), text("y")]));
    assert_eq!(this.ask(&["HSET", "hash", "k", "v"]), Reply::Int(1));
    assert_eq!(this.ask(&["HGETALL", "hash"]), Reply::Array(vec![text("k"), text("v")]));
    assert_eq!(this.ask(&["SADD", "set", "m"]), Reply::Int(1));
    assert_eq!(this.ask(&["SMEMBERS", "set"]), Reply::Array(vec![text("m")]));
    assert_eq!(this.ask(&["ZADD", "zset", "1.5", "m"]), Reply::Int(1));
    assert_eq!(this.ask(&["ZSCORE", "zset", "m"]), Reply::Status("1.5".into()));
    let script = "return {1, 'two', {3}, redis.call('GET', 'nothing')}";
    let nested = vec![Reply::Int(1), text("two"), Reply::Array(vec![Reply::Int(3)]), Reply::Nil];
    assert_eq!(this.ask(&["EVAL", script, "0"]), Reply::Array(nested));
    assert!(matches!(this.ask(&["INFO"]), Reply::Bytes(text) if text.starts_with(b"# Server")));
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn ten_thousand_commands_in_a_row_are_answered_in_order() {
    let redis = Redis::start(&[]);
    let mut this = redis.link();
    let tags: Vec<u64> = (0..10_000).map(|_| this.link.send(&[b"INCR", b"n"]).unwrap()).collect();
    assert_eq!(this.link.unanswered(), 10_000);
    for (n, tag) in (1..).zip(tags) {
        assert_eq!(this.event(), LinkEvent::Reply { tag, reply: Reply::Int(n) });
    }
    assert_eq!((this.link.unanswered(), this.link.queued_bytes()), (0, 0));
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn messages_come_in_the_order_of_publishing_between_replies() {
    let redis = Redis::start(&[]);
    let (mut this, mut other) = (redis.link(), redis.link());
    this.link.subscribe("news");
    assert_eq!(this.ask(&["PING"]), Reply::Status("PONG".into()), "its confirmation is not seen");
    for n in 0..1_000 {
        this.link.send(&[b"INCR", b"n"]).unwrap();
        other.link.send(&[b"PUBLISH", b"news", format!("{n}").as_bytes()]).unwrap();
    }
    other.drive();
    let (mut messages, mut replies) = (0, 0);
    while messages < 1_000 || replies < 1_000 {
        other.drive();
        match this.event() {
            LinkEvent::Reply { reply: Reply::Int(n), .. } => replies = n,
            event => {
                assert_eq!(event, message("news", &messages.to_string()));
                messages += 1;
            }
        }
    }
    assert_eq!(replies, 1_000);
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn subscriptions_begin_and_end_at_their_place_among_commands() {
    let redis = Redis::start(&[]);
    let mut this = redis.link();
    let publish = |this: &mut Loop, payload: &str| this.link.send(&[b"PUBLISH", b"own", payload.as_bytes()]).unwrap();
    publish(&mut this, "before");
    this.link.subscribe("own");
    this.link.subscribe("other");
    publish(&mut this, "between");
    this.link.unsubscribe("own");
    this.link.unsubscribe("never");
    publish(&mut this, "after");
    let last = this.link.send(&[b"PUBLISH", b"other", b"last"]).unwrap();
    let (mut receivers, mut messages) = (Vec::new(), Vec::new());
    while receivers.len() < 4 || messages.len() < 2 {
        match this.event() {
            LinkEvent::Reply { tag, reply: Reply::Int(count) } => receivers.push((tag, count)),
            event => messages.push(event),
        }
    }
    assert_eq!(receivers, [(last - 3, 0), (last - 2, 1), (last - 1, 0), (last, 1)]);
    assert_eq!(messages, [message("own", "between"), message("other", "last")]);
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn large_replies_come_whole() {
    let redis = Redis::start(&[]);
    let mut this = redis.link();
    let value = "x".repeat(16 * 1024 * 1024);
    assert_eq!(this.ask(&["SET", "large", &value]), ok());
    assert_eq!(this.ask(&["GET", "large"]), text(&value));
    let fill = "for i = 1, 200000 do redis.call('RPUSH', 'list', i) end return redis.call('LLEN', 'list')";
    assert_eq!(this.ask(&["EVAL", fill, "0"]), Reply::Int(200_000));
    let Reply::Array(items) = this.ask(&["LRANGE", "list", "0", "-1"]) else { panic!("no array") };
    assert_eq!((items.len(), &items[199_999]), (200_000, &text("200000")));
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn passwords_right_wrong_and_missing() {
    let redis = Redis::start(&["--requirepass", "p@ss hunter2"]);
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port);
    assert_eq!(Loop::up(&at(":p%40ss%20hunter2@")).ask(&["PING"]), Reply::Status("PONG".into()));
    assert_eq!(Loop::up(&at("default:p%40ss%20hunter2@")).ask(&["ACL", "WHOAMI"]), text("default"));
    for (login, part) in [(":hunter3@", "WRONGPASS"), ("ann:p%40ss%20hunter2@", "WRONGPASS"), ("", "redis://:PASSWORD@HOST")] {
        let why = Loop::new(&at(login)).down();
        assert!(why.contains(part) && !why.contains("hunter"), "{why}");
    }
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn an_acl_user_may_do_what_it_may() {
    let redis = Redis::start(&["--user", "ws", "on", ">secret", "~ws:*", "&ws:*", "-@all", "+@connection", "+get", "+subscribe"]);
    let mut this = Loop::up(&format!("redis://ws:secret@127.0.0.1:{}", redis.port));
    assert_eq!(
        this.ask(&["ACL", "WHOAMI"]),
        Reply::Error("NOPERM this user has no permissions to run the 'acl|whoami' command".into())
    );
    assert_eq!(this.ask(&["GET", "ws:a"]), Reply::Nil);
    assert!(matches!(this.ask(&["GET", "other"]), Reply::Error(text) if text.starts_with("NOPERM")));
    this.link.subscribe("ws:a");
    assert_eq!(this.ask(&["GET", "ws:a"]), Reply::Nil);
    this.link.subscribe("other");
    let why = this.down();
    assert!(why.contains("NOPERM") && why.contains("&PATTERN"), "{why}");
    assert_eq!(this.until_up(), [] as [String; 0], "the owner may do otherwise after that");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_database_is_selected_if_it_is_there() {
    let redis = Redis::start(&[]);
    assert_eq!(Loop::up(&format!("{}/3", redis.url())).ask(&["SET", "a", "in 3"]), ok());
    let mut zero = redis.link();
    assert_eq!(zero.ask(&["GET", "a"]), Reply::Nil);
    assert_eq!(zero.ask(&["SELECT", "3"]), ok());
    assert_eq!(zero.ask(&["GET", "a"]), text("in 3"));
    assert_eq!(Loop::new(&format!("{}/99", redis.url())).down(), "SELECT was refused: ERR DB index is out of range");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_unix_socket_serves_as_well() {
    let redis = Redis::start(&[]);
    let mut this = Loop::up(&format!("unix://{}/redis.sock?db=2", redis.folder.display()));
    assert_eq!(this.ask(&["SET", "a", &"x".repeat(4 * 1024 * 1024)]), ok());
    assert_eq!(this.ask(&["STRLEN", "a"]), Reply::Int(4 * 1024 * 1024));
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_server_that_is_killed_and_comes_back() {
    let mut redis = Redis::start(&[]);
    let mut this = redis.link();
    this.link.subscribe("news");
    assert_eq!(this.ask(&["PING"]), Reply::Status("PONG".into()));
    redis.signal("-STOP");
    this.link.send(&[b"INCR", b"n"]).unwrap();
    this.link.send(&[b"INCR", b"n"]).unwrap();
    this.drive();
    redis.end();
    let why = this.down();
    assert!(why.ends_with("; 2 commands are left unanswered"), "{why}");
    assert!(!this.link.is_up() && this.link.unanswered() == 0);
    assert!(this.down().contains("refused"), "nobody is there yet");
    redis.restart();
    this.until_up();
    assert_eq!(this.ask(&["INCR", "n"]), Reply::Int(1));
    assert_eq!(this.ask(&["PUBLISH", "news", "x"]), Reply::Int(0), "the subscription is gone");
    this.link.subscribe("news");
    this.link.send(&[b"PUBLISH", b"news", b"x"]).unwrap();
    let events = [this.event(), this.event()];
    assert!(events.contains(&message("news", "x")), "{events:?}");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_server_that_freezes_and_thaws() {
    let redis = Redis::start(&[]);
    let mut this = redis.link();
    redis.signal("-STOP");
    let start = Instant::now();
    assert_eq!(this.down(), "no answer for 3 s");
    let took = start.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(6), "a ping after 1 s, 3 s of patience: {took:?}");
    assert_eq!(this.down(), "connected, but no answer within 2 s", "the system accepts in its place");
    redis.signal("-CONT");
    this.until_up();
    assert_eq!(this.ask(&["INCR", "n"]), Reply::Int(1));
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_server_that_is_full_says_so_and_stays() {
    let redis = Redis::start(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let mut this = redis.link();
    let value = "x".repeat(1024 * 1024);
    let replies: Vec<Reply> = (0..5).map(|n| this.ask(&["SET", &format!("k{n}"), &value])).collect();
    assert!(matches!(replies.last(), Some(Reply::Error(text)) if text.starts_with("OOM")), "{replies:?}");
    assert_eq!(this.ask(&["PUBLISH", "news", "x"]), Reply::Int(0), "publishing takes no memory");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn a_server_with_no_place_says_so() {
    let redis = Redis::start(&["--maxclients", "1"]);
    let _first = redis.link();
    assert!(redis.url().starts_with("redis://"));
    let why = Loop::new(&redis.url()).down();
    assert!(why.contains("max number of clients"), "{why}");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn an_idle_link_stays_up_by_pings() {
    let redis = Redis::start(&["--timeout", "2"]);
    let mut this = redis.link();
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        this.turn();
    }
    assert_eq!((this.link.next_event(), this.link.is_up()), (None, true));
    assert_eq!(this.ask(&["PING"]), Reply::Status("PONG".into()));
}
