//! Every setting of the program in one table: flag, environment, configuration file, default.
//!
//! A setting's flag is its name, its variable is `PHPWS_` and the name in capitals, its key in the
//! file is the name or PHP's own word for it. How they are read into the table is `invocation`. PHP
//! counterpart: `GetAllConfig.php` and the parameters of `runSocketServer.php`.

mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::address::Address;
use crate::error::{InvalidValue, StartError};
use crate::extras::http::tokens::Tokens;
use crate::extras::notices::{Receiver, Secret};
use crate::extras::sessions::Sessions;
use crate::limits::{Limits, Publish};
use crate::program::internet::Internet;
use crate::program::log_file::LogFormat;
use crate::program::log_rate::LOG_RATE;
use crate::secret_file;
use crate::web_socket_server::WebSocketServer;

use values::{host, net, number, origin, positive, prefix, publish, seconds, some_seconds, switch};

pub use crate::program::invocation::{FileValues, Invocation, InvocationError, from_args, help, parse_file};

/// What the program is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: Address,
    /// What `--internet` did, where it is on.
    pub internet: Option<Internet>,
    /// Certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// Private key, PEM; without it the certificate's file is searched for one.
    pub key: Option<PathBuf>,
    /// Log file.
    pub log_file: Option<PathBuf>,
    /// Bytes after which the log file is renamed; 0 is never.
    pub log_size: u64,
    /// Renamed log files that are kept.
    pub log_keep: usize,
    /// Whether log lines go to standard output.
    pub console: bool,
    /// What is logged.
    pub log_level: LevelFilter,
    /// The form of the lines.
    pub log_format: LogFormat,
    /// Lines a second that connections may cause; 0 is no limit.
    pub log_rate: u32,
    /// Whether browsers need a PHP session.
    pub require_session: bool,
    /// PHP's `session.save_path`.
    pub session_path: Option<String>,
    /// PHP's `session.name`.
    pub session_cookie: String,
    /// The key in `$_SESSION` that must be true.
    pub session_key: String,
    /// The page that is told who comes and goes.
    pub notify_url: Option<String>,
    /// A file with the secret that notices are signed with.
    pub notify_secret_file: Option<PathBuf>,
    /// The secret itself, from `PHPWS_NOTIFY_SECRET`.
    pub notify_secret: Option<String>,
    /// Tokens for publishing, one a line; from the environment only, so that no list of processes shows
    /// them.
    pub publish_token: Option<String>,
    /// A file of such tokens.
    pub publish_token_file: Option<PathBuf>,
    /// Redis or Valkey, through which several processes act as one.
    pub backplane: Option<String>,
    /// What all names there begin with.
    pub backplane_prefix: String,
    /// The knobs of the server.
    pub limits: Limits,
    /// Validate everything, bind nothing.
    pub check: bool,
}

impl Settings {
    /// The tokens for publishing: the file's, else the environment's.
    pub fn tokens(&self) -> Result<Tokens, StartError> {
        match (&self.publish_token_file, &self.publish_token) {
            (Some(file), _) => Tokens::load(file),
            (None, Some(text)) => Tokens::parse(text).map_err(|problem| StartError::new(TOKEN_VARIABLE, problem)),
            (None, None) if self.limits.publish == Publish::Token => {
                Err(StartError::new("--publish token", "needs tokens: give --publish-token-file FILE or set PHPWS_PUBLISH_TOKEN"))
            }
            (None, None) => Ok(Tokens::default()),
        }
    }

    /// Whether tokens are given, right or wrong.
    pub fn has_tokens(&self) -> bool {
        self.publish_token_file.is_some() || self.publish_token.is_some()
    }

    /// The session check, where it is asked for.
    pub fn sessions(&self) -> Result<Option<Sessions>, StartError> {
        let path = match (&self.session_path, self.require_session) {
            (_, false) => return Ok(None),
            (None, true) => {
                return Err(StartError::new("--require-session", "needs PHP's session.save_path: give --session-path DIR"));
            }
            (Some(path), true) => path,
        };
        let sessions = Sessions::new(path, &self.session_cookie, &self.session_key);
        sessions.map(Some).map_err(|problem| StartError::new("--session-path", problem))
    }

    /// The page that is told who comes and goes, where there is one.
    pub fn notices(&self) -> Result<Option<Receiver>, StartError> {
        let Some(url) = &self.notify_url else { return Ok(None) };
        let secret = match (&self.notify_secret_file, &self.notify_secret) {
            (Some(file), _) => read_secret(file)?,
            (None, Some(text)) => Secret::new(text.as_bytes()).map_err(|problem| StartError::new(SECRET_VARIABLE, problem))?,
            (None, None) => {
                let needed = "needs a secret: give --notify-secret-file FILE or set PHPWS_NOTIFY_SECRET";
                return Err(StartError::new("--notify-url", needed));
            }
        };
        Receiver::new(url, secret).map(Some).map_err(|problem| StartError::new("--notify-url", problem))
    }
}

/// The parts that a server has only where they are asked for.
pub struct Parts {
    sessions: Option<Sessions>,
    receiver: Option<Receiver>,
    tokens: Tokens,
}

impl Settings {
    /// All parts; what is wrong with their files ends here.
    pub fn parts(&self) -> Result<Parts, StartError> {
        Ok(Parts { sessions: self.sessions()?, receiver: self.notices()?, tokens: self.tokens()? })
    }

    /// Gives a server its parts. `--check` comes by here too: what the start refuses it refuses.
    pub fn equip(&self, server: &mut WebSocketServer, Parts { sessions, receiver, tokens }: Parts) -> Result<(), StartError> {
        server.require_session(sessions);
        server.send_notices(receiver)?;
        server.publish_tokens(tokens);
        match &self.backplane {
            Some(url) => server.join_backplane(url, &self.backplane_prefix),
            None => Ok(()),
        }
    }
}

/// The variable with the secret of notices.
pub(super) const SECRET_VARIABLE: &str = "PHPWS_NOTIFY_SECRET";

/// The variable with tokens for publishing.
pub(super) const TOKEN_VARIABLE: &str = "PHPWS_PUBLISH_TOKEN";

/// One row of the table.
pub struct Setting {
    /// Flag and key.
    pub name: &'static str,
    /// One-letter flag, or empty.
    pub short: &'static str,
    /// PHP's word in the file, or empty.
    pub php: &'static str,
    /// Placeholder of the value; empty for a switch.
    pub hint: &'static str,
    /// Default as shown; empty for none.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Whether it may be given several times.
    pub many: bool,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), InvalidValue>,
}

impl Setting {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("PHPWS_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub(super) fn is_switch(&self) -> bool {
        self.hint.is_empty()
    }

    /// Whether nothing is a value, and not a word for the default. For a switch it means no, as in PHP. A prefix that is
    /// missing by mistake would join somebody else's cluster.
    pub(super) fn takes_nothing(&self) -> bool {
        self.is_switch() || self.name == "backplane-prefix"
    }
}

macro_rules! setting {
    ($name:literal, $short:literal, $php:literal, $hint:literal, $default:literal, $help:literal, $set:expr) => {
        Setting { name: $name, short: $short, php: $php, hint: $hint, default: $default, help: $help, many: false, set: $set }
    };
    (many $name:literal, $short:literal, $php:literal, $hint:literal, $default:literal, $help:literal, $set:expr) => {
        Setting { name: $name, short: $short, php: $php, hint: $hint, default: $default, help: $help, many: true, set: $set }
    };
}

/// The table. `--help` and docs/operations.md show the same rows.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting!("address", "", "adress", "ADDRESS", "ws://127.0.0.1:8095", "where to listen; the same as the first argument",
        |s, v| { s.address = Address::parse(v)?; Ok(()) }),
    setting!("internet", "", "", "", "off", "strict values for a server that strangers reach, and a list of what is still to be named; each setting that is given wins over it",
        |s, v| { s.internet = switch(v)?.then(Internet::default); Ok(()) }),
    setting!("cert", "", "certFile", "FILE", "", "certificate chain for wss:// (PEM)",
        |s, v| { s.cert = Some(v.into()); Ok(()) }),
    setting!("key", "", "pkFile", "FILE", "", "private key for wss:// (PEM: PKCS#8, PKCS#1 or SEC1); default: in the --cert file",
        |s, v| { s.key = Some(v.into()); Ok(()) }),
    setting!("log-file", "l", "logfile", "FILE", "", "append log lines to this file",
        |s, v| { s.log_file = Some(v.into()); Ok(()) }),
    setting!("log-size", "", "", "BYTES", "10485760", "rename the log file to FILE.1 at this size; 0 = never",
        |s, v| { s.log_size = number(v)?; Ok(()) }),
    setting!("log-keep", "", "", "COUNT", "5", "keep this many renamed log files",
        |s, v| { s.log_keep = number(v)?; Ok(()) }),
    setting!("console", "", "console", "", "on", "log to standard output",
        |s, v| { s.console = switch(v)?; Ok(()) }),
    setting!("log-level", "", "", "LEVEL", "info", "off, error, warn, info, debug or trace (trace shows frames)",
        |s, v| { s.log_level = v.parse().map_err(|_| format!("'{v}' is not off, error, warn, info, debug or trace"))?; Ok(()) }),
    setting!("log-format", "", "", "FORMAT", "text", "text (date;message) or json (one object a line, with time, level and message)",
        |s, v| { s.log_format = v.parse()?; Ok(()) }),
    setting!("log-rate", "", "", "LINES", "1000", "log lines a second that connections may cause (ten times as many in a burst); 0 = unlimited",
        |s, v| { s.log_rate = number(v)?; Ok(()) }),
    setting!("max-per-ip", "", "maxPerIP", "COUNT", "0", "browser connections from one address; 0 = unlimited",
        |s, v| { s.limits.max_per_ip = number(v)?; Ok(()) }),
    setting!("max-clients", "", "maxClients", "COUNT", "0", "clients at a time; 0 = unlimited",
        |s, v| { s.limits.max_clients = number(v)?; Ok(()) }),
    setting!("max-newcomers", "", "", "COUNT", "0", "connections that are no clients yet, also plain HTTP; beyond them one goes for each that comes; 0 = an eighth of the descriptors",
        |s, v| { s.limits.max_newcomers = number(v)?; Ok(()) }),
    setting!("max-chunks", "", "maxChunks", "COUNT", "100", "chunks between bufferON and bufferOFF (one more is accepted); 0 = unlimited",
        |s, v| { s.limits.max_chunks = number(v)?; Ok(()) }),
    setting!("max-message", "", "maxBufferSize", "BYTES", "5242880", "size of one message, also in fragments or chunks",
        |s, v| { s.limits.max_message = positive(v)?; Ok(()) }),
    setting!("max-outbox", "", "", "BYTES", "8388608", "bytes that may wait for one slow client before it is dropped",
        |s, v| { s.limits.max_outbox = positive(v)?; Ok(()) }),
    setting!("max-memory", "", "", "BYTES", "0", "bytes that all clients together may hold in memory; 0 = a quarter of what there is, at least 32 MiB",
        |s, v| { s.limits.max_memory = number(v)?; Ok(()) }),
    setting!("resume-time", "", "", "SECONDS", "60", "keep browsers that opted in, and what is sent to them, so long after their connection broke; 0 = off",
        |s, v| { s.limits.resume_time = seconds(v)?; Ok(()) }),
    setting!("resume-bytes", "", "", "BYTES", "262144", "bytes of messages kept for one such client",
        |s, v| { s.limits.resume_bytes = positive(v)?; Ok(()) }),
    setting!("max-away", "", "", "COUNT", "0", "such clients that are away at a time; 0 = one for each 4 KiB of max-memory, at most 100000",
        |s, v| { s.limits.max_away = number(v)?; Ok(()) }),
    setting!("max-message-rate", "", "", "COUNT", "0", "messages a second from one browser (twice as many in a burst); past them the next one waits; 0 = unlimited",
        |s, v| { s.limits.max_message_rate = number(v)?; Ok(()) }),
    setting!("max-byte-rate", "", "", "BYTES", "0", "bytes a second from one browser (twice as many in a burst), likewise; 0 = unlimited",
        |s, v| { s.limits.max_byte_rate = number(v)?; Ok(()) }),
    setting!("max-rooms", "", "", "COUNT", "10000", "rooms at a time; 0 = unlimited",
        |s, v| { s.limits.max_rooms = number(v)?; Ok(()) }),
    setting!("max-rooms-per-client", "", "", "COUNT", "16", "rooms that one client may be in; 0 = unlimited",
        |s, v| { s.limits.max_rooms_per_client = number(v)?; Ok(()) }),
    setting!("room-names", "", "", "", "off", "tell the members of a room the names that others gave when they joined",
        |s, v| { s.limits.room_names = switch(v)?; Ok(()) }),
    setting!(many "browser-opcodes", "", "", "[PATH=]OPCODE", "", "opcode that browsers may send, or all or none; PATH= names the resource for it and those that follow; repeatable; default: all",
        |s, v| s.limits.browser_opcodes.add(v)),
    setting!("receive-only", "", "", "", "off", "browsers may only send quit, join, leave and who, where browser-opcodes has no list",
        |s, v| { s.limits.receive_only = switch(v)?; Ok(()) }),
    setting!(many "allowed-ip", "", "allowedIP", "IP[/BITS]", "", "further host that PHP backends may connect from; repeatable",
        |s, v| { s.limits.allowed_ip.push(net(v)?); Ok(()) }),
    setting!(many "host", "", "", "NAME", "", "further name of this host, beside localhost and those in the certificate: for requests from the host itself; repeatable",
        |s, v| { s.limits.host.push(host(v)?); Ok(()) }),
    setting!(many "allowed-origin", "", "allowedOrigins", "ORIGIN", "", "origin that browsers may come from, like https://example.com; repeatable; default: any",
        |s, v| { s.limits.allowed_origins.push(origin(v)?); Ok(()) }),
    setting!("allow-missing-origin", "", "", "", "off", "accept browsers' requests without an Origin header",
        |s, v| { s.limits.allow_missing_origin = switch(v)?; Ok(()) }),
    setting!(many "trusted-proxy", "", "", "IP[/BITS]", "", "proxy whose X-Forwarded-For is believed; repeatable",
        |s, v| { s.limits.trusted_proxies.push(net(v)?); Ok(()) }),
    setting!("proxy-protocol", "", "", "", "off", "connections from trusted proxies begin with a PROXY protocol header (version 1 or 2)",
        |s, v| { s.limits.proxy_protocol = switch(v)?; Ok(()) }),
    setting!("reuse-port", "", "", "", "off", "share the address with other processes that have this setting (SO_REUSEPORT)",
        |s, v| { s.limits.reuse_port = switch(v)?; Ok(()) }),
    setting!("ping-interval", "", "pingInterval", "SECONDS", "30", "ping browsers, and drop those that did not answer the last ping; 0 = off",
        |s, v| { s.limits.ping_interval = seconds(v)?; Ok(()) }),
    setting!("handshake-timeout", "", "", "SECONDS", "3", "time for TLS and the request head together",
        |s, v| { s.limits.handshake_timeout = some_seconds(v)?; Ok(()) }),
    setting!("message-timeout", "", "", "SECONDS", "60", "time for one message from its first byte to its last; 0 = off",
        |s, v| { s.limits.message_timeout = seconds(v)?; Ok(()) }),
    setting!("idle-timeout", "", "", "SECONDS", "0", "drop clients that send nothing, not even pongs, for so long; 0 = off",
        |s, v| { s.limits.idle_timeout = seconds(v)?; Ok(()) }),
    setting!("close-timeout", "", "", "SECONDS", "2", "time for the last bytes and the peer's close",
        |s, v| { s.limits.close_timeout = some_seconds(v)?; Ok(()) }),
    setting!("drain-time", "", "", "SECONDS", "0", "on SIGTERM say goodbye to the clients one after the other over so long; 0 = to all at once",
        |s, v| { s.limits.drain_time = seconds(v)?; Ok(()) }),
    setting!("php-pause", "", "", "MILLISECONDS", "10", "pause between two frames for a PHP client that did not speak between them",
        |s, v| { s.limits.php_pause = Duration::from_millis(number(v)?); Ok(()) }),
    setting!("raw-dialect", "", "", "", "on", "serve the oldest PHP backends (first line 'php process')",
        |s, v| { s.limits.raw_dialect = switch(v)?; Ok(()) }),
    setting!("require-session", "", "jsauth.require", "", "off", "admit browsers only with a PHP session in which the session key is true",
        |s, v| { s.require_session = switch(v)?; Ok(()) }),
    setting!("session-path", "", "jsauth.ssp", "DIR", "", "where PHP keeps its sessions: the value of session.save_path",
        |s, v| { s.session_path = Some(v.into()); Ok(()) }),
    setting!("session-cookie", "", "jsauth.cookie_name", "NAME", "PHPSESSID", "name of PHP's session cookie: the value of session.name",
        |s, v| { s.session_cookie = v.into(); Ok(()) }),
    setting!("session-key", "", "jsauth.key", "KEY", "allowconnect", "key in $_SESSION that must be true",
        |s, v| { s.session_key = v.into(); Ok(()) }),
    setting!("notify-url", "", "", "URL", "", "tell this page (http:// or https://) who comes and goes",
        |s, v| { s.notify_url = Some(v.into()); Ok(()) }),
    setting!("notify-secret-file", "", "", "FILE", "", "the secret that notices are signed with; default: PHPWS_NOTIFY_SECRET",
        |s, v| { s.notify_secret_file = Some(v.into()); Ok(()) }),
    setting!("publish", "", "", "WHO", "on", "who may publish over HTTP: on = hosts that PHP backends may come from, and tokens; token = tokens only; off = nobody",
        |s, v| { s.limits.publish = publish(v)?; Ok(()) }),
    setting!("publish-token-file", "", "", "FILE", "", "bearer tokens for publishing over HTTP, one a line; or the tokens themselves in PHPWS_PUBLISH_TOKEN",
        |s, v| { s.publish_token_file = Some(v.into()); Ok(()) }),
    setting!("max-publish-rate", "", "", "COUNT", "0", "messages a second that one address may publish over HTTP, each of a list counts (twice as many in a burst); 0 = unlimited",
        |s, v| { s.limits.max_publish_rate = number(v)?; Ok(()) }),
    setting!("backplane", "", "", "URL", "", "act with other processes as one server, through Redis or Valkey: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://…, redis+sentinel://HOST,HOST/NAME or unix:///PATH",
        |s, v| { s.backplane = Some(v.into()); Ok(()) }),
    setting!("backplane-prefix", "", "", "PREFIX", "phpws", "what the names of all keys and channels there begin with: processes with the same one belong together",
        |s, v| { s.backplane_prefix = prefix(v)?; Ok(()) }),
    setting!("exit-on-panic", "", "", "", "off", "end the process when an application panics, in place of closing the one connection",
        |s, v| { s.limits.exit_on_panic = switch(v)?; Ok(()) }),
    setting!("page", "", "", "", "on", "show the built-in page on GET /",
        |s, v| { s.limits.page = switch(v)?; Ok(()) }),
];

/// A flag that is no setting: it stands on the command line only.
pub struct Action {
    /// Flag.
    pub name: &'static str,
    /// One-letter flag, or empty.
    pub short: &'static str,
    /// Placeholder of the value; empty for none.
    pub hint: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// These flags.
#[rustfmt::skip]
pub const ACTIONS: &[Action] = &[
    Action { name: "config", short: "c", hint: "FILE", help: "read this configuration file (PHP's ini form)" },
    Action { name: "check", short: "", hint: "", help: "validate all settings and files, bind nothing, and exit" },
    Action { name: "man", short: "", hint: "", help: "print the manual page (roff)" },
    Action { name: "completions", short: "", hint: "SHELL", help: "print completions for bash, zsh or fish" },
    Action { name: "version", short: "V", hint: "", help: "print the version" },
    Action { name: "help", short: "h", hint: "", help: "print this help" },
];

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            address: Address::default(),
            internet: None,
            cert: None,
            key: None,
            log_file: None,
            log_size: 10 * 1024 * 1024,
            log_keep: 5,
            console: true,
            log_level: LevelFilter::Info,
            log_format: LogFormat::Text,
            log_rate: LOG_RATE,
            require_session: false,
            session_path: None,
            session_cookie: Sessions::COOKIE.into(),
            session_key: Sessions::KEY.into(),
            notify_url: None,
            notify_secret_file: None,
            notify_secret: None,
            publish_token: None,
            publish_token_file: None,
            backplane: None,
            backplane_prefix: "phpws".into(),
            limits: Limits::default(),
            check: false,
        }
    }
}

fn read_secret(path: &Path) -> Result<Secret, StartError> {
    let failed = |problem: InvalidValue| StartError::new(format_args!("--notify-secret-file {}", path.display()), problem);
    secret_file::read(path).and_then(|bytes| Secret::new(&bytes)).map_err(failed)
}
