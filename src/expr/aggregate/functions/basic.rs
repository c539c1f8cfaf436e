//! COUNT, SUM, AVG, MIN, MAX.

use super::super::accumulator::{Inner, IntKind};
use super::super::exact_sum::ExactFloat;
use super::super::extreme::{Sorted, greatest, least};
use super::super::{Accumulator, AggregateCall, AggregateFunction};
use super::row::{keeps, row};
use super::{mean_scale, scale_of};
use crate::expr::ReturnType;
use crate::record::{DataType, FieldValue};

const ANY: DataType = DataType::Null;
const BIGINT: DataType = DataType::BigInt;
const DOUBLE: DataType = DataType::Double;
const DECIMAL: DataType = DataType::Decimal { precision: 28, scale: 0 };

pub(super) fn functions() -> Vec<AggregateFunction> {
    let mut all = counts();
    all.extend(sums());
    all.extend(extremes());
    all
}

fn counts() -> Vec<AggregateFunction> {
    vec![
        row("count(*)", "Number of rows", ("count(*)", "(1), (NULL), (3)", "3"), [], BIGINT, |_, _| {
            Accumulator(Inner::Rows(0))
        }),
        row(
            "count(value)",
            "Number of values that are not NULL",
            ("count(x)", "(1), (NULL), (3)", "2"),
            [ANY],
            BIGINT,
            |_, _| Accumulator(Inner::Values(0)),
        ),
        row(
            "count_if(condition)",
            "Number of rows for which the condition is true",
            ("count_if(x > 1)", "(1), (2), (NULL), (3)", "2"),
            [DataType::Boolean],
            BIGINT,
            |_, _| Accumulator(Inner::Trues(0)),
        ),
    ]
}

fn sums() -> Vec<AggregateFunction> {
    let float = |mean: bool| {
        move |_: &AggregateCall, retracts: bool| {
            if retracts { Accumulator::boxed(ExactFloat::new(mean)) } else { Accumulator::float_sum(mean) }
        }
    };
    vec![
        row(
            "sum(integer)",
            "Sum, a BIGINT; an error if it does not fit",
            ("sum(x)", "(1), (NULL), (3)", "4"),
            [BIGINT],
            BIGINT,
            |_, _| Accumulator::sum(false),
        ),
        row(
            "sum(decimal)",
            "Exact sum with as many digits after the point",
            ("sum(x)", "(1.50), (2.25)", "3.75"),
            [DECIMAL],
            ReturnType::Derived(|types| Ok(decimal_of(types, |s| s))),
            |call, _| Accumulator::decimal_sum(scale_of(&call.value_type()), false),
        ),
        row(
            "sum(double)",
            "Sum in the order of the rows; exact where rows leave again, windows overlap or sessions merge",
            ("sum(x)", "(0.5::double), (0.25)", "0.75"),
            [DOUBLE],
            DOUBLE,
            float(false),
        ),
        row(
            "avg(integer)",
            "Mean as DOUBLE, from the exact sum",
            ("avg(x)", "(1), (NULL), (4)", "2.5"),
            [BIGINT],
            DOUBLE,
            |_, _| Accumulator::sum(true),
        ),
        row(
            "avg(decimal)",
            "Exact mean with six more digits after the point, rounded",
            ("avg(x)", "(1.0), (1.0), (0.0)", "0.6666667"),
            [DECIMAL],
            ReturnType::Derived(|types| Ok(decimal_of(types, mean_scale))),
            |call, _| Accumulator::decimal_sum(scale_of(&call.value_type()), true),
        ),
        row(
            "avg(double)",
            "Mean",
            ("avg(x)", "(0.5::double), (0.25)", "0.375"),
            [DOUBLE],
            DOUBLE,
            float(true),
        ),
    ]
}

fn decimal_of(types: &[DataType], scale: fn(u8) -> u8) -> DataType {
    DataType::Decimal { precision: 28, scale: scale(types.first().map_or(0, scale_of)) }
}

fn extremes() -> Vec<AggregateFunction> {
    let row = |signature, doc, example, max| {
        keeps(row(signature, doc, example, [ANY], ReturnType::Derived(ordered), move |call, retracts| {
            extreme(&call.value_type(), max, retracts)
        }))
    };
    vec![
        row(
            "min(value)",
            "The least value; NaN is the greatest number",
            ("min(x)", "(2), (NULL), (1)", "1"),
            false,
        ),
        row(
            "max(value)",
            "The greatest value; NaN is the greatest number",
            ("max(x)", "('a'), ('b')", "b"),
            true,
        ),
    ]
}

fn extreme(data_type: &DataType, max: bool, retracts: bool) -> Accumulator {
    if retracts {
        return Accumulator::boxed(Sorted::new(if max { greatest } else { least }, Vec::new()));
    }
    let int = |kind| Inner::IntExtreme { least: i64::MAX, seen: false, max, kind };
    Accumulator(match data_type {
        t if t.is_integer() => int(IntKind::Integer),
        DataType::Date => int(IntKind::Date),
        DataType::Time => int(IntKind::Time),
        DataType::Timestamp => int(IntKind::Timestamp),
        t if t.is_float() => Inner::FloatExtreme { best: 0.0, seen: false, max },
        _ => Inner::Extreme { best: FieldValue::Null, max },
    })
}

/// The type of the first argument, if its values have an order.
pub(super) fn ordered(types: &[DataType]) -> Result<DataType, String> {
    let first = types.first().cloned().unwrap_or(ANY);
    if has_order(&first) { Ok(first) } else { Err(format!("values of type {first} have no order")) }
}

/// JSON and MAP have none.
fn has_order(data_type: &DataType) -> bool {
    match data_type {
        DataType::Json | DataType::Map(..) => false,
        DataType::Array(item) => has_order(item),
        DataType::Struct(fields) => fields.iter().all(|f| has_order(&f.data_type)),
        _ => true,
    }
}
