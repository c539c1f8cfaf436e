//! Date and time as text by a template: `to_char`, and `strftime` with its own patterns.

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use super::args::{any, invalid, text, within_limit};
use super::calendar::{MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, Moment, day_name, month_name};
use super::datetime::{INTERVAL, TIME, TIMESTAMP, timestamp};
use super::row::{TEXT, row};
use super::template::{Case, Field, Piece, parse};
use crate::expr::{EvalResult, FunctionSpec};
use crate::record::{FieldValue, Interval};

pub(super) fn functions() -> Vec<FunctionSpec> {
    let mut all = vec![
        row(
            "to_char(timestamp, format)",
            "As text by a template: YYYY MM DD HH24 HH12 MI SS MS US AM Month Mon Day Dy Q IW …",
            (
                "to_char(TIMESTAMP '2002-04-20 17:31:12.66', 'FMDay, FMDDth FMMonth YYYY HH12:MI:SS.MS AM')",
                "Saturday, 20th April 2002 05:31:12.660 PM",
            ),
            [TIMESTAMP, TEXT],
            TEXT,
            |_, a| moment(timestamp(a, 0)?, text(a, 1)?),
        ),
        row(
            "to_char(interval, format)",
            "As text by a template: YYYY MM DD HH24 MI SS MS US",
            ("to_char(INTERVAL '15 hours 2 minutes 12 seconds', 'HH24:MI:SS')", "15:02:12"),
            [INTERVAL, TEXT],
            TEXT,
            |_, a| match any(a, 0) {
                FieldValue::Interval(i) => span(i, text(a, 1)?),
                _ => Err(invalid("an INTERVAL is needed")),
            },
        ),
        row(
            "to_char(time, format)",
            "As text by a template: HH24 HH12 MI SS MS US AM",
            ("to_char(TIME '17:31:12', 'HH12:MI AM')", "05:31 PM"),
            [TIME, TEXT],
            TEXT,
            |_, a| match any(a, 0) {
                FieldValue::Time(t) => span(&Interval { months: 0, days: 0, micros: *t }, text(a, 1)?),
                _ => Err(invalid("a TIME is needed")),
            },
        ),
    ];
    for (signature, example) in [
        ("strftime(timestamp, format)", ("strftime(DATE '1992-03-02', '%d/%m/%Y')", "02/03/1992")),
        (
            "date_format(timestamp, format)",
            ("date_format(TIMESTAMP '2026-07-04 13:45:06', '%H:%M %A')", "13:45 Saturday"),
        ),
    ] {
        all.push(row(
            signature,
            "As text by a format of strftime(3), e.g. %Y-%m-%d %H:%M:%S",
            example,
            [TIMESTAMP, TEXT],
            TEXT,
            |_, a| strftime(timestamp(a, 0)?, text(a, 1)?),
        ));
    }
    all
}

fn strftime(micros: i64, format: &str) -> EvalResult<FieldValue> {
    let instant = jiff::Timestamp::from_microsecond(micros).map_err(|e| invalid(e.to_string()))?;
    let shown = BrokenDownTime::from(&instant.to_zoned(TimeZone::UTC)).to_string(format);
    let shown = shown.map_err(|e| invalid(format!("invalid format: {e}")))?;
    within_limit(shown.len())?;
    Ok(shown.into())
}

/// What the fields of a template are filled from.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    /// Microseconds; of an interval also more than a day, or negative.
    time: i64,
    /// Of a timestamp: the calendar.
    moment: Option<Moment>,
}

fn moment(micros: i64, format: &str) -> EvalResult<FieldValue> {
    let m = Moment::of(micros);
    let parts = Parts {
        year: m.year.into(),
        month: m.month.into(),
        day: m.day.into(),
        time: m.time,
        moment: Some(m),
    };
    fill(&parts, format)
}
fn span(i: &Interval, format: &str) -> EvalResult<FieldValue> {
    let parts = Parts {
        year: (i.months / 12).into(),
        month: (i.months % 12).into(),
        day: i.days.into(),
        time: i.micros,
        moment: None,
    };
    fill(&parts, format)
}

fn fill(parts: &Parts, format: &str) -> EvalResult<FieldValue> {
    let mut out = String::with_capacity(format.len() + 16);
    for piece in parse(format)? {
        match piece {
            Piece::Literal(c) | Piece::Quoted(c) => out.push(c),
            Piece::Field { field, case, fill, ordinal, .. } => {
                if let Some(n) = number(parts, field)? {
                    let width = match field {
                        _ if fill => 0,
                        // The sign of an interval's days counts as one of the digits.
                        Field::Day if n < 0 => 1,
                        field => width(field),
                    };
                    digits(n, width, &mut out);
                    if let Some(case) = ordinal {
                        out.push_str(&case_of_suffix(case, suffix(n)));
                    }
                } else {
                    out.push_str(&word(parts, field, case, fill)?);
                }
            }
        }
    }
    within_limit(out.len())?;
    Ok(out.into())
}
fn case_of_suffix(case: Case, suffix: &str) -> String {
    if case == Case::Lower { suffix.into() } else { suffix.to_ascii_uppercase() }
}
fn suffix(n: i64) -> &'static str {
    match (n.abs() % 100, n.abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}
fn digits(n: i64, width: usize, out: &mut String) {
    if n < 0 {
        out.push('-');
    }
    out.push_str(&format!("{:0width$}", n.unsigned_abs()));
}
fn width(field: Field) -> usize {
    match field {
        Field::Year(n) | Field::IsoYear(n) | Field::Fraction(n) => n.into(),
        Field::DayOfYear | Field::IsoDayOfYear => 3,
        Field::Weekday
        | Field::IsoWeekday
        | Field::WeekOfMonth
        | Field::Quarter
        | Field::Julian
        | Field::SecondOfDay => 0,
        _ => 2,
    }
}
/// The value of a field that is a number; `None` for the others.
fn number(parts: &Parts, field: Field) -> EvalResult<Option<i64>> {
    let shown = |year: i64| if year > 0 { year } else { 1 - year };
    let last = |year: i64, n: u8| if n < 4 { year % 10i64.pow(n.into()) } else { year };
    let (hour, date) = (parts.time / MICROS_PER_HOUR, parts.moment.as_ref());
    let calendar = || date.ok_or_else(|| invalid("intervals are not tied to specific calendar dates"));
    Ok(Some(match field {
        Field::Year(n) if date.is_none() => last(parts.year, n),
        Field::Year(n) => last(shown(parts.year), n),
        Field::IsoYear(n) => last(shown(calendar()?.iso_week().0.into()), n),
        Field::Month => parts.month,
        Field::Day => parts.day,
        Field::DayOfYear => calendar()?.day_of_year(),
        Field::IsoDayOfYear => (calendar()?.iso_week().1 - 1) * 7 + (calendar()?.weekday() + 6) % 7 + 1,
        Field::Weekday => calendar()?.weekday() + 1,
        Field::IsoWeekday => (calendar()?.weekday() + 6) % 7 + 1,
        Field::WeekOfMonth => (i64::from(calendar()?.day) - 1) / 7 + 1,
        Field::WeekOfYear => (calendar()?.day_of_year() - 1) / 7 + 1,
        Field::IsoWeek => calendar()?.iso_week().1,
        Field::Quarter => (i64::from(calendar()?.month) - 1) / 3 + 1,
        Field::Century => match parts.year {
            year if year > 0 => (year + 99) / 100,
            year => year / 100 - 1,
        },
        Field::Julian => i64::from(calendar()?.day_number) + 2_440_588,
        Field::Hour24 => hour,
        Field::Hour12 => match hour % 12 {
            0 => 12,
            h => h,
        },
        Field::Minute => parts.time / MICROS_PER_MINUTE % 60,
        Field::Second => parts.time / MICROS_PER_SECOND % 60,
        Field::Fraction(n) => parts.time % MICROS_PER_SECOND / 10i64.pow(6 - u32::from(n.min(6))),
        Field::SecondOfDay => parts.time / MICROS_PER_SECOND,
        Field::ZoneMinute => 0,
        _ => return Ok(None),
    }))
}
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The text of a field that is no number.
fn word(parts: &Parts, field: Field, case: Case, fill: bool) -> EvalResult<String> {
    let calendar =
        || parts.moment.as_ref().ok_or_else(|| invalid("invalid format specification for an interval value"));
    let padded = |name: String, width: usize| if fill { name } else { format!("{name:<width$}") };
    let dotted = |dots: bool, with: &str, without: &str| case.apply_all(if dots { with } else { without });
    Ok(match field {
        Field::YearComma => {
            let year = if parts.year > 0 { parts.year } else { 1 - parts.year };
            format!("{},{:03}", year / 1000, year % 1000)
        }
        Field::Era(dots) if parts.year > 0 => dotted(dots, "A.D.", "AD"),
        Field::Era(dots) => dotted(dots, "B.C.", "BC"),
        Field::Meridiem(dots) if (parts.time / MICROS_PER_HOUR) % 24 >= 12 => dotted(dots, "P.M.", "PM"),
        Field::Meridiem(dots) => dotted(dots, "A.M.", "AM"),
        Field::MonthName => padded(case.apply(month_name(calendar()?.month)), 9),
        Field::MonthAbbreviation => case.apply(month_name(calendar()?.month).get(..3).unwrap_or_default()),
        Field::MonthRoman => {
            let month =
                usize::try_from(parts.month - 1).ok().and_then(|m| ROMAN.get(m)).copied().unwrap_or_default();
            padded(case.apply_all(month), 4)
        }
        Field::DayName => padded(case.apply(day_name(calendar()?.weekday())), 9),
        Field::DayAbbreviation => case.apply(day_name(calendar()?.weekday()).get(..3).unwrap_or_default()),
        // TIMESTAMP is UTC.
        Field::Zone => calendar().map(|_| case.apply_all("UTC"))?,
        Field::ZoneHour | Field::Offset => calendar().map(|_| "+00".into())?,
        _ => String::new(),
    })
}
impl Case {
    /// For words that have no capitalised form.
    fn apply_all(self, word: &str) -> String {
        if self == Case::Lower { word.to_ascii_lowercase() } else { word.into() }
    }
}
