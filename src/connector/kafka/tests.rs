//! The conformance suite over the simulator, and what only the simulator can show.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::client::KafkaClient;
use super::conformance::{self, Cluster, Verdict};
use super::sim::SimKafka;

/// A simulated cluster under test.
struct Simulated {
    sim: SimKafka,
    topics: AtomicUsize,
}

impl Cluster for Simulated {
    fn client(&self) -> Arc<dyn KafkaClient> {
        Arc::new(self.sim.clone())
    }
    fn servers(&self) -> String {
        "sim:1".into()
    }
    fn topic(&self, partitions: usize, settings: &[(&str, &str)]) -> Result<String, String> {
        let name = format!("topic-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        self.sim.create(&name, partitions);
        let largest = settings.iter().find(|(n, _)| *n == "max.message.bytes");
        self.sim.limit_topic(&name, largest.and_then(|(_, v)| v.parse().ok()));
        Ok(name)
    }
    fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Verdict {
        self.sim.delete_before(topic, partition, offset);
        Ok(())
    }
    fn outlast_transactions(&self) {
        self.sim.expire_transactions();
    }
    fn expel(&self, group: &str, _static_id: &str) -> Verdict {
        self.sim.expire_member(group);
        Ok(())
    }
    fn silence(&self) -> Duration {
        Duration::from_millis(20)
    }
}

fn all_hold(sim: SimKafka) {
    let outcome = conformance::run(&Simulated { sim, topics: AtomicUsize::new(0) }, "", &mut |_, _| {});
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    assert!(outcome.passed >= 36, "{outcome:?}");
}

#[test]
fn the_simulator_conforms() {
    all_hold(SimKafka::new());
}

#[test]
fn members_of_the_simulator_conform() {
    let cluster = Simulated { sim: SimKafka::new(), topics: AtomicUsize::new(0) };
    let outcome = conformance::run_all(&cluster, conformance::member_cases(), &mut |_, _| {});
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    assert_eq!((outcome.passed, outcome.not_asked), (12, 0));
}

#[test]
fn a_simulator_that_can_do_less_conforms() {
    all_hold(SimKafka::new().with_caps(|caps| {
        (caps.headers, caps.timestamps, caps.nulls, caps.read_committed) = (false, false, false, false);
        (caps.compression, caps.transactions) = (&["none"], false);
    }));
}

#[test]
fn a_producer_with_a_short_queue_conforms() {
    let sim = SimKafka::new();
    sim.limit_queue(3);
    all_hold(sim);
}
