//! JSON: looking into it, by key, index or path. JSON or VARCHAR arguments; a VARCHAR that is no JSON is an error.

use std::borrow::Cow;
use std::sync::Arc;

use super::args::{any, array, count, int, invalid, text};
use super::json_path::{Steps, as_text};
use super::row::{ANY, BOOL, INT, INT4, TEXT, derived, optional, row, variadic};
use crate::expr::value::json::{Elements, Members, element, is_valid, member};
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::{DataType, FieldValue};

const JSON: DataType = DataType::Json;

/// The text of a JSON argument, checked if it is not of type JSON.
pub(super) fn json<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v str> {
    match any(args, at) {
        FieldValue::Json(j) => Ok(j.trim()),
        _ => {
            let s = text(args, at)?.trim();
            if is_valid(s) { Ok(s) } else { Err(invalid("the argument is not valid JSON")) }
        }
    }
}
fn is_json(t: &DataType) -> Result<(), String> {
    match t {
        DataType::Json | DataType::Varchar | DataType::Null => Ok(()),
        t => Err(format!("the first argument must be JSON or VARCHAR, not {t}; to_json makes JSON of it")),
    }
}
macro_rules! of_json {
    ($($name:ident => $t:expr),* $(,)?) => {$(
        fn $name(types: &[DataType]) -> Result<DataType, String> {
            types.first().map_or(Ok(()), is_json).map(|()| $t)
        }
    )*};
}
of_json! {
    gives_json => JSON,
    gives_text => TEXT,
    gives_bool => BOOL,
    gives_int => INT4,
    gives_texts => DataType::array(TEXT),
    gives_jsons => DataType::array(JSON),
}

fn as_json(found: Option<&str>) -> EvalResult<FieldValue> {
    Ok(found.map_or(FieldValue::Null, |j| FieldValue::Json(j.into())))
}
fn as_text_or_null(found: Option<&str>) -> EvalResult<FieldValue> {
    found.map_or(Ok(FieldValue::Null), as_text)
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = operators();
    all.extend(paths());
    all.extend(content());
    all
}

/// What a step by argument leads to: a name in an object, an index (also as text) in an array.
fn walk<'j>(mut json: &'j str, steps: &[&str]) -> Option<&'j str> {
    for step in steps {
        json = if json.starts_with('[') {
            element(json, step.trim().parse().ok()?)?
        } else {
            member(json, step)?
        };
    }
    Some(json)
}
fn walk_args<'v>(args: &'v [Datum<'_>]) -> EvalResult<Option<&'v str>> {
    let mut at = Some(json(args, 0)?);
    for i in 1..args.len() {
        let step = text(args, i)?;
        at = at.and_then(|j| walk(j, &[step]));
    }
    Ok(at)
}
fn walk_array<'v>(args: &'v [Datum<'_>]) -> EvalResult<Option<&'v str>> {
    let steps: Option<Vec<&str>> = array(args, 1)?.iter().map(FieldValue::as_str).collect();
    let whole = json(args, 0)?;
    Ok(steps.and_then(|steps| walk(whole, &steps)))
}

fn operators() -> Vec<FunctionSpec> {
    let texts = || DataType::array(TEXT);
    vec![
        row(
            "json_get(json, key)",
            "Member of an object as JSON; also json -> key",
            ("json_get('{\"a\":{\"b\":1}}', 'a')", "{\"b\":1}"),
            [ANY, TEXT],
            derived(gives_json),
            |_, a| as_json(member(json(a, 0)?, text(a, 1)?)),
        ),
        row(
            "json_get(json, index)",
            "Item of an array as JSON, from 0, negative from the end; also json -> index",
            ("json_get('[1,2,3]', -1)", "3"),
            [ANY, INT],
            derived(gives_json),
            |_, a| as_json(element(json(a, 0)?, int(a, 1)?)),
        ),
        row(
            "json_get_text(json, key)",
            "Member of an object as text; also json ->> key",
            ("json_get_text('{\"a\":\"x\"}', 'a')", "x"),
            [ANY, TEXT],
            derived(gives_text),
            |_, a| as_text_or_null(member(json(a, 0)?, text(a, 1)?)),
        ),
        row(
            "json_get_text(json, index)",
            "Item of an array as text, from 0, negative from the end; also json ->> index",
            ("json_get_text('[\"a\",\"b\"]', 1)", "b"),
            [ANY, INT],
            derived(gives_text),
            |_, a| as_text_or_null(element(json(a, 0)?, int(a, 1)?)),
        ),
        row(
            "json_get_path(json, steps)",
            "What an array of keys and indices leads to; also json #> steps",
            ("json_get_path('{\"a\":[1,2]}', ARRAY['a', '1'])", "2"),
            [ANY, texts()],
            derived(gives_json),
            |_, a| as_json(walk_array(a)?),
        ),
        row(
            "json_get_path_text(json, steps)",
            "What an array of keys and indices leads to, as text; also json #>> steps",
            ("json_get_path_text('{\"a\":[1,\"x\"]}', ARRAY['a', '1'])", "x"),
            [ANY, texts()],
            derived(gives_text),
            |_, a| as_text_or_null(walk_array(a)?),
        ),
        row(
            "json_extract_path(json, step, …)",
            "What these keys and indices lead to",
            ("json_extract_path('{\"a\":{\"b\":[5,6]}}', 'a', 'b', '0')", "5"),
            variadic([ANY, TEXT]),
            derived(gives_json),
            |_, a| as_json(walk_args(a)?),
        ),
        row(
            "json_extract_path_text(json, step, …)",
            "What these keys and indices lead to, as text",
            ("json_extract_path_text('{\"a\":{\"b\":\"x\"}}', 'a', 'b')", "x"),
            variadic([ANY, TEXT]),
            derived(gives_text),
            |_, a| as_text_or_null(walk_args(a)?),
        ),
    ]
}

/// Everything that a path leads to: without wildcards the value itself, with them an array of all values.
fn extract<'v>(args: &'v [Datum<'_>]) -> EvalResult<Option<Cow<'v, str>>> {
    let (whole, path) = (json(args, 0)?, text(args, 1)?);
    if !path.trim_start().starts_with(['$', 'l', 's']) || !path.contains('$') {
        return Ok(member(whole, path).map(Cow::Borrowed));
    }
    let (steps, several) = Steps::parse(path)?;
    if !several {
        return Ok(steps.first(whole).map(Cow::Borrowed));
    }
    let mut all = String::from("[");
    steps.visit(whole, &mut |value| {
        if all.len() > 1 {
            all.push(',');
        }
        all.push_str(value);
    });
    all.push(']');
    Ok(Some(Cow::Owned(all)))
}

fn paths() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    all.push(row("json_extract(json, path)", "What a path such as $.a[0].b leads to, as JSON; with [*] or .* an array of all; without $ the member of that name", ("json_extract('{\"a\":[{\"b\":1},{\"b\":2}]}', '$.a[*].b')", "[1,2]"), [ANY, TEXT], derived(gives_json), |_, a| as_json(extract(a)?.as_deref())));
    for (signature, example) in [
        ("json_extract_text(json, path)", ("json_extract_text('{\"a\":{\"b\":\"x\"}}', '$.a.b')", "x")),
        ("json_extract_string(json, path)", ("json_extract_string('{\"a\":[true]}', '$.a[0]')", "true")),
    ] {
        all.push(row(
            signature,
            "What a path leads to, as text",
            example,
            [ANY, TEXT],
            derived(gives_text),
            |_, a| as_text_or_null(extract(a)?.as_deref()),
        ));
    }
    all.extend([
        row(
            "json_value(json, path)",
            "The scalar that a path leads to, as text; NULL if there is none, or an object or array",
            ("json_value('{\"a\":{\"b\":7}}', '$.a.b')", "7"),
            [ANY, TEXT],
            derived(gives_text),
            |_, a| {
                let (whole, (steps, _)) = (json(a, 0)?, Steps::parse(text(a, 1)?)?);
                as_text_or_null(steps.first(whole).filter(|j| !j.starts_with(['{', '['])))
            },
        ),
        row(
            "json_query(json, path)",
            "The object or array that a path leads to, as JSON; NULL if there is none, or a scalar",
            ("json_query('{\"a\":{\"b\":[1, 2]}}', '$.a.b')", "[1, 2]"),
            [ANY, TEXT],
            derived(gives_json),
            |_, a| {
                Steps::parse(text(a, 1)?)?;
                as_json(extract(a)?.as_deref().filter(|j| j.starts_with(['{', '['])))
            },
        ),
        row(
            "json_exists(json, path)",
            "Whether a path leads to anything",
            ("json_exists('{\"a\":[1,2]}', '$.a[5]')", "false"),
            [ANY, TEXT],
            derived(gives_bool),
            |_, a| {
                let (whole, (steps, _)) = (json(a, 0)?, Steps::parse(text(a, 1)?)?);
                Ok(steps.first(whole).is_some().into())
            },
        ),
    ]);
    all
}

fn content() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("json_array_length(json)", ("json_array_length('[1,[2,3],4]')", "3")),
        ("jsonb_array_length(json)", ("jsonb_array_length('[]')", "0")),
    ] {
        all.push(row(
            signature,
            "Number of items of an array",
            example,
            [ANY],
            derived(gives_int),
            |_, a| {
                let j = json(a, 0)?;
                match Elements::of(j) {
                    Some(elements) => count(elements.count()),
                    None => Err(invalid(format!("cannot get the array length of {}", kind(j)))),
                }
            },
        ));
    }
    for (signature, example) in [
        ("json_object_keys(json)", ("json_object_keys('{\"a\":1,\"b\":2}')", "[\"a\",\"b\"]")),
        ("jsonb_object_keys(json)", ("jsonb_object_keys('{}')", "[]")),
        ("json_keys(json)", ("json_keys('{\"x\":null}')", "[\"x\"]")),
    ] {
        all.push(row(
            signature,
            "Keys of an object, as an array",
            example,
            [ANY],
            derived(gives_texts),
            |_, a| {
                let j = json(a, 0)?;
                let Some(members) = Members::of(j) else {
                    return Err(invalid(format!("cannot get the keys of {}", kind(j))));
                };
                Ok(FieldValue::Array(Arc::new(members.map(|(key, _)| FieldValue::from(&*key)).collect())))
            },
        ));
    }
    for (signature, example) in [
        ("json_typeof(json)", ("json_typeof('-123.4')", "number")),
        ("jsonb_typeof(json)", ("jsonb_typeof('[1]')", "array")),
    ] {
        all.push(row(
            signature,
            "object, array, string, number, boolean or null",
            example,
            [ANY],
            derived(gives_text),
            |_, a| Ok(kind(json(a, 0)?).into()),
        ));
    }
    for (signature, example) in [
        ("json_array_elements(json)", ("json_array_elements('[1,{\"a\":2}]')", "[1,{\"a\":2}]")),
        ("jsonb_array_elements(json)", ("cardinality(jsonb_array_elements('[1,2]'))", "2")),
    ] {
        all.push(row(
            signature,
            "Items of a JSON array as ARRAY<JSON>, for UNNEST",
            example,
            [ANY],
            derived(gives_jsons),
            |_, a| elements(json(a, 0)?, |j| Ok(FieldValue::Json(j.into()))),
        ));
    }
    for (signature, example) in [
        (
            "json_array_elements_text(json)",
            ("json_array_elements_text('[1,\"a\",null]')", "[\"1\",\"a\",null]"),
        ),
        ("jsonb_array_elements_text(json)", ("jsonb_array_elements_text('[true]')[1]", "true")),
    ] {
        all.push(row(
            signature,
            "Items of a JSON array as ARRAY<VARCHAR>, for UNNEST",
            example,
            [ANY],
            derived(gives_texts),
            |_, a| elements(json(a, 0)?, as_text),
        ));
    }
    all.extend([
        row(
            "json_valid(text)",
            "Whether it is valid JSON",
            ("json_valid('{\"a\":}')", "false"),
            [ANY],
            derived(gives_bool),
            |_, a| match any(a, 0) {
                FieldValue::Json(_) => Ok(true.into()),
                _ => Ok(is_valid(text(a, 0)?).into()),
            },
        ),
        row(
            "json_has_key(json, key)",
            "Whether an object has a member of that name",
            ("json_has_key('{\"a\":null}', 'a')", "true"),
            [ANY, TEXT],
            derived(gives_bool),
            |_, a| Ok(member(json(a, 0)?, text(a, 1)?).is_some().into()),
        ),
        row(
            "json_array_get(json, index)",
            "Item of an array as JSON, from 0, negative from the end",
            ("json_array_get('[1,2]', 0)", "1"),
            optional([ANY, INT], 0),
            derived(gives_json),
            |_, a| as_json(element(json(a, 0)?, int(a, 1)?)),
        ),
    ]);
    all
}
fn elements(j: &str, each: impl Fn(&str) -> EvalResult<FieldValue>) -> EvalResult<FieldValue> {
    let Some(elements) = Elements::of(j) else {
        return Err(invalid(format!("cannot take the elements of {}", kind(j))));
    };
    let items: EvalResult<Vec<FieldValue>> = elements.map(each).collect();
    Ok(FieldValue::Array(Arc::new(items?)))
}
fn kind(j: &str) -> &'static str {
    match j.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}
