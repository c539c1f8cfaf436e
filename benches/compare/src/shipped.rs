//! The shipped engine itself, through its public doors.

use std::sync::Arc;

use millstream::observe::JobStats;
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataWriter, Engine, IoError, Read, Schema, StreamRecord,
};

use crate::Failure;
use crate::asynch::{BATCH_BYTES, Conditions};
use crate::workload::{Drain, Feed, Probe, Workload};

struct Source {
    feed: Feed,
}

impl DataReader for Source {
    fn schema(&self) -> Arc<Schema> {
        self.feed.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        // The report's rule for the end of the stream: empty batches.
        Boundedness::Unknown
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let before = out.len();
        self.feed.fill(out);
        Ok(if out.len() > before { Read::More } else { Read::Idle })
    }
}

struct Sink {
    drain: Drain,
}

impl DataWriter for Sink {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        self.drain.take(batch).map_err(IoError::data)
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), IoError> {
        self.drain.finish();
        Ok(())
    }
}

/// Runs a workload with `execution = …`.
pub fn run(
    workload: &Workload,
    probe: &Arc<Probe>,
    execution: &str,
    threads: usize,
    conditions: Conditions,
) -> Result<JobStats, Failure> {
    let engine = Engine::new();
    engine.register_reader("source", Source { feed: workload.feed(probe)? })?;
    engine.register_writer("sink", Sink { drain: workload.drain(probe)? })?;
    let wait = format!("{} ms", conditions.empty_wait.as_millis());
    let settings = [
        ("execution", execution.to_owned()),
        ("threads", threads.to_string()),
        ("batch_rows", conditions.batch.to_string()),
        ("batch_bytes", BATCH_BYTES.to_string()),
        ("trace", if conditions.trace { "propagate" } else { "off" }.to_owned()),
        ("empty_batches", conditions.empty_batches.to_string()),
        ("empty_wait", wait),
    ];
    for (name, value) in &settings {
        engine.set(name, value)?;
    }
    Ok(engine.sql(&workload.sql)?.start()?.wait()?)
}
