//! The address of a client behind a proxy: the one reading of `X-Forwarded-For`.
//!
//! Everybody can write that header, so what it says counts only as far as trusted proxies wrote it. PHP
//! counterpart: `getRealClientIP`, which believes everybody.

use std::net::IpAddr;

use crate::limits::Limits;
use crate::rfc6455::Request;
use crate::rfc6455::handshake::trim;

/// The entries of `X-Forwarded-For`, the oldest first.
pub(crate) struct Forwarded<'a> {
    hops: Vec<&'a str>,
}

/// The address that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// The client's address: the peer's own, or behind trusted proxies the one that they name.
    pub(crate) ip: IpAddr,
    /// Whether the peer is a trusted proxy and names the client.
    pub(crate) named_by_proxy: bool,
}

impl<'a> Forwarded<'a> {
    /// What the request says, in one field or several.
    pub(crate) fn of(request: &'a Request) -> Forwarded<'a> {
        Forwarded { hops: request.values("x-forwarded-for").flat_map(|value| value.split(',')).collect() }
    }

    /// The address that a request of `peer` comes from.
    pub(crate) fn client(&self, peer: IpAddr, limits: &Limits) -> ClientAddress {
        let ip = limits.real_client_ip(peer, self.hops.iter().copied());
        ClientAddress { ip, named_by_proxy: self.is_there() && limits.trusts_proxy(peer) }
    }

    /// Whether anybody, trusted or not, says that he forwarded the request.
    pub(crate) fn is_there(&self) -> bool {
        !self.hops.is_empty()
    }

    /// Whether this address is one of the entries.
    pub(crate) fn names(&self, ip: IpAddr) -> bool {
        let ip = ip.to_string();
        self.hops.iter().any(|hop| trim(hop) == ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_writes_changes_nothing() {
        let limits = Limits { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Limits::default() };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (fields, peer, client, named_by_proxy) in [
            ("", "192.0.2.1", "192.0.2.1", false),
            ("", "10.0.0.1", "10.0.0.1", false),
            ("\r\nX-Forwarded-For: 127.0.0.1", "192.0.2.1", "192.0.2.1", false),
            ("\r\nX-Forwarded-For: 192.0.2.7", "10.0.0.1", "192.0.2.7", true),
            ("\r\nX-Forwarded-For: ::1, 192.0.2.7\r\nx-forwarded-for: 10.0.0.2", "10.0.0.1", "192.0.2.7", true),
            ("\r\nX-Forwarded-For:", "10.0.0.1", "0.0.0.0", true),
        ] {
            let request = Request::parse(format!("GET / HTTP/1.1{fields}").as_bytes()).unwrap();
            let forwarded = Forwarded::of(&request);
            assert_eq!(forwarded.client(ip(peer), &limits), ClientAddress { ip: ip(client), named_by_proxy }, "{peer} {fields}");
            assert_eq!(forwarded.is_there(), !fields.is_empty());
            assert_eq!(forwarded.names(ip("192.0.2.7")), fields.contains("192.0.2.7"), "{fields}");
        }
    }
}
