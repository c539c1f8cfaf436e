//! How long five aggregates take for a record of one group: `cargo test --release --lib aggregate::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use super::tests::{call, rows};
use super::{AggregateInput, AggregateProgram};
use crate::expr::EvalContext;
use crate::record::{DataType, FieldValue};

#[test]
#[ignore = "prints a speed"]
fn five_aggregates_of_a_group() {
    let types = [DataType::BigInt, DataType::Double];
    let records =
        rows(&types, (0..1000).map(|i| vec![FieldValue::Integer(i), FieldValue::Float(i as f64 / 3.0)]));
    let calls = [("count", None), ("sum", Some(0)), ("avg", Some(1)), ("min", Some(0)), ("max", Some(1))];
    let programs: Vec<AggregateProgram> =
        calls.iter().map(|(n, arg)| AggregateProgram::compile(&call(n, *arg, &types), false)).collect();
    let mut inputs = vec![AggregateInput::default(); 5];
    let mut states: Vec<_> = programs.iter().map(AggregateProgram::new_state).collect();
    let (rounds, mut best) = (2000, f64::MAX);
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            for record in &records {
                let ctx = EvalContext { record: black_box(record), now: 0 };
                for (program, input) in programs.iter().zip(&mut inputs) {
                    program.evaluate(&ctx, input).unwrap();
                }
                for ((program, input), state) in programs.iter().zip(&inputs).zip(&mut states) {
                    program.update(state, record, input);
                }
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(rounds) / 1000.0);
    }
    black_box(&states);
    println!("{best:.1} ns a record");
}
