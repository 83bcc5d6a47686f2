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
mod backplane;
mod browser_opcodes;
mod client;
pub mod commands;
mod deadlines;
mod error;
mod health;
pub mod http;
mod http_client;
pub mod ini;
mod json;
pub mod limits;
pub mod log_file;
pub mod manual;
mod metrics;
pub mod notices;
mod outbox;
mod publish;
pub mod raw;
mod resource;
pub mod resources;
mod resume;
pub mod rfc6455;
mod rooms;
mod server;
pub mod sessions;
pub mod settings;
mod socket;
#[doc(hidden)]
pub mod socketless;
pub mod systemd;
mod tls;
mod web_socket_server;

pub use address::Address;
pub use browser_opcodes::BrowserOpcodes;
pub use client::{Client, ClientType, SocketId};
pub use error::StartError;
pub use http::tokens::Tokens;
pub use limits::{Limits, Publish};
pub use resource::{AppId, JsonError, Message, Packet, Resource};
pub use rfc6455::CloseCode;
pub use rooms::RoomError;
pub use server::Server;
pub use tls::Tls;
pub use uuid::Uuid;
pub use web_socket_server::{Stopper, WebSocketServer};
