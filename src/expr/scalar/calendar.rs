//! Units of time and the parts of dates, times and intervals, with PostgreSQL's names and numbering.

use super::args::{invalid, overflow};
use crate::expr::EvalResult;
use crate::record::text::{MICROS_PER_DAY, civil_from_days, days_from_civil};
use crate::record::{FieldValue, Interval};

pub(super) const MICROS_PER_HOUR: i64 = 3_600_000_000;
pub(super) const MICROS_PER_MINUTE: i64 = 60_000_000;
pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;

/// A unit of time or a part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    IsoDow,
    Doy,
    IsoYear,
    Epoch,
    Julian,
}

impl Unit {
    /// The unit of that name, in any case, with PostgreSQL's abbreviations.
    pub(super) fn parse(name: &str) -> EvalResult<Unit> {
        let mut lower = [0u8; 16];
        let unknown = || invalid(format!("unit \"{name}\" is not recognized"));
        let buffer = lower.get_mut(..name.len()).ok_or_else(unknown)?;
        buffer.copy_from_slice(name.as_bytes());
        buffer.make_ascii_lowercase();
        Ok(match &*buffer {
            b"microsecond" | b"microseconds" | b"us" | b"usec" | b"usecs" => Unit::Microsecond,
            b"millisecond" | b"milliseconds" | b"ms" | b"msec" | b"msecs" => Unit::Millisecond,
            b"second" | b"seconds" | b"s" | b"sec" | b"secs" => Unit::Second,
            b"minute" | b"minutes" | b"m" | b"min" | b"mins" => Unit::Minute,
            b"hour" | b"hours" | b"h" | b"hr" | b"hrs" => Unit::Hour,
            b"day" | b"days" | b"d" | b"dayofmonth" => Unit::Day,
            b"week" | b"weeks" | b"w" | b"weekofyear" => Unit::Week,
            b"month" | b"months" | b"mon" | b"mons" => Unit::Month,
            b"quarter" | b"quarters" | b"qtr" => Unit::Quarter,
            b"year" | b"years" | b"y" | b"yr" | b"yrs" => Unit::Year,
            b"decade" | b"decades" | b"dec" | b"decs" => Unit::Decade,
            b"century" | b"centuries" | b"c" | b"cent" => Unit::Century,
            b"millennium" | b"millenium" | b"millennia" | b"mil" | b"mils" => Unit::Millennium,
            b"dow" | b"dayofweek" => Unit::Dow,
            b"isodow" => Unit::IsoDow,
            b"doy" | b"dayofyear" => Unit::Doy,
            b"isoyear" => Unit::IsoYear,
            b"epoch" => Unit::Epoch,
            b"julian" => Unit::Julian,
            _ => return Err(unknown()),
        })
    }
}

/// A timestamp taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Days since 1970-01-01.
    pub day_number: i32,
    pub year: i32,
    pub month: u32,
    pub day: u32,
    /// Microseconds since midnight.
    pub time: i64,
}

impl Moment {
    pub(super) fn of(micros: i64) -> Self {
        let day_number = micros.div_euclid(MICROS_PER_DAY) as i32;
        let (year, month, day) = civil_from_days(day_number);
        Self { day_number, year, month, day, time: micros.rem_euclid(MICROS_PER_DAY) }
    }
    /// 0 is Sunday.
    pub(super) fn weekday(&self) -> i64 {
        // 1970-01-01 was a Thursday.
        (i64::from(self.day_number) + 4).rem_euclid(7)
    }
    pub(super) fn day_of_year(&self) -> i64 {
        i64::from(self.day_number - days_from_civil(self.year, 1, 1)) + 1
    }
    /// ISO 8601 year and week: week 1 is the one with the year's first Thursday.
    pub(super) fn iso_week(&self) -> (i32, i64) {
        let thursday = self.day_number - ((self.weekday() + 6) % 7) as i32 + 3;
        let (year, ..) = civil_from_days(thursday);
        (year, i64::from(thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }
}

/// An exact number: digits, and how many of them follow the point.
pub(super) type Exact = (i128, u32);

fn whole(n: i64) -> Exact {
    (i128::from(n), 0)
}
/// Rounds a year down to a multiple, counted from year 1 (centuries) or 0 (decades).
fn century_of(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) }
}

/// A part of a timestamp.
pub(super) fn part_of_timestamp(unit: Unit, micros: i64, is_date: bool) -> Exact {
    let m = Moment::of(micros);
    // There is no year 0: 1 BC is -1.
    let shown = |year: i32| if year > 0 { year } else { year - 1 };
    let year = i64::from(m.year);
    match unit {
        Unit::Epoch if is_date => whole(i64::from(m.day_number) * 86_400),
        Unit::Epoch => (i128::from(micros), 6),
        Unit::Year => whole(i64::from(shown(m.year))),
        Unit::IsoYear => whole(i64::from(shown(m.iso_week().0))),
        Unit::Decade => whole(year.div_euclid(10)),
        Unit::Century => whole(century_of(year, 100)),
        Unit::Millennium => whole(century_of(year, 1000)),
        Unit::Quarter => whole(i64::from((m.month - 1) / 3 + 1)),
        Unit::Month => whole(i64::from(m.month)),
        Unit::Week => whole(m.iso_week().1),
        Unit::Day => whole(i64::from(m.day)),
        Unit::Dow => whole(m.weekday()),
        Unit::IsoDow => whole((m.weekday() + 6) % 7 + 1),
        Unit::Doy => whole(m.day_of_year()),
        Unit::Julian if m.time == 0 => whole(i64::from(m.day_number) + 2_440_588),
        Unit::Julian => {
            let micro_days = i128::from(m.time) * 1_000_000_000_000 / i128::from(MICROS_PER_DAY);
            ((i128::from(m.day_number) + 2_440_588) * 1_000_000_000_000 + micro_days, 12)
        }
        _ => part_of_time(unit, m.time).unwrap_or(whole(0)),
    }
}
/// A part of a time of day; `None` if it has none of that name.
pub(super) fn part_of_time(unit: Unit, micros: i64) -> Option<Exact> {
    let in_minute = micros % MICROS_PER_MINUTE;
    Some(match unit {
        Unit::Hour => whole(micros / MICROS_PER_HOUR),
        Unit::Minute => whole(micros / MICROS_PER_MINUTE % 60),
        Unit::Second => (i128::from(in_minute), 6),
        Unit::Millisecond => (i128::from(in_minute), 3),
        Unit::Microsecond => whole(in_minute),
        Unit::Epoch => (i128::from(micros), 6),
        _ => return None,
    })
}
/// A part of an interval; `None` if it has none of that name.
pub(super) fn part_of_interval(unit: Unit, i: &Interval) -> Option<Exact> {
    let (years, months) = (i64::from(i.months / 12), i64::from(i.months % 12));
    Some(match unit {
        Unit::Year => whole(years),
        Unit::Decade => whole(years / 10),
        Unit::Century => whole(years / 100),
        Unit::Millennium => whole(years / 1000),
        Unit::Quarter => whole(months / 3 + 1),
        Unit::Month => whole(months),
        Unit::Day => whole(i64::from(i.days)),
        Unit::Epoch => {
            // A year has 365.25 days here, a month 30.
            let quarter_days = i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(i.days) * 4;
            (quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(i.micros), 6)
        }
        unit => return part_of_time(unit, i.micros),
    })
}

/// The timestamp at which a day begins.
pub(super) fn midnight(day: i32) -> EvalResult<i64> {
    i64::from(day).checked_mul(MICROS_PER_DAY).ok_or_else(|| overflow("DATE out of range for TIMESTAMP"))
}
/// A part of a DATE, TIMESTAMP, TIME or INTERVAL.
pub(super) fn part(unit: Unit, v: &FieldValue) -> EvalResult<Exact> {
    let found = match v {
        FieldValue::Timestamp(t) => Some(part_of_timestamp(unit, *t, false)),
        FieldValue::Date(d) => Some(part_of_timestamp(unit, midnight(*d)?, true)),
        FieldValue::Time(t) => part_of_time(unit, *t),
        FieldValue::Interval(i) => part_of_interval(unit, i),
        other => {
            return Err(invalid(format!(
                "a DATE, TIMESTAMP, TIME or INTERVAL is needed, not {}",
                other.data_type()
            )));
        }
    };
    found.ok_or_else(|| {
        invalid(format!("unit {unit:?} is not supported for {}", v.data_type()).to_lowercase())
    })
}

/// The start of the unit that a timestamp lies in.
pub(super) fn truncate(unit: Unit, micros: i64) -> EvalResult<i64> {
    let m = Moment::of(micros);
    let first =
        |year: i32, month: u32| i64::from(days_from_civil(year, month, 1)).checked_mul(MICROS_PER_DAY);
    // Centuries and millennia begin with the year after the round one.
    let first_of = |length: i32| (m.year - 1).div_euclid(length) * length + 1;
    let start = match unit {
        Unit::Microsecond => Some(micros),
        Unit::Millisecond => micros.checked_sub(micros.rem_euclid(1000)),
        Unit::Second => micros.checked_sub(micros.rem_euclid(MICROS_PER_SECOND)),
        Unit::Minute => micros.checked_sub(micros.rem_euclid(MICROS_PER_MINUTE)),
        Unit::Hour => micros.checked_sub(micros.rem_euclid(MICROS_PER_HOUR)),
        Unit::Day => micros.checked_sub(m.time),
        Unit::Week => micros.checked_sub(m.time + (m.weekday() + 6) % 7 * MICROS_PER_DAY),
        Unit::Month => first(m.year, m.month),
        Unit::Quarter => first(m.year, (m.month - 1) / 3 * 3 + 1),
        Unit::Year => first(m.year, 1),
        Unit::Decade => first(m.year.div_euclid(10) * 10, 1),
        Unit::Century => first(first_of(100), 1),
        Unit::Millennium => first(first_of(1000), 1),
        other => {
            return Err(invalid(format!(
                "timestamps cannot be truncated to {}",
                format!("{other:?}").to_lowercase()
            )));
        }
    };
    start.ok_or_else(|| overflow("TIMESTAMP out of range"))
}
/// An interval without the parts below a unit.
pub(super) fn truncate_interval(unit: Unit, i: &Interval) -> EvalResult<Interval> {
    let months = |n: i32| Ok(Interval { months: i.months / n * n, days: 0, micros: 0 });
    let micros = |n: i64| Ok(Interval { micros: i.micros / n * n, ..*i });
    match unit {
        Unit::Millennium => months(12_000),
        Unit::Century => months(1200),
        Unit::Decade => months(120),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Day => Ok(Interval { micros: 0, ..*i }),
        Unit::Hour => micros(MICROS_PER_HOUR),
        Unit::Minute => micros(MICROS_PER_MINUTE),
        Unit::Second => micros(MICROS_PER_SECOND),
        Unit::Millisecond => micros(1000),
        Unit::Microsecond => Ok(*i),
        other => {
            Err(invalid(format!("intervals cannot be truncated to {}", format!("{other:?}").to_lowercase())))
        }
    }
}

pub(super) fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Name of month 1 to 12.
pub(super) fn month_name(month: u32) -> &'static str {
    MONTHS.get((month as usize).wrapping_sub(1)).copied().unwrap_or_default()
}
/// Name of weekday 0 (Sunday) to 6.
pub(super) fn day_name(weekday: i64) -> &'static str {
    DAYS.get(weekday.rem_euclid(7) as usize).copied().unwrap_or_default()
}
