//! Operators that keep state, as data: watermarks, groups, windows, OVER, top-N, sorting.
//!
//! Durations are µs, times µs since the Unix epoch. Expressions refer to the operator's input.

use std::sync::Arc;

use crate::expr::{AggregateCall, Expr, SortKey};
use crate::record::Schema;

/// Sets event time and watermark of each record of a stream that declares WATERMARK FOR.
///
/// The watermark is the maximum of `watermark` over the records so far, for each partition, and the minimum over
/// partitions; each record carries the one that held just before it
/// ([`StreamRecord::watermark`](crate::record::StreamRecord::watermark)), so that lateness does not depend on
/// batches.
#[derive(Clone, Debug, PartialEq)]
pub struct WatermarkSpec {
    /// The event time, a TIMESTAMP; NULL leaves the record without one and the watermark alone.
    pub time: Expr,
    /// The expression of WATERMARK FOR … AS, a TIMESTAMP.
    pub watermark: Expr,
    /// A record whose event time is further ahead of the clock is rejected and does not move the watermark.
    pub max_future_skew: Option<i64>,
    /// A partition that is silent for so long (by the job's clock) is left out of the minimum.
    pub idle_timeout: Option<i64>,
    /// Allowed lateness of the windows over the stream.
    pub lateness: i64,
    /// What they do with records beyond it.
    pub late: LatePolicy,
    /// Shape of the output: that of the input.
    pub schema: Arc<Schema>,
}

/// How records are assigned to windows. Windows are `[start, end)`, aligned to the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// One window per record.
    Tumble {
        /// Length.
        size: i64,
    },
    /// Every window of length `size` that begins at a multiple of `slide` and holds the record.
    Hop {
        /// Distance of the starts.
        slide: i64,
        /// Length; need not be a multiple of `slide`, may be smaller.
        size: i64,
    },
    /// Windows that begin at multiples of `size` and end after each `step`, until `size` is reached.
    Cumulate {
        /// Growth; divides `size`.
        step: i64,
        /// Greatest length.
        size: i64,
    },
    /// Per key: records less than `gap` apart belong together; the window ends `gap` after its last record.
    Session {
        /// Least distance between two sessions.
        gap: i64,
    },
    /// Records bring their windows, which an operator below gave them.
    Given,
}

/// What happens to records that are behind the watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatePolicy {
    /// A window fires once, at end + lateness; later records are counted.
    #[default]
    Drop,
    /// The same, and later records go to the dead letter queue.
    DeadLetter,
    /// A window fires at its end, then corrections follow until end + lateness.
    Update,
}

/// The window of an aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSpec {
    /// How records are assigned.
    pub kind: WindowKind,
    /// The time of a record, a TIMESTAMP; NULL is a record error. Of a window that is given, its end.
    pub time: Expr,
    /// The start of a window that is given.
    pub start: Option<Expr>,
    /// Allowed lateness.
    pub lateness: i64,
    /// What happens beyond.
    pub late: LatePolicy,
    /// Whether the input has a watermark. Without one all windows fire at the end of the (bounded) input.
    pub has_watermark: bool,
}

impl WindowSpec {
    /// Its expressions.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        std::iter::once(&self.time).chain(&self.start)
    }
    pub(super) fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        std::iter::once(&mut self.time).chain(&mut self.start)
    }
}

/// When results are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once, when they are final.
    Final,
    /// Each touched group when a batch is done.
    Changes,
    /// Each touched group after each record (`emit_every = 'record'`).
    EveryChange,
}

/// GROUP BY, with or without a window; SELECT DISTINCT, which has no calls.
///
/// Output columns: keys, `window_start` and `window_end` if there is a window, results of the calls.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateSpec {
    /// Grouping expressions; none = one global group, which exists without rows too (not in windows).
    pub keys: Vec<Expr>,
    /// GROUPING SETS: for each set, which keys count (the others are NULL in the output). Empty = one set of all keys.
    pub grouping_sets: Vec<Vec<usize>>,
    /// The window.
    pub window: Option<WindowSpec>,
    /// Calls.
    pub calls: Vec<AggregateCall>,
    /// HAVING: over the *output* row; a group for which it is not TRUE is not there.
    pub having: Option<Expr>,
    /// Calls whose results nothing but HAVING looks at: a change of theirs alone is not told.
    pub unseen: Vec<usize>,
    /// When results are emitted.
    pub emit: Emit,
    /// Whether the input may hold update-before and delete rows.
    pub retracts: bool,
    /// How long groups without a window live that no row touches; not for final results.
    pub ttl: Option<Ttl>,
    /// Shape of the output.
    pub schema: Arc<Schema>,
}

impl AggregateSpec {
    /// Whether its groups may lie in a store on disk (`state_backend = 'disk'`).
    pub fn spills(&self) -> bool {
        self.window.is_none() && self.expiry().is_none()
    }

    /// How long its groups live untouched, if they expire: final results wait for all rows.
    pub fn expiry(&self) -> Option<Ttl> {
        self.ttl.filter(|_| self.window.is_none() && self.emit != Emit::Final && !self.keys.is_empty())
    }
}

/// `state_ttl`: how long state lives that no row touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// µs.
    pub micros: i64,
    /// By the watermark of the input, else by the job's clock.
    pub event_time: bool,
}

/// How windows that overlap come to their results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slices {
    /// They don't overlap.
    NotNeeded,
    /// A record changes one slice of time, and a window combines its slices.
    Shared,
    /// Each window has groups of its own, and a record changes all that hold it; with the reason.
    Apart(String),
}

impl AggregateSpec {
    /// Whether its windows share slices.
    pub fn slices(&self) -> Slices {
        let overlap = match self.window.as_ref().map(|w| w.kind) {
            Some(WindowKind::Hop { slide, size }) => slide < size,
            Some(WindowKind::Cumulate { step, size }) => step < size,
            _ => false,
        };
        if !overlap {
            return Slices::NotNeeded;
        }
        if self.emit != Emit::Final {
            return Slices::Apart("changes of every window are emitted".into());
        }
        if self.retracts {
            return Slices::Apart("the input may take rows back".into());
        }
        match self.calls.iter().find(|c| c.combine().is_none()) {
            Some(call) => Slices::Apart(format!("{} can't be combined", call.function.name)),
            None => Slices::Shared,
        }
    }
}

/// Adds `window_start` and `window_end` to each record, once for each window that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowTableSpec {
    /// The window.
    pub window: WindowSpec,
    /// PARTITION BY of sessions, each of which is emitted when it is over; none for other windows.
    pub partition_by: Vec<Expr>,
    /// Whether it leaves out what is late, since an operator above it tells results window by window: a row is late once, however
    /// many windows it would have counted in.
    pub judges_lateness: bool,
    /// Input columns, then the two.
    pub schema: Arc<Schema>,
}

/// One end of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameBound {
    /// UNBOUNDED PRECEDING.
    UnboundedPreceding,
    /// n PRECEDING: rows, or for RANGE units of the ORDER BY key (µs for times), see [`Frame::scale`].
    Preceding(i64),
    /// CURRENT ROW (for RANGE with its peers).
    CurrentRow,
    /// n FOLLOWING.
    Following(i64),
    /// UNBOUNDED FOLLOWING.
    UnboundedFollowing,
}

/// Which rows a call OVER sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// ROWS; else RANGE.
    pub rows: bool,
    /// First row.
    pub start: FrameBound,
    /// Last row.
    pub end: FrameBound,
    /// Digits behind the point of the distances of a RANGE: they are in units of 10^-scale.
    pub scale: u8,
}

/// A function called OVER.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum OverFunction {
    Aggregate(AggregateCall),
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile(Expr),
    Lag { expr: Expr, offset: Expr, default: Option<Expr> },
    Lead { expr: Expr, offset: Expr, default: Option<Expr> },
    FirstValue(Expr),
    LastValue(Expr),
    NthValue { expr: Expr, n: Expr },
}

/// What holds for rows that come behind the watermark, of calls OVER that are told as it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streaming {
    /// Allowed lateness: rows are emitted that far behind the watermark.
    pub lateness: i64,
    /// What happens beyond.
    pub late: LatePolicy,
}

/// Calls that share one window definition. Output: the input's columns, then one for each call; one row a row.
///
/// Where the first ORDER BY key is the event time and the frame does not look ahead, rows are emitted in time order as
/// the watermark passes them (`streaming`); else the input has to end, and rows are emitted at its end, in input order.
#[derive(Clone, Debug, PartialEq)]
pub struct OverSpec {
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// Frame.
    pub frame: Frame,
    /// Calls.
    pub calls: Vec<OverFunction>,
    /// Whether rows are emitted as the watermark passes them, and what becomes of rows behind it.
    pub streaming: Option<Streaming>,
    /// `state_ttl` where it is streaming, µs: a row that is more behind the last one of its partition begins the partition anew.
    pub ttl: Option<i64>,
    /// Shape of the input.
    pub input: Arc<Schema>,
    /// Shape of the output: the first columns of the input, as many as are wanted, then those of the calls.
    pub schema: Arc<Schema>,
}

/// The first rows by rank: `ROW_NUMBER() OVER (…) <= n`, or ORDER BY … LIMIT.
#[derive(Clone, Debug, PartialEq)]
pub struct TopNSpec {
    /// PARTITION BY; none = over everything.
    pub partition_by: Vec<Expr>,
    /// ORDER BY; ties by arrival.
    pub order_by: Vec<SortKey>,
    /// Ranks kept: `offset + 1 ..= offset + limit`.
    pub limit: u64,
    /// Ranks left out at the top.
    pub offset: u64,
    /// Whether the rank (BIGINT, from 1) is the last output column.
    pub with_rank: bool,
    /// The column that ends the window of a partition, where the input is windowed, has a watermark and is partitioned by it:
    /// under `Final` a partition is emitted and forgotten when the watermark reaches it, NULL and the rest at the end.
    pub window_end: Option<Expr>,
    /// When results are emitted; `Final` = at the end of the bounded input (or of the window), by the partition's first arrival and rank.
    pub emit: Emit,
    /// Whether the input may hold update-before and delete rows.
    pub retracts: bool,
    /// How long partitions live that no row comes to; not for final results.
    pub ttl: Option<Ttl>,
    /// Shape of the output.
    pub schema: Arc<Schema>,
}

impl TopNSpec {
    /// How long its partitions live untouched, if they expire: final results wait for all rows.
    pub fn expiry(&self) -> Option<Ttl> {
        self.ttl.filter(|_| self.emit != Emit::Final && !self.partition_by.is_empty())
    }
}

/// ORDER BY without LIMIT over bounded input: all rows at the end. Ties keep their order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct SortSpec {
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// Shape of the output: that of the input.
    pub schema: Arc<Schema>,
}
