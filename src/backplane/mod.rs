//! The backplane: how several servers that share one Redis (or Valkey) act as one.
//!
//! It attaches at one line in the core, which works the same without it. [`url`] says where Redis is,
//! [`link`] is the one connection to it. The PHP original has no counterpart.

#![allow(dead_code, reason = "the parts come before what uses them")]

pub(crate) mod link;
pub(crate) mod url;
