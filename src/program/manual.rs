//! The manual page and the shells' completions, made from the tables of settings.
//!
//! Like `--help` they can't tell of a flag that is not there, nor forget one. Nothing here reads a
//! setting. PHP counterpart: none.

use std::fmt::Write;

use crate::program::settings::{ACTIONS, SETTINGS};

/// A flag, as the page and the completions see it.
struct Flag {
    name: &'static str,
    short: &'static str,
    hint: &'static str,
    help: &'static str,
    /// Whether it is a setting without a value of its own: `=on` and `=off` may follow.
    switch: bool,
    many: bool,
}

/// What may follow a flag.
enum Values {
    Files,
    Directories,
    Words(&'static str),
    /// Numbers, addresses and other things no shell knows.
    Free,
    None,
}

impl Flag {
    fn values(&self) -> Values {
        match self.hint {
            "FILE" => Values::Files,
            "DIR" => Values::Directories,
            "LEVEL" => Values::Words("off error warn info debug trace"),
            "FORMAT" => Values::Words("text json"),
            "SHELL" => Values::Words("bash zsh fish"),
            "" if self.switch => Values::Words("on off"),
            "" => Values::None,
            _ => Values::Free,
        }
    }

    /// `-l|--log-file`.
    fn spellings(&self, between: &str) -> String {
        let short = if self.short.is_empty() { String::new() } else { format!("-{}{between}", self.short) };
        format!("{short}--{}", self.name)
    }
}

fn flags() -> impl Iterator<Item = Flag> {
    let settings = SETTINGS.iter().map(|setting| Flag {
        name: setting.name,
        short: setting.short,
        hint: setting.hint,
        help: setting.help,
        switch: setting.hint.is_empty(),
        many: setting.many,
    });
    let actions = ACTIONS.iter().map(|action| Flag {
        name: action.name,
        short: action.short,
        hint: action.hint,
        help: action.help,
        switch: false,
        many: false,
    });
    settings.chain(actions)
}

/// The completions for a shell; `None` for one we do not know.
pub fn completions(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

// ---- bash

/// Bash takes `--flag=value` apart at the `=`, so what a value belongs to is one or two words before it.
fn bash() -> String {
    let mut cases = String::new();
    for flag in flags() {
        let action = match flag.values() {
            Values::Files => "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))".into(),
            Values::Directories => "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"))".into(),
            Values::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))"),
            Values::Free => ":".into(),
            Values::None => continue,
        };
        // A switch has its value behind `=` only: the next word is another argument.
        let pattern = if flag.switch { format!("--{}=", flag.name) } else { flag.spellings("|") + &format!("|--{}=", flag.name) };
        let _ = writeln!(cases, "        {pattern}) {action}; return ;;");
    }
    let all: Vec<String> = flags().map(|flag| flag.spellings(" ")).collect();
    format!(
        "# bash completion for phpws
_phpws() {{
    local IFS=$' \\t\\n' cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
    if [[ $cur == = ]]; then
        prev=$prev= cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}=
    fi
    COMPREPLY=()
    case $prev in
{cases}    esac
    [[ $cur == -* ]] && COMPREPLY=($(compgen -W '{}' -- \"$cur\"))
}}
complete -F _phpws phpws
",
        all.join(" ")
    )
}

// ---- zsh

fn zsh() -> String {
    let mut lines = String::new();
    for flag in flags() {
        let value = match flag.values() {
            Values::Files => format!(":{}:_files", flag.hint),
            Values::Directories => format!(":{}:_files -/", flag.hint),
            Values::Words(words) if flag.switch => format!("::on or off:({words})"),
            Values::Words(words) => format!(":{}:({words})", flag.hint),
            Values::Free => format!(":{}:", flag.hint),
            Values::None => String::new(),
        };
        let help = flag.help.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let (equals, star) = (if flag.switch { "=-" } else { "=" }, if flag.many { "*" } else { "" });
        let equals = if value.is_empty() { "" } else { equals };
        let _ = writeln!(lines, "    '{star}--{}{equals}[{help}]{value}' \\", flag.name);
        if !flag.short.is_empty() {
            let _ = writeln!(lines, "    '-{}[{help}]{value}' \\", flag.short);
        }
    }
    format!("#compdef phpws\n\n_arguments -S \\\n{lines}    '1:address:_hosts' \\\n    '2:port:'\n")
}

// ---- fish

fn fish() -> String {
    let mut text = String::from("# fish completion for phpws\ncomplete -c phpws -f\n");
    for flag in flags() {
        let short = if flag.short.is_empty() { String::new() } else { format!(" -s {}", flag.short) };
        let value = match flag.values() {
            Values::Files => " -r -F".into(),
            Values::Directories => " -x -a '(__fish_complete_directories)'".into(),
            // Fish knows no values that may be missing.
            Values::Words(_) if flag.switch => String::new(),
            Values::Words(words) => format!(" -x -a '{words}'"),
            Values::Free => " -x".into(),
            Values::None => String::new(),
        };
        let help = flag.help.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, "complete -c phpws -l {}{short}{value} -d '{help}'", flag.name);
    }
    text
}

// ---- the manual page

const HEAD: &str = "\
.SH NAME
phpws \\- WebSocket server for PHP shops
.SH SYNOPSIS
.B phpws
.RI [ OPTIONS ]
.RI [ ADDRESS
.RI [ PORT ]]
.SH DESCRIPTION
.B phpws
accepts WebSocket connections of browsers and of PHP scripts, and hands messages from one to another:
broadcasts to all browsers, feedback to one.
.PP
.I ADDRESS
is a host or an IP address, or ws:// tcp:// wss:// ssl:// and host[:port]; wss and ssl mean TLS.
The default is ws://127.0.0.1:8095.
.PP
Each setting has a flag, an environment variable and a key in the configuration file. The first of these three that
has it counts.
A switch takes =on or =off.
A list stands in several flags or with commas in one value.
";

const TAIL: &str = "\
.SH CONFIGURATION FILE
PHP's ini form: keys stand before any section, or under
.BR [websocketserver] ;
those named jsauth.\\fIkey\\fP above stand under
.BR [jsauth] .
${NAME} is replaced from the environment.
.PP
.EX
[websocketserver]
address = ws://127.0.0.1:8095
log\\-file = /var/log/phpws/phpws.log
allowedIP[] = 10.0.0.5
.EE
.SH SIGNALS
.TP
.BR SIGTERM \", \" SIGINT
Tell all clients, let them finish, and end; a second one ends the server at once.
.TP
.B SIGHUP
Open the log file anew and reload certificate and key.
.SH SYSTEMD
Readiness, reloads and the stop are told to
.BR $NOTIFY_SOCKET ,
signs of life where
.B $WATCHDOG_USEC
asks for them.
A listening socket that systemd passes
.RB ( $LISTEN_FDS )
is used in place of the address, of which the scheme still counts.
.SH EXIT STATUS
.TP
.B 0
Stopped by a signal; or the help, the version or the like was printed; or all is well with
.BR \\-\\-check .
.TP
.B 1
It can't start: one line on standard error names the setting, the file or the address.
.TP
.B 2
The command line is wrong.
.SH FILES
.TP
.I /etc/phpws/phpws.ini
The configuration file that the systemd unit names. Without
.B \\-\\-config
none is read.
.SH EXAMPLES
.TP
.B phpws ws://127.0.0.1:8095 \\-\\-trusted\\-proxy 127.0.0.1
Behind nginx on the same host.
.TP
.B phpws wss://0.0.0.0:8095 \\-\\-cert cert.pem \\-\\-key key.pem
With TLS of its own.
.TP
.B phpws \\-\\-config /etc/phpws/phpws.ini \\-\\-check
Tells whether a restart would work.
";

/// The manual page, `phpws(8)`, in roff.
pub fn page() -> String {
    let mut text = format!(".TH PHPWS 8 \"\" \"phpws {}\"\n{HEAD}.SH OPTIONS\n", env!("CARGO_PKG_VERSION"));
    for action in ACTIONS {
        let flag = Flag { name: action.name, short: action.short, hint: action.hint, help: "", switch: false, many: false };
        let _ = writeln!(text, "{}{}.", tag(&flag), roff(action.help));
    }
    text.push_str(".SH SETTINGS\n");
    for (setting, flag) in SETTINGS.iter().zip(flags()) {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let _ = writeln!(text, "{}{}.", tag(&flag), roff(setting.help));
        let php =
            if setting.php.is_empty() || setting.php == setting.name { String::new() } else { format!(", {}", setting.php) };
        let (variable, keys) = (setting.variable(), format!("{}{php}", setting.name));
        let _ = writeln!(text, ".br\nVariable: {variable}; keys: {}; default: {}.", roff(&keys), roff(default));
    }
    text + TAIL
}

/// The head of a flag's paragraph.
fn tag(flag: &Flag) -> String {
    let value = match (flag.hint, flag.switch) {
        ("", true) => "[=on|off]".into(),
        ("", false) => String::new(),
        (hint, _) => format!(" \\fI{}\\fP", roff(hint)),
    };
    format!(".TP\n\\fB{}\\fP{value}\n", roff(&flag.spellings(", ")))
}

/// Text as roff shows it: hyphens that can be copied, nothing that is taken for a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
