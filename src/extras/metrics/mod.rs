//! `GET /metrics` and the status page: the counters of the server, put into words when somebody asks.
//!
//! The numbers are in `src/counters.rs`; what can be counted from the records is counted when somebody
//! asks: see [`census`]. The PHP original has no counterpart.

mod census;
mod process;
mod status_page;
mod text;

pub(crate) use census::{Census, snapshot};
pub use status_page::ResourceStatus;
pub(crate) use text::{MEDIA_TYPE, text};
