//! The opening handshake (RFC 6455, section 4.2): a request in, the 101 or a complete refusal out.
//!
//! PHP counterpart: `Handshake`. Where the PHP answers with half a response, this one answers whole.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

use super::Refusal;

/// The longest request head that is read, in bytes; a longer one is refused with 431.
pub const MAX_HEAD: usize = 8 * 1024;

/// PHP clients in the field read the 101 and `ready` with one `fread(1024)` each and throw away what
/// else came. Exactly this many bytes each keep the two apart, even in one segment.
pub const PHP_FIRST_READ: usize = 1024;

/// The same clients take up to this many bytes in each later read and decode its first frame only.
pub const PHP_READ: usize = 8192;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request head whose syntax is right.
#[derive(Clone, Debug)]
pub struct Request {
    head: Box<str>,
    /// Where the method, the target and the version end.
    line: [usize; 3],
    fields: Box<[Field]>,
}

/// Where a header field is in the head: looked for once, since a handshake asks for two dozen of them.
#[derive(Clone, Debug)]
struct Field {
    begin: u32,
    colon: u32,
    end: u32,
}

/// Where a request begins in `bytes`: empty lines before it are none of it (RFC 9112, section 2.2).
pub fn head_begin(bytes: &[u8]) -> usize {
    2 * bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count()
}

/// Where the head in `bytes` ends, behind its empty line; `None` while that has not come.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    for at in memchr::memchr_iter(b'\n', bytes) {
        match bytes[at + 1..] {
            [b'\n', ..] => return Some(at + 2),
            [b'\r', b'\n', ..] => return Some(at + 3),
            _ => {}
        }
    }
    None
}

impl Request {
    /// Checks the syntax of a request head and keeps it.
    pub fn parse(head: &[u8]) -> Result<Request, Refusal> {
        let head = head.strip_suffix(b"\n\r\n").or(head.strip_suffix(b"\n\n")).or(head.strip_suffix(b"\n")).unwrap_or(head);
        let head = std::str::from_utf8(head).map_or_else(|_| String::from_utf8_lossy(head), Cow::Borrowed);
        let mut ends = memchr::memchr_iter(b'\n', head.as_bytes()).chain([head.len()]);
        let mut begin = 0;
        let mut lines = std::iter::from_fn(|| {
            let end = ends.next()?;
            let at = std::mem::replace(&mut begin, end + 1);
            Some((at, head[at..end].strip_suffix('\r').unwrap_or(&head[at..end])))
        });
        let line = check_request_line(lines.next().map_or("", |(_, line)| line))?;
        let fields = lines.map(|(at, line)| Ok(Field::new(at, check_field(line)?, line.len()))).collect::<Result<_, _>>()?;
        Ok(Request { line, fields, head: head.into() })
    }

    /// The method as it came: `GET`.
    pub fn method(&self) -> &str {
        self.request_line().0
    }

    /// Whether the request is of HTTP/1.0; all others are of HTTP/1.1.
    pub fn is_http_1_0(&self) -> bool {
        self.request_line().2.ends_with(".0")
    }

    /// The path without the query string: the name of the resource.
    pub fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    /// What follows the `?` of the request line, undecoded; empty where there is none.
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of the first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All fields in their order, names as they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (field.name(&self.head), field.value(&self.head)))
    }

    /// The values of all fields of that name, in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |field| field.name(&self.head).eq_ignore_ascii_case(name));
        fields.map(|field| field.value(&self.head))
    }

    /// The value of a cookie, undecoded.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.values("cookie");
        let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| trim(key) == name).map(|(_, value)| trim(value))
    }

    /// Whether this asks for a WebSocket, rightly or wrongly; otherwise it is a plain HTTP request.
    pub fn is_upgrade(&self) -> bool {
        self.header("sec-websocket-key").is_some()
            || self.header("sec-websocket-version").is_some()
            || self.values("upgrade").any(|value| lists(value, "websocket"))
    }

    /// Checks what RFC 6455, section 4.2.1 requires and gives the value of `Sec-WebSocket-Accept`.
    #[doc(alias = "Handshake")]
    pub fn accept_token(&self, origin_required: bool) -> Result<String, Refusal> {
        if !self.method().eq_ignore_ascii_case("GET") {
            return Err(Refusal::method_not_allowed());
        }
        if self.is_http_1_0() {
            return Err(Refusal::bad_request("HTTP/1.1 required"));
        }
        self.required("host", |_| true)?;
        if origin_required {
            self.required("origin", |_| true)?;
        }
        self.required("upgrade", |value| lists(value, "websocket"))?;
        self.required("connection", |value| lists(value, "upgrade"))?;
        let key = self.required("sec-websocket-key", |key| BASE64.decode(key).is_ok_and(|key| key.len() == 16))?;
        if self.header("sec-websocket-version").is_none() {
            return Err(Refusal::upgrade_required("Missing header: sec-websocket-version"));
        }
        match self.required("sec-websocket-version", |_| true)? {
            "13" => Ok(accept_token(key)),
            _ => Err(Refusal::upgrade_required("Sec-WebSocket-Version must be 13")),
        }
    }

    /// The value of a field that must be there, with one good value at least.
    fn required(&self, name: &str, good: impl Fn(&str) -> bool) -> Result<&str, Refusal> {
        let mut values = self.values(name);
        let first = values.next().ok_or_else(|| Refusal::bad_request(format!("Missing header: {name}")))?;
        // Lists may be spread over fields; what must be single is refused when it is not.
        if !matches!(name, "upgrade" | "connection") && values.next().is_some() {
            return Err(Refusal::bad_request(format!("Duplicate header: {name}")));
        }
        let value = std::iter::once(first).chain(values).find(|value| good(value));
        value.ok_or_else(|| Refusal::bad_request(format!("Bad value of header: {name}")))
    }

    fn request_line(&self) -> (&str, &str, &str) {
        let [method, target, version] = self.line;
        (&self.head[..method], &self.head[method + 1..target], &self.head[target + 1..version])
    }

    /// The request target in its origin form, also where a proxy sent the absolute one.
    fn target(&self) -> &str {
        let target = self.request_line().1;
        if target.starts_with('/') {
            return target;
        }
        match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => match rest.find(['/', '?']) {
                Some(at) if rest[at..].starts_with('/') => &rest[at..],
                _ => "/",
            },
            _ => target,
        }
    }
}

impl Field {
    /// A line of so many bytes that begins at `at`.
    fn new(at: usize, colon: usize, len: usize) -> Field {
        Field { begin: at as u32, colon: (at + colon) as u32, end: (at + len) as u32 }
    }

    fn name<'a>(&self, head: &'a str) -> &'a str {
        &head[self.begin as usize..self.colon as usize]
    }

    fn value<'a>(&self, head: &'a str) -> &'a str {
        trim(&head[self.colon as usize + 1..self.end as usize])
    }
}

/// The 101, letter for letter as old clients compare it.
pub fn switching_protocols(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// The same with one more field, so that it is [`PHP_FIRST_READ`] bytes long.
pub fn switching_protocols_for_php(accept: &str) -> Vec<u8> {
    const FIELD: &str = "X-Padding: ";
    let mut response = switching_protocols(accept);
    let fill = PHP_FIRST_READ - response.len() - FIELD.len() - 2;
    response.truncate(response.len() - 2);
    response.extend_from_slice(FIELD.as_bytes());
    response.resize(response.len() + fill, b'.');
    response.extend_from_slice(b"\r\n\r\n");
    response
}

/// RFC 6455, section 4.2.2: base64 of the SHA-1 of the key and a fixed text.
pub fn accept_token(key: &str) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Without the white space of HTTP, which is blanks and tabs: what other characters look like one belongs to the value.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether `token` is in the comma-separated list `value`, in any case.
fn lists(value: &str, token: &str) -> bool {
    value.split(',').any(|item| trim(item).eq_ignore_ascii_case(token))
}

fn split_request_line(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split(' ');
    let parts = (words.next()?, words.next()?, words.next()?);
    words.next().is_none().then_some(parts)
}

/// Where the method, the target and the version end.
fn check_request_line(line: &str) -> Result<[usize; 3], Refusal> {
    let (method, target, version) = split_request_line(line).ok_or_else(|| Refusal::bad_request("Bad request line"))?;
    let good = !method.is_empty()
        && method.bytes().all(is_token)
        && !target.is_empty()
        && target.bytes().all(|byte| byte.is_ascii_graphic())
        && matches!(version, "HTTP/1.0" | "HTTP/1.1");
    let ends = [method.len(), method.len() + 1 + target.len(), line.len()];
    if good { Ok(ends) } else { Err(Refusal::bad_request("Bad request line")) }
}

/// Where the colon of a field is, in a line of a head or of trailers.
pub(crate) fn check_field(line: &str) -> Result<usize, Refusal> {
    if line.starts_with([' ', '\t']) {
        return Err(Refusal::bad_request("Folded header"));
    }
    let (name, value) = line.split_once(':').ok_or_else(|| Refusal::bad_request("Header without a colon"))?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Refusal::bad_request("Bad header name"));
    }
    if value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(Refusal::bad_request("Control character in a header"));
    }
    Ok(name.len())
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
