//! The jobs of the simulation, and what they must write, computed from the rows without the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream::codec::Encoder;
use millstream::connector::MakeEncoder;
use millstream::connector::file::{FileMode, FileSink, PartsSink, Rotation};
use millstream::expr::{BinaryOp, Expr, FunctionRegistry, SystemColumn, typing};
use millstream::plan::{
    AggregateSpec, Emit, InputRef, JobPlan, LatePolicy, NodeSpec, OperatorSpec, SinkSpec, SourceSpec,
    WatermarkSpec, WindowKind, WindowSpec,
};
use millstream::record::{Interval, RecordError};
use millstream::{DataType, Engine, FieldValue, Schema, StreamRecord};

use crate::disk::FakeDisk;
use crate::doors::{Rng, Row, SimSink, SimSource, World, refused, row_schema};

const SECOND: i64 = 1_000_000;
/// Of sessions.
const GAP: i64 = 4 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pass,
    Divide,
    Groups,
    Distinct,
    Diamond,
    Union,
    Limit,
    Windows,
    /// Windows over two sources, merged by their watermarks.
    Merged,
    Sessions,
    /// A call OVER of all rows before.
    Over,
    /// The first rows of each key.
    Ranked,
    Sorted,
    /// Groups of which only some fit into memory.
    #[cfg(feature = "disk-state")]
    Stored,
}

pub const KINDS: &[Kind] = &[
    Kind::Pass,
    Kind::Divide,
    Kind::Groups,
    Kind::Distinct,
    Kind::Diamond,
    Kind::Union,
    Kind::Limit,
    Kind::Windows,
    Kind::Merged,
    Kind::Sessions,
    Kind::Over,
    Kind::Ranked,
    Kind::Sorted,
    #[cfg(feature = "disk-state")]
    Kind::Stored,
];

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Kind::Pass => "INSERT INTO out SELECT id, key FROM src WHERE id % 3 <> 0",
            Kind::Divide => "INSERT INTO out SELECT id, 10 / (id % 5) AS q FROM src",
            Kind::Groups => {
                "INSERT INTO out SELECT key, count(*) AS c, sum(id) AS s, max(id) AS m FROM src GROUP BY key"
            }
            Kind::Distinct => "INSERT INTO out SELECT DISTINCT key FROM src",
            Kind::Diamond => {
                "INSERT INTO out SELECT id FROM src WHERE id % 2 = 0; INSERT INTO out SELECT id FROM src WHERE id % 2 = 1"
            }
            Kind::Union => {
                "INSERT INTO out SELECT id FROM src UNION ALL SELECT id FROM more WHERE id % 4 <> 1"
            }
            Kind::Limit => "INSERT INTO out SELECT id FROM src LIMIT 60",
            Kind::Over => {
                "INSERT INTO out SELECT id, key, count(*) OVER (PARTITION BY key ORDER BY id) AS n FROM src"
            }
            Kind::Ranked => {
                "INSERT INTO out SELECT id, key FROM \
                 (SELECT id, key, ROW_NUMBER() OVER (PARTITION BY key ORDER BY id DESC) AS n FROM src) WHERE n <= 3"
            }
            Kind::Sorted => "INSERT INTO out SELECT id FROM src ORDER BY id DESC",
            #[cfg(feature = "disk-state")]
            Kind::Stored => {
                "INSERT INTO out SELECT id * 7919 % 97 AS key, count(*) AS c, sum(id) AS s FROM src GROUP BY id * 7919 % 97"
            }
            Kind::Windows | Kind::Merged | Kind::Sessions => "",
        }
    }

    pub fn sources(self) -> &'static [&'static str] {
        if matches!(self, Kind::Union | Kind::Merged) { &["src", "more"] } else { &["src"] }
    }

    /// Whether its sink refuses records by their first column.
    pub fn refuses(self) -> bool {
        matches!(self, Kind::Pass | Kind::Diamond | Kind::Union)
    }

    pub fn plan(self) -> JobPlan {
        match self {
            Kind::Windows | Kind::Merged => {
                return windows(self.sources(), WindowKind::Tumble { size: 10 * SECOND });
            }
            Kind::Sessions => return windows(self.sources(), WindowKind::Session { gap: GAP }),
            _ => {}
        }
        let world = World::new(Rng(0));
        let engine = Engine::new();
        engine.register_source("src", SimSource::new("src", Vec::new(), &world)).unwrap();
        engine.register_source("more", SimSource::new("more", Vec::new(), &world)).unwrap();
        engine.register_sink("out", SimSink::new(&world, true, false, show)).unwrap();
        engine.sql(self.sql()).unwrap().jobs()[0].plan.clone()
    }

    /// What must be written, and which letters: both sorted.
    pub fn expected(self, inputs: &[Vec<Row>], refuses: bool) -> (Vec<String>, Vec<String>) {
        let mut letters: Vec<String> =
            inputs.iter().flatten().filter(|r| r.broken).map(|r| format!("malformed {}", r.id)).collect();
        let sound = |i: usize| inputs[i].iter().filter(|r| !r.broken);
        let mut rows: Vec<Vec<i64>> = Vec::new();
        match self {
            Kind::Pass => rows.extend(sound(0).filter(|r| r.id % 3 != 0).map(|r| vec![r.id, r.key])),
            Kind::Divide => {
                for r in sound(0) {
                    match r.id % 5 {
                        0 => letters.push(format!("division_by_zero {}", r.id)),
                        rest => rows.push(vec![r.id, 10 / rest]),
                    }
                }
            }
            Kind::Groups => {
                let mut groups: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
                for r in sound(0) {
                    let group = groups.entry(r.key).or_insert((0, 0, i64::MIN));
                    *group = (group.0 + 1, group.1 + r.id, group.2.max(r.id));
                }
                rows.extend(groups.into_iter().map(|(k, (c, s, m))| vec![k, c, s, m]));
            }
            Kind::Distinct => {
                let mut keys: Vec<i64> = sound(0).map(|r| r.key).collect();
                keys.sort_unstable();
                keys.dedup();
                rows.extend(keys.into_iter().map(|k| vec![k]));
            }
            Kind::Diamond => rows.extend(sound(0).map(|r| vec![r.id])),
            Kind::Union => {
                rows.extend(sound(0).map(|r| vec![r.id]));
                rows.extend(sound(1).filter(|r| r.id % 4 != 1).map(|r| vec![r.id]));
            }
            Kind::Limit => rows.extend(sound(0).take(60).map(|r| vec![r.id])),
            Kind::Sessions => rows.extend(sessions(inputs, &mut letters)),
            Kind::Over => {
                let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
                for r in sound(0) {
                    let n = counts.entry(r.key).or_default();
                    *n += 1;
                    rows.push(vec![r.id, r.key, *n]);
                }
            }
            Kind::Ranked => {
                let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
                let mut last: Vec<&Row> = sound(0).collect();
                last.reverse();
                last.retain(|r| {
                    let n = counts.entry(r.key).or_default();
                    *n += 1;
                    *n <= 3
                });
                rows.extend(last.into_iter().map(|r| vec![r.id, r.key]));
            }
            Kind::Sorted => rows.extend(sound(0).map(|r| vec![r.id])),
            #[cfg(feature = "disk-state")]
            Kind::Stored => {
                let mut groups: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
                for r in sound(0) {
                    let group = groups.entry(r.id * 7919 % 97).or_default();
                    *group = (group.0 + 1, group.1 + r.id);
                }
                rows.extend(groups.into_iter().map(|(k, (c, s))| vec![k, c, s]));
            }
            Kind::Windows | Kind::Merged => {
                let mut watermark = i64::MIN;
                let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
                for (before, r) in merged(inputs) {
                    watermark = watermark.max(before);
                    let start = r.ts.div_euclid(10 * SECOND) * 10 * SECOND;
                    match start + 10 * SECOND <= watermark {
                        true => letters.push(format!("late {}", r.id)),
                        false => *counts.entry((r.key, start)).or_default() += 1,
                    }
                }
                let row = |((k, start), n): (&(i64, i64), &i64)| vec![*k, *start, start + 10 * SECOND, *n];
                rows.extend(counts.iter().map(row));
            }
        }
        if refuses {
            letters.extend(rows.iter().filter(|r| refused(r[0])).map(|r| format!("sink_rejected {}", r[0])));
            rows.retain(|r| !refused(r[0]));
        }
        let mut rows: Vec<String> = rows.iter().map(|r| format!("{r:?}")).collect();
        rows.sort();
        letters.sort();
        (rows, letters)
    }
}

/// Key, start, end and number of rows of each session; late rows become letters.
fn sessions(inputs: &[Vec<Row>], letters: &mut Vec<String>) -> Vec<Vec<i64>> {
    let (mut open, mut over): (Vec<Vec<i64>>, Vec<Vec<i64>>) = (Vec::new(), Vec::new());
    for (watermark, r) in merged(inputs) {
        let ended;
        (ended, open) = open.into_iter().partition(|s| s[2] <= watermark);
        over.extend(ended);
        let meets = |s: &Vec<i64>| s[0] == r.key && s[1] < r.ts + GAP && r.ts < s[2];
        let (hits, mut rest): (Vec<_>, Vec<_>) = open.into_iter().partition(meets);
        if hits.is_empty() && r.ts + GAP <= watermark {
            letters.push(format!("late {}", r.id));
        } else {
            let mut session = vec![r.key, r.ts, r.ts + GAP, 1];
            for s in hits {
                session = vec![r.key, session[1].min(s[1]), session[2].max(s[2]), session[3] + s[3]];
            }
            rest.push(session);
        }
        open = rest;
    }
    over.extend(open);
    over
}

/// All sound rows by the watermark of their source just before each, ties in the order of the sources.
fn merged(inputs: &[Vec<Row>]) -> Vec<(i64, Row)> {
    let mut all = Vec::new();
    for rows in inputs {
        let mut watermark = i64::MIN;
        for r in rows.iter().filter(|r| !r.broken) {
            all.push((watermark, *r));
            watermark = watermark.max(r.ts - 2 * SECOND);
        }
    }
    // Stable: rows of a source and sources stay in order.
    all.sort_by_key(|(before, _)| *before);
    all
}

/// An output row as text.
pub fn show(record: &StreamRecord) -> String {
    let number = |v: &FieldValue| match v {
        FieldValue::Timestamp(t) => *t,
        FieldValue::Integer(i) => *i,
        other => serde_json::to_string(other).unwrap().trim_matches('"').parse().unwrap_or(i64::MIN),
    };
    format!("{:?}", record.values().iter().map(number).collect::<Vec<i64>>())
}

/// Rows as lines of part files.
struct Lines;

impl Encoder for Lines {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.extend_from_slice(show(record).as_bytes());
        out.push(b'\n');
        Ok(())
    }
}

/// Part files in `/out` of a disk: one an epoch or rotated, in one directory or in many.
pub fn parts(disk: &FakeDisk, kind: Kind, rng: &mut Rng) -> PartsSink {
    let encoder: MakeEncoder = Arc::new(|_| Ok(Box::new(Lines)));
    let column = match kind {
        Kind::Divide => "/out/{q}",
        Kind::Diamond | Kind::Union | Kind::Limit | Kind::Sorted => "/out/{id}",
        _ => "/out/k={key}/x",
    };
    // The time of rows without event time is that of the virtual clock.
    let path = ["/out", column, "/out/%M/%S"][rng.below(3) as usize];
    let rotation = Rotation {
        size: rng.one_in(2).then(|| rng.below(400)),
        interval: rng.one_in(4).then(|| Duration::from_millis(rng.below(40))),
    };
    let sink = FileSink::new(path, FileMode::Overwrite, None, encoder).by_row().unwrap();
    let sink = sink.with_rotation(rotation).with_max_open(1 + rng.below(4) as usize);
    sink.parts("job", Arc::new(disk.clone()))
}

/// Part files in `/out` of a disk, one an epoch.
pub fn plain_parts(disk: &FakeDisk) -> PartsSink {
    let encoder: MakeEncoder = Arc::new(|_| Ok(Box::new(Lines)));
    FileSink::new("/out", FileMode::Overwrite, None, encoder).parts("job", Arc::new(disk.clone()))
}

/// Dead letters as lines of part files.
struct Letters;

impl Encoder for Letters {
    fn record(&mut self, record: &StreamRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.extend_from_slice(show_letter(record).as_bytes());
        out.push(b'\n');
        Ok(())
    }
}

/// Part files of dead letters in `/letters` of a disk.
pub fn letter_parts(disk: &FakeDisk) -> PartsSink {
    let encoder: MakeEncoder = Arc::new(|_| Ok(Box::new(Letters)));
    FileSink::new("/letters", FileMode::Overwrite, None, encoder).parts("job", Arc::new(disk.clone()))
}

/// A dead letter as text: its code and the id in its content.
pub fn show_letter(record: &StreamRecord) -> String {
    let code = match record.get("code") {
        Some(FieldValue::String(code)) => code.to_string(),
        other => format!("{other:?}"),
    };
    let raw = match record.get("raw") {
        Some(FieldValue::Bytes(raw)) => String::from_utf8_lossy(raw).into_owned(),
        _ => String::new(),
    };
    let digits = |s: &str| s.chars().take_while(char::is_ascii_digit).collect::<String>();
    format!("{code} {}", raw.split_once("\"id\":").map_or_else(|| raw.clone(), |(_, rest)| digits(rest)))
}

pub fn rows(rng: &mut Rng, first: i64) -> Vec<Row> {
    let count = 20 + rng.below(180) as i64;
    let breaks = rng.one_in(2);
    (0..count)
        .map(|n| Row {
            id: first + n,
            key: rng.below(6) as i64,
            // Mostly rising, with leaps back of up to 15 s.
            ts: (n / 2) * SECOND - rng.below(3) as i64 * SECOND - if rng.one_in(9) { 12 * SECOND } else { 0 },
            broken: breaks && rng.one_in(12),
        })
        .collect()
}

/// `SELECT key, window_start, window_end, count(*) … GROUP BY key, …` by windows of a kind with `WATERMARK FOR ts AS ts - 2 s`, over one source or
/// a UNION ALL of several.
fn windows(sources: &[&str], kind: WindowKind) -> JobPlan {
    let input = row_schema();
    let ts = || typing::column(&input, 2).unwrap();
    let delay = typing::literal(FieldValue::Interval(Interval { months: 0, days: 0, micros: 2 * SECOND }));
    let watermark = WatermarkSpec {
        time: ts(),
        watermark: typing::binary(BinaryOp::Subtract, ts(), delay).unwrap(),
        max_future_skew: None,
        idle_timeout: None,
        lateness: 0,
        late: LatePolicy::DeadLetter,
        schema: input.clone(),
    };
    let schema = Schema::of([
        ("key", DataType::BigInt),
        ("window_start", DataType::Timestamp),
        ("window_end", DataType::Timestamp),
        ("n", DataType::BigInt),
    ]);
    let count = typing::aggregate_call(&FunctionRegistry::builtin(), "count", vec![], false, None, vec![]);
    let counts = AggregateSpec {
        keys: vec![typing::column(&input, 1).unwrap()],
        grouping_sets: vec![],
        window: Some(WindowSpec {
            kind,
            time: Expr::System(SystemColumn::EventTime),
            start: None,
            lateness: 0,
            late: LatePolicy::DeadLetter,
            has_watermark: true,
        }),
        calls: vec![count.unwrap()],
        having: None,
        unseen: Vec::new(),
        emit: Emit::Final,
        retracts: false,
        ttl: None,
        schema: schema.clone(),
    };
    let node = |id: String, operator, inputs| NodeSpec { id, operator, inputs };
    let source = |name: &&str| SourceSpec {
        relation: (*name).into(),
        schema: input.clone(),
        system: vec![],
        values: None,
    };
    let mut nodes: Vec<NodeSpec> = (0..sources.len())
        .map(|s| {
            let operator = OperatorSpec::Watermark(watermark.clone());
            node(format!("{s}.watermark"), operator, vec![InputRef::Source(s)])
        })
        .collect();
    if sources.len() > 1 {
        let inputs = (0..sources.len()).map(InputRef::Node).collect();
        nodes.push(node("union".into(), OperatorSpec::Union { schema: input.clone() }, inputs));
    }
    let last = InputRef::Node(nodes.len() - 1);
    nodes.push(node("1.aggregate".into(), OperatorSpec::Aggregate(Box::new(counts)), vec![last]));
    let last = InputRef::Node(nodes.len() - 1);
    JobPlan {
        sources: sources.iter().map(source).collect(),
        nodes,
        sinks: vec![SinkSpec { relation: "out".into(), schema, inputs: vec![last] }],
    }
}
