//! NOT NULL columns of a sink: a record that breaks the promise follows the error policy, its neighbours are written.

use millstream::connector::memory::MemorySink;
use millstream::record::Field;
use millstream::{DataType, Engine, Schema};

fn run(on_error: &str) -> (Result<u64, String>, Vec<i64>) {
    let engine = Engine::new();
    let (sink, collected) = MemorySink::new();
    let schema =
        Schema::new([Field::new("a", DataType::BigInt), Field::new("b", DataType::Varchar).not_null()]);
    engine.register_sink_of("t", schema, sink).unwrap();
    engine.set("on_error", on_error).unwrap();
    let sql = "INSERT INTO t SELECT x, y FROM (VALUES (1, 'x'), (2, NULL), (3, 'z'), (4, NULL)) AS v(x, y)";
    let outcome = engine.sql(sql).unwrap().start().unwrap().wait();
    let rows = collected.rows().iter().filter_map(|r| r.values()[0].as_i64()).collect();
    (outcome.map(|s| s.rejected).map_err(|e| e.to_string()), rows)
}

#[test]
fn a_null_is_refused_and_named_and_its_neighbours_are_written() {
    assert_eq!(run("skip"), (Ok(2), vec![1, 3]));
    let (outcome, rows) = run("fail");
    let message = outcome.unwrap_err();
    assert!(message.contains("not_null") && message.contains("column b"), "{message}");
    assert_eq!(rows, [1]);
}
