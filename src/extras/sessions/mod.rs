//! The session check: only a browser whose cookie names a PHP session that says so may connect.
//!
//! ```text
//!   Cookie: PHPSESSID=<id> ──▶ <save_path>/sess_<id> ──▶ allowconnect is true? ──▶ 101, else 403
//! ```
//!
//! The cookie is a stranger's word and the file holds what strangers typed into forms. So an id can
//! only ever name a file in the directory, and a file counts only if it reads well from its first
//! byte to its last. Nothing here knows of sockets or settings. PHP counterpart: `SessionAuthHandler`.

mod serialized;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::InvalidValue;
use crate::rfc6455::Request;
use serialized::{Key, Reader};

/// The largest session file that is read, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// The longest session id, in characters: PHP's `PS_MAX_SID_LENGTH`.
pub const MAX_ID: usize = 256;

/// Where PHP keeps its sessions, and which of them may connect.
#[doc(alias = "SessionAuthHandler")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    path: PathBuf,
    /// Levels of subdirectories, each named by one character of the id: the N of `N;/path`.
    levels: usize,
    cookie: String,
    key: String,
}

impl Sessions {
    /// PHP's default of `session.name`.
    pub const COOKIE: &str = "PHPSESSID";
    /// The key of the original's configuration file.
    pub const KEY: &str = "allowconnect";

    /// Takes the values of PHP's `session.save_path` (`/path`, `N;/path` or `N;MODE;/path`) and
    /// `session.name`, and the key in `$_SESSION` that must be true. An error is one line; it names
    /// what can't be used, among it a directory that is not there or may not be entered.
    pub fn new(save_path: &str, cookie: &str, key: &str) -> Result<Sessions, InvalidValue> {
        let (levels, path) = split_save_path(save_path)?;
        check_cookie(cookie)?;
        check_key(key)?;
        check_directory(path)?;
        Ok(Sessions { path: path.into(), levels, cookie: cookie.into(), key: key.into() })
    }

    /// Whether the request's cookie names a session in which the key is true.
    #[doc(alias = "authenticateClient")]
    pub fn admits(&self, request: &Request) -> bool {
        self.check(request).is_ok()
    }

    /// The same with the reason, in words for the log. It reads at most [`MAX_FILE`] bytes, once,
    /// and waits for nothing but the disk.
    pub fn check(&self, request: &Request) -> Result<(), &'static str> {
        let cookie = request.cookie(&self.cookie).ok_or("no session cookie")?;
        let id = session_id(cookie).filter(|id| id.len() > self.levels).ok_or("bad session id")?;
        self.check_file(&read(&self.file(&id))?)
    }

    /// Whether the key is true in a session file with these bytes.
    pub fn check_file(&self, file: &[u8]) -> Result<(), &'static str> {
        match key_is_true(file, self.key.as_bytes()) {
            Some(true) => Ok(()),
            Some(false) => Err("the key is not true in this session"),
            None => Err("the session file is damaged, half written, or not of the handlers php and php_serialize"),
        }
    }

    /// `sess_<id>`, in the subdirectories that the first characters of the id name.
    fn file(&self, id: &str) -> PathBuf {
        let mut path = self.path.clone();
        for level in 0..self.levels {
            path.push(&id[level..=level]);
        }
        path.push(format!("sess_{id}"));
        path
    }
}

/// PHP's three forms; what it calls MODE concerns only those who create files.
fn split_save_path(save_path: &str) -> Result<(usize, &Path), InvalidValue> {
    let form = || InvalidValue::from(format!("'{save_path}' is not /path, N;/path or N;MODE;/path"));
    let (levels, path) = match save_path.split_once(';') {
        None => ("0", save_path),
        Some((levels, rest)) => match rest.split_once(';') {
            None => (levels, rest),
            Some((mode, path)) if u32::from_str_radix(mode, 8).is_ok() => (levels, path),
            Some(_) => return Err(form()),
        },
    };
    let levels = levels.parse().ok().filter(|levels| *levels < MAX_ID).ok_or_else(form)?;
    match path {
        "" => Err("the directory is missing; if PHP's session.save_path is empty, it is PHP's temporary directory".into()),
        path => Ok((levels, Path::new(path))),
    }
}

/// A name that PHP refuses, or that no cookie can bear, would lock everybody out.
fn check_cookie(cookie: &str) -> Result<(), InvalidValue> {
    let good = !cookie.is_empty() && cookie.bytes().all(|byte| byte.is_ascii_graphic() && !b"=,;.[".contains(&byte));
    if good { Ok(()) } else { Err(format!("'{cookie}' can't be the name of a session cookie; it is PHP's session.name").into()) }
}

/// The same for keys: the handler `php` can't write `|`, drops numbers, and once had a use for `!`.
fn check_key(key: &str) -> Result<(), InvalidValue> {
    let good = !key.is_empty() && !key.contains('|') && !key.starts_with('!') && key.parse::<i64>().is_err();
    if good { Ok(()) } else { Err(format!("'{key}' can't be a key of a PHP session").into()) }
}

/// Entering is enough: Debian's directory of sessions can't be listed, and need not be.
fn check_directory(path: &Path) -> Result<(), InvalidValue> {
    match std::fs::metadata(path.join(".")) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(format!("{} is not a directory", path.display()).into()),
        Err(error) => Err(format!("the directory {} can't be entered: {error}", path.display()).into()),
    }
}

/// The id in a cookie's value, if it is of the alphabet and length of PHP's ids.
fn session_id(cookie: &str) -> Option<String> {
    // As PHP does to the values in `$_COOKIE`: it writes the comma of an id as `%2C`.
    let id = percent_decode_str(cookie).decode_utf8().ok()?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'-');
    ((1..=MAX_ID).contains(&id.len()) && id.bytes().all(good)).then(|| id.into_owned())
}

/// The whole file, if it is an ordinary one of ordinary size.
fn read(path: &Path) -> Result<Vec<u8>, &'static str> {
    // Neither through a link to elsewhere, nor waiting for the other end of a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| why_not_open(&error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("the session file is not a regular file");
    }
    read_all(file)
}

fn read_all(file: File) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    match file.take(MAX_FILE + 1).read_to_end(&mut bytes) {
        Err(_) => Err("the session file can't be read"),
        Ok(count) if count as u64 > MAX_FILE => Err("the session file is over 1 MiB"),
        Ok(_) => Ok(bytes),
    }
}

fn why_not_open(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => "no such session",
        ErrorKind::PermissionDenied => "no permission to read the session file",
        // What the system says to O_NOFOLLOW on a link has no stable kind yet.
        _ if error.raw_os_error() == Some(libc::ELOOP) => "the session file is not a regular file",
        _ => "the session file can't be opened",
    }
}

/// Whether `key` is true in a session file; `None` for a file that is not whole or not of the two
/// handlers that are known here.
///
/// The file does not say which handler wrote it. Read with the wrong one, a string that somebody typed in
/// can pass for a key: the well-known hole of PHP sites that mix handlers. Hence:
/// - A file that is one serialized array, from its first byte to its last, is `php_serialize`'s.
/// - Otherwise it is `php`'s, if it reads as such to its last byte and its first key is plain text.
///   What other handlers write puts a quote or a control character before the first string.
/// - A file that reads well both ways is true only if it is so both ways.
fn key_is_true(file: &[u8], key: &[u8]) -> Option<bool> {
    match (php_serialize(file, key), php(file, key)) {
        (Some(one), Some(other)) => Some(one && other),
        (Some(truth), None) => Some(truth),
        (None, Some(truth)) => begins_with_text(file).then_some(truth),
        (None, None) => None,
    }
}

/// One serialized array.
fn php_serialize(file: &[u8], key: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(file);
    let mut truth = false;
    for _ in 0..reader.array()? {
        let name = reader.key()?;
        let value = reader.value()?;
        if name == Key::String(key) {
            truth = value;
        }
    }
    reader.array_end()?;
    reader.is_at_end().then_some(truth)
}

/// `key|value` again and again, with nothing between. Of a key that comes twice the last one counts.
fn php(file: &[u8], key: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(file);
    let mut truth = false;
    while !reader.is_at_end() {
        let name = reader.until(b'|')?;
        // PHP to 7.0 reads `!key|` as a key without a value; since then it is a key like any other.
        let undefined = name.starts_with(b"!") && !reader.is_at_value();
        let value = !undefined && reader.value()?;
        if name == key {
            truth = value;
        }
    }
    Some(truth)
}

fn begins_with_text(file: &[u8]) -> bool {
    let first_key = file.split(|byte| *byte == b'|').next().unwrap_or_default();
    str::from_utf8(first_key).is_ok_and(|key| !key.contains(|char: char| char == '"' || char.is_control()))
}
