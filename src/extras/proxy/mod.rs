//! The PROXY protocol: what a load balancer says of the client before the client speaks.
//!
//! A part of the loop, for connections from trusted proxies where the limits ask for it. The PHP
//! original has no counterpart.

use std::io::{self, Read};

use proxy_header::{Error, ParseConfig, ProxyHeader};

use crate::forwarded::{UNKNOWN, Way};
use crate::ids::SocketId;
use crate::rfc6455::handshake::MAX_HEAD;
use crate::socket::{Peer, Stage};
use crate::web_socket_server::WebSocketServer;

impl WebSocketServer {
    /// Reads the header of a connection that awaits one, once it is whole, and what follows it next turn.
    pub(crate) fn proxy_header(&mut self, id: SocketId) {
        match self.take_proxy_header(id) {
            Ok(true) => self.read_again(id),
            Ok(false) => {}
            Err(error) => {
                self.failed(id, &format!("Bad PROXY header: {error}"));
                self.peer_gone(id, Peer::Gone);
            }
        }
    }

    /// Takes the header off; `false` while it is incomplete. What follows, TLS perhaps, stays in the
    /// socket: the header is looked at before it is read.
    pub(crate) fn take_proxy_header(&mut self, id: SocketId) -> io::Result<bool> {
        let socket = &mut self.sockets[id];
        let pipe = &mut socket.stream.pipe;
        let seen = match pipe.peek(&mut self.buffer.bytes[..MAX_HEAD]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            seen => seen?,
        };
        let (client, len) = match ProxyHeader::parse(&self.buffer.bytes[..seen], ParseConfig::default()) {
            Ok((header, len)) => (header.proxied_address().map(|address| address.source), len),
            Err(Error::BufferTooShort) if seen < MAX_HEAD => return Ok(false),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        };
        let is_probe = is_local_command(&self.buffer.bytes[..len]);
        pipe.read_exact(&mut self.buffer.bytes[..len])?;
        socket.stage = Stage::Head(Vec::new());
        self.server.clients[id].way = Way::Named;
        match client {
            Some(client) => {
                log::info!("Proxied client {client} on socket #{id}");
                self.named(id, client.ip().to_canonical());
            }
            None if is_probe => self.server.clients[id].way = Way::Probe,
            None => self.named(id, UNKNOWN),
        }
        self.sockets[id].stream.secure(self.tls.as_ref())?;
        Ok(true)
    }
}

/// Whether a header of version 2 has the command LOCAL: the proxy speaks for itself. The version and the command stand
/// behind the signature of twelve bytes.
fn is_local_command(header: &[u8]) -> bool {
    header.starts_with(b"\r\n\r\n\0\r\nQUIT\n") && header.get(12) == Some(&0x20)
}
