//! SELECT: the order of its clauses; its items, their names and aliases, `*`.

use std::cell::Cell;

use sqlparser::ast::{self, Ident, SelectItem};

use super::calls::{Collected, Place};
use super::extent::{MAX_OPERATORS, substituted};
use super::group::Layout;
use super::names::column_name;
use super::order::{Sorting, Tail, first_of_each, in_no_order};
use super::refuse::both;
use super::scope::{Alias, AliasState, AliasUse, Names, Scope, hits, system_column, unique_names};
use super::{Bind, Bound, Reported, Session, all, suggestion};
use crate::expr::{Expr, SortKey, typing};
use crate::plan::{
    AggregateSpec, Emit, LogicalPlan, OutputColumn, OutputTarget, Stateful, is_updating, ranked, walk,
};
use crate::record::{CompactString, Field, Schema};
use crate::sql::{Diagnostic, Span};

/// One column of the SELECT list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) expr: Expr,
    pub(super) target: OutputTarget,
    pub(super) span: Span,
    /// Its number among the aliases, if it has one.
    pub(super) alias: Option<usize>,
}

impl Item {
    pub(super) fn new(expr: Expr, target: OutputTarget, span: Span) -> Self {
        Self { expr, target, span, alias: None }
    }
    /// Whether it is a column of the output; else it sets metadata.
    pub(super) fn is_column(&self) -> bool {
        matches!(self.target, OutputTarget::Column(_))
    }
}

impl Session<'_, '_> {
    pub(super) fn select(&mut self, select: &ast::Select, tail: Tail<'_>) -> Bind<Bound> {
        let at = self.place(select);
        self.within(at, |s| {
            let clauses = s.refuse_select_clauses(select);
            let (plan, scope) = s.from(&select.from)?;
            let named = s.named_windows(select);
            let collected = Collected { named: named.clone().unwrap_or_default(), ..Collected::default() };
            let mut aliases = Vec::new();
            let items = s.items(select, &scope, &collected, &mut aliases);
            let names =
                |place| Names { scope: &scope, aliases: &aliases, alias_use: AliasUse::Inline, place };
            let predicate = select
                .selection
                .as_ref()
                .map(|w| s.condition(w, "WHERE", names(Place::row("WHERE"))))
                .transpose();
            let keys = s.group_by(select, &scope, &aliases, items.as_deref().ok(), &collected);
            let having = select.having.as_ref().map(|h| {
                let at = s.place(h);
                Ok((s.condition(h, "HAVING", names(Place::groups("HAVING", &collected)))?, at))
            });
            let qualify = s.qualify(select, names(Place::output("QUALIFY", &collected)));
            let slots = Names { alias_use: AliasUse::Slot, ..names(Place::output("ORDER BY", &collected)) };
            let order = s.order_items(tail.order_by, items.as_deref().ok(), slots);
            let distinct_on = match &select.distinct {
                Some(ast::Distinct::On(list)) => s.distinct_on(list, items.as_deref().ok(), slots),
                _ => Ok(Vec::new()),
            };
            let ((), (mut items, predicate)) = both(clauses, both(items, predicate))?;
            let ((keys, having), order) = both(both(keys, having.transpose()), order)?;
            let ((_, qualify), distinct_on) = both(both(named, qualify), distinct_on)?;
            s.check_distinct_on(&distinct_on, &order, select)?;
            let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
            let (distinct_order, order) = if distinct { (order, Vec::new()) } else { (Vec::new(), order) };
            let order = s.order_keys(order, &mut items, &mut aliases, scope.schema.len())?;
            let distinct_on = s.order_keys(distinct_on, &mut items, &mut aliases, scope.schema.len())?;
            let plan = match predicate {
                None => plan,
                Some(predicate) => ranked(LogicalPlan::Filter { input: Box::new(plan), predicate }),
            };
            let plan = s.repartitioned(plan, select, &scope)?;
            let sets = !collected.sets.borrow().is_empty() || !collected.grouping.borrow().is_empty();
            let grouped =
                sets || !keys.is_empty() || having.is_some() || !collected.aggregates.borrow().is_empty();
            let (plan, layout, fields) = match grouped {
                true => {
                    let (plan, layout) = s.grouped(plan, &scope, keys, &items, having, &collected)?;
                    let fields = plan.schema().fields().to_vec();
                    (plan, layout, fields)
                }
                false => s.row_windows(plan, &scope, &collected)?,
            };
            let (plan, layout, fields) = s.overs(plan, layout, fields, &items, &collected)?;
            let plan = s.qualified(plan, &layout, qualify)?;
            let order = s.placed_keys(&layout, order)?;
            let distinct_on = s.placed_keys(&layout, distinct_on)?;
            let items = s.placed_items(&layout, items)?;
            let columns: Vec<bool> = items.iter().map(Item::is_column).collect();
            if distinct {
                let none = Sorting { distinct_on: Vec::new(), order: Vec::new(), tail: Tail::default() };
                let bound = s.project(plan, fields, items, &aliases, none)?;
                let bound = s.distinct(bound)?;
                return s.ordered_distinct(bound, distinct_order, &columns, tail);
            }
            s.project(plan, fields, items, &aliases, Sorting { distinct_on, order, tail })
        })
    }

    fn placed_keys(&mut self, layout: &Layout, keys: Vec<(SortKey, Span)>) -> Bind<Vec<SortKey>> {
        let placed = keys.into_iter().map(|(key, span)| {
            let expr = self.placed(layout, &key.expr, span)?;
            Ok(SortKey { expr, ..key })
        });
        all(placed.collect::<Vec<_>>())
    }

    fn placed_items(&mut self, layout: &Layout, items: Vec<Item>) -> Bind<Vec<Item>> {
        let placed = items.into_iter().map(|item| {
            let expr = self.placed(layout, &item.expr, item.span)?;
            Ok(Item { expr, ..item })
        });
        all(placed.collect::<Vec<_>>())
    }

    /// SELECT DISTINCT: groups of equal rows, of which nothing is computed.
    pub(super) fn distinct(&mut self, bound: Bound) -> Bind<Bound> {
        let Bound { plan, spans } = bound;
        let schema = plan.schema().clone();
        let sets_metadata = |c: &OutputColumn| matches!(c.target, OutputTarget::System(_));
        if let LogicalPlan::Project { columns, .. } = &plan
            && columns.iter().any(sets_metadata)
        {
            let at = self.keyword_in(self.here, "DISTINCT");
            return self.unsupported("DISTINCT beside an item that sets a system column", at);
        }
        let keys = (0..schema.len()).map(|i| {
            let key = self.typed(typing::column(&schema, i), self.here)?;
            let at = spans.get(i).copied().unwrap_or(self.here);
            self.typed(typing::binary(crate::expr::BinaryOp::Eq, key.clone(), key.clone()), at)?;
            Ok(key)
        });
        let spec = AggregateSpec {
            keys: all(keys.collect::<Vec<_>>())?,
            grouping_sets: Vec::new(),
            window: None,
            calls: Vec::new(),
            having: None,
            unseen: Vec::new(),
            emit: if plan.is_bounded() { Emit::Final } else { Emit::Changes },
            retracts: is_updating(&plan),
            ttl: None,
            schema,
        };
        let spec = Stateful::Aggregate(Box::new(spec));
        Ok(Bound { plan: LogicalPlan::Stateful { input: Box::new(plan), spec }, spans })
    }

    fn items(
        &mut self,
        select: &ast::Select,
        scope: &Scope,
        collected: &Collected,
        aliases: &mut Vec<Alias>,
    ) -> Bind<Vec<Item>> {
        let mut results: Vec<Bind<Vec<Item>>> = Vec::new();
        if select.projection.is_empty() {
            if select.flavor != ast::SelectFlavor::FromFirstNoSelect {
                return self.fail("SELECT needs at least one item", self.here);
            }
            results.push(self.star(0..scope.schema.len(), scope));
        }
        for item in &select.projection {
            let at = self.place(item);
            let result = self.within(at, |s| s.item(item, scope, collected, aliases));
            results.push(result);
        }
        Ok(all(results)?.into_iter().flatten().collect())
    }

    fn item(
        &mut self,
        item: &SelectItem,
        scope: &Scope,
        collected: &Collected,
        aliases: &mut Vec<Alias>,
    ) -> Bind<Vec<Item>> {
        let span = self.here;
        let place = Place::output("SELECT", collected);
        match item {
            SelectItem::UnnamedExpr(ast) => {
                let expr = self.expr(ast, Names { scope, aliases, alias_use: AliasUse::Slot, place })?;
                let name = match &expr {
                    // The column's own spelling.
                    Expr::Column { name, .. } | Expr::Field { name, .. } => name.clone(),
                    _ => column_name(ast),
                };
                Ok(vec![Item { expr, target: OutputTarget::Column(name), span, alias: None }])
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let bound = self.expr(expr, Names { scope, aliases, alias_use: AliasUse::Slot, place });
                if let Some(system) = system_column(alias) {
                    let wanted = system.data_type();
                    let coerced = typing::coerce(bound?, &wanted).map_err(|mut e| {
                        e.message = format!("{}: {}", alias.value, e.message);
                        e
                    });
                    let expr = self.typed(coerced, span)?;
                    return Ok(vec![Item { expr, target: OutputTarget::System(system), span, alias: None }]);
                }
                let slot = aliases.len();
                let state = match &bound {
                    Err(Reported) => AliasState::Failed,
                    Ok(expr) if walk::is_plain(expr) => AliasState::Plain(expr.clone()),
                    Ok(expr) => {
                        let expanded = expand(expr, scope.schema.len(), aliases);
                        let nodes = expanded.as_ref().map_or(0, Expr::node_count);
                        self.charge(nodes, span)?;
                        AliasState::Computed { expr: expr.clone(), expanded }
                    }
                };
                aliases.push(Alias { name: alias.clone(), state, used: Cell::new(false) });
                let target = OutputTarget::Column(alias.value.as_str().into());
                Ok(vec![Item { expr: bound?, target, span, alias: Some(slot) }])
            }
            SelectItem::ExprWithAliases { expr: _, aliases: _ } => {
                self.unsupported("an item with several aliases", span)
            }
            SelectItem::Wildcard(options) => {
                let items = self.star(0..scope.schema.len(), scope)?;
                self.star_options(items, options, scope, place)
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                let items = self.qualified_star(kind, scope)?;
                self.star_options(items, options, scope, place)
            }
        }
    }

    fn star(&mut self, range: std::ops::Range<usize>, scope: &Scope) -> Bind<Vec<Item>> {
        let span = self.here;
        if scope.relations.is_empty() {
            return self.fail("* needs a FROM", span);
        }
        self.charge(range.len(), span)?;
        let items = range.map(|i| {
            let expr = self.typed(typing::column(&scope.schema, i), span)?;
            let name = scope.schema.fields().get(i).map(|f| f.name.clone()).unwrap_or_default();
            Ok(Item { expr, target: OutputTarget::Column(name), span, alias: None })
        });
        all(items.collect::<Vec<_>>())
    }

    fn qualified_star(
        &mut self,
        kind: &ast::SelectItemQualifiedWildcardKind,
        scope: &Scope,
    ) -> Bind<Vec<Item>> {
        match kind {
            ast::SelectItemQualifiedWildcardKind::ObjectName(name) => {
                let at = self.place(name);
                let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
                    return self.unsupported("* behind a name with several parts", at);
                };
                match scope.relation(ident) {
                    Some(relation) => self.star(relation.columns.clone(), scope),
                    None => {
                        let message = format!("there is no relation '{}' in FROM", ident.value);
                        let known =
                            scope.relations.iter().filter_map(|r| Some(r.name.as_ref()?.value.as_str()));
                        let hint = suggestion(&ident.value, known, "there are");
                        Err(self.report(Diagnostic { message, span: at, hint }))
                    }
                }
            }
            ast::SelectItemQualifiedWildcardKind::Expr(expr) => {
                let at = self.place(expr);
                self.unsupported("* behind an expression", at)
            }
        }
    }

    /// EXCLUDE / EXCEPT, REPLACE, RENAME.
    fn star_options(
        &mut self,
        mut items: Vec<Item>,
        options: &ast::WildcardAdditionalOptions,
        scope: &Scope,
        place: Place<'_>,
    ) -> Bind<Vec<Item>> {
        let ast::WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        if opt_ilike.is_some() {
            return self.unsupported("* ILIKE", self.here);
        }
        if let Some(alias) = opt_alias {
            let at = self.ident_place(alias);
            return self.fail("* can't have an alias", at);
        }
        let mut gone: Vec<&Ident> = Vec::new();
        match opt_exclude {
            None => {}
            Some(ast::ExcludeSelectItem::Single(name)) => gone.push(self.single(name)?),
            Some(ast::ExcludeSelectItem::Multiple(names)) => {
                for name in names {
                    gone.push(self.single(name)?);
                }
            }
        }
        if let Some(ast::ExceptSelectItem { first_element, additional_elements }) = opt_except {
            gone.push(first_element);
            gone.extend(additional_elements);
        }
        let gone: Vec<_> = gone.into_iter().map(|ident| self.position(&items, ident)).collect();
        let replaced = opt_replace.iter().flat_map(|r| &r.items).map(|element| {
            let ast::ReplaceSelectElement { expr, column_name, as_keyword: _ } = &**element;
            Ok((self.position(&items, column_name)?, self.expr(expr, Names { place, ..Names::of(scope) })?))
        });
        let replaced = all(replaced.collect::<Vec<_>>());
        let renames = match opt_rename {
            None => Vec::new(),
            Some(ast::RenameSelectItem::Single(one)) => vec![one],
            Some(ast::RenameSelectItem::Multiple(list)) => list.iter().collect(),
        };
        let renamed: Vec<_> =
            renames.into_iter().map(|r| Ok((self.position(&items, &r.ident)?, &r.alias))).collect();
        let (gone, (replaced, renamed)) = both(all(gone), both(replaced, all(renamed)))?;
        for (i, expr) in replaced {
            if let Some(item) = items.get_mut(i) {
                item.expr = expr;
            }
        }
        for (i, alias) in renamed {
            if let Some(item) = items.get_mut(i) {
                item.target = OutputTarget::Column(alias.value.as_str().into());
            }
        }
        let kept = items.into_iter().enumerate().filter(|(i, _)| !gone.contains(i));
        Ok(kept.map(|(_, item)| item).collect())
    }

    fn single<'n>(&mut self, name: &'n ast::ObjectName) -> Bind<&'n Ident> {
        match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] => Ok(ident),
            _ => {
                let at = self.place(name);
                self.unsupported("a name with several parts here", at)
            }
        }
    }

    /// The item of `*` that `ident` names.
    fn position(&mut self, items: &[Item], ident: &Ident) -> Bind<usize> {
        let names: Vec<&str> = items
            .iter()
            .map(|i| match &i.target {
                OutputTarget::Column(name) => name.as_str(),
                OutputTarget::System(_) => "",
            })
            .collect();
        if let [one, ..] = hits(ident, names.iter().copied().enumerate()).as_slice() {
            return Ok(*one);
        }
        let span = self.ident_place(ident);
        let message = format!("* has no column '{}'", ident.value);
        let hint = suggestion(&ident.value, names, "the columns are");
        Err(self.report(Diagnostic { message, span, hint }))
    }

    /// The projection – or several, where an item uses what an earlier one computes: then that one is computed first,
    /// once, and both take it from there. The rows are put in order behind those and before the last one.
    fn project(
        &mut self,
        mut plan: LogicalPlan,
        mut fields: Vec<Field>,
        mut items: Vec<Item>,
        aliases: &[Alias],
        sorting: Sorting<'_>,
    ) -> Bind<Bound> {
        let Sorting { mut distinct_on, mut order, tail } = sorting;
        let width = fields.len();
        let used: Vec<usize> =
            (0..aliases.len()).filter(|i| aliases.get(*i).is_some_and(|a| a.used.get())).collect();
        if !used.is_empty() {
            let place = |slot: usize| used.iter().position(|u| *u == slot).map(|rank| width + rank);
            let renumber = |e: &Expr| e.map_columns(&|i| i.checked_sub(width).and_then(place).unwrap_or(i));
            items.iter_mut().for_each(|item| item.expr = renumber(&item.expr));
            distinct_on.iter_mut().chain(&mut order).for_each(|key| key.expr = renumber(&key.expr));
            let mut rest = used.as_slice();
            let mut stages = 0;
            while !rest.is_empty() {
                let computed = |slot: &usize| {
                    items.iter().find(|i| i.alias == Some(*slot)).map(|i| (i.expr.clone(), i.target.clone()))
                };
                let ready = fields.len();
                stages += 1;
                if stages > MAX_OPERATORS {
                    return Err(self.too_deep(self.here));
                }
                self.charge(ready, self.here)?;
                let stage: Vec<_> = rest
                    .iter()
                    .map_while(computed)
                    .take_while(|(e, _)| e.columns_used().into_iter().all(|c| c < ready))
                    .collect();
                if stage.is_empty() {
                    return Err(Reported);
                }
                rest = rest.get(stage.len()..).unwrap_or_default();
                let mut columns = self.pass_through(&fields)?;
                for (expr, target) in stage {
                    if let OutputTarget::Column(name) = &target {
                        fields.push(Field::new(name, expr.data_type()));
                    }
                    columns.push(OutputColumn { expr, target });
                }
                plan = LogicalPlan::Project {
                    input: Box::new(plan),
                    columns,
                    schema: Schema::new(fields.clone()),
                };
            }
            let schema = Schema::new(fields.clone());
            for item in &mut items {
                if let Some(position) = item.alias.and_then(place) {
                    let made = typing::column(&schema, position);
                    item.expr = self.typed(made, item.span)?;
                }
            }
        }
        let picks = !distinct_on.is_empty();
        if picks {
            plan = first_of_each(plan, distinct_on, &order);
        }
        if order.is_empty() {
            let Bound { plan, spans } = output(plan, &fields, items);
            return Ok(Bound { plan: self.sorted(plan, order, tail)?, spans });
        }
        // The order says which rows are the first ones. As a whole they can't be put in order where more come.
        if !(picks && in_no_order(&plan, &order, tail.bounds)) {
            plan = self.sorted(plan, order, tail)?;
        }
        Ok(output(plan, &fields, items))
    }

    /// What an item computes over the columns of FROM alone.
    pub(super) fn expanded(&mut self, item: &Item, names: Names<'_>) -> Bind<Expr> {
        match expand(&item.expr, names.scope.schema.len(), names.aliases) {
            Some(expr) => {
                self.charge(expr.node_count(), item.span)?;
                Ok(expr)
            }
            None => {
                let error =
                    Diagnostic::new("with the aliases that it uses, this is too large here", item.span);
                Err(self.report(error.with_hint("compute it in a subquery")))
            }
        }
    }

    fn pass_through(&mut self, fields: &[Field]) -> Bind<Vec<OutputColumn>> {
        let schema = Schema::new(fields.to_vec());
        let columns = (0..fields.len()).map(|i| {
            let expr = self.typed(typing::column(&schema, i), self.here)?;
            let name = fields.get(i).map(|f| f.name.clone()).unwrap_or_default();
            Ok(OutputColumn { expr, target: OutputTarget::Column(name) })
        });
        all(columns.collect::<Vec<_>>())
    }
}

/// The last projection of a SELECT: names become unique, plain columns keep NOT NULL.
fn output(plan: LogicalPlan, input: &[Field], items: Vec<Item>) -> Bound {
    let wanted = items.iter().filter_map(|i| match &i.target {
        OutputTarget::Column(name) => Some(name.clone()),
        OutputTarget::System(_) => None,
    });
    let mut names = unique_names(wanted.collect::<Vec<CompactString>>()).into_iter();
    let (mut fields, mut spans, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for Item { expr, mut target, span, alias: _ } in items {
        if let OutputTarget::Column(name) = &mut target {
            *name = names.next().unwrap_or_default();
            let nullable = match &expr {
                Expr::Column { index, .. } => input.get(*index).is_none_or(|f| f.nullable),
                _ => true,
            };
            fields.push(Field { name: name.clone(), data_type: expr.data_type(), nullable });
            spans.push(span);
        }
        columns.push(OutputColumn { expr, target });
    }
    let plan = LogicalPlan::Project { input: Box::new(plan), columns, schema: Schema::new(fields) };
    Bound { plan, spans }
}

/// The expression with the slots of earlier items replaced by what they compute; `None` if that is too much.
fn expand(expr: &Expr, width: usize, aliases: &[Alias]) -> Option<Expr> {
    let whole = Cell::new(true);
    let expanded = substituted(expr, &|i| match &aliases.get(i.checked_sub(width)?)?.state {
        AliasState::Computed { expanded: Some(expanded), .. } => Some(expanded),
        AliasState::Computed { expanded: None, .. } => {
            whole.set(false);
            None
        }
        AliasState::Plain(_) | AliasState::Failed => None,
    });
    expanded.filter(|_| whole.get())
}
