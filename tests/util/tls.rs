//! A certificate pair in a directory of its own, and the rustls client that trusts it.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::{Phpws, Wire};

/// A self-signed pair for localhost; its directory ends with the value.
pub struct Pair {
    dir: PathBuf,
}

impl Pair {
    pub fn new(name: &str) -> Pair {
        let dir = std::env::temp_dir().join(format!("phpws-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pair = Pair { dir };
        pair.renew();
        pair
    }

    /// Writes a new pair.
    pub fn renew(&self) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.cert(), pair.cert.pem()).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
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

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
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

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        self.flush().unwrap();
    }

    fn set_patience(&mut self, patience: std::time::Duration) {
        self.sock.set_read_timeout(Some(patience)).unwrap();
    }
}
