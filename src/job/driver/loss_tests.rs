//! A record that is lost in or between stages makes the ledger fail the job, and nothing of it is committed.

use std::sync::Arc;

use super::*;
use crate::connector::memory::{MemorySink, MemorySource};
use crate::job::edge::edge;
use crate::job::open::{Opened, lock_state, open};
use crate::job::{JobSpec, OnError, SinkPart, SourcePart};
use crate::operator::{
    InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter,
};
use crate::plan::{InputRef, JobPlan, LatePolicy, LimitSpec, NodeSpec, OperatorSpec, SinkSpec, SourceSpec};
use crate::record::{DataType, ErrorCode, RecordError, StreamRecord};
use crate::state::StateDir;

/// Where an operator loses the last record of each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leak {
    /// It never looks at it.
    Input,
    /// It counts it as handed on and does not.
    Output,
    /// It says that it rejected it, to nobody.
    Reject,
    /// It drops it as late without counting it.
    Late,
    /// It counts the last two as late and hands on one of them.
    LateLetter,
    /// It emits it once more, from nowhere.
    Produced,
    /// It is sound, and rejects one properly.
    None,
    /// It is sound, and finds one late.
    SoundLate,
}

struct Leaky(Leak);

impl Operator for Leaky {
    fn process(&mut self, _: InputId, mut batch: Batch, out: &mut Output<'_>) {
        let mut n = batch.len();
        if self.0 == Leak::LateLetter {
            out.counters.input += 1;
            out.counters.late += 1;
            batch.truncate(n - 1);
            n -= 1;
        }
        let last = batch.records().last().cloned();
        batch.truncate(n - 1);
        let lost = n as u64;
        out.counters.input += if self.0 == Leak::Input { lost - 1 } else { lost };
        out.counters.forwarded += if self.0 == Leak::Output { lost } else { lost - 1 };
        if matches!(self.0, Leak::Reject | Leak::None) {
            out.counters.rejected += 1;
        }
        match &last {
            Some(record) if matches!(self.0, Leak::SoundLate | Leak::LateLetter) => {
                out.late(record, LatePolicy::DeadLetter);
            }
            Some(record) if self.0 == Leak::Produced => {
                batch.push(record.clone());
                out.counters.absorbed += 1;
            }
            _ => {}
        }
        if self.0 == Leak::None
            && let Some(record) = last
        {
            out.rejects.push(Rejected { record, error: RecordError::new(ErrorCode::Overflow, "the last") });
        }
        out.emit(batch);
    }
    fn snapshot(&mut self, _: &mut StateWriter) -> Result<(), StateError> {
        Ok(())
    }
    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
    fn state_contract(&self) -> StateContract {
        StateContract::Stateless
    }
}

struct Rig {
    driver: Driver,
    state: Arc<StateDir>,
    _dir: tempfile::TempDir,
}

fn rig(leak: Leak, threads: bool) -> Rig {
    let schema = Schema::of([("n", DataType::BigInt)]);
    let rows = (0..100i64).map(|n| StreamRecord::with_values(schema.clone(), [n.into()])).collect();
    let source = MemorySource::from_vec(schema.clone(), rows).unwrap();
    let spec = |relation: &str| SourceSpec {
        relation: relation.into(),
        schema: schema.clone(),
        system: vec![],
        values: None,
    };
    let node = NodeSpec {
        id: "out/0.leaky".into(),
        operator: OperatorSpec::Limit(LimitSpec { count: None, offset: 0 }),
        inputs: vec![InputRef::Source(0)],
    };
    let sink = SinkSpec { relation: "out".into(), schema: schema.clone(), inputs: vec![InputRef::Node(0)] };
    let part = |name: &str| SinkPart { name: name.into(), sink: Arc::new(MemorySink::new().0) };
    let dir = tempfile::tempdir().unwrap();
    let config = JobConfig {
        batch_rows: 10,
        on_error: OnError::Dlq,
        state: Some(dir.path().into()),
        ..JobConfig::default()
    };
    let spec = JobSpec {
        config,
        plan: JobPlan { sources: vec![spec("in")], nodes: vec![node], sinks: vec![sink] },
        sources: vec![SourcePart { name: "in".into(), source: Arc::new(source), on_error: None }],
        sinks: vec![part("out")],
        dead_letters: Some(part("letters")),
    };
    let shared = Arc::new(Shared::new(&spec.config));
    let state = lock_state(&spec.config).unwrap().unwrap();
    let Opened::Ready(mut driver) = open(&spec, &shared, Some(&state)).unwrap() else { panic!() };
    driver.core.lock().nodes[0].operator = Box::new(Leaky(leak));
    if threads {
        driver.split_all().unwrap();
    }
    Rig { driver: *driver, state, _dir: dir }
}

impl Rig {
    fn run(mut self) -> Result<(), JobError> {
        let ended = loop {
            match self.driver.round(Duration::from_millis(5)) {
                Ok(Round::Done) => break Ok(()),
                Ok(_) => {}
                Err(e) => break Err(e),
            }
        };
        let committed = self.state.load().unwrap().unwrap();
        assert_eq!(committed.finished, ended.is_ok(), "{ended:?}");
        assert_eq!(self.driver.abandon(), Vec::<String>::new());
        ended
    }
    fn expect_loss(self, what: &str, stage: &str) {
        match self.run() {
            Err(JobError::Ledger(e)) => assert!(e.to_string().contains(stage), "{what}: {e}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_sound_job_balances() {
    rig(Leak::None, false).run().unwrap();
    rig(Leak::None, true).run().unwrap();
    rig(Leak::SoundLate, false).run().unwrap();
    rig(Leak::SoundLate, true).run().unwrap();
}

#[test]
fn an_operator_that_loses_a_record_is_named() {
    for threads in [false, true] {
        for leak in [Leak::Input, Leak::Output, Leak::Reject, Leak::Late, Leak::LateLetter, Leak::Produced] {
            rig(leak, threads).expect_loss(&format!("{leak:?}"), "operator out/0.leaky");
        }
    }
}

#[test]
fn a_batch_lost_between_reader_and_processor_is_found() {
    let rig = rig(Leak::None, true);
    let SourcePlace::Away(thread) = &rig.driver.inflows[0].place else { panic!() };
    let lost = thread.edge.recv(Duration::from_secs(10)).unwrap();
    assert!(matches!(lost, Some(Message::Parcel(_))));
    rig.expect_loss("edge", "source in");
}

/// One batch as far as the processor: what is to be delivered lies in the core.
fn processed(rig: &mut Rig) {
    let SourcePlace::Here(stage) = &mut rig.driver.inflows[0].place else { panic!() };
    let Ok(Polled::Batch(batch)) = stage.poll(Duration::ZERO, || true) else { panic!() };
    stage.counters.forwarded.add(batch.len() as u64);
    rig.driver.core.lock().push(0, batch, 0).unwrap();
}

#[test]
fn a_batch_lost_between_processor_and_sink_is_found() {
    let mut rig = rig(Leak::None, false);
    processed(&mut rig);
    rig.driver.core.lock().outbox.clear();
    rig.expect_loss("outbox", "sink out");
}

#[test]
fn a_dead_letter_lost_by_the_processor_is_found() {
    let mut rig = rig(Leak::None, false);
    processed(&mut rig);
    std::mem::swap(&mut rig.driver.core.lock().outbox, &mut rig.driver.outbox);
    rig.driver.core.lock().letters.clear();
    rig.driver.deliver().unwrap();
    rig.expect_loss("letter", "the dead letter queue");
}

#[test]
fn a_batch_lost_on_the_way_to_a_writers_thread_is_found() {
    let mut rig = rig(Leak::None, false);
    processed(&mut rig);
    let letters = std::mem::take(&mut rig.driver.core.lock().letters);
    rig.driver.post(letters).unwrap();
    let parcel = rig.driver.core.lock().outbox.pop().unwrap();
    rig.driver.split_all().unwrap();
    let (nowhere, _held) = edge(8, 1 << 20);
    let place = |driver: &mut Driver, sender| {
        let SinkPlace::Away(thread) = &mut driver.outflows[0].place else { panic!() };
        std::mem::replace(&mut thread.edge, sender)
    };
    let right = place(&mut rig.driver, nowhere);
    rig.driver.deliver_one(parcel.0, parcel.1).unwrap();
    drop(place(&mut rig.driver, right));
    rig.expect_loss("edge", "sink out");
}
