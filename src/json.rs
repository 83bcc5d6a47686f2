//! JSON as far as the server reads it: whether a text is right, where it is wrong, and what an object or a
//! list holds.
//!
//! The grammar of RFC 8259 with PHP's two limits: nesting ends somewhere, and escaped surrogates come in
//! pairs, lest a text reach clients that refuse it. Values are neither decoded nor copied: they stay the text
//! that they are, so that no number and no order of members changes on the way.
//!
//! serde_json gives the same for more instructions, five times as many where a string is long. Its words for
//! what is wrong are used here. The tests and the fuzz target `packet` hold the two against each other.

use std::borrow::Cow;

use plain::plain_end;

mod plain;

/// The nesting that PHP's `json_decode` allows.
const MAX_DEPTH: usize = 512;

/// What is wrong with a text, and the byte at which it is: the text's length where more had to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// A value in its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    text: &'a str,
    at: usize,
    end: usize,
    /// Whether it is a string with escapes.
    escaped: bool,
}

/// Whether a text is one JSON value.
pub(crate) fn check(text: &str) -> Step<()> {
    members(text, |_, _| {})
}

/// Gives the members of the object in `text` to `member`, name and value; none where it is another value. A
/// fault may show only behind some of the members.
#[inline]
pub(crate) fn members<'a>(text: &'a str, mut member: impl FnMut(&str, Value<'a>)) -> Step<()> {
    Scanner::read(text, |scanner, at| match scanner.byte(at) {
        b'{' => scanner.object(at, 1, &mut member),
        _ => scanner.value(at, 0),
    })
}

/// Gives the items of the list in `text` to `item`, which may refuse one; a text that is no list is a fault.
pub(crate) fn items<'a>(text: &'a str, mut item: impl FnMut(Value<'a>) -> Result<(), &'static str>) -> Step<()> {
    Scanner::read(text, |scanner, at| match scanner.byte(at) {
        b'[' => scanner.list(at, 1, &mut item),
        _ => scanner.fail(at, "expected a list"),
    })
}

impl<'a> Value<'a> {
    /// The value as it is spelled.
    #[inline]
    pub(crate) fn text(self) -> &'a str {
        &self.text[self.at..self.end]
    }

    /// What a string says; `None` for another value.
    #[inline]
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        (self.first_byte() == b'"').then(|| {
            let inside = &self.text[self.at + 1..self.end - 1];
            if self.escaped { Cow::Owned(unescaped(inside)) } else { Cow::Borrowed(inside) }
        })
    }

    /// A string, or a number as its text: PHP clients turn numeric strings into numbers.
    #[inline]
    pub(crate) fn word(self) -> Cow<'a, str> {
        self.string().unwrap_or_else(|| match self.first_byte() {
            b'-' | b'0'..=b'9' => Cow::Borrowed(self.text()),
            _ => Cow::Borrowed(""),
        })
    }

    fn first_byte(self) -> u8 {
        self.text.as_bytes()[self.at]
    }
}

/// What stands between the quotes of a string, its escapes read.
#[cold]
fn unescaped(inside: &str) -> String {
    serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_default()
}

const INVALID_NUMBER: &str = "invalid number";
const HALF: &str = "half of a surrogate pair";
const CONTROL_CHARACTER: &str = "control character (\\u0000-\\u001F) found while parsing a string";

/// The byte behind what was read, or the fault in it.
type Step<T = usize> = Result<T, Fault>;

/// A text. Each method reads what begins at a byte of it.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a str,
}

impl<'a> Scanner<'a> {
    /// The text's one value by `read`, and nothing behind it.
    #[inline]
    fn read(text: &'a str, read: impl FnOnce(Self, usize) -> Step) -> Step<()> {
        let scanner = Scanner { text };
        let end = scanner.token(read(scanner, scanner.token(0))?);
        if end == text.len() { Ok(()) } else { scanner.fail(end, "trailing characters") }
    }

    fn value(self, at: usize, depth: usize) -> Step {
        match self.byte(at) {
            b'"' => self.string(at).map(|(_, end)| end),
            b'{' => self.object(at, depth + 1, &mut |_, _| {}),
            b'[' => self.list(at, depth + 1, &mut |_| Ok(())),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.literal(at, "true"),
            b'f' => self.literal(at, "false"),
            b'n' => self.literal(at, "null"),
            _ => self.fail_or_end(at, "expected value", "EOF while parsing a value"),
        }
    }

    /// A value as it is spelled, and the byte behind it.
    #[inline(always)]
    fn spelled(self, at: usize, depth: usize) -> Step<(Value<'a>, usize)> {
        let (escaped, end) = match self.byte(at) {
            b'"' => self.string(at)?,
            _ => (false, self.value(at, depth)?),
        };
        Ok((Value { text: self.text, at, end, escaped }, end))
    }

    #[inline]
    fn object(self, at: usize, depth: usize, member: &mut impl FnMut(&str, Value<'a>)) -> Step {
        const END: &str = "EOF while parsing an object";
        let mut at = self.open(at, depth)?;
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        loop {
            let begin = self.find(at, b'"').or_else(|at| self.fail_or_end(at, "key must be a string", END))?;
            let (escaped, end) = self.string(begin)?;
            let inside = &self.text[begin + 1..end - 1];
            let unescaped_name;
            let name = if escaped {
                unescaped_name = unescaped(inside);
                &unescaped_name
            } else {
                inside
            };
            let colon = self.find(end, b':').or_else(|at| self.fail_or_end(at, "expected `:`", END))?;
            let (value, end) = self.spelled(self.token(colon + 1), depth)?;
            member(name, value);
            at = match self.find(end, b',') {
                Ok(comma) => comma + 1,
                Err(at) if self.byte(at) == b'}' => return Ok(at + 1),
                Err(at) => return self.fail_or_end(at, "expected `,` or `}`", END),
            };
        }
    }

    fn list(self, at: usize, depth: usize, item: &mut impl FnMut(Value<'a>) -> Result<(), &'static str>) -> Step {
        const END: &str = "EOF while parsing a list";
        let mut at = self.open(at, depth)?;
        match self.byte(at) {
            b']' => return Ok(at + 1),
            _ if at == self.text.len() => return self.fail(at, END),
            _ => {}
        }
        loop {
            let (value, end) = self.spelled(at, depth)?;
            if let Err(fault) = item(value) {
                return self.fail(at, fault);
            }
            at = match self.find(end, b',') {
                Ok(comma) => self.token(comma + 1),
                Err(at) if self.byte(at) == b']' => return Ok(at + 1),
                Err(at) => return self.fail_or_end(at, "expected `,` or `]`", END),
            };
        }
    }

    /// The bracket that begins a level.
    #[inline]
    fn open(self, at: usize, depth: usize) -> Step {
        if depth > MAX_DEPTH {
            return self.fail(at, "nested deeper than 512 levels");
        }
        Ok(self.token(at + 1))
    }

    /// A string, which begins here: whether there are escapes in it, and the byte behind it.
    #[inline]
    fn string(self, at: usize) -> Step<(bool, usize)> {
        let end = plain_end(self.text.as_bytes(), at + 1);
        match self.byte(end) {
            b'"' => Ok((false, end + 1)),
            _ => Ok((true, self.rest_of_string(end)?)),
        }
    }

    /// The rest of a string from its first special byte on, which is not its end.
    #[inline(never)]
    fn rest_of_string(self, mut at: usize) -> Step {
        loop {
            at = match self.byte(at) {
                b'"' => return Ok(at + 1),
                b'\\' => self.escape(at)?,
                _ => return self.fail_or_end(at, CONTROL_CHARACTER, "EOF while parsing a string"),
            };
            at = plain_end(self.text.as_bytes(), at);
        }
    }

    fn escape(self, at: usize) -> Step {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => return Ok(at + 2),
            b'u' => {}
            _ => return self.fail_or_end(at + 1, "invalid escape", "EOF while parsing a string"),
        }
        match self.unit(at)? {
            0xD800..=0xDBFF if self.text[at + 6..].starts_with("\\u") => match self.unit(at + 6)? {
                0xDC00..=0xDFFF => Ok(at + 12),
                _ => self.fail(at, HALF),
            },
            0xD800..=0xDFFF => self.fail(at, HALF),
            _ => Ok(at + 6),
        }
    }

    /// What the four digits of an escape say.
    fn unit(self, at: usize) -> Step<u32> {
        if self.text.len() < at + 6 {
            return self.fail(self.text.len(), "EOF while parsing a string");
        }
        let mut unit = 0;
        for at in at + 2..at + 6 {
            match char::from(self.byte(at)).to_digit(16) {
                Some(digit) => unit = unit << 4 | digit,
                None => return self.fail(at, "invalid escape"),
            }
        }
        Ok(unit)
    }

    fn number(self, mut at: usize) -> Step {
        at += usize::from(self.byte(at) == b'-');
        at = match (self.byte(at), self.byte(at + 1)) {
            (b'0', b'0'..=b'9') => return self.fail(at + 1, INVALID_NUMBER),
            (b'0', _) => at + 1,
            _ => self.digits(at)?,
        };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at += 1 + usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            at = self.digits(at)?;
        }
        Ok(at)
    }

    fn digits(self, at: usize) -> Step {
        let mut end = at;
        while self.byte(end).is_ascii_digit() {
            end += 1;
        }
        if end > at { Ok(end) } else { self.fail(at, INVALID_NUMBER) }
    }

    fn literal(self, mut at: usize, word: &str) -> Step {
        for byte in word.bytes() {
            if self.byte(at) != byte {
                return self.fail_or_end(at, "expected ident", "EOF while parsing a value");
            }
            at += 1;
        }
        Ok(at)
    }

    /// Goes on to the next byte that is no white space: `Ok` if it is `byte`, else `Err`; where it is in both cases.
    #[inline]
    fn find(self, at: usize, byte: u8) -> Result<usize, usize> {
        if self.byte(at) == byte {
            return Ok(at);
        }
        let at = self.token(at);
        if self.byte(at) == byte { Ok(at) } else { Err(at) }
    }

    /// Goes on to the next byte that is no white space.
    #[inline]
    fn token(self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.space_end(at) }
    }

    #[cold]
    fn space_end(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// One byte; behind the end 0, which JSON has nowhere.
    #[inline]
    fn byte(self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or_default()
    }

    #[cold]
    fn fail<T>(self, at: usize, what: &'static str) -> Step<T> {
        Err(Fault { at, what })
    }

    /// The same; where there is no byte there, `end` is what is wrong.
    #[cold]
    fn fail_or_end<T>(self, at: usize, what: &'static str, end: &'static str) -> Step<T> {
        self.fail(at, if at < self.text.len() { what } else { end })
    }
}

#[cfg(test)]
mod tests;
