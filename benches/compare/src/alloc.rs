//! A counting allocator around mimalloc: every thread counts in a cell of its own, so that counting costs the same everywhere.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use mimalloc::MiMalloc;

/// One cell per cache line; more than threads ever live at the same time.
const CELLS: usize = 1024;

#[repr(align(64))]
struct Padded {
    allocations: AtomicU64,
    /// Bytes allocated by the thread less those that it freed; wraps.
    bytes: AtomicU64,
}

static COUNTS: [Padded; CELLS] =
    [const { Padded { allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) } }; CELLS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The allocator of this binary.
pub struct Counting;

/// Whether bytes are counted: they cost every allocation as much again, and every free, so most commands do without.
static BYTES: AtomicBool = AtomicBool::new(false);

#[inline]
fn count_bytes(bytes: u64) {
    if BYTES.load(Ordering::Relaxed) {
        add(|cell| &cell.bytes, bytes);
    }
}

#[inline]
fn add(which: impl Fn(&Padded) -> &AtomicU64, by: u64) {
    let mut mine = MINE.get();
    if mine == usize::MAX {
        mine = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
        MINE.set(mine);
    }
    // One writer per cell: no atomic read-modify-write is needed.
    if let Some(cell) = COUNTS.get(mine) {
        let n = which(cell);
        n.store(n.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

fn count_allocation() {
    add(|cell| &cell.allocations, 1);
}

/// From now on bytes are counted, too.
pub fn count_held_bytes() {
    BYTES.store(true, Ordering::Relaxed);
}

/// Allocations of all threads so far; growing an allocation counts as one.
pub fn allocations() -> u64 {
    COUNTS.iter().map(|c| c.allocations.load(Ordering::Relaxed)).sum()
}

/// Whether [`held_bytes`] means anything.
pub fn counts_held_bytes() -> bool {
    BYTES.load(Ordering::Relaxed)
}

/// Bytes allocated and not freed since [`count_held_bytes`] was called: only differences mean something.
pub fn held_bytes() -> i64 {
    COUNTS.iter().fold(0u64, |sum, c| sum.wrapping_add(c.bytes.load(Ordering::Relaxed))) as i64
}

// SAFETY: hands everything to mimalloc unchanged; counting touches only statics and a constant-initialized thread local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        count_bytes(layout.size() as u64);
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        count_bytes(layout.size() as u64);
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count_bytes((layout.size() as u64).wrapping_neg());
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_allocation();
        count_bytes((size as u64).wrapping_sub(layout.size() as u64));
        unsafe { MiMalloc.realloc(ptr, layout, size) }
    }
}
