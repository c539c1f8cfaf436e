//! A text on its way: statements are carried out in order, queries are collected ([`super::jobs`] makes jobs of them).

use std::sync::Arc;

use sqlparser::ast;

use super::config::check_setting;
use super::prepared::{Answer, Prepared};
use super::relations::{Entry, Scope, declared_schema};
use super::time::event_time;
use super::{Engine, split, tables};
use crate::catalog::{Relation, RelationKind, TIME_OPTIONS, nearest};
use crate::error::Error;
use crate::expr::FunctionRegistry;
use crate::plan::{self, ExplainFormat, ExplainStage, LogicalPlan};
use crate::record::Schema;
use crate::sql::{
    Binder, CreateRelation, Diagnostic, InsertTarget, Located, Span, Statement, declared_names, emit_of,
    parse,
};

/// Why a text could not be prepared.
pub(super) enum Failure {
    Sql(Vec<Diagnostic>),
    Other(Error),
}

/// A bound query with its sink; the empty name is a bare SELECT.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) sink: String,
    pub(super) plan: LogicalPlan,
    pub(super) span: Span,
}

/// The work on one text.
pub(super) struct Script<'a> {
    pub(super) engine: &'a Engine,
    /// The name of the text, from which those of its jobs follow.
    pub(super) name: &'a str,
    pub(super) functions: Arc<FunctionRegistry>,
    text: &'a str,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) outputs: Vec<Output>,
    pub(super) answers: Vec<Answer>,
    /// Names whose declaration failed: that they are not there is no news.
    broken: Vec<String>,
}

/// Declares, binds and plans, and makes jobs of the queries.
pub(super) fn run(engine: &Engine, name: &str, text: &str, limit: Option<u64>) -> Result<Prepared, Failure> {
    let mut script = bind(engine, name, text)?;
    if let Some(count) = limit {
        let limited = |o: Output| match o.sink.is_empty() {
            true => {
                let plan = LogicalPlan::Limit { input: Box::new(o.plan), count: Some(count), offset: 0 };
                Output { plan, ..o }
            }
            false => o,
        };
        script.outputs = std::mem::take(&mut script.outputs).into_iter().map(limited).collect();
    }
    script.prepare()
}

/// The plan of a text's queries.
pub(super) fn explain(
    engine: &Engine,
    name: &str,
    text: &str,
    stages: &[ExplainStage],
    format: ExplainFormat,
) -> Result<String, Failure> {
    let mut script = bind(engine, name, text)?;
    let outputs = std::mem::take(&mut script.outputs);
    Ok(script.explained(outputs, stages, format))
}

fn bind<'a>(engine: &'a Engine, name: &'a str, text: &'a str) -> Result<Script<'a>, Failure> {
    let mut script = Script {
        engine,
        name,
        functions: engine.functions(),
        text,
        diagnostics: Vec::new(),
        outputs: Vec::new(),
        answers: Vec::new(),
        broken: Vec::new(),
    };
    engine.relations.lock().splits.clear();
    for parsed in parse(text) {
        match parsed {
            Ok(statement) => script.statement(&statement),
            Err(d) => {
                let names = declared_names(text)
                    .into_iter()
                    .filter(|(_, at)| at.start <= d.span.start && d.span.start <= at.end);
                script.broken.extend(names.map(|(name, _)| name));
                script.diagnostics.push(d);
            }
        }
    }
    let outputs = std::mem::take(&mut script.outputs);
    script.outputs = script.with_first_parts(outputs);
    if !script.diagnostics.is_empty() {
        return Err(Failure::Sql(script.diagnostics));
    }
    Ok(script)
}

impl Script<'_> {
    pub(super) fn error(&mut self, message: impl Into<String>, span: Span) {
        self.diagnostics.push(Diagnostic::new(message, span));
    }

    pub(super) fn statement(&mut self, statement: &Located<Statement>) {
        let span = statement.span;
        match &statement.node {
            Statement::Create(create) => self.create(create, span),
            Statement::CreateView { name, or_replace, query } => {
                self.create_view(name, *or_replace, query, span)
            }
            Statement::Insert { target, columns, query } => self.insert(target, columns, query, span),
            Statement::Select(query) => {
                if let Some(plan) = self.bind(query, span) {
                    self.output(String::new(), plan, span);
                }
            }
            Statement::Explain { analyze, statement } => self.explain(*analyze, statement, span),
            Statement::Show(what) => self.show(what, span),
            Statement::Describe(name) => self.describe(name, span),
            Statement::DescribeFile(path) => self.describe_file(path, span),
            Statement::Drop { name, if_exists } => {
                if !self.engine.relations.lock().remove(name) && !if_exists {
                    self.unknown_relation(name, span);
                }
            }
            Statement::Set { name, value } => match check_setting(name, value) {
                Ok(()) => self.engine.settings.lock().set(name, value),
                Err(e) => self.error(e, span),
            },
        }
    }

    pub(super) fn unknown_relation(&mut self, name: &str, span: Span) {
        if self.is_broken(name) {
            return;
        }
        let relations = self.engine.relations.lock();
        let near = nearest(name, relations.names().map(|(n, _)| n)).join(" or ");
        drop(relations);
        let mut d = Diagnostic::new(format!("there is no relation '{name}'"), self.place_of(name, span));
        if !near.is_empty() {
            d = d.with_hint(format!("did you mean {near}?"));
        }
        self.diagnostics.push(d);
    }

    /// Where `name` stands within a statement; the statement itself if it can't be told.
    fn place_of(&self, name: &str, within: Span) -> Span {
        match self.text.get(within.start..within.end).and_then(|s| s.find(name)) {
            Some(at) => Span { start: within.start + at, end: within.start + at + name.len() },
            None => within,
        }
    }

    fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|b| b.eq_ignore_ascii_case(name))
    }

    /// Takes the errors of a query, but for the absence of what could not be declared.
    fn take_errors(&mut self, errors: Vec<Diagnostic>) {
        for d in errors {
            let named = self.text.get(d.span.start..d.span.end).unwrap_or("").trim_matches('"');
            let follows = d.message.starts_with("there is no stream") && self.is_broken(named);
            // A file that can't be opened is told once, not for each query that reads it.
            let told = d.message.starts_with("can't open")
                && self.diagnostics.iter().any(|o| o.message == d.message);
            if !follows && !told {
                self.diagnostics.push(d);
            }
        }
    }

    fn bind(&mut self, query: &ast::Query, _span: Span) -> Option<LogicalPlan> {
        let scope = Scope(&self.engine.relations);
        match Binder::new(&scope, &self.functions).bind_query(query, self.text) {
            Ok(plan) => Some(plan),
            Err(errors) => {
                self.take_errors(errors);
                None
            }
        }
    }

    /// A query with its sink; `emit_every` and `state_ttl` count for what comes behind them.
    fn output(&mut self, sink: String, plan: LogicalPlan, span: Span) {
        let each =
            self.engine.settings.lock().get("emit_every").is_some_and(|e| e.eq_ignore_ascii_case("record"));
        let plan = if each { plan::every_change(plan) } else { plan };
        let plan = match super::config::state_ttl(&self.engine.settings.lock()) {
            Some(micros) => plan::with_ttl(plan, micros),
            None => plan,
        };
        self.outputs.push(Output { sink, plan, span });
    }

    /// Puts the first parts of queries that REPARTITION BY splits before their second parts.
    pub(super) fn with_first_parts(&mut self, mut outputs: Vec<Output>) -> Vec<Output> {
        let plans: Vec<_> = outputs.iter().map(|o| &o.plan).collect();
        let span = |i: usize| outputs.get(i).map_or(Span::default(), |o| o.span);
        match split::first_parts(&mut self.engine.relations.lock(), &plans) {
            Ok(parts) => {
                let parts: Vec<_> = parts.into_iter().map(|p| (span(p.before), p)).collect();
                for (span, part) in parts.into_iter().rev() {
                    outputs.insert(part.before, Output { sink: part.sink, plan: part.plan, span });
                }
            }
            Err((i, message)) => {
                let hint =
                    "select it under a name in a subquery before it: FROM (SELECT *, _offset AS o FROM …)";
                self.diagnostics.push(Diagnostic::new(message, span(i)).with_hint(hint));
            }
        }
        outputs
    }

    fn create(&mut self, create: &CreateRelation, span: Span) {
        let relation = &create.relation;
        if !self.may_create(&relation.name, create.if_not_exists, span) {
            return;
        }
        if let Some(query) = create.query.as_deref().filter(|_| tables::is_materialized(relation)) {
            return self.create_table(relation, query, span);
        }
        if let Some(what) = unsupported(relation) {
            self.broken.push(relation.name.clone());
            return self.error(format!("{what} is not supported yet"), span);
        }
        let checked = {
            let relations = self.engine.relations.lock();
            let checked = relations.connectors.check(&relation.options, TIME_OPTIONS);
            // Whether input ends is asked where it is read; what is wrong is wrong either way.
            checked.and_then(|_| event_time(relation.watermark.as_ref(), &relation.options, true))
        };
        if let Err(e) = checked {
            let at = self.place_of(&e.name, span);
            self.broken.push(relation.name.clone());
            return self.error(e.message, at);
        }
        if !self.check_watermark(relation, span) {
            self.broken.push(relation.name.clone());
            return;
        }
        let entry = Entry::Declared { relation: Arc::new(relation.clone()), source: Arc::default() };
        self.engine.relations.lock().insert(&relation.name, entry);
        if let Some(query) = &create.query {
            self.insert(&relation.name, &[], query, span);
        }
    }

    /// Column and expression of WATERMARK FOR, where the columns are declared; else they are checked where the stream is read.
    fn check_watermark(&mut self, relation: &Relation, span: Span) -> bool {
        let Some(def) = relation.watermark.as_ref().filter(|_| !relation.columns.is_empty()) else {
            return true;
        };
        let scope = Scope(&self.engine.relations);
        let binder = Binder::new(&scope, &self.functions);
        let errors = binder.check_watermark(def, &declared_schema(relation), self.text, span).err();
        let good = errors.is_none();
        self.diagnostics.extend(errors.into_iter().flatten());
        good
    }

    /// CREATE TABLE … AS SELECT without a connector.
    fn create_table(&mut self, relation: &Relation, query: &ast::Query, span: Span) {
        let Some(plan) = self.bind(query, span) else {
            self.broken.push(relation.name.clone());
            return;
        };
        match tables::materialized(relation, &plan) {
            Ok(table) => {
                self.engine.relations.lock().insert(&relation.name, Entry::Table(table));
                let plan = if emit_of(query).is_none() { plan::with_changes(plan) } else { plan };
                self.output(relation.name.clone(), plan, span);
            }
            Err(message) => {
                self.broken.push(relation.name.clone());
                let at = self.place_of(&relation.name, span);
                let hint = "write GROUP BY and select its columns, or name the key: CREATE TABLE t (PRIMARY KEY (k)) AS …";
                self.diagnostics.push(Diagnostic::new(message, at).with_hint(hint));
            }
        }
    }

    fn may_create(&mut self, name: &str, if_not_exists: bool, span: Span) -> bool {
        if self.engine.relations.lock().find(name).is_none() {
            return true;
        }
        if !if_not_exists {
            let at = self.place_of(name, span);
            let d = Diagnostic::new(format!("there is already a relation '{name}'"), at);
            self.diagnostics.push(d.with_hint("DROP it first, or write IF NOT EXISTS"));
        }
        false
    }

    fn create_view(&mut self, name: &str, or_replace: bool, query: &ast::Query, span: Span) {
        let is_view = matches!(self.engine.relations.lock().find(name), Some((_, Entry::View { .. })));
        let replaces = or_replace && is_view;
        if !replaces && !self.may_create(name, false, span) {
            return;
        }
        // Bound once for its errors; each use binds it again.
        let scope = Scope(&self.engine.relations);
        let checked = Binder::new(&scope, &self.functions).check_view(query, self.text);
        if let Err(errors) = checked {
            self.take_errors(errors);
            self.broken.push(name.to_owned());
        } else {
            let entry = Entry::View { query: Arc::new(query.clone()), text: self.text.into() };
            self.engine.relations.lock().insert(name, entry);
        }
    }

    fn insert(&mut self, target: &str, columns: &[String], query: &ast::Query, span: Span) {
        let (name, schema) = {
            let relations = self.engine.relations.lock();
            match relations.find(target) {
                None => {
                    drop(relations);
                    return self.unknown_relation(target, span);
                }
                Some((_, Entry::View { .. } | Entry::Source(..) | Entry::File { .. })) => {
                    drop(relations);
                    let at = self.place_of(target, span);
                    return self.error(format!("'{target}' can't be written"), at);
                }
                Some((key, _)) => {
                    let schema = relations.sink_schema(&key);
                    (key, schema)
                }
            }
        };
        let scope = Scope(&self.engine.relations);
        let target = InsertTarget { name: &name, schema: schema.as_ref(), columns, span };
        match Binder::new(&scope, &self.functions).bind_insert(query, self.text, &target) {
            Err(errors) => self.take_errors(errors),
            Ok(plan) => {
                let first = self.outputs.iter().find(|o| o.sink == name).map(|o| o.plan.schema().clone());
                if let Some(first) = first
                    && !same_types(&first, plan.schema())
                {
                    let message =
                        format!("'{name}' gets columns of other types from an INSERT before this one");
                    return self.error(message, span);
                }
                let changes = tables::tells_changes(&self.engine.relations.lock(), &name);
                let plan = match changes && emit_of(query).is_none() {
                    true => plan::with_changes(plan),
                    false => plan,
                };
                self.output(name, plan, span);
            }
        }
    }
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    a.len() == b.len() && a.fields().iter().zip(b.fields()).all(|(x, y)| x.data_type == y.data_type)
}

/// What of a declaration the engine can't do yet.
fn unsupported(relation: &Relation) -> Option<&'static str> {
    if relation.kind == RelationKind::Table || !relation.primary_key.is_empty() {
        return Some("a table with a PRIMARY KEY");
    }
    let has_connector = relation.options.get("connector").is_some() || relation.options.get("path").is_some();
    (!has_connector).then_some("an in-process stream (CREATE STREAM without a connector)")
}
