//! How a client is written to.

pub(crate) mod keyed;
pub(crate) mod numbered;
pub(crate) mod outbox;
pub(crate) mod pace;
