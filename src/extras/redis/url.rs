//! Where Redis is, and the user to go there as: `redis://`, `rediss://` or `unix://`, or the Sentinels that know.
//!
//! Only text here: no file is read, no name looked up. No error and no output shows the password or
//! quotes a part of the URL that could be one in the wrong place.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::address::{parse_port, split_port};

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const DEFAULT_USER: &str = "default";
const FORMS: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… (TLS), redis+sentinel://HOST[:PORT],…/NAME[/DB] or unix:///PATH[?db=N]";

/// `redis://[[user]:password@]host[:port][/db]`, `rediss://…`, `redis+sentinel://[[user]:password@]host[:port],…/name[/db]`
/// or `unix://[[user]:password@]/path[?db=N]`. Everything may be percent-encoded; in user and password `/`, `?`, `#` and
/// `%` must be. Several hosts are nodes of one Redis Cluster, or Sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    pub(super) place: Place,
    pub(super) login: Option<Login>,
    pub(super) db: u32,
    pub(super) tls: Option<TlsFiles>,
    /// With these the place is theirs, and the rest is for the master that they name.
    pub(super) sentinel: Option<Sentinel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(Vec<Host>),
    Unix(PathBuf),
}

/// A host name or an IP address, the latter without brackets, and a port.
pub(super) type Host = (String, u16);

/// What Sentinels are asked for, and how.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sentinel {
    pub(super) name: String,
    pub(super) login: Option<Login>,
    pub(super) tls: Option<TlsFiles>,
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
        let scheme = scheme.to_ascii_lowercase();
        let (base, is_sentinel) = scheme.strip_suffix("+sentinel").map_or((&*scheme, false), |base| (base, true));
        let (secure, is_file) = match base {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (true, false),
            "unix" if !is_sentinel => (false, true),
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
        let (hosts, path) = if is_file { (rest, "") } else { rest.split_once('/').unwrap_or((rest, "")) };
        let (name, db) = if is_sentinel { path.split_once('/').unwrap_or((path, "")) } else { ("", path) };
        let port = if is_sentinel { SENTINEL_PORT } else { DEFAULT_PORT };
        let place = if is_file { socket_file(rest)? } else { Place::Tcp(hosts_and_ports(hosts, port)?) };
        let tls = secure.then(TlsFiles::default);
        let sentinel = is_sentinel.then(|| Sentinel::new(name)).transpose()?;
        let mut url = RedisUrl { place, login, db: database(db)?, tls, sentinel };
        url.options(query)?;
        Ok(url)
    }

    fn options(&mut self, query: &str) -> Result<(), String> {
        let mut ours = SentinelOptions::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let (key, value) = (decode(key)?, decode(value)?);
            match (key.strip_prefix("sentinel-"), &self.sentinel) {
                (Some(key), Some(_)) => ours.option(key, &value)?,
                _ => self.option(&key, &value)?,
            }
        }
        self.tls.iter().try_for_each(TlsFiles::check)?;
        if let Some(sentinel) = &mut self.sentinel {
            (sentinel.login, sentinel.tls) = ours.settle(self.tls.as_ref())?;
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, &mut self.tls) {
            ("db", _) => self.db = database(value)?,
            ("ca" | "cert" | "key", Some(files)) => files.option(key, value),
            ("ca" | "cert" | "key", None) => return Err(format!("has {key}=FILE, which goes with rediss:// only")),
            _ => return Err(UNKNOWN_OPTION.into()),
        }
        Ok(())
    }

    /// All hosts that are named.
    pub(super) fn hosts(&self) -> &[Host] {
        match &self.place {
            Place::Tcp(hosts) => hosts,
            Place::Unix(_) => &[],
        }
    }

    /// A text that the other side sent, without the password it may have sent back.
    pub(super) fn redact(&self, text: &str) -> String {
        let logins = self.login.iter().chain(self.sentinel.iter().filter_map(|sentinel| sentinel.login.as_ref()));
        logins.fold(text.into(), |text: String, login| text.replace(&login.password, "***"))
    }
}

const UNKNOWN_OPTION: &str = "has an unknown option behind the ?; there are db, ca, cert and key, and for Sentinels \
    sentinel-user, sentinel-password, sentinel-tls, sentinel-ca, sentinel-cert and sentinel-key";

impl TlsFiles {
    fn option(&mut self, key: &str, value: &str) {
        let file = Some(PathBuf::from(value)).filter(|_| !value.is_empty());
        match key {
            "ca" => self.ca = file,
            "cert" => self.cert = file,
            _ => self.key = file,
        }
    }

    fn check(&self) -> Result<(), String> {
        match self.cert.is_some() == self.key.is_some() {
            true => Ok(()),
            false => Err("needs both cert=FILE and key=FILE, or neither".into()),
        }
    }
}

/// What the URL says of Sentinels apart from the master.
#[derive(Default)]
struct SentinelOptions {
    user: String,
    password: String,
    tls: Option<bool>,
    files: TlsFiles,
}

impl SentinelOptions {
    fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        match (key, value) {
            ("user", _) => self.user = value.into(),
            ("password", _) => self.password = value.into(),
            ("tls", "on") => self.tls = Some(true),
            ("tls", "off") => self.tls = Some(false),
            ("tls", _) => return Err("has a sentinel-tls that is not on or off".into()),
            ("ca" | "cert" | "key", _) => self.files.option(key, value),
            _ => return Err(UNKNOWN_OPTION.into()),
        }
        Ok(())
    }

    /// Sentinels are reached as the master is, where nothing else is said.
    fn settle(self, master: Option<&TlsFiles>) -> Result<(Option<Login>, Option<TlsFiles>), String> {
        self.files.check()?;
        let (no_files, secure) = (self.files == TlsFiles::default(), self.tls.unwrap_or(master.is_some()));
        let files = if no_files { master.cloned().unwrap_or_default() } else { self.files };
        match (no_files, secure) {
            (false, false) => Err("has files for sentinel-tls, which is off".into()),
            _ => Ok((Login::new(self.user, self.password)?, secure.then_some(files))),
        }
    }
}

impl Sentinel {
    fn new(name: &str) -> Result<Sentinel, String> {
        match decode(name)? {
            name if name.is_empty() => Err("lacks the name of the master; write redis+sentinel://HOST,HOST/NAME".into()),
            name => Ok(Sentinel { name, login: None, tls: None }),
        }
    }
}

impl Login {
    fn parse(text: &str) -> Result<Option<Login>, String> {
        let Some((user, password)) = text.split_once(':') else {
            return Err("has a user without a password; write :PASSWORD@HOST if it is a password".into());
        };
        Login::new(decode(user)?, decode(password)?)
    }

    fn new(user: String, password: String) -> Result<Option<Login>, String> {
        match (user.is_empty(), password.is_empty()) {
            (true, true) => Ok(None),
            (_, true) => Err("has a user without a password".into()),
            (true, false) => Ok(Some(Login { user: DEFAULT_USER.into(), password })),
            (false, false) => Ok(Some(Login { user, password })),
        }
    }
}

fn hosts_and_ports(text: &str, default: u16) -> Result<Vec<Host>, String> {
    text.split(',').map(|host| host_and_port(host, default)).collect()
}

fn host_and_port(text: &str, default: u16) -> Result<Host, String> {
    let (host, port) = split_port(text).map_err(|_| "lacks a ] or has a : too many in its host".to_owned())?;
    let port = port.map_or(Ok(default), parse_port).ok().filter(|port| *port != 0);
    let port = port.ok_or("has a port that is not a number from 1 to 65535, or lacks HOST behind the @")?;
    match decode(host)? {
        host if host.is_empty() => Err(format!("lacks a host; write {FORMS}")),
        host => Ok((host, port)),
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
        let (kind, name) = match &self.sentinel {
            Some(sentinel) => ("+sentinel", format!("{}/", sentinel.name)),
            None => ("", String::new()),
        };
        let shown = |(host, port): &Host| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match &self.place {
            Place::Tcp(hosts) => {
                let hosts: Vec<String> = hosts.iter().map(shown).collect();
                write!(f, "{scheme}{kind}://{login}{}/{name}{}", hosts.join(","), self.db)
            }
            Place::Unix(path) => write!(f, "unix://{login}{}?db={}", path.display(), self.db),
        }
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sentinel({})", self.name)
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
            ("redis://a,[::1]:7001,c:7002/", "redis://a:6379,[::1]:7001,c:7002/0"),
            ("redis+sentinel://a,b:5/main", "redis+sentinel://a:26379,b:5/main/0"),
            ("rediss+sentinel://ann:secret@a/ma%2Fin/2", "rediss+sentinel://ann:***@a:26379/ma/in/2"),
            ("valkey+sentinel://a/m?db=3", "redis+sentinel://a:26379/m/3"),
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
    fn sentinels_have_a_password_and_tls_of_their_own() {
        let of = |text: &str| RedisUrl::parse(text).unwrap().sentinel.unwrap();
        let sentinel = of("redis+sentinel://:a@h/m?sentinel-user=ann&sentinel-password=b%40+c");
        let login = sentinel.login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str(), sentinel.tls), ("ann", "b@+c", None));
        let files = |ca: &str| Some(TlsFiles { ca: Some(ca.into()), ..TlsFiles::default() });
        assert_eq!(of("rediss+sentinel://h/m?ca=a.pem").tls, files("a.pem"), "as the master");
        assert_eq!(of("rediss+sentinel://h/m?ca=a.pem&sentinel-ca=b.pem").tls, files("b.pem"));
        assert_eq!(of("rediss+sentinel://h/m?sentinel-tls=off").tls, None);
        assert_eq!(of("redis+sentinel://h/m?sentinel-tls=on").tls, Some(TlsFiles::default()));
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
            ("redis://a,,b", "lacks a host"),
            ("redis+sentinel://a", "name of the master"),
            ("redis+sentinel://a/m/hunter2", "database"),
            ("unix+sentinel://a/m", "scheme"),
            ("redis://h?sentinel-password=hunter2", "unknown option"),
            ("redis+sentinel://a/m?sentinel-user=hunter2", "without a password"),
            ("redis+sentinel://a/m?sentinel-hunter2=1", "unknown option"),
            ("redis+sentinel://a/m?sentinel-tls=hunter2", "on or off"),
            ("redis+sentinel://a/m?sentinel-ca=a.pem", "which is off"),
            ("rediss+sentinel://a/m?sentinel-cert=a.pem", "key=FILE"),
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
        let url = RedisUrl::parse("redis+sentinel://:hunter2@h/m?sentinel-password=hunter3").unwrap();
        assert_eq!(url.redact("hunter2 hunter3"), "*** ***");
    }
}
