//! The link in a small loop of its own, and against peers that are made up here. Those that need a
//! real server are in `redis`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use mio::{Events, Poll};
use socket2::{Domain, Socket, Type};

use super::stream::Target;
use super::*;

mod redis;

/// No wait is longer than this.
const PATIENCE: Duration = Duration::from_secs(15);
const LINK: Token = Token(7);

/// A loop that knows nothing but the link; its clock can be put forward.
struct Loop {
    poll: Poll,
    link: Link,
    forward: Duration,
}

impl Loop {
    fn new(url: &str) -> Loop {
        let link = Link::new(RedisUrl::parse(url).unwrap(), "{phpws}:1:clock").unwrap();
        Loop { poll: Poll::new().unwrap(), link, forward: Duration::ZERO }
    }

    /// One that has come up.
    fn up(url: &str) -> Loop {
        let mut this = Loop::new(url);
        this.until_up();
        this
    }

    fn now(&self) -> Instant {
        Instant::now() + self.forward
    }

    fn drive(&mut self) {
        let now = self.now();
        self.link.drive(self.poll.registry(), LINK, now);
    }

    /// One turn as the server does it: what is queued is written, then it sleeps.
    fn turn(&mut self) {
        self.drive();
        if !self.link.events.is_empty() {
            return;
        }
        let sleep = self.link.deadline().map_or(PATIENCE, |deadline| deadline.saturating_duration_since(self.now()));
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(sleep.min(PATIENCE))).unwrap();
        if !events.is_empty() {
            self.link.ready();
        }
        self.drive();
    }

    fn event(&mut self) -> LinkEvent {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(event) = self.link.next_event() {
                return event;
            }
            self.turn();
        }
        panic!("nothing happened");
    }

    /// Waits until it is up, whatever fails before; gives the failures.
    fn until_up(&mut self) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut reasons = Vec::new();
        while Instant::now() < end {
            match self.event() {
                LinkEvent::Up => return reasons,
                LinkEvent::Down(why) => reasons.push(why),
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not come up: {reasons:#?}");
    }

    /// Waits until it is down; answers before that are passed over.
    fn down(&mut self) -> String {
        loop {
            match self.event() {
                LinkEvent::Down(why) => return why,
                LinkEvent::Up => panic!("it came up"),
                _ => {}
            }
        }
    }

    fn ask(&mut self, command: &[&str]) -> Reply {
        let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
        let asked = self.link.send(&words).unwrap();
        match self.event() {
            LinkEvent::Reply { tag, reply } if tag == asked => reply,
            other => panic!("{command:?}: {other:?}"),
        }
    }
}

/// A peer that does this with each connection; its address.
fn peer(act: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(act));
    address.to_string()
}

/// A peer that sends this once it has been spoken to, and waits for the end.
fn answers(text: &'static str) -> String {
    peer(move |mut tcp| {
        let mut buffer = [0; 4096];
        let _ = tcp.read(&mut buffer);
        let _ = tcp.write_all(text.as_bytes());
        while tcp.read(&mut buffer).is_ok_and(|count| count > 0) {}
    })
}

/// A socket of which only the port is wanted, which nobody else gets meanwhile.
fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A listener whose queue is full: the system answers nobody else who wants to connect.
struct Silent {
    _listener: Socket,
    _queued: Vec<TcpStream>,
    addr: SocketAddr,
}

impl Silent {
    fn new() -> Silent {
        let (listener, addr) = bound();
        listener.listen(0).unwrap();
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
        let queued: Vec<TcpStream> = std::iter::repeat_with(connect).map_while(|queued| queued).collect();
        assert!((1..100).contains(&queued.len()), "{} connections are in the queue", queued.len());
        Silent { _listener: listener, _queued: queued, addr }
    }
}

/// What a Redis says to the greeting.
const WELCOME: &str = "%1\r\n$5\r\nproto\r\n:3\r\n+PONG\r\n";

#[test]
fn a_peer_that_is_no_redis_is_named_as_such_and_never_shows_the_password() {
    for (text, part) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "\"HTTP/1.1\""),
        ("SSH-2.0-OpenSSH_9.2\r\n", "\"SSH-2.0-\""),
        ("\0\0\0", "no Redis"),
        ("*1\r\n$7\r\nhunter2\r\n", "no Redis"),
        ("%1\r\n$5\r\nproto\r\n:2\r\n", "no Redis"),
        ("$99999999999\r\n", "64 MiB"),
        ("-hunter2\r\n", "***"),
        ("-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`\r\n", "Redis 6"),
        ("-NOPROTO sorry\r\n", "Redis 6"),
        ("-WRONGPASS hunter2\r\n", "user and password"),
        ("-DENIED Redis is running in protected mode because ...\r\n", "protected mode"),
        ("%1\r\n$5\r\nproto\r\n:3\r\n-LOADING Redis is loading the dataset in memory\r\n", "tried again"),
        ("%1\r\n$5\r\nproto\r\n:3\r\n+PONG\r\n:1\r\n", "nothing that was asked"),
    ] {
        let mut this = Loop::new(&format!("redis://:hunter2@{}", answers(text)));
        let why = match this.event() {
            LinkEvent::Up => this.down(),
            LinkEvent::Down(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why.contains(part) && !why.contains("hunter2") && !why.contains('\n'), "{text}: {why}");
        assert!(!this.link.is_up() && this.link.send(&[b"PING"]) == Err(Busy));
    }
}

#[test]
fn a_peer_that_sends_back_all_it_gets_is_no_redis() {
    let echo = peer(|tcp| drop(std::io::copy(&mut tcp.try_clone().unwrap(), &mut &tcp)));
    let why = Loop::new(&format!("redis://:hunter2@{echo}")).down();
    assert!(why.contains("no Redis") && !why.contains("hunter2"), "{why}");
}

#[test]
fn a_peer_that_closes_at_once_gets_a_hint() {
    let why = Loop::new(&format!("redis://{}", peer(drop))).down();
    assert!(why.contains("write rediss://"), "{why}");
}

#[test]
fn the_wait_between_attempts_grows_up_to_five_seconds() {
    let (_closed, addr) = bound();
    let mut this = Loop::new(&format!("redis://{addr}"));
    for round in 0..9 {
        let before = this.now();
        assert!(this.down().contains("refused"));
        let (deadline, longest) =
            (this.link.deadline().unwrap(), Duration::from_millis(100 << round).min(Duration::from_secs(5)));
        let wait = deadline - this.now();
        assert!(wait <= longest && deadline - before >= longest / 2, "{round}: {wait:?}");
        this.drive();
        assert_eq!(this.link.next_event(), None, "not before its time");
        this.forward += wait;
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_two_seconds() {
    let mut this = Loop::new(&format!("redis://{}", answers("")));
    while !matches!(&this.link.state, State::Joined(session) if !session.is_connecting()) {
        this.turn();
    }
    let start = this.now();
    this.drive();
    assert_eq!(this.link.next_event(), None);
    assert!(this.link.deadline().unwrap() <= start + Duration::from_secs(2));
    this.forward += Duration::from_secs(2);
    this.drive();
    assert_eq!(this.link.next_event(), Some(LinkEvent::Down("connected, but no answer within 2 s".into())));
}

#[test]
fn a_connection_that_is_not_answered_is_given_two_seconds() {
    let silent = Silent::new();
    let mut this = Loop::new(&format!("redis://{}", silent.addr));
    this.drive();
    assert_eq!(this.link.next_event(), None);
    this.forward += Duration::from_secs(2);
    this.drive();
    let why = format!("{}: no connection within 2 s", silent.addr);
    assert_eq!(this.link.next_event(), Some(LinkEvent::Down(why)));
}

#[test]
fn silence_while_up_is_a_ping_and_then_the_end() {
    let mut this = Loop::up(&format!("redis://{}", answers(WELCOME)));
    assert!(this.link.deadline().unwrap() <= this.now() + Duration::from_secs(1));
    this.forward += Duration::from_secs(1);
    this.drive();
    assert_eq!((this.link.queued_bytes(), this.link.unanswered(), this.link.next_event()), (0, 0, None), "a ping is on its way");
    this.link.send(&[b"GET", b"a"]).unwrap();
    this.link.send(&[b"GET", b"b"]).unwrap();
    assert_eq!(this.link.unanswered(), 2);
    this.forward += Duration::from_secs(3);
    this.drive();
    let why = "no answer for 3 s; 2 commands are left unanswered";
    assert_eq!(this.link.next_event(), Some(LinkEvent::Down(why.into())));
    assert_eq!((this.link.unanswered(), this.link.queued_bytes()), (0, 0));
}

#[test]
fn a_loop_that_was_held_up_does_not_blame_redis() {
    let address = peer(|mut tcp| {
        let mut buffer = [0; 4096];
        let _ = tcp.read(&mut buffer);
        let _ = tcp.write_all(WELCOME.as_bytes());
        while tcp.read(&mut buffer).is_ok_and(|count| count > 0) {
            let _ = tcp.write_all(b":1\r\n");
        }
    });
    let mut this = Loop::up(&format!("redis://{address}"));
    let tag = this.link.send(&[b"INCR", b"a"]).unwrap();
    this.drive();
    // The answer comes, nobody looks, and then it is late.
    let mut events = Events::with_capacity(8);
    this.poll.poll(&mut events, Some(PATIENCE)).unwrap();
    this.forward += Duration::from_secs(60);
    this.drive();
    assert_eq!(this.link.next_event(), Some(LinkEvent::Reply { tag, reply: Reply::Int(1) }));
}

#[test]
fn what_waits_is_bounded() {
    let mut this = Loop::up(&format!("redis://{}", answers(WELCOME)));
    let value = vec![b'x'; 1024 * 1024];
    let taken = (0..100).take_while(|_| this.link.send(&[b"SET", b"k", &value]).is_ok()).count();
    assert_eq!(taken, 31);
    assert!(this.link.queued_bytes() <= MAX_QUEUED && this.link.unanswered() == 31);
    assert!(this.link.send(&[b"GET", b"k"]).is_ok(), "what is small still fits");
}

#[test]
fn the_next_address_is_tried_at_once() {
    let mut this = Loop::new(&format!("redis://{}", answers(WELCOME)));
    let good = this.link.targets.current().unwrap();
    let (_closed, addr) = bound();
    let bad = Target::at(addr);
    this.link.targets = Targets::of(vec![bad, good.clone()]);
    assert_eq!(this.until_up(), [] as [String; 0]);
    assert_eq!(this.link.targets.current(), Ok(good));
}

#[test]
fn a_socket_file_that_is_not_there_is_named() {
    assert!(Loop::new("unix:///nowhere/redis.sock").down().contains("/nowhere/redis.sock"));
}

#[test]
fn files_for_tls_are_read_at_the_start() {
    let error = Link::new(RedisUrl::parse("rediss://:hunter2@127.0.0.1?ca=/nowhere.pem").unwrap(), "").err().unwrap().to_string();
    assert!(error.contains("/nowhere.pem") && !error.contains("hunter2"), "{error}");
}
