//! WITH, VALUES: what stands around and between SELECTs.

use sqlparser::ast::{self, Expr as Ast, SetExpr};

use super::order::Tail;
use super::refuse::both;
use super::scope::{Names, Scope, hits};
use super::{Bind, Bound, BoundCte, Reported, Session, all};
use crate::expr::{Expr, typing};
use crate::plan::{LogicalPlan, OutputColumn, OutputTarget, walk};
use crate::record::{Field, FieldValue, Schema};

impl Session<'_, '_> {
    pub(super) fn query(&mut self, query: &ast::Query) -> Bind<Bound> {
        let at = self.place(query);
        self.within(at, |s| {
            let clauses = s.refuse_query_clauses(query);
            let outer = s.ctes.len();
            let with = query.with.as_ref().map_or(Ok(()), |w| s.with(w));
            let tail = s.tail(query);
            let body = s.body(&query.body, tail.as_ref().ok().copied().unwrap_or_default());
            s.ctes.truncate(outer);
            let ((), ()) = both(clauses, with)?;
            let (Bound { plan, spans }, _) = both(body, tail)?;
            let plan = s.emitted(plan, query)?;
            s.not_too_deep(Bound { plan, spans }, at)
        })
    }

    /// The body of a query, put in order and cut off as its tail says.
    fn body(&mut self, body: &SetExpr, tail: Tail<'_>) -> Bind<Bound> {
        match body {
            SetExpr::Select(select) => self.select(select, tail),
            _ => {
                let bound = self.set_expr(body)?;
                self.ordered_output(bound, tail)
            }
        }
    }

    fn with(&mut self, with: &ast::With) -> Bind<()> {
        let ast::With { with_token: _, recursive, cte_tables } = with;
        if *recursive {
            let at = self.keyword_in(self.place(with), "RECURSIVE");
            // Their names exist, so that what refers to them is no second error.
            let names = cte_tables.iter().map(|c| BoundCte { name: c.alias.name.clone(), bound: None });
            self.ctes.extend(names.collect::<Vec<_>>());
            return self.unsupported("WITH RECURSIVE", at);
        }
        let first = self.ctes.len();
        let mut result = Ok(());
        for cte in cte_tables {
            // MATERIALIZED is a hint: it changes no result.
            let ast::Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
            let at = self.ident_place(&alias.name);
            let siblings = self.ctes.get(first..).unwrap_or_default();
            let names = siblings.iter().enumerate().map(|(i, c)| (i, c.name.value.as_str()));
            if !hits(&alias.name, names).is_empty() {
                result = self.fail(format!("WITH defines '{}' twice", alias.name.value), at);
                continue;
            }
            if from.is_some() {
                result = self.unsupported("FROM behind a common table expression", at);
            }
            let bound = self.query(query).and_then(|b| self.rename(b, alias));
            if bound.is_err() {
                result = Err(Reported);
            }
            self.ctes.push(BoundCte { name: alias.name.clone(), bound: bound.ok() });
        }
        result
    }

    /// Gives a query the column names of its alias: `c(a, b)`.
    fn rename(&mut self, bound: Bound, alias: &ast::TableAlias) -> Bind<Bound> {
        if alias.columns.is_empty() && alias.at.is_none() {
            return Ok(bound);
        }
        let fields = self.alias_columns(bound.plan.schema().fields().to_vec(), alias)?;
        let schema = Schema::new(fields);
        let exprs = (0..schema.len()).map(|i| typing::column(bound.plan.schema(), i));
        let columns = exprs.zip(schema.names()).map(|(expr, name)| {
            let expr = self.typed(expr, self.here)?;
            Ok(OutputColumn { expr, target: OutputTarget::Column(name.into()) })
        });
        let columns = all(columns.collect::<Vec<_>>())?;
        let plan = LogicalPlan::Project { input: Box::new(bound.plan), columns, schema };
        Ok(Bound { plan, spans: bound.spans })
    }

    pub(super) fn set_expr(&mut self, body: &SetExpr) -> Bind<Bound> {
        match body {
            SetExpr::Select(select) => self.select(select, Tail::default()),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation { .. } => self.combination(body),
            SetExpr::Insert(_) => self.unsupported("INSERT inside a query", self.here),
            SetExpr::Update(_) => self.unsupported("UPDATE", self.here),
            SetExpr::Delete(_) => self.unsupported("DELETE", self.here),
            SetExpr::Merge(_) => self.unsupported("MERGE", self.here),
            SetExpr::Table(_) => self.unsupported("TABLE as a query (write SELECT * FROM …)", self.here),
        }
    }

    /// `VALUES (1, 'a'), (2, 'b')`: columns `column1`, `column2`, as in PostgreSQL.
    fn values(&mut self, values: &ast::Values) -> Bind<Bound> {
        let ast::Values { explicit_row: _, value_keyword: _, rows } = values;
        let scope = Scope::default();
        let width = rows.first().map_or(0, |r| r.content.len());
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            let ast::Parens { opening_token, content, closing_token: _ } = row;
            if content.len() != width {
                let at = self.source.span(opening_token.0.span).unwrap_or(self.here);
                let message = format!(
                    "VALUES rows differ in length: the first has {width}, this one {}",
                    content.len()
                );
                return self.fail(message, at);
            }
            let items: Vec<_> =
                content.iter().map(|e| self.expr(e, Names::of(&scope)).map(crate::expr::fold)).collect();
            bound.push(all(items));
        }
        let given: Vec<Vec<Expr>> = all(bound)?;
        let mut bound: Vec<Vec<Expr>> = given.iter().map(|_| Vec::with_capacity(width)).collect();
        let mut fields = Vec::with_capacity(width);
        for i in 0..width {
            let column = given.iter().filter_map(|r| r.get(i).cloned()).collect();
            let at = rows.first().and_then(|r| r.content.get(i)).map_or(self.here, |e| self.place(e));
            let (column, data_type) = self.typed(typing::unify(column), at)?;
            for (row, item) in bound.iter_mut().zip(column) {
                row.push(crate::expr::fold(item));
            }
            fields.push(Field::new(format!("column{}", i + 1), data_type));
        }
        let spans =
            rows.first().map(|r| r.content.iter().map(|e| self.place(e)).collect()).unwrap_or_default();
        Ok(Bound { plan: rows_plan(Schema::new(fields), bound), spans })
    }

    /// A constant number of rows; NULL means no bound.
    pub(super) fn row_count(&mut self, expr: &Ast, clause: &str) -> Bind<Option<u64>> {
        let at = self.place(expr);
        let scope = Scope::default();
        let before = self.errors.len();
        let bound = self.expr(expr, Names::of(&scope));
        // A column here is no misspelt name but a misunderstanding.
        self.errors.truncate(before);
        match bound.ok().and_then(|e| walk::constant(&e)) {
            Some(Ok(FieldValue::Null)) => Ok(None),
            Some(Ok(FieldValue::Integer(n))) if n >= 0 => Ok(u64::try_from(n).ok()),
            _ => self.fail(format!("{clause} takes a constant number of rows, 0 or more"), at),
        }
    }
}

/// Rows of expressions without input: constants as they are, the rest computed over one empty row each.
fn rows_plan(schema: std::sync::Arc<Schema>, rows: Vec<Vec<Expr>>) -> LogicalPlan {
    let constant = |row: &Vec<Expr>| {
        let values = row.iter().map(|e| match e {
            Expr::Literal { value, .. } => Some(value.clone()),
            _ => None,
        });
        values.collect::<Option<Vec<_>>>()
    };
    if let Some(rows) = rows.iter().map(constant).collect::<Option<Vec<_>>>() {
        return LogicalPlan::Values { schema, rows };
    }
    let project = |row: Vec<Expr>| {
        let named = row.into_iter().zip(schema.names());
        let columns = named
            .map(|(expr, name)| OutputColumn { expr, target: OutputTarget::Column(name.into()) })
            .collect();
        LogicalPlan::Project { input: Box::new(one_row()), columns, schema: schema.clone() }
    };
    let mut inputs: Vec<_> = rows.into_iter().map(project).collect();
    match (inputs.pop(), inputs.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            inputs.push(last);
            LogicalPlan::Union { inputs, schema }
        }
        (None, _) => LogicalPlan::Values { schema, rows: Vec::new() },
    }
}

/// One row without columns: the input of a SELECT without FROM.
pub(super) fn one_row() -> LogicalPlan {
    LogicalPlan::Values { schema: Schema::new([]), rows: vec![Vec::new()] }
}
