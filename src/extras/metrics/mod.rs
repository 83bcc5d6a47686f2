//! `GET /metrics` and the status page: the counters of the server, put into words when somebody asks.
//!
//! The numbers are in `src/counters.rs`; what can be counted from the records is counted when somebody
//! asks: see [`census`]. All of them stand in one list: `figures`. The PHP original has no counterpart.

mod census;
mod figures;
mod picture;
mod process;
mod status_page;
mod text;

pub(crate) use census::Census;
pub(crate) use picture::picture;
pub use status_page::ResourceStatus;
pub(crate) use text::{MEDIA_TYPE, text};
