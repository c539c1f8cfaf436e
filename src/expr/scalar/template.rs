//! PostgreSQL's date and time templates (`YYYY-MM-DD HH24:MI:SS`), cut into fields and literal text.

use super::args::invalid;
use crate::expr::EvalResult;

/// What a template pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Year with a comma after the thousands.
    YearComma,
    /// The last n digits of the year.
    Year(u8),
    IsoYear(u8),
    /// BC/AD, with dots if so.
    Era(bool),
    Month,
    MonthName,
    MonthAbbreviation,
    MonthRoman,
    Day,
    DayName,
    DayAbbreviation,
    DayOfYear,
    IsoDayOfYear,
    /// 1 is Sunday.
    Weekday,
    /// 1 is Monday.
    IsoWeekday,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Quarter,
    Century,
    Julian,
    Hour24,
    Hour12,
    /// AM/PM, with dots if so.
    Meridiem(bool),
    Minute,
    Second,
    /// That many digits of the fraction of the second.
    Fraction(u8),
    SecondOfDay,
    Zone,
    ZoneHour,
    ZoneMinute,
    Offset,
}

impl Field {
    /// Whether it is a run of digits; then it ends the digits of the field before.
    pub(super) fn is_number(self) -> bool {
        !matches!(
            self,
            Field::Era(_)
                | Field::MonthName
                | Field::MonthAbbreviation
                | Field::MonthRoman
                | Field::DayName
                | Field::DayAbbreviation
                | Field::Meridiem(_)
                | Field::Zone
                | Field::ZoneHour
                | Field::Offset
        )
    }
}

/// The patterns; of two that fit, the one that stands first is taken.
const PATTERNS: &[(&str, Field)] = &[
    ("A.D.", Field::Era(true)),
    ("A.M.", Field::Meridiem(true)),
    ("AD", Field::Era(false)),
    ("AM", Field::Meridiem(false)),
    ("B.C.", Field::Era(true)),
    ("BC", Field::Era(false)),
    ("CC", Field::Century),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DY", Field::DayAbbreviation),
    ("D", Field::Weekday),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoWeekday),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthAbbreviation),
    ("MS", Field::Fraction(3)),
    ("OF", Field::Offset),
    ("P.M.", Field::Meridiem(true)),
    ("PM", Field::Meridiem(false)),
    ("Q", Field::Quarter),
    ("RM", Field::MonthRoman),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::Zone),
    ("US", Field::Fraction(6)),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}
impl Case {
    fn of(pattern: &str) -> Self {
        let mut letters = pattern.chars().filter(char::is_ascii_alphabetic).map(|c| c.is_ascii_uppercase());
        match (letters.next(), letters.next()) {
            (Some(true), Some(false)) => Case::Capital,
            (Some(true), _) => Case::Upper,
            _ => Case::Lower,
        }
    }
    pub(super) fn apply(self, name: &str) -> String {
        match self {
            Case::Upper => name.to_ascii_uppercase(),
            Case::Capital => name.into(),
            Case::Lower => name.to_ascii_lowercase(),
        }
    }
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Piece<'t> {
    /// A character that stands for itself.
    Literal(char),
    /// The same, from inside of double quotes.
    Quoted(char),
    Field {
        field: Field,
        /// As it is written, for errors.
        pattern: &'t str,
        case: Case,
        /// FM: no padding.
        fill: bool,
        /// TH or th: an ordinal suffix.
        ordinal: Option<Case>,
    },
}

fn starts_with(s: &str, pattern: &str) -> bool {
    s.get(..pattern.len()).is_some_and(|head| head.eq_ignore_ascii_case(pattern))
}

/// Cuts a template into its parts.
pub(super) fn parse(template: &str) -> EvalResult<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let (mut fill, mut translated) = (false, false);
    while let Some(c) = rest.chars().next() {
        let after = |n: usize| rest.get(n..).unwrap_or_default();
        if starts_with(rest, "FM") {
            (fill, rest) = (true, after(2));
            continue;
        }
        // Translated names are not padded; names are English here.
        if starts_with(rest, "TM") {
            (translated, rest) = (true, after(2));
            continue;
        }
        // Exact matching changes nothing here.
        if starts_with(rest, "FX") {
            rest = after(2);
            continue;
        }
        if c == '"' {
            rest = quoted(after(1), &mut pieces)?;
            continue;
        }
        if c == '\\' && after(1).starts_with('"') {
            pieces.push(Piece::Literal('"'));
            rest = after(2);
            continue;
        }
        let Some((pattern, field)) = PATTERNS.iter().find(|(p, _)| starts_with(rest, p)) else {
            pieces.push(Piece::Literal(c));
            rest = after(c.len_utf8());
            continue;
        };
        let written = rest.get(..pattern.len()).unwrap_or_default();
        rest = after(pattern.len());
        let mut ordinal = None;
        if starts_with(rest, "TH") && field.is_number() {
            ordinal = Some(Case::of(rest));
            rest = rest.get(2..).unwrap_or_default();
        }
        let name = matches!(field, Field::MonthName | Field::DayName);
        let fill = std::mem::take(&mut fill) || std::mem::take(&mut translated) && name;
        pieces.push(Piece::Field { field: *field, pattern: written, case: Case::of(written), fill, ordinal });
    }
    Ok(pieces)
}
/// Takes text up to the closing quote.
fn quoted<'t>(mut rest: &'t str, pieces: &mut Vec<Piece<'t>>) -> EvalResult<&'t str> {
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') => return Ok(chars.as_str()),
            Some('\\') => pieces.push(Piece::Quoted(chars.next().unwrap_or('\\'))),
            Some(c) => pieces.push(Piece::Quoted(c)),
            None => return Err(invalid("a double quote in the format is not closed")),
        }
        rest = chars.as_str();
    }
}
