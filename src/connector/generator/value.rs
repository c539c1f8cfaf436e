//! Values as functions of a row number.

use std::sync::Arc;

use crate::record::{DataType, Decimal, FieldValue};

/// How the values of a column are made.
#[derive(Clone, Debug)]
pub(super) enum Values {
    /// `start + row × step`, wrapping at the ends of the type.
    Sequence {
        start: i64,
        step: i64,
    },
    /// `prefix` and a number: of a sequence, or random within `start..=start + span`.
    Numbered {
        prefix: String,
        start: i64,
        step: i64,
        span: Option<u64>,
    },
    /// A random integer in `min..=min + span`: also dates, times, and decimals in units of their last digit.
    Integer {
        min: i64,
        span: u64,
    },
    /// A random number in `min..min + range`.
    Float {
        min: f64,
        range: f64,
    },
    /// A random whole number divided by `factor`.
    Rounded {
        min: i64,
        span: u64,
        factor: f64,
    },
    /// A random number as in `inner`, an [`Integer`](Self::Integer) or [`Rounded`](Self::Rounded), around the mean of another
    /// column's value.
    Around {
        inner: Box<Values>,
        means: Arc<Means>,
    },
    Boolean,
    /// Random small letters.
    Letters {
        length: usize,
    },
    Bytes {
        length: usize,
    },
    /// The first value whose bound is not below a random number.
    Choice {
        values: Vec<FieldValue>,
        bounds: Vec<u64>,
    },
    /// `start + row × step − random(jitter)`; in µs, but for the step.
    Timestamp {
        start: i64,
        step_nanos: u64,
        jitter: u64,
    },
    /// The clock's time.
    Now,
    Uuid,
}

/// For each value that a column chooses from a mean of its own, in the units of the numbers around it.
#[derive(Debug)]
pub(super) struct Means {
    /// The random numbers of that column, and what it makes of them.
    stream: u64,
    bounds: Vec<u64>,
    means: Vec<i64>,
    /// Standard deviation of the numbers.
    spread: i64,
}

impl Means {
    /// Means for what `by` chooses from, in the middle half of `min..=min + span`; `None`: it does not choose.
    fn of(by: &Column, own: u64, min: i64, span: u64, spread: i64) -> Option<Self> {
        let Values::Choice { values, bounds } = &by.values else { return None };
        let mean = |n: usize| {
            let middle = within(random(mix(own), n as u64), span / 2);
            min.wrapping_add((span / 4) as i64).wrapping_add(middle as i64)
        };
        let means = (0..values.len()).map(mean).collect();
        Some(Self { stream: by.stream, bounds: bounds.clone(), means, spread })
    }

    /// The number in a row; `own`: its random bits, the quarters of which make it about normal.
    #[inline]
    fn number(&self, own: u64, row: u64) -> i64 {
        let mean = self.means.get(chosen(&self.bounds, random(self.stream, row))).copied().unwrap_or(0);
        let quarters: u64 = (0..4).map(|n| own >> (16 * n) & 0xffff).sum();
        // Four times 65,535 / 2 on average, and 65,536 / √3 their standard deviation.
        let off = i128::from(quarters as i64 - 131_070) * i128::from(self.spread) / 37_837;
        mean.saturating_add(off as i64)
    }
}

/// The first whose bound is not below the random number.
#[inline]
fn chosen(bounds: &[u64], random: u64) -> usize {
    bounds.partition_point(|b| *b < random)
}

impl Values {
    pub(super) fn choice(values: Vec<FieldValue>, weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let mut below = 0.0;
        let bound = |w: &f64| {
            below += w / sum;
            // The cast saturates, so that the last bound is the largest number.
            (below * 2f64.powi(64)) as u64
        };
        let mut bounds: Vec<u64> = weights.iter().map(bound).collect();
        if let Some(last) = weights.iter().rposition(|w| *w > 0.0) {
            bounds.iter_mut().skip(last).for_each(|b| *b = u64::MAX);
        }
        Values::Choice { values, bounds }
    }
}

/// One generated column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    values: Values,
    data_type: DataType,
    /// NULL where the column's second random number is below.
    null_below: u64,
    stream: u64,
    clock: TextClock,
    text: String,
}

/// The random numbers of a column: another stream for each name.
pub(super) fn stream_of(seed: u64, column: &str) -> u64 {
    column.bytes().fold(mix(seed.wrapping_add(GOLDEN)), |h, b| mix(h ^ u64::from(b.to_ascii_lowercase())))
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `n` of a stream: splitmix64.
#[inline]
fn random(stream: u64, n: u64) -> u64 {
    mix(stream.wrapping_add(n.wrapping_mul(GOLDEN)))
}

#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A random number scaled to `0..=span`.
#[inline]
fn within(random: u64, span: u64) -> u64 {
    match span {
        u64::MAX => random,
        span => ((u128::from(random) * u128::from(span + 1)) >> 64) as u64,
    }
}

impl Column {
    pub(super) fn new(values: Values, data_type: DataType, nulls: f64, stream: u64) -> Self {
        let null_below = (nulls * 2f64.powi(64)) as u64;
        Self { values, data_type, null_below, stream, clock: TextClock::default(), text: String::new() }
    }

    /// Its numbers lie around means, one for each value that `by` chooses from. `spread`: their standard deviation, in the column's own
    /// units. `None`: that is for random whole numbers, decimals and rounded doubles, by a column that chooses.
    pub(super) fn around(&mut self, by: &Self, spread: Option<f64>) -> Option<()> {
        let (min, span, unit) = match (&self.values, &self.data_type) {
            (Values::Integer { min, span }, DataType::Decimal { scale, .. }) => {
                (*min, *span, 10f64.powi(i32::from(*scale)))
            }
            (Values::Integer { min, span }, t) if t.is_integer() => (*min, *span, 1.0),
            (Values::Rounded { min, span, factor }, _) => (*min, *span, *factor),
            _ => return None,
        };
        let spread = spread.map_or((span / 20) as i64, |s| (s * unit).round() as i64);
        let means = Arc::new(Means::of(by, self.stream, min, span, spread)?);
        let inner = Box::new(std::mem::replace(&mut self.values, Values::Boolean));
        self.values = Values::Around { inner, means };
        Some(())
    }

    /// About how many bytes a value takes.
    pub(super) fn width(&self) -> usize {
        match &self.values {
            Values::Letters { length } | Values::Bytes { length } => *length,
            Values::Numbered { prefix, .. } => prefix.len() + 6,
            Values::Uuid => 36,
            Values::Choice { values, .. } => {
                let sum: usize = values.iter().map(|v| v.as_str().map_or(8, str::len)).sum();
                sum / values.len().max(1)
            }
            Values::Timestamp { .. } | Values::Now if self.data_type == DataType::Varchar => 24,
            _ => 8,
        }
    }

    /// Overwrites `slot` with the value of `row`. `now` is the clock's time in µs.
    #[inline]
    pub(super) fn fill(&mut self, row: u64, now: i64, slot: &mut FieldValue) {
        if self.null_below > 0 && random(!self.stream, row) < self.null_below {
            *slot = FieldValue::Null;
            return;
        }
        match &self.values {
            Values::Sequence { start, step } => {
                let n = start.wrapping_add(step.wrapping_mul(row as i64));
                self.number(n, slot);
            }
            Values::Integer { min, span } => {
                let n = min.wrapping_add(within(random(self.stream, row), *span) as i64);
                self.number(n, slot);
            }
            Values::Float { min, range } => {
                // 53 bits: every value in [0, 1) is exact.
                let unit = (random(self.stream, row) >> 11) as f64 / (1u64 << 53) as f64;
                *slot = FieldValue::Float(self.round(min + unit * range));
            }
            Values::Rounded { min, span, factor } => {
                let n = min.wrapping_add(within(random(self.stream, row), *span) as i64);
                *slot = FieldValue::Float(self.round(n as f64 / factor));
            }
            Values::Around { inner, means } => {
                let n = means.number(random(self.stream, row), row);
                let inside = |min: i64, span: u64| n.clamp(min, min.wrapping_add_unsigned(span).max(min));
                match **inner {
                    Values::Rounded { min, span, factor } => {
                        *slot = FieldValue::Float(self.round(inside(min, span) as f64 / factor));
                    }
                    Values::Integer { min, span } => self.number(inside(min, span), slot),
                    _ => *slot = FieldValue::Null,
                }
            }
            Values::Boolean => *slot = FieldValue::Boolean(random(self.stream, row) & 1 == 1),
            Values::Choice { values, bounds } => {
                let r = random(self.stream, row);
                match values.get(chosen(bounds, r)) {
                    Some(FieldValue::String(s)) => slot.set_str(s),
                    Some(other) => slot.clone_from(other),
                    None => *slot = FieldValue::Null,
                }
            }
            Values::Timestamp { start, step_nanos, jitter } => {
                let passed = (u128::from(row) * u128::from(*step_nanos) / 1000) as i64;
                let early = match jitter {
                    0 => 0,
                    &j => within(random(self.stream, row), j) as i64,
                };
                self.time(start.wrapping_add(passed).wrapping_sub(early), slot);
            }
            Values::Now => self.time(now, slot),
            _ => self.long_text(row, slot),
        }
    }

    fn round(&self, x: f64) -> f64 {
        if self.data_type == DataType::Real { f64::from(x as f32) } else { x }
    }

    fn number(&self, n: i64, slot: &mut FieldValue) {
        *slot = match self.data_type {
            DataType::SmallInt => FieldValue::Integer((n as i16).into()),
            DataType::Integer => FieldValue::Integer((n as i32).into()),
            DataType::Real | DataType::Double => FieldValue::Float(self.round(n as f64)),
            DataType::Decimal { scale, .. } => match self.values {
                // A sequence counts whole numbers.
                Values::Sequence { .. } => {
                    let mut d = Decimal::from(n);
                    d.rescale(u32::from(scale));
                    FieldValue::Decimal(d)
                }
                _ => FieldValue::Decimal(Decimal::new(n, u32::from(scale))),
            },
            DataType::Date => FieldValue::Date(n as i32),
            DataType::Time => FieldValue::Time(n),
            DataType::Timestamp => FieldValue::Timestamp(n),
            _ => FieldValue::Integer(n),
        };
    }

    fn time(&mut self, micros: i64, slot: &mut FieldValue) {
        match self.data_type {
            DataType::Varchar => slot.set_str(self.clock.text(micros)),
            DataType::BigInt => *slot = FieldValue::Integer(micros.div_euclid(1000)),
            DataType::Date => *slot = FieldValue::Date(micros.div_euclid(86_400_000_000) as i32),
            _ => *slot = FieldValue::Timestamp(micros),
        }
    }

    /// Values that are put together in a buffer first.
    fn long_text(&mut self, row: u64, slot: &mut FieldValue) {
        self.text.clear();
        match &self.values {
            Values::Numbered { prefix, start, step, span } => {
                let n = match span {
                    Some(span) => start.wrapping_add(within(random(self.stream, row), *span) as i64),
                    None => start.wrapping_add(step.wrapping_mul(row as i64)),
                };
                self.text.push_str(prefix);
                self.text.push_str(itoa::Buffer::new().format(n));
            }
            Values::Letters { length } => {
                let letters = random_bytes(self.stream, row).take(*length).map(|b| (b'a' + b % 26) as char);
                self.text.extend(letters);
            }
            Values::Bytes { length } => {
                let bytes: Arc<[u8]> = random_bytes(self.stream, row).take(*length).collect();
                *slot = FieldValue::Bytes(bytes);
                return;
            }
            _ => uuid(self.stream, row, &mut self.text),
        }
        slot.set_str(&self.text);
    }
}

fn random_bytes(stream: u64, row: u64) -> impl Iterator<Item = u8> {
    let own = random(stream, row);
    (0u64..).flat_map(move |i| random(own, i).to_le_bytes())
}

/// A random UUID (version 4).
fn uuid(stream: u64, row: u64, out: &mut String) {
    for (i, byte) in random_bytes(stream, row).take(16).enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let byte = match i {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

/// Writes timestamps as `2026-01-01T00:00:00.123Z`; the second is kept, since the next row is mostly in the same one.
#[derive(Clone, Debug)]
struct TextClock {
    second: i64,
    text: Vec<u8>,
}

impl Default for TextClock {
    fn default() -> Self {
        Self { second: i64::MIN, text: Vec::new() }
    }
}

impl TextClock {
    fn text(&mut self, micros: i64) -> &str {
        let second = micros.div_euclid(1_000_000);
        if second != self.second {
            self.second = second;
            self.text.clear();
            crate::record::text::write_timestamp(second * 1_000_000, &mut self.text);
            self.text.pop();
            self.text.extend_from_slice(b".000Z");
        }
        let ms = micros.rem_euclid(1_000_000) / 1000;
        let digits = [ms / 100, ms / 10 % 10, ms % 10].map(|d| b'0' + d as u8);
        let len = self.text.len();
        if let Some(place) = len.checked_sub(4).and_then(|at| self.text.get_mut(at..len - 1)) {
            place.copy_from_slice(&digits);
        }
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}
