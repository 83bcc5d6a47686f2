//! `GET /health` and `GET /metrics`: how the server is, for hosts that may know.
//!
//! The exchange calls [`WebSocketServer::look`] for requests that ask for no upgrade.
//! The PHP original has no counterpart.

use serde_json::json;

use crate::extras::cluster::Cluster;
use crate::extras::http::{self, Answer};
use crate::extras::metrics::{self, Census};
use crate::forwarded::{ClientAddress, Way};
use crate::ids::SocketId;
use crate::own_host::{NotOurs, OwnHost, Warning};
use crate::rfc6455::{Reason, Refusal, Request, Status};
use crate::server::Server;
use crate::web_socket_server::WebSocketServer;

/// One of the two answers.
pub(crate) type Page = fn(&Server, Option<&Cluster>) -> Answer;

/// What answers a path; `None` for any other than the two.
pub(crate) fn find(path: &str) -> Option<Page> {
    match path {
        "/health" => Some(health),
        "/metrics" => Some(numbers),
        _ => None,
    }
}

impl WebSocketServer {
    /// The whole answer to a request for one of them.
    pub(crate) fn look(&mut self, id: SocketId, request: &Request, page: Page) -> Result<Answer, Refusal> {
        let from = self.came_from(id, request);
        if let Err(why) = may_look(&self.own_host(id), from, request) {
            self.warn(id, Warning::NotOurs(why), from.ip, request);
            return Err(Refusal::forbidden(Reason::Address, why.text("Only allowed hosts may ask")));
        }
        if !http::is_get(request) && !http::is_head(request) {
            return Err(Refusal::method_not_allowed());
        }
        Ok(page(&self.server, self.parts.cluster.as_deref()))
    }
}

/// Whether a request comes from the server's own host or an allowed one. One with `Origin` was made by somebody's page.
/// A proxy that speaks for itself may ask whether the server lives.
fn may_look(own_host: &OwnHost<'_>, from: ClientAddress, request: &Request) -> Result<(), NotOurs> {
    match request.header("origin") {
        Some(_) => Err(NotOurs::Page),
        None if from.way == Way::Probe && request.path() == "/health" => Ok(()),
        None => own_host.admits_request(from, request),
    }
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
    use crate::limits::Limits;

    fn ask(server: &Server, path: &str) -> String {
        let answer = find(path).unwrap()(server, None);
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
            ("127.0.0.1", "\r\nSec-Fetch-Site: cross-site", false),
            ("127.0.0.1", "\r\nSec-Fetch-Site: none", true),
            ("127.0.0.1", "\r\nOrigin: http://x", false),
            ("127.0.0.1", "\r\nX-Forwarded-For: 127.0.0.1", false),
            ("10.0.0.1", "\r\nX-Forwarded-For: 192.0.2.7", true),
            ("10.0.0.1", "\r\nX-Forwarded-For: 192.0.2.8", false),
            ("10.0.0.1", "\r\nX-Forwarded-For: unknown", false),
            ("192.0.2.7", "", true),
            ("192.0.2.8", "", false),
        ] {
            let request = Request::parse(format!("GET /health HTTP/1.1\r\nHost: x{headers}").as_bytes()).unwrap();
            assert_eq!(may(&limits, peer, Way::Direct, &request).is_ok(), allowed, "{peer} {headers}");
        }
    }

    fn may(limits: &Limits, peer: &str, way: Way, request: &Request) -> Result<(), NotOurs> {
        let own_host = OwnHost { own: "203.0.113.1".parse().unwrap(), limits, certified: &[] };
        let from = ClientAddress::of(request, ClientAddress { ip: peer.parse().unwrap(), way }, limits);
        may_look(&own_host, from, request)
    }

    #[test]
    fn a_proxy_may_ask_for_itself_whether_the_server_lives_and_nothing_else() {
        let limits = Limits::default();
        let asks = |path: &str, fields: &str| {
            let request = Request::parse(format!("GET {path} HTTP/1.1\r\nHost: ws.example.com{fields}").as_bytes()).unwrap();
            may(&limits, "127.0.0.1", Way::Probe, &request)
        };
        assert_eq!(asks("/health", ""), Ok(()));
        assert_eq!(asks("/metrics", ""), Err(NotOurs::Foreign));
        assert_eq!(asks("/health", "\r\nOrigin: http://x"), Err(NotOurs::Page));
        assert_eq!(asks("/health", "\r\nVia: x"), Err(NotOurs::Forwarded));
    }
}
