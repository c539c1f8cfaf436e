//! What a source asks the brokers besides messages, by a consumer of librdkafka that reads nothing.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset;

use super::txn::marks;
use super::{Consumer, Listener, config, metadata, partitions_of, sorted};
use crate::connector::kafka::client::{
    Bounds, GroupOffset, KafkaError, KafkaErrorKind, Part, SourceSettings,
};
use crate::record::Clock;

/// Asks.
pub(super) struct Asking {
    pub(super) settings: SourceSettings,
    client: Consumer,
}

impl Asking {
    pub(super) fn connect(settings: &SourceSettings) -> Result<Arc<Self>, KafkaError> {
        let config = config::consumer(settings, settings.prefetch_bytes)?;
        let client =
            Consumer::from_config_and_context(&config, Listener).map_err(|e| sorted("settings", &e))?;
        metadata(client.client(), &settings.connection)?;
        Ok(Arc::new(Self { settings: settings.clone(), client }))
    }

    fn timeout(&self) -> Duration {
        self.settings.connection.timeout
    }

    /// First offset and end of a partition; asks again while its leader moves, as it does when a topic is new.
    fn watermarks(&self, part: &Part) -> Result<(i64, i64), KafkaError> {
        let clock = Clock::System;
        let until = clock.monotonic() + self.timeout();
        loop {
            let asked = self.client.fetch_watermarks(&part.topic, part.partition, self.timeout());
            match asked.map_err(|e| sorted(&part.to_string(), &e)) {
                Err(e) if e.kind == KafkaErrorKind::Retriable && clock.monotonic() < until => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    }

    /// Asks whether a broker answers again.
    pub(super) fn look(&self) -> Result<(), KafkaError> {
        let asked = self.client.client().fetch_metadata(None, Duration::from_secs(1));
        match asked {
            Ok(_) => Ok(()),
            Err(e) => {
                let what = format!("no broker of {} can be reached", self.settings.connection.servers);
                Err(KafkaError::retriable(sorted(&what, &e).message))
            }
        }
    }

    pub(super) fn topics(&self) -> Result<Vec<String>, KafkaError> {
        let metadata = metadata(self.client.client(), &self.settings.connection)?;
        Ok(metadata.topics().iter().map(|t| t.name().to_owned()).collect())
    }

    pub(super) fn partitions(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        partitions_of(&metadata(self.client.client(), &self.settings.connection)?, topic)
    }

    pub(super) fn bounds(&self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError> {
        let mut bounds = Vec::with_capacity(parts.len());
        for part in parts {
            let (first, end) = self.watermarks(part)?;
            bounds.push(Bounds { first, end });
        }
        Ok(bounds)
    }

    pub(super) fn marks(&self, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        if self.settings.group.is_none() {
            return Err(KafkaError::fatal("no group"));
        }
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(&part.topic, part.partition);
        }
        // The group's coordinator moves when a broker starts.
        let clock = Clock::System;
        let until = clock.monotonic() + self.timeout();
        loop {
            let left = until.saturating_sub(clock.monotonic()).max(Duration::from_millis(1));
            let asked = self.client.committed_offsets(list.clone(), left);
            match asked.map_err(|e| sorted("offsets of the group", &e)) {
                Err(e) if e.kind == KafkaErrorKind::Retriable && clock.monotonic() < until => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                done => return Ok(marks(&done?, parts)),
            }
        }
    }

    pub(super) fn offsets_at(&self, parts: &[Part], millis: i64) -> Result<Vec<Option<i64>>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(millis))
                .map_err(|e| sorted(&part.to_string(), &e))?;
        }
        let found =
            self.client.offsets_for_times(list, self.timeout()).map_err(|e| sorted("offsets by time", &e))?;
        Ok(offsets(&found, parts))
    }

    pub(super) fn commit(&self, offsets: &[(Part, i64)]) -> Result<(), KafkaError> {
        if self.settings.group.is_none() {
            return Err(KafkaError::fatal("no group"));
        }
        let mut list = TopicPartitionList::new();
        for (part, offset) in offsets {
            list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset))
                .map_err(|e| sorted(&part.to_string(), &e))?;
        }
        self.client.commit(&list, CommitMode::Sync).map_err(|e| sorted("commit of the group's offsets", &e))
    }
}

/// The offsets of a list in the order of `parts`; those that are none are left out.
fn offsets(list: &TopicPartitionList, parts: &[Part]) -> Vec<Option<i64>> {
    let of = |p: &Part| match list.find_partition(&p.topic, p.partition)?.offset() {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    };
    parts.iter().map(of).collect()
}
