//! Which calls OVER can be told as time passes, before the input ends.

use super::{FrameBound, LogicalPlan, OverFunction, OverSpec, Streaming, time_traits, walk};
use crate::expr::Expr;
use crate::record::DataType;

/// Why rows of a call OVER wait for the end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nothing says how far time has come.
    NoWatermark,
    /// The rows are in another order than that of the event time, which is in that column if there is one.
    Order(Option<usize>),
    /// The frame has rows behind the current one and its peers.
    Frame,
    /// The function does, at that place among the calls.
    Call(usize),
}

impl Streaming {
    /// The time before which no row comes any more, or is late.
    pub(crate) fn passed(&self, watermark: i64) -> i64 {
        if watermark == i64::MAX { watermark } else { watermark.saturating_sub(self.lateness) }
    }
}

impl OverSpec {
    /// How its rows come out as the watermark passes them.
    pub(crate) fn over_time(&self, input: &LogicalPlan) -> Result<Streaming, Waits> {
        let traits = time_traits(input);
        if !traits.has_watermark {
            return Err(Waits::NoWatermark);
        }
        let is_time = |index: &usize| {
            let field = input.schema().fields().get(*index);
            let on_time = traits.columns.iter().any(|c| c.index == *index && c.behind == Some(0));
            on_time && field.is_some_and(|f| f.data_type == DataType::Timestamp)
        };
        match self.order_by.first() {
            Some(key)
                if !key.descending && matches!(&key.expr, Expr::Column { index, .. } if is_time(index)) => {}
            _ => return Err(Waits::Order(traits.columns.iter().map(|c| c.index).find(is_time))),
        }
        self.looks_ahead().map_or(Ok(Streaming { lateness: traits.lateness, late: traits.late }), Err)
    }

    /// What in it needs rows behind the current one and its peers.
    pub(crate) fn looks_ahead(&self) -> Option<Waits> {
        let ahead = |b: FrameBound| matches!(b, FrameBound::Following(_) | FrameBound::UnboundedFollowing);
        if ahead(self.frame.start) || ahead(self.frame.end) {
            return Some(Waits::Frame);
        }
        let call = self.calls.iter().position(|call| match call {
            OverFunction::PercentRank
            | OverFunction::CumeDist
            | OverFunction::Ntile(_)
            | OverFunction::Lead { .. } => true,
            // A negative distance is one forward.
            OverFunction::Lag { offset, .. } => match walk::constant(offset) {
                Some(Ok(n)) => n.as_i64().is_some_and(|n| n < 0),
                _ => true,
            },
            OverFunction::Aggregate(_)
            | OverFunction::RowNumber
            | OverFunction::Rank
            | OverFunction::DenseRank
            | OverFunction::FirstValue(_)
            | OverFunction::LastValue(_)
            | OverFunction::NthValue { .. } => false,
        });
        call.map(Waits::Call)
    }
}
