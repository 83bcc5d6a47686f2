//! What `cargo test` checks from outside: the program by its port, its command line and its files, the library by
//! its public names, the pages of the documentation by both.
//!
//! One binary, since each is linked anew: a module for each subject, so that `cargo test --test all rooms::` runs one.
//! The suites that want a release build, other programs or a machine of their own are binaries beside it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../util/mod.rs"]
mod util;

mod apps;
mod bounds;
mod cli;
mod commands;
mod descriptors;
mod dialog;
mod docs;
mod embedding;
mod frames;
mod guesses;
mod handshake;
mod house;
mod http_publish;
mod internet;
mod limits;
mod load;
mod log;
mod manual;
mod metrics;
mod notices;
mod openapi;
mod own_host;
mod pace;
mod page;
mod php_clients;
mod regressions;
mod resume;
mod rooms;
mod sessions;
mod shutdown;
mod systemd;
mod tls;
