//! Where the last whole record of a piece ends, found without decoding: only if every line feed ends a record.

use memchr::{memchr, memrchr};

use super::dialect::CsvOptions;

/// Behind the last record that ends in `bytes`, which begin with one. `None` if a record goes over several lines or quotes
/// stand where they must not: then only decoding can tell.
pub(super) fn boundary(bytes: &[u8], options: &CsvOptions) -> Option<usize> {
    let end = memrchr(b'\n', bytes)? + 1;
    let bytes = bytes.get(..end)?;
    let Some(quote) = options.quote else { return Some(end) };
    let odd = options.escape.is_some() || options.comment.is_some() || options.trim;
    let mut from = 0;
    while let Some(found) = memchr(quote, bytes.get(from..)?) {
        if odd {
            return None;
        }
        let open = from + found;
        let before = open.checked_sub(1).map_or(Some(&b'\n'), |at| bytes.get(at));
        if !before.is_some_and(|b| *b == b'\n' || *b == options.separator()) {
            return None;
        }
        let mut close = open;
        loop {
            close += 1 + memchr(quote, bytes.get(close + 1..)?)?;
            if bytes.get(close + 1) != Some(&quote) {
                break;
            }
            close += 1;
        }
        let next = bytes.get(close + 1)?;
        let ends = matches!(next, b'\n' | b'\r') || *next == options.separator();
        if !ends || memchr(b'\n', bytes.get(open..close)?).is_some() {
            return None;
        }
        from = close + 1;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Options;

    #[test]
    fn a_boundary_is_named_only_where_every_line_feed_ends_a_record() {
        let options = CsvOptions::new(&Options::default()).unwrap();
        for (text, expected) in [
            ("", None),
            ("a,b", None),
            ("a,b\n", Some(4)),
            ("a,b\nc", Some(4)),
            ("a,\"b\"\nc", Some(6)),
            ("\"a \"\"x\"\"\",b\r\n\"", Some(13)),
            ("\"\",\"\"\n", Some(6)),
            // Over two lines, not closed, or not at the field's ends.
            ("\"a\nb\",c\nd\n", None),
            ("a,\"b\nc\n", None),
            ("a\"b\"\n", None),
            ("\"a\"b\n", None),
            ("a,\"b\" ,c\n", None),
        ] {
            assert_eq!(boundary(text.as_bytes(), &options), expected, "{text:?}");
        }
        let escaped = CsvOptions { escape: Some(b'\\'), ..options.clone() };
        assert_eq!(boundary(b"\"a\"\n", &escaped), None);
        assert_eq!(boundary(b"a\n", &escaped), Some(2));
        let bare = CsvOptions { quote: None, ..options };
        assert_eq!(boundary(b"a\"b\n", &bare), Some(4));
    }
}
