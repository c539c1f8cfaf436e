//! What an evaluation costs: `cargo test --release --lib expr::program::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use super::*;
use crate::expr::{BinaryOp, CastMode, LikeKind, typing};
use crate::record::{DataType, Schema, StreamRecord, text};

const ROWS: usize = 1000;
const ROUNDS: usize = 2000;

fn orders() -> Vec<StreamRecord> {
    let schema = Schema::of([
        ("amount", DataType::Decimal { precision: 18, scale: 2 }),
        ("symbol", DataType::Varchar),
        ("quantity", DataType::BigInt),
        ("price", DataType::Double),
        ("ts", DataType::Timestamp),
    ]);
    let symbols = ["ACME", "GLOBEX", "INITECH", "HOOLI"];
    (0..ROWS as i64)
        .map(|i| {
            let k = i.wrapping_mul(2_654_435_761) % 1009;
            let values = [
                text::parse_decimal(&format!("{}.{:02}", k % 200, k % 100)).unwrap().into(),
                symbols[(k % 4) as usize].into(),
                k.into(),
                (k as f64 / 7.0).into(),
                FieldValue::Timestamp(1_700_000_000_000_000 + k),
            ];
            StreamRecord::with_values(schema.clone(), values)
        })
        .collect()
}

#[test]
#[ignore = "a measurement, not a test"]
fn nanoseconds_a_record() {
    let rows = orders();
    let schema = rows[0].schema().clone();
    let col = |name: &str| typing::column(&schema, schema.index_of(name).unwrap()).unwrap();
    let lit = |v: FieldValue| typing::literal(v);
    let bin = |op, a, b| typing::binary(op, a, b).unwrap();
    let acme = || bin(BinaryOp::Eq, col("symbol"), lit("ACME".into()));
    let and = |a| typing::and(vec![a, acme()]).unwrap();
    let like = typing::like(LikeKind::Like, col("symbol"), lit("%OO%".into()), None, false).unwrap();
    let symbols = vec![lit("ACME".into()), lit("HOOLI".into()), lit("X".into())];
    let conditions = [
        and(bin(BinaryOp::Greater, col("amount"), lit(100i64.into()))),
        and(bin(BinaryOp::Greater, col("quantity"), lit(100i64.into()))),
        and(bin(BinaryOp::Greater, col("price"), lit(100i64.into()))),
        bin(BinaryOp::Greater, bin(BinaryOp::Multiply, col("quantity"), col("price")), lit(500i64.into())),
        typing::in_list(col("symbol"), symbols, false).unwrap(),
        like,
    ];
    for condition in conditions {
        let program = Program::compile(&condition);
        report(&condition, &rows, |ctx| program.eval_bool(ctx).is_ok_and(|b| b == Some(true)));
    }
    let values = [
        col("symbol"),
        bin(BinaryOp::Add, bin(BinaryOp::Multiply, col("quantity"), lit(2i64.into())), lit(1i64.into())),
        bin(
            BinaryOp::Multiply,
            col("price"),
            typing::cast(col("quantity"), DataType::Double, CastMode::Strict).unwrap(),
        ),
        bin(BinaryOp::Multiply, col("amount"), col("quantity")),
        bin(BinaryOp::Divide, col("amount"), col("amount")),
        bin(BinaryOp::Concat, col("symbol"), lit("-x".into())),
        typing::cast(col("quantity"), DataType::Varchar, CastMode::Strict).unwrap(),
    ];
    for value in values {
        let program = Program::compile(&value);
        report(&value, &rows, |ctx| program.eval(ctx).is_ok_and(|v| !v.is_null()));
    }
}

fn report<'a>(what: &Expr, rows: &'a [StreamRecord], mut each: impl FnMut(&EvalContext<'a>) -> bool) {
    let (mut best, mut hits) = (f64::INFINITY, 0usize);
    // The least of many short rounds: what else runs on the machine disturbs only some of them.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        hits = rows.iter().filter(|record| each(&EvalContext { record: black_box(record), now: 0 })).count();
        best = best.min(start.elapsed().as_nanos() as f64 / ROWS as f64);
    }
    println!("{best:7.1} ns  {hits:4} of {ROWS}  {what}");
}
