//! The connection to Redis or Valkey.

mod resp;
