//! GROUP BY and HAVING: what is grouped by, and the expressions of a SELECT over its groups.

use sqlparser::ast::{self, Expr as Ast};

use super::calls::{Collected, Place, StandIn};
use super::names::column_name;
use super::scope::{Alias, AliasUse, Names, Scope, unique_names};
use super::select::Item;
use super::window::{mentions_window, named_columns, window_part};
use super::{Bind, Reported, Session};
use crate::expr::{Expr, UnaryOp, typing};
use crate::plan::{AggregateSpec, Emit, LogicalPlan, OutputTarget, Stateful, is_updating};
use crate::record::{CompactString, DataType, Field, Schema};
use crate::sql::{Diagnostic, Span};

/// One grouping expression, over the rows that are grouped.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) expr: Expr,
    pub(super) name: CompactString,
}

/// Where the output of FROM, WHERE, GROUP BY and OVER has what expressions mention.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Columns of FROM.
    pub(super) inner: usize,
    /// Grouping expressions with their positions; `None` = rows are not grouped.
    pub(super) keys: Option<Vec<(Expr, usize)>>,
    /// Position of the first aggregate call.
    pub(super) calls: usize,
    /// Positions of the keys that tell whether an argument of GROUPING counts; `None` = it always does.
    pub(super) grouping: Vec<Option<usize>>,
    /// Positions of the window's start and end.
    pub(super) window: Option<(usize, usize)>,
    /// FROM's column that is that window as a value.
    pub(super) window_column: Option<usize>,
    /// Positions of the calls OVER, by number.
    pub(super) over: Vec<usize>,
    /// Position of the first item that others use by its alias.
    pub(super) slots: usize,
    /// The output, for the names of its columns; `None` = FROM's.
    pub(super) schema: Option<std::sync::Arc<Schema>>,
}

impl Layout {
    /// The expression over that output, or the name of a column that is not grouped by.
    pub(super) fn place(&self, expr: &Expr) -> Result<Expr, CompactString> {
        if let Some(at) = self.keys.iter().flatten().find_map(|(key, at)| (key == expr).then_some(*at)) {
            return Ok(self.column(at, expr));
        }
        match expr {
            Expr::Column { index, .. } if Some(*index) == self.window_column => {
                let (start, end) = self.window.ok_or_else(|| CompactString::from("window"))?;
                Ok(window_value(start, end))
            }
            Expr::Column { index, name, .. } => match (StandIn::of(*index), self.window) {
                (Some(StandIn::Aggregate(n)), _) => Ok(self.column(self.calls + n, expr)),
                (Some(StandIn::Grouping(n)), _) => {
                    let marker = self.grouping.get(n).ok_or_else(|| name.clone())?;
                    Ok(grouping_bit(marker.map(|at| self.column(at, expr))))
                }
                (Some(StandIn::Over(n)), _) => match self.over.get(n) {
                    Some(at) => Ok(self.column(*at, expr)),
                    None => Err(name.clone()),
                },
                (Some(StandIn::WindowStart), Some((start, _))) => Ok(self.column(start, expr)),
                (Some(StandIn::WindowEnd), Some((_, end))) => Ok(self.column(end, expr)),
                (Some(StandIn::Window), Some((start, end))) => Ok(window_value(start, end)),
                (Some(_), None) => Err(name.clone()),
                (None, _) if *index >= self.inner => Ok(self.column(self.slots + index - self.inner, expr)),
                (None, _) if self.keys.is_some() => Err(name.clone()),
                (None, _) => Ok(expr.clone()),
            },
            Expr::System(system) if self.keys.is_some() => Err(system.name().into()),
            // `w.start`: the column, not a STRUCT made for its field.
            Expr::Field { expr: inner, index: field, .. } if matches!(&**inner, Expr::Column { index, .. } if StandIn::of(*index) == Some(StandIn::Window)) =>
            {
                let (start, end) = self.window.ok_or_else(|| CompactString::from("window"))?;
                Ok(self.column(if *field == 0 { start } else { end }, expr))
            }
            _ => {
                let mut placed = expr.clone();
                for child in placed.children_mut() {
                    *child = self.place(child)?;
                }
                Ok(placed)
            }
        }
    }

    fn column(&self, index: usize, like: &Expr) -> Expr {
        let field = self.schema.as_ref().and_then(|s| s.fields().get(index));
        let name = match (field, like) {
            (Some(field), _) => field.name.clone(),
            (None, Expr::Column { name, .. } | Expr::Field { name, .. }) => name.clone(),
            (None, other) => other.to_string().into(),
        };
        Expr::Column { index, name, data_type: like.data_type() }
    }
}

/// 1 where the marker is NULL; 0 without one.
fn grouping_bit(marker: Option<Expr>) -> Expr {
    let bit =
        |n| Expr::Literal { value: crate::record::FieldValue::Integer(n), data_type: DataType::Integer };
    let Some(marker) = marker else { return bit(0) };
    let absent = Expr::Unary { op: UnaryOp::IsNull, expr: Box::new(marker), data_type: DataType::Boolean };
    Expr::Case {
        branches: vec![(absent, bit(1))],
        otherwise: Some(Box::new(bit(0))),
        data_type: DataType::Integer,
    }
}

fn window_value(start: usize, end: usize) -> Expr {
    let side = |index, name: &str| Expr::Column {
        index,
        name: name.into(),
        data_type: crate::record::DataType::Timestamp,
    };
    Expr::Struct {
        fields: vec![("start".into(), side(start, "window_start")), ("end".into(), side(end, "window_end"))],
        data_type: super::calls::window_type(),
    }
}

impl Session<'_, '_> {
    /// The items of GROUP BY.
    pub(super) fn group_by(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
        aliases: &[Alias],
        items: Option<&[Item]>,
        collected: &Collected,
    ) -> Bind<Vec<Key>> {
        let names = Names { scope, aliases, alias_use: AliasUse::Inline, place: Place::keys(collected) };
        match &select.group_by {
            ast::GroupByExpr::Expressions(list, modifiers) => {
                let (keys, sets) = self.grouping(list, modifiers, names, items)?;
                collected.sets.replace(sets);
                Ok(keys)
            }
            ast::GroupByExpr::All(modifiers) => match modifiers.first() {
                None => self.group_by_all(names, items),
                Some(modifier) => {
                    let at = self.keyword_in(self.here, "GROUP");
                    self.unsupported(&format!("GROUP BY ALL {modifier}"), at)
                }
            },
        }
    }

    pub(super) fn group_key(&mut self, ast: &Ast, names: Names<'_>, items: Option<&[Item]>) -> Bind<Key> {
        let span = self.here;
        if let Ast::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span: _ }) = ast {
            let items = items.ok_or(Reported)?;
            let item = digits.parse::<usize>().ok().and_then(|n| items.get(n.checked_sub(1)?));
            let Some(item) = item else {
                let message =
                    format!("GROUP BY {digits}: there are {} items in the SELECT list", items.len());
                return self.fail(message, span);
            };
            let expr = self.expanded(item, names)?;
            if uses_calls(&expr) {
                return self.fail(format!("item {digits} holds an aggregate and can't be grouped by"), span);
            }
            let name = match &item.target {
                OutputTarget::Column(name) => name.clone(),
                OutputTarget::System(system) => system.name().into(),
            };
            return Ok(Key { expr, name });
        }
        let nested = match ast {
            Ast::GroupingSets(_) => Some("GROUPING SETS"),
            Ast::Cube(_) => Some("CUBE"),
            Ast::Rollup(_) => Some("ROLLUP"),
            _ => None,
        };
        if let Some(what) = nested {
            return self.unsupported(&format!("{what} in this place"), span);
        }
        let expr = self.expr(ast, names)?;
        if uses_calls(&expr) {
            return self.fail("an aggregate can't stand in GROUP BY", span);
        }
        if crate::plan::walk::is_volatile(&expr) {
            return self.fail("GROUP BY can't take a value that changes with each evaluation", span);
        }
        if mentions_window(&expr) {
            return Ok(Key { expr, name: column_name(ast) });
        }
        // What can't be compared can't be grouped.
        self.typed(typing::binary(crate::expr::BinaryOp::Eq, expr.clone(), expr.clone()), span)?;
        let name = match &expr {
            Expr::Column { name, .. } | Expr::Field { name, .. } => name.clone(),
            _ => column_name(ast),
        };
        Ok(Key { expr, name })
    }

    /// Puts an aggregation over `plan`, and says where what is.
    pub(super) fn grouped(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        keys: Vec<Key>,
        items: &[Item],
        having: Option<(Expr, Span)>,
        collected: &Collected,
    ) -> Bind<(LogicalPlan, Layout)> {
        let inner = scope.schema.len();
        let (plan, mut keys, window) = self.group_window(plan, scope, keys, collected)?;
        let calls = collected.aggregates.take();
        let sets = collected.sets.take();
        self.check_window_sets(&sets, &keys)?;
        let given = keys.len();
        let (grouping_sets, grouping) = self.grouping_sets(&sets, &mut keys, &collected.grouping.take())?;
        let first = keys.len();
        let before = first + if window.is_some() { 2 } else { 0 };
        let width = before + calls.len();
        let mut places: Vec<(Expr, usize)> =
            keys.iter().take(given).enumerate().map(|(i, k)| (k.expr.clone(), i)).collect();
        if let Some(window) = &window {
            places.extend(window.starts.iter().map(|e| (e.clone(), first)));
            places.extend(window.ends.iter().map(|e| (e.clone(), first + 1)));
        }
        let mut layout = Layout {
            inner,
            calls: before,
            over: Vec::new(),
            slots: width,
            window: window.as_ref().map(|_| (first, first + 1)),
            window_column: window.as_ref().and_then(|w| w.value),
            schema: None,
            grouping,
            keys: Some(places),
        };
        let stands = |i: usize| StandIn::Aggregate(i);
        // What is an item by itself bears its name already here: then no projection need rename it.
        let named = |expr: &dyn Fn(&Expr) -> bool, otherwise: &CompactString| {
            let item = items.iter().find(|i| expr(&i.expr)).map(|i| &i.target);
            match item {
                Some(OutputTarget::Column(name)) => name.clone(),
                _ => otherwise.clone(),
            }
        };
        let key_names = keys.iter().map(|k| named(&|e| *e == k.expr, &k.name));
        let call_names = calls.iter().enumerate().map(|(i, c)| {
            let is =
                |e: &Expr| matches!(e, Expr::Column { index, .. } if StandIn::of(*index) == Some(stands(i)));
            named(&is, &c.function.name.into())
        });
        let of_window = window.as_ref().map(|window| {
            let is = |e: &Expr, part: StandIn| {
                let own = if part == StandIn::WindowStart { &window.starts } else { &window.ends };
                own.contains(e) || window_part(e) == Some(part)
            };
            named_columns(|part| {
                let item = items.iter().find(|i| is(&i.expr, part)).map(|i| &i.target);
                match item {
                    Some(OutputTarget::Column(name)) => Some(name.clone()),
                    _ => None,
                }
            })
        });
        let of_window = of_window.into_iter().flatten();
        let names = unique_names(key_names.chain(of_window).chain(call_names).collect::<Vec<_>>());
        let nullable = |e: &Expr| match e {
            Expr::Column { index, .. } => plan.schema().fields().get(*index).is_none_or(|f| f.nullable),
            _ => true,
        };
        let left_out = !grouping_sets.is_empty();
        let types = keys.iter().map(|k| (k.expr.data_type(), left_out || nullable(&k.expr)));
        let ends = window.iter().flat_map(|_| [(DataType::Timestamp, false), (DataType::Timestamp, false)]);
        let types = types.chain(ends).chain(calls.iter().map(|c| (c.data_type.clone(), true)));
        let fields = names.into_iter().zip(types).map(|(name, (data_type, nullable))| Field {
            name,
            data_type,
            nullable,
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        layout.schema = Some(schema.clone());
        let having = having.map(|(expr, span)| self.placed(&layout, &expr, span)).transpose()?;
        let emit = if window.is_some() || plan.is_bounded() { Emit::Final } else { Emit::Changes };
        let spec = AggregateSpec {
            keys: keys.into_iter().map(|k| k.expr).collect(),
            grouping_sets,
            window: window.map(|w| w.spec),
            calls,
            having,
            unseen: Vec::new(),
            emit,
            retracts: is_updating(&plan),
            ttl: None,
            schema,
        };
        let spec = Stateful::Aggregate(Box::new(spec));
        Ok((LogicalPlan::Stateful { input: Box::new(plan), spec }, layout))
    }

    /// An expression over the groups; a column that is not grouped by is an error at its place.
    pub(super) fn placed(&mut self, layout: &Layout, expr: &Expr, span: Span) -> Bind<Expr> {
        layout.place(expr).map_err(|name| {
            let word = self.source.word_from(span.start, &name.to_uppercase());
            let span = word.filter(|w| w.end <= span.end).unwrap_or(span);
            if self.errors.iter().any(|e| e.span == span) {
                // Of a * one column is enough.
                return Reported;
            }
            let message = format!("the column '{name}' must be in GROUP BY or inside an aggregate");
            self.report(Diagnostic::new(message, span))
        })
    }
}

/// Whether an aggregate or a call OVER stands inside.
pub(super) fn uses_calls(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            found |= matches!(
                StandIn::of(*index),
                Some(StandIn::Aggregate(_) | StandIn::Over(_) | StandIn::Grouping(_))
            );
        }
    });
    found
}
