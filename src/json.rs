//! JSON as far as a packet needs it: whether a text is right, and what the members of its object are.
//!
//! The grammar of RFC 8259 with PHP's two limits: nesting ends somewhere, and escaped surrogates come in
//! pairs. Values are neither decoded nor copied: they stay the text that they are. serde_json gives the same
//! for more instructions, five times as many where a string is long; the fuzz target `packet` holds the two against each other.

use std::borrow::Cow;

/// The nesting that PHP's `json_decode` allows.
const MAX_DEPTH: usize = 512;
/// As far as this, most strings end: looking for their end in words is cheaper than by `memchr`.
const NEAR: usize = 64;

/// Gives the members of the object in `text` to `member`, values as they are spelled; none where it is another
/// value. `None` if it is no JSON, which may show only behind some of the members.
pub(crate) fn members<'a>(text: &'a str, mut member: impl FnMut(&str, &'a str)) -> Option<()> {
    let mut reader = Reader { text, at: 0, escapes: false };
    reader.space();
    match reader.peek()? {
        b'{' => reader.object(1, &mut member)?,
        _ => reader.value(0)?,
    }
    reader.space();
    (reader.at == text.len()).then_some(())
}

/// A text, and how far it has been read. What can't be read is `None`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Whether an escape was read.
    escapes: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth + 1, &mut |_, _| {}),
            b'[' => self.array(depth + 1),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize, member: &mut dyn FnMut(&str, &'a str)) -> Option<()> {
        self.open(depth)?;
        if self.take(b'}') {
            return Some(());
        }
        loop {
            let key = self.key()?;
            self.space();
            self.expect(b':')?;
            self.space();
            let value = self.spelled(|reader| reader.value(depth))?;
            member(&key, value);
            if self.is_last(b'}')? {
                return Some(());
            }
        }
    }

    fn key(&mut self) -> Option<Cow<'a, str>> {
        self.escapes = false;
        let key = self.spelled(Reader::string)?;
        if self.escapes { serde_json::from_str(key).ok() } else { Some(Cow::Borrowed(&key[1..key.len() - 1])) }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.open(depth)?;
        if self.take(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.is_last(b']')? {
                return Some(());
            }
        }
    }

    /// The bracket that begins a level.
    fn open(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        (depth <= MAX_DEPTH).then_some(())
    }

    /// What follows a value: the end of its object or array, or a comma and another one.
    fn is_last(&mut self, end: u8) -> Option<bool> {
        self.space();
        if self.take(end) {
            return Some(true);
        }
        self.expect(b',')?;
        self.space();
        Some(false)
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at += plain(&self.text.as_bytes()[self.at..]);
            match self.peek()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _control => return None,
            }
        }
        self.expect(b'"')
    }

    fn escape(&mut self) -> Option<()> {
        self.escapes = true;
        match self.text.as_bytes().get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            _ => match self.unit()? {
                0xD800..=0xDBFF => matches!(self.unit()?, 0xDC00..=0xDFFF).then_some(())?,
                0xDC00..=0xDFFF => return None,
                _ => {}
            },
        }
        Some(())
    }

    /// `\u` and four digits.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..)?.strip_prefix("\\u")?.get(..4)?;
        let unit = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok());
        self.at += 6;
        unit.flatten()
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// What `read` reads, as it is spelled.
    fn spelled(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a str> {
        let from = self.at;
        read(self)?;
        self.text.get(from..self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
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

/// Where the nesting becomes deeper than PHP allows.
pub(crate) fn too_deep_at(text: &str) -> Option<usize> {
    // Each level takes two bytes at least, so short messages need no look; and a bracket, so that most
    // long ones need none at what is quoted.
    let mut brackets = memchr::memchr2_iter(b'[', b'{', text.as_bytes());
    if text.len() <= 2 * MAX_DEPTH || brackets.nth(MAX_DEPTH).is_none() {
        return None;
    }
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

/// Where an escape like `\ud83d` lacks its other half. PHP refuses such text; so must we, lest it
/// reach clients that refuse it.
pub(crate) fn lone_surrogate_at(text: &str) -> Option<usize> {
    let mut high = None;
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\\', &text.as_bytes()[from..]).map(|at| from + at) {
        let unit = text.get(at + 2..at + 6).filter(|_| text[at + 1..].starts_with('u'));
        let unit = unit.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let low = matches!(unit, Some(0xDC00..=0xDFFF));
        if low && high != Some(at) || !low && high.is_some() {
            return Some(high.map_or(at, |end| end - 6));
        }
        let used = if unit.is_some() { 6 } else { 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8) };
        from = at + used;
        high = matches!(unit, Some(0xD800..=0xDBFF)).then_some(from);
    }
    high.map(|end| end - 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Option<Vec<(String, &str)>> {
        let mut seen = Vec::new();
        members(text, |key, value| seen.push((key.to_owned(), value))).map(|()| seen)
    }

    #[test]
    fn values_are_given_as_they_are_spelled_and_keys_are_read() {
        let text = " {\"a\" : [1, {\"b\": 2}] ,\"\\u0041\":-1.50e+2, \"\":\"x\\\"y\"}\n";
        let expected = [("a", "[1, {\"b\": 2}]"), ("A", "-1.50e+2"), ("", "\"x\\\"y\"")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(seen(text), Some(expected.to_vec()));
        assert_eq!(seen("[{\"a\":1}]"), Some(Vec::new()));
    }

    #[test]
    fn a_long_string_ends_where_it_ends() {
        for len in 0..200 {
            let long = "\u{fc}".repeat(len);
            assert_eq!(seen(&format!("{{\"k\":\"{long}\"}}")).map(|seen| seen[0].1.len()), Some(2 * len + 2));
            assert_eq!(seen(&format!("\"{long}\u{1f}\"")), None);
            assert_eq!(seen(&format!("\"{long}\\\"")), None);
            assert_eq!(seen(&format!("\"{long}")), None);
        }
    }

    #[test]
    fn it_takes_for_json_what_serde_takes_for_json() {
        let pieces =
            ["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u00e9", "0", "01", "-", "1.", "1e5", "true", "nul", " ", "\t"];
        let count = pieces.len();
        for number in 0..count.pow(4) {
            let text: String = (0..4).map(|place| pieces[number / count.pow(place) % count]).collect();
            let right = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            assert_eq!(seen(&text).is_some(), right, "{text}");
        }
    }
}
