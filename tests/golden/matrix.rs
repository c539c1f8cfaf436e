//! A case through every execution mode, thread count and batch size.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::compare::{elements, fields, fnv1a, same};
use super::execute::{Config, Outcome, run};
use super::format::{Case, Expected, Kind, parse};

/// Expressions in one SELECT.
const CHUNK: usize = 40;

/// The first one judges; all others must give the same bytes.
fn configurations() -> Vec<Config> {
    let mut all = Vec::new();
    for batch_rows in [1000, 7, 1] {
        for execution in ["inline", "threads"] {
            for threads in [1, 2, 4] {
                all.push(Config { execution, threads, batch_rows });
            }
        }
    }
    all
}

/// Runs a file; panics with all that is wrong in it.
pub fn check_topic(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql").join(format!("{name}.test"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let topic = parse(&text);
    let mut report = Report { name, directory: tempfile::tempdir().unwrap(), text: String::new(), failed: 0 };
    let mut blocks: BTreeMap<usize, Vec<&Case>> = BTreeMap::new();
    for case in &topic.cases {
        blocks.entry(case.block).or_default().push(case);
    }
    for (number, cases) in &blocks {
        let (together, alone): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|c| {
            c.pending.is_none() && matches!((&c.kind, &c.expected), (Kind::Eval { .. }, Expected::Value(_)))
        });
        for chunk in together.chunks(CHUNK) {
            report.expressions(chunk);
        }
        for (i, case) in alone.iter().enumerate() {
            report.single(case, number + i);
        }
    }
    let (cases, pending) = (topic.cases.len(), topic.cases.iter().filter(|c| c.pending.is_some()).count());
    println!("{name}: {cases} cases, {pending} pending, {} failed", report.failed);
    assert!(report.failed == 0, "{name}: {} of {cases} cases failed\n{}", report.failed, report.text);
}

struct Report<'a> {
    name: &'a str,
    directory: tempfile::TempDir,
    text: String,
    failed: usize,
}

impl Report<'_> {
    fn fail(&mut self, case: &Case, what: &str) {
        self.failed += 1;
        writeln!(self.text, "\n{}.test:{}: {}\n  {what}", self.name, case.line, case.title()).unwrap();
    }

    fn run(&self, case: &Case, sql: &str, config: Config) -> Outcome {
        run(case, sql, config, self.directory.path())
    }

    /// Expressions of one block in one SELECT; one by one if that does not give what is expected.
    fn expressions(&mut self, cases: &[&Case]) {
        let (Some(case), Some(&first)) = (cases.first(), configurations().first()) else { return };
        let mut good = cases.to_vec();
        let mut outcome = self.run(case, &select(&good), first);
        if !judge_all(&good, &outcome) {
            good.retain(|case| {
                let outcome = self.run(case, &select(&[case]), first);
                let right = judge_all(&[case], &outcome);
                if !right {
                    let Expected::Value(value) = &case.expected else { return false };
                    self.fail(case, &format!("expected {value}\n  got      {}", values(&outcome)));
                }
                right
            });
            if good.is_empty() {
                return;
            }
            outcome = self.run(case, &select(&good), first);
            if !judge_all(&good, &outcome) {
                self.fail(case, &format!("right one by one, wrong in one SELECT: {outcome}"));
                return;
            }
        }
        self.others(case, &select(&good), &outcome, &configurations()[1..]);
    }

    /// A query, an error, or a case that is pending.
    fn single(&mut self, case: &Case, number: usize) {
        let all = configurations();
        let sql = match &case.kind {
            Kind::Query { sql, .. } => sql.clone(),
            Kind::Eval { .. } => select(&[case]),
        };
        let outcome = self.run(case, &sql, all[0]);
        let verdict = judge(case, &outcome);
        match (&case.pending, verdict) {
            (Some(reason), Ok(())) => {
                self.fail(case, &format!("passes now: take away `# pending: {reason}`"))
            }
            (Some(_), Err(_)) => {}
            (None, Err(what)) => self.fail(case, &what),
            // What is refused at check never gets as far as a mode of execution.
            (None, Ok(())) if matches!(case.expected, Expected::Refused(_)) => {}
            (None, Ok(())) => {
                // Over a whole file, and of generated queries, not all the others but different ones for each.
                let share = match &case.expected {
                    _ if std::env::var_os("MILLSTREAM_GOLDEN_FULL").is_some() => 17,
                    _ if sql.contains("'examples/data/flights.csv'") => 1,
                    Expected::Rows { digest: Some(_), .. } => 3,
                    _ if self.name.starts_with("random_") => 2,
                    _ => 17,
                };
                let share: Vec<Config> = (0..share).map(|k| all[1 + (number * 5 + k * 6) % 17]).collect();
                self.others(case, &sql, &outcome, &share);
            }
        }
    }

    fn others(&mut self, case: &Case, sql: &str, wanted: &Outcome, configurations: &[Config]) {
        for &config in configurations {
            let outcome = self.run(case, sql, config);
            if outcome != *wanted {
                self.fail(case, &format!("differs with {config}:\n  first {wanted}\n  now   {outcome}"));
                return;
            }
        }
    }
}

fn select(cases: &[&Case]) -> String {
    let mut sql = "SELECT ".to_string();
    let mut from = String::new();
    for (i, case) in cases.iter().enumerate() {
        let Kind::Eval { expression, over } = &case.kind else { unreachable!() };
        write!(sql, "{}{expression} AS x_{i}", if i > 0 { ",\n  " } else { "" }).unwrap();
        from = over.as_ref().map_or(String::new(), |t| format!("\nFROM {t}"));
    }
    sql + &from
}

/// The column `i` of all rows, as `eval over` writes it; the only row's without `over`.
fn column(case: &Case, lines: &[&str], i: usize) -> Option<String> {
    let values: Option<Vec<&str>> = lines.iter().map(|l| Some(fields(l)?.get(i)?.1)).collect();
    let Kind::Eval { over, .. } = &case.kind else { return None };
    match (over, values?) {
        (None, values) if values.len() == 1 => Some(values[0].to_string()),
        (None, _) => None,
        (Some(_), values) => Some(format!("[{}]", values.join(","))),
    }
}

fn judge_all(cases: &[&Case], outcome: &Outcome) -> bool {
    let Outcome::Rows(text) = outcome else { return false };
    let lines: Vec<&str> = text.lines().collect();
    cases.iter().enumerate().all(|(i, case)| {
        let Expected::Value(expected) = &case.expected else { return false };
        column(case, &lines, i).is_some_and(|actual| same(expected, &actual))
    })
}

/// For the message: only the values, one line.
fn values(outcome: &Outcome) -> String {
    let Outcome::Rows(text) = outcome else { return outcome.to_string() };
    let values: Vec<&str> =
        text.lines().map(|l| fields(l).and_then(|f| f.first().map(|f| f.1)).unwrap_or(l)).collect();
    if values.len() == 1 { values[0].to_string() } else { format!("[{}]", values.join(",")) }
}

fn judge(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let right = match (&case.expected, outcome) {
        (Expected::Value(_), Outcome::Rows(_)) => judge_all(&[case], outcome),
        (Expected::Refused(part), Outcome::Refused(message)) => {
            message.to_lowercase().contains(&part.to_lowercase())
        }
        (Expected::RecordError(code), Outcome::Failed { code: actual, .. }) => code == actual,
        (Expected::Rows { lines, sorted, digest }, Outcome::Rows(text)) => {
            return rows(lines, *sorted, *digest, text);
        }
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("expected {:?}\n  got      {outcome}", case.expected)) }
}

fn rows(expected: &[String], sorted: bool, digest: Option<(usize, u64)>, text: &str) -> Result<(), String> {
    let mut lines: Vec<&str> = text.lines().collect();
    if sorted {
        lines.sort_unstable();
    }
    if digest.is_none() && lines.len() != expected.len() {
        return Err(format!("expected {} rows, got {}:\n  {}", expected.len(), lines.len(), head(&lines)));
    }
    for (i, line) in expected.iter().enumerate() {
        let actual = lines.get(i).copied().unwrap_or("nothing");
        if !same(line, actual) {
            return Err(format!("row {}: expected {line}\n  got             {actual}", i + 1));
        }
    }
    if let Some((count, hash)) = digest {
        if lines.len() != count {
            return Err(format!("expected {count} rows, got {}", lines.len()));
        }
        if fnv1a(text.as_bytes()) != hash {
            return Err(format!(
                "{count} rows and the first {} are right, but the checksum of all is not",
                expected.len()
            ));
        }
    }
    Ok(())
}

fn head(lines: &[&str]) -> String {
    lines.iter().take(5).copied().collect::<Vec<_>>().join("\n  ")
}

#[test]
fn a_wrong_row_count_or_checksum_is_found() {
    let lines = ["{\"a\":1}".to_string()];
    let text = "{\"a\":1}\n{\"a\":2}\n";
    let hash = fnv1a(text.as_bytes());
    assert!(rows(&lines, false, Some((2, hash)), text).is_ok());
    assert!(rows(&lines, false, Some((3, hash)), text).is_err());
    assert!(rows(&lines, false, Some((2, hash + 1)), text).is_err());
    assert!(rows(&lines, false, None, text).is_err());
    assert!(rows(&["{\"a\":2}".into(), "{\"a\":1}".into()], false, None, text).is_err());
    assert!(rows(&lines, false, None, "{\"a\":1}\n").is_ok());
}

#[test]
fn arrays_of_expected_values_are_one_a_row() {
    assert_eq!(elements("[1,null,\"a\"]").unwrap(), ["1", "null", "\"a\""]);
}
