//! Words of peers, and moments, as they may stand in a log or an answer.

use std::fmt::{self, Write as _};

use crate::rfc6455::Opcode;

/// Text of a peer as it may stand in a log: control characters, which could forge lines or steer a
/// terminal, become `\u{…}`, and a long text is cut.
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    /// The characters that are shown.
    pub const SHOWN: usize = 128;
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        escape(characters.by_ref().take(Printable::SHOWN), f)?;
        characters.next().map_or(Ok(()), |_| f.write_char('…'))
    }
}

pub(crate) fn escape(characters: impl Iterator<Item = char>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in characters {
        match character {
            // Line and paragraph separators, and marks that reverse the direction of writing.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => write!(f, "{}", character.escape_unicode())?,
            character if character.is_control() => write!(f, "{}", character.escape_unicode())?,
            character => f.write_char(character)?,
        }
    }
    Ok(())
}

/// The moment so long ago, as RFC 3339 writes it in UTC. For people to read: no timer looks at it.
pub(crate) fn moment(ago: std::time::Duration) -> String {
    let now = jiff::Zoned::now().timestamp();
    let then = now.checked_sub(ago).unwrap_or(now);
    then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time since a moment in microseconds since 1970. For people to read too.
pub(crate) fn elapsed_since(micros: u64) -> std::time::Duration {
    let now = u64::try_from(jiff::Zoned::now().timestamp().as_microsecond()).unwrap_or_default();
    std::time::Duration::from_micros(now.saturating_sub(micros))
}

/// A frame as the trace shows it: what it is, how long, and how it begins.
pub(crate) struct Elided<'a>(pub(crate) Opcode, pub(crate) &'a [u8]);

impl fmt::Display for Elided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let beginning = String::from_utf8_lossy(&self.1[..self.1.len().min(SHOWN)]);
        let dots = if self.1.len() > SHOWN { "…" } else { "" };
        write!(f, "{:?} {} bytes {}{dots}", self.0, self.1.len(), Printable(&beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let forged = "x\r\nSun, 1 Jan 2030;Starting\u{1b}[2J\u{202e}";
        let printed = Printable(forged).to_string();
        assert_eq!(Printable(&"x".repeat(1000)).to_string().chars().count(), Printable::SHOWN + 1);
        assert_eq!(printed, "x\\u{d}\\u{a}Sun, 1 Jan 2030;Starting\\u{1b}[2J\\u{202e}");
    }
}
