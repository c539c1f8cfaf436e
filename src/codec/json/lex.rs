//! RFC 8259 token by token: where a value ends, and whether JSON allows it.

use std::borrow::Cow;

use super::keys::KeySet;
use crate::record::ErrorCode;

/// Deepest nesting that is accepted, the record itself included.
pub(super) const MAX_DEPTH: usize = 128;

/// What forbids a piece of text to be JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: Cow<'static, str>,
    /// Position in the text that was given.
    pub(super) at: usize,
    /// The text ended too early: more of it might mend this.
    pub(super) end: bool,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, at: usize, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), at, end: false }
    }
    /// `message` applies unless the text is over at `at`.
    #[cold]
    fn expected(bytes: &[u8], at: usize, message: &'static str) -> Self {
        if at >= bytes.len() {
            let mut fault = Self::new(ErrorCode::Malformed, at, "the record ends in the middle of a value");
            fault.end = true;
            return fault;
        }
        Self::new(ErrorCode::Malformed, at, message)
    }
}

/// Steps over values, strictly.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexer {
    /// A line feed counts as whitespace; false where it ends the record.
    pub(super) multiline: bool,
    /// A key that occurs twice in one object is a fault.
    pub(super) unique_keys: bool,
    pub(super) keys: KeySet,
}

impl Lexer {
    /// The first position from `pos` that holds no whitespace.
    #[inline]
    pub(super) fn skip_blanks(&self, bytes: &[u8], mut pos: usize) -> usize {
        while let Some(b) = bytes.get(pos) {
            match b {
                b' ' | b'\t' | b'\r' => pos += 1,
                b'\n' if self.multiline => pos += 1,
                _ => break,
            }
        }
        pos
    }

    /// The end of the value that begins at `pos`; `depth` is that of its surroundings.
    #[inline]
    pub(super) fn skip_value(&mut self, text: &str, pos: usize, depth: usize) -> Result<usize, Fault> {
        let bytes = text.as_bytes();
        match bytes.get(pos) {
            Some(b'"') => string_end(bytes, pos + 1).map(|(end, _)| end),
            Some(b'-' | b'0'..=b'9') => number_end(bytes, pos),
            Some(b'{') => self.skip_object(text, pos, depth + 1),
            Some(b'[') => self.skip_array(text, pos, depth + 1),
            Some(b't') => literal_end(bytes, pos, b"true"),
            Some(b'f') => literal_end(bytes, pos, b"false"),
            Some(b'n') => literal_end(bytes, pos, b"null"),
            _ => Err(Fault::expected(bytes, pos, "expected a value")),
        }
    }

    fn skip_array(&mut self, text: &str, pos: usize, depth: usize) -> Result<usize, Fault> {
        let bytes = text.as_bytes();
        check_depth(depth, pos)?;
        let mut pos = self.skip_blanks(bytes, pos + 1);
        if bytes.get(pos) == Some(&b']') {
            return Ok(pos + 1);
        }
        loop {
            pos = self.skip_value(text, pos, depth)?;
            pos = self.skip_blanks(bytes, pos);
            match bytes.get(pos) {
                Some(b',') => pos = self.skip_blanks(bytes, pos + 1),
                Some(b']') => return Ok(pos + 1),
                _ => return Err(Fault::expected(bytes, pos, "expected ',' or ']'")),
            }
        }
    }

    fn skip_object(&mut self, text: &str, pos: usize, depth: usize) -> Result<usize, Fault> {
        let bytes = text.as_bytes();
        check_depth(depth, pos)?;
        let mark = self.keys.len();
        let mut pos = self.skip_blanks(bytes, pos + 1);
        if bytes.get(pos) == Some(&b'}') {
            return Ok(pos + 1);
        }
        loop {
            let (start, (end, escaped)) = (pos, key_end(bytes, pos)?);
            if self.unique_keys {
                self.keys.push(text, start + 1, end - 1, escaped);
            }
            pos = self.skip_colon(bytes, end)?;
            pos = self.skip_value(text, pos, depth)?;
            pos = self.skip_blanks(bytes, pos);
            match bytes.get(pos) {
                Some(b',') => pos = self.skip_blanks(bytes, pos + 1),
                Some(b'}') => break,
                _ => return Err(Fault::expected(bytes, pos, "expected ',' or '}'")),
            }
        }
        if self.unique_keys {
            self.finish_keys(text, mark)?;
        }
        Ok(pos + 1)
    }

    /// Drops the keys from `mark` on; a fault if two of them are equal.
    pub(super) fn finish_keys(&mut self, text: &str, mark: usize) -> Result<(), Fault> {
        let fault = self.keys.duplicate_since(text, mark).map(|(at, key)| {
            let key: String = key.chars().take(60).collect();
            Fault::new(ErrorCode::DuplicateKey, at, format!("the key \"{key}\" occurs twice"))
        });
        self.keys.truncate(mark);
        fault.map_or(Ok(()), Err)
    }

    /// From the end of a key to the start of its value.
    #[inline]
    pub(super) fn skip_colon(&self, bytes: &[u8], pos: usize) -> Result<usize, Fault> {
        let pos = self.skip_blanks(bytes, pos);
        match bytes.get(pos) {
            Some(b':') => Ok(self.skip_blanks(bytes, pos + 1)),
            _ => Err(Fault::expected(bytes, pos, "expected ':' after a key")),
        }
    }

    /// The separator after a member: `Some(start of the next key)`, or `None` at the end of the object.
    pub(super) fn skip_comma(&self, bytes: &[u8], pos: usize) -> Result<Option<usize>, Fault> {
        match bytes.get(pos) {
            Some(b',') => Ok(Some(self.skip_blanks(bytes, pos + 1))),
            Some(b'}') => Ok(None),
            _ => Err(Fault::expected(bytes, pos, "expected ',' or '}'")),
        }
    }
}

fn check_depth(depth: usize, pos: usize) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        let message = format!("nested more than {MAX_DEPTH} levels deep");
        return Err(Fault::new(ErrorCode::TooLarge, pos, message));
    }
    Ok(())
}

/// The end of the key whose opening quote is at `pos`, and whether it holds escapes.
#[inline]
pub(super) fn key_end(bytes: &[u8], pos: usize) -> Result<(usize, bool), Fault> {
    match bytes.get(pos) {
        Some(b'"') => string_end(bytes, pos + 1),
        Some(b'}') => Err(Fault::expected(bytes, pos, "a comma before '}'")),
        _ => Err(Fault::expected(bytes, pos, "expected a key in double quotes")),
    }
}

fn literal_end(bytes: &[u8], pos: usize, word: &'static [u8]) -> Result<usize, Fault> {
    let same = bytes.iter().skip(pos).zip(word).take_while(|(a, b)| a == b).count();
    if same < word.len() {
        return Err(Fault::expected(bytes, pos + same, "expected a value"));
    }
    Ok(pos + same)
}

/// The end of the number that begins at `pos`. What may not follow a number is found by the caller.
#[inline]
pub(super) fn number_end(bytes: &[u8], mut pos: usize) -> Result<usize, Fault> {
    let digits = |from: usize| {
        let mut pos = from;
        while bytes.get(pos).is_some_and(u8::is_ascii_digit) {
            pos += 1;
        }
        if pos == from { Err(Fault::expected(bytes, pos, "expected a digit")) } else { Ok(pos) }
    };
    if bytes.get(pos) == Some(&b'-') {
        pos += 1;
    }
    let first = bytes.get(pos);
    let end = digits(pos)?;
    if first == Some(&b'0') && end > pos + 1 {
        return Err(Fault::new(ErrorCode::Malformed, pos, "a number with a leading zero"));
    }
    pos = end;
    if bytes.get(pos) == Some(&b'.') {
        pos = digits(pos + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(pos) {
        pos += 1;
        if let Some(b'+' | b'-') = bytes.get(pos) {
            pos += 1;
        }
        pos = digits(pos)?;
    }
    Ok(pos)
}

/// The end (behind the closing quote) of the string whose content begins at `pos`, and whether it holds escapes.
#[inline]
pub(super) fn string_end(bytes: &[u8], pos: usize) -> Result<(usize, bool), Fault> {
    let end = find_special(bytes, pos);
    match bytes.get(end) {
        Some(b'"') => Ok((end + 1, false)),
        _ => escaped_end(bytes, end).map(|end| (end, true)),
    }
}

fn escaped_end(bytes: &[u8], mut pos: usize) -> Result<usize, Fault> {
    loop {
        match bytes.get(pos) {
            Some(b'"') => return Ok(pos + 1),
            Some(b'\\') => pos = escape(bytes, pos)?.1,
            _ => return Err(Fault::expected(bytes, pos, "a control character in a string")),
        }
        pos = find_special(bytes, pos);
    }
}

/// What the escape at `pos` stands for, and its end. A surrogate without its other half stands for nothing.
fn escape(bytes: &[u8], pos: usize) -> Result<(char, usize), Fault> {
    let c = match bytes.get(pos + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = hex4(bytes, pos + 2)?;
            let lone = || Fault::new(ErrorCode::Malformed, pos, "half of a surrogate pair");
            if !(0xd800..0xe000).contains(&first) {
                return Ok((char::from_u32(first).ok_or_else(lone)?, pos + 6));
            }
            if first >= 0xdc00 {
                return Err(lone());
            }
            match (bytes.get(pos + 6), bytes.get(pos + 7)) {
                (Some(b'\\'), Some(b'u')) => {}
                (None, _) | (Some(b'\\'), None) => return Err(Fault::expected(bytes, bytes.len(), "")),
                _ => return Err(lone()),
            }
            let second = hex4(bytes, pos + 8)?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(lone());
            }
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok((char::from_u32(code).ok_or_else(lone)?, pos + 12));
        }
        _ => return Err(Fault::expected(bytes, pos + 1, "an escape that JSON does not know")),
    };
    Ok((c, pos + 2))
}

fn hex4(bytes: &[u8], pos: usize) -> Result<u32, Fault> {
    let mut code = 0;
    for i in pos..pos + 4 {
        match bytes.get(i).and_then(|b| (*b as char).to_digit(16)) {
            Some(d) => code = code * 16 + d,
            None => return Err(Fault::expected(bytes, i, "\\u needs four hexadecimal digits")),
        }
    }
    Ok(code)
}

/// Appends what the content of a string stands for.
///
/// # Errors
/// If it holds an escape that JSON does not know: never after the string was stepped over.
pub(super) fn unescape(content: &str, out: &mut String) -> Result<(), Fault> {
    let bytes = content.as_bytes();
    let mut pos = 0;
    while let Some(found) = memchr::memchr(b'\\', bytes.get(pos..).unwrap_or(&[])) {
        out.push_str(content.get(pos..pos + found).unwrap_or(""));
        let (c, end) = escape(bytes, pos + found)?;
        out.push(c);
        pos = end;
    }
    out.push_str(content.get(pos..).unwrap_or(""));
    Ok(())
}

/// The first position from `pos` that holds a quote, a backslash or a control character, else the length.
#[inline(always)]
pub(super) fn find_special(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(block) = bytes.get(pos..).and_then(|rest| rest.first_chunk::<8>()) {
        let mask = special_mask(*block);
        if mask != 0 {
            return pos + mask.trailing_zeros() as usize / 8;
        }
        pos += 8;
    }
    while let Some(b) = bytes.get(pos) {
        if matches!(b, b'"' | b'\\' | ..0x20) {
            break;
        }
        pos += 1;
    }
    pos.min(bytes.len())
}

/// The high bit of each byte that is a quote, a backslash or a control character; bits above the lowest one that is set
/// may be wrong. (The zero-byte test of Hacker's Delight, 6-1.)
#[inline(always)]
pub(super) fn special_mask(block: [u8; 8]) -> u64 {
    const LOW: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(block);
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let quote = quote.wrapping_sub(LOW) & !quote;
    let backslash = backslash.wrapping_sub(LOW) & !backslash;
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    (quote | backslash | control) & (LOW * 0x80)
}

/// The end of the value that begins at `pos` of text that is known to be valid.
pub(super) fn extent(text: &str, pos: usize) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut pos = pos;
    while let Some(b) = bytes.get(pos) {
        match b {
            b'"' => pos = string_end(bytes, pos + 1).map_or(bytes.len(), |(end, _)| end),
            b'{' | b'[' => (depth, pos) = (depth + 1, pos + 1),
            b'}' | b']' => (depth, pos) = (depth.saturating_sub(1), pos + 1),
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => pos += 1,
            _ => {
                while bytes.get(pos).is_some_and(|b| !b",:]} \t\r\n".contains(b)) {
                    pos += 1;
                }
            }
        }
        if depth == 0 {
            break;
        }
    }
    pos
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_special_byte_is_found_wherever_it_stands(bytes in prop::collection::vec(any::<u8>(), 0..70), from in 0usize..70) {
            let want = bytes.iter().enumerate().skip(from).find(|(_, b)| matches!(b, b'"' | b'\\' | ..0x20));
            prop_assert_eq!(find_special(&bytes, from), want.map_or(bytes.len(), |(i, _)| i));
        }
    }
}
