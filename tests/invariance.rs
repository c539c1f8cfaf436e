//! Random pipelines over random data give the same bytes whatever the execution, the threads and the batches.

mod support;

use std::fmt::Write;
use std::path::Path;

use millstream::Engine;
use support::within;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

fn data(random: &mut Random, rows: u64) -> String {
    let mut text = String::new();
    for i in 0..rows {
        let word = "héllo wörld ".repeat(random.below(4) as usize);
        let a = match random.below(10) {
            0 => "null".to_owned(),
            _ => (random.below(200) as i64 - 100).to_string(),
        };
        let list = (0..random.below(4)).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        writeln!(
            text,
            "{{\"id\":{i},\"a\":{a},\"word\":\"{word}\",\"list\":[{list}],\"x\":{}.5}}",
            random.below(99)
        )
        .unwrap();
    }
    text
}

fn select(random: &mut Random, source: &str) -> String {
    let columns = [
        "a",
        "a + id AS s",
        "upper(word) AS w",
        "word",
        "x * 2 AS y",
        "100 / a AS q",
        "length(word) AS l",
        "a IS NULL AS z",
    ];
    let conditions =
        ["a > 0", "id % 3 <> 1", "word LIKE '%w%'", "a IS NOT NULL", "x < 50.0", "1000 / a > 20"];
    let mut text = format!("SELECT id, {} AS k", random.of(&["a", "id * 2", "abs(a)"]));
    for (i, _) in (0..random.below(4)).enumerate() {
        let column = random.of(&columns);
        let expression = column.split(" AS ").next().unwrap();
        write!(text, ", {expression} AS c{i}").unwrap();
    }
    match random.below(5) {
        0 => write!(text, ", e FROM {source}, UNNEST(list) AS u(e)").unwrap(),
        _ => write!(text, " FROM {source}").unwrap(),
    }
    if random.below(3) > 0 {
        write!(text, " WHERE {}", random.of(&conditions)).unwrap();
    }
    text
}

/// The statements of a pipeline: one or two sources, one to three outputs.
fn pipeline(random: &mut Random) -> Vec<String> {
    let mut statements = Vec::new();
    match random.below(5) {
        // The same source, twice into the same output.
        0 => {
            let (one, two) = (random.of(&["a > 0", "id % 2 = 0"]), random.of(&["a < 5", "id % 5 = 0"]));
            statements.push(format!(
                "INSERT INTO o0 SELECT id, a FROM one WHERE {one} UNION ALL SELECT a, id FROM one WHERE {two}"
            ));
        }
        1 => {
            statements.push("INSERT INTO o0 SELECT id, a * 2 AS a FROM one WHERE id % 2 = 0".to_owned());
            statements.push("INSERT INTO o0 SELECT id, a FROM one WHERE id % 3 = 0".to_owned());
        }
        // Once as it is, and once grouped.
        2 => {
            let (one, two) = (random.of(&["a > 0", "id % 2 = 0"]), random.of(&["a", "id % 7"]));
            statements.push(format!(
                "INSERT INTO o0 SELECT id, a FROM one WHERE {one} UNION ALL \
                 SELECT COUNT(*) AS id, k AS a FROM (SELECT {two} AS k FROM one) GROUP BY k EMIT FINAL"
            ));
        }
        // Two sources into one output.
        3 => {
            statements.push("INSERT INTO o0 SELECT id, a FROM one UNION ALL SELECT id, a FROM two".to_owned())
        }
        _ => statements.push(format!("INSERT INTO o0 {}", select(random, "one"))),
    }
    for k in 1..=random.below(3) {
        statements.push(format!("INSERT INTO o{k} {}", select(random, "one")));
    }
    if random.below(4) == 0 {
        let at = statements.len() - 1;
        write!(statements[at], " LIMIT {}", random.below(200)).unwrap();
    }
    statements
}

/// One way to run.
struct Way<'a> {
    execution: &'a str,
    threads: &'a str,
    rows: &'a str,
    strategy: &'a str,
}

fn run(dir: &Path, statements: &[String], way: &Way<'_>) -> Vec<String> {
    let engine = Engine::new();
    let bad = dir.join("bad.jsonl");
    let _ = std::fs::remove_file(&bad);
    let mut text = String::new();
    for name in ["one", "two"] {
        let path = dir.join(format!("{name}.jsonl"));
        write!(
            text,
            "CREATE STREAM {name} (id BIGINT, a BIGINT, word VARCHAR, list ARRAY<BIGINT>, x DOUBLE) \
             WITH (connector = 'file', path = '{}');",
            path.display()
        )
        .unwrap();
    }
    for k in 0..3 {
        let path = dir.join(format!("o{k}.jsonl"));
        let _ = std::fs::remove_file(&path);
        write!(text, "CREATE STREAM o{k} WITH (connector = 'file', path = '{}');", path.display()).unwrap();
    }
    let settings = [
        ("execution", way.execution),
        ("threads", way.threads),
        ("batch_rows", way.rows),
        ("batch_strategy", way.strategy),
        ("on_error", "dlq"),
        ("dlq", bad.to_str().unwrap()),
    ];
    settings.iter().for_each(|(name, value)| engine.set(name, value).unwrap());
    text += &statements.join(";");
    within(120, "pipeline", move || {
        for job in engine.sql(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).start_all().unwrap() {
            job.wait().unwrap();
        }
    });
    (0..3).map(|k| std::fs::read_to_string(dir.join(format!("o{k}.jsonl"))).unwrap_or_default()).collect()
}

/// Dead letters without their times, by stage: those of a source come before those of the operators behind it, batch by batch.
fn letters(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("bad.jsonl")).unwrap_or_default();
    let letter = |line| {
        let mut letter: serde_json::Value = serde_json::from_str(line).unwrap();
        letter.as_object_mut().unwrap().remove("time");
        letter
    };
    let mut letters: Vec<_> = text.lines().map(letter).collect();
    letters.sort_by_key(|letter| letter["stage"].to_string());
    letters
}

#[test]
fn what_helpers_do_with_a_large_file_is_what_one_thread_does() {
    let first = std::env::var("MILLSTREAM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + 3 {
        let mut random = Random(seed ^ 0xa4ead);
        let dir = tempfile::tempdir().unwrap();
        // Large enough to be decoded ahead, with lines that are no records.
        let mut text = data(&mut random, 65_000);
        text.insert_str(text.find("\n{\"id\":33333,").unwrap(), "\n{\"id\":");
        assert!(text.len() > 4 << 20, "{} bytes", text.len());
        std::fs::write(dir.path().join("one.jsonl"), &text).unwrap();
        std::fs::write(dir.path().join("two.jsonl"), data(&mut random, 10)).unwrap();
        let mut statements = vec![
            vec!["INSERT INTO o0 SELECT id, 100 / a AS q, word FROM one WHERE 1000 / a > 20".to_owned()],
            vec!["INSERT INTO o0 SELECT * FROM one".to_owned()],
            vec!["INSERT INTO o0 SELECT id FROM one WHERE id > 100 AND id < 300".to_owned()],
            vec!["INSERT INTO o0 SELECT a, id FROM one WHERE a > 90 LIMIT 700".to_owned()],
            pipeline(&mut random),
        ];
        for statements in statements.split_off(if seed == first { 0 } else { 3 }) {
            let way = |execution, threads, rows| Way { execution, threads, rows, strategy: "fixed" };
            let expected = run(dir.path(), &statements, &way("inline", "1", "1000"));
            let expected_letters = letters(dir.path());
            for way in [way("auto", "2", "1000"), way("auto", "4", "150"), way("threads", "4", "5000")] {
                let got = run(dir.path(), &statements, &way);
                let told = format!("seed {seed}: {statements:?}, {} {}", way.execution, way.threads);
                assert!(got == expected, "{told}: {:?}", got.iter().map(String::len).collect::<Vec<_>>());
                let limited = statements.iter().any(|s| s.contains(" LIMIT "));
                let got = letters(dir.path());
                let differs = got.iter().zip(&expected_letters).find(|(got, expected)| got != expected);
                assert!(limited || differs.is_none(), "{told}: {differs:?}");
                assert!(limited || got.len() == expected_letters.len(), "{told}: {} letters", got.len());
            }
        }
    }
}

/// GROUP BY over rows of which some can't be grouped or aggregated; the rows of the result stand in the order in which groups arrived.
fn grouped(random: &mut Random) -> String {
    let keys = random.of(&["a", "word", "id % 97", "a, word", "100 / a", "upper(word), x", "id"]);
    let mut text = format!("SELECT {keys}, COUNT(*) AS n");
    let calls = [
        "SUM(a)",
        "AVG(x)",
        "SUM(x / 3.0)",
        "MIN(word)",
        "COUNT(DISTINCT a)",
        "SUM(100 / a)",
        "MEDIAN(a)",
        "STRING_AGG(word, '+')",
        "STDDEV(x)",
        "MAX(x) FILTER (WHERE a > 0)",
        "ARRAY_AGG(id)",
    ];
    for i in 0..1 + random.below(4) {
        write!(text, ", {} AS c{i}", random.of(&calls)).unwrap();
    }
    let sets = match random.below(4) {
        0 if keys.matches(',').count() == 1 => format!("ROLLUP ({keys})"),
        _ => keys.to_owned(),
    };
    write!(text, " FROM one GROUP BY {sets}").unwrap();
    if random.below(3) == 0 {
        text += " HAVING COUNT(*) > 1";
    }
    text
}

/// A setting and its value.
type Setting<'a> = (&'a str, &'a str);

/// What a grouping gives under these settings, with the rows that it could not take.
fn run_grouped(dir: &Path, sql: &str, settings: &[Setting<'_>]) -> (String, usize) {
    let (engine, bad) = (Engine::new(), dir.join("bad.jsonl"));
    let out = dir.join("out.jsonl");
    let _ = (std::fs::remove_file(&bad), std::fs::remove_file(&out));
    let more = [("on_error", "dlq"), ("dlq", bad.to_str().unwrap())];
    settings.iter().chain(&more).for_each(|(name, value)| engine.set(name, value).unwrap());
    let text = format!(
        "CREATE STREAM one (id BIGINT, a BIGINT, word VARCHAR, list ARRAY<BIGINT>, x DOUBLE) \
         WITH (connector = 'file', path = '{}'); \
         CREATE STREAM o WITH (connector = 'file', path = '{}', format = 'debezium-json'); INSERT INTO o {sql}",
        dir.join("one.jsonl").display(),
        out.display()
    );
    within(120, "grouping", move || {
        let job = engine.sql(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).start().unwrap();
        job.wait().unwrap();
    });
    let letters = std::fs::read_to_string(&bad).unwrap_or_default().lines().count();
    (std::fs::read_to_string(&out).unwrap_or_default(), letters)
}

#[test]
fn groups_are_the_same_for_any_shards_threads_batches_and_executions() {
    let first = std::env::var("MILLSTREAM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + 4 {
        let mut random = Random(seed ^ 0x5eed);
        let dir = tempfile::tempdir().unwrap();
        // More groups than are fed one by one, if each row is one.
        let rows = 300 + random.below(2000);
        std::fs::write(dir.path().join("one.jsonl"), data(&mut random, rows)).unwrap();
        let sql = grouped(&mut random);
        println!("seed {seed}: {rows} rows: {sql}");
        // Told once for each record, changes are the same for any batch; told once a batch, for any batch of that size.
        for (emit, sizes) in [("record", &["1", "7", "1000"][..]), ("batch", &["7"]), ("batch", &["1000"])] {
            let mut known: Option<(String, usize)> = None;
            for (execution, threads) in [
                ("inline", "1"),
                ("inline", "4"),
                ("threads", "2"),
                ("threads", "4"),
                ("auto", "2"),
                ("auto", "4"),
            ] {
                let (rows, shards) = (random.of(sizes), random.of(&["1", "3", "8"]));
                let settings = [
                    ("execution", execution),
                    ("threads", threads),
                    ("batch_rows", rows),
                    ("state_shards", shards),
                    ("emit_every", emit),
                ];
                let got = run_grouped(dir.path(), &sql, &settings);
                let known = known.get_or_insert_with(|| got.clone());
                assert!(got == *known, "seed {seed}: {settings:?}: {sql}");
                assert!(!known.0.is_empty() || sql.contains("HAVING"));
            }
        }
    }
}

#[test]
fn every_way_to_run_gives_the_same_bytes() {
    let share: u64 = std::env::var("MILLSTREAM_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let first = std::env::var("MILLSTREAM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + share {
        let mut random = Random(seed);
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let rows = 100 + random.below(400);
            std::fs::write(dir.path().join(format!("{name}.jsonl")), data(&mut random, rows)).unwrap();
        }
        let statements = pipeline(&mut random);
        println!("seed {seed}: {statements:#?}");
        let reference = run(
            dir.path(),
            &statements,
            &Way { execution: "inline", threads: "1", rows: "1000", strategy: "fixed" },
        );
        assert!(reference.iter().any(|o| !o.is_empty()) || statements[0].contains("LIMIT 0"));
        for execution in ["inline", "threads", "auto"] {
            for rows in ["1", "7", "1000"] {
                let threads = random.of(&["1", "2", "4", "8"]);
                let strategy = random.of(&["fixed", "time_window", "memory", "adaptive", "low_latency"]);
                let got = run(dir.path(), &statements, &Way { execution, threads, rows, strategy });
                assert!(
                    got == reference,
                    "seed {seed}: {execution}, {threads} threads, {rows} rows, {strategy}: {statements:#?}"
                );
            }
        }
    }
}
