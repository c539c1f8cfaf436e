//! Kafka in memory: topics, groups' offsets, transactions with their visibility, and faults on order.
//!
//! For tests: nothing in the crate refers to it but its own [`SPEC`], which a program has to register under the name of the
//! connector that it replaces.

mod broker;
mod group;
mod sink;
mod source;
mod txn;

pub use broker::{Op, SimMessage};

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::client::{
    Caps, Connection, KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, KafkaSource, Part, SinkSettings,
    SourceSettings,
};
use super::member::{KafkaMember, MemberSettings};
use crate::catalog::Options;
use crate::connector::registry::ConnectorSpec;
use crate::io::IoError;
use broker::{Broker, Fault};

/// A cluster. Clones are the same one.
#[derive(Clone)]
pub struct SimKafka {
    broker: Arc<Mutex<Broker>>,
    caps: Caps,
}

/// Everything that a client can do.
const ALL: Caps = Caps {
    client: "sim",
    headers: true,
    timestamps: true,
    nulls: true,
    read_committed: true,
    transactions: true,
    compression: &["none", "gzip", "snappy", "lz4", "zstd"],
    groups: true,
    native_options: true,
    direct_fetch: false,
};

impl Default for SimKafka {
    fn default() -> Self {
        Self::new()
    }
}

fn served() -> &'static Mutex<BTreeMap<String, SimKafka>> {
    static SERVED: OnceLock<Mutex<BTreeMap<String, SimKafka>>> = OnceLock::new();
    SERVED.get_or_init(Mutex::default)
}

/// The connector `kafka` over clusters that were [served](SimKafka::serve).
pub const SPEC: ConnectorSpec = ConnectorSpec {
    source: Some(|request| super::source_by(find(request.options)?, request)),
    sink: Some(|request| super::sink_by(find(request.options)?, request)),
    ..super::SPEC
};

fn find(options: &Options) -> Result<Arc<dyn KafkaClient>, IoError> {
    let servers = options.get("bootstrap_servers").unwrap_or_default();
    match served().lock().get(servers) {
        Some(sim) => Ok(Arc::new(sim.clone())),
        None => Err(IoError::config(format!("no simulated cluster is served at '{servers}'"))),
    }
}

impl SimKafka {
    /// An empty cluster.
    pub fn new() -> Self {
        Self { broker: Arc::default(), caps: ALL }
    }
    /// The same cluster, seen by a client that can do less.
    pub fn with_caps(&self, change: impl FnOnce(&mut Caps)) -> Self {
        let mut other = self.clone();
        change(&mut other.caps);
        other
    }
    /// Makes the cluster reachable as `bootstrap_servers = address`, for [`SPEC`].
    pub fn serve(&self, address: &str) {
        served().lock().insert(address.to_owned(), self.clone());
    }
    /// Makes a topic.
    pub fn create(&self, topic: &str, partitions: usize) {
        self.broker.lock().create(topic, partitions);
    }
    /// Gives a topic more partitions.
    pub fn grow(&self, topic: &str, partitions: usize) {
        self.broker.lock().grow(topic, partitions);
    }
    /// Appends a message as if a producer had sent it.
    pub fn append(&self, topic: &str, partition: i32, message: SimMessage) {
        self.broker.lock().append(topic, partition, message, None);
    }
    /// The messages of a partition that a reader of committed transactions sees.
    pub fn messages(&self, topic: &str, partition: i32) -> Vec<SimMessage> {
        self.broker.lock().visible(topic, partition)
    }
    /// Deletes what is before `offset`, as retention does.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        self.broker.lock().delete_before(topic, partition, offset);
    }
    /// What a group has committed.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.broker.lock().committed(group, topic, partition).map(|c| c.offset)
    }
    /// The same with what its committer had to say.
    pub fn metadata(&self, group: &str, topic: &str, partition: i32) -> Option<String> {
        self.broker.lock().committed(group, topic, partition).map(|c| c.metadata.clone())
    }
    /// Somebody sets a group's offset by hand.
    pub fn set_committed(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let part = Part { topic: topic.into(), partition };
        self.broker.lock().commit(group, &part, offset, metadata);
    }
    /// What a group has committed is forgotten, as it is when the group is away for long.
    pub fn forget_group(&self, group: &str) {
        self.broker.lock().forget(group);
    }
    /// Ends the transactions that are open as the brokers do when they last too long: aborted, their producers fenced.
    pub fn expire_transactions(&self) {
        self.broker.lock().expire();
    }
    /// The same for one transactional id, whose holder has died.
    pub fn expire_transaction_of(&self, id: &str) {
        self.broker.lock().expire_one(id);
    }
    /// The next `times` calls of that kind fail.
    pub fn fail(&self, op: Op, times: usize, kind: KafkaErrorKind, message: &str) {
        let fault = Fault::Error(KafkaError::new(kind, message));
        self.broker.lock().faults.entry(op).or_default().extend(std::iter::repeat_n(fault, times));
    }
    /// The client panics in the next call of that kind, on the thread that makes it.
    pub fn panic_in(&self, op: Op) {
        self.broker.lock().faults.entry(op).or_default().push_back(Fault::Panic);
    }
    /// No call fails any more.
    pub fn calm(&self) {
        self.broker.lock().faults.clear();
    }
    /// Takes the member of a group that joined first for dead; it does not know.
    pub fn expire_member(&self, group: &str) {
        self.broker.lock().expire_member(group);
    }
    /// Members of a group, and whether all have what they are to have.
    pub fn members(&self, group: &str) -> (usize, bool) {
        self.broker.lock().members(group)
    }
    /// Batches of one message that are larger are refused by the broker, after the client has accepted them.
    pub fn limit_topic(&self, topic: &str, bytes: Option<usize>) {
        self.broker.lock().largest.insert(topic.to_owned(), bytes.unwrap_or(usize::MAX));
    }
    /// A producer holds at most so many messages that are not acknowledged.
    pub fn limit_queue(&self, messages: usize) {
        self.broker.lock().queue = Some(messages);
    }
}

impl KafkaClient for SimKafka {
    fn caps(&self) -> Caps {
        self.caps
    }
    fn source(&self, settings: &SourceSettings) -> Result<Box<dyn KafkaSource>, KafkaError> {
        self.broker.lock().meet(Op::Connect)?;
        Ok(Box::new(source::SimSource::new(self.broker.clone(), settings.clone(), self.caps)))
    }
    fn sink(&self, settings: &SinkSettings) -> Result<Box<dyn KafkaSink>, KafkaError> {
        if settings.transactional_id.is_some() && !self.caps.transactions {
            return Err(KafkaError::new(KafkaErrorKind::Unsupported, "no transactions"));
        }
        self.broker.lock().meet(Op::Connect)?;
        Ok(Box::new(sink::SimSink::new(self.broker.clone(), settings.clone(), self.caps)))
    }
    fn largest(&self, _connection: &Connection, topic: &str) -> Result<Option<usize>, KafkaError> {
        let mut broker = self.broker.lock();
        broker.meet(Op::Describe)?;
        Ok(broker.largest.get(topic).copied())
    }
    fn member(&self, settings: &MemberSettings) -> Result<Box<dyn KafkaMember>, KafkaError> {
        self.broker.lock().meet(Op::Connect)?;
        Ok(Box::new(group::SimMember::join(self.broker.clone(), settings.clone(), self.caps)))
    }
}
