//! The PROXY protocol: what a load balancer says of the client before the client speaks.
//!
//! A part of the loop, for connections from trusted proxies where the limits ask for it. The PHP
//! original has no counterpart.

use std::io::{self, Read};

use proxy_header::{Error, ParseConfig, ProxyHeader};

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
        pipe.read_exact(&mut self.buffer.bytes[..len])?;
        socket.stage = Stage::Head(Vec::new());
        if let Some(client) = client {
            log::info!("Proxied client {client} on socket #{id}");
            self.named(id, client.ip().to_canonical());
        }
        self.sockets[id].stream.secure(self.tls.as_ref())?;
        Ok(true)
    }
}
