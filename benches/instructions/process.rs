//! Whole servers, with their sockets: what one message costs from the poll to the next. System calls
//! count as the one instruction that they are in a process.
//!
//! Clients each send their next message when they have their answer, and come in turn, so that the
//! server finds nearly all of them ready whenever it polls. What that saves it varies a little with the
//! machine: see `Verdict`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use phpws::resources::ResourceWeb;
use phpws::{Address, Limits, Message, Resource, Server, SocketId, WebSocketServer};

use crate::callgrind;
use crate::samples;

const CLIENTS: u16 = 50;

/// A server by name, and what its clients say.
pub struct Process {
    pub name: &'static str,
    /// Messages of each client.
    pub rounds: u32,
    dialog: bool,
    /// Bytes of a message; with a dialog, of the text in the packet.
    len: usize,
}

pub const PROCESSES: &[Process] = &[
    Process { name: "process_echo_20", rounds: 100, dialog: false, len: 20 },
    Process { name: "process_dialog_64", rounds: 100, dialog: true, len: 64 },
];

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Process {
    /// Instructions of one message and its answer.
    pub fn count(&self) -> std::result::Result<f64, String> {
        let run = |rounds: u32| {
            let mut server = callgrind::start(&["serve", self.name])?;
            self.talk_to(&mut server, rounds).map_err(|error| format!("{}: {error}", self.name))?;
            callgrind::collected(server)
        };
        let (once, twice) = (run(self.rounds)?, run(2 * self.rounds)?);
        Ok((twice - once) as f64 / f64::from(self.rounds * u32::from(CLIENTS)))
    }

    /// A short talk, uncounted.
    pub fn try_out(&self) -> std::result::Result<(), String> {
        let mut server = callgrind::start_uncounted(&["serve", self.name])?;
        self.talk_to(&mut server, 2).map_err(|error| format!("{}: {error}", self.name))?;
        let status = server.wait().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| format!("{}: the server failed", self.name))
    }

    /// The server's side: says its port, and serves until it gets SIGTERM. It has one thread, as the
    /// program has; with a second one the C library's system calls cost more.
    pub fn serve(&self) -> Result<()> {
        let limits = Limits { ping_interval: Duration::ZERO, ..Limits::default() };
        let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:0")?, None, limits)?;
        match self.dialog {
            true => server.register_fallback(ResourceWeb)?,
            false => server.register_fallback(Echo)?,
        }
        server.handle_signals(|| {})?;
        println!("{}", server.local_addr().port());
        Ok(server.start()?)
    }

    /// The clients' side; the server stops after it.
    fn talk_to(&self, server: &mut Child, rounds: u32) -> Result<()> {
        let mut port = String::new();
        BufReader::new(server.stdout.as_mut().ok_or("no output")?).read_line(&mut port)?;
        let port = port.trim().parse().map_err(|_| "the server does not start")?;
        let clients: Result<Vec<Client>> = (0..CLIENTS).map(|_| self.connect(port)).collect();
        let mut clients = clients?;
        clients.iter_mut().try_for_each(Client::send)?;
        for round in 1..=rounds {
            for client in &mut clients {
                client.receive()?;
                if round < rounds {
                    client.send()?;
                }
            }
        }
        drop(clients);
        Command::new("kill").arg(server.id().to_string()).status()?;
        Ok(())
    }

    fn connect(&self, port: u16) -> Result<Client> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.write_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(read_byte(&mut stream)?);
        }
        if !self.dialog {
            let message = "x".repeat(self.len);
            return Ok(Client { stream, message: samples::text(&message), answer: vec![0; frame_len(&message)] });
        }
        let ready_len = read_byte(&mut stream).and_then(|_| read_byte(&mut stream))?;
        stream.read_exact(&mut vec![0; ready_len.into()])?;
        let packet = samples::packet("echo", samples::UUID, self.len);
        let answer = frame_len(r#"{"opcode":"next","fyi":""}"#) + frame_len(&packet);
        Ok(Client { stream, message: samples::text(&packet), answer: vec![0; answer] })
    }
}

/// A connection with the frame that it sends, and room for what it gets for that.
struct Client {
    stream: TcpStream,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.message)
    }

    fn receive(&mut self) -> io::Result<()> {
        self.stream.read_exact(&mut self.answer)
    }
}

fn read_byte(stream: &mut TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).map(|()| byte[0])
}

/// Bytes of a server's frame with this text.
fn frame_len(text: &str) -> usize {
    text.len() + if text.len() > 125 { 4 } else { 2 }
}

/// The application of examples/echo.rs.
struct Echo;

impl Resource for Echo {
    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        match message {
            Message::Text(text) => server.write(id, text),
            Message::Binary(bytes) => server.write_binary(id, bytes),
        }
    }

    fn dialog(&self) -> bool {
        false
    }
}
