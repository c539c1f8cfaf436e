//! Broken files: classified, neighbours unaffected, memory bounded.

use super::*;

/// Broken files: one good row before, one behind, and the broken thing between them.
#[test]
fn broken_csv_is_classified_and_its_neighbours_are_unaffected() {
    use ErrorCode::{Encoding, Malformed, RaggedRow, TooLarge, TypeMismatch};
    let long = "x".repeat(200);
    let long_quoted = format!("2,\"{long}\",3");
    let long_line = format!("2,{long},3");
    let long_number = format!("{},b,3", "9".repeat(50));
    let cases: Vec<(&[u8], Vec<ErrorCode>)> = vec![
        (b"2", vec![RaggedRow]),
        (b"2,b", vec![RaggedRow]),
        (b"2,b,3,4", vec![RaggedRow]),
        (b"2,b,3,", vec![RaggedRow]),
        (b",", vec![RaggedRow]),
        (b"\"2\",\"b\"", vec![RaggedRow]),
        (b"2;b;3", vec![RaggedRow]),
        (b"x,b,3", vec![TypeMismatch]),
        (b"2,b,x", vec![TypeMismatch]),
        (b"2.5,b,3", vec![TypeMismatch]),
        (b"9223372036854775808,b,3", vec![TypeMismatch]),
        (b"\"\",b,3", vec![TypeMismatch]),
        (b"2,b,1e400", vec![TypeMismatch]),
        (b"2,b,1.2.3", vec![TypeMismatch]),
        (b"2 ,b,3", vec![TypeMismatch]),
        (b"NA,b,3", vec![TypeMismatch]),
        (b"2,b\"c,3", vec![Malformed]),
        (b"2,b\",3", vec![Malformed]),
        (b"2,\"b\"c,3", vec![Malformed]),
        (b"2,\"b\" ,3", vec![Malformed]),
        (b"2, \"b\",3", vec![Malformed]),
        (b"2,\"b\"\"c\"d,3", vec![Malformed]),
        (b"2,\"b,3", vec![Malformed]),
        (b"2,b,3\"", vec![Malformed]),
        (b"2,b,\"3", vec![Malformed]),
        (b"2,\"b\nc\"d,3", vec![Malformed, Malformed]),
        (b"2,\"b\\\"\",3", vec![Malformed]),
        (b"\"2,b,3", vec![Malformed]),
        (b"\"", vec![Malformed]),
        (b"2,'b,c',3", vec![RaggedRow]),
        (long_quoted.as_bytes(), vec![TooLarge]),
        (long_line.as_bytes(), vec![TooLarge]),
        (long_number.as_bytes(), vec![TypeMismatch]),
        (b"2,b\0,3", vec![Encoding]),
        (b"\0\0\0", vec![Encoding]),
        (b"2,\"b\xff\nc\",3", vec![Encoding]),
        (b"2,b\xff\"c,3", vec![Encoding]),
    ];
    assert!(cases.len() >= 25);
    let schema = three();
    for (bad, codes) in &cases {
        let mut text = b"1,a,1\n".to_vec();
        text.extend_from_slice(bad);
        text.extend_from_slice(b"\n4,\"d\",4\n5,e,5\n");
        for size in [usize::MAX, 1, 7] {
            for rows in [1000, 1] {
                let what = String::from_utf8_lossy(bad);
                let mut d = decoder(&schema, &[("header", "false"), ("max_record_bytes", "100")]);
                let r = run(&mut d, &text, || size, rows);
                let seen: Vec<ErrorCode> = r.rejects.iter().map(|r| r.error.code).collect();
                assert_eq!(&seen, codes, "{what} {:?}", r.rejects);
                assert_eq!(r.texts(), ["1|'a'|Float(1.0)", "4|'d'|Float(4.0)", "5|'e'|Float(5.0)"], "{what}");
                let first = &r.rejects[0];
                assert_eq!((first.line, first.offset, first.at), (Some(2), 6, 1), "{what}");
                if bad.len() <= 100 && codes.len() == 1 && !bad.contains(&b'\n') {
                    assert_eq!(first.raw, *bad, "{what}");
                }
                assert_eq!(r.lines, text.iter().filter(|b| **b == b'\n').count() as u64);
                assert!(r.held <= 100 + 9 || size == usize::MAX, "{what}: held {}", r.held);
            }
        }
    }
}

#[test]
fn twelve_kinds_of_bytes_that_are_not_utf8() {
    let cases: [&[u8]; 12] = [
        b"caf\xe9",          // Latin-1
        b"\x80",             // a continuation byte alone
        b"\xc3",             // a sequence cut short
        b"\xe2\x82",         // the same, three bytes
        b"\xf0\x9f\x98",     // the same, four bytes
        b"\xc0\xaf",         // overlong
        b"\xe0\x80\xaf",     // overlong, three bytes
        b"\xed\xa0\x80",     // a surrogate
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"\xff",
        b"\xfe\xfe",
        b"a\0b\0", // UTF-16
    ];
    let schema = three();
    for bad in cases {
        for quoted in [false, true] {
            // In a column that is read, and in one that is stepped over: the result does not depend on it.
            let wanted = [schema.clone(), Schema::of([("id", DataType::BigInt)])];
            for wanted in wanted {
                let mut text = b"1,a,1\n2,".to_vec();
                let quote: &[u8] = if quoted { b"\"" } else { b"" };
                text.extend([quote, bad, quote, b",2\n3,c,3\n"].concat());
                let o = options(&[("header", "false")]);
                let mut d = CsvDecoder::new(wanted, Some(&names(&schema)), o).unwrap();
                let r = whole(&mut d, &text);
                assert_eq!(r.codes(), [(2, ErrorCode::Encoding)], "{bad:?}");
                assert_eq!(r.rows.len(), 2);
                assert!((4..8).contains(&r.rejects[0].error.at.unwrap()) || r.rejects[0].error.at < Some(5));
            }
        }
    }
    let mut d = decoder(&schema, &[]);
    let utf16: Vec<u8> = "\u{feff}id,name,n\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    whole(&mut d, utf16);
    assert!(d.failure().unwrap().contains("UTF-16"));
    let mut d = decoder(&schema, &[]);
    whole(&mut d, b"id,name,n,caf\xe9\n1,a,2,3\n");
    assert_eq!(d.failure(), Some("the CSV header is not UTF-8"));
}

#[test]
fn memory_is_bounded_for_endless_lines_and_quotes() {
    let limit = 10_000;
    let schema = three();
    for (open, close) in [("2,", "\n"), ("2,\"", "\n"), ("2,\"", "\",2\n")] {
        let mut text = format!("1,a,1\n{open}").into_bytes();
        text.resize(text.len() + 1_000_000, b'x');
        text.extend_from_slice(close.as_bytes());
        text.extend_from_slice(b"3,c,3\n");
        let mut d = decoder(&schema, &[("header", "false"), ("max_record_bytes", "10000")]);
        let r = run(&mut d, &text, || 4096, 1000);
        assert_eq!(r.codes(), [(2, ErrorCode::TooLarge)]);
        assert_eq!(r.texts(), ["1|'a'|Float(1.0)", "3|'c'|Float(3.0)"]);
        assert!(r.held <= limit + 4096 + 1, "{}", r.held);
        assert!(r.rejects[0].raw.len() <= 1024);
        assert_eq!(r.rejects[0].raw_len as usize, open.len() + 1_000_000 + close.len() - 1);
        assert_eq!(r.rejects[0].offset, 6);
    }
    // A stray quote among many short lines costs its own line.
    let mut text = b"1,\"a,1\n".to_vec();
    for _ in 0..5000 {
        text.extend_from_slice(b"2,b,2\n");
    }
    let mut d = decoder(&schema, &[("header", "false"), ("max_record_bytes", "10000")]);
    let r = run(&mut d, &text, || 4096, 1000);
    assert_eq!(r.codes(), [(1, ErrorCode::TooLarge)]);
    assert_eq!(r.rows.len(), 5000);
    assert!(r.held <= limit + 4096 + 1);
}

#[test]
fn an_over_long_line_that_ends_with_the_input_is_reported() {
    for size in [usize::MAX, 64] {
        let mut d = decoder(&three(), &[("header", "false"), ("max_record_bytes", "100")]);
        let text = format!("1,a,1\n2,{}", "x".repeat(1000));
        let r = run(&mut d, text.as_bytes(), || size, 1000);
        assert_eq!(r.codes(), [(2, ErrorCode::TooLarge)]);
        assert_eq!(r.rejects[0].raw_len, 1002);
    }
}

#[test]
fn the_longest_record_allowed_is_read_and_one_byte_more_is_not() {
    for (open, close) in [("2,", ",3"), ("2,\"", "\",3"), ("2,\"\n", "\",3")] {
        for (len, end) in [(100, "\n"), (100, ""), (99, "\r\n")] {
            for more in [0, 1] {
                let fill = "x".repeat(len + more - open.len() - close.len());
                let text = format!("{open}{fill}{close}{end}");
                for size in [usize::MAX, 1] {
                    let o = [("header", "false"), ("max_record_bytes", "100")];
                    let r = run(&mut decoder(&three(), &o), text.as_bytes(), || size, 1000);
                    assert_eq!(r.rows.len(), 1 - more, "{text:?}");
                    assert_eq!(
                        r.rejects.first().map(|r| r.error.code),
                        [None, Some(ErrorCode::TooLarge)][more]
                    );
                }
            }
        }
    }
}
