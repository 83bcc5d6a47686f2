//! What carries the bytes of a connection: a socket, or memory where there is none to be.
//!
//! Memory is for tests and benches, which drive the loop without a network (`testing`). PHP has no counterpart.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// One connection's bytes, both ways. Never blocks.
pub(crate) enum Pipe {
    Tcp(TcpStream),
    Memory(Box<Memory>),
}

/// A connection in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What the peer sent and was not read.
    pub(crate) input: Vec<u8>,
    /// Whether the peer has ended its side.
    pub(crate) ended: bool,
    /// What was written to the peer.
    pub(crate) output: Vec<u8>,
    /// Whether the server has ended its side.
    pub(crate) shut: bool,
}

impl Pipe {
    /// Has the poll tell of it under this token. A second time it is told anew what there is to read and write.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token, known: bool) -> io::Result<()> {
        const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
        match self {
            Pipe::Tcp(tcp) if known => registry.reregister(tcp, token, BOTH),
            Pipe::Tcp(tcp) => registry.register(tcp, token, BOTH),
            Pipe::Memory(_) => Ok(()),
        }
    }

    /// The server's address that the peer connected to.
    pub(crate) fn own_ip(&self) -> IpAddr {
        let unknown = |_| IpAddr::from(Ipv4Addr::UNSPECIFIED);
        match self {
            Pipe::Tcp(tcp) => tcp.local_addr().map_or_else(unknown, |own| own.ip().to_canonical()),
            Pipe::Memory(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Looks at what is there without taking it; 0 is the end.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(tcp) => tcp.peek(buffer),
            Pipe::Memory(memory) => memory.peek(buffer),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Pipe::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Pipe::Memory(memory) => {
                memory.shut = true;
                Ok(())
            }
        }
    }
}

impl Read for Pipe {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(tcp) => tcp.read(buffer),
            Pipe::Memory(memory) => memory.take(buffer),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(tcp) => tcp.write(bytes),
            Pipe::Memory(memory) => memory.output.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(tcp) => tcp.write_vectored(slices),
            Pipe::Memory(memory) => memory.output.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    #[inline(never)]
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.peek(buffer)?;
        self.input.drain(..count);
        Ok(count)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.input[..count]);
        Ok(count)
    }
}
