//! A file that is one array: layouts, splits, broken elements and what becomes of their neighbours.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{Item, decode_split};
use super::*;
use crate::codec::{Decoder, Input, Origin};
use crate::record::{BatchBuilder, DataType, ErrorCode, FieldValue, Schema};

fn schema() -> Arc<Schema> {
    Schema::of([("a", DataType::BigInt)])
}
fn options() -> JsonOptions {
    JsonOptions { max_record_bytes: 200, ..JsonOptions::default() }
}
fn decode(input: &[u8], pieces: &[usize], rows: usize) -> Vec<Item> {
    decode_split(&mut JsonDecoder::new(schema(), options()), &schema(), input, pieces, rows)
}
/// Numbers of the records in order, negative for rejects: -1 malformed, -2 another class.
fn outline(input: &str) -> Vec<i64> {
    let whole = decode(input.as_bytes(), &[usize::MAX >> 1], 1000);
    assert_eq!(whole, decode(input.as_bytes(), &[1], 1), "{input}");
    let number = |item: &Item| match item {
        Item::Record { values, offset } => {
            assert_eq!(input.as_bytes()[*offset as usize], b'{');
            values[0].as_i64().unwrap()
        }
        Item::Reject { code: ErrorCode::Malformed, .. } => -1,
        Item::Reject { .. } => -2,
    };
    whole.iter().map(number).collect()
}

#[test]
fn an_array_is_read_however_it_is_laid_out() {
    for input in [
        r#"[{"a":1},{"a":2},{"a":3}]"#,
        " [ {\"a\":1} , {\"a\":2} , {\"a\":3} ] \n",
        "\u{feff}[\n{\"a\":1},\n{\"a\":2},\n{\"a\":3}\n]\n",
        "[{\"a\":1}\n,{\"a\":2}\n,{\"a\":3}]",
        "\n\n[\r\n  {\r\n    \"a\": 1,\r\n    \"n\": {\"a\": [9]}\r\n  },\r\n  {\r\n    \"a\": 2\r\n  },\r\n  {\"n\":null,\"a\": 3}\r\n]",
    ] {
        assert_eq!(outline(input), [1, 2, 3], "{input}");
    }
    assert!(outline("[]").is_empty());
    assert!(outline(" [ \n ] ").is_empty());
}

#[test]
fn a_broken_element_leaves_its_neighbours_alone() {
    for (input, want) in [
        // On one line: up to the end of its brackets.
        (r#"[{"a":1},{"a":tru},{"a":3}]"#, vec![1, -1, 3]),
        (r#"[{"a":1},{"a":2,},{"a":3}]"#, vec![1, -1, 3]),
        (r#"[{"a":1},{"a":"\x"},{"a":3}]"#, vec![1, -1, 3]),
        (r#"[{"a":1},7,null,"x,]",[{}],{"a":3}]"#, vec![1, -2, -2, -2, -2, 3]),
        (r#"[{"a":1},{"a":"x"},{"a":1,"a":2},{"a":3}]"#, vec![1, -2, -2, 3]),
        (r#"[x,{"a":3}]"#, vec![-1, 3]),
        // One a line: up to the next line that begins alike.
        ("[\n{\"a\":1},\n{\"a\":2,\n{\"a\":3},\n{\"a\":\"4},\n{\"a\":5}\n]", vec![1, -1, 3, -1, 5]),
        ("[{\"a\":1}\n,{\"a\":{\n,{\"a\":3}\n]", vec![1, -1, 3]),
        (
            "[\n  {\n    \"a\": 1\n  },\n  {\n    \"x\": [\n    {\"a\": 9},\n    \"a\": }\n  },\n  {\n    \"a\": 3\n  }\n]",
            vec![1, -1, 3],
        ),
        // Commas and the end.
        (r#"[{"a":1}{"a":2}]"#, vec![1, -1, 2]),
        (r#"[{"a":1},,{"a":2}]"#, vec![1, -1, 2]),
        (r#"[{"a":1},]"#, vec![1, -1]),
        (r#"[,{"a":1}]"#, vec![-1, 1]),
        (r#"[{"a":1} x, {"a":2}]"#, vec![1, -1, 2]),
        (r#"[{"a":1}"#, vec![1, -1]),
        (r#"[{"a":1},"#, vec![1, -1]),
        (r#"[{"a":1},{"a":2"#, vec![1, -1]),
        ("[", vec![-1]),
        (r#"[{"a":1}] x"#, vec![1, -1]),
        (r#"[{"a":1}][{"a":2}]"#, vec![1, -1]),
    ] {
        assert_eq!(outline(input), want, "{input}");
    }
}

#[test]
fn bad_bytes_and_long_elements_are_stepped_over() {
    let long = format!("[{{\"a\":1}}, {{\"a\":2,\"b\":\"{}]}}\"}} ,{{\"a\":3}}]", "x".repeat(1000));
    assert_eq!(outline(&long), [1, -2, 3]);
    for input in [
        &b"[{\"a\":1},{\"a\":2,\"b\":\"\xff\"},{\"a\":3}]"[..],
        b"[\n{\"a\":1},\n{\"a\":2,\"b\":\"\xc3\"},\n{\"a\":3}\n]",
    ] {
        for pieces in [1, 3, 1000] {
            let items = decode(input, &[pieces], 7);
            let [
                Item::Record { .. },
                Item::Reject { code: ErrorCode::Encoding, .. },
                Item::Record { values, .. },
            ] = &items[..]
            else {
                panic!("{items:?}")
            };
            assert_eq!(values[0], FieldValue::Integer(3));
        }
    }
}

/// Reads `input` up to `cut`, of which more may follow, and then goes on with another reader from where the first says.
fn resumed(input: &[u8], cut: usize) -> Vec<Item> {
    let mut out = BatchBuilder::new(schema());
    let mut first = JsonDecoder::new(schema(), options());
    let (mut at, mut line) = (0, 1);
    loop {
        let origin = Origin { offset: at as u64, line };
        let done = first.decode(&input[at..cut], Input::Partial, origin, &mut out);
        (at, line) = (at + done.consumed, line + done.lines);
        if done.consumed == 0 {
            break;
        }
    }
    let from = first.unfinished().unwrap_or(Origin { offset: at as u64, line });
    let mut items = super::tests::items(&mut out);
    let mut second = JsonDecoder::new(schema(), options());
    second.read_head(input);
    second.reset(from.offset == 0);
    let rest = &input[from.offset as usize..];
    let (mut at, mut line) = (0, from.line);
    loop {
        let origin = Origin { offset: from.offset + at as u64, line };
        let done = second.decode(&rest[at..], Input::Complete, origin, &mut out);
        (at, line) = (at + done.consumed, line + done.lines);
        if at == rest.len() || done.consumed == 0 {
            break;
        }
    }
    items.extend(super::tests::items(&mut out));
    items
}

#[test]
fn a_reader_that_resumes_loses_and_repeats_nothing_also_within_a_broken_element() {
    let long = format!("[{{\"a\":1}},{{\"a\":2,\"s\":\"{}\"}},\n{{\"a\":3}}]", "x".repeat(300));
    for input in [
        r#"[{"a":1},{"a":tru},{"a":3}]"#,
        r#"[{"a":tru},{"a":3}]"#,
        "\u{feff}[{\"a\":},{\"a\":3}]",
        "[\n  {\"a\":1},\n  {\"a\":2, \"x\": [,\n  \"y\":{\"a\":7}},\n  {\"a\":3}\n]",
        "[\n{\"a\":\n1x},\n{\"a\":2}\n,\n  {\"a\":{,\n{\"a\":4}\n]",
        r#"[{"a":1}, {"a":2} x, {"a":3}]"#,
        r#"[{"a":1}] {"a":2}, 7"#,
        r#"[{"a":1}{"a":2} {"a":3}]"#,
        "[{\"a\":1}\n  {\"a\":2}\n,,\n {\"a\":3}, ]",
        r#"[{"a":1}}, {"a":2}]"#,
        r#"[{"a":1}, {"a":tru} {"a":3}]"#,
        r#"[{"a":1},{"a":2}"#,
        "[]\n\nx\n",
        "{\"a\":1}]",
        "[{\"a\":1},{\"a\":2",
        &long,
    ] {
        let whole = outline_of(&decode(input.as_bytes(), &[usize::MAX >> 1], 1000));
        for cut in 0..=input.len() {
            assert_eq!(outline_of(&resumed(input.as_bytes(), cut)), whole, "{input} cut at {cut}");
        }
    }
}

/// What there is and where it begins.
fn outline_of(items: &[Item]) -> Vec<(i64, Option<i64>, u64)> {
    let outline = |item: &Item| match item {
        Item::Record { values, offset } => (*offset, values[0].as_i64(), 0),
        Item::Reject { offset, raw_len, .. } => (*offset, None, *raw_len),
    };
    items.iter().map(outline).collect()
}

#[test]
fn reading_goes_on_between_elements() {
    let input = b"[ {\"a\":1},\n {\"a\":2},\n {\"a\":3} ]\n";
    for skip in 1..=3usize {
        let mut decoder = JsonDecoder::new(schema(), options());
        let mut out = BatchBuilder::new(schema());
        out.set_limits(skip, usize::MAX);
        let done = decoder.decode(input, Input::Complete, Origin { offset: 0, line: 1 }, &mut out);
        assert_eq!(out.len(), skip);
        let mut decoder = JsonDecoder::new(schema(), options());
        decoder.read_head(&input[..5]);
        decoder.reset(false);
        let mut out = BatchBuilder::new(schema());
        let origin = Origin { offset: done.consumed as u64, line: 1 + done.lines };
        decoder.decode(&input[done.consumed..], Input::Complete, origin, &mut out);
        assert!(out.rejects().is_empty(), "{:?}", out.rejects());
        let rest: Vec<_> = out.records().iter().filter_map(|r| r.values()[0].as_i64()).collect();
        assert_eq!(rest, [1, 2, 3][skip..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any cut of the input and any batch size give the same records, rejects, offsets and lines.
    #[test]
    fn splits_change_nothing(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{\"a\":1}", "{\"a\":2,\"b\":\"x\"}", "{ \"a\" : 3 }", "{\n  \"a\": 4,\n  \"b\": {\"c\": []}\n}", ",", ",", ",\n", ",\n  ", "\n", " ",
            "[", "]", "{", "}", "\"", "\\", "{\"a\":tru}", "{\"a\":\"é\"}", "{\"a\":1.5}", "7", "x",
        ]), 0..14),
        bad: bool,
        pieces in prop::collection::vec(1usize..40, 1..4),
        rows in 1usize..5,
    ) {
        let mut input = b"[".to_vec();
        input.extend(parts.concat().as_bytes());
        if bad {
            input.insert(input.len() / 2, 0xff);
        }
        let options = JsonOptions { max_record_bytes: 24, ..options() };
        let run = |pieces: &[usize], rows| {
            decode_split(&mut JsonDecoder::new(schema(), options.clone()), &schema(), &input, pieces, rows)
        };
        prop_assert_eq!(run(&[usize::MAX >> 1], 1000), run(&pieces, rows), "{}", String::from_utf8_lossy(&input));
    }

    /// What is written as an array is JSON and reads back.
    #[test]
    fn arrays_round_trip(numbers in prop::collection::vec(any::<i64>(), 0..20), pieces in prop::collection::vec(1usize..40, 1..4)) {
        use crate::codec::Encoder;
        let mut encoder = JsonEncoder::new(schema(), JsonOptions { layout: Layout::Array, ..options() });
        let mut out = Vec::new();
        encoder.start(&mut out);
        for chunk in numbers.chunks(3) {
            let records: Vec<_> = chunk
                .iter()
                .map(|n| Arc::new(crate::record::StreamRecord::with_values(schema(), [(*n).into()])))
                .collect();
            encoder.encode(&records, &mut out).unwrap();
        }
        encoder.finish(&mut out);
        let parsed: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(parsed.len(), numbers.len());
        let items = decode(&out, &pieces, 2);
        let back: Vec<_> = items.iter().map(|i| match i {
            Item::Record { values, .. } => values[0].as_i64().unwrap(),
            Item::Reject { message, .. } => panic!("{message}"),
        }).collect();
        prop_assert_eq!(back, numbers);
    }
}
