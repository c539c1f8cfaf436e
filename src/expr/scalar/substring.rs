//! Parts of strings: substrings, fields, padding to a length. A position counts characters, from 1.

use super::args::{bytes, int, int_or, invalid, text, within_limit};
use super::row::{BYTES, INT, TEXT, optional, row};
use super::string::{chars, from_start};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{CompactString, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
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
