//! Aggregates of values of any type: lists, first and last, ranks, bits, truth, sketches.

use super::super::accumulator::{BitOp, Inner};
use super::super::collect::{self, Beside, Collected, Gathering};
use super::super::extreme::{Reading, Sorted};
use super::super::moments::as_double;
use super::super::sketch::{DdSketch, HyperLogLog};
use super::super::{Accumulator, AggregateCall, AggregateFunction, Retraction, rank};
use super::basic::ordered;
use super::row::{Example, keeps, row};
use crate::expr::{Expr, ReturnType, fold};
use crate::record::{DataType, FieldValue};

const ANY: DataType = DataType::Null;
const BIGINT: DataType = DataType::BigInt;
const DOUBLE: DataType = DataType::Double;
const TEXT: DataType = DataType::Varchar;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let mut all = lists();
    all.extend(ends());
    all.extend(ranks());
    all.extend(logic());
    all.extend(sketches());
    all
}

/// The same function, whose result depends on the order of rows, and which sees NULL if `nulls`.
fn in_order(mut function: AggregateFunction, nulls: bool) -> AggregateFunction {
    function.ordered = true;
    function.skips_null = !nulls;
    keeps(function)
}

fn list(gathering: Gathering) -> impl Fn(&AggregateCall, bool) -> Accumulator {
    move |call: &AggregateCall, _: bool| Accumulator::boxed(Collected::new(call.args.len(), gathering))
}

fn lists() -> Vec<AggregateFunction> {
    let item = ReturnType::Derived(|t| Ok(DataType::array(t.first().cloned().unwrap_or(ANY))));
    let text = |signature, example| {
        in_order(
            row(
                signature,
                "The texts that are not NULL, joined",
                example,
                [TEXT, TEXT],
                TEXT,
                list(collect::to_text),
            ),
            false,
        )
    };
    vec![
        in_order(
            row(
                "array_agg(value)",
                "ARRAY of the values, NULL included",
                ("array_agg(x ORDER BY x DESC)", "(1), (NULL), (3)", "[3,1,null]"),
                [ANY],
                item,
                list(collect::to_array),
            ),
            true,
        ),
        text(
            "string_agg(text, delimiter)",
            ("string_agg(x, ', ' ORDER BY x)", "('b'), ('a'), (NULL)", "a, b"),
        ),
        text("listagg(text, delimiter)", ("listagg(x, '-')", "('b'), ('a')", "b-a")),
        in_order(
            row(
                "string_agg(bytes, delimiter)",
                "The byte strings that are not NULL, joined",
                ("string_agg(x::bytea, '-'::bytea)", "('a'), ('b')", "\\x612d62"),
                [DataType::Bytes, DataType::Bytes],
                DataType::Bytes,
                list(collect::to_bytes),
            ),
            false,
        ),
        in_order(
            row(
                "json_agg(value)",
                "JSON array of the values, NULL included",
                ("json_agg(x)", "('a'), (NULL)", "[\"a\",null]"),
                [ANY],
                DataType::Json,
                list(collect::to_json),
            ),
            true,
        ),
        in_order(
            row(
                "json_object_agg(name, value)",
                "JSON object of the pairs",
                ("json_object_agg(x, y)", "('a', 1), ('b', NULL)", "{\"a\":1,\"b\":null}"),
                [ANY, ANY],
                DataType::Json,
                list(collect::to_json_object),
            ),
            true,
        ),
    ]
}

fn ends() -> Vec<AggregateFunction> {
    let end = |signature, doc, example: Example, last, skip| {
        let make = move |_: &AggregateCall, _: bool| {
            Accumulator(Inner::End { value: FieldValue::Null, seen: false, last, skip })
        };
        in_order(row(signature, doc, example, [ANY], ReturnType::SameAs(0), make), !skip)
    };
    let beside = |signature, doc, example: Example, max| {
        let returns = ReturnType::Derived(|types: &[DataType]| {
            ordered(types.get(1..).unwrap_or_default())?;
            Ok(types.first().cloned().unwrap_or(ANY))
        });
        in_order(
            row(signature, doc, example, [ANY, ANY], returns, move |_, _| {
                Accumulator::boxed(Beside::new(max))
            }),
            true,
        )
    };
    let (least, most) = (
        "Value of the row with the least key; the first of several",
        "Value of the row with the greatest key; the first of several",
    );
    let rows = "('a', 2), ('b', 1), ('c', 2)";
    vec![
        end(
            "first_value(value)",
            "Value of the first row",
            ("first_value(x)", "(3), (1), (2)", "3"),
            false,
            false,
        ),
        end(
            "last_value(value)",
            "Value of the last row",
            ("last_value(x)", "(3), (1), (2)", "2"),
            true,
            false,
        ),
        end(
            "any_value(value)",
            "The first value that is not NULL",
            ("any_value(x)", "(NULL), (1), (2)", "1"),
            false,
            true,
        ),
        beside("arg_min(value, key)", least, ("arg_min(x, y)", rows, "b"), false),
        beside("min_by(value, key)", least, ("min_by(x, y)", rows, "b"), false),
        beside("arg_max(value, key)", most, ("arg_max(x, y)", rows, "a"), true),
        beside("max_by(value, key)", most, ("max_by(x, y)", rows, "a"), true),
    ]
}

/// The constants of a call, and whether WITHIN GROUP orders downwards.
fn constants(call: &AggregateCall) -> Vec<FieldValue> {
    let value = |e: &Expr| match fold(e.clone()) {
        Expr::Literal { value, .. } => value,
        _ => FieldValue::Null,
    };
    let descending = call.order_by.first().is_some_and(|k| k.descending);
    call.args.iter().map(value).chain([FieldValue::Boolean(descending)]).collect()
}

fn sorted(reading: Reading) -> impl Fn(&AggregateCall, bool) -> Accumulator {
    move |call: &AggregateCall, _: bool| {
        let constants = if call.function.within_group { constants(call) } else { Vec::new() };
        Accumulator::boxed(Sorted::new(reading, constants))
    }
}

fn within(mut function: AggregateFunction) -> AggregateFunction {
    function.within_group = true;
    function.constants = true;
    keeps(function)
}

fn ranks() -> Vec<AggregateFunction> {
    let array = || DataType::array(DOUBLE);
    let of_first = || ReturnType::Derived(ordered);
    let arrays_of_first = || ReturnType::Derived(|t| Ok(DataType::array(ordered(t)?)));
    let rows = "(1), (2), (4), (NULL)";
    let cont = "percentile_cont(fraction) WITHIN GROUP (ORDER BY number)";
    let disc = "percentile_disc(fraction) WITHIN GROUP (ORDER BY value)";
    vec![
        keeps(row(
            "median(number)",
            "The middle value, or half-way between the two",
            ("median(x)", "(1), (2), (4), (8)", "3"),
            [DOUBLE],
            DOUBLE,
            |_, _| {
                Accumulator::boxed(Sorted::new(
                    rank::continuous,
                    vec![FieldValue::Float(0.5), FieldValue::Boolean(false)],
                ))
            },
        )),
        within(row(
            cont,
            "The value at that fraction of the order, interpolated",
            ("percentile_cont(0.25) WITHIN GROUP (ORDER BY x)", rows, "1.5"),
            [DOUBLE, DOUBLE],
            DOUBLE,
            sorted(rank::continuous),
        )),
        within(row(
            "percentile_cont(fractions) WITHIN GROUP (ORDER BY number)",
            "The same for each fraction of an ARRAY",
            ("percentile_cont(ARRAY[0.25, 0.5]) WITHIN GROUP (ORDER BY x)", rows, "[1.5,2.0]"),
            [DOUBLE, array()],
            array(),
            sorted(rank::continuous),
        )),
        within(row(
            disc,
            "The first value at or beyond that fraction of the order",
            ("percentile_disc(0.5) WITHIN GROUP (ORDER BY x)", rows, "2"),
            [ANY, DOUBLE],
            of_first(),
            sorted(rank::discrete),
        )),
        within(row(
            "percentile_disc(fractions) WITHIN GROUP (ORDER BY value)",
            "The same for each fraction of an ARRAY",
            ("percentile_disc(ARRAY[0, 1]) WITHIN GROUP (ORDER BY x)", rows, "[1,4]"),
            [ANY, array()],
            arrays_of_first(),
            sorted(rank::discrete),
        )),
        keeps(row(
            "mode(value)",
            "The most frequent value; the least of several",
            ("mode(x)", "(2), (1), (2), (1)", "1"),
            [ANY],
            of_first(),
            sorted(rank::most_frequent),
        )),
        within(row(
            "mode() WITHIN GROUP (ORDER BY value)",
            "The same, as PostgreSQL writes it",
            ("mode() WITHIN GROUP (ORDER BY x DESC)", "(2), (1), (2), (1)", "2"),
            [ANY],
            of_first(),
            sorted(rank::most_frequent),
        )),
        keeps(row(
            "histogram(value)",
            "MAP of each value and how often it is there",
            ("histogram(x)", "('b'), ('a'), ('b')", "{\"a\":1,\"b\":2}"),
            [ANY],
            ReturnType::Derived(|t| Ok(DataType::map(ordered(t)?, BIGINT))),
            sorted(rank::histogram),
        )),
    ]
}

fn logic() -> Vec<AggregateFunction> {
    let logic = |signature, doc, example, all| {
        row(signature, doc, example, [DataType::Boolean], DataType::Boolean, move |_, _| {
            Accumulator(Inner::Logic { trues: 0, falses: 0, all })
        })
    };
    let bits = |signature, doc, example, op| {
        row(signature, doc, example, [BIGINT], ReturnType::SameAs(0), move |_, _| {
            Accumulator(Inner::Bits { bits: 0, n: 0, op })
        })
    };
    vec![
        logic(
            "bool_and(condition)",
            "Whether all values are true",
            ("bool_and(x > 1)", "(1), (2), (NULL)", "false"),
            true,
        ),
        logic(
            "every(condition)",
            "Whether all values are true",
            ("every(x > 0)", "(1), (2), (NULL)", "true"),
            true,
        ),
        logic(
            "bool_or(condition)",
            "Whether any value is true",
            ("bool_or(x > 1)", "(1), (2)", "true"),
            false,
        ),
        keeps(bits(
            "bit_and(integer)",
            "Bits that all values have",
            ("bit_and(x)", "(6), (3)", "2"),
            BitOp::And,
        )),
        keeps(bits("bit_or(integer)", "Bits that any value has", ("bit_or(x)", "(6), (3)", "7"), BitOp::Or)),
        bits(
            "bit_xor(integer)",
            "Bits that an odd number of values has",
            ("bit_xor(x)", "(6), (3)", "5"),
            BitOp::Xor,
        ),
    ]
}

fn sketches() -> Vec<AggregateFunction> {
    let mut distinct = row(
        "approx_count_distinct(value)",
        "Number of distinct values, exact up to 1024, then off by 0.8 % or so (HyperLogLog)",
        ("approx_count_distinct(x)", "(1), (2), (1), (NULL)", "2"),
        [ANY],
        BIGINT,
        |_, _| Accumulator::boxed(HyperLogLog::default()),
    );
    distinct.retraction = Retraction::Impossible;
    let mut percentile = row(
        "approx_percentile(number, fraction)",
        "The value at that fraction of the order, off by 1 % at most (DDSketch)",
        ("approx_percentile(x, 0.5)", "(1), (0), (-5)", "0"),
        [DOUBLE, DOUBLE],
        DOUBLE,
        |call, _| {
            let fraction = constants(call).get(1).and_then(as_double);
            Accumulator::boxed(DdSketch::new(fraction.unwrap_or(f64::NAN)))
        },
    );
    percentile.constants = true;
    vec![distinct, percentile]
}
