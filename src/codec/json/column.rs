//! From JSON text to a value of the declared type.

use std::sync::Arc;

use super::lex::{extent, unescape};
use super::options::{JsonOptions, UnknownFields};
use crate::codec::{BytesFormat, TimestampFormat};
use crate::record::{CompactString, DataType, Decimal, Field, FieldValue, StructValue, text};

/// A column type, prepared for reading.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Boolean,
    Integer { min: i64, max: i64 },
    Real,
    Double,
    Decimal { precision: u8, scale: u8 },
    Varchar,
    Bytes(BytesFormat),
    Date,
    Time,
    Timestamp(TimestampFormat),
    Interval,
    Array(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    Struct(Arc<[CompactString]>, Vec<Member>),
    Json,
}

/// A field of a STRUCT.
#[derive(Clone, Debug)]
pub(super) struct Member {
    kind: Kind,
    nullable: bool,
}

/// The value does not fit its type.
#[derive(Debug)]
pub(super) struct Misfit;

impl Kind {
    pub(super) fn new(data_type: &DataType, options: &JsonOptions) -> Self {
        let boxed = |t: &DataType| Box::new(Kind::new(t, options));
        match data_type {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Boolean,
            DataType::SmallInt => Kind::Integer { min: i16::MIN.into(), max: i16::MAX.into() },
            DataType::Integer => Kind::Integer { min: i32::MIN.into(), max: i32::MAX.into() },
            DataType::BigInt => Kind::Integer { min: i64::MIN, max: i64::MAX },
            DataType::Real => Kind::Real,
            DataType::Double => Kind::Double,
            DataType::Decimal { precision, scale } => {
                Kind::Decimal { precision: (*precision).min(28), scale: *scale }
            }
            DataType::Varchar => Kind::Varchar,
            DataType::Bytes => Kind::Bytes(options.bytes_format),
            DataType::Date => Kind::Date,
            DataType::Time => Kind::Time,
            DataType::Timestamp => Kind::Timestamp(options.timestamp_format.clone()),
            DataType::Interval => Kind::Interval,
            DataType::Array(item) => Kind::Array(boxed(item)),
            DataType::Map(key, value) => Kind::Map(boxed(key), boxed(value)),
            DataType::Struct(fields) => {
                let member =
                    |f: &Field| Member { kind: Kind::new(&f.data_type, options), nullable: f.nullable };
                Kind::Struct(
                    fields.iter().map(|f| f.name.clone()).collect(),
                    fields.iter().map(member).collect(),
                )
            }
            DataType::Json => Kind::Json,
        }
    }
}

/// Reads values; keeps the buffers that this takes.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    coerce: bool,
    unknown_fields: UnknownFields,
    buffer: String,
}

impl Reader {
    pub(super) fn new(options: &JsonOptions) -> Self {
        Self { coerce: options.coerce, unknown_fields: options.unknown_fields, buffer: String::new() }
    }

    /// Reads `raw`, one value that is valid JSON without blanks around it.
    pub(super) fn read(&mut self, kind: &Kind, raw: &str, slot: &mut FieldValue) -> Result<(), Misfit> {
        match (raw.as_bytes(), kind) {
            (b"null", _) => *slot = FieldValue::Null,
            (_, Kind::Json) => *slot = FieldValue::Json(raw.into()),
            ([b'"', .., b'"'], _) => {
                let content = raw.get(1..raw.len() - 1).unwrap_or("");
                if !content.contains('\\') {
                    return self.read_text(kind, content, self.coerce, slot);
                }
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.clear();
                let unescaped = unescape(content, &mut buffer);
                let read = unescaped
                    .map_err(|_| Misfit)
                    .and_then(|()| self.read_text(kind, &buffer, self.coerce, slot));
                self.buffer = buffer;
                return read;
            }
            (b"true" | b"false", Kind::Boolean) => *slot = FieldValue::Boolean(raw == "true"),
            ([b'-' | b'0'..=b'9', ..], _) => return self.read_number(kind, raw, slot),
            ([b'[', ..], Kind::Array(item)) => {
                let mut items = Vec::new();
                for piece in Pieces::new(raw) {
                    let mut value = FieldValue::Null;
                    self.read(item, piece, &mut value)?;
                    items.push(value);
                }
                *slot = FieldValue::Array(Arc::new(items));
            }
            ([b'{', ..], Kind::Map(key, value)) => return self.read_map(key, value, raw, slot),
            ([b'{', ..], Kind::Struct(names, members)) => return self.read_struct(names, members, raw, slot),
            (_, Kind::Varchar) if self.coerce => slot.set_str(raw),
            _ => return Err(Misfit),
        }
        Ok(())
    }

    fn read_number(&mut self, kind: &Kind, raw: &str, slot: &mut FieldValue) -> Result<(), Misfit> {
        let value = match kind {
            Kind::Integer { min, max } => {
                let n = integer(raw).filter(|n| (*min..=*max).contains(n));
                n.map(FieldValue::Integer)
            }
            Kind::Real => text::parse_f64(raw).and_then(real).map(FieldValue::Float),
            Kind::Double => text::parse_f64(raw).map(FieldValue::Float),
            Kind::Decimal { precision, scale } => decimal(raw, *precision, *scale),
            Kind::Timestamp(format) if format.is_numeric() => format.parse(raw).map(FieldValue::Timestamp),
            Kind::Varchar if self.coerce => {
                slot.set_str(raw);
                return Ok(());
            }
            _ => None,
        };
        *slot = value.ok_or(Misfit)?;
        Ok(())
    }

    /// Reads what a JSON string without escapes holds.
    pub(super) fn read_string(
        &mut self,
        kind: &Kind,
        content: &str,
        slot: &mut FieldValue,
    ) -> Result<(), Misfit> {
        self.read_text(kind, content, self.coerce, slot)
    }

    /// Reads what a JSON string holds. With `coerce` also numbers and booleans.
    fn read_text(
        &mut self,
        kind: &Kind,
        content: &str,
        coerce: bool,
        slot: &mut FieldValue,
    ) -> Result<(), Misfit> {
        let value = match kind {
            Kind::Varchar => {
                slot.set_str(content);
                return Ok(());
            }
            Kind::Bytes(format) => format.parse(content).map(|b| FieldValue::Bytes(b.into())),
            Kind::Date => text::parse_date(content).map(FieldValue::Date),
            Kind::Time => text::parse_time(content).map(FieldValue::Time),
            Kind::Timestamp(format) if coerce || !format.is_numeric() => {
                format.parse(content).map(FieldValue::Timestamp)
            }
            Kind::Interval => text::parse_interval(content).map(FieldValue::Interval),
            Kind::Decimal { precision, scale } => decimal(content, *precision, *scale),
            Kind::Real | Kind::Double => match content {
                "NaN" => Some(FieldValue::Float(f64::NAN)),
                "Infinity" => Some(FieldValue::Float(f64::INFINITY)),
                "-Infinity" => Some(FieldValue::Float(f64::NEG_INFINITY)),
                _ if !coerce => None,
                _ if matches!(kind, Kind::Real) => {
                    text::parse_f64(content).and_then(real).map(FieldValue::Float)
                }
                _ => text::parse_f64(content).map(FieldValue::Float),
            },
            Kind::Integer { min, max } if coerce => {
                integer(content).filter(|n| (*min..=*max).contains(n)).map(FieldValue::Integer)
            }
            Kind::Boolean if coerce => match content {
                "true" => Some(FieldValue::Boolean(true)),
                "false" => Some(FieldValue::Boolean(false)),
                _ => None,
            },
            _ => None,
        };
        *slot = value.ok_or(Misfit)?;
        Ok(())
    }

    fn read_map(&mut self, key: &Kind, value: &Kind, raw: &str, slot: &mut FieldValue) -> Result<(), Misfit> {
        let mut entries: Vec<(FieldValue, FieldValue)> = Vec::new();
        let mut pieces = Pieces::new(raw);
        while let (Some(name), Some(piece)) = (pieces.next(), pieces.next()) {
            let mut entry = (FieldValue::Null, FieldValue::Null);
            // Keys are always strings in JSON, whatever their type.
            self.read_text(key, &plain(name)?, true, &mut entry.0)?;
            self.read(value, piece, &mut entry.1)?;
            match entries.iter_mut().find(|e| e.0 == entry.0) {
                Some(earlier) => *earlier = entry,
                None => entries.push(entry),
            }
        }
        *slot = FieldValue::Map(Arc::new(entries));
        Ok(())
    }

    fn read_struct(
        &mut self,
        names: &Arc<[CompactString]>,
        members: &[Member],
        raw: &str,
        slot: &mut FieldValue,
    ) -> Result<(), Misfit> {
        let mut values = vec![FieldValue::Null; members.len()];
        let mut pieces = Pieces::new(raw);
        while let (Some(name), Some(piece)) = (pieces.next(), pieces.next()) {
            let name = plain(name)?;
            match names.iter().position(|n| *n == *name) {
                Some(i) => {
                    if let (Some(member), Some(value)) = (members.get(i), values.get_mut(i)) {
                        self.read(&member.kind, piece, value)?;
                    }
                }
                None if self.unknown_fields == UnknownFields::Error => return Err(Misfit),
                None => {}
            }
        }
        if members.iter().zip(&values).any(|(m, v)| !m.nullable && v.is_null()) {
            return Err(Misfit);
        }
        *slot = FieldValue::Struct(Arc::new(StructValue { names: names.clone(), values }));
        Ok(())
    }
}

/// What a JSON string stands for.
fn plain(raw: &str) -> Result<std::borrow::Cow<'_, str>, Misfit> {
    let content = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    if !content.contains('\\') {
        return Ok(content.into());
    }
    let mut out = String::new();
    unescape(content, &mut out).map_err(|_| Misfit)?;
    Ok(out.into())
}

/// The values of an array, or keys and values of an object in turn; the text is valid JSON.
struct Pieces<'a> {
    raw: &'a str,
    pos: usize,
}

impl<'a> Pieces<'a> {
    fn new(raw: &'a str) -> Self {
        Self { raw, pos: 1 }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.raw.as_bytes();
        while let Some(b',' | b':' | b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.pos) {
            self.pos += 1;
        }
        if let None | Some(b']' | b'}') = bytes.get(self.pos) {
            return None;
        }
        let (start, end) = (self.pos, extent(self.raw, self.pos));
        self.pos = end;
        self.raw.get(start..end)
    }
}

/// A whole number, however it is written: `7`, `7.0`, `7e0`.
fn integer(raw: &str) -> Option<i64> {
    if let Some(n) = text::parse_i64(raw) {
        return Some(n);
    }
    if raw.contains(['e', 'E']) {
        let d = text::parse_decimal(raw)?;
        return if d.is_integer() { i64::try_from(d).ok() } else { None };
    }
    let (whole, fraction) = raw.split_once('.')?;
    (!fraction.is_empty() && fraction.bytes().all(|b| b == b'0')).then(|| text::parse_i64(whole)).flatten()
}

fn real(v: f64) -> Option<f64> {
    let rounded = v as f32;
    (rounded.is_finite() || !v.is_finite()).then_some(f64::from(rounded))
}

/// Exactly `scale` digits after the point and at most `precision` in all; nothing but zeros is dropped.
fn decimal(raw: &str, precision: u8, scale: u8) -> Option<FieldValue> {
    let d = text::parse_decimal(raw)?;
    let (mut mantissa, have, want) = (d.mantissa(), d.scale(), u32::from(scale));
    if have > want {
        let surplus = 10i128.checked_pow(have - want)?;
        if mantissa % surplus != 0 {
            return None;
        }
        mantissa /= surplus;
    } else {
        mantissa = mantissa.checked_mul(10i128.checked_pow(want - have)?)?;
    }
    if mantissa.unsigned_abs() >= 10u128.checked_pow(precision.into())? {
        return None;
    }
    Decimal::try_from_i128_with_scale(mantissa, want).ok().map(FieldValue::Decimal)
}
