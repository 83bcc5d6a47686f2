//! Where the plain part of a string ends, found without a look at each byte.

/// Most strings end within so many bytes: looking for their end in words of 8 bytes is cheaper there than by `memchr`.
const NEAR: usize = 64;

/// How far the bytes from `at` on mean nothing but themselves: up to a quote, a backslash, a control character,
/// or the end.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
    // The names of most members end in the first word.
    match word(bytes, at).map(special) {
        Some(0) => next_end(bytes, at + 8),
        Some(special) => at + first(special),
        None => last_end(bytes, at),
    }
}

/// The same in the words that follow.
#[inline(never)]
fn next_end(bytes: &[u8], at: usize) -> usize {
    let mut rest = &bytes[at..];
    while let Some((word, behind)) = rest.split_first_chunk() {
        let (here, special) = (bytes.len() - rest.len(), special(u64::from_le_bytes(*word)));
        if special != 0 {
            return here + first(special);
        }
        if here > at + NEAR {
            return far_end(bytes, here);
        }
        rest = behind;
    }
    last_end(bytes, bytes.len() - rest.len())
}

/// The same where less than a word is left.
#[inline(never)]
fn last_end(bytes: &[u8], at: usize) -> usize {
    let Some(last) = bytes.last_chunk() else {
        return at + bytes[at..].iter().position(is_special).unwrap_or(bytes.len() - at);
    };
    // What stands before `at` is shifted out, and zeros come in: special ones, at the end of the bytes.
    let read = 8 - (bytes.len() - at);
    let word = u64::from_le_bytes(*last).unbounded_shr(8 * read as u32);
    at + first(special(word))
}

/// The same for a long string: its end is looked for, and then what may not be in it.
#[inline(never)]
fn far_end(bytes: &[u8], at: usize) -> usize {
    let far = &bytes[at..];
    let far = &far[..memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len())];
    let least = far.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let end = if least < b' ' { far.iter().position(is_special) } else { None };
    at + end.unwrap_or(far.len())
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// The first byte of which the highest bit is set.
#[inline]
fn first(special: u64) -> usize {
    special.trailing_zeros() as usize / 8
}

/// The highest bit of each byte that is special. Above the lowest such byte it may be set for nothing.
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit));
    // This bit changed, a quote is the first byte behind the control characters, and they stay what they are.
    let quote_or_control = below(word ^ (ONES * 2), b' ' + 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (quote_or_control | backslash) & !word & (ONES << 7)
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, ..b' ' | b'"' | b'\\')
}
