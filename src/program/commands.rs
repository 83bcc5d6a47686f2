//! `phpws status` and `phpws publish`: what a shell script asks a server that runs.
//!
//! A first argument of these names makes the program a client; it starts no server and reads no
//! configuration file. The PHP original has no counterpart.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use getopts::{Matches, Options};
use ureq::Agent;

use crate::address::Address;
use crate::error::InvalidValue;
use crate::program::http_client::{self, Trust};

mod send;
mod show;

/// The program as a client, where the first argument says so.
pub fn run(args: &[String]) -> Option<ExitCode> {
    let (name, args) = args.split_first()?;
    let outcome = match name.as_str() {
        "status" => show::run(args),
        "publish" => send::run(args),
        _ => return None,
    };
    Some(match outcome {
        Ok(Outcome { text, success }) => {
            print!("{text}");
            if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(Failure::Usage(problem)) => {
            eprintln!("phpws: {problem}; see phpws {name} --help");
            ExitCode::from(2)
        }
        Err(Failure::Server(problem)) => {
            eprintln!("phpws: {problem}");
            ExitCode::FAILURE
        }
    })
}

/// What is printed, and whether all is well.
struct Outcome {
    text: String,
    success: bool,
}

/// Why there is nothing to print.
enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The server can't be asked, or a file can't be read.
    Server(String),
}

fn usage(problem: impl fmt::Display) -> Failure {
    Failure::Usage(problem.to_string())
}

/// The flags that both commands know.
fn options() -> Options {
    let mut options = Options::new();
    options.optopt("", "cacert", "trust the certificates in this PEM file", "FILE");
    options.optflag("", "insecure", "trust any certificate; for trying things out");
    options.optopt("", "timeout", "wait for the answer so long [5]", "SECONDS");
    options.optflag("h", "help", "print this help");
    options
}

/// A server that is asked by HTTP.
struct Target {
    address: Address,
    agent: Agent,
}

impl Target {
    /// The server of `url`, else of `PHPWS_ADDRESS`, else the one that starts without settings.
    fn of(url: Option<&str>, flags: &Matches) -> Result<Target, Failure> {
        let named = url.map(str::to_owned).or_else(|| std::env::var("PHPWS_ADDRESS").ok().filter(|text| !text.is_empty()));
        let address = named.map_or(Ok(Address::default()), |text| parse_url(&text)).map_err(usage)?;
        let trust = match flags.opt_str("cacert") {
            _ if flags.opt_present("insecure") => Trust::Anyone,
            Some(file) => Trust::File(PathBuf::from(file)),
            None => Trust::System,
        };
        let timeout = flags.opt_str("timeout").map_or(Ok(5.0), |text| text.parse::<f64>());
        let timeout = timeout.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero());
        let timeout = timeout.ok_or_else(|| usage("--timeout is not a number of seconds"))?;
        let agent = http_client::agent(&http_root(&address), &trust, timeout).map_err(Failure::Server)?;
        Ok(Target { address, agent })
    }

    /// The address of a path with its query.
    fn url(&self, path: &str) -> String {
        http_root(&self.address) + path
    }

    /// What went wrong, with the server that it went wrong with.
    fn failed(&self, problem: impl fmt::Display) -> Failure {
        Failure::Server(format!("{}: {problem}", self.address))
    }

    /// The status and the body of an answer.
    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(u16, String), Failure> {
        const MAX_ANSWER: u64 = 4 * 1024 * 1024;
        let mut answer = answer.map_err(|error| self.failed(error))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).lossy_utf8(true).read_to_string();
        Ok((answer.status().as_u16(), body.map_err(|error| self.failed(error))?))
    }
}

/// An address as the server's own, or as a browser has it.
fn parse_url(text: &str) -> Result<Address, InvalidValue> {
    let scheme = |from: &str, to: &str| text.strip_prefix(from).map(|rest| format!("{to}{rest}"));
    let address = scheme("http://", "ws://").or_else(|| scheme("https://", "wss://"));
    Address::parse(address.as_deref().unwrap_or(text))
}

fn http_root(address: &Address) -> String {
    address.to_string().replacen("ws", "http", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_browsers_or_phpws_do() {
        for (text, root) in [
            ("ws://127.0.0.1:8095", "http://127.0.0.1:8095"),
            ("wss://example.org/", "https://example.org:443"),
            ("https://ws.example.org:8443", "https://ws.example.org:8443"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("localhost", "http://localhost:8095"),
        ] {
            assert_eq!(parse_url(text).map(|address| http_root(&address)).as_deref(), Ok(root), "{text}");
        }
        assert!(parse_url("ftp://x").is_err() && parse_url("http://x/web").is_err());
    }
}
