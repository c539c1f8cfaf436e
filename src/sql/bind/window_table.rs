//! Window functions in FROM: `TUMBLE(t, ts, size)` and its kin, also as `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size))`.

use sqlparser::ast::{self, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments, Ident};

use super::from::Part;
use super::scope::{Names, Scope};
use super::window::{Form, FoundWindow, WINDOW_COLUMNS, as_function, window_fields, window_table};
use super::{Bind, Reported, Session};
use crate::catalog::Options;
use crate::expr::Expr;
use crate::record::CompactString;
use crate::sql::Diagnostic;
use crate::sql::parse::windows::PARTITION;

/// Arguments of a window function, in order.
#[derive(Default)]
struct Arguments<'e> {
    table: Option<&'e Ast>,
    /// Time and durations.
    rest: Vec<&'e Ast>,
    partition: &'e [FunctionArg],
}

impl Session<'_, '_> {
    /// The rows of the table with their windows.
    pub(super) fn window_function(
        &mut self,
        form: &'static Form,
        args: &[FunctionArg],
        alias: Option<&ast::TableAlias>,
    ) -> Bind<Part> {
        let at = self.here;
        let Arguments { table, rest, partition } = self.table_arguments(form, args)?;
        let Some(table) = table else {
            let error = Diagnostic::new("a window in FROM takes a table", at);
            return Err(self.report(error.with_hint(format!("write {}", form.signature("table, ")))));
        };
        let table_at = self.place(table);
        let Part { plan, name, fields } = self.within(table_at, |s| s.table_argument(table))?;
        let mut scope = Scope::default();
        scope.append(name.clone(), fields.clone());
        let (time, kind) = self.window_arguments(form, &rest, &scope, "table, ")?;
        let partition_by = self.partition_keys(partition, &scope)?;
        let found = FoundWindow { kind, time, grace: None, span: at };
        let (plan, spec) = self.time_window(plan, &scope, &found)?;
        let plan = window_table(plan, spec, partition_by);
        // Its own columns bear the names; those of a window further below give way.
        let mut fields = fields;
        let taken: Vec<CompactString> = fields.iter().map(|f| f.name.clone()).collect();
        for field in &mut fields {
            if WINDOW_COLUMNS.iter().any(|w| field.name.eq_ignore_ascii_case(w)) {
                let free = |n: &usize| !taken.contains(&compact_str::format_compact!("{}_{n}", field.name));
                let number = (1..).find(free).unwrap_or(1);
                field.name = compact_str::format_compact!("{}_{number}", field.name);
            }
        }
        fields.extend(window_fields());
        let Some(alias) = alias else { return Ok(Part { plan, name, fields }) };
        let fields = self.alias_columns(fields, alias)?;
        Ok(Part { plan, name: Some(alias.name.clone()), fields })
    }

    /// Arguments by position, or by the names that Flink gives them.
    fn table_arguments<'e>(&mut self, form: &Form, args: &'e [FunctionArg]) -> Bind<Arguments<'e>> {
        let mut found = Arguments::default();
        let mut named: Vec<(String, &'e Ast)> = Vec::new();
        let mut positional = Vec::new();
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => match as_function(e) {
                    Some(f) if f.name.to_string().trim_matches('"') == PARTITION => {
                        if let FunctionArguments::List(list) = &f.args {
                            found.partition = &list.args;
                        }
                    }
                    _ => positional.push(e),
                },
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), operator: _ }
                | FunctionArg::ExprNamed {
                    name: Ast::Identifier(name),
                    arg: FunctionArgExpr::Expr(e),
                    operator: _,
                } => named.push((name.value.to_ascii_lowercase(), e)),
                other => {
                    let message = format!("{} can't take '{other}'", form.signature("table, "));
                    return self.fail(message, self.here);
                }
            }
        }
        if named.is_empty() {
            let mut positional = positional.into_iter();
            found.table = positional.next();
            found.rest = positional.collect();
            return Ok(found);
        }
        let order = ["data", "timecol"].into_iter().chain(form.durations.iter().copied());
        let order: Vec<&str> = order.collect();
        if let Some((name, e)) = named.iter().find(|(n, _)| !order.contains(&n.as_str())) {
            let at = self.place(*e);
            let error =
                Diagnostic::new(format!("{} has no argument '{name}'", form.signature("table, ")), at);
            let names: Vec<String> = order.iter().map(|o| o.to_uppercase()).collect();
            return Err(self.report(error.with_hint(format!("its arguments are {}", names.join(", ")))));
        }
        let mut positional = positional.into_iter();
        for (i, wanted) in order.iter().enumerate() {
            let value =
                named.iter().find(|(n, _)| n == wanted).map(|(_, e)| *e).or_else(|| positional.next());
            match value {
                Some(value) if i == 0 => found.table = Some(value),
                value => found.rest.extend(value),
            }
        }
        Ok(found)
    }

    /// What the function reads: a relation, a file, a subquery, another window function.
    fn table_argument(&mut self, ast: &Ast) -> Bind<Part> {
        match ast {
            Ast::Nested(inner) => self.table_argument(inner),
            Ast::Identifier(ident) => self.relation(ident, None),
            Ast::Subquery(query) => {
                let bound = self.query(query)?;
                self.part(bound.plan, None, None)
            }
            Ast::Value(value) if matches!(value.value, ast::Value::SingleQuotedString(_)) => {
                let ast::Value::SingleQuotedString(path) = &value.value else { return Err(Reported) };
                let found = self.binder.resolver.file(path, None, Options::default());
                let ident = Ident::new(path);
                let plan = self.resolved(found, &ident)?;
                self.part(plan, Some(Ident::new(super::from::file_stem(path))), None)
            }
            Ast::Function(function) => {
                let ([ast::ObjectNamePart::Identifier(ident)], FunctionArguments::List(list)) =
                    (function.name.0.as_slice(), &function.args)
                else {
                    return self.fail("a table is expected here", self.here);
                };
                match Form::of(&ident.value) {
                    Some(form) => self.window_function(form, &list.args, None),
                    None => {
                        let args = ast::TableFunctionArgs { args: list.args.clone(), settings: None };
                        let plan = self.table_function(ident, &args)?;
                        self.part(plan, Some(ident.clone()), None)
                    }
                }
            }
            _ => self.fail("a table is expected here", self.here),
        }
    }

    /// The keys of sessions.
    fn partition_keys(&mut self, keys: &[FunctionArg], scope: &Scope) -> Bind<Vec<Expr>> {
        let bound = keys.iter().map(|key| {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(key)) = key else {
                return self.fail("PARTITION BY takes expressions", self.here);
            };
            let at = self.place(key);
            let key = self.expr(key, Names::of(scope))?;
            let comparable = crate::expr::typing::binary(crate::expr::BinaryOp::Eq, key.clone(), key.clone());
            self.typed(comparable, at)?;
            if crate::plan::walk::is_volatile(&key) {
                return self.fail("PARTITION BY can't take a value that changes with each evaluation", at);
            }
            Ok(key)
        });
        super::all(bound.collect::<Vec<_>>())
    }
}
