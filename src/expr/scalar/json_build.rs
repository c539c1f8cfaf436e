//! JSON: making it out of values, and other JSON out of JSON. What is made has no blanks.

use super::args::{any, invalid, text, within_limit};
use super::json::json;
use super::json_path::as_text;
use super::row::{ANY, TEXT, lenient, row, variadic};
use super::values::to_text;
use crate::expr::value::json::{Elements, Members, is_valid, write as write_json, write_string as quote};
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::{DataType, FieldValue};

const JSON: DataType = DataType::Json;

fn finish(out: Vec<u8>) -> EvalResult<FieldValue> {
    within_limit(out.len())?;
    let made = String::from_utf8(out).map_err(|_| invalid("the JSON is not valid UTF-8"))?;
    Ok(FieldValue::Json(made.into()))
}
fn made(v: &FieldValue) -> EvalResult<FieldValue> {
    let mut out = Vec::new();
    write_json(v, &mut out);
    finish(out)
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("to_json(value)", ("to_json('say \"hi\"')", "\"say \\\"hi\\\"\"")),
        ("to_jsonb(value)", ("to_jsonb(ARRAY[1, 2])", "[1,2]")),
        ("row_to_json(struct)", ("row_to_json(STRUCT(1 AS a, 'x' AS b))", "{\"a\":1,\"b\":\"x\"}")),
        ("array_to_json(array)", ("array_to_json(ARRAY['a', NULL])", "[\"a\",null]")),
    ] {
        all.push(row(signature, "The value as JSON", example, [ANY], JSON, |_, a| made(any(a, 0))));
    }
    all.push(row(
        "json_string(value)",
        "The value as JSON in a VARCHAR",
        ("json_string('a')", "\"a\""),
        [ANY],
        TEXT,
        |_, a| match made(any(a, 0))? {
            FieldValue::Json(j) => Ok((&*j).into()),
            other => Ok(other),
        },
    ));
    for (signature, example) in [
        (
            "json_build_object(key, value, …)",
            ("json_build_object('a', 1, 'b', NULL)", "{\"a\":1,\"b\":null}"),
        ),
        ("jsonb_build_object(key, value, …)", ("jsonb_build_object('a', 'x')", "{\"a\":\"x\"}")),
        ("json_object(key, value, …)", ("json_object('a', true)", "{\"a\":true}")),
    ] {
        all.push(lenient(row(
            signature,
            "An object of alternating keys and values",
            example,
            variadic([ANY, ANY]),
            JSON,
            |_, a| object(a),
        )));
    }
    for (signature, example) in [
        ("json_build_array(value, …)", ("json_build_array(1, 'a', NULL)", "[1,\"a\",null]")),
        ("jsonb_build_array(value, …)", ("jsonb_build_array(1.50)", "[1.50]")),
    ] {
        all.push(lenient(row(
            signature,
            "An array of the values",
            example,
            variadic([ANY]),
            JSON,
            |_, a| items(a.iter()),
        )));
    }
    all.push(lenient(row(
        "json_array(value, …)",
        "An array of the values that are not NULL",
        ("json_array(1, NULL, 'a')", "[1,\"a\"]"),
        variadic([ANY]),
        JSON,
        |_, a| items(a.iter().filter(|v| !v.is_null())),
    )));
    all.extend(reshaping());
    all
}

fn object(args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    let mut out = vec![b'{'];
    for pair in args.chunks(2) {
        let [key, value] = pair else { return Err(invalid("keys and values must alternate")) };
        if key.is_null() {
            return Err(invalid("a key must not be NULL"));
        }
        if out.len() > 1 {
            out.push(b',');
        }
        quote(&to_text(key), &mut out);
        out.push(b':');
        write_json(value, &mut out);
    }
    out.push(b'}');
    finish(out)
}
fn items<'v, 'a: 'v>(values: impl Iterator<Item = &'v Datum<'a>>) -> EvalResult<FieldValue> {
    let mut out = vec![b'['];
    for v in values {
        if out.len() > 1 {
            out.push(b',');
        }
        write_json(v, &mut out);
    }
    out.push(b']');
    finish(out)
}

fn reshaping() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        (
            "json_strip_nulls(json)",
            ("json_strip_nulls('{\"a\":1,\"b\":null,\"c\":[null]}')", "{\"a\":1,\"c\":[null]}"),
        ),
        ("jsonb_strip_nulls(json)", ("jsonb_strip_nulls('{\"a\":{\"b\":null}}')", "{\"a\":{}}")),
    ] {
        all.push(row(signature, "Without the object members that are null", example, [ANY], JSON, |_, a| {
            let mut out = Vec::new();
            relay(json(a, 0)?, &Layout { keep_nulls: false, indent: None }, 0, &mut out)?;
            finish(out)
        }));
    }
    for (signature, example) in [
        ("json_pretty(json)", ("json_pretty('{\"a\":1}')", "{\n    \"a\": 1\n}")),
        ("jsonb_pretty(json)", ("jsonb_pretty('[]')", "[\n]")),
    ] {
        all.push(row(signature, "Laid out for people, one value a line", example, [ANY], TEXT, |_, a| {
            let mut out = Vec::new();
            relay(json(a, 0)?, &Layout { keep_nulls: true, indent: Some(4) }, 0, &mut out)?;
            match finish(out)? {
                FieldValue::Json(j) => Ok((&*j).into()),
                other => Ok(other),
            }
        }));
    }
    all.extend([
        row(
            "json_quote(text)",
            "The text as a JSON string",
            ("json_quote('a\"b')", "\"a\\\"b\""),
            [TEXT],
            TEXT,
            |_, a| {
                let mut out = Vec::new();
                quote(text(a, 0)?, &mut out);
                Ok(String::from_utf8(out).unwrap_or_default().into())
            },
        ),
        row(
            "json_unquote(text)",
            "The text inside a JSON string; other text as it is",
            ("json_unquote('\"a\\\"b\"')", "a\"b"),
            [TEXT],
            TEXT,
            |_, a| {
                let s = text(a, 0)?;
                if s.starts_with('"') && is_valid(s) { as_text(s.trim()) } else { Ok(s.into()) }
            },
        ),
        row(
            "parse_json(text)",
            "The text as JSON",
            ("json_get(parse_json('{\"a\":1}'), 'a')", "1"),
            [TEXT],
            JSON,
            |_, a| {
                let s = text(a, 0)?;
                if is_valid(s) {
                    Ok(FieldValue::Json(s.into()))
                } else {
                    Err(invalid("the text is not valid JSON"))
                }
            },
        ),
        row(
            "try_parse_json(text)",
            "The text as JSON; NULL if it is none",
            ("try_parse_json('{') IS NULL", "true"),
            [TEXT],
            JSON,
            |_, a| {
                let s = text(a, 0)?;
                Ok(if is_valid(s) { FieldValue::Json(s.into()) } else { FieldValue::Null })
            },
        ),
    ]);
    all
}

struct Layout {
    keep_nulls: bool,
    indent: Option<usize>,
}
/// Deepest nesting that is written: the validation of JSON has a limit of its own that is lower.
const MAX_DEPTH: usize = 256;

/// Writes JSON again in another layout.
fn relay(j: &str, layout: &Layout, depth: usize, out: &mut Vec<u8>) -> EvalResult<()> {
    let (open, close) = match j.as_bytes().first() {
        Some(b'{') => (b'{', b'}'),
        Some(b'[') => (b'[', b']'),
        _ => {
            out.extend_from_slice(j.as_bytes());
            return Ok(());
        }
    };
    let members = Members::of(j).into_iter().flatten().map(|(key, value)| (Some(key), value));
    let elements = Elements::of(j).into_iter().flatten().map(|value| (None, value));
    if depth >= MAX_DEPTH {
        return Err(invalid(format!("the JSON is nested more than {MAX_DEPTH} levels deep")));
    }
    let line = |depth: usize, out: &mut Vec<u8>| {
        if let Some(width) = layout.indent {
            out.push(b'\n');
            out.resize(out.len() + width * depth, b' ');
        }
    };
    out.push(open);
    let mut first = true;
    for (key, value) in members.chain(elements) {
        if !layout.keep_nulls && key.is_some() && value == "null" {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        line(depth + 1, out);
        if let Some(key) = key {
            quote(&key, out);
            out.extend_from_slice(if layout.indent.is_some() { b": " } else { b":" });
        }
        relay(value, layout, depth + 1, out)?;
        within_limit(out.len())?;
    }
    line(depth, out);
    out.push(close);
    Ok(())
}
