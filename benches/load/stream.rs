//! One connection's bytes, plain or TLS: what waits to be written, and reading.
//!
//! What is sent is shared, so nothing is copied where the system takes only a part of it. Knows no
//! frames.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

struct Piece {
    bytes: Rc<[u8]>,
    from: usize,
    to: usize,
}

pub struct Stream {
    pub tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    queue: VecDeque<Piece>,
    quickack: bool,
}

/// What a read gave.
pub struct Gain {
    pub count: usize,
    /// Whether there may be more, so that it must be read again.
    pub more: bool,
}

impl Stream {
    /// Begins to connect. The connection ends with a reset, so that no port waits for its reuse.
    pub fn connect(
        target: SocketAddr,
        source: Option<SocketAddr>,
        tls: Option<ClientConnection>,
        quickack: bool,
    ) -> io::Result<Stream> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = source {
            socket.bind(&source.into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINPROGRESS)) => return Err(error),
            _ => {}
        }
        let tcp = TcpStream::from_std(socket.into());
        Ok(Stream { tcp, tls: tls.map(Box::new), queue: VecDeque::new(), quickack })
    }

    /// Sends the first `len` of `bytes`, now or when the system takes them.
    pub fn send(&mut self, bytes: &Rc<[u8]>, len: usize) -> io::Result<()> {
        let mut from = 0;
        if self.tls.is_none() && self.queue.is_empty() {
            from = unless_blocked(self.tcp.write(&bytes[..len]))?;
            if from == len {
                return Ok(());
            }
        }
        self.queue.push_back(Piece { bytes: bytes.clone(), from, to: len });
        self.flush()
    }

    /// Writes what waits, as far as the system takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            let moved = self.write_front()?;
            let wants_write = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
            let written = match &mut self.tls {
                Some(tls) if wants_write => unless_blocked(tls.write_tls(&mut self.tcp))?,
                _ => 0,
            };
            if moved == 0 && written == 0 {
                return Ok(());
            }
        }
    }

    fn write_front(&mut self) -> io::Result<usize> {
        let Some(piece) = self.queue.front_mut() else { return Ok(0) };
        let rest = &piece.bytes[piece.from..piece.to];
        let count = match &mut self.tls {
            Some(tls) => tls.writer().write(rest)?,
            None => unless_blocked(self.tcp.write(rest))?,
        };
        piece.from += count;
        if piece.from == piece.to {
            self.queue.pop_front();
        }
        Ok(count)
    }

    /// Reads what there is; `WouldBlock` if nothing, `UnexpectedEof` at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Gain> {
        let gain = match &mut self.tls {
            None => match self.tcp.read(buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => Gain { count, more: count == buffer.len() },
            },
            Some(tls) => read_tls(tls, &mut self.tcp, buffer)?,
        };
        if self.quickack {
            SockRef::from(&self.tcp).set_tcp_quickack(true)?;
        }
        if self.tls.is_some() {
            self.flush()?;
        }
        match gain {
            Gain { count: 0, .. } => Err(ErrorKind::WouldBlock.into()),
            gain => Ok(gain),
        }
    }
}

/// Fills the buffer with plain text as far as records have come.
fn read_tls(tls: &mut ClientConnection, tcp: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Gain> {
    let mut count = 0;
    loop {
        match tls.reader().read(&mut buffer[count..]) {
            Ok(0) if count == buffer.len() => return Ok(Gain { count, more: true }),
            Ok(0) => return the_end(count),
            Ok(more) => count += more,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Err(_) => match tls.read_tls(tcp) {
                Ok(0) => return the_end(count),
                Ok(_) => {
                    tls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Gain { count, more: false }),
                Err(error) => return Err(error),
            },
        }
    }
}

/// The end is told once everything before it has been taken.
fn the_end(count: usize) -> io::Result<Gain> {
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(Gain { count, more: true }) }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(0),
        result => result,
    }
}

/// A client that takes any certificate and never resumes a session.
pub fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(schemes)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts every server: a benchmark sends nothing that anybody may not know.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
