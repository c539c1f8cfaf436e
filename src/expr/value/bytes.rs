//! BYTES as text, in PostgreSQL's `\x` form; its older escape form is read too.

pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    for b in bytes {
        for nibble in [b >> 4, b & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
}

pub(super) fn parse(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text.as_bytes()),
    }
}

fn parse_hex(hex: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut digits = hex.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_digit(16));
    while let Some(high) = digits.next() {
        let low = digits.next()??;
        out.push((high? * 16 + low) as u8);
    }
    Some(out)
}

/// `\\` is a backslash, `\ooo` a byte in octal, everything else itself.
fn parse_escaped(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(rest.len());
    loop {
        rest = match rest {
            [] => return Some(out),
            [b'\\', b'\\', tail @ ..] => {
                out.push(b'\\');
                tail
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                tail
            }
            [b'\\', ..] => return None,
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}
