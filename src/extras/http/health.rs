//! `GET /health` and `GET /metrics`: how the server is, for hosts that may know.
//!
//! The core calls [`answer`] for requests that ask for no upgrade. Nothing here changes anything.
//! The PHP original has no counterpart.

use std::net::IpAddr;

use serde_json::json;

use crate::extras::cluster::Cluster;
use crate::extras::http::{self, Answer};
use crate::extras::metrics::{self, Census};
use crate::forwarded::Forwarded;
use crate::limits::Limits;
use crate::rfc6455::{Reason, Refusal, Request, Status};
use crate::server::Server;

/// The whole answer to a request for one of the two paths; `None` for any other. `peer` is at the other
/// end of the connection, `own` is the address it connected to.
pub(crate) fn answer(
    request: &Request,
    server: &Server,
    cluster: Option<&Cluster>,
    peer: IpAddr,
    own: IpAddr,
) -> Option<Result<Answer, Refusal>> {
    let page: fn(&Server, Option<&Cluster>) -> Answer = match request.path() {
        "/health" => health,
        "/metrics" => numbers,
        _ => return None,
    };
    Some(match () {
        _ if !is_from_allowed_host(request, server.limits(), peer, own) => {
            Err(Refusal::forbidden(Reason::Address, "Only allowed hosts may ask"))
        }
        _ if !http::is_get(request) && !http::is_head(request) => Err(Refusal::method_not_allowed()),
        _ => Ok(page(server, cluster)),
    })
}

/// Whether a request comes from a host that backends may come from. A request with `Origin` was made by
/// somebody's page, and one that was forwarded by a stranger may come from anywhere.
pub(crate) fn is_from_allowed_host(request: &Request, limits: &Limits, peer: IpAddr, own: IpAddr) -> bool {
    let forwarded = Forwarded::of(request);
    let from = forwarded.client(peer, limits);
    let known_way = from.named_by_proxy || !forwarded.is_there();
    known_way && request.header("origin").is_none() && limits.allows_backend(from.ip, own)
}

/// Whether the server takes clients.
pub(crate) fn status(server: &Server) -> &'static str {
    if server.stopping { "draining" } else { "ready" }
}

fn health(server: &Server, _: Option<&Cluster>) -> Answer {
    let body = json!({
        "status": status(server),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.now().saturating_duration_since(server.counters.started).as_secs(),
        "clients": Census::of(server).open(),
    });
    Answer::json(if server.stopping { Status::ServiceUnavailable } else { Status::Ok }, body.to_string())
}

fn numbers(server: &Server, cluster: Option<&Cluster>) -> Answer {
    Answer::new(Status::Ok, metrics::MEDIA_TYPE, metrics::text(server, cluster)).with("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn ask(server: &Server, path: &str) -> String {
        let request = Request::parse(format!("GET {path} HTTP/1.1\r\nHost: x").as_bytes()).unwrap();
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let answer = answer(&request, server, None, ip, ip).unwrap().unwrap();
        String::from_utf8(answer.bytes(http::Persistence::Close, true)).unwrap()
    }

    #[test]
    fn a_draining_server_says_so() {
        let mut server = Server::new(Limits::default(), Instant::now());
        assert!(ask(&server, "/health").starts_with("HTTP/1.1 200 OK\r\n"));
        server.stopping = true;
        let answer = ask(&server, "/health");
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && answer.contains(r#""status":"draining""#));
        assert!(ask(&server, "/metrics").contains("\nphpws_draining 1\n"));
    }

    #[test]
    fn a_page_of_somebody_and_a_strangers_proxy_are_not_a_host() {
        let limits = Limits { trusted_proxies: vec!["10.0.0.1/32".parse().unwrap()], ..Limits::default() };
        let limits = Limits { allowed_ip: vec!["192.0.2.7/32".parse().unwrap()], ..limits };
        for (peer, headers, allowed) in [
            ("127.0.0.1", "", true),
            ("127.0.0.1", "\r\nOrigin: http://x", false),
            ("127.0.0.1", "\r\nX-Forwarded-For: 127.0.0.1", false),
            ("10.0.0.1", "\r\nX-Forwarded-For: 192.0.2.7", true),
            ("10.0.0.1", "\r\nX-Forwarded-For: 192.0.2.8", false),
            ("10.0.0.1", "\r\nX-Forwarded-For: unknown", false),
            ("192.0.2.7", "", true),
            ("192.0.2.8", "", false),
        ] {
            let request = Request::parse(format!("GET /health HTTP/1.1\r\nHost: x{headers}").as_bytes()).unwrap();
            let own = "203.0.113.1".parse().unwrap();
            assert_eq!(is_from_allowed_host(&request, &limits, peer.parse().unwrap(), own), allowed, "{peer} {headers}");
        }
    }
}
