//! The decoder against csv-core, against itself cut differently, and against the encoder.

use proptest::prelude::*;

use super::*;

/// What csv-core makes of the text.
fn reference(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut rows, mut row, mut field) = (vec![], vec![], vec![]);
    let (mut input, mut buffer) = (text, [0; 64]);
    loop {
        let (result, read, written) = reader.read_field(input, &mut buffer);
        input = &input[read..];
        field.extend_from_slice(&buffer[..written]);
        match result {
            csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
            csv_core::ReadFieldResult::Field { record_end } => {
                row.push(String::from_utf8(std::mem::take(&mut field)).unwrap());
                if record_end {
                    rows.push(std::mem::take(&mut row));
                }
            }
            csv_core::ReadFieldResult::End => return rows,
        }
    }
}

/// Valid CSV of `width` columns: fields, whether to quote each, line ends.
fn valid_csv(width: usize) -> impl Strategy<Value = Vec<u8>> {
    let field =
        (prop_oneof!["[a-z]{0,9}", "[a-zäß €,\"\n\r;']{0,12}", "[0-9]{1,4}", ".{60,90}"], any::<bool>());
    let row = (prop::collection::vec(field, width), any::<bool>());
    (prop::collection::vec(row, 0..40), any::<bool>()).prop_map(|(rows, last)| {
        let mut text = Vec::new();
        for (fields, crlf) in &rows {
            for (i, (field, quote)) in fields.iter().enumerate() {
                if i > 0 {
                    text.push(b',');
                }
                let field = field.replace('\0', "");
                if *quote || i == 0 || field.contains(['"', ',', '\n', '\r']) {
                    text.extend_from_slice(format!("\"{}\"", field.replace('"', "\"\"")).as_bytes());
                } else {
                    text.extend_from_slice(field.as_bytes());
                }
            }
            text.extend_from_slice(if *crlf { b"\r\n" } else { b"\n" });
        }
        if !last {
            while matches!(text.last(), Some(b'\n' | b'\r')) {
                text.pop();
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn valid_csv_reads_as_csv_core_reads_it((width, text, wanted) in (1usize..9).prop_flat_map(|w| {
        (Just(w), valid_csv(w), prop::collection::vec(0..w, 0..5))
    })) {
        let declared: Vec<CompactString> = (0..width).map(|i| CompactString::new(format!("c{i}"))).collect();
        let schema = Schema::of(wanted.iter().map(|i| (format!("c{i}"), DataType::Varchar)));
        let o = options(&[("header", "false"), ("empty_as_null", "false")]);
        let mut d = CsvDecoder::new(schema, Some(&declared), o).unwrap();
        let r = whole(&mut d, &text);
        prop_assert_eq!(r.rejects.len(), 0, "{:?}", r.rejects);
        let expected: Vec<Vec<FieldValue>> = reference(&text)
            .iter()
            .map(|row| wanted.iter().map(|i| row[*i].as_str().into()).collect())
            .collect();
        prop_assert_eq!(r.rows, expected);
    }

    #[test]
    fn pieces_and_batch_sizes_do_not_matter(
        lines in prop::collection::vec(prop_oneof![
            4 => "[0-9]{1,3},[a-z]{0,5},[0-9]",
            1 => "[0-9]{1,2},\"[a-z\n,]{0,9}(\"\")?\",[0-9]",
            1 => "[0-9a,\"\n\r\\\\]{0,30}",
            1 => "[a-z]{30,80}",
        ], 0..60),
        ends in any::<bool>(),
        sizes in prop::collection::vec(1usize..50, 1..10),
        rows in 1usize..9,
    ) {
        let mut text = lines.join("\n");
        if ends {
            text.push('\n');
        }
        let pairs = [("header", "false"), ("max_record_bytes", "40")];
        let expected = whole(&mut decoder(&three(), &pairs), &text);
        let mut next = sizes.iter().cycle();
        let r = run(&mut decoder(&three(), &pairs), text.as_bytes(), || *next.next().unwrap(), rows);
        prop_assert_eq!(&r.rows, &expected.rows);
        prop_assert_eq!(&r.offsets, &expected.offsets);
        let view = |r: &Run| r.rejects.iter().map(|r| {
            (r.at, r.offset, r.line, r.raw.clone(), r.raw_len, r.error.clone())
        }).collect::<Vec<_>>();
        prop_assert_eq!(view(&r), view(&expected));
        prop_assert_eq!(r.lines, text.matches('\n').count() as u64);
        prop_assert!(r.held <= 41 + 50);
    }

    #[test]
    fn what_is_written_reads_back(
        rows in prop::collection::vec((any::<Option<i64>>(), prop::option::of(".{0,40}"), any::<Option<f64>>()), 0..20),
        dialect in prop_oneof![
            Just(vec![]), Just(vec![("delimiter", "\\t"), ("line_end", "crlf")]), Just(vec![("delimiter", ";"), ("quote", "'")]),
            Just(vec![("escape", "\\")]), Just(vec![("null_text", "NA"), ("null_values", "NA")]), Just(vec![("delimiter", "1")]),
            Just(vec![("comment", "#"), ("trim", "true")]),
        ],
    ) {
        let schema = three();
        let records: Vec<Arc<StreamRecord>> = rows
            .iter()
            .map(|(a, b, c)| {
                let b = b.as_ref().map(|b| b.replace('\0', "#"));
                Arc::new(StreamRecord::with_values(schema.clone(), [
                    (*a).into(), b.into(), c.filter(|f| !f.is_nan()).into(),
                ]))
            })
            .collect();
        let mut e = CsvEncoder::new(schema.clone(), &options(&dialect)).unwrap();
        let mut out = Vec::new();
        e.start(&mut out);
        e.encode(&records, &mut out).unwrap();
        let r = whole(&mut decoder(&schema, &dialect), &out);
        prop_assert_eq!(r.rejects.len(), 0, "{:?}", r.rejects);
        let expected: Vec<_> = records.iter().map(|r| r.values().to_vec()).collect();
        prop_assert_eq!(r.rows, expected, "{}", String::from_utf8_lossy(&out));
    }
}
