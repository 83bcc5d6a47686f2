//! **phpws**: the WebSocket server that PHP shops run, as a library to port one's own applications.
//!
//! ```text
//!              bytes                    messages                  calls
//!   sockets ──────────▶ rfc6455::Inbox ──────────▶ all_apps[path] ──────▶ Server
//!      ▲                (or RawInbox)               dyn Resource          write, broadcast,
//!      │                                                                  feedback, close …
//!      └───────────────── outboxes, before the loop sleeps ◀─────────────────┘
//! ```
//!
//! Four stores, as in the PHP original: `sockets` (I/O half of a connection) and `clients` (what is
//! known of it) under one key, [`SocketId`], PHP's `intval($socket)`; `client_ips` (connections from
//! each address); `all_apps` (the application of each path).
//!
//! Read in this order: `main.rs`, [`resources`], [`Resource`], [`Server`], [`WebSocketServer`] with
//! its parts `dialog.rs`, `before_sleep.rs` and `sweep.rs`, [`rfc6455`].
//!
//! ```no_run
//! use phpws::{Address, Limits, Message, Resource, Server, SocketId, WebSocketServer};
//!
//! /// Sends back what it gets.
//! struct Mirror;
//!
//! impl Resource for Mirror {
//!     fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
//!         if let Message::Text(text) = message {
//!             server.write(id, text);
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut server = WebSocketServer::bind(&Address::parse("127.0.0.1:8095")?, None, Limits::default())?;
//!     server.register_resource("/mirror", Mirror)?;
//!     Ok(server.start()?)
//! }
//! ```
//!
//! What it does not do: threads (but the one that delivers [`notices`]), an async runtime, HTTP beyond
//! the upgrade, publishing, the built-in pages, health and metrics, WebSocket extensions and
//! subprotocols, persistence.

pub mod address;
mod client;
mod counters;
mod deadlines;
mod elsewhere;
mod error;
mod extras;
#[cfg(test)]
mod fixture;
mod forwarded;
mod ids;
mod json;
pub mod limits;
mod mail;
mod packet;
mod pipe;
mod printable;
mod program;
mod rate;
pub mod raw;
mod resource;
pub mod resources;
pub mod rfc6455;
mod server;
mod socket;
pub mod testing;
mod tls;
mod waker;
mod web_socket_server;

pub use address::Address;
pub use client::Client;
pub use error::{InvalidValue, StartError};
pub use extras::browser_opcodes::BrowserOpcodes;
pub use extras::http;
pub use extras::http::tokens::Tokens;
pub use extras::notices;
pub use extras::rooms::RoomError;
pub use extras::sessions;
pub use ids::{AppId, ClientType, SocketId};
pub use limits::{Limits, Publish};
pub use packet::{JsonError, Message, Packet};
pub use program::{commands, ini, log_file, manual, settings, systemd};
pub use resource::{Resource, Value};
pub use rfc6455::CloseCode;
pub use server::delivery::{Delivery, Outcome, To};
pub use server::{Server, Timer};
pub use tls::Tls;
pub use uuid::Uuid;
pub use waker::{MAX_WAITING, SendError, Stopper, Waker};
pub use web_socket_server::WebSocketServer;
