//! Grouping by a window: one that GROUP BY or a clause names, or one whose columns the rows of FROM bring.

use super::calls::{Collected, StandIn};
use super::group::Key;
use super::scope::Scope;
use super::window::{mentions_window, window_part};
use super::{Bind, Session};
use crate::expr::{Expr, typing};
use crate::plan::{
    LogicalPlan, Stateful, TimeTraits, WindowColumns, WindowKind, WindowPart, WindowSpec, WindowTableSpec,
    time_traits,
};
use crate::record::FieldValue;
use crate::sql::Diagnostic;

/// The window that rows are grouped by.
pub(super) struct GroupWindow {
    pub(super) spec: WindowSpec,
    /// What of FROM is its start, where rows bring it.
    pub(super) starts: Vec<Expr>,
    /// What is its end.
    pub(super) ends: Vec<Expr>,
    /// The column that is both.
    pub(super) value: Option<usize>,
}

impl GroupWindow {
    fn new(spec: WindowSpec) -> Self {
        Self { spec, starts: Vec::new(), ends: Vec::new(), value: None }
    }
}

impl Session<'_, '_> {
    /// Takes the window out of the grouping expressions, and says which it is.
    pub(super) fn group_window(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        keys: Vec<Key>,
        collected: &Collected,
    ) -> Bind<(LogicalPlan, Vec<Key>, Option<GroupWindow>)> {
        let found = collected.window.borrow().clone();
        let Some(found) = found else {
            self.refuse_window_names(collected)?;
            return self.table_window(plan, scope, keys, collected);
        };
        let (mut rest, mut named) = (Vec::new(), Named::default());
        for key in keys {
            match window_part(&key.expr) {
                Some(part) => named.note(part),
                None if mentions_window(&key.expr) => {
                    let error =
                        Diagnostic::new("GROUP BY takes the window itself, not a value of it", found.span);
                    return Err(self.report(error.with_hint("group by the window and compute outside")));
                }
                None => rest.push(key),
            }
        }
        if !named.tells(found.kind) {
            let message = match named {
                Named { start: false, end: false } => "the window must stand in GROUP BY",
                _ => "GROUP BY takes both window_start and window_end of such windows",
            };
            return self.fail(message, found.span);
        }
        let (plan, spec) = self.time_window(plan, scope, &found)?;
        Ok((plan, rest, Some(GroupWindow::new(spec))))
    }

    /// A window's name without a window.
    pub(super) fn refuse_window_names(&mut self, collected: &Collected) -> Bind<()> {
        let Some(at) = collected.window_named.get() else { return Ok(()) };
        let error = Diagnostic::new("there is no window here", at);
        let hint = "window_start and window_end come from TUMBLE, HOP, CUMULATE or SESSION in FROM or GROUP BY, or from WINDOW";
        Err(self.report(error.with_hint(hint)))
    }

    /// Grouping by the columns of a window table function, or of a window further below.
    fn table_window(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        keys: Vec<Key>,
        collected: &Collected,
    ) -> Bind<(LogicalPlan, Vec<Key>, Option<GroupWindow>)> {
        let traits = time_traits(&plan);
        let Some(columns) = traits.window.clone() else { return Ok((plan, keys, None)) };
        let mut named = Named::default();
        for part in keys.iter().filter_map(|k| columns.part(&k.expr)) {
            named.note(match part {
                WindowPart::Start => StandIn::WindowStart,
                WindowPart::End => StandIn::WindowEnd,
                WindowPart::Whole => StandIn::Window,
            });
        }
        if !named.tells(columns.kind) {
            return Ok((plan, keys, None));
        }
        let rest: Vec<Key> = keys.iter().filter(|k| columns.part(&k.expr).is_none()).cloned().collect();
        let [starts, ends] = self.window_ends(&columns, scope)?;
        let whole =
            |spec| GroupWindow { spec, starts: starts.clone(), ends: ends.clone(), value: columns.value };
        let own = [columns.start, columns.end, columns.value];
        let uses = |expr: &Expr| expr.columns_used().into_iter().any(|c| own.contains(&Some(c)));
        let free = !rest.iter().any(|k| uses(&k.expr))
            && !collected.aggregates.borrow().iter().any(|call| call_exprs(call).any(uses));
        let plan = match take_window_table(plan, &columns, free, &rest) {
            Ok((plan, spec)) => return Ok((plan, rest, Some(whole(spec)))),
            Err(plan) => plan,
        };
        let spec = given(starts.first(), ends.first(), &columns, &traits);
        match spec.filter(|_| traits.has_watermark || plan.is_bounded()) {
            Some(spec) => Ok((plan.judging_lateness(), rest, Some(whole(spec)))),
            None => Ok((plan, keys, None)),
        }
    }

    /// What of FROM is the start of a row's window, and what its end.
    fn window_ends(&mut self, columns: &WindowColumns, scope: &Scope) -> Bind<[Vec<Expr>; 2]> {
        let mut found = [Vec::new(), Vec::new()];
        for ((own, field), to) in [(columns.start, "start"), (columns.end, "end")].into_iter().zip(&mut found)
        {
            if let Some(at) = own {
                to.push(self.typed(typing::column(&scope.schema, at), self.here)?);
            }
            if let Some(at) = columns.value {
                let made = typing::column(&scope.schema, at).and_then(|value| typing::field(value, field));
                to.push(self.typed(made, self.here)?);
            }
        }
        Ok(found)
    }
}

/// Which columns of a window are grouped by.
#[derive(Clone, Copy, Default)]
struct Named {
    start: bool,
    end: bool,
}

impl Named {
    fn note(&mut self, part: StandIn) {
        self.start |= part != StandIn::WindowEnd;
        self.end |= part != StandIn::WindowStart;
    }
    /// Whether they tell the windows of that kind apart.
    fn tells(self, kind: WindowKind) -> bool {
        match (self.start, self.end) {
            (true, true) => true,
            (true, false) => kind.start_tells(),
            (false, true) => kind.end_tells(),
            (false, false) => false,
        }
    }
}

fn call_exprs(call: &crate::expr::AggregateCall) -> impl Iterator<Item = &Expr> {
    call.args.iter().chain(&call.filter).chain(call.order_by.iter().map(|k| &k.expr))
}

/// The plan without the window table function at its top, and its window – if nothing between needs its columns.
fn take_window_table(
    plan: LogicalPlan,
    columns: &WindowColumns,
    free: bool,
    keys: &[Key],
) -> Result<(LogicalPlan, WindowSpec), LogicalPlan> {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let used = predicate.columns_used();
            let uses = used.into_iter().any(|c| Some(c) == columns.start || Some(c) == columns.end);
            // A condition on rows must not change where sessions end.
            let sessions = matches!(columns.kind, WindowKind::Session { .. });
            match take_window_table(*input, columns, free && !uses && !sessions, keys) {
                Ok((input, spec)) => Ok((LogicalPlan::Filter { input: Box::new(input), predicate }, spec)),
                Err(input) => Err(LogicalPlan::Filter { input: Box::new(input), predicate }),
            }
        }
        LogicalPlan::Stateful { input, spec: Stateful::WindowTable(spec) }
            if free && same_keys(&spec, keys) =>
        {
            Ok((*input, spec.window))
        }
        other => Err(other),
    }
}

/// Whether sessions are per group.
fn same_keys(spec: &WindowTableSpec, keys: &[Key]) -> bool {
    if !matches!(spec.window.kind, WindowKind::Session { .. }) {
        return true;
    }
    let same = |a: &Expr, b: &Expr| match (a, b) {
        (Expr::Column { index: a, .. }, Expr::Column { index: b, .. }) => a == b,
        _ => a == b,
    };
    spec.partition_by.iter().all(|p| keys.iter().any(|k| same(p, &k.expr)))
        && keys.iter().all(|k| spec.partition_by.iter().any(|p| same(p, &k.expr)))
}

/// The window that rows bring in their columns.
fn given(
    start: Option<&Expr>,
    end: Option<&Expr>,
    columns: &WindowColumns,
    traits: &TimeTraits,
) -> Option<WindowSpec> {
    let start = start.cloned();
    let time = match (end.cloned(), &start) {
        (Some(end), _) => end,
        // The start alone tells the end.
        (None, Some(start)) => {
            let size = FieldValue::Interval(crate::record::Interval {
                months: 0,
                days: 0,
                micros: columns.kind.length()?,
            });
            typing::binary(crate::expr::BinaryOp::Add, start.clone(), typing::literal(size)).ok()?
        }
        (None, None) => return None,
    };
    Some(WindowSpec {
        kind: WindowKind::Given,
        time,
        start,
        lateness: if traits.has_watermark { traits.lateness } else { 0 },
        late: traits.late,
        has_watermark: traits.has_watermark,
    })
}
