//! What the peers share: their command line, a listener like that of phpws, and TLS.
//!
//! `NAME [IP:PORT] [--cert FILE --key FILE]`; port 0 lets the system choose, and the line
//! `listening on IP:PORT` names it. Nothing here is on the path of a message.

pub mod bare;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

/// As many connections may wait as for phpws, so that none is at a disadvantage.
const BACKLOG: i32 = 4096;

/// What the command line says.
pub struct Options {
    address: SocketAddr,
    cert: Option<String>,
    key: Option<String>,
}

impl Options {
    /// Reads the arguments of the process.
    pub fn from_args() -> Result<Options, Box<dyn Error>> {
        let mut options = Options { address: ([127, 0, 0, 1], 0).into(), cert: None, key: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--cert" => options.cert = Some(args.next().ok_or("--cert needs a file")?),
                "--key" => options.key = Some(args.next().ok_or("--key needs a file")?),
                word => options.address = word.parse().map_err(|_| format!("{word} is no IP:PORT"))?,
            }
        }
        Ok(options)
    }

    /// A listener that does not block, and the line that names its port.
    pub fn listen(&self) -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        println!("listening on {}", listener.local_addr()?);
        Ok(listener)
    }

    /// TLS as phpws has it, if a certificate is given: rustls with ring, versions 1.3 and 1.2.
    pub fn tls(&self) -> Result<Option<TlsAcceptor>, Box<dyn Error>> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}
