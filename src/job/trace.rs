//! W3C trace context: read from a record's headers, a child of it injected into every output record.
//!
//! Format: <https://www.w3.org/TR/trace-context/> version 00: `00-<trace id>-<parent id>-<flags>`, lower-case hex.

use std::sync::Arc;
use std::time::SystemTime;

use super::TraceMode;
use crate::record::Batch;

const HEADER: &str = "traceparent";

/// Makes span ids and puts them into records.
#[derive(Debug)]
pub(super) struct Tracer {
    state: u64,
    /// The trace that records without a context of their own join: one per batch.
    trace: [u8; 32],
}

impl Tracer {
    /// The tracer of a mode; none for `off`, which then costs nothing.
    pub(super) fn for_mode(mode: TraceMode) -> Option<Self> {
        match mode {
            TraceMode::Off => None,
            TraceMode::Propagate => {
                let seed = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(1, |d| d.as_nanos() as u64);
                Some(Self::seeded(seed ^ u64::from(std::process::id()).rotate_left(32)))
            }
        }
    }

    fn seeded(seed: u64) -> Self {
        Self { state: seed, trace: [b'0'; 32] }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014); never zero, as the specification forbids all-zero ids.
    fn next_id(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    /// Puts a context into every record of the batch: same trace and flags as the record came with, a new parent id. `tracestate`
    /// stays as it is. A record that nobody else holds is changed in place, a shared one is copied once.
    pub(super) fn inject(&mut self, batch: &mut Batch) {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-01";
        let (high, low) = (self.next_id(), self.next_id());
        write_hex(high, &mut self.trace, 0);
        write_hex(low, &mut self.trace, 16);
        let span = self.next_id();
        write_hex(span, &mut value, 36);
        for record in batch.records_mut() {
            let record = Arc::make_mut(record);
            match record.headers().get(HEADER).filter(|h| is_valid(h)) {
                Some(parent) => {
                    value[3..35].copy_from_slice(&parent[3..35]);
                    value[53..55].copy_from_slice(&parent[53..55]);
                }
                None => {
                    value[3..35].copy_from_slice(&self.trace);
                    value[53..55].copy_from_slice(b"01");
                }
            }
            record.headers_mut().set(HEADER, &value);
        }
    }
}

fn write_hex(id: u64, out: &mut [u8], at: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (i, slot) in out.iter_mut().skip(at).take(16).enumerate() {
        *slot = DIGITS[(id >> (60 - 4 * i)) as usize & 15];
    }
}

/// Whether a header is a version 00 context with ids that are not all zero. Anything else is treated as absent.
fn is_valid(h: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|&b| b == b'0');
    h.len() == 55
        && h.starts_with(b"00-")
        && h[35] == b'-'
        && h[52] == b'-'
        && hex(&h[3..35])
        && hex(&h[36..52])
        && hex(&h[53..55])
        && !zero(&h[3..35])
        && !zero(&h[36..52])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DataType, Schema, StreamRecord, deep_copies_on_this_thread};

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn batch(header: Option<&[u8]>) -> Batch {
        let mut r = StreamRecord::new(Schema::of([("a", DataType::BigInt)]));
        if let Some(h) = header {
            r.headers_mut().set(HEADER, h);
            r.headers_mut().set("tracestate", b"congo=t61rcWkgMzE");
        }
        Batch::new(vec![Arc::new(r)])
    }

    #[test]
    fn a_child_keeps_trace_flags_and_state_and_gets_a_new_parent_id() {
        let mut b = batch(Some(PARENT));
        Tracer::seeded(7).inject(&mut b);
        let h = b.records()[0].headers();
        let value = h.get(HEADER).unwrap();
        assert!(is_valid(value));
        assert_eq!((&value[..36], &value[52..]), (&PARENT[..36], &PARENT[52..]));
        assert_ne!(value[36..52], PARENT[36..52]);
        assert_eq!(h.get("tracestate"), Some(&b"congo=t61rcWkgMzE"[..]));
    }

    #[test]
    fn invalid_contexts_start_a_new_trace() {
        for bad in [
            &b""[..],
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ] {
            let mut b = batch(Some(bad));
            Tracer::seeded(7).inject(&mut b);
            let value = b.records()[0].headers().get(HEADER).unwrap().to_vec();
            assert!(is_valid(&value) && value[3..35] != PARENT[3..35]);
        }
    }

    #[test]
    fn unique_records_are_changed_in_place_shared_ones_copied_once() {
        let mut b = batch(None);
        let before = deep_copies_on_this_thread();
        Tracer::seeded(1).inject(&mut b);
        assert_eq!(deep_copies_on_this_thread(), before);
        let held = b.records()[0].clone();
        Tracer::seeded(2).inject(&mut b);
        assert_eq!(deep_copies_on_this_thread(), before + 1);
        assert_ne!(held.headers(), b.records()[0].headers());
    }
}
