//! Records that lie ready in memory, the source that gives them, the sink that counts, and one run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use millstream::connector::memory::OnceSource;
use millstream::observe::JobStats;
use millstream::record::CompactString;
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataType, DataWriter, Engine, FieldValue, IoError, Read, Schema,
    StreamRecord,
};

use super::cases::{Case, Check};
use crate::Failure;
use crate::alloc::held_bytes;

pub fn schema() -> Arc<Schema> {
    Schema::of([
        ("id", DataType::BigInt),
        ("amount", DataType::Double),
        ("name", DataType::Varchar),
        ("ts", DataType::Timestamp),
    ])
}

/// The key of record number `id`: they come in an order that no cache foresees.
fn key(id: u64, keys: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) % keys
}

/// How many of `keys` keys come up in `n` records.
pub fn keys_among(n: u64, keys: u64) -> u64 {
    let mut seen = vec![false; keys as usize];
    for id in 0..n {
        if let Some(flag) = seen.get_mut(key(id, keys) as usize) {
            *flag = true;
        }
    }
    seen.iter().map(|f| u64::from(*f)).sum()
}

/// Writes record number `id`.
fn fill(record: &mut StreamRecord, id: u64, case: &Case) {
    let key = key(id, case.keys);
    if let [a, b, c, d] = record.values_mut() {
        *a = FieldValue::Integer(id as i64);
        *b = FieldValue::Float((id % 1000) as f64 * 0.25);
        // Short enough to lie in the value itself.
        let mut name = CompactString::const_new("sensor-");
        let mut digits = [b'0'; 7];
        let mut rest = key;
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        name.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        *c = FieldValue::String(name);
        *d = FieldValue::Timestamp(1_767_225_600_000_000 + id as i64 * case.step);
    }
}

pub fn prebuilt(schema: &Arc<Schema>, case: &Case, n: u64) -> Vec<Arc<StreamRecord>> {
    let record = |id| {
        let mut record = StreamRecord::new(schema.clone());
        fill(&mut record, id, case);
        Arc::new(record)
    };
    (0..n).map(record).collect()
}

/// What a source gives.
pub enum Records {
    /// These, so many times over; spent ones take their places.
    Ready(Vec<Arc<StreamRecord>>, u64),
    /// So many, made when they are asked for; the most bytes held meanwhile are noted.
    Made(u64, Case, Arc<AtomicI64>),
}

impl Records {
    fn len(&self) -> u64 {
        match self {
            Records::Ready(records, rounds) => records.len() as u64 * rounds,
            Records::Made(n, ..) => *n,
        }
    }
}

struct Source {
    schema: Arc<Schema>,
    records: Records,
    case: Case,
    given: usize,
    boundedness: Boundedness,
    /// Where the records go in the end: freeing them is no part of the job.
    spent: Arc<Mutex<Vec<Arc<StreamRecord>>>>,
}

impl Drop for Source {
    fn drop(&mut self) {
        if let (Records::Ready(records, _), Ok(mut spent)) = (&mut self.records, self.spent.lock()) {
            *spent = std::mem::take(records);
        }
    }
}

impl DataReader for Source {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let total = self.records.len() as usize;
        let to = (self.given + out.room()).min(total);
        match &mut self.records {
            Records::Ready(records, _) => {
                let (len, mut at) = (records.len().max(1), self.given);
                while at < to {
                    let until = to.min((at / len + 1) * len);
                    for ready in records.get_mut(at % len..at % len + until - at).unwrap_or_default() {
                        let record = out.recycled_record();
                        if at < len && matches!(record.values().first(), None | Some(FieldValue::Null)) {
                            // It is new, and will be given in the next round.
                            fill(record, at as u64, &self.case);
                        }
                        if let Some(slot) = out.records_mut().last_mut() {
                            std::mem::swap(slot, ready);
                        }
                        at += 1;
                    }
                }
            }
            Records::Made(_, case, peak) => {
                for id in self.given..to {
                    fill(out.recycled_record(), id as u64, case);
                }
                peak.fetch_max(held_bytes(), Ordering::Relaxed);
            }
        }
        out.add_bytes((to - self.given) * 33);
        self.given = to;
        Ok(if to == total { Read::End } else { Read::More })
    }
}

struct Sink {
    check: Check,
    sum: Arc<AtomicU64>,
}

impl DataWriter for Sink {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let sum: i64 = batch.iter().map(|r| self.check.weight(r)).sum();
        self.sum.fetch_add(sum as u64, Ordering::Relaxed);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// How a run is done.
#[derive(Clone, Debug)]
pub struct Way {
    pub batch: usize,
    pub threads: usize,
    /// Settings beside these.
    pub settings: Vec<(&'static str, String)>,
}

/// One run: seconds from its start to its end.
pub fn once(case: &Case, records: Records, way: &Way) -> Result<(f64, JobStats), Failure> {
    let n = records.len();
    let schema = schema();
    let sum = Arc::new(AtomicU64::new(0));
    let engine = Engine::new();
    // Rows come out as time passes, as they do where no end is in sight; groups without windows come at the end.
    let boundedness = if case.watermark { Boundedness::Unknown } else { Boundedness::Bounded };
    let spent: Arc<Mutex<Vec<_>>> = Arc::default();
    let source = OnceSource::new(Source {
        schema,
        records,
        case: case.clone(),
        given: 0,
        boundedness,
        spent: spent.clone(),
    });
    if case.watermark {
        engine.register_timed_source("source", source, "ts", "ts", &[])?;
    } else {
        engine.register_source("source", source)?;
    }
    engine.register_writer("sink", Sink { check: case.check, sum: sum.clone() })?;
    engine.set("execution", "inline")?;
    engine.set("threads", &way.threads.to_string())?;
    engine.set("batch_rows", &way.batch.to_string())?;
    engine.set("state_max_bytes", "16 GiB")?;
    for (name, value) in &way.settings {
        engine.set(name, value)?;
    }
    let prepared = engine.sql(&format!("INSERT INTO sink {}", case.sql))?;
    let from = Instant::now();
    let stats = prepared.start()?.wait()?;
    let seconds = from.elapsed().as_secs_f64();
    drop(spent);
    let (got, expected) = (sum.load(Ordering::Relaxed), case.check.expected(n));
    if stats.records_in != n || got != expected {
        let text = format!(
            "{}: records were lost or duplicated: {n} given, {} read; {got} are in the result, {expected} should be",
            case.name, stats.records_in
        );
        return Err(text.into());
    }
    Ok((seconds, stats))
}
