//! Regular expressions: matching, counting, cutting out, replacing, splitting.

use std::sync::Arc;

use regex::{Captures, Regex};

use super::args::{count, int, int_or, invalid, text, within_limit};
use super::pattern::compiled;
use super::row::{BOOL, INT, INT4, TEXT, optional, row};
use super::substring::substring;
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::{DataType, FieldValue};

fn texts() -> DataType {
    DataType::array(TEXT)
}
fn flags<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v str> {
    if args.len() > at { text(args, at) } else { Ok("") }
}
/// Flags of a function that has no use for `g`.
fn flags_of_one<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v str> {
    let flags = flags(args, at)?;
    if flags.contains('g') { Err(invalid("the \"g\" option is not allowed here")) } else { Ok(flags) }
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = matching();
    all.extend(extracting());
    all.extend(replacing());
    all
}

fn matching() -> Vec<FunctionSpec> {
    vec![
        row(
            "regexp_like(text, pattern [, flags])",
            "Whether the pattern matches anywhere",
            ("regexp_like('Hello World', 'world$', 'i')", "true"),
            optional([TEXT, TEXT, TEXT], 1),
            BOOL,
            |_, a| Ok(compiled(text(a, 1)?, flags_of_one(a, 2)?)?.is_match(text(a, 0)?).into()),
        ),
        row(
            "regexp_count(text, pattern [, from [, flags]])",
            "How many times the pattern matches",
            ("regexp_count('ABCABCAXYaxy', 'A.', 1, 'i')", "4"),
            optional([TEXT, TEXT, INT, TEXT], 2),
            INT4,
            |_, a| {
                let re = compiled(text(a, 1)?, flags_of_one(a, 3)?)?;
                let s = text(a, 0)?;
                count(occurrences(&re, s, start(s, int_or(a, 2, 1)?)?).count())
            },
        ),
        row(
            "regexp_instr(text, pattern [, from [, n [, end [, flags [, group]]]]])",
            "Position of the n-th match, or with end = 1 the one after it; 0 if there is none",
            ("regexp_instr('ABCDEF', 'c(.)(..)', 1, 1, 0, 'i')", "3"),
            optional([TEXT, TEXT, INT, INT, INT, TEXT, INT], 5),
            INT4,
            |_, a| {
                let re = compiled(text(a, 1)?, flags_of_one(a, 5)?)?;
                let s = text(a, 0)?;
                let end = match int_or(a, 4, 0)? {
                    end @ 0..=1 => end,
                    other => {
                        return Err(invalid(format!("invalid value for parameter \"endoption\": {other}")));
                    }
                };
                let found = nth(&re, s, start(s, int_or(a, 2, 1)?)?, int_or(a, 3, 1)?)?
                    .and_then(|c| c.get(group(a, 6).ok()?));
                let at = found.map(|m| if end == 1 { m.end() } else { m.start() });
                count(at.map_or(0, |at| s.get(..at).unwrap_or_default().chars().count() + 1))
            },
        ),
    ]
}

fn extracting() -> Vec<FunctionSpec> {
    vec![
        row(
            "regexp_match(text, pattern [, flags])",
            "Groups of the first match, or the match itself if the pattern has no groups; NULL if there is none",
            ("regexp_match('foobarbequebaz', '(bar)(beque)')", "[\"bar\",\"beque\"]"),
            optional([TEXT, TEXT, TEXT], 1),
            texts(),
            |_, a| {
                let re = compiled(text(a, 1)?, flags_of_one(a, 2)?)?;
                let Some(found) = re.captures(text(a, 0)?) else { return Ok(FieldValue::Null) };
                let skip = usize::from(re.captures_len() > 1);
                Ok(list(found.iter().skip(skip).map(|m| m.map(|m| m.as_str()).into())))
            },
        ),
        row(
            "regexp_substr(text, pattern [, from [, n [, flags [, group]]]])",
            "The n-th match, or a group of it; NULL if there is none",
            ("regexp_substr('ABCDEF', 'c(.)(..)', 1, 1, 'i', 2)", "EF"),
            optional([TEXT, TEXT, INT, INT, TEXT, INT], 4),
            TEXT,
            |_, a| {
                let re = compiled(text(a, 1)?, flags_of_one(a, 4)?)?;
                let (s, group) = (text(a, 0)?, group(a, 5)?);
                let found = nth(&re, s, start(s, int_or(a, 2, 1)?)?, int_or(a, 3, 1)?)?;
                Ok(found.and_then(|c| c.get(group)).map(|m| m.as_str()).into())
            },
        ),
        row(
            "substring(text, pattern)",
            "The first group of the first match, or the match itself; NULL if there is none",
            ("substring('Thomas', '...$')", "mas"),
            [TEXT, TEXT],
            TEXT,
            |_, a| {
                let re = compiled(text(a, 1)?, "")?;
                let found = re.captures(text(a, 0)?);
                Ok(found.and_then(|c| c.get(usize::from(re.captures_len() > 1))).map(|m| m.as_str()).into())
            },
        ),
        row(
            "regexp_extract(text, pattern [, group])",
            "The first match, or a group of it; NULL if there is none",
            ("regexp_extract('2024-05-17', '(\\d+)-(\\d+)', 2)", "05"),
            optional([TEXT, TEXT, INT], 1),
            TEXT,
            |_, a| {
                let re = compiled(text(a, 1)?, "")?;
                let group = group(a, 2)?;
                if group >= re.captures_len() {
                    return Err(invalid(format!("the pattern has no group {group}")));
                }
                Ok(re.captures(text(a, 0)?).and_then(|c| c.get(group)).map(|m| m.as_str()).into())
            },
        ),
        row(
            "regexp_extract_all(text, pattern [, group])",
            "All matches, or a group of each",
            ("regexp_extract_all('a1b22', '[0-9]+')", "[\"1\",\"22\"]"),
            optional([TEXT, TEXT, INT], 1),
            texts(),
            |_, a| {
                let re = compiled(text(a, 1)?, "")?;
                let group = group(a, 2)?;
                if group >= re.captures_len() {
                    return Err(invalid(format!("the pattern has no group {group}")));
                }
                Ok(list(re.captures_iter(text(a, 0)?).map(|c| c.get(group).map(|m| m.as_str()).into())))
            },
        ),
        row(
            "regexp_split_to_array(text, pattern [, flags])",
            "What lies between the matches",
            ("regexp_split_to_array('hello world', '\\s+')", "[\"hello\",\"world\"]"),
            optional([TEXT, TEXT, TEXT], 1),
            texts(),
            |_, a| {
                let re = compiled(text(a, 1)?, flags_of_one(a, 2)?)?;
                let s = text(a, 0)?;
                let mut parts: Vec<FieldValue> = Vec::new();
                let mut from = 0;
                // An empty match at either end separates nothing.
                for m in re.find_iter(s).filter(|m| !m.is_empty() || (m.start() > 0 && m.end() < s.len())) {
                    parts.push(s.get(from..m.start()).unwrap_or_default().into());
                    from = m.end();
                }
                parts.push(s.get(from..).unwrap_or_default().into());
                Ok(FieldValue::Array(Arc::new(parts)))
            },
        ),
    ]
}

fn replacing() -> Vec<FunctionSpec> {
    vec![
        row(
            "regexp_replace(text, pattern, replacement [, flags])",
            "The first match replaced, all with flag g; \\1 is a group, \\& the match",
            ("regexp_replace('foobarbaz', 'b(..)', 'X\\1Y', 'g')", "fooXarYXazY"),
            optional([TEXT, TEXT, TEXT, TEXT], 1),
            TEXT,
            |_, a| {
                let flags = flags(a, 3)?;
                if flags.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(invalid(format!("invalid regular expression option: \"{flags}\"")));
                }
                let re = compiled(text(a, 1)?, flags)?;
                let which = if flags.contains('g') { 0 } else { 1 };
                replace(&re, text(a, 0)?, text(a, 2)?, 0, which)
            },
        ),
        row(
            "regexp_replace(text, pattern, replacement, from [, n [, flags]])",
            "The n-th match from a position on replaced, all if n is 0",
            ("regexp_replace('A PostgreSQL function', 'a|e|i|o|u', 'X', 1, 3, 'i')", "A PostgrXSQL function"),
            optional([TEXT, TEXT, TEXT, INT, INT, TEXT], 2),
            TEXT,
            |_, a| {
                let flags = flags(a, 5)?;
                let re = compiled(text(a, 1)?, flags)?;
                let s = text(a, 0)?;
                let default = if flags.contains('g') { 0 } else { 1 };
                let n = int_or(a, 4, default)?;
                let n = usize::try_from(n)
                    .map_err(|_| invalid(format!("invalid value for parameter \"n\": {n}")))?;
                replace(&re, s, text(a, 2)?, start(s, int(a, 3)?)?, n)
            },
        ),
        row(
            "regexp_escape(text)",
            "The text as a pattern that matches just it",
            ("regexp_escape('1.5*x')", "1\\.5\\*x"),
            [TEXT],
            TEXT,
            |_, a| Ok(regex::escape(text(a, 0)?).into()),
        ),
    ]
}

fn list(items: impl Iterator<Item = FieldValue>) -> FieldValue {
    FieldValue::Array(Arc::new(items.collect()))
}
/// Byte offset of character `from`, counted from 1.
fn start(s: &str, from: i64) -> EvalResult<usize> {
    if from <= 0 {
        return Err(invalid(format!("invalid value for parameter \"start\": {from}")));
    }
    let skipped = s.len() - substring(s, from, None)?.len();
    // A start behind the end is beyond every match, also of an empty pattern.
    let behind = skipped == s.len() && usize::try_from(from).is_ok_and(|from| from > s.chars().count() + 1);
    Ok(if behind { s.len() + 1 } else { skipped })
}
fn group(args: &[Datum<'_>], at: usize) -> EvalResult<usize> {
    let n = int_or(args, at, 0)?;
    usize::try_from(n).map_err(|_| invalid(format!("invalid value for parameter \"group\": {n}")))
}
/// All matches at or after byte `from`; what precedes it still counts as context for `^` and `\b`.
fn occurrences<'s>(re: &'s Regex, s: &'s str, from: usize) -> impl Iterator<Item = Captures<'s>> {
    let mut at = Some(from).filter(|from| *from <= s.len());
    std::iter::from_fn(move || {
        let found = re.captures_at(s, at?)?;
        let m = found.get(0)?;
        at = if m.is_empty() {
            // One character further, or the search would stand still.
            s.get(m.end()..).and_then(|rest| rest.chars().next()).map(|c| m.end() + c.len_utf8())
        } else {
            Some(m.end())
        };
        Some(found)
    })
}
fn nth<'s>(re: &'s Regex, s: &'s str, from: usize, n: i64) -> EvalResult<Option<Captures<'s>>> {
    match usize::try_from(n) {
        Ok(n) if n > 0 => Ok(occurrences(re, s, from).nth(n - 1)),
        _ => Err(invalid(format!("invalid value for parameter \"n\": {n}"))),
    }
}
/// Replaces the `which`-th match, counted from 1; all of them if 0.
fn replace(re: &Regex, s: &str, with: &str, from: usize, which: usize) -> EvalResult<FieldValue> {
    let mut out = String::new();
    let mut done = 0;
    for (i, found) in occurrences(re, s, from).enumerate() {
        if which != 0 && i + 1 != which {
            continue;
        }
        let Some(m) = found.get(0) else { continue };
        out.push_str(s.get(done..m.start()).unwrap_or_default());
        expand(with, &found, &mut out);
        within_limit(out.len())?;
        done = m.end();
        if which != 0 {
            break;
        }
    }
    if done == 0 && out.is_empty() {
        return Ok(s.into());
    }
    out.push_str(s.get(done..).unwrap_or_default());
    Ok(out.into())
}
/// `\1` to `\9` are groups, `\&` the match, `\\` a backslash; any other backslash stands for itself.
fn expand(template: &str, found: &Captures<'_>, out: &mut String) {
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(found.get(0).map_or("", |m| m.as_str())),
            Some(d @ '1'..='9') => {
                let group = d.to_digit(10).unwrap_or(0) as usize;
                out.push_str(found.get(group).map_or("", |m| m.as_str()));
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
}
