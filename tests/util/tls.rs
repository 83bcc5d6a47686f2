//! A certificate pair in a directory of its own, and the rustls client that trusts it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::folder::Folder;
use super::{PATIENCE, Phpws, Wire};

/// A self-signed pair for localhost; its directory ends with the value.
pub struct Pair {
    folder: Folder,
}

impl Pair {
    pub fn new() -> Pair {
        let pair = Pair { folder: Folder::new() };
        pair.renew();
        pair
    }

    /// Writes a new pair.
    pub fn renew(&self) {
        let pair =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "ws.shop.example".to_owned(), "127.0.0.1".to_owned()])
                .unwrap();
        std::fs::write(self.cert(), pair.cert.pem()).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
    }

    pub fn cert(&self) -> PathBuf {
        self.folder.file("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.file("key.pem")
    }

    /// The arguments that name the files.
    pub fn args(&self) -> [String; 4] {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        ["--cert".into(), path(self.cert()), "--key".into(), path(self.key())]
    }

    pub fn server(&self, args: &[&str]) -> Phpws {
        let files = self.args();
        let files = files.iter().map(String::as_str);
        Phpws::start_on("wss://127.0.0.1:0", &files.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    pub fn client_config(&self) -> Arc<ClientConfig> {
        client_config(&self.cert(), rustls::ALL_VERSIONS)
    }
}

/// What a client needs that trusts `cert` alone.
pub fn client_config(cert: &Path, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// The client's end of a TLS connection.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and speaks TLS from the first write on.
pub fn connect(server: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
    over(TcpStream::connect(server).unwrap(), config)
}

/// The same on a connection that is there.
pub fn over(tcp: TcpStream, config: &Arc<ClientConfig>) -> Secure {
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection(config), tcp)
}

impl Wire for Secure {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        self.flush().unwrap();
    }

    fn set_patience(&mut self, patience: std::time::Duration) {
        self.sock.set_read_timeout(Some(patience)).unwrap();
    }
}
