//! Date and time: the clock, parts, truncation and bins. TIMESTAMP is UTC; a DATE counts as its midnight.

use super::args::{any, invalid, overflow, text};
use super::calendar::{
    Moment, Unit, day_name, days_in_month, midnight, month_name, part, truncate, truncate_interval,
};
use super::row::{ANY, BOOL, DOUBLE, INT4, TEXT, context, derived, optional, row};
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::text::{MICROS_PER_DAY, days_from_civil};
use crate::record::{DataType, Decimal, FieldValue, Interval};

pub(super) const TIMESTAMP: DataType = DataType::Timestamp;
pub(super) const DATE: DataType = DataType::Date;
pub(super) const TIME: DataType = DataType::Time;
pub(super) const INTERVAL: DataType = DataType::Interval;

/// TIMESTAMP, or DATE as its midnight.
pub(super) fn timestamp(args: &[Datum<'_>], at: usize) -> EvalResult<i64> {
    match any(args, at) {
        FieldValue::Timestamp(t) => Ok(*t),
        FieldValue::Date(d) => midnight(*d),
        other => Err(invalid(format!("argument {} must be a TIMESTAMP, not {}", at + 1, other.data_type()))),
    }
}
pub(super) fn interval<'v>(args: &'v [Datum<'_>], at: usize) -> EvalResult<&'v Interval> {
    match any(args, at) {
        FieldValue::Interval(i) => Ok(i),
        other => Err(invalid(format!("argument {} must be an INTERVAL, not {}", at + 1, other.data_type()))),
    }
}

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = clock();
    all.extend(parts());
    all.extend(truncation());
    all.extend(calendar());
    all
}

fn clock() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("now()", ("now() > TIMESTAMP '2000-01-01 00:00:00'", "true")),
        ("current_timestamp()", ("current_timestamp() = now()", "true")),
        ("localtimestamp()", ("localtimestamp() = now()", "true")),
        ("transaction_timestamp()", ("transaction_timestamp() = now()", "true")),
        ("statement_timestamp()", ("statement_timestamp() = now()", "true")),
        ("clock_timestamp()", ("clock_timestamp() >= now()", "true")),
        ("proctime()", ("proctime() = now()", "true")),
    ] {
        all.push(context(row(
            signature,
            "The job's clock; one value per batch",
            example,
            [],
            TIMESTAMP,
            |ctx, _| Ok(FieldValue::Timestamp(ctx.now)),
        )));
    }
    for (signature, example) in [
        ("current_date()", ("current_date() > DATE '2000-01-01'", "true")),
        ("today()", ("today() = current_date()", "true")),
    ] {
        all.push(context(row(signature, "The clock's date in UTC", example, [], DATE, |ctx, _| {
            Ok(FieldValue::Date(ctx.now.div_euclid(MICROS_PER_DAY) as i32))
        })));
    }
    for (signature, example) in [
        ("current_time()", ("current_time() >= TIME '00:00:00'", "true")),
        ("localtime()", ("localtime() = current_time()", "true")),
    ] {
        all.push(context(row(signature, "The clock's time of day in UTC", example, [], TIME, |ctx, _| {
            Ok(FieldValue::Time(ctx.now.rem_euclid(MICROS_PER_DAY)))
        })));
    }
    all
}

fn temporal(types: &[DataType], at: usize) -> Result<(), String> {
    match types.get(at) {
        Some(t) if t.is_temporal() || matches!(t, DataType::Interval | DataType::Null) => Ok(()),
        Some(t) => Err(format!("the argument must be DATE, TIMESTAMP, TIME or INTERVAL, not {t}")),
        None => Err("an argument is missing".into()),
    }
}
fn part_number(types: &[DataType]) -> Result<DataType, String> {
    temporal(types, 0).map(|()| INT4)
}
fn part_double(types: &[DataType]) -> Result<DataType, String> {
    temporal(types, 0).map(|()| DOUBLE)
}
fn part_exact(types: &[DataType]) -> Result<DataType, String> {
    temporal(types, 1).map(|()| DataType::Decimal { precision: 28, scale: 6 })
}
fn part_named_double(types: &[DataType]) -> Result<DataType, String> {
    temporal(types, 1).map(|()| DOUBLE)
}
fn as_double(unit: Unit, v: &FieldValue) -> EvalResult<FieldValue> {
    let (digits, scale) = part(unit, v)?;
    Ok(FieldValue::Float(digits as f64 / 10f64.powi(scale as i32)))
}

/// `'2026-07-04 13:45:06.789'`, for examples.
macro_rules! example {
    ($name:literal, $result:literal) => {
        (concat!($name, "(TIMESTAMP '2026-07-04 13:45:06.789')"), $result)
    };
}

fn parts() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "date_part(part, source)",
            "A part as DOUBLE: year, month, day, hour, minute, second, epoch, dow, doy, week, …",
            ("date_part('month', DATE '2026-07-04')", "7"),
            [TEXT, ANY],
            derived(part_named_double),
            |_, a| as_double(Unit::parse(text(a, 0)?)?, any(a, 1)),
        ),
        row(
            "datepart(part, source)",
            "A part as DOUBLE, as date_part",
            ("datepart('hour', TIME '13:45:06')", "13"),
            [TEXT, ANY],
            derived(part_named_double),
            |_, a| as_double(Unit::parse(text(a, 0)?)?, any(a, 1)),
        ),
        row(
            "extract(part FROM source)",
            "A part, exact: whole ones as INT, second, millisecond and epoch as DECIMAL",
            ("extract(second FROM TIMESTAMP '2026-07-04 13:45:06.789')", "6.789000"),
            [TEXT, ANY],
            derived(part_exact),
            |_, a| {
                let (digits, scale) = part(Unit::parse(text(a, 0)?)?, any(a, 1))?;
                Decimal::try_from_i128_with_scale(digits, scale)
                    .map(FieldValue::Decimal)
                    .map_err(|_| overflow("DECIMAL out of range"))
            },
        ),
        row(
            "epoch(source)",
            "Seconds since 1970-01-01, or in an interval, as DOUBLE",
            ("epoch(TIMESTAMP '1970-01-01 00:01:00.5')", "60.5"),
            [ANY],
            derived(part_double),
            |_, a| as_double(Unit::Epoch, any(a, 0)),
        ),
    ];
    let numbers: [(&str, &str, (&str, &str), Unit); 24] = [
        ("year(source)", "Year", example!("year", "2026"), Unit::Year),
        ("quarter(source)", "Quarter of the year, 1 to 4", example!("quarter", "3"), Unit::Quarter),
        ("month(source)", "Month, 1 to 12", example!("month", "7"), Unit::Month),
        ("week(source)", "Week of the ISO year, 1 to 53", example!("week", "27"), Unit::Week),
        ("weekofyear(source)", "Week of the ISO year, 1 to 53", example!("weekofyear", "27"), Unit::Week),
        ("day(source)", "Day of the month, or days of an interval", example!("day", "4"), Unit::Day),
        ("dayofmonth(source)", "Day of the month", example!("dayofmonth", "4"), Unit::Day),
        ("hour(source)", "Hour", example!("hour", "13"), Unit::Hour),
        ("minute(source)", "Minute", example!("minute", "45"), Unit::Minute),
        ("second(source)", "Second without its fraction", example!("second", "6"), Unit::Second),
        (
            "millisecond(source)",
            "Milliseconds of the minute, as in PostgreSQL",
            example!("millisecond", "6789"),
            Unit::Millisecond,
        ),
        (
            "microsecond(source)",
            "Microseconds of the minute, as in PostgreSQL",
            example!("microsecond", "6789000"),
            Unit::Microsecond,
        ),
        ("dow(source)", "Day of the week, 0 is Sunday", example!("dow", "6"), Unit::Dow),
        ("dayofweek(source)", "Day of the week, 0 is Sunday", example!("dayofweek", "6"), Unit::Dow),
        ("weekday(source)", "Day of the week, 0 is Sunday", example!("weekday", "6"), Unit::Dow),
        (
            "isodow(source)",
            "Day of the week, 1 is Monday, 7 is Sunday",
            example!("isodow", "6"),
            Unit::IsoDow,
        ),
        ("doy(source)", "Day of the year", example!("doy", "185"), Unit::Doy),
        ("dayofyear(source)", "Day of the year", example!("dayofyear", "185"), Unit::Doy),
        (
            "isoyear(source)",
            "Year that the ISO week belongs to",
            ("isoyear(DATE '2024-12-30')", "2025"),
            Unit::IsoYear,
        ),
        ("decade(source)", "Year divided by 10", example!("decade", "202"), Unit::Decade),
        ("century(source)", "Century: 2001 to 2100 is the 21st", example!("century", "21"), Unit::Century),
        (
            "millennium(source)",
            "Millennium: 2001 to 3000 is the 3rd",
            example!("millennium", "3"),
            Unit::Millennium,
        ),
        ("julian(source)", "Julian day", example!("julian", "2461226"), Unit::Julian),
        (
            "epoch_seconds(source)",
            "Whole seconds since 1970-01-01",
            ("epoch_seconds(TIMESTAMP '1970-01-01 00:01:00.5')", "60"),
            Unit::Epoch,
        ),
    ];
    for (signature, doc, example, unit) in numbers {
        let returns = if unit == Unit::Epoch {
            derived(|t| temporal(t, 0).map(|()| DataType::BigInt))
        } else {
            derived(part_number)
        };
        all.push(row(signature, doc, example, [ANY], returns, move |_, a| {
            let (digits, scale) = part(unit, any(a, 0))?;
            i64::try_from(digits.div_euclid(10i128.pow(scale)))
                .map(FieldValue::Integer)
                .map_err(|_| overflow("out of range for BIGINT"))
        }));
    }
    all
}

fn truncation() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example, of_interval, interval_example) in [
        (
            "date_trunc(unit, timestamp)",
            ("date_trunc('hour', TIMESTAMP '2026-02-11 15:44:17')", "2026-02-11T15:00:00Z"),
            "date_trunc(unit, interval)",
            ("date_trunc('hour', INTERVAL '3 days 04:30:00')", "P3DT4H"),
        ),
        (
            "datetrunc(unit, timestamp)",
            ("datetrunc('month', DATE '2026-02-11')", "2026-02-01T00:00:00Z"),
            "datetrunc(unit, interval)",
            ("datetrunc('year', INTERVAL '14' MONTH)", "P1Y"),
        ),
    ] {
        let doc = "Start of the microsecond, …, hour, day, week, month, quarter, year, … that it lies in";
        all.push(row(signature, doc, example, [TEXT, TIMESTAMP], TIMESTAMP, |_, a| {
            truncate(Unit::parse(text(a, 0)?)?, timestamp(a, 1)?).map(FieldValue::Timestamp)
        }));
        all.push(row(
            of_interval,
            "The interval without the parts below a unit",
            interval_example,
            [TEXT, INTERVAL],
            INTERVAL,
            |_, a| truncate_interval(Unit::parse(text(a, 0)?)?, interval(a, 1)?).map(FieldValue::Interval),
        ));
    }
    for (signature, example) in [
        (
            "date_bin(width, timestamp [, origin])",
            (
                "date_bin(INTERVAL '15' MINUTE, TIMESTAMP '2026-02-11 15:44:17', TIMESTAMP '2001-01-01 00:02:30')",
                "2026-02-11T15:32:30Z",
            ),
        ),
        (
            "time_bucket(width, timestamp [, origin])",
            ("time_bucket(INTERVAL '5' MINUTE, TIMESTAMP '2026-02-11 15:44:17')", "2026-02-11T15:40:00Z"),
        ),
    ] {
        all.push(row(signature, "Start of the bin of that width that it lies in; bins are aligned to the origin, 1970-01-01 if absent", example, optional([INTERVAL, TIMESTAMP, TIMESTAMP], 1), TIMESTAMP, |_, a| {
            let origin = if a.len() > 2 { timestamp(a, 2)? } else { 0 };
            bin(interval(a, 0)?, timestamp(a, 1)?, origin).map(FieldValue::Timestamp)
        }));
    }
    all
}
fn bin(width: &Interval, t: i64, origin: i64) -> EvalResult<i64> {
    if width.months != 0 {
        return Err(invalid("timestamps cannot be binned into intervals containing months or years"));
    }
    let stride = i128::from(width.days) * i128::from(MICROS_PER_DAY) + i128::from(width.micros);
    if stride <= 0 {
        return Err(invalid("stride must be greater than zero"));
    }
    let offset = (i128::from(t) - i128::from(origin)).rem_euclid(stride);
    i64::try_from(i128::from(t) - offset).map_err(|_| overflow("TIMESTAMP out of range"))
}

fn calendar() -> Vec<FunctionSpec> {
    let mut all = Vec::new();
    for (signature, example) in [
        ("day_name(timestamp)", example!("day_name", "Saturday")),
        ("dayname(timestamp)", example!("dayname", "Saturday")),
    ] {
        all.push(row(signature, "English name of the weekday", example, [TIMESTAMP], TEXT, |_, a| {
            Ok(day_name(Moment::of(timestamp(a, 0)?).weekday()).into())
        }));
    }
    for (signature, example) in [
        ("month_name(timestamp)", example!("month_name", "July")),
        ("monthname(timestamp)", example!("monthname", "July")),
    ] {
        all.push(row(signature, "English name of the month", example, [TIMESTAMP], TEXT, |_, a| {
            Ok(month_name(Moment::of(timestamp(a, 0)?).month).into())
        }));
    }
    all.extend([
        row(
            "last_day(timestamp)",
            "Last day of its month",
            ("last_day(DATE '2024-02-11')", "2024-02-29"),
            [TIMESTAMP],
            DATE,
            |_, a| {
                let m = Moment::of(timestamp(a, 0)?);
                Ok(FieldValue::Date(days_from_civil(m.year, m.month, days_in_month(m.year, m.month))))
            },
        ),
        row(
            "days_in_month(timestamp)",
            "How many days its month has",
            ("days_in_month(DATE '2024-02-11')", "29"),
            [TIMESTAMP],
            INT4,
            |_, a| {
                let m = Moment::of(timestamp(a, 0)?);
                Ok(i64::from(days_in_month(m.year, m.month)).into())
            },
        ),
        row(
            "isfinite(timestamp)",
            "True: there are no infinite timestamps here",
            ("isfinite(DATE '2024-02-11')", "true"),
            [TIMESTAMP],
            BOOL,
            |_, _| Ok(true.into()),
        ),
    ]);
    all
}
