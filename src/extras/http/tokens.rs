//! The tokens of those who may publish from anywhere.
//!
//! Only digests are kept, and all of them are compared, in the same time whatever was presented. The PHP
//! original has no counterpart.

use std::fmt;
use std::path::PathBuf;

use ring::digest::{Digest, SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

use crate::error::{InvalidValue, StartError};
use crate::secret_file;

/// A token has at least so many characters; with a shorter one the server does not start.
const MIN_TOKEN: usize = 16;

/// Bearer tokens, from text of one token a line: several at a time let one take the place of another
/// without a moment in which neither is good.
#[derive(Clone, Default)]
pub struct Tokens {
    digests: Vec<Digest>,
    file: Option<PathBuf>,
}

impl Tokens {
    /// The tokens in a text; blank lines and lines that begin with `#` are none.
    pub fn parse(text: &str) -> Result<Tokens, InvalidValue> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let digests: Vec<Digest> = lines.map(|(at, line)| digest_of(at, line)).collect::<Result<_, _>>()?;
        if digests.is_empty() {
            return Err("has no token; make one with: openssl rand -hex 32".into());
        }
        Ok(Tokens { digests, file: None })
    }

    /// The tokens in a file, which others may not write and not everybody may read.
    pub fn load(file: impl Into<PathBuf>) -> Result<Tokens, StartError> {
        let file = file.into();
        let failed = |problem: InvalidValue| StartError::new(format_args!("--publish-token-file {}", file.display()), problem);
        let bytes = secret_file::read(&file).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| failed("can't be read: it is not UTF-8".into()))?;
        let tokens = Tokens::parse(&text).map_err(failed)?;
        Ok(Tokens { file: Some(file), ..tokens })
    }

    /// Reads the file again; if that fails, the old tokens stay. `None` where there is no file.
    pub(crate) fn reload(&mut self) -> Option<Result<(), StartError>> {
        let file = self.file.clone()?;
        Some(Tokens::load(file).map(|tokens| *self = tokens))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether this is one of them.
    pub(crate) fn admit(&self, token: &str) -> bool {
        let presented = digest(&SHA256, token.as_bytes());
        self.digests.iter().fold(Choice::from(0), |found, good| found | good.as_ref().ct_eq(presented.as_ref())).into()
    }
}

/// Tokens are not shown.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.digests.len())
    }
}

fn digest_of(line: usize, token: &str) -> Result<Digest, InvalidValue> {
    match token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true if token.len() >= MIN_TOKEN => Ok(digest(&SHA256, token.as_bytes())),
        true => {
            Err(format!("line {line}: a token has at least {MIN_TOKEN} characters; make one with: openssl rand -hex 32").into())
        }
        false => Err(format!("line {line}: a token has no blanks and only ASCII characters").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_token() {
        let tokens = Tokens::parse("# the new one\nabcdefghijklmnop\n\n  0123456789abcdef  \n").unwrap();
        assert!(tokens.admit("abcdefghijklmnop") && tokens.admit("0123456789abcdef"));
        for wrong in ["", "abcdefghijklmno", "abcdefghijklmnopq", "ABCDEFGHIJKLMNOP", "# the new one"] {
            assert!(!tokens.admit(wrong), "{wrong}");
        }
        assert_eq!(format!("{tokens:?}"), "2 tokens");
        assert!(!Tokens::default().admit(""));
    }

    #[test]
    fn what_is_no_token_names_its_line() {
        for (text, problem) in [
            ("", "has no token"),
            ("# only this\n", "has no token"),
            ("\nshort\n", "line 2: a token has at least 16 characters"),
            ("two words in one line", "line 1: a token has no blanks"),
        ] {
            assert!(Tokens::parse(text).unwrap_err().to_string().starts_with(problem), "{text}");
        }
    }
}
