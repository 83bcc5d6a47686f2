//! What only the program needs: its settings, its log file, its limit of open files, its commands, systemd.

pub mod commands;
pub(crate) mod http_client;
pub mod ini;
pub mod internet;
mod invocation;
pub mod log_file;
pub(crate) mod log_rate;
pub(crate) mod log_writer;
pub mod manual;
pub mod open_files;
pub mod settings;
pub mod systemd;
