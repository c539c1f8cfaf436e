//! Framing: however the input is cut into pieces, the same records and the same rejects come out.

use millstream::catalog::Options;
use millstream::codec::Format;
use millstream::record::CompactString;
use millstream::{DataType, Schema};

use crate::feed::{Sizes, feed};

/// Byte 0: the format; byte 1: how long a record may be; byte 2: how the input is cut.
pub fn frames(data: &[u8]) {
    let [format, max, seed, bytes @ ..] = data else { return };
    let mut options = Options::new([("max_record_bytes", (1 + u64::from(*max)).to_string())]);
    let name = match format % 6 {
        0 => "json",
        1 => "csv",
        2 => "tsv",
        3 => "text",
        4 => "raw",
        _ => {
            options.set("header", "true");
            "csv"
        }
    };
    let columns = [("a", DataType::Varchar), ("b", DataType::BigInt)];
    let schema = if matches!(name, "text" | "raw") { Schema::of([("line", DataType::Varchar)]) } else { Schema::of(columns) };
    let names: Vec<CompactString> = schema.names().map(CompactString::from).collect();
    let format = Format::new(name, &options).expect("options are valid");
    let decode = |sizes| {
        let mut decoder = format.decoder(&schema, &names).expect("types are valid");
        feed(decoder.as_mut(), &schema, bytes, sizes)
    };
    let (whole, pieces) = (decode(None), decode(Some(Sizes(1 + u64::from(*seed)))));
    assert_eq!(whole.failure.is_some(), pieces.failure.is_some());
    if whole.failure.is_none() {
        assert_eq!(whole.events, pieces.events);
    }
}
