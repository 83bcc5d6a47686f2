//! A plain WebSocket server: `cargo run --release --example echo -- ADDRESS PORT`.
//!
//! It sends back text and binary on every path, without the dialog of `ready` and `next`. With a
//! certificate and key as third and fourth argument it speaks TLS.

use std::path::Path;

use phpws::{Address, Limits, Message, Resource, Server, SocketId, Tls, WebSocketServer};

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

    fn origin_required(&self) -> bool {
        false
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, port, files @ ..] = &args[..] else { return Err("usage: echo ADDRESS PORT [CERT KEY]".into()) };
    let tls = match files {
        [cert, key] => Some(Tls::load(Path::new(cert), Path::new(key))?),
        _ => None,
    };
    let limits =
        Limits { max_message: 64 << 20, max_outbox: 160 << 20, ping_interval: std::time::Duration::ZERO, ..Limits::default() };
    let mut server = WebSocketServer::bind(&Address::parse(&format!("{address}:{port}"))?, tls, limits)?;
    server.handle_signals(|| {})?;
    server.register_fallback(Echo)?;
    println!("echo on {}", server.local_addr());
    Ok(server.start()?)
}
