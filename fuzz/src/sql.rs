//! SQL text: parsed, bound, optimized and lowered without a panic; every error has a place in the text.

use std::sync::{Arc, OnceLock};

use millstream::catalog::Options;
use millstream::expr::FunctionRegistry;
use millstream::plan::{self, ExplainFormat, ExplainNotes, ExplainStage};
use millstream::record::Field;
use millstream::sql::{self, Binder, ResolveError, ResolvedRelation, Resolver, Split, Statement};
use millstream::{DataType, Schema};

struct Catalog;

impl Catalog {
    fn source(name: &str) -> ResolvedRelation {
        let schema: Arc<Schema> = Schema::of([
            ("a", DataType::BigInt),
            ("b", DataType::Varchar),
            ("c", DataType::Decimal { precision: 18, scale: 2 }),
            ("d", DataType::Timestamp),
            ("e", DataType::array(DataType::Varchar)),
            ("f", DataType::map(DataType::Varchar, DataType::Double)),
            ("g", DataType::Struct(vec![Field::new("x", DataType::Date)])),
            ("h", DataType::Json),
        ]);
        ResolvedRelation::Source { name: name.into(), schema, projects: true, bounded: true, time: None }
    }
}

impl Resolver for Catalog {
    fn relation(&self, name: &str, _quoted: bool) -> Result<ResolvedRelation, ResolveError> {
        if name.eq_ignore_ascii_case("t") {
            return Ok(Self::source("t"));
        }
        Err(ResolveError::NotFound { known: vec!["t".into()] })
    }
    fn file(&self, path: &str, _: Option<&str>, _: Options) -> Result<ResolvedRelation, ResolveError> {
        Ok(Self::source(path))
    }
    fn split(&self, split: Split) -> Result<ResolvedRelation, ResolveError> {
        let schema = split.plan.schema().clone();
        Ok(ResolvedRelation::Source { name: split.topic, schema, projects: true, bounded: false, time: None })
    }
}

/// A text of statements.
pub fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    static FUNCTIONS: OnceLock<FunctionRegistry> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(FunctionRegistry::builtin);
    for result in sql::parse(text) {
        match result {
            Ok(statement) => {
                assert!(text.get(statement.span.start..statement.span.end).is_some());
                bind(statement.node, text, functions);
            }
            Err(e) => placed(&e, text),
        }
    }
    if let Err(e) = sql::parse_expr(text) {
        placed(&e, text);
    }
    if let Err(e) = sql::parse_data_type(text) {
        placed(&e, text);
    }
}

fn placed(error: &sql::Diagnostic, text: &str) {
    assert!(text.get(error.span.start..error.span.end).is_some(), "{error:?}");
    assert!(!error.render("fuzz", text).is_empty());
}

fn bind(statement: Statement, text: &str, functions: &FunctionRegistry) {
    let query = match statement {
        Statement::Select(query) | Statement::Insert { query, .. } | Statement::CreateView { query, .. } => {
            query
        }
        Statement::Create(create) => match create.query {
            Some(query) => query,
            None => return,
        },
        Statement::Explain { statement, .. } => return bind(statement.node, text, functions),
        _ => return,
    };
    match Binder::new(&Catalog, functions).bind_query(&query, text) {
        Ok(plan) => {
            let outputs = vec![("out".to_owned(), plan::optimize(plan))];
            let notes = ExplainNotes { on_disk: true, ..ExplainNotes::default() };
            let explained = plan::explain(&outputs, &[ExplainStage::Optimized], ExplainFormat::Text, &notes);
            assert!(!explained.is_empty());
            plan::lower(outputs);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|e| placed(e, text));
        }
    }
}
