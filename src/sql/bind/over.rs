//! Calls OVER: the function, the rows that it sees, and the operators that compute it.
//!
//! Each call is collected while expressions are bound. Calls with the same PARTITION BY, ORDER BY and frame are one operator,
//! others follow one another; their results stand behind the columns of FROM or of the groups.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, WindowType};

use super::calls::{Collected, OverCall, Place, StandIn};
use super::group::Layout;
use super::scope::{AliasUse, Names, hits, unique_names};
use super::select::Item;
use super::{Bind, Bound, Reported, Session, all};
use crate::expr::{Expr, SortKey, typing};
use crate::plan::{Frame, LogicalPlan, OutputTarget, OverFunction, OverSpec, Stateful, Waits, ranked};
use crate::record::{CompactString, DataType, Field, FieldValue, Schema, sorted};
use crate::sql::{Diagnostic, Span};

/// Functions that exist with OVER only, or mean something else with it.
const FUNCTIONS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Whether OVER is all that is missing for a function of this name.
pub(super) fn needs_over(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// A definition of a window, bound.
#[derive(Clone, Debug, PartialEq)]
struct Definition {
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    frame: Frame,
}

/// What an operator computes: a definition with its calls, each with its number among all.
struct Stage {
    definition: Definition,
    calls: Vec<(usize, OverCall, Span)>,
}

impl Stage {
    /// Whether it does nothing but number rows: then a condition on the number can make a top-N of it.
    fn only_numbers(&self) -> bool {
        matches!(self.calls.as_slice(), [(_, call, _)] if call.function == OverFunction::RowNumber)
    }
}

impl Session<'_, '_> {
    /// Binds a call with OVER; it stands in the expression as a column.
    pub(super) fn over_call(
        &mut self,
        function: &ast::Function,
        name: &str,
        over: &WindowType,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let collected = match names.place.collected {
            Some(collected) if names.place.over => collected,
            _ => return self.misplaced_over(names.place),
        };
        let inner = Names {
            place: Place::groups("the arguments of a call OVER", collected),
            alias_use: AliasUse::Inline,
            ..names
        };
        let (call, definition) = (self.over_function(function, name, inner), self.definition(over, inner));
        let ((function, data_type), definition) = (call?, definition?);
        let Definition { partition_by, order_by, frame } = definition;
        let call = OverCall { function, partition_by, order_by, frame, name: name.into(), data_type };
        Ok(collected.over(call, self.here))
    }

    fn misplaced_over<T>(&mut self, place: Place<'_>) -> Bind<T> {
        let error = Diagnostic::new(format!("a call OVER can't stand in {}", place.clause), self.here);
        let error = match place.clause {
            "WHERE" | "HAVING" => error
                .with_hint("write the condition behind QUALIFY, or call it in a subquery and filter outside"),
            _ => error.with_hint("call it in a subquery first"),
        };
        Err(self.report(error))
    }

    /// What is called, and the type of its result.
    fn over_function(
        &mut self,
        function: &ast::Function,
        name: &str,
        names: Names<'_>,
    ) -> Bind<(OverFunction, DataType)> {
        if function.null_treatment == Some(ast::NullTreatment::IgnoreNulls) {
            return self.unsupported("IGNORE NULLS", self.here);
        }
        if needs_over(name) {
            if function.filter.is_some() {
                return self.fail(format!("FILTER belongs to an aggregate, {name} is none"), self.here);
            }
            if !function.within_group.is_empty() {
                return self.fail(format!("WITHIN GROUP belongs to an aggregate, {name} is none"), self.here);
            }
            let args = self.plain_arguments(function, name, names)?;
            return self.ranking(name, args);
        }
        if self.binder.functions.aggregates(name).is_empty() {
            return self.fail(format!("'{name}' is neither an aggregate nor a window function"), self.here);
        }
        let call = self.aggregate_call(function, name, names)?;
        let data_type = call.data_type.clone();
        Ok((OverFunction::Aggregate(call), data_type))
    }

    fn plain_arguments(&mut self, function: &ast::Function, name: &str, names: Names<'_>) -> Bind<Vec<Expr>> {
        let list = match &function.args {
            FunctionArguments::List(list) => list,
            FunctionArguments::None => return Ok(Vec::new()),
            FunctionArguments::Subquery(_) => {
                return self.unsupported("a subquery as an argument", self.here);
            }
        };
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        if duplicate_treatment.is_some() {
            return self.fail(format!("{name} takes no DISTINCT"), self.here);
        }
        if let Some(clause) = clauses.first() {
            return match clause {
                ast::FunctionArgumentClause::IgnoreOrRespectNulls(ast::NullTreatment::RespectNulls) => {
                    let bound: Vec<_> = args.iter().map(|arg| self.plain_argument(arg, names)).collect();
                    all(bound)
                }
                other => self.unsupported(&format!("'{other}' in the arguments of {name}"), self.here),
            };
        }
        let bound: Vec<_> = args.iter().map(|arg| self.plain_argument(arg, names)).collect();
        all(bound)
    }

    fn plain_argument(&mut self, arg: &FunctionArg, names: Names<'_>) -> Bind<Expr> {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr, names),
            FunctionArg::Unnamed(_) => self.fail("* can't be an argument here", self.here),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                self.unsupported("a named argument of a window function", self.here)
            }
        }
    }

    fn ranking(&mut self, name: &str, args: Vec<Expr>) -> Bind<(OverFunction, DataType)> {
        use OverFunction as F;
        let one = || typing::literal(FieldValue::Integer(1));
        let given = args.len();
        let mut args = args.into_iter();
        let mut next = || args.next();
        let made = match (name, given) {
            ("row_number", 0) => (F::RowNumber, DataType::BigInt),
            ("rank", 0) => (F::Rank, DataType::BigInt),
            ("dense_rank", 0) => (F::DenseRank, DataType::BigInt),
            ("percent_rank", 0) => (F::PercentRank, DataType::Double),
            ("cume_dist", 0) => (F::CumeDist, DataType::Double),
            ("ntile", 1) => {
                let n = next().ok_or(Reported)?;
                (F::Ntile(self.whole(n, name)?), DataType::Integer)
            }
            ("first_value", 1) => {
                let expr = next().ok_or(Reported)?;
                let data_type = expr.data_type();
                (F::FirstValue(expr), data_type)
            }
            ("last_value", 1) => {
                let expr = next().ok_or(Reported)?;
                let data_type = expr.data_type();
                (F::LastValue(expr), data_type)
            }
            ("nth_value", 2) => {
                let (expr, n) = (next().ok_or(Reported)?, next().ok_or(Reported)?);
                let data_type = expr.data_type();
                (F::NthValue { expr, n: self.whole(n, name)? }, data_type)
            }
            ("lag" | "lead", 1..=3) => {
                let expr = next().ok_or(Reported)?;
                let offset = next().map_or(Ok(one()), |n| self.whole(n, name))?;
                let (expr, default) = match next() {
                    None => (expr, None),
                    Some(default) => {
                        let (both, _) = self.typed(typing::unify(vec![expr, default]), self.here)?;
                        let mut both = both.into_iter();
                        (both.next().ok_or(Reported)?, both.next())
                    }
                };
                let data_type = expr.data_type();
                match name {
                    "lag" => (F::Lag { expr, offset, default }, data_type),
                    _ => (F::Lead { expr, offset, default }, data_type),
                }
            }
            _ => {
                let takes = match name {
                    "ntile" => "one argument, the number of buckets",
                    "first_value" | "last_value" => "one argument",
                    "nth_value" => "two arguments, the value and the position",
                    "lag" | "lead" => {
                        "one to three arguments: the value, how many rows away, what stands where there is no such row"
                    }
                    _ => "no arguments",
                };
                return self.fail(format!("{name} takes {takes}"), self.here);
            }
        };
        Ok(made)
    }

    fn whole(&mut self, expr: Expr, name: &str) -> Bind<Expr> {
        match expr.data_type() {
            DataType::SmallInt | DataType::Integer | DataType::BigInt | DataType::Null => {
                self.typed(typing::coerce(expr, &DataType::BigInt), self.here)
            }
            other => self.fail(format!("{name} counts in whole numbers, not in {other}"), self.here),
        }
    }

    /// PARTITION BY, ORDER BY and frame, of a named window too.
    fn definition(&mut self, over: &WindowType, names: Names<'_>) -> Bind<Definition> {
        let spec = match over {
            WindowType::WindowSpec(spec) => self.window_spec(spec, names, 0)?,
            WindowType::NamedWindow(ident) => self.named_window(ident, names, 0)?,
        };
        let ast::WindowSpec { window_name: _, partition_by, order_by, window_frame } = &spec;
        let clause = |clause| Names { place: Place { clause, ..names.place }, ..names };
        let partition_by: Vec<_> = partition_by
            .iter()
            .map(|ast| {
                let expr = self.expr(ast, clause("PARTITION BY"))?;
                let at = self.place(ast);
                // What can't be compared can't be told apart.
                self.typed(typing::binary(crate::expr::BinaryOp::Eq, expr.clone(), expr.clone()), at)?;
                Ok(expr)
            })
            .collect();
        let order_by = self.sort_keys(order_by, clause("ORDER BY"));
        let (partition_by, order_by) = (all(partition_by)?, order_by?);
        let frame = self.frame(window_frame.as_ref(), &order_by)?;
        Ok(Definition { partition_by, order_by, frame })
    }

    /// A definition with what it takes from the named window that it begins with.
    fn window_spec(
        &mut self,
        spec: &ast::WindowSpec,
        names: Names<'_>,
        depth: usize,
    ) -> Bind<ast::WindowSpec> {
        let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
        let at = self.ident_place(name);
        let base = self.named_window(name, names, depth)?;
        let refused = match () {
            () if base.window_frame.is_some() => Some("has a frame, so it can only be used whole: OVER w"),
            () if !spec.partition_by.is_empty() => {
                Some("says what the partitions are, so that can't be said again")
            }
            () if !base.order_by.is_empty() && !spec.order_by.is_empty() => Some("has an order already"),
            () => None,
        };
        if let Some(why) = refused {
            return self.fail(format!("the window '{}' {why}", name.value), at);
        }
        let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
        let window_frame = spec.window_frame.clone();
        Ok(ast::WindowSpec { window_name: None, partition_by: base.partition_by, order_by, window_frame })
    }

    fn named_window(&mut self, ident: &ast::Ident, names: Names<'_>, depth: usize) -> Bind<ast::WindowSpec> {
        let at = self.ident_place(ident);
        let windows = names.place.collected.map(|c| c.named.clone()).unwrap_or_default();
        let found = hits(ident, windows.iter().enumerate().map(|(i, w)| (i, w.0.value.as_str())));
        let Some(ast::NamedWindowDefinition(_, window)) = found.first().and_then(|i| windows.get(*i)) else {
            let known = windows.iter().map(|w| w.0.value.as_str());
            let hint = super::suggestion(&ident.value, known, "there are")
                .unwrap_or_else(|| "write WINDOW w AS (PARTITION BY …) behind HAVING".to_owned());
            let message = format!("there is no window '{}'", ident.value);
            return Err(self.report(Diagnostic::new(message, at).with_hint(hint)));
        };
        if depth > windows.len() {
            return self.fail(format!("the window '{}' refers to itself", ident.value), at);
        }
        match window {
            ast::NamedWindowExpr::NamedWindow(other) => self.named_window(other, names, depth + 1),
            ast::NamedWindowExpr::WindowSpec(spec) => self.window_spec(spec, names, depth + 1),
        }
    }

    /// Names of windows are unique.
    pub(super) fn named_windows(&mut self, select: &ast::Select) -> Bind<Vec<ast::NamedWindowDefinition>> {
        let windows = &select.named_window;
        for (i, window) in windows.iter().enumerate() {
            let before = windows.iter().take(i).map(|w| (0, w.0.value.as_str()));
            if !hits(&window.0, before).is_empty() {
                let at = self.ident_place(&window.0);
                return self.fail(format!("WINDOW defines '{}' twice", window.0.value), at);
            }
        }
        Ok(windows.clone())
    }

    /// An expression behind an alias, unless it calls what can't be called in this place.
    pub(super) fn in_place(&mut self, expr: Expr, names: Names<'_>) -> Bind<Expr> {
        let mut found = None;
        expr.walk(&mut |e| {
            if let Expr::Column { index, name, .. } = e {
                match StandIn::of(*index) {
                    Some(StandIn::Aggregate(_) | StandIn::Grouping(_)) if !names.place.aggregates => {
                        found = Some((name.clone(), false))
                    }
                    Some(StandIn::Over(_)) if !names.place.over => found = Some((name.clone(), true)),
                    _ => {}
                }
            }
        });
        match found {
            None => Ok(expr),
            Some((_, true)) => self.misplaced_over(names.place),
            Some((name, false)) => self.misplaced(&name, names.place),
        }
    }

    /// QUALIFY, with its place.
    pub(super) fn qualify(&mut self, select: &ast::Select, names: Names<'_>) -> Bind<Option<(Expr, Span)>> {
        let Some(ast) = &select.qualify else { return Ok(None) };
        let at = self.place(ast);
        let condition = self.condition(ast, "QUALIFY", names)?;
        let mut calls = false;
        condition.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                calls |= matches!(StandIn::of(*index), Some(StandIn::Over(_)));
            }
        });
        if !calls {
            let error = Diagnostic::new("QUALIFY needs a call OVER", at);
            return Err(
                self.report(error.with_hint("conditions on rows stand in WHERE, on groups in HAVING"))
            );
        }
        Ok(Some((condition, at)))
    }

    /// `plan` with the rows for which QUALIFY is TRUE.
    pub(super) fn qualified(
        &mut self,
        plan: LogicalPlan,
        layout: &Layout,
        qualify: Option<(Expr, Span)>,
    ) -> Bind<LogicalPlan> {
        let Some((condition, at)) = qualify else { return Ok(plan) };
        let predicate = self.placed(layout, &condition, at)?;
        Ok(ranked(LogicalPlan::Filter { input: Box::new(plan), predicate }))
    }

    /// Reports the calls that are left over an endless input.
    pub(super) fn settled(&mut self, bound: Bound) -> Bind<Bound> {
        let endless = std::mem::take(&mut self.endless);
        let mut left = Vec::new();
        endless_overs(&bound.plan, &mut left);
        let errors = endless.into_iter().filter(|(spec, _)| left.contains(&spec)).map(|(_, e)| e);
        let errors: Vec<Diagnostic> = errors.collect();
        if errors.is_empty() {
            return Ok(bound);
        }
        errors.into_iter().for_each(|e| {
            self.report(e);
        });
        Err(Reported)
    }

    /// Puts the operators of the calls OVER over `plan`, and says where their results are.
    pub(super) fn overs(
        &mut self,
        mut plan: LogicalPlan,
        mut layout: Layout,
        mut fields: Vec<Field>,
        items: &[Item],
        collected: &Collected,
    ) -> Bind<(LogicalPlan, Layout, Vec<Field>)> {
        let calls = collected.over.take();
        layout.over = vec![0; calls.len()];
        for stage in stages(calls) {
            let columns = stage.calls.iter().map(|(number, call, _)| {
                let stands = StandIn::Over(*number);
                let is = |i: &&Item| matches!(i.expr, Expr::Column { index, .. } if StandIn::of(index) == Some(stands));
                let name = match items.iter().find(is).map(|i| &i.target) {
                    Some(OutputTarget::Column(name)) => name.clone(),
                    _ => call.name.clone(),
                };
                (name, call.data_type.clone())
            });
            let columns: Vec<(CompactString, DataType)> = columns.collect();
            let first = fields.len();
            let known = fields.iter().map(|f| f.name.clone());
            let names = unique_names(known.chain(columns.iter().map(|(name, _)| name.clone())));
            let added = names.into_iter().skip(first).zip(columns);
            let added: Vec<Field> = added.map(|(name, (_, data_type))| Field::new(name, data_type)).collect();
            let schema = Schema::new(plan.schema().fields().iter().chain(&added).cloned());
            for (rank, (number, ..)) in stage.calls.iter().enumerate() {
                if let Some(at) = layout.over.get_mut(*number) {
                    *at = first + rank;
                }
            }
            let spec = self.stage_spec(stage, &plan, &layout, schema)?;
            fields.extend(added);
            plan = LogicalPlan::Stateful { input: Box::new(plan), spec };
        }
        layout.slots = fields.len();
        layout.schema = Some(Schema::new(fields.clone()));
        Ok((plan, layout, fields))
    }

    fn stage_spec(
        &mut self,
        stage: Stage,
        plan: &LogicalPlan,
        layout: &Layout,
        schema: Arc<Schema>,
    ) -> Bind<Stateful> {
        let Stage { definition, calls } = stage;
        let at = calls.first().map_or(self.here, |(_, _, span)| *span);
        let Definition { partition_by, order_by, frame } = definition;
        let named: Vec<(CompactString, Span)> =
            calls.iter().map(|(_, c, at)| (c.name.clone(), *at)).collect();
        let calls = calls.into_iter().map(|(_, call, _)| call.function).collect();
        let input = plan.schema().clone();
        let spec =
            OverSpec { partition_by, order_by, frame, calls, streaming: None, ttl: None, input, schema };
        let mut result = Ok(());
        let mut spec =
            Stateful::Over(Box::new(spec)).map_exprs(&mut |expr| match self.placed(layout, &expr, at) {
                Ok(placed) => placed,
                Err(reported) => {
                    result = Err(reported);
                    expr
                }
            });
        result?;
        let ends = plan.is_bounded();
        if let Stateful::Over(spec) = &mut spec {
            match spec.over_time(plan) {
                Ok(streaming) => spec.streaming = Some(streaming),
                Err(_) if ends => {}
                Err(why) => self.endless.push(((**spec).clone(), waits(why, plan.schema(), &named, at))),
            }
        }
        Ok(spec)
    }
}

/// Why a call can't be computed over an endless input, and the ways out.
fn waits(why: Waits, schema: &Schema, calls: &[(CompactString, Span)], at: Span) -> Diagnostic {
    const FIRST: &str = "or keep the first rows only: ROW_NUMBER() OVER (…) AS n … WHERE n <= k";
    let named = |i: &usize| calls.get(*i);
    let (message, hint) = match why {
        Waits::NoWatermark => (
            "a call OVER needs bounded input, or one with a WATERMARK".to_owned(),
            format!("declare WATERMARK FOR a column and begin ORDER BY with it, {FIRST}"),
        ),
        Waits::Order(time) => {
            let message = "a call OVER an unbounded input goes by the event time".to_owned();
            match time.and_then(|i| schema.fields().get(i)) {
                Some(field) => {
                    (message, format!("begin its ORDER BY with {}, ascending, {FIRST}", field.name))
                }
                None => (message, format!("no column of its input is the event time any more; {FIRST}")),
            }
        }
        Waits::Frame => (
            "the frame holds rows that are still to come, so it needs bounded input".to_owned(),
            "end it with CURRENT ROW".to_owned(),
        ),
        Waits::Call(i) => (
            format!(
                "{} looks at rows that are still to come, so it needs bounded input",
                named(&i).map_or("the call", |(name, _)| name.as_str())
            ),
            match named(&i).is_some_and(|(name, _)| name == "lag") {
                true => "write how far it reaches as a constant, 0 or more".to_owned(),
                false => "lag, ranks and frames up to CURRENT ROW need no rows to come".to_owned(),
            },
        ),
    };
    let at = if let Waits::Call(i) = why { named(&i).map_or(at, |(_, span)| *span) } else { at };
    Diagnostic::new(message, at).with_hint(hint)
}

/// The operators that would wait for the end of an endless input.
fn endless_overs<'p>(plan: &'p LogicalPlan, found: &mut Vec<&'p OverSpec>) {
    if let LogicalPlan::Stateful { input, spec: Stateful::Over(spec) } = plan
        && spec.streaming.is_none()
        && !input.is_bounded()
    {
        found.push(spec);
    }
    plan.inputs().into_iter().for_each(|input| endless_overs(input, found));
}

/// Calls by definition, in the order in which they are computed.
fn stages(calls: Vec<(OverCall, Span)>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (number, (call, span)) in calls.into_iter().enumerate() {
        let definition = Definition {
            partition_by: call.partition_by.clone(),
            order_by: call.order_by.clone(),
            frame: call.frame,
        };
        match stages.iter_mut().find(|s| s.definition == definition) {
            Some(stage) => stage.calls.push((number, call, span)),
            None => stages.push(Stage { definition, calls: vec![(number, call, span)] }),
        }
    }
    // A condition on row numbers can only be taken up by an operator that is the last one.
    sorted::sort_by_key(&mut stages, Stage::only_numbers);
    stages
}
