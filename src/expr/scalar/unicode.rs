//! Unicode: characters by their code points, normal forms.

use unicode_normalization::UnicodeNormalization;

use super::args::{invalid, text, within_limit};
use super::row::{TEXT, optional, row};
use crate::expr::{EvalResult, FunctionSpec};

pub(super) fn functions() -> Vec<FunctionSpec> {
    vec![
        row(
            "unistr(text)",
            "With \\XXXX, \\+XXXXXX, \\uXXXX and \\UXXXXXXXX as the characters of these code points",
            ("unistr('d\\0061t\\+000061')", "data"),
            [TEXT],
            TEXT,
            |_, a| Ok(unistr(text(a, 0)?)?.into()),
        ),
        row(
            "normalize(text [, form])",
            "In a Unicode normal form: NFC (default), NFD, NFKC or NFKD, with or without quotes",
            ("normalize('e' || chr(769), NFC) = 'é'", "true"),
            optional([TEXT, TEXT], 1),
            TEXT,
            |_, a| Ok(normalize(text(a, 0)?, if a.len() > 1 { text(a, 1)? } else { "NFC" })?.into()),
        ),
    ]
}

fn normalize(s: &str, form: &str) -> EvalResult<String> {
    let normal: String = match form.to_ascii_uppercase().as_str() {
        "NFC" => s.nfc().collect(),
        "NFD" => s.nfd().collect(),
        "NFKC" => s.nfkc().collect(),
        "NFKD" => s.nfkd().collect(),
        _ => return Err(invalid(format!("there is no normal form '{form}': NFC, NFD, NFKC or NFKD"))),
    };
    within_limit(normal.len())?;
    Ok(normal)
}

fn unistr(s: &str) -> EvalResult<String> {
    let bad = || invalid("invalid Unicode escape: \\XXXX, \\+XXXXXX, \\uXXXX or \\UXXXXXXXX");
    let mut out = String::with_capacity(s.len());
    let mut rest = s;
    // The upper half of a pair of UTF-16 code units.
    let mut high: Option<u32> = None;
    while let Some((before, after)) = rest.split_once('\\') {
        if high.is_some() && !before.is_empty() {
            return Err(bad());
        }
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('\\') {
            out.push('\\');
            rest = tail;
            continue;
        }
        let (digits, length) = match after.chars().next() {
            Some('+') => (after.get(1..), 6),
            Some('u') => (after.get(1..), 4),
            Some('U') => (after.get(1..), 8),
            _ => (Some(after), 4),
        };
        let (code, tail) = digits.and_then(|d| d.split_at_checked(length)).ok_or_else(bad)?;
        let mut code = u32::from_str_radix(code, 16).map_err(|_| bad())?;
        rest = tail;
        match (high.take(), code) {
            (None, 0xd800..0xdc00) => {
                high = Some(code);
                continue;
            }
            (Some(high), 0xdc00..0xe000) => code = 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) => return Err(bad()),
            _ => {}
        }
        out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(bad)?);
    }
    if high.is_some() {
        return Err(bad());
    }
    out.push_str(rest);
    Ok(out)
}
