//! The loop: one thread, one poll, every connection.
//!
//! A turn waits for events, reads what came, lets applications answer into outboxes, and writes
//! everything just before it waits again. PHP counterpart: `webSocketServer.php` — `__construct` is
//! [`bind`](WebSocketServer::bind), `Start` is [`start`](WebSocketServer::start) with its
//! `stream_select` loop in `turn`, `Close` is `bury`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use slotmap::SecondaryMap;
use socket2::{Domain, SockRef, Socket as Socket2, TcpKeepalive, Type};

use crate::address::Address;
use crate::client::Client;
use crate::deadlines::{Deadline, after};
use crate::error::StartError;
use crate::extras::cluster::Backplane;
use crate::extras::http::admission::Admission;
use crate::extras::http::tokens::Tokens;
use crate::extras::notices::{Notices, Receiver};
use crate::extras::sessions::Sessions;
use crate::ids::SocketId;
use crate::limits::Limits;
use crate::program::systemd::Systemd;
use crate::resource::{AllApps, Resource};
use crate::rfc6455::frame::MAX_HEADER;
use crate::server::Server;
use crate::socket::{Peer, Socket, Stage};
use crate::tls::{Stream, Tls};

mod before_sleep;
mod dialog;
mod stop;
mod sweep;

pub(crate) use dialog::{extract_collected, extract_message};
use stop::Drain;

// A token holds a whole id, with the generation that makes it unique.
const _: () = assert!(usize::BITS >= 64, "phpws needs a 64-bit target");

const LISTENER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const STOPPER: Token = Token(usize::MAX - 2);
const BACKPLANE: Token = Token(usize::MAX - 3);

/// The one buffer that all connections are read into. With the header of a frame, so that the last bytes of
/// a message of a round size need no read of their own.
const READ_BUFFER: usize = 256 * 1024 + MAX_HEADER;
/// The first read of so much tells of large messages: a server of small ones need not keep freed memory.
const LARGE_READ: usize = 64 * 1024;
/// New connections in one turn, for the same reason.
const ACCEPTS_PER_TURN: usize = 128;
/// How long accepting rests after the system refused it, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long such a refusal is not logged again.
const ACCEPT_LOG_PAUSE: Duration = Duration::from_secs(60);
/// How long a stopping server waits for its clients beyond their close timeout.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The server: sockets, applications, and the loop that joins them.
pub struct WebSocketServer {
    pub(crate) server: Server,
    pub(crate) all_apps: AllApps,
    #[doc(alias = "Sockets")]
    pub(crate) sockets: SecondaryMap<SocketId, Socket>,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) poll: Poll,
    pub(crate) listener: Option<TcpListener>,
    pub(crate) local: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) admission: Admission,
    /// Connections whose HTTP answer was queued in this turn.
    pub(crate) answered: Vec<SocketId>,
    pub(crate) signals: Option<Signals>,
    pub(crate) systemd: Systemd,
    pub(crate) stopper: Arc<Waker>,
    pub(crate) on_hangup: Option<Box<dyn FnMut()>>,
    /// Set once freed memory is kept.
    pub(crate) keeps_memory: Option<()>,
    /// Connections that have more to read than a turn allows.
    pub(crate) again: Vec<SocketId>,
    pub(crate) accept_again: bool,
    /// Whether the last accept failed, so that a connection's end lets it be tried again.
    pub(crate) accept_failing: bool,
    /// Whether a reminder to accept again is set.
    pub(crate) accept_resting: bool,
    pub(crate) accept_failure_logged: Option<Instant>,
    stopping: Stopping,
    /// Whether other processes may listen on the same port, and whether the socket was given to this one.
    pub(crate) shares_port: bool,
    pub(crate) was_passed: bool,
    drain: Option<Drain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stopping {
    No,
    Draining,
    Now,
}

/// Stops a server from another thread, as SIGTERM does.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Waker>);

impl Stopper {
    /// Asks the server to stop: it tells its clients and ends once they have gone.
    pub fn stop(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl WebSocketServer {
    /// Listens on `address`; with `tls` every connection is TLS. Nothing is accepted before the start.
    #[doc(alias = "__construct")]
    pub fn bind(address: &Address, tls: Option<Tls>, limits: Limits) -> Result<WebSocketServer, StartError> {
        let failed = |error: io::Error| {
            let way_out = match error.kind() {
                io::ErrorKind::AddrInUse if limits.reuse_port => {
                    "; the other program must have --reuse-port too, and the same user"
                }
                io::ErrorKind::AddrInUse => "; stop the other program or choose another port",
                io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege, choose another port",
                io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
                _ => "",
            };
            StartError::new(format_args!("address {address}"), format_args!("{error}{way_out}"))
        };
        let shares_port = limits.reuse_port;
        let listener = address.resolve().and_then(|address| listen(address, shares_port)).map_err(failed)?;
        let server = WebSocketServer::listen_on(listener, tls, limits)?;
        Ok(WebSocketServer { shares_port, was_passed: false, ..server })
    }

    /// The same on a socket that listens already, for instance one that [systemd](crate::program::systemd::listener)
    /// passed.
    pub fn listen_on(listener: std::net::TcpListener, tls: Option<Tls>, limits: Limits) -> Result<WebSocketServer, StartError> {
        let failed = |error: io::Error| StartError::new("listening socket", error);
        prepare(&listener).map_err(failed)?;
        let mut listener = TcpListener::from_std(listener);
        let local = listener.local_addr().map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let stopper = Arc::new(Waker::new(poll.registry(), STOPPER).map_err(failed)?);
        log::info!("Server initialized on {}  {local}{}", os(), if tls.is_some() { " using SSL" } else { "" });
        Ok(WebSocketServer {
            server: Server::new(limits, Instant::now()),
            all_apps: AllApps::default(),
            sockets: SecondaryMap::new(),
            buffer: vec![0; READ_BUFFER].into(),
            poll,
            listener: Some(listener),
            local,
            tls,
            sessions: None,
            admission: Admission::default(),
            answered: Vec::new(),
            signals: None,
            systemd: Systemd::default(),
            stopper,
            on_hangup: None,
            keeps_memory: None,
            again: Vec::new(),
            accept_again: false,
            accept_failing: false,
            accept_resting: false,
            accept_failure_logged: None,
            stopping: Stopping::No,
            shares_port: false,
            was_passed: true,
            drain: None,
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

    /// Admits browsers only with a PHP session; backends are admitted by their host as before.
    pub fn require_session(&mut self, sessions: Option<Sessions>) {
        self.sessions = sessions;
    }

    /// Tells a PHP page who comes and who goes, where there is one.
    pub fn send_notices(&mut self, receiver: Option<Receiver>) -> Result<(), StartError> {
        self.server.notices = receiver.map(Notices::start).transpose()?;
        Ok(())
    }

    /// Lets those who have one of these tokens publish over HTTP, beside allowed hosts.
    pub fn publish_tokens(&mut self, tokens: Tokens) {
        self.admission.tokens = tokens;
    }

    /// Acts with other processes as one server, through Redis or Valkey at an address like
    /// `redis://127.0.0.1`; `prefix` begins the name of everything there.
    pub fn join_backplane(&mut self, url: &str, prefix: &str) -> Result<(), StartError> {
        self.server.backplane = Some(Box::new(Backplane::new(url, prefix)?));
        self.server.rooms.share();
        Ok(())
    }

    /// The address it listens on, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// A handle that stops the server from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stopper.clone())
    }

    /// Lets SIGTERM and SIGINT stop the server, a second one at once, and SIGHUP reload the
    /// certificate and the tokens and call `on_hangup`.
    pub fn handle_signals(&mut self, on_hangup: impl FnMut() + 'static) -> Result<(), StartError> {
        let failed = |error| StartError::new("signals", error);
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        self.poll.registry().register(&mut signals, SIGNALS, Interest::READABLE).map_err(failed)?;
        self.signals = Some(signals);
        self.on_hangup = Some(Box::new(on_hangup));
        Ok(())
    }

    /// Tells systemd when the server is ready, reloads, stops, and that it lives.
    pub fn notify(&mut self, systemd: Systemd) {
        self.systemd = systemd;
    }

    /// Serves until it is stopped. Taking `self`, it leaves nobody who could register an application
    /// afterwards.
    #[doc(alias = "Start")]
    pub fn start(mut self) -> io::Result<()> {
        if let Some(path) = self.server.limits().browser_opcodes.stray(self.all_apps.paths()) {
            return Err(io::Error::other(StartError::new(
                "--browser-opcodes",
                format_args!("nothing is registered under {path}"),
            )));
        }
        log::info!("Starting server...");
        for path in self.all_apps.paths() {
            log::info!("Registered resource : {path}");
        }
        self.server.now = Instant::now();
        self.server.metrics.set_resources(self.all_apps.paths());
        for app in self.all_apps.ids() {
            self.all_apps.call(app, &mut self.server, None, |app, server| app.on_start(server));
        }
        self.next_ping();
        self.next_sign_of_life();
        // The backplane connects.
        self.before_sleep();
        self.systemd.ready(self.local);
        let mut events = Events::with_capacity(1024);
        while !self.is_finished() {
            self.turn(&mut events)?;
        }
        if let Some(notices) = self.server.notices.take() {
            notices.finish();
        }
        log::info!("Server stopped");
        Ok(())
    }

    /// One round of PHP's `while` in `Start`.
    pub(crate) fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let busy = self.accept_again || !self.again.is_empty();
        let now = Instant::now();
        let backplane = self.server.backplane.as_ref().and_then(|backplane| backplane.deadline());
        let backplane = backplane.map(|deadline| deadline.saturating_duration_since(now));
        let next = [self.server.deadlines.sleep(now), backplane].into_iter().flatten().min();
        let sleep = if busy { Some(Duration::ZERO) } else { next };
        self.server.metrics.turns.observe(now.saturating_duration_since(self.server.now));
        match self.poll.poll(events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.server.now = Instant::now(),
        }
        for id in std::mem::take(&mut self.again) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.unread = false;
                self.readable(id);
            }
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept_again = true,
                SIGNALS => self.signalled(),
                STOPPER => self.stop(),
                BACKPLANE => self.server.backplane.iter_mut().for_each(|backplane| backplane.ready()),
                token => self.socket_event(SocketId::from_u64(token.0 as u64), event),
            }
        }
        if std::mem::take(&mut self.accept_again) {
            self.accept();
        }
        self.sweep();
        self.before_sleep();
        Ok(())
    }

    pub(crate) fn socket_event(&mut self, id: SocketId, event: &Event) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let ended = event.is_read_closed() || event.is_error();
        // The end may have come with the last bytes, and then it has no event of its own.
        socket.read_to_end |= ended;
        // Each event says so, whatever it is for.
        if event.is_writable() && socket.awaits_room() {
            self.flush(id);
        }
        if event.is_readable() || ended {
            self.readable(id);
        } else {
            self.next_request(id);
        }
    }

    pub(crate) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((tcp, peer)) => {
                    self.accept_failing = false;
                    self.connected(tcp, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer gave up while it waited in the queue.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(error) => return self.accept_failed(&error),
            }
        }
        self.accept_again = true;
    }

    /// Out of descriptors or memory: the clients that are there go on, accepting rests a moment.
    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        let now = self.server.now;
        self.accept_failing = true;
        if self.accept_failure_logged.is_none_or(|logged| now - logged > ACCEPT_LOG_PAUSE) {
            self.accept_failure_logged = Some(now);
            log::error!("Connection could not be established: {error}; trying again");
        }
        if !std::mem::replace(&mut self.accept_resting, true) {
            self.server.deadlines.set(now + ACCEPT_PAUSE, Deadline::Accept);
        }
    }

    pub(crate) fn connected(&mut self, tcp: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let socket = match self.prepare(tcp, ip) {
            Ok(socket) => socket,
            Err(error) => return log::info!("Connection could not be established: {error}"),
        };
        self.server.metrics.accepted += 1;
        let id = self.server.clients.insert(Client::new(ip));
        self.sockets.insert(id, socket);
        log::info!("New client connecting from {peer} on socket #{id}");
        let registry = self.poll.registry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut self.sockets[id].stream.tcp, Token(id.as_u64() as usize), interest) {
            log::error!("Socket {id} - {error}");
            return self.hang_up(id, Peer::Gone);
        }
        self.remind(id);
    }

    pub(crate) fn prepare(&self, tcp: TcpStream, peer: IpAddr) -> io::Result<Socket> {
        let deadline = after(self.server.now, self.server.limits().handshake_timeout);
        let mut stream = Stream::plain(tcp);
        if self.server.limits().expects_proxy_header(peer) {
            return Ok(Socket::new(stream, Stage::ProxyHeader, deadline));
        }
        stream.secure(self.tls.as_ref())?;
        Ok(Socket::new(stream, Stage::Head(Vec::new()), deadline))
    }

    /// Reads a connection once. What is more than a bufferful waits for the next turn, so that a fast
    /// sender does not starve the others.
    pub(crate) fn readable(&mut self, id: SocketId) {
        if self.next_request(id) || self.server.clients.get(id).is_some_and(Client::is_awaiting) {
            return;
        }
        if self.server.congested {
            self.before_sleep();
        }
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.peer < Peer::Gone && !socket.unread) else { return };
        if matches!(socket.stage, Stage::ProxyHeader) {
            return self.proxy_header(id);
        }
        match socket.read(&mut self.buffer) {
            Ok(0) => self.hang_up(id, Peer::Finished),
            Ok(count) => {
                self.server.metrics.bytes_in += count as u64;
                let drained = socket.stream.drained && !socket.read_to_end;
                self.received(id, count);
                self.answer_at_once(id);
                if count >= LARGE_READ {
                    self.keeps_memory.get_or_insert_with(keep_freed_memory);
                }
                if !drained {
                    self.read_again(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_again(id),
            Err(error) => {
                log::debug!("Socket {id} - {error}");
                self.hang_up(id, Peer::Gone);
            }
        }
    }

    pub(crate) fn read_again(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.unread = true;
            self.again.push(id);
        }
    }

    /// Logs what went wrong with a connection and tells its application.
    #[doc(alias = "onError")]
    pub(crate) fn failed(&mut self, id: SocketId, message: &str) {
        log::info!("Socket {id} - {message}");
        let client = &self.server.clients[id];
        // The application has not heard of one that waits for its `ready`.
        if let Some(app) = client.app.filter(|_| !client.is_awaiting()) {
            self.all_apps.call(app, &mut self.server, Some(id), |app, server| app.on_error(server, id, message));
        }
    }

    pub(crate) fn signalled(&mut self) {
        let pending: Vec<i32> = self.signals.iter_mut().flat_map(Signals::pending).collect();
        for signal in pending {
            match signal {
                SIGHUP => self.reload(),
                _ => self.stop(),
            }
        }
    }

    pub(crate) fn reload(&mut self) {
        self.systemd.reloading();
        if let Some(on_hangup) = &mut self.on_hangup {
            on_hangup();
        }
        match self.tls.as_mut().map(Tls::reload) {
            Some(Ok(())) => log::info!("Certificate reloaded"),
            Some(Err(error)) => log::error!("Certificate not reloaded, the old one stays: {error}"),
            None => {}
        }
        match self.admission.tokens.reload() {
            Some(Ok(())) => log::info!("Tokens reloaded"),
            Some(Err(error)) => log::error!("Tokens not reloaded, the old ones stay: {error}"),
            None => {}
        }
        self.systemd.ready(self.local);
    }
}

/// Lets glibc keep up to 8 MiB of freed memory, so that large messages do not pay for their pages each
/// time: it keeps twice as much as the largest block freed so far.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4 * 1024 * 1024)));
}

/// Sets what every connection is to inherit from the listening socket: four system calls less for each.
fn prepare(listener: &std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(listener);
    // `next` and the answer are two small writes at times: Nagle would hold the second back.
    socket.set_tcp_nodelay(true)?;
    // Backends get no pings; the system finds out when one of their hosts is gone.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)))
}

/// A listening socket that keeps many connects waiting: a burst of clients after a restart must not be
/// told to try again by their own system, a second later.
fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    const BACKLOG: i32 = 4096;
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
