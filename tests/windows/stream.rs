//! Random streams: out of order within and beyond the bound, ties, duplicates, NULLs, long gaps, partitions, times before 1970.

use std::sync::Arc;

use millstream::record::{Decimal, Schema};
use millstream::{DataType, FieldValue, StreamRecord};

use crate::random::Random;

/// What all streams here are made of; `d` are hundredths, `x` quarters, times microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: i64,
    pub ts: Option<i64>,
    pub k: Option<i64>,
    pub v: Option<i64>,
    pub d: Option<i64>,
    pub x: Option<i64>,
    pub s: Option<&'static str>,
    pub partition: i32,
}

/// What a stream is like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub rows: i64,
    pub keys: i64,
    /// All times are multiples of it.
    pub unit: i64,
    /// What the watermark holds back, in units.
    pub bound: i64,
    pub partitions: i64,
    /// Rows of a hundred that come later than the bound allows.
    pub stragglers: i64,
    /// Rows of a hundred that are there again, however much later.
    pub duplicates: i64,
    /// Rows of a hundred without event time.
    pub without_time: i64,
}

const UNITS: [i64; 5] = [1, 1_000, 500_000, 1_000_000, 60_000_000];

impl Shape {
    pub fn random(random: &mut Random) -> Self {
        let large = random.percent(3);
        Self {
            rows: if large { random.between(1_000, 3_000) } else { random.between(0, 120) },
            keys: if large { 10_000 } else { random.of(&[1, 2, 3, 7, 20]) },
            unit: random.of(&UNITS),
            bound: random.of(&[0, 0, 1, 3, 10, 40]),
            partitions: random.of(&[1, 1, 1, 2, 3]),
            stragglers: random.of(&[0, 0, 5, 20, 60]),
            duplicates: 5,
            without_time: 0,
        }
    }

    /// Progress of each partition: ties, steps, long gaps; back by what the bound allows, or by more.
    pub fn generate(&self, random: &mut Random) -> Vec<Row> {
        let origin = random.of(&[0, 0, -50, 1_000_003, -7_777_777, 1_767_225_600]);
        let mut heads: Vec<i64> = (0..self.partitions).map(|_| origin + random.between(0, 10)).collect();
        let mut rows: Vec<Row> = Vec::new();
        for id in 0..self.rows {
            if !rows.is_empty() && random.percent(self.duplicates) {
                let again = random.below(rows.len() as i64) as usize;
                rows.push(Row { id, ..rows[again].clone() });
                continue;
            }
            let partition = random.below(self.partitions);
            let head = &mut heads[partition as usize];
            *head += match random.below(20) {
                0..6 => 0,
                6..19 => random.between(1, 4),
                _ => random.of(&[20, 100, 1_000]),
            };
            let back = match random.percent(self.stragglers) {
                true => random.between(0, 3 * self.bound + 60),
                false => random.between(0, self.bound),
            };
            rows.push(Row {
                id,
                ts: (!random.percent(self.without_time)).then(|| (*head - back) * self.unit),
                partition: partition as i32,
                ..values(random, self.keys)
            });
        }
        rows
    }
}

fn values(random: &mut Random, keys: i64) -> Row {
    let [k, v, d, x] = [(); 4].map(|()| !random.percent(12));
    let any = random.between(-1_000_000, 1_000_000);
    Row {
        id: 0,
        ts: None,
        k: k.then(|| random.below(keys)),
        v: v.then(|| random.between(-9, 9)),
        d: d.then(|| random.of(&[0, 1, -1, 250, 333, -12_345, 9_999_999_999, any])),
        x: x.then(|| random.between(-40, 40)),
        s: random.of(&[None, Some(""), Some("a"), Some("b"), Some("é"), Some("B"), Some("a")]),
        partition: 0,
    }
}

pub fn schema() -> Arc<Schema> {
    Schema::of([
        ("id", DataType::BigInt),
        ("ts", DataType::Timestamp),
        ("k", DataType::BigInt),
        ("v", DataType::BigInt),
        ("d", DataType::Decimal { precision: 18, scale: 2 }),
        ("x", DataType::Double),
        ("s", DataType::Varchar),
    ])
}

pub fn records(rows: &[Row]) -> Vec<StreamRecord> {
    let schema = schema();
    let record = |row: &Row| {
        let int = |v: Option<i64>| v.map_or(FieldValue::Null, FieldValue::Integer);
        let mut record = StreamRecord::with_values(
            schema.clone(),
            [
                FieldValue::Integer(row.id),
                row.ts.map_or(FieldValue::Null, FieldValue::Timestamp),
                int(row.k),
                int(row.v),
                row.d.map_or(FieldValue::Null, |d| FieldValue::Decimal(Decimal::new(d, 2))),
                row.x.map_or(FieldValue::Null, |x| FieldValue::Float(x as f64 / 4.0)),
                row.s.map_or(FieldValue::Null, FieldValue::from),
            ],
        );
        record.set_partition(row.partition);
        record
    };
    rows.iter().map(record).collect()
}
