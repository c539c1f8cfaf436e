//! A Kafka topic, several, or all that match a pattern, as a source.

use std::sync::Arc;

use super::changelog::Changelog;
use super::choose::{Need, cluster, connection, require};
use super::client::{Bounds, Fetch, KafkaClient, KafkaError, KafkaSource, Part, SourceSettings};
use super::decode::MessageFormat;
use super::group_reader::{GroupPolicy, GroupReader, GroupSeat};
use super::kept::Keeper;
use super::member::MemberSettings;
use super::options::{SourceOptions, Start, Topics};
use super::reader::{KafkaReader, Lane, ReaderPolicy};
use super::topic;
use crate::catalog::nearest;
use crate::io::{Boundedness, DataReader, DataSource, Instance, IoError, Membership, Scan, Slice};
use crate::record::{Schema, sorted};

/// Topics that can be read.
pub(super) struct KafkaTopics {
    schema: Arc<Schema>,
    client: Arc<dyn KafkaClient>,
    format: MessageFormat,
    options: SourceOptions,
    /// Of an instance that shares the topics with others.
    share: Option<Share>,
    /// Of an instance with partitions of its own.
    slice: Option<Slice>,
}

/// Its place in the group.
struct Share {
    /// `<instance>.<source>`.
    id: String,
    job: String,
    transactional: bool,
    seat: Arc<GroupSeat>,
}

impl KafkaTopics {
    /// Checks what can be checked without a broker.
    pub(super) fn new(
        client: Arc<dyn KafkaClient>,
        schema: Arc<Schema>,
        format: MessageFormat,
        options: SourceOptions,
    ) -> Result<Self, IoError> {
        let mut needs = Vec::new();
        if options.isolation == Some(true) {
            needs.push(Need::ReadCommitted);
        }
        if matches!(options.start, Start::Time(_)) {
            needs.push(Need::Timestamps("start = a time"));
        }
        if options.fetch == Fetch::Direct {
            needs.push(Need::DirectFetch);
        }
        needs.extend(options.common.native.iter().map(|(name, _)| Need::NativeOption(name)));
        require(&client.caps(), &needs)?;
        Ok(Self { schema, client, format, options, share: None, slice: None })
    }

    fn settings(&self, headers: bool) -> SourceSettings {
        SourceSettings {
            connection: connection(&self.options.common),
            group: self.options.group.clone(),
            read_committed: self.options.isolation.unwrap_or(self.client.caps().read_committed),
            headers,
            prefetch_bytes: self.options.prefetch_bytes,
            accept_gaps: self.options.accept_gaps,
            fetch: self.options.fetch,
        }
    }

    /// Makes the topics that are to have so many partitions and are not there.
    fn provide(&self, client: &mut dyn KafkaSource) -> Result<(), IoError> {
        let (Some(wanted), Topics::Named(names)) = (self.options.common.partitions, &self.options.topics)
        else {
            return Ok(());
        };
        let connection = connection(&self.options.common);
        names.iter().try_for_each(|t| topic::readable(t, wanted, &*self.client, client, &connection))
    }

    /// Opens it as a member of the group.
    fn join(&self, scan: &Scan, share: &Share) -> Result<Box<dyn DataReader>, IoError> {
        let own = self.settings(scan.system.headers);
        let mut client = self.client.source(&own)?;
        self.provide(client.as_mut())?;
        let SourceOptions { topics, common, discovery_interval, .. } = &self.options;
        // They must be there.
        let all = parts(topics, &common.servers, client.as_mut())?;
        check_start(&self.options.start, &all)?;
        let group = own.group.clone().unwrap_or_default();
        let keeper = match scan.kept {
            true => Some(self.keeper(share, &group, all.len())?),
            false => None,
        };
        let settings = MemberSettings {
            connection: own.connection,
            group: group.clone(),
            static_id: self.options.static_member.then(|| share.id.clone()),
            topics: match topics {
                Topics::Named(names) => names.clone(),
                Topics::Pattern(pattern) => vec![format!("^({pattern})$")],
            },
            assignor: self.options.assignor,
            discovery_interval: *discovery_interval,
            read_committed: own.read_committed,
            headers: own.headers,
            prefetch_bytes: own.prefetch_bytes,
            fetch: own.fetch,
        };
        let policy = GroupPolicy {
            start: self.options.start.clone(),
            earliest_if_gone: self.options.earliest_if_gone,
            patience: settings.connection.timeout,
            transactional: share.transactional,
            keeper,
        };
        let decoder = self.format.decoder(scan)?;
        let join = || self.client.member(&settings);
        let (schema, seat) = (scan.schema.clone(), share.seat.clone());
        Ok(Box::new(GroupReader::new(schema, group, client, join, seat, decoder, policy)?))
    }

    /// Who reads the state of partitions that are taken over.
    fn keeper(&self, share: &Share, group: &str, partitions: usize) -> Result<Keeper, IoError> {
        let of = match &self.options.topics {
            Topics::Named(names) if names.len() == 1 => names.first().map_or("", String::as_str),
            _ => {
                return Err(IoError::config(
                    "the state of a job moves with the partitions of one topic: bring them into one with a job before it",
                ));
            }
        };
        let changelog = Changelog::new(&share.job, group, of, connection(&self.options.common));
        changelog.ensure(&*self.client, partitions)?;
        Ok(Keeper { client: self.client.clone(), changelog, partitions })
    }
}

/// Where each partition begins that nothing was committed of.
pub(super) fn begin(
    start: &Start,
    client: &mut dyn KafkaSource,
    parts: &[Part],
    bounds: &[Bounds],
) -> Result<Vec<i64>, KafkaError> {
    let first = || bounds.iter().map(|b| b.first);
    let ends = || bounds.iter().map(|b| b.end);
    Ok(match start {
        Start::Earliest => first().collect(),
        Start::Latest => ends().collect(),
        Start::Time(millis) => {
            let found = client.offsets_at(parts, *millis)?;
            found.into_iter().zip(ends()).map(|(at, end)| at.unwrap_or(end)).collect()
        }
        Start::Committed => {
            let found = client.committed(parts)?;
            found.into_iter().zip(first()).map(|(at, first)| at.unwrap_or(first)).collect()
        }
        Start::Offsets(wanted) => {
            let of = |part: &Part| wanted.iter().find(|(p, _)| *p == part.partition).map(|(_, o)| *o);
            parts.iter().zip(first()).map(|(part, first)| of(part).unwrap_or(first)).collect()
        }
    })
}

/// Rows of one key must be with one instance, whichever topic they are in.
fn check_slice(parts: &[Part], slice: Slice) -> Result<(), IoError> {
    let count = |topic: &str| parts.iter().filter(|p| *p.topic == *topic).count();
    let Some(first) = parts.first() else { return Ok(()) };
    if let Some(other) = parts.iter().find(|p| count(&p.topic) != count(&first.topic)) {
        return Err(IoError::config(format!(
            "topics {} and {} have {} and {} partitions: under --instances they must have the same number",
            first.topic,
            other.topic,
            count(&first.topic),
            count(&other.topic)
        )));
    }
    match count(&first.topic) as u64 >= u64::from(slice.of) {
        true => Ok(()),
        false => Err(IoError::config(format!(
            "topic {} has {} partitions, so {} of its {} instances would have none",
            first.topic,
            count(&first.topic),
            u64::from(slice.of) - count(&first.topic) as u64,
            slice.of
        ))),
    }
}

/// Offsets of partitions that the topic does not have.
fn check_start(start: &Start, parts: &[Part]) -> Result<(), IoError> {
    let Start::Offsets(wanted) = start else { return Ok(()) };
    match wanted.iter().find(|(p, _)| !parts.iter().any(|x| x.partition == *p)) {
        Some((p, _)) => Err(IoError::config(format!(
            "'start' names partition {p}, but the topic has {} partitions",
            parts.len()
        ))),
        None => Ok(()),
    }
}

/// The partitions of all topics, in order.
pub(super) fn parts(
    topics: &Topics,
    servers: &str,
    client: &mut dyn KafkaSource,
) -> Result<Vec<Part>, IoError> {
    let topics = match topics {
        Topics::Named(names) => names.clone(),
        Topics::Pattern(pattern) => matching(pattern, client)?,
    };
    let mut parts = Vec::new();
    for topic in topics {
        let Some(mut partitions) = client.partitions(&topic)? else {
            return Err(missing(&topic, &client.topics()?, servers));
        };
        partitions.sort_unstable();
        let name: Arc<str> = topic.as_str().into();
        parts.extend(partitions.into_iter().map(|partition| Part { topic: name.clone(), partition }));
    }
    Ok(parts)
}

/// Topics whose whole name matches, without those of the brokers themselves.
fn matching(pattern: &str, client: &mut dyn KafkaSource) -> Result<Vec<String>, IoError> {
    let regex = regex::Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|e| IoError::config(format!("'topic_pattern' is no regular expression: {e}")))?;
    let mut topics = client.topics()?;
    topics.retain(|t| !t.starts_with("__") && regex.is_match(t));
    sorted::sort_by(&mut topics, Ord::cmp);
    match topics.is_empty() {
        true => Err(IoError::config(format!("no topic matches topic_pattern = '{pattern}'"))),
        false => Ok(topics),
    }
}

/// A topic that is not there.
pub(super) fn missing(name: &str, known: &[String], servers: &str) -> IoError {
    let near = nearest(name, known.iter().map(String::as_str));
    let hint = match near.as_slice() {
        [] => format!(
            "say partitions = 6, or some other number, in its WITH (…) and it is made, or make it: {}",
            topic::command(name, 6, servers)
        ),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    IoError::config(format!("there is no topic '{name}' at {servers}; {hint}"))
}

impl DataSource for KafkaTopics {
    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
    fn projects(&self) -> bool {
        true
    }
    fn boundedness(&self) -> Boundedness {
        match self.options.stop_at_latest {
            true => Boundedness::Bounded,
            false => Boundedness::Unbounded,
        }
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn announces_commits(&self) -> bool {
        self.options.group.is_some()
    }
    fn partitioned_by(&self) -> Vec<String> {
        self.options.partition_by.clone()
    }
    fn membership(&self) -> Option<Membership> {
        Some(Membership {
            cluster: cluster(&self.client.caps(), &self.options.common),
            group: self.options.group.clone(),
            seat: self.share.as_ref().map(|s| s.seat.clone() as _),
        })
    }
    fn shared(&self, name: &str, instance: &Instance) -> Result<Arc<dyn DataSource>, IoError> {
        if instance.slice.is_some() {
            if matches!(self.options.topics, Topics::Pattern(_)) {
                return Err(IoError::config(
                    "topic_pattern and --instances exclude each other: name the topics",
                ));
            }
            return Ok(Arc::new(Self {
                schema: self.schema.clone(),
                client: self.client.clone(),
                format: self.format.clone(),
                options: self.options.clone(),
                share: None,
                slice: instance.slice,
            }));
        }
        require(&self.client.caps(), &[Need::Groups])?;
        if self.options.group.is_none() {
            return Err(IoError::config(
                "the group_id is missing under which the instances share its topics",
            ));
        }
        if self.options.stop_at_latest {
            return Err(IoError::config(
                "stop = 'latest' and --instance exclude each other: what an instance has to read changes when others come and go",
            ));
        }
        let share = Share {
            id: format!("{}.{name}", instance.name),
            job: instance.job.clone(),
            transactional: instance.transactional,
            seat: Arc::default(),
        };
        Ok(Arc::new(Self {
            schema: self.schema.clone(),
            client: self.client.clone(),
            format: self.format.clone(),
            options: self.options.clone(),
            share: Some(share),
            slice: None,
        }))
    }
    fn check_transactional(&self) -> Result<(), IoError> {
        if self.options.isolation == Some(false) {
            return Err(IoError::config(
                "isolation = 'read_uncommitted' shows messages of transactions that may be aborted, so a transactional job can't \
                 use it: leave it out",
            ));
        }
        require(&self.client.caps(), &[Need::Transactions])
    }
    fn end_is_pause(&self) -> bool {
        self.options.stop_at_latest
    }
    fn check(&self, scan: &Scan) -> Result<(), IoError> {
        let mut needs = Vec::new();
        if scan.system.headers {
            needs.push(Need::Headers("_headers"));
        }
        if scan.system.timestamp {
            needs.push(Need::Timestamps("_timestamp"));
        }
        require(&self.client.caps(), &needs)
    }
    fn open(&self, scan: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        self.check(scan)?;
        if let Some(share) = &self.share {
            return self.join(scan, share);
        }
        let mut client = self.client.source(&self.settings(scan.system.headers))?;
        self.provide(client.as_mut())?;
        let mut parts = parts(&self.options.topics, &self.options.common.servers, client.as_mut())?;
        let all = parts.len();
        if let Some(slice) = self.slice {
            check_slice(&parts, slice)?;
            parts.retain(|p| p.partition.unsigned_abs() % slice.of == slice.number);
        }
        let bounds = client.bounds(&parts)?;
        check_start(&self.options.start, &parts)?;
        let begin = begin(&self.options.start, client.as_mut(), &parts, &bounds)?;
        let mut lanes = Vec::with_capacity(parts.len());
        for ((part, bounds), next) in parts.into_iter().zip(bounds).zip(begin) {
            let end = self.options.stop_at_latest.then_some(bounds.end);
            lanes.push(Lane::new(part, next, bounds, end));
        }
        let policy = ReaderPolicy {
            earliest_if_gone: self.options.earliest_if_gone,
            grouped: self.options.group.is_some(),
            bounded: self.options.stop_at_latest,
            part_of: self.slice.is_some().then_some(all),
        };
        let mut decoder = self.format.decoder(scan)?;
        if !matches!(&self.options.topics, Topics::Named(names) if names.len() == 1) {
            // Or partitions of one number would share a watermark.
            decoder.name_topics();
        }
        let mut reader = KafkaReader::new(scan.schema.clone(), client, lanes, decoder, policy);
        if !self.options.stop_at_latest {
            let SourceOptions { topics, common, discovery_interval, .. } = &self.options;
            reader.look_for_more(topics.clone(), common.servers.clone(), *discovery_interval);
        }
        Ok(Box::new(reader))
    }
}
