//! The loop: one thread, one poll, every connection.
//!
//! A turn waits for events, reads what came, lets applications answer into outboxes, and writes
//! everything just before it waits again. PHP counterpart: `webSocketServer.php` — `__construct` is
//! [`bind`](WebSocketServer::bind), `Start` is [`start`](WebSocketServer::start) with its
//! `stream_select` loop in `turn.rs`, `Close` is `finish_close`.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::{Events, Poll, Token};
use signal_hook_mio::v1_0::Signals;
use slotmap::SecondaryMap;

use crate::address::Address;
use crate::error::StartError;
use crate::extras::parts::Parts;
use crate::ids::SocketId;
use crate::limits::Limits;
use crate::resource::{AllApps, Resource};
use crate::server::Server;
use crate::socket::Socket;
use crate::tls::Tls;
use crate::turns::Turns;
use crate::waker::{Stopper, Waker, Wakers};
use listener::Listener;
use pressure::Pressure;
use stop::Stopping;
use turn::ReadBuffer;

mod before_sleep;
mod dialog;
mod entrance;
mod handshake;
mod hold;
mod listener;
mod moments;
mod newcomers;
mod pressure;
mod signals;
mod stop;
mod sweep;
mod turn;

pub(crate) use moments::Admitted;

// A token holds a whole id, with the generation that makes it unique.
const _: () = assert!(usize::BITS >= 64, "phpws needs a 64-bit target");

const LISTENER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const WAKERS: Token = Token(usize::MAX - 2);
pub(crate) const OTHERS: Token = Token(usize::MAX - 3);

/// The server: sockets, applications, and the loop that joins them.
pub struct WebSocketServer {
    pub(crate) server: Server,
    pub(crate) all_apps: AllApps,
    #[doc(alias = "Sockets")]
    pub(crate) sockets: SecondaryMap<SocketId, Socket>,
    /// What every connection is read into.
    pub(crate) buffer: ReadBuffer,
    pub(crate) poll: Poll,
    listener: Listener,
    pub(crate) tls: Option<Tls>,
    signals: Option<Signals>,
    on_hangup: Option<Box<dyn FnMut()>>,
    wakers: Wakers,
    stopping: Stopping,
    /// Connections that have more to read than a turn allows.
    pub(crate) turns: Turns,
    pressure: Pressure,
    pub(crate) parts: Parts,
}

impl WebSocketServer {
    /// Listens on `address`; with `tls` every connection is TLS. Nothing is accepted before the start.
    #[doc(alias = "__construct")]
    pub fn bind(address: &Address, tls: Option<Tls>, mut limits: Limits) -> Result<WebSocketServer, StartError> {
        let shares_port = limits.reuse_port;
        limits.host.push(address.host.clone());
        let listener = listener::bind(address, shares_port)?;
        let mut server = WebSocketServer::listen_on(listener, tls, limits)?;
        server.listener.origin = listener::Origin::Bound { shares_port };
        Ok(server)
    }

    /// The same on a socket that listens already, for instance one that [systemd](crate::systemd::listener)
    /// passed.
    pub fn listen_on(listener: std::net::TcpListener, tls: Option<Tls>, limits: Limits) -> Result<WebSocketServer, StartError> {
        let failed = |error: io::Error| StartError::new("listening socket", error);
        let mut server = WebSocketServer::without_listener(limits)?;
        server.listener = Listener::new(listener, server.poll.registry()).map_err(failed)?;
        server.tls = tls;
        let secure = if server.tls.is_some() { " using SSL" } else { "" };
        log::info!(target: "phpws", "Server initialized on {}  {}{secure}", os(), server.listener.local);
        Ok(server)
    }

    /// A server that nobody can connect to.
    pub(crate) fn without_listener(limits: Limits) -> Result<WebSocketServer, StartError> {
        let failed = |error: io::Error| StartError::new("listening socket", error);
        let poll = Poll::new().map_err(failed)?;
        let wakers = Wakers::new(poll.registry(), WAKERS).map_err(failed)?;
        Ok(WebSocketServer {
            server: Server::new(limits.settled(), Instant::now()),
            all_apps: AllApps::default(),
            sockets: SecondaryMap::new(),
            buffer: ReadBuffer::new(),
            poll,
            listener: Listener::default(),
            tls: None,
            signals: None,
            on_hangup: None,
            wakers,
            stopping: Stopping::No,
            turns: Turns::default(),
            pressure: Pressure::default(),
            parts: Parts::default(),
        })
    }

    /// Registers an application under a path. Each path has one; PHP would silently replace it.
    #[doc(alias = "registerResource")]
    pub fn register_resource(&mut self, path: &str, app: impl Resource + 'static) -> Result<(), StartError> {
        if !path.starts_with('/') {
            return Err(StartError::new(format_args!("resource '{path}'"), "a path begins with /"));
        }
        match self.all_apps.insert(path, Box::new(app)) {
            true => Ok(()),
            false => Err(StartError::new(format_args!("resource '{path}'"), "this path is registered already")),
        }
    }

    /// Registers the application for every path that has none of its own.
    pub fn register_fallback(&mut self, app: impl Resource + 'static) -> Result<(), StartError> {
        match self.all_apps.insert_fallback(Box::new(app)) {
            true => Ok(()),
            false => Err(StartError::new("fallback resource", "there is one already")),
        }
    }

    /// The address it listens on, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local
    }

    /// A handle that stops the server from another thread.
    pub fn stopper(&self) -> Stopper {
        self.wakers.stopper()
    }

    /// A handle that sends values from any thread to the application of a path, which gets them in
    /// [`on_wake`](Resource::on_wake).
    pub fn waker<T: Send + 'static>(&self, path: &str) -> Result<Waker<T>, StartError> {
        match self.all_apps.find(path) {
            Some(app) => Ok(self.wakers.waker(app)),
            None => Err(StartError::new(format_args!("resource '{path}'"), "nothing is registered under this path")),
        }
    }

    /// Serves until it is stopped. It takes `self`, so that nothing can be registered afterwards.
    #[doc(alias = "Start")]
    pub fn start(mut self) -> io::Result<()> {
        self.begin()?;
        self.started();
        let mut events = Events::with_capacity(1024);
        while !self.is_finished() {
            self.turn(&mut events)?;
        }
        self.stopped();
        log::info!(target: "phpws", "Server stopped");
        log::logger().flush();
        Ok(())
    }

    /// What comes before the first turn.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.before_start()?;
        log::info!(target: "phpws", "Starting server...");
        for path in self.all_apps.paths() {
            log::info!(target: "phpws", "Registered resource : {path}");
        }
        self.server.now = Instant::now();
        self.server.counters.set_resources(self.all_apps.paths());
        for app in self.all_apps.ids() {
            self.all_apps.call(app, &mut self.server, None, |app, server| app.on_start(server));
        }
        self.next_ping();
        self.before_sleep();
        Ok(())
    }

    /// Logs what went wrong with a connection and tells its application.
    #[doc(alias = "onError")]
    pub(crate) fn failed(&mut self, id: SocketId, message: &str) {
        log::info!("Socket {id} - {message}");
        let client = &self.server.clients[id];
        // The application has not heard of one that waits for its `ready`.
        if let Some(app) = client.app.filter(|_| !client.is_waiting()) {
            self.all_apps.call(app, &mut self.server, Some(id), |app, server| app.on_error(server, id, message));
        }
    }
}

/// `PHP_OS` as PHP spells it.
fn os() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "freebsd" => "FreeBSD",
        other => other,
    }
}
