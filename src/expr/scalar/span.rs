//! Date and time: making, converting and comparing dates, timestamps and intervals.

use super::args::{any, float, int, int_or, invalid, overflow, text};
use super::calendar::{
    MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, Moment, Unit, days_in_month, truncate,
};
use super::datetime::{DATE, INTERVAL, TIME, TIMESTAMP, interval, timestamp};
use super::row::{DOUBLE, INT, TEXT, context, optional, row};
use crate::expr::value::{add_interval, negate_interval};
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::text::{self as forms, MICROS_PER_DAY, date_from_civil};
use crate::record::{DataType, FieldValue, Interval};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = making();
    all.extend(unix());
    all.extend(differences());
    all.extend(moving());
    all.extend(justifying());
    all
}

fn civil(year: i64, month: i64, day: i64) -> EvalResult<i64> {
    let date =
        || date_from_civil(i32::try_from(year).ok()?, u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    date()
        .map(i64::from)
        .ok_or_else(|| invalid(format!("date field value out of range: {year}-{month:02}-{day:02}")))
}
fn time_of_day(hour: i64, minute: i64, second: f64) -> EvalResult<i64> {
    let micros = (second * 1e6).round_ties_even();
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&micros);
    let total =
        if fits { hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + micros as i64 } else { i64::MAX };
    if total > MICROS_PER_DAY {
        return Err(invalid(format!("time field value out of range: {hour}:{minute:02}:{second}")));
    }
    Ok(total)
}

fn making() -> Vec<FunctionSpec> {
    vec![
        row(
            "make_date(year, month, day)",
            "A date from its parts",
            ("make_date(2013, 7, 15)", "2013-07-15"),
            [INT, INT, INT],
            DATE,
            |_, a| Ok(FieldValue::Date(civil(int(a, 0)?, int(a, 1)?, int(a, 2)?)? as i32)),
        ),
        row(
            "make_time(hour, minute, second)",
            "A time from its parts",
            ("make_time(8, 15, 23.5)", "08:15:23.500"),
            [INT, INT, DOUBLE],
            TIME,
            |_, a| {
                let time = time_of_day(int(a, 0)?, int(a, 1)?, float(a, 2)?)?;
                if time == MICROS_PER_DAY {
                    Err(invalid("24:00 is no TIME here"))
                } else {
                    Ok(FieldValue::Time(time))
                }
            },
        ),
        row(
            "make_timestamp(year, month, day, hour, minute, second)",
            "A timestamp from its parts",
            ("make_timestamp(2013, 7, 15, 8, 15, 23.5)", "2013-07-15T08:15:23.500Z"),
            [INT, INT, INT, INT, INT, DOUBLE],
            TIMESTAMP,
            |_, a| {
                let days = civil(int(a, 0)?, int(a, 1)?, int(a, 2)?)?;
                Ok(FieldValue::Timestamp(
                    days * MICROS_PER_DAY + time_of_day(int(a, 3)?, int(a, 4)?, float(a, 5)?)?,
                ))
            },
        ),
        row(
            "make_timestamp(micros)",
            "A timestamp from microseconds since 1970-01-01",
            ("make_timestamp(1500000)", "1970-01-01T00:00:01.500Z"),
            [INT],
            TIMESTAMP,
            |_, a| Ok(FieldValue::Timestamp(int(a, 0)?)),
        ),
        row(
            "make_interval([years, months, weeks, days, hours, mins, secs])",
            "An interval from its parts, 0 where left out",
            ("make_interval(0, 0, 0, 10)", "P10D"),
            optional([INT, INT, INT, INT, INT, INT, DOUBLE], 7),
            INTERVAL,
            make_interval,
        ),
        row(
            "to_timestamp(seconds)",
            "A timestamp from seconds since 1970-01-01",
            ("to_timestamp(1284352323.5)", "2010-09-13T04:32:03.500Z"),
            [DOUBLE],
            TIMESTAMP,
            |_, a| {
                let micros = (float(a, 0)? * 1e6).round_ties_even();
                // Years 1 to 9999, in microseconds.
                if (-62_135_596_800e6..253_402_300_800e6).contains(&micros) {
                    Ok(FieldValue::Timestamp(micros as i64))
                } else {
                    Err(overflow("timestamp out of range"))
                }
            },
        ),
        row(
            "to_timestamp_millis(n)",
            "A timestamp from milliseconds since 1970-01-01",
            ("to_timestamp_millis(1500)", "1970-01-01T00:00:01.500Z"),
            [INT],
            TIMESTAMP,
            |_, a| from_millis(int(a, 0)?),
        ),
        row(
            "to_timestamp_micros(n)",
            "A timestamp from microseconds since 1970-01-01",
            ("to_timestamp_micros(1500000)", "1970-01-01T00:00:01.500Z"),
            [INT],
            TIMESTAMP,
            |_, a| Ok(FieldValue::Timestamp(int(a, 0)?)),
        ),
        row(
            "to_timestamp_seconds(n)",
            "A timestamp from whole seconds since 1970-01-01",
            ("to_timestamp_seconds(60)", "1970-01-01T00:01:00Z"),
            [INT],
            TIMESTAMP,
            |_, a| {
                int(a, 0)?
                    .checked_mul(MICROS_PER_SECOND)
                    .map(FieldValue::Timestamp)
                    .ok_or_else(|| overflow("timestamp out of range"))
            },
        ),
    ]
}
fn from_millis(n: i64) -> EvalResult<FieldValue> {
    n.checked_mul(1000).map(FieldValue::Timestamp).ok_or_else(|| overflow("timestamp out of range"))
}
fn make_interval(_: &crate::expr::EvalContext<'_>, a: &[Datum<'_>]) -> EvalResult<FieldValue> {
    let part = |at| int_or(a, at, 0);
    let seconds = if a.len() > 6 { float(a, 6)? } else { 0.0 };
    let (years, months, weeks, days, hours, minutes) =
        (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, part(5)?);
    let micros = (seconds * 1e6).round_ties_even();
    let made = || {
        let months = years.checked_mul(12)?.checked_add(months)?;
        let days = weeks.checked_mul(7)?.checked_add(days)?;
        let time =
            hours.checked_mul(MICROS_PER_HOUR)?.checked_add(minutes.checked_mul(MICROS_PER_MINUTE)?)?;
        let micros = (micros.abs() < i64::MAX as f64).then_some(micros as i64)?;
        Some(Interval {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(days).ok()?,
            micros: time.checked_add(micros)?,
        })
    };
    made().map(FieldValue::Interval).ok_or_else(|| overflow("interval out of range"))
}

fn unix() -> Vec<FunctionSpec> {
    vec![
        row(
            "epoch_ms(timestamp)",
            "Milliseconds since 1970-01-01",
            ("epoch_ms(TIMESTAMP '1970-01-01 00:00:01.5')", "1500"),
            [TIMESTAMP],
            INT,
            |_, a| Ok(timestamp(a, 0)?.div_euclid(1000).into()),
        ),
        row(
            "epoch_ms(n)",
            "A timestamp from milliseconds since 1970-01-01",
            ("epoch_ms(1500)", "1970-01-01T00:00:01.500Z"),
            [INT],
            TIMESTAMP,
            |_, a| from_millis(int(a, 0)?),
        ),
        row(
            "epoch_us(timestamp)",
            "Microseconds since 1970-01-01",
            ("epoch_us(TIMESTAMP '1970-01-01 00:00:01.5')", "1500000"),
            [TIMESTAMP],
            INT,
            |_, a| Ok(timestamp(a, 0)?.into()),
        ),
        row(
            "unix_timestamp(timestamp)",
            "Whole seconds since 1970-01-01",
            ("unix_timestamp(TIMESTAMP '1970-01-01 00:01:00')", "60"),
            [TIMESTAMP],
            INT,
            |_, a| Ok(timestamp(a, 0)?.div_euclid(MICROS_PER_SECOND).into()),
        ),
        context(row(
            "unix_timestamp()",
            "The clock's whole seconds since 1970-01-01",
            ("unix_timestamp() > 946684800", "true"),
            [],
            INT,
            |ctx, _| Ok(ctx.now.div_euclid(MICROS_PER_SECOND).into()),
        )),
        row(
            "from_unixtime(seconds)",
            "Seconds since 1970-01-01 as text YYYY-MM-DD HH:MM:SS",
            ("from_unixtime(44)", "1970-01-01 00:00:44"),
            [INT],
            TEXT,
            |_, a| {
                let seconds = int(a, 0)?;
                if !(-62_135_596_800..253_402_300_800).contains(&seconds) {
                    return Err(overflow("timestamp out of range"));
                }
                let mut out = Vec::with_capacity(20);
                forms::write_date(seconds.div_euclid(86_400) as i32, &mut out);
                out.push(b' ');
                forms::write_time(seconds.rem_euclid(86_400) * MICROS_PER_SECOND, &mut out);
                Ok(String::from_utf8(out).unwrap_or_default().into())
            },
        ),
    ]
}

fn differences() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "age(later, earlier)",
            "Time between, in years, months, days and time as people count",
            ("age(TIMESTAMP '2001-04-10', TIMESTAMP '1957-06-13')", "P43Y9M27D"),
            [TIMESTAMP, TIMESTAMP],
            INTERVAL,
            |_, a| Ok(FieldValue::Interval(age(timestamp(a, 0)?, timestamp(a, 1)?))),
        ),
        context(row(
            "age(timestamp)",
            "Time from then to the midnight before now",
            ("age(current_date())", "PT0S"),
            [TIMESTAMP],
            INTERVAL,
            |ctx, a| {
                let midnight = ctx.now - ctx.now.rem_euclid(MICROS_PER_DAY);
                Ok(FieldValue::Interval(age(midnight, timestamp(a, 0)?)))
            },
        )),
        row(
            "timestampdiff(unit, from, to)",
            "How many whole units lie between",
            ("timestampdiff('month', TIMESTAMP '2026-01-31', TIMESTAMP '2026-03-30')", "1"),
            [TEXT, TIMESTAMP, TIMESTAMP],
            INT,
            |_, a| Ok(whole_units(Unit::parse(text(a, 0)?)?, timestamp(a, 1)?, timestamp(a, 2)?)?.into()),
        ),
    ];
    for (signature, example) in [
        ("date_diff(unit, from, to)", ("date_diff('month', DATE '2026-01-31', DATE '2026-03-01')", "2")),
        (
            "datediff(unit, from, to)",
            ("datediff('day', TIMESTAMP '2026-01-01 23:00:00', TIMESTAMP '2026-01-02 01:00:00')", "1"),
        ),
    ] {
        all.push(row(
            signature,
            "How many starts of a unit lie between",
            example,
            [TEXT, TIMESTAMP, TIMESTAMP],
            INT,
            |_, a| Ok(boundaries(Unit::parse(text(a, 0)?)?, timestamp(a, 1)?, timestamp(a, 2)?)?.into()),
        ));
    }
    all
}
/// PostgreSQL's `timestamp_age`: borrows days from the month of the earlier date.
fn age(a: i64, b: i64) -> Interval {
    let (later, earlier, sign) = if a >= b { (a, b, 1) } else { (b, a, -1) };
    let (x, y) = (Moment::of(later), Moment::of(earlier));
    let mut micros = x.time - y.time;
    let mut days = x.day as i32 - y.day as i32;
    let mut months = (x.year - y.year) * 12 + x.month as i32 - y.month as i32;
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        days += days_in_month(y.year, y.month) as i32;
        months -= 1;
    }
    Interval { months: sign * months, days: sign * days, micros: i64::from(sign) * micros }
}
fn months_of(unit: Unit) -> Option<i64> {
    Some(match unit {
        Unit::Month => 1,
        Unit::Quarter => 3,
        Unit::Year => 12,
        Unit::Decade => 120,
        Unit::Century => 1200,
        Unit::Millennium => 12_000,
        _ => return None,
    })
}
fn micros_of(unit: Unit) -> EvalResult<i64> {
    Ok(match unit {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1000,
        Unit::Second => MICROS_PER_SECOND,
        Unit::Minute => MICROS_PER_MINUTE,
        Unit::Hour => MICROS_PER_HOUR,
        Unit::Day => MICROS_PER_DAY,
        Unit::Week => 7 * MICROS_PER_DAY,
        other => return Err(invalid(format!("{other:?} is no unit of difference").to_lowercase())),
    })
}
fn whole_units(unit: Unit, from: i64, to: i64) -> EvalResult<i64> {
    match months_of(unit) {
        Some(n) => Ok(i64::from(age(to, from).months) / n),
        None => Ok(to.checked_sub(from).ok_or_else(|| overflow("interval out of range"))? / micros_of(unit)?),
    }
}
fn boundaries(unit: Unit, from: i64, to: i64) -> EvalResult<i64> {
    let (x, y) = (truncate(unit, from)?, truncate(unit, to)?);
    match months_of(unit) {
        Some(n) => {
            let month = |t| {
                let m = Moment::of(t);
                i64::from(m.year) * 12 + i64::from(m.month)
            };
            Ok((month(y) - month(x)) / n)
        }
        None => Ok(y.checked_sub(x).ok_or_else(|| overflow("interval out of range"))? / micros_of(unit)?),
    }
}

/// So many units as an interval.
fn units(unit: Unit, n: i64) -> EvalResult<Interval> {
    let made = || match months_of(unit) {
        Some(months) => {
            Some(Interval { months: i32::try_from(n.checked_mul(months)?).ok()?, ..Interval::default() })
        }
        None => match unit {
            Unit::Day => Some(Interval { days: i32::try_from(n).ok()?, ..Interval::default() }),
            Unit::Week => {
                Some(Interval { days: i32::try_from(n.checked_mul(7)?).ok()?, ..Interval::default() })
            }
            unit => Some(Interval { micros: n.checked_mul(micros_of(unit).ok()?)?, ..Interval::default() }),
        },
    };
    made().ok_or_else(|| overflow("interval out of range"))
}

fn moving() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "date_add(timestamp, interval)",
            "The timestamp an interval later",
            ("date_add(TIMESTAMP '2026-01-31 10:00:00', INTERVAL '1' MONTH)", "2026-02-28T10:00:00Z"),
            [TIMESTAMP, INTERVAL],
            TIMESTAMP,
            |_, a| add_interval(timestamp(a, 0)?, interval(a, 1)?).map(FieldValue::Timestamp),
        ),
        row(
            "date_sub(timestamp, interval)",
            "The timestamp an interval earlier",
            ("date_sub(TIMESTAMP '2026-03-31 10:00:00', INTERVAL '1' MONTH)", "2026-02-28T10:00:00Z"),
            [TIMESTAMP, INTERVAL],
            TIMESTAMP,
            |_, a| {
                add_interval(timestamp(a, 0)?, &negate_interval(interval(a, 1)?)?).map(FieldValue::Timestamp)
            },
        ),
        row(
            "add_months(timestamp, n)",
            "The timestamp so many months later",
            ("add_months(DATE '2024-01-31', 1)", "2024-02-29T00:00:00Z"),
            [TIMESTAMP, INT],
            TIMESTAMP,
            |_, a| {
                add_interval(timestamp(a, 0)?, &units(Unit::Month, int(a, 1)?)?).map(FieldValue::Timestamp)
            },
        ),
    ];
    for (signature, example) in [
        (
            "date_add(unit, n, timestamp)",
            ("date_add('day', 3, TIMESTAMP '2026-01-31 10:00:00')", "2026-02-03T10:00:00Z"),
        ),
        (
            "timestampadd(unit, n, timestamp)",
            ("timestampadd('hour', -1, TIMESTAMP '2026-01-01')", "2025-12-31T23:00:00Z"),
        ),
    ] {
        all.push(row(
            signature,
            "The timestamp so many units later",
            example,
            [TEXT, INT, TIMESTAMP],
            TIMESTAMP,
            |_, a| {
                add_interval(timestamp(a, 2)?, &units(Unit::parse(text(a, 0)?)?, int(a, 1)?)?)
                    .map(FieldValue::Timestamp)
            },
        ));
    }
    all
}

fn justifying() -> Vec<FunctionSpec> {
    type Justify = fn(Interval) -> Option<Interval>;
    let rows: [(&str, &str, (&str, &str), Justify); 3] = [
        (
            "justify_days(interval)",
            "30 days become a month",
            ("justify_days(INTERVAL '35' DAY)", "P1M5D"),
            justify_days,
        ),
        (
            "justify_hours(interval)",
            "24 hours become a day",
            ("justify_hours(INTERVAL '27' HOUR)", "P1DT3H"),
            justify_hours,
        ),
        (
            "justify_interval(interval)",
            "30 days become a month, 24 hours a day, all of one sign",
            ("justify_interval(INTERVAL '1 month -1 hour')", "P29DT23H"),
            justify_interval,
        ),
    ];
    rows.into_iter()
        .map(|(signature, doc, example, justify)| {
            row(signature, doc, example, [DataType::Interval], INTERVAL, move |_, a| match any(a, 0) {
                FieldValue::Interval(i) => {
                    justify(*i).map(FieldValue::Interval).ok_or_else(|| overflow("interval out of range"))
                }
                _ => Err(invalid("an INTERVAL is needed")),
            })
        })
        .collect()
}
fn justify_days(mut i: Interval) -> Option<Interval> {
    i.months = i.months.checked_add(i.days / 30)?;
    i.days %= 30;
    if i.months > 0 && i.days < 0 {
        (i.days, i.months) = (i.days + 30, i.months - 1);
    } else if i.months < 0 && i.days > 0 {
        (i.days, i.months) = (i.days - 30, i.months + 1);
    }
    Some(i)
}
fn justify_hours(mut i: Interval) -> Option<Interval> {
    i.days = i.days.checked_add(i32::try_from(i.micros / MICROS_PER_DAY).ok()?)?;
    i.micros %= MICROS_PER_DAY;
    Some(same_sign(i))
}
fn same_sign(mut i: Interval) -> Interval {
    if i.days > 0 && i.micros < 0 {
        (i.micros, i.days) = (i.micros + MICROS_PER_DAY, i.days - 1);
    } else if i.days < 0 && i.micros > 0 {
        (i.micros, i.days) = (i.micros - MICROS_PER_DAY, i.days + 1);
    }
    i
}
fn justify_interval(mut i: Interval) -> Option<Interval> {
    i.days = i.days.checked_add(i32::try_from(i.micros / MICROS_PER_DAY).ok()?)?;
    i.micros %= MICROS_PER_DAY;
    i.months = i.months.checked_add(i.days / 30)?;
    i.days %= 30;
    if i.months > 0 && (i.days < 0 || i.days == 0 && i.micros < 0) {
        (i.days, i.months) = (i.days + 30, i.months - 1);
    } else if i.months < 0 && (i.days > 0 || i.days == 0 && i.micros > 0) {
        (i.days, i.months) = (i.days - 30, i.months + 1);
    }
    Some(same_sign(i))
}
