//! `millstream sql`: formats, limits, input and what goes where.

use super::tool::{Place, Running, objects, sample};

#[test]
fn rows_go_to_stdout_and_nothing_else_does() {
    let place = Place::new();
    let ran = place.run(&["sql", "SELECT 1 AS a, 'x' AS b"]).gives(0);
    assert_eq!(ran.out, "{\"a\":1,\"b\":\"x\"}\n");
    assert_eq!(ran.err, "");
}

#[test]
fn three_formats() {
    let place = Place::new();
    let query =
        format!("SELECT carrier, name FROM '{}' WHERE carrier IN ('AA', 'B6')", sample("airlines.csv"));
    let json = place.run(&["sql", &query, "--format", "json"]).gives(0).out;
    assert_eq!(objects(&json)[1]["name"], "JetBlue Airways");
    let csv = place.run(&["sql", &query, "--format", "csv"]).gives(0).out;
    assert_eq!(csv, "carrier,name\nAA,American Airlines Inc.\nB6,JetBlue Airways\n");
    let table = place.run(&["sql", &query, "--format", "table"]).gives(0).out;
    assert!(table.contains("│ carrier │ name                   │"), "{table}");
    assert!(table.ends_with("2 rows\n"), "{table}");
    let one = place.run(&["sql", "SELECT 1 AS a", "--format", "table"]).gives(0).out;
    assert!(one.ends_with("1 row\n"), "{one}");
}

#[test]
fn a_long_table_shows_head_and_tail() {
    let place = Place::new();
    let query = format!("SELECT order_id FROM '{}'", sample("orders.jsonl"));
    let table = place.run(&["sql", &query, "--format", "table"]).gives(0).out;
    assert!(table.contains("1,000 rows (35 shown") || table.contains("1000 rows (35 shown"), "{table}");
    assert_eq!(table.lines().count(), 25 + 1 + 10 + 4 + 1);
}

#[test]
fn limit_applies_to_the_query_whatever_it_holds() {
    let place = Place::new();
    let query = format!("SELECT order_id FROM '{}'; -- the end;", sample("orders.jsonl"));
    assert_eq!(place.run(&["sql", &query, "--limit", "3"]).gives(0).out.lines().count(), 3);
    assert_eq!(place.run(&["sql", &query, "--limit", "0"]).gives(0).out, "");
    let limited = format!("SELECT order_id FROM '{}' LIMIT 5", sample("orders.jsonl"));
    assert_eq!(place.run(&["sql", &limited, "--limit", "3"]).gives(0).out.lines().count(), 3);
    assert_eq!(place.run(&["sql", &limited, "--limit", "9"]).gives(0).out.lines().count(), 5);
    assert_eq!(place.run(&["sql", "SELECT ';' AS x", "--limit", "1"]).gives(0).out, "{\"x\":\";\"}\n");
    let shown = place.run(&["sql", "SHOW SETTINGS", "--limit", "1"]).gives(0).out;
    assert!(shown.lines().count() > 10, "{shown}");
    // The places in errors are those of the text that was given.
    place.run(&["sql", "SELECT nope", "--limit", "1"]).fails_as_usage(&["query:1:8", "1 | SELECT nope\n"]);
}

#[test]
fn the_query_comes_from_stdin() {
    let place = Place::new();
    for args in [&["sql"][..], &["sql", "-"]] {
        assert_eq!(place.run_with_input(args, "SELECT 1 + 1 AS two;\n").gives(0).out, "{\"two\":2}\n");
    }
    place.run(&["sql"]).fails_as_usage(&["nothing to run"]);
}

#[test]
fn rows_come_from_stdin() {
    let place = Place::new();
    let rows = "{\"a\":1}\n{\"a\":2}\n";
    let ran = place.run_with_input(&["sql", "SELECT a * 2 AS b FROM stdin", "--format", "csv"], rows);
    assert_eq!(ran.gives(0).out, "b\n2\n4\n");
    let ran = place.run_with_input(&["sql", "SELECT y FROM read_csv('-')"], "x,y\n1,2\n");
    assert_eq!(ran.gives(0).out, "{\"y\":2}\n");
}

#[test]
fn answers_have_the_three_formats_too() {
    let place = Place::new();
    let query = format!("DESCRIBE t; {}", "");
    let sql =
        format!("CREATE STREAM t WITH (connector = 'file', path = '{}'); {query}", sample("airlines.csv"));
    let json = objects(&place.run(&["sql", &sql, "--format", "json"]).gives(0).out);
    assert_eq!(json[0]["column"], "carrier");
    assert_eq!(json[0]["type"], "VARCHAR");
    let csv = place.run(&["sql", &sql, "--format", "csv"]).gives(0).out;
    assert!(csv.starts_with("column,type,null\n\"carrier\",\"VARCHAR\""), "{csv}");
    let table = place.run(&["sql", &sql, "--format", "table"]).gives(0).out;
    assert!(table.contains("│ carrier │ VARCHAR"), "{table}");
    let plan = place.run(&["sql", "EXPLAIN SELECT 1", "--format", "table"]).gives(0).out;
    assert!(plan.contains("logical") && !plan.contains('│'), "{plan}");
}

#[test]
fn a_file_is_described_without_a_declaration() {
    let place = Place::new();
    place.put("in.csv", "day,n\n2026-01-01,1\n");
    let columns = objects(&place.run(&["sql", "DESCRIBE 'in.csv'"]).gives(0).out);
    let shown: Vec<_> = columns.iter().map(|c| format!("{} {}", c["column"], c["type"])).collect();
    assert_eq!(shown, ["\"day\" \"DATE\"", "\"n\" \"BIGINT\""]);
    place.run(&["sql", "DESCRIBE 'inn.csv'"]).fails_as_usage(&["query:1:1", "did you mean 'in.csv'?"]);
}

#[test]
fn statistics_are_one_json_object_on_stderr() {
    let place = Place::new();
    let query = format!("SELECT order_id FROM '{}' WHERE order_id % 2 = 0", sample("orders.jsonl"));
    let ran = place.run(&["sql", &query, "--stats", "json"]).gives(0);
    let stats = objects(&ran.err);
    assert_eq!(stats.len(), 1, "{}", ran.err);
    let s = &stats[0];
    assert_eq!(s["records_in"], 1000);
    assert_eq!(s["records_out"].as_u64().unwrap(), ran.out.lines().count() as u64);
    assert_eq!(s["filtered"].as_u64().unwrap(), 1000 - s["records_out"].as_u64().unwrap());
    for key in [
        "late",
        "rejected",
        "bytes_in",
        "wall_s",
        "deep_copies",
        "batches",
        "commits",
        "peak_memory_bytes",
        "dead_letters",
    ] {
        assert!(s[key].is_number(), "{key} in {s}");
    }
    for stage in ["sources", "sinks"] {
        for key in ["busy_s", "waiting_s", "blocked_s"] {
            assert!(s[stage][0]["time"][key].is_number(), "{stage} {key} in {s}");
        }
    }
    assert_eq!(s["deep_copies"], 0);
}

#[test]
fn each_thread_accounts_for_its_time_in_the_statistics() {
    let place = Place::new();
    let query = format!("SELECT order_id FROM '{}' WHERE order_id % 2 = 0", sample("orders.jsonl"));
    for (execution, threads) in [("inline", 1), ("threads", 3)] {
        let execution = format!("execution={execution}");
        let ran = place.run(&["sql", &query, "--stats", "json", "--set", &execution]).gives(0);
        let stats = objects(&ran.err);
        let accounts = stats[0]["threads"].as_array().unwrap();
        assert_eq!(accounts.len(), threads, "{execution}: {accounts:?}");
        for t in accounts {
            let of = |key: &str| t[key].as_f64().unwrap();
            let sum = of("busy_s") + of("waiting_s") + of("blocked_s") + of("idle_s");
            assert!(sum > 0.0 && (sum - of("wall_s")).abs() <= 0.02 * of("wall_s"), "{execution}: {t}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_cleanly() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n");
    let many =
        "CREATE STREAM g WITH (connector = 'generator', preset = 'orders', rows = '50000'); SELECT * FROM g";
    let live = "SELECT a FROM read_json('in.jsonl', follow = 'true')";
    place.put("many.sql", many);
    let commands: [&[&str]; 8] = [
        &["run", "many.sql"],
        &["sql", many],
        &["sql", many, "--format", "csv"],
        &["sql", many, "--format", "table"],
        &["sql", live, "--format", "table"],
        &["generate", "orders", "--rows", "50000"],
        &["functions"],
        &["completions", "bash"],
    ];
    for args in commands {
        let mut command = place.command(args);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer);
        let ran = Running::of(command).finish().gives(0);
        assert_eq!(
            ran.err.contains("many: the reader of its output is gone: "),
            args[0] == "run",
            "{}",
            ran.err
        );
        assert!(
            !ran.err.contains("failed") && !ran.err.contains("error") && !ran.err.contains("panicked"),
            "{args:?}: {}",
            ran.err
        );
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::new();
    let mut command = place.command(&["sql", "SELECT 1"]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
}

#[test]
fn limit_ends_a_followed_file() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    let sql = "SELECT a FROM read_json('in.jsonl', follow = 'true') LIMIT 2";
    assert_eq!(place.run(&["sql", sql]).gives(0).out, "{\"a\":1}\n{\"a\":2}\n");
}
