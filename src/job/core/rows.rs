//! Sources whose rows reach a place on several ways: they pass one by one, and what they give is gathered again.

use super::Core;
use crate::job::JobError;
use crate::job::message::Parcel;
use crate::plan::InputRef;
use crate::record::Batch;

impl Core {
    /// Passes a batch on row by row. `home`: where copies of its rows come from.
    pub(super) fn push_row_by_row(
        &mut self,
        from: InputRef,
        home: u16,
        batch: Batch,
    ) -> Result<(), JobError> {
        let bytes = batch.bytes() / batch.len().max(1);
        for record in batch.records() {
            // A copy of its own for each row, as the ways to the meeting point change it independently.
            let mut row = self.pools.take(home);
            let (slot, _) = row.next_slot(record.schema());
            slot.copy_metadata(record);
            for (to, from) in slot.values_mut().iter_mut().zip(record.values()) {
                to.assign(from);
            }
            row.inherit(&batch);
            row.set_bytes(bytes);
            let before = self.outbox.len();
            self.route(from, row)?;
            self.gather(before, batch.len());
        }
        self.pools.give(batch);
        Ok(())
    }

    /// Puts the parcels from `new` on behind those that earlier rows left for the same sinks: what is processed row by row is not
    /// handed on and written so. Up to `full` rows come together.
    pub(super) fn gather(&mut self, new: usize, full: usize) {
        let mut at = new;
        while let Some((sink, _)) = self.outbox.get(at) {
            let earlier = self.outbox.get(..at).unwrap_or_default().iter().rposition(|(s, _)| s == sink);
            let (earlier, later) = match (earlier, self.outbox.split_at_mut_checked(at)) {
                (Some(earlier), Some((before, behind))) => (before.get_mut(earlier), behind.first_mut()),
                _ => (None, None),
            };
            match (earlier, later) {
                (Some((_, Parcel::Own(batch))), Some((_, Parcel::Own(row)))) if batch.len() < full => {
                    batch.append(row);
                    if let (_, Parcel::Own(row)) = self.outbox.remove(at) {
                        self.pools.give(row);
                    }
                }
                _ => at += 1,
            }
        }
    }
}
