//! The reference's event time: what the watermark is just before each row.

use std::collections::BTreeMap;

use crate::stream::Row;

/// Before anything is known.
pub const NOTHING: i64 = i64::MIN;

/// The watermark before each row: the greatest `ts - bound` of a partition, the least over the partitions that have
/// had a row, never back.
pub fn watermarks(rows: &[Row], bound: i64) -> Vec<i64> {
    let mut heads: BTreeMap<i32, i64> = BTreeMap::new();
    let mut now = NOTHING;
    let mut before = Vec::new();
    for row in rows {
        before.push(now);
        if let Some(ts) = row.ts {
            let head = heads.entry(row.partition).or_insert(NOTHING);
            *head = (*head).max(ts - bound);
            now = now.max(heads.values().copied().min().unwrap_or(NOTHING));
        }
    }
    before
}

/// What becomes of rows that come too late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Late {
    Drop,
    Dlq,
    Update,
}

impl Late {
    pub fn sql(self) -> &'static str {
        match self {
            Late::Drop => "drop",
            Late::Dlq => "dlq",
            Late::Update => "update",
        }
    }
}

/// How long windows stay open, and whether they fire before that.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub late: Late,
    pub lateness: i64,
}

impl Policy {
    /// Whether a window with this end takes no rows any more.
    pub fn is_closed(&self, end: i64, watermark: i64) -> bool {
        watermark != NOTHING && watermark >= end + self.lateness
    }
    /// Whether it has given its result.
    pub fn has_fired(&self, end: i64, watermark: i64) -> bool {
        match self.late {
            Late::Update => watermark != NOTHING && watermark >= end,
            Late::Drop | Late::Dlq => self.is_closed(end, watermark),
        }
    }
}

fn row(ts: i64, partition: i32) -> Row {
    Row { id: 0, ts: Some(ts), k: None, v: None, d: None, x: None, s: None, partition }
}

#[test]
fn the_watermark_is_judged_row_by_row() {
    assert_eq!(watermarks(&[row(5, 0), row(9, 0), row(7, 0), row(20, 0)], 2), [NOTHING, 3, 7, 7]);
    // The slower partition holds it; it never goes back.
    assert_eq!(watermarks(&[row(50, 0), row(10, 1), row(60, 1), row(0, 0)], 0), [NOTHING, 50, 50, 50]);
}
