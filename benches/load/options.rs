//! The command line.

use getopts::{Matches, Options as Flags};

use crate::url::{Scheme, Url};

const USAGE: &str = "usage: load SCENARIO URL [options]

scenarios: echo large dialog broadcast feedback connect idle (benches/README.md says what they do)
URL:       ws://host:port/path, wss://host:port/path; for echo and large also tcp://host:port";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Echo,
    Large,
    Dialog,
    Broadcast,
    Feedback,
    Connect,
    Idle,
}

pub const KINDS: [(&str, Kind); 7] = [
    ("echo", Kind::Echo),
    ("large", Kind::Large),
    ("dialog", Kind::Dialog),
    ("broadcast", Kind::Broadcast),
    ("feedback", Kind::Feedback),
    ("connect", Kind::Connect),
    ("idle", Kind::Idle),
];

/// What is to be done.
pub struct Options {
    pub name: &'static str,
    pub kind: Kind,
    pub url: Url,
    pub connections: usize,
    pub senders: usize,
    pub size: usize,
    pub depth: u64,
    pub seconds: f64,
    pub warmup: f64,
    /// Broadcasts a second in all; 0 is as many as go.
    pub rate: f64,
    pub concurrency: usize,
    pub burst: usize,
    pub busy: usize,
    /// Whether to wait for `ready` in `connect` and `idle`.
    pub dialog: bool,
    pub origin: String,
    pub pids: Vec<u32>,
    pub quickack: bool,
    /// Whether to ask the poll again and again in place of sleeping.
    pub spin: bool,
    pub json: bool,
    pub quiet: bool,
}

/// What the command line asks for; `Err` has what to print, and whether that was asked for.
pub fn parse(args: &[String]) -> Result<Options, (String, bool)> {
    let flags = flags();
    let matches = flags.parse(args).map_err(|error| (format!("{error}; --help lists the options"), false))?;
    if matches.opt_present("help") {
        return Err((flags.usage(USAGE), true));
    }
    options(&matches).map_err(|error| (error, false))
}

fn flags() -> Flags {
    let mut flags = Flags::new();
    flags
        .optopt(
            "c",
            "connections",
            "connections; in broadcast and feedback those that receive (50; 1 in large, 1000 in idle)",
            "N",
        )
        .optopt("", "senders", "broadcast, feedback: connections that send (1)", "N")
        .optopt("", "size", "bytes of a message; with a dialog, of the text in it (20; 1048576 in large)", "BYTES")
        .optopt("", "depth", "messages of one connection under way at a time (1)", "N")
        .optopt("", "seconds", "how long to measure (3)", "S")
        .optopt("", "warmup", "how long to run before that (0.5)", "S")
        .optopt("", "rate", "broadcast: messages a second of all senders (as many as go)", "N")
        .optopt("", "concurrency", "connections that are being opened at a time (64)", "N")
        .optopt("", "burst", "connect: so many at once, again and again", "N")
        .optopt("", "busy", "idle: connections that talk meanwhile (0)", "N")
        .optflag("", "dialog", "connect, idle: the resource has the dialog, wait for ready")
        .optopt("", "origin", "the Origin header (http://localhost)", "ORIGIN")
        .optmulti("", "pid", "the server's process, may be repeated (those that listen on the port)", "PID")
        .optflag("", "quickack", "acknowledge each segment at once")
        .optflag("", "spin", "never sleep, so that waking this generator is in no latency")
        .optflag("", "json", "print one JSON object")
        .optflag("", "quiet", "no progress bar")
        .optflag("h", "help", "print this");
    flags
}

fn options(matches: &Matches) -> Result<Options, String> {
    let [scenario, url] = &matches.free[..] else { return Err("load needs a scenario and a URL; --help lists them".into()) };
    let known = KINDS.iter().find(|(name, _)| name == scenario);
    let (name, kind) = *known.ok_or_else(|| format!("{scenario}: no such scenario; --help lists them"))?;
    let url = Url::parse(url)?;
    if url.scheme == Scheme::Tcp && !matches!(kind, Kind::Echo | Kind::Large) {
        return Err(format!("{scenario}: raw bytes (tcp://) work with echo and large only"));
    }
    let connections = match kind {
        Kind::Large => 1,
        Kind::Idle => 1000,
        _ => 50,
    };
    let (concurrency, burst) = (number(matches, "concurrency", 64)?, number(matches, "burst", 0)?);
    let connections = match kind {
        Kind::Connect => [concurrency, burst][usize::from(burst > 0)],
        _ => number(matches, "connections", connections)?,
    };
    let options = Options {
        name,
        kind,
        url,
        connections,
        senders: number(matches, "senders", 1)?,
        size: number(matches, "size", if kind == Kind::Large { 1 << 20 } else { 20 })?,
        depth: number(matches, "depth", 1)?,
        seconds: number(matches, "seconds", 3.0)?,
        warmup: number(matches, "warmup", 0.5)?,
        rate: number(matches, "rate", 0.0)?,
        concurrency,
        burst,
        busy: number(matches, "busy", 0)?,
        dialog: matches.opt_present("dialog"),
        origin: matches.opt_str("origin").unwrap_or_else(|| "http://localhost".into()),
        pids: pids(matches)?,
        quickack: matches.opt_present("quickack"),
        spin: matches.opt_present("spin"),
        json: matches.opt_present("json"),
        quiet: matches.opt_present("quiet"),
    };
    check(options)
}

/// Refuses what makes no sense.
fn check(options: Options) -> Result<Options, String> {
    let positive = [
        ("connections", options.connections),
        ("senders", options.senders),
        ("size", options.size),
        ("depth", options.depth as usize),
        ("concurrency", options.concurrency),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(format!("--{name} must be at least 1"));
    }
    let (times, rate) = ([options.seconds, options.warmup], options.rate);
    if !times.iter().all(|time| (0.0..=86_400.0).contains(time)) || options.seconds == 0.0 {
        return Err("--seconds and --warmup must be from 0 to 86400, --seconds not 0".into());
    }
    if !(0.0..=1e9).contains(&rate) {
        return Err("--rate must be from 0 (as many as go) to 1000000000".into());
    }
    if options.busy > options.connections {
        return Err("--busy must be at most --connections".into());
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(matches: &Matches, name: &str, default: T) -> Result<T, String> {
    match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("--{name} {text}: must be a number")),
    }
}

fn pids(matches: &Matches) -> Result<Vec<u32>, String> {
    let texts = matches.opt_strs("pid");
    texts.iter().map(|text| text.parse().map_err(|_| format!("--pid {text}: must be a number"))).collect()
}
