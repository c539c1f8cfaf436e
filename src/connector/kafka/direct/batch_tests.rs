//! Batches against an encoder written from the definition of the format, and against bytes that are none.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// What a record is, by its definition.
#[derive(Clone, Debug)]
pub(in super::super) struct Written {
    pub(in super::super) time: i64,
    pub(in super::super) offset: i64,
    pub(in super::super) key: Option<Vec<u8>>,
    pub(in super::super) value: Option<Vec<u8>>,
    pub(in super::super) headers: Vec<(String, Option<Vec<u8>>)>,
}

fn number(n: i64, out: &mut Vec<u8>) {
    let mut n = (n << 1 ^ n >> 63) as u64;
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(b: Option<&[u8]>, out: &mut Vec<u8>) {
    number(b.map_or(-1, |b| b.len() as i64), out);
    out.extend_from_slice(b.unwrap_or(&[]));
}

pub(in super::super) fn record(w: &Written, out: &mut Vec<u8>) {
    let mut body = vec![0];
    number(w.time, &mut body);
    number(w.offset, &mut body);
    bytes(w.key.as_deref(), &mut body);
    bytes(w.value.as_deref(), &mut body);
    number(w.headers.len() as i64, &mut body);
    for (name, value) in &w.headers {
        bytes(Some(name.as_bytes()), &mut body);
        bytes(value.as_deref(), &mut body);
    }
    number(body.len() as i64, out);
    out.extend_from_slice(&body);
}

/// A batch with these records as they stand.
pub(in super::super) fn batch(
    base: i64,
    deltas: i32,
    attributes: i16,
    producer: i64,
    count: i32,
    records: &[u8],
) -> Vec<u8> {
    let mut checked = attributes.to_be_bytes().to_vec();
    checked.extend_from_slice(&deltas.to_be_bytes());
    // First and last time, producer, its epoch and number, records.
    checked.extend_from_slice(&1_000_i64.to_be_bytes());
    checked.extend_from_slice(&2_000_i64.to_be_bytes());
    checked.extend_from_slice(&producer.to_be_bytes());
    checked.extend_from_slice(&[0; 6]);
    checked.extend_from_slice(&count.to_be_bytes());
    checked.extend_from_slice(records);
    let mut all = base.to_be_bytes().to_vec();
    all.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
    // The leader's epoch, the format.
    all.extend_from_slice(&[0, 0, 0, 7, 2]);
    all.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    all.extend_from_slice(&checked);
    all
}

fn head(bytes: &[u8]) -> Batch {
    match Batch::look(bytes) {
        Look::Batch(batch) => batch,
        other => panic!("{other:?}"),
    }
}

fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..300))
}

fn written() -> impl Strategy<Value = Written> {
    let headers = vec((".{0,9}", some_bytes()), 0..4);
    (any::<i32>(), any::<i32>(), some_bytes(), some_bytes(), headers).prop_map(
        |(time, offset, key, value, headers)| Written {
            time: i64::from(time),
            offset: i64::from(offset),
            key,
            value,
            headers,
        },
    )
}

/// What is read is what was written; returns whether all of it could be read.
fn read(all: &[u8]) -> (Vec<Written>, bool) {
    let (mut seen, mut at) = (Vec::new(), 0);
    while let Some((r, n)) = Record::first(&all[at..]) {
        at += n;
        let mut headers = Vec::new();
        if let Some(list) = r.headers()
            && list
                .each(&mut |name, value| headers.push((name.to_owned(), value.map(<[u8]>::to_vec))))
                .is_err()
        {
            return (seen, false);
        }
        let (key, value) = (r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
        seen.push(Written { time: r.time_delta, offset: r.offset_delta, key, value, headers });
    }
    (seen, at == all.len())
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(all in vec(written(), 0..20)) {
        let mut bytes = Vec::new();
        all.iter().for_each(|w| record(w, &mut bytes));
        let whole = batch(40, 19, 0, -1, all.len() as i32, &bytes);
        let head = head(&whole);
        prop_assert!(head.is_whole(&whole) && head.size == whole.len() && head.count == all.len());
        let (seen, complete) = read(head.records(&whole));
        prop_assert!(complete);
        prop_assert_eq!(format!("{seen:?}"), format!("{all:?}"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), magic in 0..4_u8) {
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(MAGIC) {
            *place = magic;
        }
        read(&bytes);
        let _ = check(&bytes);
        if let Look::Batch(head) = Batch::look(&bytes) {
            head.is_abort(&bytes);
            read(head.records(&bytes));
        }
    }

    #[test]
    fn a_byte_that_was_changed_is_found(at in 0..100_usize, by in 1..=255_u8) {
        let mut bytes = Vec::new();
        let w = Written { time: 1, offset: 0, key: None, value: Some(vec![7; 40]), headers: Vec::new() };
        record(&w, &mut bytes);
        let mut whole = batch(40, 0, 0, -1, 1, &bytes);
        let at = CHECKED + at % (whole.len() - CHECKED);
        whole[at] ^= by;
        prop_assert!(check(&whole).fault.is_some(), "byte {}", at);
    }
}

#[test]
fn reading_goes_on_behind_the_last_whole_batch() {
    let batches = [batch(5, 4, 0, -1, 0, &[]), batch(20, 0, 0, -1, 0, &[]), batch(21, 8, 0, -1, 0, &[])];
    let all = batches.concat();
    let behind =
        [(0, None), (batches[0].len(), Some(10)), (batches[0].len() * 2, Some(21)), (all.len(), Some(30))];
    for n in 0..=all.len() {
        let expected = behind.iter().rev().find(|(size, _)| *size <= n).and_then(|(_, next)| *next);
        let checked = check(&all[..n]);
        assert_eq!((checked.next, checked.fault), (expected, None), "{n} bytes");
        assert!(behind.contains(&(checked.bytes, expected)));
    }
}

#[test]
fn what_is_not_read_here_is_told_apart_from_what_is_broken() {
    let good = batch(5, 4, 0, -1, 0, &[]);
    let fault = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        check(&bytes).fault.unwrap()
    };
    // Formats 0 and 1, then one that will come.
    assert_eq!([0, 1].map(|magic| fault(MAGIC, magic)), [Fault::Old, Fault::Old]);
    // A format of the future, a length less than a head's, a negative base.
    for (at, byte) in [(MAGIC, 3), (11, 20), (0, 0x80)] {
        assert!(matches!(fault(at, byte), Fault::Broken(_)), "byte {at}");
    }
    // A codec that nobody knows.
    let packed = check(&batch(5, 4, 6, -1, 0, &[]));
    assert_eq!(packed.fault, Some(Fault::Broken("a batch packed in an unknown way")));
    // What is before it counts.
    let mut bad = good.clone();
    bad[60] ^= 1;
    let fault = Some(Fault::Broken("a batch whose checksum is wrong"));
    let expected = Checked { next: Some(10), bytes: good.len(), fault };
    assert_eq!(check(&[good, bad].concat()), expected);
}

#[test]
fn times_are_those_of_records_or_of_the_broker() {
    let [created, appended] = [0, LOG_APPEND_TIME].map(|a| head(&batch(0, 0, a, -1, 0, &[])));
    assert_eq!((created.time(5), appended.time(5)), (Some(1_005), Some(2_000)));
    assert_eq!((created.time(-1_001), created.time(i64::MAX)), (None, None));
}

#[test]
fn marks_of_transactions_are_told_apart() {
    for (mark, aborts) in [([0, 0, 0, 0], true), ([0, 0, 0, 1], false)] {
        let w = Written {
            time: 0,
            offset: 0,
            key: Some(mark.to_vec()),
            value: Some(vec![0; 6]),
            headers: Vec::new(),
        };
        let mut bytes = Vec::new();
        record(&w, &mut bytes);
        let whole = batch(9, 0, CONTROL | TRANSACTIONAL, 3, 1, &bytes);
        let control = head(&whole);
        assert!(control.is_control() && control.is_transactional());
        assert_eq!((control.is_abort(&whole), control.producer), (aborts, 3));
        // A message with such a key is none.
        let message = batch(9, 0, TRANSACTIONAL, 3, 1, &bytes);
        assert!(!head(&message).is_control() && !head(&message).is_abort(&message));
    }
}
