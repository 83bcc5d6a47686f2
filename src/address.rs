//! Where to listen, written as PHP users write it.
//!
//! PHP counterpart: `isSecure` and `extractIPort`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::error::InvalidValue;

/// `[ws://|tcp://|wss://|ssl://]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether connections are TLS: `wss` and `ssl`.
    pub secure: bool,
    /// A host name or an IP address, the latter without brackets.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl Default for Address {
    fn default() -> Address {
        Address { secure: false, host: "127.0.0.1".into(), port: DEFAULT_PORT }
    }
}

const DEFAULT_PORT: u16 = 8095;

impl Address {
    /// Reads an address. Without a port it is PHP's 80 or 443 after a scheme, else 8095.
    #[doc(alias = "isSecure")]
    #[doc(alias = "extractIP")]
    #[doc(alias = "extractIPort")]
    pub fn parse(text: &str) -> Result<Address, InvalidValue> {
        let (secure, rest, default_port) = match text.split_once("://") {
            None => (false, text, DEFAULT_PORT),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "ws" | "tcp" => (false, rest, 80),
                "wss" | "ssl" => (true, rest, 443),
                _ => return Err(format!("unknown scheme '{scheme}', use ws, wss, tcp or ssl").into()),
            },
        };
        let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest))?;
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(format!("'{text}' is not [ws://|wss://]HOST[:PORT]").into());
        }
        let port = port.map_or(Ok(default_port), parse_port)?;
        Ok(Address { secure, host: host.to_owned(), port })
    }

    /// Whether only this host reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// The socket address to bind: the first IPv4 one of a name, as PHP takes it, else the first.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        first.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address for this name"))
    }
}

/// A port number.
pub fn parse_port(text: &str) -> Result<u16, InvalidValue> {
    text.parse().map_err(|_| format!("'{text}' is not a port, use a number from 0 to 65535").into())
}

/// Whether `text` names a port of its own.
pub fn has_port(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    split_port(rest.strip_suffix('/').unwrap_or(rest)).is_ok_and(|(_, port)| port.is_some())
}

/// A host without brackets, and its port as it is written.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<&str>), InvalidValue> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| format!("'{text}' lacks its ]"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(format!("'{rest}' after ] is not a port").into()),
        };
    }
    match text.split_once(':') {
        // More than one colon without brackets is an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') && text.parse::<Ipv6Addr>().is_ok() => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Err(format!("'{text}' is neither HOST:PORT nor an IPv6 address").into()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_php_reads_them() {
        for (text, secure, host, port) in [
            ("127.0.0.1", false, "127.0.0.1", 8095),
            ("localhost:9000", false, "localhost", 9000),
            ("ws://localhost:8095", false, "localhost", 8095),
            ("tcp://example.org", false, "example.org", 80),
            ("wss://example.org", true, "example.org", 443),
            ("SSL://example.org:8443/", true, "example.org", 8443),
            ("ws://[::1]:8095", false, "::1", 8095),
            ("::1", false, "::1", 8095),
            ("ws://[::]", false, "::", 80),
        ] {
            assert_eq!(Address::parse(text), Ok(Address { secure, host: host.into(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for text in
            ["", "ws://", "http://host", "host:port", "host:70000", "[::1", "[::1]x", "ws://host:80/web", "a b", "127.0.0.1:1:2"]
        {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_is_seen_where_it_is() {
        assert!(has_port("ws://localhost:1") && has_port("[::1]:1") && has_port("a:1"));
        assert!(!has_port("ws://localhost") && !has_port("[::1]") && !has_port("::1"));
    }
}
