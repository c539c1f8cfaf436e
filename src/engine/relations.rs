//! What is declared and registered, and how the binder finds it.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use sqlparser::ast;

use super::time::event_time;
use crate::catalog::{OptionError, Options, Relation};
use crate::connector::table::{Table, TableSink, TableSource};
use crate::connector::{Connectors, SinkRequest, SourceRequest};
use crate::io::{Boundedness, DataSink, DataSource, IoError};
use crate::record::{Clock, Field, Schema};
use crate::sql::{EventTime, ResolveError, ResolvedRelation, Resolver, Split};

/// Standard input by name.
const STDIN: &str = "stdin";

/// One name.
#[derive(Clone)]
pub(super) enum Entry {
    /// CREATE STREAM.
    Declared { relation: Arc<Relation>, source: Arc<Mutex<Option<Arc<dyn DataSource>>>> },
    /// `FROM 'file'`.
    File { source: Arc<dyn DataSource>, options: Options },
    /// `register_source`, with its event time.
    Source(Arc<dyn DataSource>, Option<EventTime>),
    /// `register_sink`.
    Sink(Arc<dyn DataSink>, Option<Arc<Schema>>),
    /// CREATE TABLE … AS SELECT without a connector: rows that queries read while a job writes them.
    Table(Table),
    /// CREATE VIEW.
    View { query: Arc<ast::Query>, text: Arc<str> },
}

/// All names of an engine.
#[derive(Clone, Default)]
pub(super) struct Relations {
    by_name: HashMap<String, Entry>,
    order: Vec<String>,
    pub(super) connectors: Connectors,
    /// The first parts of queries of the text at hand that are split, by the relation that carries their rows.
    pub(super) splits: Vec<(String, Split)>,
}

impl Relations {
    pub(super) fn insert(&mut self, name: &str, entry: Entry) {
        if self.by_name.insert(name.to_owned(), entry).is_none() {
            self.order.push(name.to_owned());
        }
    }
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(key) = self.key(name, false) else { return false };
        self.order.retain(|n| *n != key);
        self.by_name.remove(&key).is_some()
    }
    /// Names in order of declaration, without files read by name.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.order
            .iter()
            .filter_map(|n| self.by_name.get(n).map(|e| (n.as_str(), e)))
            .filter(|(_, e)| !matches!(e, Entry::File { .. }))
    }
    fn key(&self, name: &str, quoted: bool) -> Option<String> {
        if self.by_name.contains_key(name) {
            return Some(name.to_owned());
        }
        if quoted {
            return None;
        }
        self.order.iter().find(|n| n.eq_ignore_ascii_case(name)).cloned()
    }
    /// The entry of a name: exact, else without case.
    pub(super) fn find(&self, name: &str) -> Option<(String, &Entry)> {
        let key = self.key(name, false)?;
        self.by_name.get(&key).map(|e| (key, e))
    }

    /// The source behind a name that the binder resolved.
    pub(super) fn source(&self, name: &str) -> Result<Arc<dyn DataSource>, IoError> {
        match self.by_name.get(name) {
            Some(Entry::File { source, .. } | Entry::Source(source, _)) => Ok(source.clone()),
            Some(Entry::Declared { relation, source }) => {
                let mut slot = source.lock();
                if let Some(made) = &*slot {
                    return Ok(made.clone());
                }
                let request = SourceRequest {
                    name,
                    columns: &relation.columns,
                    options: &relation.options,
                    clock: &Clock::System,
                };
                let made = self.connectors.source(&request)?;
                *slot = Some(made.clone());
                Ok(made)
            }
            Some(Entry::Table(table)) => Ok(Arc::new(TableSource::new(table.clone()))),
            Some(Entry::Sink(..)) => {
                Err(IoError::config(format!("'{name}' is registered as a sink and can't be read")))
            }
            Some(Entry::View { .. }) | None => Err(IoError::config(format!("'{name}' can't be read"))),
        }
    }

    /// The materialized table of that name.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        match self.by_name.get(name) {
            Some(Entry::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// The sink behind a name; `sets` are the system columns that the query sets for its rows.
    pub(super) fn sink(&self, name: &str, sets: &[&str]) -> Result<Arc<dyn DataSink>, IoError> {
        match self.find(name) {
            Some((_, Entry::Sink(sink, _))) => Ok(sink.clone()),
            Some((_, Entry::Table(table))) => Ok(Arc::new(TableSink(table.clone()))),
            Some((key, Entry::Declared { relation, .. })) => {
                let mut options = relation.options.clone();
                let upserts = options.get("changelog").is_some_and(|c| c.eq_ignore_ascii_case("upsert"));
                if upserts && options.get("key_columns").is_none() && !relation.primary_key.is_empty() {
                    options.set("key_columns", relation.primary_key.join(", "));
                }
                self.connectors.sink(&SinkRequest { name: &key, options: &options, sets })
            }
            _ => Err(IoError::config(format!("'{name}' can't be written"))),
        }
    }

    /// The columns of a sink, if it has declared them.
    pub(super) fn sink_schema(&self, name: &str) -> Option<Arc<Schema>> {
        match self.find(name)?.1 {
            Entry::Sink(_, schema) => schema.clone(),
            Entry::Table(table) => Some(table.schema().clone()),
            Entry::Declared { relation, .. } if !relation.columns.is_empty() => {
                Some(declared_schema(relation))
            }
            _ => None,
        }
    }

    /// The WITH options of a name.
    pub(super) fn options(&self, name: &str) -> Options {
        match self.by_name.get(name) {
            Some(Entry::Declared { relation, .. }) => relation.options.clone(),
            Some(Entry::File { options, .. }) => options.clone(),
            _ => Options::default(),
        }
    }

    /// `FROM stdin` without a declaration.
    fn stdin(&mut self, format: &str) -> Result<String, ResolveError> {
        self.file(STDIN, Options::new([("connector", STDIN), ("format", format)]))
    }

    /// A file read by name; the same path with the same options is the same source.
    fn file(&mut self, path: &str, options: Options) -> Result<String, ResolveError> {
        let known = |(n, e): (&String, &Entry)| match e {
            Entry::File { options: o, .. } if *o == options => Some(n.clone()),
            _ => None,
        };
        if let Some(name) = self.by_name.iter().find_map(known) {
            return Ok(name);
        }
        self.connectors.check(&options, &[]).map_err(wrong_option)?;
        let request = SourceRequest { name: path, columns: &[], options: &options, clock: &Clock::System };
        let source = self.connectors.source(&request).map_err(failed)?;
        let mut name = path.to_owned();
        while self.by_name.contains_key(&name) {
            name.push('\'');
        }
        self.insert(&name, Entry::File { source, options });
        Ok(name)
    }
}

/// The columns of a declaration.
pub(super) fn declared_schema(relation: &Relation) -> Arc<Schema> {
    Schema::new(relation.columns.iter().map(|c| {
        let field = Field::new(&c.name, c.data_type.clone());
        if c.not_null { field.not_null() } else { field }
    }))
}

/// The binder's view. Files read by name are added while a statement is bound.
pub(super) struct Scope<'a>(pub(super) &'a Mutex<Relations>);

impl Resolver for Scope<'_> {
    fn relation(&self, name: &str, quoted: bool) -> Result<ResolvedRelation, ResolveError> {
        let mut relations = self.0.lock();
        let key = match relations.key(name, quoted) {
            // Standard input needs no declaration; NDJSON is what pipes carry.
            None if name.eq_ignore_ascii_case(STDIN) => Some(relations.stdin("json")?),
            key => key,
        };
        let Some(key) = key else {
            return Err(ResolveError::NotFound {
                known: relations.names().map(|(n, _)| n.to_owned()).collect(),
            });
        };
        if let Some(Entry::View { query, text }) = relations.by_name.get(&key) {
            return Ok(ResolvedRelation::View { query: query.clone(), text: text.clone() });
        }
        let source = relations.source(&key).map_err(failed)?;
        let bounded = is_bounded(&*source);
        let time = match relations.by_name.get(&key) {
            Some(Entry::Declared { relation, .. }) => {
                event_time(relation.watermark.as_ref(), &relation.options, bounded).map_err(wrong_option)?
            }
            Some(Entry::Source(_, time)) => time.clone(),
            _ => None,
        };
        Ok(resolved(key, &*source, time))
    }

    fn file(
        &self,
        path: &str,
        function: Option<&str>,
        mut options: Options,
    ) -> Result<ResolvedRelation, ResolveError> {
        let format = match function.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("read_csv") => Some("csv"),
            Some("read_json" | "read_ndjson" | "read_json_auto") => Some("json"),
            Some("read_text") => Some("text"),
            Some(other) => {
                return Err(ResolveError::Failed {
                    message: format!("there is no table function '{other}'"),
                    hint: Some("there are read_csv, read_json and read_text".into()),
                    option: None,
                });
            }
        };
        if path == "-" {
            options.set("connector", STDIN);
        } else {
            options.set("connector", "file");
            options.set("path", path);
        }
        if let Some(format) = format.filter(|_| options.get("format").is_none()) {
            options.set("format", format);
        }
        let mut relations = self.0.lock();
        let name = relations.file(path, options)?;
        let source = relations.source(&name).map_err(failed)?;
        Ok(resolved(name, &*source, None))
    }

    fn split(&self, split: Split) -> Result<ResolvedRelation, ResolveError> {
        let mut relations = self.0.lock();
        let name = relations.split(split)?;
        let source = relations.source(&name).map_err(failed)?;
        Ok(resolved(name, &*source, None))
    }
}

fn resolved(name: String, source: &dyn DataSource, time: Option<EventTime>) -> ResolvedRelation {
    ResolvedRelation::Source {
        name,
        schema: source.schema(),
        projects: source.projects(),
        bounded: is_bounded(source),
        time,
    }
}

pub(super) fn is_bounded(source: &dyn DataSource) -> bool {
    source.boundedness() != Boundedness::Unbounded
}

fn wrong_option(e: OptionError) -> ResolveError {
    ResolveError::Failed { message: e.message, hint: None, option: Some(e.name) }
}

fn failed(e: IoError) -> ResolveError {
    ResolveError::Failed { message: e.to_string(), hint: None, option: None }
}
