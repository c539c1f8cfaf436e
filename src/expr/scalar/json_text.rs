//! JSON as text: stepping through it without building a tree, paths, quoting. The text is valid: check it first.

use std::borrow::Cow;

use super::args::invalid;
use crate::expr::EvalResult;
use crate::record::FieldValue;

/// Steps that a path may have: it bounds the recursion of wildcards.
const MAX_STEPS: usize = 256;

/// Whether it is one valid JSON value.
pub(super) fn is_valid(s: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(s).is_ok()
}

/// Where the value that starts at byte `at` ends.
fn end_of_value(s: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(b) = s.get(at) {
        match b {
            b'"' => at = end_of_string(s, at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b' ' | b'\n' | b'\t' | b'\r' | b':' if depth == 0 => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    at
}
/// The byte after the closing quote of the string that starts at `at`.
fn end_of_string(s: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(found) = s.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if s.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    s.len()
}
fn skip(s: &[u8], mut at: usize, set: &[u8]) -> usize {
    while s.get(at).is_some_and(|b| set.contains(b)) {
        at += 1;
    }
    at
}

/// What stands inside an array or object: for an object, members with their keys (in quotes).
#[derive(Clone)]
pub(super) struct Entries<'j> {
    json: &'j str,
    at: usize,
    object: bool,
}
impl<'j> Entries<'j> {
    /// Nothing, if it is neither array nor object.
    pub(super) fn of(json: &'j str) -> Self {
        let at = match json.as_bytes().first() {
            Some(b'[' | b'{') => 1,
            _ => json.len(),
        };
        Self { json, at, object: json.starts_with('{') }
    }
}
impl<'j> Iterator for Entries<'j> {
    type Item = (Option<&'j str>, &'j str);

    fn next(&mut self) -> Option<Self::Item> {
        let s = self.json.as_bytes();
        let mut at = skip(s, self.at, b" \n\t\r,");
        let mut key = None;
        match s.get(at)? {
            b']' | b'}' => return None,
            b'"' if self.object => {
                let end = end_of_string(s, at);
                key = self.json.get(at..end);
                at = skip(s, end, b" \n\t\r:");
            }
            _ => {}
        }
        let end = end_of_value(s, at);
        self.at = end;
        Some((key, self.json.get(at..end)?))
    }
}

/// The text inside a JSON string.
pub(super) fn unquote(quoted: &str) -> EvalResult<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(quoted);
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(quoted)
        .map(Cow::Owned)
        .map_err(|e| invalid(format!("invalid JSON string: {e}")))
}
fn is_key(quoted: &str, name: &str) -> bool {
    match quoted.get(1..quoted.len().saturating_sub(1)) {
        Some(inner) if !inner.contains('\\') => inner == name,
        _ => unquote(quoted).is_ok_and(|key| key == name),
    }
}
/// The member of that name: the last one if there are several, as in PostgreSQL.
pub(super) fn member<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    let entries = Entries::of(json).filter_map(|(key, value)| key.map(|k| (k, value)));
    entries.filter(|(key, _)| is_key(key, name)).last().map(|(_, value)| value)
}
/// The item at an index from 0; from the end if it is negative.
pub(super) fn item(json: &str, index: i64) -> Option<&str> {
    if !json.starts_with('[') {
        return None;
    }
    let index = if index < 0 { Entries::of(json).count() as i64 + index } else { index };
    Entries::of(json).nth(usize::try_from(index).ok()?).map(|(_, value)| value)
}
/// What `->>` gives: the text of a string, NULL for null, else the JSON.
pub(super) fn as_text(json: &str) -> EvalResult<FieldValue> {
    match json {
        "null" => Ok(FieldValue::Null),
        s if s.starts_with('"') => Ok(FieldValue::from(&*unquote(s)?)),
        s => Ok(s.into()),
    }
}

/// One step of a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step<'p> {
    Member(&'p str),
    Item(i64),
    AllMembers,
    AllItems,
}
/// The steps of `$.name."name"['name'][0][*].*`.
#[derive(Clone)]
pub(super) struct Steps<'p>(&'p str);

impl<'p> Steps<'p> {
    /// Checks a path; without `$` it is the name of one member.
    pub(super) fn parse(path: &'p str) -> EvalResult<(Self, bool)> {
        let body = path.trim();
        let body =
            body.strip_prefix("lax ").or_else(|| body.strip_prefix("strict ")).unwrap_or(body).trim_start();
        let Some(body) = body.strip_prefix('$') else {
            return Err(invalid(format!("the path '{path}' does not start with $")));
        };
        let mut steps = Steps(body);
        let (mut count, mut several) = (0, false);
        while let Some(step) = steps.step() {
            let step = step.ok_or_else(|| {
                invalid(format!("the path '{path}' is not understood: $.name, [index], [*]"))
            })?;
            several |= matches!(step, Step::AllItems | Step::AllMembers);
            count += 1;
        }
        if count > MAX_STEPS {
            return Err(invalid(format!("the path has more than {MAX_STEPS} steps")));
        }
        Ok((Steps(body), several))
    }
    /// The next step; `Some(None)` if it is malformed.
    fn step(&mut self) -> Option<Option<Step<'p>>> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.take())
    }
    fn take(&mut self) -> Option<Step<'p>> {
        if let Some(rest) = self.0.strip_prefix('[') {
            let (step, rest) = match rest.chars().next()? {
                quote @ ('\'' | '"') => {
                    let (name, rest) = rest.get(1..)?.split_once(quote)?;
                    (Step::Member(name), rest.strip_prefix(']')?)
                }
                _ => {
                    let (inside, rest) = rest.split_once(']')?;
                    match inside.trim() {
                        "*" => (Step::AllItems, rest),
                        "last" => (Step::Item(-1), rest),
                        index => (Step::Item(index.parse().ok()?), rest),
                    }
                }
            };
            self.0 = rest;
            return Some(step);
        }
        let rest = self.0.strip_prefix('.')?;
        if let Some(rest) = rest.strip_prefix('*') {
            self.0 = rest;
            return Some(Step::AllMembers);
        }
        let (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                rest.split_at_checked(end).filter(|(name, _)| !name.is_empty())?
            }
        };
        self.0 = rest;
        Some(Step::Member(name))
    }
    /// Calls `found` for everything that the path leads to, in order.
    pub(super) fn visit<'j>(mut self, mut json: &'j str, found: &mut dyn FnMut(&'j str)) {
        while let Some(Some(step)) = self.step() {
            let next = match step {
                Step::Member(name) => member(json, name),
                Step::Item(index) => item(json, index),
                Step::AllItems | Step::AllMembers => {
                    let object = step == Step::AllMembers;
                    if json.starts_with('{') == object {
                        Entries::of(json).for_each(|(_, value)| self.clone().visit(value, found));
                    }
                    return;
                }
            };
            match next {
                Some(value) => json = value,
                None => return,
            }
        }
        found(json);
    }
    /// The first value that the path leads to.
    pub(super) fn first<'j>(self, json: &'j str) -> Option<&'j str> {
        let mut first = None;
        self.visit(json, &mut |value| {
            first.get_or_insert(value);
        });
        first
    }
}

/// Appends a string in quotes.
pub(super) fn quote(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for b in s.bytes() {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            b => out.push(b),
        }
    }
    out.push(b'"');
}
