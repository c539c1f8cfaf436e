//! Strings: lengths, case, trimming, padding, cutting, searching. A position counts characters, from 1.

use super::args::{any, bytes, count, int, int_or, invalid, text, within_limit};
use super::row::{ANY, BOOL, BYTES, INT, INT4, TEXT, lenient, optional, row, variadic};
use super::values::to_text;
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{CompactString, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = lengths();
    all.extend(case());
    all.extend(trimming());
    all.extend(cutting());
    all.extend(searching());
    all.extend(building());
    all
}

fn chars(s: &str) -> usize {
    if s.is_ascii() { s.len() } else { s.chars().count() }
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

fn cutting() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (of_text, text_example, of_bytes, bytes_example) in [
        (
            "substr(text, from [, count])",
            ("substr('alphabet', 3, 2)", "ph"),
            "substr(bytes, from [, count])",
            ("encode(substr(decode('1234567890', 'hex'), 3, 2), 'hex')", "5678"),
        ),
        (
            "substring(text, from [, count])",
            ("substring('Thomas', 2, 3)", "hom"),
            "substring(bytes, from [, count])",
            ("encode(substring(decode('1234567890', 'hex'), 4), 'hex')", "7890"),
        ),
    ] {
        let doc = "Characters from a position on";
        all.push(row(of_text, doc, text_example, optional([TEXT, INT, INT], 1), TEXT, |_, a| {
            let length = if a.len() > 2 { Some(int(a, 2)?) } else { None };
            Ok(substring(text(a, 0)?, int(a, 1)?, length)?.into())
        }));
        let doc = "Bytes from a position on";
        all.push(row(of_bytes, doc, bytes_example, optional([BYTES, INT, INT], 1), BYTES, |_, a| {
            let whole = bytes(a, 0)?;
            let length = if a.len() > 2 { Some(int(a, 2)?) } else { None };
            let (skip, take) = window(int(a, 1)?, length)?;
            let part = whole.get(skip.min(whole.len())..).unwrap_or(&[]);
            Ok(part.get(..take.min(part.len())).unwrap_or(&[]).into())
        }));
    }
    all.extend([
        row(
            "left(text, n)",
            "First n characters; if n is negative, all but the last -n",
            ("left('abcde', -2)", "abc"),
            [TEXT, INT],
            TEXT,
            |_, a| {
                let (s, n) = (text(a, 0)?, int(a, 1)?);
                Ok(s.get(..from_start(s, n)).unwrap_or_default().into())
            },
        ),
        row(
            "right(text, n)",
            "Last n characters; if n is negative, all but the first -n",
            ("right('abcde', 2)", "de"),
            [TEXT, INT],
            TEXT,
            |_, a| {
                let (s, n) = (text(a, 0)?, int(a, 1)?);
                let from = if n == 0 { s.len() } else { from_start(s, n.saturating_neg()) };
                Ok(s.get(from..).unwrap_or_default().into())
            },
        ),
        row(
            "lpad(text, length [, fill])",
            "Filled up on the left, or cut, to so many characters",
            ("lpad('hi', 5, 'xy')", "xyxhi"),
            optional([TEXT, INT, TEXT], 1),
            TEXT,
            |_, a| pad(text(a, 0)?, int(a, 1)?, if a.len() > 2 { text(a, 2)? } else { " " }, Side::Left),
        ),
        row(
            "rpad(text, length [, fill])",
            "Filled up on the right, or cut, to so many characters",
            ("rpad('hi', 5, 'xy')", "hixyx"),
            optional([TEXT, INT, TEXT], 1),
            TEXT,
            |_, a| pad(text(a, 0)?, int(a, 1)?, if a.len() > 2 { text(a, 2)? } else { " " }, Side::Right),
        ),
        row(
            "overlay(text PLACING replacement FROM from [FOR count])",
            "Replaces characters from a position on, as many as the replacement has or as said",
            ("overlay('Txxxxas' PLACING 'hom' FROM 2 FOR 4)", "Thomas"),
            optional([TEXT, TEXT, INT, INT], 1),
            TEXT,
            |_, a| {
                let (s, new, from) = (text(a, 0)?, text(a, 1)?, int(a, 2)?);
                if from <= 0 {
                    return Err(invalid("negative substring length not allowed"));
                }
                let gone = int_or(a, 3, chars(new) as i64)?;
                let head = substring(s, 1, Some(from - 1))?;
                let tail = substring(s, from.saturating_add(gone), None)?;
                Ok(CompactString::from(format!("{head}{new}{tail}")).into())
            },
        ),
        row(
            "split_part(text, delimiter, n)",
            "The n-th field, from the end if n is negative; empty if there are fewer",
            ("split_part('abc~@~def~@~ghi', '~@~', 2)", "def"),
            [TEXT, TEXT, INT],
            TEXT,
            |_, a| Ok(split_part(text(a, 0)?, text(a, 1)?, int(a, 2)?)?.into()),
        ),
        row(
            "substring_index(text, delimiter, n)",
            "What precedes the n-th delimiter; if n is negative, what follows the n-th from the end",
            ("substring_index('www.mysql.com', '.', -2)", "mysql.com"),
            [TEXT, TEXT, INT],
            TEXT,
            |_, a| Ok(substring_index(text(a, 0)?, text(a, 1)?, int(a, 2)?).into()),
        ),
    ]);
    all
}

/// Byte offset of the n-th character; counted from the end if n is negative.
fn from_start(s: &str, n: i64) -> usize {
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
/// How many to skip and how many to take of `substring(… from … for …)`.
fn window(from: i64, length: Option<i64>) -> EvalResult<(usize, usize)> {
    let skip = from.saturating_sub(1).max(0) as usize;
    match length {
        None => Ok((skip, usize::MAX)),
        Some(n) if n < 0 => Err(invalid("negative substring length not allowed")),
        // What lies before position 1 counts towards the length, though nothing is there.
        Some(n) => Ok((skip, from.saturating_add(n).saturating_sub(from.max(1)).max(0) as usize)),
    }
}
/// `substring(s from … for …)`.
pub(super) fn substring(s: &str, from: i64, length: Option<i64>) -> EvalResult<&str> {
    let (skip, take) = window(from, length)?;
    let rest = s.get(from_start(s, i64::try_from(skip).unwrap_or(i64::MAX))..).unwrap_or_default();
    Ok(rest.get(..from_start(rest, i64::try_from(take).unwrap_or(i64::MAX))).unwrap_or_default())
}

enum Side {
    Left,
    Right,
}
fn pad(s: &str, length: i64, fill: &str, side: Side) -> EvalResult<FieldValue> {
    let have = chars(s);
    let want = usize::try_from(length.max(0)).unwrap_or(usize::MAX);
    if want <= have || fill.is_empty() {
        return Ok(s.get(..from_start(s, length.max(0))).unwrap_or_default().into());
    }
    let missing = want - have;
    let per_round = chars(fill);
    within_limit(s.len().saturating_add(missing.saturating_mul(fill.len().div_ceil(per_round))))?;
    let mut padding = fill.repeat(missing / per_round);
    padding.push_str(fill.get(..from_start(fill, (missing % per_round) as i64)).unwrap_or_default());
    match side {
        Side::Left => padding.push_str(s),
        Side::Right => padding.insert_str(0, s),
    }
    Ok(padding.into())
}
fn split_part<'s>(s: &'s str, delimiter: &str, n: i64) -> EvalResult<&'s str> {
    if n == 0 {
        return Err(invalid("field position must not be zero"));
    }
    if delimiter.is_empty() {
        return Ok(if n == 1 || n == -1 { s } else { "" });
    }
    let at = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
    Ok(if n > 0 { s.split(delimiter).nth(at) } else { s.rsplit(delimiter).nth(at) }.unwrap_or_default())
}
fn substring_index<'s>(s: &'s str, delimiter: &str, n: i64) -> &'s str {
    if n == 0 || delimiter.is_empty() {
        return "";
    }
    let at = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
    if n > 0 {
        s.match_indices(delimiter).nth(at).and_then(|(i, _)| s.get(..i)).unwrap_or(s)
    } else {
        s.rmatch_indices(delimiter).nth(at).and_then(|(i, d)| s.get(i + d.len()..)).unwrap_or(s)
    }
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
            "unistr(text)",
            "With \\XXXX, \\+XXXXXX, \\uXXXX and \\UXXXXXXXX as the characters of these code points",
            ("unistr('d\\0061t\\+000061')", "data"),
            [TEXT],
            TEXT,
            |_, a| Ok(unistr(text(a, 0)?)?.into()),
        ),
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
