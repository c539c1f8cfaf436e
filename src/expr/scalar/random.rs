//! Random numbers without a dependency: SipHash in counter mode, keyed by the operating system once a thread.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static STREAM: RefCell<(RandomState, u64)> = RefCell::new((RandomState::new(), 0));
}

/// The next 64 random bits of this thread.
pub(super) fn next() -> u64 {
    STREAM.with_borrow_mut(|(keys, counter)| {
        *counter = counter.wrapping_add(1);
        keys.hash_one(*counter)
    })
}
