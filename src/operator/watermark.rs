//! WATERMARK FOR: stamps each record with its event time and the watermark that held just before it.
//!
//! Everything is judged record by record in the order of arrival, so neither stamps nor lateness depend on batches.

use std::sync::Arc;

use super::kept::pass_records;
use super::{InputId, Operator, Output, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{BinaryOp, EvalContext, EvalResult, Expr, Program, Volatility, fold};
use crate::plan::WatermarkSpec;
use crate::record::{Batch, ErrorCode, FieldValue, RecordError, StreamRecord};

/// How often the clock is looked at where it is the event time, µs.
const TICK: i64 = 20_000;
/// Before the first record, and of a partition whose time of silence has not begun.
const NEVER: i64 = i64::MIN;

/// In a snapshot: the partition has a topic.
const NAMED: u64 = 1 << 40;

/// One partition of the source.
#[derive(Clone, Debug)]
struct Partition {
    /// Its topic, where the records name theirs.
    topic: Option<Arc<str>>,
    id: i32,
    /// Maximum of the watermark expression so far.
    max: i64,
    /// When a batch last brought a record of it, on the job's clock.
    seen: i64,
    idle: bool,
}

/// How event time and watermark of a record are found.
#[derive(Debug)]
enum Judge {
    /// A TIMESTAMP column, and the same less a constant: no expression is evaluated.
    Column { index: usize, delay: i64 },
    /// Anything else.
    Programs { time: Program, watermark: Program },
}

/// Running form of [`WatermarkSpec`].
#[derive(Debug)]
pub struct WatermarkOp {
    judge: Judge,
    max_future_skew: Option<i64>,
    idle_timeout: Option<i64>,
    /// The event time is the job's clock: the watermark rises without records too.
    by_clock: bool,
    partitions: Vec<Partition>,
    /// The watermark of the stream: never goes back.
    current: i64,
    /// What was last handed on.
    handed_on: i64,
    /// Whether all partitions are silent, as handed on.
    idle: bool,
    /// The job's clock when it was last seen; [`NEVER`] before.
    now: i64,
}

/// What a record's times are.
struct Times {
    event: Option<i64>,
    watermark: Option<i64>,
}

impl Partition {
    #[inline]
    fn is(&self, topic: Option<&Arc<str>>, id: i32) -> bool {
        let same = |a: &Arc<str>, b: &Arc<str>| Arc::ptr_eq(a, b) || a == b;
        self.id == id
            && match (&self.topic, topic) {
                (Some(a), Some(b)) => same(a, b),
                (None, None) => true,
                _ => false,
            }
    }
}

impl WatermarkOp {
    /// Compiles the expressions.
    pub fn new(spec: &WatermarkSpec) -> Self {
        let by_clock = matches!(&spec.time, Expr::Call { function, args, .. }
            if args.is_empty() && function.volatility != Volatility::Immutable);
        let judge = fast_judge(spec).unwrap_or_else(|| Judge::Programs {
            time: Program::compile(&spec.time),
            watermark: Program::compile(&spec.watermark),
        });
        Self {
            judge,
            max_future_skew: spec.max_future_skew,
            idle_timeout: spec.idle_timeout,
            by_clock,
            partitions: Vec::new(),
            current: NEVER,
            handed_on: NEVER,
            idle: false,
            now: NEVER,
        }
    }

    #[inline]
    fn judge(&self, record: &StreamRecord, now: i64) -> EvalResult<Times> {
        let times = match &self.judge {
            Judge::Column { index, delay } => match record.values().get(*index) {
                Some(FieldValue::Timestamp(t)) => {
                    let watermark = t.checked_sub(*delay).ok_or_else(|| {
                        RecordError::new(ErrorCode::Overflow, "the watermark is out of range")
                    })?;
                    Times { event: Some(*t), watermark: Some(watermark) }
                }
                _ => Times { event: None, watermark: None },
            },
            Judge::Programs { time, watermark } => {
                let ctx = EvalContext { record, now };
                let event = timestamp(&*time.eval(&ctx)?);
                let watermark = match event {
                    Some(_) => timestamp(&*watermark.eval(&ctx)?),
                    None => None,
                };
                Times { event, watermark }
            }
        };
        if let (Some(skew), Some(event)) = (self.max_future_skew, times.event)
            && event > now.saturating_add(skew)
        {
            return Err(Box::new(too_far_ahead(event, now, skew)));
        }
        Ok(times)
    }

    /// Position of the partition of a record, which is not silent now. `last` is the one before.
    #[inline]
    fn partition(&mut self, record: &StreamRecord, last: usize, now: i64) -> usize {
        let (topic, id) = (record.topic(), record.partition());
        match self.partitions.get(last) {
            Some(p) if p.is(topic, id) && p.seen == now && !p.idle => last,
            _ => self.wake(topic, id, now),
        }
    }

    #[cold]
    fn wake(&mut self, topic: Option<&Arc<str>>, id: i32, now: i64) -> usize {
        let at = self.place(topic, id, now);
        if let Some(p) = self.partitions.get_mut(at) {
            (p.seen, p.idle) = (now, false);
        }
        at
    }

    /// Position of a partition; one that is new has no watermark yet.
    fn place(&mut self, topic: Option<&Arc<str>>, id: i32, seen: i64) -> usize {
        let mut all = self.partitions.iter();
        let known = all.position(|p| p.is(topic, id));
        if let (None, Some(topic)) = (known, topic)
            && let Some(at) = self.partitions.iter().position(|p| p.is(None, id))
            && let Some(p) = self.partitions.get_mut(at)
        {
            // From a snapshot of a time when records did not name their topics.
            p.topic = Some(topic.clone());
            return at;
        }
        known.unwrap_or_else(|| {
            self.partitions.push(Partition { topic: topic.cloned(), id, max: NEVER, seen, idle: false });
            self.partitions.len() - 1
        })
    }

    /// A record of the partition brought this watermark.
    #[inline]
    fn raise(&mut self, at: usize, watermark: i64) {
        let Some(p) = self.partitions.get_mut(at) else { return };
        #[cfg(seeded_bugs)]
        if crate::record::seeded::is(crate::record::seeded::Bug::WatermarkGoingBack) {
            (p.max, self.current) = (watermark, watermark);
        }
        if watermark > p.max {
            p.max = watermark;
            if let [only] = self.partitions.as_slice() {
                self.current = self.current.max(only.max);
            } else {
                self.settle();
            }
        }
    }

    /// The least maximum of the partitions that are not idle, unless the watermark would go back.
    fn settle(&mut self) {
        let least = self.partitions.iter().filter(|p| !p.idle).map(|p| p.max).min();
        self.current = self.current.max(least.unwrap_or(NEVER));
    }

    fn hand_on(&mut self, out: &mut Output<'_>) {
        if self.current > self.handed_on {
            self.handed_on = self.current;
            out.watermark = Some(self.current);
        }
        let idle = !self.partitions.is_empty() && self.partitions.iter().all(|p| p.idle);
        if idle != self.idle {
            self.idle = idle;
            out.idle = Some(idle);
        }
    }

    fn stamp(&self, record: &mut StreamRecord, times: &Times) {
        if times.event.is_some() {
            record.set_event_time(times.event);
        }
        record.set_watermark(self.current);
    }

    /// Stamps the record and lets it raise the watermark.
    #[inline]
    fn step(&mut self, slot: &mut Arc<StreamRecord>, last: usize, now: i64) -> EvalResult<usize> {
        let times = self.judge(slot, now)?;
        let at = self.partition(slot, last, now);
        match Arc::get_mut(slot) {
            Some(record) => self.stamp(record, &times),
            None => {
                let mut fresh = StreamRecord::new(slot.schema().clone());
                copy(slot, &mut fresh);
                self.stamp(&mut fresh, &times);
                *slot = Arc::new(fresh);
            }
        }
        if let Some(watermark) = times.watermark {
            self.raise(at, watermark);
        }
        Ok(at)
    }
}

/// `column` and `column - constant`, where they are that.
fn fast_judge(spec: &WatermarkSpec) -> Option<Judge> {
    let column = |e: &Expr| match e {
        Expr::Column { index, data_type: crate::record::DataType::Timestamp, .. } => Some(*index),
        _ => None,
    };
    let index = column(&spec.time)?;
    let delay = match fold(spec.watermark.clone()) {
        plain if column(&plain) == Some(index) => 0,
        Expr::Binary { op: BinaryOp::Subtract, left, right, .. } if column(&left) == Some(index) => {
            match *right {
                Expr::Literal { value: FieldValue::Interval(i), .. } if i.months == 0 => {
                    i64::from(i.days).checked_mul(86_400_000_000)?.checked_add(i.micros)?
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Judge::Column { index, delay })
}

fn timestamp(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Timestamp(t) => Some(*t),
        _ => None,
    }
}

fn copy(from: &StreamRecord, to: &mut StreamRecord) {
    to.copy_metadata(from);
    for (slot, value) in to.values_mut().iter_mut().zip(from.values()) {
        slot.assign(value);
    }
}

#[cold]
fn too_far_ahead(event: i64, now: i64, skew: i64) -> RecordError {
    let text = |t| crate::expr::to_text(&FieldValue::Timestamp(t));
    RecordError::new(
        ErrorCode::FutureTime,
        format!(
            "event time {} is further ahead of the clock ({}) than max_future_skew = '{}ms'",
            text(event),
            text(now),
            skew / 1000
        ),
    )
}

impl Operator for WatermarkOp {
    fn process(&mut self, _: InputId, batch: Batch, out: &mut Output<'_>) {
        let now = out.now;
        self.now = now;
        let mut last = usize::MAX;
        pass_records(batch, out, |slot| {
            last = self.step(slot, last, now)?;
            Ok(())
        });
        self.hand_on(out);
    }

    fn process_shared(&mut self, input: InputId, batch: &Batch, out: &mut Output<'_>) {
        let mut made = out.pools.take(out.home);
        made.inherit(batch);
        for record in batch.records() {
            let (slot, _) = made.next_slot(record.schema());
            copy(record, slot);
        }
        made.set_bytes(batch.bytes());
        self.process(input, made, out);
    }

    fn makes_watermark(&self) -> bool {
        true
    }

    fn expect(&mut self, partitions: &[(Option<Arc<str>>, i32)]) {
        for (topic, id) in partitions {
            let at = self.place(topic.as_ref(), *id, NEVER);
            if let Some(p) = self.partitions.get_mut(at) {
                // Silence begins with the first look at the clock, also where it had lasted before a stop.
                (p.seen, p.idle) = (NEVER, false);
            }
        }
    }

    fn expect_no_more(&mut self, topic: Option<&Arc<str>>, partition: i32, out: &mut Output<'_>) {
        self.partitions.retain(|p| p.max != NEVER || !p.is(topic, partition));
        self.settle();
        self.hand_on(out);
    }

    fn next_timer(&self) -> Option<i64> {
        if self.by_clock {
            let seen = [self.now, self.current].iter().any(|t| *t != NEVER);
            // At whole ticks, where windows end.
            let next = self.now.saturating_sub(self.now.rem_euclid(TICK)).saturating_add(TICK);
            return seen.then_some(if self.now == NEVER { NEVER } else { next });
        }
        let timeout = self.idle_timeout?;
        let awake = self.partitions.iter().filter(|p| !p.idle);
        // After a restore the time of silence begins with the first look at the clock.
        awake.map(|p| if p.seen == NEVER { NEVER } else { p.seen.saturating_add(timeout) }).min()
    }

    fn on_timer(&mut self, now: i64, out: &mut Output<'_>) {
        self.now = now;
        if self.by_clock {
            // A record that comes later has this time or a later one.
            self.current = self.current.max(now);
        }
        let Some(timeout) = self.idle_timeout.filter(|_| !self.by_clock) else { return self.hand_on(out) };
        for p in self.partitions.iter_mut().filter(|p| !p.idle) {
            if p.seen == NEVER {
                p.seen = now;
            }
            p.idle = p.seen.saturating_add(timeout) <= now;
        }
        self.settle();
        self.hand_on(out);
    }

    fn snapshot(&mut self, to: &mut StateWriter) -> Result<(), StateError> {
        to.u64(self.current as u64);
        to.u64(self.partitions.len() as u64);
        for p in &self.partitions {
            match &p.topic {
                Some(topic) => {
                    to.u64(NAMED | u64::from(p.id as u32));
                    to.bytes(topic.as_bytes());
                }
                None => to.u64(p.id as u64),
            }
            to.u64(p.max as u64);
            to.u64(u64::from(p.idle));
        }
        Ok(())
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.current = from.u64()? as i64;
        self.partitions.clear();
        for _ in 0..from.u64()? {
            let mut id = from.u64()?;
            let mut topic = None;
            if id & !u64::from(u32::MAX) == NAMED {
                id = i64::from(id as i32) as u64;
                let name = std::str::from_utf8(from.bytes()?);
                topic = Some(name.map_err(|_| StateError("a topic's name is no text".into()))?.into());
            }
            let id = i32::try_from(id as i64).map_err(|_| StateError("a partition is too big".into()))?;
            let (max, idle) = (from.u64()? as i64, from.u64()? != 0);
            self.partitions.push(Partition { topic, id, max, seen: NEVER, idle });
        }
        // Silence that was handed on is part of the state of those behind.
        self.idle = !self.partitions.is_empty() && self.partitions.iter().all(|p| p.idle);
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Constant { what: "one watermark for each partition", bytes: 32 }
    }
}

#[cfg(test)]
#[path = "watermark_tests.rs"]
mod tests;
