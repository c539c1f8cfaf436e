//! `fields.<column>.<option>`: what a column holds.

use std::time::Duration;

use super::value::{Column, Values, stream_of};
use crate::catalog::{OptionError, OptionKind, OptionSpec, OptionValue, Options, nearest};
use crate::connector::registry::option_error;
use crate::record::text::{parse_date, parse_decimal, parse_f64, parse_i64, parse_time, parse_timestamp};
use crate::record::{DataType, Decimal, Field, FieldValue};

const FIELD_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "kind",
        OptionKind::OneOf(&["sequence", "random", "choice", "timestamp", "now", "uuid"]),
        "",
        "how values are made",
    ),
    OptionSpec::new("start", OptionKind::Text, "", "sequence: first number; timestamp: first time"),
    OptionSpec::new("step", OptionKind::Text, "", "sequence: difference; timestamp: duration between rows"),
    OptionSpec::new("prefix", OptionKind::Text, "", "VARCHAR: text before a number"),
    OptionSpec::new("min", OptionKind::Text, "", "random: smallest value"),
    OptionSpec::new("max", OptionKind::Text, "", "random: largest value"),
    OptionSpec::new(
        "decimals",
        OptionKind::Int { min: 0, max: 9 },
        "",
        "random DOUBLE: digits after the point",
    ),
    OptionSpec::new(
        "length",
        OptionKind::Int { min: 1, max: 1 << 20 },
        "8",
        "random VARCHAR and BYTES: length",
    ),
    OptionSpec::new("values", OptionKind::Text, "", "choice: values, separated by commas"),
    OptionSpec::new("weights", OptionKind::Text, "", "choice: relative frequencies, separated by commas"),
    OptionSpec::new(
        "by",
        OptionKind::Text,
        "",
        "random number: a choice column, each value of which has its own mean",
    ),
    OptionSpec::new(
        "spread",
        OptionKind::Text,
        "",
        "with 'by': standard deviation; default a twentieth of max - min",
    ),
    OptionSpec::new("jitter", OptionKind::Duration, "0", "timestamp: rows are up to this much too early"),
    OptionSpec::new("nulls", OptionKind::Float { min: 0.0, max: 1.0 }, "0", "share of NULLs"),
];

/// Start of generated time: 2026-01-01T00:00:00Z.
const EPOCH: i64 = 1_767_225_600_000_000;

/// The column that `fields.<column>.<option>` names.
pub(super) fn column_of(option: &str) -> Option<&str> {
    let (column, key) = option.strip_prefix("fields.")?.rsplit_once('.')?;
    (!column.is_empty() && !key.is_empty()).then_some(column)
}

/// The options of one column.
pub(super) struct FieldOptions {
    column: String,
    own: Options,
}

type Built<T> = Result<T, OptionError>;

impl FieldOptions {
    pub(super) fn of(column: &str, options: &Options) -> Self {
        let pairs = options.iter().filter_map(|(name, value)| {
            let key = name.rsplit_once('.')?.1;
            column_of(name)?.eq_ignore_ascii_case(column).then_some((key, value))
        });
        Self { column: column.to_owned(), own: Options::new(pairs) }
    }

    /// Adds what is not given; a `kind` of its own drops the ready-made options.
    pub(super) fn complete_from(&mut self, ready: &[(&str, &str)]) {
        if self.own.get("kind").is_none() {
            for (key, value) in ready {
                if self.own.get(key).is_none() {
                    self.own.set(*key, *value);
                }
            }
        }
    }

    /// Makes the column.
    pub(super) fn column(&self, field: &Field, is_first: bool, seed: u64, rate: f64) -> Built<Column> {
        self.check_names()?;
        let kind = match self.text("kind")? {
            Some(kind) => kind,
            None => default_kind(&field.data_type, is_first).to_owned(),
        };
        self.check_applicable(&kind)?;
        let values = match kind.as_str() {
            "sequence" => self.sequence(&field.data_type),
            "choice" => self.choice(&field.data_type),
            "timestamp" => self.timestamp(&field.data_type, rate),
            "now" => match field.data_type {
                DataType::Timestamp | DataType::Varchar | DataType::BigInt => Ok(Values::Now),
                _ => Err(self.unfit("now", &field.data_type)),
            },
            "uuid" => match field.data_type {
                DataType::Varchar => Ok(Values::Uuid),
                _ => Err(self.unfit("uuid", &field.data_type)),
            },
            _ => self.random(&field.data_type),
        }?;
        let nulls = match self.value("nulls")? {
            Some(OptionValue::Float(share)) => share,
            _ => 0.0,
        };
        if nulls > 0.0 && !field.nullable {
            return Err(self.wrong("nulls", "the column is NOT NULL"));
        }
        Ok(Column::new(values, field.data_type.clone(), nulls, stream_of(seed, &self.column)))
    }

    /// The column that decides around which mean the numbers lie.
    pub(super) fn by(&self) -> Built<Option<String>> {
        match self.text("by")? {
            None if self.own.get("spread").is_some() => Err(self.wrong("spread", "it goes with 'by'")),
            by => Ok(by),
        }
    }

    /// Puts the numbers of a column around the means of what `other` chooses.
    pub(super) fn around(&self, column: &mut Column, other: &Column) -> Built<()> {
        let spread =
            self.parsed("spread", |t| parse_f64(t).filter(|s| (0.0..1e15).contains(s)), "a number from 0")?;
        column.around(other, spread).ok_or_else(|| {
            let why = "it takes a column of kind 'choice', for random whole numbers, decimals, and DOUBLE with 'decimals'";
            self.wrong("by", why)
        })
    }

    /// `by` names a column that is not there.
    pub(super) fn no_such_column(&self, by: &str) -> OptionError {
        self.wrong("by", &format!("there is no column '{by}'"))
    }

    fn check_names(&self) -> Built<()> {
        for (key, value) in self.own.iter() {
            match FIELD_OPTIONS.iter().find(|s| s.name == key) {
                Some(spec) => drop(spec.parse(value).map_err(|e| self.wrong(key, &e.message))?),
                None => {
                    let known = || FIELD_OPTIONS.iter().map(|s| s.name);
                    let near = nearest(key, known());
                    let hint = match near.as_slice() {
                        [] => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
                        near => format!("did you mean {}?", near.join(" or ")),
                    };
                    return Err(self.wrong(key, &format!("there is no such option of a field; {hint}")));
                }
            }
        }
        Ok(())
    }

    fn check_applicable(&self, kind: &str) -> Built<()> {
        let keys: &[&str] = match kind {
            "sequence" => &["start", "step", "prefix"],
            "random" => &["min", "max", "decimals", "length", "prefix", "by", "spread"],
            "choice" => &["values", "weights"],
            "timestamp" => &["start", "step", "jitter"],
            _ => &[],
        };
        let fits = |key: &str| matches!(key, "kind" | "nulls") || keys.contains(&key);
        match self.own.iter().find(|(key, _)| !fits(key)) {
            Some((key, _)) => Err(self.wrong(key, &format!("it means nothing for kind '{kind}'"))),
            None => Ok(()),
        }
    }

    fn wrong(&self, key: &str, why: &str) -> OptionError {
        let name = format!("fields.{}.{key}", self.column);
        let message = format!("option '{name}': {why}");
        option_error(&name, message)
    }
    fn unfit(&self, kind: &str, data_type: &DataType) -> OptionError {
        self.wrong("kind", &format!("'{kind}' can't make {data_type}"))
    }
    fn value(&self, key: &str) -> Built<Option<OptionValue>> {
        match FIELD_OPTIONS.iter().find(|s| s.name == key) {
            Some(spec) => self.own.value(spec).map_err(|e| self.wrong(key, &e.message)),
            None => Ok(None),
        }
    }
    fn text(&self, key: &str) -> Built<Option<String>> {
        Ok(self.value(key)?.and_then(|v| match v {
            OptionValue::Text(t) if !t.is_empty() => Some(t),
            _ => None,
        }))
    }
    fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>, what: &str) -> Built<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let value = parse(text.trim());
        value.map(Some).ok_or_else(|| self.wrong(key, &format!("'{text}' is not {what}")))
    }
    fn int(&self, key: &str) -> Built<Option<i64>> {
        self.parsed(key, parse_i64, "a whole number")
    }
    fn small(&self, key: &str) -> Built<Option<usize>> {
        Ok(match self.value(key)? {
            Some(OptionValue::Int(n)) => usize::try_from(n).ok(),
            _ => None,
        })
    }

    fn sequence(&self, data_type: &DataType) -> Built<Values> {
        let (start, step) = (self.int("start")?.unwrap_or(0), self.int("step")?.unwrap_or(1));
        match data_type {
            DataType::Varchar => {
                let prefix = self.text("prefix")?.unwrap_or_default();
                Ok(Values::Numbered { prefix, start, step, span: None })
            }
            _ if self.own.get("prefix").is_some() => Err(self.wrong("prefix", "only VARCHAR takes it")),
            t if t.is_numeric() => Ok(Values::Sequence { start, step }),
            other => Err(self.unfit("sequence", other)),
        }
    }

    fn timestamp(&self, data_type: &DataType, rate: f64) -> Built<Values> {
        if !matches!(data_type, DataType::Timestamp | DataType::Date | DataType::Varchar | DataType::BigInt) {
            return Err(self.unfit("timestamp", data_type));
        }
        let start = self.parsed("start", parse_timestamp, "a timestamp")?.unwrap_or(EPOCH);
        let step = match self.text("step")? {
            Some(text) => {
                let spec = OptionSpec::new("step", OptionKind::Duration, "", "");
                match spec.parse(&text).map_err(|e| self.wrong("step", &e.message))? {
                    OptionValue::Duration(d) => d,
                    _ => Duration::from_millis(1),
                }
            }
            None if rate > 0.0 => Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::from_secs(1)),
            None => Duration::from_millis(1),
        };
        let jitter = match self.value("jitter")? {
            Some(OptionValue::Duration(d)) => d.as_micros() as u64,
            _ => 0,
        };
        Ok(Values::Timestamp { start, step_nanos: step.as_nanos() as u64, jitter })
    }

    fn choice(&self, data_type: &DataType) -> Built<Values> {
        let list = self.text("values")?.ok_or_else(|| self.wrong("values", "kind 'choice' needs it"))?;
        let mut values = Vec::new();
        for text in list.split(',') {
            let bad = || self.wrong("values", &format!("'{text}' is not a {data_type}"));
            values.push(parse_value(text, data_type).ok_or_else(bad)?);
        }
        let weights = match self.text("weights")? {
            None => vec![1.0; values.len()],
            Some(list) => {
                let parse = |t: &str| parse_f64(t.trim()).filter(|w| *w >= 0.0 && w.is_finite());
                let weights: Option<Vec<f64>> = list.split(',').map(parse).collect();
                weights.ok_or_else(|| {
                    self.wrong("weights", &format!("'{list}' is not a list of numbers from 0"))
                })?
            }
        };
        let sum: f64 = weights.iter().sum();
        if weights.len() != values.len() || sum <= 0.0 {
            let why = format!("{} weights for {} values, sum {sum}", weights.len(), values.len());
            return Err(self.wrong("weights", &why));
        }
        Ok(Values::choice(values, &weights))
    }

    fn random(&self, data_type: &DataType) -> Built<Values> {
        let only_for = |key: &str, fits: bool, what: &str| match self.own.get(key) {
            Some(_) if !fits => Err(self.wrong(key, &format!("only {what} takes it"))),
            _ => Ok(()),
        };
        let is_text = *data_type == DataType::Varchar;
        only_for("decimals", data_type.is_float(), "DOUBLE")?;
        only_for("prefix", is_text, "VARCHAR")?;
        only_for("length", is_text || *data_type == DataType::Bytes, "VARCHAR or BYTES")?;
        let bounded = data_type.is_numeric() || data_type.is_temporal() || is_text;
        only_for("min", bounded, "a number or time")?;
        only_for("max", bounded, "a number or time")?;
        let length = self.small("length")?.unwrap_or(8);
        match data_type {
            DataType::Boolean => Ok(Values::Boolean),
            DataType::Bytes => Ok(Values::Bytes { length }),
            DataType::Varchar if ["prefix", "min", "max"].iter().any(|k| self.own.get(k).is_some()) => {
                if self.own.get("length").is_some() {
                    return Err(self.wrong("length", "a number after a prefix has none"));
                }
                let (min, span) = self.range(parse_i64, (0, 999_999), "a whole number")?;
                let prefix = self.text("prefix")?.unwrap_or_default();
                Ok(Values::Numbered { prefix, start: min, step: 0, span: Some(span) })
            }
            DataType::Varchar => Ok(Values::Letters { length }),
            DataType::SmallInt => self.integers(-0x8000, 0x7fff, 999),
            DataType::Integer => self.integers(i32::MIN.into(), i32::MAX.into(), 999_999),
            DataType::BigInt => self.integers(i64::MIN, i64::MAX, 999_999),
            DataType::Real | DataType::Double => self.floats(),
            DataType::Decimal { scale, .. } => {
                let units = |t: &str| {
                    let mut d = parse_decimal(t)?;
                    d.rescale(u32::from(*scale));
                    i64::try_from(d.mantissa()).ok()
                };
                let one = 10i64.checked_pow(u32::from(*scale)).unwrap_or(i64::MAX);
                let (min, span) = self.range(units, (0, one.saturating_mul(1000)), "a number")?;
                Ok(Values::Integer { min, span })
            }
            DataType::Date => {
                let day = (EPOCH / 86_400_000_000, EPOCH / 86_400_000_000 + 364);
                let (min, span) = self.range(|t| parse_date(t).map(i64::from), day, "a date")?;
                Ok(Values::Integer { min, span })
            }
            DataType::Time => {
                let (min, span) = self.range(parse_time, (0, 86_399_999_999), "a time")?;
                Ok(Values::Integer { min, span })
            }
            DataType::Timestamp => {
                let year = (EPOCH, EPOCH + 364 * 86_400_000_000);
                let (min, span) = self.range(parse_timestamp, year, "a timestamp")?;
                Ok(Values::Integer { min, span })
            }
            other => Err(self.unfit("random", other)),
        }
    }

    fn integers(&self, lowest: i64, highest: i64, max: i64) -> Built<Values> {
        let inside = |t: &str| parse_i64(t).filter(|n| (lowest..=highest).contains(n));
        let (min, span) = self.range(inside, (0, max), "a whole number that fits the column")?;
        Ok(Values::Integer { min, span })
    }

    fn floats(&self) -> Built<Values> {
        let number = |t: &str| parse_f64(t).filter(|n| n.is_finite());
        let min = self.parsed("min", number, "a number")?.unwrap_or(0.0);
        let max = self.parsed("max", number, "a number")?.unwrap_or(min + 1.0);
        if max < min {
            return Err(self.wrong("max", "it is smaller than 'min'"));
        }
        match self.small("decimals")? {
            None => Ok(Values::Float { min, range: max - min }),
            Some(digits) => {
                let factor = 10f64.powi(digits as i32);
                let (low, high) = ((min * factor).round(), (max * factor).round());
                if low.abs().max(high.abs()) > 9e15 {
                    return Err(self.wrong("decimals", "so many digits of so large numbers are not exact"));
                }
                let (low, high) = (low as i64, high as i64);
                Ok(Values::Rounded { min: low, span: span(low, high), factor })
            }
        }
    }

    /// Smallest value and number of values beyond it.
    fn range(
        &self,
        parse: impl Fn(&str) -> Option<i64>,
        default: (i64, i64),
        what: &str,
    ) -> Built<(i64, u64)> {
        let min = self.parsed("min", &parse, what)?;
        let max = self.parsed("max", &parse, what)?;
        let (min, max) = match (min, max) {
            (Some(min), None) if min > default.1 => {
                return Err(self.wrong("max", "it must be given with this 'min'"));
            }
            (min, max) => (min.unwrap_or(default.0), max.unwrap_or(default.1)),
        };
        if max < min {
            return Err(self.wrong("max", "it is smaller than 'min'"));
        }
        Ok((min, span(min, max)))
    }
}

fn span(min: i64, max: i64) -> u64 {
    max.wrapping_sub(min) as u64
}

fn default_kind(data_type: &DataType, is_first: bool) -> &'static str {
    match data_type {
        DataType::Timestamp => "timestamp",
        t if t.is_integer() && is_first => "sequence",
        _ => "random",
    }
}

/// A value as it stands in `values`.
fn parse_value(text: &str, data_type: &DataType) -> Option<FieldValue> {
    let t = text.trim();
    Some(match data_type {
        DataType::Varchar => FieldValue::from(text),
        DataType::Boolean => FieldValue::Boolean(match t {
            "true" => true,
            "false" => false,
            _ => return None,
        }),
        DataType::SmallInt => FieldValue::Integer(i16::try_from(parse_i64(t)?).ok()?.into()),
        DataType::Integer => FieldValue::Integer(i32::try_from(parse_i64(t)?).ok()?.into()),
        DataType::BigInt => FieldValue::Integer(parse_i64(t)?),
        DataType::Real => FieldValue::Float(f64::from(parse_f64(t)? as f32)),
        DataType::Double => FieldValue::Float(parse_f64(t)?),
        DataType::Decimal { scale, .. } => {
            let mut d: Decimal = parse_decimal(t)?;
            d.rescale(u32::from(*scale));
            FieldValue::Decimal(d)
        }
        DataType::Date => FieldValue::Date(parse_date(t)?),
        DataType::Time => FieldValue::Time(parse_time(t)?),
        DataType::Timestamp => FieldValue::Timestamp(parse_timestamp(t)?),
        _ => return None,
    })
}
