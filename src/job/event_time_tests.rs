//! Watermarks, windows, timers and late rows through whole jobs: every execution mode, every batch size, the caller's clock.

use std::sync::Arc;

use super::*;
use crate::connector::memory::{Collected, MemorySender, MemorySink, MemorySource};
use crate::expr::{BinaryOp, Expr, FunctionRegistry, SystemColumn, typing};
use crate::io::DataSource;
use crate::observe::JobStats;
use crate::plan::{
    AggregateSpec, Emit, InputRef, JobPlan, LatePolicy, NodeSpec, OperatorSpec, SinkSpec, SourceSpec,
    WatermarkSpec, WindowKind, WindowSpec,
};
use crate::record::{DataType, FieldValue, Interval, Schema, StreamRecord};

const SECOND: i64 = 1_000_000;

fn input() -> Arc<Schema> {
    Schema::of([("ts", DataType::Timestamp), ("k", DataType::BigInt)])
}

fn counted() -> Arc<Schema> {
    Schema::of([
        ("k", DataType::BigInt),
        ("window_start", DataType::Timestamp),
        ("window_end", DataType::Timestamp),
        ("n", DataType::BigInt),
    ])
}

/// `WATERMARK FOR ts AS ts - 2 s`.
fn by_column() -> WatermarkSpec {
    let ts = || typing::column(&input(), 0).unwrap();
    let delay = Interval { months: 0, days: 0, micros: 2 * SECOND };
    let delay = typing::literal(FieldValue::Interval(delay));
    WatermarkSpec {
        time: ts(),
        watermark: typing::binary(BinaryOp::Subtract, ts(), delay).unwrap(),
        max_future_skew: None,
        idle_timeout: None,
        lateness: 0,
        late: LatePolicy::Drop,
        schema: input(),
    }
}

/// PROCTIME().
fn by_clock() -> WatermarkSpec {
    let proctime = || typing::call(&FunctionRegistry::builtin(), "proctime", vec![]).unwrap();
    WatermarkSpec { time: proctime(), watermark: proctime(), ..by_column() }
}

/// `COUNT(*)` for each key and each ten seconds of event time.
fn counts(late: LatePolicy) -> OperatorSpec {
    let count = typing::aggregate_call(&FunctionRegistry::builtin(), "count", vec![], false, None, vec![]);
    OperatorSpec::Aggregate(Box::new(AggregateSpec {
        keys: vec![typing::column(&input(), 1).unwrap()],
        grouping_sets: vec![],
        window: Some(WindowSpec {
            kind: WindowKind::Tumble { size: 10 * SECOND },
            time: Expr::System(SystemColumn::EventTime),
            start: None,
            lateness: 0,
            late,
            has_watermark: true,
        }),
        calls: vec![count.unwrap()],
        having: None,
        unseen: Vec::new(),
        emit: Emit::Final,
        retracts: false,
        ttl: None,
        schema: counted(),
    }))
}

fn node(id: &str, operator: OperatorSpec, inputs: Vec<InputRef>) -> NodeSpec {
    NodeSpec { id: id.into(), operator, inputs }
}

/// Each source gets its watermark; several are united; then they are counted.
fn job(
    config: JobConfig,
    sources: Vec<Arc<dyn DataSource>>,
    watermark: WatermarkSpec,
    late: LatePolicy,
) -> (JobSpec, Collected, Collected) {
    let n = sources.len();
    let mut nodes: Vec<NodeSpec> = (0..n)
        .map(|i| {
            let operator = OperatorSpec::Watermark(watermark.clone());
            node(&format!("{i}.watermark"), operator, vec![InputRef::Source(i)])
        })
        .collect();
    if n > 1 {
        let union = OperatorSpec::Union { schema: input() };
        nodes.push(node("union", union, (0..n).map(InputRef::Node).collect()));
    }
    nodes.push(node("counts", counts(late), vec![InputRef::Node(nodes.len() - 1)]));
    let ((sink, rows), (letters, dead)) = (MemorySink::new(), MemorySink::new());
    let source = |name: String| SourceSpec { relation: name, schema: input(), system: vec![], values: None };
    let plan = JobPlan {
        sources: (0..n).map(|i| source(format!("s{i}"))).collect(),
        sinks: vec![SinkSpec {
            relation: "out".into(),
            schema: counted(),
            inputs: vec![InputRef::Node(nodes.len() - 1)],
        }],
        nodes,
    };
    let part = |(i, source)| SourcePart { name: format!("s{i}"), source, on_error: None };
    let spec = JobSpec {
        config,
        plan,
        sources: sources.into_iter().enumerate().map(part).collect(),
        sinks: vec![SinkPart { name: "out".into(), sink: Arc::new(sink) }],
        dead_letters: Some(SinkPart { name: "letters".into(), sink: Arc::new(letters) }),
    };
    (spec, rows, dead)
}

/// Key, start of the window in seconds, count.
type Counted = (i64, i64, i64);

fn collected(rows: &Collected) -> Vec<Counted> {
    let row = |r: &Arc<StreamRecord>| {
        let FieldValue::Timestamp(start) = r.values()[1] else { panic!("{r:?}") };
        (r.values()[0].as_i64().unwrap(), start / SECOND, r.values()[3].as_i64().unwrap())
    };
    rows.take().iter().map(row).collect()
}

fn source(rows: &[(i64, i64)]) -> Arc<dyn DataSource> {
    let record = |(ts, k): &(i64, i64)| {
        StreamRecord::with_values(input(), [FieldValue::Timestamp(ts * SECOND), (*k).into()])
    };
    Arc::new(MemorySource::from_vec(input(), rows.iter().map(record).collect()).unwrap())
}

/// Rows up to 5 s out of order, so that some are late; two keys.
fn disorder(n: i64, seed: i64) -> Vec<(i64, i64)> {
    (0..n).map(|i| (i / 2 + (i * 7919 + seed) % 6, (i * 31 + seed) % 2)).collect()
}

fn run(
    execution: Execution,
    batch_rows: usize,
    sources: &[Vec<(i64, i64)>],
    late: LatePolicy,
) -> (Vec<Counted>, JobStats, Vec<Arc<StreamRecord>>) {
    let config = JobConfig { execution, batch_rows, ..JobConfig::default() };
    let sources = sources.iter().map(|rows| source(rows)).collect();
    let (spec, rows, letters) = job(config, sources, by_column(), late);
    let stats = start(spec).unwrap().wait().unwrap();
    (collected(&rows), stats, letters.take())
}

/// Windows of one stream, and how many rows are late.
fn reference(rows: &[(i64, i64)]) -> (Vec<Counted>, u64) {
    let mut groups: Vec<Counted> = Vec::new();
    let (mut watermark, mut late) = (i64::MIN, 0);
    for (ts, k) in rows {
        let start = ts / 10 * 10;
        if start + 10 <= watermark {
            late += 1;
        } else {
            match groups.iter_mut().find(|g| (g.0, g.1) == (*k, start)) {
                Some(group) => group.2 += 1,
                None => groups.push((*k, start, 1)),
            }
        }
        watermark = watermark.max(ts - 2);
    }
    groups.sort_by_key(|g| g.1);
    (groups, late)
}

#[test]
fn windows_and_late_rows_are_the_same_in_every_mode_and_batch() {
    let rows = disorder(2000, 1);
    let (expected, late) = reference(&rows);
    assert!(late > 10 && expected.len() > 150);
    for execution in [Execution::Inline, Execution::Threads, Execution::Auto] {
        for batch in [1, 7, 1000] {
            let (got, stats, _) = run(execution, batch, std::slice::from_ref(&rows), LatePolicy::Drop);
            assert_eq!(got, expected, "{execution:?} {batch}");
            assert_eq!((stats.late, stats.rejected, stats.deep_copies), (late, 0, 0));
        }
    }
}

#[test]
fn late_rows_become_dead_letters_although_errors_fail_the_job() {
    let rows = disorder(500, 3);
    let (expected, late) = reference(&rows);
    let (got, stats, letters) =
        run(Execution::Threads, 50, std::slice::from_ref(&rows), LatePolicy::DeadLetter);
    assert_eq!(got, expected);
    assert_eq!((stats.late, stats.dead_letters, letters.len() as u64), (late, late, late));
    let code = letters[0].get("code").and_then(|v| v.as_str());
    assert_eq!(code, Some("late"));
    assert_eq!(letters[0].get("stage").and_then(|v| v.as_str()), Some("operator counts"));
}

#[test]
fn late_rows_need_a_dead_letter_queue_to_go_to() {
    let (mut spec, ..) = job(JobConfig::default(), vec![source(&[])], by_column(), LatePolicy::DeadLetter);
    spec.dead_letters = None;
    let e = spec.check().unwrap_err().to_string();
    assert!(e.contains("operator counts: late = 'dlq'"), "{e}");
}

#[test]
fn united_sources_give_the_same_in_every_mode_and_batch() {
    let sources = [disorder(300, 1), disorder(400, 5)];
    let (expected, first, _) = run(Execution::Inline, 1, &sources, LatePolicy::Drop);
    assert_eq!(expected.iter().map(|g| g.2).sum::<i64>() as u64 + first.late, 700);
    for execution in [Execution::Inline, Execution::Threads] {
        for batch in [7, 1000] {
            let (got, stats, _) = run(execution, batch, &sources, LatePolicy::Drop);
            assert_eq!((got, stats.late), (expected.clone(), first.late), "{execution:?} {batch}");
        }
    }
}

#[test]
fn an_operator_with_too_much_state_ends_the_job_by_its_name() {
    let config = JobConfig { state_max_bytes: 500, ..JobConfig::default() };
    let (spec, ..) = job(config, vec![source(&disorder(1000, 1))], by_column(), LatePolicy::Drop);
    let e = start(spec).unwrap().wait().unwrap_err().to_string();
    assert!(e.contains("operator counts: its state takes") && e.contains("state_max_bytes = 500"), "{e}");
}

fn live(watermark: WatermarkSpec, sources: usize) -> (JobHandle, Vec<MemorySender>, Collected) {
    let (senders, sources): (Vec<_>, Vec<_>) = (0..sources)
        .map(|_| {
            let (sender, source) = MemorySource::channel(input(), 100);
            (sender, Arc::new(source) as Arc<dyn DataSource>)
        })
        .unzip();
    let (spec, rows, _) = job(JobConfig::default(), sources, watermark, LatePolicy::Drop);
    (stepping(spec, 0).unwrap(), senders, rows)
}

fn send(sender: &MemorySender, seconds: i64) {
    sender.send_values([FieldValue::Timestamp(seconds * SECOND), 1i64.into()]).unwrap();
}

/// Steps until nothing is left to do at that time; gives when the job wants to be called again.
fn settle_at(job: &mut JobHandle, now: i64) -> Option<i64> {
    loop {
        match job.step(now).unwrap() {
            Step::Worked => {}
            Step::Idle(until) => return until,
            Step::Done => panic!("the source is open"),
        }
    }
}

#[test]
fn a_window_of_the_clock_fires_by_the_callers_clock_without_input() {
    let (mut job, senders, rows) = live(by_clock(), 1);
    assert_eq!(settle_at(&mut job, 3 * SECOND), None);
    send(&senders[0], 0);
    send(&senders[0], 0);
    let until = settle_at(&mut job, 3 * SECOND).expect("it waits for the clock");
    assert!(until > 3 * SECOND && until < 10 * SECOND, "{until}");
    settle_at(&mut job, 10 * SECOND - 1);
    assert_eq!(collected(&rows), []);
    settle_at(&mut job, 10 * SECOND);
    assert_eq!(collected(&rows), [(1, 0, 2)]);
    send(&senders[0], 0);
    settle_at(&mut job, 25 * SECOND);
    settle_at(&mut job, 30 * SECOND);
    assert_eq!(collected(&rows), [(1, 20, 1)]);
}

#[test]
fn a_silent_source_does_not_hold_the_other_up_for_ever() {
    let (mut job, senders, rows) = live(WatermarkSpec { idle_timeout: Some(30 * SECOND), ..by_column() }, 2);
    send(&senders[0], 1);
    send(&senders[1], 1);
    settle_at(&mut job, 0);
    send(&senders[0], 40);
    settle_at(&mut job, 20 * SECOND);
    assert_eq!(collected(&rows), [], "the second source may still bring rows of that window");
    settle_at(&mut job, 30 * SECOND);
    assert_eq!(collected(&rows), [(1, 0, 2)], "it has been silent for 30 s");
    send(&senders[1], 45);
    settle_at(&mut job, 40 * SECOND);
    send(&senders[0], 80);
    settle_at(&mut job, 41 * SECOND);
    assert_eq!(collected(&rows), [], "it speaks again and counts again");
}

/// Steps a job over two sources to its end, with the rows that each had given and the rows written, after each step.
fn course(first: &[(i64, i64)], second: &[(i64, i64)]) -> Vec<(u64, u64, u64)> {
    let config = JobConfig { execution: Execution::Inline, batch_rows: 100, ..JobConfig::default() };
    let (spec, ..) = job(config, vec![source(first), source(second)], by_column(), LatePolicy::Drop);
    let mut job = stepping(spec, 0).unwrap();
    let mut seen = Vec::new();
    while job.step(0).unwrap() != Step::Done {
        let stats = job.stats();
        seen.push((stats.sources[0].records, stats.sources[1].records, stats.records_out));
    }
    seen
}

#[test]
fn of_merged_sources_only_the_one_that_the_others_wait_for_is_read() {
    let rows = |from: i64| -> Vec<(i64, i64)> { (from..from + 5_000).map(|t| (t, t % 2)).collect() };
    // One after the other in time: about a batch of the second waits all the while, and windows fire meanwhile.
    let seen = course(&rows(0), &rows(5_000));
    assert!(seen.iter().all(|(a, b, _)| *a == 5_000 || *b <= 100), "{seen:?}");
    assert!(seen.iter().any(|(a, _, out)| *a < 3_000 && *out > 200), "{seen:?}");
    // At the same time: neither is more than a batch or two ahead.
    let seen = course(&rows(0), &rows(0));
    assert!(seen.iter().all(|(a, b, _)| a.abs_diff(*b) <= 200), "{seen:?}");
}
