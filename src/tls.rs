//! TLS by rustls, and the one place that knows whether a connection has it.
//!
//! PHP counterpart: the `ssl` options of the stream context, and `stream_socket_enable_crypto`.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::error::StartError;

/// The certificate and key files, and what was read from them.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads a PEM chain and a PEM key (PKCS#8, PKCS#1 or SEC1); both may stand in one file.
    pub fn load(cert: &Path, key: &Path) -> Result<Tls, StartError> {
        Ok(Tls { cert: cert.into(), key: key.into(), config: read_config(cert, key)? })
    }

    /// Reads the files again, for the connections to come. On an error the old ones stay.
    pub fn reload(&mut self) -> Result<(), StartError> {
        self.config = read_config(&self.cert, &self.key)?;
        Ok(())
    }

    /// A new connection's stream.
    pub(crate) fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        let tls = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(TlsStream { tcp, tls })))
    }
}

fn read_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, StartError> {
    let cert_error = |problem: String| StartError::new(format_args!("--cert {}", cert.display()), problem);
    let key_error = |problem: String| StartError::new(format_args!("--key {}", key.display()), problem);
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| cert_error(format!("can't be read as a PEM chain: {error}")))?;
    if chain.is_empty() {
        return Err(cert_error("holds no certificate; give the PEM file with BEGIN CERTIFICATE".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| key_error(format!("can't be read as a PEM key (PKCS#8, PKCS#1 or SEC1): {error}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => key_error(format!("does not belong to the certificate {}", cert.display())),
            error => cert_error(format!("can't be used: {error}")),
        })?;
    Ok(Arc::new(config))
}

/// A connection's bytes, with or without TLS. Never blocks.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

pub(crate) struct TlsStream {
    tcp: TcpStream,
    tls: ServerConnection,
}

impl Stream {
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(stream) => &mut stream.tcp,
        }
    }

    /// Whether TLS is still being agreed, so that no answer can be sent.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.tls.is_handshaking())
    }

    /// Reads what is there, at most `buffer`; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }

    /// Whether a read of `count` bytes emptied the socket, so that the next one need not be tried:
    /// the poll loop will tell of further bytes.
    pub(crate) fn is_drained(&self, count: usize, buffer: &[u8]) -> bool {
        matches!(self, Stream::Plain(_)) && count < buffer.len()
    }

    /// Writes as much as the socket takes. With TLS each slice is a record of its own.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write_vectored(slices),
            Stream::Tls(stream) => stream.write(slices),
        }
    }

    /// Writes what TLS holds back; `true` when nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Stream::Plain(_) => Ok(true),
            Stream::Tls(stream) => stream.flush(),
        }
    }

    /// Says that nothing more will be written: `close_notify` and FIN.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        if let Stream::Tls(stream) = self {
            stream.tls.send_close_notify();
            stream.flush()?;
        }
        self.tcp().shutdown(Shutdown::Write)
    }
}

impl TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.receive() {
                    Ok(true) => {}
                    Ok(false) => break,
                    // What was decrypted before is handed out first; the error comes again.
                    Err(_) if filled > 0 => break,
                    Err(error) => return Err(error),
                },
                // The peer ended TCP without close_notify: an end like any other to us, since
                // WebSocket has a close of its own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Takes records from the socket; `false` at its end.
    fn receive(&mut self) -> io::Result<bool> {
        if self.tls.read_tls(&mut self.tcp)? == 0 {
            return Ok(false);
        }
        let processed = self.tls.process_new_packets();
        // Handshake answers, and the alert that says what was wrong.
        self.flush()?;
        processed.map(|_| true).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for slice in slices {
            let count = self.tls.writer().write(slice)?;
            written += count;
            if !self.flush()? || count < slice.len() {
                break;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
