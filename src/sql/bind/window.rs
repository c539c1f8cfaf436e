//! Windows over time: as a value in SELECT and GROUP BY, as a clause, and what a SELECT with one becomes.

use sqlparser::ast::{self, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::calls::{Collected, Place, StandIn, window_type};
use super::group::Layout;
use super::scope::{Names, Scope};
use super::{Bind, Session};
use crate::catalog::parse_duration;
use crate::expr::{Expr, typing};
use crate::plan::{
    LogicalPlan, Stateful, TimeTraits, WatermarkSpec, WindowKind, WindowSpec, WindowTableSpec, is_clock,
    time_traits, walk,
};
use crate::record::{CompactString, DataType, Field, FieldValue, Schema};
use crate::sql::parse::windows::{CLAUSE, GRACE};
use crate::sql::{Diagnostic, Span};

/// Names of the columns of a window.
pub(super) const WINDOW_COLUMNS: [&str; 2] = ["window_start", "window_end"];

/// The window of a SELECT, however it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundWindow {
    pub(super) kind: WindowKind,
    /// The time of a row; `None` = the event time of the input.
    pub(super) time: Option<Expr>,
    /// GRACE PERIOD.
    pub(super) grace: Option<i64>,
    pub(super) span: Span,
}

/// Which duration of a window is which.
pub(super) struct Form {
    name: &'static str,
    pub(super) durations: &'static [&'static str],
    make: fn(&[i64]) -> Option<WindowKind>,
}

const FORMS: [Form; 4] = [
    Form { name: "tumble", durations: &["size"], make: |d| Some(WindowKind::Tumble { size: *d.first()? }) },
    Form {
        name: "hop",
        durations: &["slide", "size"],
        make: |d| Some(WindowKind::Hop { slide: *d.first()?, size: *d.get(1)? }),
    },
    Form {
        name: "cumulate",
        durations: &["step", "size"],
        make: |d| Some(WindowKind::Cumulate { step: *d.first()?, size: *d.get(1)? }),
    },
    Form { name: "session", durations: &["gap"], make: |d| Some(WindowKind::Session { gap: *d.first()? }) },
];

impl Form {
    /// The window function of that name.
    pub(super) fn of(name: &str) -> Option<&'static Form> {
        FORMS.iter().find(|f| f.name.eq_ignore_ascii_case(name))
    }

    /// The window whose bound a call such as Flink's `TUMBLE_START(time, size)` is, and which bound.
    pub(super) fn bound_of(name: &str) -> Option<(&'static Form, StandIn)> {
        let (form, side) = name.rsplit_once('_')?;
        let bound = match side {
            _ if side.eq_ignore_ascii_case("start") => StandIn::WindowStart,
            _ if side.eq_ignore_ascii_case("end") => StandIn::WindowEnd,
            _ => return None,
        };
        Some((Form::of(form)?, bound))
    }

    /// How it is written, `first` in front of the time.
    pub(super) fn signature(&self, first: &str) -> String {
        format!("{}({first}time, {})", self.name.to_uppercase(), self.durations.join(", "))
    }
}

impl Session<'_, '_> {
    /// `TUMBLE(ts, INTERVAL '1' MINUTE)` in SELECT or GROUP BY, and the clause that stands for it.
    pub(super) fn window_value(
        &mut self,
        form: &'static Form,
        args: &FunctionArguments,
        names: Names<'_>,
    ) -> Bind<Expr> {
        let span = self.here;
        let Some(collected) = names.place.collected else {
            return Err(self.window_misplaced(names.place.clause, span));
        };
        let list = match args {
            FunctionArguments::List(list) => list.args.as_slice(),
            _ => &[],
        };
        let (mut positional, mut grace) = (Vec::new(), None);
        for arg in list {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => positional.push(e),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), operator: _ }
                | FunctionArg::ExprNamed {
                    name: Ast::Identifier(name),
                    arg: FunctionArgExpr::Expr(e),
                    operator: _,
                } if name.value == GRACE => {
                    grace = Some(self.duration(e, "GRACE PERIOD")?);
                }
                _ => {
                    return self
                        .fail(format!("{} takes {}", form.name.to_uppercase(), form.signature("")), span);
                }
            }
        }
        let (time, kind) = self.window_arguments(form, &positional, names.scope, "")?;
        self.note_window(collected, FoundWindow { kind, time, grace, span })?;
        Ok(StandIn::Window.expr(form.name, window_type()))
    }

    pub(super) fn window_misplaced(&mut self, clause: &str, span: Span) -> super::Reported {
        let error = Diagnostic::new(format!("a window can't stand in {clause}"), span);
        let hint =
            "it stands in FROM, SELECT, GROUP BY or WINDOW; filter its start and end in HAVING or outside";
        self.report(error.with_hint(hint))
    }

    /// `[time,] duration …` over the rows of `scope`.
    pub(super) fn window_arguments(
        &mut self,
        form: &'static Form,
        args: &[&Ast],
        scope: &Scope,
        first: &str,
    ) -> Bind<(Option<Expr>, WindowKind)> {
        let span = self.here;
        let wanted = form.durations.len();
        let is_name =
            |e: &&Ast| matches!(e, Ast::Identifier(_) | Ast::CompoundIdentifier(_) | Ast::Function(_));
        let (time, durations) = match args.len().checked_sub(wanted) {
            Some(0) if !args.first().is_some_and(is_name) => (None, args),
            Some(1) => (args.first().copied(), args.get(1..).unwrap_or_default()),
            _ => {
                let error =
                    Diagnostic::new(format!("{} has other arguments", form.name.to_uppercase()), span);
                return Err(self.report(error.with_hint(format!("write {}", form.signature(first)))));
            }
        };
        let time = time.map(|t| self.window_time(t, scope)).transpose();
        let lengths: Vec<_> =
            durations.iter().zip(form.durations).map(|(d, what)| self.duration(d, what)).collect();
        let (time, lengths) = (time?, super::all(lengths)?);
        let Some(kind) = (form.make)(&lengths) else { return Err(super::Reported) };
        if let WindowKind::Cumulate { step, size } = kind
            && size % step != 0
        {
            return self.fail("CUMULATE: the size must be a multiple of the step", span);
        }
        Ok((time, kind))
    }

    /// The time of a row.
    fn window_time(&mut self, ast: &Ast, scope: &Scope) -> Bind<Expr> {
        let at = self.place(ast);
        let mut inner = ast;
        // Flink's DESCRIPTOR(ts).
        if let Ast::Function(f) = ast
            && f.name.to_string().eq_ignore_ascii_case("descriptor")
            && let FunctionArguments::List(list) = &f.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
        {
            inner = column;
        }
        let names = Names { place: Place::row("the time of a window"), ..Names::of(scope) };
        let time = self.expr(inner, names)?;
        match time.data_type() {
            DataType::Timestamp => Ok(time),
            other => {
                let error = Diagnostic::new(format!("the time of a window is a TIMESTAMP, not {other}"), at);
                let hint = match other {
                    DataType::Interval => "the time comes first, then the durations",
                    _ => "cast it: CAST(… AS TIMESTAMP)",
                };
                Err(self.report(error.with_hint(hint)))
            }
        }
    }

    /// A constant, positive length of time without months, in µs.
    pub(super) fn duration(&mut self, ast: &Ast, what: &str) -> Bind<i64> {
        let at = self.place(ast);
        let scope = Scope::default();
        let before = self.errors.len();
        let bound = self.expr(ast, Names { place: Place::row("a duration"), ..Names::of(&scope) });
        // A column here is no misspelt name but a misunderstanding.
        self.errors.truncate(before);
        let micros = match bound.ok().and_then(|b| walk::constant(&b)) {
            Some(Ok(FieldValue::Interval(i))) if i.months == 0 => {
                i64::from(i.days).checked_mul(86_400_000_000).and_then(|d| d.checked_add(i.micros))
            }
            Some(Ok(FieldValue::Interval(_))) => {
                let error = Diagnostic::new(format!("{what}: months differ in length"), at);
                return Err(self.report(error.with_hint("write days")));
            }
            Some(Ok(FieldValue::String(text))) => {
                parse_duration(&text).and_then(|d| i64::try_from(d.as_micros()).ok())
            }
            _ => {
                let error = Diagnostic::new(format!("{what} takes a constant duration"), at);
                return Err(self.report(error.with_hint("such as INTERVAL '1' MINUTE")));
            }
        };
        let least = if what == "GRACE PERIOD" { 0 } else { 1 };
        match micros {
            Some(micros) if micros >= least => Ok(micros),
            Some(_) => self.fail(format!("{what} must be more than 0"), at),
            None => {
                let error = Diagnostic::new(format!("{what} is no duration"), at);
                Err(self.report(error.with_hint("such as INTERVAL '1' MINUTE")))
            }
        }
    }

    /// A SELECT has one window, however often it is written.
    fn note_window(&mut self, collected: &Collected, found: FoundWindow) -> Bind<()> {
        let mut known = collected.window.borrow_mut();
        match &mut *known {
            None => *known = Some(found),
            Some(k)
                if k.kind == found.kind
                    && (k.time == found.time || found.time.is_none() || k.time.is_none()) =>
            {
                k.grace = k.grace.or(found.grace);
                k.time = k.time.take().or(found.time);
            }
            Some(known) => {
                let [known, other] = [&*known, &found].map(|w| w.kind.call(w.time.as_ref()));
                let message = format!("a SELECT has one window, and {other} is not {known}");
                let error = Diagnostic::new(message, found.span);
                let hint =
                    "write the same one everywhere, or group by one in a subquery and by the other outside";
                return Err(self.report(error.with_hint(hint)));
            }
        }
        Ok(())
    }

    /// `window_start`, `window_end`, where no column has that name.
    pub(super) fn window_column(&self, name: &str, names: Names<'_>) -> Option<Expr> {
        let collected = names.place.collected?;
        let stands = match name.to_ascii_lowercase().as_str() {
            "window_start" => StandIn::WindowStart,
            "window_end" => StandIn::WindowEnd,
            _ => return None,
        };
        if collected.window_named.get().is_none() {
            collected.window_named.set(Some(self.here));
        }
        Some(stands.expr(&name.to_ascii_lowercase(), DataType::Timestamp))
    }

    /// The window of rows of `plan`: its time, and what the stream says of lateness. The plan gets a watermark of its own where
    /// the time is the clock's.
    pub(super) fn time_window(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        found: &FoundWindow,
    ) -> Bind<(LogicalPlan, WindowSpec)> {
        let FoundWindow { kind, time, grace, span } = found;
        let traits = time_traits(&plan);
        let spec = |time: Expr, lateness: i64, traits: &TimeTraits, has_watermark: bool| WindowSpec {
            kind: *kind,
            time,
            start: None,
            lateness: if has_watermark { lateness } else { 0 },
            late: if has_watermark { traits.late } else { Default::default() },
            has_watermark,
        };
        let time = match time {
            Some(clock) if is_clock(clock) => {
                let plan = by_clock(plan, clock);
                let traits = time_traits(&plan);
                let event_time = Expr::System(crate::expr::SystemColumn::EventTime);
                return Ok((plan, spec(event_time, grace.unwrap_or(0), &traits, true)));
            }
            Some(time) => time.clone(),
            None => self.default_time(&traits, scope, *span)?,
        };
        let lateness = grace.unwrap_or(traits.lateness);
        let known = match &time {
            Expr::System(crate::expr::SystemColumn::EventTime) => Some(Some(0)),
            Expr::Column { index, .. } => traits.columns.iter().find(|c| c.index == *index).map(|c| c.behind),
            _ => None,
        };
        match known.filter(|_| traits.has_watermark) {
            Some(Some(behind)) => {
                let behind = if aligned(&traits, *kind) { 0 } else { behind };
                let made = spec(time, lateness.saturating_add(behind), &traits, true);
                Ok((plan, made))
            }
            // The start of a session may lie any time behind the watermark.
            _ if plan.is_bounded() => Ok((plan, spec(time, 0, &traits, false))),
            Some(None) => {
                let error =
                    Diagnostic::new("a window can't follow the start of sessions that never end", *span);
                Err(self.report(error.with_hint("use window_end")))
            }
            None => {
                let name = match &time {
                    Expr::Column { name, .. } => name.to_string(),
                    _ => "ts".to_owned(),
                };
                let message = match traits.has_watermark {
                    false => "a window over input that never ends needs WATERMARK FOR".to_owned(),
                    true => format!("the stream's WATERMARK FOR is not for '{time}'"),
                };
                let error = Diagnostic::new(message, *span);
                let hint =
                    format!("declare WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND in CREATE STREAM");
                Err(self.report(error.with_hint(hint)))
            }
        }
    }

    /// The event time of the input, where none is named.
    fn default_time(&mut self, traits: &TimeTraits, scope: &Scope, span: Span) -> Bind<Expr> {
        let of_window =
            |i: usize| traits.window.as_ref().is_some_and(|w| w.start == Some(i) || w.end == Some(i));
        let mut declared = traits.columns.iter().filter(|c| !of_window(c.index));
        match (declared.next(), declared.next()) {
            (Some(only), None) => {
                let made = typing::column(&scope.schema, only.index);
                self.typed(made, span)
            }
            (None, _) if traits.has_watermark => Ok(Expr::System(crate::expr::SystemColumn::EventTime)),
            (Some(_), Some(_)) => {
                let error = Diagnostic::new("there are several event times here", span);
                Err(self.report(error.with_hint("name the time of the window first")))
            }
            _ => {
                let error = Diagnostic::new(
                    "the time of the window is not named, and the input has no WATERMARK",
                    span,
                );
                let hint =
                    "name it, or declare WATERMARK FOR ts AS ts - INTERVAL '5' SECOND in CREATE STREAM";
                Err(self.report(error.with_hint(hint)))
            }
        }
    }

    /// A window as a value without GROUP BY: each row once for each of its windows.
    pub(super) fn row_windows(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        collected: &Collected,
    ) -> Bind<(LogicalPlan, Layout, Vec<Field>)> {
        let inner = scope.schema.len();
        let mut layout = Layout { inner, slots: inner, ..Layout::default() };
        let mut fields = scope.schema.fields().to_vec();
        let found = collected.window.borrow().clone();
        let Some(found) = found else {
            self.refuse_window_names(collected)?;
            return Ok((plan, layout, fields));
        };
        if let WindowKind::Session { .. } = found.kind {
            let error = Diagnostic::new("SESSION without GROUP BY has no key", found.span);
            let hint = "write FROM SESSION(table, time, gap PARTITION BY key)";
            return Err(self.report(error.with_hint(hint)));
        }
        let (plan, spec) = self.time_window(plan, scope, &found)?;
        let plan = window_table(plan, spec, Vec::new());
        fields.extend(window_fields());
        (layout.window, layout.slots) = (Some((inner, inner + 1)), inner + 2);
        layout.schema = Some(Schema::new(fields.clone()));
        Ok((plan, layout, fields))
    }
}

/// The window, or its start or end, if that is all that the expression is.
pub(super) fn window_part(expr: &Expr) -> Option<StandIn> {
    match expr {
        Expr::Column { index, .. } => {
            StandIn::of(*index).filter(|s| !matches!(s, StandIn::Aggregate(_) | StandIn::Over(_)))
        }
        Expr::Field { expr, index, .. } if window_part(expr) == Some(StandIn::Window) => {
            Some(if *index == 0 { StandIn::WindowStart } else { StandIn::WindowEnd })
        }
        _ => None,
    }
}

/// Whether a window stands inside.
pub(super) fn mentions_window(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= matches!(e, Expr::Column { .. }) && window_part(e).is_some());
    found
}

/// The start of aligned windows lies in the same window of a size that theirs divides as their rows do.
fn aligned(traits: &TimeTraits, outer: WindowKind) -> bool {
    match (traits.window.as_ref().map(|w| w.kind), outer) {
        (Some(WindowKind::Tumble { size: inner }), WindowKind::Tumble { size: outer }) => outer % inner == 0,
        _ => false,
    }
}

/// The plan under the watermark of the job's clock.
fn by_clock(plan: LogicalPlan, clock: &Expr) -> LogicalPlan {
    let spec = WatermarkSpec {
        time: clock.clone(),
        watermark: clock.clone(),
        max_future_skew: None,
        idle_timeout: None,
        lateness: 0,
        late: Default::default(),
        schema: plan.schema().clone(),
    };
    LogicalPlan::Stateful { input: Box::new(plan), spec: Stateful::Watermark(spec) }
}

/// The two columns that a window adds.
pub(super) fn window_fields() -> [Field; 2] {
    WINDOW_COLUMNS.map(|name| Field::new(name, DataType::Timestamp).not_null())
}

/// Adds the two columns to each row.
pub(super) fn window_table(plan: LogicalPlan, window: WindowSpec, partition_by: Vec<Expr>) -> LogicalPlan {
    let fields = plan.schema().fields().iter().cloned().chain(window_fields());
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let spec = WindowTableSpec { window, partition_by, judges_lateness: false, schema };
    LogicalPlan::Stateful { input: Box::new(plan), spec: Stateful::WindowTable(spec) }
}

/// Name of a call that stands for the clause.
pub(super) fn clause_form(name: &str) -> Option<&'static Form> {
    Form::of(name.strip_prefix(CLAUSE)?)
}

/// The columns of a window under the names that the items give them.
pub(super) fn named_columns(name: impl Fn(StandIn) -> Option<CompactString>) -> [CompactString; 2] {
    let of = |part, otherwise: &str| name(part).unwrap_or_else(|| otherwise.into());
    [of(StandIn::WindowStart, WINDOW_COLUMNS[0]), of(StandIn::WindowEnd, WINDOW_COLUMNS[1])]
}

/// A function as the parser sees it in FROM.
pub(super) fn as_function(expr: &Ast) -> Option<&ast::Function> {
    match expr {
        Ast::Function(function) => Some(function),
        Ast::Nested(inner) => as_function(inner),
        _ => None,
    }
}
