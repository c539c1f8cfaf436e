//! Making topics, and asking for their settings. The library's interface for it is asynchronous; the caller's thread sleeps until it is done.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{config, kind_of, metadata, partitions_of, sorted};
use crate::connector::kafka::client::{Connection, KafkaError};
use crate::record::Clock;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a result, at most until a deadline.
fn wait<T>(future: impl Future<Output = T>, deadline: Duration) -> Option<T> {
    let clock = Clock::System;
    let until = clock.monotonic() + deadline;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        let left = until.saturating_sub(clock.monotonic());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

pub(super) fn create_topic(
    connection: &Connection,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), KafkaError> {
    let what = format!("topic {name} can't be made");
    let admin: AdminClient<DefaultClientContext> =
        FromClientConfig::from_config(&config::admin(connection)?).map_err(|e| sorted(&what, &e))?;
    // -1: as many copies as the brokers' default says.
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    for (setting, value) in settings {
        topic = topic.set(setting, value);
    }
    let options = AdminOptions::new()
        .request_timeout(Some(connection.timeout))
        .operation_timeout(Some(connection.timeout));
    let Some(done) = wait(admin.create_topics([&topic], &options), connection.timeout) else {
        return Err(KafkaError::retriable(format!("{what}: no answer within {:?}", connection.timeout)));
    };
    match done.map_err(|e| sorted(&what, &e))?.into_iter().next() {
        Some(Err((_, code))) if code != Code::TopicAlreadyExists => {
            Err(KafkaError::new(kind_of(code), format!("{what}: {code}")))
        }
        _ => Ok(()),
    }
}

/// `None`: there is no such topic.
pub(super) fn largest_batch(connection: &Connection, topic: &str) -> Result<Option<usize>, KafkaError> {
    const SETTING: &str = "max.message.bytes";
    let what = format!("brokers {}: {SETTING} of topic {topic}", connection.servers);
    let admin: AdminClient<DefaultClientContext> =
        FromClientConfig::from_config(&config::admin(connection)?).map_err(|e| sorted(&what, &e))?;
    let options = AdminOptions::new().request_timeout(Some(connection.timeout));
    let asked = [ResourceSpecifier::Topic(topic)];
    let Some(done) = wait(admin.describe_configs(&asked, &options), connection.timeout) else {
        return Err(KafkaError::retriable(format!("{what}: no answer within {:?}", connection.timeout)));
    };
    match done.map_err(|e| sorted(&what, &e))?.into_iter().next() {
        Some(Ok(found)) => match found.get(SETTING).and_then(|entry| entry.value.as_ref()?.parse().ok()) {
            Some(largest) => Ok(Some(largest)),
            // The crate gives no settings, and not the error, of a topic that is not there or may not be described.
            None => match partitions_of(&metadata(admin.inner(), connection)?, topic)? {
                None => Ok(None),
                Some(_) => Err(KafkaError::fatal(format!(
                    "{what}: the brokers do not say (DescribeConfigs is a right of its own)"
                ))),
            },
        },
        Some(Err(code)) => Err(KafkaError::new(kind_of(code), format!("{what}: {code}"))),
        None => Err(KafkaError::fatal(format!("{what}: no answer"))),
    }
}
