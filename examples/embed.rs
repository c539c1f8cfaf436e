//! Embedding: a channel in, SQL in the middle, rows out – no server, no `.await`.

use millstream::connector::memory::MemorySource;
use millstream::{DataType, Engine, Schema};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::of([("symbol", DataType::Varchar), ("price", DataType::Double)]);
    let (trades, source) = MemorySource::channel(schema, 16);

    let engine = Engine::new();
    engine.register_source("trades", source)?;
    let mut job = engine
        .sql("SELECT symbol, price, price > 100 AS expensive FROM trades WHERE symbol LIKE 'A%'")?
        .start()?;

    // Any thread may send; the end of the stream is the end of its senders.
    let sender = std::thread::spawn(move || {
        for (symbol, price) in [("ACME", 99.5), ("GLOBEX", 7.0), ("ACME", 120.25)] {
            trades.send_values([symbol.into(), price.into()])?;
        }
        Ok::<(), millstream::connector::memory::SendError>(())
    });

    for row in job.rows() {
        println!("{:?} {:?} {:?}", row.get("symbol"), row.get("price"), row.get("expensive"));
    }
    sender.join().map_err(|_| "the sender panicked")??;
    let stats = job.wait()?;
    println!("{} in, {} out, {} deep copies", stats.records_in, stats.records_out, stats.deep_copies);
    assert_eq!((stats.records_in, stats.records_out), (3, 2));
    Ok(())
}
