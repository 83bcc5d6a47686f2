//! What the document does not have, one folder each. The port knows them by the moments at which it
//! calls them (`web_socket_server/moments.rs`) and by nothing else.

pub mod browser_opcodes;
pub(crate) mod cluster;
pub mod http;
pub(crate) mod metrics;
pub mod notices;
pub(crate) mod proxy;
pub(crate) mod publishing;
pub(crate) mod redis;
pub(crate) mod resume;
pub(crate) mod rooms;
pub mod sessions;
