//! Cutting an input into reads. The cuts are bytes of the input themselves, so that the fuzzer moves
//! them as it moves everything else.

/// How many bytes at the beginning of an input are a [`Plan`].
pub const PLAN: usize = 4;

/// What the first bytes of an input say about the rest.
#[derive(Debug)]
pub struct Plan {
    /// Free for the target: which limit, which mode.
    pub mode: u8,
    /// Lengths of the pieces, over and over.
    lens: [u8; PLAN - 1],
}

/// Takes the plan off an input; `None` where it is shorter than one.
pub fn plan(data: &[u8]) -> Option<(Plan, &[u8])> {
    let ([mode, a, b, c], bytes) = data.split_first_chunk::<PLAN>()?;
    Some((Plan { mode: *mode, lens: [*a, *b, *c] }, bytes))
}

impl Plan {
    /// `bytes` in pieces, empty ones among them: a read may give nothing.
    pub fn pieces<'a>(&self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        if self.lens == [0; PLAN - 1] {
            return vec![bytes];
        }
        let mut pieces = Vec::new();
        for len in self.lens.iter().cycle() {
            let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(*len)));
            pieces.push(piece);
            if rest.is_empty() {
                break;
            }
            bytes = rest;
        }
        pieces
    }
}
