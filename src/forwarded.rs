//! The address of a client behind a proxy: the one reading of what forwarders write into a request.
//!
//! Everybody can write these headers, so what `X-Forwarded-For` says counts only as far as trusted proxies wrote
//! it. That somebody forwarded the request at all counts in any case. PHP counterpart: `getRealClientIP`, which
//! believes everybody.

use std::net::{IpAddr, Ipv4Addr};

use crate::limits::Limits;
use crate::rfc6455::Request;
use crate::rfc6455::handshake::trim;

/// PHP's address of a client whose address is not known.
pub(crate) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What forwarders write beside the headers that begin with `X-Forwarded-`.
const OTHERS: [&str; 6] = ["forwarded", "via", "x-real-ip", "x-client-ip", "cf-connecting-ip", "true-client-ip"];

/// The address that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// The client's address: the peer's own, or behind trusted proxies the one that they name.
    pub(crate) ip: IpAddr,
    pub(crate) way: Way,
}

/// How a request came from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the client's own connection, as far as it says.
    Direct,
    /// Through a trusted proxy, which names the client.
    Named,
    /// Through somebody who is no trusted proxy, or through one that does not name the client.
    Unnamed,
    /// A trusted proxy speaks for itself, to see whether the server lives.
    Probe,
}

impl ClientAddress {
    /// The address that a request of `peer` comes from.
    pub(crate) fn of(request: &Request, peer: ClientAddress, limits: &Limits) -> ClientAddress {
        let names = |name: &str| {
            let is = |other: &&str| other.eq_ignore_ascii_case(name);
            name.get(..12).is_some_and(|begin| begin.eq_ignore_ascii_case("x-forwarded-")) || OTHERS.iter().any(is)
        };
        if !request.headers().any(|(name, _)| names(name)) {
            return peer;
        }
        let hops: Vec<&str> = request.values("x-forwarded-for").flat_map(|value| value.split(',')).collect();
        if hops.is_empty() || !limits.trusts_proxy(peer.ip) {
            return ClientAddress { way: Way::Unnamed, ..peer };
        }
        ClientAddress { ip: real_client_ip(peer.ip, &hops, limits), way: Way::Named }
    }
}

/// The address that counts as the client's: the last one in `X-Forwarded-For` that is not a trusted proxy's.
#[doc(alias = "getRealClientIP")]
fn real_client_ip(peer: IpAddr, hops: &[&str], limits: &Limits) -> IpAddr {
    let mut ip = peer;
    for hop in hops.iter().rev() {
        if !limits.trusts_proxy(ip) {
            break;
        }
        // Words that are no address must not make a stranger of the proxy's own host.
        ip = parse_hop(hop).unwrap_or(UNKNOWN);
    }
    ip
}

/// One entry of `X-Forwarded-For`: an address, perhaps with a port, perhaps in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = trim(hop);
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|addr| addr.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(fields: &str, peer: &str, way: Way) -> (String, Way) {
        let limits = Limits { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Limits::default() };
        let request = Request::parse(format!("GET / HTTP/1.1{fields}").as_bytes()).unwrap();
        let from = ClientAddress::of(&request, ClientAddress { ip: peer.parse().unwrap(), way }, &limits);
        (from.ip.to_string(), from.way)
    }

    #[test]
    fn what_a_stranger_writes_changes_no_address() {
        for (fields, peer, client, way) in [
            ("", "192.0.2.1", "192.0.2.1", Way::Direct),
            ("", "10.0.0.1", "10.0.0.1", Way::Direct),
            ("\r\nX-Forwarded-For: 127.0.0.1", "192.0.2.1", "192.0.2.1", Way::Unnamed),
            ("\r\nX-Forwarded-For: 192.0.2.7", "10.0.0.1", "192.0.2.7", Way::Named),
            ("\r\nX-Forwarded-For: ::1, 192.0.2.7\r\nx-forwarded-for: 10.0.0.2", "10.0.0.1", "192.0.2.7", Way::Named),
            ("\r\nX-Forwarded-For:", "10.0.0.1", "0.0.0.0", Way::Named),
        ] {
            assert_eq!(from(fields, peer, Way::Direct), (client.to_owned(), way), "{peer} {fields}");
        }
        assert_eq!(from("", "192.0.2.7", Way::Named), ("192.0.2.7".to_owned(), Way::Named));
        assert_eq!(from("\r\nX-Forwarded-For: ::1", "192.0.2.7", Way::Named), ("192.0.2.7".to_owned(), Way::Unnamed));
    }

    #[test]
    fn each_header_of_a_forwarder_is_seen() {
        for name in ["X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "Via"] {
            assert_eq!(from(&format!("\r\n{name}: x"), "192.0.2.1", Way::Direct).1, Way::Unnamed, "{name}");
        }
        for name in ["X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "x-client-ip"] {
            assert_eq!(
                from(&format!("\r\n{name}: ::1"), "10.0.0.1", Way::Direct),
                ("10.0.0.1".to_owned(), Way::Unnamed),
                "{name}"
            );
        }
        for name in ["X-Forwarder", "Viable", "X-Forwarded"] {
            assert_eq!(from(&format!("\r\n{name}: x"), "192.0.2.1", Way::Direct).1, Way::Direct, "{name}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let real_ip = |peer, hops: &str| from(&format!("\r\nX-Forwarded-For: {hops}"), peer, Way::Direct).0;
        assert_eq!(real_ip("192.0.2.1", "127.0.0.1"), "192.0.2.1");
        assert_eq!(real_ip("10.0.0.1", "192.0.2.7, 10.0.0.2"), "192.0.2.7");
        assert_eq!(real_ip("10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(real_ip("10.0.0.1", "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(real_ip("10.0.0.1", "::ffff:192.0.2.7"), "192.0.2.7");
        for no_address in ["unknown", "192.0.2.7, unknown", "", "\u{a0}192.0.2.7", "[[::1]]"] {
            assert_eq!(real_ip("10.0.0.1", no_address), "0.0.0.0", "{no_address}");
        }
    }
}
