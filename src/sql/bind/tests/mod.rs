//! A small catalog, and the way from text to plan.

use std::sync::Arc;

use crate::catalog::{Options, WatermarkDef};
use crate::expr::FunctionRegistry;
use crate::plan::{LatePolicy, LogicalPlan};
use crate::record::{DataType as T, Field, Schema};
use crate::sql::{
    Binder, Diagnostic, EventTime, InsertTarget, ResolveError, ResolvedRelation, Resolver, Span, Statement,
    parse,
};

mod depth;
mod jobs;
mod order;
mod select;

struct Catalog;

fn source(name: &str, schema: Arc<Schema>, projects: bool) -> Result<ResolvedRelation, ResolveError> {
    Ok(ResolvedRelation::Source { name: name.into(), schema, projects, bounded: true, time: None })
}

/// A stream with event time, unless `watermark` is empty.
fn timed(name: &str, bounded: bool, watermark: &str) -> Result<ResolvedRelation, ResolveError> {
    let time = (!watermark.is_empty()).then(|| EventTime {
        watermark: WatermarkDef { column: "ts".into(), expression: watermark.into() },
        lateness: 0,
        late: LatePolicy::Drop,
        max_future_skew: (!bounded).then_some(3_600_000_000),
        idle_timeout: (!bounded).then_some(30_000_000),
    });
    let fields = [("k", T::Varchar), ("x", T::BigInt), ("ts", T::Timestamp), ("seen", T::Timestamp)];
    Ok(ResolvedRelation::Source {
        name: name.into(),
        schema: Schema::of(fields),
        projects: true,
        bounded,
        time,
    })
}

pub(super) fn orders() -> Arc<Schema> {
    Schema::new([
        Field::new("order_id", T::BigInt).not_null(),
        Field::new("customer", T::Varchar),
        Field::new("amount", T::Decimal { precision: 18, scale: 2 }),
        Field::new("qty", T::Integer),
        Field::new("ts", T::Timestamp),
        Field::new("tags", T::array(T::Varchar)),
        Field::new("props", T::map(T::Varchar, T::BigInt)),
        Field::new("addr", T::Struct(vec![Field::new("city", T::Varchar), Field::new("Zip", T::Varchar)])),
        Field::new(
            "items",
            T::array(T::Struct(vec![Field::new("sku", T::Varchar), Field::new("n", T::BigInt)])),
        ),
        Field::new("note", T::Json),
    ])
}

impl Resolver for Catalog {
    fn relation(&self, name: &str, quoted: bool) -> Result<ResolvedRelation, ResolveError> {
        let known = ["orders", "events", "rigid", "big", "loop", "broken", "clicks", "live", "tap"];
        let found = known.iter().find(|k| if quoted { **k == name } else { k.eq_ignore_ascii_case(name) });
        let view = |text: &str| {
            let statements = parsed(text).unwrap();
            let Statement::Select(query) = statements.into_iter().next().unwrap().node else { panic!() };
            Ok(ResolvedRelation::View { query: (*query).into(), text: text.into() })
        };
        match found.copied() {
            Some("orders") => source("orders", orders(), true),
            Some("events") => {
                source("events", Schema::of([("Id", T::BigInt), ("id2", T::BigInt), ("a", T::Double)]), true)
            }
            Some("rigid") => {
                source("rigid", Schema::of([("a", T::BigInt), ("b", T::BigInt), ("c", T::Varchar)]), false)
            }
            Some("big") => view("SELECT order_id, amount FROM orders WHERE amount > 100"),
            Some("clicks") => timed("clicks", true, "ts - INTERVAL '5' SECOND"),
            Some("live") => timed("live", false, "ts - INTERVAL '5' SECOND"),
            Some("tap") => timed("tap", false, ""),
            Some("loop") => view("SELECT * FROM loop"),
            Some("broken") => view("SELECT nope FROM orders"),
            None if name == "ticks" => Ok(ResolvedRelation::Source {
                name: "ticks".into(),
                schema: Schema::of([("k", T::Varchar), ("v", T::BigInt), ("ts", T::Timestamp)]),
                projects: true,
                bounded: false,
                time: None,
            }),
            _ => Err(ResolveError::NotFound { known: known.iter().map(|k| (*k).to_owned()).collect() }),
        }
    }
    fn file(
        &self,
        path: &str,
        function: Option<&str>,
        options: Options,
    ) -> Result<ResolvedRelation, ResolveError> {
        if function.is_some_and(|f| f != "read_csv") {
            return Err(ResolveError::NotFound { known: vec!["read_csv".into(), "read_json".into()] });
        }
        if path == "missing.csv" {
            let message = "there is no file 'missing.csv'".into();
            return Err(ResolveError::Failed { message, hint: Some("look into data/".into()), option: None });
        }
        let mut name = path.to_owned();
        options.iter().for_each(|(k, v)| name.push_str(&format!(" {k}={v}")));
        source(&name, Schema::of([("x", T::BigInt), ("y", T::Varchar)]), true)
    }
}

pub(super) fn functions() -> FunctionRegistry {
    FunctionRegistry::builtin()
}

/// Binds the only query of `text`.
fn bind(text: &str) -> Result<LogicalPlan, Vec<Diagnostic>> {
    let statements = parsed(text)?;
    let functions = functions();
    let binder = Binder::new(&Catalog, &functions);
    match statements.into_iter().next().unwrap().node {
        Statement::Select(query) => binder.bind_query(&query, text),
        Statement::Insert { target, columns, query } => {
            let schema = Schema::new([
                Field::new("id", T::BigInt).not_null(),
                Field::new("who", T::Varchar),
                Field::new("n", T::Integer),
            ]);
            let known = target == "out";
            let span = Span { start: 0, end: 6 };
            let into =
                InsertTarget { name: &target, schema: known.then_some(&schema), columns: &columns, span };
            binder.bind_insert(&query, text, &into)
        }
        other => panic!("{other:?}"),
    }
}

fn parsed(text: &str) -> Result<Vec<crate::sql::Located<Statement>>, Vec<Diagnostic>> {
    let (good, bad): (Vec<_>, Vec<_>) = parse(text).into_iter().partition(Result::is_ok);
    if bad.is_empty() {
        Ok(good.into_iter().flatten().collect())
    } else {
        Err(bad.into_iter().filter_map(Result::err).collect())
    }
}
