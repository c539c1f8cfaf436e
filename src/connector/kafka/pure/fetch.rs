//! One fetch of one partition, checked: the library loses the plain messages that stand before compressed ones in an answer.

use std::time::Duration;

use kafka::client::FetchPartition;
use kafka::client::fetch::Response;
use kafka::error::KafkaCode;

use super::owner::Session;
use super::sorted;
use crate::connector::kafka::client::{KafkaError, KafkaErrorKind, Part};

/// What is wanted of a partition.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) part: Part,
    pub(super) index: usize,
    pub(super) offset: i64,
    pub(super) bytes: i32,
    pub(super) wait: Duration,
    pub(super) accept_gaps: bool,
}

/// What a fetch brought.
pub(super) enum Fetched {
    /// Messages; the first one has the offset that was asked for, or a gap before it was accepted.
    Messages(Response),
    /// Nothing yet: the partition ends there.
    Nothing { end: i64 },
}

/// Largest answer that is asked for.
const LARGEST: i32 = 256 << 20;
/// A message of the old format is not smaller, so answers whose sizes differ by less hold the same messages.
const SMALLEST: i32 = 26;

/// What an answer shows.
enum Look {
    First(i64),
    Empty,
}

/// Fetches messages from an offset on.
///
/// An answer that does not begin with the offset asked for is a loss in the library, unless the offset is missing in the log
/// itself (compaction, marks of transactions). Smaller answers tell: one that is cut off before the compressed messages holds
/// the plain ones. Sizes are halved between one that shows nothing and one that shows the gap; if none shows the message, it
/// is not there, and `accept_gaps` decides.
pub(super) fn fetch(session: &mut Session, wanted: &Wanted) -> Result<Fetched, KafkaError> {
    let (mut shows_nothing, mut shows_gap) = (0, None);
    let mut bytes = wanted.bytes;
    loop {
        let (response, end) = one(session, wanted, bytes)?;
        match look(&response) {
            Look::First(offset) if offset <= wanted.offset => return Ok(Fetched::Messages(response)),
            Look::Empty if end <= wanted.offset => {
                return Ok(Fetched::Nothing { end: wanted.offset.max(end) });
            }
            Look::First(offset) => shows_gap = Some((bytes, offset)),
            Look::Empty => shows_nothing = bytes,
        }
        bytes = match shows_gap {
            Some((most, offset)) if most - shows_nothing < SMALLEST => {
                return gap(session, wanted, most, offset);
            }
            Some((most, _)) => shows_nothing + (most - shows_nothing) / 2,
            None if bytes >= LARGEST => return empty(wanted, end),
            None => bytes.saturating_mul(2).min(LARGEST),
        };
    }
}

/// Whatever the size of the answer, the message is not in it.
fn gap(session: &mut Session, wanted: &Wanted, bytes: i32, offset: i64) -> Result<Fetched, KafkaError> {
    let Wanted { part, offset: asked, .. } = wanted;
    if !wanted.accept_gaps {
        return Err(KafkaError::fatal(format!(
            "{part}: offset {asked} was asked for and {offset} came; gaps = 'accept' goes on (right for compacted topics and \
             after transactions), and a build with --features rdkafka can tell"
        )));
    }
    log::debug!("{part}: offsets {asked} to {} are not there", offset - 1);
    match one(session, wanted, bytes)? {
        (response, _) if matches!(look(&response), Look::First(_)) => Ok(Fetched::Messages(response)),
        (_, end) => Ok(Fetched::Nothing { end: end.min(*asked) }),
    }
}

/// There is more, but no answer shows a message: only marks of transactions, or a message beyond all measure.
fn empty(wanted: &Wanted, end: i64) -> Result<Fetched, KafkaError> {
    match wanted.accept_gaps {
        true => Ok(Fetched::Nothing { end }),
        false => Err(KafkaError::fatal(format!(
            "{}: the broker has offsets up to {end}, but shows no message from {} on; gaps = 'accept' goes on",
            wanted.part, wanted.offset
        ))),
    }
}

fn look(response: &Response) -> Look {
    let first = response
        .topics()
        .iter()
        .flat_map(|t| t.partitions())
        .find_map(|p| p.data().ok()?.messages().first().map(|m| m.offset));
    first.map_or(Look::Empty, Look::First)
}

/// One request; the answer and the end of the partition.
fn one(session: &mut Session, wanted: &Wanted, bytes: i32) -> Result<(Response, i64), KafkaError> {
    let Wanted { part, offset, wait, .. } = wanted;
    let what = part.to_string();
    let answers = session.with(&what, |client| {
        client.set_fetch_max_wait_time(*wait)?;
        let request = FetchPartition::new(&part.topic, part.partition, *offset).with_max_bytes(bytes);
        client.fetch_messages_for_partition(&request)
    })?;
    let Some(response) = answers.into_iter().next() else {
        session.refresh()?;
        return Err(KafkaError::retriable(format!("{what}: no broker leads it")));
    };
    let told = response
        .topics()
        .iter()
        .flat_map(|t| t.partitions())
        .next()
        .map(|p| p.data().map(|data| data.highwatermark_offset()));
    match told {
        Some(Ok(end)) => Ok((response, end)),
        Some(Err(error)) => match *error {
            kafka::Error::Kafka(KafkaCode::OffsetOutOfRange) => {
                let message = format!("{what}: offset {offset} is out of range");
                Err(KafkaError::new(KafkaErrorKind::OutOfRange(wanted.index), message))
            }
            ref error => {
                let error = sorted(&what, error);
                if error.kind == KafkaErrorKind::Retriable {
                    session.refresh()?;
                }
                Err(error)
            }
        },
        None => Err(KafkaError::retriable(format!("{what}: an answer without the partition"))),
    }
}
