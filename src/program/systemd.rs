//! What systemd gives a service, and what it wants to hear: a socket that listens already, readiness,
//! signs of life.
//!
//! All of it stands in the environment; without that, nothing here does anything. It knows no
//! connections, and the loop knows no more of it than when to say a word. PHP counterpart: none.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::address::Address;
use crate::error::StartError;

/// The socket that systemd listens on for this process, if it does (`LISTEN_FDS`). It takes the place of
/// `address`, of which only the scheme still counts; where both are not the same, the log says so.
pub fn listener(address: &Address) -> Result<Option<TcpListener>, StartError> {
    let failed = |problem: String| StartError::new("socket from systemd", problem);
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        return Err(failed(format!("{} were passed; give phpws.socket one ListenStream= only", passed.len())));
    }
    let listener =
        passed.take_tcp_listener(0).map_err(|error| failed(format!("{error}; give phpws.socket ListenStream=IP:PORT")))?;
    if let Some(listener) = &listener {
        let local = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        if !address.resolve().is_ok_and(|expected| expected == local || expected.port() == 0) {
            log::warn!(target: "phpws", "systemd passed a socket on {local}: it is used, and not {address}");
        }
    }
    Ok(listener)
}

/// The way to the service manager. A default one says nothing to nobody.
#[derive(Debug, Default)]
pub struct Systemd {
    /// Kept open: a server that has run out of descriptors must still be able to say that it lives.
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Connects to where the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub fn from_env() -> Result<Systemd, StartError> {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Systemd::default());
        };
        let socket = connected(&path).map_err(|error| StartError::new("NOTIFY_SOCKET", error))?;
        Ok(Systemd { socket: Some(socket), watchdog: sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) })
    }

    /// The server listens on `local` and is about to accept; also said after a reload.
    pub(crate) fn ready(&self, local: SocketAddr) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&format!("Serving on {local}"))]);
    }

    /// The server reads its files again.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!(target: "phpws", "systemd is not told: {error}"),
        }
    }

    /// The server lets its clients finish, and needs so much time at most.
    pub(crate) fn stopping(&self, longest: Duration) {
        let longest = NotifyState::ExtendTimeoutUsec(longest.as_micros().try_into().unwrap_or(u32::MAX));
        self.tell(&[NotifyState::Stopping, NotifyState::Status("Waiting for the clients to close"), longest]);
    }

    /// The loop turns. Gives the time after which the watchdog wants to hear it again, half of what it
    /// would wait.
    pub(crate) fn alive(&self) -> Option<Duration> {
        self.watchdog.map(|interval| {
            self.tell(&[NotifyState::Watchdog]);
            interval / 2
        })
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(lines.as_bytes()) {
            log::warn!(target: "phpws", "systemd is not told: {error}");
        }
    }
}

/// Sending never waits: a service manager that does not read must not stop the server.
fn connected(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&unix_address(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket file, or with `@` a name in Linux's abstract space.
fn unix_address(path: &OsStr) -> io::Result<UnixAddress> {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(path).strip_prefix(b"@") {
        return <UnixAddress as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    UnixAddress::from_pathname(path)
}
