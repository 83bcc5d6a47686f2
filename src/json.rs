//! JSON as far as the server reads it: whether a text is right, where it is wrong, and what an object or a
//! list holds.
//!
//! The grammar of RFC 8259 with PHP's two limits: nesting ends somewhere, and escaped surrogates come in
//! pairs, lest a text reach clients that refuse it. Values are neither decoded nor copied: they stay the text
//! that they are, so that no number and no order of members changes on the way.
//!
//! serde_json gives the same for more instructions, five times as many where a string is long. Its words for
//! what is wrong are used here. The test below and the fuzz target `packet` hold the two against each other.

use std::borrow::Cow;

/// The nesting that PHP's `json_decode` allows.
const MAX_DEPTH: usize = 512;

/// As far as this, most strings end: looking for their end in chunks is cheaper than by `memchr`.
const NEAR: usize = 64;

/// What is wrong with a text, and the byte at which it is: the text's length where more had to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// A value as it is spelled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) text: &'a str,
    /// Whether it is a string with escapes.
    escaped: bool,
}

/// Whether a text is one JSON value.
pub(crate) fn check(text: &str) -> Result<(), Fault> {
    members(text, |_, _| {})
}

/// Gives the members of the object in `text` to `member`, name and value; none where it is another value. A
/// fault may show only behind some of the members.
pub(crate) fn members<'a>(text: &'a str, mut member: impl FnMut(Value<'a>, Value<'a>)) -> Result<(), Fault> {
    Scanner::read(text, |scanner| match scanner.token() {
        b'{' => scanner.object(1, &mut member),
        _ => scanner.value(0).map(drop),
    })
}

/// Gives the items of the list in `text` to `item`, which may refuse one; a text that is no list is a fault.
pub(crate) fn items<'a>(text: &'a str, mut item: impl FnMut(Value<'a>) -> Step) -> Result<(), Fault> {
    Scanner::read(text, |scanner| match scanner.token() {
        b'[' => scanner.list(1, &mut item),
        _ => Err("expected a list"),
    })
}

impl<'a> Value<'a> {
    /// What a string says; `None` for another value.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        self.text.starts_with('"').then(|| self.unquoted())
    }

    /// What a string, like the name of a member, says.
    pub(crate) fn unquoted(self) -> Cow<'a, str> {
        if self.escaped {
            return Cow::Owned(serde_json::from_str(self.text).unwrap_or_default());
        }
        Cow::Borrowed(self.text.get(1..self.text.len() - 1).unwrap_or_default())
    }

    /// A string, or a number as its text: PHP clients turn numeric strings into numbers.
    pub(crate) fn word(self) -> Cow<'a, str> {
        match self.text.as_bytes().first() {
            Some(b'"') => self.unquoted(),
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(self.text),
            _ => Cow::Borrowed(""),
        }
    }
}

const INVALID_NUMBER: &str = "invalid number";
const CONTROL_CHARACTER: &str = "control character (\\u0000-\\u001F) found while parsing a string";

/// Reading on, or what is wrong with the byte that is read next.
pub(crate) type Step<T = ()> = Result<T, &'static str>;

/// A text, and how far it has been read: up to the byte of its fault where it has one.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The text's one value by `read`, and nothing behind it.
    fn read(text: &'a str, read: impl FnOnce(&mut Self) -> Step) -> Result<(), Fault> {
        let mut scanner = Scanner { text, at: 0 };
        let outcome = read(&mut scanner).and_then(|()| {
            scanner.token();
            if scanner.at == text.len() { Ok(()) } else { Err("trailing characters") }
        });
        outcome.map_err(|what| Fault { at: scanner.at, what })
    }

    /// Reads the value that begins here; says whether it is a string with escapes.
    fn value(&mut self, depth: usize) -> Step<bool> {
        match self.peek() {
            b'"' => return self.string(),
            b'{' => self.object(depth + 1, &mut |_, _| {}),
            b'[' => self.list(depth + 1, &mut |_| Ok(())),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err(self.or_end("expected value", "EOF while parsing a value")),
        }?;
        Ok(false)
    }

    /// Reads what `read` reads, as it is spelled.
    fn spelled(&mut self, read: impl FnOnce(&mut Self) -> Step<bool>) -> Step<Value<'a>> {
        let from = self.at;
        let escaped = read(self)?;
        Ok(Value { text: &self.text[from..self.at], escaped })
    }

    fn object(&mut self, depth: usize, member: &mut impl FnMut(Value<'a>, Value<'a>)) -> Step {
        const END: &str = "EOF while parsing an object";
        if self.open(depth)? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.token() != b'"' {
                return Err(self.or_end("key must be a string", END));
            }
            let name = self.spelled(Self::string)?;
            if self.token() != b':' {
                return Err(self.or_end("expected `:`", END));
            }
            self.at += 1;
            self.token();
            let value = self.spelled(|scanner| scanner.value(depth))?;
            member(name, value);
            match self.token() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.or_end("expected `,` or `}`", END)),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn list(&mut self, depth: usize, item: &mut impl FnMut(Value<'a>) -> Step) -> Step {
        const END: &str = "EOF while parsing a list";
        match self.open(depth)? {
            b']' => {
                self.at += 1;
                return Ok(());
            }
            _ if self.at == self.text.len() => return Err(END),
            _ => {}
        }
        loop {
            self.token();
            item(self.spelled(|scanner| scanner.value(depth))?)?;
            match self.token() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.or_end("expected `,` or `]`", END)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// The bracket that begins a level; gives the byte that follows it.
    fn open(&mut self, depth: usize) -> Step<u8> {
        if depth > MAX_DEPTH {
            return Err("nested deeper than 512 levels");
        }
        self.at += 1;
        Ok(self.token())
    }

    /// Reads a string; says whether there are escapes in it.
    fn string(&mut self) -> Step<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return Err(self.or_end(CONTROL_CHARACTER, "EOF while parsing a string")),
            }
            escaped = true;
        }
        self.at += 1;
        Ok(escaped)
    }

    fn escape(&mut self) -> Step {
        let from = self.at;
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let other_half = match self.unit()? {
                    0xD800..=0xDBFF => self.text[self.at..].starts_with("\\u"),
                    0xDC00..=0xDFFF => false,
                    _ => return Ok(()),
                };
                self.at += 1;
                if !other_half || !matches!(self.unit()?, 0xDC00..=0xDFFF) {
                    self.at = from;
                    return Err("half of a surrogate pair");
                }
            }
            _ => return Err(self.or_end("invalid escape", "EOF while parsing a string")),
        }
        Ok(())
    }

    /// The `u` of an escape, and its four digits.
    fn unit(&mut self) -> Step<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = char::from(self.peek()).to_digit(16);
            unit = unit << 4 | digit.ok_or_else(|| self.or_end("invalid escape", "EOF while parsing a string"))?;
        }
        self.at += 1;
        Ok(unit)
    }

    fn number(&mut self) -> Step {
        self.take(b'-');
        if self.take(b'0') {
            if self.peek().is_ascii_digit() {
                return Err(INVALID_NUMBER);
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Step {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(INVALID_NUMBER) }
    }

    fn literal(&mut self, word: &str) -> Step {
        for byte in word.bytes() {
            if !self.take(byte) {
                return Err(self.or_end("expected ident", "EOF while parsing a value"));
            }
        }
        Ok(())
    }

    /// Goes on to the next byte that is no white space.
    fn token(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// The byte that is read next; at the end 0, which JSON has nowhere.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == byte;
        self.at += usize::from(there);
        there
    }

    /// What is wrong: with the byte that is read next, or that there is none.
    #[cold]
    fn or_end(&self, what: &'static str, end: &'static str) -> &'static str {
        if self.at < self.text.len() { what } else { end }
    }
}

/// How many bytes of a string mean nothing but themselves: up to a quote, a backslash, or a control character.
fn plain(bytes: &[u8]) -> usize {
    let is_special = |byte: &u8| matches!(byte, ..0x20 | b'"' | b'\\');
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    let (words, rest) = near.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return 8 * index + special.trailing_zeros() as usize / 8;
        }
    }
    if let Some(at) = rest.iter().position(is_special) {
        return 8 * words.len() + at;
    }
    // The string is a long one: its end is looked for, and then what may not be in it.
    let far = &far[..memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len())];
    let least = far.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let end = if least < 0x20 { far.iter().position(is_special) } else { None };
    near.len() + end.unwrap_or(far.len())
}

/// The highest bit of each byte that is special. Above the lowest such byte it may be set for nothing.
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

#[cfg(test)]
mod tests;
