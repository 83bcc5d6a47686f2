//! Peers that lie about who they are.

use crate::util::lab::{self, Lab};
use crate::util::{Client, request};

#[test]
fn a_stranger_is_no_backend_whatever_it_says_of_its_address() {
    let forged = "Client-Type: php\r\nX-Forwarded-For: ::1, 203.0.113.5\r\n";
    let answer = |lab: &Lab, headers: &str| {
        let mut client = Client::over(lab::connect_from([127, 0, 0, 9], lab.addr));
        client.send(request("/php", headers).as_bytes());
        client.head()
    };
    let lab = Lab::start(&["--trusted-proxy", "127.0.0.9"]);
    assert!(answer(&lab, forged).starts_with("HTTP/1.1 403 "));
    assert!(answer(&lab, "Client-Type: php\r\nX-Forwarded-For: 203.0.113.5\r\n").starts_with("HTTP/1.1 403 "));
    // In two fields, as proxies also write it, and with the stranger's own line first.
    let two = "Client-Type: php\r\nX-Forwarded-For: ::1\r\nX-Forwarded-For: 203.0.113.5\r\n";
    assert!(answer(&lab, two).starts_with("HTTP/1.1 403 "));
    lab.wait_for_log("No connection allowed from: 203.0.113.5", 3);
    // Where no proxy is trusted, what somebody passed on is of no host of ours; the range of 127 itself is the server's own.
    let lab = Lab::start(&[]);
    assert!(answer(&lab, forged).starts_with("HTTP/1.1 403 "));
    assert!(answer(&lab, "Client-Type: php\r\n").starts_with("HTTP/1.1 101 "));
    println!("forged addresses: refused, behind a trusted proxy and without one");
}
