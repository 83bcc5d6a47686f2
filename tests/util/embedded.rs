//! A server in the test's own process, with applications of the test's choice.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use phpws::{Address, Limits, Stopper, WebSocketServer};

use super::{Client, json, request};

/// A server in a thread of its own.
pub struct Embedded {
    pub addr: SocketAddr,
    pub stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    pub fn start(register: impl FnOnce(&mut WebSocketServer) + Send + 'static) -> Embedded {
        Embedded::start_with(Limits::default(), register)
    }

    /// The same with limits of its own, but for the time that a connection's end may take.
    pub fn start_with(limits: Limits, register: impl FnOnce(&mut WebSocketServer) + Send + 'static) -> Embedded {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let limits = Limits { close_timeout: Duration::from_millis(300), ..limits };
            let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0").unwrap(), None, limits).unwrap();
            register(&mut server);
            sender.send((server.local_addr(), server.stopper())).unwrap();
            server.start().unwrap();
        });
        let (addr, stopper) = receiver.recv().unwrap();
        Embedded { addr, stopper, thread: Some(thread) }
    }

    pub fn upgrade(&self, path: &str, headers: &str) -> Client {
        let mut client = Client::connect(self.addr);
        client.send(request(path, headers).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        client
    }

    /// A client past `ready`, and its uuid.
    pub fn ready_on(&self, path: &str, headers: &str) -> (Client, String) {
        let mut client = self.upgrade(path, headers);
        let uuid = json(&client.text(), "uuid");
        (client, uuid)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stopper.stop().unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}
