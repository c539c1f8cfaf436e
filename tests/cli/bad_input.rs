//! What a stranger gets wrong: each message says where it is and what to do.

use super::tool::{Place, objects, sample};

/// The sample orders with twelve lines of which three are good.
fn bad_orders(place: &Place, on_error: &str) {
    let text = format!(
        "CREATE STREAM o (order_id BIGINT, customer VARCHAR, amount DECIMAL(10,2), ts TIMESTAMP)
           WITH (connector = 'file', path = '{}'{on_error});
         CREATE STREAM t WITH (connector = 'file', path = 'good.jsonl');
         INSERT INTO t SELECT * FROM o;",
        sample("orders_bad.jsonl")
    );
    place.put("bad.sql", text);
}

#[test]
fn the_first_bad_record_fails_the_job_by_default() {
    let place = Place::new();
    bad_orders(&place, "");
    place.run(&["run", "bad.sql"]).gives(1).says(&[
        "source o",
        "orders_bad.jsonl:2 (byte 75)",
        "malformed",
        "on_error",
    ]);
}

#[test]
fn bad_records_are_skipped_and_counted() {
    let place = Place::new();
    bad_orders(&place, ", on_error = 'skip'");
    place.run(&["run", "bad.sql"]).gives(0).says(&["3 rows read, 3 written, 9 rejected in"]);
    assert_eq!(objects(&place.get("good.jsonl")).len(), 3);
}

#[test]
fn bad_records_become_dead_letters() {
    let place = Place::new();
    bad_orders(&place, ", on_error = 'dlq', dlq = 'dead.jsonl'");
    place.run(&["run", "bad.sql"]).gives(0).says(&["9 rejected (9 dead letters)"]);
    let letters = objects(&place.get("dead.jsonl"));
    assert_eq!(letters.len(), 9);
    assert!(letters[0]["position"].as_str().unwrap().ends_with("orders_bad.jsonl:2 (byte 75)"));
    for key in ["job", "source", "stage", "code", "message", "raw", "headers", "time"] {
        assert!(letters.iter().all(|l| !l[key].is_null()), "{key}");
    }
}

#[test]
fn an_error_budget_ends_the_job() {
    let place = Place::new();
    bad_orders(&place, ", on_error = 'skip', max_errors = '2'");
    place.run(&["run", "bad.sql"]).gives(1).says(&[
        "too many rejected records",
        "max_errors",
        "2",
        "last one",
    ]);
}

#[test]
fn an_operator_error_has_a_way_out_too() {
    let place = Place::new();
    let sql = format!("SELECT order_id / (order_id % 2) AS x FROM '{}'", sample("orders.jsonl"));
    place.run(&["sql", &sql]).gives(1).says(&["division by zero", "SET on_error = 'skip'"]);
    place.run(&["sql", &sql, "--set", "on_error=skip"]).gives(0);
}

#[test]
fn names_that_are_not_there() {
    let place = Place::new();
    let orders = sample("orders.jsonl");
    let from = |sql: &str| sql.replace("ORDERS", &orders);
    let cases: [(&str, &[&str]); 16] = [
        ("SELECT amnt FROM 'ORDERS'", &["query:1:8", "no column 'amnt'", "amount", "^^^^"]),
        ("SELECT uper('a')", &["no function", "uper", "upper"]),
        ("SELECT * FROM nowhere", &["no stream, table or view 'nowhere'"]),
        ("SELECT * FROM 'nofile.csv'", &["query:1:15", "nofile.csv", "No such file"]),
        ("SELECT * FROM 'no/dir/nofile.csv'", &["no directory 'no/dir'"]),
        ("SELECT * FROM read_jsn('ORDERS')", &["read_jsn", "read_json"]),
        ("SELECT * FROM read_csv('ORDERS', delimeter = ',')", &["delimeter", "delimiter"]),
        ("SELECT CAST(1 AS INTEGR)", &["INTEGR"]),
        ("CREATE STREAM t WITH (connector = 'fiel', path = 'x')", &["fiel", "file"]),
        ("CREATE STREAM t WITH (connector = 'file', path = 'x', format = 'jsn')", &["jsn", "json"]),
        ("SELECT * FROM orders.jsonl", &["query:1:15", "in single quotes: 'orders.jsonl'"]),
        ("SELECT * FROM \"orders.jsonl\"", &["query:1:15", "in single quotes: 'orders.jsonl'"]),
        ("SELECT * FROM 'https://example.org/a.csv'", &["only local files are read", "FROM stdin"]),
        ("SELECT * FROM read_json('ORDERS', framing = 'line')", &["'framing'", "did you mean lines?"]),
        ("SHOW STREEMS", &["STREEMS", "STREAMS"]),
        ("DROP STREAM nowhere", &["nowhere"]),
    ];
    for (sql, parts) in cases {
        place.run(&["sql", &from(sql)]).fails_as_usage(parts);
    }
}

#[test]
fn a_wrong_option_is_shown_where_it_stands_and_once() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n");
    let text = "CREATE STREAM o WITH (\n  connector = 'file',\n  path = 'in.jsonl',\n  on_eror = 'skip'\n);\nSELECT a FROM o;\n";
    place.put("o.sql", text);
    let ran =
        place.run(&["check", "o.sql"]).gives(2).says(&["o.sql:4:3", "on_eror", "on_error", "^^^^^^^\n"]);
    // That `o` could not be declared is no second mistake.
    assert_eq!(ran.err.matches("o.sql:").count(), 1, "{}", ran.err);
    place.put("o.sql", text.replace("on_eror = 'skip'", "on_error = 'skipp'"));
    place.run(&["check", "o.sql"]).fails_as_usage(&["o.sql:4:3", "'skipp'", "skip, dlq"]);
}

#[test]
fn a_wrong_option_of_a_table_function_is_shown_where_it_stands() {
    let place = Place::new();
    place.put("in.csv", "a\n1\n");
    for (call, caret) in [
        ("read_csv('in.csv', header = 'true', delimeter = ';')", "query:1:51: ERROR"),
        ("read_csv('in.csv', header => 'tru', delimiter => ';')", "query:1:34: ERROR"),
    ] {
        let at = caret.trim_end_matches(": ERROR");
        place.run(&["sql", &format!("SELECT a FROM {call}")]).fails_as_usage(&[at]);
    }
}

#[test]
fn a_statement_that_does_not_parse_is_one_error_not_two() {
    let place = Place::new();
    for create in [
        "CREATE STREAM o (a BIGNT) WITH (connector = 'file', path = 'o.jsonl')",
        "CREATE STREAM o (a BIGINT WITH (connector = 'file', path = 'o.jsonl')",
        "CREATE TABLE IF NOT EXISTS o WITH connector = 'file'",
        "CREATE OR REPLACE VIEW o AS SELEC 1",
    ] {
        place.put(
            "c.sql",
            format!("{create};\nSELECT a FROM o;\nINSERT INTO o SELECT 1 AS a;\nDESCRIBE o;\n"),
        );
        let ran = place.run(&["check", "c.sql"]).gives(2).says(&["c.sql:1:"]);
        assert_eq!(ran.err.matches("c.sql:").count(), 1, "{}", ran.err);
    }
}

#[test]
fn the_place_of_an_operators_error_names_its_file() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n{\"a\":0}\n");
    place.put("in2.jsonl", "{\"a\":1}\n");
    place
        .run(&["sql", "SELECT 1 / a AS q FROM 'in.jsonl'"])
        .gives(1)
        .says(&["in.jsonl (byte 8)", "division by zero"]);
    let letters = "SELECT 1 / a AS q FROM 'in.jsonl'";
    place.run(&["sql", letters, "--set", "on_error=dlq", "--set", "dlq=bad.jsonl"]).gives(0);
    assert_eq!(objects(&place.get("bad.jsonl"))[0]["position"], "in.jsonl (byte 8)");
    // A batch over two files can't tell.
    place
        .run(&["sql", "SELECT 1 / a AS q FROM read_json('in*.jsonl', on_error = 'fail')"])
        .gives(1)
        .says(&["offset 8"]);
}

#[test]
fn a_missing_file_is_told_once() {
    let place = Place::new();
    place.put(
        "m.sql",
        "CREATE STREAM o WITH (connector = 'file', path = 'none.csv'); SELECT * FROM o;\nSELECT * FROM o;",
    );
    let ran = place.run(&["check", "m.sql"]).gives(2).says(&["m.sql:1:", "can't open 'none.csv'"]);
    assert_eq!(ran.err.matches("can't open").count(), 1, "{}", ran.err);
    place.run(&["sql", "SET mode = 'transactional'; SELECT 1"]).fails_as_usage(&["needs a state directory"]);
}

#[test]
fn secrets_are_not_shown() {
    let place = Place::new();
    place.put(
        "p.sql",
        "CREATE STREAM o WITH (connector = 'file', path = 'x', sasl_password = 'geheim', api_token='t0k');",
    );
    let ran = place.run(&["check", "p.sql"]).gives(2).says(&["sasl_password", "path = 'x'", "'******'"]);
    assert!(!ran.err.contains("geheim") && !ran.err.contains("t0k"), "{}", ran.err);
}

#[test]
fn files_that_are_no_files_of_rows() {
    let place = Place::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    place.put("empty.csv", "").put("empty.jsonl", "").put("x.xyz", "a,b\n");
    place.put("two.jsonl", "{\"a\":1}{\"a\":2}\n").put("plain.jsonl.gz", "{\"a\":1}\n{\"a\":2}\n");
    place.put("wide.jsonl", b"\xFF\xFE{\0\"\0").put("wide_be.csv", b"\xFE\xFF\0a\0,");
    place.put("packed.jsonl", b"\x1F\x8B\x08\0\0\0\0\0").put("table.csv", "PAR1\n");
    let cases: [(&str, &[&str]); 14] = [
        ("SELECT * FROM 'dir'", &["query:1:15", "there is no file in the directory 'dir'"]),
        ("SELECT * FROM 'none.xyz'", &["can't open 'none.xyz'"]),
        ("SELECT * FROM stdin", &["standard input", "it is empty"]),
        ("SELECT * FROM 'two.jsonl'", &["not one JSON object", "trailing characters"]),
        ("SELECT * FROM 'plain.jsonl.gz'", &["plain.jsonl.gz", "compression = 'none'"]),
        ("SELECT * FROM 'wide.jsonl'", &["UTF-16"]),
        ("SELECT * FROM 'wide_be.csv'", &["UTF-16"]),
        ("SELECT * FROM 'packed.jsonl'", &["compression = 'gzip'"]),
        ("SELECT * FROM 'table.csv'", &["Parquet"]),
        ("SELECT * FROM read_csv('dir')", &["dir"]),
        ("SELECT * FROM 'empty.csv'", &["empty.csv", "it is empty", "declare the columns"]),
        ("SELECT * FROM 'empty.jsonl'", &["empty.jsonl", "it is empty", "declare the columns"]),
        ("SELECT * FROM 'x.xyz'", &["x.xyz", "format", "read_csv('x.xyz')"]),
        ("SELECT * FROM 'no*.csv'", &["no*.csv"]),
    ];
    for (sql, parts) in cases {
        place.run(&["sql", sql]).fails_as_usage(parts);
    }
    let declared =
        "CREATE STREAM e (a BIGINT) WITH (connector = 'file', path = 'empty.jsonl'); SELECT a FROM e";
    assert_eq!(place.run(&["sql", declared]).gives(0).out, "");
}

#[test]
fn places_that_can_not_be_written() {
    let place = Place::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    let sink = |with: &str| {
        place.run(&[
            "sql",
            &format!("CREATE STREAM t WITH (connector = 'file', {with}); INSERT INTO t SELECT 1 AS a"),
        ])
    };
    sink("path = 'no/x.jsonl'").gives(1).says(&["sink t", "no/x.jsonl", "no directory 'no'"]);
    sink("path = 'dir', format = 'json'").gives(1).says(&["sink t", "dir", "directory"]);
    sink("path = 'x.xyz'").fails_as_usage(&["query:1:60", "from its path 'x.xyz'", "format = '…'"]);
    sink("format = 'json'").fails_as_usage(&["query:1:", "path"]);
}

#[test]
fn carriage_returns_alone_and_nul_bytes_are_called_by_their_names() {
    let place = Place::new();
    place
        .put("cr.csv", "a,b\r1,2\r3,4\r")
        .put("nul.csv", "a,b\0\n1,2\n")
        .put("mixed.csv", "a,b\r\n1,2\r3,4\r\n5,6\r\n");
    place
        .run(&["sql", "SELECT * FROM 'cr.csv'"])
        .fails_as_usage(&["cr.csv", "neither in quotes nor before a line feed"]);
    place.run(&["sql", "SELECT * FROM 'nul.csv'"]).fails_as_usage(&["nul.csv", "NUL byte"]);
    for header in ["auto", "true", "false"] {
        let sql = format!(
            "CREATE STREAM s (a BIGINT, b VARCHAR) WITH (connector = 'file', path = 'cr.csv', header = '{header}'); SELECT * FROM s"
        );
        place.run(&["sql", &sql]).gives(1).says(&[
            "source s",
            "cr.csv",
            "neither in quotes nor before a line feed",
        ]);
    }
    let sql = "CREATE STREAM s (a BIGINT, b VARCHAR) WITH (connector = 'file', path = 'mixed.csv'); SELECT * FROM s";
    place
        .run(&["sql", sql])
        .gives(1)
        .says(&["mixed.csv:2 (byte 5)", "neither in quotes nor before a line feed"]);
    let sql = sql.replace("'mixed.csv'", "'mixed.csv', on_error = 'skip'");
    assert_eq!(place.run(&["sql", &sql]).gives(0).out, "{\"a\":5,\"b\":\"6\"}\n");
}

#[test]
fn a_full_disk_is_no_success() {
    let place = Place::new();
    place.put(
        "full.sql",
        "CREATE STREAM t WITH (connector = 'file', path = '/dev/full', format = 'json', mode = 'append');
         INSERT INTO t SELECT 1 AS a;",
    );
    let ran = place.run(&["run", "full.sql"]).gives(1).says(&["sink t", "No space left on device"]);
    assert!(ran.err.contains("full failed: 1 row read, at most 1 written"), "{}", ran.err);
}

#[test]
fn a_line_that_is_too_long_is_one_bad_record() {
    let place = Place::new();
    place.put("long.jsonl", format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n{{\"a\":3}}\n", "x".repeat(2_000_000)));
    let sql = "SELECT a FROM read_json('long.jsonl', sample_rows = '1', on_error = 'skip')";
    assert_eq!(place.run(&["sql", sql]).gives(0).out, "{\"a\":1}\n{\"a\":3}\n");
    place.run(&["sql", "SELECT a FROM read_json('long.jsonl', sample_rows = '1')"]).gives(1).says(&[
        "long.jsonl",
        "long.jsonl:2 (byte 8)",
        "max_record_bytes (1048576)",
        "too_large",
    ]);
}

#[test]
fn odd_lines_and_their_neighbours() {
    let place = Place::new();
    place.put("odd.jsonl", "{\"a\":1}\n[1,2]\n\n{\"a\":NaN}\nnull\n{\"a\":3}");
    let sql = "CREATE STREAM o (a BIGINT) WITH (connector = 'file', path = 'odd.jsonl', on_error = 'skip');
               SELECT a FROM o";
    assert_eq!(place.run(&["sql", sql]).gives(0).out, "{\"a\":1}\n{\"a\":3}\n");
    let ran = place.run(&["sql", "SELECT a FROM 'odd.jsonl'"]).gives(1);
    assert!(ran.err.contains("must be a JSON object") && !ran.err.contains("inferred"), "{}", ran.err);
    place.put("odd.csv", "a,b\n1,2\n3\n4,5,6\n\"x\ny\",7\n\"unclosed,8\n");
    place.run(&["sql", "SELECT * FROM 'odd.csv'"]).gives(1).says(&[
        "odd.csv:3 (byte 8)",
        "1 field where 2 are expected",
        "ragged = 'pad'",
    ]);
    let skipped = place.run(&["sql", "SELECT b FROM read_csv('odd.csv', on_error = 'skip')"]).gives(0);
    assert_eq!(skipped.out, "{\"b\":2}\n{\"b\":7}\n");
}
