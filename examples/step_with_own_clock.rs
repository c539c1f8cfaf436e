//! No thread at all: the caller drives the job with its own clock, as a game loop or a simulation would.

use std::sync::Arc;

use millstream::{BatchBuilder, DataReader, DataType, Engine, IoError, Read, Schema, Step};

/// Gives two records and then never says whether more will come.
struct Quiet(Arc<Schema>, i64);

impl DataReader for Quiet {
    fn schema(&self) -> Arc<Schema> {
        self.0.clone()
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        if self.1 == 2 {
            return Ok(Read::Idle);
        }
        self.1 += 1;
        out.record().set(0, self.1);
        Ok(Read::More)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new();
    engine.register_reader("quiet", Quiet(Schema::of([("n", DataType::BigInt)]), 0))?;

    // Microseconds since the Unix epoch, moved by hand: this program never waits.
    let start = 1_767_225_600_000_000;
    let mut now = start;
    let mut job = engine.sql("SELECT n * 10 AS n FROM quiet")?.stepping(now)?;
    let mut rows = job.take_rows().ok_or("a bare SELECT has rows")?;
    loop {
        match job.step(now)? {
            Step::Worked => {}
            // Nothing can happen before that time: three empty reads, 100 ms apart, end the stream.
            Step::Idle(Some(until)) => now = until,
            Step::Idle(None) => now += 1000,
            Step::Done => break,
        }
        while let Some(row) = rows.try_next() {
            println!("at {:>3} ms: {:?}", (now - start) / 1000, row.values());
        }
    }
    println!("ended after {} ms of its own time", (now - start) / 1000);
    assert_eq!(now - start, 200_000);
    Ok(())
}
