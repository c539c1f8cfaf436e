//! Messages on their way out: one buffer for keys, values and headers of a batch, kept from batch to batch.

use std::ops::Range;

/// A piece of the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    partition: i32,
    timestamp: Option<i64>,
    key: Option<Span>,
    value: Option<Span>,
    headers: Range<usize>,
}

/// Bytes of a batch of one message, before compression: what brokers compare with the `max.message.bytes` of its topic. Record
/// batches of format 2: 61 bytes, then the record with its lengths as zigzag varints.
pub(super) fn alone(
    key: Option<usize>,
    value: Option<usize>,
    headers: impl Iterator<Item = (usize, Option<usize>)>,
) -> usize {
    let length = |n: usize| (usize::BITS - (n << 1 | 1).leading_zeros()).div_ceil(7) as usize;
    // NULL is the length -1.
    let text = |n: Option<usize>| n.map_or(1, |n| length(n) + n);
    let (mut count, mut inner) = (0, 0);
    for (name, value) in headers {
        count += 1;
        inner += text(Some(name)) + text(value);
    }
    // Attributes, and the differences to the batch's time and offset, which are 0.
    let record = 3 + text(key) + text(value) + length(count) + inner;
    61 + length(record) + record
}

/// The messages of a batch.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    pub(super) bytes: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<(Span, Option<Span>)>,
}

/// One message of an [`Outbox`].
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    outbox: &'a Outbox,
    slot: &'a Slot,
}

impl Outbox {
    /// Forgets the messages; the buffer stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
        self.headers.clear();
    }
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
    /// Message `index`.
    pub fn get(&self, index: usize) -> Option<Outgoing<'_>> {
        self.slots.get(index).map(|slot| Outgoing { outbox: self, slot })
    }
    /// Adds a message.
    pub fn push(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Option<i64>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let from = self.headers.len();
        for (name, value) in headers {
            self.header(name, *value);
        }
        let key = key.map(|k| self.append(k));
        let value = value.map(|v| self.append(v));
        self.finish(partition, key, value, timestamp, from);
    }
    /// The end of the buffer: what is appended from here on is a [`span_from`](Self::span_from).
    pub(super) fn mark(&self) -> usize {
        self.bytes.len()
    }
    pub(super) fn span_from(&self, start: usize) -> Span {
        Span { start, end: self.bytes.len() }
    }
    pub(super) fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.mark();
        self.bytes.extend_from_slice(bytes);
        self.span_from(start)
    }
    pub(super) fn text(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or(&[])
    }
    pub(super) fn headers_mark(&self) -> usize {
        self.headers.len()
    }
    pub(super) fn header(&mut self, name: &str, value: Option<&[u8]>) {
        let name = self.append(name.as_bytes());
        let value = value.map(|v| self.append(v));
        self.headers.push((name, value));
    }
    /// The size of a batch of that message [alone]; its headers are those from `headers_from` on.
    pub(super) fn alone(&self, key: Option<Span>, value: Option<Span>, headers_from: usize) -> usize {
        let size = |s: Span| s.end - s.start;
        let headers = self.headers.get(headers_from..).unwrap_or(&[]);
        alone(key.map(size), value.map(size), headers.iter().map(|(n, v)| (size(*n), v.map(size))))
    }
    /// Adds the message whose parts are in the buffer.
    pub(super) fn finish(
        &mut self,
        partition: i32,
        key: Option<Span>,
        value: Option<Span>,
        timestamp: Option<i64>,
        headers_from: usize,
    ) {
        let headers = headers_from..self.headers.len();
        self.slots.push(Slot { partition, timestamp, key, value, headers });
    }
}

impl<'a> Outgoing<'a> {
    /// Partition.
    pub fn partition(&self) -> i32 {
        self.slot.partition
    }
    /// Milliseconds since the Unix epoch; `None`: the time of sending.
    pub fn timestamp(&self) -> Option<i64> {
        self.slot.timestamp
    }
    /// Key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.slot.key.map(|s| self.outbox.text(s))
    }
    /// Value; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.slot.value.map(|s| self.outbox.text(s))
    }
    /// Whether it has neither headers nor a timestamp of its own.
    pub fn is_plain(&self) -> bool {
        self.slot.timestamp.is_none() && self.slot.headers.is_empty()
    }
    /// Headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let outbox = self.outbox;
        let slots = outbox.headers.get(self.slot.headers.clone()).unwrap_or(&[]);
        slots.iter().map(move |(name, value)| {
            // Names were put in as text.
            (std::str::from_utf8(outbox.text(*name)).unwrap_or(""), value.map(|v| outbox.text(v)))
        })
    }
    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key().map_or(0, <[u8]>::len) + self.value().map_or(0, <[u8]>::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of batches as brokers have them, by the protocol's definition: 61 bytes, and a record counted by hand.
    #[test]
    fn a_batch_of_one_has_the_size_that_brokers_see() {
        let none = || std::iter::empty();
        // Length, attributes, time, offset, no key, empty value, no headers.
        assert_eq!(alone(None, Some(0), none()), 61 + 7);
        assert_eq!(alone(None, None, none()), 61 + 7);
        // A value of 56 bytes makes a record of 62, one of 57 still has a length of one byte; 58 makes 64, whose length takes two.
        assert_eq!(alone(None, Some(57), none()), 61 + 1 + 63);
        assert_eq!(alone(None, Some(58), none()), 61 + 2 + 64);
        // Its own length takes two bytes from 64 on, three from 8192 on.
        assert_eq!(alone(Some(63), Some(64), none()), 61 + 2 + (3 + 1 + 63 + 2 + 64 + 1));
        assert_eq!(alone(None, Some(8192), none()), 61 + 3 + (3 + 1 + 3 + 8192 + 1));
        assert_eq!(alone(None, Some(0), [(1, Some(2)), (3, None)].into_iter()), 61 + 1 + (6 + 2 + 3 + 4 + 1));
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let mut outbox = Outbox::default();
        for round in 0..2 {
            outbox.push(3, Some(b"k"), None, Some(7), &[("a", Some(b"1")), ("a", None)]);
            outbox.push(0, None, Some(b""), None, &[]);
            assert_eq!(outbox.len(), 2, "round {round}");
            let first = outbox.get(0).unwrap();
            assert_eq!((first.partition(), first.timestamp(), first.size()), (3, Some(7), 1));
            assert_eq!((first.key(), first.value()), (Some(&b"k"[..]), None));
            assert_eq!(first.headers().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("a", None)]);
            let second = outbox.get(1).unwrap();
            assert_eq!((second.key(), second.value()), (None, Some(&b""[..])));
            assert_eq!(second.headers().count(), 0);
            assert!(outbox.get(2).is_none());
            outbox.clear();
        }
    }
}
