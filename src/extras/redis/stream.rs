//! The bytes of the connection: TCP, a Unix socket, or TLS over either. Never blocks.
//!
//! Knows nothing of Redis but the places it can be at. The client's half of what src/tls.rs does.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::extras::redis::url::{Host, TlsFiles};
use crate::program::http_client::system_bundle;
use crate::tls::{receive, send};

/// One place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address, and the host that it is of: over TLS its certificate must have that name.
    Tcp(SocketAddr, Arc<str>),
    Unix(PathBuf),
}

impl Target {
    /// An address that has no name.
    pub(super) fn at(address: SocketAddr) -> Target {
        Target::Tcp(address, address.ip().to_string().into())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address, _) => address.fmt(f),
            Target::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The authorities to trust, and a certificate of our own.
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files for these hosts; an error is one line that names the file.
    pub(super) fn load(hosts: &[Host], files: &TlsFiles) -> Result<Tls, String> {
        hosts.iter().try_for_each(|(host, _)| server_name(host).map(drop))?;
        let ca = files.ca.clone().map_or_else(system_bundle, Ok)?;
        let mut roots = RootCertStore::empty();
        // A bundle may hold old certificates that can't be used; those that can are enough.
        if roots.add_parsable_certificates(certificates(&ca)?).0 == 0 {
            return Err(format!("{} holds no certificate that can be trusted", ca.display()));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("{} can't be read as a PEM key: {error}", key.display()))?;
                let both = builder.with_client_auth_cert(certificates(cert)?, private);
                both.map_err(|error| format!("{} and {} can't be used: {error}", cert.display(), key.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Tls(Arc::new(config)))
    }
}

/// The name that the certificate must have.
fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| "the host is no name that a certificate can have".into())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.map_err(|error| format!("{} can't be read as PEM certificates: {error}", path.display()))
}

/// A connection, or one that is being made.
pub(super) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins to connect; the poll tells of its progress under `token`.
    pub(super) fn connect(target: &Target, tls: Option<&Tls>, registry: &Registry, token: Token) -> io::Result<Stream> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = match target {
            Target::Tcp(address, _) => {
                let mut tcp = TcpStream::connect(*address)?;
                registry.register(&mut tcp, token, interest)?;
                Socket::Tcp(tcp)
            }
            Target::Unix(path) => {
                let mut unix = UnixStream::connect(path)?;
                registry.register(&mut unix, token, interest)?;
                Socket::Unix(unix)
            }
        };
        let tls = match (tls, target) {
            (Some(Tls(config)), Target::Tcp(_, host)) => {
                let name = server_name(host).map_err(io::Error::other)?;
                Some(Box::new(ClientConnection::new(config.clone(), name).map_err(io::Error::other)?))
            }
            _ => None,
        };
        Ok(Stream { socket, tls })
    }

    /// Whether the other side has accepted. A Unix socket is connected at once or not at all.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let Socket::Tcp(tcp) = &self.socket else { return Ok(true) };
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => tcp.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !receive(&mut self.socket, tls)? {
                        return Ok(0);
                    }
                }
                // TCP ended without TLS's own goodbye: an end like any other, since a reply has a length.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
        }
    }

    /// Writes as much as the socket takes; with no bytes, what TLS holds back.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        if !send(&mut self.socket, tls)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = tls.writer().write(bytes)?;
        send(&mut self.socket, tls)?;
        match written {
            // What comes before TLS is agreed is kept by it up to a limit.
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(written),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether TLS is still being agreed.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether TLS has something to write of its own.
    pub(super) fn holds_back(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(tcp) => tcp.read(buffer),
            Socket::Unix(unix) => unix.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(tcp) => tcp.write(bytes),
            Socket::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
