//! Every knob of the server in one place.
//!
//! PHP counterpart: the public fields of `webSocketServer` that `runSocketServer.php` sets.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::extras::browser_opcodes::lists::BrowserOpcodes;
use crate::memory;

/// What the server allows. For all numbers and times but those that say otherwise, 0 means
/// unlimited or off, as in PHP.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Browser clients from one address, and connections from there that are no clients yet; an IPv6 network of 64
    /// bits, which is what one customer gets, counts as one. It does not apply to hosts that backends may come from,
    /// and to trusted proxies themselves. Default 0.
    #[doc(alias = "maxPerIP")]
    pub max_per_ip: usize,
    /// Clients of all types at a time. Default 0.
    #[doc(alias = "maxClients")]
    pub max_clients: usize,
    /// Connections that are no clients, such as those in their handshake and plain HTTP; beyond them one goes for each
    /// that comes. Default 0: an eighth of the descriptors that the process may have, at least 256.
    pub max_newcomers: usize,
    /// Chunks between `bufferON` and `bufferOFF`, one more being the last that is accepted, as in
    /// PHP. Default 100.
    #[doc(alias = "maxChunks")]
    pub max_chunks: usize,
    /// Bytes of one message, whole, in fragments or in chunks; never unlimited. Default 5 MiB, PHP's
    /// `maxBufferSize`.
    #[doc(alias = "maxBufferSize")]
    pub max_message: usize,
    /// Bytes that may wait for one client; past them it is closed with 1013; never unlimited. Feedback does not get so
    /// far: past half of them it waits with its sender, a second at most, and is then dropped. Default 8 MiB.
    pub max_outbox: usize,
    /// Bytes that all clients together may hold in memory: what waits for them, what is kept for those that are away, and
    /// what was read of them. Above three quarters of it whoever holds most gives first; never unlimited. Default 0: a
    /// quarter of the memory that there is for the process, at least 32 MiB.
    pub max_memory: usize,
    /// How long a client that opted in is kept after its connection broke. Default 60 s.
    pub resume_time: Duration,
    /// Bytes of messages that are kept for one such client; beyond them the oldest go. Default 256 KiB.
    pub resume_bytes: usize,
    /// Clients that may be away at a time; one that is lost beyond them is not kept. Default 0: one for each 4 KiB of
    /// `max_memory`, at most 100,000.
    pub max_away: usize,
    /// Messages a second from one browser, with twice as many in a burst; past them the next one waits for its
    /// `next`. A client that goes on without waiting, at ten times the rate, is told and closed with 1008; so is one
    /// with so many pings and pongs. Default 0.
    pub max_message_rate: u32,
    /// Bytes a second from one browser, with twice as many in a burst; past them as above. Default 0.
    pub max_byte_rate: u32,
    /// Rooms at a time. Default 10,000.
    pub max_rooms: usize,
    /// Rooms that one client may be in. Default 16.
    pub max_rooms_per_client: usize,
    /// Whether the built-in opcodes keep the names that clients give themselves in rooms, and tell them
    /// to the other members. Default no.
    pub room_names: bool,
    /// Which opcodes browsers may send, for each resource. Default none listed, which means all.
    pub browser_opcodes: BrowserOpcodes,
    /// Whether browsers may only send `quit`, `join`, `leave` and `who`, on resources for which
    /// `browser_opcodes` has no list. Default no.
    pub receive_only: bool,
    /// Further addresses that PHP backends may come from, beside the server's own host. Default none.
    #[doc(alias = "allowedIP")]
    pub allowed_ip: Vec<IpNet>,
    /// Names of this server's host, beside those that it knows: see `--host` of the program. Default none.
    pub host: Vec<String>,
    /// Origins that browsers may come from. Default none, which means any.
    #[doc(alias = "allowedOrigins")]
    pub allowed_origins: Vec<String>,
    /// Whether a browser's request may lack `Origin`. Default no, as in the document.
    pub allow_missing_origin: bool,
    /// Proxies whose `X-Forwarded-For` is believed, and with `proxy_protocol` their PROXY header. Default
    /// none.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections from trusted proxies begin with a PROXY protocol header, version 1 or 2.
    /// Default no.
    pub proxy_protocol: bool,
    /// Whether other processes of the same user that say so too may listen on the same address. Default no.
    pub reuse_port: bool,
    /// Time between two rounds of pings to browsers; one that has not answered by the next round is
    /// closed. Default 30 s (PHP: off).
    #[doc(alias = "pingInterval")]
    pub ping_interval: Duration,
    /// Time for TLS and the request head together; never off. Default 3 s.
    pub handshake_timeout: Duration,
    /// Time for one message, from its first byte to its last. Default 60 s.
    pub message_timeout: Duration,
    /// Time without a byte from a client, pongs counting. Default 0.
    pub idle_timeout: Duration,
    /// Time for the last bytes and the peer's close after the server's; never off. Default 2 s.
    pub close_timeout: Duration,
    /// Time over which a stopping server says goodbye to its clients, one after the other. Default 0: to all
    /// at once.
    pub drain_time: Duration,
    /// Pause between two frames for a PHP client that has not spoken between them. Default 10 ms.
    pub php_pause: Duration,
    /// Whether the raw dialect (`php process`) is served. Default yes, as in the document.
    pub raw_dialect: bool,
    /// Whether a panic in an application ends the process. Default no: it closes the connection that
    /// caused it.
    pub exit_on_panic: bool,
    /// Who may publish over HTTP. Default: hosts that backends may come from, and whoever has a token.
    pub publish: Publish,
    /// Messages a second that one address may publish over HTTP, each of a list counts, with twice as many in a burst;
    /// past them 429. Default 0.
    pub max_publish_rate: u32,
    /// Whether `GET /` without an upgrade shows the built-in page. Default yes.
    pub page: bool,
}

/// By default one client may be away for so many bytes of the memory of all. It costs some 1.5 KiB, and what is for it alone.
const MEMORY_OF_ONE_AWAY: usize = 4 * 1024;
/// No more by default: each is looked at now and then.
const MOST_AWAY: usize = 100_000;

/// Who may publish over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Hosts that backends may come from, and whoever has a token.
    On,
    /// Only who has a token.
    Token,
    /// Nobody: the paths are not there.
    Off,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_per_ip: 0,
            max_clients: 0,
            max_newcomers: 0,
            max_chunks: 100,
            max_message: 5 * 1024 * 1024,
            max_outbox: 8 * 1024 * 1024,
            max_memory: 0,
            resume_time: Duration::from_secs(60),
            resume_bytes: 256 * 1024,
            max_away: 0,
            max_message_rate: 0,
            max_byte_rate: 0,
            max_rooms: 10_000,
            max_rooms_per_client: 16,
            room_names: false,
            browser_opcodes: BrowserOpcodes::default(),
            receive_only: false,
            allowed_ip: Vec::new(),
            host: Vec::new(),
            allowed_origins: Vec::new(),
            allow_missing_origin: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            reuse_port: false,
            ping_interval: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(3),
            message_timeout: Duration::from_secs(60),
            idle_timeout: Duration::ZERO,
            close_timeout: Duration::from_secs(2),
            drain_time: Duration::ZERO,
            php_pause: Duration::from_millis(10),
            raw_dialect: true,
            exit_on_panic: false,
            publish: Publish::On,
            max_publish_rate: 0,
            page: true,
        }
    }
}

impl Limits {
    /// With the numbers that follow from the machine. Processes that share a port share its memory.
    pub(crate) fn settled(mut self) -> Limits {
        if self.max_memory == 0 {
            let processes = if self.reuse_port { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
            self.max_memory = memory::LEAST.max(memory::default_limit() / processes);
        }
        if self.max_away == 0 {
            self.max_away = (self.max_memory / MEMORY_OF_ONE_AWAY).min(MOST_AWAY);
        }
        self
    }

    /// A client for which more waits is full.
    #[inline]
    pub(crate) fn full_outbox(&self) -> usize {
        self.max_outbox / 2
    }

    /// Bytes of messages that are kept for one client that may come back.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.resume_bytes
    }

    /// Whether browsers that send too fast are slowed down.
    #[inline]
    pub(crate) fn paces(&self) -> bool {
        (self.max_message_rate | self.max_byte_rate) > 0
    }

    /// Whether `ip` is one of the further hosts of backends, wherever the server itself is.
    pub(crate) fn lists_backend(&self, ip: IpAddr) -> bool {
        contains(&self.allowed_ip, ip)
    }

    /// Whether a connection from `peer` begins with a PROXY protocol header.
    pub(crate) fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol && contains(&self.trusted_proxies, peer)
    }

    /// Whether `peer` is a proxy whose `X-Forwarded-For` is believed.
    pub(crate) fn trusts_proxy(&self, peer: IpAddr) -> bool {
        contains(&self.trusted_proxies, peer)
    }

    /// Whether a browser may come from `origin`.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.is_empty() || self.allowed_origins.iter().any(|allowed| allowed == origin)
    }
}

/// The address under which the connections of `ip` are counted.
pub(crate) fn counted_address(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let counted = |ip: &str| counted_address(ip.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
    }
}
