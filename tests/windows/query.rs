//! A windowed aggregation: what it asks, and the ways to spell it.

use crate::aggregate::{AGGREGATES, Aggregate, COUNT, HAVINGS, Having, IN_ORDER, int, text};
use crate::random::Random;
use crate::stream::{Row, Shape};
use crate::time::{Late, Policy};

/// Lengths in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// No window at all.
    All,
    Tumble {
        size: i64,
    },
    Hop {
        slide: i64,
        size: i64,
    },
    Cumulate {
        step: i64,
        size: i64,
    },
    Session {
        gap: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Emit {
    Final,
    /// After every record.
    Record,
    /// After every batch.
    Batch,
}

/// A grouping column.
#[derive(Clone, Copy)]
pub struct Key {
    pub sql: &'static str,
    pub value: fn(&Row) -> String,
}

const KEYS: [Key; 3] = [
    Key { sql: "k", value: |r| int(r.k) },
    Key { sql: "s", value: |r| text(r.s) },
    Key { sql: "v % 2", value: |r| int(r.v.map(|v| v % 2)) },
];

#[derive(Clone)]
pub struct Query {
    pub kind: Kind,
    pub policy: Policy,
    pub emit: Emit,
    pub keys: Vec<Key>,
    pub aggregates: Vec<Aggregate>,
    pub having: Option<Having>,
}

impl Query {
    pub fn random(random: &mut Random, kind: Kind, shape: &Shape) -> Self {
        let late = random.of(&[Late::Drop, Late::Drop, Late::Dlq, Late::Update]);
        let lateness = random.of(&[0, 0, 1, 7, 30]) * shape.unit;
        let keys = random.of(&[vec![], vec![KEYS[0]], vec![KEYS[0]], vec![KEYS[1]], vec![KEYS[0], KEYS[2]]]);
        let n = random.between(1, 4) as usize;
        let mut aggregates: Vec<Aggregate> = random.some(&AGGREGATES, n).into_iter().copied().collect();
        if random.percent(40) {
            aggregates.push(random.of(&IN_ORDER));
        }
        // Variances of merged sessions are merged in floating point.
        aggregates.retain(|a| !(a.sql.contains("var_pop") && matches!(kind, Kind::Session { .. })));
        if aggregates.iter().all(|a| a.sql != COUNT.sql) {
            aggregates.push(COUNT);
        }
        Self {
            kind,
            policy: Policy { late, lateness },
            emit: random.of(&[Emit::Final, Emit::Final, Emit::Record, Emit::Batch]),
            keys,
            aggregates,
            having: random.percent(25).then(|| random.of(&HAVINGS)),
        }
    }

    fn items(&self) -> String {
        let keys = self.keys.iter().enumerate().map(|(i, k)| format!("{} AS k{i}", k.sql));
        let values = self.aggregates.iter().enumerate().map(|(i, a)| format!("{} AS a{i}", a.sql));
        keys.chain(values).collect::<Vec<_>>().join(", ")
    }

    fn tail(&self) -> String {
        let emit = match self.emit {
            Emit::Final => " EMIT FINAL",
            Emit::Record | Emit::Batch => " EMIT CHANGES",
        };
        self.having() + emit
    }

    fn having(&self) -> String {
        self.having.map_or(String::new(), |h| format!(" HAVING {}", h.sql))
    }

    fn grouped(&self, window: &[&str]) -> String {
        let all: Vec<&str> = window.iter().copied().chain(self.keys.iter().map(|k| k.sql)).collect();
        if all.is_empty() { String::new() } else { format!(" GROUP BY {}", all.join(", ")) }
    }

    /// One of the spellings that the specification lists, from a stream `rows`.
    pub fn sql(&self, random: &mut Random) -> String {
        let spelling = match self.kind {
            Kind::All => {
                return format!("SELECT {} FROM rows{}{}", self.items(), self.grouped(&[]), self.tail());
            }
            Kind::Cumulate { .. } => random.of(&[0, 1]),
            _ => random.of(&[0, 1, 2, 3, 5, 6]),
        };
        let both = "window_start, window_end";
        let columns = ["window_start", "window_end"];
        match spelling {
            0 => {
                let table = self.table_function("rows", "ts", &self.partition_by(", "));
                format!(
                    "SELECT {both}, {} FROM {table}{}{}",
                    self.items(),
                    self.grouped(&columns),
                    self.tail()
                )
            }
            1 => {
                let table = format!("TABLE rows{}", self.partition_by(" "));
                let table = format!("TABLE({})", self.table_function(&table, "DESCRIPTOR(ts)", ""));
                format!(
                    "SELECT {both}, {} FROM {table}{}{}",
                    self.items(),
                    self.grouped(&columns),
                    self.tail()
                )
            }
            2 => {
                let value = self.function("ts, ");
                format!("SELECT {both}, {} FROM rows{}{}", self.items(), self.grouped(&[&value]), self.tail())
            }
            3 => {
                let value = self.function(random.of(&["", "ts, "]));
                let group = self.grouped(&[random.of(&["w", "1"])]);
                format!("SELECT {value} AS w, {} FROM rows{group}{}", self.items(), self.tail())
            }
            4 => {
                let value = self.function("ts, ");
                let group = self.grouped(&["w"]);
                format!(
                    "SELECT w.start, w.end, {} FROM (SELECT *, {value} AS w FROM rows){group}{}",
                    self.items(),
                    self.tail()
                )
            }
            _ => format!(
                "SELECT {both}, {} FROM rows{}{}{}{}",
                self.items(),
                self.grouped(&[]),
                self.having(),
                self.clause(spelling == 6),
                self.tail().trim_start_matches(&self.having())
            ),
        }
    }

    fn partition_by(&self, before: &str) -> String {
        match self.kind {
            Kind::Session { .. } if !self.keys.is_empty() => {
                let keys: Vec<&str> = self.keys.iter().map(|k| k.sql).collect();
                format!("{before}PARTITION BY {}", keys.join(", "))
            }
            _ => String::new(),
        }
    }

    fn table_function(&self, table: &str, time: &str, partition: &str) -> String {
        let arguments = match self.kind {
            Kind::All => String::new(),
            Kind::Tumble { size } => interval(size),
            Kind::Hop { slide: one, size } | Kind::Cumulate { step: one, size } => {
                format!("{}, {}", interval(one), interval(size))
            }
            Kind::Session { gap } => interval(gap),
        };
        format!("{}({table}, {time}, {arguments}{partition})", self.name())
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::All => "",
            Kind::Tumble { .. } => "TUMBLE",
            Kind::Hop { .. } => "HOP",
            Kind::Cumulate { .. } => "CUMULATE",
            Kind::Session { .. } => "SESSION",
        }
    }

    /// As a value; the time may be left out.
    fn function(&self, time: &str) -> String {
        match self.kind {
            Kind::Tumble { size: one } | Kind::Session { gap: one } => {
                format!("{}({time}{})", self.name(), interval(one))
            }
            Kind::Hop { slide, size } => format!("HOP({time}{}, {})", interval(slide), interval(size)),
            Kind::All | Kind::Cumulate { .. } => String::new(),
        }
    }

    /// The clause behind GROUP BY and HAVING; ksqlDB's form where the length is whole milliseconds.
    fn clause(&self, ksql: bool) -> String {
        let of = |one: i64| format!("{} MILLISECONDS", one / 1_000);
        let whole = |lengths: &[i64]| ksql && lengths.iter().all(|l| l % 1_000 == 0);
        match self.kind {
            Kind::Tumble { size } if whole(&[size]) => format!(" WINDOW TUMBLING (SIZE {})", of(size)),
            Kind::Tumble { size } => format!(" WINDOW TUMBLING (ts, {})", interval(size)),
            Kind::Hop { slide, size } if whole(&[slide, size]) => {
                format!(" WINDOW HOPPING (SIZE {}, ADVANCE BY {})", of(size), of(slide))
            }
            Kind::Hop { slide, size } => {
                format!(" WINDOW SLIDING (ts, {}, {})", interval(size), interval(slide))
            }
            Kind::Session { gap } if whole(&[gap]) => format!(" WINDOW SESSION ({})", of(gap)),
            Kind::Session { gap } => format!(" WINDOW SESSION (ts, {})", interval(gap)),
            Kind::All | Kind::Cumulate { .. } => String::new(),
        }
    }
}

pub fn interval(micros: i64) -> String {
    match micros % 1_000_000 {
        0 => format!("INTERVAL '{}' SECOND", micros / 1_000_000),
        rest => format!("INTERVAL '{}.{rest:06}' SECOND", micros / 1_000_000),
    }
}
