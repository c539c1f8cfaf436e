//! Rows that wait for the watermark, or for the end, in the order of their keys.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::line::OverRow;
use crate::operator::kept::{Direction, Keys, compare_keys};
use crate::record::FieldValue;

/// A row that waits, and its partition.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) place: usize,
    pub(super) row: OverRow,
}

/// A row that came behind one with later keys.
#[derive(Debug)]
struct Straggler {
    directions: Arc<[Direction]>,
    waiting: Waiting,
}

impl PartialEq for Straggler {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Straggler {}
impl PartialOrd for Straggler {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Straggler {
    fn cmp(&self, other: &Self) -> Ordering {
        by_rank(&self.directions, &self.waiting, &other.waiting)
    }
}

/// Order of keys, ties by arrival.
fn by_rank(directions: &[Direction], a: &Waiting, b: &Waiting) -> Ordering {
    compare_keys(directions, &a.row.keys, &b.row.keys).then(a.row.arrival.cmp(&b.row.arrival))
}

/// Waiting rows: those that come in order, as most do, queue up; only the others cost a heap.
#[derive(Debug)]
pub(super) struct Queue {
    directions: Arc<[Direction]>,
    in_order: VecDeque<Waiting>,
    stragglers: BinaryHeap<Reverse<Straggler>>,
}

impl Queue {
    pub(super) fn new(directions: &Arc<[Direction]>) -> Self {
        Self { directions: directions.clone(), in_order: VecDeque::new(), stragglers: BinaryHeap::new() }
    }
    pub(super) fn push(&mut self, waiting: Waiting) {
        match self.in_order.back() {
            Some(last) if by_rank(&self.directions, last, &waiting).is_gt() => {
                self.stragglers.push(Reverse(Straggler { directions: self.directions.clone(), waiting }));
            }
            _ => self.in_order.push_back(waiting),
        }
    }
    /// The next row, and whether it is a straggler.
    fn next(&self) -> Option<(&Waiting, bool)> {
        match (self.in_order.front(), self.stragglers.peek()) {
            (first, None) => first.map(|w| (w, false)),
            (None, Some(Reverse(s))) => Some((&s.waiting, true)),
            (Some(first), Some(Reverse(s))) => match by_rank(&self.directions, first, &s.waiting) {
                Ordering::Greater => Some((&s.waiting, true)),
                _ => Some((first, false)),
            },
        }
    }
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        match self.next()? {
            (_, true) => self.stragglers.pop().map(|Reverse(s)| s.waiting),
            (_, false) => self.in_order.pop_front(),
        }
    }
    /// Whether the time of the next row, its first key, is before the watermark.
    pub(super) fn has_passed(&self, watermark: i64) -> bool {
        match self.next().and_then(|(w, _)| w.row.keys.first()) {
            Some(FieldValue::Timestamp(time)) => *time < watermark,
            _ => false,
        }
    }
    /// Whether the next row has these keys.
    pub(super) fn next_is_peer(&self, keys: &Keys) -> bool {
        self.next().is_some_and(|(w, _)| compare_keys(&self.directions, &w.row.keys, keys).is_eq())
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.in_order.iter().chain(self.stragglers.iter().map(|Reverse(s)| &s.waiting))
    }
    /// Brings rows into the order of their keys.
    pub(super) fn sort(&self, rows: &mut [Waiting]) {
        rows.sort_unstable_by(|a, b| by_rank(&self.directions, a, b));
    }
    /// All rows in the order in which they will fire.
    pub(super) fn sorted(&self) -> Vec<&Waiting> {
        let mut rows: Vec<&Waiting> = self.iter().collect();
        rows.sort_unstable_by(|a, b| by_rank(&self.directions, a, b));
        rows
    }
}
