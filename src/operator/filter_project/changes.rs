//! A condition over rows that change: an update of which only one row passes becomes a deletion or an insert.
//!
//! The two rows of an update stand side by side in one batch. One that stands alone is told as what it means by itself.

use std::sync::Arc;

use crate::record::{FieldValue, RowKind, StreamRecord};

/// What a row is told as, if it is kept. `at`: its place among `records`, of which `kept` says which are.
fn kind_of(records: &[Arc<StreamRecord>], kept: &[bool], at: usize) -> RowKind {
    let kind = |at: usize| records.get(at).map_or(RowKind::Insert, |r| r.kind());
    let is = |at: usize, wanted: RowKind| kept.get(at) == Some(&true) && kind(at) == wanted;
    match kind(at) {
        RowKind::UpdateBefore if !is(at + 1, RowKind::UpdateAfter) => RowKind::Delete,
        RowKind::UpdateAfter if at == 0 || !is(at - 1, RowKind::UpdateBefore) => RowKind::Insert,
        kind => kind,
    }
}

fn set_kind(slot: &mut Arc<StreamRecord>, kind: RowKind) {
    if slot.kind() == kind {
        return;
    }
    if let Some(record) = Arc::get_mut(slot) {
        return record.set_kind(kind);
    }
    let mut fresh = StreamRecord::new(slot.schema().clone());
    fresh.copy_metadata(slot);
    for (to, from) in fresh.values_mut().iter_mut().zip(slot.values()) {
        to.assign(from);
    }
    fresh.set_kind(kind);
    *slot = Arc::new(fresh);
}

/// Whether an update changes nothing that anybody sees.
fn look_alike(a: &StreamRecord, b: &StreamRecord) -> bool {
    let same = |(a, b): (&FieldValue, &FieldValue)| match (a, b) {
        (FieldValue::Float(x), FieldValue::Float(y)) => x.to_bits() == y.to_bits(),
        _ => a == b,
    };
    a.values().len() == b.values().len() && a.values().iter().zip(b.values()).all(same)
}

/// Gives the rows of a batch that are kept the kinds that they have without the others. `quiet`: updates that change nothing are not
/// kept.
pub(super) fn retell(records: &mut [Arc<StreamRecord>], kept: &mut [bool], quiet: bool) {
    for at in 0..records.len() {
        if kept.get(at) != Some(&true) {
            continue;
        }
        // Of two that are both kept neither becomes another one.
        let kind = kind_of(records, kept, at);
        if quiet
            && kind == RowKind::UpdateBefore
            && let (Some(before), Some(after)) = (records.get(at), records.get(at + 1))
            && look_alike(before, after)
        {
            kept.iter_mut().skip(at).take(2).for_each(|k| *k = false);
        } else if let Some(slot) = records.get_mut(at) {
            set_kind(slot, kind);
        }
    }
}
