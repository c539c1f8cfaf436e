//! `functions`, `connectors`, `settings`, `generate`, `completions`, `--help`.

use super::tool::{Place, objects};

#[test]
fn functions_with_signature_meaning_and_example() {
    let place = Place::new();
    let all = place.run(&["functions"]).gives(0);
    assert_eq!(all.err, "");
    let count: usize =
        all.out.lines().last().unwrap().split_whitespace().next().unwrap().replace(',', "").parse().unwrap();
    assert!(count >= 200, "{count}");
    let one = place.run(&["functions", "UPPER"]).gives(0).out;
    assert!(one.starts_with("upper(") && one.contains('→'), "{one}");
    assert!(all.out.contains("\naggregates\n") && all.out.contains("\n  sum(integer)"), "{}", all.out);
    let sum = place.run(&["functions", "sum"]).gives(0).out;
    assert!(sum.contains("sum(decimal) (aggregate)") && sum.contains("over (1), (NULL), (3) → 4"), "{sum}");
    place.run(&["functions", "uper"]).fails_as_usage(&["no function 'uper'", "upper"]);
}

#[test]
fn connectors_with_their_options() {
    let place = Place::new();
    let all = place.run(&["connectors"]).gives(0).out;
    for name in ["file", "stdin", "stdout", "generator", "blackhole"] {
        assert!(all.lines().any(|l| l.starts_with(name)), "{name} in {all}");
    }
    let file = place.run(&["connectors", "file"]).gives(0).out;
    for option in ["path", "follow", "on_error", "format = 'csv'", "delimiter", "(required)"] {
        assert!(file.contains(option), "{option} in {file}");
    }
    place.run(&["connectors", "fil"]).fails_as_usage(&["no connector 'fil'", "file"]);
}

#[test]
fn settings_with_their_defaults() {
    let out = Place::new().run(&["settings"]).gives(0).out;
    for name in ["threads", "batch_rows", "on_error", "state"] {
        assert!(out.lines().any(|l| l.trim_start().starts_with(name)), "{name} in {out}");
    }
}

#[test]
fn generated_rows_depend_on_the_seed_alone() {
    let place = Place::new();
    let rows = |seed: &str| place.run(&["generate", "orders", "--rows", "50", "--seed", seed]).gives(0).out;
    let one = rows("1");
    assert_eq!(objects(&one).len(), 50);
    assert_eq!(one, rows("1"));
    assert_ne!(one, rows("2"));
}

#[test]
fn generated_files_take_the_format_of_their_name() {
    let place = Place::new();
    place
        .run(&["generate", "sensors", "--rows", "3", "--out", "s.csv"])
        .gives(0)
        .says(&["3 rows read, 3 written"]);
    let csv = place.get("s.csv");
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert_eq!(
        place.run(&["generate", "clicks", "--rows", "2", "--format", "tsv"]).gives(0).out.lines().count(),
        3
    );
    place.run(&["generate", "odrers"]).fails_as_usage(&["error: 'preset' can't be 'odrers'", "orders"]);
    place
        .run(&["generate", "orders", "--format", "xml"])
        .fails_as_usage(&["error: there is no format 'xml'", "json"]);
}

#[test]
fn a_generated_file_needs_a_format_and_a_place() {
    let place = Place::new();
    place
        .run(&["generate", "orders", "--out", "x.parquet"])
        .fails_as_usage(&["can't tell the format of 'x.parquet'", "--format"]);
    place.run(&["generate", "orders", "--out", "no/x.csv"]).gives(1).says(&["there is no directory 'no'"]);
    place.run(&["generate", "order"]).fails_as_usage(&["did you mean orders?"]);
}

#[test]
fn completion_scripts() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).gives(0).out.contains("batch-rows"), "{shell}");
    }
    place.run(&["completions", "tcsh"]).fails_as_usage(&["tcsh", "bash"]);
}

#[test]
fn help_is_data_and_usage_errors_are_not() {
    let place = Place::new();
    for args in [&["--help"][..], &["sql", "--help"], &["run", "--help"]] {
        let ran = place.run(args).gives(0);
        assert!(ran.out.contains("Examples:"), "{}", ran.out);
        assert_eq!(ran.err, "");
    }
    assert!(place.run(&["--version"]).gives(0).out.starts_with("millstream "));
    place.run(&[]).fails_as_usage(&["Usage"]);
    place.run(&["sqll"]).fails_as_usage(&["sqll", "similar", "sql"]);
    place.run(&["sql", "SELECT 1", "--formt", "json"]).fails_as_usage(&["--formt", "--format"]);
    place.run(&["sql", "SELECT 1", "--format", "xml"]).fails_as_usage(&["xml", "json"]);
    place.run(&["run"]).fails_as_usage(&["PIPELINE"]);
}

#[test]
fn measurements_are_lines_that_the_example_pipeline_sums_up() {
    let place = Place::new();
    place.run(&["generate", "measurements", "--rows", "20000", "--out", "measurements.txt"]).gives(0);
    let text = std::fs::read_to_string(place.path("measurements.txt")).unwrap();
    // Tenths: least, sum, greatest, rows.
    let mut stations: std::collections::BTreeMap<&str, (i64, i64, i64, i64)> = Default::default();
    for line in text.lines() {
        let (station, temperature) = line.split_once(';').unwrap();
        let tenths: i64 = temperature.replace('.', "").parse().unwrap();
        assert!(temperature.len() - temperature.find('.').unwrap() == 2 && tenths.abs() < 1000, "{line}");
        let s = stations.entry(station).or_insert((tenths, 0, tenths, 0));
        *s = (s.0.min(tenths), s.1 + tenths, s.2.max(tenths), s.3 + 1);
    }
    assert!(stations.len() > 400, "{}", stations.len());
    let pipeline = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/measurements.sql");
    let ran = place.run(&["run", pipeline, "--format", "csv"]).gives(0);
    let tenths = |text: &str| -> i64 {
        let (whole, digit) = text.split_once('.').unwrap_or((text, "0"));
        let size =
            whole.trim_start_matches('-').parse::<i64>().unwrap() * 10 + digit[..1].parse::<i64>().unwrap();
        if text.starts_with('-') { -size } else { size }
    };
    let mut rows = ran.out.lines();
    assert_eq!(rows.next(), Some("station,min,mean,max"));
    for (row, (station, (least, sum, greatest, n))) in rows.by_ref().zip(&stations) {
        let cells: Vec<&str> = row.split(',').collect();
        // Half away from zero.
        let mean = (2 * sum.abs() + n) / (2 * n) * sum.signum();
        assert_eq!(cells[0], *station);
        assert_eq!(
            [tenths(cells[1]), tenths(cells[2]), tenths(cells[3])],
            [*least, mean, *greatest],
            "{row}"
        );
    }
    assert_eq!(ran.out.lines().count(), stations.len() + 1);
}
