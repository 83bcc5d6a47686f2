//! Who is the server's own host: one answer at every entrance.
//!
//! PHP clients, the raw dialect, publishing, health, metrics and the status page are for the server's own host, and for
//! those of `--allowed-ip`. Three things pass for the own host without being it: a stranger behind a proxy on it, an
//! address that a proxy writes, and a page of somebody in a browser on it. PHP counterpart: `allowedIP`.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::address::split_port;
use crate::forwarded::{ClientAddress, Way};
use crate::limits::Limits;
use crate::rfc6455::Request;

/// Addresses of which each kind of warning is logged, once for each.
const WARNED: usize = 32;

/// What decides it, for one connection.
pub(crate) struct OwnHost<'a> {
    /// The server's address that the connection was made to.
    pub(crate) own: IpAddr,
    pub(crate) limits: &'a Limits,
    /// The names in the server's certificate.
    pub(crate) certified: &'a [String],
}

/// Why a request is none of the server's own host, nor of an allowed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NotOurs {
    /// It comes from another address.
    Foreign,
    /// It was forwarded, and nobody who is trusted names the client.
    Forwarded,
    /// A browser says that another site's page sent it.
    Page,
    /// It asks for a host that the server does not know as its own: a page may have had its own name lead here.
    Name,
}

impl NotOurs {
    /// One line for the client; `foreign` is what another address is told.
    pub(crate) fn text(self, foreign: &'static str) -> &'static str {
        match self {
            NotOurs::Foreign => foreign,
            NotOurs::Forwarded => "This request came through a proxy that is no --trusted-proxy, or that names no client",
            NotOurs::Page => "A page of another site sent this request",
            NotOurs::Name => "The name in Host is none of this server's; if it is, start the server with --host NAME",
        }
    }
}

impl OwnHost<'_> {
    /// Whether a backend may come from there.
    pub(crate) fn admits(&self, from: ClientAddress) -> Result<(), NotOurs> {
        let listed = self.limits.lists_backend(from.ip);
        match from.way {
            Way::Direct if listed || self.is_local(from.ip) => Ok(()),
            // What a proxy names is never the server's own host, whatever it says.
            Way::Named | Way::Probe if listed => Ok(()),
            Way::Unnamed if listed || self.is_local(from.ip) => Err(NotOurs::Forwarded),
            _ => Err(NotOurs::Foreign),
        }
    }

    /// The same for a request that a browser may have sent for somebody's page. A host that was listed needs no name.
    pub(crate) fn admits_request(&self, from: ClientAddress, request: &Request) -> Result<(), NotOurs> {
        self.admits(from)?;
        let is_foreign = |site: &str| site.eq_ignore_ascii_case("cross-site") || site.eq_ignore_ascii_case("same-site");
        if request.values("sec-fetch-site").any(is_foreign) {
            return Err(NotOurs::Page);
        }
        let local = from.way == Way::Direct && self.is_local(from.ip);
        match request.header("host") {
            Some(host) if local && !self.is_named(host) => Err(NotOurs::Name),
            _ => Ok(()),
        }
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip == self.own
    }

    /// Whether the value of `Host` is an address, or a name that nobody else can have lead here.
    fn is_named(&self, host: &str) -> bool {
        let Ok((host, port)) = split_port(host) else { return false };
        if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
            return false;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let is = |name: &str| name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host);
        let certifies = |name: &str| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => is(name),
        };
        !host.contains('.') && !host.contains(':')
            || host.parse::<IpAddr>().is_ok()
            || self.limits.host.iter().any(|name| is(name))
            || self.certified.iter().any(|name| certifies(name))
            || std::fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|name| is(name.trim_end()))
    }
}

/// What is logged once, so that a stranger can't fill the log with it.
#[derive(Debug, Default)]
pub(crate) struct Warned(HashSet<(Warning, IpAddr)>);

/// A right that was asked for and not given, where a setting may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Warning {
    NotOurs(NotOurs),
    /// The header `Ident` of somebody who may be no backend.
    Ident,
}

impl Warned {
    /// Whether this is the first such warning about an address, and not one of too many.
    pub(crate) fn is_new(&mut self, warning: Warning, ip: IpAddr) -> bool {
        self.0.iter().filter(|(other, _)| *other == warning).count() < WARNED && self.0.insert((warning, ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "203.0.113.1";

    fn limits() -> Limits {
        Limits {
            allowed_ip: vec!["192.0.2.7/32".parse().unwrap()],
            trusted_proxies: vec!["10.0.0.1/32".parse().unwrap()],
            host: vec!["ws.example.com".into()],
            ..Limits::default()
        }
    }

    fn ask(peer: &str, way: Way, fields: &str) -> Result<(), NotOurs> {
        let (limits, certified) = (limits(), ["shop.example".to_owned(), "*.wild.example".to_owned()]);
        let request = Request::parse(format!("GET /health HTTP/1.1\r\n{fields}").as_bytes()).unwrap();
        let from = ClientAddress::of(&request, ClientAddress { ip: peer.parse().unwrap(), way }, &limits);
        OwnHost { own: OWN.parse().unwrap(), limits: &limits, certified: &certified }.admits_request(from, &request)
    }

    #[test]
    fn the_own_host_is_known_by_its_connection_only() {
        for (peer, way, fields, expected) in [
            ("127.0.0.1", Way::Direct, "Host: x", Ok(())),
            ("::1", Way::Direct, "Host: x", Ok(())),
            (OWN, Way::Direct, "Host: x", Ok(())),
            ("192.0.2.7", Way::Direct, "Host: any.example", Ok(())),
            ("192.0.2.8", Way::Direct, "Host: x", Err(NotOurs::Foreign)),
            ("127.0.0.1", Way::Direct, "Host: x\r\nX-Forwarded-For: 127.0.0.1", Err(NotOurs::Forwarded)),
            ("127.0.0.1", Way::Direct, "Host: x\r\nVia: 1.1 x", Err(NotOurs::Forwarded)),
            ("192.0.2.7", Way::Direct, "Host: x\r\nForwarded: for=x", Err(NotOurs::Forwarded)),
            ("192.0.2.8", Way::Direct, "Host: x\r\nForwarded: for=x", Err(NotOurs::Foreign)),
            ("10.0.0.1", Way::Direct, "Host: x\r\nX-Forwarded-For: 192.0.2.7", Ok(())),
            ("10.0.0.1", Way::Direct, "Host: x\r\nX-Forwarded-For: 127.0.0.1", Err(NotOurs::Foreign)),
            ("10.0.0.1", Way::Direct, "Host: x\r\nX-Forwarded-For: ::ffff:127.0.0.1", Err(NotOurs::Foreign)),
            ("10.0.0.1", Way::Direct, &format!("Host: x\r\nX-Forwarded-For: {OWN}"), Err(NotOurs::Foreign)),
            ("127.0.0.1", Way::Named, "Host: x", Err(NotOurs::Foreign)),
            (OWN, Way::Named, "Host: x", Err(NotOurs::Foreign)),
            ("127.0.0.1", Way::Probe, "Host: x", Err(NotOurs::Foreign)),
            ("192.0.2.7", Way::Named, "Host: any.example", Ok(())),
            ("127.0.0.1", Way::Direct, "Host: x\r\nSec-Fetch-Site: cross-site", Err(NotOurs::Page)),
            ("127.0.0.1", Way::Direct, "Host: x\r\nSec-Fetch-Site: same-site", Err(NotOurs::Page)),
            ("192.0.2.7", Way::Direct, "Host: x\r\nSec-Fetch-Site: cross-site", Err(NotOurs::Page)),
            ("127.0.0.1", Way::Direct, "Host: x\r\nSec-Fetch-Site: none", Ok(())),
        ] {
            assert_eq!(ask(peer, way, fields), expected, "{peer} {fields}");
        }
    }

    #[test]
    fn a_name_that_may_be_anybodys_is_none_of_ours() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:8095",
            "192.0.2.200",
            "[::1]",
            "[::1]:8095",
            "localhost:8095",
            "LocalHost.",
            "till7",
            "",
            "ws.example.com",
            "WS.Example.COM.:80",
            "shop.example",
            "a.wild.example",
        ] {
            assert_eq!(ask("127.0.0.1", Way::Direct, &format!("Host: {good}")), Ok(()), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8095",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "x.ws.example.com",
            "a.b.wild.example",
            "wild.example",
            "ws.example.com.evil",
            "tcp://127.0.0.1",
            "[::1",
            "a:b:c",
            "evil.example..",
        ] {
            assert_eq!(ask("127.0.0.1", Way::Direct, &format!("Host: {bad}")), Err(NotOurs::Name), "{bad}");
        }
        assert_eq!(ask("127.0.0.1", Way::Direct, "X: a request of HTTP/1.0"), Ok(()));
    }

    #[test]
    fn each_address_is_warned_of_once_and_not_too_many_are() {
        let (mut warned, ip) = (Warned::default(), |number: usize| IpAddr::from((number as u32).to_be_bytes()));
        assert!(warned.is_new(Warning::Ident, ip(0)) && !warned.is_new(Warning::Ident, ip(0)));
        assert_eq!((0..1000).filter(|number| warned.is_new(Warning::Ident, ip(*number))).count(), WARNED - 1);
        assert!(warned.is_new(Warning::NotOurs(NotOurs::Name), ip(0)));
    }
}
