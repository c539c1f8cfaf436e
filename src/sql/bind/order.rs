//! ORDER BY, LIMIT, OFFSET, FETCH FIRST: what stands at the tail of a query.
//!
//! A SELECT is put in order before its items are computed, but for those by which it is ordered: what LIMIT cuts off is
//! never computed.

use std::cell::Cell;

use sqlparser::ast::{self, Expr as Ast, Ident};

use super::scope::{Alias, AliasState, Names, Scope, hits};
use super::select::Item;
use super::{Bind, Bound, Reported, Session, all};
use crate::expr::{Expr, SortKey, typing};
use crate::plan::{
    Emit, LogicalPlan, OutputTarget, SortSpec, Stateful, TopNSpec, is_updating, walk, window_end,
};
use crate::sql::{Diagnostic, Span};

/// LIMIT and OFFSET.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Rows passed; `None` = all.
    pub(super) count: Option<u64>,
    /// Rows skipped first.
    pub(super) offset: u64,
}

impl Bounds {
    /// `plan` cut off, in the order in which its rows come.
    fn of(self, plan: LogicalPlan) -> LogicalPlan {
        match self {
            Bounds { count: None, offset: 0 } => plan,
            Bounds { count, offset } => LogicalPlan::Limit { input: Box::new(plan), count, offset },
        }
    }
}

/// What follows the body of a query.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail<'e> {
    pub(super) order_by: &'e [ast::OrderByExpr],
    pub(super) bounds: Bounds,
    /// Where ORDER BY stands.
    pub(super) at: Span,
}

/// DISTINCT ON, ORDER BY and LIMIT of a SELECT, bound.
#[derive(Clone, Debug)]
pub(super) struct Sorting<'e> {
    pub(super) distinct_on: Vec<SortKey>,
    pub(super) order: Vec<SortKey>,
    pub(super) tail: Tail<'e>,
}

/// What an item of ORDER BY is.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    /// An item of the SELECT list, by position or name or because it is the same expression.
    Item(usize),
    /// Something else.
    Expr(Expr),
}

/// A bound item of ORDER BY.
#[derive(Clone, Debug)]
pub(super) struct OrderItem {
    key: Key,
    descending: bool,
    nulls_first: bool,
    span: Span,
}

impl OrderItem {
    fn sort_key(&self, expr: Expr) -> SortKey {
        SortKey { expr, descending: self.descending, nulls_first: self.nulls_first }
    }
}

impl Session<'_, '_> {
    /// ORDER BY, LIMIT, OFFSET and FETCH of a query.
    pub(super) fn tail<'e>(&mut self, query: &'e ast::Query) -> Bind<Tail<'e>> {
        let bounds = self.bounds(query);
        let Some(order) = &query.order_by else {
            return Ok(Tail { bounds: bounds?, ..Tail::default() });
        };
        let ast::OrderBy { kind, interpolate } = order;
        let at = self.keyword_before(order, "ORDER");
        if interpolate.is_some() {
            return self.unsupported("INTERPOLATE", at);
        }
        match kind {
            ast::OrderByKind::Expressions(items) => Ok(Tail { order_by: items, bounds: bounds?, at }),
            ast::OrderByKind::All(_) => self.unsupported("ORDER BY ALL", at),
        }
    }

    fn bounds(&mut self, query: &ast::Query) -> Bind<Bounds> {
        let limit = query.limit_clause.as_ref().map_or(Ok(Bounds::default()), |l| self.limit(l));
        let Some(fetch) = &query.fetch else { return limit };
        let at = self.keyword_in(self.here, "FETCH");
        let ast::Fetch { with_ties, percent, quantity } = fetch;
        if *with_ties {
            return self.unsupported("FETCH … WITH TIES", at);
        }
        if *percent {
            return self.unsupported("FETCH … PERCENT", at);
        }
        let count = quantity.as_ref().map_or(Ok(Some(1)), |q| self.row_count(q, "FETCH"))?;
        match limit? {
            Bounds { count: Some(_), .. } => self.fail("a query has either LIMIT or FETCH, not both", at),
            Bounds { count: None, offset } => Ok(Bounds { count, offset }),
        }
    }

    fn limit(&mut self, clause: &ast::LimitClause) -> Bind<Bounds> {
        let (limit, offset) = match clause {
            ast::LimitClause::LimitOffset { limit, offset, limit_by } => {
                if let Some(by) = limit_by.first() {
                    let at = self.place(by);
                    return self.unsupported("LIMIT … BY", at);
                }
                (limit.as_ref(), offset.as_ref().map(|o| &o.value))
            }
            ast::LimitClause::OffsetCommaLimit { offset, limit } => (Some(limit), Some(offset)),
        };
        let limit = limit.map_or(Ok(None), |l| self.row_count(l, "LIMIT"));
        let offset = offset.map_or(Ok(None), |o| self.row_count(o, "OFFSET"));
        Ok(Bounds { count: limit?, offset: offset?.unwrap_or(0) })
    }

    /// The items of ORDER BY behind a SELECT list.
    pub(super) fn order_items(
        &mut self,
        order_by: &[ast::OrderByExpr],
        items: Option<&[Item]>,
        names: Names<'_>,
    ) -> Bind<Vec<OrderItem>> {
        let bound = order_by.iter().map(|item| {
            let at = self.place(&item.expr);
            self.within(at, |s| s.order_item(item, items, names))
        });
        all(bound.collect::<Vec<_>>())
    }

    /// `items` is `None` where the SELECT list has errors.
    fn order_item(
        &mut self,
        item: &ast::OrderByExpr,
        items: Option<&[Item]>,
        names: Names<'_>,
    ) -> Bind<OrderItem> {
        let Some(items) = items else {
            // Of the items nothing is known, of what else is wrong something.
            let is_ordinal = matches!(&item.expr, Ast::Value(_));
            return if is_ordinal { Err(Reported) } else { self.expr(&item.expr, names).and(Err(Reported)) };
        };
        let key = match self.named_item(&item.expr, items)? {
            Some(i) => Key::Item(i),
            None => {
                let expr = self.expr(&item.expr, names)?;
                items.iter().position(|i| i.is_column() && i.expr == expr).map_or(Key::Expr(expr), Key::Item)
            }
        };
        let expr = match &key {
            Key::Item(i) => items.get(*i).map(|i| i.expr.clone()).ok_or(Reported)?,
            Key::Expr(expr) => expr.clone(),
        };
        let SortKey { expr: _, descending, nulls_first } = self.sort_key(item, expr)?;
        Ok(OrderItem { key, descending, nulls_first, span: self.here })
    }

    /// The item that a number or a bare name in ORDER BY means. A name means an output column first, as in PostgreSQL.
    fn named_item(&mut self, ast: &Ast, items: &[Item]) -> Bind<Option<usize>> {
        let columns = || items.iter().enumerate().filter(|(_, i)| i.is_column());
        match ast {
            Ast::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span: _ }) => {
                let n = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                match n.and_then(|n| columns().nth(n)) {
                    Some((i, _)) => Ok(Some(i)),
                    None => {
                        let n = columns().count();
                        let (are, s) = if n == 1 { ("is", "") } else { ("are", "s") };
                        self.fail(
                            format!("ORDER BY {digits}: there {are} {n} item{s} in the SELECT list"),
                            self.here,
                        )
                    }
                }
            }
            Ast::Identifier(ident) => {
                let names = columns().filter_map(|(i, item)| match &item.target {
                    OutputTarget::Column(name) => Some((i, name.as_str())),
                    OutputTarget::System(_) => None,
                });
                let found = hits(ident, names);
                let expr = |i: &usize| items.get(*i).map(|i| &i.expr);
                match found.split_first() {
                    None => Ok(None),
                    Some((first, rest)) if rest.iter().all(|i| expr(i) == expr(first)) => Ok(Some(*first)),
                    Some(_) => {
                        let message = format!("ORDER BY {}: several items have that name", ident.value);
                        self.fail(message, self.here)
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// The items of DISTINCT ON, which are named as those of ORDER BY.
    pub(super) fn distinct_on(
        &mut self,
        list: &[Ast],
        items: Option<&[Item]>,
        names: Names<'_>,
    ) -> Bind<Vec<OrderItem>> {
        let options = ast::OrderByOptions::default();
        let item =
            |expr: &Ast| ast::OrderByExpr { expr: expr.clone(), options: options.clone(), with_fill: None };
        let names = Names { place: super::calls::Place { clause: "DISTINCT ON", ..names.place }, ..names };
        self.order_items(&list.iter().map(item).collect::<Vec<_>>(), items, names)
    }

    /// The first row of each group is told by the rest of the order: it begins with what makes the group.
    pub(super) fn check_distinct_on(
        &mut self,
        on: &[OrderItem],
        order: &[OrderItem],
        select: &ast::Select,
    ) -> Bind<()> {
        if on.is_empty() || order.is_empty() {
            return Ok(());
        }
        let leading = order.iter().take(on.len());
        match leading.clone().find(|o| !on.iter().any(|d| d.key == o.key)) {
            None if order.len() >= on.len() => Ok(()),
            found => {
                let at = found.map_or_else(|| self.place(select), |o| o.span);
                self.fail("ORDER BY must begin with what stands in DISTINCT ON", at)
            }
        }
    }

    /// The keys over the columns of FROM and the slots of items. An item that is computed becomes one of those that
    /// others use: it is computed once, before the sort.
    pub(super) fn order_keys(
        &mut self,
        order: Vec<OrderItem>,
        items: &mut [Item],
        aliases: &mut Vec<Alias>,
        width: usize,
    ) -> Bind<Vec<(SortKey, Span)>> {
        let keys = order.into_iter().map(|o| {
            let expr = match &o.key {
                Key::Expr(expr) => expr.clone(),
                Key::Item(i) => item_key(items.get_mut(*i).ok_or(Reported)?, aliases, width),
            };
            Ok((o.sort_key(expr), o.span))
        });
        all(keys.collect::<Vec<_>>())
    }

    /// Puts a query in order by the columns of its output, and cuts it off: one that is no plain SELECT.
    pub(super) fn ordered_output(&mut self, bound: Bound, tail: Tail<'_>) -> Bind<Bound> {
        let Bound { plan, spans } = bound;
        if tail.order_by.is_empty() {
            return Ok(Bound { plan: tail.bounds.of(plan), spans });
        }
        let mut scope = Scope::default();
        scope.append(None, plan.schema().fields().to_vec());
        let items = (0..scope.schema.len()).map(|i| {
            let expr = self.typed(typing::column(&scope.schema, i), self.here)?;
            let name = scope.schema.fields().get(i).map(|f| f.name.clone()).unwrap_or_default();
            let span = spans.get(i).copied().unwrap_or(self.here);
            Ok(Item::new(expr, OutputTarget::Column(name), span))
        });
        let mut items = all(items.collect::<Vec<_>>())?;
        let order = self.order_items(tail.order_by, Some(&items), Names::clause(&scope, "ORDER BY"))?;
        let keys = self.order_keys(order, &mut items, &mut Vec::new(), scope.schema.len())?;
        let keys = keys.into_iter().map(|(key, _)| key).collect();
        Ok(Bound { plan: self.sorted(plan, keys, tail)?, spans })
    }

    /// The same behind SELECT DISTINCT, where rows can be ordered by what is selected only.
    pub(super) fn ordered_distinct(
        &mut self,
        bound: Bound,
        order: Vec<OrderItem>,
        items: &[bool],
        tail: Tail<'_>,
    ) -> Bind<Bound> {
        let Bound { plan, spans } = bound;
        if order.is_empty() {
            return Ok(Bound { plan: tail.bounds.of(plan), spans });
        }
        let schema = plan.schema().clone();
        let keys = order.into_iter().map(|o| {
            let Key::Item(item) = o.key else {
                return self.fail("what SELECT DISTINCT is ordered by must be one of its items", o.span);
            };
            let column = items.iter().take(item).filter(|is_column| **is_column).count();
            let expr = self.typed(typing::column(&schema, column), o.span)?;
            Ok(o.sort_key(expr))
        });
        let keys = all(keys.collect::<Vec<_>>())?;
        Ok(Bound { plan: self.sorted(plan, keys, tail)?, spans })
    }

    /// `plan` in that order, cut off: all rows at the end of the input, or the first ones of a stream as changes.
    pub(super) fn sorted(
        &mut self,
        plan: LogicalPlan,
        order_by: Vec<SortKey>,
        tail: Tail<'_>,
    ) -> Bind<LogicalPlan> {
        if order_by.is_empty() {
            return Ok(tail.bounds.of(plan));
        }
        let schema = plan.schema().clone();
        let bounded = plan.is_bounded();
        let spec = match tail.bounds {
            // Not one row is wanted, so none is put in order.
            Bounds { count: Some(0), .. } => return Ok(tail.bounds.of(plan)),
            Bounds { count: Some(limit), offset } => Stateful::TopN(TopNSpec {
                partition_by: Vec::new(),
                order_by,
                limit,
                offset,
                with_rank: false,
                window_end: None,
                emit: if bounded { Emit::Final } else { Emit::Changes },
                retracts: is_updating(&plan),
                ttl: None,
                schema,
            }),
            Bounds { count: None, .. } if bounded => Stateful::Sort(SortSpec { order_by, schema }),
            Bounds { count: None, .. } => match by_window(&plan, &order_by) {
                Some(spec) => Stateful::TopN(spec),
                None => {
                    let error =
                        Diagnostic::new("an unbounded input can't be put in order as a whole", tail.at);
                    let hint = "add LIMIT n for the first n rows so far, begin with window_end to order windows as they \
                                end, or read bounded input";
                    return Err(self.report(error.with_hint(hint)));
                }
            },
        };
        let is_whole = tail.bounds.count.is_none();
        let sorted = LogicalPlan::Stateful { input: Box::new(plan), spec };
        Ok(if is_whole { tail.bounds.of(sorted) } else { sorted })
    }
}

/// An endless input in the order of its windows, each of them put in order when it has ended.
fn by_window(plan: &LogicalPlan, order_by: &[SortKey]) -> Option<TopNSpec> {
    let first = order_by.first().filter(|key| !key.descending)?;
    let partition_by = vec![first.expr.clone()];
    let window_end = Some(window_end(plan, &partition_by)?);
    Some(TopNSpec {
        partition_by,
        order_by: order_by.to_vec(),
        limit: u64::MAX,
        offset: 0,
        with_rank: false,
        window_end,
        emit: Emit::Final,
        retracts: is_updating(plan),
        ttl: None,
        schema: plan.schema().clone(),
    })
}

/// Whether all rows of a plan that never ends are asked for, in an order that does not follow windows.
pub(super) fn in_no_order(plan: &LogicalPlan, order_by: &[SortKey], bounds: Bounds) -> bool {
    bounds == Bounds::default() && !plan.is_bounded() && by_window(plan, order_by).is_none()
}

/// DISTINCT ON: the first row of each group, in that order or else as they come.
pub(super) fn first_of_each(plan: LogicalPlan, on: Vec<SortKey>, order: &[SortKey]) -> LogicalPlan {
    let spec = TopNSpec {
        partition_by: on.into_iter().map(|key| key.expr).collect(),
        order_by: order.to_vec(),
        limit: 1,
        offset: 0,
        with_rank: false,
        window_end: None,
        emit: if plan.is_bounded() { Emit::Final } else { Emit::Changes },
        retracts: is_updating(&plan),
        ttl: None,
        schema: plan.schema().clone(),
    };
    LogicalPlan::Stateful { input: Box::new(plan), spec: Stateful::TopN(spec) }
}

/// What stands for an item in ORDER BY, over the columns of FROM and the slots of items.
fn item_key(item: &mut Item, aliases: &mut Vec<Alias>, width: usize) -> Expr {
    if walk::is_plain(&item.expr) {
        return item.expr.clone();
    }
    let (name, data_type) = match &item.target {
        OutputTarget::Column(name) => (name.clone(), item.expr.data_type()),
        OutputTarget::System(system) => (system.name().into(), item.expr.data_type()),
    };
    let slot = *item.alias.get_or_insert_with(|| {
        let state = AliasState::Computed { expr: item.expr.clone(), expanded: Some(item.expr.clone()) };
        aliases.push(Alias { name: Ident::new(name.as_str()), state, used: Cell::new(false) });
        aliases.len() - 1
    });
    if let Some(alias) = aliases.get(slot) {
        alias.used.set(true);
    }
    Expr::Column { index: width + slot, name, data_type }
}
