//! UNNEST: one row per element of an array, or per entry of a map.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::filter_project::panic_error;
use super::{InputId, Operator, Output, Rejected, StateContract, StateError, StateReader, StateWriter};
use crate::expr::{EvalContext, EvalResult, Program};
use crate::plan::UnnestSpec;
use crate::record::{Batch, DataType, FieldValue, Schema, StreamRecord};

/// Rows of one output batch; a record with more elements fills several.
const MAX_ROWS: usize = 1024;

/// What an element becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    /// One column: the element.
    Item,
    /// The fields of a STRUCT, this many.
    Fields(usize),
    /// Key and value of a map's entry.
    Entry,
}

/// Running form of [`UnnestSpec`].
#[derive(Debug)]
pub struct UnnestOp {
    program: Program,
    outer: bool,
    with_ordinality: bool,
    schema: Arc<Schema>,
    columns: Columns,
}

impl UnnestOp {
    /// Compiles the expression.
    pub fn new(spec: &UnnestSpec) -> Self {
        let columns = match spec.expr.data_type() {
            DataType::Array(item) => match *item {
                DataType::Struct(fields) => Columns::Fields(fields.len()),
                _ => Columns::Item,
            },
            DataType::Map(..) => Columns::Entry,
            _ => Columns::Item,
        };
        Self {
            program: Program::compile(&spec.expr),
            outer: spec.outer,
            with_ordinality: spec.with_ordinality,
            schema: spec.schema.clone(),
            columns,
        }
    }

    fn evaluate(&self, record: &StreamRecord, now: i64) -> EvalResult<FieldValue> {
        // A clone of a nested value is a clone of its `Arc`.
        Ok(self.program.eval(&EvalContext { record, now })?.into_owned())
    }

    /// Writes element `at` (or NULLs, where there is none) behind the input's columns.
    fn put(&self, collection: &FieldValue, at: Option<usize>, slots: &mut [FieldValue]) {
        let (ordinality, slots) = match slots.split_last_mut() {
            Some((last, rest)) if self.with_ordinality => (Some(last), rest),
            Some(_) | None => (None, slots),
        };
        if let Some(slot) = ordinality {
            *slot = at.map_or(FieldValue::Null, |i| FieldValue::Integer(i as i64 + 1));
        }
        let null = &FieldValue::Null;
        match (self.columns, collection, at) {
            (Columns::Item, FieldValue::Array(items), Some(i)) => {
                slots.iter_mut().for_each(|slot| slot.assign(items.get(i).unwrap_or(null)));
            }
            (Columns::Fields(_), FieldValue::Array(items), Some(i)) => {
                let fields = match items.get(i) {
                    Some(FieldValue::Struct(fields)) => fields.values.as_slice(),
                    _ => &[],
                };
                for (n, slot) in slots.iter_mut().enumerate() {
                    slot.assign(fields.get(n).unwrap_or(null));
                }
            }
            (Columns::Entry, FieldValue::Map(entries), Some(i)) => {
                let entry = entries.get(i).map_or([null, null], |(k, v)| [k, v]);
                slots.iter_mut().zip(entry).for_each(|(slot, value)| slot.assign(value));
            }
            _ => slots.fill(FieldValue::Null),
        }
    }

    fn added(&self) -> usize {
        let element = match self.columns {
            Columns::Item => 1,
            Columns::Fields(n) => n,
            Columns::Entry => 2,
        };
        element + usize::from(self.with_ordinality)
    }

    fn run(&mut self, batch: &Batch, out: &mut Output<'_>) {
        let bytes = batch.bytes() / batch.len().max(1);
        let width = self.schema.len().saturating_sub(self.added());
        let mut made = fresh(batch, out);
        out.counters.input += batch.len() as u64;
        for record in batch.records() {
            let value = catch_unwind(AssertUnwindSafe(|| self.evaluate(record, out.now)))
                .unwrap_or_else(|panic| Err(Box::new(panic_error(&*panic))));
            let collection = match value {
                Ok(value) => value,
                Err(error) => {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: record.clone(), error: *error });
                    continue;
                }
            };
            let count = match &collection {
                FieldValue::Array(items) => items.len(),
                FieldValue::Map(entries) => entries.len(),
                _ => 0,
            };
            let rows = if count == 0 && self.outer { 1 } else { count };
            for i in 0..rows {
                if made.len() == MAX_ROWS {
                    made.set_bytes(bytes * MAX_ROWS);
                    out.emit(std::mem::replace(&mut made, fresh(batch, out)));
                }
                let (to, _) = made.next_slot(&self.schema);
                to.copy_metadata(record);
                let (inputs, added) = to.values_mut().split_at_mut(width);
                for (slot, value) in inputs.iter_mut().zip(record.values()) {
                    slot.assign(value);
                }
                self.put(&collection, (i < count).then_some(i), added);
            }
            match rows {
                0 => out.counters.absorbed += 1,
                n => {
                    out.counters.forwarded += 1;
                    out.counters.fanned_out += n as u64 - 1;
                }
            }
        }
        made.set_bytes(bytes * made.len());
        out.emit(made);
    }
}

fn fresh(batch: &Batch, out: &Output<'_>) -> Batch {
    let mut made = out.pools.take(out.home);
    made.inherit(batch);
    made
}

impl Operator for UnnestOp {
    fn process(&mut self, _: InputId, batch: Batch, out: &mut Output<'_>) {
        self.run(&batch, out);
        out.pools.give(batch);
    }

    fn process_shared(&mut self, _: InputId, batch: &Batch, out: &mut Output<'_>) {
        self.run(batch, out);
    }

    fn snapshot(&mut self, _: &mut StateWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn state_contract(&self) -> StateContract {
        StateContract::Stateless
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use crate::operator::test_kit::Bench;
    use crate::record::{Field, StructValue};

    fn op(item: DataType, outer: bool, with_ordinality: bool, added: &[&str]) -> (UnnestOp, Arc<Schema>) {
        let input = Schema::of([("id", DataType::BigInt), ("a", item.clone())]);
        let more = added.iter().map(|n| Field::new(n, DataType::Varchar));
        let schema = Schema::new(input.fields().iter().cloned().chain(more));
        let expr = Expr::Column { index: 1, name: "a".into(), data_type: item };
        (UnnestOp::new(&UnnestSpec { expr, outer, with_ordinality, schema }), input)
    }

    fn batch(schema: &Arc<Schema>, values: Vec<FieldValue>) -> Batch {
        let record = |(i, v): (usize, FieldValue)| {
            let mut r = StreamRecord::with_values(schema.clone(), [FieldValue::Integer(i as i64), v]);
            r.set_offset(Some(i as i64 * 10));
            Arc::new(r)
        };
        Batch::new(values.into_iter().enumerate().map(record).collect())
    }

    fn array(items: &[&str]) -> FieldValue {
        FieldValue::Array(Arc::new(items.iter().map(|s| FieldValue::from(*s)).collect()))
    }

    #[test]
    fn elements_follow_their_row_and_empty_ones_end_unless_outer() {
        for outer in [false, true] {
            let (mut op, schema) = op(DataType::array(DataType::Varchar), outer, true, &["x", "n"]);
            let mut bench = Bench::new();
            bench.process(
                &mut op,
                batch(&schema, vec![array(&["p", "q"]), array(&[]), FieldValue::Null, array(&["r"])]),
            );
            let rows: Vec<String> = bench
                .records()
                .map(|r| {
                    format!(
                        "{:?} {:?} {:?} {:?}",
                        r.values()[0].as_i64(),
                        r.values()[2].as_str(),
                        r.values()[3].as_i64(),
                        r.offset()
                    )
                })
                .collect();
            let mut expected = vec![
                r#"Some(0) Some("p") Some(1) Some(0)"#,
                r#"Some(0) Some("q") Some(2) Some(0)"#,
                r#"Some(1) None None Some(10)"#,
                r#"Some(2) None None Some(20)"#,
                r#"Some(3) Some("r") Some(1) Some(30)"#,
            ];
            if !outer {
                expected.drain(2..4);
            }
            assert_eq!(rows, expected);
            assert_eq!(bench.counters.absorbed, if outer { 0 } else { 2 });
            bench.check_ledger();
        }
    }

    #[test]
    fn structs_and_maps_become_several_columns() {
        let row =
            DataType::Struct(vec![Field::new("k", DataType::Varchar), Field::new("v", DataType::Varchar)]);
        let names: Arc<[crate::record::CompactString]> = Arc::from(vec!["k".into(), "v".into()]);
        let value = StructValue { names, values: vec!["a".into(), "b".into()] };
        let (mut structs, schema) = op(DataType::array(row), false, false, &["k", "v"]);
        let mut bench = Bench::new();
        let items = FieldValue::Array(Arc::new(vec![FieldValue::Struct(Arc::new(value)), FieldValue::Null]));
        bench.process(&mut structs, batch(&schema, vec![items]));
        let (mut maps, schema) =
            op(DataType::map(DataType::Varchar, DataType::Varchar), false, false, &["key", "value"]);
        bench.process(
            &mut maps,
            batch(&schema, vec![FieldValue::Map(Arc::new(vec![("c".into(), "d".into())]))]),
        );
        let pairs: Vec<_> =
            bench.records().map(|r| (r.values()[2].as_str(), r.values()[3].as_str())).collect();
        assert_eq!(pairs, [(Some("a"), Some("b")), (None, None), (Some("c"), Some("d"))]);
        bench.check_ledger();
    }

    #[test]
    fn a_long_array_fills_several_batches_and_a_recycled_one_shows_no_trace() {
        let (mut op, schema) = op(DataType::array(DataType::Varchar), false, false, &["x"]);
        let mut bench = Bench::new();
        let long: Vec<String> = (0..2500).map(|i| i.to_string()).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        bench.process(&mut op, batch(&schema, vec![array(&long)]));
        assert_eq!(bench.batches.iter().map(Batch::len).collect::<Vec<_>>(), [1024, 1024, 452]);
        bench.check_ledger();
        bench.recycle();
        bench.process(&mut op, batch(&schema, vec![array(&["only"])]));
        assert_eq!(bench.records().map(|r| r.values()[2].as_str()).collect::<Vec<_>>(), [Some("only")]);
    }
}
