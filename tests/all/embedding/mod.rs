//! The library as a migrator uses it: own applications, timers, state, plain resources.

mod applications;
mod harness;
mod panics;
mod paths;
mod resuming;
mod rooms;

use std::collections::HashMap;
use std::time::Duration;

use phpws::{CloseCode, Message, Resource, Server, SocketId};

/// Everything an application may do, in one.
#[derive(Default)]
struct Porter {
    names: HashMap<SocketId, String>,
}

impl Resource for Porter {
    fn on_start(&mut self, server: &mut Server) {
        server.call_after(Duration::from_millis(1), 1);
    }

    fn on_timer(&mut self, server: &mut Server, tag: u64) {
        if tag > 1 {
            server.write(SocketId::from_u64(tag), "timer");
        }
    }

    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let request = server.client(id).unwrap().request().unwrap();
        let name =
            format!("{} {} {}", request.query(), request.cookie("sid").unwrap_or("-"), request.header("X-Mine").unwrap_or("-"));
        self.names.insert(id, name);
        server.set_fyi(id, "for \"your\" information");
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        match text {
            "name" => server.write(id, &self.names[&id]),
            "timer" => server.call_after(Duration::from_millis(20), id.as_u64()),
            "close" => {
                server.close_with(id, CloseCode(4001), "as you wish");
                server.close(id);
                server.write(id, "nothing reaches a closed client");
            }
            "close all" => {
                let all: Vec<SocketId> = server.clients().map(|(id, _)| id).collect();
                all.into_iter().for_each(|id| server.close(id));
            }
            other => server.broadcast(id, other),
        }
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        let name = self.names.remove(&id).unwrap();
        assert!(server.client(id).is_some(), "the record can still be read");
        server.write(id, "too late");
        server.broadcast(id, &format!("gone: {name}"));
    }
}

/// A plain resource: no dialog, no Origin.
struct Plain;

impl Resource for Plain {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        server.write(id, "welcome");
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        server.write_binary(id, message.bytes());
    }

    fn dialog(&self) -> bool {
        false
    }

    fn origin_required(&self) -> bool {
        false
    }
}
