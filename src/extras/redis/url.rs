//! Where Redis is, and the user to go there as: `redis://`, `rediss://` or `unix://`.
//!
//! Only text here: no file is read, no name looked up. No error and no output shows the password or
//! quotes a part of the URL that could be one in the wrong place.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::address::{parse_port, split_port};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_USER: &str = "default";
const FORMS: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… (TLS) or unix:///PATH[?db=N]";

/// `redis://[[user]:password@]host[:port][/db]`, `rediss://…` or `unix://[[user]:password@]/path[?db=N]`.
/// Everything may be percent-encoded; in user and password `/`, `?`, `#` and `%` must be.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    pub(super) place: Place,
    pub(super) login: Option<Login>,
    pub(super) db: u32,
    pub(super) tls: Option<TlsFiles>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A host name or an IP address, the latter without brackets, and a port.
    Tcp(String, u16),
    Unix(PathBuf),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// PEM files for TLS: `?ca=FILE` has the authorities to trust in place of those of the system,
/// `?cert=FILE&key=FILE` is our own certificate, which Redis asks for unless `tls-auth-clients` is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl RedisUrl {
    /// The number of the database.
    pub(crate) fn database(&self) -> u32 {
        self.db
    }

    /// Reads a URL; an error is one line without a part of it.
    pub(crate) fn parse(text: &str) -> Result<RedisUrl, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("is not {FORMS}"))?;
        let (secure, is_file) = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (true, false),
            "unix" => (false, true),
            _ => return Err(format!("has an unknown scheme; write {FORMS}")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains(['#', '@']) {
            return Err("holds a # or @ where none may be; in a password write # as %23, ? as %3F, @ as %40".into());
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Login::parse(login)?, rest),
            None => (None, rest),
        };
        let (host, db) = if is_file { (rest, "") } else { rest.split_once('/').unwrap_or((rest, "")) };
        let place = if is_file { socket_file(rest)? } else { host_and_port(host)? };
        let tls = secure.then(TlsFiles::default);
        let mut url = RedisUrl { place, login, db: database(db)?, tls };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            url.option(&key, &value)?;
        }
        match &url.tls {
            Some(files) if files.cert.is_some() != files.key.is_some() => {
                Err("needs both cert=FILE and key=FILE, or neither".into())
            }
            _ => Ok(url),
        }
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        let file = Some(PathBuf::from(value)).filter(|_| !value.is_empty());
        match (key, &mut self.tls) {
            ("db", _) => self.db = database(value)?,
            ("ca", Some(files)) => files.ca = file,
            ("cert", Some(files)) => files.cert = file,
            ("key", Some(files)) => files.key = file,
            ("ca" | "cert" | "key", None) => return Err(format!("has {key}=FILE, which goes with rediss:// only")),
            _ => return Err("has an unknown option behind the ?; there are db, ca, cert and key".into()),
        }
        Ok(())
    }

    /// A text that the other side sent, without the password it may have sent back.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.login {
            Some(login) => text.replace(&login.password, "***"),
            None => text.into(),
        }
    }
}

impl Login {
    fn parse(text: &str) -> Result<Option<Login>, String> {
        let Some((user, password)) = text.split_once(':') else {
            return Err("has a user without a password; write :PASSWORD@HOST if it is a password".into());
        };
        let (user, password) = (decode(user)?, decode(password)?);
        match (user.is_empty(), password.is_empty()) {
            (true, true) => Ok(None),
            (_, true) => Err("has a user without a password".into()),
            (true, false) => Ok(Some(Login { user: DEFAULT_USER.into(), password })),
            (false, false) => Ok(Some(Login { user, password })),
        }
    }
}

fn host_and_port(text: &str) -> Result<Place, String> {
    let (host, port) = split_port(text).map_err(|_| "lacks a ] or has a : too many in its host".to_owned())?;
    let port = port.map_or(Ok(DEFAULT_PORT), parse_port).ok().filter(|port| *port != 0);
    let port = port.ok_or("has a port that is not a number from 1 to 65535, or lacks HOST behind the @")?;
    match decode(host)? {
        host if host.is_empty() => Err(format!("lacks a host; write {FORMS}")),
        host => Ok(Place::Tcp(host, port)),
    }
}

fn socket_file(text: &str) -> Result<Place, String> {
    match text.starts_with('/') {
        true => Ok(Place::Unix(decode(text)?.into())),
        false => Err("lacks the absolute path of a socket; write unix:///PATH".into()),
    }
}

fn database(text: &str) -> Result<u32, String> {
    match text {
        "" => Ok(0),
        _ => text.parse().map_err(|_| "has a database that is not a number; write HOST/0 or ?db=0".into()),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "is not UTF-8 behind its % signs".into())
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_ref().map_or(String::new(), |login| format!("{}:***@", login.user));
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => write!(f, "{scheme}://{login}[{host}]:{port}/{}", self.db),
            Place::Tcp(host, port) => write!(f, "{scheme}://{login}{host}:{port}/{}", self.db),
            Place::Unix(path) => write!(f, "unix://{login}{}?db={}", path.display(), self.db),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_in_every_form() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://localhost/", "redis://localhost:6379/0"),
            ("REDIS://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("valkey://h", "redis://h:6379/0"),
            ("rediss://h:1/?db=2", "rediss://h:1/2"),
            ("redis://[::1]:7000/1", "redis://[::1]:7000/1"),
            ("redis://::1", "redis://[::1]:6379/0"),
            ("redis://:secret@h", "redis://default:***@h:6379/0"),
            ("redis://:@h", "redis://h:6379/0"),
            ("redis://ann:secret@h:1/2", "redis://ann:***@h:1/2"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
            ("unix://:secret@/run/a%20b.sock?db=4", "unix://default:***@/run/a b.sock?db=4"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let login = RedisUrl::parse("redis://a%3Ab:p%40ss%2F%25+:x@h").unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("a:b", "p@ss/%+:x"));
        let login = RedisUrl::parse("redis://:a@b/c@h").unwrap().login.unwrap();
        assert_eq!(login.password, "a@b/c", "what can be told apart is taken");
    }

    #[test]
    fn files_go_with_tls() {
        let tls = RedisUrl::parse("rediss://h?ca=/a%20b.pem&cert=c.pem&key=k.pem").unwrap().tls.unwrap();
        assert_eq!(tls, TlsFiles { ca: Some("/a b.pem".into()), cert: Some("c.pem".into()), key: Some("k.pem".into()) });
        assert_eq!(RedisUrl::parse("rediss://h").unwrap().tls, Some(TlsFiles::default()));
        assert!(RedisUrl::parse("redis://h?ca=a.pem").unwrap_err().contains("rediss://"));
        assert!(RedisUrl::parse("rediss://h?cert=a.pem").unwrap_err().contains("key=FILE"));
    }

    #[test]
    fn what_is_no_url_says_why_and_never_shows_what_may_be_a_password() {
        for (text, part) in [
            ("", "redis://"),
            ("hunter2", "redis://"),
            ("http://hunter2@h", "scheme"),
            ("redis://hunter2@h", ":PASSWORD@HOST"),
            ("redis://hunter2:@h", "without a password"),
            ("redis://", "lacks a host"),
            ("redis://:hunter2", "port"),
            ("redis://:hunter2@", "lacks a host"),
            ("redis://:a?hunter2@h", "%3F"),
            ("redis://:a#hunter2@h", "%23"),
            ("redis://:%ff@h", "UTF-8"),
            ("redis://h:0", "port"),
            ("redis://h:70000", "port"),
            ("redis://[::1", "]"),
            ("redis://a:b:c", "too many"),
            ("redis://h/hunter2", "database"),
            ("redis://h?hunter2=1", "unknown option"),
            ("redis://h?db=-1", "database"),
            ("unix://hunter2", "absolute path"),
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn what_comes_back_is_shown_without_the_password() {
        let url = RedisUrl::parse("redis://:hunter2@h").unwrap();
        assert_eq!(url.redact("unknown command 'hunter2'"), "unknown command '***'");
    }
}
