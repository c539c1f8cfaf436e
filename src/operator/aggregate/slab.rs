//! The accumulators of slices: rows of a fixed width in chunks, so that growing moves nothing.

use crate::expr::{Accumulator, AggregateProgram};

/// Rows of one chunk.
const CHUNK: usize = 1024;

/// Rows of accumulators.
#[derive(Debug)]
pub(super) struct Slab {
    width: usize,
    chunks: Vec<Vec<Accumulator>>,
    used: usize,
    free: Vec<u32>,
}

impl Slab {
    pub(super) fn new(width: usize) -> Self {
        Self { width, chunks: Vec::new(), used: 0, free: Vec::new() }
    }

    /// A row of empty states.
    pub(super) fn take(&mut self, calls: &[AggregateProgram]) -> u32 {
        let at = match self.free.pop() {
            Some(at) => {
                // Boxes were emptied when they were given back.
                for (cell, call) in self.get_mut(at).iter_mut().zip(calls).filter(|(c, _)| !c.is_boxed()) {
                    *cell = call.new_state();
                }
                return at;
            }
            None => self.used,
        };
        if at.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK * self.width));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend(calls.iter().map(AggregateProgram::new_state));
        }
        self.used += 1;
        at as u32
    }

    /// Gives a row back; what its states hold on the heap is freed.
    pub(super) fn give(&mut self, at: u32, calls: &[AggregateProgram]) {
        for (cell, call) in self.get_mut(at).iter_mut().zip(calls) {
            if cell.is_boxed() {
                *cell = call.new_state();
            }
        }
        self.free.push(at);
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &[Accumulator] {
        let (chunk, row) = (at as usize / CHUNK, at as usize % CHUNK * self.width);
        self.chunks.get(chunk).and_then(|c| c.get(row..row + self.width)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut [Accumulator] {
        let (chunk, row) = (at as usize / CHUNK, at as usize % CHUNK * self.width);
        self.chunks.get_mut(chunk).and_then(|c| c.get_mut(row..row + self.width)).unwrap_or_default()
    }

    /// What accumulators hold beyond themselves, in bytes.
    pub(super) fn heap_of_cells(&self) -> usize {
        self.chunks.iter().flatten().map(Accumulator::heap_bytes).sum()
    }

    /// Memory of the rows, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * self.width * size_of::<Accumulator>() + self.free.capacity() * 4
    }
}
