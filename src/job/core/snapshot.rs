//! What a checkpoint holds of the operators: their state, and the watermarks and ends of their inputs.

use super::{Core, NodeSlot};
use crate::job::JobError;
use crate::plan::NodeSpec;
use crate::state::{Frozen, InputState, OperatorState, StateContract, StateReader, StateWriter};

/// A fingerprint of what a node does: only an operator that does the same can use its state. What it hashes is the plan's own text and
/// that of values, whose look a test holds.
pub(in crate::job) fn fingerprint(node: &NodeSpec) -> u32 {
    crc32fast::hash(format!("{:?} {}", node.operator, node.inputs.len()).as_bytes())
}

impl Core {
    /// The operators at a barrier; their tables of groups are frozen.
    pub(in crate::job) fn snapshot(&mut self, frozen: &Frozen) -> Result<Vec<OperatorState>, JobError> {
        let nodes: Vec<_> =
            (0..).zip(&mut self.nodes).map(|(number, node)| node.snapshot(frozen, number)).collect();
        nodes.into_iter().chain(self.lanes().map(|lane| Ok(self.lane_snapshot(lane)))).collect()
    }

    /// Takes down about `budget` bytes of what is frozen.
    pub(in crate::job) fn take_down(&mut self, mut budget: usize) {
        for node in &mut self.nodes {
            node.operator.take_down(&mut budget);
            if budget == 0 {
                return;
            }
        }
    }

    /// Rows that operators have emitted from what they hold.
    pub(in crate::job) fn produced(&self) -> u64 {
        self.nodes.iter().map(|n| n.counters.produced).sum()
    }

    /// Whether an operator holds back what a stop would have to emit or to keep.
    pub(in crate::job) fn holds_rows(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.operator.state_contract(), StateContract::Kept { .. }))
    }
}

impl NodeSlot {
    pub(super) fn snapshot(&mut self, frozen: &Frozen, number: u32) -> Result<OperatorState, JobError> {
        let mut state = StateWriter::freezing(frozen, number);
        self.operator
            .snapshot(&mut state)
            .map_err(|e| JobError::State(format!("operator {}: {e}", self.name)))?;
        // The end of an input is +∞ here and a flag there: what is stored goes on from the last watermark that was a time.
        let input = |((watermark, ended), idle): ((&i64, &bool), &bool)| InputState {
            watermark: if *watermark == i64::MAX { i64::MIN } else { *watermark },
            ended: *ended,
            idle: *idle,
        };
        let (state, tables) = state.into_parts();
        Ok(OperatorState {
            id: self.name.clone(),
            spec: self.spec,
            stateful: self.operator.state_contract().is_stateful(),
            inputs: self.watermarks.iter().zip(&self.ended).zip(&self.idle).map(input).collect(),
            watermark: self.watermark,
            state,
            tables,
        })
    }

    /// Goes on from a checkpoint.
    pub(in crate::job) fn restore(&mut self, from: &OperatorState) -> Result<(), JobError> {
        let failed = |why: String| JobError::State(format!("operator {}: {why}", self.name));
        let mut state = StateReader::with_tables(&from.state, &from.tables);
        self.operator.restore(&mut state).map_err(|e| failed(e.to_string()))?;
        if !state.is_empty() || from.inputs.len() != self.ended.len() {
            return Err(failed("its state has another shape than it should".into()));
        }
        let watermark = |i: &InputState| if i.ended { i64::MAX } else { i.watermark };
        self.watermarks = from.inputs.iter().map(watermark).collect();
        self.ended = from.inputs.iter().map(|i| i.ended).collect();
        self.idle = from.inputs.iter().map(|i| i.idle).collect();
        self.watermark = from.watermark;
        self.timer = self.operator.next_timer();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::record::{CompactString, Decimal, FieldValue, Interval, StructValue};

    /// Fingerprints are in every state directory: a version of a dependency that prints its types otherwise must not get in unseen.
    #[test]
    fn the_text_that_fingerprints_hash_is_what_it_was() {
        let names: Arc<[CompactString]> = Arc::from(vec!["a".into()]);
        let text = |v: FieldValue| format!("{v:?}");
        assert_eq!(text(Decimal::new(-12_300, 4).into()), "Decimal(-1.2300)");
        assert_eq!(text(Decimal::MAX.into()), "Decimal(79228162514264337593543950335)");
        assert_eq!(text("it's \"é\"\n".into()), "String(\"it's \\\"é\\\"\\n\")");
        let structured = StructValue { names, values: vec![0.1f64.into(), i64::MIN.into(), true.into()] };
        assert_eq!(
            text(FieldValue::Struct(Arc::new(structured))),
            "Struct(StructValue { names: [\"a\"], values: [Float(0.1), Integer(-9223372036854775808), Boolean(true)] })"
        );
        let interval = Interval { months: -1, days: 2, micros: 3 };
        assert_eq!(text(interval.into()), "Interval(Interval { months: -1, days: 2, micros: 3 })");
        assert_eq!(text(FieldValue::Bytes(vec![0, 255].into())), "Bytes([0, 255])");
    }
}
