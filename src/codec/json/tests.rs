//! Decoder against a reference, against splits of input and batch, and against all that can be broken.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::codec::{BytesFormat, Decoder, Encoder, Input, Origin, TimestampFormat};
use crate::record::{Batch, BatchBuilder, DataType, ErrorCode, Field, FieldValue, Schema, StreamRecord};

/// What a decoder made of an input: records with offsets, rejects with all they carry, and their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Record {
        offset: i64,
        values: Vec<FieldValue>,
    },
    Reject {
        offset: i64,
        line: Option<u64>,
        raw: Vec<u8>,
        raw_len: u64,
        code: ErrorCode,
        at: Option<usize>,
        message: String,
    },
}

/// Takes out what a builder holds, in order.
pub(super) fn items(out: &mut BatchBuilder) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rejects = out.take_rejects().into_iter().peekable();
    let batch = out.take(Batch::default());
    for at in 0..=batch.len() {
        while let Some(r) = rejects.next_if(|r| r.at == at) {
            items.push(Item::Reject {
                offset: r.offset,
                line: r.line,
                raw: r.raw,
                raw_len: r.raw_len,
                code: r.error.code,
                at: r.error.at,
                message: r.error.to_string(),
            });
        }
        if let Some(r) = batch.records().get(at) {
            items.push(Item::Record { offset: r.offset().unwrap(), values: r.values().to_vec() });
        }
    }
    assert!(rejects.next().is_none());
    items
}

/// Decodes in the given pieces (sizes, cyclically; the buffer grows if a piece is not enough) and batches.
pub(super) fn decode_split(
    decoder: &mut dyn Decoder,
    schema: &Arc<Schema>,
    input: &[u8],
    pieces: &[usize],
    batch_rows: usize,
) -> Vec<Item> {
    let mut out = BatchBuilder::new(schema.clone());
    out.set_limits(batch_rows, usize::MAX);
    let mut items = Vec::new();
    let (mut start, mut end, mut line, mut turn) = (0, 0, 1, 0);
    loop {
        let complete = end == input.len();
        let mode = if complete { Input::Complete } else { Input::Partial };
        let done = decoder.decode(&input[start..end], mode, Origin { offset: start as u64, line }, &mut out);
        assert!(done.consumed <= end - start);
        let consumed = &input[start..start + done.consumed];
        assert_eq!(done.lines, consumed.iter().filter(|b| **b == b'\n').count() as u64);
        start += done.consumed;
        line += done.lines;
        let progress = done.consumed > 0 || !out.is_empty();
        items.extend(super::tests::items(&mut out));
        if !progress {
            if complete {
                assert_eq!(start, input.len());
                return items;
            }
            end = (end + pieces[turn % pieces.len()].max(1)).min(input.len());
            turn += 1;
        }
    }
}

fn options() -> JsonOptions {
    JsonOptions::default()
}
fn decode_with(schema: &Arc<Schema>, options: JsonOptions, input: &[u8]) -> Vec<Item> {
    decode_split(&mut JsonDecoder::new(schema.clone(), options), schema, input, &[usize::MAX >> 1], 1000)
}
fn code(item: &Item) -> Option<ErrorCode> {
    match item {
        Item::Reject { code, .. } => Some(*code),
        Item::Record { .. } => None,
    }
}
fn values(item: &Item) -> &[FieldValue] {
    match item {
        Item::Record { values, .. } => values,
        Item::Reject { .. } => panic!("{item:?}"),
    }
}
/// One value of that type, or why not.
fn one(data_type: DataType, options: JsonOptions, json: &str) -> Result<FieldValue, ErrorCode> {
    let schema = Schema::of([("v", data_type)]);
    // Twice: in full, then as predicted.
    let line = format!("{{\"v\":{json}}}\n");
    let items = decode_with(&schema, options, format!("{line}{line}").as_bytes());
    assert_eq!(items.len(), 2, "{json}");
    assert_eq!(code(&items[0]), code(&items[1]), "{json}");
    match code(&items[0]) {
        Some(code) => Err(code),
        None => {
            assert_eq!(format!("{:?}", values(&items[0])), format!("{:?}", values(&items[1])));
            Ok(values(&items[0])[0].clone())
        }
    }
}

fn flat() -> Arc<Schema> {
    Schema::of([("a", DataType::BigInt), ("b", DataType::Varchar), ("c", DataType::Double)])
}

#[test]
fn values_are_found_whatever_the_order_the_blanks_and_the_company() {
    let lines = [
        r#"{"a":1,"b":"x","c":1.5}"#,
        r#"{"a":1,"b":"x","c":1.5}"#,
        r#"{"c":1.5,"b":"x","a":1}"#,
        r#" { "a" : 1 , "b" : "x" , "c" : 1.5 } "#,
        r#"{"z":{"a":[{"a":2}]},"a":1,"y":"}","b":"x","x":null,"c":1.5e0,"w":[1,"]",true]}"#,
        r#"{"z":{"a":[{"a":3}]},"a":1,"y":"{","b":"x","x":null,"c":15e-1,"w":[]}"#,
        r#"{"\u0061":1.0,"b":"\u0078","c":1.50}"#,
    ];
    let want = [FieldValue::Integer(1), "x".into(), FieldValue::Float(1.5)];
    for end in ["\n", "\r\n", "\n\n  \n"] {
        let items = decode_with(&flat(), options(), (lines.join(end) + end).as_bytes());
        assert_eq!(items.len(), lines.len());
        for item in &items {
            assert_eq!(values(item), want);
        }
    }
    let items = decode_with(&flat(), options(), b"{}\n{\"b\":null}\n{\"a\":5}\n{\"b\":null}\n{}");
    let firsts: Vec<_> = items.iter().map(|i| values(i)[0].as_i64()).collect();
    assert_eq!(firsts, [None, None, Some(5), None, None]);
    assert!(items.iter().all(|i| values(i)[1].is_null() && values(i)[2].is_null()));
}

#[test]
fn offsets_and_lines_are_those_of_the_file() {
    let input = b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"a\":oops}\n  {\"a\":2}\n{\"a\":true}";
    let items = decode_with(&flat(), options(), input);
    let places: Vec<_> = items
        .iter()
        .map(|i| match i {
            Item::Record { offset, .. } => (*offset, None, None),
            Item::Reject { offset, line, at, .. } => (*offset, *line, *at),
        })
        .collect();
    assert_eq!(places, [(3, None, None), (13, Some(3), Some(5)), (24, None, None), (34, Some(5), Some(5))]);
}

/// 50 ways of being broken, and the class of each.
fn broken() -> Vec<(Vec<u8>, ErrorCode)> {
    use ErrorCode::*;
    let mut kinds: Vec<(Vec<u8>, ErrorCode)> = [
        // Cut off.
        ("{", Malformed),
        ("{\"a\"", Malformed),
        ("{\"a\":", Malformed),
        ("{\"a\":1", Malformed),
        ("{\"a\":1,", Malformed),
        ("{\"b\":\"x", Malformed),
        ("{\"b\":\"\\", Malformed),
        ("{\"b\":\"\\u00", Malformed),
        ("{\"s\":[1,2", Malformed),
        ("{\"s\":{\"t\":", Malformed),
        // Punctuation.
        ("{\"a\":1,}", Malformed),
        ("{,\"a\":1}", Malformed),
        ("{\"a\":1,,\"c\":2}", Malformed),
        ("{\"a\" 1}", Malformed),
        ("{\"a\"::1}", Malformed),
        ("{\"a\":1 \"c\":2}", Malformed),
        ("{\"a\":1]", Malformed),
        ("{\"a\":1}}", Malformed),
        ("{\"a\":1} x", Malformed),
        ("{\"a\":1}{\"a\":2}", Malformed),
        ("{\"s\":[1,]}", Malformed),
        ("{\"s\":[1 2]}", Malformed),
        // Keys.
        ("{a:1}", Malformed),
        ("{'a':1}", Malformed),
        ("{1:1}", Malformed),
        ("{null:1}", Malformed),
        ("{\"a\":1,\"a\":2}", DuplicateKey),
        ("{\"s\":1,\"\\u0073\":2}", DuplicateKey),
        ("{\"s\":{\"t\":1,\"t\":1}}", DuplicateKey),
        ("{\"s\":[{\"t\":1,\"t\":1}]}", DuplicateKey),
        // Literals and numbers.
        ("{\"s\":tru}", Malformed),
        ("{\"s\":True}", Malformed),
        ("{\"s\":nullx}", Malformed),
        ("{\"s\":NaN}", Malformed),
        ("{\"s\":-Infinity}", Malformed),
        ("{\"s\":01}", Malformed),
        ("{\"s\":-01}", Malformed),
        ("{\"s\":+1}", Malformed),
        ("{\"s\":.5}", Malformed),
        ("{\"s\":5.}", Malformed),
        ("{\"s\":1e}", Malformed),
        ("{\"s\":-}", Malformed),
        ("{\"s\":0x1F}", Malformed),
        ("{\"s\":undefined}", Malformed),
        // Strings.
        ("{\"s\":'x'}", Malformed),
        ("{\"s\":\"a\tb\"}", Malformed),
        ("{\"s\":\"a\u{0}b\"}", Malformed),
        ("{\"s\":\"\\x\"}", Malformed),
        ("{\"s\":\"\\u12G4\"}", Malformed),
        ("{\"s\":\"\\ud800\"}", Malformed),
        ("{\"s\":\"\\ud800\\u0041\"}", Malformed),
        ("{\"s\":\"\\udc00\"}", Malformed),
        ("{\"b\":\"a\tb\"}", Malformed),
        // Comments, other values, other formats.
        ("{\"a\":1} // x", Malformed),
        ("/* x */{\"a\":1}", Malformed),
        ("[1,2]", TypeMismatch),
        ("42", TypeMismatch),
        ("\"x\"", TypeMismatch),
        ("null", TypeMismatch),
        ("a,b,c", Malformed),
        ("<a>1</a>", Malformed),
        // Types.
        ("{\"a\":1.5}", TypeMismatch),
        ("{\"a\":\"7\"}", TypeMismatch),
        ("{\"a\":9223372036854775808}", TypeMismatch),
        ("{\"a\":-9223372036854775809}", TypeMismatch),
        ("{\"a\":true}", TypeMismatch),
        ("{\"b\":7}", TypeMismatch),
        ("{\"b\":{}}", TypeMismatch),
        ("{\"c\":\"x\"}", TypeMismatch),
        ("{\"c\":1e999}", TypeMismatch),
    ]
    .into_iter()
    .map(|(text, code)| (text.as_bytes().to_vec(), code))
    .collect();
    kinds.push((b"{\"s\":\"\xff\"}".to_vec(), Encoding));
    kinds.push((b"{\"\xc3\x28\":1}".to_vec(), Encoding));
    kinds.push((b"{\"a\":1}\xe2\x82".to_vec(), Encoding));
    kinds.push((b"\xff\xfe{\x00}\x00".to_vec(), Encoding));
    kinds.push((b"\xef\xbb\xbf{\"a\":1}".to_vec(), Malformed));
    kinds.push((format!("{{\"s\":{}{}}}", "[".repeat(128), "]".repeat(128)).into_bytes(), TooLarge));
    kinds.push((format!("{{\"b\":\"{}\"}}", "x".repeat(400)).into_bytes(), TooLarge));
    kinds
}

#[test]
fn every_kind_of_broken_record_is_classified_and_its_neighbours_are_unaffected() {
    let good = |i: usize| format!("{{\"a\":{i},\"b\":\"n\",\"c\":0.5,\"s\":null}}\n").into_bytes();
    let options = JsonOptions { max_record_bytes: 400, layout: Layout::Lines, ..options() };
    let (mut input, mut want) = (good(0), vec![None]);
    for (i, (text, code)) in broken().into_iter().enumerate() {
        input.extend(text);
        input.push(b'\n');
        input.extend(good(i + 1));
        want.extend([Some(code), None]);
    }
    for (pieces, rows) in [(&[usize::MAX >> 1][..], 1000), (&[1][..], 1), (&[7, 64, 3][..], 3)] {
        let mut decoder = JsonDecoder::new(flat(), options.clone());
        let items = decode_split(&mut decoder, &flat(), &input, pieces, rows);
        assert_eq!(items.len(), want.len());
        for (item, want) in items.iter().zip(&want) {
            assert_eq!(code(item), *want, "{item:?}");
            if let Item::Reject { raw, raw_len, .. } = item {
                assert!(*raw_len > 400 || raw.len() as u64 == *raw_len);
            }
        }
        for (i, item) in items.iter().step_by(2).enumerate() {
            assert_eq!(values(item)[0], FieldValue::Integer(i as i64));
        }
    }
}

#[test]
fn an_endless_line_is_rejected_without_being_held() {
    let schema = flat();
    let mut decoder = JsonDecoder::new(schema.clone(), JsonOptions { max_record_bytes: 5000, ..options() });
    let mut out = BatchBuilder::new(schema);
    let piece = vec![b' '; 64 << 10];
    let mut offset = 0;
    for _ in 0..2000 {
        let done = decoder.decode(&piece, Input::Partial, Origin { offset, line: 1 }, &mut out);
        assert_eq!(done.consumed, piece.len());
        offset += done.consumed as u64;
    }
    let done = decoder.decode(b"x\n{\"a\":1}\n", Input::Complete, Origin { offset, line: 1 }, &mut out);
    assert_eq!((done.consumed, done.lines, out.len()), (10, 2, 1));
    let [reject] = out.rejects() else { panic!() };
    assert_eq!((reject.raw.len(), reject.raw_len), (1024, offset + 1));
    assert_eq!((reject.error.code, reject.offset, reject.line), (ErrorCode::TooLarge, 0, Some(1)));
}

#[test]
fn types_take_what_fits_exactly_and_nothing_else() {
    use DataType::*;
    use FieldValue as V;
    let fits =
        |t: DataType, json: &str, want: FieldValue| assert_eq!(one(t, options(), json), Ok(want), "{json}");
    let misfits = |t: DataType, json: &str| {
        assert_eq!(one(t.clone(), options(), json), Err(ErrorCode::TypeMismatch), "{t} {json}");
    };
    for json in ["7", "7.0", "7.000000000000000000000000000000000000000000", "7e0", "0.7e1", "70E-1"] {
        fits(BigInt, json, V::Integer(7));
    }
    fits(BigInt, "-9223372036854775808", V::Integer(i64::MIN));
    fits(BigInt, "-0", V::Integer(0));
    fits(BigInt, "1e18", V::Integer(1_000_000_000_000_000_000));
    fits(SmallInt, "-32768", V::Integer(-32768));
    for (t, json) in
        [(SmallInt, "32768"), (Integer, "2147483648"), (BigInt, "1e19"), (BigInt, "7.01"), (BigInt, "\"7\"")]
    {
        misfits(t, json);
    }
    assert!(matches!(one(Double, options(), "\"NaN\""), Ok(V::Float(v)) if v.is_nan()));
    fits(Double, "\"-Infinity\"", V::Float(f64::NEG_INFINITY));
    fits(Double, "3", V::Float(3.0));
    fits(Double, "0.1", V::Float(0.1));
    fits(Double, "123456789012345678", V::Float(123456789012345678.0));
    fits(Double, "1.7976931348623157e308", V::Float(f64::MAX));
    fits(Real, "0.1", V::Float(f64::from(0.1f32)));
    for json in ["1e39", "\"0.1\"", "\"inf\"", "true", "[]"] {
        misfits(Real, json);
    }
    let decimal = |precision, scale| Decimal { precision, scale };
    let dec = |text: &str| V::Decimal(text.parse().unwrap());
    fits(decimal(10, 2), "1.5", dec("1.50"));
    fits(decimal(10, 2), "\"1.500\"", dec("1.50"));
    fits(decimal(28, 0), "9999999999999999999999999999", dec("9999999999999999999999999999"));
    fits(decimal(4, 2), "-99.99", dec("-99.99"));
    for json in ["100", "1.005", "\"x\"", "1e3", "true"] {
        misfits(decimal(4, 2), json);
    }
    fits(Boolean, "true", V::Boolean(true));
    misfits(Boolean, "\"true\"");
    misfits(Boolean, "1");
    fits(Varchar, r#""a\u00e9\ud83d\ude00\n""#, "aé😀\n".into());
    fits(Date, "\"2024-02-29\"", V::Date(19782));
    misfits(Date, "\"2023-02-29\"");
    misfits(Date, "19782");
    fits(Time, "\"10:30\"", V::Time(37_800_000_000));
    fits(Timestamp, "\"2026-01-01T00:00:00.5Z\"", V::Timestamp(1_767_225_600_500_000));
    misfits(Timestamp, "1767225600");
    misfits(Timestamp, "\"tomorrow\"");
    fits(
        Interval,
        "\"P1DT2H\"",
        V::Interval(crate::record::Interval { months: 0, days: 1, micros: 7_200_000_000 }),
    );
    fits(Bytes, "\"AP8=\"", V::Bytes([0, 255].into()));
    misfits(Bytes, "\"?\"");
    fits(Json, r#"{"x" : [1, "\u0041"]}"#, V::Json(r#"{"x" : [1, "\u0041"]}"#.into()));
    fits(Json, "\"s\"", V::Json("\"s\"".into()));
    fits(Null, "null", V::Null);
    misfits(Null, "1");
}

#[test]
fn nested_values_are_typed_to_the_leaves() {
    use DataType::*;
    use FieldValue as V;
    let point = Struct(vec![Field::new("x", BigInt), Field::new("y", Varchar).not_null()]);
    let nested =
        one(DataType::array(point.clone()), options(), r#"[{"y":"b","x":1},{"z":0, "y":"c"}, null]"#)
            .unwrap();
    let V::Array(items) = nested else { panic!() };
    let V::Struct(second) = &items[1] else { panic!() };
    assert_eq!((second.get("x"), second.get("y")), (Some(&V::Null), Some(&"c".into())));
    assert!(items[2].is_null());
    for bad in [r#"[{"x":1}]"#, r#"[{"x":"1","y":""}]"#, "[1]", "{}"] {
        assert_eq!(
            one(DataType::array(point.clone()), options(), bad),
            Err(ErrorCode::TypeMismatch),
            "{bad}"
        );
    }
    let strict = JsonOptions { unknown_fields: UnknownFields::Error, ..options() };
    assert_eq!(one(point, strict, r#"{"y":"","z":1}"#), Err(ErrorCode::TypeMismatch));
    let map = one(DataType::map(BigInt, DataType::array(Boolean)), options(), r#"{"1":[true],"\u0032":[]}"#)
        .unwrap();
    let V::Map(entries) = map else { panic!() };
    assert_eq!(entries[0], (V::Integer(1), V::Array(Arc::new(vec![V::Boolean(true)]))));
    assert_eq!(entries[1].0, V::Integer(2));
    assert_eq!(one(DataType::map(BigInt, BigInt), options(), r#"{"x":1}"#), Err(ErrorCode::TypeMismatch));
}

#[test]
fn options_change_what_is_accepted() {
    use FieldValue as V;
    let coerce = JsonOptions { coerce: true, ..options() };
    assert_eq!(one(DataType::BigInt, coerce.clone(), "\"7.0\""), Ok(V::Integer(7)));
    assert_eq!(one(DataType::BigInt, coerce.clone(), "\"x\""), Err(ErrorCode::TypeMismatch));
    assert_eq!(one(DataType::Double, coerce.clone(), "\"1e3\""), Ok(V::Float(1000.0)));
    assert_eq!(one(DataType::Boolean, coerce.clone(), "\"false\""), Ok(V::Boolean(false)));
    assert_eq!(one(DataType::Varchar, coerce.clone(), "1.50"), Ok("1.50".into()));
    assert_eq!(one(DataType::Varchar, coerce, "{\"a\":1}"), Ok("{\"a\":1}".into()));

    let epoch = JsonOptions { timestamp_format: TimestampFormat::new("epoch_ms").unwrap(), ..options() };
    assert_eq!(one(DataType::Timestamp, epoch.clone(), "1500"), Ok(V::Timestamp(1_500_000)));
    assert_eq!(one(DataType::Timestamp, epoch, "\"1500\""), Err(ErrorCode::TypeMismatch));
    let hex = JsonOptions { bytes_format: BytesFormat::Hex, ..options() };
    assert_eq!(one(DataType::Bytes, hex, "\"00ff\""), Ok(V::Bytes([0, 255].into())));

    let last = JsonOptions { duplicate_keys: DuplicateKeys::Last, ..options() };
    let items = decode_with(&flat(), last, b"{\"a\":\"x\",\"a\":2}\n{\"a\":1,\"a\":3}\n{\"a\":1,\"a\":4}\n");
    let found: Vec<_> = items.iter().map(|i| values(i)[0].as_i64()).collect();
    assert_eq!(found, [Some(2), Some(3), Some(4)]);

    let strict = JsonOptions { unknown_fields: UnknownFields::Error, ..options() };
    let declared = Schema::of([("a", DataType::BigInt), ("known", DataType::BigInt)]);
    let mut decoder = JsonDecoder::new(flat(), strict).with_declared(&declared);
    let input = b"{\"known\":\"any\"}\n{\"unknown\":1}\n{\"known\":0}\n";
    let codes: Vec<_> = decode_split(&mut decoder, &flat(), input, &[99], 9).iter().map(code).collect();
    assert_eq!(codes, [None, Some(ErrorCode::UnknownField), None]);

    let schema = Schema::new([Field::new("a", DataType::BigInt).not_null()]);
    let items = decode_with(&schema, options(), b"{\"a\":1}\n{\"a\":null}\n{}\n{\"b\":1}\n{\"a\":2}\n");
    let codes: Vec<_> = items.iter().map(code).collect();
    assert_eq!(
        codes,
        [None, Some(ErrorCode::NotNull), Some(ErrorCode::NotNull), Some(ErrorCode::NotNull), None]
    );
}

#[test]
fn more_shapes_than_can_be_remembered_are_still_read() {
    let mut input = String::new();
    for i in 0..20_000u64 {
        let mut keys = ["a", "b", "c", "d", "e", "f", "g"];
        let mut n = i * 2_654_435_761;
        for j in (1..keys.len()).rev() {
            keys.swap(j, (n % (j as u64 + 1)) as usize);
            n /= 7;
        }
        let members: Vec<_> = keys
            .iter()
            .map(|k| match *k {
                "a" => format!("\"a\":{i}"),
                "b" => "\"b\":\"x\"".into(),
                k => format!("\"{k}{}\":{{}}", i % 3),
            })
            .collect();
        input += &format!("{{{}}}\n", members.join(","));
    }
    let items = decode_with(&flat(), options(), input.as_bytes());
    assert_eq!(items.len(), 20_000);
    for (i, item) in items.iter().enumerate() {
        assert_eq!(values(item), [FieldValue::Integer(i as i64), "x".into(), FieldValue::Null]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is done to a line: it is accepted exactly if the reference accepts it.
    #[test]
    fn mutated_lines_are_accepted_exactly_if_the_reference_accepts_them(
        base in prop::sample::select(vec![
            r#"{"a":1,"b":"x","c":1.5,"d":{"e":[1,2.5e-3,{"f":null}],"g":"\u00e9\n"},"h":[true,false,[]],"i":{}}"#,
            r#"{"k":"\ud83d\ude00 ü €","n":-0.0,"m":[-1,0,10,1E+5],"o":{"p":{"q":""}}}"#,
        ]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, prop::sample::select(b"{}[]\",:\\/ 0123eE+-.tfnul\t\x01\xc3\xa9\x80".to_vec())), 0..4),
    ) {
        let mut line = base.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let at = at.index(line.len());
            match kind {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                2 => { line.remove(at); }
                _ => line.truncate(at.max(1)),
            }
            if line.is_empty() { break; }
        }
        let empty = Schema::of::<&str>([]);
        let options = JsonOptions { duplicate_keys: DuplicateKeys::Last, layout: Layout::Lines, ..options() };
        let mut input = base.as_bytes().to_vec();
        input.push(b'\n');
        input.extend(&line);
        let items = decode_with(&empty, options, &input);
        let reference = serde_json::from_slice::<serde_json::Value>(&line);
        let accepted = match &reference {
            Ok(v) => v.is_object(),
            // It has no double for 1e999; the grammar has.
            Err(e) => e.to_string().starts_with("number out of range"),
        };
        if line.iter().all(|b| b" \t\r\n".contains(b)) {
            prop_assert_eq!(items.len(), 1);
        } else {
            prop_assert_eq!(code(&items[1]).is_none(), accepted, "{:?} {:?}", String::from_utf8_lossy(&line), reference);
        }
    }
}

/// Records of every type, each column of which holds a value or NULL.
fn any_record() -> impl Strategy<Value = Vec<FieldValue>> {
    use FieldValue as V;
    let null = |s: BoxedStrategy<FieldValue>| prop_oneof![1 => Just(V::Null), 4 => s].boxed();
    let text = prop_oneof![
        "\\PC{0,40}".prop_map(|s| s),
        prop::collection::vec(any::<char>(), 0..12).prop_map(|c| c.into_iter().collect::<String>()),
        "[a-z\"\\\\\u{0}-\u{1f}]{0,20}",
    ]
    .boxed();
    let span = 0..253_402_300_800_000_000i64;
    let columns: Vec<BoxedStrategy<FieldValue>> = vec![
        any::<bool>().prop_map(V::Boolean).boxed(),
        any::<i16>().prop_map(|i| V::Integer(i.into())).boxed(),
        any::<i64>().prop_map(V::Integer).boxed(),
        prop::num::f64::NORMAL.prop_map(V::Float).boxed(),
        prop_oneof![Just(f64::INFINITY), Just(-0.0), Just(1e21)].prop_map(V::Float).boxed(),
        (-(10i64.pow(17))..10i64.pow(17)).prop_map(|m| V::Decimal(crate::record::Decimal::new(m, 4))).boxed(),
        text.clone().prop_map(|s| V::from(s.as_str())).boxed(),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|b| V::Bytes(b.into())).boxed(),
        (-719_162i32..2_932_896).prop_map(V::Date).boxed(),
        (0..86_400_000_000i64).prop_map(V::Time).boxed(),
        span.prop_map(V::Timestamp).boxed(),
        (any::<i32>(), any::<i32>(), any::<i64>())
            .prop_map(|(months, days, micros)| V::Interval(crate::record::Interval { months, days, micros }))
            .boxed(),
        prop::collection::vec(null(any::<i64>().prop_map(V::Integer).boxed()), 0..4)
            .prop_map(|v| V::Array(Arc::new(v)))
            .boxed(),
        prop::collection::btree_map(text, any::<bool>().prop_map(V::Boolean), 0..4)
            .prop_map(|m| V::Map(Arc::new(m.into_iter().map(|(k, v)| (k.as_str().into(), v)).collect())))
            .boxed(),
        Just(V::Json("{\"x\":[1,2.50,null]}".into())).boxed(),
    ];
    columns.into_iter().map(null).collect::<Vec<_>>()
}

fn all_types() -> Arc<Schema> {
    use DataType::*;
    let types = [
        Boolean,
        SmallInt,
        BigInt,
        Double,
        Double,
        Decimal { precision: 18, scale: 4 },
        Varchar,
        Bytes,
        Date,
        Time,
        Timestamp,
        Interval,
        DataType::array(BigInt),
        DataType::map(Varchar, Boolean),
        Json,
    ];
    Schema::of(types.into_iter().enumerate().map(|(i, t)| (format!("column {i} \"é\\"), t)))
}

fn encode(schema: &Arc<Schema>, options: JsonOptions, records: &[Vec<FieldValue>]) -> Vec<u8> {
    let records: Vec<_> = records
        .iter()
        .map(|v| Arc::new(StreamRecord::with_values(schema.clone(), v.iter().cloned())))
        .collect();
    let mut encoder = JsonEncoder::new(schema.clone(), options);
    let mut out = Vec::new();
    encoder.start(&mut out);
    encoder.encode(&records, &mut out).unwrap();
    encoder.finish(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is written is JSON to the reference, and reads back as the same values, however input and batches are cut.
    #[test]
    fn what_is_written_reads_back(
        records in prop::collection::vec(any_record(), 0..5),
        strings: bool,
        pieces in prop::collection::vec(1usize..200, 1..4),
        rows in 1usize..4,
    ) {
        let schema = all_types();
        let decimal_format = if strings { DecimalFormat::String } else { DecimalFormat::Number };
        let options = JsonOptions { decimal_format, ..options() };
        let written = encode(&schema, options.clone(), &records);
        for line in written.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
        }
        let items = decode_split(&mut JsonDecoder::new(schema.clone(), options), &schema, &written, &pieces, rows);
        prop_assert_eq!(items.len(), records.len());
        for (item, record) in items.iter().zip(&records) {
            prop_assert_eq!(values(item), &record[..]);
        }
    }

    /// Any cut of the input and any batch size give the same records, rejects, offsets and lines.
    #[test]
    fn splits_change_nothing(
        lines in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(vec![
                b"{\"a\":1,\"b\":\"x\",\"c\":2.5}".to_vec(), b"{\"b\":\"\xc3\xa9\xf0\x9f\x98\x80\"}".to_vec(), b"".to_vec(), b" \r".to_vec(),
            ]),
            1 => prop::sample::select(broken().into_iter().map(|(b, _)| b).collect::<Vec<_>>()),
        ], 0..12),
        crlf: bool,
        last_newline: bool,
        pieces in prop::collection::vec(1usize..90, 1..4),
        rows in 1usize..5,
    ) {
        let mut input = lines.join(if crlf { &b"\r\n"[..] } else { &b"\n"[..] });
        if last_newline {
            input.push(b'\n');
        }
        let options = JsonOptions { max_record_bytes: 300, layout: Layout::Lines, ..options() };
        let whole = decode_with(&flat(), options.clone(), &input);
        let split = decode_split(&mut JsonDecoder::new(flat(), options), &flat(), &input, &pieces, rows);
        prop_assert_eq!(whole, split);
    }
}

#[test]
fn the_encoder_stops_at_the_record_that_does_not_fit() {
    let schema = Schema::of([("n", DataType::SmallInt)]);
    let record = |n: i64| Arc::new(StreamRecord::with_values(schema.clone(), [n.into()]));
    let mut out = Vec::new();
    let mut encoder = JsonEncoder::new(schema.clone(), options());
    let (at, error) = encoder.encode(&[record(1), record(32768), record(2)], &mut out).unwrap_err();
    assert_eq!((at, error.code), (1, ErrorCode::Overflow));
    assert_eq!(error.to_string(), "32768 does not fit SMALLINT (column n)");
    assert_eq!(out, b"{\"n\":1}\n");
}
