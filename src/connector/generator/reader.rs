//! Fills recycled records with generated values, at a rate.

use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use super::value::Column;
use crate::io::{Boundedness, DataReader, IoError, Read};
use crate::record::{BatchBuilder, Clock, Position, Schema};

/// Rows between two looks at the limits of the batch.
const STRIDE: u64 = 64;

pub(super) struct GeneratorReader {
    schema: Arc<Schema>,
    columns: Vec<Column>,
    plan: Plan,
    /// The next row.
    next: u64,
    /// When the first row was read, and which it was: the rate counts from there.
    started: Option<(Duration, u64)>,
    row_bytes: usize,
}

impl GeneratorReader {
    pub(super) fn new(schema: Arc<Schema>, columns: Vec<Column>, plan: Plan) -> Self {
        let row_bytes = columns.iter().map(Column::width).sum::<usize>().max(1);
        Self { schema, columns, plan, next: 0, started: None, row_bytes }
    }

    fn end(&self) -> u64 {
        self.plan.rows.unwrap_or(u64::MAX)
    }

    /// The row before which the rate makes us stop now, and how long until the next is due.
    fn due(&mut self) -> (u64, Duration) {
        if self.plan.rate <= 0.0 {
            return (self.end(), Duration::ZERO);
        }
        let now = self.plan.clock.monotonic();
        let (start, first) = *self.started.get_or_insert((now, self.next));
        let passed = now.saturating_sub(start).as_secs_f64();
        let rows = (passed * self.plan.rate) as u64 + 1;
        let until_next = (rows as f64 / self.plan.rate - passed).max(0.0);
        (
            first.saturating_add(rows).min(self.end()),
            Duration::try_from_secs_f64(until_next).unwrap_or_default(),
        )
    }

    fn fill(&mut self, until: u64, out: &mut BatchBuilder) {
        let now = self.plan.clock.now_micros();
        while self.next < until && !out.is_full() {
            let rows = (until - self.next).min(STRIDE).min(out.room() as u64);
            let fitting = out.limits().1 / self.row_bytes;
            let rows = rows.min(fitting.max(1) as u64);
            for row in self.next..self.next + rows {
                let record = out.recycled_record();
                record.set_offset(Some(row as i64));
                for (slot, column) in record.values_mut().iter_mut().zip(&mut self.columns) {
                    column.fill(row, now, slot);
                }
            }
            out.add_bytes(rows as usize * self.row_bytes);
            self.next += rows;
        }
    }
}

impl DataReader for GeneratorReader {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        match self.plan.rows {
            Some(_) => Boundedness::Bounded,
            None => Boundedness::Unbounded,
        }
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if self.next >= self.end() {
            return Ok(Read::End);
        }
        let (mut until, wait) = self.due();
        if until <= self.next && matches!(self.plan.clock, Clock::System) {
            // A virtual clock does not move while we sleep.
            std::thread::park_timeout(wait.min(out.max_wait()));
            until = self.due().0;
        }
        if until <= self.next {
            return Ok(Read::Idle);
        }
        self.fill(until, out);
        Ok(Read::More)
    }
    fn position(&self) -> Position {
        Position::new(self.next.to_be_bytes(), format!("row {}", self.next))
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        if position.is_start() {
            return Ok(());
        }
        let row = position.bytes().try_into().map(u64::from_be_bytes);
        self.next = row.map_err(|_| IoError::data("the stored position is not that of a generator"))?;
        Ok(())
    }
}
