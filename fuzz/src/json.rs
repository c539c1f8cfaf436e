//! NDJSON: what serde_json refuses is refused, what it accepts is not malformed, and what was read can be written.

use std::sync::Arc;

use millstream::catalog::Options;
use millstream::codec::{Format, Inference, Input};
use millstream::record::{CompactString, Field};
use millstream::{DataType, Schema};
use serde_json::Value;

use crate::feed::{Event, feed};

fn schema() -> Arc<Schema> {
    Schema::of([
        ("a", DataType::BigInt),
        ("b", DataType::Double),
        ("c", DataType::Varchar),
        ("d", DataType::Boolean),
        ("e", DataType::Decimal { precision: 18, scale: 3 }),
        ("f", DataType::Timestamp),
        ("g", DataType::array(DataType::Varchar)),
        ("h", DataType::Json),
        ("i", DataType::map(DataType::Varchar, DataType::BigInt)),
        ("j", DataType::Struct(vec![Field::new("x", DataType::Date), Field::new("y", DataType::Bytes)])),
        ("k", DataType::Interval),
        ("l", DataType::Time),
    ])
}

/// Lines of JSON.
pub fn json(data: &[u8]) {
    let schema = schema();
    let format = Format::new("json", &Options::new([("framing", "lines")])).expect("options are valid");
    let names: Vec<CompactString> = schema.names().map(CompactString::from).collect();
    let decode = |bytes: &[u8]| {
        let mut decoder = format.decoder(&schema, &names).expect("types are valid");
        feed(decoder.as_mut(), &schema, bytes, None)
    };
    let read = decode(data);
    let mut offset = 0i64;
    for line in data.split_inclusive(|b| *b == b'\n') {
        let events = read.events.iter().filter(|e| matches!(e, Event::Record(Some(o), _) if *o == offset));
        let accepted = events.count() == 1;
        let malformed = read.events.iter().any(|e| match e {
            Event::Reject(o, _, code, _, _) => *o == offset && (code == "Malformed" || code == "Encoding"),
            Event::Record(..) => false,
        });
        compare(line, accepted, malformed);
        offset += line.len() as i64;
    }
    let mut text = Vec::new();
    let mut encoder = format.encoder(&schema).expect("types are valid");
    encoder.start(&mut text);
    if encoder.encode(&read.records, &mut text).is_ok() {
        encoder.finish(&mut text);
        let again = decode(&text);
        let values = |events: &[Event]| -> Vec<String> {
            events.iter().filter_map(|e| if let Event::Record(_, v) = e { Some(v.clone()) } else { None }).collect()
        };
        assert_eq!(values(&read.events), values(&again.events), "{}", String::from_utf8_lossy(&text));
    }
    infer(data);
}

/// The judgement of serde_json, where both have one.
fn compare(line: &[u8], accepted: bool, malformed: bool) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let shown = String::from_utf8_lossy(line);
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => assert!(!(malformed && value.is_object()), "refused as malformed: {shown}"),
        // Its own limits, not JSON's: depth 128, numbers beyond 1e308.
        Err(e) if e.to_string().contains("recursion limit") || e.to_string().contains("out of range") => {}
        Err(e) => assert!(!accepted, "accepted although {e}: {shown}"),
    }
}

/// Inference says something about any input, and what it says can be decoded with.
fn infer(data: &[u8]) {
    let format = Format::new("json", &Options::default()).expect("options are valid");
    let mut inference = Inference::new(&format, -1).expect("json can be inferred");
    inference.feed(data, Input::Complete);
    if let Ok(inferred) = inference.finish() {
        let names: Vec<CompactString> = inferred.schema.names().map(CompactString::from).collect();
        let mut decoder = inferred.format.decoder(&inferred.schema, &names).expect("inferred types are valid");
        feed(decoder.as_mut(), &inferred.schema, data, None);
    }
}
