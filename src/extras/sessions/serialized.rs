//! PHP's `serialize` read the other way, as far as the session check needs it: skip a value, and say
//! whether it is true.
//!
//! ```text
//!   N;  b:1;  i:-7;  d:0.5;  s:2:"né…";  a:1:{key value}  O:3:"Foo":1:{key value}  C:3:"Foo":4:{…}
//!   E:9:"Suit:Ace";  r:2;  R:2;              lengths in bytes, keys as i or s, nothing between
//! ```
//!
//! Whatever the bytes are, a reader ends: with a value or with `None`. It calls itself nowhere and
//! keeps a count per open array and nothing else, so a claimed length costs nothing.

/// PHP's default of `unserialize_max_depth`; a session that is deeper PHP itself can't read.
pub const MAX_DEPTH: usize = 4096;

/// Reads values one behind the other. After a `None` it must not be asked again.
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// A key of an array or a property of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    Integer(i64),
    String(&'a [u8]),
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether a value seems to follow: by its first two bytes only.
    pub fn is_at_value(&self) -> bool {
        matches!(self.rest, [b'N', b';', ..] | [b'b' | b'i' | b'd' | b's' | b'a' | b'O' | b'C' | b'E' | b'r' | b'R', b':', ..])
    }

    /// Reads one value with all that is in it. Gives whether PHP takes it as true; arrays, objects,
    /// enums and references count as false here.
    pub fn value(&mut self) -> Option<bool> {
        // For each array or object around this point, how many entries are still to come.
        let mut open = Vec::new();
        let truth = self.token(&mut open)?;
        while let Some(left) = open.last_mut() {
            if *left == 0 {
                self.array_end()?;
                open.pop();
            } else {
                *left -= 1;
                self.key()?;
                self.token(&mut open)?;
            }
        }
        Some(truth)
    }

    /// Reads the head of an array; gives the number of its entries, which nobody has checked.
    pub fn array(&mut self) -> Option<usize> {
        self.expect(b"a:")?;
        self.count()
    }

    pub fn array_end(&mut self) -> Option<()> {
        self.expect(b"}")
    }

    pub fn key(&mut self) -> Option<Key<'a>> {
        match self.take(2)? {
            b"i:" => self.integer().map(Key::Integer),
            b"s:" => self.string().map(Key::String),
            _ => None,
        }
    }

    /// What stands before the next `end`; the reader is then behind it.
    pub fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|byte| *byte == end)?;
        let before = self.take(at)?;
        self.take(1)?;
        Some(before)
    }

    /// Reads a scalar whole, and of an array or object the head, which it puts on the stack.
    fn token(&mut self, open: &mut Vec<usize>) -> Option<bool> {
        match self.take(2)? {
            b"N;" => Some(false),
            b"b:" => match self.take(2)? {
                b"0;" => Some(false),
                b"1;" => Some(true),
                _ => None,
            },
            b"i:" => self.integer().map(|number| number != 0),
            b"d:" => self.float().map(|number| number != 0.0),
            b"s:" => self.string().map(|text| !matches!(text, b"" | b"0")),
            b"a:" => self.descend(open),
            b"O:" => {
                self.name()?;
                self.descend(open)
            }
            b"C:" => {
                self.name()?;
                self.own_format()
            }
            b"E:" => self.string().filter(|case| case.contains(&b':')).map(|_| false),
            b"r:" | b"R:" => self.length(b';').map(|_| false),
            _ => None,
        }
    }

    fn descend(&mut self, open: &mut Vec<usize>) -> Option<bool> {
        let count = self.count()?;
        (open.len() < MAX_DEPTH).then(|| open.push(count))?;
        Some(false)
    }

    /// What a class of PHP's old interface `Serializable` wrote: `length:{bytes}`.
    fn own_format(&mut self) -> Option<bool> {
        let length = self.length(b':')?;
        self.expect(b"{")?;
        self.take(length)?;
        self.expect(b"}")?;
        Some(false)
    }

    fn count(&mut self) -> Option<usize> {
        let count = self.length(b':')?;
        self.expect(b"{")?;
        Some(count)
    }

    /// `length:"bytes";`
    fn string(&mut self) -> Option<&'a [u8]> {
        let text = self.quoted()?;
        self.expect(b";")?;
        Some(text)
    }

    /// `length:"bytes":`, the name of a class.
    fn name(&mut self) -> Option<&'a [u8]> {
        let name = self.quoted()?;
        self.expect(b":")?;
        Some(name)
    }

    fn quoted(&mut self) -> Option<&'a [u8]> {
        let length = self.length(b':')?;
        self.expect(b"\"")?;
        let text = self.take(length)?;
        self.expect(b"\"")?;
        Some(text)
    }

    fn integer(&mut self) -> Option<i64> {
        self.text(b';')?.parse().ok()
    }

    /// Rust's notation of floats is PHP's, but for more ways to write the infinite.
    fn float(&mut self) -> Option<f64> {
        let text = self.text(b';')?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if digits || matches!(text, "NAN" | "INF" | "-INF") { text.parse().ok() } else { None }
    }

    /// A number without a sign.
    fn length(&mut self, end: u8) -> Option<usize> {
        self.text(end).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
    }

    fn text(&mut self, end: u8) -> Option<&'a str> {
        str::from_utf8(self.until(end)?).ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(bytes)?;
        Some(())
    }
}
