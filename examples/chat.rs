//! A chat room: state for each client, messages to one and to all, and a word when somebody leaves.
//!
//! `cargo run --example chat`, then in the console of two tabs that show <http://127.0.0.1:8095/>:
//!
//! ```js
//! const { socketWebClient } = await import('/socketWebClient.js');
//! document.cookie = 'name=Ann';                       // before init: the server reads it once
//! const chat = socketWebClient('', '/chat');
//! chat.setCallback('readMessage', console.log);
//! chat.init();
//! chat.sendMsg({ opcode: 'say', message: 'hello' });
//! chat.sendMsg({ opcode: 'tell', to: 'Bob', message: 'only you' });
//! ```

use std::collections::HashMap;

use phpws::log_file::LogFormat;
use phpws::{Address, CloseCode, Limits, Message, Packet, Resource, Server, SocketId, WebSocketServer};
use serde_json::{Value, json};

const LONGEST_NAME: usize = 30;

/// The application: who is in the room.
#[derive(Default)]
struct Chat {
    names: HashMap<SocketId, String>,
}

impl Resource for Chat {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let wanted = wanted_name(server, id).filter(|name| self.find(name).is_none());
        let name = wanted.unwrap_or_else(|| format!("guest {id}"));
        self.to_all(server, &json!({"opcode": "joined", "name": name}));
        self.names.insert(id, name);
        to_one(server, id, &json!({"opcode": "room", "names": self.names.values().collect::<Vec<_>>()}));
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let Some(name) = self.names.get(&id) else { return };
        let Ok(packet) = Packet::parse(message) else {
            return server.dismiss(id, Some("jsonerror"), CloseCode::INVALID_PAYLOAD);
        };
        let value = packet.value().unwrap_or_default();
        match packet.opcode() {
            "say" => self.to_all(server, &json!({"opcode": "said", "name": name, "message": value["message"]})),
            "tell" => match self.find(value["to"].as_str().unwrap_or_default()) {
                Some(other) => to_one(server, other, &json!({"opcode": "told", "name": name, "message": value["message"]})),
                None => to_one(server, id, &json!({"opcode": "unknown", "name": value["to"]})),
            },
            "quit" => server.close(id),
            _ => {}
        }
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        if let Some(name) = self.names.remove(&id) {
            self.to_all(server, &json!({"opcode": "left", "name": name}));
        }
    }
}

impl Chat {
    fn find(&self, name: &str) -> Option<SocketId> {
        self.names.iter().find(|(_, taken)| *taken == name).map(|(id, _)| *id)
    }

    fn to_all(&self, server: &mut Server, packet: &Value) {
        let text = packet.to_string();
        for id in self.names.keys() {
            server.write(*id, &text);
        }
    }
}

fn to_one(server: &mut Server, id: SocketId, packet: &Value) {
    server.write(id, &packet.to_string());
}

/// The name in the cookie of a browser, or in the `Ident` header of a backend.
fn wanted_name(server: &Server, id: SocketId) -> Option<String> {
    let client = server.client(id)?;
    let cookie = client.request().and_then(|request| request.cookie("name"));
    let name = cookie.unwrap_or(client.ident());
    (!name.is_empty() && name.len() <= LONGEST_NAME).then(|| name.to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    phpws::log_file::init(log::LevelFilter::Info, LogFormat::Text, true, None)?;
    let address = std::env::args().nth(1).map_or(Ok(Address::default()), |text| Address::parse(&text))?;
    let mut server = WebSocketServer::bind(&address, None, Limits::default())?;
    server.handle_signals(|| {})?;
    server.register_resource("/chat", Chat::default())?;
    Ok(server.start()?)
}
