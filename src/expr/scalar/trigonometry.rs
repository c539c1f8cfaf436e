//! Trigonometry: angles in radians, with PostgreSQL's domains.

use super::args::{float, invalid};
use super::row::{DOUBLE, row};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::FieldValue;

/// One function of one number, with the domain on which it is defined.
struct Curve(&'static str, &'static str, (&'static str, &'static str), fn(f64) -> f64, fn(f64) -> bool);

fn finite(x: f64) -> bool {
    !x.is_infinite()
}
fn everywhere(_: f64) -> bool {
    true
}
fn unit(x: f64) -> bool {
    x.is_nan() || x.abs() <= 1.0
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let curves = [
        Curve("sin(x)", "Sine", ("sin(1)", "0.8414709848078965"), f64::sin, finite),
        Curve("cos(x)", "Cosine", ("cos(0)", "1"), f64::cos, finite),
        Curve("tan(x)", "Tangent", ("tan(0)", "0"), f64::tan, finite),
        Curve("cot(x)", "Cotangent", ("cot(0.5)", "1.830487721712452"), |x| 1.0 / x.tan(), finite),
        Curve("asin(x)", "Inverse sine", ("asin(1)", "1.5707963267948966"), f64::asin, unit),
        Curve("acos(x)", "Inverse cosine", ("acos(1)", "0"), f64::acos, unit),
        Curve("atan(x)", "Inverse tangent", ("atan(1)", "0.7853981633974483"), f64::atan, everywhere),
        Curve("sinh(x)", "Hyperbolic sine", ("sinh(1)", "1.1752011936438014"), f64::sinh, everywhere),
        Curve("cosh(x)", "Hyperbolic cosine", ("cosh(0)", "1"), f64::cosh, everywhere),
        Curve("tanh(x)", "Hyperbolic tangent", ("tanh(1)", "0.7615941559557649"), f64::tanh, everywhere),
        Curve(
            "asinh(x)",
            "Inverse hyperbolic sine",
            ("asinh(1)", "0.881373587019543"),
            f64::asinh,
            everywhere,
        ),
        Curve("acosh(x)", "Inverse hyperbolic cosine", ("acosh(1)", "0"), f64::acosh, |x| {
            x.is_nan() || x >= 1.0
        }),
        Curve(
            "atanh(x)",
            "Inverse hyperbolic tangent",
            ("atanh(0.5)", "0.5493061443340548"),
            f64::atanh,
            unit,
        ),
        Curve(
            "degrees(x)",
            "Radians to degrees",
            ("degrees(0.5)", "28.64788975654116"),
            f64::to_degrees,
            everywhere,
        ),
        Curve(
            "radians(x)",
            "Degrees to radians",
            ("radians(45)", "0.7853981633974483"),
            f64::to_radians,
            everywhere,
        ),
    ];
    let mut all: Vec<FunctionSpec> = curves
        .into_iter()
        .map(|Curve(signature, doc, example, f, domain)| {
            row(signature, doc, example, [DOUBLE], DOUBLE, move |_, a| {
                let x = float(a, 0)?;
                if domain(x) { ok(f(x)) } else { Err(invalid("input is out of range")) }
            })
        })
        .collect();
    all.push(row(
        "atan2(y, x)",
        "Angle of the point (x, y)",
        ("atan2(1, 0)", "1.5707963267948966"),
        [DOUBLE, DOUBLE],
        DOUBLE,
        |_, a| ok(float(a, 0)?.atan2(float(a, 1)?)),
    ));
    all
}
fn ok(x: f64) -> EvalResult<FieldValue> {
    Ok(FieldValue::Float(x))
}
