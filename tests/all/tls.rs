//! wss: handshake, slow handshakes, reload, records for PHP.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::util::tls::{self, Pair};
use crate::util::{Client, NEXT, Phpws, request};

/// A browser that trusts this certificate.
fn connect(server: &Phpws, cert: &Path) -> io::Result<Client> {
    let mut stream = tls::connect(server.addr, &tls::client_config(cert, rustls::ALL_VERSIONS));
    stream.write_all(request("/web", "").as_bytes())?;
    let mut client = Client::over(stream);
    client.head();
    assert!(client.text().contains("ready"));
    Ok(client)
}

#[test]
fn the_dialog_works_over_tls_1_2_and_1_3() {
    let files = Pair::new();
    let server = files.server(&[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = tls::connect(server.addr, &tls::client_config(&files.cert(), &[version]));
        stream.write_all(request("/web", "").as_bytes()).unwrap();
        let mut client = Client::over(stream);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        assert!(client.text().contains("ready"));
        let packet = format!(r#"{{"opcode":"echo","m":"{}"}}"#, "x".repeat(3_000_000));
        client.say(&packet);
        assert_eq!(client.text(), packet);
        client.say(r#"{"opcode":"quit"}"#);
        // A clean end: close frame, close_notify, end of stream. Anything else is an error here.
        client.closed_with(1000);
    }
    server.log_line("using SSL");
}

#[test]
fn the_end_is_announced_with_close_notify() {
    let files = Pair::new();
    let server = files.server(&[]);
    let mut stream = tls::connect(server.addr, &files.client_config());
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    // `read_to_string` fails with UnexpectedEof where close_notify is missing.
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_php_client_gets_one_record_for_each_of_its_reads() {
    let files = Pair::new();
    let server = files.server(&[]);
    for _ in 0..20 {
        let mut stream = tls::connect(server.addr, &files.client_config());
        stream.write_all(request("/php", "Client-Type: php\r\n").as_bytes()).unwrap();
        let mut buffer = [0; 8192];
        for _ in 0..2 {
            // rustls gives what one record held, as OpenSSL does for PHP.
            let mut count = 0;
            while count < 1024 {
                count += stream.read(&mut buffer[count..1024]).unwrap();
            }
            assert_eq!(count, 1024);
        }
    }
}

#[test]
fn a_slow_tls_handshake_is_dropped_and_disturbs_nobody() {
    let files = Pair::new();
    let server = files.server(&["--handshake-timeout", "1.5"]);
    let mut stalled = server.connect();
    stalled.send(&[0x16, 0x03, 0x01]);
    let mut client = connect(&server, &files.cert()).unwrap();
    client.say("{}");
    // At most an alert comes before the end: no HTTP answer can be sent inside a TLS handshake.
    let rest = stalled.rest();
    assert!(rest.is_empty() || rest.starts_with(&[21, 3]), "{rest:?}");
    server.log_line("TLS handshake timeout");
}

#[test]
fn plain_bytes_on_a_tls_port_end_that_connection_only() {
    let files = Pair::new();
    let server = files.server(&[]);
    let mut plain = server.connect();
    plain.send(request("/web", "").as_bytes());
    let answer = plain.rest();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    connect(&server, &files.cert()).unwrap().say("{}");
}

#[test]
fn sighup_changes_the_certificate_and_drops_nobody() {
    let files = Pair::new();
    let server = files.server(&[]);
    let mut before = connect(&server, &files.cert()).unwrap();
    let old = files.cert().with_file_name("old.pem");
    std::fs::copy(files.cert(), &old).unwrap();

    std::fs::write(files.key(), "broken").unwrap();
    server.signal("HUP");
    server.log_line("Certificate not reloaded, the old one stays: --key ");
    connect(&server, &old).unwrap().say("{}");

    files.renew();
    server.signal("HUP");
    server.log_line("Certificate reloaded");
    connect(&server, &files.cert()).unwrap().say("{}");
    assert!(connect(&server, &old).is_err(), "the old certificate is gone");
    before.say("{}");
}

#[test]
fn a_raw_client_may_come_over_tls_too() {
    let files = Pair::new();
    let server = files.server(&[]);
    let mut stream = tls::connect(server.addr, &files.client_config());
    stream.write_all(b"php process\nGET /php HTTP/1.1\n").unwrap();
    let mut buffer = [0; 256];
    let count = stream.read(&mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"{\"opcode\":\"ready\""));
    stream.write_all(b"{}").unwrap();
    let count = stream.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], NEXT.as_bytes());
}

#[test]
fn a_proxy_header_comes_before_tls() {
    let files = Pair::new();
    let server = files.server(&["--proxy-protocol", "--trusted-proxy", "127.0.0.9"]);
    let mut tcp = server.connect_from([127, 0, 0, 9]);
    tcp.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 443\r\n").unwrap();
    let mut stream = tls::over(tcp, &files.client_config());
    stream.write_all(request("/web", "").as_bytes()).unwrap();
    let mut client = Client::over(stream);
    client.head();
    assert!(client.text().contains("ready"));
    server.log_line("Proxied client 203.0.113.7:5000 on socket #1");
}
