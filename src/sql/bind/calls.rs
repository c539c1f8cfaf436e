//! Calls that are more than expressions – aggregates, calls OVER, windows – while the expressions around them are bound.
//!
//! Each is collected and stands in its expression as a column far behind all others, until it is known where the plan
//! delivers it.

use std::cell::{Cell, RefCell};

use sqlparser::ast;

use super::window::FoundWindow;
use crate::expr::{AggregateCall, Expr};
use crate::plan::Frame;
use crate::record::{CompactString, DataType, Field};
use crate::sql::Span;

/// Columns from here on stand for aggregate calls.
const CALLS: usize = usize::MAX / 2;
/// Columns from here on stand for calls OVER.
const OVER: usize = CALLS + (1 << 32);
/// The window as a STRUCT, its start, its end.
const WINDOW: usize = OVER + (1 << 32);
/// Columns from here on stand for arguments of GROUPING.
const GROUPING: usize = WINDOW + (1 << 32);

/// A column that stands for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StandIn {
    Aggregate(usize),
    Over(usize),
    Window,
    WindowStart,
    WindowEnd,
    /// 0 in rows of grouping sets with the argument of that number, 1 in others.
    Grouping(usize),
}

impl StandIn {
    pub(super) fn of(index: usize) -> Option<Self> {
        match index {
            WINDOW => Some(StandIn::Window),
            i if i == WINDOW + 1 => Some(StandIn::WindowStart),
            i if i == WINDOW + 2 => Some(StandIn::WindowEnd),
            i if i >= GROUPING => Some(StandIn::Grouping(i - GROUPING)),
            i if i >= OVER => Some(StandIn::Over(i - OVER)),
            i if i >= CALLS => Some(StandIn::Aggregate(i - CALLS)),
            _ => None,
        }
    }

    fn index(self) -> usize {
        match self {
            StandIn::Aggregate(n) => CALLS + n,
            StandIn::Over(n) => OVER + n,
            StandIn::Window => WINDOW,
            StandIn::WindowStart => WINDOW + 1,
            StandIn::WindowEnd => WINDOW + 2,
            StandIn::Grouping(n) => GROUPING + n,
        }
    }

    pub(super) fn expr(self, name: &str, data_type: DataType) -> Expr {
        Expr::Column { index: self.index(), name: name.into(), data_type }
    }
}

/// The type of a window as a value.
pub(super) fn window_type() -> DataType {
    DataType::Struct(vec![
        Field::new("start", DataType::Timestamp).not_null(),
        Field::new("end", DataType::Timestamp).not_null(),
    ])
}

/// A call OVER, with its definition of a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OverCall {
    pub(super) function: crate::plan::OverFunction,
    pub(super) partition_by: Vec<Expr>,
    pub(super) order_by: Vec<crate::expr::SortKey>,
    pub(super) frame: Frame,
    pub(super) name: CompactString,
    pub(super) data_type: DataType,
}

/// What a SELECT calls.
#[derive(Debug, Default)]
// Windows are refused before they are collected.
#[allow(dead_code)]
pub(super) struct Collected {
    pub(super) aggregates: RefCell<Vec<AggregateCall>>,
    pub(super) over: RefCell<Vec<(OverCall, Span)>>,
    /// Arguments of GROUPING.
    pub(super) grouping: RefCell<Vec<(Expr, Span)>>,
    /// Grouping sets, by their expressions; none = one of all.
    pub(super) sets: RefCell<Vec<Vec<Expr>>>,
    /// The WINDOW clause.
    pub(super) named: Vec<ast::NamedWindowDefinition>,
    pub(super) window: RefCell<Option<FoundWindow>>,
    /// Where `window_start` or `window_end` is named first.
    pub(super) window_named: Cell<Option<Span>>,
}

impl Collected {
    /// Notes an aggregate call; the same call is made once.
    pub(super) fn aggregate(&self, call: AggregateCall) -> Expr {
        let mut calls = self.aggregates.borrow_mut();
        let at = calls.iter().position(|c| *c == call).unwrap_or(calls.len());
        let stands = StandIn::Aggregate(at).expr(call.function.name, call.data_type.clone());
        if at == calls.len() {
            calls.push(call);
        }
        stands
    }

    /// Notes a call OVER; the same call is made once.
    pub(super) fn over(&self, call: OverCall, at: Span) -> Expr {
        let mut calls = self.over.borrow_mut();
        let place = calls.iter().position(|(c, _)| *c == call).unwrap_or(calls.len());
        let stands = StandIn::Over(place).expr(&call.name, call.data_type.clone());
        if place == calls.len() {
            calls.push((call, at));
        }
        stands
    }
}

/// Which of these calls an expression may make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'s> {
    /// The clause, for errors.
    pub(super) clause: &'static str,
    /// Where calls go; `None` = there may be none at all.
    pub(super) collected: Option<&'s Collected>,
    pub(super) aggregates: bool,
    pub(super) over: bool,
}

impl<'s> Place<'s> {
    /// A place for rows as they come, where nothing may be collected.
    pub(super) fn row(clause: &'static str) -> Self {
        Self { clause, collected: None, aggregates: false, over: false }
    }
    /// The items of a SELECT, ORDER BY, QUALIFY.
    pub(super) fn output(clause: &'static str, collected: &'s Collected) -> Self {
        Self { clause, collected: Some(collected), aggregates: true, over: true }
    }
    /// HAVING, the arguments of calls OVER.
    pub(super) fn groups(clause: &'static str, collected: &'s Collected) -> Self {
        Self { clause, collected: Some(collected), aggregates: true, over: false }
    }
    /// GROUP BY, where a window may be named.
    pub(super) fn keys(collected: &'s Collected) -> Self {
        Self { clause: "GROUP BY", collected: Some(collected), aggregates: false, over: false }
    }
}
