//! What the parser lets through binds on a small stack.

use super::*;
use crate::plan::{ExplainFormat, ExplainNotes, ExplainStage};
use crate::sql::parse::tests::depth::{STACK, shapes};

#[test]
fn the_deepest_statements_bind_or_are_refused() {
    for n in [60, 190] {
        for (_, text) in shapes(n) {
            let work = move || {
                let functions = FunctionRegistry::builtin();
                for statement in parse(&text).into_iter().flatten() {
                    if let Statement::Select(query) = statement.node {
                        drop(Binder::new(&Catalog, &functions).bind_query(&query, &text));
                    }
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
        }
    }
}

/// `(text, what the refusal says; nothing if it must bind)`: queries whose trees grow faster than their texts.
fn growing() -> Vec<(String, &'static str)> {
    let with = |n: usize, step: &dyn Fn(usize) -> String, end: &str| {
        let ctes: String = (0..n).map(|i| format!(", x{} AS ({})", i + 1, step(i))).collect();
        format!("WITH x0 AS (SELECT order_id AS a, qty AS b FROM orders){ctes} SELECT * FROM x{n}{end}")
    };
    let plus = " + 1".repeat(150);
    let and = " AND true".repeat(150);
    let except = " EXCEPT SELECT 1, 1".repeat(30);
    let aliases = |n: usize, step: &dyn Fn(usize) -> String, end: &str| {
        let items: String = (0..n).map(|i| format!(", {} AS x{}", step(i), i + 1)).collect();
        format!("SELECT qty + 1 AS x0{items} FROM orders{end}")
    };
    let (large, deep) = ("the statement is too large", "the query is nested too deeply");
    vec![
        (with(30, &|i| format!("SELECT a, b FROM x{i} UNION ALL SELECT a, b FROM x{i}"), ""), large),
        (with(30, &|i| format!("SELECT *, * FROM x{i}"), ""), large),
        (with(500, &|i| format!("SELECT a FROM x{i}"), ""), deep),
        (with(30, &|i| format!("SELECT a{plus} AS a, b FROM x{i}"), " WHERE a > 1"), ""),
        (with(30, &|i| format!("SELECT a = 1{and} AS a, b FROM x{i}"), ""), "not comparable"),
        (with(10, &|i| format!("SELECT a, b FROM x{i}{except}"), ""), deep),
        (with(40, &|i| format!("SELECT a{plus} AS a FROM x{i} GROUP BY 1"), " WHERE a > 1"), ""),
        (with(60, &|i| format!("SELECT a * a AS a FROM x{i}"), " WHERE a > 1"), ""),
        (aliases(60, &|i| format!("x{i}{plus}"), ""), ""),
        (aliases(60, &|i| format!("x{i}{plus}"), " WHERE x60 > 1"), "'x60' is too large"),
        (aliases(60, &|i| format!("x{i}{plus}"), " GROUP BY 61"), "this is too large here"),
        (aliases(60, &|i| format!("x{i} * x{i}"), " WHERE x60 > 1"), "'x60' is too large"),
        (aliases(60, &|i| format!("x{i} * x{i}"), " GROUP BY ALL"), "this is too large here"),
        (aliases(200, &|i| format!("x{i} + 1"), ""), deep),
    ]
}

#[test]
fn short_texts_of_huge_trees_are_planned_or_refused() {
    for (text, refusal) in growing() {
        let work = move || {
            let functions = FunctionRegistry::builtin();
            let Some(Ok(Statement::Select(query))) =
                parse(&text).into_iter().next().map(|s| s.map(|s| s.node))
            else {
                panic!("{text}")
            };
            match Binder::new(&Catalog, &functions).bind_query(&query, &text) {
                Ok(plan) => {
                    assert_eq!(refusal, "", "{text}");
                    let outputs = vec![("out".to_owned(), crate::plan::optimize(plan))];
                    let stages = [ExplainStage::Optimized];
                    assert!(
                        !crate::plan::explain(
                            &outputs,
                            &stages,
                            ExplainFormat::Text,
                            &ExplainNotes::default()
                        )
                        .is_empty()
                    );
                    drop(crate::plan::lower(outputs));
                }
                Err(errors) => {
                    let said = errors.first().map(|e| e.message.as_str()).unwrap_or_default();
                    assert!(!refusal.is_empty() && said.contains(refusal), "{said}: {text}");
                }
            }
        };
        std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
    }
}

/// `v0` reads `orders`, every other `v<n>` the one before it.
struct Views;

impl Resolver for Views {
    fn relation(&self, name: &str, _quoted: bool) -> Result<ResolvedRelation, ResolveError> {
        let Some(n) = name.strip_prefix('v').and_then(|n| n.parse::<usize>().ok()) else {
            return source("orders", orders(), true);
        };
        let below = n.checked_sub(1).map_or("orders".into(), |n| format!("v{n}"));
        let text = format!("SELECT *, {n} AS n{n} FROM {below}");
        match parse(&text).remove(0).unwrap().node {
            Statement::Select(query) => {
                Ok(ResolvedRelation::View { query: (*query).into(), text: text.into() })
            }
            _ => panic!("{text}"),
        }
    }
    fn file(&self, _: &str, _: Option<&str>, _: Options) -> Result<ResolvedRelation, ResolveError> {
        panic!("no files here")
    }
}

#[test]
fn views_within_views_have_an_end() {
    let bind = |n: usize| {
        let work = move || {
            let text = format!("SELECT * FROM v{n}");
            let Statement::Select(query) = parse(&text).remove(0).unwrap().node else { panic!("{text}") };
            Binder::new(&Views, &FunctionRegistry::builtin())
                .bind_query(&query, &text)
                .map(|p| p.schema().len())
        };
        std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap()
    };
    assert_eq!(bind(31).unwrap(), orders().len() + 32);
    let errors = bind(5_000).unwrap_err();
    assert!(errors.iter().any(|e| e.message.contains("at most 32 deep")), "{errors:?}");
}
