//! What a plan's output says about time: whether its rows carry a watermark, which columns are event times, which are windows.

use super::{LatePolicy, LogicalPlan, OutputColumn, OutputTarget, Stateful, WindowKind};
use crate::expr::{Expr, Volatility};

/// A column whose values are event times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// Its position.
    pub index: usize,
    /// How far its values may lie behind the watermark, beyond the allowed lateness; `None` = any distance (the start of a
    /// session).
    pub behind: Option<i64>,
}

/// The columns that hold a row's window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowColumns {
    /// `window_start`, unless it was left out.
    pub start: Option<usize>,
    /// `window_end`, unless it was left out.
    pub end: Option<usize>,
    /// Both as a STRUCT, if there is one.
    pub value: Option<usize>,
    /// What kind of window it is.
    pub kind: WindowKind,
}

/// What is known of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeTraits {
    /// Each row carries the watermark that held just before it.
    pub has_watermark: bool,
    /// `allowed_lateness`.
    pub lateness: i64,
    /// `late`.
    pub late: LatePolicy,
    /// Columns that the watermark speaks of.
    pub columns: Vec<TimeColumn>,
    /// The window of each row.
    pub window: Option<WindowColumns>,
}

impl WindowKind {
    /// The greatest length of such a window; `None` for sessions.
    pub fn length(self) -> Option<i64> {
        match self {
            WindowKind::Tumble { size }
            | WindowKind::Hop { size, .. }
            | WindowKind::Cumulate { size, .. } => Some(size),
            WindowKind::Session { .. } | WindowKind::Given => None,
        }
    }

    /// Whether no two windows begin at the same time.
    pub fn start_tells(self) -> bool {
        matches!(self, WindowKind::Tumble { .. } | WindowKind::Hop { .. })
    }

    /// Whether no two windows end at the same time.
    pub fn end_tells(self) -> bool {
        !matches!(self, WindowKind::Session { .. } | WindowKind::Given)
    }
}

/// Whether this is PROCTIME(), the time of the job's clock.
pub fn is_clock(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, args, .. }
        if args.is_empty() && function.volatility != Volatility::Immutable)
}

/// What the rows of a plan say of time.
pub fn time_traits(plan: &LogicalPlan) -> TimeTraits {
    match plan {
        LogicalPlan::Scan { .. } | LogicalPlan::Values { .. } => TimeTraits::default(),
        LogicalPlan::Filter { input, .. }
        | LogicalPlan::Limit { input, .. }
        // Its own columns stand behind those of the input.
        | LogicalPlan::Unnest { input, .. } => time_traits(input),
        LogicalPlan::Project { input, columns, .. } => projected(time_traits(input), columns),
        LogicalPlan::Union { inputs, .. } => {
            let mut all = inputs.iter().map(time_traits);
            let first = all.next().unwrap_or_default();
            all.fold(first, united)
        }
        LogicalPlan::Stateful { input, spec } => stateful(input, spec),
    }
}

fn stateful(input: &LogicalPlan, spec: &Stateful) -> TimeTraits {
    let below = time_traits(input);
    match spec {
        Stateful::Watermark(spec) => {
            let column = match &spec.time {
                Expr::Column { index, .. } => Some(TimeColumn { index: *index, behind: Some(0) }),
                _ => None,
            };
            TimeTraits {
                has_watermark: true,
                lateness: spec.lateness,
                late: spec.late,
                columns: column.into_iter().collect(),
                window: below.window,
            }
        }
        Stateful::WindowTable(spec) => {
            let end = spec.schema.len().saturating_sub(1);
            let (start, window) = (end.saturating_sub(1), &spec.window);
            let below = TimeTraits { lateness: window.lateness, late: window.late, ..below };
            windowed(below, window.has_watermark, start, end, window.kind)
        }
        Stateful::Aggregate(spec) => {
            let Some(window) = &spec.window else {
                return TimeTraits { columns: Vec::new(), window: None, ..below };
            };
            let (start, end) = (spec.keys.len(), spec.keys.len() + 1);
            let lateness = window.lateness;
            let above = TimeTraits { lateness, late: window.late, columns: Vec::new(), ..below.clone() };
            let kind = match window.kind {
                WindowKind::Given => below.window.map_or(WindowKind::Given, |w| w.kind),
                kind => kind,
            };
            windowed(above, window.has_watermark, start, end, kind)
        }
        Stateful::Over(spec) => {
            // Of the columns of the input it hands the first on.
            let handed = spec.schema.len().saturating_sub(spec.calls.len());
            let columns = below.columns.into_iter().filter(|c| c.index < handed).collect();
            let here = |at: Option<usize>| at.filter(|i| *i < handed);
            let window = below.window.map(|w| WindowColumns {
                start: here(w.start),
                end: here(w.end),
                value: here(w.value),
                ..w
            });
            TimeTraits { columns, window, ..below }
        }
        Stateful::TopN(_) | Stateful::Sort(_) => below,
    }
}

/// Rows that got their window in the columns `start` and `end`.
fn windowed(
    mut traits: TimeTraits,
    has_watermark: bool,
    start: usize,
    end: usize,
    kind: WindowKind,
) -> TimeTraits {
    traits.has_watermark &= has_watermark;
    if traits.has_watermark {
        traits.columns.push(TimeColumn { index: start, behind: kind.length() });
        traits.columns.push(TimeColumn { index: end, behind: Some(0) });
    }
    traits.window = Some(WindowColumns { start: Some(start), end: Some(end), value: None, kind });
    traits
}

/// Part of a row's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowPart {
    /// Its start.
    Start,
    /// Its end.
    End,
    /// Both, as a STRUCT.
    Whole,
}

impl WindowColumns {
    /// Which part of the window an expression is.
    pub fn part(&self, expr: &Expr) -> Option<WindowPart> {
        let is = |e: &Expr, at: Option<usize>| matches!(e, Expr::Column { index, .. } if Some(*index) == at);
        match expr {
            e if is(e, self.start) => Some(WindowPart::Start),
            e if is(e, self.end) => Some(WindowPart::End),
            e if is(e, self.value) => Some(WindowPart::Whole),
            Expr::Field { expr, index, .. } if is(expr, self.value) => {
                Some(if *index == 0 { WindowPart::Start } else { WindowPart::End })
            }
            Expr::Struct { fields, .. } => match fields.as_slice() {
                [(_, start), (_, end)]
                    if self.part(start) == Some(WindowPart::Start)
                        && self.part(end) == Some(WindowPart::End) =>
                {
                    Some(WindowPart::Whole)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is left of it behind a projection.
fn projected(traits: TimeTraits, items: &[OutputColumn]) -> TimeTraits {
    let outputs = || items.iter().filter(|c| matches!(c.target, OutputTarget::Column(_))).enumerate();
    let part = |e: &Expr| traits.window.as_ref().and_then(|w| w.part(e));
    let behind = |expr: &Expr| match expr {
        Expr::Column { index, .. } => traits.columns.iter().find(|c| c.index == *index).map(|c| c.behind),
        Expr::Field { .. } if traits.has_watermark => match part(expr)? {
            WindowPart::Start => Some(traits.window.as_ref().and_then(|w| w.kind.length())),
            WindowPart::End => Some(Some(0)),
            WindowPart::Whole => None,
        },
        _ => None,
    };
    let columns: Vec<TimeColumn> = outputs()
        .filter_map(|(index, item)| Some(TimeColumn { index, behind: behind(&item.expr)? }))
        .collect();
    let at = |wanted: WindowPart| outputs().find(|(_, c)| part(&c.expr) == Some(wanted)).map(|(i, _)| i);
    let (start, end, value) = (at(WindowPart::Start), at(WindowPart::End), at(WindowPart::Whole));
    let there = start.is_some() || end.is_some() || value.is_some();
    let window = traits.window.as_ref().filter(|_| there);
    let window = window.map(|w| WindowColumns { start, end, value, kind: w.kind });
    TimeTraits { columns, window, ..traits }
}

/// What is true of the rows of both inputs.
fn united(a: TimeTraits, b: TimeTraits) -> TimeTraits {
    let columns = a.columns.iter().filter_map(|x| {
        let y = b.columns.iter().find(|y| y.index == x.index)?;
        let behind = x.behind.zip(y.behind).map(|(x, y)| x.max(y));
        Some(TimeColumn { index: x.index, behind })
    });
    let strictness = |late: LatePolicy| match late {
        LatePolicy::Drop => 0,
        LatePolicy::DeadLetter => 1,
        LatePolicy::Update => 2,
    };
    TimeTraits {
        has_watermark: a.has_watermark && b.has_watermark,
        lateness: a.lateness.max(b.lateness),
        late: if strictness(a.late) >= strictness(b.late) { a.late } else { b.late },
        columns: columns.collect(),
        window: a.window.filter(|w| b.window.as_ref() == Some(w)),
    }
}
