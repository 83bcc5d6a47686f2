//! TLS by rustls, and the one place that knows whether a connection has it.
//!
//! PHP counterpart: the `ssl` options of the stream context, and `stream_socket_enable_crypto`.

use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConnectionCommon, ServerConfig, ServerConnection};
use webpki::EndEntityCert;

use crate::error::StartError;
use crate::pipe::{Memory, Pipe};

/// The certificate and key files, and what was read from them.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ServerConfig>,
    /// The names that the certificate is for.
    names: Vec<String>,
}

impl Tls {
    /// Reads a PEM chain and a PEM key (PKCS#8, PKCS#1 or SEC1); both may stand in one file.
    pub fn load(cert: &Path, key: &Path) -> Result<Tls, StartError> {
        let (config, names) = read_config(cert, key)?;
        Ok(Tls { cert: cert.into(), key: key.into(), config, names })
    }

    /// Reads the files again, for the connections to come. On an error the old ones stay.
    pub fn reload(&mut self) -> Result<(), StartError> {
        (self.config, self.names) = read_config(&self.cert, &self.key)?;
        Ok(())
    }

    /// The DNS names in the certificate; one may begin with `*.`.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The server's side of a new connection.
    fn accept(&self) -> io::Result<Box<ServerConnection>> {
        ServerConnection::new(self.config.clone()).map(Box::new).map_err(io::Error::other)
    }
}

fn read_config(cert: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Vec<String>), StartError> {
    let cert_error = |problem: String| StartError::new(format_args!("--cert {}", cert.display()), problem);
    let key_error = |problem: String| StartError::new(format_args!("--key {}", key.display()), problem);
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| cert_error(format!("can't be read as a PEM chain: {error}")))?;
    if chain.is_empty() {
        return Err(cert_error("holds no certificate; give the PEM file with BEGIN CERTIFICATE".into()));
    }
    // rustls says later whether the certificate can be used at all.
    let names = EndEntityCert::try_from(&chain[0]).map(|cert| cert.valid_dns_names().map(str::to_owned).collect());
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| key_error(format!("can't be read as a PEM key (PKCS#8, PKCS#1 or SEC1): {error}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => key_error(format!("does not belong to the certificate {}", cert.display())),
            error => cert_error(format!("can't be used: {error}")),
        })?;
    Ok((Arc::new(config), names.unwrap_or_default()))
}

/// Records that one read takes in at the most.
const RECORDS_PER_READ: usize = 64;

/// A connection's bytes, with or without TLS. Never blocks.
pub(crate) struct Stream {
    pub(crate) pipe: Pipe,
    tls: Option<Box<ServerConnection>>,
    /// An error that came behind bytes which are handed out first.
    error: Option<io::Error>,
    pub(crate) drained: bool,
}

impl Stream {
    pub(crate) fn plain(pipe: Pipe) -> Stream {
        Stream { pipe, tls: None, error: None, drained: false }
    }

    /// Begins TLS, where the server has it; what was read before stays outside of it.
    pub(crate) fn secure(&mut self, tls: Option<&Tls>) -> io::Result<()> {
        self.tls = tls.map(Tls::accept).transpose()?;
        Ok(())
    }

    /// The memory under it, where that is no socket.
    pub(crate) fn memory(&mut self) -> &mut Memory {
        match &mut self.pipe {
            Pipe::Memory(memory) => memory,
            Pipe::Tcp(_) => panic!("this connection is a socket"),
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether TLS is still being agreed, so that no answer can be sent.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Reads what is there, at most `buffer`; 0 is the end. Afterwards `drained` says whether the socket
    /// was emptied, so that a further read need not be tried: the poll loop tells of further bytes.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.drained = false;
        if self.tls.is_some() {
            return self.read_records(buffer);
        }
        let count = self.pipe.read(buffer)?;
        self.drained = count < buffer.len();
        Ok(count)
    }

    /// The same with TLS.
    #[inline(never)]
    fn read_records(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut filled = 0;
        // Records without a byte for us must not hold the loop.
        for _ in 0..RECORDS_PER_READ {
            if filled == buffer.len() {
                return Ok(filled);
            }
            match tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match receive(&mut self.pipe, tls) {
                    Ok(true) => {}
                    Ok(false) => return Ok(filled),
                    Err(error) if filled > 0 => {
                        self.drained = error.kind() == io::ErrorKind::WouldBlock;
                        self.error = Some(error).filter(|_| !self.drained);
                        return Ok(filled);
                    }
                    Err(error) => return Err(error),
                },
                // The peer ended TCP without close_notify: an end like any other to us, since
                // WebSocket has a close of its own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
        if filled > 0 { Ok(filled) } else { Err(io::ErrorKind::Interrupted.into()) }
    }

    /// Writes as much as the socket takes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.tls {
            None => self.pipe.write(bytes),
            Some(_) => self.write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// The same of several pieces. With TLS each is a record of its own.
    #[inline(never)]
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.pipe.write_vectored(slices) };
        if !send(&mut self.pipe, tls)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for slice in slices {
            let count = tls.writer().write(slice)?;
            written += count;
            if !send(&mut self.pipe, tls)? || count < slice.len() {
                break;
            }
        }
        Ok(written)
    }

    /// Writes what TLS holds back; `true` when nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        self.tls.as_mut().map_or(Ok(true), |tls| send(&mut self.pipe, tls))
    }

    /// Says that nothing more will be written: `close_notify` and FIN.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            send(&mut self.pipe, tls)?;
        }
        self.pipe.shutdown()
    }
}

/// Takes records from the socket; `false` at its end.
pub(crate) fn receive<D>(socket: &mut (impl Read + Write), tls: &mut ConnectionCommon<D>) -> io::Result<bool> {
    if tls.read_tls(socket)? == 0 {
        return Ok(false);
    }
    let processed = tls.process_new_packets();
    // Handshake answers, and the alert that says what was wrong.
    send(socket, tls)?;
    processed.map(|_| true).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Puts records into the socket; `false` where it took not all of them.
pub(crate) fn send<D>(socket: &mut impl Write, tls: &mut ConnectionCommon<D>) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
