//! One frame: header in, header out, and the mask (RFC 6455, section 5.2 and 5.3).
//!
//! PHP counterpart: `Encode` and the first half of `Decode`.

use super::{Opcode, ProtocolError};

/// The longest header a client sends: two bytes, eight of length, four of mask.
pub const MAX_HEADER: usize = 14;

/// What stands before the payload of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Length of the payload in bytes.
    pub len: u64,
    /// The key that the payload is XORed with.
    pub mask: [u8; 4],
}

impl Header {
    /// Reads a header from the beginning of `bytes` and says how long it is; `None` means more
    /// bytes are needed. An error is found as early as the bytes allow.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        // "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let (fin, opcode) = (first & 0x80 != 0, Opcode::from_bits(first & 0x0F)?);
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        // "A server MUST close the connection upon receiving a frame that is not masked."
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(ProtocolError::LongControl);
        }
        let Some((len, at)) = parse_len(short, bytes)? else { return Ok(None) };
        let Some(mask) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
        Ok(Some((Header { fin, opcode, len, mask: *mask }, at + 4)))
    }
}

/// The payload's length and where the mask begins. "The minimal number of bytes MUST be used."
fn parse_len(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (len, at, least) = match short {
        126 => match bytes[2..].first_chunk::<2>() {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 4, 126),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk::<8>() {
            Some(len) => (u64::from_be_bytes(*len), 10, 1 << 16),
            None => return Ok(None),
        },
        short => (u64::from(short), 2, 0),
    };
    if len < least || len >> 63 != 0 {
        return Err(ProtocolError::BadLength);
    }
    Ok(Some((len, at)))
}

/// Appends a whole server frame (FIN set, not masked) to `out`, with the shortest length form.
#[doc(alias = "Encode")]
#[inline]
pub fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 10);
    encode_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// The same without the payload, which has so many bytes.
#[inline]
pub fn encode_header(opcode: Opcode, len: usize, out: &mut Vec<u8>) {
    let first = 0x80 | opcode as u8;
    // Most are short: these two bytes are written at once, and the rest stays out of the caller's way.
    if len <= 125 { out.extend_from_slice(&[first, len as u8]) } else { encode_long_header(first, len, out) }
}

#[inline(never)]
fn encode_long_header(first: u8, len: usize, out: &mut Vec<u8>) {
    if let Ok(len) = u16::try_from(len) {
        out.extend_from_slice(&[first, 126]);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.extend_from_slice(&[first, 127]);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Appends a text frame of JSON with white space behind it, so that its length is a multiple of `read`.
pub fn encode_filled(json: &str, read: usize, out: &mut Vec<u8>) {
    let header = |payload: usize| if payload > 0xFFFF { 10 } else { 4 };
    let frame = (json.len() + header(json.len())).next_multiple_of(read);
    // Filling up may itself take the payload over 65,535 bytes, and so the longer header.
    let frame = (json.len() + header(frame - 4)).next_multiple_of(read);
    let mut filled = Vec::with_capacity(frame);
    filled.extend_from_slice(json.as_bytes());
    filled.resize(frame - header(frame - 4), b' ');
    encode(Opcode::Text, &filled, out);
}

/// XORs `payload` with `mask` and returns the mask as the next byte of the same frame needs it.
///
/// PHP counterpart: the loop at the end of `Decode`, which does this byte by byte.
#[doc(alias = "Decode")]
#[inline]
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    // The compiler does several words at once; the rest is no loop, since most frames are short.
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    let [a, b, c, d] = mask;
    match rest {
        [x] => {
            *x ^= a;
            [b, c, d, a]
        }
        [x, y] => {
            (*x, *y) = (*x ^ a, *y ^ b);
            [c, d, a, b]
        }
        [x, y, z] => {
            (*x, *y, *z) = (*x ^ a, *y ^ b, *z ^ c);
            [d, a, b, c]
        }
        _ => mask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        for (len, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            encode(Opcode::Text, &vec![b'x'; len], &mut out);
            assert_eq!(out.len(), head + len);
            assert_eq!(out[0], 0x81);
        }
    }

    #[test]
    fn filled_frames_fill_whole_reads() {
        for len in [0, 8188, 8189, 57_340, 57_341, 65_526, 65_527, 65_532, 65_533, 65_536, 66_000, 200_000] {
            let mut out = Vec::new();
            encode_filled(&"x".repeat(len), 8192, &mut out);
            assert_eq!(out.len() % 8192, 0, "{len}");
            assert!(out.len() - len <= 8192 + 10, "{len}");
            assert!(out.ends_with(b" ") || out.ends_with(b"x"));
        }
    }

    #[test]
    fn unmasking_is_the_formula_of_the_rfc() {
        let mask = [0xA5, 0x12, 0xFF, 0x00];
        for len in 0..=300 {
            let masked: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut payload = masked.clone();
            let next = unmask(&mut payload, mask);
            // "transformed-octet-i = original-octet-i XOR masking-key-octet-j", where j is i modulo 4.
            let expected: Vec<u8> = masked.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            assert_eq!(payload, expected, "{len}");
            assert_eq!(next, [0, 1, 2, 3].map(|j| mask[(len + j) % 4]), "{len}");
        }
    }

    #[test]
    fn unmasking_in_pieces_is_unmasking_whole() {
        let mask = [0xA5, 0x12, 0xFF, 0x00];
        let whole: Vec<u8> = (0..=255).collect();
        let mut expected = whole.clone();
        unmask(&mut expected, mask);
        for cut in 0..whole.len() {
            let mut pieces = whole.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            unmask(tail, unmask(head, mask));
            assert_eq!(pieces, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_header_is_incomplete_until_its_last_byte() {
        let bytes = [0x81, 0xFE, 0x01, 0x00, 1, 2, 3, 4];
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..cut]), Ok(None));
        }
        let header = Header { fin: true, opcode: Opcode::Text, len: 256, mask: [1, 2, 3, 4] };
        assert_eq!(Header::parse(&bytes), Ok(Some((header, 8))));
    }

    #[test]
    fn bad_headers_are_refused_at_the_first_byte_that_shows_it() {
        let cases: [(&[u8], ProtocolError); 9] = [
            (&[0xC1], ProtocolError::ReservedBits),
            (&[0x91], ProtocolError::ReservedBits),
            (&[0x83], ProtocolError::ReservedOpcode),
            (&[0x8F], ProtocolError::ReservedOpcode),
            (&[0x09], ProtocolError::FragmentedControl),
            (&[0x81, 0x01], ProtocolError::Unmasked),
            (&[0x88, 0xFE], ProtocolError::LongControl),
            (&[0x81, 0xFE, 0x00, 0x7D], ProtocolError::BadLength),
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], ProtocolError::BadLength),
        ];
        for (bytes, error) in cases {
            assert_eq!(Header::parse(bytes), Err(error), "{bytes:02X?}");
        }
    }
}
