//! Every error of `errors.txt`: a statement, and below it the caret with the message.

use super::*;

#[test]
fn messages_and_places_are_as_listed() {
    let mut wrong = String::new();
    let cases: Vec<&str> = include_str!("errors.txt").split("\n\n").map(str::trim_end).collect();
    assert!(cases.len() > 120, "{}", cases.len());
    for case in cases.iter().filter(|c| !c.is_empty()) {
        let (text, expected) = case.split_once('\n').unwrap_or((case, ""));
        let results = parse(text);
        let error = match results.as_slice() {
            [Err(error)] => error,
            other => panic!("{text}: {other:?}"),
        };
        let (_, column) = error.line_column(text);
        let width = text[error.span.start..error.span.end].chars().count().max(1);
        let found = format!("{}{} {error}", " ".repeat(column - 1), "^".repeat(width));
        if found != expected {
            wrong.push_str(&format!("{text}\n{found}\n\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn one_error_per_statement_and_reading_goes_on() {
    let text = "SELECT 1;\nSELCT 2; -- no\nSELECT a FORM b;;\n/* ; */ SHOW TABLES;\nSELECT 'x;\nSET a = 1";
    let found: Vec<_> = parse(text)
        .into_iter()
        .map(|r| match r {
            Ok(s) => format!("ok {:?}", &text[s.span.start..s.span.end]),
            Err(e) => e.render("j.sql", text),
        })
        .collect();
    assert_eq!(found[0], "ok \"SELECT 1\"");
    assert_eq!(
        found[1],
        "j.sql:2:1: expected a statement, found 'SELCT'\n  |\n2 | SELCT 2; -- no\n  | ^^^^^\n  = help: did you mean SELECT?"
    );
    assert_eq!(
        found[2],
        "j.sql:3:10: unexpected 'b' behind 'FORM'\n  |\n3 | SELECT a FORM b;;\n  |          ^^^^\n  = help: did you mean FROM instead of 'FORM'?"
    );
    assert_eq!(found[3], "ok \"SHOW TABLES\"");
    assert!(found[4].starts_with("j.sql:5:8: this string is not closed\n"));
    assert_eq!(found[5], "ok \"SET a = 1\"");
    assert_eq!(found.len(), 6);
}

#[test]
fn places_count_characters_behind_wide_ones_tabs_and_windows_line_ends() {
    let text = "SELECT 'äöü€𝄞',\r\n\t'x' AS y,\r\n  'é' z u FROM t";
    let error = parse(text).remove(0).unwrap_err();
    assert_eq!(&text[error.span.start..error.span.end], "u");
    assert_eq!(error.line_column(text), (3, 9));
}

#[test]
fn sqlparsers_places_become_byte_ranges() {
    let text = "-- é\nSELECT 'ä€', näme\nFROM t";
    let statement = good(text);
    let Statement::Select(query) = statement else { panic!("{statement:?}") };
    let ast::SetExpr::Select(select) = *query.body else { panic!() };
    let ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) = &select.projection[1] else { panic!() };
    let span = span_of(text, name.span);
    assert_eq!(&text[span.start..span.end], "näme");
    assert_eq!(span_of(text, sqlparser::tokenizer::Span::empty()), Span::default());
}

#[test]
fn unreadable_places_do_not_end_the_text() {
    let text = format!("{}SELECT 1", "SELECT \";".repeat(3));
    let results = parse(&text);
    assert!(results.iter().filter(|r| r.is_err()).count() >= 1);
    // Hostile input costs a bounded number of attempts.
    assert!(parse(&"'x;\"".repeat(50_000)).len() <= 150_000);
}
