//! CSV: any dialect, any bytes; what was read can be written and read again.

use std::sync::Arc;

use millstream::catalog::Options;
use millstream::codec::{Format, Inference, Input};
use millstream::record::CompactString;
use millstream::{DataType, Schema};

use crate::feed::{Outcome, Sizes, feed};

fn decode(format: &Format, schema: &Arc<Schema>, bytes: &[u8], sizes: Option<Sizes>) -> Outcome {
    let names: Vec<CompactString> = schema.names().map(CompactString::from).collect();
    let mut decoder = format.decoder(schema, &names).expect("types are valid");
    feed(decoder.as_mut(), schema, bytes, sizes)
}

/// Byte 0: delimiter, quotes and header; byte 1: how the input is cut.
pub fn csv(data: &[u8]) {
    let [dialect, seed, bytes @ ..] = data else { return };
    let mut options = Options::default();
    options.set("header", if dialect & 1 == 0 { "false" } else { "true" });
    options.set("delimiter", [",", ";", "|", "\t"][usize::from(dialect >> 1 & 3)]);
    if dialect & 8 != 0 {
        options.set("quote", "'");
    }
    if dialect & 16 != 0 {
        options.set("trim", "true");
    }
    let schema = Schema::of([
        ("a", DataType::Varchar),
        ("b", DataType::BigInt),
        ("c", DataType::Decimal { precision: 10, scale: 2 }),
        ("d", DataType::Timestamp),
    ]);
    let format = Format::new("csv", &options).expect("options are valid");
    let read = decode(&format, &schema, bytes, None);
    let pieces = decode(&format, &schema, bytes, Some(Sizes(1 + u64::from(*seed))));
    assert_eq!(read.failure.is_some(), pieces.failure.is_some());
    if read.failure.is_none() {
        assert_eq!(read.events, pieces.events);
        written_and_read(&format, &schema, &read);
    }
    infer(bytes, &options);
}

fn written_and_read(format: &Format, schema: &Arc<Schema>, read: &Outcome) {
    let mut text = Vec::new();
    let mut encoder = format.encoder(schema).expect("types are valid");
    encoder.start(&mut text);
    if encoder.encode(&read.records, &mut text).is_err() {
        return;
    }
    encoder.finish(&mut text);
    let again = decode(format, schema, &text, None);
    let values = |o: &Outcome| -> Vec<String> { o.records.iter().map(|r| format!("{:?}", r.values())).collect() };
    assert_eq!(values(read), values(&again), "{}", String::from_utf8_lossy(&text));
}

fn infer(bytes: &[u8], options: &Options) {
    let format = Format::new("csv", options).expect("options are valid");
    let mut inference = Inference::new(&format, -1).expect("csv can be inferred");
    inference.feed(bytes, Input::Complete);
    if let Ok(inferred) = inference.finish() {
        decode(&inferred.format, &inferred.schema, bytes, None);
    }
}
