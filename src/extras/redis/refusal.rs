//! Why a connection did not come about or ended, in one line that names the way out.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Characters of Redis' own words; some of its errors are whole pages.
const SHOWN: usize = 160;

/// Redis refused what the link itself asked. `text` must be free of passwords.
pub(super) fn refused(asked: &str, text: &str) -> String {
    let code = text.split(' ').next().unwrap_or_default();
    let unknown_hello = asked == "HELLO" && text.contains("unknown command");
    match code {
        "WRONGPASS" => "WRONGPASS: Redis does not take this user and password".into(),
        "NOAUTH" => "NOAUTH: Redis asks for a password; write redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST".into(),
        // The answer of an old Redis repeats all words of the command.
        _ if code == "NOPROTO" || unknown_hello => "this server has no RESP3; it takes Redis 6 or newer, or Valkey".into(),
        "LOADING" => "LOADING: Redis is reading its data into memory; it is tried again".into(),
        "DENIED" => "DENIED: Redis is in protected mode; give it a password or let it listen on this address only".into(),
        "NOPERM" if asked == "SUBSCRIBE" => {
            format!("{}; allow the channels: ACL SETUSER USER +subscribe +unsubscribe &PATTERN", line(text))
        }
        "NOPERM" => format!("{}; allow it: ACL SETUSER USER +@connection", line(text)),
        _ => format!("{asked} was refused: {}", line(text)),
    }
}

/// The socket or TLS failed.
pub(super) fn lost(error: &io::Error) -> String {
    let way_out = match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; name the file of the authority that issued it: rediss://HOST?ca=FILE"
        }
        Some(Error::InvalidMessage(_)) => "; if there is no TLS at this port, write redis:// in place of rediss://",
        Some(Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure)) => {
            "; if Redis asks for a certificate of ours: rediss://HOST?cert=FILE&key=FILE, or tls-auth-clients no"
        }
        _ => "",
    };
    format!("{}{way_out}", line(&error.to_string()))
}

/// One line of printable characters, not too long.
fn line(text: &str) -> String {
    let plain = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut line: String = plain.clone().take(SHOWN).collect();
    if plain.count() > SHOWN {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_way_out() {
        for (asked, text, part) in [
            ("HELLO", "WRONGPASS invalid username-password pair or user is disabled.", "user and password"),
            ("HELLO", "NOAUTH HELLO must be called with the client already authenticated", "redis://:PASSWORD@HOST"),
            ("HELLO", "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`", "Redis 6 or newer"),
            ("HELLO", "NOPROTO unsupported protocol version", "Redis 6 or newer"),
            ("PING", "LOADING Redis is loading the dataset in memory", "tried again"),
            ("SUBSCRIBE", "NOPERM this user has no permissions to access one of the channels", "&PATTERN"),
            ("PING", "NOPERM this user has no permissions to run the 'ping' command", "+@connection"),
            ("SELECT", "ERR DB index is out of range", "SELECT was refused: ERR DB index"),
            ("HELLO", "ERR max number of clients reached", "max number of clients"),
        ] {
            assert!(refused(asked, text).contains(part), "{text}");
        }
    }

    #[test]
    fn it_is_one_line_and_not_too_long() {
        let text = refused("PING", &format!("ERR a\r\nb\x1b {}", "x".repeat(10_000)));
        assert!(!text.contains(char::is_control) && text.chars().count() < 200, "{text}");
    }
}
