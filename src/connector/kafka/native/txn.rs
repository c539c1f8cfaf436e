//! Transactions of librdkafka.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::sink::{NativeSink, TICK};
use super::{Consumer, Listener, config, kind_of, sorted};
use crate::connector::kafka::client::{GroupOffset, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Part};
use crate::connector::kafka::member::GroupToken;
use crate::record::Clock;

/// How long one call of abort may hold up what comes back of messages, which it waits for and does not look after. No shorter: a call
/// that is given up before the library's own thread has heard of it leaves an answer behind, which the next one takes for its own.
const SLICE: Duration = Duration::from_millis(250);
/// How long an abort waits for messages that are under way: what comes back need not be waited for in slices.
const CALM: Duration = Duration::from_millis(50);

/// What becomes of a transaction's error.
fn judged(error: &RdError) -> KafkaErrorKind {
    let code = error.rdkafka_error_code();
    if matches!(code.map(kind_of), Some(KafkaErrorKind::Fenced)) {
        return KafkaErrorKind::Fenced;
    }
    match error {
        RdError::Transaction(e) if e.is_fatal() => KafkaErrorKind::Fatal,
        RdError::Transaction(e) if e.txn_requires_abort() => KafkaErrorKind::AbortTxn,
        RdError::Transaction(e) if e.is_retriable() => KafkaErrorKind::Retriable,
        _ => code.map_or(KafkaErrorKind::Fatal, kind_of),
    }
}

/// Whether the group has gone on without this member.
fn is_membership(error: &RdError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress)
    )
}

impl NativeSink {
    fn id(&self) -> &str {
        self.settings.transactional_id.as_deref().unwrap_or_default()
    }

    fn timeout(&self) -> Duration {
        self.settings.connection.timeout
    }

    fn failed(&self, what: &str, error: &RdError) -> KafkaError {
        let why = match error {
            RdError::Transaction(e) => e.to_string(),
            e => e.rdkafka_error_code().map_or_else(|| e.to_string(), |code| code.to_string()),
        };
        let message = format!("transactional id {}: {what}: {why}", self.id());
        self.in_transaction(KafkaError::new(judged(error), message))
    }

    /// A producer that was fenced gives all kinds of errors from then on.
    pub(super) fn in_transaction(&self, error: KafkaError) -> KafkaError {
        if self.settings.transactional_id.is_none() || error.kind == KafkaErrorKind::Fenced {
            return error;
        }
        match self.producer().ok().and_then(|p| p.client().fatal_error()) {
            Some((code, why)) => {
                let kind = match kind_of(code) {
                    KafkaErrorKind::Fenced => KafkaErrorKind::Fenced,
                    _ => KafkaErrorKind::Fatal,
                };
                KafkaError::new(kind, format!("transactional id {}: {why}", self.id()))
            }
            None => error,
        }
    }

    /// Aborts the transaction, if one is open.
    pub(super) fn abort_within(&mut self, within: Duration) -> Result<(), KafkaError> {
        if self.unanswered {
            let message = format!("transactional id {}: a commit is under way and not decided", self.id());
            return Err(KafkaError::retriable(message));
        }
        // Those that do not come back are purged.
        let _ = self.wait(CALM.min(within));
        // The library purges its queue itself: doing it for it would leave gaps in the numbers of messages.
        self.insist("abort_transaction", within, |sink, slice| match sink.producer() {
            Ok(producer) => producer.abort_transaction(slice),
            Err(_) => Err(RdError::Canceled),
        })
    }

    /// The consumer that stands for a group.
    fn group(&mut self, group: &str) -> Result<&Consumer, KafkaError> {
        let at = match self.groups.iter().position(|(name, _)| name == group) {
            Some(at) => at,
            None => {
                let config = config::group(&self.settings.connection, group)?;
                let consumer = Consumer::from_config_and_context(&config, Listener)
                    .map_err(|e| sorted(&format!("group {group}"), &e))?;
                self.groups.push((group.to_owned(), consumer));
                self.groups.len() - 1
            }
        };
        self.groups.get(at).map(|(_, c)| c).ok_or_else(|| KafkaError::fatal("no such group"))
    }

    /// Calls until the result is known or time is over, looking after acknowledgements in between.
    fn insist(
        &mut self,
        what: &str,
        within: Duration,
        call: impl Fn(&Self, Duration) -> Result<(), RdError>,
    ) -> Result<(), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + within;
        loop {
            let left = until.saturating_sub(clock.monotonic());
            let Err(error) = call(self, left.min(SLICE).max(TICK)) else { return Ok(()) };
            let error = self.failed(what, &error);
            if error.kind != KafkaErrorKind::Retriable || clock.monotonic() >= until {
                return Err(error);
            }
            self.poll(TICK)?;
        }
    }
}

/// What the library has found of a group's offsets.
pub(super) fn marks(found: &TopicPartitionList, parts: &[Part]) -> Vec<Option<GroupOffset>> {
    let of = |part: &Part| {
        let slot = found.find_partition(&part.topic, part.partition)?;
        match slot.offset() {
            Offset::Offset(offset) if offset >= 0 => {
                // The library panics on metadata that is no text; whoever wrote that was not this engine.
                let metadata = std::panic::catch_unwind(|| slot.metadata().to_owned()).unwrap_or_default();
                Some(GroupOffset { offset, metadata })
            }
            _ => None,
        }
    };
    parts.iter().map(of).collect()
}

impl KafkaTxn for NativeSink {
    fn init(&mut self) -> Result<(), KafkaError> {
        // Not in slices: each call would begin anew.
        let done = self.producer()?.init_transactions(self.timeout());
        done.map_err(|e| self.failed("init_transactions", &e))
    }

    fn begin(&mut self) -> Result<(), KafkaError> {
        let done = self.producer()?.begin_transaction();
        done.map_err(|e| self.failed("begin_transaction", &e))
    }

    fn send_offsets(
        &mut self,
        group: &str,
        offsets: &[(Part, i64)],
        metadata: &str,
        token: Option<&GroupToken>,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (part, offset) in offsets {
            let mut slot = list.add_partition(&part.topic, part.partition);
            slot.set_offset(Offset::Offset(*offset)).map_err(|e| sorted(&part.to_string(), &e))?;
            slot.set_metadata(metadata);
        }
        let own = match token {
            Some(_) => None,
            None => self.group(group)?.group_metadata(),
        };
        let shown = token.and_then(|t| t.downcast_ref::<ConsumerGroupMetadata>()).or(own.as_ref());
        let metadata = shown.ok_or_else(|| {
            KafkaError::fatal(format!("group {group}: the library gives no metadata of it"))
        })?;
        let done = self.producer()?.send_offsets_to_transaction(&list, metadata, self.timeout());
        done.map_err(|e| {
            let mut error = self.failed(&format!("offsets of group {group}"), &e);
            if token.is_some() && error.kind != KafkaErrorKind::Retriable && is_membership(&e) {
                error.kind = KafkaErrorKind::Moved;
            }
            error
        })
    }

    fn committed(&mut self, group: &str, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        let timeout = self.timeout();
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(&part.topic, part.partition);
        }
        let found = self
            .group(group)?
            .committed_offsets(list, timeout)
            .map_err(|e| sorted(&format!("offsets of group {group}"), &e))?;
        Ok(marks(&found, parts))
    }

    fn commit(&mut self) -> Result<(), KafkaError> {
        // Polled in short steps first: the library's own wait takes at least 100 ms.
        self.flush(self.timeout())?;
        let counts = self.counts();
        if counts.accepted != counts.acked + counts.failed {
            return Err(KafkaError::retriable(format!("transactional id {}: {counts:?}", self.id())));
        }
        // In one call, not in slices: while the brokers have a commit, the library forgets that it is one if the next call is given up
        // before its own thread has heard of it, takes their answer for that to an abort, and ends the process.
        let done = self.producer()?.commit_transaction(self.timeout());
        let done = done.map_err(|e| self.failed("commit_transaction", &e));
        self.unanswered = matches!(&done, Err(e) if e.kind == KafkaErrorKind::Retriable);
        done
    }

    fn abort(&mut self) -> Result<(), KafkaError> {
        self.abort_within(self.timeout())?;
        while self.producer()?.in_flight_count() > 0 {
            self.poll(TICK)?;
        }
        self.forget_failed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_pass_is_tried_again() {
        for (code, kind) in [
            (Code::OperationTimedOut, KafkaErrorKind::Retriable),
            (Code::CoordinatorLoadInProgress, KafkaErrorKind::Retriable),
            (Code::ProducerFenced, KafkaErrorKind::Fenced),
            (Code::Fenced, KafkaErrorKind::Fenced),
            (Code::InvalidProducerEpoch, KafkaErrorKind::Fenced),
            (Code::TransactionalIdAuthorizationFailed, KafkaErrorKind::Fatal),
        ] {
            assert_eq!(judged(&RdError::Global(code)), kind, "{code:?}");
        }
    }
}
