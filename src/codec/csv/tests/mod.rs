//! Dialects, headers, types, and the driver that feeds a decoder as a reader does.

mod broken;
mod properties;

use std::sync::Arc;

use super::{CsvDecoder, CsvEncoder, CsvOptions};
use crate::catalog::Options;
use crate::codec::{Decoder, Encoder, Input, Origin};
use crate::record::{
    Batch, BatchBuilder, CompactString, DataType, ErrorCode, Field, FieldValue, Reject, Schema, StreamRecord,
};

fn options(pairs: &[(&str, &str)]) -> CsvOptions {
    CsvOptions::new(&Options::new(pairs.iter().copied())).unwrap()
}
fn names(schema: &Schema) -> Vec<CompactString> {
    schema.names().map(CompactString::new).collect()
}
fn decoder(schema: &Arc<Schema>, pairs: &[(&str, &str)]) -> CsvDecoder {
    CsvDecoder::new(schema.clone(), Some(&names(schema)), options(pairs)).unwrap()
}

#[derive(Debug, Default)]
struct Run {
    rows: Vec<Vec<FieldValue>>,
    offsets: Vec<i64>,
    /// With `at` counted from the start of the input.
    rejects: Vec<Reject>,
    lines: u64,
    /// Most bytes that had to be held.
    held: usize,
}

impl Run {
    fn codes(&self) -> Vec<(u64, ErrorCode)> {
        self.rejects.iter().map(|r| (r.line.unwrap(), r.error.code)).collect()
    }
    fn texts(&self) -> Vec<String> {
        let text = |v: &FieldValue| match v {
            FieldValue::Null => "NULL".to_owned(),
            FieldValue::String(s) => format!("'{s}'"),
            FieldValue::Integer(i) => i.to_string(),
            other => format!("{other:?}"),
        };
        self.rows.iter().map(|r| r.iter().map(text).collect::<Vec<_>>().join("|")).collect()
    }
}

/// Feeds the input in pieces, as a reader does: what is not consumed is kept, more is read when nothing moves.
fn run(decoder: &mut CsvDecoder, input: &[u8], mut piece: impl FnMut() -> usize, rows: usize) -> Run {
    let schema = decoder.schema.clone();
    let mut out = BatchBuilder::new(schema);
    out.set_limits(rows, 1 << 20);
    let mut result = Run::default();
    let (mut held, mut read, mut offset) = (Vec::new(), 0, 0u64);
    loop {
        let more = if read == input.len() { Input::Complete } else { Input::Partial };
        let origin = Origin { offset, line: 1 + result.lines };
        let done = decoder.decode(&held, more, origin, &mut out);
        held.drain(..done.consumed);
        offset += done.consumed as u64;
        result.lines += done.lines;
        let (full, base) = (out.is_full(), result.rows.len());
        for mut reject in out.take_rejects() {
            reject.at += base;
            result.rejects.push(reject);
        }
        let batch = out.take(Batch::default());
        for record in batch.records() {
            result.rows.push(record.values().to_vec());
            result.offsets.push(record.offset().unwrap());
        }
        out.take(batch);
        if done.consumed == 0 && !full {
            if more == Input::Complete {
                break;
            }
            let n = piece().max(1).min(input.len() - read);
            held.extend_from_slice(&input[read..read + n]);
            read += n;
            result.held = result.held.max(held.len());
        }
    }
    assert!(held.is_empty(), "left over: {:?}", String::from_utf8_lossy(&held));
    result
}
fn whole(decoder: &mut CsvDecoder, input: impl AsRef<[u8]>) -> Run {
    run(decoder, input.as_ref(), || usize::MAX, 1000)
}

fn three() -> Arc<Schema> {
    Schema::of([("id", DataType::BigInt), ("name", DataType::Varchar), ("n", DataType::Double)])
}

#[test]
fn columns_are_found_by_name_in_any_order_and_unread_ones_are_stepped_over() {
    let wanted = Schema::of([("n", DataType::Double), ("ID", DataType::BigInt)]);
    let declared: Vec<CompactString> = ["id", "n"].map(CompactString::new).to_vec();
    let wanted_names = Schema::of([("n", DataType::Double), ("id", DataType::BigInt)]);
    for (schema, header) in [(wanted, "auto"), (wanted_names, "true")] {
        let mut d = CsvDecoder::new(schema, Some(&declared), options(&[("header", header)])).unwrap();
        let r = whole(&mut d, "name,x,Id,n\nann,?,1,0.5\n\"b\"\"ob\",\"?\n\",2,-1e3\n");
        assert_eq!(r.rejects.len(), 0, "{:?}", r.rejects);
        assert_eq!(r.rows, [[0.5f64.into(), FieldValue::from(1i64)], [(-1000f64).into(), 2i64.into()]]);
        assert_eq!((r.offsets, r.lines), (vec![12, 24], 4));
    }
}

#[test]
fn a_declared_column_missing_in_the_header_is_a_failure_of_the_file() {
    let mut d = decoder(&three(), &[("header", "true")]);
    let r = whole(&mut d, "id,nmae,n\n1,a,2\n");
    assert_eq!(
        d.failure().unwrap(),
        "the CSV header has no column 'name'; did you mean nmae? (header = 'false' takes columns by position)"
    );
    assert_eq!((r.rows.len(), r.rejects.len()), (0, 2));
    d.reset(true);
    assert_eq!(d.failure(), None);
    assert_eq!(whole(&mut d, "n,name,id\n2,a,1\n").texts(), ["1|'a'|Float(2.0)"]);
}

#[test]
fn a_header_is_recognised_or_not() {
    for (text, rows) in [
        ("id,name,n\n1,a,2\n", 1),
        ("ID,Name,extra\n1,a,2\n", 0), // two of three: a header, and one that lacks a column
        ("1,a,2\n2,b,3\n", 2),
        ("", 0),
        ("id,name,n", 0),
    ] {
        let mut d = decoder(&three(), &[]);
        let r = whole(&mut d, text);
        assert_eq!(r.rows.len(), rows, "{text:?} {:?}", r.rejects);
        assert_eq!(d.failure().is_some(), text.contains("extra"));
    }
    assert!(CsvDecoder::new(three(), None, options(&[("header", "false")])).is_err());
    let mut d = CsvDecoder::new(three(), None, options(&[])).unwrap();
    assert_eq!(whole(&mut d, "n,x,name,id\n2,?,a,1\n").texts(), ["1|'a'|Float(2.0)"]);
}

#[test]
fn a_file_entered_in_the_middle_needs_its_head() {
    let text = b"n,name,id\n2,a,1\n3,b,2\n";
    let mut d = decoder(&three(), &[]);
    d.read_head(text);
    d.reset(false);
    assert_eq!(whole(&mut d, &text[16..]).texts(), ["2|'b'|Float(3.0)"]);
    let mut d = decoder(&three(), &[]);
    d.reset(false);
    assert!(d.failure().unwrap().contains("entered in the middle"));
    let mut d = decoder(&three(), &[]);
    d.read_head(b"id,na");
    d.reset(false);
    assert!(d.failure().unwrap().contains("no whole CSV header"));
    let mut d = decoder(&three(), &[("header", "false")]);
    d.reset(false);
    assert_eq!(whole(&mut d, "7,x,1\n").texts(), ["7|'x'|Float(1.0)"]);
}

#[test]
fn dialects() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[], "1,a,2\r\n2,\"b\r\nc\",3\r\n", &["1|'a'|Float(2.0)", "2|'b\r\nc'|Float(3.0)"]),
        (&[], "1,a,2\n\n\r\n3,c,4", &["1|'a'|Float(2.0)", "3|'c'|Float(4.0)"]),
        (&[], "1,,\n2,\"\",\n", &["1|NULL|NULL", "2|''|NULL"]),
        (&[("empty_as_null", "false")], "1,,2\n", &["1|''|Float(2.0)"]),
        (&[("delimiter", "\\t")], "1\ta,b\t2\n", &["1|'a,b'|Float(2.0)"]),
        (&[("delimiter", ";"), ("quote", "'")], "1;'a;''b';2\n", &["1|'a;'b'|Float(2.0)"]),
        (&[("escape", "\\")], "1,\"a\\\"b\\\\\",2\n", &["1|'a\"b\\'|Float(2.0)"]),
        (&[("quote", "none")], "1,\"a,2\n", &["1|'\"a'|Float(2.0)"]),
        (&[("null_values", "NA, -")], "1,NA,-\n2,\"NA\",1\n", &["1|NULL|NULL", "2|'NA'|Float(1.0)"]),
        (
            &[("trim", "true")],
            " 1 ,\t a b ,2 \n2 , \" x \" , 3\n",
            &["1|'a b'|Float(2.0)", "2|' x '|Float(3.0)"],
        ),
        (
            &[("comment", "#")],
            "#x\n1,a,2\n# 1,b,2\n#\n2,\"#\",3\n",
            &["1|'a'|Float(2.0)", "2|'#'|Float(3.0)"],
        ),
        (&[("skip_lines", "2")], "junk \"\n\nid,name,n\n1,a,2\n", &["1|'a'|Float(2.0)"]),
        (&[("ragged", "pad")], "1\n2,b\n", &["1|NULL|NULL", "2|'b'|NULL"]),
        (&[("ragged", "truncate")], "1,a,2,3,4\n", &["1|'a'|Float(2.0)"]),
        (&[("ragged", "pad_truncate")], "1,a,2,\n2\n", &["1|'a'|Float(2.0)", "2|NULL|NULL"]),
        (&[], "\u{feff}id,name,n\n1,ä,2\n", &["1|'ä'|Float(2.0)"]),
        (&[], "\u{feff}1,ä,2\n", &["1|'ä'|Float(2.0)"]),
    ];
    for (pairs, text, rows) in cases {
        for size in [usize::MAX, 1, 3] {
            let r = run(&mut decoder(&three(), pairs), text.as_bytes(), || size, 1000);
            assert_eq!(r.rejects.len(), 0, "{text:?} {:?}", r.rejects);
            assert_eq!(&r.texts(), rows, "{text:?} {pairs:?}");
            assert_eq!(r.lines, text.matches('\n').count() as u64);
        }
    }
}

#[test]
fn values_of_every_type() {
    let schema = Schema::of([
        ("b", DataType::Boolean),
        ("s", DataType::SmallInt),
        ("d", DataType::Decimal { precision: 5, scale: 2 }),
        ("r", DataType::Real),
        ("day", DataType::Date),
        ("t", DataType::Time),
        ("ts", DataType::Timestamp),
        ("i", DataType::Interval),
        ("raw", DataType::Bytes),
        ("j", DataType::Json),
    ]);
    let good = "T,-7.0,1.005,0.1,2026-01-01,10:30,2026-01-01 00:00:00Z,P1DT2H,AP8=,\"{\"\"a\"\": [1]}\"\n";
    let r = whole(&mut decoder(&schema, &[("header", "false")]), good);
    assert_eq!(r.rejects.len(), 0, "{:?}", r.rejects);
    let mut again = Vec::new();
    let mut e = CsvEncoder::new(schema.clone(), &options(&[("header", "false")])).unwrap();
    e.encode(&[Arc::new(StreamRecord::with_values(schema.clone(), r.rows[0].clone()))], &mut again).unwrap();
    assert_eq!(
        String::from_utf8(again).unwrap(),
        "true,-7,1.01,0.1,2026-01-01,10:30:00,2026-01-01T00:00:00Z,P1DT2H,AP8=,\"{\"\"a\"\": [1]}\"\n"
    );
    let base: Vec<&str> = "t,1,1,1,2026-01-01,10:30,2026-01-01,P1D,AP8=,1".split(',').collect();
    for (column, bad) in [
        (0, "maybe"),
        (0, "2"),
        (1, "32768"),
        (1, "1.5"),
        (1, " 1"),
        (1, "0x1"),
        (2, "1000"),
        (2, "1,5"),
        (3, "1e39"),
        (3, "one"),
        (4, "2026-02-30"),
        (4, "01/02/2026"),
        (5, "25:00"),
        (6, "yesterday"),
        (7, "P"),
        (8, "***"),
        (9, "{"),
        (9, "01"),
    ] {
        let mut row: Vec<String> = base.iter().map(|f| (*f).to_owned()).collect();
        row[column] = format!("\"{bad}\"");
        let text = format!("{}\n{}\n{}\n", base.join(","), row.join(","), base.join(","));
        let r = whole(&mut decoder(&schema, &[("header", "false")]), text);
        assert_eq!(r.codes(), [(2, ErrorCode::TypeMismatch)], "{bad}");
        assert_eq!(r.rejects[0].error.column.as_deref(), Some(schema.fields()[column].name.as_str()));
        assert_eq!((r.rows.len(), r.rejects[0].at), (2, 1));
    }
}

#[test]
fn not_null_is_checked() {
    let schema = Schema::new([Field::new("a", DataType::Varchar).not_null()]);
    let d = || {
        CsvDecoder::new(schema.clone(), Some(&["a".into(), "b".into()]), options(&[("ragged", "pad")]))
            .unwrap()
    };
    let r = whole(&mut d(), "x,1\n,1\n\"\",1\n");
    assert_eq!(r.codes(), [(2, ErrorCode::NotNull)]);
    assert_eq!(r.texts(), ["'x'", "''"]);
}

#[test]
fn the_encoder_quotes_only_where_it_must() {
    let schema = Schema::of([("a b", DataType::Varchar), ("x,y", DataType::Varchar)]);
    let row = |a: FieldValue, b: FieldValue| Arc::new(StreamRecord::with_values(schema.clone(), [a, b]));
    let rows = [
        row("plain text".into(), "it's; 5%".into()),
        row(FieldValue::Null, "".into()),
        row("a,b".into(), "say \"hi\"".into()),
        row("line\nbreak".into(), " blank".into()),
        row("blank ".into(), "tab\t".into()),
    ];
    let mut e = CsvEncoder::new(schema.clone(), &options(&[])).unwrap();
    let mut out = Vec::new();
    e.start(&mut out);
    e.encode(&rows, &mut out).unwrap();
    let expected = "a b,\"x,y\"\nplain text,it's; 5%\n,\"\"\n\"a,b\",\"say \"\"hi\"\"\"\n\"line\nbreak\",\" blank\"\n\"blank \",\"tab\t\"\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut e =
        CsvEncoder::new(Schema::of([("a", DataType::Varchar)]), &options(&[("quote", "none")])).unwrap();
    let mut out = Vec::new();
    let (at, error) = e.encode(&rows[1..], &mut out).unwrap_err();
    assert_eq!((at, error.code, out.as_slice()), (1, ErrorCode::SinkRejected, b",\n".as_slice()));
    assert!(CsvEncoder::new(schema, &options(&[("quote", "none")])).is_err());
}

#[test]
fn a_text_that_begins_with_a_byte_order_mark_reads_back() {
    let schema = Schema::of([("a", DataType::Varchar), ("b", DataType::Varchar)]);
    let row = ["\u{FEFF}x", "\u{FEFF}"].map(FieldValue::from);
    let record = Arc::new(StreamRecord::with_values(schema.clone(), row.clone()));
    for o in [[("header", "false")], [("header", "true")]] {
        let mut e = CsvEncoder::new(schema.clone(), &options(&o)).unwrap();
        let mut out = Vec::new();
        e.start(&mut out);
        e.encode(std::slice::from_ref(&record), &mut out).unwrap();
        let r = whole(&mut decoder(&schema, &o), &out);
        assert_eq!(r.rows, [row.to_vec()], "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for pairs in [
        [("delimiter", "\""), ("quote", "\"")],
        [("delimiter", ","), ("comment", ",")],
        [("delimiter", ";;"), ("header", "true")],
        [("delimiter", "é"), ("header", "true")],
        [("header", "maybe"), ("quote", "\"")],
    ] {
        assert!(CsvOptions::new(&Options::new(pairs)).is_err(), "{pairs:?}");
    }
}

#[test]
fn a_narrow_integer_column_is_checked_at_the_sink() {
    let schema = Schema::of([("a", DataType::SmallInt)]);
    let rows = [7i64, 40_000].map(|n| Arc::new(StreamRecord::with_values(schema.clone(), [n.into()])));
    let mut out = Vec::new();
    let (at, error) = CsvEncoder::new(schema, &options(&[])).unwrap().encode(&rows, &mut out).unwrap_err();
    assert_eq!((at, error.code, out.as_slice()), (1, ErrorCode::Overflow, b"7\n".as_slice()));
    assert_eq!(error.column.as_deref(), Some("a"));
}

#[test]
fn nested_values_are_json_text_both_ways() {
    let item =
        DataType::Struct(vec![Field::new("x", DataType::BigInt), Field::new("t", DataType::Timestamp)]);
    let schema = Schema::of([
        ("a", DataType::array(item)),
        ("m", DataType::map(DataType::Varchar, DataType::Double)),
        ("j", DataType::Json),
    ]);
    let text = "\"[{\"\"x\"\":1,\"\"t\"\":\"\"2026-01-01T00:00:00Z\"\"},{\"\"x\"\":null,\"\"t\"\":null}]\",\"{\"\"k\"\":1.5}\",[true]\n,{},\n";
    let o = [("header", "false")];
    let r = whole(&mut decoder(&schema, &o), text);
    assert_eq!(r.rejects.len(), 0, "{:?}", r.rejects);
    assert!(matches!(&r.rows[0][0], FieldValue::Array(a) if a.len() == 2));
    assert!(r.rows[1][0].is_null() && !r.rows[1][1].is_null());
    let records: Vec<_> =
        r.rows.iter().map(|v| Arc::new(StreamRecord::with_values(schema.clone(), v.clone()))).collect();
    let mut out = Vec::new();
    CsvEncoder::new(schema.clone(), &options(&o)).unwrap().encode(&records, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), text);
    for bad in ["[1],{},1", "[],[],1", "[] [],{},1", "[,{},1", "[],{},maybe"] {
        let r = whole(&mut decoder(&schema, &o), format!("{bad}\n"));
        assert_eq!(r.codes(), [(1, ErrorCode::TypeMismatch)], "{bad}");
    }
}
