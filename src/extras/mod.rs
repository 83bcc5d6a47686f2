//! What the document does not have, one folder each. The port knows these parts by the moments at which it
//! calls them (`web_socket_server/moments.rs`) and by nothing else.
//!
//! `shared.rs` has what applications reach through the server, `parts.rs` what belongs to the loop, and
//! `switches.rs` how a program turns parts on.

pub mod browser_opcodes;
pub(crate) mod cluster;
pub mod http;
pub(crate) mod idempotency;
pub(crate) mod keys;
pub(crate) mod metrics;
pub mod notices;
pub(crate) mod parts;
pub(crate) mod proxy;
pub(crate) mod publishing;
pub(crate) mod redis;
pub(crate) mod resume;
pub(crate) mod rooms;
pub mod sessions;
pub(crate) mod shared;
mod switches;
mod wishes;
