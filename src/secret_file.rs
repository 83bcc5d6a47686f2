//! Files with secrets: read only if nobody else may change them, and not everybody may read them.
//!
//! A group may read: a service often gets its files so. The PHP original has no counterpart.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::InvalidValue;

/// Writing by the group, and reading or writing by all others.
const FORBIDDEN: u32 = 0o026;

/// The bytes of a file. An error is one line that says what to do.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, InvalidValue> {
    let failed = |error| InvalidValue::from(format!("can't be read: {error}"));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    // What a pipe or a device gives was given to this process alone.
    if metadata.is_file() && mode & FORBIDDEN != 0 {
        let others = if mode & 0o022 != 0 { "others may write it" } else { "everybody may read it" };
        return Err(format!("{others} (mode {mode:03o}); chmod 600 {0}, or chmod 640 {0} for a group", path.display()).into());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
