//! The listening socket, and how connections come in.
//!
//! A part of the loop. PHP counterpart: `stream_socket_server` in `__construct`, and the branch of `Start`
//! that calls `stream_socket_accept`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rlimit::Resource;
use socket2::{Domain, SockRef, Socket as Socket2, TcpKeepalive, Type};

use super::{LISTENER, WebSocketServer};
use crate::address::Address;
use crate::client::Client;
use crate::deadlines::{Deadline, after};
use crate::error::StartError;
use crate::newcomers;
use crate::pipe::Pipe;
use crate::socket::{Peer, Socket, Stage};
use crate::tls::Stream;

/// New connections in one turn, so that a flood of them does not starve the others. The rest waits for the next turn.
const ACCEPTS_PER_TURN: usize = 128;
/// The same with TLS, where each costs more.
const SECURE_ACCEPTS_PER_TURN: usize = 32;
/// How long accepting rests after the system refused it, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long such a refusal is not logged again.
const ACCEPT_LOG_PAUSE: Duration = Duration::from_secs(60);

/// The listening socket, and what the loop knows of it.
pub(super) struct Listener {
    /// `None` once the server has stopped listening.
    pub(super) socket: Option<TcpListener>,
    pub(super) local: SocketAddr,
    pub(super) origin: Origin,
    /// Whether connections wait to be accepted, as far as is known.
    pub(super) again: bool,
    /// Whether the last accept failed, so that a connection's end lets it be tried again.
    pub(super) failing: bool,
    /// Whether a reminder to accept again is set.
    pub(super) resting: bool,
    /// How many connections may be no clients, as far as descriptors go.
    pub(super) newcomers: usize,
    failure_logged: Option<Instant>,
}

/// Where the listening socket comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another process passed it, to which its queue belongs.
    Passed,
    /// This one bound it; with `shares_port` others may listen on the same port.
    Bound { shares_port: bool },
}

impl Listener {
    /// Takes a socket that listens, and registers it.
    pub(super) fn new(listener: std::net::TcpListener, registry: &Registry) -> io::Result<Listener> {
        prepare(&listener)?;
        let mut socket = TcpListener::from_std(listener);
        let local = socket.local_addr()?;
        registry.register(&mut socket, LISTENER, Interest::READABLE)?;
        let newcomers = newcomers::share_of(Resource::NOFILE.get_soft().unwrap_or_default());
        Ok(Listener { socket: Some(socket), local, newcomers, ..Listener::default() })
    }
}

impl Default for Listener {
    /// None: a server whose clients are memory.
    fn default() -> Listener {
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        let (again, failing, resting) = (false, false, false);
        Listener { socket: None, local, origin: Origin::Passed, again, failing, resting, newcomers: 0, failure_logged: None }
    }
}

impl WebSocketServer {
    pub(super) fn accept(&mut self) {
        self.make_room();
        let most = if self.tls.is_some() { SECURE_ACCEPTS_PER_TURN } else { ACCEPTS_PER_TURN };
        for _ in 0..most {
            let Some(listener) = &self.listener.socket else { return };
            match listener.accept() {
                Ok((tcp, peer)) => {
                    self.listener.failing = false;
                    self.connected(tcp, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer gave up while it waited in the queue.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(error) if self.gave_way(&error) => {}
                Err(error) => return self.accept_failed(&error),
            }
        }
        self.listener.again = true;
    }

    /// Out of descriptors or memory: the clients that are there go on, accepting rests a moment.
    fn accept_failed(&mut self, error: &io::Error) {
        let (now, listener) = (self.server.now, &mut self.listener);
        listener.failing = true;
        if listener.failure_logged.is_none_or(|logged| now - logged > ACCEPT_LOG_PAUSE) {
            listener.failure_logged = Some(now);
            log::error!(target: "phpws", "Connection could not be established: {error}; trying again");
        }
        if self.may_give_way(error) {
            self.listener.again = true;
        } else if !std::mem::replace(&mut self.listener.resting, true) {
            self.server.deadlines.set(now + ACCEPT_PAUSE, Deadline::Accept);
        }
    }

    fn connected(&mut self, tcp: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let exempt = ip.is_loopback() || self.is_exempt(ip, || own_ip(&tcp));
        let socket = match self.open_socket(tcp, ip) {
            Ok(socket) => socket,
            Err(error) => return log::info!("Connection could not be established: {error}"),
        };
        self.server.counters.accepted += 1;
        let mut client = Client::new(ip);
        client.exempt = exempt;
        let id = self.server.clients.insert(client);
        // Somebody goes in the next turn, when all that came in this one have been heard.
        self.listener.again |= self.is_crowded();
        self.sockets.insert(id, socket);
        log::info!("New client connecting from {peer} on socket #{id}");
        let (pipe, token) = (&mut self.sockets[id].stream.pipe, Token(id.as_u64() as usize));
        if let Err(error) = pipe.register(self.poll.registry(), token, false) {
            log::error!("Socket {id} - {error}");
            return self.peer_gone(id, Peer::Gone);
        }
        self.remind(id);
    }

    fn open_socket(&self, tcp: TcpStream, peer: IpAddr) -> io::Result<Socket> {
        let deadline = after(self.server.now, self.server.limits().handshake_timeout);
        let mut stream = Stream::plain(Pipe::Tcp(tcp));
        if self.has_preface(peer) {
            return Ok(Socket::new(stream, Stage::Preface, deadline));
        }
        stream.secure(self.tls.as_ref())?;
        Ok(Socket::new(stream, Stage::Head(Vec::new()), deadline))
    }
}

/// A socket that listens on an address. An error names the address and the way out.
pub(super) fn bind(address: &Address, shares_port: bool) -> Result<std::net::TcpListener, StartError> {
    address.resolve().and_then(|resolved| listen(resolved, shares_port)).map_err(|error| {
        let way_out = match error.kind() {
            io::ErrorKind::AddrInUse if shares_port => "; the other program must have --reuse-port too, and the same user",
            io::ErrorKind::AddrInUse => "; stop the other program or choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege, choose another port",
            io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
            _ => "",
        };
        StartError::new(format_args!("address {address}"), format_args!("{error}{way_out}"))
    })
}

/// A listening socket that keeps many connects waiting: a burst of clients after a restart must not be
/// told to try again by their own system, a second later.
fn listen(address: SocketAddr, shares_port: bool) -> io::Result<std::net::TcpListener> {
    const BACKLOG: i32 = 4096;
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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

/// The server's address that the peer connected to.
fn own_ip(tcp: &TcpStream) -> IpAddr {
    tcp.local_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |own| own.ip().to_canonical())
}
