//! DATE, TIME and TIMESTAMP as ISO 8601, by integer arithmetic.

use super::MICROS_PER_DAY;

/// 0001-01-01.
const MIN_DAY: i64 = -719_162;
/// 9999-12-31.
const MAX_DAY: i64 = 2_932_896;

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; `month` 1–12, `day` 1–31 are
/// taken on trust, see [`date_from_civil`]. (Howard Hinnant, "chrono-compatible low-level date algorithms".)
#[inline]
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let y = i64::from(year) - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    (era * 146_097 + doe - 719_468).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01.
#[inline]
pub fn civil_from_days(days: i32) -> (i32, u32, u32) {
    let z = i64::from(days) + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// Days since 1970-01-01, if that is a date in the years 1 to 9999.
#[inline]
pub fn date_from_civil(year: i32, month: u32, day: u32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    ((1..=9999).contains(&year) && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day))
}

#[inline]
fn two(a: u8, b: u8) -> Option<u32> {
    let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
    (a < 10 && b < 10).then(|| u32::from(a * 10 + b))
}

/// `YYYY-MM-DD` and what follows.
#[inline]
fn take_date(text: &[u8]) -> Option<(i32, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    Some((date_from_civil(year as i32, two(*m1, *m2)?, two(*d1, *d2)?)?, rest))
}

/// `hh:mm[:ss[.fraction]]` as microseconds and what follows. `24:00:00` and a 60th second count, as in
/// PostgreSQL: both are the instant after.
#[inline]
fn take_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else { return None };
    let (hour, minute) = (two(*h1, *h2)?, two(*m1, *m2)?);
    let (second, micros, rest) = match rest {
        [b':', s1, s2, rest @ ..] => {
            let second = two(*s1, *s2)?;
            match rest {
                [b'.' | b',', rest @ ..] => {
                    let (micros, rest) = take_fraction(rest)?;
                    (second, micros, rest)
                }
                _ => (second, 0, rest),
            }
        }
        _ => (0, 0, rest),
    };
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    if (hour == 24 && (minute, second, micros) != (0, 0, 0)) || (second == 60 && micros != 0) {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second;
    Some((i64::from(seconds) * 1_000_000 + micros, rest))
}

/// One to nine digits of a second as microseconds, rounded half up, and what follows.
#[inline]
fn take_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    let (fraction, rest) = text.split_at_checked(digits)?;
    let mut nanos = fraction.iter().fold(0i64, |n, b| n * 10 + i64::from(b - b'0'));
    for _ in digits..9 {
        nanos *= 10;
    }
    Some(((nanos + 500) / 1000, rest))
}

/// Microseconds to subtract for the zone: nothing, `Z`, `UTC`, `±hh`, `±hhmm` or `±hh:mm`.
fn zone(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [h1, h2] => (two(*h1, *h2)?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (two(*h1, *h2)?, two(*m1, *m2)?),
        _ => return None,
    };
    (hours <= 15 && minutes <= 59).then(|| sign * i64::from(hours * 60 + minutes) * 60_000_000)
}

/// Reads ISO 8601: `2026-01-01T10:30:00.123456+01:00`, `T` or blank between date and time, seconds,
/// fraction (1 to 9 digits, rounded half up to microseconds) and zone optional. Without a zone the time is UTC; a date
/// alone is its midnight.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let (day, rest) = take_date(text.trim_ascii().as_bytes())?;
    let midnight = i64::from(day) * MICROS_PER_DAY;
    let micros = match rest {
        [] => midnight,
        [b'T' | b't' | b' ', rest @ ..] => {
            let (time, rest) = take_time(rest)?;
            match rest {
                [] | [b'Z'] => midnight + time,
                _ => midnight + time - zone(rest)?,
            }
        }
        _ => return None,
    };
    let range = MIN_DAY * MICROS_PER_DAY..(MAX_DAY + 1) * MICROS_PER_DAY;
    range.contains(&micros).then_some(micros)
}

/// Reads `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<i32> {
    match take_date(text.trim_ascii().as_bytes())? {
        (day, []) => Some(day),
        _ => None,
    }
}

/// Reads `hh:mm[:ss[.fraction]]`, before midnight; the fraction as in [`parse_timestamp`].
pub fn parse_time(text: &str) -> Option<i64> {
    match take_time(text.trim_ascii().as_bytes())? {
        (micros, []) if micros < MICROS_PER_DAY => Some(micros),
        _ => None,
    }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

#[inline]
fn pair(n: u32) -> [u8; 2] {
    PAIRS[(n % 100) as usize]
}

/// Writes `YYYY-MM-DD`.
#[inline]
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        let ([y1, y2], [y3, y4]) = (pair(year as u32 / 100), pair(year as u32));
        let ([m1, m2], [d1, d2]) = (pair(month), pair(day));
        out.extend_from_slice(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
    } else {
        let sign = if year < 0 { '-' } else { '+' };
        let text = format!("{sign}{:06}-{month:02}-{day:02}", year.unsigned_abs());
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes `hh:mm:ss` with 0, 3 or 6 digits of fraction, as many as are needed.
#[inline]
pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    let fraction = micros.rem_euclid(1_000_000) as u32;
    let seconds = micros.div_euclid(1_000_000).rem_euclid(86_400) as u32;
    let ([h1, h2], [m1, m2], [s1, s2]) = (pair(seconds / 3600), pair(seconds / 60 % 60), pair(seconds % 60));
    out.extend_from_slice(&[h1, h2, b':', m1, m2, b':', s1, s2]);
    write_fraction(fraction, out);
}

/// `.123` or `.123456`, nothing for 0.
#[inline]
pub(super) fn write_fraction(micros: u32, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    let (millis, rest) = (micros / 1000, micros % 1000);
    let [m1, m2] = pair(millis % 100);
    out.extend_from_slice(&[b'.', b'0' + (millis / 100 % 10) as u8, m1, m2]);
    if rest != 0 {
        let [r1, r2] = pair(rest % 100);
        out.extend_from_slice(&[b'0' + (rest / 100) as u8, r1, r2]);
    }
}

/// Writes `2026-01-01T00:00:00.123Z` with 0, 3 or 6 digits of fraction, as many as are needed.
#[inline]
pub fn write_timestamp(micros: i64, out: &mut Vec<u8>) {
    write_date(micros.div_euclid(MICROS_PER_DAY) as i32, out);
    out.push(b'T');
    write_time(micros.rem_euclid(MICROS_PER_DAY), out);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use jiff::civil;
    use proptest::prelude::*;

    use super::*;

    fn written(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }
    fn ts(text: &str) -> Option<String> {
        parse_timestamp(text).map(|t| written(|out| write_timestamp(t, out)))
    }

    #[test]
    fn every_day_of_ten_thousand_years_agrees_with_jiff() {
        let mut date = civil::date(1, 1, 1);
        for day in MIN_DAY..=MAX_DAY {
            let (y, m, d) = (i32::from(date.year()), date.month() as u32, date.day() as u32);
            assert_eq!(civil_from_days(day as i32), (y, m, d));
            assert_eq!(date_from_civil(y, m, d), Some(day as i32));
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_) => assert_eq!(day, MAX_DAY),
            }
        }
    }

    #[test]
    fn timestamps_read_as_people_write_them() {
        for (text, want) in [
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.123Z"),
            ("2026-01-01 10:30", "2026-01-01T10:30:00Z"),
            ("2026-01-01 10:30:05.1", "2026-01-01T10:30:05.100Z"),
            ("2026-01-01T10:30:05.000001z", "2026-01-01T10:30:05.000001Z"),
            ("2026-01-01T10:30:05.123456499", "2026-01-01T10:30:05.123456Z"),
            ("2026-01-01T10:30:05.1234565", "2026-01-01T10:30:05.123457Z"),
            ("2026-12-31T23:59:59.9999999", "2027-01-01T00:00:00Z"),
            ("2026-01-01T10:30:00+02", "2026-01-01T08:30:00Z"),
            ("2026-01-01T10:30:00-0530", "2026-01-01T16:00:00Z"),
            ("2026-01-01T10:30:00 +05:30", "2026-01-01T05:00:00Z"),
            ("2026-01-01 10:30:00 UTC", "2026-01-01T10:30:00Z"),
            ("2026-01-01T24:00:00", "2026-01-02T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            (" 1969-12-31T23:59:59.999999Z ", "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(ts(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "0000-01-01",
            "2026-01-01X00:00",
            "2026-01-01T",
            "2026-01-01T10",
            "2026-01-01T25:00",
            "2026-01-01T10:60",
            "2026-01-01T10:30:61",
            "2026-01-01T24:00:01",
            "2026-01-01T10:30:00.",
            "2026-01-01T10:30:00.1234567890",
            "2026-01-01T10:30:00+",
            "2026-01-01T10:30:00+1",
            "2026-01-01T10:30:00+16:00",
            "2026-01-01T10:30:00ZZ",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59.9999999",
            "２０２６-01-01",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(parse_date("2026-01-01T00:00:00"), None);
        assert_eq!(parse_time("24:00:00"), None);
        assert_eq!(parse_time("23:59:59.999999"), Some(MICROS_PER_DAY - 1));
    }

    #[test]
    fn instants_far_outside_are_written_with_expanded_years() {
        assert_eq!(written(|out| write_timestamp(i64::MAX, out)), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(written(|out| write_timestamp(i64::MIN, out)), "-290308-12-21T19:59:05.224192Z");
    }

    proptest! {
        #[test]
        fn timestamps_agree_with_jiff_both_ways(micros in MIN_DAY * MICROS_PER_DAY..MAX_DAY * MICROS_PER_DAY) {
            let text = written(|out| write_timestamp(micros, out));
            let jiff: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(jiff.as_microsecond(), micros);
            prop_assert_eq!(parse_timestamp(&text), Some(micros));
            prop_assert_eq!(parse_timestamp(&jiff.to_string()), Some(micros));
        }

        #[test]
        fn offsets_agree_with_jiff(
            micros in 0i64..4_000_000_000_000_000, hours in -15i64..16, minutes in 0i64..60,
        ) {
            let offset = jiff::tz::Offset::from_seconds((hours * 3600 + hours.signum() * minutes * 60) as i32).unwrap();
            let zoned = jiff::Timestamp::from_microsecond(micros).unwrap().to_zoned(offset.to_time_zone());
            let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string();
            prop_assert_eq!(parse_timestamp(&text), Some(micros), "{}", text);
        }

        #[test]
        fn times_round_trip(micros in 0..MICROS_PER_DAY) {
            let text = written(|out| write_time(micros, out));
            let jiff: civil::Time = text.parse().unwrap();
            prop_assert_eq!(i64::from(jiff.microsecond()) + i64::from(jiff.millisecond()) * 1000, micros % 1_000_000);
            prop_assert_eq!(parse_time(&text), Some(micros));
        }
    }
}
