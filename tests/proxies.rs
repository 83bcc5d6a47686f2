//! The configurations of docs/deployment.md in front of a running server: `make proxies`. Names, ports, files
//! and times are replaced, all else is what the page says.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use util::folder::Folder;
use util::sockets::free_port;
use util::tls::{self, Pair};
use util::{Client, PATIENCE, Phpws, json, masked, request, wait_for};

/// The only block of that kind on the page.
fn snippet(kind: &str) -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deployment.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind} block"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// Replaces what stands there, and fails if it does not.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the page does not say {from} any more:\n{text}");
        text.replace(from, to)
    })
}

/// A proxy in a folder of its own, with a certificate; it ends with the value.
struct Proxy {
    child: Option<Child>,
    folder: Folder,
    pair: Pair,
    port: u16,
}

impl Proxy {
    fn new() -> Proxy {
        Proxy { child: None, folder: Folder::new(), pair: Pair::new(), port: free_port() }
    }

    /// The page's configuration with this proxy's certificate and that server.
    fn site(&self, kind: &str, server: &Phpws, pairs: &[(&str, &str)]) -> String {
        let address = server.addr.to_string();
        let site = replaced(&snippet(kind), pairs);
        replaced(&site, &[("127.0.0.1:8095", &address)])
            .replace("/etc/letsencrypt/live/example.org/fullchain.pem", &self.pair.args()[1])
            .replace("/etc/letsencrypt/live/example.org/privkey.pem", &self.pair.args()[3])
    }

    fn start(&mut self, package: &str, config: &str, command: &[&str]) {
        std::fs::write(self.folder.file("config"), config).unwrap();
        let output =
            || Stdio::from(std::fs::OpenOptions::new().append(true).create(true).open(self.folder.file("output")).unwrap());
        let child = Command::new(command[0])
            .args(&command[1..])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .stdout(output())
            .stderr(output())
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}; apt-get install {package}", command[0])));
        wait_for(&format!("{} on port {}", command[0], self.port), || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("{} ended, {status}: {}", command[0], std::fs::read_to_string(self.folder.file("output")).unwrap());
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    fn start_nginx(&mut self, package: &str, module: &str, rest: &str) {
        let config = format!("{module}\ndaemon off; pid pid; error_log error.log;\nevents {{}}\n{rest}\n");
        let dir = format!("{}/", self.folder.path().display());
        self.start(package, &config, &["/usr/sbin/nginx", "-p", &dir, "-c", "config", "-e", "error.log"]);
    }

    /// Connects over TLS from an address of the loopback range that is no proxy's.
    fn connect_from(&self, ip: [u8; 4]) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], self.port)).into()).unwrap();
        Client::over(tls::over(TcpStream::from(socket), &self.pair.client_config()))
    }

    /// A request through the proxy and the head of its answer.
    fn ask(&self, ip: [u8; 4], path: &str, headers: &str) -> (Client, String) {
        let mut client = self.connect_from(ip);
        client.send(request(path, headers).replace("Host: x", "Host: localhost").as_bytes());
        let head = client.head();
        (client, head)
    }

    /// A client past the 101.
    fn upgrade(&self, ip: [u8; 4], path: &str, headers: &str) -> Client {
        let (client, head) = self.ask(ip, path, headers);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Apache and nginx end their workers on SIGTERM only.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

const ANN: [u8; 4] = [127, 0, 0, 11];
const BOB: [u8; 4] = [127, 0, 0, 12];
const EVE: [u8; 4] = [127, 0, 0, 13];

fn server_behind_a_proxy(further: &[&str]) -> Phpws {
    Phpws::start(&[&["--trusted-proxy", "127.0.0.1", "--max-per-ip", "1", "--ping-interval", "1"], further].concat())
}

/// What must hold through any of them; the proxy cuts off who is silent for two seconds.
fn speaks_through(proxy: &Proxy, server: &Phpws, path: &str) {
    let mut ann = proxy.upgrade(ANN, path, "");
    let uuid = json(&ann.text(), "uuid");
    let mut bob = proxy.upgrade(BOB, path, "");
    assert_eq!(json(&bob.text(), "opcode"), "ready");
    converse(&mut ann, &mut bob, &uuid);
    // The server sees two addresses with one client each.
    let mut second = proxy.upgrade(BOB, path, "");
    let refusal = second.text();
    assert!(refusal.contains("To many connections") && refusal.contains("127.0.0.12"), "{refusal}");
    quiet_clients_stay(&mut ann, &mut bob);
    assert!(!server.log().iter().any(|line| line.contains("timed out")));
}

fn converse(ann: &mut Client, bob: &mut Client, uuid: &str) {
    let packet = r#"{"opcode":"broadcast","message":"to all"}"#;
    bob.send_text(packet);
    assert!(message(bob).contains(r#""opcode":"next""#));
    assert_eq!(message(ann), packet);
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"{}"}}"#, "ü".repeat(50_000));
    bob.send_text(&packet);
    assert!(message(bob).contains(r#""opcode":"next""#));
    assert_eq!(message(ann), packet);
}

/// The next message; pings on the way are answered.
fn message(client: &mut Client) -> String {
    loop {
        let frame = client.frame().expect("a frame before the end");
        match frame.opcode {
            9 => client.send(&masked(true, 10, &frame.payload)),
            _ => return frame.text().to_owned(),
        }
    }
}

/// For longer than the proxy's timeout there are pings and pongs only.
fn quiet_clients_stay(ann: &mut Client, bob: &mut Client) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        for client in [&mut *ann, &mut *bob] {
            let frame = client.frame().expect("a ping before the end");
            assert_eq!(frame.opcode, 9, "{frame:?}");
            client.send(&masked(true, 10, &frame.payload));
        }
    }
    bob.send_text(r#"{"opcode":"broadcast","message":"still here"}"#);
    assert_eq!(message(ann), r#"{"opcode":"broadcast","message":"still here"}"#);
}

/// A stranger is nobody else, whatever headers say, and reaches nothing but the one path.
fn forges_nothing_through(proxy: &Proxy, server: &Phpws) {
    let forged = "Client-Type: php\r\nIdent: importer\r\nX-Forwarded-For: 127.0.0.1\r\n";
    let mut eve = proxy.upgrade(EVE, "/ws/web", forged);
    assert_eq!(json(&eve.text(), "opcode"), "ready");
    server.log_line("ClientType: websocket");
    assert!(!server.log().iter().any(|line| line.contains("ClientType: php")));
    let (mut script, _) = server.ready_on("/php", "Client-Type: php\r\n");
    script.say(r#"{"opcode":"feedback","ident":"importer","message":"secret"}"#);
    server.log_line("No client for feedback: uuid '' ident 'importer'");
    let mut second = proxy.upgrade(EVE, "/ws/web", "X-Forwarded-For: 127.0.0.77\r\n");
    let refusal = second.text();
    assert!(refusal.contains("To many connections") && refusal.contains("127.0.0.13"), "{refusal}");
    for path in ["/ws/php", "/ws/", "/ws/web/", "/web", "/php"] {
        let (mut client, head) = proxy.ask(ANN, path, "");
        // Apache passes on what lies below the path, which is no resource.
        let refused = !head.starts_with("HTTP/1.1 101 ") || client.text() == r#"{"opcode":"close"}"#;
        assert!(refused, "{path}: {head}");
    }
}

/// What the timeout above is worth: without pings the proxy ends a quiet connection.
fn without_pings_ends(proxy: &Proxy) {
    let mut quiet = proxy.upgrade(ANN, "/ws/web", "");
    assert_eq!(json(&quiet.text(), "opcode"), "ready");
    let start = Instant::now();
    quiet.rest();
    let time = start.elapsed();
    assert!(time > Duration::from_secs(1) && time < PATIENCE, "{time:?}");
}

// ---- nginx

fn nginx(server: &Phpws) -> Proxy {
    let mut proxy = Proxy::new();
    let pairs = [
        ("listen 443 ssl", format!("listen 127.0.0.1:{} ssl", proxy.port)),
        ("server_name example.org", "server_name localhost".into()),
        ("proxy_read_timeout 75s", "proxy_read_timeout 2s".into()),
    ];
    let site = proxy.site("nginx", server, &pairs.each_ref().map(|(from, to)| (*from, to.as_str())));
    proxy.start_nginx("nginx", "", &format!("http {{ access_log off; {}\n{site} }}", temporary_folders()));
    proxy
}

fn temporary_folders() -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|name| format!("{name}_temp_path {name};\n")).collect()
}

#[test]
fn nginx_passes_the_dialog_on() {
    let server = server_behind_a_proxy(&[]);
    speaks_through(&nginx(&server), &server, "/ws/web");
}

#[test]
fn nginx_lets_nobody_pass_for_somebody_else() {
    let server = server_behind_a_proxy(&[]);
    forges_nothing_through(&nginx(&server), &server);
}

#[test]
fn nginx_ends_a_quiet_connection_without_pings() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.1", "--ping-interval", "0"]);
    without_pings_ends(&nginx(&server));
}

#[test]
fn nginx_names_clients_by_the_proxy_protocol() {
    let mut proxy = Proxy::new();
    let options = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol", "--max-per-ip", "1", "--ping-interval", "1"];
    let server = proxy.pair.server(&options);
    let listen = format!("listen 127.0.0.1:{};", proxy.port);
    let config = proxy.site("nginx-stream", &server, &[("listen 8443;", &listen), ("timeout 75s", "timeout 2s")]);
    proxy.start_nginx("libnginx-mod-stream", "load_module /usr/lib/nginx/modules/ngx_stream_module.so;", &config);
    speaks_through(&proxy, &server, "/web");
}

// ---- Apache

fn apache(server: &Phpws) -> Proxy {
    let mut proxy = Proxy::new();
    let host = format!("<VirtualHost 127.0.0.1:{}>", proxy.port);
    let pairs =
        [("<VirtualHost *:443>", host.as_str()), ("ServerName example.org", "ServerName localhost"), ("timeout=75", "timeout=2")];
    let site = proxy.site("apache", server, &pairs);
    let modules = ["mpm_event", "authz_core", "ssl", "socache_shmcb", "headers", "proxy", "proxy_http"];
    let load = |name: &&str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let modules: String = modules.iter().map(load).collect();
    let dir = proxy.folder.path().display().to_string();
    // It takes the longer one of its own timeout and the proxy's.
    let main = format!(
        "ServerRoot {dir}\nServerName localhost\nDefaultRuntimeDir {dir}\nPidFile {dir}/pid\nErrorLog {dir}/error.log\n\
         {modules}User nobody\nGroup nogroup\nDocumentRoot {dir}\nListen 127.0.0.1:{}\nTimeout 2\n{site}",
        proxy.port
    );
    proxy.start("apache2", &main, &["/usr/sbin/apache2", "-f", &format!("{dir}/config"), "-DFOREGROUND"]);
    proxy
}

#[test]
fn apache_passes_the_dialog_on() {
    let server = server_behind_a_proxy(&[]);
    speaks_through(&apache(&server), &server, "/ws/web");
}

#[test]
fn apache_lets_nobody_pass_for_somebody_else() {
    let server = server_behind_a_proxy(&[]);
    forges_nothing_through(&apache(&server), &server);
}

#[test]
fn apache_ends_a_quiet_connection_without_pings() {
    let server = Phpws::start(&["--trusted-proxy", "127.0.0.1", "--ping-interval", "0"]);
    without_pings_ends(&apache(&server));
}

// ---- Caddy

fn caddy(server: &Phpws) -> Proxy {
    let mut proxy = Proxy::new();
    let [_, cert, _, key] = proxy.pair.args();
    let name = format!("https://localhost:{} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}", proxy.port);
    let site = proxy.site("caddy", server, &[("example.org {", &name)]);
    let config = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}");
    proxy.start("caddy", &config, &["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", "config"]);
    proxy
}

#[test]
fn caddy_passes_the_dialog_on() {
    let server = server_behind_a_proxy(&[]);
    speaks_through(&caddy(&server), &server, "/ws/web");
}

#[test]
fn caddy_lets_nobody_pass_for_somebody_else() {
    let server = server_behind_a_proxy(&[]);
    forges_nothing_through(&caddy(&server), &server);
}
