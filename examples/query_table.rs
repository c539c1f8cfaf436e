//! A materialized table, asked from another thread while the job that fills it runs.

use std::sync::Arc;

use millstream::connector::memory::MemorySource;
use millstream::{DataType, Engine, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::of([("customer", DataType::Varchar), ("amount", DataType::BigInt)]);
    let (payments, source) = MemorySource::channel(schema, 16);
    let engine = Arc::new(Engine::new());
    engine.register_source("payments", source)?;
    let job = engine
        .sql(
            "CREATE TABLE totals AS SELECT customer, sum(amount) AS total, count(*) AS payments \
             FROM payments GROUP BY customer",
        )?
        .start()?;

    for (customer, amount) in [("ada", 30), ("bob", 5), ("ada", 12)] {
        payments.send_values([customer.into(), i64::from(amount).into()])?;
    }

    // A pull query is a job of its own over what the table holds between two batches: it never sees half a batch, and
    // WHERE on the whole key looks up one row.
    let asking = engine.clone();
    let answer = std::thread::spawn(move || -> Result<Option<i64>, millstream::Error> {
        loop {
            let mut query =
                asking.query("SELECT total, payments FROM totals WHERE customer = 'ada'", None)?.start()?;
            let row = query.rows().next();
            query.wait()?;
            let number = |name: &str| row.as_ref().and_then(|r| r.get(name)?.as_i64());
            // The job may not have taken both payments yet.
            if number("payments") == Some(2) {
                return Ok(number("total"));
            }
            std::thread::yield_now();
        }
    })
    .join()
    .map_err(|_| "the asking thread panicked")??;
    println!("ada has paid {}", answer.unwrap_or_default());
    assert_eq!(answer, Some(42));

    drop(payments); // the end of the stream
    job.wait()?;
    // The table stays as long as the engine.
    let mut all = engine.query("SELECT customer, total FROM totals ORDER BY customer", None)?.start()?;
    let rows: Vec<String> = all.rows().map(|r| format!("{:?}", r.values())).collect();
    all.wait()?;
    println!("{rows:?}");
    assert_eq!(rows.len(), 2);
    Ok(())
}
