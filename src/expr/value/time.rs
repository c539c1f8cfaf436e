//! Arithmetic with dates, times and intervals, as PostgreSQL does it: months, then days, then time; UTC throughout.

use super::{division_by_zero, overflow};
use crate::expr::EvalResult;
use crate::record::Interval;
use crate::record::text::{MICROS_PER_DAY, civil_from_days, days_from_civil};

const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// A timestamp and an interval; a day that the month does not have becomes its last.
pub(in crate::expr) fn add_interval(timestamp: i64, i: &Interval) -> EvalResult<i64> {
    let mut t = timestamp;
    if i.months != 0 {
        t = add_months(t, i.months).ok_or_else(|| overflow("TIMESTAMP"))?;
    }
    i64::from(i.days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|d| t.checked_add(d))
        .and_then(|t| t.checked_add(i.micros))
        .ok_or_else(|| overflow("TIMESTAMP"))
}

fn add_months(timestamp: i64, months: i32) -> Option<i64> {
    let days = i32::try_from(timestamp.div_euclid(MICROS_PER_DAY)).ok()?;
    let (year, month, day) = civil_from_days(days);
    let total = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(months);
    let year = i32::try_from(total.div_euclid(12)).ok().filter(|y| (-290_000..=290_000).contains(y))?;
    let month = total.rem_euclid(12) as u32 + 1;
    let last = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let days = i64::from(days_from_civil(year, month, day.min(last)));
    days.checked_mul(MICROS_PER_DAY)?.checked_add(timestamp.rem_euclid(MICROS_PER_DAY))
}

/// A time of day and the time part of an interval, around the clock.
pub(in crate::expr) fn add_time(time: i64, i: &Interval) -> i64 {
    (time + i.micros % MICROS_PER_DAY).rem_euclid(MICROS_PER_DAY)
}

/// The time between two timestamps, in days and time.
pub(in crate::expr) fn since(later: i64, earlier: i64) -> EvalResult<Interval> {
    let micros = later.checked_sub(earlier).ok_or_else(|| overflow("INTERVAL"))?;
    let days = i32::try_from(micros / MICROS_PER_DAY).map_err(|_| overflow("INTERVAL"))?;
    Ok(Interval { months: 0, days, micros: micros % MICROS_PER_DAY })
}

/// The sum of two intervals, part by part.
pub(in crate::expr) fn plus_interval(a: &Interval, b: &Interval) -> EvalResult<Interval> {
    let sum = || {
        Some(Interval {
            months: a.months.checked_add(b.months)?,
            days: a.days.checked_add(b.days)?,
            micros: a.micros.checked_add(b.micros)?,
        })
    };
    sum().ok_or_else(|| overflow("INTERVAL"))
}

/// The interval with all signs turned.
pub(in crate::expr) fn negate_interval(i: &Interval) -> EvalResult<Interval> {
    let negative = || {
        Some(Interval {
            months: i.months.checked_neg()?,
            days: i.days.checked_neg()?,
            micros: i.micros.checked_neg()?,
        })
    };
    negative().ok_or_else(|| overflow("INTERVAL"))
}

/// An interval times a number; fractions of months go into days, of days into time.
pub(in crate::expr) fn multiply_interval(i: &Interval, by: f64) -> EvalResult<Interval> {
    scale(i, |part| part * by)
}

/// An interval divided by a number.
pub(in crate::expr) fn divide_interval(i: &Interval, by: f64) -> EvalResult<Interval> {
    if by == 0.0 {
        return Err(division_by_zero());
    }
    scale(i, |part| part / by)
}

/// PostgreSQL 15's `interval_mul`.
fn scale(i: &Interval, times: impl Fn(f64) -> f64) -> EvalResult<Interval> {
    let whole = |x: f64| {
        let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&x);
        if fits { Ok(x as i32) } else { Err(overflow("INTERVAL")) }
    };
    let to_micros = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let (all_months, all_days) = (times(f64::from(i.months)), times(f64::from(i.days)));
    let (months, mut days) = (whole(all_months)?, whole(all_days)?);
    let month_days = to_micros((all_months - f64::from(months)) * DAYS_PER_MONTH);
    let mut seconds =
        to_micros((all_days - f64::from(days) + month_days - month_days.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let extra = (seconds / SECONDS_PER_DAY).trunc();
        days = days.checked_add(whole(extra)?).ok_or_else(|| overflow("INTERVAL"))?;
        seconds -= extra * SECONDS_PER_DAY;
    }
    days = days.checked_add(whole(month_days)?).ok_or_else(|| overflow("INTERVAL"))?;
    let micros = (times(i.micros as f64) + seconds * 1e6).round_ties_even();
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros) {
        return Err(overflow("INTERVAL"));
    }
    Ok(Interval { months, days, micros: micros as i64 })
}
