//! A sink that keeps nothing but counts and checksums: for measuring, and for comparing runs.

use std::sync::Arc;

use parking_lot::Mutex;

use super::registry::{ConnectorSpec, SinkRequest, Typed};
use crate::catalog::{OptionKind, OptionSpec};
use crate::io::{DataSink, DataWriter, IoError, SinkStart};
use crate::record::{FieldValue, Schema, StreamRecord};

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "checksum",
    OptionKind::Bool,
    "false",
    "also compute checksums; they are logged at the end",
)];

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "blackhole",
    doc: "swallows everything and counts it: for measuring",
    options: OPTIONS,
    free_prefix: "",
    has_format: false,
    source: None,
    sink: Some(sink),
};

fn sink(request: &SinkRequest<'_>) -> Result<Arc<dyn DataSink>, IoError> {
    let checksums = Typed { options: request.options, specs: OPTIONS }.flag("checksum")?;
    Ok(Arc::new(Blackhole::new(checksums).0))
}

/// What went into a blackhole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlackholeTotals {
    /// Records.
    pub records: u64,
    /// Payload bytes: the length of strings and the like, 8 for other values.
    pub bytes: u64,
    /// Depends on which records came, not on their order.
    pub unordered: u64,
    /// Depends on the records and their order.
    pub ordered: u64,
}

/// A sink that swallows everything.
#[derive(Clone, Default)]
pub struct Blackhole {
    totals: Arc<Mutex<BlackholeTotals>>,
    checksums: bool,
}

/// Reads what a [`Blackhole`] has swallowed, also while the job runs.
#[derive(Clone)]
pub struct BlackholeHandle(Arc<Mutex<BlackholeTotals>>);

impl Blackhole {
    /// A sink and its handle; without `checksums` they stay 0 and cost nothing.
    pub fn new(checksums: bool) -> (Self, BlackholeHandle) {
        let sink = Self { checksums, ..Self::default() };
        let handle = BlackholeHandle(sink.totals.clone());
        (sink, handle)
    }
}

impl BlackholeHandle {
    /// The totals after the last batch.
    pub fn totals(&self) -> BlackholeTotals {
        *self.0.lock()
    }
}

impl DataSink for Blackhole {
    fn open(&self, _schema: Arc<Schema>, _start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(Swallow { sink: self.clone() }))
    }
}

struct Swallow {
    sink: Blackhole,
}

impl DataWriter for Swallow {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let mut totals = self.sink.totals.lock();
        totals.records += batch.len() as u64;
        for record in batch {
            totals.bytes += record.values().iter().map(payload).sum::<u64>();
            if self.sink.checksums {
                let hash = hash_record(record);
                totals.unordered = totals.unordered.wrapping_add(hash);
                totals.ordered = mix(totals.ordered.rotate_left(1) ^ hash);
            }
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), IoError> {
        let t = self.sink.totals.lock();
        log::info!(
            "blackhole: {} records, {} bytes, checksums {:016x} {:016x}",
            t.records,
            t.bytes,
            t.unordered,
            t.ordered
        );
        Ok(())
    }
}

fn payload(value: &FieldValue) -> u64 {
    match value {
        FieldValue::Null => 0,
        FieldValue::String(s) => s.len() as u64,
        FieldValue::Bytes(b) => b.len() as u64,
        FieldValue::Json(j) => j.len() as u64,
        FieldValue::Array(a) => a.iter().map(payload).sum(),
        FieldValue::Map(m) => m.iter().map(|(k, v)| payload(k) + payload(v)).sum(),
        FieldValue::Struct(s) => s.values.iter().map(payload).sum(),
        _ => 8,
    }
}

/// The finalizer of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn step(hash: u64, word: u64) -> u64 {
    // A 128-bit product folded in half, as in wyhash.
    let product = u128::from(hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (product as u64) ^ ((product >> 64) as u64)
}

fn step_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut h = step(hash, bytes.len() as u64);
    for word in words {
        h = step(h, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    step(h, u64::from_le_bytes(last))
}

fn hash_record(record: &StreamRecord) -> u64 {
    let start = 0x51_7cc1_b727_220a_u64 ^ record.kind() as u64;
    mix(record.values().iter().fold(start, hash_value))
}

fn hash_value(h: u64, value: &FieldValue) -> u64 {
    match value {
        FieldValue::Null => step(h, 1),
        FieldValue::Boolean(b) => step(step(h, 2), u64::from(*b)),
        FieldValue::Integer(i) => step(step(h, 3), *i as u64),
        FieldValue::Float(f) => step(step(h, 4), f.to_bits()),
        FieldValue::Decimal(d) => step_bytes(step(h, 5), &d.serialize()),
        FieldValue::String(s) => step_bytes(step(h, 6), s.as_bytes()),
        FieldValue::Bytes(b) => step_bytes(step(h, 7), b),
        FieldValue::Date(d) => step(step(h, 8), *d as u64),
        FieldValue::Time(t) => step(step(h, 9), *t as u64),
        FieldValue::Timestamp(t) => step(step(h, 10), *t as u64),
        FieldValue::Interval(i) => {
            step(step(step(step(h, 11), i.months as u64), i.days as u64), i.micros as u64)
        }
        FieldValue::Array(a) => a.iter().fold(step(step(h, 12), a.len() as u64), hash_value),
        FieldValue::Map(m) => {
            m.iter().fold(step(step(h, 13), m.len() as u64), |h, (k, v)| hash_value(hash_value(h, k), v))
        }
        FieldValue::Struct(s) => s.values.iter().fold(step(step(h, 14), s.values.len() as u64), hash_value),
        FieldValue::Json(j) => step_bytes(step(h, 15), j.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{line_schema, record};
    use crate::io::contract::{SinkUnderTest, check_writer};

    fn totals(texts: &[&str]) -> BlackholeTotals {
        let (sink, handle) = Blackhole::new(true);
        let mut writer = sink.open(line_schema(), &SinkStart::Fresh).unwrap();
        let records: Vec<_> = texts.iter().map(|t| record(t)).collect();
        writer.write(&records).unwrap();
        handle.totals()
    }

    #[test]
    fn checksums_see_content_and_one_of_them_order() {
        let (a, b, c) = (totals(&["x", "y", "z"]), totals(&["z", "y", "x"]), totals(&["x", "y", "zz"]));
        assert_eq!((a.records, a.bytes, c.bytes), (3, 3, 4));
        assert_eq!(a.unordered, b.unordered);
        assert_ne!(a.ordered, b.ordered);
        assert_ne!(a.unordered, c.unordered);
        assert_ne!(totals(&["12345678", ""]).unordered, totals(&["", "12345678"]).ordered);
        assert_ne!(totals(&["a\0"]).unordered, totals(&["a"]).unordered);
    }

    #[test]
    fn the_split_into_batches_does_not_matter() {
        let records: Vec<_> = (0..20).map(|i| record(&format!("{i}"))).collect();
        let current: std::cell::RefCell<Option<BlackholeHandle>> = Default::default();
        let mut under_test = SinkUnderTest {
            schema: line_schema(),
            open: Box::new(|start| {
                let (sink, handle) = Blackhole::new(true);
                *current.borrow_mut() = Some(handle);
                sink.open(line_schema(), start)
            }),
            content: Box::new(|| format!("{:?}", current.borrow().as_ref().unwrap().totals()).into_bytes()),
        };
        check_writer(&mut under_test, &records).unwrap();
    }
}
