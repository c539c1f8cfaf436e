//! What operators that keep rows have in common: sort keys, partitions, and rows taken out of their batch.

use std::cmp::Ordering;
use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::filter_project::panic_error;
use super::{Output, Rejected};
use crate::expr::{EvalContext, EvalResult, Program, SortKey, compare};
use crate::record::{Batch, FieldValue, Schema, StreamRecord};
use crate::state::{Places, StateError, StateReader, StateWriter, read_places};

/// Rows of one output batch.
pub(in crate::operator) const MAX_ROWS: usize = 1024;

/// How one ORDER BY item compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operator) struct Direction {
    pub(in crate::operator) descending: bool,
    pub(in crate::operator) nulls_first: bool,
}

/// A compiled ORDER BY.
#[derive(Debug)]
pub(in crate::operator) struct SortOrder {
    programs: Vec<Program>,
    directions: Arc<[Direction]>,
}

impl SortOrder {
    pub(in crate::operator) fn new(keys: &[SortKey]) -> Self {
        let direction = |k: &SortKey| Direction { descending: k.descending, nulls_first: k.nulls_first };
        Self {
            programs: keys.iter().map(|k| Program::compile(&k.expr)).collect(),
            directions: keys.iter().map(direction).collect(),
        }
    }

    /// The keys of a record.
    pub(in crate::operator) fn keys(&self, record: &StreamRecord, now: i64) -> EvalResult<Keys> {
        let ctx = EvalContext { record, now };
        match &*self.programs {
            [one] => Ok(Keys::One(one.eval(&ctx)?.into_owned())),
            many => {
                many.iter().map(|p| Ok(p.eval(&ctx)?.into_owned())).collect::<EvalResult<_>>().map(Keys::Many)
            }
        }
    }

    pub(in crate::operator) fn directions(&self) -> &Arc<[Direction]> {
        &self.directions
    }
}

/// The values of a row's ORDER BY. One alone, as most have it, needs no allocation.
#[derive(Clone, Debug)]
pub(in crate::operator) enum Keys {
    One(FieldValue),
    Many(Box<[FieldValue]>),
}

impl std::ops::Deref for Keys {
    type Target = [FieldValue];
    #[inline]
    fn deref(&self) -> &[FieldValue] {
        match self {
            Keys::One(key) => std::slice::from_ref(key),
            Keys::Many(keys) => keys,
        }
    }
}

impl Keys {
    /// Bytes that they take beside `Self` (estimate).
    pub(in crate::operator) fn heap_bytes(&self) -> usize {
        let own = match self {
            Keys::One(_) => 0,
            Keys::Many(keys) => size_of_val::<[FieldValue]>(keys),
        };
        own + self.iter().map(FieldValue::heap_bytes).sum::<usize>()
    }
    pub(in crate::operator) fn snapshot(&self, to: &mut StateWriter) {
        self.iter().for_each(|k| to.value(k));
    }
    pub(in crate::operator) fn restore(
        directions: &[Direction],
        from: &mut StateReader<'_>,
    ) -> Result<Self, StateError> {
        match directions {
            [_] => Ok(Keys::One(from.value()?)),
            many => many.iter().map(|_| from.value()).collect::<Result<_, _>>().map(Keys::Many),
        }
    }
}

/// Order of two lists of sort keys.
pub(in crate::operator) fn compare_keys(
    directions: &[Direction],
    a: &[FieldValue],
    b: &[FieldValue],
) -> Ordering {
    for ((d, x), y) in directions.iter().zip(a).zip(b) {
        let order = match (x.is_null(), y.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if d.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if d.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let order = compare(x, y).unwrap_or(Ordering::Equal);
                if d.descending { order.reverse() } else { order }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The place of a row in an ORDER BY; ties by arrival.
#[derive(Clone, Debug)]
pub(in crate::operator) struct Rank {
    directions: Arc<[Direction]>,
    keys: Keys,
    pub(in crate::operator) arrival: u64,
}

impl Rank {
    pub(in crate::operator) fn new(directions: &Arc<[Direction]>, keys: Keys, arrival: u64) -> Self {
        Self { directions: directions.clone(), keys, arrival }
    }
    /// Whether both rows have the same keys.
    pub(in crate::operator) fn is_peer(&self, other: &Self) -> bool {
        compare_keys(&self.directions, &self.keys, &other.keys).is_eq()
    }
    /// Bytes that it takes (estimate).
    pub(in crate::operator) fn footprint(&self) -> usize {
        size_of::<Self>() + self.keys.heap_bytes()
    }
    pub(in crate::operator) fn snapshot(&self, to: &mut StateWriter) {
        self.keys.snapshot(to);
        to.u64(self.arrival);
    }
    pub(in crate::operator) fn restore(
        directions: &Arc<[Direction]>,
        from: &mut StateReader<'_>,
    ) -> Result<Self, StateError> {
        let keys = Keys::restore(directions, from)?;
        Ok(Self::new(directions, keys, from.u64()?))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Rank {}
impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_keys(&self.directions, &self.keys, &other.keys).then(self.arrival.cmp(&other.arrival))
    }
}

/// PARTITION BY: rows with equal values belong together; NULLs are equal.
#[derive(Debug)]
pub(in crate::operator) struct PartitionKey {
    programs: Vec<Program>,
    /// The key of the last row, as bytes.
    bytes: Vec<u8>,
}

impl PartitionKey {
    pub(in crate::operator) fn new(exprs: &[crate::expr::Expr]) -> Self {
        Self { programs: exprs.iter().map(Program::compile).collect(), bytes: Vec::new() }
    }

    /// The key of a record, as bytes that are equal where the values are.
    pub(in crate::operator) fn of(&mut self, record: &StreamRecord, now: i64) -> EvalResult<&[u8]> {
        let ctx = EvalContext { record, now };
        self.bytes.clear();
        for program in &self.programs {
            write_key(&*program.eval(&ctx)?, &mut self.bytes);
        }
        Ok(&self.bytes)
    }
}

/// Key and state of a partition.
type Slot<T> = Option<(Box<[u8]>, T)>;

/// State for each partition, in places that are used again. Snapshots take it down partition by partition.
#[derive(Debug)]
pub(in crate::operator) struct Partitions<T> {
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    states: Vec<Slot<T>>,
    free: Vec<usize>,
    changes: Places,
}

/// A partition in a snapshot.
pub(in crate::operator) trait Kept {
    /// Writes it, at least a byte.
    fn write(&self, to: &mut StateWriter);
}

impl<T> Default for Partitions<T> {
    fn default() -> Self {
        let (index, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Self { index, hasher, states: Vec::new(), free: Vec::new(), changes: Places::default() }
    }
}

fn write_partition<T: Kept>(state: Option<&Slot<T>>, to: &mut StateWriter) {
    if let Some(Some((key, state))) = state {
        to.bytes(key);
        state.write(to);
    }
}

impl<T: Kept> Partitions<T> {
    /// The place of the partition with that key, made if there is none.
    pub(in crate::operator) fn place(&mut self, key: &[u8], make: impl FnOnce() -> T) -> usize {
        let Self { index, hasher, states, free, changes } = self;
        let key_of = |at: &usize| states.get(*at).and_then(Option::as_ref).map_or(&[][..], |(k, _)| k);
        let hash = hasher.hash_one(key);
        let vacant = match index.entry(hash, |at| key_of(at) == key, |at| hasher.hash_one(key_of(at))) {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(vacant) => vacant,
        };
        let at = free.pop().unwrap_or(states.len());
        vacant.insert(at);
        changes.touch(at, |to| write_partition(states.get(at), to));
        if at == states.len() {
            states.push(None);
        }
        if let Some(slot) = states.get_mut(at) {
            *slot = Some((key.into(), make()));
        }
        at
    }
    /// A partition that is about to change.
    pub(in crate::operator) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.changes.touch(at, |to| write_partition(self.states.get(at), to));
        self.states.get_mut(at)?.as_mut().map(|(_, state)| state)
    }
    pub(in crate::operator) fn get(&self, at: usize) -> Option<&T> {
        self.states.get(at)?.as_ref().map(|(_, state)| state)
    }
    pub(in crate::operator) fn iter(&self) -> impl Iterator<Item = &T> {
        self.states.iter().flatten().map(|(_, state)| state)
    }
    pub(in crate::operator) fn len(&self) -> usize {
        self.index.len()
    }
    /// Takes out the partition in a place.
    pub(in crate::operator) fn remove(&mut self, at: usize) -> Option<T> {
        self.changes.touch(at, |to| write_partition(self.states.get(at), to));
        let (key, state) = self.states.get_mut(at)?.take()?;
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(&*key), |other| *other == at) {
            found.remove();
        }
        self.free.push(at);
        Some(state)
    }
    /// Takes out the partitions for which `which` says so.
    pub(in crate::operator) fn take_if(&mut self, which: impl Fn(usize, &T) -> bool) -> Vec<T> {
        let chosen =
            |(at, s): (usize, &Slot<T>)| s.as_ref().filter(|(_, state)| which(at, state)).map(|_| at);
        let chosen: Vec<usize> = self.states.iter().enumerate().filter_map(chosen).collect();
        chosen.into_iter().filter_map(|at| self.remove(at)).collect()
    }
    /// Forgets all partitions, which need not be taken down any more unless they were due.
    pub(in crate::operator) fn clear(&mut self) {
        self.changes.forget(|at, to| write_partition(self.states.get(at), to));
        *self = Self::default();
    }
    /// Memory of what is noted for snapshots, and of what finds partitions, in bytes.
    pub(in crate::operator) fn bytes(&self) -> usize {
        self.changes.bytes() + self.index.capacity() * (size_of::<usize>() + 1)
    }

    pub(in crate::operator) fn snapshot(&mut self, to: &mut StateWriter) {
        let sizes = (self.states.len(), self.index.len());
        self.changes.snapshot(to, sizes, |at, to| write_partition(self.states.get(at), to));
    }
    /// Takes down what is due of a snapshot, about so many bytes.
    pub(in crate::operator) fn take_down(&mut self, budget: &mut usize) {
        self.changes.take_down(budget, |at, to| write_partition(self.states.get(at), to));
    }
    /// Reads what [`snapshot`](Self::snapshot) wrote; `read` reads a partition, whose place it is told.
    ///
    /// # Errors
    /// If the state is damaged, or those of `read`.
    pub(in crate::operator) fn restore(
        &mut self,
        from: &mut StateReader<'_>,
        mut read: impl FnMut(&mut StateReader<'_>, usize) -> Result<T, StateError>,
    ) -> Result<(), StateError> {
        read_places(from, |from| {
            let key = from.bytes()?;
            let at = self.states.len();
            let state = read(from, at)?;
            if self.place(key, || state) == at {
                return Ok(());
            }
            Err(StateError("a partition is twice in the state".into()))
        })
    }
}

/// Begins the section of an operator that keeps rows. Those of earlier versions begin with a number of rows.
pub(in crate::operator) fn write_version(to: &mut StateWriter) {
    to.u64(u64::MAX - VERSION);
}

/// Reads it.
///
/// # Errors
/// If the section is of another version.
pub(in crate::operator) fn read_version(from: &mut StateReader<'_>) -> Result<(), StateError> {
    match u64::MAX - from.u64()? {
        VERSION => Ok(()),
        other => {
            let version = if other > u64::from(u32::MAX) { 1 } else { other };
            Err(StateError(format!(
                "the state of kept rows has version {version}; this program reads version {VERSION}"
            )))
        }
    }
}

/// Of the sections of operators that keep rows.
const VERSION: u64 = 2;

/// Takes a record out of a batch for keeps; `blank`, which is shared and so never overwritten, takes its place.
pub(in crate::operator) fn take_record(
    slot: &mut Arc<StreamRecord>,
    blank: &Arc<StreamRecord>,
) -> Arc<StreamRecord> {
    std::mem::replace(slot, blank.clone())
}

/// What [`take_record`] leaves in place of a record.
pub(in crate::operator) fn blank() -> Arc<StreamRecord> {
    Arc::new(StreamRecord::new(Schema::new([])))
}

/// Writes a copy of a kept row, which stays as it is, into the next record of `made`; columns beyond the row's are for the
/// caller to set.
pub(in crate::operator) fn copy_row<'a>(
    made: &'a mut Batch,
    row: &StreamRecord,
    schema: &Arc<Schema>,
) -> &'a mut StreamRecord {
    let (to, _) = made.next_slot(schema);
    to.copy_metadata(row);
    for (slot, value) in to.values_mut().iter_mut().zip(row.values()) {
        slot.assign(value);
    }
    to
}

/// Calls `each` for every record of a batch. A record whose expressions fail or panic is rejected; `each` evaluates them before
/// it changes anything.
pub(in crate::operator) fn for_each_record(
    batch: &mut Batch,
    out: &mut Output<'_>,
    mut each: impl FnMut(&mut Arc<StreamRecord>, &mut Output<'_>) -> EvalResult<()>,
) {
    out.counters.input += batch.len() as u64;
    let records = batch.records_mut();
    let mut at = 0;
    while at < records.len() {
        // A panic leaves `at` at the record that caused it; the loop goes on behind it.
        let sweep = catch_unwind(AssertUnwindSafe(|| {
            while let Some(slot) = records.get_mut(at) {
                if let Err(error) = each(slot, out) {
                    out.counters.rejected += 1;
                    out.rejects.push(Rejected { record: slot.clone(), error: *error });
                }
                at += 1;
            }
        }));
        if let Err(panic) = sweep {
            if let Some(record) = records.get(at) {
                out.counters.rejected += 1;
                out.rejects.push(Rejected { record: record.clone(), error: panic_error(&*panic) });
            }
            at += 1;
        }
    }
}

/// Calls `each` for every record of a batch and hands the batch on without those whose expressions failed or panicked.
pub(in crate::operator) fn pass_records(
    mut batch: Batch,
    out: &mut Output<'_>,
    mut each: impl FnMut(&mut Arc<StreamRecord>) -> EvalResult<()>,
) {
    out.counters.input += batch.len() as u64;
    let (mut at, mut kept) = (0, 0);
    while at < batch.len() {
        let sweep = catch_unwind(AssertUnwindSafe(|| {
            while at < batch.len() {
                let Some(slot) = batch.records_mut().get_mut(at) else { break };
                match each(slot) {
                    Ok(()) => {
                        batch.keep(at, kept);
                        kept += 1;
                    }
                    Err(error) => {
                        out.counters.rejected += 1;
                        out.rejects.push(Rejected { record: slot.clone(), error: *error });
                    }
                }
                at += 1;
            }
        }));
        if let Err(panic) = sweep {
            if let Some(record) = batch.records().get(at) {
                out.counters.rejected += 1;
                out.rejects.push(Rejected { record: record.clone(), error: panic_error(&*panic) });
            }
            at += 1;
        }
    }
    out.counters.forwarded += kept as u64;
    batch.truncate(kept);
    out.emit(batch);
}

/// Emits kept rows, which nobody needs any more, as rows made from state.
pub(in crate::operator) fn emit_kept(
    rows: impl IntoIterator<Item = Arc<StreamRecord>>,
    out: &mut Output<'_>,
) {
    let mut made = out.pools.take(out.home);
    for row in rows {
        if made.len() == MAX_ROWS {
            emit_made(std::mem::replace(&mut made, out.pools.take(out.home)), out);
        }
        made.push(row);
    }
    emit_made(made, out);
}

/// Emits rows made from state.
pub(in crate::operator) fn emit_made(mut made: Batch, out: &mut Output<'_>) {
    out.counters.produced += made.len() as u64;
    let size = made.records().first().map_or(0, |r| r.footprint());
    made.set_bytes(size * made.len());
    out.emit(made);
}

/// Appends bytes that are equal where two values of one type are equal: `1.0` and `1.00`, `-0.0` and `0.0`, `1 month` and
/// `30 days`.
fn write_key(value: &FieldValue, to: &mut Vec<u8>) {
    use FieldValue as V;
    let mut word = |tag: u8, word: u64| {
        to.push(tag);
        to.extend_from_slice(&word.to_le_bytes());
    };
    match value {
        V::Null => to.push(0),
        V::Boolean(b) => to.push(1 + u8::from(*b)),
        V::Integer(i) => word(3, *i as u64),
        V::Float(x) if x.is_nan() => word(4, f64::NAN.to_bits()),
        V::Float(x) => word(4, (x + 0.0).to_bits()),
        V::Decimal(d) => {
            to.push(5);
            to.extend_from_slice(&d.normalize().serialize());
        }
        V::String(s) => write_bytes(6, s.as_bytes(), to),
        V::Bytes(b) => write_bytes(7, b, to),
        V::Date(d) => word(8, i64::from(*d) as u64),
        V::Time(t) => word(9, *t as u64),
        V::Timestamp(t) => word(10, *t as u64),
        V::Interval(i) => {
            let days = i128::from(i.months) * 30 + i128::from(i.days);
            let micros = days * i128::from(crate::record::text::MICROS_PER_DAY) + i128::from(i.micros);
            to.push(11);
            to.extend_from_slice(&micros.to_le_bytes());
        }
        V::Array(items) => write_list(12, items, to),
        V::Struct(s) => write_list(14, &s.values, to),
        V::Map(entries) => {
            // Entries in any order make the same map.
            let mut parts: Vec<Vec<u8>> = entries
                .iter()
                .map(|(k, v)| {
                    let mut part = Vec::new();
                    write_key(k, &mut part);
                    write_key(v, &mut part);
                    part
                })
                .collect();
            parts.sort();
            to.push(13);
            to.extend_from_slice(&(parts.len() as u64).to_le_bytes());
            parts.iter().for_each(|p| to.extend_from_slice(p));
        }
        V::Json(j) => write_bytes(15, j.as_bytes(), to),
    }
}

fn write_bytes(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    to.push(tag);
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn write_list(tag: u8, items: &[FieldValue], to: &mut Vec<u8>) {
    to.push(tag);
    to.extend_from_slice(&(items.len() as u64).to_le_bytes());
    items.iter().for_each(|v| write_key(v, to));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Decimal, Interval};

    #[test]
    fn keys_are_equal_where_the_values_are() {
        let key = |v: &FieldValue| {
            let mut bytes = Vec::new();
            write_key(v, &mut bytes);
            bytes
        };
        let days = |months, days| FieldValue::Interval(Interval { months, days, micros: 0 });
        let list = |items: &[&str]| {
            FieldValue::Array(Arc::new(items.iter().map(|s| FieldValue::from(*s)).collect()))
        };
        let equal = [
            (0.0.into(), (-0.0).into()),
            (f64::NAN.into(), (-f64::NAN).into()),
            (Decimal::new(10, 1).into(), Decimal::new(1, 0).into()),
            (days(1, 0), days(0, 30)),
        ];
        for (a, b) in &equal {
            assert_eq!(key(a), key(b), "{a:?} {b:?}");
        }
        let different = [
            (FieldValue::Null, "".into()),
            (list(&["ab", "c"]), list(&["a", "bc"])),
            (list(&["a"]), list(&["a", "b"])),
            (Decimal::new(11, 1).into(), Decimal::new(1, 0).into()),
        ];
        for (a, b) in &different {
            assert_ne!(key(a), key(b), "{a:?} {b:?}");
        }
    }
}
