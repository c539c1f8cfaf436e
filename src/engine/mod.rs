//! The front door: an engine, SQL in, running jobs and rows out.
//!
//! [`Engine::sql`] is the one function that knows the order: parse → bind → optimize → lower → open → run.

mod answers;
mod config;
mod jobs;
mod places;
mod prepared;
mod relations;
mod script;
mod split;
mod tables;
mod time;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::catalog::{Options, SETTINGS, TIME_OPTIONS, WatermarkDef, nearest};
use crate::connector::memory::{OnceSink, OnceSource};
use crate::connector::{ConnectorSpec, Connectors};
use crate::error::{Error, SqlErrors};
#[cfg(doc)]
use crate::expr::SqlArg;
use crate::expr::{
    AggregateUpdate, FunctionRegistry, FunctionSpec, ScalarFunction, SqlResult, UserAggregate, UserState,
    check_name,
};
use crate::io::{DataReader, DataSink, DataSource, DataWriter};
use crate::plan::{ExplainFormat, ExplainStage};
use crate::record::{Batch, Schema, sorted};
use crate::sql::{Binder, Span};
use relations::{Entry, Relations};

pub use prepared::{Answer, Job, JobSummary, Prepared};

/// A streaming SQL engine: declarations, settings, functions. Several engines in one process share nothing.
///
/// ```
/// use millstream::{DataType, Engine, Schema};
/// use millstream::connector::memory::MemorySource;
///
/// let (orders, source) = MemorySource::channel(
///     Schema::of([("symbol", DataType::Varchar), ("amount", DataType::BigInt)]), 16);
/// let engine = Engine::new();
/// engine.register_source("orders", source)?;
/// let mut job = engine.sql("SELECT symbol, amount * 2 AS twice FROM orders WHERE amount > 10")?.start()?;
/// orders.send_values(["A".into(), 5i64.into()])?;
/// orders.send_values(["B".into(), 50i64.into()])?;
/// drop(orders); // the end of the stream
/// let rows: Vec<_> = job.rows().collect();
/// assert_eq!(rows.len(), 1);
/// assert_eq!(rows[0].get("twice").and_then(|v| v.as_i64()), Some(100));
/// job.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Engine {
    relations: Mutex<Relations>,
    functions: Mutex<Arc<FunctionRegistry>>,
    settings: Mutex<Options>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// An engine with the built-in connectors and functions.
    pub fn new() -> Self {
        Self {
            relations: Mutex::default(),
            functions: Mutex::new(Arc::new(FunctionRegistry::builtin())),
            settings: Mutex::default(),
        }
    }

    /// Makes a source readable as `name`: anything that implements [`DataSource`], e.g. a
    /// [`MemorySource`](crate::connector::memory::MemorySource). For a bare reader see [`register_reader`](Self::register_reader).
    ///
    /// # Errors
    /// If the name is taken.
    pub fn register_source(&self, name: &str, source: impl DataSource + 'static) -> Result<(), Error> {
        self.register(name, Entry::Source(Arc::new(source), None))
    }

    /// The same for a source with event time, as `WATERMARK FOR column AS watermark` declares it; `options` are those of such
    /// streams: `allowed_lateness`, `late`, `idle_timeout`, `max_future_skew`.
    ///
    /// ```
    /// # use millstream::connector::memory::MemorySource;
    /// # use millstream::record::{DataType, Schema};
    /// # let engine = millstream::Engine::new();
    /// # let schema = Schema::of([("ts", DataType::Timestamp), ("page", DataType::Varchar)]);
    /// let (sender, clicks) = MemorySource::channel(schema, 1000);
    /// engine.register_timed_source("clicks", clicks, "ts", "ts - INTERVAL '5' SECOND", &[("late", "drop")])?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name is taken, or column, expression or an option does not fit.
    pub fn register_timed_source(
        &self,
        name: &str,
        source: impl DataSource + 'static,
        column: &str,
        watermark: &str,
        options: &[(&str, &str)],
    ) -> Result<(), Error> {
        let of = |message: String| Error::Config(format!("'{name}': {message}"));
        let options = Options::new(options.iter().copied());
        options.check("a source with a watermark", &[TIME_OPTIONS]).map_err(|e| of(e.message))?;
        let def = WatermarkDef { column: column.into(), expression: watermark.into() };
        let (relations, functions) = (relations::Scope(&self.relations), self.functions());
        let text = format!("WATERMARK FOR {column} AS {watermark}");
        let whole = Span { start: 0, end: text.len() };
        Binder::new(&relations, &functions)
            .check_watermark(&def, &source.schema(), &text, whole)
            .map_err(|errors| of(errors.into_iter().next().map_or_else(String::new, |e| e.message)))?;
        let bounded = relations::is_bounded(&source);
        let time = time::event_time(Some(&def), &options, bounded).map_err(|e| of(e.message))?;
        self.register(name, Entry::Source(Arc::new(source), time))
    }

    /// Makes one reader readable as `name`, once.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn register_reader(&self, name: &str, reader: impl DataReader + 'static) -> Result<(), Error> {
        self.register_source(name, OnceSource::new(reader))
    }

    /// Makes a sink writable as `name` (`INSERT INTO name …`). It takes its columns from the query.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn register_sink(&self, name: &str, sink: impl DataSink + 'static) -> Result<(), Error> {
        self.register(name, Entry::Sink(Arc::new(sink), None))
    }

    /// The same for a sink with declared columns, to which inserted values are cast.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn register_sink_of(
        &self,
        name: &str,
        schema: Arc<Schema>,
        sink: impl DataSink + 'static,
    ) -> Result<(), Error> {
        self.register(name, Entry::Sink(Arc::new(sink), Some(schema)))
    }

    /// Makes one writer writable as `name`, once.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn register_writer(&self, name: &str, writer: impl DataWriter + 'static) -> Result<(), Error> {
        self.register_sink(name, OnceSink::new(writer))
    }

    /// Adds a connector for `connector = '…'`.
    pub fn register_connector(&self, spec: ConnectorSpec) {
        self.relations.lock().connectors.register(spec);
    }

    /// Adds a scalar function, or an overload of one.
    pub fn register_function(&self, function: FunctionSpec) {
        Arc::make_mut(&mut self.functions.lock()).add(function);
    }

    /// Makes a closure callable in queries. Its parameters and its result say the types ([`SqlArg`], [`SqlResult`]):
    /// `Option` sees and gives NULL, `Result` makes an error of the record, a panic costs the record that caused it. It is called once
    /// for each record, on the processor's thread or a helper's. Functions of one name may differ in their number of parameters.
    ///
    /// ```
    /// # use millstream::Engine;
    /// let engine = Engine::new();
    /// engine.register_scalar("vat", |net: f64, percent: i64| net * percent as f64 / 100.0)?;
    /// engine.register_scalar("initial", |name: &str| name.chars().next().map(String::from))?;
    /// let mut job = engine.sql("SELECT vat(200, 19) AS vat, initial('Ada') AS initial, initial(NULL) AS none")?.start()?;
    /// let row = job.rows().next().ok_or("no row")?;
    /// assert_eq!(format!("{:?}", row.values()), "[Float(38.0), String(\"A\"), Null]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A name that is taken, reserved, or no plain lower-case one.
    pub fn register_scalar<M, F: ScalarFunction<M>>(
        &self,
        name: &'static str,
        function: F,
    ) -> Result<(), Error> {
        let mut functions = self.functions.lock();
        check_name(&functions, name, F::PARAMETERS).map_err(Error::Config)?;
        Arc::make_mut(&mut functions).add(function.into_spec(name));
        Ok(())
    }

    /// Makes an aggregate function of closures: the state of a group without rows, what a row of one to three arguments does to
    /// it, how the state of later rows is added to that of earlier ones, and the result. Types are as in
    /// [`register_scalar`](Self::register_scalar). The state is copied with its group and written into snapshots by serde. A
    /// panic, while state is half changed, ends the job or restarts it from its last commit.
    ///
    /// ```
    /// # use millstream::Engine;
    /// let engine = Engine::new();
    /// engine.register_aggregate(
    ///     "geometric_mean",
    ///     || (0.0, 0u64),
    ///     |state: &mut (f64, u64), x: f64| *state = (state.0 + x.ln(), state.1 + 1),
    ///     |state, later| *state = (state.0 + later.0, state.1 + later.1),
    ///     |state| (state.1 > 0).then(|| (state.0 / state.1 as f64).exp()),
    /// )?;
    /// let mut job = engine.sql("SELECT geometric_mean(x) AS g FROM (VALUES (1), (4), (NULL)) AS t (x)")?.start()?;
    /// let row = job.rows().next().ok_or("no row")?;
    /// assert_eq!(format!("{:?}", row.values()), "[Float(2.0)]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A name that is taken, reserved, or no plain lower-case one.
    pub fn register_aggregate<S, M, R>(
        &self,
        name: &'static str,
        empty: impl Fn() -> S + Send + Sync + 'static,
        update: impl AggregateUpdate<S, M>,
        merge: impl Fn(&mut S, &S) + Send + Sync + 'static,
        finish: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> Result<(), Error>
    where
        S: UserState,
        M: 'static,
        R: SqlResult + 'static,
    {
        let mut functions = self.functions.lock();
        check_name(&functions, name, usize::MAX).map_err(Error::Config)?;
        let function = UserAggregate::new(name, empty, update, merge, finish);
        Arc::make_mut(&mut functions).add_aggregate(function.into_inner());
        Ok(())
    }

    fn register(&self, name: &str, entry: Entry) -> Result<(), Error> {
        let mut relations = self.relations.lock();
        if relations.find(name).is_some() {
            return Err(Error::Config(format!("there is already a relation '{name}'")));
        }
        relations.insert(name, entry);
        Ok(())
    }

    /// Sets a setting for the jobs that are prepared from now on, as `SET name = value` does.
    ///
    /// # Errors
    /// An unknown setting (names the nearest) or a value that does not fit.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        config::check_setting(name, value).map_err(Error::Config)?;
        self.settings.lock().set(name, value);
        Ok(())
    }

    /// The text of a setting: as set, or its default.
    ///
    /// # Errors
    /// An unknown setting.
    pub fn setting(&self, name: &str) -> Result<String, Error> {
        match SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name)) {
            Some(spec) => Ok(self.settings.lock().get(name).unwrap_or(spec.default).to_owned()),
            None => {
                let near = nearest(name, SETTINGS.iter().map(|s| s.name)).join(" or ");
                Err(Error::Config(format!("there is no setting '{name}'; nearest: {near}")))
            }
        }
    }

    /// Parses, binds and plans a text: one statement or a whole pipeline. Declarations take effect; queries are prepared to be
    /// started.
    ///
    /// # Errors
    /// Everything that is wrong with the text: one syntax error per statement, all binding errors.
    pub fn sql(&self, text: &str) -> Result<Prepared, Error> {
        self.pipeline("query", text)
    }

    /// The same for a named text: the name appears in errors, and its stem is the job's default name.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub fn pipeline(&self, name: &str, text: &str) -> Result<Prepared, Error> {
        script::run(self, name, text, None).map_err(|e| located(e, name, text))
    }

    /// The same as [`sql`](Self::sql), but each bare SELECT ends after `limit` rows, if there is one.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub fn query(&self, text: &str, limit: Option<u64>) -> Result<Prepared, Error> {
        script::run(self, "query", text, limit).map_err(|e| located(e, "query", text))
    }

    /// The plan of a named text's queries, which are not prepared to run.
    ///
    /// # Errors
    /// As [`sql`](Self::sql).
    pub fn explain(
        &self,
        name: &str,
        text: &str,
        stages: &[ExplainStage],
        format: ExplainFormat,
    ) -> Result<String, Error> {
        script::explain(self, name, text, stages, format).map_err(|e| located(e, name, text))
    }

    /// The connectors that `connector = '…'` knows.
    pub fn connectors(&self) -> Connectors {
        self.relations.lock().connectors.clone()
    }

    /// The functions that queries may call.
    pub fn functions(&self) -> Arc<FunctionRegistry> {
        self.functions.lock().clone()
    }
}

/// Puts the text to its errors.
fn located(failure: script::Failure, name: &str, text: &str) -> Error {
    match failure {
        script::Failure::Sql(mut diagnostics) => {
            sorted::sort_by_key(&mut diagnostics, |d| d.span);
            Error::Sql(SqlErrors { name: name.to_owned(), text: text.to_owned(), diagnostics })
        }
        script::Failure::Other(e) => e,
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync>() {}
    fn is_send<T: Send>() {}
    is_send_sync::<Engine>();
    is_send::<Job>();
    is_send::<Batch>();
};
