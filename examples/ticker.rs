//! Timers: every client of `/ticker?every=5` is told the count every five seconds.
//!
//! `cargo run --example ticker`, then in the console of a tab that shows <http://127.0.0.1:8095/>:
//!
//! ```js
//! const { socketWebClient } = await import('/socketWebClient.js');
//! const ticker = socketWebClient('', '/ticker?every=2');
//! ticker.setCallback('readMessage', console.log);
//! ticker.init();
//! console.log(await ticker.sendAsync({ opcode: 'pause' }));   // the fyi of the `next`
//! ```

use std::collections::HashMap;
use std::time::Duration;

use phpws::log_file::LogFormat;
use phpws::{Address, Limits, Message, Packet, Resource, Server, SocketId, WebSocketServer};

/// The tag of the timer that all clients share. No client has it: no id is 0.
const ROUND: u64 = 0;
const ROUND_LENGTH: Duration = Duration::from_secs(1);

/// What is known of a client.
struct Ticks {
    every: Duration,
    count: u64,
    paused: bool,
}

/// The application: who is told what.
#[derive(Default)]
struct Ticker {
    clients: HashMap<SocketId, Ticks>,
}

impl Resource for Ticker {
    fn on_start(&mut self, server: &mut Server) {
        server.call_after(ROUND_LENGTH, ROUND);
    }

    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let every = wanted_pause(server, id);
        self.clients.insert(id, Ticks { every, count: 0, paused: false });
        server.call_after(every, id.as_u64());
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let Some(ticks) = self.clients.get_mut(&id) else { return };
        match Packet::parse(message).as_ref().map(Packet::opcode) {
            Ok("pause") => ticks.paused = true,
            Ok("go on") => ticks.paused = false,
            Ok("quit") => server.close(id),
            _ => {}
        }
    }

    fn on_timer(&mut self, server: &mut Server, tag: u64) {
        if tag == ROUND {
            return self.round(server);
        }
        // A timer is not called off: the client it was set for may have gone.
        let id = SocketId::from_u64(tag);
        let Some(ticks) = self.clients.get_mut(&id) else { return };
        if !ticks.paused {
            ticks.count += 1;
            server.write(id, &format!(r#"{{"opcode":"tick","count":{}}}"#, ticks.count));
        }
        server.call_after(ticks.every, tag);
    }

    fn on_close(&mut self, _server: &mut Server, id: SocketId) {
        self.clients.remove(&id);
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

impl Ticker {
    /// What each client is to learn with its next `next`.
    fn round(&self, server: &mut Server) {
        let fyi = format!("{} clients", self.clients.len());
        for id in self.clients.keys() {
            server.set_fyi(*id, &fyi);
        }
        server.call_after(ROUND_LENGTH, ROUND);
    }
}

/// The seconds in `every=5` of the query string, from 1 to 60.
fn wanted_pause(server: &Server, id: SocketId) -> Duration {
    let query = server.client(id).and_then(|client| client.request()).map_or("", |request| request.query());
    let every = query.split('&').find_map(|pair| pair.strip_prefix("every="));
    let seconds = every.and_then(|every| every.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_secs(60))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    phpws::log_file::init(log::LevelFilter::Info, LogFormat::Text, true, None)?;
    let address = std::env::args().nth(1).map_or(Ok(Address::default()), |text| Address::parse(&text))?;
    let mut server = WebSocketServer::bind(&address, None, Limits::default())?;
    server.handle_signals(|| {})?;
    server.register_resource("/ticker", Ticker::default())?;
    Ok(server.start()?)
}
