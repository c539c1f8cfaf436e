//! Strings: lengths, case, trimming, searching, building. A position counts characters, from 1.

use super::args::{any, bytes, count, int, int_or, invalid, text, within_limit};
use super::row::{ANY, BOOL, BYTES, INT, INT4, TEXT, lenient, optional, row, variadic};
use super::values::to_text;
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{CompactString, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = lengths();
    all.extend(case());
    all.extend(trimming());
    all.extend(searching());
    all.extend(building());
    all
}

/// Number of characters.
pub(super) fn chars(s: &str) -> usize {
    if s.is_ascii() { s.len() } else { s.chars().count() }
}

/// Byte offset of the n-th character; counted from the end if n is negative.
pub(super) fn from_start(s: &str, n: i64) -> usize {
    let nth = |n: u64| match usize::try_from(n) {
        Ok(n) if s.is_ascii() => n.min(s.len()),
        Ok(n) => s.char_indices().nth(n).map_or(s.len(), |(at, _)| at),
        Err(_) => s.len(),
    };
    if n >= 0 {
        return nth(n as u64);
    }
    nth((chars(s) as u64).saturating_sub(n.unsigned_abs()))
}

fn lengths() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("length(text)", ("length('jösé')", "4")),
        ("char_length(text)", ("char_length('jösé')", "4")),
        ("character_length(text)", ("character_length('abc')", "3")),
    ] {
        all.push(row(signature, "Number of characters", example, [TEXT], INT4, |_, a| {
            count(chars(text(a, 0)?))
        }));
    }
    all.extend([
        row(
            "length(bytes)",
            "Number of bytes",
            ("length(decode('123456', 'hex'))", "3"),
            [BYTES],
            INT4,
            |_, a| count(bytes(a, 0)?.len()),
        ),
        row(
            "octet_length(text)",
            "Number of bytes in UTF-8",
            ("octet_length('jösé')", "6"),
            [TEXT],
            INT4,
            |_, a| count(bytes(a, 0)?.len()),
        ),
        row(
            "octet_length(bytes)",
            "Number of bytes",
            ("octet_length(decode('1234', 'hex'))", "2"),
            [BYTES],
            INT4,
            |_, a| count(bytes(a, 0)?.len()),
        ),
        row(
            "bit_length(text)",
            "Number of bits in UTF-8",
            ("bit_length('abc')", "24"),
            [TEXT],
            INT4,
            |_, a| count(bytes(a, 0)?.len() * 8),
        ),
    ]);
    all
}

fn case() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in
        [("lower(text)", ("lower('TOM')", "tom")), ("lcase(text)", ("lcase('ÉCOLE')", "école"))]
    {
        all.push(row(
            signature,
            "In lower case",
            example,
            [TEXT],
            TEXT,
            |_, a| Ok(lower(text(a, 0)?).into()),
        ));
    }
    for (signature, example) in
        [("upper(text)", ("upper('tom')", "TOM")), ("ucase(text)", ("ucase('école')", "ÉCOLE"))]
    {
        all.push(row(
            signature,
            "In upper case",
            example,
            [TEXT],
            TEXT,
            |_, a| Ok(upper(text(a, 0)?).into()),
        ));
    }
    all.push(row(
        "initcap(text)",
        "First letter of each word in upper case, the rest in lower case",
        ("initcap('hi THOMAS o''neil')", "Hi Thomas O'Neil"),
        [TEXT],
        TEXT,
        |_, a| {
            let mut inside = false;
            let cased = text(a, 0)?.chars().map(|c| {
                let cased = if inside { lower_char(c) } else { upper_char(c) };
                inside = c.is_alphanumeric();
                cased
            });
            Ok(cased.collect::<CompactString>().into())
        },
    ));
    all
}
/// One character for one, as the C library does it: `ß` stays.
fn upper_char(c: char) -> char {
    let mut cased = c.to_uppercase();
    match (cased.next(), cased.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}
fn lower_char(c: char) -> char {
    let mut cased = c.to_lowercase();
    match (cased.next(), cased.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}
fn lower(s: &str) -> CompactString {
    if s.is_ascii() {
        let mut out = CompactString::new(s);
        out.make_ascii_lowercase();
        return out;
    }
    s.chars().map(lower_char).collect()
}
fn upper(s: &str) -> CompactString {
    if s.is_ascii() {
        let mut out = CompactString::new(s);
        out.make_ascii_uppercase();
        return out;
    }
    s.chars().map(upper_char).collect()
}

fn trimming() -> Vec<FunctionSpec> {
    type Trim = for<'s> fn(&'s str, &str) -> &'s str;
    let both: Trim = |s, set| s.trim_matches(|c| set.contains(c));
    let start: Trim = |s, set| s.trim_start_matches(|c| set.contains(c));
    let end: Trim = |s, set| s.trim_end_matches(|c| set.contains(c));
    [
        (
            "trim(text [, characters])",
            "Without blanks (or those characters) at both ends",
            ("trim('  x ')", "x"),
            both,
        ),
        (
            "btrim(text [, characters])",
            "Without blanks (or those characters) at both ends",
            ("btrim('xyxtrimyyx', 'xyz')", "trim"),
            both,
        ),
        (
            "ltrim(text [, characters])",
            "Without blanks (or those characters) at the start",
            ("ltrim('zzzytest', 'xyz')", "test"),
            start,
        ),
        (
            "rtrim(text [, characters])",
            "Without blanks (or those characters) at the end",
            ("rtrim('testxxzx', 'xyz')", "test"),
            end,
        ),
    ]
    .into_iter()
    .map(|(signature, doc, example, trim)| {
        row(signature, doc, example, optional([TEXT, TEXT], 1), TEXT, move |_, a| {
            let set = if a.len() > 1 { text(a, 1)? } else { " " };
            Ok(trim(text(a, 0)?, set).into())
        })
    })
    .collect()
}

/// Position of `needle`, from 1; 0 if it is not there.
fn position(s: &str, needle: &str) -> EvalResult<FieldValue> {
    match s.find(needle) {
        Some(at) => count(chars(s.get(..at).unwrap_or_default()) + 1),
        None => count(0),
    }
}

fn searching() -> Vec<FunctionSpec> {
    vec![
        row(
            "strpos(text, part)",
            "Position of the first occurrence, 0 if there is none",
            ("strpos('high', 'ig')", "2"),
            [TEXT, TEXT],
            INT4,
            |_, a| position(text(a, 0)?, text(a, 1)?),
        ),
        row(
            "instr(text, part)",
            "Position of the first occurrence, 0 if there is none",
            ("instr('high', 'gh')", "3"),
            [TEXT, TEXT],
            INT4,
            |_, a| position(text(a, 0)?, text(a, 1)?),
        ),
        row(
            "position(part, text)",
            "Position of the first occurrence, 0 if there is none; also POSITION(part IN text)",
            ("position('om', 'Thomas')", "3"),
            [TEXT, TEXT],
            INT4,
            |_, a| position(text(a, 1)?, text(a, 0)?),
        ),
        row(
            "locate(part, text [, from])",
            "Position of the first occurrence at or after a position, 0 if there is none",
            ("locate('a', 'banana', 3)", "4"),
            optional([TEXT, TEXT, INT], 1),
            INT4,
            |_, a| {
                let (part, s, from) = (text(a, 0)?, text(a, 1)?, int_or(a, 2, 1)?);
                let Some(at) = s.get(from_start(s, from.max(1) - 1)..).and_then(|rest| rest.find(part))
                else {
                    return count(0);
                };
                count(chars(s.get(..from_start(s, from.max(1) - 1) + at).unwrap_or_default()) + 1)
            },
        ),
        row(
            "starts_with(text, part)",
            "Whether the text starts so",
            ("starts_with('alphabet', 'alph')", "true"),
            [TEXT, TEXT],
            BOOL,
            |_, a| Ok(text(a, 0)?.starts_with(text(a, 1)?).into()),
        ),
        row(
            "ends_with(text, part)",
            "Whether the text ends so",
            ("ends_with('alphabet', 'bet')", "true"),
            [TEXT, TEXT],
            BOOL,
            |_, a| Ok(text(a, 0)?.ends_with(text(a, 1)?).into()),
        ),
        row(
            "contains(text, part)",
            "Whether the text contains it",
            ("contains('alphabet', 'hab')", "true"),
            [TEXT, TEXT],
            BOOL,
            |_, a| Ok(text(a, 0)?.contains(text(a, 1)?).into()),
        ),
        row(
            "ascii(text)",
            "Code point of the first character, 0 of an empty text",
            ("ascii('x')", "120"),
            [TEXT],
            INT4,
            |_, a| Ok(i64::from(text(a, 0)?.chars().next().map_or(0, u32::from)).into()),
        ),
    ]
}

fn building() -> Vec<FunctionSpec> {
    vec![
        row(
            "replace(text, from, to)",
            "Every occurrence replaced",
            ("replace('abcdefabcdef', 'cd', 'XX')", "abXXefabXXef"),
            [TEXT, TEXT, TEXT],
            TEXT,
            |_, a| {
                let (s, from, to) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
                if from.is_empty() || !s.contains(from) {
                    return Ok(s.into());
                }
                if to.len() > from.len() {
                    within_limit(s.len() + s.matches(from).count().saturating_mul(to.len() - from.len()))?;
                }
                Ok(s.replace(from, to).into())
            },
        ),
        row(
            "translate(text, from, to)",
            "Each character that is in `from` becomes the one at its place in `to`, or goes",
            ("translate('12345', '143', 'ax')", "a2x5"),
            [TEXT, TEXT, TEXT],
            TEXT,
            |_, a| {
                let (from, to) = (text(a, 1)?, text(a, 2)?);
                let translated =
                    text(a, 0)?.chars().filter_map(|c| match from.chars().position(|f| f == c) {
                        Some(at) => to.chars().nth(at),
                        None => Some(c),
                    });
                Ok(translated.collect::<CompactString>().into())
            },
        ),
        row(
            "reverse(text)",
            "Characters in reverse order",
            ("reverse('abcde')", "edcba"),
            [TEXT],
            TEXT,
            |_, a| Ok(text(a, 0)?.chars().rev().collect::<CompactString>().into()),
        ),
        row(
            "repeat(text, count)",
            "The text so many times",
            ("repeat('Pg', 4)", "PgPgPgPg"),
            [TEXT, INT],
            TEXT,
            |_, a| {
                let s = text(a, 0)?;
                let n = usize::try_from(int(a, 1)?.max(0)).unwrap_or(usize::MAX);
                within_limit(s.len().saturating_mul(n))?;
                Ok(CompactString::new(s).repeat(n).into())
            },
        ),
        row("space(count)", "So many blanks", ("'[' || space(2) || ']'", "[  ]"), [INT], TEXT, |_, a| {
            let n = usize::try_from(int(a, 0)?.max(0)).unwrap_or(usize::MAX);
            within_limit(n)?;
            Ok(" ".repeat(n).into())
        }),
        lenient(row(
            "concat(value, …)",
            "All values as text, one after the other; NULL counts as empty",
            ("concat('abc', 2, NULL, 22)", "abc222"),
            variadic([ANY]),
            TEXT,
            |_, a| {
                let mut out = CompactString::default();
                for v in a {
                    if !v.is_null() {
                        out.push_str(&to_text(v));
                    }
                    within_limit(out.len())?;
                }
                Ok(out.into())
            },
        )),
        lenient(row(
            "concat_ws(separator, value, …)",
            "Values as text with a separator between them, NULLs left out",
            ("concat_ws(',', 'abc', 2, NULL, 22)", "abc,2,22"),
            variadic([TEXT, ANY]),
            TEXT,
            |_, a| {
                if any(a, 0).is_null() {
                    return Ok(FieldValue::Null);
                }
                let separator = text(a, 0)?;
                let mut out = CompactString::default();
                let mut first = true;
                for v in a.iter().skip(1).filter(|v| !v.is_null()) {
                    if !std::mem::take(&mut first) {
                        out.push_str(separator);
                    }
                    out.push_str(&to_text(v));
                    within_limit(out.len())?;
                }
                Ok(out.into())
            },
        )),
        row("chr(code)", "The character with that code point", ("chr(65)", "A"), [INT], TEXT, |_, a| {
            let code = int(a, 0)?;
            if code == 0 {
                return Err(invalid("null character not permitted"));
            }
            let c = u32::try_from(code).ok().and_then(char::from_u32);
            let c = c.ok_or_else(|| invalid(format!("{code} is no Unicode code point")))?;
            Ok(FieldValue::from(&*c.encode_utf8(&mut [0; 4])))
        }),
    ]
}
