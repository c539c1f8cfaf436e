//! What is measured: the bare loop, the engine and Kafka Streams on three queries, and what must come out.

use std::collections::HashMap;

use crate::Failure;

/// What is asked of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Bytes passed on.
    Raw,
    /// A tenth of them, three of four columns, JSON to JSON.
    Filter,
    /// A count and an extreme for each key and ten seconds.
    Windows,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Poll and send, with the engine's client and settings.
    Bare,
    Engine,
    Streams,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub name: &'static str,
    pub query: Query,
    pub system: System,
    pub exactly_once: bool,
}

const fn stage(name: &'static str, query: Query, system: System, exactly_once: bool) -> Stage {
    Stage { name, query, system, exactly_once }
}

pub const STAGES: [Stage; 13] = [
    stage("bare loop", Query::Raw, System::Bare, false),
    stage("raw", Query::Raw, System::Engine, false),
    stage("raw transactional", Query::Raw, System::Engine, true),
    stage("filter", Query::Filter, System::Engine, false),
    stage("filter transactional", Query::Filter, System::Engine, true),
    stage("windows", Query::Windows, System::Engine, false),
    stage("windows transactional", Query::Windows, System::Engine, true),
    stage("streams raw", Query::Raw, System::Streams, false),
    stage("streams raw exactly once", Query::Raw, System::Streams, true),
    stage("streams filter", Query::Filter, System::Streams, false),
    stage("streams filter exactly once", Query::Filter, System::Streams, true),
    stage("streams windows", Query::Windows, System::Streams, false),
    stage("streams windows exactly once", Query::Windows, System::Streams, true),
];

/// Distinct values of `k`.
pub const KEYS: u64 = 100;
/// Milliseconds, and so messages, of a window.
const WINDOW: u64 = 10_000;

impl Query {
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Filter => "filter",
            Self::Windows => "windows",
        }
    }
    /// Columns of the source, with its format.
    pub fn source(self) -> &'static str {
        match self {
            Self::Raw => "(value BYTES) %, format = 'raw'",
            Self::Filter => "(id BIGINT, k BIGINT, ts TIMESTAMP, pad VARCHAR) %, format = 'json'",
            Self::Windows => {
                "(id BIGINT, k BIGINT, ts TIMESTAMP, pad VARCHAR, WATERMARK FOR ts AS ts) %, format = 'json'"
            }
        }
    }
    pub fn sink(self) -> &'static str {
        if self == Self::Raw { "%, format = 'raw'" } else { "%, format = 'json'" }
    }
    pub fn select(self) -> &'static str {
        match self {
            Self::Raw => "SELECT value FROM a",
            Self::Filter => "SELECT id, k, ts FROM a WHERE k < 10",
            Self::Windows => {
                "SELECT k, window_end, count(*) AS n, max(id) AS last FROM TUMBLE(a, ts, INTERVAL '10' SECOND) GROUP BY k, window_end"
            }
        }
    }
}

/// What was read back of a stage's output.
#[derive(Default)]
pub struct Output {
    messages: u64,
    /// Sums over the ids.
    sum: u64,
    squares: u64,
    /// Of each key and window the largest count, with its last id.
    windows: HashMap<(u64, String), (u64, u64)>,
}

/// The number behind `name` in a JSON object of this benchmark.
fn number(payload: &[u8], name: &str) -> Option<u64> {
    let at = payload.windows(name.len()).position(|w| w == name.as_bytes())? + name.len();
    let digits = payload.get(at..)?.split(|b| !b.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Output {
    pub fn add(&mut self, query: Query, payload: &[u8]) -> Result<(), Failure> {
        let bad =
            || format!("a message that nobody should have written: {}", String::from_utf8_lossy(payload));
        self.messages += 1;
        if query == Query::Windows {
            let row: serde_json::Value = serde_json::from_slice(payload)?;
            let of = |name: &str| row.get(name).and_then(serde_json::Value::as_u64).ok_or_else(bad);
            let end = row.get("window_end").and_then(serde_json::Value::as_str).ok_or_else(bad)?;
            let (n, last) = (of("n")?, of("last")?);
            let group = self.windows.entry((of("k")?, end.replace('T', " "))).or_default();
            // Kafka Streams tells a group each time that it changed before a commit.
            *group = (*group).max((n, last));
            return Ok(());
        }
        let id = number(payload, "\"id\":").ok_or_else(bad)?;
        if query == Query::Filter && id % KEYS >= 10 {
            return Err(bad().into());
        }
        self.sum = self.sum.wrapping_add(id);
        self.squares = self.squares.wrapping_add(id.wrapping_mul(id));
        Ok(())
    }

    /// Whether it is what the query must give over ids from 0, one a millisecond, with `k = id % KEYS`.
    pub fn check(&self, stage: &Stage, records: u64) -> Result<(), Failure> {
        let wrong = |what: String| Err(format!("{}: {what}", stage.name).into());
        if stage.query == Query::Windows {
            return self.check_windows(stage, records);
        }
        let mut wanted = Self::default();
        for id in (0..records).filter(|id| stage.query == Query::Raw || id % KEYS < 10) {
            wanted.messages += 1;
            wanted.sum = wanted.sum.wrapping_add(id);
            wanted.squares = wanted.squares.wrapping_add(id.wrapping_mul(id));
        }
        match (self.messages, self.sum, self.squares) == (wanted.messages, wanted.sum, wanted.squares) {
            true => Ok(()),
            false => wrong(format!(
                "{} messages with ids of sum {}, wanted {} of sum {}",
                self.messages, self.sum, wanted.messages, wanted.sum
            )),
        }
    }

    fn check_windows(&self, stage: &Stage, records: u64) -> Result<(), Failure> {
        let all = records.div_ceil(WINDOW);
        // Those that are over in every partition; the last ones are open. Kafka Streams tells open ones, too.
        let closed =
            if stage.system == System::Streams { all } else { records.saturating_sub(KEYS) / WINDOW };
        let mut found = 0;
        for ((k, end), group) in &self.windows {
            let from = match window_end(end) {
                Some(end) if end % (WINDOW as i64) == 0 && end >= WINDOW as i64 => end as u64 - WINDOW,
                _ => return Err(format!("{}: a window that ends at {end}", stage.name).into()),
            };
            let ids = (from..records.min(from + WINDOW)).filter(|id| id % KEYS == *k);
            let wanted = ids.fold((0, 0), |(n, _), id| (n + 1, id));
            if *group != wanted {
                let name = stage.name;
                return Err(format!("{name}: key {k}, window to {end}: {group:?}, wanted {wanted:?}").into());
            }
            found += u64::from(from / WINDOW < closed);
        }
        let wanted: u64 = (0..closed).map(|w| KEYS.min(records - w * WINDOW)).sum();
        match found == wanted {
            true => Ok(()),
            false => Err(format!("{}: {found} groups of closed windows, wanted {wanted}", stage.name).into()),
        }
    }
}

/// Milliseconds since the first message of `2026-01-01 00:00:00` and later in that year.
fn window_end(text: &str) -> Option<i64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days: i64 =
        [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().take(part(5, 7)? as usize - 1).sum();
    let days = days + part(8, 10)? - 1;
    Some((days * 86_400 + part(11, 13)? * 3600 + part(14, 16)? * 60 + part(17, 19)?) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_what_the_formula_says_or_refused() {
        let records = 25_000;
        let raw = STAGES.iter().find(|s| s.name == "raw").unwrap();
        let mut output = Output::default();
        for id in 0..records {
            output.add(Query::Raw, format!("{{\"id\":{id},\"k\":0}}").as_bytes()).unwrap();
        }
        output.check(raw, records).unwrap();
        assert!(output.check(raw, records + 1).is_err());
        assert!(Output::default().add(Query::Filter, b"{\"id\":17}").is_err());
    }

    #[test]
    fn windows_are_counted_and_compared() {
        let stage = STAGES.iter().find(|s| s.name == "windows").unwrap();
        let rows = |skip: u64| {
            let mut output = Output::default();
            for k in skip..KEYS {
                for (end, n, last) in [(10, 100, 9_900 + k), (20, 100, 19_900 + k)] {
                    let row = format!(
                        "{{\"k\":{k},\"window_end\":\"2026-01-01 00:00:{end}\",\"n\":{n},\"last\":{last}}}"
                    );
                    output.add(Query::Windows, row.as_bytes()).unwrap();
                }
            }
            output
        };
        rows(0).check(stage, 25_000).unwrap();
        assert!(rows(1).check(stage, 25_000).is_err(), "two groups are missing");
        assert!(rows(0).check(stage, 19_000).is_err(), "more than there can be");
    }
}
