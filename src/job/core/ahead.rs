//! What waits in the lanes of a merge, in a checkpoint: rows with all that belongs to them, and where each lane stands.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Core;
use super::merge::{Lane, Waiting};
use super::snapshot::fingerprint;
use crate::job::JobError;
use crate::plan::{InputRef, JobPlan, NodeSpec};
use crate::record::{Batch, FieldValue, Schema, StreamRecord};
use crate::state::{Checkpoint, OperatorState, StateError, StateReader, StateWriter};

/// The name of the state of the lane behind a node.
pub(in crate::job) fn lane_id(node: &str) -> String {
    format!("{node}/waiting")
}

/// Only rows of the same shape, made the same way, go on waiting.
pub(in crate::job) fn lane_fingerprint(node: &NodeSpec) -> u32 {
    fingerprint(node)
}

impl Core {
    pub(super) fn lane_snapshot(&self, lane: &Lane) -> OperatorState {
        let node = self.nodes.get(lane.node);
        let mut state = StateWriter::new();
        write_lane(lane, &mut state);
        OperatorState {
            id: node.map_or_else(String::new, |n| lane_id(&n.name)),
            spec: node.map_or(0, |n| n.spec),
            stateful: !lane.waiting.is_empty(),
            inputs: Vec::new(),
            watermark: lane.watermark,
            state: state.into_bytes(),
            tables: Vec::new(),
        }
    }

    /// Goes on from a checkpoint. A source that had ended brings nothing more, also if what waited is unknown.
    pub(in crate::job) fn restore_lanes(
        &mut self,
        plan: &JobPlan,
        from: &Checkpoint,
        ended: &[bool],
    ) -> Result<(), JobError> {
        for lane in self.merges.iter_mut().flat_map(|m| &mut m.lanes) {
            lane.ended = ended.get(lane.source).is_some_and(|e| *e);
            let Some(node) = plan.nodes.get(lane.node) else { continue };
            let Some(schema) = plan.schema_of(InputRef::Node(lane.node)) else { continue };
            let Some(saved) = from.operator(&lane_id(&node.id), lane_fingerprint(node)) else { continue };
            let mut state = StateReader::new(&saved.state);
            let read = read_lane(lane, saved.watermark, schema, &mut state);
            let whole = read.and_then(|()| match state.is_empty() {
                true => Ok(()),
                false => Err(StateError("it is longer than it should be".into())),
            });
            whole.map_err(|e| JobError::State(format!("rows that wait behind operator {}: {e}", node.id)))?;
        }
        self.pass_merged()
    }
}

fn write_lane(lane: &Lane, to: &mut StateWriter) {
    for flag in [lane.ended, lane.over, lane.idle, lane.told] {
        to.u8(u8::from(flag));
    }
    to.i64(lane.next);
    to.u64(lane.waiting.len() as u64);
    let mut passed = lane.passed;
    for Waiting { batch, after } in &lane.waiting {
        let rows = batch.records().get(std::mem::take(&mut passed)..).unwrap_or(&[]);
        to.i64(*after);
        to.value(&batch.origin().map_or(FieldValue::Null, |o| (&**o).into()));
        to.u64(batch.bytes() as u64);
        to.u64(rows.len() as u64);
        for row in rows {
            to.record(row);
            to.value(&row.topic().map_or(FieldValue::Null, |t| (&**t).into()));
            to.value(row.key());
            to.u64(row.headers().len() as u64);
            for (name, value) in row.headers().iter() {
                to.bytes(name.as_bytes());
                to.bytes(value);
            }
        }
    }
}

fn read_lane(
    lane: &mut Lane,
    watermark: i64,
    schema: &Arc<Schema>,
    from: &mut StateReader<'_>,
) -> Result<(), StateError> {
    let [ended, over, idle, told] = [from.u8()? != 0, from.u8()? != 0, from.u8()? != 0, from.u8()? != 0];
    (lane.ended, lane.over, lane.idle, lane.told) = (lane.ended || ended, over, idle, told);
    (lane.watermark, lane.next) = (watermark, from.i64()?);
    lane.waiting = VecDeque::new();
    for _ in 0..from.count()? {
        let after = from.i64()?;
        let origin = text(&from.value()?);
        let bytes = usize::try_from(from.u64()?).unwrap_or(0);
        let mut rows = Vec::new();
        for _ in 0..from.count()? {
            let mut row = from.record(schema)?;
            row.set_topic(text(&from.value()?));
            row.set_key(from.value()?);
            row.set_source(lane.source);
            read_headers(&mut row, from)?;
            rows.push(Arc::new(row));
        }
        lane.came += rows.len() as u64;
        let mut batch = Batch::new(rows);
        batch.set_home(lane.source as u16);
        batch.set_bytes(bytes);
        batch.set_origin(origin);
        lane.waiting.push_back(Waiting { batch, after });
    }
    Ok(())
}

fn read_headers(row: &mut StreamRecord, from: &mut StateReader<'_>) -> Result<(), StateError> {
    for _ in 0..from.count()? {
        let (name, value) = (from.bytes()?, from.bytes()?);
        let name =
            std::str::from_utf8(name).map_err(|_| StateError("a header's name is not UTF-8".into()))?;
        row.headers_mut().push(name, value);
    }
    Ok(())
}

fn text(value: &FieldValue) -> Option<Arc<str>> {
    match value {
        FieldValue::String(s) => Some(s.as_str().into()),
        _ => None,
    }
}
