//! `phpws publish`: hands a message to a server, prints its answer, ends with what became of it.
//!
//! It speaks the HTTP paths for publishing as any script does.

use std::io::Read;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Failure, Outcome, Target, options, usage};
use getopts::Matches;

const USAGE: &str = "Usage: phpws publish [OPTIONS] (--uuid UUID | --ident IDENT | --broadcast) (MESSAGE | -)\n\n\
    Hands MESSAGE, or what comes on standard input, to a server that runs. JSON goes as it is, other text as\n\
    a JSON string. Ends with 0 if the message was delivered or waits, with 1 if nobody is there or the server\n\
    refused it, with 2 if the command line is wrong. A bearer token stands in PHPWS_PUBLISH_TOKEN or in a file.";

pub(super) fn run(args: &[String]) -> Result<Outcome, Failure> {
    let mut options = options();
    options.optopt("", "url", "the server [PHPWS_ADDRESS, else ws://127.0.0.1:8095]", "URL");
    options.optopt("", "uuid", "to the browser with this uuid", "UUID");
    options.optopt("", "ident", "to the client of this name", "IDENT");
    options.optflag("", "broadcast", "to all browsers");
    options.optopt("", "resource", "with --broadcast: to those on this path", "PATH");
    options.optopt("", "room", "with --broadcast: to those in this room", "ROOM");
    options.optopt("", "key", "a newer message with this key may replace this one while it waits", "KEY");
    options.optopt("", "token-file", "read the bearer token from this file", "FILE");
    let flags = options.parse(args).map_err(usage)?;
    if flags.opt_present("help") {
        return Ok(Outcome { text: options.usage(USAGE), success: true });
    }
    let path = path(&flags)?;
    let message = message(&flags.free)?;
    let token = token(&flags)?;
    let target = Target::of(flags.opt_str("url").as_deref(), &flags)?;
    let mut request = target.agent.post(target.url(&path)).header("Content-Type", "application/json");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let (status, body) = target.read(request.send(message.as_str()))?;
    let success = matches!(status, 200 | 202);
    let text = if body.is_empty() { format!("{status}\n") } else { body.trim_end().to_owned() + "\n" };
    Ok(Outcome { text, success })
}

/// Where the message goes, as path and query.
fn path(flags: &Matches) -> Result<String, Failure> {
    let (uuid, ident, all) = (flags.opt_str("uuid"), flags.opt_str("ident"), flags.opt_present("broadcast"));
    if let Some(name) = ["resource", "room"].iter().find(|name| flags.opt_present(name) && !all) {
        return Err(usage(format_args!("--{name} goes with --broadcast")));
    }
    let path = match (uuid, &ident, all) {
        (Some(uuid), None, false) => format!("/feedback/{}", encoded(&uuid)),
        (None, Some(_), false) => "/feedback".into(),
        (None, None, true) => "/broadcast".into(),
        _ => return Err(usage("give one of --uuid, --ident and --broadcast")),
    };
    let given = |name: &'static str| (name, flags.opt_str(name));
    let query = [("ident", ident), given("resource"), given("room"), given("key")].into_iter();
    let query = query.filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
    let query: Vec<String> = query.collect();
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

/// The message as JSON.
fn message(free: &[String]) -> Result<String, Failure> {
    let text = match free {
        [dash] if dash == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::Server(format!("standard input: {error}")))?;
            text
        }
        [text] => text.clone(),
        [] => return Err(usage("a MESSAGE is missing")),
        [_, extra, ..] => return Err(usage(format_args!("unexpected argument '{extra}'; put quotes around the message"))),
    };
    let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
    Ok(if is_json { text } else { Value::from(text).to_string() })
}

fn token(flags: &Matches) -> Result<Option<String>, Failure> {
    let Some(file) = flags.opt_str("token-file") else {
        return Ok(std::env::var("PHPWS_PUBLISH_TOKEN").ok().filter(|token| !token.is_empty()));
    };
    let text = std::fs::read_to_string(&file).map_err(|error| Failure::Server(format!("--token-file {file}: {error}")))?;
    match text.trim() {
        "" => Err(Failure::Server(format!("--token-file {file}: holds no token"))),
        token => Ok(Some(token.to_owned())),
    }
}

/// Percent-encoding: all but letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_json_goes_as_a_string() {
        let sent = |text: &str| message(&[text.to_owned()]).ok().unwrap();
        assert_eq!(sent(r#"{"progress": 50}"#), r#"{"progress": 50}"#);
        assert_eq!(sent("50"), "50");
        assert_eq!(sent("half \"done\""), r#""half \"done\"""#);
        assert_eq!(sent(""), r#""""#);
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("büro 1/2&x"), "b%C3%BCro%201%2F2%26x");
    }
}
