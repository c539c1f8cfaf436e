//! A counting allocator around mimalloc: every thread counts in a cell of its own, so that counting costs the same everywhere.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mimalloc::MiMalloc;

/// One cell per cache line; more than threads ever live at the same time.
const CELLS: usize = 1024;

#[repr(align(64))]
struct Padded(AtomicU64);

static COUNTS: [Padded; CELLS] = [const { Padded(AtomicU64::new(0)) }; CELLS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The allocator of this binary.
pub struct Counting;

fn count() {
    let mut mine = MINE.get();
    if mine == usize::MAX {
        mine = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
        MINE.set(mine);
    }
    // One writer per cell: no atomic read-modify-write is needed.
    if let Some(cell) = COUNTS.get(mine) {
        cell.0.store(cell.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// Allocations of all threads so far; growing an allocation counts as one.
pub fn allocations() -> u64 {
    COUNTS.iter().map(|c| c.0.load(Ordering::Relaxed)).sum()
}

// SAFETY: hands everything to mimalloc unchanged; counting touches only statics and a constant-initialized thread local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { MiMalloc.realloc(ptr, layout, size) }
    }
}
