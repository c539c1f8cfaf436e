//! Date and time out of text by a template: `to_timestamp`, `to_date`, and `strptime` with its own patterns.

use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;

use super::args::{invalid, text};
use super::calendar::{DAYS, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MONTHS, days_in_month};
use super::datetime::{DATE, TIMESTAMP};
use super::row::{TEXT, row};
use super::template::{Field, Piece, parse};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::FieldValue;
use crate::record::text::{MICROS_PER_DAY, days_from_civil, parse_date};

pub(super) fn functions() -> Vec<FunctionSpec> {
    vec![
        row(
            "to_timestamp(text, format)",
            "A timestamp out of text by a template: YYYY MM DD HH24 MI SS MS US AM Mon TZH …",
            ("to_timestamp('05 Dec 2000 13:45', 'DD Mon YYYY HH24:MI')", "2000-12-05T13:45:00Z"),
            [TEXT, TEXT],
            TIMESTAMP,
            |_, a| read(text(a, 0)?, text(a, 1)?).map(FieldValue::Timestamp),
        ),
        row(
            "to_date(text, format)",
            "A date out of text by a template",
            ("to_date('05 Dec 2000', 'DD Mon YYYY')", "2000-12-05"),
            [TEXT, TEXT],
            DATE,
            |_, a| Ok(FieldValue::Date(read(text(a, 0)?, text(a, 1)?)?.div_euclid(MICROS_PER_DAY) as i32)),
        ),
        row(
            "to_date(text)",
            "A date out of YYYY-MM-DD",
            ("to_date('2000-12-05')", "2000-12-05"),
            [TEXT],
            DATE,
            |_, a| {
                let s = text(a, 0)?;
                parse_date(s).map(FieldValue::Date).ok_or_else(|| invalid(format!("'{s}' is not a date")))
            },
        ),
        row(
            "strptime(text, format)",
            "A timestamp out of text by a format of strptime(3)",
            ("strptime('02/03/1992 13:45', '%d/%m/%Y %H:%M')", "1992-03-02T13:45:00Z"),
            [TEXT, TEXT],
            TIMESTAMP,
            |_, a| strptime(text(a, 0)?, text(a, 1)?),
        ),
        row(
            "try_strptime(text, format)",
            "A timestamp out of text by a format of strptime(3); NULL if it does not fit",
            ("try_strptime('x', '%Y') IS NULL", "true"),
            [TEXT, TEXT],
            TIMESTAMP,
            |_, a| Ok(strptime(text(a, 0)?, text(a, 1)?).unwrap_or_default()),
        ),
    ]
}

fn strptime(s: &str, format: &str) -> EvalResult<FieldValue> {
    let failed = |e: jiff::Error| invalid(format!("'{s}' does not fit the format '{format}': {e}"));
    let parsed = BrokenDownTime::parse(format, s).map_err(failed)?;
    let time = match parsed.to_time() {
        Ok(time) => time,
        Err(_) => civil::Time::midnight(),
    };
    let local = parsed.to_date().map_err(failed)?.to_datetime(time);
    let offset = parsed.offset().unwrap_or(jiff::tz::Offset::UTC);
    let instant = offset.to_timestamp(local).map_err(failed)?;
    Ok(FieldValue::Timestamp(instant.as_microsecond()))
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_weekday: Option<i64>,
    julian: Option<i64>,
    before_christ: bool,
    hour: i64,
    twelve: bool,
    afternoon: bool,
    minute: i64,
    second: i64,
    micros: i64,
    second_of_day: Option<i64>,
    /// Seconds east of UTC.
    offset: i64,
}

fn out_of_range(s: &str) -> Box<crate::record::RecordError> {
    invalid(format!("date/time field value out of range: \"{s}\""))
}

/// Reads a text by a template, as PostgreSQL does without FX: blanks before a field are skipped, a separator of the
/// template takes one separator of the text if there is one, and what is left over is ignored.
fn read(s: &str, format: &str) -> EvalResult<i64> {
    let pieces = parse(format)?;
    let mut reading = Reading::default();
    let mut rest = s;
    for (i, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Quoted(_) => rest = skip_char(rest),
            Piece::Literal(c) if c.is_alphanumeric() => rest = skip_char(rest),
            Piece::Literal(c) if c.is_whitespace() => rest = rest.trim_start(),
            Piece::Literal(_) => {
                rest = rest.trim_start();
                let signed = matches!(
                    pieces.get(i + 1),
                    Some(Piece::Field { field: Field::ZoneHour | Field::Offset, .. })
                );
                if rest.starts_with(|c: char| !c.is_alphanumeric())
                    && !(signed && rest.starts_with(['+', '-']))
                {
                    rest = skip_char(rest);
                }
            }
            Piece::Field { field, pattern, fill, .. } => {
                rest = rest.trim_start();
                let next_is_number =
                    matches!(pieces.get(i + 1), Some(Piece::Field { field, .. }) if field.is_number());
                let limit = if next_is_number && !fill { Some(()) } else { None };
                let taken = take(*field, limit.is_some(), rest, &mut reading);
                rest = taken
                    .ok_or_else(|| invalid(format!("invalid value \"{}\" for \"{pattern}\"", head(rest))))?;
            }
        }
    }
    reading.finish().ok_or_else(|| out_of_range(s))
}
fn skip_char(s: &str) -> &str {
    let mut chars = s.chars();
    chars.next();
    chars.as_str()
}
fn head(s: &str) -> String {
    s.chars().take(12).collect()
}
/// Digits from the front, at most so many.
fn number(s: &str, most: usize) -> Option<(i64, usize, &str)> {
    let end = s.bytes().take(most.min(18)).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = s.split_at_checked(end)?;
    Some((digits.parse().ok()?, end, rest))
}
/// One of these names from the front, whole or its first three letters, in any case; which, from 0.
fn name<'s>(s: &'s str, names: &[&str], whole: bool) -> Option<(i64, &'s str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if whole { name } else { name.get(..3)? };
        let head = s.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (i as i64, s.get(name.len()..).unwrap_or_default()))
    })
}
fn either<'s>(s: &'s str, words: &[(&str, bool)]) -> Option<(bool, &'s str)> {
    words.iter().find_map(|(word, meaning)| {
        s.get(..word.len())?
            .eq_ignore_ascii_case(word)
            .then(|| (*meaning, s.get(word.len()..).unwrap_or_default()))
    })
}
/// PostgreSQL's completion of years of fewer than four digits: the one nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

fn take<'s>(field: Field, exact_width: bool, s: &'s str, r: &mut Reading) -> Option<&'s str> {
    let digits = |width: usize| number(s, if exact_width { width } else { usize::MAX });
    let two = || digits(2).map(|(n, _, rest)| (n, rest));
    let rest;
    match field {
        Field::Year(4) => {
            let (n, _, tail) = digits(4)?;
            (r.year, rest) = (Some(n), tail);
        }
        Field::Year(width) => {
            let (n, taken, tail) = digits(width.into())?;
            (r.year, rest) = (Some(if taken < 4 { near_2020(n) } else { n }), tail);
        }
        Field::YearComma => {
            let (thousands, _, tail) = number(s, usize::MAX)?;
            let (units, _, tail) = number(tail.strip_prefix(',')?, 3)?;
            (r.year, rest) = (Some(thousands * 1000 + units), tail);
        }
        Field::IsoYear(width) => {
            let (n, taken, tail) = digits(width.into())?;
            (r.iso_year, rest) = (Some(if width < 4 && taken < 4 { near_2020(n) } else { n }), tail);
        }
        Field::Era(_) => {
            (r.before_christ, rest) =
                either(s, &[("B.C.", true), ("BC", true), ("A.D.", false), ("AD", false)])?
        }
        Field::Month => {
            let (n, tail) = two()?;
            (r.month, rest) = (Some(n), tail);
        }
        Field::MonthName | Field::MonthAbbreviation => {
            let (n, tail) = name(s, &MONTHS, true)
                .filter(|_| field == Field::MonthName)
                .or_else(|| name(s, &MONTHS, false))?;
            (r.month, rest) = (Some(n + 1), tail);
        }
        Field::DayName | Field::DayAbbreviation => {
            // The date decides; the name is only read.
            (_, rest) =
                name(s, &DAYS, true).filter(|_| field == Field::DayName).or_else(|| name(s, &DAYS, false))?;
        }
        Field::Day => {
            let (n, tail) = two()?;
            (r.day, rest) = (Some(n), tail);
        }
        Field::DayOfYear => {
            let (n, _, tail) = digits(3)?;
            (r.day_of_year, rest) = (Some(n), tail);
        }
        Field::IsoWeek => {
            let (n, tail) = two()?;
            (r.iso_week, rest) = (Some(n), tail);
        }
        Field::IsoWeekday => {
            let (n, _, tail) = digits(1)?;
            (r.iso_weekday, rest) = (Some(n), tail);
        }
        Field::Quarter => (_, _, rest) = digits(1)?,
        Field::Julian => {
            let (n, _, tail) = number(s, usize::MAX)?;
            (r.julian, rest) = (Some(n), tail);
        }
        _ => return take_time(field, exact_width, s, r),
    }
    Some(rest)
}
fn take_time<'s>(field: Field, exact_width: bool, s: &'s str, r: &mut Reading) -> Option<&'s str> {
    let two = || number(s, if exact_width { 2 } else { usize::MAX }).map(|(n, _, rest)| (n, rest));
    let rest;
    match field {
        Field::Hour24 => (r.hour, rest) = two()?,
        Field::Hour12 => {
            (r.hour, rest) = two()?;
            r.twelve = true;
        }
        Field::Meridiem(_) => {
            (r.afternoon, rest) = either(s, &[("A.M.", false), ("P.M.", true), ("AM", false), ("PM", true)])?;
            r.twelve = true;
        }
        Field::Minute => (r.minute, rest) = two()?,
        Field::Second => (r.second, rest) = two()?,
        Field::Fraction(width) => {
            let (n, taken, tail) = number(s, width.into())?;
            r.micros = n * 10i64.pow(6 - taken.min(6) as u32);
            rest = tail;
        }
        Field::SecondOfDay => {
            let (n, _, tail) = number(s, 5)?;
            (r.second_of_day, rest) = (Some(n), tail);
        }
        Field::Zone => (_, rest) = either(s, &[("UTC", true), ("GMT", true), ("Z", true)])?,
        Field::ZoneHour | Field::Offset => {
            let (sign, tail) = match s.strip_prefix('-') {
                Some(tail) => (-1, tail),
                None => (1, s.strip_prefix('+').unwrap_or(s)),
            };
            let (hours, _, mut tail) = number(tail, 2)?;
            r.offset += sign * hours * 3600;
            if field == Field::Offset
                && let Some((minutes, _, after)) = number(tail.strip_prefix(':').unwrap_or(tail), 2)
            {
                r.offset += sign * minutes * 60;
                tail = after;
            }
            rest = tail;
        }
        Field::ZoneMinute => {
            let (minutes, tail) = two()?;
            r.offset += if r.offset < 0 { -minutes } else { minutes } * 60;
            rest = tail;
        }
        _ => return None,
    }
    Some(rest)
}

impl Reading {
    /// The timestamp; `None` if a field is out of its range.
    fn finish(self) -> Option<i64> {
        let hour = match self.hour {
            h if !self.twelve => h,
            12 => {
                if self.afternoon {
                    12
                } else {
                    0
                }
            }
            h @ 1..12 => {
                if self.afternoon {
                    h + 12
                } else {
                    h
                }
            }
            _ => return None,
        };
        let fits =
            (0..24).contains(&hour) && (0..60).contains(&self.minute) && (0..60).contains(&self.second);
        let time = match self.second_of_day {
            Some(n) if (0..86_400).contains(&n) => n * MICROS_PER_SECOND,
            None if fits => {
                hour * MICROS_PER_HOUR + self.minute * MICROS_PER_MINUTE + self.second * MICROS_PER_SECOND
            }
            _ => return None,
        };
        let days = self.days()?;
        (days * MICROS_PER_DAY).checked_add(time + self.micros - self.offset * MICROS_PER_SECOND)
    }
    fn days(&self) -> Option<i64> {
        if let Some(julian) = self.julian {
            return Some(julian - 2_440_588).filter(|d| d.abs() < 100_000_000);
        }
        if let Some(year) = self.iso_year.or(self.year).filter(|_| self.iso_week.is_some()) {
            let (week, weekday) = (self.iso_week.unwrap_or(1), self.iso_weekday.unwrap_or(1));
            if !(1..=9999).contains(&year) || !(1..=53).contains(&week) || !(1..=7).contains(&weekday) {
                return None;
            }
            // The Monday of the week with January 4.
            let fourth = i64::from(days_from_civil(year as i32, 1, 4));
            let monday = fourth - (fourth + 3).rem_euclid(7);
            return Some(monday + (week - 1) * 7 + weekday - 1);
        }
        let mut year = self.year.or(self.iso_year).unwrap_or(0);
        if self.before_christ {
            year = 1 - year;
        }
        let year = i32::try_from(year).ok().filter(|y| (-4712..=9999).contains(y))?;
        if let Some(day) = self.day_of_year {
            let length = 337 + i64::from(days_in_month(year, 2));
            return (1..=length).contains(&day).then(|| i64::from(days_from_civil(year, 1, 1)) + day - 1);
        }
        let month = u32::try_from(self.month.unwrap_or(1)).ok().filter(|m| (1..=12).contains(m))?;
        let day = u32::try_from(self.day.unwrap_or(1))
            .ok()
            .filter(|d| (1..=days_in_month(year, month)).contains(d))?;
        Some(i64::from(days_from_civil(year, month, day)))
    }
}
