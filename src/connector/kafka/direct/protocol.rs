//! The three questions that are asked: which versions a broker speaks, who leads which partition, and what comes after an offset.

use std::io;
use std::net::TcpStream;
use std::ops::Range;

use crate::connector::kafka::wire::{API_VERSIONS, Answer, Body, FETCH, METADATA, ask, versions};

/// Versions of requests: what is used here and no more, spoken by brokers from 2.1 to 4.x.
pub(super) const FETCH_VERSION: i16 = 10;
const METADATA_VERSION: i16 = 4;

/// Codes of errors that something is done about.
pub(super) mod code {
    pub(in super::super) const NONE: i16 = 0;
    pub(in super::super) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(in super::super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    /// No retry helps: the log is corrupt, the topic's name is none, it may not be read, or not like this. All other errors may pass:
    /// mostly the leader is another one, or there is none at the moment.
    pub(in super::super) const FATAL: [i16; 6] = [2, 17, 29, 31, 35, 76];
}

/// What a code means that ends reading.
pub(super) fn meaning(code: i16) -> String {
    match code {
        2 => "the broker finds what it keeps corrupt".into(),
        5 => "the partition has no leader".into(),
        6 => "the partition has another leader".into(),
        56 => "the broker can't read its disk".into(),
        3 => "there is no such topic or partition any more".into(),
        29 => "not authorized to read the topic".into(),
        code => format!("error {code} of the protocol"),
    }
}

/// Whether a broker speaks the versions that are used here. It may also hang up on who does not encrypt.
pub(super) fn speaks(stream: &mut TcpStream) -> io::Result<bool> {
    let answer = ask(stream, API_VERSIONS, 0, Body::default())?;
    let spoken = |request, version| -> io::Result<bool> {
        Ok(versions(&answer, request)?.is_some_and(|(least, most)| (least..=most).contains(&version)))
    };
    Ok(spoken(FETCH, FETCH_VERSION)? && spoken(METADATA, METADATA_VERSION)?)
}

/// Who leads what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leaders {
    /// Identifier and address of each broker.
    pub(super) brokers: Vec<(i32, String)>,
    pub(super) topics: Vec<Topic>,
}

/// Who leads a topic's partitions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) error: i16,
    /// Number and leader of each partition; -1: none at the moment.
    pub(super) partitions: Vec<(i32, i32)>,
}

/// Asks who leads the partitions of these topics; no topic is made for that.
pub(super) fn leaders(stream: &mut TcpStream, topics: &[&str]) -> io::Result<Leaders> {
    let mut body = Body::default().i32(topics.len() as i32);
    for topic in topics {
        body = body.text(topic);
    }
    parse_leaders(&ask(stream, METADATA, METADATA_VERSION, body.i8(0))?)
}

fn parse_leaders(answer: &[u8]) -> io::Result<Leaders> {
    let mut answer = Answer(answer);
    let mut found = Leaders::default();
    // How long the broker lets its answers wait.
    answer.i32()?;
    for _ in 0..answer.count()? {
        let (id, host, port) = (answer.i32()?, answer.text()?, answer.i32()?);
        // The rack.
        answer.text()?;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        found.brokers.push((id, address));
    }
    // Cluster and controller.
    answer.text()?;
    answer.i32()?;
    for _ in 0..answer.count()? {
        let (error, name) = (answer.i16()?, answer.text()?.to_owned());
        answer.take(1)?;
        let mut partitions = Vec::new();
        for _ in 0..answer.count()? {
            // Its error says what the leader says: that there is none.
            let (_error, partition, leader) = (answer.i16()?, answer.i32()?, answer.i32()?);
            partitions.push((partition, leader));
            // Replicas, and those in sync.
            for _ in 0..2 {
                let n = answer.count()?;
                answer.take(n * 4)?;
            }
        }
        found.topics.push(Topic { name, error, partitions });
    }
    Ok(found)
}

/// A partition to fetch.
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) from: i64,
}

/// How much is asked for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long the broker may wait for something to send, ms.
    pub(super) wait_millis: i32,
    /// Bytes of the whole answer, and of each partition. A batch that is larger comes whole if it is the first.
    pub(super) bytes: usize,
    pub(super) partition_bytes: usize,
    pub(super) read_committed: bool,
}

/// A request for what comes after some offsets. A topic whose partitions do not follow each other is named more than once.
pub(super) fn fetch<'a>(wanted: impl Iterator<Item = Wanted<'a>>, terms: Terms, body: &mut Vec<u8>) {
    body.clear();
    let size = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    // No replica; at least one byte; no session.
    let mut out = Body(std::mem::take(body)).i32(-1).i32(terms.wait_millis).i32(1).i32(size(terms.bytes));
    out = out.i8(i8::from(terms.read_committed)).i32(0).i32(-1);
    let topics_at = out.0.len();
    out = out.i32(0);
    let (mut topics, mut partitions, mut partitions_at, mut last) = (0_i32, 0_i32, 0, None);
    for w in wanted {
        if last != Some(w.topic) {
            last = Some(w.topic);
            topics += 1;
            partitions = 0;
            out = out.text(w.topic);
            partitions_at = out.0.len();
            out = out.i32(0);
        }
        partitions += 1;
        // Any epoch of the leader; no log of our own.
        out = out.i32(w.partition).i32(-1).i64(w.from).i64(-1).i32(size(terms.partition_bytes));
        put(&mut out.0, partitions_at, partitions);
    }
    put(&mut out.0, topics_at, topics);
    // Nothing of a session is forgotten.
    *body = out.i32(0).0;
}

fn put(bytes: &mut [u8], at: usize, n: i32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&n.to_be_bytes());
    }
}

/// What came of a partition.
#[derive(Debug)]
pub(super) struct Fetched<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) error: i16,
    /// Where the partition ends, for who reads like this.
    pub(super) end: i64,
    /// Producer and first offset of transactions that were aborted.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Where its batches stand in the answer.
    pub(super) records: Range<usize>,
}

/// Reads an answer to [`fetch`]; gives for how many ms the broker wants to be left alone.
///
/// # Errors
/// It makes no sense, or the request as a whole was refused.
pub(super) fn fetched<'a>(
    bytes: &'a [u8],
    read_committed: bool,
    each: &mut dyn FnMut(Fetched<'a>),
) -> io::Result<u64> {
    let mut answer = Answer(bytes);
    let throttled = answer.i32()?;
    let error = answer.i16()?;
    if error != code::NONE {
        return Err(io::Error::other(meaning(error)));
    }
    // The session.
    answer.i32()?;
    for _ in 0..answer.count()? {
        let topic = answer.text()?;
        for _ in 0..answer.count()? {
            let (partition, error) = (answer.i32()?, answer.i16()?);
            let (high, stable, _first) = (answer.i64()?, answer.i64()?, answer.i64()?);
            let mut aborted = Vec::new();
            for _ in 0..answer.count()? {
                aborted.push((answer.i64()?, answer.i64()?));
            }
            let size = answer.count()?;
            let at = bytes.len() - answer.0.len();
            answer.take(size)?;
            let end = if read_committed && stable >= 0 { stable.min(high) } else { high };
            each(Fetched { topic, partition, error, end, aborted, records: at..at + size });
        }
    }
    Ok(u64::try_from(throttled).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the protocol's definition of Metadata, version 4.
    #[test]
    fn leaders_are_read_and_a_cut_answer_is_an_error() {
        let mut answer = Body::default().i32(0).i32(2);
        answer = answer.i32(7).text("one").i32(9092).i16(-1).i32(8).text("::1").i32(1).text("rack");
        answer = answer.text("cluster").i32(7).i32(2);
        answer = answer.i16(0).text("t").i8(0).i32(2);
        answer = answer.i16(0).i32(0).i32(7).i32(1).i32(7).i32(0);
        answer = answer.i16(5).i32(1).i32(-1).i32(2).i32(7).i32(8).i32(1).i32(8);
        answer = answer.i16(3).text("gone").i8(0).i32(0);
        let found = parse_leaders(&answer.0).unwrap();
        let brokers = [(7, "one:9092".to_owned()), (8, "[::1]:1".to_owned())];
        assert_eq!(found.brokers, brokers);
        let topic = |name: &str, error, partitions| Topic { name: name.to_owned(), error, partitions };
        assert_eq!(found.topics, [topic("t", 0, vec![(0, 7), (1, -1)]), topic("gone", 3, Vec::new())]);
        for n in 0..answer.0.len() {
            assert!(parse_leaders(&answer.0[..n]).is_err(), "{n}");
        }
    }

    /// By the protocol's definition of Fetch, version 10.
    #[test]
    fn a_request_names_partitions_under_their_topics() {
        let wanted = [("a", 3, 5), ("a", 1, 6), ("b", 0, 7)];
        let wanted = wanted.map(|(topic, partition, from)| Wanted { topic, partition, from });
        let terms = Terms { wait_millis: 9, bytes: 1000, partition_bytes: 100, read_committed: true };
        let mut body = b"of before".to_vec();
        fetch(wanted.into_iter(), terms, &mut body);
        let part = |b: Body, n, from| b.i32(n).i32(-1).i64(from).i64(-1).i32(100);
        let mut expected = Body::default().i32(-1).i32(9).i32(1).i32(1000).i8(1).i32(0).i32(-1).i32(2);
        expected = part(part(expected.text("a").i32(2), 3, 5), 1, 6);
        expected = part(expected.text("b").i32(1), 0, 7).i32(0);
        assert_eq!(body, expected.0);
    }

    #[test]
    fn an_answer_is_read_and_a_cut_one_is_an_error() {
        let mut answer = Body::default().i32(9).i16(0).i32(0).i32(1).text("t").i32(2);
        answer = answer.i32(0).i16(0).i64(90).i64(80).i64(1).i32(1).i64(55).i64(70).i32(3);
        answer.0.extend_from_slice(b"abc");
        answer = answer.i32(1).i16(1).i64(-1).i64(-1).i64(-1).i32(-1).i32(-1);
        for read_committed in [false, true] {
            let mut seen = Vec::new();
            assert_eq!(fetched(&answer.0, read_committed, &mut |f| seen.push(f)).unwrap(), 9);
            let end = if read_committed { 80 } else { 90 };
            assert_eq!((seen[0].topic, seen[0].partition, seen[0].error, seen[0].end), ("t", 0, 0, end));
            assert_eq!(
                (&answer.0[seen[0].records.clone()], &seen[0].aborted[..]),
                (&b"abc"[..], &[(55, 70)][..])
            );
            assert_eq!((seen[1].partition, seen[1].error, seen[1].records.len(), seen.len()), (1, 1, 0, 2));
        }
        for n in 0..answer.0.len() {
            assert!(fetched(&answer.0[..n], true, &mut |_| {}).is_err(), "{n}");
        }
        let refused = Body::default().i32(0).i16(71).i32(0).i32(0);
        assert!(fetched(&refused.0, true, &mut |_| {}).is_err());
    }
}
