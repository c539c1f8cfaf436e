//! Values and records in snapshots: a tag, then the content.

use std::sync::Arc;

use super::{StateError, StateReader, StateWriter};
use crate::record::{
    CompactString, Decimal, FieldValue, Interval, RowKind, Schema, StreamRecord, StructValue,
};

/// Nested values deeper than this are taken for a broken snapshot.
const MAX_DEPTH: usize = 256;

impl StateWriter {
    /// A signed number.
    pub fn i64(&mut self, v: i64) {
        self.u64(v as u64);
    }

    /// Several values, with their number.
    pub fn values(&mut self, values: &[FieldValue]) {
        self.u64(values.len() as u64);
        values.iter().for_each(|v| self.value(v));
    }
    /// A value of any type.
    pub fn value(&mut self, v: &FieldValue) {
        use FieldValue as V;
        match v {
            V::Null => self.u8(0),
            V::Boolean(b) => self.u8(1 + u8::from(*b)),
            V::Integer(i) => self.tagged(3, *i),
            V::Float(x) => self.tagged(4, x.to_bits() as i64),
            V::Decimal(d) => {
                self.u8(5);
                self.raw(&d.serialize());
            }
            V::String(s) => self.text(6, s.as_bytes()),
            V::Bytes(b) => self.text(7, b),
            V::Date(d) => self.tagged(8, i64::from(*d)),
            V::Time(t) => self.tagged(9, *t),
            V::Timestamp(t) => self.tagged(10, *t),
            V::Interval(i) => {
                self.tagged(11, i64::from(i.months));
                self.i64(i64::from(i.days));
                self.i64(i.micros);
            }
            V::Array(items) => {
                self.tagged(12, items.len() as i64);
                items.iter().for_each(|v| self.value(v));
            }
            V::Map(entries) => {
                self.tagged(13, entries.len() as i64);
                entries.iter().for_each(|(k, v)| {
                    self.value(k);
                    self.value(v);
                });
            }
            V::Struct(s) => {
                self.tagged(14, s.values.len() as i64);
                for (name, value) in s.names.iter().zip(&s.values) {
                    self.bytes(name.as_bytes());
                    self.value(value);
                }
            }
            V::Json(j) => self.text(15, j.as_bytes()),
        }
    }

    /// A value as it stands in tables of groups: integers in as few bytes as they take.
    #[inline]
    pub fn short(&mut self, v: &FieldValue) {
        match v {
            FieldValue::Integer(i) => {
                self.u8(16);
                self.zigzag(*i);
            }
            other => self.value(other),
        }
    }
    /// Several of them, with their number.
    pub fn shorts(&mut self, values: &[FieldValue]) {
        self.varint(values.len() as u64);
        values.iter().for_each(|v| self.short(v));
    }

    /// A record: values, times, kind and position; not key and headers.
    pub fn record(&mut self, r: &StreamRecord) {
        self.u8(match r.kind() {
            RowKind::Insert => 0,
            RowKind::UpdateBefore => 1,
            RowKind::UpdateAfter => 2,
            RowKind::Delete => 3,
        });
        for time in [r.timestamp(), r.event_time(), r.offset()] {
            self.value(&time.map_or(FieldValue::Null, FieldValue::Integer));
        }
        self.i64(r.watermark());
        self.i64(i64::from(r.partition()));
        self.u64(r.values().len() as u64);
        r.values().iter().for_each(|v| self.value(v));
    }

    fn tagged(&mut self, tag: u8, v: i64) {
        self.u8(tag);
        self.i64(v);
    }
    fn text(&mut self, tag: u8, v: &[u8]) {
        self.u8(tag);
        self.bytes(v);
    }
}

impl StateReader<'_> {
    /// A signed number.
    ///
    /// # Errors
    /// If the section ends before.
    pub fn i64(&mut self) -> Result<i64, StateError> {
        Ok(self.u64()? as i64)
    }

    /// A number of things that are still to be read, each at least a byte.
    ///
    /// # Errors
    /// If there can't be so many.
    pub fn count(&mut self) -> Result<usize, StateError> {
        let n = self.u64()?;
        let fits = usize::try_from(n).ok().filter(|&n| n <= self.left());
        fits.ok_or_else(|| StateError("a length in the state exceeds its size".into()))
    }

    /// Several values.
    ///
    /// # Errors
    /// If the section ends before, or one is damaged.
    pub fn values(&mut self) -> Result<Vec<FieldValue>, StateError> {
        // Not reserved: the number may be damaged.
        let mut values = Vec::new();
        for _ in 0..self.u64()? {
            values.push(self.value()?);
        }
        Ok(values)
    }
    /// What [`StateWriter::shorts`] wrote, behind what `to` has.
    ///
    /// # Errors
    /// If the section ends before, or one is damaged.
    pub fn shorts(&mut self, to: &mut Vec<FieldValue>) -> Result<(), StateError> {
        for _ in 0..self.varint()? {
            to.push(self.value()?);
        }
        Ok(())
    }
    /// A value.
    ///
    /// # Errors
    /// If what comes is none.
    pub fn value(&mut self) -> Result<FieldValue, StateError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<FieldValue, StateError> {
        use FieldValue as V;
        if depth > MAX_DEPTH {
            return Err(StateError("a value in the state is nested too deeply".into()));
        }
        Ok(match self.u8()? {
            0 => V::Null,
            1 => V::Boolean(false),
            2 => V::Boolean(true),
            3 => V::Integer(self.i64()?),
            4 => V::Float(f64::from_bits(self.u64()?)),
            5 => V::Decimal(Decimal::deserialize(self.raw::<16>()?)),
            6 => V::String(CompactString::new(self.str()?)),
            7 => V::Bytes(self.bytes()?.into()),
            8 => V::Date(self.small()?),
            9 => V::Time(self.i64()?),
            10 => V::Timestamp(self.i64()?),
            11 => V::Interval(Interval { months: self.small()?, days: self.small()?, micros: self.i64()? }),
            12 => {
                let n = self.count()?;
                V::Array(Arc::new((0..n).map(|_| self.nested(depth + 1)).collect::<Result<_, _>>()?))
            }
            13 => {
                let n = self.count()?;
                let entry = |_| Ok((self.nested(depth + 1)?, self.nested(depth + 1)?));
                V::Map(Arc::new((0..n).map(entry).collect::<Result<_, StateError>>()?))
            }
            14 => {
                let n = self.count()?;
                // Not reserved: nested ones with damaged numbers would reserve many times what the state has.
                let (mut names, mut values) = (Vec::new(), Vec::new());
                for _ in 0..n {
                    names.push(CompactString::new(self.str()?));
                    values.push(self.nested(depth + 1)?);
                }
                V::Struct(Arc::new(StructValue { names: names.into(), values }))
            }
            15 => V::Json(self.str()?.into()),
            16 => V::Integer(self.zigzag()?),
            tag => return Err(StateError(format!("the state has a value of unknown kind {tag}"))),
        })
    }

    /// A record of that shape.
    ///
    /// # Errors
    /// If what comes is none.
    pub fn record(&mut self, schema: &Arc<Schema>) -> Result<StreamRecord, StateError> {
        let kind = match self.u8()? {
            0 => RowKind::Insert,
            1 => RowKind::UpdateBefore,
            2 => RowKind::UpdateAfter,
            3 => RowKind::Delete,
            tag => return Err(StateError(format!("the state has a row of unknown kind {tag}"))),
        };
        let mut record = StreamRecord::new(schema.clone());
        record.set_kind(kind);
        record.set_timestamp(self.value()?.as_i64());
        record.set_event_time(self.value()?.as_i64());
        record.set_offset(self.value()?.as_i64());
        record.set_watermark(self.i64()?);
        record.set_partition(self.small()?);
        if self.count()? != schema.len() {
            return Err(StateError("a row in the state has another number of columns".into()));
        }
        for slot in record.values_mut() {
            *slot = self.value()?;
        }
        Ok(record)
    }

    fn small(&mut self) -> Result<i32, StateError> {
        i32::try_from(self.i64()?).map_err(|_| StateError("a number in the state is too big".into()))
    }
    fn str(&mut self) -> Result<&str, StateError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| StateError("a text in the state is not UTF-8".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DataType;

    fn samples() -> Vec<FieldValue> {
        use FieldValue as V;
        let interval = Interval { months: -1, days: 2, micros: i64::MIN };
        let names: Arc<[CompactString]> = Arc::from(vec!["a".into(), "b".into()]);
        vec![
            V::Null,
            true.into(),
            false.into(),
            i64::MIN.into(),
            (-0.5f64).into(),
            f64::INFINITY.into(),
            Decimal::new(-12_300, 4).into(),
            "a string of more than twenty-four bytes".into(),
            V::Bytes(vec![0, 255].into()),
            V::Date(-5),
            V::Time(7),
            V::Timestamp(i64::MAX),
            interval.into(),
            V::Array(Arc::new(vec![V::Null, "x".into()])),
            V::Map(Arc::new(vec![("k".into(), V::Array(Arc::new(vec![])))])),
            V::Struct(Arc::new(StructValue { names, values: vec![1i64.into(), V::Null] })),
            V::Json("{\"a\":1}".into()),
        ]
    }

    #[test]
    fn every_kind_of_value_comes_back_and_every_cut_is_an_error() {
        for value in samples() {
            let mut w = StateWriter::new();
            w.value(&value);
            let bytes = w.into_bytes();
            let mut r = StateReader::new(&bytes);
            assert_eq!(r.value().unwrap(), value);
            assert!(r.is_empty());
            for cut in 0..bytes.len() {
                assert!(StateReader::new(&bytes[..cut]).value().is_err(), "{value:?} cut at {cut}");
            }
            let mut w = StateWriter::new();
            w.short(&value);
            assert_eq!(StateReader::new(&w.into_bytes()).value().unwrap(), value);
        }
    }

    #[test]
    fn a_record_comes_back_with_its_times_and_kind() {
        let schema = Schema::of([("a", DataType::BigInt), ("b", DataType::Varchar)]);
        let mut record = StreamRecord::with_values(schema.clone(), [1i64.into(), "x".into()]);
        record.set_kind(RowKind::UpdateAfter);
        record.set_event_time(Some(5));
        record.set_watermark(4);
        record.set_partition(3);
        let mut w = StateWriter::new();
        w.record(&record);
        let bytes = w.into_bytes();
        let back = StateReader::new(&bytes).record(&schema).unwrap();
        assert_eq!(back, record);
        let meta =
            |r: &StreamRecord| (r.timestamp(), r.event_time(), r.watermark(), r.offset(), r.partition());
        assert_eq!(meta(&back), meta(&record));
        assert!(StateReader::new(&bytes).record(&Schema::of([("a", DataType::BigInt)])).is_err());
    }
}
