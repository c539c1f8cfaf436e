//! Questions about numbers: NaN and infinity, the digits of a DECIMAL, buckets.

use super::args::{any, array, float, int, invalid};
use super::row::{ANY, BOOL, DOUBLE, INT, INT4, derived, row};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{DataType, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    type Test = (&'static str, &'static str, (&'static str, &'static str), fn(f64) -> bool);
    let tests: [Test; 6] = [
        ("is_nan(x)", "Whether it is NaN", ("is_nan(CAST('NaN' AS DOUBLE))", "true"), f64::is_nan),
        ("isnan(x)", "Whether it is NaN", ("isnan(1.5)", "false"), f64::is_nan),
        (
            "is_finite(x)",
            "Whether it is neither NaN nor infinite",
            ("is_finite(1.5)", "true"),
            f64::is_finite,
        ),
        (
            "isfinite(x)",
            "Whether it is neither NaN nor infinite",
            ("isfinite(CAST('Infinity' AS DOUBLE))", "false"),
            f64::is_finite,
        ),
        (
            "is_infinite(x)",
            "Whether it is infinite",
            ("is_infinite(CAST('-Infinity' AS DOUBLE))", "true"),
            f64::is_infinite,
        ),
        ("isinf(x)", "Whether it is infinite", ("isinf(1.5)", "false"), f64::is_infinite),
    ];
    for (signature, doc, example, test) in tests {
        all.push(row(signature, doc, example, [DOUBLE], BOOL, move |_, a| Ok(test(float(a, 0)?).into())));
    }
    all.extend(digits());
    all.extend([
        row(
            "width_bucket(x, low, high, count)",
            "Which of `count` equal buckets from low to high x falls into; 0 or count + 1 outside",
            ("width_bucket(5.35, 0.024, 10.06, 5)", "3"),
            [DOUBLE, DOUBLE, DOUBLE, INT],
            INT4,
            |_, a| width_bucket(float(a, 0)?, float(a, 1)?, float(a, 2)?, int(a, 3)?),
        ),
        row(
            "width_bucket(x, thresholds)",
            "How many of the ascending thresholds are not above x",
            ("width_bucket(7, ARRAY[1, 5, 10])", "2"),
            [ANY, ANY],
            derived(threshold_types),
            |_, a| {
                let x = any(a, 0);
                let mut below = 0;
                for threshold in array(a, 1)?.iter() {
                    if super::values::order(threshold, x)?.is_gt() {
                        break;
                    }
                    below += 1;
                }
                Ok(FieldValue::Integer(below))
            },
        ),
    ]);
    all
}

fn digits() -> Vec<FunctionSpec> {
    vec![
        row(
            "scale(x)",
            "Digits after the point of a DECIMAL",
            ("scale(8.410)", "3"),
            [ANY],
            derived(of_decimal),
            |_, a| match any(a, 0) {
                FieldValue::Decimal(d) => Ok(i64::from(d.scale()).into()),
                _ => Ok(FieldValue::Integer(0)),
            },
        ),
        row(
            "min_scale(x)",
            "Digits after the point that a DECIMAL needs",
            ("min_scale(8.410)", "2"),
            [ANY],
            derived(of_decimal),
            |_, a| match any(a, 0) {
                FieldValue::Decimal(d) => Ok(i64::from(d.normalize().scale()).into()),
                _ => Ok(FieldValue::Integer(0)),
            },
        ),
        row(
            "trim_scale(x)",
            "A DECIMAL without zeros at the end of its fraction",
            ("trim_scale(8.4100)", "8.41"),
            [ANY],
            derived(super::math::same_number),
            |_, a| match any(a, 0) {
                FieldValue::Decimal(d) => Ok(d.normalize().into()),
                other => Ok(other.clone()),
            },
        ),
    ]
}

fn of_decimal(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(t) if t.is_integer() || matches!(t, DataType::Decimal { .. } | DataType::Null) => Ok(INT4),
        _ => Err("the argument must be a DECIMAL".into()),
    }
}
fn threshold_types(types: &[DataType]) -> Result<DataType, String> {
    match types {
        [_, DataType::Array(_) | DataType::Null] => Ok(INT4),
        _ => Err("the second argument must be an ARRAY".into()),
    }
}

fn width_bucket(x: f64, low: f64, high: f64, count: i64) -> EvalResult<FieldValue> {
    if count <= 0 || count >= i64::from(i32::MAX) {
        return Err(invalid("count must be greater than zero and fit INT"));
    }
    if x.is_nan() || !low.is_finite() || !high.is_finite() {
        return Err(invalid("operand must not be NaN, and bounds must be finite"));
    }
    if low == high {
        return Err(invalid("lower bound cannot equal upper bound"));
    }
    let share = if low < high { (x - low) / (high - low) } else { (low - x) / (low - high) };
    Ok(FieldValue::Integer(match share {
        s if s < 0.0 => 0,
        s if s >= 1.0 => count + 1,
        s => ((s * count as f64) as i64).min(count - 1) + 1,
    }))
}
