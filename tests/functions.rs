//! Every scalar function does what its row in the registry says: the example is parsed, bound, evaluated.

use millstream::catalog::Options;
use millstream::expr::{EvalContext, FunctionRegistry, Program, SPECIAL_FORMS, to_text};
use millstream::plan::LogicalPlan;
use millstream::record::{ErrorCode, FieldValue, Schema, StreamRecord};
use millstream::sql::{Binder, ResolveError, ResolvedRelation, Resolver, Statement, parse};

/// 2026-01-02T03:04:05.678901Z
const NOW: i64 = 1_767_323_045_678_901;

struct NoRelations;

impl Resolver for NoRelations {
    fn relation(&self, _: &str, _: bool) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::NotFound { known: Vec::new() })
    }
    fn file(&self, _: &str, _: Option<&str>, _: Options) -> Result<ResolvedRelation, ResolveError> {
        Err(ResolveError::NotFound { known: Vec::new() })
    }
}

/// What an expression without columns gives; `Err` is a message, with the code if a record failed.
fn eval(functions: &FunctionRegistry, expression: &str) -> Result<FieldValue, (Option<ErrorCode>, String)> {
    let text = format!("SELECT {expression}");
    let shown = |list: Vec<millstream::sql::Diagnostic>| {
        (None, list.iter().map(|d| d.render("example", &text)).collect::<Vec<_>>().join("\n"))
    };
    let statement = parse(&text).into_iter().next().unwrap().map_err(|d| shown(vec![d]))?;
    let Statement::Select(query) = statement.node else { panic!("{text}: no SELECT") };
    let plan = Binder::new(&NoRelations, functions).bind_query(&query, &text).map_err(shown)?;
    let LogicalPlan::Project { columns, .. } = plan else { panic!("{text}: {plan:?}") };
    let program = Program::compile(&columns.first().unwrap().expr);
    let record = StreamRecord::new(Schema::new([]));
    let value = program.eval(&EvalContext { record: &record, now: NOW });
    value.map(|v| v.into_owned()).map_err(|e| (Some(e.code), e.to_string()))
}

fn shown(functions: &FunctionRegistry, expression: &str) -> String {
    match eval(functions, expression) {
        Ok(FieldValue::Null) => "NULL".into(),
        Ok(value) => to_text(&value),
        Err((Some(code), message)) => format!("{}: {message}", code.label()),
        Err((None, message)) => message,
    }
}

#[test]
fn every_example_gives_what_it_says() {
    let functions = FunctionRegistry::builtin();
    let mut wrong = Vec::new();
    let rows = functions.all();
    let examples = rows.iter().map(|f| (f.signature, f.example));
    for (signature, (expression, expected)) in
        examples.chain(SPECIAL_FORMS.iter().map(|f| (f.signature, f.example)))
    {
        let got = shown(&functions, expression);
        if got != expected {
            wrong.push(format!("{signature}\n    {expression}\n    says  {expected}\n    gives {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn there_are_at_least_two_hundred_functions() {
    let functions = FunctionRegistry::builtin();
    assert!(functions.names().count() >= 200, "{}", functions.names().count());
}
