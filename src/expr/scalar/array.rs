//! Arrays: length, search, change, cut. Positions count from 1; an item that is NULL equals NULL.

use std::cmp::Ordering;
use std::sync::Arc;

use super::args::{any, array, count, int, int_or, invalid, text};
use super::row::{ANY, BOOL, INT, INT4, derived, lenient, optional, row, variadic};
use super::values::same;
use crate::expr::typing::common_type;
use crate::expr::{Datum, EvalResult, FunctionSpec, ReturnType, compare_nulls_last};
use crate::record::{DataType, FieldValue, sorted};

/// A parameter that takes an array of anything.
pub(super) fn any_array() -> DataType {
    DataType::array(ANY)
}
pub(super) fn array_of(items: Vec<FieldValue>) -> EvalResult<FieldValue> {
    Ok(FieldValue::Array(Arc::new(items)))
}
fn item_type(t: &DataType) -> DataType {
    match t {
        DataType::Array(item) => (**item).clone(),
        _ => DataType::Null,
    }
}
/// Fails unless the two types are one kind of value: nothing is cast inside of an array.
fn one_kind(a: &DataType, b: &DataType) -> Result<DataType, String> {
    let whole = |t: &DataType| t.is_integer();
    let exact = |t: &DataType| matches!(t, DataType::Decimal { .. });
    let float = |t: &DataType| t.is_float();
    let alike = a == b
        || *a == DataType::Null
        || *b == DataType::Null
        || [whole, exact, float].iter().any(|kind| kind(a) && kind(b))
        || matches!((a, b), (DataType::Array(_), DataType::Array(_)));
    let common = common_type(&[a.clone(), b.clone()]).map_err(|e| e.message)?;
    if alike {
        Ok(common)
    } else {
        Err(format!("an item of type {b} does not fit ARRAY<{a}>; CAST one of them"))
    }
}
fn array_and_item(types: &[DataType]) -> Result<DataType, String> {
    let [list, item] = types else { return Err("two arguments are needed".into()) };
    one_kind(&item_type(list), item).map(DataType::array)
}
fn item_and_array(types: &[DataType]) -> Result<DataType, String> {
    let [item, list] = types else { return Err("two arguments are needed".into()) };
    one_kind(&item_type(list), item).map(DataType::array)
}
fn two_arrays(types: &[DataType]) -> Result<DataType, String> {
    let mut sum = DataType::Null;
    for t in types {
        sum = one_kind(&sum, &item_type(t))?;
    }
    Ok(DataType::array(sum))
}
fn comparable(types: &[DataType]) -> Result<(), String> {
    match types {
        [list, item, ..] => common_type(&[item_type(list), item.clone()]).map(|_| ()).map_err(|e| e.message),
        _ => Err("two arguments are needed".into()),
    }
}
fn found(types: &[DataType]) -> Result<DataType, String> {
    comparable(types).map(|()| INT4)
}
fn contained(types: &[DataType]) -> Result<DataType, String> {
    comparable(types).map(|()| BOOL)
}
fn positions(types: &[DataType]) -> Result<DataType, String> {
    comparable(types).map(|()| DataType::array(INT4))
}
fn item_of(types: &[DataType]) -> Result<DataType, String> {
    Ok(types.first().map_or(DataType::Null, item_type))
}
const SAME: ReturnType = ReturnType::SameAs(0);

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = lengths();
    all.extend(searching());
    all.extend(changing());
    all.extend(cutting());
    all.extend(sets());
    all
}

fn lengths() -> Vec<FunctionSpec> {
    let dimension = |args: &[Datum<'_>]| -> EvalResult<bool> { Ok(int_or(args, 1, 1)? == 1) };
    vec![
        row(
            "array_length(array [, dimension])",
            "Number of items; NULL of an empty array and of other dimensions than 1, as in PostgreSQL",
            ("array_length(ARRAY[1, 2, 3], 1)", "3"),
            optional([any_array(), INT], 1),
            INT4,
            move |_, a| {
                let n = array(a, 0)?.len();
                if n == 0 || !dimension(a)? { Ok(FieldValue::Null) } else { count(n) }
            },
        ),
        row(
            "array_upper(array, dimension)",
            "Last position; NULL of an empty array",
            ("array_upper(ARRAY[1, 2, 3], 1)", "3"),
            [any_array(), INT],
            INT4,
            move |_, a| {
                let n = array(a, 0)?.len();
                if n == 0 || !dimension(a)? { Ok(FieldValue::Null) } else { count(n) }
            },
        ),
        row(
            "array_lower(array, dimension)",
            "First position, always 1; NULL of an empty array",
            ("array_lower(ARRAY[1, 2, 3], 1)", "1"),
            [any_array(), INT],
            INT4,
            move |_, a| {
                if array(a, 0)?.is_empty() || !dimension(a)? { Ok(FieldValue::Null) } else { count(1) }
            },
        ),
        row(
            "cardinality(array)",
            "Number of items",
            ("cardinality(ARRAY['a', NULL])", "2"),
            [any_array()],
            INT4,
            |_, a| count(array(a, 0)?.len()),
        ),
        row(
            "array_size(array)",
            "Number of items",
            ("array_size(ARRAY['a', NULL])", "2"),
            [any_array()],
            INT4,
            |_, a| count(array(a, 0)?.len()),
        ),
    ]
}

fn searching() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("array_contains(array, item)", ("array_contains(ARRAY[1, 2, 3], 2)", "true")),
        ("array_has(array, item)", ("array_has(ARRAY['a', 'b'], 'c')", "false")),
        ("list_contains(array, item)", ("list_contains(ARRAY[1, 2], 1)", "true")),
    ] {
        all.push(row(
            signature,
            "Whether an item equals it",
            example,
            [any_array(), ANY],
            derived(contained),
            |_, a| {
                let item = any(a, 1);
                Ok(array(a, 0)?.iter().any(|v| same(v, item)).into())
            },
        ));
    }
    all.extend([
        lenient(row(
            "array_position(array, item [, from])",
            "First position of the item at or after one; NULL if it is not there",
            ("array_position(ARRAY['sun', 'mon', 'tue'], 'mon')", "2"),
            optional([any_array(), ANY, INT], 1),
            derived(found),
            |_, a| {
                if any(a, 0).is_null() {
                    return Ok(FieldValue::Null);
                }
                let skip = usize::try_from(int_or(a, 2, 1)?.saturating_sub(1)).unwrap_or(0);
                let at = array(a, 0)?.iter().skip(skip).position(|v| same(v, any(a, 1)));
                at.map_or(Ok(FieldValue::Null), |at| count(at + skip + 1))
            },
        )),
        lenient(row(
            "array_positions(array, item)",
            "All positions of the item",
            ("array_positions(ARRAY['A', 'B', 'A'], 'A')", "[1,3]"),
            [any_array(), ANY],
            derived(positions),
            |_, a| {
                if any(a, 0).is_null() {
                    return Ok(FieldValue::Null);
                }
                let hits = array(a, 0)?.iter().enumerate().filter(|(_, v)| same(v, any(a, 1)));
                array_of(hits.map(|(i, _)| FieldValue::Integer(i as i64 + 1)).collect())
            },
        )),
    ]);
    all
}

fn changing() -> Vec<FunctionSpec> {
    let mut all = vec![
        lenient(row(
            "array_append(array, item)",
            "With an item at the end",
            ("array_append(ARRAY[1, 2], 3)", "[1,2,3]"),
            [any_array(), ANY],
            derived(array_and_item),
            |_, a| {
                let mut items = items_or_none(a, 0)?;
                items.push(any(a, 1).clone());
                array_of(items)
            },
        )),
        lenient(row(
            "array_prepend(item, array)",
            "With an item at the start",
            ("array_prepend(1, ARRAY[2, 3])", "[1,2,3]"),
            [ANY, any_array()],
            derived(item_and_array),
            |_, a| {
                let mut items = items_or_none(a, 1)?;
                items.insert(0, any(a, 0).clone());
                array_of(items)
            },
        )),
        lenient(row(
            "array_remove(array, item)",
            "Without the items that equal it",
            ("array_remove(ARRAY[1, 2, 3, 2], 2)", "[1,3]"),
            [any_array(), ANY],
            derived(array_and_item),
            |_, a| {
                if any(a, 0).is_null() {
                    return Ok(FieldValue::Null);
                }
                array_of(array(a, 0)?.iter().filter(|v| !same(v, any(a, 1))).cloned().collect())
            },
        )),
        lenient(row(
            "array_replace(array, from, to)",
            "With every item that equals one replaced by another",
            ("array_replace(ARRAY[1, 2, 5, 4], 5, 3)", "[1,2,3,4]"),
            [any_array(), ANY, ANY],
            derived(|t| match t {
                [list, from, to] => {
                    comparable(&[list.clone(), from.clone()])?;
                    one_kind(&item_type(list), to).map(DataType::array)
                }
                _ => Err("three arguments are needed".into()),
            }),
            |_, a| {
                if any(a, 0).is_null() {
                    return Ok(FieldValue::Null);
                }
                let (from, to) = (any(a, 1), any(a, 2));
                array_of(
                    array(a, 0)?.iter().map(|v| if same(v, from) { to.clone() } else { v.clone() }).collect(),
                )
            },
        )),
        row(
            "array_distinct(array)",
            "Each item once, in the order of its first occurrence",
            ("array_distinct(ARRAY[2, 1, 2])", "[2,1]"),
            [any_array()],
            SAME,
            |_, a| array_of(distinct(array(a, 0)?.iter())),
        ),
        row(
            "array_compact(array)",
            "Without the items that are NULL",
            ("array_compact(ARRAY[1, NULL, 2])", "[1,2]"),
            [any_array()],
            SAME,
            |_, a| array_of(array(a, 0)?.iter().filter(|v| !v.is_null()).cloned().collect()),
        ),
        row(
            "array_sort(array [, order])",
            "In ascending order, or 'DESC'; NULLs last",
            ("array_sort(ARRAY[3, 1, NULL, 2])", "[1,2,3,null]"),
            optional([any_array(), super::row::TEXT], 1),
            SAME,
            |_, a| {
                let descending = match if a.len() > 1 { text(a, 1)? } else { "asc" } {
                    o if o.eq_ignore_ascii_case("asc") => false,
                    o if o.eq_ignore_ascii_case("desc") => true,
                    other => return Err(invalid(format!("the order is 'ASC' or 'DESC', not '{other}'"))),
                };
                let mut items = array(a, 0)?.to_vec();
                sorted::sort_by(&mut items, |x, y| {
                    if descending && !x.is_null() && !y.is_null() {
                        compare_nulls_last(y, x)
                    } else {
                        compare_nulls_last(x, y)
                    }
                });
                array_of(items)
            },
        ),
        row(
            "array_reverse(array)",
            "In reverse order",
            ("array_reverse(ARRAY[1, 2, 3])", "[3,2,1]"),
            [any_array()],
            SAME,
            |_, a| array_of(array(a, 0)?.iter().rev().cloned().collect()),
        ),
        row(
            "flatten(array)",
            "The items of the items, which are arrays",
            ("flatten(ARRAY[ARRAY[1, 2], ARRAY[3]])", "[1,2,3]"),
            [DataType::array(any_array())],
            derived(item_of),
            |_, a| {
                let mut all = Vec::new();
                for inner in array(a, 0)?.iter() {
                    match inner {
                        FieldValue::Array(items) => all.extend(items.iter().cloned()),
                        FieldValue::Null => {}
                        other => {
                            return Err(invalid(format!(
                                "an item must be an ARRAY, not {}",
                                other.data_type()
                            )));
                        }
                    }
                }
                array_of(all)
            },
        ),
    ];
    for (signature, example) in [
        ("array_cat(array, …)", ("array_cat(ARRAY[1, 2], ARRAY[3])", "[1,2,3]")),
        ("array_concat(array, …)", ("array_concat(ARRAY[1], ARRAY[2], ARRAY[3])", "[1,2,3]")),
    ] {
        all.push(lenient(row(
            signature,
            "All arrays one after the other; NULL counts as empty",
            example,
            variadic([any_array()]),
            derived(two_arrays),
            |_, a| {
                if a.iter().all(|v| v.is_null()) {
                    return Ok(FieldValue::Null);
                }
                let mut items = Vec::new();
                for i in 0..a.len() {
                    items.extend(items_or_none(a, i)?);
                }
                array_of(items)
            },
        )));
    }
    all
}
/// A NULL array counts as empty here, as in PostgreSQL.
fn items_or_none(args: &[Datum<'_>], at: usize) -> EvalResult<Vec<FieldValue>> {
    if any(args, at).is_null() { Ok(Vec::new()) } else { Ok(array(args, at)?.to_vec()) }
}
/// Each value once. Sorting an index keeps this n log n, and needs no hash that agrees with SQL equality.
pub(super) fn distinct<'v>(values: impl Iterator<Item = &'v FieldValue>) -> Vec<FieldValue> {
    let values: Vec<&FieldValue> = values.collect();
    let mut order: Vec<(usize, &FieldValue)> = values.iter().copied().enumerate().collect();
    sorted::sort_by(&mut order, |x, y| compare_nulls_last(x.1, y.1));
    order.dedup_by(|later, earlier| compare_nulls_last(later.1, earlier.1) == Ordering::Equal);
    sorted::sort_by_key(&mut order, |(at, _)| *at);
    order.into_iter().map(|(_, v)| v.clone()).collect()
}

fn cutting() -> Vec<FunctionSpec> {
    vec![
        row(
            "array_slice(array, from, to)",
            "Items from one position to another, both included; negative ones count from the end",
            ("array_slice(ARRAY[1, 2, 3, 4], 2, 3)", "[2,3]"),
            [any_array(), INT, INT],
            SAME,
            |_, a| {
                let items = array(a, 0)?;
                let n = items.len() as i64;
                let place = |at: i64| if at < 0 { n.saturating_add(at).saturating_add(1) } else { at };
                let (from, to) = (place(int(a, 1)?).max(1), place(int(a, 2)?).min(n));
                let range = usize::try_from(from - 1).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(0);
                array_of(items.get(range).unwrap_or(&[]).to_vec())
            },
        ),
        row(
            "trim_array(array, n)",
            "Without the last n items",
            ("trim_array(ARRAY[1, 2, 3, 4], 2)", "[1,2]"),
            [any_array(), INT],
            SAME,
            |_, a| {
                let items = array(a, 0)?;
                let kept = usize::try_from(int(a, 1)?).ok().and_then(|n| items.len().checked_sub(n));
                match kept.and_then(|kept| items.get(..kept)) {
                    Some(kept) => array_of(kept.to_vec()),
                    None => Err(invalid(format!(
                        "number of elements to trim must be between 0 and {}",
                        items.len()
                    ))),
                }
            },
        ),
        row(
            "array_first(array)",
            "The first item; NULL of an empty array",
            ("array_first(ARRAY[5, 6])", "5"),
            [any_array()],
            derived(item_of),
            |_, a| Ok(array(a, 0)?.first().cloned().unwrap_or_default()),
        ),
        row(
            "array_last(array)",
            "The last item; NULL of an empty array",
            ("array_last(ARRAY[5, 6])", "6"),
            [any_array()],
            derived(item_of),
            |_, a| Ok(array(a, 0)?.last().cloned().unwrap_or_default()),
        ),
        row(
            "element_at(array, position)",
            "The item at a position, negative from the end; NULL outside",
            ("element_at(ARRAY['a', 'b'], -1)", "b"),
            [any_array(), INT],
            derived(item_of),
            |_, a| {
                let (items, at) = (array(a, 0)?, int(a, 1)?);
                let index = if at < 0 { (items.len() as i64).checked_add(at) } else { at.checked_sub(1) };
                Ok(index.and_then(|i| items.get(usize::try_from(i).ok()?)).cloned().unwrap_or_default())
            },
        ),
    ]
}

fn sorted(items: &[FieldValue]) -> Vec<&FieldValue> {
    let mut items: Vec<&FieldValue> = items.iter().collect();
    sorted::sort_by(&mut items, |x, y| compare_nulls_last(x, y));
    items
}
fn has(sorted: &[&FieldValue], v: &FieldValue) -> bool {
    sorted.binary_search_by(|o| compare_nulls_last(o, v)).is_ok()
}
/// Keeps the items of the first array for which `keep` says so, given whether the second has them.
fn filtered(args: &[Datum<'_>], keep: fn(bool) -> bool) -> EvalResult<FieldValue> {
    let other = sorted(array(args, 1)?);
    let has = |v: &FieldValue| has(&other, v);
    array_of(distinct(array(args, 0)?.iter().filter(|v| keep(has(v)))))
}
fn sets() -> Vec<FunctionSpec> {
    let both = || [any_array(), any_array()];
    let overlap = |types: &[DataType]| two_arrays(types).map(|_| BOOL);
    vec![
        row(
            "array_union(a, b)",
            "Items of either, each once",
            ("array_union(ARRAY[1, 2], ARRAY[2, 3])", "[1,2,3]"),
            both(),
            derived(two_arrays),
            |_, a| array_of(distinct(array(a, 0)?.iter().chain(array(a, 1)?.iter()))),
        ),
        row(
            "array_intersect(a, b)",
            "Items of both, each once",
            ("array_intersect(ARRAY[1, 2], ARRAY[2, 3])", "[2]"),
            both(),
            derived(two_arrays),
            |_, a| filtered(a, |has| has),
        ),
        row(
            "array_except(a, b)",
            "Items of the first that are not in the second, each once",
            ("array_except(ARRAY[1, 2], ARRAY[2, 3])", "[1]"),
            both(),
            derived(two_arrays),
            |_, a| filtered(a, |has| !has),
        ),
        row(
            "arrays_overlap(a, b)",
            "Whether they have an item in common that is not NULL",
            ("arrays_overlap(ARRAY[1, 2], ARRAY[2, 3])", "true"),
            both(),
            derived(overlap),
            |_, a| {
                let other = sorted(array(a, 1)?);
                Ok(array(a, 0)?.iter().any(|v| !v.is_null() && has(&other, v)).into())
            },
        ),
        row(
            "array_contains_all(a, b)",
            "Whether the first has every item of the second",
            ("array_contains_all(ARRAY[1, 2, 3], ARRAY[2, 3])", "true"),
            both(),
            derived(overlap),
            |_, a| {
                let whole = sorted(array(a, 0)?);
                Ok(array(a, 1)?.iter().all(|v| has(&whole, v)).into())
            },
        ),
    ]
}
