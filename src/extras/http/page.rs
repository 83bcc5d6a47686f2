//! The built-in page and its files, which the program carries within itself.
//!
//! It knows no request. The PHP original has no counterpart.

use super::Answer;
use crate::rfc6455::Status;

/// One embedded file.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 8] = [
    Asset { path: "/", content_type: HTML, body: include_str!("../../../clients/web/page/index.html") },
    Asset { path: "/page.css", content_type: STYLE, body: include_str!("../../../clients/web/page/page.css") },
    Asset { path: "/page.js", content_type: SCRIPT, body: include_str!("../../../clients/web/page/page.js") },
    Asset { path: "/socketWebClient.js", content_type: SCRIPT, body: include_str!("../../../clients/web/socketWebClient.js") },
    Asset { path: "/favicon.svg", content_type: "image/svg+xml", body: include_str!("../../../clients/web/page/favicon.svg") },
    Asset { path: "/status", content_type: HTML, body: include_str!("../../../clients/web/page/status.html") },
    Asset { path: "/status.css", content_type: STYLE, body: include_str!("../../../clients/web/page/status.css") },
    Asset { path: "/status.js", content_type: SCRIPT, body: include_str!("../../../clients/web/page/status.js") },
];

/// Scripts and styles only from the server itself, connections to it and to any WebSocket server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of a path.
pub(super) fn find(path: &str) -> Option<Answer> {
    ASSETS.iter().find(|asset| asset.path == path).map(Asset::answer)
}

impl Asset {
    fn answer(&self) -> Answer {
        let answer = Answer::new(Status::Ok, self.content_type, self.body);
        answer.with("Cache-Control", "no-cache").with("Content-Security-Policy", POLICY).with("Referrer-Policy", "no-referrer")
    }
}
