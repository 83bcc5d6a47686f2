//! How many descriptors the process may have: one for each connection.
//!
//! The soft limit is 1,024 on most systems, for the sake of programs that call `select`. This one does not, and it
//! starts no other programs, so it takes what the hard limit allows. PHP has no counterpart.

use rlimit::Resource;

use crate::newcomers::MAX_DESCRIPTORS;

/// Raises the soft limit to the hard one. Where that is not permitted, the limit stays as it is.
pub fn raise() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// How many it may have now. Where there is no limit, a number that no memory suffices for.
pub(crate) fn limit() -> u64 {
    Resource::NOFILE.get_soft().unwrap_or_default().min(MAX_DESCRIPTORS)
}
