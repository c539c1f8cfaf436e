//! Inference over real heads, odd files, and input that comes piece by piece.

use proptest::prelude::*;

use super::{Inference, Inferred};
use crate::catalog::Options;
use crate::codec::{Format, Input, Origin};
use crate::record::{BatchBuilder, CompactString, ErrorCode, FieldValue};

fn inference(format: &str, options: &[(&str, &str)], rows: i64) -> Inference {
    Inference::new(&Format::new(format, &Options::new(options.iter().copied())).unwrap(), rows).unwrap()
}
fn infer(format: &str, options: &[(&str, &str)], text: impl AsRef<[u8]>) -> Result<Inferred, String> {
    let mut i = inference(format, options, 10_000);
    i.feed(text.as_ref(), Input::Complete);
    i.finish().map_err(|e| e.message)
}
/// `name TYPE, …`
fn columns(inferred: &Inferred) -> String {
    let fields = inferred.schema.fields().iter();
    fields.map(|f| format!("{} {}", f.name, f.data_type)).collect::<Vec<_>>().join(", ")
}
fn csv(text: &str) -> String {
    columns(&infer("csv", &[], text).unwrap())
}
fn json(text: &str) -> String {
    columns(&infer("json", &[], text).unwrap())
}
/// Decodes the text with what was inferred.
fn decode(inferred: &Inferred, text: &[u8]) -> BatchBuilder {
    let names: Vec<CompactString> = inferred.schema.names().map(CompactString::new).collect();
    let mut decoder = inferred.format.decoder(&inferred.schema, &names).unwrap();
    let mut out = BatchBuilder::new(inferred.schema.clone());
    let origin = Origin { offset: 0, line: 1 };
    let done = decoder.decode(text, Input::Complete, origin, &mut out);
    assert_eq!(done.consumed, text.len());
    out
}
fn nulls(out: &BatchBuilder, column: usize) -> Vec<bool> {
    out.records().iter().map(|r| r.values()[column].is_null()).collect()
}

#[test]
fn the_heads_of_real_files() {
    let heads: [(&[u8], &str, usize); 5] = [
        (
            include_bytes!("../../../tests/data/infer/flights.csv"),
            "year BIGINT, month BIGINT, day BIGINT, dep_time BIGINT, sched_dep_time BIGINT, dep_delay BIGINT, \
             arr_time BIGINT, sched_arr_time BIGINT, arr_delay BIGINT, carrier VARCHAR, flight BIGINT, \
             tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time BIGINT, distance BIGINT, hour BIGINT, \
             minute BIGINT, time_hour TIMESTAMP",
            9,
        ),
        (
            include_bytes!("../../../tests/data/infer/weather.csv"),
            "origin VARCHAR, year BIGINT, month BIGINT, day BIGINT, hour BIGINT, temp DOUBLE, dewp DOUBLE, \
             humid DOUBLE, wind_dir BIGINT, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, \
             visib BIGINT, time_hour TIMESTAMP",
            10,
        ),
        (include_bytes!("../../../tests/data/infer/airlines.csv"), "carrier VARCHAR, name VARCHAR", 4),
        (
            include_bytes!("../../../tests/data/infer/airports.csv"),
            "faa VARCHAR, name VARCHAR, lat DOUBLE, lon DOUBLE, alt BIGINT, tz BIGINT, dst VARCHAR, tzone VARCHAR",
            6,
        ),
        (
            include_bytes!("../../../tests/data/infer/planes.csv"),
            "tailnum VARCHAR, year BIGINT, type VARCHAR, manufacturer VARCHAR, model VARCHAR, engines BIGINT, \
             seats BIGINT, speed BIGINT, engine VARCHAR",
            8,
        ),
    ];
    for (text, expected, rows) in heads {
        let inferred = infer("csv", &[], text).unwrap();
        assert_eq!(columns(&inferred), expected);
        assert_eq!(inferred.rows, rows as u64);
        let out = decode(&inferred, text);
        assert_eq!((out.len(), out.rejects().len()), (rows, 0));
    }
    let text = heads[0].0;
    let out = decode(&infer("csv", &[], text).unwrap(), text);
    let (yes, no) = (true, false);
    assert_eq!(nulls(&out, 3), [no, no, no, no, no, yes, yes, yes, yes], "dep_time");
    assert_eq!(nulls(&out, 11), [no; 9], "in a column of texts NA is a text");
    assert_eq!(out.records()[7].values()[11], "NA".into());
    assert_eq!(out.records()[0].values()[18], FieldValue::Timestamp(1_357_034_400_000_000));
}

#[test]
fn types_are_widened_from_row_to_row() {
    for (values, expected) in [
        ("1\n2", "BIGINT"),
        ("1\n2.5\n-3e2", "DOUBLE"),
        ("1\n9223372036854775808", "DECIMAL(28,0)"),
        ("9223372036854775808\n1.5", "DOUBLE"),
        ("12345678901234567890123456789", "VARCHAR"),
        ("1\nx", "VARCHAR"),
        ("true\nFALSE", "BOOLEAN"),
        ("true\n1", "VARCHAR"),
        ("true\nNA", "VARCHAR"),
        ("007\n8", "VARCHAR"),
        ("+49\n8", "VARCHAR"),
        ("0\n-0\n0.5", "DOUBLE"),
        ("2026-01-01", "DATE"),
        ("2026-01-01\n2026-01-01 10:00", "TIMESTAMP"),
        ("2026-01-01T00:00:00Z\n2026-01-01T00:00:00+02:00", "TIMESTAMP"),
        ("2026-02-30", "VARCHAR"),
        ("10:30:00\n23:59:59.5", "TIME"),
        ("10:30", "VARCHAR"),
        ("2026-01-01\n10:30:00", "VARCHAR"),
        ("1\nNA\nN/A\nNULL\nnull\n\\N", "BIGINT"),
        ("2026-01-01\nNULL", "DATE"),
        ("x\nNA", "VARCHAR"),
        ("NA\nNA", "VARCHAR"),
        ("1\n\"NA\"", "VARCHAR"),
        ("\"1\"\n\"2\"", "BIGINT"),
        ("1\n\"\"", "VARCHAR"),
        ("1.5\nNaN\n-Infinity", "DOUBLE"),
        ("1\nInfinity", "DOUBLE"),
        ("NaN", "VARCHAR"),
        ("1e400", "VARCHAR"),
        ("1\n 2", "VARCHAR"),
        ("0x10", "VARCHAR"),
        ("1_000", "VARCHAR"),
        ("-", "VARCHAR"),
        (".5\n-.5", "DOUBLE"),
    ] {
        // A second column, so that no line is blank.
        let text: String = values.lines().map(|v| format!("{v},k\n")).collect();
        let text = format!("a,b\n{text},\n");
        assert_eq!(csv(&text), format!("a {expected}, b VARCHAR"), "{values}");
        let inferred = infer("csv", &[], &text).unwrap();
        let out = decode(&inferred, text.as_bytes());
        assert_eq!((out.len(), out.rejects().len()), (values.lines().count() + 1, 0), "{values}");
    }
}

#[test]
fn a_header_is_recognised() {
    for (text, expected, rows) in [
        ("a,b\n1,x\n", "a BIGINT, b VARCHAR", 1),
        ("1,x\n2,y\n", "column0 BIGINT, column1 VARCHAR", 2),
        ("x,1\n", "column0 VARCHAR, column1 BIGINT", 1),
        ("a,b\nc,d\n", "a VARCHAR, b VARCHAR", 1),
        ("a,b", "a VARCHAR, b VARCHAR", 0),
        (",a\n0,x\n1,y\n", "column0 BIGINT, a VARCHAR", 2),
        ("NA,a\n0,x\n", "column0 BIGINT, column1 VARCHAR", 2),
        ("x,\ny,1\n", "column0 VARCHAR, column1 BIGINT", 2),
        ("a,a,a_1\n1,2,3\n", "a BIGINT, a_1 BIGINT, a_1_1 BIGINT", 1),
        ("\"a, b\", c \n1,2\n", "a, b BIGINT, c BIGINT", 1),
        ("\u{feff}a,b\r\n1,2\r\n", "a BIGINT, b BIGINT", 1),
        ("n\n1\n\n2\n", "n BIGINT", 3),
    ] {
        let inferred = infer("csv", &[], text).unwrap();
        assert_eq!((columns(&inferred).as_str(), inferred.rows), (expected, rows), "{text:?}");
        let out = decode(&inferred, text.as_bytes());
        assert_eq!((out.len(), out.rejects().len()), (rows as usize, 0), "{text:?}");
    }
    assert_eq!(
        columns(&infer("csv", &[("header", "false")], "a,b\n").unwrap()),
        "column0 VARCHAR, column1 VARCHAR"
    );
    assert_eq!(columns(&infer("csv", &[("header", "true")], "1,2\n3,4\n").unwrap()), "1 BIGINT, 2 BIGINT");
}

#[test]
fn dialects_are_respected_and_a_delimiter_is_found() {
    for (format, options, text) in [
        ("csv", vec![], "a;b\n1;x,y\n"),
        ("csv", vec![], "a\tb\n1\tx\n"),
        ("csv", vec![], "a|b\n1|x\n"),
        ("csv", vec![], "\"a\",b\n1,x|y|z\n"),
        ("tsv", vec![], "a\tb\n1\tx,y,z\n"),
        ("csv", vec![("comment", "#"), ("skip_lines", "1")], "1,2,3\n#x\n\na,b\n# 1\n1,x\n"),
        ("csv", vec![("null_values", "-,x")], "a,b\n1,q\n-,x\n"),
        ("csv", vec![("trim", "true")], "a, b\n 1 , x\n2,y\n"),
        ("csv", vec![("quote", "'")], "a,b\n'1','x,y'\n"),
    ] {
        let inferred = infer(format, &options, text).unwrap();
        assert_eq!(columns(&inferred), "a BIGINT, b VARCHAR", "{text:?}");
        let out = decode(&inferred, text.as_bytes());
        assert!(!out.records().is_empty() && out.rejects().is_empty(), "{text:?} {:?}", out.rejects());
    }
    let inferred = infer("csv", &[("timestamp_format", "%d.%m.%Y")], "a\n24.12.2026\n").unwrap();
    assert_eq!(columns(&inferred), "a TIMESTAMP");
}

#[test]
fn json_objects_nested_ones_too() {
    for (text, expected) in [
        (r#"{"b": 1, "a": "x"} {"no": 1}"#, "error"),
        ("{\"b\": 1, \"a\": \"x\"}\n{\"a\": \"y\", \"c\": true, \"b\": 2}", "b BIGINT, a VARCHAR, c BOOLEAN"),
        ("{\"a\": 1}\n{\"a\": 1.5}", "a DOUBLE"),
        ("{\"a\": 1}\n{\"a\": null}\n{}", "a BIGINT"),
        ("{\"a\": null}", "a JSON"),
        ("{\"a\": 18446744073709551615}\n{\"a\": 1}", "a DECIMAL(28,0)"),
        ("{\"a\": 1}\n{\"a\": \"x\"}", "a JSON"),
        ("{\"a\": 1}\n{\"a\": true}", "a JSON"),
        ("{\"a\": {\"x\": 1}}\n{\"a\": {\"y\": [1.5]}}", "a STRUCT<x BIGINT, y ARRAY<DOUBLE>>"),
        ("{\"a\": [{\"x\": 1}, {\"x\": null, \"y\": \"\"}]}", "a ARRAY<STRUCT<x BIGINT, y VARCHAR>>"),
        ("{\"a\": []}", "a ARRAY<JSON>"),
        ("{\"a\": {}}", "a JSON"),
        ("{\"a\": []}\n{\"a\": {\"x\": 1}}", "a JSON"),
        ("{\"a\": [1]}\n{\"a\": 1}", "a JSON"),
        (
            "{\"t\": \"2026-01-01T00:00:00Z\", \"d\": \"2026-01-01\", \"n\": \"7\"}",
            "t TIMESTAMP, d DATE, n VARCHAR",
        ),
        ("{\"t\": \"2026-01-01T00:00:00Z\"}\n{\"t\": \"2026-01-01\"}", "t TIMESTAMP"),
        ("{\"t\": \"2026-01-01T00:00:00Z\"}\n{\"t\": \"soon\"}", "t VARCHAR"),
        ("broken\n{\"a\": 1\n\n{\"a\": 1}\n[1]\n{\"a\": \"x\"", "a BIGINT"),
        ("[{\"a\": 1}, {\"a\": 2.5},\n {\"b\": \"]\"}]\n", "a DOUBLE, b VARCHAR"),
        ("\u{feff} [\n{\"a\": 1}", "a BIGINT"),
    ] {
        match infer("json", &[], text) {
            Ok(inferred) => assert_eq!(columns(&inferred), expected, "{text}"),
            Err(e) => assert_eq!(expected, "error", "{text}: {e}"),
        }
    }
    let wide: String = (0..201).map(|i| format!("\"k{i}\": 1,")).collect();
    assert_eq!(json(&format!("{{\"m\": {{{}}}}}", wide.trim_end_matches(','))), "m JSON");
}

#[test]
fn what_was_inferred_decodes_what_it_was_inferred_from() {
    let text = "{\"a\": {\"x\": 1}, \"t\": \"2026-01-01\"}\n{\"t\": \"2026-01-01T10:00:00Z\", \"z\": [1, 2.5, null]}\n";
    let inferred = infer("json", &[], text).unwrap();
    let out = decode(&inferred, text.as_bytes());
    assert_eq!((out.len(), out.rejects().len()), (2, 0), "{:?}", out.rejects());
    let orders = include_str!("../../../examples/data/orders.jsonl");
    let inferred = infer("json", &[], orders).unwrap();
    let out = decode(&inferred, orders.lines().take(100).collect::<Vec<_>>().join("\n").as_bytes());
    assert_eq!((out.len(), out.rejects().len()), (100, 0), "{:?}", out.rejects());
}

#[test]
fn a_later_misfit_is_a_record_error_that_names_sample_rows() {
    for (format, head, tail) in
        [("csv", "a,b\n1,x\n", "y,z\nNA,q\n"), ("json", "{\"a\": 1}\n", "{\"a\": \"y\"}\n{}\n")]
    {
        let mut i = inference(format, &[], 1);
        let text = format!("{head}{tail}");
        let fed = i.feed(text.as_bytes(), Input::Complete);
        assert!(fed.enough && fed.consumed < text.len(), "{fed:?}");
        let inferred = i.finish().unwrap();
        assert_eq!(inferred.rows, 1);
        let out = decode(&inferred, text.as_bytes());
        assert_eq!(out.len(), 2, "a NULL word that the sample did not hold is NULL nevertheless");
        assert!(out.records()[1].values()[0].is_null());
        let [reject] = out.rejects() else { panic!("{:?}", out.rejects()) };
        assert_eq!((reject.error.code, reject.at), (ErrorCode::TypeMismatch, 1));
        assert!(reject.error.message.contains("raise sample_rows (-1 = all)"), "{}", reject.error);
    }
}

#[test]
fn input_that_says_nothing_is_an_error() {
    for (format, text, why) in [
        ("csv", "", "it is empty"),
        ("csv", "\n\n", "it is empty"),
        ("csv", "a,\"b\nc", "a quote that is never closed"),
        ("csv", "caf\u{e9}", ""),
        ("json", "", "it is empty"),
        ("json", "\n \n", "it is empty"),
        ("json", "{\"a\": 1} {\"a\": 2}\n", "not one JSON object: trailing characters"),
        ("json", "{\"a\": \n", "not one JSON object: EOF"),
        ("json", "{}\n", "its objects are empty"),
        ("json", "1\n2\n", "its first record is no JSON object"),
        ("json", "[1, 2]", "its first record is no JSON object"),
        ("json", "[]", "no whole object"),
    ] {
        match infer(format, &[], text) {
            Err(e) => assert!(!why.is_empty() && e.contains(why), "{e}"),
            Ok(_) => assert_eq!(why, "", "{text}"),
        }
    }
    assert!(infer("csv", &[], b"caf\xe9,b\n").unwrap_err().contains("not UTF-8"));
    for format in ["csv", "json"] {
        for (start, why) in [
            (&b"\xff\xfea\0"[..], "UTF-16"),
            (b"\xfe\xff\0a", "UTF-16"),
            (b"\x1f\x8b\x08\0\0\0\0\0\n", "compression = 'gzip'"),
            (b"\x28\xb5\x2f\xfd\n\n", "compression = 'zstd'"),
            (b"PK\x03\x04\n\n", "ZIP"),
            (b"PAR1\n\n", "Parquet"),
        ] {
            let error = infer(format, &[], start).unwrap_err();
            assert!(error.contains(why), "{format} {start:?}: {error}");
        }
    }
    assert!(infer("json", &[], b"{\0\"\0a\0\"\0").unwrap_err().contains("UTF-16 or binary"));
}

#[test]
fn live_input_is_inferred_from_what_has_come() {
    let mut i = inference("csv", &[], 10_000);
    let mut held = b"a,b\n1,x\n2".to_vec();
    let fed = i.feed(&held, Input::Partial);
    assert!(!fed.enough);
    held.drain(..fed.consumed);
    assert_eq!(held, b"2");
    held.extend_from_slice(b",y\n3.5,");
    i.feed(&held, Input::Partial);
    assert_eq!(columns(&i.finish().unwrap()), "a BIGINT, b VARCHAR");
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        format in prop_oneof![Just("csv"), Just("json")],
        lines in prop::collection::vec(prop_oneof![
            4 => "[0-9]{1,2},[a-z]{0,3}",
            1 => "[0-9]{1,2},\"[a-z\n]{0,3}\"",
            1 => "[0-9a,\"\n]{0,9}",
            1 => "[a-z]{30,60}",
            3 => "\\{\"[ab]\": ([0-9]|\"x\"|\\{\"c\": 1\\})\\},?",
            1 => Just("[".to_owned()),
        ], 0..20),
        sizes in prop::collection::vec(1usize..20, 1..8),
        rows in prop_oneof![Just(-1i64), 0i64..6],
    ) {
        let text = lines.join("\n");
        let options = [("max_record_bytes", "40")];
        let view = |i: Inference| i.finish().map(|i| (columns(&i), i.rows, i.format)).map_err(|e| e.message);
        let mut whole = inference(format, &options, rows);
        whole.feed(text.as_bytes(), Input::Complete);
        let mut i = inference(format, &options, rows);
        let (mut held, mut rest, mut sizes) = (Vec::new(), text.as_bytes(), sizes.iter().cycle());
        loop {
            let input = if rest.is_empty() { Input::Complete } else { Input::Partial };
            let fed = i.feed(&held, input);
            held.drain(..fed.consumed);
            if fed.enough || input == Input::Complete {
                break;
            }
            let n = (*sizes.next().unwrap()).min(rest.len());
            held.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            prop_assert!(held.len() <= 41 + 20);
        }
        prop_assert_eq!(view(i), view(whole));
    }
}
