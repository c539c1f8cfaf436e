//! Whether two outputs hold the same rows: numbers are compared as numbers, times as times, groups as sets.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::cases::Case;
use crate::Failure;

/// A row as its cells.
type Row = Vec<String>;

fn rows(path: &Path, case: &Case) -> Result<impl Iterator<Item = Result<Row, Failure>>, Failure> {
    let csv = case.format == "csv";
    let lines = BufReader::with_capacity(1 << 18, File::open(path)?).lines();
    Ok(lines.skip(usize::from(csv)).map(move |line| {
        let line = line?;
        if csv {
            return Ok(line.split(',').map(|c| c.trim_matches('"').to_owned()).collect());
        }
        match serde_json::from_str(&line)? {
            Value::Object(fields) => Ok(fields
                .values()
                .map(|v| match v {
                    Value::String(s) => s.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                })
                .collect()),
            other => Err(format!("not an object: {other}").into()),
        }
    }))
}

/// `2026-01-01T05:00:00.000Z` and `2026-01-01 05:00:00` are the same time.
fn plain_time(text: &str) -> String {
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole.to_owned(),
        _ => text,
    }
}

fn same_cell(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.parse::<f64>(), b.parse::<f64>()) {
        // Sums of doubles depend on their order.
        (Ok(x), Ok(y)) => (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
        _ => plain_time(a) == plain_time(b),
    }
}

fn same(a: &Row, b: &Row) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same_cell(x, y))
}

/// An error that shows the first difference.
pub fn compare(mine: &Path, theirs: &Path, case: &Case, peer: &str) -> Result<u64, Failure> {
    let differ = |n: u64, a: Option<&Row>, b: Option<&Row>| -> Failure {
        format!(
            "{} {}: the output differs from that of {peer} in row {n}:\n{a:?}\n{b:?}",
            case.format, case.query
        )
        .into()
    };
    if case.ordered {
        let (mut left, mut right) = (rows(mine, case)?, rows(theirs, case)?);
        let mut n = 0;
        loop {
            n += 1;
            match (left.next().transpose()?, right.next().transpose()?) {
                (None, None) => return Ok(n - 1),
                (Some(a), Some(b)) if same(&a, &b) => {}
                (a, b) => return Err(differ(n, a.as_ref(), b.as_ref())),
            }
        }
    }
    let sorted = |path| -> Result<Vec<Row>, Failure> {
        let mut all = rows(path, case)?.collect::<Result<Vec<Row>, _>>()?;
        // By the keys, whatever their place: texts and times, or else a number that comes first. Sums may differ in the last digit.
        all.sort_by_cached_key(|r| {
            let texts = r.iter().filter(|c| c.parse::<f64>().is_err());
            texts.chain(r.iter().take(2)).map(|c| plain_time(c)).collect::<Vec<_>>()
        });
        Ok(all)
    };
    let (left, right) = (sorted(mine)?, sorted(theirs)?);
    for n in 0..left.len().max(right.len()) {
        let (a, b) = (left.get(n), right.get(n));
        if !a.zip(b).is_some_and(|(a, b)| same(a, b)) {
            return Err(differ(n as u64 + 1, a, b));
        }
    }
    Ok(left.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn outcome(case: &Case, mine: &str, theirs: &str) -> Result<u64, String> {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, mine).unwrap();
        std::fs::write(&b, theirs).unwrap();
        compare(&a, &b, case, "a peer").map_err(|e| e.to_string())
    }

    #[test]
    fn rows_in_order_are_compared_by_value() {
        let case = &CASES[0];
        let a = "{\"a\":1,\"t\":\"2026-01-01T00:00:00Z\"}\n{\"a\":2.50,\"t\":null}\n";
        assert_eq!(
            outcome(case, a, "{\"a\":1.0,\"t\":\"2026-01-01 00:00:00\"}\n{\"a\":2.5,\"t\":\"\"}\n"),
            Ok(2)
        );
        assert!(
            outcome(case, a, "{\"a\":1,\"t\":\"2026-01-01T00:00:00Z\"}\n").unwrap_err().contains("row 2")
        );
        let swapped = "{\"a\":2.5,\"t\":null}\n{\"a\":1,\"t\":\"2026-01-01T00:00:00Z\"}\n";
        assert!(outcome(case, a, swapped).unwrap_err().contains("row 1"));
    }

    #[test]
    fn groups_are_compared_as_sets() {
        let case = CASES.iter().find(|c| c.format == "csv" && c.query == "group").unwrap();
        let a = "k,n,s\nAA,3,0.30000000000000004\nUA,1,7\n";
        assert_eq!(outcome(case, a, "k,n,s\nUA,1,7.0\nAA,3,0.3\n"), Ok(2));
        assert!(outcome(case, a, "k,n,s\nUA,1,7\nAA,4,0.3\n").is_err());
        assert!(outcome(case, a, "k,n,s\nAA,3,0.3\n").is_err());
    }

    #[test]
    fn the_keys_of_groups_may_stand_behind_their_sums() {
        let case = CASES.iter().find(|c| c.format == "ndjson" && c.query == "tumbling").unwrap();
        let line = |t: &str, s: f64| {
            format!("{{\"symbol\":\"A\",\"window_start\":\"{t}\",\"n\":1,\"total\":{s}}}\n")
        };
        let mine = line("2026-01-02T04:00:00Z", 2.0) + &line("2026-01-01T04:00:00Z", 0.30000000000000004);
        let theirs = line("2026-01-01 04:00:00", 0.3) + &line("2026-01-02 04:00:00", 2.0);
        assert_eq!(outcome(case, &mine, &theirs), Ok(2));
        let wrong = line("2026-01-01 04:00:00", 2.0) + &line("2026-01-02 04:00:00", 0.3);
        assert!(outcome(case, &mine, &wrong).is_err());
    }
}
