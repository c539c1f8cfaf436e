//! Whatever the text: no panic, places within it, and the same answer each time.

use proptest::prelude::*;

use super::*;

const SCRAPS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "CREATE",
    "STREAM",
    "TABLE",
    "VIEW",
    "WITH",
    "AS",
    "INSERT",
    "INTO",
    "VALUES",
    "EXPLAIN",
    "SHOW",
    "SET",
    "DROP",
    "CAST",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "NOT",
    "IN",
    "LIKE",
    "BETWEEN",
    "AND",
    "OR",
    "IS",
    "NULL",
    "INTERVAL",
    "MAP",
    "ARRAY",
    "STRUCT",
    "UNNEST",
    "EMIT",
    "CHANGES",
    "FINAL",
    "WINDOW",
    "TUMBLING",
    "WATERMARK",
    "FOR",
    "PRIMARY",
    "KEY",
    "JOIN",
    "LEFT",
    "ON",
    "USING",
    "UNION",
    "ALL",
    "DISTINCT",
    "EXCLUDE",
    "EXTRACT",
    "TRIM",
    "EXISTS",
    "a",
    "b.c",
    "t",
    "read_csv",
    "\"q r\"",
    "`x`",
    "'s'",
    "'it''s'",
    "1",
    "2.5",
    "1e3",
    "10s",
    ".",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    ">>",
    "=",
    "==",
    "=>",
    "::",
    ":",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "->",
    "->>",
    "?",
    "$1",
    "@",
    "#",
    "~",
    "!",
    "'",
    "\"",
    "/*",
    "*/",
    "--",
    "\n",
    ";",
    "INT",
    "DECIMAL(10,2)",
    "TIMESTAMP",
    "DATE",
    "\u{0}",
    "é",
    "𝄞",
    "\\",
    "$$",
    "E'\\",
    "0x",
    "U&'",
];

fn check(text: &str) {
    let all = parse(text);
    for result in &all {
        let span = match result {
            Ok(s) => s.span,
            Err(e) => {
                let _ = e.render("t", text);
                assert!(!e.message.is_empty(), "{text:?}");
                e.span
            }
        };
        assert!(text.get(span.start..span.end).is_some(), "{text:?} {span:?}");
    }
    assert_eq!(all, parse(text));
    let _ = parse_expr(text);
    let _ = crate::sql::parse_data_type(text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn scraps_of_sql(scraps in prop::collection::vec(prop::sample::select(SCRAPS), 0..40), glue in prop::bool::ANY) {
        check(&scraps.join(if glue { "" } else { " " }));
    }

    #[test]
    fn any_text(text in "\\PC{0,60}") {
        check(&text);
    }

    #[test]
    fn statements_with_a_hole(cut in 0usize..400, len in 0usize..12, put in prop::sample::select(SCRAPS)) {
        let text = "CREATE TABLE t (a INT PRIMARY KEY, b MAP<VARCHAR, ARRAY<INT>>, WATERMARK FOR c AS c - INTERVAL '5' \
                    SECOND) WITH (connector = 'file', n = 5s); SELECT CASE WHEN a > 1 THEN b['k'] ELSE x::INT[] END AS y, \
                    t.* EXCLUDE (a) FROM read_csv('f', q = 1) t CROSS JOIN UNNEST(xs) u WHERE a IN (1, 2) AND NOT b LIKE \
                    'c' GROUP BY 1 ORDER BY 2 DESC LIMIT 5 EMIT CHANGES; EXPLAIN INSERT INTO o (a) SELECT MAP['a', 1]";
        let cut = cut % text.len();
        let end = (cut + len).min(text.len());
        check(&format!("{}{put}{}", &text[..cut], &text[end..]));
    }
}
