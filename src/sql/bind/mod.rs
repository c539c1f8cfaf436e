//! Names → positions: a parsed query becomes a logical plan over typed expressions.
//!
//! Every field of the syntax tree is taken apart by name, so that nothing that a user wrote is dropped in silence: what is not
//! supported is an error that says so. An error does not end the work: the other items of a SELECT, its WHERE
//! and the other parts of a UNION are bound too, and all errors are returned together.

mod aggregate;
mod calls;
mod combine;
mod emission;
mod expr;
mod extent;
mod frame;
mod from;
mod function;
mod group;
mod insert;
mod literal;
mod names;
mod order;
mod over;
mod query;
mod refuse;
mod repartition;
mod scope;
mod select;
mod sets;
mod source;
mod special;
#[cfg(test)]
mod tests;
mod unnest;
mod watermark;
mod window;
mod window_group;
mod window_table;

use std::sync::Arc;

use sqlparser::ast::{self, Ident, Spanned};

use super::resolve::{BindErrors, InsertTarget, Resolver};
use super::{Diagnostic, Span};
use crate::catalog::{WatermarkDef, nearest};
use crate::expr::FunctionRegistry;
use crate::expr::typing::TypeError;
use crate::plan::{LogicalPlan, OverSpec};
use crate::record::Schema;
use source::Source;

/// Binds the queries of one statement after the other.
#[derive(Clone, Copy)]
pub struct Binder<'a> {
    resolver: &'a dyn Resolver,
    functions: &'a FunctionRegistry,
}

impl std::fmt::Debug for Binder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Binder")
    }
}

impl<'a> Binder<'a> {
    /// A binder that finds relations through `resolver`.
    pub fn new(resolver: &'a dyn Resolver, functions: &'a FunctionRegistry) -> Self {
        Self { resolver, functions }
    }

    /// Binds a query. `text` is the text that the query was parsed from.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn bind_query(&self, query: &ast::Query, text: &str) -> Result<LogicalPlan, BindErrors> {
        let mut session = Session::new(*self, text, Vec::new());
        let bound = session.query(query);
        let bound = bound.and_then(|b| session.settled(b));
        session.finish(bound).map(|b| b.plan)
    }

    /// Binds the query of a view for its errors. What makes a query of an endless input possible, such as a condition on row
    /// numbers, may stand in the queries that use it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check_view(&self, query: &ast::Query, text: &str) -> Result<(), BindErrors> {
        let mut session = Session::new(*self, text, Vec::new());
        let bound = session.query(query);
        session.finish(bound).map(|_| ())
    }

    /// Binds the query of an INSERT: its columns are given to the target's by position, with the casts that
    /// widen, and named like them.
    ///
    /// # Errors
    /// Everything that is wrong with it; a column that does not fit is named.
    pub fn bind_insert(
        &self,
        query: &ast::Query,
        text: &str,
        target: &InsertTarget<'_>,
    ) -> Result<LogicalPlan, BindErrors> {
        let mut session = Session::new(*self, text, Vec::new());
        session.here = target.span;
        let bound = session.query(query).and_then(|b| session.settled(b));
        let bound = bound.and_then(|b| session.insert(b, target));
        session.finish(bound).map(|b| b.plan)
    }
}

impl Binder<'_> {
    /// Whether WATERMARK FOR fits the columns of its stream. `text` is the text of the statement, `statement` its place.
    ///
    /// # Errors
    /// What is wrong with column or expression, at its place.
    pub fn check_watermark(
        &self,
        def: &WatermarkDef,
        schema: &Arc<Schema>,
        text: &str,
        statement: Span,
    ) -> Result<(), BindErrors> {
        watermark::check(*self, def, schema, text, statement)
    }
}

/// The error has been put among the diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reported;

type Bind<T> = Result<T, Reported>;

/// A bound query, with the places of its columns for errors that appear later.
#[derive(Clone, Debug)]
struct Bound {
    plan: LogicalPlan,
    spans: Vec<Span>,
}

/// A common table expression in scope; `None` if it has errors.
#[derive(Clone, Debug)]
struct BoundCte {
    name: Ident,
    bound: Option<Bound>,
}

/// The work on one text.
struct Session<'a, 't> {
    binder: Binder<'a>,
    source: Source<'t>,
    errors: BindErrors,
    /// The smallest place known around what is bound now: for parts whose place the parser does not note.
    here: Span,
    ctes: Vec<BoundCte>,
    /// Names of the views that are being expanded, outermost first.
    views: Vec<String>,
    /// Calls OVER that can't be computed over their endless input, unless they become a top-N.
    endless: Vec<(OverSpec, Diagnostic)>,
    /// Parts that views, WITH clauses, aliases and `*` have added so far.
    nodes: usize,
}

impl<'a, 't> Session<'a, 't> {
    fn new(binder: Binder<'a>, text: &'t str, views: Vec<String>) -> Self {
        let source = Source::new(text);
        Self {
            binder,
            source,
            errors: Vec::new(),
            here: Span::default(),
            ctes: Vec::new(),
            views,
            endless: Vec::new(),
            nodes: 0,
        }
    }

    fn finish<T>(self, result: Bind<T>) -> Result<T, BindErrors> {
        match result {
            Ok(value) if self.errors.is_empty() => Ok(value),
            Ok(_) => Err(self.errors),
            Err(Reported) if self.errors.is_empty() => {
                Err(vec![Diagnostic::new("the query can't be bound", self.here)])
            }
            Err(Reported) => Err(self.errors),
        }
    }

    /// Where a part of the tree stands.
    fn place(&self, part: &impl Spanned) -> Span {
        self.source.span(part.span()).unwrap_or(self.here)
    }

    fn ident_place(&self, ident: &Ident) -> Span {
        self.source.span(ident.span).unwrap_or(self.here)
    }

    fn report(&mut self, error: Diagnostic) -> Reported {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
        Reported
    }

    fn fail<T>(&mut self, message: impl Into<String>, at: Span) -> Bind<T> {
        Err(self.report(Diagnostic::new(message, at)))
    }

    /// `what` is not supported yet.
    fn unsupported<T>(&mut self, what: &str, at: Span) -> Bind<T> {
        self.fail(format!("{what} is not supported yet"), at)
    }

    /// The same for a `what` in the plural.
    fn unsupported_all<T>(&mut self, what: &str, at: Span) -> Bind<T> {
        self.fail(format!("{what} are not supported yet"), at)
    }

    fn typed<T>(&mut self, result: Result<T, TypeError>, at: Span) -> Bind<T> {
        result.map_err(|TypeError { message, hint }| self.report(Diagnostic { message, span: at, hint }))
    }

    /// Runs `work` with `here` set to a narrower place.
    fn within<T>(&mut self, at: Span, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.here, at);
        let result = work(self);
        self.here = outer;
        result
    }
}

/// `did you mean a or b?`, or else the names that there are, if they are few.
fn suggestion<'n>(name: &str, known: impl IntoIterator<Item = &'n str>, what: &str) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let near = nearest(name, known.iter().copied());
    if !near.is_empty() {
        return Some(format!("did you mean {}?", near.join(" or ")));
    }
    match known.len() {
        0 => None,
        1..=12 => Some(format!("{what}: {}", known.join(", "))),
        n => Some(format!(
            "{what}: {}, … ({n} in all)",
            known.iter().take(8).copied().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// All of them, or `Reported` if one is; the others have been bound too.
fn all<T>(results: impl IntoIterator<Item = Bind<T>>) -> Bind<Vec<T>> {
    let mut good = Vec::new();
    let mut failed = None;
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(reported) => failed = Some(reported),
        }
    }
    failed.map_or(Ok(good), Err)
}
