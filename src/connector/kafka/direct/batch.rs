//! Batches of records as brokers keep and send them: message format 2, since Kafka 0.11
//! (<https://kafka.apache.org/documentation/#recordbatch>). Nothing is copied: keys, values and headers are places in what was fetched.

use super::unpack::Codec;
use crate::connector::kafka::client::HeaderList;

/// Bytes of a batch before its records.
const HEAD: usize = 61;
/// Bytes up to and including the length, which counts what follows.
const FRONT: usize = 12;
/// Where the message format stands, in every format.
const MAGIC: usize = 16;
/// What the checksum covers begins here.
const CHECKED: usize = 21;

const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Offset of the first record that it was made with.
    pub(super) base: i64,
    /// Offset of the last one.
    pub(super) last: i64,
    attributes: i16,
    base_time: i64,
    max_time: i64,
    /// Who wrote it; -1: nobody in particular.
    pub(super) producer: i64,
    /// Number of records; compaction may have left none.
    pub(super) count: usize,
    /// Bytes in all.
    pub(super) size: usize,
    checksum: u32,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Batch(Batch),
    /// Less than a batch, as at the end of what a broker sends.
    Cut,
    /// A message format from before 2.
    Old,
    /// Nothing that makes sense, and why.
    Broken(&'static str),
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}

impl Batch {
    /// The batch at the beginning of `bytes`.
    pub(super) fn look(bytes: &[u8]) -> Look {
        if bytes.len() <= MAGIC {
            return Look::Cut;
        }
        match bytes.get(MAGIC) {
            Some(2) => {}
            Some(0 | 1) => return Look::Old,
            _ => return Look::Broken("an unknown message format"),
        }
        let size = usize::try_from(i32::from_be_bytes(be(bytes, 8))).map_or(0, |n| n + FRONT);
        if size < HEAD {
            return Look::Broken("a batch shorter than its head");
        }
        if bytes.len() < size {
            return Look::Cut;
        }
        let base = i64::from_be_bytes(be(bytes, 0));
        let deltas = i32::from_be_bytes(be(bytes, 23));
        let Ok(count) = usize::try_from(i32::from_be_bytes(be(bytes, 57))) else {
            return Look::Broken("a negative number of records");
        };
        let last =
            base.checked_add(i64::from(deltas)).filter(|last| deltas >= 0 && base >= 0 && *last < i64::MAX);
        let Some(last) = last else { return Look::Broken("impossible offsets") };
        Look::Batch(Self {
            base,
            last,
            attributes: i16::from_be_bytes(be(bytes, 21)),
            base_time: i64::from_be_bytes(be(bytes, 27)),
            max_time: i64::from_be_bytes(be(bytes, 35)),
            producer: i64::from_be_bytes(be(bytes, 43)),
            count,
            size,
            checksum: u32::from_be_bytes(be(bytes, 17)),
        })
    }

    /// Whether the batch, which stands at the beginning of `bytes`, is as it was written.
    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        bytes.get(CHECKED..self.size).is_some_and(|checked| crc32c::crc32c(checked) == self.checksum)
    }

    /// Its records, packed or not.
    pub(super) fn records<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(HEAD..self.size).unwrap_or(&[])
    }

    /// How they are packed.
    pub(super) fn codec(&self) -> Option<Codec> {
        Codec::of(self.attributes)
    }

    /// Part of a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Marks of brokers, no messages.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether a batch of marks, which are never packed, says that its producer's transaction was aborted.
    pub(super) fn is_abort(&self, bytes: &[u8]) -> bool {
        // The key is a version and the kind of mark.
        let mark = Record::first(self.records(bytes)).and_then(|(mark, _)| mark.key);
        self.is_control() && mark.is_some_and(|key| be(key, 2) == [0, 0] && key.len() >= 4)
    }

    /// Milliseconds since the Unix epoch of a record with that difference.
    pub(super) fn time(&self, delta: i64) -> Option<i64> {
        let time = match self.attributes & LOG_APPEND_TIME {
            0 => self.base_time.checked_add(delta)?,
            _ => self.max_time,
        };
        (time != -1).then_some(time)
    }
}

/// A record of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Differences to the batch's first time and first offset.
    pub(super) time_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// The record at the beginning of `bytes` and its length; `None`: there is none.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut at = Cursor { bytes, at: 0 };
        let size = at.size()?;
        let body = at.take(size)?;
        let end = at.at;
        let mut at = Cursor { bytes: body, at: 0 };
        // Attributes, of which there are none.
        at.take(1)?;
        let (time_delta, offset_delta) = (at.number()?, at.number()?);
        let (key, value) = (at.bytes()?, at.bytes()?);
        let count = at.size()?;
        let headers = Headers { count, bytes: body.get(at.at..)? };
        Some((Self { time_delta, offset_delta, key, value, headers }, end))
    }

    /// Its headers, if it has any.
    pub(super) fn headers(&self) -> Option<&Headers<'a>> {
        (self.headers.count > 0).then_some(&self.headers)
    }
}

/// Headers of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl HeaderList for Headers<'_> {
    fn each(&self, each: &mut dyn FnMut(&str, Option<&[u8]>)) -> Result<(), String> {
        let mut at = Cursor { bytes: self.bytes, at: 0 };
        for _ in 0..self.count {
            let (name, value) =
                at.bytes().flatten().zip(at.bytes()).ok_or("headers that end before their number is full")?;
            each(std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?, value);
        }
        Ok(())
    }
}

/// Reads numbers of variable length: seven bits a byte, the lowest first, signs by zigzag.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn number(&mut self) -> Option<i64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        let mut n = u64::from(first & 0x7f);
        let mut more = first & 0x80 != 0;
        let mut shift = 7;
        while more {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            more = byte & 0x80 != 0;
        }
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    #[inline]
    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    #[inline]
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    /// Bytes that may be NULL, which has the length -1.
    #[inline]
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.number()? {
            -1 => Some(None),
            n => Some(Some(self.take(usize::try_from(n).ok()?)?)),
        }
    }
}

/// What was found of the batches that a broker sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Where reading goes on behind those that are whole and can be read.
    pub(super) next: Option<i64>,
    /// Their bytes.
    pub(super) bytes: usize,
    /// What is wrong with the one behind them.
    pub(super) fault: Option<Fault>,
}

/// Why a batch is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its format is from before 0.11.
    Old,
    /// It is not whole, or makes no sense.
    Broken(&'static str),
}

/// Looks through batches; what is cut off at the end is left.
pub(super) fn check(all: &[u8]) -> Checked {
    let mut checked = Checked::default();
    loop {
        let rest = all.get(checked.bytes..).unwrap_or(&[]);
        let fault = match Batch::look(rest) {
            Look::Batch(batch) if !batch.is_whole(rest) => Fault::Broken("a batch whose checksum is wrong"),
            Look::Batch(batch) if batch.codec().is_none() => {
                Fault::Broken("a batch packed in an unknown way")
            }
            Look::Batch(batch) => {
                (checked.next, checked.bytes) = (Some(batch.last + 1), checked.bytes + batch.size);
                continue;
            }
            Look::Cut => return checked,
            Look::Old => Fault::Old,
            Look::Broken(why) => Fault::Broken(why),
        };
        checked.fault = Some(fault);
        return checked;
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
pub(super) mod tests;
