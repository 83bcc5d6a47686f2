//! The loop of phpws without a protocol, for the two floors: one thread, edge-triggered, every socket
//! registered once, one shared read buffer of 64 KiB, one read for each event, plain writes at once.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER: usize = 64 * 1024;

/// Answers `bytes` that came from connection `index` by [`Connections::send`].
pub type Answer<T> = fn(connections: &mut Connections<T>, index: usize, bytes: &[u8]);

/// All connections, by number; `T` is what a floor knows of each.
pub struct Connections<T> {
    slots: Vec<Option<Connection<T>>>,
    free: Vec<usize>,
}

/// A connection, and what its peer has not taken yet. While something waits it is not read from.
struct Connection<T> {
    stream: TcpStream,
    waiting: VecDeque<u8>,
    ended: bool,
    state: T,
}

struct Bare<T> {
    poll: Poll,
    listener: TcpListener,
    connections: Connections<T>,
    /// Connections whose last read filled the buffer.
    again: Vec<usize>,
    buffer: Vec<u8>,
    answer: Answer<T>,
}

/// Serves until an error of the poll or the listener.
pub fn serve<T: Default>(listener: std::net::TcpListener, answer: Answer<T>) -> io::Result<()> {
    let mut listener = TcpListener::from_std(listener);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let connections = Connections { slots: Vec::new(), free: Vec::new() };
    let mut bare = Bare { poll, listener, connections, again: Vec::new(), buffer: vec![0; READ_BUFFER], answer };
    let mut events = Events::with_capacity(1024);
    loop {
        bare.turn(&mut events)?;
    }
}

impl<T: Default> Bare<T> {
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let sleep = (!self.again.is_empty()).then_some(Duration::ZERO);
        match self.poll.poll(events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for index in std::mem::take(&mut self.again) {
            self.readable(index);
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept()?,
                Token(index) => self.socket_event(index, event),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let Connections { slots, free } = &mut self.connections;
            let index = free.pop().unwrap_or(slots.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            if index == slots.len() {
                slots.push(None);
            }
            slots[index] = Some(Connection { stream, waiting: VecDeque::new(), ended: false, state: T::default() });
        }
    }

    fn socket_event(&mut self, index: usize, event: &Event) {
        let Some(Some(connection)) = self.connections.slots.get_mut(index) else { return };
        connection.ended |= event.is_read_closed() || event.is_error();
        let waited = !connection.waiting.is_empty();
        if event.is_writable() && waited && connection.flush().is_err() {
            return self.connections.hang_up(index);
        }
        if event.is_readable() || waited {
            self.readable(index);
        }
    }

    fn readable(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.slots.get_mut(index) else { return };
        if !connection.waiting.is_empty() {
            return;
        }
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => self.connections.hang_up(index),
            Ok(count) => {
                // A short read has emptied the socket, unless its end came along.
                if count == READ_BUFFER || connection.ended {
                    self.again.push(index);
                }
                (self.answer)(&mut self.connections, index, &self.buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.connections.hang_up(index),
        }
    }
}

impl<T> Connections<T> {
    /// Writes at once; what the socket does not take waits.
    pub fn send(&mut self, index: usize, bytes: &[u8]) {
        if let Some(Some(connection)) = self.slots.get_mut(index)
            && connection.send(bytes).is_err()
        {
            self.hang_up(index);
        }
    }

    /// What is known of a connection that is there.
    pub fn state(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.as_mut().map(|connection| &mut connection.state)
    }

    /// One more than the greatest number of a connection.
    pub fn end(&self) -> usize {
        self.slots.len()
    }

    fn hang_up(&mut self, index: usize) {
        self.slots[index] = None;
        self.free.push(index);
    }
}

impl<T> Connection<T> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = if self.waiting.is_empty() { write(&mut self.stream, bytes)? } else { 0 };
        self.waiting.extend(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let written = write(&mut self.stream, self.waiting.as_slices().0)?;
            if written == 0 {
                return Ok(());
            }
            self.waiting.drain(..written);
        }
        self.waiting = VecDeque::new();
        Ok(())
    }
}

/// How much the socket took, 0 if it is full.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
