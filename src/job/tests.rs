//! Jobs over small readers and writers made for the purpose: every execution mode, every way to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::io::{
    Boundedness, DataReader, DataSink, DataSource, DataWriter, IoError, IoErrorKind, Read, Scan, SinkStart,
};
use crate::plan::{InputRef, JobPlan, SinkSpec, SourceSpec};
use crate::record::{BatchBuilder, DataType, ErrorCode, FieldValue, RecordError, Schema, StreamRecord};

fn schema() -> Arc<Schema> {
    Schema::of([("n", DataType::BigInt)])
}

/// Numbers from 0; every call of `read` follows the script, then fills batches.
#[derive(Clone)]
struct Numbers {
    to: i64,
    boundedness: Boundedness,
    script: Vec<Do>,
}

#[derive(Clone, Debug)]
enum Do {
    Idle,
    Few(usize),
    Transient,
    Fatal,
    Panic,
}

struct NumbersReader {
    spec: Numbers,
    next: i64,
    call: usize,
}

impl DataSource for Numbers {
    fn schema(&self) -> Arc<Schema> {
        schema()
    }
    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }
    fn open(&self, _: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        Ok(Box::new(NumbersReader { spec: self.clone(), next: 0, call: 0 }))
    }
}

impl DataReader for NumbersReader {
    fn schema(&self) -> Arc<Schema> {
        schema()
    }
    fn boundedness(&self) -> Boundedness {
        self.spec.boundedness
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let step = self.spec.script.get(self.call).cloned();
        self.call += 1;
        let most = match step {
            Some(Do::Idle) => return Ok(Read::Idle),
            Some(Do::Few(n)) => n,
            Some(Do::Transient) => {
                out.record().set(0, -1i64);
                return Err(IoError::new(IoErrorKind::Unavailable, "away"));
            }
            Some(Do::Fatal) => return Err(IoError::data("broken")),
            Some(Do::Panic) => panic!("the reader panics"),
            None => usize::MAX,
        };
        let mut given = 0;
        while self.next < self.spec.to && !out.is_full() && given < most {
            out.record().set(0, self.next);
            self.next += 1;
            given += 1;
        }
        Ok(match (self.next < self.spec.to, self.spec.boundedness) {
            (true, _) => Read::More,
            (false, Boundedness::Bounded) => Read::End,
            (false, _) => Read::Idle,
        })
    }
}

/// Collects what it is given; may refuse, fail or drop.
#[derive(Clone, Default)]
struct Collect {
    rows: Arc<Mutex<Vec<i64>>>,
    calls: Arc<AtomicUsize>,
    refuse: Option<i64>,
    fail_calls: Vec<usize>,
    panic_call: Option<usize>,
}

impl DataSink for Collect {
    fn open(&self, _: Arc<Schema>, _: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(self.clone()))
    }
}

impl DataWriter for Collect {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.panic_call == Some(call) {
            panic!("the writer panics");
        }
        if self.fail_calls.contains(&call) {
            return Err(IoError::new(IoErrorKind::Unavailable, "full"));
        }
        for (at, r) in batch.iter().enumerate() {
            let n = r.values()[0].as_i64().unwrap();
            if self.refuse == Some(n) {
                return Err(IoError::rejected(at, RecordError::new(ErrorCode::SinkRejected, "no sevens")));
            }
            self.rows.lock().push(n);
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Collects the `raw` column of dead letters.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<(String, String)>>>);
impl DataSink for Letters {
    fn open(&self, schema: Arc<Schema>, _: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        assert_eq!(schema, dead_letter_schema());
        Ok(Box::new(self.clone()))
    }
}
impl DataWriter for Letters {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        for r in batch {
            let FieldValue::Bytes(raw) = r.get("raw").unwrap() else { panic!() };
            let code = r.get("code").and_then(|c| c.as_str()).unwrap().to_owned();
            self.0.lock().push((code, String::from_utf8(raw.to_vec()).unwrap()));
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

fn numbers(to: i64, script: &[Do]) -> Numbers {
    Numbers { to, boundedness: Boundedness::Bounded, script: script.to_vec() }
}

fn job(config: JobConfig, sources: Vec<Numbers>, sinks: Vec<Collect>) -> JobSpec {
    let inputs: Vec<InputRef> = (0..sources.len()).map(InputRef::Source).collect();
    let plan = JobPlan {
        sources: sources
            .iter()
            .map(|_| SourceSpec {
                relation: "numbers".into(),
                schema: schema(),
                system: vec![],
                values: None,
            })
            .collect(),
        nodes: vec![],
        sinks: sinks
            .iter()
            .map(|_| SinkSpec { relation: "out".into(), schema: schema(), inputs: inputs.clone() })
            .collect(),
    };
    JobSpec {
        config,
        plan,
        sources: sources
            .into_iter()
            .enumerate()
            .map(|(i, s)| SourcePart { name: format!("numbers{i}"), source: Arc::new(s), on_error: None })
            .collect(),
        sinks: sinks
            .into_iter()
            .enumerate()
            .map(|(i, s)| SinkPart { name: format!("out{i}"), sink: Arc::new(s) })
            .collect(),
        dead_letters: None,
    }
}

const MODES: [Execution; 3] = [Execution::Inline, Execution::Threads, Execution::Auto];

fn config(execution: Execution, batch_rows: usize) -> JobConfig {
    JobConfig { execution, batch_rows, empty_wait: Duration::from_millis(1), ..JobConfig::default() }
}

#[test]
fn every_mode_and_batch_size_gives_everything_in_order_to_one_and_to_several_sinks() {
    for execution in MODES {
        for rows in [1, 7, 1000] {
            for sinks in 1..=3 {
                let sinks: Vec<Collect> = (0..sinks).map(|_| Collect::default()).collect();
                let n = if rows == 1 { 500 } else { 5_000 };
                let stats = start(job(config(execution, rows), vec![numbers(n, &[])], sinks.clone()))
                    .unwrap()
                    .wait()
                    .unwrap();
                for s in &sinks {
                    assert_eq!(*s.rows.lock(), (0..n).collect::<Vec<_>>(), "{execution:?} {rows}");
                }
                assert_eq!((stats.records_in, stats.deep_copies), (n as u64, 0));
                assert_eq!(stats.records_out, n as u64 * sinks.len() as u64);
            }
        }
    }
}

#[test]
fn bounded_sources_of_one_sink_are_read_one_after_the_other() {
    for execution in MODES {
        for rows in [3, 100] {
            let sink = Collect::default();
            let sources = vec![numbers(20, &[Do::Few(1), Do::Idle]), numbers(10, &[])];
            start(job(config(execution, rows), sources, vec![sink.clone()])).unwrap().wait().unwrap();
            assert_eq!(*sink.rows.lock(), (0..20).chain(0..10).collect::<Vec<_>>(), "{execution:?} {rows}");
        }
    }
}

#[test]
fn a_source_of_unknown_boundedness_ends_after_three_empty_reads_in_a_row() {
    let source =
        |script: &[Do]| Numbers { to: 10, boundedness: Boundedness::Unknown, script: script.to_vec() };
    for execution in MODES {
        let sink = Collect::default();
        // Two empty reads do not end it.
        let s = source(&[Do::Few(4), Do::Idle, Do::Idle, Do::Few(4), Do::Idle, Do::Idle]);
        start(job(config(execution, 100), vec![s], vec![sink.clone()])).unwrap().wait().unwrap();
        assert_eq!(*sink.rows.lock(), (0..10).collect::<Vec<_>>());
        let sink = Collect::default();
        let s = source(&[Do::Few(4), Do::Idle, Do::Idle, Do::Idle]);
        start(job(config(execution, 100), vec![s], vec![sink.clone()])).unwrap().wait().unwrap();
        assert_eq!(*sink.rows.lock(), (0..4).collect::<Vec<_>>());
    }
}

#[test]
fn stepping_never_sleeps_and_waits_for_its_own_clock() {
    let source = Numbers { to: 10, boundedness: Boundedness::Unknown, script: vec![] };
    let sink = Collect::default();
    let config = JobConfig { batch_rows: 4, ..JobConfig::default() };
    let mut job = stepping(job(config, vec![source], vec![sink.clone()]), 1_000_000).unwrap();
    let mut now = 1_000_000;
    let mut idles = 0;
    loop {
        match job.step(now).unwrap() {
            Step::Worked => {}
            Step::Done => break,
            Step::Idle(Some(until)) => {
                assert!(until > now);
                assert_eq!(job.step(until - 1).unwrap(), Step::Idle(Some(until)), "nothing happens before");
                idles += 1;
                now = until;
            }
            Step::Idle(None) => panic!("it must say until when"),
        }
    }
    assert_eq!((idles, now), (2, 1_200_000), "three empty reads, 100 ms apart");
    assert_eq!(sink.rows.lock().len(), 10);
    assert_eq!(job.step(now).unwrap(), Step::Done);
}

#[test]
fn errors_that_may_pass_are_retried_and_leave_no_trace() {
    for execution in MODES {
        let sink = Collect { fail_calls: vec![0, 2], ..Collect::default() };
        let source = numbers(10, &[Do::Transient, Do::Few(3), Do::Transient]);
        let stats =
            start(job(config(execution, 100), vec![source], vec![sink.clone()])).unwrap().wait().unwrap();
        assert_eq!(*sink.rows.lock(), (0..10).collect::<Vec<_>>(), "{execution:?}");
        assert_eq!((stats.sources[0].retries, stats.sinks[0].retries), (2, 2));
    }
}

#[test]
fn panics_and_fatal_errors_of_any_stage_end_the_job_with_their_reason() {
    for execution in MODES {
        let run = |source, sink| {
            start(job(config(execution, 5), vec![source], vec![sink])).unwrap().wait().unwrap_err()
        };
        let e = run(numbers(100, &[Do::Few(2), Do::Panic]), Collect::default());
        assert!(
            matches!(&e, JobError::Panic { message, .. } if message == "the reader panics"),
            "{execution:?} {e}"
        );
        let e = run(numbers(100, &[Do::Fatal]), Collect::default());
        assert_eq!(e.to_string(), "source numbers0: broken");
        let e = run(numbers(100_000, &[]), Collect { panic_call: Some(1), ..Collect::default() });
        assert!(
            matches!(&e, JobError::Panic { message, .. } if message == "the writer panics"),
            "{execution:?} {e}"
        );
    }
}

#[test]
fn a_record_that_the_sink_refuses_follows_the_policy_and_its_neighbours_are_written() {
    for execution in MODES {
        let refusing = || Collect { refuse: Some(7), ..Collect::default() };
        let run = |on_error, sink: &Collect, letters: Option<&Letters>| {
            let mut spec = job(
                JobConfig { on_error, ..config(execution, 4) },
                vec![numbers(10, &[])],
                vec![sink.clone()],
            );
            spec.dead_letters = letters.map(|l| SinkPart { name: "dlq".into(), sink: Arc::new(l.clone()) });
            start(spec).and_then(JobHandle::wait)
        };
        let expected: Vec<i64> = (0..10).filter(|n| *n != 7).collect();
        let sink = refusing();
        assert!(run(OnError::Fail, &sink, None).unwrap_err().to_string().contains("on_error"));
        let sink = refusing();
        let stats = run(OnError::Skip, &sink, None).unwrap();
        assert_eq!((sink.rows.lock().clone(), stats.rejected), (expected.clone(), 1));
        assert_eq!(stats.rejected_by_class, [("sink_rejected", 1)].into());
        let (sink, letters) = (refusing(), Letters::default());
        let stats = run(OnError::Dlq, &sink, Some(&letters)).unwrap();
        assert_eq!((sink.rows.lock().clone(), stats.dead_letters), (expected.clone(), 1));
        assert_eq!(*letters.0.lock(), [("sink_rejected".to_owned(), "{\"n\":7}".to_owned())]);
        assert!(
            matches!(run(OnError::Dlq, &refusing(), None), Err(JobError::Config(_))),
            "dlq without a target"
        );
    }
}

#[test]
fn stop_drains_what_was_read_and_abort_commits_nothing() {
    for execution in MODES {
        let endless = Numbers { to: i64::MAX, boundedness: Boundedness::Unbounded, script: vec![] };
        let sink = Collect::default();
        let handle = start(job(config(execution, 10), vec![endless.clone()], vec![sink.clone()])).unwrap();
        while sink.rows.lock().len() < 1000 {
            std::thread::yield_now();
        }
        handle.stop(Stop::Drain);
        let stats = handle.wait().unwrap();
        let rows = sink.rows.lock();
        assert_eq!(*rows, (0..rows.len() as i64).collect::<Vec<_>>());
        assert_eq!((stats.records_in, stats.records_out), (rows.len() as u64, rows.len() as u64));
        let handle = start(job(config(execution, 10), vec![endless], vec![Collect::default()])).unwrap();
        handle.stop(Stop::Abort);
        assert!(matches!(handle.wait(), Err(JobError::Aborted)));
    }
}
