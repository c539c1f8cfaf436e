//! FROM: relations, files, subqueries; UNNEST beside them. Joins come later and are refused.

use sqlparser::ast::{
    self, BinaryOperator, Expr as Ast, FunctionArg, FunctionArgExpr, Ident, TableFactor, Value,
};

use super::extent::{MAX_VIEWS, plan_nodes};
use super::query::one_row;
use super::scope::{Scope, hits};
use super::window::{Form, as_function};
use super::{Bind, BoundCte, Reported, Session, suggestion};
use crate::catalog::Options;
use crate::plan::LogicalPlan;
use crate::record::Field;
use crate::sql::resolve::{ResolveError, ResolvedRelation};
use crate::sql::{Diagnostic, Span};

/// A relation in FROM before it has a place in the scope.
pub(super) struct Part {
    pub(super) plan: LogicalPlan,
    pub(super) name: Option<Ident>,
    /// Its columns, under the names that its alias gives them.
    pub(super) fields: Vec<Field>,
}

impl Session<'_, '_> {
    /// The plan and the names of a FROM clause; one empty row where there is none.
    pub(super) fn from(&mut self, from: &[ast::TableWithJoins]) -> Bind<(LogicalPlan, Scope)> {
        let mut state: Option<(LogicalPlan, Scope)> = None;
        let mut failed = false;
        for ast::TableWithJoins { relation, joins } in from {
            match self.add_relation(state.take(), relation, None) {
                Ok(next) => state = Some(next),
                Err(Reported) => failed = true,
            }
            for join in joins {
                if failed {
                    // Names to the right can't be resolved; but a join that is not supported is worth telling.
                    let _: Bind<bool> = self.join_kind(join);
                    continue;
                }
                let next = self
                    .join_kind(join)
                    .and_then(|outer| self.add_relation(state.take(), &join.relation, Some(outer)));
                match next {
                    Ok(next) => state = Some(next),
                    Err(Reported) => failed = true,
                }
            }
        }
        if failed {
            return Err(Reported);
        }
        Ok(state.unwrap_or_else(|| (one_row(), Scope::default())))
    }

    /// Adds what stands right of a comma or JOIN; `outer` tells of a LEFT JOIN.
    fn add_relation(
        &mut self,
        left: Option<(LogicalPlan, Scope)>,
        factor: &TableFactor,
        outer: Option<bool>,
    ) -> Bind<(LogicalPlan, Scope)> {
        let at = self.place(factor);
        self.within(at, |s| {
            if let TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias: _,
                with_ordinality,
            } = factor
            {
                let left = left.unwrap_or_else(|| (one_row(), Scope::default()));
                let outer = outer.unwrap_or(false);
                return s.unnest(left, alias.as_ref(), array_exprs, *with_offset, *with_ordinality, outer);
            }
            if left.is_some() {
                return s.unsupported_all("joins", at);
            }
            if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
                if let Some(alias) = alias {
                    let at = s.ident_place(&alias.name);
                    return s.unsupported("an alias behind parentheses", at);
                }
                return s.from(std::slice::from_ref(&**table_with_joins));
            }
            let Part { plan, name, fields } = s.factor(factor)?;
            let mut scope = Scope::default();
            scope.append(name, fields);
            Ok((plan, scope))
        })
    }

    /// Whether a join is LEFT; all but those with UNNEST are refused.
    fn join_kind(&mut self, join: &ast::Join) -> Bind<bool> {
        use ast::JoinOperator as J;
        let ast::Join { relation, global, join_operator } = join;
        let at = self.place(relation);
        if *global {
            return self.unsupported("GLOBAL JOIN", at);
        }
        let (constraint, outer) = match join_operator {
            J::CrossJoin(constraint) | J::Join(constraint) | J::Inner(constraint) => (constraint, false),
            J::Left(constraint) | J::LeftOuter(constraint) => (constraint, true),
            J::AsOf { match_condition: _, constraint: _ } => return self.unsupported_all("ASOF joins", at),
            J::CrossApply | J::OuterApply => return self.unsupported("APPLY", at),
            J::ArrayJoin | J::LeftArrayJoin | J::InnerArrayJoin => {
                return self.unsupported("ARRAY JOIN (write CROSS JOIN UNNEST)", at);
            }
            J::Right(_)
            | J::RightOuter(_)
            | J::FullOuter(_)
            | J::Semi(_)
            | J::LeftSemi(_)
            | J::RightSemi(_)
            | J::Anti(_)
            | J::LeftAnti(_)
            | J::RightAnti(_)
            | J::StraightJoin(_) => return self.unsupported_all("joins", at),
        };
        if !matches!(relation, TableFactor::UNNEST { .. }) {
            return self.unsupported_all("joins", at);
        }
        match constraint {
            ast::JoinConstraint::None => Ok(outer),
            ast::JoinConstraint::On(Ast::Value(v)) if v.value == Value::Boolean(true) => Ok(outer),
            ast::JoinConstraint::On(condition) => {
                let at = self.place(condition);
                let error = Diagnostic::new("a condition on UNNEST is not supported yet", at);
                Err(self.report(error.with_hint("write ON TRUE and put the condition into WHERE")))
            }
            ast::JoinConstraint::Using(_) | ast::JoinConstraint::Natural => {
                self.unsupported("USING or NATURAL with UNNEST", at)
            }
        }
    }

    fn factor(&mut self, factor: &TableFactor) -> Bind<Part> {
        let at = self.here;
        let what = match factor {
            TableFactor::Table { .. } => return self.table(factor),
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if *lateral {
                    return self.unsupported("LATERAL", at);
                }
                if sample.is_some() {
                    return self.unsupported("TABLESAMPLE", at);
                }
                let bound = self.query(subquery)?;
                return self.part(bound.plan, None, alias.as_ref());
            }
            TableFactor::Function { lateral: _, name, args: _, with_ordinality: _, alias: _ } => {
                if name.to_string().eq_ignore_ascii_case("unnest") {
                    let error = Diagnostic::new("LATERAL is not supported yet", at);
                    return Err(
                        self.report(error.with_hint("UNNEST sees the columns to its left without it"))
                    );
                }
                "LATERAL"
            }
            TableFactor::TableFunction { expr, alias } => {
                let at = self.place(expr);
                let function = as_function(expr);
                let form = function.and_then(|f| Form::of(&f.name.to_string()));
                if let (Some(form), Some(ast::FunctionArguments::List(list))) =
                    (form, function.map(|f| &f.args))
                {
                    return self.within(at, |s| s.window_function(form, &list.args, alias.as_ref()));
                }
                return self.unsupported(&format!("TABLE({expr})"), at);
            }
            TableFactor::JsonTable { .. } => "JSON_TABLE",
            TableFactor::OpenJsonTable { .. } => "OPENJSON",
            TableFactor::Pivot { .. } => "PIVOT",
            TableFactor::Unpivot { .. } | TableFactor::UnpivotExpr { .. } => "UNPIVOT",
            TableFactor::MatchRecognize { .. } => "MATCH_RECOGNIZE",
            TableFactor::XmlTable { .. } => "XMLTABLE",
            TableFactor::SemanticView { .. } => "SEMANTIC_VIEW",
            // Taken apart where they are added to the scope.
            TableFactor::UNNEST { .. } => "UNNEST in this place",
            TableFactor::NestedJoin { .. } => "a join in parentheses in this place",
        };
        self.unsupported(what, at)
    }

    fn table(&mut self, factor: &TableFactor) -> Bind<Part> {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = factor
        else {
            return Err(Reported);
        };
        self.refuse_table_clauses(&[
            (!with_hints.is_empty(), "WITH (…) behind a table"),
            (version.is_some(), "FOR SYSTEM_TIME AS OF"),
            (*with_ordinality, "WITH ORDINALITY behind anything but UNNEST"),
            (!partitions.is_empty(), "PARTITION (…) behind a table"),
            (json_path.is_some(), "a path behind a table"),
            (sample.is_some(), "TABLESAMPLE"),
            (!index_hints.is_empty(), "an index hint"),
        ])?;
        let mut at = self.place(name);
        let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
            let name = name.to_string();
            if let Some(hint) = file_hint(&name) {
                let message = format!("'{name}' is no name of a relation");
                return Err(self.report(Diagnostic { message, span: at, hint: Some(hint) }));
            }
            return self.unsupported("a relation's name with several parts", at);
        };
        if ident.quote_style == Some('\'') && self.source.span(ident.span).is_none_or(|s| s.start == s.end) {
            at = self.source.literal_from(self.here.start, &ident.value).unwrap_or(at);
        }
        self.within(at, |s| match args {
            Some(args) if let Some(form) = Form::of(&ident.value) => {
                s.window_function(form, &args.args, alias.as_ref())
            }
            Some(args) => {
                let plan = s.table_function(ident, args)?;
                s.part(plan, Some(ident.clone()), alias.as_ref())
            }
            None if ident.quote_style == Some('\'') => {
                let found = s.binder.resolver.file(&ident.value, None, Options::default());
                let plan = s.resolved(found, ident)?;
                s.part(plan, Some(Ident::new(file_stem(&ident.value))), alias.as_ref())
            }
            None => s.relation(ident, alias.as_ref()),
        })
    }

    pub(super) fn relation(&mut self, ident: &Ident, alias: Option<&ast::TableAlias>) -> Bind<Part> {
        // The innermost WITH wins, and any WITH over the catalog.
        let meant = |c: &&BoundCte| !hits(ident, std::iter::once((0, c.name.value.as_str()))).is_empty();
        if let Some(cte) = self.ctes.iter().rfind(meant) {
            let bound = cte.bound.clone().ok_or(Reported)?;
            self.charge(plan_nodes(&bound.plan), self.here)?;
            return self.part(bound.plan, Some(ident.clone()), alias);
        }
        let found = self.binder.resolver.relation(&ident.value, ident.quote_style.is_some());
        let plan = self.resolved(found, ident)?;
        self.part(plan, Some(ident.clone()), alias)
    }

    /// What the catalog said, as a plan.
    pub(super) fn resolved(
        &mut self,
        found: Result<ResolvedRelation, ResolveError>,
        ident: &Ident,
    ) -> Bind<LogicalPlan> {
        let at = self.here;
        match found {
            Ok(ResolvedRelation::Source { name, schema, projects, bounded, time }) => {
                let scan = LogicalPlan::Scan { relation: name, schema, projects, bounded };
                match time {
                    None => Ok(scan),
                    Some(time) => self.watermarked(scan, &time),
                }
            }
            Ok(ResolvedRelation::View { query, text }) => self.view(ident, &query, &text),
            Err(ResolveError::NotFound { known }) => {
                let in_scope = self.ctes.iter().map(|c| c.name.value.as_str());
                let hint = file_hint(&ident.value).or_else(|| {
                    suggestion(&ident.value, in_scope.chain(known.iter().map(String::as_str)), "there are")
                });
                let message = format!("there is no stream, table or view '{}'", ident.value);
                Err(self.report(Diagnostic { message, span: at, hint }))
            }
            Err(ResolveError::Failed { message, hint, option: _ }) => {
                Err(self.report(Diagnostic { message, span: at, hint }))
            }
        }
    }

    fn view(&mut self, ident: &Ident, query: &ast::Query, text: &str) -> Bind<LogicalPlan> {
        let at = self.here;
        let name = ident.value.to_lowercase();
        if self.views.contains(&name) {
            return self.fail(format!("the view '{}' refers to itself", ident.value), at);
        }
        if self.views.len() == MAX_VIEWS {
            return self.fail(format!("views may read each other at most {MAX_VIEWS} deep"), at);
        }
        let mut views = self.views.clone();
        views.push(name);
        let mut inner = Session::new(self.binder, text, views);
        inner.nodes = self.nodes;
        let bound = inner.query(query);
        self.nodes = inner.nodes;
        let endless = std::mem::take(&mut inner.endless);
        self.endless.extend(endless.into_iter().map(|(spec, e)| {
            let message = format!("the view '{}' is not valid: {}", ident.value, e.message);
            (spec, Diagnostic { message, span: at, hint: e.hint })
        }));
        match inner.finish(bound) {
            Ok(bound) => {
                self.charge(plan_nodes(&bound.plan), at)?;
                Ok(bound.plan)
            }
            Err(errors) => {
                let Some(first) = errors.into_iter().next() else { return Err(Reported) };
                let message = format!("the view '{}' is not valid: {}", ident.value, first.message);
                Err(self.report(Diagnostic { message, span: at, hint: first.hint }))
            }
        }
    }

    /// `read_csv('f.csv', null_values = 'NA')`.
    pub(super) fn table_function(
        &mut self,
        ident: &Ident,
        args: &ast::TableFunctionArgs,
    ) -> Bind<LogicalPlan> {
        let at = self.here;
        let ast::TableFunctionArgs { args, settings } = args;
        let function = ident.value.to_lowercase();
        if settings.is_some() {
            return self.unsupported("SETTINGS in a table function", at);
        }
        let mut path = None;
        let mut options = Options::default();
        let mut places: Vec<(String, Span)> = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            match self.file_argument(arg)? {
                (None, text, _) if i == 0 => path = Some(text),
                (None, _, at) => {
                    return self.fail("only the path has no name: write option = value", at);
                }
                (Some(name), text, at) => {
                    places.push((name.to_ascii_lowercase(), at));
                    options.set(name, text);
                }
            }
        }
        let Some(path) = path else {
            let error = Diagnostic::new(format!("{function} takes a path first"), at);
            return Err(self.report(error.with_hint(format!("write {function}('file')"))));
        };
        let found = self.binder.resolver.file(&path, Some(&function), options);
        if let Err(ResolveError::NotFound { known }) = &found {
            let hint = suggestion(&function, known.iter().map(String::as_str), "there are");
            let message = format!("there is no table function '{function}'");
            return Err(self.report(Diagnostic { message, span: at, hint }));
        }
        let wrong = match &found {
            Err(ResolveError::Failed { option: Some(option), .. }) => {
                places.iter().rev().find(|(name, _)| *name == option.to_ascii_lowercase())
            }
            _ => None,
        };
        let at = wrong.map_or(at, |(_, at)| *at);
        self.within(at, |s| s.resolved(found, ident))
    }

    /// Name (if any), value and place of an argument: `'path'`, `option = 'value'`, `option => 5`. The place is that of the
    /// name if there is one.
    fn file_argument(&mut self, arg: &FunctionArg) -> Bind<(Option<String>, String, Span)> {
        let value = |s: &mut Self, e: &Ast| {
            let at = s.place(e);
            let text = match e {
                Ast::Value(v) => match &v.value {
                    Value::SingleQuotedString(t) | Value::EscapedStringLiteral(t) | Value::Number(t, _) => {
                        Some(t.clone())
                    }
                    Value::Boolean(b) => Some(b.to_string()),
                    _ => None,
                },
                Ast::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match &**expr {
                    Ast::Value(ast::ValueWithSpan { value: Value::Number(n, _), span: _ }) => {
                        Some(format!("-{n}"))
                    }
                    _ => None,
                },
                _ => None,
            };
            match text {
                Some(text) => Ok((text, at)),
                None => s.fail("an argument of a table function is a text, a number, true or false", at),
            }
        };
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Ast::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            })) => {
                let Ast::Identifier(name) = &**left else {
                    let at = self.place(&**left);
                    return self.fail("an option's name is expected before =", at);
                };
                let (text, _) = value(self, right)?;
                Ok((Some(name.value.clone()), text, self.ident_place(name)))
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                let (text, at) = value(self, e)?;
                Ok((None, text, at))
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), operator: _ } => {
                let (text, _) = value(self, e)?;
                Ok((Some(name.value.clone()), text, self.ident_place(name)))
            }
            FunctionArg::ExprNamed {
                name: Ast::Identifier(name),
                arg: FunctionArgExpr::Expr(e),
                operator: _,
            } => {
                let (text, _) = value(self, e)?;
                Ok((Some(name.value.clone()), text, self.ident_place(name)))
            }
            FunctionArg::Unnamed(_) | FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                self.fail("an argument of a table function is a text, a number, true or false", self.here)
            }
        }
    }

    /// A plan under its alias, or else under its own name.
    pub(super) fn part(
        &mut self,
        plan: LogicalPlan,
        own: Option<Ident>,
        alias: Option<&ast::TableAlias>,
    ) -> Bind<Part> {
        let fields = plan.schema().fields().to_vec();
        let Some(alias) = alias else { return Ok(Part { plan, name: own, fields }) };
        let fields = self.alias_columns(fields, alias)?;
        Ok(Part { plan, name: Some(alias.name.clone()), fields })
    }

    /// Renames columns as `AS t(a, b)` says; a shorter list leaves the rest as they are.
    pub(super) fn alias_columns(
        &mut self,
        mut fields: Vec<Field>,
        alias: &ast::TableAlias,
    ) -> Bind<Vec<Field>> {
        let ast::TableAlias { explicit: _, name, columns, at } = alias;
        if let Some(at) = at {
            let at = self.ident_place(at);
            return self.unsupported("AT behind an alias", at);
        }
        if columns.len() > fields.len() {
            let at = columns.get(fields.len()).map_or(self.here, |c| self.ident_place(&c.name));
            let (n, given) = (fields.len(), columns.len());
            let plural = if n == 1 { "" } else { "s" };
            let message = format!("'{}' has {n} column{plural}, its alias names {given}", name.value);
            return self.fail(message, at);
        }
        for (field, column) in fields.iter_mut().zip(columns) {
            let ast::TableAliasColumnDef { name, data_type } = column;
            if data_type.is_some() {
                let at = self.ident_place(name);
                return self.unsupported("a type in a column alias", at);
            }
            field.name = name.value.as_str().into();
        }
        Ok(fields)
    }
}

/// What to write instead of a name that looks like a file's.
fn file_hint(name: &str) -> Option<String> {
    const EXTENSIONS: [&str; 8] = ["csv", "tsv", "json", "jsonl", "ndjson", "txt", "gz", "zst"];
    let (_, extension) = name.rsplit_once('.')?;
    let known = EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension));
    known.then(|| format!("a file is named in single quotes: '{name}'"))
}

/// `dir/flights.csv.gz` → `flights`: the name by which columns may be qualified.
pub(super) fn file_stem(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.split('.').next().unwrap_or(name).to_owned()
}
