//! What the program is told: the command line, the environment and the configuration file, read into the
//! table of settings.
//!
//! The first of flag, environment and file that has a setting counts. Errors name the place where the
//! value stands. PHP counterpart: `getOptions.php` and `GetAllConfig.php`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use getopts::{HasArg, Occur, Options};

use crate::address;
use crate::error::StartError;
use crate::program::ini::{self, Entry};
use crate::program::internet::{self, Internet};
use crate::program::settings::{ACTIONS, SECRET_VARIABLE, SETTINGS, Setting, Settings, TOKEN_VARIABLE};
use crate::program::{manual, open_files};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run, or check, with these settings.
    Run(Box<Settings>),
    /// Print this and end well.
    Print(String),
}

/// What is wrong with the command line, apart from a value: shown with exit status 2.
#[derive(Debug)]
pub enum InvocationError {
    /// An unknown flag, a missing value, too many arguments.
    Usage(String),
    /// A value that can't be used.
    Start(StartError),
}

impl From<StartError> for InvocationError {
    fn from(error: StartError) -> Self {
        InvocationError::Start(error)
    }
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvocationError::Usage(problem) => f.write_str(problem),
            InvocationError::Start(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InvocationError {}

/// Reads the command line, the environment and the configuration file.
pub fn from_args(args: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Invocation, InvocationError> {
    let flags = options().parse(args).map_err(|error| InvocationError::Usage(error.to_string()))?;
    if let Some(text) = what_to_print(&flags)? {
        return Ok(Invocation::Print(text));
    }
    let positional = positional_address(&flags.free)?;
    let config = flags.opt_str("config").or_else(|| variable("PHPWS_CONFIG")).filter(|path| !path.is_empty());
    let file = config.map(|path| read_file(Path::new(&path), &variable)).transpose()?.unwrap_or_default();

    let notify_secret = variable(SECRET_VARIABLE).filter(|secret| !secret.trim().is_empty());
    let publish_token = variable(TOKEN_VARIABLE).filter(|tokens| !tokens.is_empty());
    let mut settings = Settings { check: flags.opt_present("check"), notify_secret, publish_token, ..Settings::default() };
    let mut given = BTreeSet::new();
    for setting in SETTINGS {
        let flag = flags.opt_present(setting.name).then(|| flag_values(&flags, setting));
        let flag = flag.or_else(|| positional.clone().filter(|_| setting.name == "address").map(|address| vec![address]));
        let from_flag = flag.map(|values| (format!("--{}", setting.name), values));
        let from_variable = || variable(&setting.variable()).map(|value| (setting.variable(), split(setting, &value)));
        let from_file = || file.get(setting.name).cloned();
        let Some((subject, values)) = from_flag.or_else(from_variable).or_else(from_file) else { continue };
        // Nothing means that the default stands, but where it is a value.
        for value in values.iter().filter(|value| !value.is_empty() || setting.takes_nothing()) {
            (setting.set)(&mut settings, value).map_err(|problem| StartError::new(&subject, problem))?;
            given.insert(setting.name);
        }
    }
    if settings.internet.is_some() {
        be_strict(&mut settings, &given)?;
    }
    check_together(&settings)?;
    Ok(Invocation::Run(Box::new(settings)))
}

/// Sets what `--internet` stands for where nothing was given, and finds out what is still to be named.
fn be_strict(settings: &mut Settings, given: &BTreeSet<&str>) -> Result<(), StartError> {
    let mut set = internet::strict(open_files::limit(), settings.limits.max_message, settings.has_tokens());
    set.retain(|(name, _)| !given.contains(name));
    for setting in SETTINGS {
        for (_, value) in set.iter().filter(|(name, _)| *name == setting.name) {
            (setting.set)(settings, value).map_err(|problem| StartError::new("--internet", problem))?;
        }
    }
    let proxied = !settings.limits.trusted_proxies.is_empty();
    let local = settings.address.is_loopback();
    let is_unnamed = |name: &str| match name {
        "cert" => !settings.address.secure && !proxied && !local,
        "allowed-origin" => settings.limits.allowed_origins.is_empty(),
        "trusted-proxy" => local && !proxied,
        // That a session or tokens are not wanted can be said.
        "require-session" => !settings.require_session && !given.contains(name),
        _ => !settings.has_tokens() && !given.contains("publish"),
    };
    let unnamed = internet::TO_NAME.into_iter().filter(|(name, _)| is_unnamed(name)).collect();
    settings.internet = Some(Internet { set, unnamed });
    Ok(())
}

/// What some flags ask for instead of a server.
fn what_to_print(flags: &getopts::Matches) -> Result<Option<String>, InvocationError> {
    if let Some(shell) = flags.opt_str("completions") {
        let completions = manual::completions(&shell);
        let unknown = || InvocationError::Usage(format!("--completions: '{shell}' is not bash, zsh or fish"));
        return completions.map(Some).ok_or_else(unknown);
    }
    if flags.opt_present("help") {
        return Ok(Some(help()));
    }
    if flags.opt_present("version") {
        return Ok(Some(format!("phpws {}\n", env!("CARGO_PKG_VERSION"))));
    }
    Ok(flags.opt_present("man").then(manual::page))
}

/// The program's help, made from the table.
pub fn help() -> String {
    let usage = "Usage: phpws [OPTIONS] [ADDRESS [PORT]]\n\n\
        ADDRESS is a host or an IP address, or ws:// tcp:// wss:// ssl:// and host[:port];\n\
        wss and ssl mean TLS. Every setting up to --page may also stand in the environment (--max-per-ip is\n\
        PHPWS_MAX_PER_IP) and in the configuration file (max-per-ip = 10 under\n\
        [websocketserver], or PHP's own key); a switch takes =on or =off.\n\n\
        phpws status and phpws publish talk to a server that runs: see phpws status --help, phpws publish --help.";
    options().usage(usage)
}

fn options() -> Options {
    let mut options = Options::new();
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { String::new() } else { format!(" [{}]", setting.default) };
        let help = format!("{}{default}", setting.help);
        let arg = if setting.is_switch() { HasArg::Maybe } else { HasArg::Yes };
        let hint = if setting.is_switch() { "on|off" } else { setting.hint };
        let occur = if setting.many { Occur::Multi } else { Occur::Optional };
        options.opt(setting.short, setting.name, &help, hint, arg, occur);
    }
    for action in ACTIONS {
        let arg = if action.hint.is_empty() { HasArg::No } else { HasArg::Yes };
        options.opt(action.short, action.name, action.help, action.hint, arg, Occur::Optional);
    }
    options
}

/// `--name` alone switches on.
fn flag_values(flags: &getopts::Matches, setting: &Setting) -> Vec<String> {
    let values = flags.opt_strs(setting.name);
    match values.is_empty() {
        true => vec!["on".into()],
        false => values.iter().flat_map(|value| split(setting, value)).collect(),
    }
}

/// A list where a list may stand.
fn split(setting: &Setting, value: &str) -> Vec<String> {
    match setting.many {
        true => value.split(',').map(|item| item.trim().to_owned()).collect(),
        false => vec![value.to_owned()],
    }
}

/// `ADDRESS [PORT]` as one address.
fn positional_address(free: &[String]) -> Result<Option<String>, InvocationError> {
    match free {
        [] => Ok(None),
        [address] => Ok(Some(address.clone())),
        [address, port] => {
            address::parse_port(port).map_err(|problem| StartError::new("PORT", problem))?;
            if address::has_port(address) {
                return Err(InvocationError::Usage(format!("ADDRESS '{address}' has a port already, PORT '{port}' is too much")));
            }
            let bare_v6 = !address.contains("://") && !address.starts_with('[') && address.contains(':');
            Ok(Some(if bare_v6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") }))
        }
        [_, _, extra, ..] => Err(InvocationError::Usage(format!("unexpected argument '{extra}'"))),
    }
}

/// Values by the name of their setting, each with the place it stands at.
pub type FileValues = BTreeMap<&'static str, (String, Vec<String>)>;

/// Reads PHP's ini form: `${NAME}` is replaced from the environment, `[websocketserver]` is ours.
fn read_file(path: &Path, variable: &impl Fn(&str) -> Option<String>) -> Result<FileValues, StartError> {
    let subject = format!("--config {}", path.display());
    let failed = |problem: String| StartError::new(&subject, problem);
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("can't be read: {error}")))?;
    parse_file(&text, &subject, variable)
}

/// The text of a configuration file as values for the table; `subject` names the file in errors.
pub fn parse_file(text: &str, subject: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<FileValues, StartError> {
    let mut values = FileValues::new();
    for Entry { line, section, key, value } in ini::parse(text, variable).map_err(|problem| StartError::new(subject, problem))? {
        let failed = |problem: &str| StartError::new(format_args!("{subject}: line {line}"), problem);
        match section.as_str() {
            "" | "websocketserver" | "jsauth" => {
                let setting = find(&section, &key).ok_or_else(|| failed(&format!("unknown key '{key}'; see phpws --help")))?;
                let entry = values.entry(setting.name).or_insert_with(|| (format!("{subject}: line {line}: {key}"), Vec::new()));
                if !setting.many {
                    entry.1.clear();
                }
                entry.1.extend(split(setting, &value));
            }
            // The original's other section does not concern the server.
            "develop" => {}
            other => return Err(failed(&format!("unknown section [{other}]; ours is [websocketserver]"))),
        }
    }
    Ok(values)
}

/// The setting of a key: ours or PHP's under `[websocketserver]`, PHP's under `[jsauth]`.
fn find(section: &str, key: &str) -> Option<&'static Setting> {
    match section {
        "jsauth" => SETTINGS.iter().find(|setting| setting.php.strip_prefix("jsauth.") == Some(key)),
        _ => SETTINGS.iter().find(|setting| setting.name == key || !key.is_empty() && setting.php == key),
    }
}

fn check_together(settings: &Settings) -> Result<(), StartError> {
    match (settings.address.secure, &settings.cert) {
        (true, None) => Err(StartError::new(&settings.address, "TLS needs a certificate: give --cert FILE and --key FILE")),
        (false, Some(_)) => {
            Err(StartError::new("--cert", "a certificate goes with an address that begins with wss:// or ssl://"))
        }
        _ if settings.limits.proxy_protocol && settings.limits.trusted_proxies.is_empty() => {
            Err(StartError::new("--proxy-protocol", "needs the addresses of the proxies: give --trusted-proxy IP"))
        }
        _ => Ok(()),
    }
}
