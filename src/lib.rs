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
//! # What goes where
//!
//! | You want to | Use |
//! |---|---|
//! | run a server | [`WebSocketServer`], with an [`Address`], [`Limits`], and perhaps [`Tls`] |
//! | write an application | [`Resource`]; it gets a [`Server`] and [`Message`]s, and reads [`Packet`]s and [`Client`]s |
//! | start from the three of the original | [`resources`] |
//! | send with a key, or hear what became of it | [`Delivery`], [`To`], [`Outcome`] |
//! | wake it from another thread | [`Waker`], [`Stopper`] |
//! | test it without a network | [`testing`] |
//! | switch parts on | [`sessions`], [`notices`], [`Tokens`], [`BrowserOpcodes`], [`systemd`] |
//! | take the program's own settings and log | [`settings`], [`log_file`] |
//!
//! The sources are read in the order of the README. Four stores, as in the PHP original: `sockets` (the I/O half of
//! a connection) and `clients` (its record) under one key, [`SocketId`], PHP's `intval($socket)`; `client_ips`
//! (connections of each address); `all_apps` (the application of each path).
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
//! It has no threads but the one that delivers [`notices`] and those that write the log, and no async runtime. HTTP is spoken for the upgrade,
//! publishing, the built-in pages, health and metrics. There are no WebSocket extensions, no subprotocols, and
//! nothing is kept on disk.

#[doc(hidden)]
pub mod address;
mod bounds;
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
mod memory;
mod newcomers;
mod own_host;
mod packet;
mod pipe;
mod places;
mod printable;
mod program;
mod rate;
#[doc(hidden)]
pub mod raw;
mod resource;
pub mod resources;
pub mod rfc6455;
mod secret_file;
mod server;
mod socket;
pub mod testing;
mod tls;
mod turns;
mod waker;
mod web_socket_server;

pub use address::Address;
pub use client::Client;
pub use error::{InvalidValue, StartError};
pub use extras::browser_opcodes::BrowserOpcodes;
#[doc(hidden)]
pub use extras::http;
pub use extras::http::tokens::Tokens;
pub use extras::notices;
pub use extras::rooms::RoomError;
pub use extras::sessions;
pub use ids::{AppId, ClientType, SocketId};
pub use limits::{Limits, Publish};
pub use packet::{JsonError, Message, Packet};
#[doc(hidden)]
pub use program::{commands, ini, internet, manual, open_files};
pub use program::{log_file, settings, systemd};
pub use resource::{Resource, Value};
pub use rfc6455::{CloseCode, Request};
pub use server::delivery::{Delivery, Outcome, To};
pub use server::{Server, Timer};
pub use tls::Tls;
pub use uuid::Uuid;
pub use waker::{MAX_WAITING, SendError, Stopper, Waker};
pub use web_socket_server::WebSocketServer;
