//! A text on its way: statements are carried out in order, queries are collected and become jobs.

use std::sync::Arc;

use sqlparser::ast;

use super::config::{check_setting, job_config, on_error};
use super::prepared::{Answer, PendingSink, Prepared};
use super::relations::{Entry, Scope, declared_schema};
use super::time::event_time;
use super::{Engine, places, prepared, split, tables};
use crate::catalog::{Options, Relation, RelationKind, SETTINGS, TIME_OPTIONS, nearest};
use crate::connector::SinkRequest;
use crate::connector::file::read_and_written;
use crate::connector::memory::MemorySource;
use crate::error::Error;
use crate::expr::FunctionRegistry;
use crate::io::{Boundedness, DataSink, DataSource, Instance, IoErrorKind};
use crate::job::{JobConfig, Mode, SinkPart, SourcePart, StateBackend};
use crate::plan::{self, ExplainFormat, ExplainNotes, ExplainStage, JobPlan, LogicalPlan, lower, optimize};
use crate::record::{FieldValue, Schema, StreamRecord};
use crate::sql::{
    Binder, CreateRelation, Diagnostic, InsertTarget, Located, ResolveError, ResolvedRelation, Resolver,
    Span, Statement, declared_names, emit_of, parse,
};

/// Why a text could not be prepared.
pub(super) enum Failure {
    Sql(Vec<Diagnostic>),
    Other(Error),
}

/// A bound query with its sink; the empty name is a bare SELECT.
#[derive(Clone)]
struct Output {
    sink: String,
    plan: LogicalPlan,
    span: Span,
}

/// The work on one text.
struct Script<'a> {
    engine: &'a Engine,
    /// The name of the text, from which those of its jobs follow.
    name: &'a str,
    functions: Arc<FunctionRegistry>,
    text: &'a str,
    diagnostics: Vec<Diagnostic>,
    outputs: Vec<Output>,
    answers: Vec<Answer>,
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
    fn error(&mut self, message: impl Into<String>, span: Span) {
        self.diagnostics.push(Diagnostic::new(message, span));
    }

    fn statement(&mut self, statement: &Located<Statement>) {
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

    fn unknown_relation(&mut self, name: &str, span: Span) {
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
    fn with_first_parts(&mut self, mut outputs: Vec<Output>) -> Vec<Output> {
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

    fn explain(&mut self, analyze: bool, inner: &Located<Statement>, span: Span) {
        if analyze {
            return self.error("EXPLAIN ANALYZE is not supported yet", span);
        }
        let before = self.outputs.len();
        let diagnostics = self.diagnostics.len();
        match &inner.node {
            Statement::Select(_)
            | Statement::Insert { .. }
            | Statement::Create(CreateRelation { query: Some(_), .. }) => {
                self.statement(inner);
            }
            _ => return self.error("EXPLAIN takes a SELECT, an INSERT or a CREATE … AS", span),
        }
        let outputs = self.outputs.split_off(before);
        let outputs = self.with_first_parts(outputs);
        if self.diagnostics.len() == diagnostics {
            let text = self.explained(outputs, &ExplainStage::ALL, ExplainFormat::Text);
            self.answers.push(Answer::text("plan", &text));
        }
    }

    fn explained(&self, outputs: Vec<Output>, stages: &[ExplainStage], format: ExplainFormat) -> String {
        let settings = self.engine.settings.lock().clone();
        let relations = self.engine.relations.lock();
        let mut notes = ExplainNotes {
            on_disk: settings.get("state_backend") == Some("disk"),
            ..ExplainNotes::default()
        };
        for (job, outputs) in self.named_groups(&settings, outputs.clone()) {
            let config = job_config(&settings, &job);
            // A sink that can't be made is an error where the job is prepared.
            let made = outputs.into_iter().filter_map(|o| Some((relations.sink(&o.sink, &[]).ok()?, o.sink)));
            notes.sinks.extend(made.map(|(sink, name)| (name, in_mode(&config, sink).describe())));
        }
        let outputs: Vec<_> = outputs.into_iter().map(|o| (o.sink, o.plan)).collect();
        plan::explain(&outputs, stages, format, &notes)
    }

    fn show(&mut self, what: &str, span: Span) {
        let answer = match what {
            "SETTINGS" => {
                let settings = self.engine.settings.lock();
                let row = |s: &crate::catalog::OptionSpec| {
                    vec![
                        s.name.into(),
                        settings.get(s.name).unwrap_or(s.default).into(),
                        s.default.into(),
                        s.doc.into(),
                    ]
                };
                Answer::table(&["setting", "value", "default", "meaning"], SETTINGS.iter().map(row))
            }
            "FUNCTIONS" => Answer::table(
                &["function", "family", "meaning"],
                self.functions
                    .all()
                    .iter()
                    .map(|f| (f.signature, f.family, f.doc))
                    .chain(self.functions.all_aggregates().iter().map(|f| (f.signature, "aggregate", f.doc)))
                    .map(|(signature, family, doc)| vec![signature.into(), family.into(), doc.into()]),
            ),
            "CONNECTORS" => {
                let connectors = self.engine.connectors();
                let row = |c: &crate::connector::ConnectorSpec| {
                    let can = match (c.source.is_some(), c.sink.is_some()) {
                        (true, true) => "read, write",
                        (true, false) => "read",
                        _ => "write",
                    };
                    vec![c.name.into(), can.into(), c.doc.into()]
                };
                Answer::table(&["connector", "can", "meaning"], connectors.iter().map(row))
            }
            "STREAMS" | "TABLES" | "VIEWS" => self.show_relations(what),
            "JOBS" => {
                let names = self.outputs.iter().map(|o| {
                    vec![if o.sink.is_empty() { "(select)".into() } else { o.sink.as_str().into() }]
                });
                Answer::table(&["output"], names)
            }
            other => return self.error(format!("SHOW {other} is not supported"), span),
        };
        self.answers.push(answer);
    }

    fn show_relations(&self, what: &str) -> Answer {
        let relations = self.engine.relations.lock();
        let rows: Vec<Vec<FieldValue>> = relations
            .names()
            .filter_map(|(name, entry)| {
                let (kind, connector) = match entry {
                    Entry::Declared { relation, .. } => (
                        if relation.kind == RelationKind::Table { "TABLES" } else { "STREAMS" },
                        relation.options.get("connector").unwrap_or("file").to_owned(),
                    ),
                    Entry::Table(_) => ("TABLES", "materialized".to_owned()),
                    Entry::Source(..) => ("STREAMS", "program (source)".to_owned()),
                    Entry::Sink(..) => ("STREAMS", "program (sink)".to_owned()),
                    Entry::View { .. } => ("VIEWS", String::new()),
                    Entry::File { .. } => return None,
                };
                (kind == what).then(|| vec![name.into(), connector.into()])
            })
            .collect();
        Answer::table(&["name", "connector"], rows)
    }

    fn describe(&mut self, name: &str, span: Span) {
        let entry = self.engine.relations.lock().find(name).map(|(k, e)| (k, e.clone()));
        let schema = match entry {
            None => return self.unknown_relation(name, span),
            Some((_, Entry::View { query, text })) => {
                let scope = Scope(&self.engine.relations);
                let bound = Binder::new(&scope, &self.functions).bind_query(&query, &text);
                match bound {
                    Ok(plan) => plan.schema().clone(),
                    Err(_) => {
                        return self.error(format!("the query of view '{name}' is not valid any more"), span);
                    }
                }
            }
            Some((_, Entry::Declared { relation, .. })) if !relation.columns.is_empty() => {
                declared_schema(&relation)
            }
            Some((_, Entry::Table(table))) => table.schema().clone(),
            Some((_, Entry::Sink(_, schema))) => schema.unwrap_or_else(|| Schema::new([])),
            Some((key, _)) => {
                let source = self.engine.relations.lock().source(&key);
                match source {
                    Ok(source) => source.schema(),
                    Err(e) => return self.error(e.to_string(), span),
                }
            }
        };
        self.answer_columns(&schema);
    }

    fn describe_file(&mut self, path: &str, span: Span) {
        match Scope(&self.engine.relations).file(path, None, Options::default()) {
            Ok(ResolvedRelation::Source { schema, .. }) => self.answer_columns(&schema),
            Err(ResolveError::Failed { message, .. }) => self.error(message, span),
            Ok(ResolvedRelation::View { .. }) | Err(ResolveError::NotFound { .. }) => {
                self.error(format!("there is no file '{path}'"), span);
            }
        }
    }

    fn answer_columns(&mut self, schema: &Schema) {
        let rows = schema.fields().iter().map(|f| {
            vec![
                f.name.as_str().into(),
                f.data_type.to_string().into(),
                (if f.nullable { "yes" } else { "no" }).into(),
            ]
        });
        self.answers.push(Answer::table(&["column", "type", "null"], rows.collect::<Vec<_>>()));
    }

    /// The jobs that queries make, with their names.
    fn named_groups(&self, settings: &Options, outputs: Vec<Output>) -> Vec<(String, Vec<Output>)> {
        let stem = std::path::Path::new(self.name).file_stem().and_then(|s| s.to_str()).unwrap_or("query");
        let base = settings.get("job_name").filter(|n| !n.is_empty()).unwrap_or(stem);
        let groups = group(outputs);
        let several = groups.len() > 1;
        let job = |i: usize| if several { format!("{base}-{}", i + 1) } else { base.to_owned() };
        groups.into_iter().enumerate().map(|(i, outputs)| (job(i), outputs)).collect()
    }

    /// Queries → jobs.
    fn prepare(mut self) -> Result<Prepared, Failure> {
        let settings = self.engine.settings.lock().clone();
        let ends: Vec<_> = self.outputs.iter().map(|o| (o.sink.as_str(), &o.plan, o.span)).collect();
        let mut clashes = places::clashes(&self.engine.relations.lock(), &ends, settings.get("dlq"));
        for (_, plan, span) in &ends {
            if let Some(what) = plan::misreads_changes(plan) {
                let message = format!("{what} over rows that change is not supported yet");
                let hint = "GROUP BY over unbounded input gives rows that change";
                clashes.push(Diagnostic::new(message, *span).with_hint(hint));
            }
        }
        clashes.extend(tables::read_and_written(&self.engine.relations.lock(), &ends));
        if !clashes.is_empty() {
            return Err(Failure::Sql(clashes));
        }
        let outputs = std::mem::take(&mut self.outputs);
        let mut jobs = Vec::new();
        for (job, outputs) in self.named_groups(&settings, outputs) {
            let span = outputs.first().map_or(Span::default(), |o| o.span);
            let plans = outputs.into_iter().map(|o| (o.sink, optimize(o.plan))).collect();
            let config = job_config(&settings, &job);
            let job = assemble(self.engine, lower(plans), config, &settings, span)?;
            refuse_shared_letters(&jobs, &job, span)?;
            jobs.push(job);
        }
        Ok(Prepared::new(jobs, self.answers))
    }
}

/// Two jobs that keep state can't share a dead letter file: on resume each would cut off the other's letters.
fn refuse_shared_letters(
    jobs: &[prepared::PendingJob],
    job: &prepared::PendingJob,
    span: Span,
) -> Result<(), Failure> {
    let files =
        |j: &prepared::PendingJob| j.dead_letters.as_ref().map(|d| d.sink.files()).unwrap_or_default();
    let mine = files(job);
    let other = jobs.iter().find(|j| files(j).iter().any(|f| mine.contains(f)));
    match other.filter(|_| job.config.state.is_some()) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "jobs {} and {} keep state and would share a dead letter file; give each source its own dlq",
                other.config.name, job.config.name
            );
            Err(Failure::Sql(vec![Diagnostic::new(message, span)]))
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

/// Statements that share a source or a sink form one job, in order of their first statement.
fn group(outputs: Vec<Output>) -> Vec<Vec<Output>> {
    let mut groups: Vec<(Vec<String>, Vec<Output>)> = Vec::new();
    for output in outputs {
        let mut names = Vec::new();
        scans(&output.plan, &mut names);
        if !output.sink.is_empty() {
            names.push(format!("→{}", output.sink));
        }
        let mut members = vec![output];
        let mut at = None;
        let mut i = 0;
        while i < groups.len() {
            if groups[i].0.iter().any(|n| names.contains(n)) {
                match at {
                    None => {
                        at = Some(i);
                        i += 1;
                    }
                    Some(first) => {
                        let (more_names, more): (Vec<String>, Vec<Output>) = groups.remove(i);
                        groups[first].0.extend(more_names);
                        groups[first].1.extend(more);
                    }
                }
            } else {
                i += 1;
            }
        }
        match at {
            Some(first) => {
                groups[first].0.append(&mut names);
                groups[first].1.append(&mut members);
            }
            None => groups.push((names, members)),
        }
    }
    groups.into_iter().map(|(_, outputs)| outputs).collect()
}

pub(super) fn scans(plan: &LogicalPlan, names: &mut Vec<String>) {
    if let LogicalPlan::Scan { relation, .. } = plan {
        names.push(relation.clone());
    }
    plan.inputs().into_iter().for_each(|p| scans(p, names));
}

/// Finds the sources and sinks of a plan.
fn assemble(
    engine: &Engine,
    mut plan: JobPlan,
    mut config: JobConfig,
    settings: &Options,
    span: Span,
) -> Result<prepared::PendingJob, Failure> {
    let relations = engine.relations.lock();
    let mut dlq: Option<String> = settings.get("dlq").filter(|d| !d.is_empty()).map(str::to_owned);
    let mut sources = Vec::new();
    for (i, source) in plan.sources.iter().enumerate() {
        let options = relations.options(&source.relation);
        if let Some(target) = options.get("dlq") {
            if dlq.as_deref().is_some_and(|d| d != target) {
                let message = format!(
                    "a job has one dead letter queue, but both '{}' and '{target}' are asked for",
                    dlq.unwrap_or_default()
                );
                return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
            }
            dlq = Some(target.to_owned());
        }
        tighten(&mut config, &options);
        if relations.table(&source.relation).is_some() {
            // A pull query is answered from this process's memory: there is nothing to go on from.
            (config.state, config.mode) = (None, Mode::Simple);
        }
        let found = source_of(&relations, &plan, i).map_err(|e| Failure::Other(e.into()))?;
        sources.push(SourcePart {
            name: source.relation.clone(),
            source: instance_part(&config, &source.relation, found, span)?,
            on_error: options.get("on_error").map(on_error),
        });
    }
    check_bounds(&plan, &sources, &config, span)?;
    let changes: Vec<bool> = (0..plan.sinks.len()).map(|k| plan.changes(k)).collect();
    let mut sinks = Vec::new();
    let sets: Vec<Vec<&'static str>> = (0..plan.sinks.len()).map(|k| plan.system_set(k)).collect();
    for ((sink, changes), sets) in plan.sinks.iter_mut().zip(changes).zip(sets) {
        if changes && !tables::takes_changes(&relations.options(&sink.relation)) {
            let message = format!("'{}' is append-only, but rows of this query change", sink.relation);
            let hint = "add changelog = 'upsert' or format = 'debezium-json' to its WITH (…), or let the query give final rows only: a \
                        window and EMIT FINAL, late rows dropped";
            return Err(Failure::Sql(vec![Diagnostic::new(message, span).with_hint(hint)]));
        }
        if let Some(declared) = relations.sink_schema(&sink.relation) {
            // Same columns as the query's, which was cast to them; NOT NULL is declared here only.
            sink.schema = declared;
        }
        if sink.relation.is_empty() {
            sinks.push(PendingSink::Rows);
            continue;
        }
        let made = relations.sink(&sink.relation, &sets).map_err(|e| match e.kind() {
            IoErrorKind::Config => Failure::Sql(vec![Diagnostic::new(e.to_string(), span)]),
            _ => Failure::Other(e.into()),
        })?;
        let made = in_mode(&config, made);
        let part = SinkPart { name: sink.relation.clone(), sink: made };
        refuse_own_input(&sources, &part, span)?;
        sinks.push(PendingSink::Ready(part));
    }
    let dead_letters = match dlq {
        None => None,
        Some(target) => {
            let mut part = dead_letter_sink(&relations, &target).map_err(Failure::Other)?;
            part.sink = in_mode(&config, part.sink);
            refuse_own_input(&sources, &part, span)?;
            Some(part)
        }
    };
    Ok(prepared::PendingJob { config, plan, sources, sinks, dead_letters })
}

/// A sink as the job's mode wants it: files become directories of parts in transactional jobs.
fn in_mode(config: &JobConfig, sink: Arc<dyn DataSink>) -> Arc<dyn DataSink> {
    match config.mode {
        Mode::Simple => sink.named(&config.name).unwrap_or(sink),
        Mode::Transactional => sink.staged(&config.name, config.instance.as_deref()).unwrap_or(sink),
    }
}

/// A source as an instance of the job reads it, where several run it.
fn instance_part(
    config: &JobConfig,
    name: &str,
    source: Arc<dyn DataSource>,
    span: Span,
) -> Result<Arc<dyn DataSource>, Failure> {
    if let Some(of) = config.instances.filter(|_| config.slice().is_none()) {
        let message = format!("with --instances {of}, --instance is a number from 0 to {}", of - 1);
        return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
    }
    let Some(instance) = &config.instance else { return Ok(source) };
    let instance = Instance {
        job: config.name.clone(),
        name: instance.clone(),
        transactional: config.mode == Mode::Transactional,
        slice: config.slice(),
    };
    source.shared(name, &instance).map_err(|e| {
        Failure::Sql(vec![Diagnostic::new(
            format!("source '{name}' of instance '{}': {e}", instance.name),
            span,
        )])
    })
}

/// Refuses state that can grow for ever, or warns of it.
fn check_bounds(
    plan: &JobPlan,
    sources: &[SourcePart],
    config: &JobConfig,
    span: Span,
) -> Result<(), Failure> {
    let endless: Vec<bool> =
        sources.iter().map(|s| s.source.boundedness() == Boundedness::Unbounded).collect();
    for (operator, what) in plan.unbounded_state(&endless) {
        if config.require_bounded_state {
            let message = format!("the state of operator {operator} can grow for ever: it keeps {what}");
            let hint =
                "use a window (TUMBLE, HOP, SESSION), or allow it: SET require_bounded_state = 'false'";
            return Err(Failure::Sql(vec![Diagnostic::new(message, span).with_hint(hint)]));
        }
        let spills = config.state_backend == StateBackend::Disk
            && plan.nodes.iter().any(|n| n.id == operator && n.operator.spills());
        let end = if spills { "the disk may fill up" } else { "the job fails beyond state_max_bytes" };
        log::warn!(
            "job {}: the state of operator {operator} can grow for ever: it keeps {what}; {end}",
            config.name
        );
    }
    Ok(())
}

/// The error limits of a source count for its job: the strictest wins.
fn tighten(config: &mut JobConfig, options: &Options) {
    if let Some(max) = options.get("max_errors").and_then(|m| m.parse::<u64>().ok()) {
        config.max_errors = Some(config.max_errors.map_or(max, |m| m.min(max)));
    }
    if let Some(ratio) = options.get("max_error_ratio").and_then(|m| m.parse::<f64>().ok()) {
        config.max_error_ratio = Some(config.max_error_ratio.map_or(ratio, |r| r.min(ratio)));
    }
}

fn source_of(
    relations: &super::Relations,
    plan: &JobPlan,
    source: usize,
) -> Result<Arc<dyn DataSource>, crate::io::IoError> {
    let Some(spec) = plan.sources.get(source) else {
        return Err(crate::io::IoError::config("a plan reads a source that it does not have"));
    };
    if let Some(rows) = &spec.values {
        let record = |row: &Vec<FieldValue>| StreamRecord::with_values(spec.schema.clone(), row.clone());
        let rows = rows.iter().map(record).collect();
        return Ok(Arc::new(MemorySource::from_vec(spec.schema.clone(), rows)?));
    }
    match relations.table(&spec.relation) {
        Some(table) => Ok(Arc::new(tables::source(table, plan, source))),
        None => relations.source(&spec.relation),
    }
}

/// A file that the job reads must not be the one that it writes: opening the sink would empty it.
fn refuse_own_input(sources: &[SourcePart], sink: &SinkPart, span: Span) -> Result<(), Failure> {
    for source in sources {
        if let Some(file) = read_and_written(&*source.source, &*sink.sink) {
            let message =
                format!("'{}' would overwrite {}, which '{}' reads", sink.name, file.display(), source.name);
            return Err(Failure::Sql(vec![Diagnostic::new(message, span)]));
        }
    }
    Ok(())
}

/// Tells a sink that its records are dead letters: where it can, it writes their headers.
const LETTER: &str = "_letter";

fn dead_letter_sink(relations: &super::Relations, target: &str) -> Result<SinkPart, Error> {
    let sink = if relations.find(target).is_some() {
        relations.sink(target, &[LETTER])?
    } else if target.contains(['.', '/']) {
        let options =
            Options::new([("connector", "file"), ("path", target), ("mode", "append"), ("layout", "single")]);
        relations
            .connectors
            .check(&options, &[])
            .map_err(|e| Error::Config(format!("dlq = '{target}': {e}")))?;
        relations.connectors.sink(&SinkRequest { name: "dead letters", options: &options, sets: &[] })?
    } else {
        let near = nearest(target, relations.names().map(|(n, _)| n)).join(" or ");
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {near}?") };
        return Err(Error::Config(format!(
            "dlq = '{target}' is neither a declared stream nor a path such as 'bad.jsonl'{hint}"
        )));
    };
    Ok(SinkPart { name: "dead letters".into(), sink })
}
