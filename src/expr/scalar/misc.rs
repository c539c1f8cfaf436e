//! UUIDs, record headers, and what fits nowhere else: NULL counting, types, errors.

use std::sync::Arc;

use super::args::{any, int, invalid, map, text};
use super::row::{ANY, BOOL, INT4, TEXT, context, derived, lenient, row, variadic, volatile};
use super::values::to_text;
use crate::expr::{EvalContext, EvalResult, FunctionSpec};
use crate::record::{CompactString, DataType, FieldValue, Headers};

pub(super) fn uuid() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("uuid()", ("length(uuid())", "36")),
        ("gen_random_uuid()", ("substr(gen_random_uuid(), 15, 1)", "4")),
    ] {
        all.push(volatile(row(signature, "A random UUID (version 4)", example, [], TEXT, |_, _| {
            Ok(uuid_text(super::random::next(), super::random::next(), 4))
        })));
    }
    for (signature, example) in
        [("uuidv7()", ("length(uuidv7())", "36")), ("uuid_v7()", ("substr(uuid_v7(), 15, 1)", "7"))]
    {
        all.push(volatile(row(
            signature,
            "A UUID that starts with the clock's milliseconds (version 7)",
            example,
            [],
            TEXT,
            |ctx, _| {
                let millis = ctx.now.div_euclid(1000) as u64;
                Ok(uuid_text(millis << 16 | super::random::next() >> 48, super::random::next(), 7))
            },
        )));
    }
    all.push(row(
        "is_uuid(text)",
        "Whether it is a UUID in the usual form",
        ("is_uuid('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')", "true"),
        [TEXT],
        BOOL,
        |_, a| {
            let s = text(a, 0)?;
            let fits = |(i, b): (usize, u8)| {
                if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() }
            };
            Ok((s.len() == 36 && s.bytes().enumerate().all(fits)).into())
        },
    ));
    all
}
/// RFC 9562: version in the 13th digit, variant in the two upper bits of the lower half.
fn uuid_text(high: u64, low: u64, version: u64) -> FieldValue {
    let high = high & !0xf000 | version << 12;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{high:016x}{low:016x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)).into()
}

fn header_text(value: &[u8]) -> EvalResult<FieldValue> {
    match std::str::from_utf8(value) {
        Ok(s) => Ok(s.into()),
        Err(_) => Err(invalid("the header is not valid UTF-8")),
    }
}
fn headers_map() -> DataType {
    DataType::map(TEXT, TEXT)
}
/// The record's headers as a map: of several headers of one name the last one counts.
fn as_map(headers: &Headers) -> EvalResult<Vec<(FieldValue, FieldValue)>> {
    let mut entries: Vec<(FieldValue, FieldValue)> = Vec::with_capacity(headers.len() + 1);
    for (name, value) in headers.iter() {
        put(&mut entries, name, header_text(value)?);
    }
    Ok(entries)
}
fn put(entries: &mut Vec<(FieldValue, FieldValue)>, name: &str, value: FieldValue) {
    match entries.iter_mut().find(|(k, _)| k.as_str() == Some(name)) {
        Some((_, old)) => *old = value,
        None => entries.push((name.into(), value)),
    }
}
fn without(mut entries: Vec<(FieldValue, FieldValue)>, name: &str) -> FieldValue {
    entries.retain(|(k, _)| k.as_str() != Some(name));
    FieldValue::Map(Arc::new(entries))
}
fn with(mut entries: Vec<(FieldValue, FieldValue)>, name: &str, value: &FieldValue) -> FieldValue {
    put(&mut entries, name, value.clone());
    FieldValue::Map(Arc::new(entries))
}

pub(super) fn header() -> Vec<FunctionSpec> {
    vec![
        context(row(
            "header(name)",
            "Value of the record's last header of that name; NULL if there is none",
            ("coalesce(header('x'), 'none')", "none"),
            [TEXT],
            TEXT,
            |ctx, a| ctx.record.headers().get(text(a, 0)?).map_or(Ok(FieldValue::Null), header_text),
        )),
        context(row(
            "has_header(name)",
            "Whether the record has a header of that name",
            ("has_header('x')", "false"),
            [TEXT],
            BOOL,
            |ctx, a| Ok(ctx.record.headers().get(text(a, 0)?).is_some().into()),
        )),
        context(row(
            "header_keys()",
            "Names of the record's headers, in order",
            ("cardinality(header_keys())", "0"),
            [],
            DataType::array(TEXT),
            header_keys,
        )),
        context(row(
            "set_header(name, value)",
            "The record's headers with one set, for SELECT … AS _headers",
            ("set_header('x', '1')['x']", "1"),
            [TEXT, TEXT],
            headers_map(),
            |ctx, a| Ok(with(as_map(ctx.record.headers())?, text(a, 0)?, any(a, 1))),
        )),
        row(
            "set_header(headers, name, value)",
            "These headers with one set",
            ("set_header(set_header('x', '1'), 'y', '2')['y']", "2"),
            [headers_map(), TEXT, TEXT],
            headers_map(),
            |_, a| Ok(with(map(a, 0)?.to_vec(), text(a, 1)?, any(a, 2))),
        ),
        context(row(
            "remove_header(name)",
            "The record's headers without one, for SELECT … AS _headers",
            ("cardinality(remove_header('x'))", "0"),
            [TEXT],
            headers_map(),
            |ctx, a| Ok(without(as_map(ctx.record.headers())?, text(a, 0)?)),
        )),
        row(
            "remove_header(headers, name)",
            "These headers without one",
            ("cardinality(remove_header(set_header('x', '1'), 'x'))", "0"),
            [headers_map(), TEXT],
            headers_map(),
            |_, a| Ok(without(map(a, 0)?.to_vec(), text(a, 1)?)),
        ),
    ]
}
fn header_keys<'a>(ctx: &EvalContext<'a>, _: &[crate::expr::Datum<'a>]) -> EvalResult<FieldValue> {
    let mut names: Vec<FieldValue> = Vec::new();
    for (name, _) in ctx.record.headers().iter() {
        if !names.iter().any(|n| n.as_str() == Some(name)) {
            names.push(name.into());
        }
    }
    Ok(FieldValue::Array(Arc::new(names)))
}

pub(super) fn conditional() -> Vec<FunctionSpec> {
    vec![
        lenient(row(
            "num_nulls(value, …)",
            "How many of the values are NULL",
            ("num_nulls(1, NULL, 2)", "1"),
            variadic([ANY]),
            INT4,
            |_, a| Ok(FieldValue::Integer(a.iter().filter(|v| v.is_null()).count() as i64)),
        )),
        lenient(row(
            "num_nonnulls(value, …)",
            "How many of the values are not NULL",
            ("num_nonnulls(1, NULL, 2)", "2"),
            variadic([ANY]),
            INT4,
            |_, a| Ok(FieldValue::Integer(a.iter().filter(|v| !v.is_null()).count() as i64)),
        )),
        volatile(lenient(row(
            "error(message)",
            "Fails the record with that message",
            ("CASE WHEN 1 > 2 THEN error('no') ELSE 'fine' END", "fine"),
            [ANY],
            derived(|_| Ok(DataType::Null)),
            |_, a| Err(invalid(to_text(any(a, 0)).into_owned())),
        ))),
    ]
}

pub(super) fn convert() -> Vec<FunctionSpec> {
    vec![
        lenient(row(
            "typeof(value)",
            "Name of the value's type",
            ("typeof(1.50)", "DECIMAL"),
            [ANY],
            TEXT,
            |_, a| Ok(type_name(any(a, 0)).into()),
        )),
        row(
            "pg_size_pretty(bytes)",
            "A size with a unit that suits it",
            ("pg_size_pretty(123456789)", "118 MB"),
            [super::row::INT],
            TEXT,
            |_, a| Ok(size_pretty(int(a, 0)?).into()),
        ),
    ]
}
/// The kind of a value: its declared width or precision is not part of it.
fn type_name(v: &FieldValue) -> CompactString {
    match v {
        FieldValue::Decimal(_) => CompactString::const_new("DECIMAL"),
        FieldValue::Struct(_) => CompactString::const_new("STRUCT"),
        FieldValue::Map(_) => CompactString::const_new("MAP"),
        FieldValue::Array(_) => CompactString::const_new("ARRAY"),
        other => CompactString::from(other.data_type().to_string()),
    }
}
/// PostgreSQL's rounding: up to 10,239 units of each size, half away from zero.
fn size_pretty(bytes: i64) -> String {
    let mut size = i128::from(bytes);
    if size.abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    // Doubled from here on, so that half a unit shows.
    size /= 512;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.abs() < 20 * 1024 - 1 {
            return format!("{} {unit}", half(size));
        }
        size /= 1024;
    }
    format!("{} PB", half(size))
}
fn half(doubled: i128) -> i128 {
    (doubled + doubled.signum()) / 2
}
