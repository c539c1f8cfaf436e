//! Generated input: a ready-made stream of orders through a filter, as fast as it goes.

use millstream::Engine;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new();
    let prepared = engine.sql(
        "CREATE STREAM orders WITH (connector = 'generator', preset = 'orders', rows = '200000', seed = '42');
         CREATE STREAM nowhere WITH (connector = 'blackhole');
         INSERT INTO nowhere SELECT order_id, amount, symbol FROM orders WHERE amount > 500;",
    )?;
    let stats = prepared.start()?.wait()?;
    println!(
        "{} orders in {:.3} s, {} passed, {} records allocated, {} deep copies",
        stats.records_in,
        stats.wall_s,
        stats.records_out,
        stats.sources[0].records_allocated,
        stats.deep_copies
    );
    for decision in &stats.decisions {
        println!("after {:.3} s: {} – {}", decision.at_s, decision.placement, decision.reason);
    }
    Ok(())
}
