//! Every aggregate does what its row in the registry says, through the whole engine, and what PostgreSQL 15 gives.
#![allow(clippy::unwrap_used, clippy::panic)]

use millstream::expr::{FunctionRegistry, to_text};
use millstream::{Engine, FieldValue};

/// The single value of a query as text.
fn value(engine: &Engine, query: &str) -> String {
    let run = || -> Result<String, Box<dyn std::error::Error>> {
        let mut job = engine.sql(query)?.start()?;
        let rows: Vec<_> = job.rows().collect();
        job.wait()?;
        let [row] = rows.as_slice() else { return Err(format!("{} rows", rows.len()).into()) };
        Ok(match row.values().first() {
            Some(FieldValue::Null) => "NULL".to_owned(),
            Some(value) => to_text(value),
            None => "no column".to_owned(),
        })
    };
    run().unwrap_or_else(|e| format!("error: {e}"))
}

/// How many values the first row has.
fn width(rows: &str) -> usize {
    let mut depth = 0;
    let mut width = 1;
    for c in rows.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 1 => width += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    width
}

fn aggregate(engine: &Engine, call: &str, rows: &str) -> String {
    let columns = if width(rows) == 2 { "x, y" } else { "x" };
    value(engine, &format!("SELECT {call} FROM (VALUES {rows}) AS t({columns})"))
}

#[test]
fn every_example_gives_what_it_says() {
    let engine = Engine::new();
    let mut wrong = Vec::new();
    let all = FunctionRegistry::builtin().all_aggregates();
    for f in &all {
        let (call, rows, expected) = f.example;
        let got = aggregate(&engine, call, rows);
        if got != expected {
            wrong.push(format!(
                "{}\n    {call} over {rows}\n    says  {expected}\n    gives {got}",
                f.signature
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn every_row_is_documented_and_named_by_its_signature() {
    for f in FunctionRegistry::builtin().all_aggregates() {
        assert!(f.signature.starts_with(&format!("{}(", f.name)), "{}", f.signature);
        assert!(!f.doc.is_empty() && !f.doc.ends_with('.'), "{}: {}", f.signature, f.doc);
        assert!(f.example.0.contains(&format!("{}(", f.name)), "{}", f.signature);
    }
}

#[test]
fn rows_give_what_postgresql_gives() {
    let engine = Engine::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("aggregates_postgres.txt").lines().filter(|l| !l.starts_with('#')) {
        let [call, rows, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        count += 1;
        let got = aggregate(&engine, call, rows);
        // A DECIMAL there is a DOUBLE here where variance and AVG are concerned: the first 14 digits count.
        let near = |a: &str, b: &str| {
            let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
            (a - b).abs() <= 1e-14 * b.abs() || a.to_bits() == b.to_bits()
        };
        let failed = expected == "ERROR" && got.starts_with("error");
        // SUM of integers is a BIGINT here, a NUMERIC there.
        let too_large = call.starts_with("sum(") && got.contains("BIGINT out of range");
        // AVG of decimals has six more digits here, sixteen there.
        let fewer = call.starts_with("avg(")
            && rows.contains("decimal")
            && got.len() > 8
            && got.parse::<f64>().is_ok_and(|a| expected.parse::<f64>().is_ok_and(|b| (a - b).abs() < 5e-9));
        let out_of_reach = too_large && expected.len() > 18;
        if !(got == expected || failed || fewer || near(&got, expected) || out_of_reach) {
            wrong.push(format!("{call} over {rows}\n    PostgreSQL {expected}\n    here       {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
