//! Where the server is: `ws://host:port/path`, `wss://…`, or `tcp://host:port` for raw bytes.

use std::net::{SocketAddr, ToSocketAddrs};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Ws,
    Wss,
    Tcp,
}

pub struct Url {
    pub text: String,
    pub scheme: Scheme,
    /// Host and port as in the `Host` header.
    pub authority: String,
    pub host: String,
    pub path: String,
    pub addr: SocketAddr,
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, String> {
        let wrong = || format!("{text}: the URL must be ws://host:port/path, wss://host:port/path or tcp://host:port");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (scheme, port) = match scheme {
            "ws" => (Scheme::Ws, 80),
            "wss" => (Scheme::Wss, 443),
            "tcp" => (Scheme::Tcp, 80),
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, digits)) => (host, digits.parse().map_err(|_| wrong())?),
            None => (authority, port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut found = (host, port).to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
        let addr = found.next().ok_or_else(wrong)?;
        let (authority, path, host) = (authority.to_owned(), path.to_owned(), host.to_owned());
        Ok(Url { text: text.to_owned(), scheme, authority, host, path, addr })
    }
}
