//! Tests of the parser.

use super::*;

pub(in crate::sql) mod depth;
mod dialects;
mod errors;
mod leniency;
mod properties;
mod statements;

/// One statement that parses.
#[track_caller]
fn good(text: &str) -> Statement {
    let mut all = parse(text);
    assert_eq!(all.len(), 1, "{text}");
    match all.remove(0) {
        Ok(s) => s.node,
        Err(e) => panic!("{}", e.render("test", text)),
    }
}

/// Words that need quotes as column names in a query.
const RESERVED: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "FROM",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "ON",
    "OR",
    "ORDER",
    "QUALIFY",
    "SELECT",
    "SIMILAR",
    "THEN",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WITH",
];

#[test]
fn all_other_words_are_names_anywhere() {
    for k in sqlparser::keywords::ALL_KEYWORDS.iter().filter(|k| !k.contains('-')) {
        let forms = [
            format!("SELECT {k} FROM t"),
            format!("SELECT a, {k}, b FROM t"),
            format!(
                "SELECT a FROM t WHERE {k} > 1 AND {k} = 2 OR {k} IS NULL AND {k} NOT IN (1) AND {k} LIKE 'x'"
            ),
            format!("SELECT a FROM t GROUP BY {k}, a ORDER BY {k}, b"),
            format!("SELECT f({k}), -{k}, {k} + 1, 2 * {k} - 1, CASE WHEN {k} THEN {k} ELSE {k} END FROM t"),
            format!("SELECT ({k}), [{k}], {k}::INT FROM t"),
        ];
        for text in &forms {
            let parsed = parse(text).remove(0);
            if RESERVED.contains(k) {
                continue;
            }
            let names = |s: &str| {
                parsed.as_ref().is_ok_and(|p| format!("{:?}", p.node).contains(&format!("value: \"{s}\"")))
            };
            // Constants and functions without parentheses.
            let own = ["TRUE", "FALSE", "NULL"].contains(k);
            assert!(own || names(k), "{text}: {parsed:?}");
        }
        let Err(_) = parse(&format!("SELECT a, {k}, b FROM t")).remove(0) else { continue };
        assert!(RESERVED.contains(k), "{k}");
    }
    for k in RESERVED {
        let text = format!("SELECT a, {k}, b FROM t");
        assert!(parse(&text).remove(0).is_err(), "{text}");
        good(&format!("SELECT a AS {k}, t.{k}, \"{k}\", {k}.a FROM t"));
        good(&format!("CREATE STREAM s ({k} INT, b INT)"));
    }
}
