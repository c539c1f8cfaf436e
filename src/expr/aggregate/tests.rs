//! Random rows that come, leave, are merged and pass through snapshots give what all rows at once give.

use super::{Accumulator, AggregateCall, AggregateInput, AggregateProgram, Packing, Retraction, SortKey};
use crate::expr::{EvalContext, Expr, FunctionRegistry, typing};
use crate::record::{DataType, Decimal, FieldValue, Schema, StreamRecord};

/// A call of a column, typed.
pub(super) fn call(name: &str, column: Option<usize>, types: &[DataType]) -> AggregateCall {
    let functions = FunctionRegistry::builtin();
    let args = column.into_iter().map(|i| column_of(i, types)).collect();
    typing::aggregate_call(&functions, name, args, false, None, Vec::new()).unwrap()
}

fn column_of(index: usize, types: &[DataType]) -> Expr {
    Expr::Column { index, name: "x".into(), data_type: types[index].clone() }
}

pub(super) fn rows(
    types: &[DataType],
    values: impl IntoIterator<Item = Vec<FieldValue>>,
) -> Vec<StreamRecord> {
    let schema = Schema::of(types.iter().enumerate().map(|(i, t)| (["x", "y"][i], t.clone())));
    values.into_iter().map(|v| StreamRecord::with_values(schema.clone(), v)).collect()
}

/// A generator, and whether it makes numbers beyond which sums of doubles lose everything.
struct Random(u64, bool);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
    fn value(&mut self, of: &DataType) -> FieldValue {
        let small = self.below(12) as i64 - 5;
        if self.below(7) == 0 {
            return FieldValue::Null;
        }
        match of {
            DataType::BigInt => match self.below(8) {
                0 | 1 if !self.1 => small.into(),
                0 => i64::MAX.into(),
                1 => i64::MIN.into(),
                _ => small.into(),
            },
            DataType::Double => {
                let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, -1e300, 5e-324];
                match self.below(40) {
                    n if n < if self.1 { special.len() } else { 4 } => special[n].into(),
                    _ => (small as f64 * 0.37).into(),
                }
            }
            DataType::Decimal { .. } => match self.below(8) {
                0 => Decimal::from_i128_with_scale(10i128.pow(28) - 1, 2).into(),
                _ => Decimal::new(small * 33, 2).into(),
            },
            DataType::Varchar => {
                ["", "a", "b", "ab", "é", "a text of more than twenty-four bytes"][self.below(6)].into()
            }
            DataType::Boolean => (small > 0).into(),
            DataType::Timestamp => FieldValue::Timestamp(small * 1_000_000),
            DataType::Interval => FieldValue::Interval(crate::record::Interval {
                months: small as i32,
                days: self.below(40) as i32,
                micros: small * 7,
            }),
            other => panic!("{other}"),
        }
    }
}

/// Calls of every function, with every clause that it takes.
fn calls(types: &[DataType]) -> Vec<(String, AggregateCall)> {
    let functions = FunctionRegistry::builtin();
    let key = |descending, nulls_first| SortKey { expr: column_of(1, types), descending, nulls_first };
    let x = || column_of(0, types);
    let half = || typing::literal(FieldValue::Float(0.5));
    let mut names: Vec<&str> = functions.aggregate_names().collect();
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        for args in [vec![], vec![x()], vec![x(), column_of(1, types)], vec![half()], vec![x(), half()]] {
            for distinct in [false, true] {
                for order_by in [
                    vec![],
                    vec![key(true, false)],
                    vec![key(false, true)],
                    vec![SortKey { expr: x(), ..key(true, true) }],
                ] {
                    let shown = format!(
                        "{name}({} args{}) order {order_by:?} over {}",
                        args.len(),
                        if distinct { ", distinct" } else { "" },
                        types[0]
                    );
                    let filter = (all.len() % 5 == 0).then(|| {
                        typing::unary(crate::expr::UnaryOp::IsNotNull, column_of(1, types)).unwrap()
                    });
                    if let Ok(call) =
                        typing::aggregate_call(&functions, name, args.clone(), distinct, filter, order_by)
                    {
                        all.push((shown, call));
                    }
                }
            }
        }
    }
    all
}

struct Group<'p> {
    program: &'p AggregateProgram,
    state: Accumulator,
    input: AggregateInput,
}

impl Group<'_> {
    fn add(&mut self, record: &StreamRecord, remove: bool) {
        let ctx = EvalContext { record, now: 0 };
        self.program.evaluate(&ctx, &mut self.input).unwrap();
        if remove {
            self.program.retract(&mut self.state, record, &self.input);
        } else {
            self.program.update(&mut self.state, record, &self.input);
        }
    }
    fn result(&self) -> String {
        self.program.finish(&self.state).map_or_else(|e| e.to_string(), |v| format!("{v:?}"))
    }
}

fn group(program: &AggregateProgram) -> Group<'_> {
    Group { program, state: program.new_state(), input: AggregateInput::default() }
}

fn all_at_once(program: &AggregateProgram, records: &[StreamRecord]) -> String {
    let mut group = group(program);
    records.iter().for_each(|r| group.add(r, false));
    group.result()
}

fn types() -> [[DataType; 2]; 7] {
    let decimal = DataType::Decimal { precision: 28, scale: 2 };
    [
        DataType::BigInt,
        DataType::Double,
        decimal,
        DataType::Varchar,
        DataType::Boolean,
        DataType::Timestamp,
        DataType::Interval,
    ]
    .map(|t| [t, DataType::BigInt])
}

fn random_rows(types: &[DataType], random: &mut Random) -> Vec<StreamRecord> {
    let n = random.below(30);
    rows(types, (0..n).map(|_| types.iter().map(|t| random.value(t)).collect::<Vec<_>>()))
}

#[test]
fn what_came_and_left_leaves_no_trace() {
    for (case, types) in types().iter().enumerate() {
        let seed = 0x5eed_0000 + case as u64;
        let mut random = Random(seed, true);
        for (shown, call) in calls(types) {
            if call.retraction() == Retraction::Impossible {
                continue;
            }
            let program = AggregateProgram::compile(&call, true);
            for _ in 0..3 {
                let records = random_rows(types, &mut random);
                let mut there: Vec<StreamRecord> = Vec::new();
                let mut group = group(&program);
                for record in &records {
                    group.add(record, false);
                    there.push(record.clone());
                    while random.below(3) == 0 && !there.is_empty() {
                        // Rows are told apart by their arguments: of those with equal ones the oldest leaves.
                        let gone = random.below(there.len());
                        let x = format!("{:?}", there[gone].values()[0]);
                        let at = there.iter().position(|r| format!("{:?}", r.values()[0]) == x);
                        let gone = there.remove(at.unwrap());
                        group.add(&gone, true);
                    }
                    if random.below(4) == 0 {
                        group.state = program.restore(&group.state.to_values()).unwrap();
                    }
                }
                assert_eq!(group.result(), all_at_once(&program, &there), "seed {seed:#x}: {shown}");
            }
        }
    }
}

#[test]
fn parts_merged_in_order_give_the_whole() {
    for (case, types) in types().iter().enumerate() {
        let seed = 0x3e46_0000 + case as u64;
        let mut random = Random(seed, true);
        for (shown, call) in calls(types) {
            for retracts in [false, true] {
                random.1 = !call.data_type.is_float();
                let program = AggregateProgram::compile(&call, retracts);
                let records = random_rows(types, &mut random);
                let mut whole = group(&program);
                let mut rest = records.as_slice();
                while !rest.is_empty() {
                    let (part, later) = rest.split_at(1 + random.below(rest.len()));
                    let mut other = group(&program);
                    part.iter().for_each(|r| other.add(r, false));
                    let restored = program.restore(&other.state.to_values()).unwrap();
                    program.merge(&mut whole.state, &restored);
                    rest = later;
                }
                let (got, expected) = (whole.result(), all_at_once(&program, &records));
                let number = |s: &str| s.trim_start_matches("Float(").trim_end_matches(')').parse::<f64>();
                // Sums of doubles in row order are rounded elsewhere when they come in parts.
                let near = matches!((number(&got), number(&expected)), (Ok(a), Ok(b)) if (a - b).abs() <= 1e-9 * (1.0 + b.abs()));
                assert!(got == expected || near, "seed {seed:#x}: {shown}: {got}, not {expected}");
            }
        }
    }
}

/// States of a group in words and cells, fed with what was evaluated once for all.
struct PackedGroup {
    words: [u64; 5],
    further: Vec<u64>,
    cells: Vec<Accumulator>,
    rows: i64,
}

#[test]
fn states_in_words_are_those_that_each_call_would_have_by_itself() {
    let (mut packed, mut shared) = (0, 0);
    for (case, types) in types().iter().enumerate() {
        for (retracts, extreme) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut random = Random(0x9ac_0000 + case as u64, extreme);
            // A few calls at a time, so that some find room beside the head and others do not.
            let mut all: Vec<(String, AggregateCall)> = calls(types);
            all.retain(|(_, call)| !(retracts && call.retraction() == Retraction::Impossible));
            for i in (1..all.len()).rev() {
                all.swap(i, random.below(i + 1));
            }
            for some in all.chunks(6) {
                let some_calls: Vec<AggregateCall> = some.iter().map(|(_, c)| c.clone()).collect();
                let programs: Vec<AggregateProgram> =
                    some_calls.iter().map(|c| AggregateProgram::compile(c, retracts)).collect();
                let packing = Packing::new(&some_calls, &programs, 5);
                let (words, further, cells) = packing.widths();
                assert!(words <= 5 && cells == packing.cells().len());
                packed += programs.len() - cells;
                shared += usize::from(packing.evaluated().len() < programs.len());
                let mut group = PackedGroup {
                    words: [0; 5],
                    further: vec![0; further],
                    cells: packing.cells().iter().map(|at| programs[*at].new_state()).collect(),
                    rows: 0,
                };
                let mut alone: Vec<Group<'_>> = programs.iter().map(self::group).collect();
                let values = (0..random.below(60)).map(|_| types.iter().map(|t| random.value(t)).collect());
                let records = rows(types, values.collect::<Vec<_>>());
                let leaving = if retracts { records.len() / 2 } else { 0 };
                let steps =
                    records.iter().map(|r| (r, true)).chain(records[..leaving].iter().map(|r| (r, false)));
                let mut inputs = vec![AggregateInput::default(); programs.len()];
                for (record, adds) in steps {
                    alone.iter_mut().for_each(|g| g.add(record, !adds));
                    for at in packing.evaluated() {
                        programs[*at].evaluate(&EvalContext { record, now: 0 }, &mut inputs[*at]).unwrap();
                    }
                    packing.feed(&mut group.words, &mut group.further, record, &inputs, adds);
                    group.rows += if adds { 1 } else { -1 };
                    for (at, cell) in packing.cells().iter().zip(&mut group.cells) {
                        match adds {
                            true => programs[*at].update(cell, record, &inputs[*at]),
                            false => programs[*at].retract(cell, record, &inputs[*at]),
                        }
                    }
                }
                for (at, (name, _)) in some.iter().enumerate() {
                    let (now, expected) = match packing.cell_of(at) {
                        Some(cell) => {
                            let result = programs[at].finish(&group.cells[cell]);
                            (result.map_or_else(|e| e.to_string(), |v| format!("{v:?}")), alone[at].result())
                        }
                        None => {
                            let words = (&group.words[..], &group.further[..]);
                            let state = packing.state(at, &programs[at], group.rows, words);
                            (format!("{:?}", state.to_values()), format!("{:?}", alone[at].state.to_values()))
                        }
                    };
                    assert_eq!(now, expected, "case {case}: {name}, retracts {retracts}");
                }
            }
        }
    }
    assert!(packed > 100 && shared > 30, "{packed} calls in words, {shared} times an argument is shared");
}

#[test]
fn calls_of_one_column_share_their_words() {
    let types = [DataType::Double, DataType::BigInt];
    let of = |names: &[(&str, usize)]| {
        let calls: Vec<AggregateCall> = names.iter().map(|(n, c)| call(n, Some(*c), &types)).collect();
        let programs: Vec<AggregateProgram> =
            calls.iter().map(|c| AggregateProgram::compile(c, false)).collect();
        let packing = Packing::new(&calls, &programs, 5);
        (packing.widths(), packing.evaluated().to_vec())
    };
    assert_eq!(of(&[("count", 0), ("sum", 0), ("avg", 0), ("min", 0), ("max", 0)]), ((4, 0, 0), vec![0]));
    assert_eq!(of(&[("sum", 1), ("min", 1), ("max", 1), ("count", 1)]), ((5, 0, 0), vec![0]));
    assert_eq!(of(&[("sum", 1), ("avg", 0), ("max", 0), ("median", 0)]), ((3, 3, 1), vec![0, 1, 3]));
    assert_eq!(of(&[("stddev", 0), ("var_pop", 0), ("count", 0)]), ((4, 0, 0), vec![0, 2]));
}
