//! Maps: keys, values, look-up, and making them out of arrays or text. Keys are unique, in order of insertion.

use std::sync::Arc;

use super::args::{any, array, count, invalid, map, text};
use super::array::{any_array, array_of};
use super::row::{ANY, BOOL, INT4, TEXT, derived, optional, row, variadic};
use super::values::same;
use crate::expr::typing::common_type;
use crate::expr::{EvalResult, FunctionSpec, compare_nulls_last};
use crate::record::{CompactString, DataType, Field, FieldValue, StructValue, sorted};

type Entries = Vec<(FieldValue, FieldValue)>;

fn any_map() -> DataType {
    DataType::map(ANY, ANY)
}
fn types_of(t: Option<&DataType>) -> (DataType, DataType) {
    match t {
        Some(DataType::Map(k, v)) => ((**k).clone(), (**v).clone()),
        _ => (DataType::Null, DataType::Null),
    }
}
fn keys(types: &[DataType]) -> Result<DataType, String> {
    Ok(DataType::array(types_of(types.first()).0))
}
fn values(types: &[DataType]) -> Result<DataType, String> {
    Ok(DataType::array(types_of(types.first()).1))
}
fn value(types: &[DataType]) -> Result<DataType, String> {
    key_fits(types)?;
    Ok(types_of(types.first()).1)
}
fn has(types: &[DataType]) -> Result<DataType, String> {
    key_fits(types).map(|()| BOOL)
}
fn without_key(types: &[DataType]) -> Result<DataType, String> {
    key_fits(types)?;
    Ok(types.first().cloned().unwrap_or(DataType::Null))
}
fn key_fits(types: &[DataType]) -> Result<(), String> {
    let key = types.get(1).cloned().unwrap_or(DataType::Null);
    common_type(&[types_of(types.first()).0, key])
        .map(|_| ())
        .map_err(|e| format!("the key does not fit: {}", e.message))
}
fn entries(types: &[DataType]) -> Result<DataType, String> {
    let (k, v) = types_of(types.first());
    Ok(DataType::array(DataType::Struct(vec![Field::new("key", k), Field::new("value", v)])))
}
fn merged(types: &[DataType]) -> Result<DataType, String> {
    match types {
        [first, rest @ ..] if rest.iter().all(|t| t == first || *t == DataType::Null) => Ok(first.clone()),
        _ => Err("the maps must have the same type".into()),
    }
}
fn zipped(types: &[DataType]) -> Result<DataType, String> {
    match types {
        [DataType::Array(k), DataType::Array(v)] => Ok(DataType::Map(k.clone(), v.clone())),
        _ => Ok(DataType::map(TEXT, DataType::Null)),
    }
}
fn from_pairs(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(DataType::Array(item)) => match &**item {
            DataType::Struct(fields) if fields.len() == 2 => match fields.as_slice() {
                [k, v] => Ok(DataType::map(k.data_type.clone(), v.data_type.clone())),
                _ => Err("the items must be STRUCTs of key and value".into()),
            },
            _ => Err("the items must be STRUCTs of key and value".into()),
        },
        _ => Ok(DataType::map(TEXT, DataType::Null)),
    }
}

/// A map of these entries: of equal keys the last value counts, at the place of the first. Sorting an index keeps
/// this n log n.
fn done(entries: Entries) -> EvalResult<FieldValue> {
    if entries.iter().any(|(k, _)| k.is_null()) {
        return Err(invalid("a key must not be NULL"));
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    let key = |at: &usize| entries.get(*at).map_or(&FieldValue::Null, |(k, _)| k);
    sorted::sort_by(&mut order, |x, y| compare_nulls_last(key(x), key(y)));
    let mut kept: Vec<(usize, usize)> = Vec::with_capacity(entries.len());
    for run in order.chunk_by(|x, y| compare_nulls_last(key(x), key(y)).is_eq()) {
        // The sort is stable, so a run is in order of insertion.
        kept.extend(run.first().copied().zip(run.last().copied()));
    }
    if kept.len() == entries.len() {
        return Ok(FieldValue::Map(Arc::new(entries)));
    }
    kept.sort_unstable();
    let entry = |(first, last): &(usize, usize)| {
        Some((entries.get(*first)?.0.clone(), entries.get(*last)?.1.clone()))
    };
    Ok(FieldValue::Map(Arc::new(kept.iter().filter_map(entry).collect())))
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = looking();
    all.extend(making());
    all
}

fn looking() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "map_keys(map)",
            "Its keys",
            ("map_keys(MAP {'a': 1, 'b': 2})", "[\"a\",\"b\"]"),
            [any_map()],
            derived(keys),
            |_, a| array_of(map(a, 0)?.iter().map(|(k, _)| k.clone()).collect()),
        ),
        row(
            "map_values(map)",
            "Its values",
            ("map_values(MAP {'a': 1, 'b': 2})", "[1,2]"),
            [any_map()],
            derived(values),
            |_, a| array_of(map(a, 0)?.iter().map(|(_, v)| v.clone()).collect()),
        ),
        row(
            "map_entries(map)",
            "An array of STRUCT(key, value)",
            ("map_entries(MAP {'a': 1})", "[{\"key\":\"a\",\"value\":1}]"),
            [any_map()],
            derived(entries),
            |_, a| {
                let names: Arc<[CompactString]> =
                    [CompactString::const_new("key"), CompactString::const_new("value")].into();
                let pair = |(k, v): &(FieldValue, FieldValue)| {
                    FieldValue::Struct(Arc::new(StructValue {
                        names: names.clone(),
                        values: vec![k.clone(), v.clone()],
                    }))
                };
                array_of(map(a, 0)?.iter().map(pair).collect())
            },
        ),
        row(
            "cardinality(map)",
            "Number of entries",
            ("cardinality(MAP {'a': 1})", "1"),
            [any_map()],
            INT4,
            |_, a| count(map(a, 0)?.len()),
        ),
        row(
            "map_size(map)",
            "Number of entries",
            ("map_size(MAP {'a': 1})", "1"),
            [any_map()],
            INT4,
            |_, a| count(map(a, 0)?.len()),
        ),
    ];
    for (signature, example) in [
        ("map_contains_key(map, key)", ("map_contains_key(MAP {'a': 1}, 'a')", "true")),
        ("map_contains(map, key)", ("map_contains(MAP {'a': 1}, 'b')", "false")),
    ] {
        all.push(row(
            signature,
            "Whether there is an entry of that key",
            example,
            [any_map(), ANY],
            derived(has),
            |_, a| Ok(map(a, 0)?.iter().any(|(k, _)| same(k, any(a, 1))).into()),
        ));
    }
    all.push(row(
        "element_at(map, key)",
        "The value of a key; NULL if it is not there",
        ("element_at(MAP {'a': 1, 'b': 2}, 'b')", "2"),
        [any_map(), ANY],
        derived(value),
        |_, a| {
            let found = map(a, 0)?.iter().find(|(k, _)| same(k, any(a, 1)));
            Ok(found.map(|(_, v)| v.clone()).unwrap_or_default())
        },
    ));
    all
}

fn making() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "map_concat(map, …)",
            "All entries; of equal keys the last one counts",
            ("map_concat(MAP {'a': 1}, MAP {'a': 2, 'b': 3})", "{\"a\":2,\"b\":3}"),
            variadic([any_map()]),
            derived(merged),
            |_, a| {
                let mut all: Entries = Vec::new();
                for i in 0..a.len() {
                    for (k, v) in map(a, i)?.iter() {
                        all.push((k.clone(), v.clone()));
                    }
                }
                done(all)
            },
        ),
        row(
            "map_remove(map, key)",
            "Without the entry of that key",
            ("map_remove(MAP {'a': 1, 'b': 2}, 'a')", "{\"b\":2}"),
            [any_map(), ANY],
            derived(without_key),
            |_, a| done(map(a, 0)?.iter().filter(|(k, _)| !same(k, any(a, 1))).cloned().collect()),
        ),
        row(
            "map_from_entries(entries)",
            "A map out of an array of STRUCT(key, value)",
            ("map_from_entries(ARRAY[STRUCT('a' AS key, 1 AS value)])", "{\"a\":1}"),
            [any_array()],
            derived(from_pairs),
            |_, a| {
                let mut all: Entries = Vec::new();
                for item in array(a, 0)?.iter() {
                    match item {
                        FieldValue::Struct(s) => match s.values.as_slice() {
                            [k, v] => all.push((k.clone(), v.clone())),
                            _ => return Err(invalid("an entry must have a key and a value")),
                        },
                        _ => return Err(invalid("an entry must not be NULL")),
                    }
                }
                done(all)
            },
        ),
        row(
            "str_to_map(text [, delimiter [, assign]])",
            "A map out of text such as a=1,b=2",
            ("str_to_map('a=1,b=2')", "{\"a\":\"1\",\"b\":\"2\"}"),
            optional([TEXT, TEXT, TEXT], 2),
            DataType::map(TEXT, TEXT),
            |_, a| {
                let delimiter = if a.len() > 1 { text(a, 1)? } else { "," };
                let assign = if a.len() > 2 { text(a, 2)? } else { "=" };
                if delimiter.is_empty() || assign.is_empty() {
                    return Err(invalid("a delimiter must not be empty"));
                }
                let mut all: Entries = Vec::new();
                for pair in text(a, 0)?.split(delimiter).filter(|pair| !pair.is_empty()) {
                    let (k, v) = match pair.split_once(assign) {
                        Some((k, v)) => (k, v.into()),
                        None => (pair, FieldValue::Null),
                    };
                    all.push((k.into(), v));
                }
                done(all)
            },
        ),
    ];
    for (signature, example) in [
        (
            "map_from_arrays(keys, values)",
            ("map_from_arrays(ARRAY['a', 'b'], ARRAY[1, 2])", "{\"a\":1,\"b\":2}"),
        ),
        ("map(keys, values)", ("map(ARRAY['a'], ARRAY[1])", "{\"a\":1}")),
    ] {
        all.push(row(
            signature,
            "A map out of an array of keys and one of values",
            example,
            [any_array(), any_array()],
            derived(zipped),
            |_, a| {
                let (keys, values) = (array(a, 0)?, array(a, 1)?);
                if keys.len() != values.len() {
                    return Err(invalid(format!("{} keys, but {} values", keys.len(), values.len())));
                }
                let mut all: Entries = Vec::with_capacity(keys.len());
                for (k, v) in keys.iter().zip(values.iter()) {
                    all.push((k.clone(), v.clone()));
                }
                done(all)
            },
        ));
    }
    all
}
