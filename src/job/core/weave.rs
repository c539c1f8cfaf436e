//! Sources whose rows reach a place on several ways: there they come out row by row, the ways of each row in their order, whatever the
//! batches.
//!
//! Where everything on the ways passes rows on in their order, or keeps them to the end, whole batches go each way, what arrives is held, and its rows are woven
//! together by their number in the batch. Else each row goes all its ways before the next one, and what comes out is gathered.

use std::sync::Arc;

use super::{Core, Held};
use crate::job::JobError;
use crate::job::message::Parcel;
use crate::plan::InputRef;
use crate::record::Batch;

/// Where the ways of a source meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::job) struct Meetings {
    /// UNION ALLs, in the order of the plan, with the inputs that rows of the source arrive at.
    pub(in crate::job) nodes: Vec<(usize, Vec<usize>)>,
    pub(in crate::job) sinks: Vec<usize>,
}

/// Rows of a batch that can be numbered.
const MOST: usize = u16::MAX as usize;

impl Core {
    /// Passes on a batch of a source with several ways. `after`: the watermark behind it, if it is known before.
    pub(super) fn push_diamond(
        &mut self,
        source: usize,
        from: InputRef,
        batch: Batch,
        after: Option<i64>,
    ) -> Result<(), JobError> {
        match self.inlets.get(source).and_then(|i| i.meetings.clone()) {
            Some(meetings) => self.push_woven(&meetings, from, batch, after),
            None => self.push_row_by_row(from, batch, after.is_some()),
        }
    }

    fn push_woven(
        &mut self,
        meetings: &Arc<Meetings>,
        from: InputRef,
        mut batch: Batch,
        after: Option<i64>,
    ) -> Result<(), JobError> {
        if batch.len() > MOST {
            for start in (0..batch.len()).step_by(MOST) {
                let mut part = self.pools.take(batch.home());
                batch.lend(start..(start + MOST).min(batch.len()), &mut part);
                self.push_woven(meetings, from, part, after)?;
            }
            self.pools.give(batch);
            return Ok(());
        }
        if batch.records_mut().iter_mut().any(|r| Arc::get_mut(r).is_none()) {
            batch = self.copied(batch);
        }
        for (row, record) in batch.records_mut().iter_mut().filter_map(Arc::get_mut).enumerate() {
            record.set_row(row);
        }
        let before = self.outbox.len();
        self.weaving = Some(meetings.clone());
        if let Some(after) = after {
            self.lift(after)?;
        }
        let passed = self.route(from, batch).and_then(|()| {
            meetings.nodes.iter().try_for_each(|(node, _)| {
                let Some(slot) = self.nodes.get_mut(*node) else { return Ok(()) };
                let (held, home) = (std::mem::take(&mut slot.held), slot.home);
                let some = !held.is_empty();
                self.weave(held, home, |core, batch| core.pass_on(*node, batch))?;
                if some { self.pass_on_watermark(*node) } else { Ok(()) }
            })
        });
        self.weaving = None;
        passed?;
        self.weave_sinks(meetings, before)
    }

    /// Rows arrive with their own watermarks, although those behind them hear of the watermark only when the batch is through: a
    /// UNION ALL must not take it for late on the source's other ways.
    pub(super) fn lift(&mut self, watermark: i64) -> Result<(), JobError> {
        let Some(meetings) = self.weaving.clone() else { return Ok(()) };
        for (node, inputs) in &meetings.nodes {
            for input in inputs {
                self.raise(*node, *input, watermark)?;
            }
        }
        Ok(())
    }

    /// Whether what a node delivers is held to be woven.
    pub(super) fn is_woven(&self, node: usize) -> bool {
        self.weaving.as_ref().is_some_and(|m| m.nodes.iter().any(|(n, _)| *n == node))
    }

    fn weave_sinks(&mut self, meetings: &Meetings, before: usize) -> Result<(), JobError> {
        for sink in &meetings.sinks {
            let mut held = Vec::new();
            let mut at = before;
            while let Some((k, _)) = self.outbox.get(at) {
                if k != sink {
                    at += 1;
                } else if let (_, Parcel::Own(batch)) = self.outbox.remove(at) {
                    held.push(Held { input: 0, batch, next: 0 });
                }
            }
            let home = (self.inlets.len() + self.nodes.len() + sink) as u16;
            self.weave(held, home, |core, batch| {
                core.outbox.push((*sink, Parcel::Own(batch)));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Rows of all batches in the order of their numbers; those with the same in the order of the inputs, then of arrival.
    fn weave(
        &mut self,
        mut held: Vec<Held>,
        home: u16,
        mut pass: impl FnMut(&mut Self, Batch) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        if held.len() < 2 {
            return held.into_iter().try_for_each(|h| pass(self, h.batch));
        }
        held.sort_by_key(|h| h.input);
        let mut made = self.pools.take(home);
        loop {
            let key = |(at, h): (usize, &Held)| Some((h.batch.records().get(h.next)?.row(), at));
            let (mut first, mut limit) = (None, (usize::MAX, usize::MAX));
            for key in held.iter().enumerate().filter_map(key) {
                match first {
                    Some(least) if least < key => limit = limit.min(key),
                    Some(least) => (first, limit) = (Some(key), limit.min(least)),
                    None => first = Some(key),
                }
            }
            let Some((_, at)) = first else { break };
            let room = self.full.saturating_sub(made.len()).max(1);
            if let Some(h) = held.get_mut(at) {
                let rest = h.batch.records().iter().skip(h.next).take(room);
                let run = rest.take_while(|r| (r.row(), at) < limit).count();
                h.batch.lend(h.next..h.next + run, &mut made);
                h.next += run;
            }
            if made.len() >= self.full {
                made.set_home(home);
                pass(self, std::mem::replace(&mut made, self.pools.take(home)))?;
            }
        }
        for h in held {
            self.pools.give(h.batch);
        }
        made.set_home(home);
        match made.is_empty() {
            true => {
                self.pools.give(made);
                Ok(())
            }
            false => pass(self, made),
        }
    }

    /// Records of its own instead of shared ones.
    fn copied(&self, batch: Batch) -> Batch {
        let mut made = self.pools.take(batch.home());
        made.inherit(&batch);
        for record in batch.records() {
            copy(record, &mut made);
        }
        made.set_bytes(batch.bytes());
        self.pools.give(batch);
        made
    }

    /// `stamped`: the rows' watermarks were found before, and are told as they pass.
    fn push_row_by_row(&mut self, from: InputRef, batch: Batch, stamped: bool) -> Result<(), JobError> {
        let bytes = batch.bytes() / batch.len().max(1);
        for record in batch.records() {
            if stamped && record.watermark() > i64::MIN {
                self.pass_watermark(from, record.watermark())?;
            }
            // A copy of its own for each row, as the ways to the meeting point change it independently.
            let mut row = self.pools.take(batch.home());
            copy(record, &mut row);
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

fn copy(record: &crate::record::StreamRecord, to: &mut Batch) {
    let (slot, _) = to.next_slot(record.schema());
    slot.copy_metadata(record);
    for (to, from) in slot.values_mut().iter_mut().zip(record.values()) {
        to.assign(from);
    }
}
