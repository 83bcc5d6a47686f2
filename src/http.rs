//! Plain HTTP on the server's port: the built-in page, and clear answers to everything else.
//!
//! The core calls [`answer`] for requests that ask for no upgrade, and knows nothing else of it. The
//! PHP original has no counterpart.

use crate::limits::Limits;
use crate::rfc6455::{Refusal, Request};

/// One embedded file.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const STYLE: &str = "text/css; charset=utf-8";

const ASSETS: [Asset; 8] = [
    Asset { path: "/", content_type: HTML, body: include_str!("../clients/web/page/index.html") },
    Asset { path: "/page.css", content_type: STYLE, body: include_str!("../clients/web/page/page.css") },
    Asset { path: "/page.js", content_type: SCRIPT, body: include_str!("../clients/web/page/page.js") },
    Asset { path: "/socketWebClient.js", content_type: SCRIPT, body: include_str!("../clients/web/socketWebClient.js") },
    Asset { path: "/status", content_type: HTML, body: include_str!("../clients/web/page/status.html") },
    Asset { path: "/status.css", content_type: STYLE, body: include_str!("../clients/web/page/status.css") },
    Asset { path: "/status.js", content_type: SCRIPT, body: include_str!("../clients/web/page/status.js") },
    Asset { path: "/favicon.svg", content_type: "image/svg+xml", body: include_str!("../clients/web/page/favicon.svg") },
];

/// Scripts and styles only from the server itself, connections to it and to any WebSocket server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The whole answer to a request without an upgrade; `is_resource` says whether its path is a
/// WebSocket resource. The connection ends with it.
pub(crate) fn answer(request: &Request, is_resource: bool, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let asset = ASSETS.iter().find(|asset| limits.page && asset.path == request.path());
    let (get, head) = (request.method().eq_ignore_ascii_case("GET"), request.method().eq_ignore_ascii_case("HEAD"));
    match asset {
        _ if !get && !head => Err(Refusal::method_not_allowed()),
        Some(asset) => Ok(asset.response(get)),
        None if is_resource => Err(Refusal::upgrade_required("This is a WebSocket resource: send Upgrade: websocket")),
        None => Err(Refusal::not_found("Nothing is registered under this path")),
    }
}

impl Asset {
    fn response(&self, with_body: bool) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-cache\r\n\
             Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n",
            self.content_type,
            self.body.len()
        );
        if with_body {
            response.push_str(self.body);
        }
        response.into_bytes()
    }
}
