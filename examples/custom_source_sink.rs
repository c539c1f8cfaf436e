//! A source and a sink of one's own: the doors are two small traits, and recycling comes for free.

use std::sync::Arc;

use millstream::{
    BatchBuilder, Boundedness, DataReader, DataType, DataWriter, Engine, IoError, Read, Schema, StreamRecord,
};

/// Numbers and their Collatz steps.
struct Collatz {
    schema: Arc<Schema>,
    next: i64,
    last: i64,
}

impl DataReader for Collatz {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        while !out.is_full() && self.next <= self.last {
            let (mut n, mut steps) = (self.next, 0i64);
            while n != 1 {
                n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
                steps += 1;
            }
            // The builder hands out records that were used before.
            let record = out.record();
            record.set(0, self.next);
            record.set(1, steps);
            self.next += 1;
        }
        Ok(if self.next > self.last { Read::End } else { Read::More })
    }
}

/// Draws a bar for each row.
struct Bars;

impl DataWriter for Bars {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        for row in batch {
            let number = |i: usize| row.values().get(i).and_then(|v| v.as_i64()).unwrap_or(0);
            println!("{:>6} {:>4} {}", number(0), number(1), "▇".repeat(number(1) as usize / 8));
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::of([("n", DataType::BigInt), ("steps", DataType::BigInt)]);
    let engine = Engine::new();
    engine.register_reader("collatz", Collatz { schema, next: 1, last: 100_000 })?;
    engine.register_writer("bars", Bars)?;
    let stats =
        engine.sql("INSERT INTO bars SELECT n, steps FROM collatz WHERE steps > 320")?.start()?.wait()?;
    println!("{} numbers, {} records allocated", stats.records_in, stats.sources[0].records_allocated);
    Ok(())
}
