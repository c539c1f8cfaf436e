//! Depth is bounded: an error, never an overflow, on a small stack.

use super::*;

pub(in crate::sql) const STACK: usize = 2 << 20;

/// The first result for `text`, parsed and dropped on a thread with a small stack.
fn on_small_stack(text: String) -> Result<(), Diagnostic> {
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || parse(&text).remove(0).map(drop))
        .unwrap()
        .join()
        .unwrap()
}

fn nest(open: &str, core: &str, close: &str, n: usize) -> String {
    format!("{}{core}{}", open.repeat(n), close.repeat(n))
}

/// Shapes that grow with `n`.
pub(in crate::sql) fn shapes(n: usize) -> Vec<(&'static str, String)> {
    let select = |e: String| format!("SELECT {e}");
    vec![
        ("parens", select(nest("(", "1", ")", n))),
        ("open parens", select("(".repeat(n))),
        ("brackets", select(nest("[", "1", "]", n))),
        ("structs", select(nest("{'a': ", "1", "}", n))),
        ("maps", select(nest("MAP['a', ", "1", "]", n))),
        ("calls", select(nest("f(", "1", ")", n))),
        ("casts", select(nest("CAST(", "1", " AS INT)", n))),
        ("not", select(format!("{}TRUE", "NOT ".repeat(n)))),
        ("minus", select(format!("{}1", "- ".repeat(n)))),
        ("tilde", select(format!("{}1", "~ ".repeat(n)))),
        ("interval", select(format!("{}'1' DAY", "INTERVAL ".repeat(n)))),
        ("case", select(nest("CASE WHEN a THEN ", "1", " END", n))),
        ("case operand", select(nest("CASE ", "1", " WHEN 1 THEN 1 END", n))),
        ("case minus", select("case-".repeat(n))),
        ("case end", select(format!("{}1", "CASE end WHEN ".repeat(n)))),
        ("exists", select(nest("EXISTS (SELECT ", "1", ")", n))),
        ("in query", select(nest("a IN (SELECT ", "1", ")", n))),
        ("from query", nest("SELECT * FROM (", "SELECT 1", ")", n)),
        ("from parens", format!("SELECT * FROM {}", nest("(", "a", ")", n))),
        ("query parens", nest("(", "SELECT 1", ")", n)),
        ("with", nest("WITH a AS (", "SELECT 1", ") SELECT 1", n)),
        ("types", select(format!("a::{}", nest("ARRAY<", "INT", ">", n)))),
        ("type dimensions", select(format!("a::INT{}", "[]".repeat(n)))),
        ("column types", format!("CREATE STREAM s (a {})", nest("STRUCT<a ", "INT", ">", n))),
        ("plus", select(format!("1{}", "+1".repeat(n)))),
        ("nested plus", select(nest("(1+1+1+", "1", ")+1+1", n))),
        ("and", select(format!("a{}", " AND a".repeat(n)))),
        ("or", select(format!("a{}", " OR a = 1".repeat(n)))),
        ("between", select(format!("a{}", " BETWEEN 1 AND 2".repeat(n)))),
        ("is null", select(format!("a{}", " IS NULL".repeat(n)))),
        ("cast chain", select(format!("a{}", "::INT".repeat(n)))),
        ("json chain", select(format!("a{}", "->'b'".repeat(n)))),
        ("like chain", select(format!("a{}", " LIKE 'b'".repeat(n)))),
        ("in chain", select(format!("a{}", " IN (1)".repeat(n)))),
        ("collate chain", select(format!("a{}", " COLLATE x".repeat(n)))),
        ("zone chain", select(format!("a{}", " AT TIME ZONE 'UTC'".repeat(n)))),
        ("not in", select(format!("a{}", " NOT IN (1)".repeat(n)))),
        ("union", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n))),
        ("joins", format!("SELECT * FROM a{}", " JOIN b ON TRUE".repeat(n))),
        ("explain", format!("{}SELECT 1", "EXPLAIN ".repeat(n))),
        ("qualified", select(format!("a{}", ".a".repeat(n)))),
        ("subscripts", select(format!("a{}", "[1]".repeat(n)))),
        ("subscript nest", select(nest("a[", "1", "]", n))),
    ]
}

#[test]
fn depth_is_an_error_not_an_overflow() {
    for n in [10, 60, 190, 240] {
        for (name, text) in shapes(n) {
            let result = on_small_stack(text);
            if n <= 10
                && !["open parens", "case minus", "case end", "interval", "explain", "collate chain"]
                    .contains(&name)
            {
                assert!(result.is_ok(), "{name} × {n}: {result:?}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_levels() {
    for name in ["parens", "open parens", "not", "plus"] {
        let text = shapes(100_000).into_iter().find(|s| s.0 == name).unwrap().1;
        assert!(on_small_stack(text).is_err(), "{name}");
    }
}

#[test]
fn long_lists_are_fine() {
    let n = 5_000;
    for text in [
        format!("SELECT a IN (1{})", ", 1".repeat(n)),
        format!("SELECT 1{}", ", a + 1".repeat(n)),
        format!("SELECT CASE a{} END", " WHEN 1 THEN a + 2".repeat(n)),
        format!("VALUES (1, 'a'){}", ", (1 + 1, 'b')".repeat(n)),
    ] {
        on_small_stack(text).unwrap();
    }
}

#[test]
fn the_place_is_that_of_the_level_too_many() {
    let text = format!("SELECT {}", nest("(", "1", ")", 70));
    let error = on_small_stack(text).unwrap_err();
    assert_eq!(error.message, "this is nested too deeply: at most 64 levels");
    assert_eq!(error.span, Span { start: 71, end: 72 });
    let text = format!("SELECT 1{}", "+1".repeat(600));
    let error = on_small_stack(text).unwrap_err();
    assert_eq!(error.message, "this expression is too long: at most 200 operators in one chain");
    assert_eq!(error.span, Span { start: 408, end: 409 });
}
