//! Where delimiters and line ends stand in a piece of input, found 64 bytes at a time.
//!
//! Comparing a block of bytes with a constant compiles to vector instructions; eight
//! flag bytes of different bits each are then gathered into one by a multiplication. Quotes are not understood here: a
//! line that holds one is marked, and read by the scanner.

/// One line of the piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Where its line feed stands.
    pub(super) end: u32,
    /// Delimiters up to here, from the start of the piece.
    pub(super) delimiters: u32,
    /// It holds a quote or a NUL byte.
    pub(super) special: bool,
}

/// The index of one piece. Its buffers are kept from piece to piece.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Where the delimiters stand; the first `found` count, the rest is room for a block's surplus writes.
    delimiters: Vec<u32>,
    found: usize,
    lines: Vec<Line>,
    /// Whether a special byte stands in the line that is under way.
    special: bool,
}

impl Index {
    /// Indexes `bytes` (less than 4 GiB).
    pub(super) fn build(&mut self, bytes: &[u8], delimiter: u8, quote: Option<u8>) {
        self.lines.clear();
        self.found = 0;
        self.special = false;
        if self.delimiters.len() < bytes.len() + 64 {
            self.delimiters.resize(bytes.len() + 64, 0);
        }
        // Without quoting the NUL byte is looked for twice.
        let quote = quote.unwrap_or(0);
        let (blocks, rest) = bytes.as_chunks::<64>();
        let mut base = 0;
        for block in blocks {
            self.block(block, base, delimiter, quote);
            base += 64;
        }
        if !rest.is_empty() {
            // Padding that means nothing.
            let idle = b"xyz".iter().copied().find(|b| *b != delimiter && *b != quote);
            let mut last = [idle.unwrap_or_default(); 64];
            if let Some(front) = last.get_mut(..rest.len()) {
                front.copy_from_slice(rest);
            }
            self.block(&last, base, delimiter, quote);
        }
    }

    #[inline]
    fn block(&mut self, block: &[u8; 64], base: u32, delimiter: u8, quote: u8) {
        let at = mask(block, |b| b == delimiter);
        let special = mask(block, |b| (b == quote) | (b == 0));
        let mut ends = mask(block, |b| b == b'\n');
        let before = self.found as u32;
        self.push_all(at, base);
        let mut line_from = 0u32;
        while ends != 0 {
            let bit = ends.trailing_zeros();
            ends &= ends - 1;
            let below = (1u64 << bit) - 1;
            let in_line = special & below & (u64::MAX << line_from);
            self.lines.push(Line {
                end: base + bit,
                delimiters: before + (at & below).count_ones(),
                special: self.special | (in_line != 0),
            });
            self.special = false;
            line_from = bit + 1;
        }
        if line_from < 64 {
            self.special |= special & (u64::MAX << line_from) != 0;
        }
    }

    /// Appends the positions of all set bits, eight at a time without asking each whether it is there.
    #[inline]
    fn push_all(&mut self, mut bits: u64, base: u32) {
        let count = bits.count_ones() as usize;
        let mut at = self.found;
        self.found += count;
        while at < self.found {
            let Some(room) = self.delimiters.get_mut(at..at + 8) else { return };
            for slot in room {
                *slot = base + bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
            }
            at += 8;
        }
    }

    /// The lines that end in the piece.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Delimiters `from..to` of the piece.
    #[inline]
    pub(super) fn delimiters(&self, from: u32, to: u32) -> &[u32] {
        self.delimiters.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// The flag of each byte: within each eight of them all bits differ.
const BITS: [u8; 64] = {
    let mut bits = [0; 64];
    let mut i = 0;
    while i < 64 {
        bits[i] = 1 << (i % 8);
        i += 1;
    }
    bits
};

/// Bit `i` is set if byte `i` is wanted. Written so that the loop becomes vector compares: no branch, no look-up that
/// depends on the index.
#[inline(always)]
fn mask(block: &[u8; 64], wanted: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0u8; 64];
    for ((flag, byte), bit) in flags.iter_mut().zip(block).zip(&BITS) {
        *flag = 0u8.wrapping_sub(u8::from(wanted(*byte))) & bit;
    }
    let mut mask = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        mask |= (u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56) << (8 * i);
    }
    mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_index_is_what_a_plain_loop_finds(bytes in proptest::collection::vec(
            prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), Just(0u8), Just(b'a'), Just(b'a'), Just(b'a')], 0..400,
        )) {
            let mut index = Index::default();
            for _ in 0..2 {
                index.build(&bytes, b',', Some(b'"'));
            }
            let (mut delimiters, mut lines, mut special) = (vec![], vec![], false);
            for (i, b) in bytes.iter().enumerate() {
                match b {
                    b',' => delimiters.push(i as u32),
                    b'"' | 0 => special = true,
                    b'\n' => {
                        let n = delimiters.len() as u32;
                        lines.push(Line { end: i as u32, delimiters: n, special: std::mem::take(&mut special) });
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(index.lines(), &lines[..]);
            let n = delimiters.len() as u32;
            prop_assert_eq!(index.delimiters(0, n), &delimiters[..]);
            prop_assert_eq!(index.found, delimiters.len());
        }
    }
}
