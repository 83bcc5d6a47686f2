//! How a server stops: it stops listening, tells its clients, and ends once they have gone.
//!
//! A part of the loop. With a `drain-time` the clients are told one after the other over that time, so
//! that those who come back elsewhere do not all come at once. A connect that has begun by then is
//! served: nobody is to notice a restart. PHP counterpart: `stop` of 2026, which closes all sockets at once.

use std::time::{Duration, Instant};

use super::WebSocketServer;
use super::listener::Origin;
use crate::client::{Client, State};
use crate::deadlines::{Deadline, after};
use crate::ids::SocketId;
use crate::rfc6455::CloseCode;
use crate::socket::{Socket, Stage};

/// Time between two goodbyes at least; those that fall due within it go out together.
const GOODBYE_PERIOD: Duration = Duration::from_millis(20);
/// How long a shared port is listened on, without new connects, for those that are being made. It is
/// shorter than a second, after which clients send a connect again that was not answered.
const LAST_CONNECTS: Duration = Duration::from_millis(500);

/// How long a stopping server waits for its clients beyond their close timeout.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How far the end of the server has come.
#[derive(Clone, Copy)]
pub(super) enum Stopping {
    No,
    /// All clients were told.
    AtOnce,
    /// Clients are told one after the other.
    Draining(Drain),
    /// Whoever is left is left behind.
    Now,
}

/// A drain under way.
#[derive(Clone, Copy)]
pub(super) struct Drain {
    end: Instant,
    /// When clients were last told.
    last: Instant,
}

impl WebSocketServer {
    /// Stops accepting, tells every client, and lets them finish; asked twice, ends at once.
    pub(crate) fn stop(&mut self) {
        if self.server.stopping {
            self.stopping = Stopping::Now;
            return;
        }
        self.server.stopping = true;
        let (now, time) = (self.server.now, self.server.limits().drain_time);
        self.stopping = match time.is_zero() {
            true => Stopping::AtOnce,
            false => Stopping::Draining(Drain { end: after(now, time), last: now }),
        };
        self.listen_no_longer();
        log::info!(target: "phpws", "Shutting down server gracefully...");
        let longest = time.saturating_add(self.server.limits().close_timeout).saturating_add(STOP_GRACE);
        self.stops(longest);
        self.server.deadlines.set(after(now, longest), Deadline::Stop);
        match self.stopping {
            Stopping::Draining(_) => self.next_goodbyes(),
            _ => self.part_from(usize::MAX),
        }
    }

    /// Nobody new is to come, and nobody who has begun to connect is to be turned away. The system resets
    /// connections that wait in the queue of a socket that is closed, so they are accepted first; what
    /// comes between that and the closing would still be lost. On a shared port the system may be told
    /// to hand it on to another process. Else the socket turns a blind eye to new connects for a moment
    /// before: their systems send them again after a second, and then they reach another process.
    pub(crate) fn listen_no_longer(&mut self) {
        match (&self.listener.socket, self.listener.origin) {
            _ if !self.is_draining() => self.listener.socket = None,
            (Some(listener), Origin::Bound { shares_port: true })
                if !migrates_connects() && ignore_connects(listener).is_ok() =>
            {
                self.server.deadlines.set(after(self.server.now, LAST_CONNECTS), Deadline::Unlisten);
            }
            // The queue belongs to the process that passed the socket, and to the next one.
            (Some(_), Origin::Passed) => self.listener.socket = None,
            _ => self.unlisten(),
        }
    }

    /// Accepts what has come to the listening socket, and closes it.
    pub(crate) fn unlisten(&mut self) {
        self.listener.again = true;
        while std::mem::take(&mut self.listener.again) {
            self.accept();
        }
        self.listener.socket = None;
    }

    /// Says goodbye to the share of the clients that is due by now; at the end to all, also to those that
    /// are away and to those that came meanwhile.
    pub(crate) fn goodbyes(&mut self) {
        let Stopping::Draining(Drain { end, last }) = self.stopping else { return };
        let (now, here) = (self.server.now, self.clients_here());
        if now >= end || self.nobody_is_left() {
            self.part_from(usize::MAX);
        } else {
            let share = (now - last).as_secs_f64() / (end - last).as_secs_f64();
            let due = (here as f64 * share + 1e-6) as usize;
            self.part_from(due);
            // What is not yet a whole client goes on adding up.
            self.stopping = Stopping::Draining(Drain { end, last: if due > 0 || here == 0 { now } else { last } });
        }
        self.next_goodbyes();
    }

    /// The next goodbye is due when the time that is left, shared out evenly, comes to one client.
    pub(crate) fn next_goodbyes(&mut self) {
        let Stopping::Draining(Drain { end, .. }) = self.stopping else { return };
        let now = self.server.now;
        let left = end.saturating_duration_since(now);
        let each = left / u32::try_from(self.clients_here()).unwrap_or(u32::MAX).max(1);
        // Somebody who comes now is to find that there is time.
        let pause = each.clamp(GOODBYE_PERIOD, Duration::from_secs(1)).min(left.max(GOODBYE_PERIOD));
        self.server.deadlines.set(after(now, pause), Deadline::Goodbyes);
    }

    pub(crate) fn clients_here(&self) -> usize {
        self.server.clients.values().filter(|client| may_go(client)).count()
    }

    /// Parts from so many clients: from those with a connection first, since they may go elsewhere.
    pub(crate) fn part_from(&mut self, count: usize) {
        let all = count == usize::MAX;
        let open = self.server.clients.iter().filter(|(_, client)| client.is_open());
        let ids: Vec<SocketId> = open.filter(|(_, client)| all || may_go(client)).map(|(id, _)| id).take(count).collect();
        for id in ids {
            let code = self.goodbye_code(id);
            self.server.dismiss(id, None, code);
        }
    }

    /// Who may come back is told that somebody will be there.
    pub(crate) fn goodbye_code(&self, id: SocketId) -> CloseCode {
        let comes_back = self.is_draining() || self.server.clients[id].mail.is_numbered();
        if comes_back { CloseCode::SERVICE_RESTART } else { CloseCode::GOING_AWAY }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::AtOnce | Stopping::Draining(_) => {
                self.nobody_is_left() && self.server.clients.values().all(|client| !client.is_open())
            }
            Stopping::Now => true,
        }
    }

    fn is_draining(&self) -> bool {
        matches!(self.stopping, Stopping::Draining(_))
    }

    /// Whether no connection is there that the end would interrupt.
    pub(crate) fn nobody_is_left(&self) -> bool {
        (!self.is_draining() || self.listener.socket.is_none())
            && self
                .sockets
                .iter()
                .all(|(id, socket)| self.server.clients[id].state == State::Handshake && !self.is_awaited(socket))
    }

    /// Connections without a request hold up nothing, but may ask how the server is until the end. While
    /// clients are parted from one after the other, a new one may be just about to send its first.
    pub(crate) fn is_awaited(&self, socket: &Socket) -> bool {
        matches!(socket.stage, Stage::Plain) || self.is_draining() && !socket.reused
    }

    /// Whether a client that asks to be let in is told to go elsewhere. Who began to connect before the
    /// server stopped listening is served as ever: to him it has not stopped.
    pub(crate) fn turns_away(&self, id: SocketId) -> bool {
        self.server.stopping && (!self.is_draining() || self.sockets[id].reused)
    }
}

/// Whether a client is there to be told; one that still waits for its `ready` is told after that.
fn may_go(client: &Client) -> bool {
    client.state == State::Open
}

/// Whether Linux hands the queue of a socket that closes to another one on the same port.
fn migrates_connects() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").is_ok_and(|text| text.trim() == "1")
}

/// Makes a listening socket deaf to the first packet of a connect. Handshakes that it has answered
/// already go on.
#[cfg(target_os = "linux")]
fn ignore_connects(listener: &mio::net::TcpListener) -> std::io::Result<()> {
    use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    use socket2::{SockFilter, SockRef};

    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    let instruction = |code: u32, jump_true, jump_false, k| SockFilter::new(code as u16, jump_true, jump_false, k);
    SockRef::from(listener).attach_filter(&[
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, FLAGS),
        instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, SYN_AND_ACK),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYN),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ])
}

#[cfg(not(target_os = "linux"))]
fn ignore_connects(_listener: &mio::net::TcpListener) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
