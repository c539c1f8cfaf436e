//! Compiled calls OVER: what a row brings to them, and what they give for a row once its frame is known.

use super::line::{Line, OverRow, Span};
use crate::expr::{
    Accumulator, AggregateInput, AggregateProgram, EvalContext, EvalResult, Expr, Program, Retraction,
};
use crate::plan::{Frame, FrameBound, OverFunction, OverSpec};
use crate::record::{ErrorCode, FieldValue, RecordError, StreamRecord};

/// An argument: a column of the row, or a value that was computed when it came.
#[derive(Debug)]
enum Arg {
    Column(usize),
    Computed(usize),
}

/// One call.
#[derive(Debug)]
enum Call {
    /// Place among the accumulators.
    Aggregate(usize),
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile(Arg),
    /// LAG, and LEAD with the sign turned.
    Shift {
        expr: Arg,
        offset: Arg,
        default: Option<Arg>,
        forward: bool,
    },
    First(Arg),
    Last(Arg),
    Nth {
        expr: Arg,
        n: Arg,
    },
}

/// What a row brings to the calls besides its columns: evaluated once, when it comes.
#[derive(Debug)]
pub(super) struct Brought {
    inputs: Box<[AggregateInput]>,
    computed: Box<[FieldValue]>,
}

impl Brought {
    /// Bytes that it takes (estimate).
    pub(super) fn footprint(&self) -> usize {
        let computed = self.computed.iter().map(|v| size_of_val(v) + v.heap_bytes()).sum::<usize>();
        size_of::<Self>() + size_of_val::<[AggregateInput]>(&self.inputs) + computed
    }
}

/// All calls of one operator.
#[derive(Debug)]
pub(super) struct Calls {
    calls: Vec<Call>,
    pub(super) aggregates: Vec<AggregateProgram>,
    /// Whether each aggregate can take rows back; if not, its frame is added up anew.
    pub(super) takes_back: Vec<bool>,
    computed: Vec<Program>,
    /// What every row brings to each aggregate, if they look at nothing but columns.
    plain: Option<AggregateInput>,
    /// Rows before the current one that LAG may reach; `None`: any.
    pub(super) reach: Option<u64>,
    /// Rows at the start of an unbounded frame that are still needed.
    pub(super) head: u64,
    /// Calls whose state may grow beyond its cell, and bytes by which a row may make them grow, but for what its values hold.
    pub(super) growing: (usize, usize),
    /// A row that is more behind the last one of its partition, in µs, begins the partition anew.
    pub(super) ttl: Option<i64>,
    /// Whether nothing but the rows of the frame counts, so that an empty partition can be forgotten.
    pub(super) only_frames: bool,
}

impl Calls {
    pub(super) fn new(spec: &OverSpec) -> Self {
        let mut made = Self {
            calls: Vec::new(),
            aggregates: Vec::new(),
            takes_back: Vec::new(),
            computed: Vec::new(),
            plain: None,
            reach: Some(0),
            head: 0,
            growing: (0, 0),
            ttl: spec.ttl.filter(|_| spec.streaming.is_some()),
            only_frames: true,
        };
        for call in &spec.calls {
            let call = made.compile(call, &spec.frame);
            made.only_frames &= matches!(call, Call::Aggregate(_) | Call::First(_) | Call::Last(_));
            made.calls.push(call);
        }
        let plain = made.computed.is_empty() && made.aggregates.iter().all(AggregateProgram::is_plain);
        made.plain = plain.then(AggregateInput::plain);
        let states = made.aggregates.iter().map(AggregateProgram::new_state).filter(Accumulator::may_grow);
        // A value kept takes its place twice while a table grows.
        made.growing = states.fold((0, 0), |(n, bytes), state| (n + 1, bytes + state.heap_bytes() + 192));
        made
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    fn compile(&mut self, call: &OverFunction, frame: &Frame) -> Call {
        match call {
            OverFunction::Aggregate(call) => {
                let slides = frame.start != FrameBound::UnboundedPreceding;
                let takes_back = call.retraction() != Retraction::Impossible;
                self.aggregates.push(AggregateProgram::compile(call, slides && takes_back));
                self.takes_back.push(takes_back);
                Call::Aggregate(self.aggregates.len() - 1)
            }
            OverFunction::RowNumber => Call::RowNumber,
            OverFunction::Rank => Call::Rank,
            OverFunction::DenseRank => Call::DenseRank,
            OverFunction::PercentRank => Call::PercentRank,
            OverFunction::CumeDist => Call::CumeDist,
            OverFunction::Ntile(n) => Call::Ntile(self.arg(n)),
            OverFunction::Lag { expr, offset, default } => self.shift(expr, offset, default.as_ref(), false),
            OverFunction::Lead { expr, offset, default } => self.shift(expr, offset, default.as_ref(), true),
            OverFunction::FirstValue(expr) => {
                self.head = self.head.max(1);
                Call::First(self.arg(expr))
            }
            OverFunction::LastValue(expr) => Call::Last(self.arg(expr)),
            OverFunction::NthValue { expr, n } => {
                let constant = constant(n).and_then(|n| u64::try_from(n).ok());
                self.head = self.head.max(constant.unwrap_or(u64::MAX));
                Call::Nth { expr: self.arg(expr), n: self.arg(n) }
            }
        }
    }

    fn shift(&mut self, expr: &Expr, offset: &Expr, default: Option<&Expr>, forward: bool) -> Call {
        let reach = constant(offset).and_then(|n| u64::try_from(n).ok());
        self.reach = match (self.reach, reach) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        Call::Shift {
            expr: self.arg(expr),
            offset: self.arg(offset),
            default: default.map(|d| self.arg(d)),
            forward,
        }
    }

    fn arg(&mut self, expr: &Expr) -> Arg {
        let program = Program::compile(expr);
        match program.as_column() {
            Some(index) => Arg::Column(index),
            None => {
                self.computed.push(program);
                Arg::Computed(self.computed.len() - 1)
            }
        }
    }

    /// Evaluates everything that the calls need of a row; `None` where that is only its columns.
    pub(super) fn evaluate(&self, record: &StreamRecord, now: i64) -> EvalResult<Option<Box<Brought>>> {
        let ctx = EvalContext { record, now };
        if self.plain.is_some() {
            let mut input = AggregateInput::default();
            self.aggregates.iter().try_for_each(|program| program.evaluate(&ctx, &mut input))?;
            return Ok(None);
        }
        let input = |program: &AggregateProgram| {
            let mut input = AggregateInput::default();
            program.evaluate(&ctx, &mut input)?;
            Ok(input)
        };
        Ok(Some(Box::new(Brought {
            inputs: self.aggregates.iter().map(input).collect::<EvalResult<_>>()?,
            computed: self
                .computed
                .iter()
                .map(|p| Ok(p.eval(&ctx)?.into_owned()))
                .collect::<EvalResult<_>>()?,
        })))
    }

    /// What a row brings to aggregate `i`.
    pub(super) fn input<'a>(&'a self, row: &'a OverRow, i: usize) -> Option<&'a AggregateInput> {
        match &row.brought {
            Some(brought) => brought.inputs.get(i),
            None => self.plain.as_ref(),
        }
    }

    /// The results for row `at` of a line, whose frame has been added up.
    pub(super) fn results(
        &self,
        line: &Line,
        at: u64,
        span: &Span,
        to: &mut Vec<FieldValue>,
    ) -> EvalResult<()> {
        to.clear();
        for call in &self.calls {
            to.push(self.result(call, line, at, span)?);
        }
        Ok(())
    }

    fn result(&self, call: &Call, line: &Line, at: u64, span: &Span) -> EvalResult<FieldValue> {
        let value = |arg: &Arg, row: u64| value(arg, line, row).unwrap_or_default();
        let in_frame = |arg: &Arg, row: Option<u64>| match row {
            Some(row) if row >= span.start && row < span.end => value(arg, row),
            _ => FieldValue::Null,
        };
        let total = line.end();
        Ok(match call {
            Call::Aggregate(i) => match (self.aggregates.get(*i), line.accumulators.get(*i)) {
                (Some(program), Some(state)) => program.finish(state)?,
                _ => FieldValue::Null,
            },
            Call::RowNumber => integer(at + 1),
            Call::Rank => integer(span.peers.start + 1),
            Call::DenseRank => integer(span.dense_rank),
            Call::PercentRank if total <= 1 => FieldValue::Float(0.0),
            Call::PercentRank => FieldValue::Float(span.peers.start as f64 / (total - 1) as f64),
            Call::CumeDist => FieldValue::Float(span.peers.end as f64 / total as f64),
            Call::Ntile(n) => match value(n, 0) {
                FieldValue::Integer(n) if n > 0 => integer(bucket(at, total, n as u64)),
                FieldValue::Integer(_) => {
                    return Err(argument("the argument of ntile must be greater than zero"));
                }
                _ => FieldValue::Null,
            },
            Call::Shift { expr, offset, default, forward } => {
                let Some(offset) = value(offset, at).as_i64() else { return Ok(FieldValue::Null) };
                let offset = if *forward { offset } else { offset.wrapping_neg() };
                match at.checked_add_signed(offset).filter(|row| *row < total) {
                    Some(row) => value(expr, row),
                    None => default.as_ref().map_or(FieldValue::Null, |d| value(d, at)),
                }
            }
            Call::First(expr) => in_frame(expr, Some(span.start)),
            Call::Last(expr) => in_frame(expr, span.end.checked_sub(1)),
            Call::Nth { expr, n } => match value(n, at) {
                FieldValue::Integer(n) if n > 0 => in_frame(expr, span.start.checked_add(n as u64 - 1)),
                FieldValue::Integer(_) => {
                    return Err(argument("the argument of nth_value must be greater than zero"));
                }
                _ => FieldValue::Null,
            },
        })
    }
}

fn value(arg: &Arg, line: &Line, row: u64) -> Option<FieldValue> {
    let row = line.row(row)?;
    match arg {
        Arg::Column(index) => row.record.values().get(*index).cloned(),
        Arg::Computed(at) => row.brought.as_ref()?.computed.get(*at).cloned(),
    }
}

fn constant(expr: &Expr) -> Option<i64> {
    Program::compile(expr).as_constant().and_then(FieldValue::as_i64)
}

fn integer(n: u64) -> FieldValue {
    FieldValue::Integer(n as i64)
}

fn argument(message: &str) -> Box<RecordError> {
    Box::new(RecordError::new(ErrorCode::InvalidArgument, message))
}

/// NTILE: buckets of nearly equal size, the larger ones first.
fn bucket(at: u64, total: u64, n: u64) -> u64 {
    let (size, larger) = (total / n, total % n);
    let in_larger = larger * (size + 1);
    if at < in_larger { at / (size + 1) + 1 } else { (at - in_larger) / size.max(1) + larger + 1 }
}
