//! The seam: what the connector asks of a Kafka client. Nothing else in the crate names a type of a client library.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::member::{GroupToken, KafkaMember, MemberSettings};
use super::outbox::Outbox;
use crate::io::{IoError, IoErrorKind};

/// What a client can do; what it can't is refused before a job starts.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Name in `client = '…'`.
    pub client: &'static str,
    /// Message headers, in and out.
    pub headers: bool,
    /// Message timestamps, in and out, and offsets by time.
    pub timestamps: bool,
    /// Tells a NULL key or value from an empty one when it reads.
    pub nulls: bool,
    /// Sees committed transactions only, if it is asked to.
    pub read_committed: bool,
    /// Produces in transactions.
    pub transactions: bool,
    /// Takes part in groups that share topics.
    pub groups: bool,
    /// Compression of what it writes.
    pub compression: &'static [&'static str],
    /// Takes `'kafka.…'` options through to the library.
    pub native_options: bool,
    /// Leaves fetching to the engine, where it is asked to.
    pub direct_fetch: bool,
}

/// What becomes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaErrorKind {
    /// The same call may succeed later.
    Retriable,
    /// The transaction must be aborted.
    AbortTxn,
    /// Another process has taken over.
    Fenced,
    /// The group has gone on without this member: the transaction must be aborted, and what was read since the last commit is
    /// somebody else's.
    Moved,
    /// No retry helps.
    Fatal,
    /// One message is refused; its neighbours are fine.
    Record,
    /// Client or broker can't do that.
    Unsupported,
    /// The position of that partition (as numbered at `start`) is before the first or behind the last offset.
    OutOfRange(usize),
}

/// An error of a client: what was tried and what came of it.
#[derive(Clone, Debug)]
pub struct KafkaError {
    /// What becomes of it.
    pub kind: KafkaErrorKind,
    /// One sentence.
    pub message: String,
}

impl KafkaError {
    /// An error of that kind.
    pub fn new(kind: KafkaErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    /// One that may pass.
    pub fn retriable(message: impl Into<String>) -> Self {
        Self::new(KafkaErrorKind::Retriable, message)
    }
    /// One that stays.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(KafkaErrorKind::Fatal, message)
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for KafkaError {}

impl From<KafkaError> for IoError {
    fn from(e: KafkaError) -> Self {
        match e.kind {
            KafkaErrorKind::Retriable => IoError::new(IoErrorKind::Unavailable, e.message),
            KafkaErrorKind::Unsupported => IoError::unsupported(e.message),
            KafkaErrorKind::OutOfRange(_) => IoError::data(e.message),
            KafkaErrorKind::Moved => IoError::new(IoErrorKind::Moved, e.message),
            KafkaErrorKind::Fenced => {
                let why = "another instance of the job has taken over, or a transaction lasted longer than transaction_timeout";
                IoError::new(IoErrorKind::Fenced, format!("{}: {why}; this instance ends", e.message))
            }
            KafkaErrorKind::AbortTxn | KafkaErrorKind::Fatal | KafkaErrorKind::Record => {
                IoError::os("kafka", std::io::Error::other(e.message))
            }
        }
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Topic.
    pub topic: Arc<str>,
    /// Number within the topic.
    pub partition: i32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What a partition holds: offsets from `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is still there.
    pub first: i64,
    /// The offset of the next message. For `read_committed`: behind the last one that is stable.
    pub end: i64,
}

/// Headers of a message in the client's memory.
pub trait HeaderList {
    /// Calls `each` for every header in order; the value may be NULL.
    ///
    /// # Errors
    /// A header that can't be given, such as one with a name that is no text.
    fn each(&self, each: &mut dyn FnMut(&str, Option<&[u8]>)) -> Result<(), String>;
}

/// A message, in the client's memory.
pub struct Message<'a> {
    /// Index of its partition in the list given to [`KafkaSource::start`].
    pub part: usize,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, if the client knows it.
    pub timestamp: Option<i64>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers; only where they were asked for.
    pub headers: Option<&'a dyn HeaderList>,
}

/// What a poll brings.
pub enum Event<'a> {
    /// The next message of a partition.
    Message(Message<'a>),
    /// Everything of a partition before `next` has been given, and there is no more at the moment.
    Reached {
        /// Index of the partition.
        part: usize,
        /// The offset that comes next.
        next: i64,
    },
}

/// A consumer of partitions that are assigned by hand. Owned by one thread at a time.
///
/// Every call ends within the time-out of its settings, whatever the broker does.
pub trait KafkaSource: Send {
    /// Names of all topics.
    ///
    /// # Errors
    /// No broker answers.
    fn topics(&mut self) -> Result<Vec<String>, KafkaError>;

    /// The partitions of a topic; `None`: there is no such topic.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    fn partitions(&mut self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError>;

    /// First and last offsets.
    ///
    /// # Errors
    /// No broker answers, or a partition is not there.
    fn bounds(&mut self, parts: &[Part]) -> Result<Vec<Bounds>, KafkaError>;

    /// Offsets that the group of the settings has committed.
    ///
    /// # Errors
    /// No group, or its coordinator does not answer.
    fn committed(&mut self, parts: &[Part]) -> Result<Vec<Option<i64>>, KafkaError>;

    /// The same with what whoever committed them had to say, as far as the client knows it.
    ///
    /// # Errors
    /// As [`committed`](Self::committed).
    fn marks(&mut self, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError> {
        let of = |offset: i64| GroupOffset { offset, metadata: String::new() };
        Ok(self.committed(parts)?.into_iter().map(|o| o.map(of)).collect())
    }

    /// The first offset at or after a time, ms since the Unix epoch; `None`: nothing is so late.
    ///
    /// # Errors
    /// A client without timestamps, or no answer.
    fn offsets_at(&mut self, parts: &[Part], millis: i64) -> Result<Vec<Option<i64>>, KafkaError>;

    /// Assigns partitions, each with the offset to begin with, in place of those assigned before. Their order gives them
    /// their index in other calls.
    ///
    /// # Errors
    /// The assignment is refused.
    fn start(&mut self, parts: &[(Part, i64)]) -> Result<(), KafkaError>;

    /// Gives messages until `take` breaks or nothing more is there; waits at most `wait` for the first. A message that was
    /// given is consumed. Messages of one partition come in the order of their offsets, each once.
    ///
    /// # Errors
    /// After an error the client goes on behind the last message given, unless no retry helps.
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError>;

    /// Gives no more messages of that partition until it is resumed; what was fetched may be thrown away.
    ///
    /// # Errors
    /// The client refuses.
    fn pause(&mut self, part: usize) -> Result<(), KafkaError>;

    /// Gives messages of that partition again, from `offset` on.
    ///
    /// # Errors
    /// The client refuses.
    fn resume(&mut self, part: usize, offset: i64) -> Result<(), KafkaError>;

    /// Goes on at another offset.
    ///
    /// # Errors
    /// The client refuses.
    fn seek(&mut self, part: usize, offset: i64) -> Result<(), KafkaError>;

    /// Commits offsets for the group of the settings; returns when the broker has answered.
    ///
    /// # Errors
    /// No group, or the commit failed.
    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError>;

    /// Ends. Never takes longer than `deadline`.
    fn close(&mut self, deadline: Duration);
}

/// How much of an [`Outbox`] was accepted.
#[derive(Debug)]
pub struct Sent {
    /// So many messages, from the one that `send` was told to begin with.
    pub accepted: usize,
    /// Why not more: `Record` refuses the next message, `Retriable` means that the queue is full.
    pub stopped: Option<KafkaError>,
}

/// A message that was accepted and then not delivered.
#[derive(Debug)]
pub struct Failed {
    /// Its number, counted from 0 over all messages that this sink accepted.
    pub seq: u64,
    /// Why: `Record` concerns this message alone.
    pub error: KafkaError,
    /// Its value.
    pub value: Vec<u8>,
}

/// A producer. Owned by one thread at a time.
pub trait KafkaSink: Send {
    /// Number of partitions of a topic; `None`: there is no such topic.
    ///
    /// # Errors
    /// No broker answers.
    fn partitions(&mut self, topic: &str) -> Result<Option<i32>, KafkaError>;

    /// Names of all topics.
    ///
    /// # Errors
    /// No broker answers.
    fn topics(&mut self) -> Result<Vec<String>, KafkaError>;

    /// Makes a topic, with as many copies as the brokers think right. One that is there already is no error.
    ///
    /// # Errors
    /// The client can't, or the brokers refuse.
    fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), KafkaError>;

    /// Takes messages from index `from` on, in order. Does not wait for acknowledgements; may wait a moment for room.
    ///
    /// # Errors
    /// Nothing can be sent any more.
    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError>;

    /// Sees to it that what was accepted is on its way, and to acknowledgements that have arrived. Does not wait.
    ///
    /// # Errors
    /// Nothing can be sent any more.
    fn nudge(&mut self) -> Result<(), KafkaError>;

    /// Waits until every accepted message is acknowledged or has failed.
    ///
    /// # Errors
    /// `Retriable` if that is not so by the deadline.
    fn flush(&mut self, deadline: Duration) -> Result<(), KafkaError>;

    /// Takes the messages that failed since the last call.
    fn take_failed(&mut self) -> Vec<Failed>;

    /// Messages accepted, acknowledged and failed so far.
    fn counts(&self) -> Counts;

    /// Its transactions, if it was made with a transactional id.
    fn txn(&mut self) -> Option<&mut dyn KafkaTxn>;

    /// Ends; what is not acknowledged by then is lost. Never takes longer than `deadline`.
    fn close(&mut self, deadline: Duration);
}

/// What became of a sink's messages. `accepted = acked + failed` when nothing is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken by `send`.
    pub accepted: u64,
    /// Acknowledged by the brokers.
    pub acked: u64,
    /// Given up.
    pub failed: u64,
}

/// Transactions of a producer.
///
/// `Retriable` from any call means that its result is not known: the same call again goes on with it. Who gives up waiting has to
/// make a new producer, [`init`](Self::init) it, and look at the [`committed`](Self::committed) offsets. After `AbortTxn` only
/// [`abort`](Self::abort) is of use, and then a new producer; after `Fenced` nothing is.
pub trait KafkaTxn {
    /// Registers the transactional id and fences whoever used it before; what that one left open is aborted, or committed if its
    /// commit was under way.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    fn init(&mut self) -> Result<(), KafkaError>;
    /// Begins a transaction.
    ///
    /// # Errors
    /// One is open, or the producer is fenced.
    fn begin(&mut self) -> Result<(), KafkaError>;
    /// Puts a group's offsets into the transaction, each with the same metadata. Members of a group show their token.
    ///
    /// # Errors
    /// `AbortTxn` or `Fenced` as the coordinator says.
    fn send_offsets(
        &mut self,
        group: &str,
        offsets: &[(Part, i64)],
        metadata: &str,
        token: Option<&GroupToken>,
    ) -> Result<(), KafkaError>;
    /// What a group has committed, with the metadata; waits for the end of transactions that hold offsets of it.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    fn committed(&mut self, group: &str, parts: &[Part]) -> Result<Vec<Option<GroupOffset>>, KafkaError>;
    /// Commits what was sent and the offsets; waits for acknowledgements first.
    ///
    /// # Errors
    /// `AbortTxn`, also if a message was not delivered; `Fenced`; or `Retriable` if the result is not known.
    fn commit(&mut self) -> Result<(), KafkaError>;
    /// Throws away what was sent. Messages that were not acknowledged count as failed and are not given back.
    ///
    /// # Errors
    /// `Fenced`, or `Retriable` if the result is not known.
    fn abort(&mut self) -> Result<(), KafkaError>;
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The offset that comes next.
    pub offset: i64,
    /// What whoever committed it had to say.
    pub metadata: String,
}

/// What a source or sink says to the client, already checked against its [`Caps`].
#[derive(Clone, Debug)]
pub struct Connection {
    /// `host:port`, several separated by commas.
    pub servers: String,
    /// How long a call may take.
    pub timeout: Duration,
    /// Options of the library itself, without their prefix.
    pub native: Vec<(String, String)>,
}

/// Settings of a consumer.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Where.
    pub connection: Connection,
    /// Whose committed offsets are read and written.
    pub group: Option<String>,
    /// See committed transactions only.
    pub read_committed: bool,
    /// Messages carry headers.
    pub headers: bool,
    /// Bytes that are fetched ahead.
    pub prefetch_bytes: usize,
    /// What the client cannot tell from a loss is accepted (offsets that a compacted topic lacks).
    pub accept_gaps: bool,
    /// By whom messages are fetched, where the client has a choice.
    pub fetch: Fetch,
}

/// By whom messages are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fetch {
    /// By the engine where it can, else by the library.
    #[default]
    Auto,
    /// By the engine, or it is an error.
    Direct,
    /// By the library.
    Library,
}

/// Settings of a producer.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Where.
    pub connection: Connection,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// Every replica in sync acknowledges; else the leader alone.
    pub acks_all: bool,
    /// How long a message waits for others.
    pub linger: Duration,
    /// How long a message is tried.
    pub delivery_timeout: Duration,
    /// Bytes of the largest batch, before compression; `None`: the client's default, which is what it takes at most.
    pub batch_bytes: Option<usize>,
    /// Transactions under that id.
    pub transactional_id: Option<String>,
    /// How long a transaction may last before the brokers abort it and fence its producer.
    pub transaction_timeout: Duration,
}

/// A client library.
pub trait KafkaClient: Send + Sync {
    /// What it can do.
    fn caps(&self) -> Caps;
    /// Makes a consumer; connects to a broker.
    ///
    /// # Errors
    /// No broker answers, or the settings are refused.
    fn source(&self, settings: &SourceSettings) -> Result<Box<dyn KafkaSource>, KafkaError>;
    /// Makes a producer; connects to a broker.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    fn sink(&self, settings: &SinkSettings) -> Result<Box<dyn KafkaSink>, KafkaError>;
    /// The size of the largest batch that a topic takes, its `max.message.bytes`; `None`: this client can't ask, or there is no
    /// such topic.
    ///
    /// # Errors
    /// `Retriable` if no broker answers; else the brokers do not tell.
    fn largest(&self, _connection: &Connection, _topic: &str) -> Result<Option<usize>, KafkaError> {
        Ok(None)
    }
    /// Joins a group.
    ///
    /// # Errors
    /// As [`source`](Self::source); `Unsupported` without [`Caps::groups`].
    fn member(&self, settings: &MemberSettings) -> Result<Box<dyn KafkaMember>, KafkaError> {
        Err(KafkaError::new(
            KafkaErrorKind::Unsupported,
            format!("group {}: this client takes part in no group", settings.group),
        ))
    }
}
