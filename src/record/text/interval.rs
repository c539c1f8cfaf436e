//! INTERVAL: ISO 8601 durations and PostgreSQL's spelling.

use super::MICROS_PER_DAY;
use super::datetime::write_fraction;
use super::number::write_i64;
use crate::record::Interval;

/// Billionths: amounts are held in them so that `1.5 hours` is exact.
const NANO: i128 = 1_000_000_000;

/// Sums parts; overflow shows at the end.
#[derive(Default)]
struct Parts {
    months: i128,
    days: i128,
    micros: i128,
}

#[derive(Clone, Copy)]
enum Unit {
    Months(i128),
    Days(i128),
    Micros(i128),
}

impl Parts {
    /// Adds `amount` billionths of a unit. As in PostgreSQL, the fraction of a year goes into months, that of a
    /// month (of 30 days) into days, that of a day into time.
    fn add(&mut self, amount: i128, unit: Unit) {
        match unit {
            Unit::Months(n) => {
                let total = amount * n;
                self.months += total / NANO;
                if n == 1 {
                    self.add(total % NANO, Unit::Days(30));
                }
            }
            Unit::Days(n) => {
                let total = amount * n;
                self.days += total / NANO;
                self.add(total % NANO, Unit::Micros(i128::from(MICROS_PER_DAY)));
            }
            Unit::Micros(n) => {
                let total = amount * n;
                self.micros += (total + NANO / 2).div_euclid(NANO);
            }
        }
    }
    fn finish(self, negate: bool) -> Option<Interval> {
        let sign = if negate { -1 } else { 1 };
        Some(Interval {
            months: i32::try_from(self.months * sign).ok()?,
            days: i32::try_from(self.days * sign).ok()?,
            micros: i64::try_from(self.micros * sign).ok()?,
        })
    }
}

/// Splits `[+-]digits[.digits]` off the front, in billionths.
fn take_number(text: &str) -> Option<(i128, &str)> {
    let (sign, rest) = take_sign(text);
    let whole_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, mut rest) = rest.split_at_checked(whole_end)?;
    let mut fraction = "";
    if let Some(tail) = rest.strip_prefix('.') {
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        (fraction, rest) = tail.split_at_checked(end)?;
    }
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let number = |s: &str| s.bytes().fold(0i128, |n, b| n * 10 + i128::from(b - b'0'));
    let nanos = number(fraction) * 10i128.pow(9 - fraction.len() as u32);
    Some((sign * (number(whole) * NANO + nanos), rest))
}

fn take_sign(text: &str) -> (i128, &str) {
    match text.as_bytes() {
        [b'-', ..] => (-1, text.get(1..).unwrap_or("")),
        [b'+', ..] => (1, text.get(1..).unwrap_or("")),
        _ => (1, text),
    }
}

/// Reads ISO 8601 durations (`P1Y2M3DT4H5M6.7S`, weeks, signs before each part or before the `P`) and PostgreSQL's
/// forms: `1 year 2 mons 3 days 04:05:06.7`, `3 hours`, `5s`, `1-2`, `3 04:05`, `2 days ago`; a number alone is
/// seconds.
pub fn parse_interval(text: &str) -> Option<Interval> {
    let text = text.trim_ascii();
    let (sign, unsigned) = take_sign(text);
    match unsigned.as_bytes() {
        [b'P' | b'p', ..] => parse_iso(unsigned.get(1..)?, sign < 0),
        _ => parse_words(text),
    }
}

fn parse_iso(mut rest: &str, negate: bool) -> Option<Interval> {
    let mut parts = Parts::default();
    let (mut time, mut any, mut last) = (false, false, 0);
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix(['T', 't']) {
            if time || tail.is_empty() {
                return None;
            }
            (time, rest) = (true, tail);
            continue;
        }
        let (amount, tail) = take_number(rest)?;
        let mut chars = tail.chars();
        // Each part at most once and in this order.
        let (rank, unit) = match (chars.next()?.to_ascii_uppercase(), time) {
            ('Y', false) => (1, Unit::Months(12)),
            ('M', false) => (2, Unit::Months(1)),
            ('W', false) => (3, Unit::Days(7)),
            ('D', false) => (4, Unit::Days(1)),
            ('H', true) => (5, Unit::Micros(3_600_000_000)),
            ('M', true) => (6, Unit::Micros(60_000_000)),
            ('S', true) => (7, Unit::Micros(1_000_000)),
            _ => return None,
        };
        if rank <= last {
            return None;
        }
        parts.add(amount, unit);
        (last, any, rest) = (rank, true, chars.as_str());
    }
    if any { parts.finish(negate) } else { None }
}

fn unit(word: &str) -> Option<Unit> {
    const WORDS: [(&[&str], Unit); 11] = [
        (&["microsecond", "microseconds", "us", "usec", "usecs", "µs"], Unit::Micros(1)),
        (&["millisecond", "milliseconds", "ms", "msec", "msecs"], Unit::Micros(1000)),
        (&["second", "seconds", "sec", "secs", "s"], Unit::Micros(1_000_000)),
        (&["minute", "minutes", "min", "mins", "m"], Unit::Micros(60_000_000)),
        (&["hour", "hours", "hr", "hrs", "h"], Unit::Micros(3_600_000_000)),
        (&["day", "days", "d"], Unit::Days(1)),
        (&["week", "weeks", "w"], Unit::Days(7)),
        (&["month", "months", "mon", "mons"], Unit::Months(1)),
        (&["year", "years", "yr", "yrs", "y"], Unit::Months(12)),
        (&["decade", "decades"], Unit::Months(120)),
        (&["century", "centuries"], Unit::Months(1200)),
    ];
    WORDS.iter().find(|(names, _)| names.iter().any(|n| n.eq_ignore_ascii_case(word))).map(|(_, u)| *u)
}

/// `[+-]hh:mm[:ss[.fraction]]` in microseconds.
fn clock(text: &str) -> Option<i128> {
    let (sign, text) = take_sign(text);
    let mut fields = text.split(':');
    let (hours, minutes) = (fields.next()?, fields.next()?);
    let seconds = fields.next().unwrap_or("0");
    let digits = |s: &str| (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then_some(());
    digits(hours)?;
    digits(minutes)?;
    if seconds.starts_with(['+', '-']) {
        return None;
    }
    let (seconds, rest) = take_number(seconds)?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if fields.next().is_some() || !rest.is_empty() || minutes > 59 || seconds >= 60 * NANO {
        return None;
    }
    let micros = (seconds + 500) / 1000;
    Some(sign * (i128::from(hours) * 3_600_000_000 + i128::from(minutes) * 60_000_000 + micros))
}

fn parse_words(text: &str) -> Option<Interval> {
    let mut parts = Parts::default();
    let (mut any, mut ago) = (false, false);
    let mut words = text.strip_prefix('@').unwrap_or(text).split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        if ago {
            return None;
        }
        if any && word.eq_ignore_ascii_case("ago") {
            ago = true;
            continue;
        }
        if word.contains(':') {
            parts.micros += clock(word)?;
        } else {
            let (amount, mut rest) = take_number(word)?;
            match rest.strip_prefix('-') {
                // Years and months of the SQL standard: `1-2`.
                Some(months) => {
                    let months = months.parse::<u8>().ok().filter(|m| *m < 12)?;
                    parts.add(amount, Unit::Months(12));
                    let sign = if word.starts_with('-') { -1 } else { 1 };
                    parts.months += sign * i128::from(months);
                }
                None if rest.is_empty() => match words.peek() {
                    Some(next) if next.contains(':') => parts.add(amount, Unit::Days(1)),
                    Some(_) => parts.add(amount, unit(words.next()?)?),
                    None if !any => parts.add(amount, Unit::Micros(1_000_000)),
                    None => return None,
                },
                // Glued pairs: `1h30m`.
                None => {
                    let mut amount = amount;
                    loop {
                        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
                        let (name, tail) = rest.split_at_checked(end)?;
                        parts.add(amount, unit(name)?);
                        if tail.is_empty() {
                            break;
                        }
                        (amount, rest) = take_number(tail)?;
                    }
                }
            }
        }
        any = true;
    }
    if any { parts.finish(ago) } else { None }
}

/// Writes ISO 8601: `P1Y2M3DT4H5M6.7S`, a sign before each negative part, `PT0S` for zero.
pub fn write_interval(value: &Interval, out: &mut Vec<u8>) {
    out.push(b'P');
    let part = |n: i64, letter: u8, out: &mut Vec<u8>| {
        if n != 0 {
            write_i64(n, out);
            out.push(letter);
        }
    };
    part(i64::from(value.months / 12), b'Y', out);
    part(i64::from(value.months % 12), b'M', out);
    part(i64::from(value.days), b'D', out);
    let zero = *value == Interval::default();
    if value.micros == 0 && !zero {
        return;
    }
    out.push(b'T');
    let seconds = value.micros / 1_000_000;
    part(seconds / 3600, b'H', out);
    part(seconds / 60 % 60, b'M', out);
    let (second, fraction) = (seconds % 60, (value.micros % 1_000_000).unsigned_abs() as u32);
    if second != 0 || fraction != 0 || zero {
        if second == 0 && value.micros < 0 {
            out.push(b'-');
        }
        write_i64(second, out);
        write_fraction(fraction, out);
        while fraction != 0 && out.last() == Some(&b'0') {
            out.pop();
        }
        out.push(b'S');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(i: &Interval) -> String {
        let mut out = Vec::new();
        write_interval(i, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_spellings_mean_the_same() {
        // Expected values are PostgreSQL 15's with IntervalStyle iso_8601.
        for (input, want) in [
            ("P1Y2M3DT4H5M6.7S", "P1Y2M3DT4H5M6.7S"),
            ("P2W", "P14D"),
            ("PT0S", "PT0S"),
            ("-P1DT2H", "P-1DT-2H"),
            ("P-1Y-2M3DT-4H", "P-1Y-2M3DT-4H"),
            ("1 day 02:03:04", "P1DT2H3M4S"),
            ("3 hours", "PT3H"),
            ("1 year 2 mons", "P1Y2M"),
            ("1.5 hours", "PT1H30M"),
            ("1.5 days", "P1DT12H"),
            ("1.5 years", "P1Y6M"),
            ("0.5 months", "P15D"),
            ("-1.5 days", "P-1DT-12H"),
            ("2 days ago", "P-2D"),
            ("1-2", "P1Y2M"),
            ("-1-2", "P-1Y-2M"),
            ("3 04:05", "P3DT4H5M"),
            ("-04:05:06.5", "PT-4H-5M-6.5S"),
            ("5s", "PT5S"),
            ("1h30m", "PT1H30M"),
            ("100 ms", "PT0.1S"),
            ("-100 ms", "PT-0.1S"),
            ("5", "PT5S"),
            ("@ 1 minute", "PT1M"),
        ] {
            assert_eq!(parse_interval(input).map(|i| text(&i)).as_deref(), Some(want), "{input}");
        }
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for input in [
            "",
            "P",
            "PT",
            "P1",
            "P1H",
            "PT1D",
            "P1DT",
            "P1D1D",
            "P1D2Y",
            "one day",
            "1 parsec",
            "day",
            "1:60:00",
            "1:2:3:4",
            "::",
            "1 day ago ago",
            "ago",
            "9999999999 years",
            "1 day 5",
            "1-13",
        ] {
            assert_eq!(parse_interval(input), None, "{input}");
        }
    }

    proptest! {
        #[test]
        fn any_interval_round_trips(months: i32, days: i32, micros: i64) {
            let i = Interval { months, days, micros };
            prop_assert_eq!(parse_interval(&text(&i)), Some(i), "{}", text(&i));
        }
    }
}
