//! TUMBLE, HOP and CUMULATE in FROM: each row once for each window that it belongs to.

use std::sync::Arc;

use super::kept::{MAX_ROWS, copy_row, for_each_record, pass_records};
use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, EvalResult, Program};
use crate::plan::{LatePolicy, WindowKind, WindowTableSpec};
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, Schema, StreamRecord};

/// Running form of [`WindowTableSpec`].
#[derive(Debug)]
pub struct WindowTableOp {
    kind: WindowKind,
    time: Program,
    /// What is allowed for late rows and what becomes of those later than that, where it judges them.
    late: Option<(i64, LatePolicy)>,
    schema: Arc<Schema>,
    windows: Vec<(i64, i64)>,
}

impl WindowTableOp {
    /// Compiles the expression.
    pub fn new(spec: &WindowTableSpec) -> Self {
        Self {
            kind: spec.window.kind,
            time: Program::compile(&spec.window.time),
            late: spec.judges_lateness.then_some((spec.window.lateness, spec.window.late)),
            schema: spec.schema.clone(),
            windows: Vec::new(),
        }
    }

    /// Leaves out the windows that are closed for a record; gives its policy if it has no other: it is late.
    fn judge(&mut self, watermark: i64) -> Option<LatePolicy> {
        let (lateness, policy) = self.late.filter(|_| !self.windows.is_empty())?;
        self.windows.retain(|(_, end)| end.saturating_add(lateness) > watermark);
        self.windows.is_empty().then_some(policy)
    }

    /// Finds the windows of a record.
    fn assign(&mut self, record: &StreamRecord, now: i64) -> EvalResult<()> {
        self.windows.clear();
        let time = match *self.time.eval(&EvalContext { record, now })? {
            FieldValue::Timestamp(t) => t,
            _ => {
                return Err(Box::new(RecordError::new(ErrorCode::NotNull, "the time of the window is NULL")));
            }
        };
        windows_of(self.kind, time, &mut self.windows).ok_or_else(|| {
            Box::new(RecordError::new(ErrorCode::Overflow, "a window of this time is out of range"))
        })
    }
}

fn set_window(record: &mut StreamRecord, width: usize, (start, end): (i64, i64)) {
    record.set(width, FieldValue::Timestamp(start));
    record.set(width + 1, FieldValue::Timestamp(end));
}

/// Start and end of each window that holds `time`, in the order of (end, start). `None`: beyond the range of time.
fn windows_of(kind: WindowKind, time: i64, to: &mut Vec<(i64, i64)>) -> Option<()> {
    let floor = |unit: i64| time.checked_sub(time.checked_rem_euclid(unit)?);
    match kind {
        WindowKind::Tumble { size } => {
            let start = floor(size)?;
            to.push((start, start.checked_add(size)?));
        }
        WindowKind::Hop { slide, size } => {
            let last = floor(slide)?;
            // The oldest start is the first multiple of `slide` that is more than `time - size`.
            let age = time.checked_sub(last)?;
            let older = size.checked_sub(1)?.checked_sub(age)?.div_euclid(slide);
            for k in (0..=older).rev() {
                let start = last.checked_sub(k.checked_mul(slide)?)?;
                to.push((start, start.checked_add(size)?));
            }
        }
        WindowKind::Cumulate { step, size } => {
            let start = floor(size)?;
            let steps = size.checked_div(step)?;
            for k in time.checked_sub(start)?.checked_div(step)? + 1..=steps {
                to.push((start, start.checked_add(k.checked_mul(step)?)?));
            }
        }
        // A session is known only together with its other rows; what is given is there.
        WindowKind::Session { .. } | WindowKind::Given => return None,
    }
    Some(())
}

impl Operator for WindowTableOp {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        let now = out.now;
        let width = self.schema.len().saturating_sub(2);
        let tumbles = matches!(self.kind, WindowKind::Tumble { .. }) && self.late.is_none();
        if tumbles && batch.records_mut().iter_mut().all(|r| Arc::get_mut(r).is_some()) {
            pass_records(batch, out, |slot| {
                self.assign(slot, now)?;
                if let (Some(window), Some(record)) = (self.windows.first(), Arc::get_mut(slot)) {
                    record.reshape(&self.schema);
                    set_window(record, width, *window);
                }
                Ok(())
            });
            return;
        }
        let mut made = out.pools.take(out.home);
        made.inherit(&batch);
        let size = batch.bytes() / batch.len().max(1);
        for_each_record(&mut batch, out, |slot, out| {
            self.assign(slot, now)?;
            if let Some(policy) = self.judge(slot.watermark()) {
                out.late(slot, policy);
                return Ok(());
            }
            for window in &self.windows {
                if made.len() == MAX_ROWS {
                    made.set_bytes(size * MAX_ROWS);
                    let next = out.pools.take(out.home);
                    out.emit(std::mem::replace(&mut made, next));
                }
                set_window(copy_row(&mut made, slot, &self.schema), width, *window);
            }
            match self.windows.len() as u64 {
                0 => out.counters.absorbed += 1,
                rows => {
                    out.counters.forwarded += 1;
                    out.counters.fanned_out += rows - 1;
                }
            }
            Ok(())
        });
        made.set_bytes(size * made.len());
        out.emit(made);
        out.pools.give(batch);
    }

    fn snapshot(&mut self, _: &mut StateWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Stateless
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::typing;
    use crate::operator::test_kit::Bench;
    use crate::plan::WindowSpec;
    use crate::record::{DataType, Field};

    /// Every window that holds `time`, found by trying.
    fn reference(kind: WindowKind, time: i64) -> Vec<(i64, i64)> {
        let holds = |(start, end): &(i64, i64)| (*start..*end).contains(&time);
        let starts = |unit: i64| (-60..60).map(move |k| k * unit);
        let mut all: Vec<(i64, i64)> = match kind {
            WindowKind::Tumble { size } => starts(size).map(|s| (s, s + size)).collect(),
            WindowKind::Hop { slide, size } => starts(slide).map(|s| (s, s + size)).collect(),
            WindowKind::Cumulate { step, size } => {
                starts(size).flat_map(|s| (1..=size / step).map(move |k| (s, s + k * step))).collect()
            }
            WindowKind::Session { .. } | WindowKind::Given => vec![],
        };
        all.retain(holds);
        all.sort_by_key(|(start, end)| (*end, *start));
        all
    }

    const KINDS: [WindowKind; 7] = [
        WindowKind::Tumble { size: 7 },
        WindowKind::Hop { slide: 3, size: 9 },
        WindowKind::Hop { slide: 4, size: 10 },
        WindowKind::Hop { slide: 5, size: 5 },
        WindowKind::Hop { slide: 10, size: 3 },
        WindowKind::Cumulate { step: 2, size: 10 },
        WindowKind::Cumulate { step: 10, size: 10 },
    ];

    #[test]
    fn windows_are_those_that_hold_the_time() {
        for kind in KINDS {
            for time in -50..50 {
                let mut windows = Vec::new();
                windows_of(kind, time, &mut windows).unwrap();
                assert_eq!(windows, reference(kind, time), "{kind:?} {time}");
            }
        }
    }

    #[test]
    fn a_window_beyond_the_range_of_time_is_none() {
        let hop = WindowKind::Hop { slide: 4, size: 10 };
        assert_eq!(windows_of(hop, i64::MAX - 1, &mut Vec::new()), None);
        assert_eq!(windows_of(WindowKind::Tumble { size: 10 }, i64::MIN, &mut Vec::new()), None);
    }

    #[test]
    fn each_row_comes_once_for_each_window_and_keeps_its_stamp() {
        let input = Schema::of([("ts", DataType::Timestamp)]);
        let added = ["window_start", "window_end"].map(|n| Field::new(n, DataType::Timestamp));
        let schema = Schema::new(input.fields().iter().cloned().chain(added));
        for kind in KINDS {
            let window = WindowSpec {
                kind,
                time: typing::column(&input, 0).unwrap(),
                start: None,
                lateness: 0,
                late: LatePolicy::Drop,
                has_watermark: true,
            };
            let schema = schema.clone();
            let spec = WindowTableSpec { window, partition_by: vec![], judges_lateness: false, schema };
            let times: Vec<Option<i64>> = (0..40).map(|i| (i % 11 != 3).then_some(i)).collect();
            let make = || {
                let record = |t: &Option<i64>| {
                    let value = t.map_or(FieldValue::Null, FieldValue::Timestamp);
                    let mut r = StreamRecord::with_values(input.clone(), [value]);
                    r.set_watermark(t.unwrap_or(0) - 5);
                    Arc::new(r)
                };
                Batch::new(times.iter().map(record).collect())
            };
            let mut expected = Vec::new();
            for t in times.iter().flatten() {
                expected.extend(reference(kind, *t).into_iter().map(|(s, e)| (*t, s, e, t - 5)));
            }
            for shared in [false, true] {
                let (mut op, mut bench) = (WindowTableOp::new(&spec), Bench::new());
                let batch = make();
                if shared {
                    bench.process_shared(&mut op, &batch);
                } else {
                    bench.process(&mut op, batch);
                }
                let time = |r: &StreamRecord, i: usize| match r.values()[i] {
                    FieldValue::Timestamp(t) => t,
                    ref other => panic!("{other:?}"),
                };
                let got: Vec<_> =
                    bench.records().map(|r| (time(r, 0), time(r, 1), time(r, 2), r.watermark())).collect();
                assert_eq!(got, expected, "{kind:?} shared: {shared}");
                assert_eq!(bench.rejects.len(), 4);
                bench.check_ledger();
            }
        }
    }

    #[test]
    fn a_row_is_late_once_and_leaves_out_the_windows_that_are_closed() {
        let input = Schema::of([("ts", DataType::Timestamp)]);
        let added = ["window_start", "window_end"].map(|n| Field::new(n, DataType::Timestamp));
        let schema = Schema::new(input.fields().iter().cloned().chain(added));
        for lateness in [0, 4] {
            let kind = WindowKind::Hop { slide: 3, size: 9 };
            let window = WindowSpec {
                kind,
                time: typing::column(&input, 0).unwrap(),
                start: None,
                lateness,
                late: LatePolicy::DeadLetter,
                has_watermark: true,
            };
            let schema = schema.clone();
            let spec = WindowTableSpec { window, partition_by: vec![], judges_lateness: true, schema };
            let (mut op, mut bench) = (WindowTableOp::new(&spec), Bench::new());
            let records = (0..40).map(|watermark| {
                let mut r = StreamRecord::with_values(input.clone(), [FieldValue::Timestamp(10)]);
                r.set_watermark(watermark);
                Arc::new(r)
            });
            bench.process(&mut op, Batch::new(records.collect()));
            let open = |watermark: i64| {
                reference(kind, 10).into_iter().filter(move |(_, end)| end + lateness > watermark)
            };
            let expected: usize = (0..40).map(|w| open(w).count()).sum();
            assert_eq!(bench.records().count(), expected);
            let late = (0..40).filter(|w| open(*w).next().is_none()).count();
            assert_eq!((bench.counters.late, bench.rejects.len()), (late as u64, late));
            bench.check_ledger();
        }
    }
}
