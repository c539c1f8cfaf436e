//! Math: rounding, powers, logarithms and integer arithmetic, of the argument's own type where that is exact.

use rust_decimal::RoundingStrategy;

use super::args::{any, decimal_to_f64, float, int, int_or, invalid, overflow};
use super::row::{ANY, DOUBLE, INT, derived, optional, row, volatile};
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::{DataType, Decimal, ErrorCode, FieldValue, RecordError};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = rounding();
    all.extend(powers());
    all.extend(integers());
    all
}

fn rounding() -> Vec<FunctionSpec> {
    vec![
        row("abs(x)", "Absolute value", ("abs(-2.5)", "2.5"), [ANY], derived(same_number), |_, a| {
            abs(any(a, 0))
        }),
        row("sign(x)", "-1, 0 or 1", ("sign(-8)", "-1"), [ANY], derived(same_number), |_, a| sign(any(a, 0))),
        row("ceil(x)", "Nearest integer not below", ("ceil(-42.8)", "-42"), [ANY], derived(whole), ceil),
        row("ceiling(x)", "Nearest integer not below", ("ceiling(42.2)", "43"), [ANY], derived(whole), ceil),
        row("floor(x)", "Nearest integer not above", ("floor(-42.8)", "-43"), [ANY], derived(whole), floor),
        row(
            "round(x)",
            "Nearest integer; half goes away from zero, of a DOUBLE to the even one",
            ("round(-2.5)", "-3"),
            [ANY],
            derived(whole),
            |_, a| round(any(a, 0), 0),
        ),
        row(
            "round(x, digits)",
            "Rounds to so many digits after the point (before it if negative), half away from zero",
            ("round(42.4382, 2)", "42.44"),
            [ANY, INT],
            derived(same_number),
            |_, a| round_to(any(a, 0), int(a, 1)?),
        ),
        row(
            "trunc(x [, digits])",
            "Cuts off the digits after the point, or after so many",
            ("trunc(42.4382, 2)", "42.43"),
            optional([ANY, INT], 1),
            derived(same_number),
            |_, a| trunc_to(any(a, 0), int_or(a, 1, 0)?),
        ),
        row(
            "truncate(x [, digits])",
            "Cuts off the digits after the point, or after so many",
            ("truncate(-42.8, 0)", "-42"),
            optional([ANY, INT], 1),
            derived(same_number),
            |_, a| trunc_to(any(a, 0), int_or(a, 1, 0)?),
        ),
    ]
}

fn powers() -> Vec<FunctionSpec> {
    vec![
        row("sqrt(x)", "Square root", ("sqrt(2)", "1.4142135623730951"), [DOUBLE], DOUBLE, |_, a| {
            let x = float(a, 0)?;
            if x < 0.0 { Err(invalid("cannot take square root of a negative number")) } else { ok(x.sqrt()) }
        }),
        row("cbrt(x)", "Cube root", ("cbrt(27)", "3"), [DOUBLE], DOUBLE, |_, a| ok(float(a, 0)?.cbrt())),
        row("exp(x)", "e to the power x", ("exp(1)", "2.718281828459045"), [DOUBLE], DOUBLE, |_, a| {
            let x = float(a, 0)?;
            in_range(x.exp(), x.is_finite(), x.is_finite())
        }),
        row("ln(x)", "Natural logarithm", ("ln(2)", "0.6931471805599453"), [DOUBLE], DOUBLE, |_, a| {
            ok(above_zero(float(a, 0)?)?.ln())
        }),
        row("log(x)", "Logarithm to base 10", ("log(1000)", "3"), [DOUBLE], DOUBLE, |_, a| {
            ok(above_zero(float(a, 0)?)?.log10())
        }),
        row("log(base, x)", "Logarithm to a base", ("log(2, 64)", "6"), [DOUBLE, DOUBLE], DOUBLE, |_, a| {
            log_to(above_zero(float(a, 0)?)?, above_zero(float(a, 1)?)?)
        }),
        row("log10(x)", "Logarithm to base 10", ("log10(0.01)", "-2"), [DOUBLE], DOUBLE, |_, a| {
            ok(above_zero(float(a, 0)?)?.log10())
        }),
        row("log2(x)", "Logarithm to base 2", ("log2(1024)", "10"), [DOUBLE], DOUBLE, |_, a| {
            ok(above_zero(float(a, 0)?)?.log2())
        }),
        row("power(x, y)", "x to the power y", ("power(9, 0.5)", "3"), [DOUBLE, DOUBLE], DOUBLE, |_, a| {
            power(float(a, 0)?, float(a, 1)?)
        }),
        row("pow(x, y)", "x to the power y", ("pow(2, 10)", "1024"), [DOUBLE, DOUBLE], DOUBLE, |_, a| {
            power(float(a, 0)?, float(a, 1)?)
        }),
        row("pi()", "The number π", ("pi()", "3.141592653589793"), [], DOUBLE, |_, _| {
            ok(std::f64::consts::PI)
        }),
        row("e()", "The number e", ("e()", "2.718281828459045"), [], DOUBLE, |_, _| ok(std::f64::consts::E)),
        volatile(row(
            "random()",
            "A random number from 0 up to 1, another one for each call",
            ("random() < 1", "true"),
            [],
            DOUBLE,
            // The upper 53 bits: all that a DOUBLE in [0, 1) can hold.
            |_, _| ok((super::random::next() >> 11) as f64 / (1u64 << 53) as f64),
        )),
    ]
}

fn integers() -> Vec<FunctionSpec> {
    vec![
        row(
            "mod(x, y)",
            "Remainder of the division, with the sign of x",
            ("mod(-9, 4)", "-1"),
            [ANY, ANY],
            derived(pair),
            remainder,
        ),
        row(
            "div(x, y)",
            "Quotient without its fraction",
            ("div(-9, 4)", "-2"),
            [ANY, ANY],
            derived(whole_pair),
            quotient,
        ),
        row("gcd(a, b)", "Greatest common divisor", ("gcd(1071, 462)", "21"), [INT, INT], INT, |_, a| {
            i64::try_from(gcd(int(a, 0)?.unsigned_abs(), int(a, 1)?.unsigned_abs()))
                .map(FieldValue::Integer)
                .map_err(out_of_range)
        }),
        row("lcm(a, b)", "Least common multiple", ("lcm(1071, 462)", "23562"), [INT, INT], INT, |_, a| {
            let (x, y) = (int(a, 0)?.unsigned_abs(), int(a, 1)?.unsigned_abs());
            if x == 0 || y == 0 {
                return Ok(FieldValue::Integer(0));
            }
            let multiple = u128::from(x / gcd(x, y)) * u128::from(y);
            i64::try_from(multiple).map(FieldValue::Integer).map_err(out_of_range)
        }),
        row(
            "factorial(n)",
            "1 × 2 × … × n, for n up to 20",
            ("factorial(5)", "120"),
            [INT],
            INT,
            |_, a| {
                let n = int(a, 0)?;
                if n < 0 {
                    return Err(invalid("factorial of a negative number is undefined"));
                }
                (1..=n)
                    .try_fold(1i64, i64::checked_mul)
                    .map(FieldValue::Integer)
                    .ok_or_else(|| overflow(format!("factorial({n}) is out of range for BIGINT")))
            },
        ),
        row("bit_count(n)", "Number of bits set", ("bit_count(255)", "8"), [ANY], derived(bits), |_, a| {
            match any(a, 0) {
                FieldValue::Integer(i) => Ok(i64::from(i.count_ones()).into()),
                other => match other {
                    FieldValue::Bytes(b) => {
                        Ok(b.iter().map(|b| i64::from(b.count_ones())).sum::<i64>().into())
                    }
                    _ => Err(invalid("bit_count needs an integer or BYTES")),
                },
            }
        }),
    ]
}

fn out_of_range<E>(_: E) -> Box<RecordError> {
    overflow("integer out of range")
}
fn ok(x: f64) -> EvalResult<FieldValue> {
    Ok(FieldValue::Float(x))
}
/// PostgreSQL's check: finite arguments give neither infinity nor, where that cannot be exact, zero.
fn in_range(result: f64, finite: bool, never_zero: bool) -> EvalResult<FieldValue> {
    if finite && result.is_infinite() {
        return Err(overflow("value out of range: overflow"));
    }
    if never_zero && result == 0.0 {
        return Err(overflow("value out of range: underflow"));
    }
    ok(result)
}
fn above_zero(x: f64) -> EvalResult<f64> {
    match x {
        0.0 => Err(invalid("cannot take logarithm of zero")),
        x if x < 0.0 => Err(invalid("cannot take logarithm of a negative number")),
        x => Ok(x),
    }
}
fn log_to(base: f64, x: f64) -> EvalResult<FieldValue> {
    match base {
        1.0 => Err(Box::new(RecordError::new(ErrorCode::DivisionByZero, "logarithm to base 1 is undefined"))),
        2.0 => ok(x.log2()),
        10.0 => ok(x.log10()),
        base => ok(x.ln() / base.ln()),
    }
}
fn power(x: f64, y: f64) -> EvalResult<FieldValue> {
    if x == 0.0 && y < 0.0 {
        return Err(invalid("zero raised to a negative power is undefined"));
    }
    if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
        return Err(invalid("a negative number raised to a non-integer power yields a complex result"));
    }
    let finite = x.is_finite() && y.is_finite();
    in_range(x.powf(y), finite, finite && x != 0.0)
}
fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The type of a numeric argument.
pub(super) fn same_number(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(t) if t.is_numeric() || *t == DataType::Null => Ok(t.clone()),
        Some(t) => Err(format!("the argument must be a number, not {t}")),
        None => Err("an argument is missing".into()),
    }
}
fn whole(types: &[DataType]) -> Result<DataType, String> {
    Ok(match same_number(types)? {
        DataType::Decimal { precision, scale } => {
            // One digit more: rounding 9.9 gives 10.
            DataType::Decimal { precision: (precision - scale.min(precision) + 1).min(28), scale: 0 }
        }
        t => t,
    })
}
fn bits(types: &[DataType]) -> Result<DataType, String> {
    match types.first() {
        Some(DataType::Bytes | DataType::Null) => Ok(DataType::BigInt),
        Some(t) if t.is_integer() => Ok(DataType::BigInt),
        _ => Err("the argument must be an integer or BYTES".into()),
    }
}
fn pair(types: &[DataType]) -> Result<DataType, String> {
    for t in types {
        same_number(std::slice::from_ref(t))?;
    }
    let scale = |t: &DataType| if let DataType::Decimal { scale, .. } = t { Some(*scale) } else { None };
    if types.contains(&DataType::Null) {
        return Ok(DataType::Null);
    }
    if types.iter().any(DataType::is_float) {
        return Ok(DOUBLE);
    }
    Ok(match types.iter().filter_map(scale).max() {
        Some(scale) => DataType::Decimal { precision: 28, scale },
        None => INT,
    })
}
fn whole_pair(types: &[DataType]) -> Result<DataType, String> {
    Ok(match pair(types)? {
        DataType::Decimal { .. } => DataType::Decimal { precision: 28, scale: 0 },
        t => t,
    })
}

fn abs(x: &FieldValue) -> EvalResult<FieldValue> {
    match x {
        FieldValue::Integer(i) => i.checked_abs().map(FieldValue::Integer).ok_or_else(|| out_of_range(())),
        FieldValue::Decimal(d) => Ok(d.abs().into()),
        FieldValue::Float(f) => ok(f.abs()),
        other => Err(not_a_number(other)),
    }
}
fn sign(x: &FieldValue) -> EvalResult<FieldValue> {
    match x {
        FieldValue::Integer(i) => Ok(i.signum().into()),
        FieldValue::Decimal(d) if d.is_zero() => Ok(Decimal::ZERO.into()),
        FieldValue::Decimal(d) => {
            Ok(if d.is_sign_negative() { Decimal::NEGATIVE_ONE } else { Decimal::ONE }.into())
        }
        FieldValue::Float(f) if *f > 0.0 => ok(1.0),
        FieldValue::Float(f) if *f < 0.0 => ok(-1.0),
        // Also for NaN, as in PostgreSQL.
        FieldValue::Float(_) => ok(0.0),
        other => Err(not_a_number(other)),
    }
}
fn not_a_number(x: &FieldValue) -> Box<RecordError> {
    invalid(format!("a number is needed, not {}", x.data_type()))
}

type Context<'c, 'a> = &'c crate::expr::EvalContext<'a>;

fn ceil(_: Context<'_, '_>, args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    match any(args, 0) {
        FieldValue::Integer(i) => Ok((*i).into()),
        FieldValue::Decimal(d) => Ok(d.ceil().into()),
        FieldValue::Float(f) => ok(f.ceil()),
        other => Err(not_a_number(other)),
    }
}
fn floor(_: Context<'_, '_>, args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    match any(args, 0) {
        FieldValue::Integer(i) => Ok((*i).into()),
        FieldValue::Decimal(d) => Ok(d.floor().into()),
        FieldValue::Float(f) => ok(f.floor()),
        other => Err(not_a_number(other)),
    }
}
fn round(x: &FieldValue, digits: i64) -> EvalResult<FieldValue> {
    match x {
        FieldValue::Float(f) => ok(f.round_ties_even()),
        other => round_to(other, digits),
    }
}
fn round_to(x: &FieldValue, digits: i64) -> EvalResult<FieldValue> {
    rescale(x, digits, RoundingStrategy::MidpointAwayFromZero)
}
fn trunc_to(x: &FieldValue, digits: i64) -> EvalResult<FieldValue> {
    match x {
        FieldValue::Float(f) if digits == 0 => ok(f.trunc()),
        other => rescale(other, digits, RoundingStrategy::ToZero),
    }
}
/// Rounds to `digits` after the point; before it if negative.
fn rescale(x: &FieldValue, digits: i64, how: RoundingStrategy) -> EvalResult<FieldValue> {
    match x {
        FieldValue::Integer(i) if digits >= 0 => Ok((*i).into()),
        FieldValue::Integer(i) => {
            let rounded = round_decimal(Decimal::from(*i), digits, how)?;
            i64::try_from(rounded).map(FieldValue::Integer).map_err(out_of_range)
        }
        FieldValue::Decimal(d) => Ok(round_decimal(*d, digits, how)?.into()),
        FieldValue::Float(f) => {
            // As PostgreSQL does by way of NUMERIC: 15 significant digits, so that 2.675 rounds to 2.68.
            match Decimal::try_from(*f) {
                Ok(d) if f.abs() < 1e15 || digits < 0 => ok(decimal_to_f64(&round_decimal(d, digits, how)?)?),
                _ => ok(*f),
            }
        }
        other => Err(not_a_number(other)),
    }
}
fn round_decimal(d: Decimal, digits: i64, how: RoundingStrategy) -> EvalResult<Decimal> {
    if digits >= 0 {
        // Digits that are not there stay away: the declared type has no room for them.
        return Ok(d.round_dp_with_strategy(digits.min(28) as u32, how));
    }
    let places = digits.unsigned_abs();
    if places > 28 {
        return Ok(Decimal::ZERO);
    }
    let unit = Decimal::from_i128_with_scale(10i128.pow(places as u32), 0);
    let quotient = d.checked_div(unit).ok_or_else(|| overflow("DECIMAL out of range"))?;
    quotient.round_dp_with_strategy(0, how).checked_mul(unit).ok_or_else(|| overflow("DECIMAL out of range"))
}

fn zero_division() -> Box<RecordError> {
    Box::new(RecordError::new(ErrorCode::DivisionByZero, "division by zero"))
}
/// Two numbers as DECIMAL, unless one of them is a DOUBLE.
fn decimals(a: &FieldValue, b: &FieldValue) -> Option<(Decimal, Decimal)> {
    let exact = |v: &FieldValue| match v {
        FieldValue::Integer(i) => Some(Decimal::from(*i)),
        FieldValue::Decimal(d) => Some(*d),
        _ => None,
    };
    exact(a).zip(exact(b))
}
fn remainder(_: Context<'_, '_>, args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    let (a, b) = (any(args, 0), any(args, 1));
    if let (FieldValue::Integer(a), FieldValue::Integer(b)) = (a, b) {
        // i64::MIN % -1 is 0, though the quotient overflows.
        return if *b == 0 { Err(zero_division()) } else { Ok(a.wrapping_rem(*b).into()) };
    }
    if let Some((a, b)) = decimals(a, b) {
        return if b.is_zero() {
            Err(zero_division())
        } else {
            let mut rest = a.checked_rem(b).ok_or_else(|| overflow("DECIMAL out of range"))?;
            // A zero forgets the scale of its operands.
            rest.rescale(a.scale().max(b.scale()));
            Ok(rest.into())
        };
    }
    let (a, b) = (float(args, 0)?, float(args, 1)?);
    if b == 0.0 { Err(zero_division()) } else { ok(a % b) }
}
fn quotient(_: Context<'_, '_>, args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    let (a, b) = (any(args, 0), any(args, 1));
    if let (FieldValue::Integer(a), FieldValue::Integer(b)) = (a, b) {
        return if *b == 0 {
            Err(zero_division())
        } else {
            a.checked_div(*b).map(Into::into).ok_or_else(|| out_of_range(()))
        };
    }
    if let Some((a, b)) = decimals(a, b) {
        if b.is_zero() {
            return Err(zero_division());
        }
        // (a - a rem b) / b divides without a remainder, so no digit of the quotient is rounded.
        let whole = a.checked_rem(b).and_then(|r| a.checked_sub(r)).and_then(|n| n.checked_div(b));
        return whole.map(|q| q.trunc().into()).ok_or_else(|| overflow("DECIMAL out of range"));
    }
    let (a, b) = (float(args, 0)?, float(args, 1)?);
    if b == 0.0 { Err(zero_division()) } else { ok((a / b).trunc()) }
}
