//! JSON text: finding members and elements without building a tree, and writing nested values.
//!
//! A JSON value is always valid (it was checked when it was read), so the scanner only has to find ends.

use std::borrow::Cow;

use base64::Engine;

use crate::record::{FieldValue, text};

/// Whether the text is one JSON value.
pub(in crate::expr) fn is_valid(json: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
}

/// The member of an object; if a name occurs twice, the last one.
pub(in crate::expr) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    Members::of(json)?.filter(|(key, _)| key == name).last().map(|(_, value)| value)
}

/// The element of an array, from 0; from the end if negative.
pub(in crate::expr) fn element(json: &str, index: i64) -> Option<&str> {
    let mut elements = Elements::of(json)?;
    if let Ok(index) = usize::try_from(index) {
        return elements.nth(index);
    }
    let all: Vec<&str> = elements.collect();
    all.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?).and_then(|i| all.get(i).copied())
}

/// The content of a JSON string.
pub(in crate::expr) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The elements of an array.
pub(in crate::expr) struct Elements<'a>(&'a str);

impl<'a> Elements<'a> {
    /// `None` if it is no array.
    pub(in crate::expr) fn of(json: &'a str) -> Option<Self> {
        Some(Self(json.trim_ascii().strip_prefix('[')?))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_ascii_start().trim_start_matches(',').trim_ascii_start();
        let (value, rest) = take_value(self.0)?;
        self.0 = rest;
        Some(value)
    }
}

/// The members of an object: names and values.
pub(in crate::expr) struct Members<'a>(&'a str);

impl<'a> Members<'a> {
    /// `None` if it is no object.
    pub(in crate::expr) fn of(json: &'a str) -> Option<Self> {
        Some(Self(json.trim_ascii().strip_prefix('{')?))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_ascii_start().trim_start_matches(',').trim_ascii_start();
        let (key, rest) = take_value(self.0)?;
        let (value, rest) = take_value(rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start())?;
        self.0 = rest;
        Some((string(key)?, value))
    }
}

/// Splits one value off the front; `None` at the end of an array or object.
fn take_value(json: &str) -> Option<(&str, &str)> {
    let bytes = json.as_bytes();
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(b) = bytes.get(at) {
        match b {
            b'"' => {
                at = end_of_string(bytes, at)?;
                if depth == 0 {
                    return json.split_at_checked(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth {
                0 if at == 0 => return None,
                // The end of what holds a number or word.
                0 => return json.split_at_checked(at),
                1 => return json.split_at_checked(at + 1),
                _ => depth -= 1,
            },
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return json.split_at_checked(at),
            _ => {}
        }
        at += 1;
    }
    (at > 0).then_some((json, ""))
}

/// The place after the closing quote of the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..)?;
        let hit = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(hit) == Some(&b'"') {
            return Some(at + hit + 1);
        }
        at += hit + 2;
    }
}

/// Writes a value as JSON, in the forms that sinks use.
pub(in crate::expr) fn write(value: &FieldValue, out: &mut Vec<u8>) {
    let quoted = |out: &mut Vec<u8>, write: &dyn Fn(&mut Vec<u8>)| {
        out.push(b'"');
        write(out);
        out.push(b'"');
    };
    match value {
        FieldValue::Null => out.extend_from_slice(b"null"),
        FieldValue::Boolean(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        FieldValue::Integer(i) => text::write_i64(*i, out),
        FieldValue::Float(x) if x.is_finite() => text::write_f64(*x, out),
        FieldValue::Float(x) => quoted(out, &|out| text::write_f64(*x, out)),
        FieldValue::Decimal(d) => text::write_decimal(d, out),
        FieldValue::String(s) => write_string(s, out),
        FieldValue::Bytes(b) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(b);
            quoted(out, &|out| out.extend_from_slice(encoded.as_bytes()));
        }
        FieldValue::Date(d) => quoted(out, &|out| text::write_date(*d, out)),
        FieldValue::Time(t) => quoted(out, &|out| text::write_time(*t, out)),
        FieldValue::Timestamp(t) => quoted(out, &|out| text::write_timestamp(*t, out)),
        FieldValue::Interval(i) => quoted(out, &|out| text::write_interval(i, out)),
        FieldValue::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        FieldValue::Map(entries) => {
            let key = |k: &FieldValue, out: &mut Vec<u8>| write_string(&super::to_text(k), out);
            write_object(entries.iter().map(|(k, v)| (k, v)), key, out);
        }
        FieldValue::Struct(s) => {
            write_object(s.names.iter().zip(&s.values), |name, out| write_string(name, out), out);
        }
        FieldValue::Json(j) => out.extend_from_slice(j.as_bytes()),
    }
}

fn write_object<'a, K>(
    entries: impl Iterator<Item = (K, &'a FieldValue)>,
    key: impl Fn(K, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (i, (k, v)) in entries.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        key(k, out);
        out.push(b':');
        write(v, out);
    }
    out.push(b'}');
}

pub(in crate::expr) fn write_string(s: &str, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail.
    let _ = serde_json::to_writer(out, s);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_found_by_their_ends() {
        let json = r#" {"a": [1, {"x":"],}"}, "q\"" ], "b\n":true , "c":{}, "a2":-1.50e3}"#;
        assert!(is_valid(json) && !is_valid("{a:1}"));
        assert_eq!(member(json, "a"), Some(r#"[1, {"x":"],}"}, "q\"" ]"#));
        assert_eq!(member(json, "b\n"), Some("true"));
        assert_eq!(
            (member(json, "a2"), member(json, "c"), member(json, "x")),
            (Some("-1.50e3"), Some("{}"), None)
        );
        let array = member(json, "a").unwrap();
        assert_eq!(element(array, 1), Some(r#"{"x":"],}"}"#));
        assert_eq!(element(array, -1).and_then(string).as_deref(), Some("q\""));
        assert_eq!(
            (element(array, 3), element(array, -4), element("[]", 0), element("{}", 0)),
            (None, None, None, None)
        );
        assert_eq!(member(r#"{"a":1,"a":2}"#, "a"), Some("2"));
    }

    #[test]
    fn nested_values_are_written_as_json() {
        let map =
            FieldValue::Map(vec![(1i64.into(), FieldValue::Null), (2i64.into(), "é\"\n".into())].into());
        let array = FieldValue::Array(vec![map, FieldValue::Date(0), FieldValue::Float(f64::NAN)].into());
        let mut out = Vec::new();
        write(&array, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"[{"1":null,"2":"é\"\n"},"1970-01-01","NaN"]"#);
    }
}
