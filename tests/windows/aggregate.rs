//! The reference's aggregates: each looks at all rows of its group at once. Also the one spelling of values that is compared.

use std::collections::BTreeSet;

use millstream::FieldValue;

use crate::stream::Row;

/// How the engine's values are written for comparison.
pub fn show(value: &FieldValue) -> String {
    match value {
        FieldValue::Null => "NULL".into(),
        FieldValue::Boolean(b) => b.to_string(),
        FieldValue::Integer(n) => n.to_string(),
        FieldValue::Float(x) => format!("{x:?}"),
        FieldValue::Decimal(d) => d.to_string(),
        FieldValue::String(s) => format!("'{s}'"),
        FieldValue::Timestamp(t) => time(*t),
        FieldValue::Array(list) => array(list.iter().map(show)),
        FieldValue::Struct(fields) => array(fields.values.iter().map(show)),
        other => format!("{other:?}"),
    }
}

pub fn time(micros: i64) -> String {
    format!("@{micros}")
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

pub fn int(value: Option<i64>) -> String {
    value.map_or("NULL".into(), |v| v.to_string())
}

pub fn text(value: Option<&str>) -> String {
    value.map_or("NULL".into(), |v| format!("'{v}'"))
}

/// An integer with the point before its last `scale` digits.
fn decimal(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

/// Rounded half away from zero.
fn divided(n: i128, by: i128) -> i128 {
    let half = if n < 0 { -by } else { by };
    (2 * n + half) / (2 * by)
}

/// An aggregate: how SQL spells it, and its value over the rows of a group, in their order.
#[derive(Clone, Copy)]
pub struct Aggregate {
    pub sql: &'static str,
    pub value: fn(&[&Row]) -> String,
}

fn v(rows: &[&Row]) -> Vec<i64> {
    rows.iter().filter_map(|r| r.v).collect()
}

fn distinct_v(rows: &[&Row]) -> BTreeSet<i64> {
    rows.iter().filter_map(|r| r.v).collect()
}

fn d(rows: &[&Row]) -> Vec<i128> {
    rows.iter().filter_map(|r| r.d.map(i128::from)).collect()
}

fn sum_of(values: impl IntoIterator<Item = i64>) -> Option<i64> {
    values.into_iter().reduce(|a, b| a + b)
}

fn mean(values: &[i64]) -> String {
    let sum: i64 = values.iter().sum();
    if values.is_empty() { "NULL".into() } else { format!("{:?}", sum as f64 / values.len() as f64) }
}

fn median(rows: &[&Row]) -> String {
    let mut sorted = v(rows);
    sorted.sort_unstable();
    match sorted.len() {
        0 => "NULL".into(),
        n => format!("{:?}", (sorted[(n - 1) / 2] + sorted[n / 2]) as f64 / 2.0),
    }
}

/// `id` of the row with the greatest `v`, the first of several.
fn arg_max(rows: &[&Row]) -> Option<i64> {
    let greatest = v(rows).into_iter().max()?;
    rows.iter().find(|r| r.v == Some(greatest)).map(|r| r.id)
}

fn joined_backwards(rows: &[&Row]) -> String {
    let mut sorted: Vec<&&Row> = rows.iter().filter(|r| r.s.is_some()).collect();
    sorted.sort_by_key(|r| std::cmp::Reverse(r.id));
    match sorted.is_empty() {
        true => "NULL".into(),
        false => format!("'{}'", sorted.iter().filter_map(|r| r.s).collect::<Vec<_>>().join("|")),
    }
}

/// NULLs first, equal ones by `id`.
fn ordered(rows: &[&Row]) -> String {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|r| (r.v, r.id));
    if sorted.is_empty() {
        return "NULL".into();
    }
    array(sorted.iter().map(|r| int(r.v)))
}

pub const COUNT: Aggregate = Aggregate { sql: "count(*)", value: |rows| rows.len().to_string() };

/// What depends on the order of rows: they are merged from slices and sessions.
pub const IN_ORDER: [Aggregate; 9] = [
    Aggregate { sql: "first_value(v)", value: |rows| int(rows.first().and_then(|r| r.v)) },
    Aggregate { sql: "last_value(s)", value: |rows| text(rows.last().and_then(|r| r.s)) },
    Aggregate { sql: "any_value(v)", value: |rows| int(v(rows).first().copied()) },
    Aggregate {
        sql: "array_agg(id)",
        value: |rows| match rows.is_empty() {
            true => "NULL".into(),
            false => array(rows.iter().map(|r| r.id.to_string())),
        },
    },
    Aggregate {
        sql: "string_agg(s, '-')",
        value: |rows| match rows.iter().filter_map(|r| r.s).collect::<Vec<_>>() {
            texts if texts.is_empty() => "NULL".into(),
            texts => text(Some(&texts.join("-"))),
        },
    },
    Aggregate { sql: "arg_min(id, d)", value: |rows| int(arg_min(rows)) },
    Aggregate { sql: "CAST(regr_count(x, v) + var_pop(v) AS DECIMAL(28,8))", value: spread },
    Aggregate { sql: "CAST(stddev(v) AS DECIMAL(28,8))", value: deviation },
    Aggregate { sql: "CAST(covar_pop(v, x) + regr_sxx(v, x) AS DECIMAL(28,8))", value: pairs },
];

/// `id` of the row with the least `d`, the first of several.
fn arg_min(rows: &[&Row]) -> Option<i64> {
    let least = d(rows).into_iter().min()?;
    rows.iter().find(|r| r.d.map(i128::from) == Some(least)).map(|r| r.id)
}

/// In two passes. Merged moments differ in their last digits, if at all.
fn squares(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|x| (x - mean) * (x - mean)).sum()
}

fn fixed(value: f64) -> String {
    // No minus before zero.
    let text = format!("{value:.8}");
    if text.trim_start_matches('-').bytes().all(|b| b == b'0' || b == b'.') {
        return text.trim_start_matches('-').to_owned();
    }
    text
}

fn spread(rows: &[&Row]) -> String {
    let pairs = rows.iter().filter(|r| r.x.is_some() && r.v.is_some()).count();
    let values: Vec<f64> = v(rows).into_iter().map(|v| v as f64).collect();
    if values.is_empty() {
        "NULL".into()
    } else {
        fixed(pairs as f64 + squares(&values) / values.len() as f64)
    }
}

fn deviation(rows: &[&Row]) -> String {
    let values: Vec<f64> = v(rows).into_iter().map(|v| v as f64).collect();
    if values.len() < 2 {
        "NULL".into()
    } else {
        fixed((squares(&values) / (values.len() - 1) as f64).sqrt())
    }
}

fn pairs(rows: &[&Row]) -> String {
    let pairs: Vec<(f64, f64)> = rows.iter().filter_map(|r| Some((r.v? as f64, r.x? as f64 / 4.0))).collect();
    let n = pairs.len() as f64;
    if pairs.is_empty() {
        return "NULL".into();
    }
    let (v, x) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let products: f64 = pairs.iter().map(|p| (p.0 - v) * (p.1 - x)).sum();
    let other: f64 = pairs.iter().map(|p| (p.1 - x) * (p.1 - x)).sum();
    fixed(products / n + other)
}

pub const AGGREGATES: [Aggregate; 24] = [
    COUNT,
    Aggregate { sql: "count(v)", value: |rows| v(rows).len().to_string() },
    Aggregate { sql: "sum(v)", value: |rows| int(sum_of(v(rows))) },
    Aggregate { sql: "min(v)", value: |rows| int(v(rows).into_iter().min()) },
    Aggregate { sql: "max(v)", value: |rows| int(v(rows).into_iter().max()) },
    Aggregate { sql: "avg(v)", value: |rows| mean(&v(rows)) },
    Aggregate { sql: "count(DISTINCT v)", value: |rows| distinct_v(rows).len().to_string() },
    Aggregate { sql: "sum(DISTINCT v)", value: |rows| int(sum_of(distinct_v(rows))) },
    Aggregate {
        sql: "count(*) FILTER (WHERE v > 0)",
        value: |rows| rows.iter().filter(|r| r.v > Some(0)).count().to_string(),
    },
    Aggregate {
        sql: "sum(v) FILTER (WHERE s = 'a')",
        value: |rows| int(sum_of(rows.iter().filter(|r| r.s == Some("a")).filter_map(|r| r.v))),
    },
    Aggregate {
        sql: "sum(d)",
        value: |rows| d(rows).into_iter().reduce(|a, b| a + b).map_or("NULL".into(), |s| decimal(s, 2)),
    },
    Aggregate {
        sql: "avg(d)",
        value: |rows| match d(rows) {
            values if values.is_empty() => "NULL".into(),
            values => {
                let sum: i128 = values.iter().sum();
                decimal(divided(sum * 1_000_000, values.len() as i128), 8)
            }
        },
    },
    Aggregate {
        sql: "min(d)",
        value: |rows| d(rows).into_iter().min().map_or("NULL".into(), |d| decimal(d, 2)),
    },
    Aggregate {
        sql: "max(d)",
        value: |rows| d(rows).into_iter().max().map_or("NULL".into(), |d| decimal(d, 2)),
    },
    Aggregate {
        sql: "sum(x)",
        value: |rows| {
            let quarters = rows.iter().filter_map(|r| r.x).reduce(|a, b| a + b);
            quarters.map_or("NULL".into(), |q| format!("{:?}", q as f64 / 4.0))
        },
    },
    Aggregate { sql: "min(s)", value: |rows| text(rows.iter().filter_map(|r| r.s).min()) },
    Aggregate { sql: "max(s)", value: |rows| text(rows.iter().filter_map(|r| r.s).max()) },
    Aggregate {
        sql: "max(s) FILTER (WHERE v IS NULL)",
        value: |rows| text(rows.iter().filter(|r| r.v.is_none()).filter_map(|r| r.s).max()),
    },
    Aggregate { sql: "string_agg(s, '|' ORDER BY id DESC)", value: joined_backwards },
    Aggregate { sql: "array_agg(v ORDER BY v NULLS FIRST, id)", value: ordered },
    Aggregate { sql: "median(v)", value: median },
    Aggregate { sql: "arg_max(id, v)", value: |rows| int(arg_max(rows)) },
    Aggregate {
        sql: "max(ts)",
        value: |rows| rows.iter().filter_map(|r| r.ts).max().map_or("NULL".into(), time),
    },
    Aggregate {
        sql: "bool_or(v > 5)",
        value: |rows| match v(rows) {
            values if values.is_empty() => "NULL".into(),
            values => values.iter().any(|v| *v > 5).to_string(),
        },
    },
];

/// A condition over a group.
#[derive(Clone, Copy)]
pub struct Having {
    pub sql: &'static str,
    pub holds: fn(&[&Row]) -> bool,
}

pub const HAVINGS: [Having; 4] = [
    Having { sql: "count(*) > 1", holds: |rows| rows.len() > 1 },
    Having { sql: "sum(v) > 0", holds: |rows| sum_of(v(rows)) > Some(0) },
    Having { sql: "max(v) IS NULL", holds: |rows| v(rows).is_empty() },
    Having { sql: "count(*) % 2 = 1", holds: |rows| rows.len() % 2 == 1 },
];

#[test]
fn decimals_are_rounded_half_away_from_zero_and_written_in_full() {
    assert_eq!([decimal(-5, 2), decimal(0, 2), decimal(12345, 2)], ["-0.05", "0.00", "123.45"]);
    assert_eq!([divided(5, 2), divided(-5, 2), divided(7, 3), divided(-8, 3)], [3, -3, 2, -3]);
}
