//! `run`, `check` and `explain`: pipeline files, variables, settings.

use super::tool::{Place, objects, sample};

/// Reads the sample orders, writes two files.
fn two_outputs(place: &Place) {
    let text = format!(
        "CREATE STREAM orders WITH (connector = 'file', path = '{}');
         CREATE STREAM ids WITH (connector = 'file', path = '${{OUT:-ids}}.jsonl');
         CREATE STREAM big WITH (connector = 'file', path = 'big.csv');
         INSERT INTO ids SELECT order_id FROM orders;
         INSERT INTO big SELECT order_id, amount FROM orders WHERE amount > ${{MIN:-0}};",
        sample("orders.jsonl")
    );
    place.put("two.sql", text);
}

#[test]
fn run_writes_the_files_and_says_so_on_stderr() {
    let place = Place::new();
    two_outputs(&place);
    let ran = place.run(&["run", "two.sql"]).gives(0).says(&["two: 1,000 rows read", "written"]);
    assert_eq!(ran.out, "");
    assert_eq!(place.get("ids.jsonl").lines().count(), 1000);
    assert_eq!(place.get("big.csv").lines().count(), 1001);
    let quiet = place.run(&["run", "two.sql", "-q"]).gives(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
}

#[test]
fn variables_of_the_environment() {
    let place = Place::new();
    two_outputs(&place);
    place.run_env(&["run", "two.sql", "-q"], &[("OUT", "other"), ("MIN", "1000000000")]).gives(0);
    assert_eq!(place.get("other.jsonl").lines().count(), 1000);
    assert_eq!(place.get("big.csv").lines().count(), 1);
    place.put("v.sql", "SELECT 1 AS a\n, ${NOT_SET:?say which day} AS b");
    place.run(&["run", "v.sql"]).fails_as_usage(&["v.sql: line 2", "NOT_SET", "say which day"]);
    place.put("v.sql", "SELECT ${NOT_SET} AS b");
    place.run(&["check", "v.sql"]).fails_as_usage(&["line 1", "NOT_SET", "is not set", ":-"]);
    place.put("v.sql", "SELECT '${A:-x}' AS b");
    assert_eq!(place.run_env(&["run", "v.sql", "-q"], &[("A", "y")]).gives(0).out, "{\"b\":\"y\"}\n");
}

#[test]
fn settings_from_the_text_the_flags_and_the_environment() {
    let place = Place::new();
    place.put("s.sql", "SHOW SETTINGS");
    let value = |args: &[&str], env: &[(&str, &str)], text: &str| {
        place.put("s.sql", text);
        let rows = objects(&place.run_env(args, env).gives(0).out);
        rows.iter().find(|r| r["setting"] == "batch_rows").unwrap()["value"].as_str().unwrap().to_owned()
    };
    let env = [("MILLSTREAM_BATCH_ROWS", "11")];
    assert_eq!(value(&["run", "s.sql"], &env, "SHOW SETTINGS"), "11");
    assert_eq!(value(&["run", "s.sql", "--batch-rows", "12"], &env, "SHOW SETTINGS"), "12");
    assert_eq!(value(&["run", "s.sql", "--set", "batch_rows=13"], &env, "SHOW SETTINGS"), "13");
    let text = "SET batch_rows = 14; SHOW SETTINGS";
    assert_eq!(value(&["run", "s.sql", "--set", "batch_rows=13"], &env, text), "14");

    place
        .run(&["run", "s.sql", "--set", "bach_rows=1"])
        .fails_as_usage(&["no setting 'bach_rows'", "batch_rows"]);
    place.run(&["run", "s.sql", "--set", "batch_rows"]).fails_as_usage(&["name=value"]);
    place.run(&["run", "s.sql", "--set", "batch_rows=x"]).fails_as_usage(&["'x'", "whole number"]);
    place.run_env(&["run", "s.sql"], &[("MILLSTREAM_THREADS", "x")]).fails_as_usage(&["threads", "'x'"]);
    place.run_env(&["check", "s.sql"], &[("MILLSTREAM_THREADS", "x")]).fails_as_usage(&["threads", "'x'"]);
    place
        .run_env(&["run", "s.sql"], &[("MILLSTREAM_BATCH_ROW", "5"), ("MILLSTREAM_INPUT_PATH", "x")])
        .gives(0)
        .says(&["MILLSTREAM_BATCH_ROW", "did you mean MILLSTREAM_BATCH_ROWS?"]);
    place.put("s.sql", "SET bach_rows = 1; SELECT 1");
    place.run(&["run", "s.sql"]).fails_as_usage(&["s.sql:1:", "bach_rows", "batch_rows"]);
}

#[test]
fn check_never_runs_anything() {
    let place = Place::new();
    two_outputs(&place);
    let ran = place.run(&["check", "two.sql"]).gives(0).says(&["orders → ids, big", "two.sql: ok (1 job)"]);
    assert_eq!(ran.out, "");
    assert_eq!(place.get("ids.jsonl"), "");
    assert!(!place.path("ids.jsonl").exists() && !place.path("big.csv").exists());
}

#[test]
fn check_and_explain_say_where_rows_go_and_when_they_are_seen() {
    let place = Place::new();
    let pipeline = |mode: &str, options: &str| {
        let text = format!(
            "SET mode = '{mode}'; SET state = 'state'; CREATE STREAM i (k BIGINT, t VARCHAR) WITH (connector = 'file', path = \
             'i.jsonl'); CREATE STREAM o WITH (connector = 'file', format = 'json', path = {options}); INSERT INTO o SELECT k, t FROM i"
        );
        place.put("i.jsonl", "");
        place.put("job.sql", text);
    };
    let rotated = "'out//{t}/%Y-%m', rotate_size = '64 MB', rotate_interval = '10m'";
    for (mode, options, said) in [
        (
            "transactional",
            rotated,
            [
                "parts: out/{t}/%Y-%m/part-job-<epoch>-<n>.jsonl",
                "rotation: at the first commit from 64000000 bytes on or after 600s",
                "shown: whole, when committed; until then in out/.stage",
            ],
        ),
        (
            "transactional",
            "'out'",
            [
                "parts: out/part-job-<epoch>-<n>.jsonl",
                "rotation: a part each commit",
                "shown: whole, when committed; until then in out/.stage",
            ],
        ),
        (
            "simple",
            "'out', rotate_interval = '90s'",
            [
                "parts: out/part-job-<epoch>-<n>.jsonl",
                "rotation: at the first commit after 90s",
                "shown: as they grow; a restart cuts them back to their last commit",
            ],
        ),
        (
            "transactional",
            "'out.jsonl', layout = 'single'",
            ["path: out.jsonl", "shown: as it grows", "a restart cuts it back to its last commit"],
        ),
    ] {
        pipeline(mode, options);
        place.run(&["check", "job.sql"]).gives(0).says(&said);
        let plan = place.run(&["explain", "job.sql", "--stage", "physical"]).gives(0).out;
        let sink = plan.lines().find(|l| l.starts_with("sink o")).unwrap();
        said.iter().for_each(|s| assert!(sink.contains(s), "{s} in {sink}"));
        assert!(!place.path("out").exists() && !place.path("state").exists());
    }
    let text = "CREATE STREAM i (k BIGINT) WITH (connector = 'file', path = 'i.jsonl'); CREATE STREAM o WITH (connector = \
                'file', format = 'json', path = 'out', layout = 'parts'); EXPLAIN INSERT INTO o SELECT k FROM i";
    let plan = place.run(&["sql", text]).gives(0).out;
    assert!(plan.contains("parts: out/part-query-<epoch>-<n>.jsonl"), "{plan}");
}

#[test]
fn check_gives_every_diagnostic_with_its_place() {
    let place = Place::new();
    place.put("b.sql", "SELECT nope;\nSELECT uper('a');\nSELEC 1;\nINSERT INTO nowhere SELECT 1 AS a;\n");
    let ran = place.run(&["check", "b.sql"]).gives(2);
    for part in ["b.sql:1:8: ", "b.sql:2:8: ", "b.sql:3:1: ", "b.sql:4:13: ", "upper", "^"] {
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
    place.run(&["run", "b.sql"]).fails_as_usage(&["b.sql:4:13"]);
    place.run(&["explain", "b.sql"]).fails_as_usage(&["b.sql:4:13"]);
}

#[test]
fn check_knows_what_only_a_job_knows() {
    let place = Place::new();
    place.put(
        "d.sql",
        format!("SELECT order_id FROM read_json('{}', on_error = 'dlq')", sample("orders.jsonl")),
    );
    place.run(&["check", "d.sql"]).fails_as_usage(&["dead letter queue", "dlq = 'bad.jsonl'"]);
    place.run(&["check", "d.sql", "--set", "dlq=bad.jsonl"]).gives(0);
    assert!(!place.path("bad.jsonl").exists());
    place.run(&["check", "d.sql", "--set", "dlq=bad"]).fails_as_usage(&["dlq = 'bad'", "path"]);
}

#[test]
fn plans_in_every_stage_and_format() {
    let place = Place::new();
    two_outputs(&place);
    let all = place.run(&["explain", "two.sql"]).gives(0);
    assert_eq!(all.err, "");
    let physical = place.run(&["explain", "two.sql", "--stage", "physical"]).gives(0).out;
    assert!(all.out.contains(physical.lines().nth(1).unwrap()) && all.out.len() > physical.len());
    for stage in ["logical", "optimized", "physical"] {
        let text = place.run(&["explain", "two.sql", "--stage", stage]).gives(0).out;
        assert!(text.contains("amount"), "{stage}: {text}");
        let json = place.run(&["explain", "two.sql", "--stage", stage, "--format", "json"]).gives(0).out;
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.get(stage).is_some(), "{json}");
        let dot = place.run(&["explain", "two.sql", "--stage", stage, "--format", "dot"]).gives(0).out;
        assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'), "{dot}");
    }
    place.run(&["explain", "two.sql", "--stage", "phisical"]).fails_as_usage(&["phisical", "physical"]);
    assert!(!place.path("ids.jsonl").exists());
}

#[test]
fn several_jobs_of_one_file_run_side_by_side() {
    let place = Place::new();
    place.put(
        "j.sql",
        "CREATE STREAM a WITH (connector = 'generator', preset = 'orders', rows = '10');
         CREATE STREAM b WITH (connector = 'generator', preset = 'orders', rows = '20');
         CREATE STREAM x WITH (connector = 'file', path = 'x.jsonl');
         CREATE STREAM y WITH (connector = 'file', path = 'y.jsonl');
         INSERT INTO x SELECT * FROM a; INSERT INTO y SELECT * FROM b;",
    );
    place.run(&["run", "j.sql"]).gives(0).says(&["j-1: 10 rows", "j-2: 20 rows"]);
    assert_eq!((place.get("x.jsonl").lines().count(), place.get("y.jsonl").lines().count()), (10, 20));
    let ran = place.run(&["run", "j.sql", "--stats", "json"]).gives(0);
    let jobs: Vec<_> = objects(&ran.err).iter().map(|s| s["job"].as_str().unwrap().to_owned()).collect();
    assert_eq!(jobs, ["j-1", "j-2"]);
}

#[test]
fn files_that_clash_are_refused_before_anything_is_written() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n").put("other.jsonl", "{\"a\":2}\n").put("target.txt", "");
    let text = |first: &str, second: &str, settings: &str| {
        format!(
            "{settings} CREATE STREAM i WITH (connector = 'file', path = 'in.jsonl');
             CREATE STREAM j WITH (connector = 'file', path = 'other.jsonl');
             CREATE STREAM x WITH (connector = 'file', path = '{first}', format = 'json');
             CREATE STREAM y WITH (connector = 'file', path = '{second}', format = 'json');
             INSERT INTO x SELECT * FROM i; INSERT INTO y SELECT * FROM j;"
        )
    };
    let dir = place.path("out.jsonl");
    let cases = [
        (text("out.jsonl", "./out.jsonl", ""), "'y' and 'x' would both write"),
        (text("out.jsonl", dir.to_str().unwrap(), ""), "'y' and 'x' would both write"),
        (text("in.jsonl", "b.jsonl", ""), "'x' would overwrite"),
        // Another job of the text reads it.
        (text("other.jsonl", "b.jsonl", ""), "'x' would overwrite"),
        (
            text("out.jsonl", "b.jsonl", "SET dlq = 'b.jsonl'; SET on_error = 'dlq';"),
            "where the dead letters go",
        ),
        (text("out.jsonl", "b.jsonl", "SET dlq = 'in.jsonl'; SET on_error = 'dlq';"), "which 'i' reads"),
    ];
    for (sql, message) in cases {
        place.put("c.sql", &sql);
        place.run(&["check", "c.sql"]).fails_as_usage(&[message]);
        place.run(&["run", "c.sql"]).fails_as_usage(&[message]);
        assert!(!dir.exists());
    }
    assert_eq!(place.get("in.jsonl"), "{\"a\":1}\n");
    place.put("c.sql", text("/dev/null", "/dev/null", ""));
    place.run(&["run", "c.sql"]).gives(0);
}

#[test]
fn a_pipeline_from_standard_input() {
    let place = Place::new();
    let ran = place.run_with_input(&["run", "-"], "SELECT 6 * 7 AS a;").gives(0).says(&["stdin: "]);
    assert_eq!(ran.out, "{\"a\":42}\n");
    place.run_with_input(&["check", "-"], "SELECT 6 *").gives(2).says(&["stdin:1:11"]);
}

#[test]
fn a_pipeline_that_can_not_be_read() {
    let place = Place::new();
    place.run(&["run", "nope.sql"]).fails_as_usage(&["nope.sql", "No such file"]);
    place.run(&["run", "."]).fails_as_usage(&["directory"]);
    place.put("e.sql", "-- nothing\n");
    place.run(&["run", "e.sql"]).fails_as_usage(&["e.sql", "nothing to run"]);
    place.put("e.sql", [b'S', 0xff]);
    place.run(&["run", "e.sql"]).fails_as_usage(&["e.sql", "UTF-8"]);
}

#[test]
fn what_conditions_drop_is_counted_per_condition() {
    let place = Place::new();
    place.put("in.jsonl", "{\"a\":1}\n{\"a\":2}\n");
    let sql = |second: &str| {
        format!(
            "CREATE STREAM i (a BIGINT) WITH (connector = 'file', path = 'in.jsonl');
             CREATE STREAM x WITH (connector = 'file', path = 'x.jsonl');
             CREATE STREAM y WITH (connector = 'file', path = 'y.jsonl');
             INSERT INTO x SELECT a FROM i WHERE a > 1; INSERT INTO y SELECT a FROM i{second};"
        )
    };
    place.put("one.sql", sql("")).put("two.sql", sql(" WHERE a > 5"));
    place.run(&["run", "one.sql"]).gives(0).says(&["one: 2 rows read, 1 filtered out, 3 written"]);
    place
        .run(&["run", "two.sql"])
        .gives(0)
        .says(&["two: 2 rows read, 3 filtered out by 2 conditions, 1 written"]);
}
