//! Feeds a decoder as a reader does, in pieces of any size, and writes down what came out.

use std::sync::Arc;

use millstream::codec::{Decoder, Input, Origin};
use millstream::record::{BatchBuilder, Schema, StreamRecord};

/// One thing that a decoder said, in order.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A record: its offset and its values.
    Record(Option<i64>, String),
    /// A reject: offset, line, code, length, what was kept of it.
    Reject(i64, Option<u64>, String, u64, Vec<u8>),
}

/// All that came out.
#[derive(Debug, Default)]
pub struct Outcome {
    pub events: Vec<Event>,
    pub records: Vec<Arc<StreamRecord>>,
    pub failure: Option<String>,
}

/// Sizes of pieces, from a seed: xorshift.
pub struct Sizes(pub u64);

impl Sizes {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + (self.0 % 13) as usize
    }
}

/// Decodes all of `bytes`; without sizes in one piece. Panics if the decoder stops moving.
pub fn feed(decoder: &mut dyn Decoder, schema: &Arc<Schema>, bytes: &[u8], mut sizes: Option<Sizes>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut out = BatchBuilder::new(schema.clone());
    let rows = if sizes.is_some() { 3 } else { 1000 };
    out.set_limits(rows, 1 << 20);
    let mut origin = Origin { offset: 0, line: 1 };
    let mut end = if sizes.is_some() { 0 } else { bytes.len() };
    loop {
        let start = origin.offset as usize;
        let input = if end == bytes.len() { Input::Complete } else { Input::Partial };
        let decoded = decoder.decode(&bytes[start..end], input, origin, &mut out);
        let taken = &bytes[start..start + decoded.consumed];
        let lines = taken.iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(decoded.lines, lines, "lines of {taken:?}");
        origin.offset += decoded.consumed as u64;
        origin.line += lines;
        if let Some(why) = decoder.failure() {
            outcome.failure = Some(why.to_owned());
            return outcome;
        }
        let full = out.is_full();
        collect(&mut out, &mut outcome);
        if full || decoded.consumed > 0 {
            continue;
        }
        match &mut sizes {
            Some(sizes) if end < bytes.len() => end = (end + sizes.next()).min(bytes.len()),
            _ => break,
        }
    }
    assert_eq!(origin.offset as usize, bytes.len(), "not consumed to the end");
    outcome
}

fn collect(out: &mut BatchBuilder, outcome: &mut Outcome) {
    let rejects = out.take_rejects();
    let mut rejects = rejects.into_iter().peekable();
    let batch = out.take(Default::default());
    for at in 0..=batch.len() {
        while let Some(r) = rejects.next_if(|r| r.at <= at) {
            let code = format!("{:?}", r.error.code);
            outcome.events.push(Event::Reject(r.offset, r.line, code, r.raw_len, r.raw));
        }
        if let Some(record) = batch.records().get(at) {
            outcome.events.push(Event::Record(record.offset(), format!("{:?}", record.values())));
            outcome.records.push(record.clone());
        }
    }
}
