//! The session check against files: names that lead astray, files that are none, what PHP writes
//! and what it does not.

mod contents;
mod cookies;
mod files;
mod properties;

use crate::util::folder::Folder;
use phpws::rfc6455::Request;
use phpws::sessions::Sessions;

const LIVE: &[u8] = b"user|s:3:\"Eva\";allowconnect|b:1;";

const NONE: &str = "no such session";
const BAD_ID: &str = "bad session id";
const NOT_REGULAR: &str = "the session file is not a regular file";
const FALSE: &str = "the key is not true in this session";
const DAMAGED: &str = "the session file is damaged, half written, or not of the handlers php and php_serialize";

/// A `session.save_path` of its own; it is removed with the value.
struct SavePath(Folder);

impl SavePath {
    fn new() -> SavePath {
        SavePath(Folder::new())
    }

    fn with(id: &str, file: &[u8]) -> SavePath {
        let path = SavePath::new();
        path.write(&format!("sess_{id}"), file);
        path
    }

    fn write(&self, name: &str, file: &[u8]) {
        self.0.write(name, file);
    }

    fn sessions(&self) -> Sessions {
        self.levels("")
    }

    /// With the beginning of PHP's other forms: `2;`, `2;0640;`.
    fn levels(&self, prefix: &str) -> Sessions {
        Sessions::new(&format!("{prefix}{}", self.0.path().display()), Sessions::COOKIE, Sessions::KEY).unwrap()
    }
}

fn request(fields: &str) -> Request {
    Request::parse(format!("GET /web HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).unwrap()
}

fn cookie(id: &str) -> Request {
    request(&format!("Cookie: PHPSESSID={id}\r\n"))
}

/// What the check says of a session with this file, through a cookie and the disk.
fn verdict(file: &[u8]) -> Result<(), &'static str> {
    let sessions = SavePath::with("x", file);
    let request = cookie("x");
    let verdict = sessions.sessions().check(&request);
    assert_eq!(sessions.sessions().admits(&request), verdict.is_ok());
    verdict
}

/// `array($entries)` as `php_serialize` writes it, from entries as it writes them.
fn array(entries: &[&[u8]]) -> Vec<u8> {
    [format!("a:{}:{{", entries.len()).as_bytes(), &entries.concat(), b"}"].concat()
}
