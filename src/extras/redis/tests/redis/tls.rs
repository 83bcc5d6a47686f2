//! The same over TLS, with authorities that are made up here.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::*;

/// An authority of our own with certificates for the server and for us, in a folder.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("phpws-redis-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("ca.pem", ca.pem());
        for (name, usage) in [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)] {
            let mut params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &ca).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Authority { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A server whose plain port is closed; its TLS port takes its place.
    fn redis(&self, auth_clients: &str) -> Redis {
        let port = free_port();
        let (cert, key, ca) = (self.file("server.pem"), self.file("server.key"), self.file("ca.pem"));
        let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let rest = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", auth_clients];
        Redis::start_on(port, &[files.as_slice(), &rest].concat())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn tls_with_an_authority_of_our_own() {
    let ours = Authority::new("own");
    let redis = ours.redis("no");
    let host = format!("127.0.0.1:{}", redis.port);
    let mut this = Loop::up(&format!("rediss://{host}/1?ca={}", ours.file("ca.pem")));
    let value = "x".repeat(16 * 1024 * 1024);
    assert_eq!(this.ask(&["SET", "large", &value]), ok());
    assert_eq!(this.ask(&["GET", "large"]), text(&value));
    let tags: Vec<u64> = (0..10_000).map(|_| this.link.send(&[b"INCR", b"n"]).unwrap()).collect();
    for (n, tag) in (1..).zip(tags) {
        assert_eq!(this.event(), LinkEvent::Reply { tag, reply: Reply::Int(n) });
    }
    let stranger = Authority::new("stranger");
    let why = Loop::new(&format!("rediss://{host}?ca={}", stranger.file("ca.pem"))).down();
    assert!(why.contains("?ca=FILE"), "{why}");
    let why = Loop::new(&format!("redis://:hunter2@{host}")).down();
    assert!(why.contains("rediss://") && !why.contains("hunter2"), "{why}");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn tls_where_redis_asks_for_a_certificate() {
    let ours = Authority::new("both");
    let redis = ours.redis("yes");
    let url = format!("rediss://localhost:{}?ca={}", redis.port, ours.file("ca.pem"));
    let with_own = format!("{url}&cert={}&key={}", ours.file("client.pem"), ours.file("client.key"));
    assert_eq!(Loop::up(&with_own).ask(&["PING"]), Reply::Status("PONG".into()));
    let why = Loop::new(&url).down();
    assert!(why.contains("cert=FILE"), "{why}");
}

#[test]
#[ignore = "needs redis-server: make cluster-tests"]
fn tls_where_there_is_none() {
    let ours = Authority::new("none");
    let redis = Redis::start(&[]);
    let why = Loop::new(&format!("rediss://127.0.0.1:{}?ca={}", redis.port, ours.file("ca.pem"))).down();
    assert!(why.contains("write redis://"), "{why}");
}
