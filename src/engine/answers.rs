//! EXPLAIN, SHOW and DESCRIBE: statements that are answered with a table.

use super::config::job_config;
use super::jobs::in_mode;
use super::prepared::Answer;
use super::relations::{Entry, Scope, declared_schema};
use super::script::{Output, Script};
use crate::catalog::{Options, RelationKind, SETTINGS};
use crate::plan::{self, ExplainFormat, ExplainNotes, ExplainStage};
use crate::record::{FieldValue, Schema};
use crate::sql::{
    Binder, CreateRelation, Located, ResolveError, ResolvedRelation, Resolver, Span, Statement,
};

impl Script<'_> {
    pub(super) fn explain(&mut self, analyze: bool, inner: &Located<Statement>, span: Span) {
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

    pub(super) fn explained(
        &self,
        outputs: Vec<Output>,
        stages: &[ExplainStage],
        format: ExplainFormat,
    ) -> String {
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

    pub(super) fn show(&mut self, what: &str, span: Span) {
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

    pub(super) fn describe(&mut self, name: &str, span: Span) {
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

    pub(super) fn describe_file(&mut self, path: &str, span: Span) {
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
}
