//! What is given of an answer, against a log of which each fate is known.

use proptest::collection::vec;
use proptest::prelude::*;

use super::batch::tests::{Written, batch, record};
use super::board::{Buffer, Piece};
use super::*;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What is written next, in a partition that several producers share.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many messages of a producer's transaction.
    Send(i64, u8),
    /// The end of its transaction; true: committed.
    End(i64, bool),
    /// Messages outside of transactions.
    Plain(u8),
    /// Compaction has left a batch with fewer records than offsets.
    Gap(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_i64, 1..4_u8).prop_map(|(p, n)| Step::Send(p, n)),
        2 => (0..3_i64, any::<bool>()).prop_map(|(p, c)| Step::End(p, c)),
        1 => (1..4_u8).prop_map(Step::Plain),
        1 => (1..4_u8).prop_map(Step::Gap),
    ];
    vec(step, 0..40)
}

/// A partition as a broker keeps it.
#[derive(Default)]
struct Log {
    /// Each batch with its first and last offset.
    batches: Vec<(i64, i64, Vec<u8>)>,
    /// Offsets of messages and whose transaction they are in: its number.
    messages: Vec<(i64, Option<usize>)>,
    /// Producer, first offset, last offset, and whether it was committed.
    transactions: Vec<(i64, i64, i64, Option<bool>)>,
    end: i64,
}

impl Log {
    fn new(steps: &[Step]) -> Self {
        let mut log = Self::default();
        for step in steps {
            match *step {
                Step::Send(producer, n) => {
                    let open = log.transactions.iter().position(|t| t.0 == producer && t.3.is_none());
                    let at = open.unwrap_or_else(|| {
                        log.transactions.push((producer, log.end, i64::MAX, None));
                        log.transactions.len() - 1
                    });
                    log.write(producer, TRANSACTIONAL, 0..n, Some(at), n);
                }
                Step::End(producer, commits) => {
                    let open = log.transactions.iter().position(|t| t.0 == producer && t.3.is_none());
                    let Some(at) = open else { continue };
                    (log.transactions[at].2, log.transactions[at].3) = (log.end, Some(commits));
                    let mut records = Vec::new();
                    let key = Some(vec![0, 0, 0, u8::from(commits)]);
                    let mark =
                        Written { time: 0, offset: 0, key, value: Some(vec![0; 6]), headers: Vec::new() };
                    record(&mark, &mut records);
                    let bytes = batch(log.end, 0, TRANSACTIONAL | CONTROL, producer, 1, &records);
                    log.batches.push((log.end, log.end, bytes));
                    log.end += 1;
                }
                Step::Plain(n) => log.write(-1, 0, 0..n, None, n),
                Step::Gap(n) => log.write(-1, 0, 1..2, None, n + 2),
            }
        }
        log
    }

    /// A batch of `offsets` offsets, of which these are there.
    fn write(
        &mut self,
        producer: i64,
        kind: i16,
        there: std::ops::Range<u8>,
        of: Option<usize>,
        offsets: u8,
    ) {
        let mut records = Vec::new();
        for n in there.clone() {
            let value = Some((self.end + i64::from(n)).to_string().into_bytes());
            let w = Written { time: 0, offset: i64::from(n), key: None, value, headers: Vec::new() };
            record(&w, &mut records);
            self.messages.push((self.end + i64::from(n), of));
        }
        let last = self.end + i64::from(offsets) - 1;
        let bytes = batch(self.end, i32::from(offsets) - 1, kind, producer, there.len() as i32, &records);
        self.batches.push((self.end, last, bytes));
        self.end = last + 1;
    }

    /// Where what is committed ends.
    fn stable(&self) -> i64 {
        self.transactions.iter().filter(|t| t.3.is_none()).map(|t| t.1).min().unwrap_or(self.end)
    }

    /// What a broker sends from an offset on, at most so many batches: bytes, the aborted transactions that it tells with them.
    fn fetch(&self, from: i64, batches: usize, read_committed: bool) -> (Vec<u8>, Vec<(i64, i64)>) {
        let end = if read_committed { self.stable() } else { self.end };
        let sent: Vec<_> = self
            .batches
            .iter()
            .filter(|(first, last, _)| *last >= from && *first < end)
            .take(batches)
            .collect();
        let upto = sent.last().map_or(from, |(_, last, _)| *last);
        let overlaps = |t: &&(i64, i64, i64, Option<bool>)| t.3 == Some(false) && t.2 >= from && t.1 <= upto;
        let aborted = self.transactions.iter().filter(overlaps).map(|t| (t.0, t.1)).collect();
        (sent.iter().flat_map(|(.., bytes)| bytes.clone()).collect(), aborted)
    }

    fn expected(&self, from: i64, read_committed: bool) -> Vec<i64> {
        let end = if read_committed { self.stable() } else { self.end };
        let counts = |of: &Option<usize>| match (of, read_committed) {
            (Some(t), true) => self.transactions[*t].3 == Some(true),
            _ => true,
        };
        let messages = self.messages.iter().filter(|(at, of)| (from..end).contains(at) && counts(of));
        messages.map(|(at, _)| *at).collect()
    }
}

/// A partition of topic `t` under that version, at that offset.
fn lane(partition: i32, version: u64, next: i64) -> Lane {
    Lane { part: Some(Part { topic: "t".into(), partition }), version, next, paused: false }
}

/// An answer of which nothing was given.
fn opened(buffer: Buffer) -> Open {
    Open { parcel: Parcel { buffer, broker: 0 }, piece: 0, given: 0, batch: None, aborted: Vec::new() }
}

/// Everything from an offset on, by fetches of so many batches, given in bites of so many messages.
fn read(log: &Log, from: i64, batches: usize, bite: usize, read_committed: bool) -> (Vec<i64>, Option<i64>) {
    let end = if read_committed { log.stable() } else { log.end };
    let mut lanes = [lane(0, 0, from)];
    let (mut seen, mut reached, mut unpacked) = (Vec::new(), None, Vec::new());
    let how = How { headers: true, read_committed };
    loop {
        let before = lanes[0].next;
        let (bytes, aborted) = log.fetch(before, batches, read_committed);
        let piece = Piece { lane: 0, version: 0, records: 0..bytes.len(), end, aborted, trouble: None };
        let buffer = Buffer { bytes, pieces: vec![piece] };
        let mut open = opened(buffer);
        loop {
            let mut left = bite;
            let given = open.give(&mut lanes, &mut unpacked, how, &mut |event| {
                match event {
                    Event::Message(m) => {
                        assert_eq!(m.value, Some(m.offset.to_string().as_bytes()));
                        seen.push(m.offset);
                    }
                    Event::Reached { next, .. } => reached = Some(next),
                }
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if given.unwrap().is_continue() {
                break;
            }
        }
        if lanes[0].next >= end {
            return (seen, reached);
        }
        assert!(lanes[0].next > before, "it does not go on behind {before} of {end}");
    }
}

proptest! {
    #[test]
    fn each_message_that_counts_is_given_once_from_anywhere(
        steps in steps(), from in 0..100_i64, batches in 1..6_usize, bite in 1..9_usize, read_committed: bool,
    ) {
        let log = Log::new(&steps);
        let end = if read_committed { log.stable() } else { log.end };
        let from = from % (end + 1);
        let (seen, reached) = read(&log, from, batches, bite, read_committed);
        prop_assert_eq!(seen, log.expected(from, read_committed));
        prop_assert!(reached.is_some_and(|next| next >= end), "{:?} of {}", reached, end);
    }
}

#[test]
fn what_was_fetched_for_another_place_is_not_given() {
    let log = Log::new(&[Step::Plain(3), Step::Plain(3)]);
    let (bytes, aborted) = log.fetch(0, 9, false);
    let mut lanes = [lane(0, 1, 4)];
    let piece = |version| Piece {
        lane: 0,
        version,
        records: 0..bytes.len(),
        end: 6,
        aborted: aborted.clone(),
        trouble: None,
    };
    let buffer = Buffer { bytes: bytes.clone(), pieces: vec![piece(0), piece(1), piece(2)] };
    let mut open = opened(buffer);
    let mut seen = Vec::new();
    let how = How { headers: false, read_committed: false };
    let given = open.give(&mut lanes, &mut Vec::new(), how, &mut |event| {
        match event {
            Event::Message(m) => seen.push(m.offset),
            Event::Reached { next, .. } => seen.push(-next),
        }
        ControlFlow::Continue(())
    });
    assert!(given.unwrap().is_continue());
    assert_eq!(seen, [4, 5, -6]);
}

#[test]
fn a_batch_whose_content_can_not_be_read_is_an_error_with_its_place() {
    // Packed by gzip, it says; and a record that ends in the middle.
    let mut cut = Vec::new();
    record(
        &Written { time: 0, offset: 0, key: None, value: Some(vec![7; 20]), headers: Vec::new() },
        &mut cut,
    );
    let whole = cut.clone();
    cut.pop();
    let cases = [
        (1, 1, vec![1, 2, 3], ""),
        (0, 1, cut, "a record that ends before its length"),
        (0, 2, whole, "1 records instead of 2"),
    ];
    for (attributes, count, records, why) in cases {
        let bytes = batch(7, 0, attributes, -1, count, &records);
        let mut lanes = [lane(2, 0, 0)];
        let piece = Piece {
            lane: 0,
            version: 0,
            records: 0..bytes.len(),
            end: 8,
            aborted: Vec::new(),
            trouble: None,
        };
        let buffer = Buffer { bytes, pieces: vec![piece] };
        let mut open = opened(buffer);
        let how = How { headers: false, read_committed: false };
        let e = open.give(&mut lanes, &mut Vec::new(), how, &mut |_| ControlFlow::Continue(())).unwrap_err();
        let Stop::Error(e) = e else { panic!("{e:?}") };
        assert!(
            e.message.starts_with("t/2: the batch at offset 7 can't be read: ") && e.message.ends_with(why),
            "{e}"
        );
    }
}

#[test]
fn what_is_whole_before_what_is_not_is_given() {
    let log = Log::new(&[Step::Plain(3)]);
    let (bytes, _) = log.fetch(0, 9, false);
    for (trouble, count) in [(Trouble::Unfit, 3), (Trouble::Fatal("why".into()), 3)] {
        let mut lanes = [lane(2, 0, 0)];
        let piece = Piece {
            lane: 0,
            version: 0,
            records: 0..bytes.len(),
            end: 9,
            aborted: Vec::new(),
            trouble: Some(trouble.clone()),
        };
        let buffer = Buffer { bytes: bytes.clone(), pieces: vec![piece] };
        let mut open = opened(buffer);
        let (mut seen, how) = (0, How { headers: false, read_committed: false });
        let stop = open.give(&mut lanes, &mut Vec::new(), how, &mut |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((seen, lanes[0].next), (count, 3));
        match (stop.unwrap_err(), trouble) {
            (Stop::Unfit(part), Trouble::Unfit) => assert_eq!(part.partition, 2),
            (Stop::Error(e), Trouble::Fatal(_)) => assert_eq!(e.message, "t/2: why"),
            (stop, trouble) => panic!("{stop:?} of {trouble:?}"),
        }
    }
}
