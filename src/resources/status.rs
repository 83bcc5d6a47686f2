//! The resource behind the status page, which is a part of its own.

pub use crate::extras::metrics::ResourceStatus;
