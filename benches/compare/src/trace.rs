//! Trace injection of the async side, with the same work a record as the shipped engine's: a W3C `traceparent` of a batch's trace.

use std::sync::Arc;

use millstream::record::Batch;

const HEADER: &str = "traceparent";

/// Makes ids and puts contexts into records.
pub struct Tracer {
    state: u64,
}

impl Tracer {
    pub fn new() -> Self {
        Self { state: 0x5eed }
    }
    fn next_id(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }
    /// Changes unshared records in place; a shared one is copied (`Arc::make_mut`).
    pub fn inject(&mut self, batch: &mut Batch) {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-01";
        for at in [3, 19, 36] {
            let id = self.next_id();
            for (i, slot) in value.iter_mut().skip(at).take(16).enumerate() {
                *slot = b"0123456789abcdef"[(id >> (60 - 4 * i)) as usize & 15];
            }
        }
        for record in batch.records_mut() {
            let headers = Arc::make_mut(record).headers_mut();
            // A record that brought a context keeps its trace and flags.
            let own = headers.get(HEADER).filter(|h| h.len() == value.len() && h.starts_with(b"00-")).map(
                |parent| {
                    let mut child = value;
                    child[3..35].copy_from_slice(&parent[3..35]);
                    child[53..55].copy_from_slice(&parent[53..55]);
                    child
                },
            );
            headers.set(HEADER, own.as_ref().unwrap_or(&value));
        }
    }
}
