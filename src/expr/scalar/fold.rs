//! Arrays: aggregates over their items, joining to text, splitting text, and ranges.

use super::args::{any, array, float, int, int_or, invalid, overflow, text, within_limit};
use super::array::{any_array, array_of};
use super::datetime::{INTERVAL, TIMESTAMP, interval, timestamp};
use super::row::{ANY, DOUBLE, INT, TEXT, derived, lenient, optional, row};
use super::values::to_text;
use crate::expr::value::add_interval;
use crate::expr::{Datum, EvalResult, FunctionSpec, compare};
use crate::record::{CompactString, DataType, Decimal, FieldValue};

/// Most items that a function makes out of numbers.
const MAX_ITEMS: usize = 1 << 20;

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = folds();
    all.extend(texts());
    all.extend(ranges());
    all
}

fn item(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(DataType::Array(item)) => Ok((**item).clone()),
        _ => Ok(DataType::Null),
    }
}
fn sum_type(types: &[DataType]) -> Result<DataType, String> {
    match item(types)? {
        t if t.is_integer() => Ok(INT),
        DataType::Decimal { scale, .. } => Ok(DataType::Decimal { precision: 28, scale }),
        t if t.is_float() => Ok(DOUBLE),
        DataType::Null => Ok(DataType::Null),
        t => Err(format!("the items must be numbers, not {t}")),
    }
}
fn average_type(types: &[DataType]) -> Result<DataType, String> {
    sum_type(types).map(|_| DOUBLE)
}

fn folds() -> Vec<FunctionSpec> {
    let extreme = |args: &[Datum<'_>], better: std::cmp::Ordering| -> EvalResult<FieldValue> {
        let mut best = &FieldValue::Null;
        for v in array(args, 0)?.iter().filter(|v| !v.is_null()) {
            if best.is_null() || compare(v, best) == Some(better) {
                best = v;
            }
        }
        Ok(best.clone())
    };
    vec![
        row(
            "array_min(array)",
            "Smallest item that is not NULL",
            ("array_min(ARRAY[3, NULL, 1])", "1"),
            [any_array()],
            derived(item),
            move |_, a| extreme(a, std::cmp::Ordering::Less),
        ),
        row(
            "array_max(array)",
            "Largest item that is not NULL",
            ("array_max(ARRAY[3, NULL, 1])", "3"),
            [any_array()],
            derived(item),
            move |_, a| extreme(a, std::cmp::Ordering::Greater),
        ),
        row(
            "array_sum(array)",
            "Sum of the items that are not NULL; NULL if there are none",
            ("array_sum(ARRAY[1.5, NULL, 2.25])", "3.75"),
            [any_array()],
            derived(sum_type),
            |_, a| sum(array(a, 0)?),
        ),
        row(
            "array_avg(array)",
            "Average of the items that are not NULL, as DOUBLE; NULL if there are none",
            ("array_avg(ARRAY[1, 2, NULL])", "1.5"),
            [any_array()],
            derived(average_type),
            |_, a| {
                let items = array(a, 0)?;
                let n = items.iter().filter(|v| !v.is_null()).count();
                match sum(items)? {
                    FieldValue::Null => Ok(FieldValue::Null),
                    total => Ok(FieldValue::Float(float(&[Datum::Own(total)], 0)? / n as f64)),
                }
            },
        ),
    ]
}
fn sum(items: &[FieldValue]) -> EvalResult<FieldValue> {
    let out_of_range = || overflow("the sum is out of range");
    let mut total = FieldValue::Null;
    for v in items {
        total = match (total, v) {
            (total, FieldValue::Null) => total,
            (FieldValue::Null, v) => v.clone(),
            (FieldValue::Integer(a), FieldValue::Integer(b)) => {
                a.checked_add(*b).ok_or_else(out_of_range)?.into()
            }
            (FieldValue::Float(a), FieldValue::Float(b)) => (a + b).into(),
            (FieldValue::Decimal(a), FieldValue::Decimal(b)) => {
                Decimal::checked_add(a, *b).ok_or_else(out_of_range)?.into()
            }
            (_, other) => return Err(invalid(format!("cannot add {}", other.data_type()))),
        };
    }
    Ok(total)
}

fn texts() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        (
            "array_to_string(array, separator [, null])",
            ("array_to_string(ARRAY[1, 2, NULL, 4], ',', '*')", "1,2,*,4"),
        ),
        ("array_join(array, separator [, null])", ("array_join(ARRAY['a', NULL, 'b'], '-')", "a-b")),
    ] {
        all.push(lenient(row(
            signature,
            "Items as text with a separator between them; NULLs left out, or shown as said",
            example,
            optional([any_array(), TEXT, TEXT], 1),
            TEXT,
            |_, a| {
                if any(a, 0).is_null() || any(a, 1).is_null() {
                    return Ok(FieldValue::Null);
                }
                let (separator, shown) = (text(a, 1)?, any(a, 2).as_str());
                let mut out = CompactString::default();
                let mut first = true;
                for v in array(a, 0)?.iter() {
                    let piece = match (v, shown) {
                        (FieldValue::Null, None) => continue,
                        (FieldValue::Null, Some(shown)) => shown.into(),
                        (v, _) => to_text(v),
                    };
                    if !std::mem::take(&mut first) {
                        out.push_str(separator);
                    }
                    out.push_str(&piece);
                    within_limit(out.len())?;
                }
                Ok(out.into())
            },
        )));
    }
    for (signature, example) in [
        (
            "string_to_array(text, delimiter [, null])",
            ("string_to_array('xx~~yy~~zz', '~~', 'yy')", "[\"xx\",null,\"zz\"]"),
        ),
        ("split(text, delimiter)", ("split('a,b', ',')", "[\"a\",\"b\"]")),
        ("string_split(text, delimiter)", ("string_split('a b', ' ')", "[\"a\",\"b\"]")),
    ] {
        let arity = if signature.contains("null") {
            optional([TEXT, TEXT, TEXT], 1)
        } else {
            optional([TEXT, TEXT], 0)
        };
        all.push(lenient(row(
            signature,
            "The fields between the delimiters; single characters if it is NULL",
            example,
            arity,
            DataType::array(TEXT),
            |_, a| {
                let (whole, null) = (any(a, 0), any(a, 2).as_str());
                let Some(s) = whole.as_str() else { return Ok(FieldValue::Null) };
                let field = |part: &str| if null == Some(part) { FieldValue::Null } else { part.into() };
                array_of(match any(a, 1).as_str() {
                    _ if s.is_empty() => Vec::new(),
                    None => s.chars().map(|c| field(c.encode_utf8(&mut [0; 4]))).collect(),
                    Some("") => vec![field(s)],
                    Some(delimiter) => s.split(delimiter).map(field).collect(),
                })
            },
        )));
    }
    all
}

fn ranges() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "range(end)",
            "Integers from 0 up to before the end",
            ("range(3)", "[0,1,2]"),
            [INT],
            DataType::array(INT),
            |_, a| numbers(0, int(a, 0)?, 1, End::Excluded),
        ),
        row(
            "range(start, end [, step])",
            "Integers from the start up to before the end",
            ("range(1, 10, 3)", "[1,4,7]"),
            optional([INT, INT, INT], 1),
            DataType::array(INT),
            |_, a| numbers(int(a, 0)?, int(a, 1)?, int_or(a, 2, 1)?, End::Excluded),
        ),
    ];
    for (signature, example, of_times, times_example) in [
        (
            "sequence(start, end [, step])",
            ("sequence(1, 3)", "[1,2,3]"),
            "sequence(start, end, step)",
            ("cardinality(sequence(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '6' HOUR))", "5"),
        ),
        (
            "generate_array(start, end [, step])",
            ("generate_array(5, 1, -2)", "[5,3,1]"),
            "generate_array(start, end, step)",
            ("cardinality(generate_array(DATE '2026-01-01', DATE '2026-03-01', INTERVAL '1' MONTH))", "3"),
        ),
    ] {
        all.push(row(
            signature,
            "Integers from the start to the end, both included",
            example,
            optional([INT, INT, INT], 1),
            DataType::array(INT),
            |_, a| numbers(int(a, 0)?, int(a, 1)?, int_or(a, 2, 1)?, End::Included),
        ));
        all.push(row(
            of_times,
            "Timestamps from the start to the end, both included",
            times_example,
            [TIMESTAMP, TIMESTAMP, INTERVAL],
            DataType::array(TIMESTAMP),
            |_, a| {
                let (mut at, end, step) = (timestamp(a, 0)?, timestamp(a, 1)?, interval(a, 2)?);
                let up = add_interval(at, step)? > at;
                if add_interval(at, step)? == at {
                    return Err(invalid("step size cannot equal zero"));
                }
                let mut items = Vec::new();
                while if up { at <= end } else { at >= end } {
                    items.push(FieldValue::Timestamp(at));
                    bounded(items.len())?;
                    at = add_interval(at, step)?;
                }
                array_of(items)
            },
        ));
    }
    all.push(lenient(row(
        "array_repeat(item, count)",
        "An array of so many times the item",
        ("array_repeat('a', 3)", "[\"a\",\"a\",\"a\"]"),
        [ANY, INT],
        derived(|types| Ok(DataType::array(types.first().cloned().unwrap_or(DataType::Null)))),
        |_, a| {
            if any(a, 1).is_null() {
                return Ok(FieldValue::Null);
            }
            let n = usize::try_from(int(a, 1)?.max(0)).unwrap_or(usize::MAX);
            bounded(n)?;
            within_limit(n.saturating_mul(any(a, 0).heap_bytes()))?;
            array_of(vec![any(a, 0).clone(); n])
        },
    )));
    all
}
enum End {
    Excluded,
    Included,
}
fn bounded(items: usize) -> EvalResult<()> {
    if items > MAX_ITEMS {
        return Err(overflow(format!("an array of more than {MAX_ITEMS} items would be made")));
    }
    Ok(())
}
fn numbers(start: i64, end: i64, step: i64, how: End) -> EvalResult<FieldValue> {
    if step == 0 {
        return Err(invalid("step size cannot equal zero"));
    }
    let distance =
        if step > 0 { i128::from(end) - i128::from(start) } else { i128::from(start) - i128::from(end) };
    let last = match how {
        End::Included => distance,
        End::Excluded => distance - 1,
    };
    let n = if last < 0 { 0 } else { last / i128::from(step.unsigned_abs()) + 1 };
    bounded(usize::try_from(n).unwrap_or(usize::MAX))?;
    // No overflow: every item lies between start and end.
    array_of((0..n as i64).map(|i| FieldValue::Integer(start + i * step)).collect())
}
