//! Transactional jobs between simulated topics and files: crashes, calls that fail, answers that get lost, transactions that last too
//! long, and instances that come back from the dead. What readers of committed transactions and of final part files see holds
//! each row at most once at any time, and exactly once in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use millstream::catalog::{ColumnDef, Options};
use millstream::connector::kafka::client::KafkaErrorKind;
use millstream::connector::kafka::sim::{Op, SPEC, SimKafka, SimMessage};
use millstream::connector::kafka::{sink_by, source_by};
use millstream::connector::{SinkRequest, SourceRequest};
use millstream::job::{
    CommitInterval, JobConfig, JobHandle, JobSpec, Mode, OnError, SinkPart, SourcePart, Step, stepping,
};
use millstream::plan::JobPlan;
use millstream::record::Clock;
use millstream::{DataSink, DataSource, DataType, Engine, Stop};

use crate::disk::FakeDisk;
use crate::doors::{Rng, Row, SimSink, SimSource, World};
use crate::jobs::{plain_parts, rows, show};

static STARTS: AtomicU64 = AtomicU64::new(0);
static DEATHS: AtomicU64 = AtomicU64::new(0);
static ZOMBIES: AtomicU64 = AtomicU64::new(0);

/// What happened, for the log.
pub fn summary() -> String {
    let [starts, deaths, zombies] = [&STARTS, &DEATHS, &ZOMBIES].map(|n| n.load(Ordering::Relaxed));
    format!("{starts} starts, {deaths} of them ended by a fault, {zombies} instances came back from the dead")
}

const HURT: usize = 25;
const ROUNDS: usize = 20_000;
const PARTITIONS: i32 = 2;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    TopicToTopic,
    TopicToFiles,
    RowsToTopic,
    TopicToBoth,
    /// A topic and rows, united into a topic.
    TwoToTopic,
    /// Counts by key, each change a message.
    Counts,
}

const WAYS: [Way; 6] =
    [Way::TopicToTopic, Way::TopicToFiles, Way::RowsToTopic, Way::TopicToBoth, Way::TwoToTopic, Way::Counts];

impl Way {
    fn sql(self) -> &'static str {
        match self {
            Way::TopicToTopic | Way::TopicToFiles => {
                "INSERT INTO out SELECT id, key FROM src WHERE id % 3 <> 0"
            }
            Way::RowsToTopic => "INSERT INTO out SELECT id, key FROM more WHERE id % 3 <> 0",
            Way::TopicToBoth => {
                "INSERT INTO out SELECT id, key FROM src WHERE id % 3 <> 0; INSERT INTO files SELECT id, key FROM src WHERE id % 3 <> 0"
            }
            Way::TwoToTopic => {
                "INSERT INTO out SELECT id, key FROM src WHERE id % 3 <> 0 UNION ALL SELECT id, key FROM more WHERE id % 3 <> 0"
            }
            Way::Counts => "INSERT INTO out SELECT key, count(*) AS c FROM src GROUP BY key EMIT CHANGES",
        }
    }

    fn plan(self) -> JobPlan {
        static PLANS: OnceLock<Mutex<BTreeMap<Way, JobPlan>>> = OnceLock::new();
        let mut plans = PLANS.get_or_init(Mutex::default).lock().unwrap();
        let make = || {
            let world = World::new(Rng(0));
            let sim = SimKafka::new();
            sim.serve("sim:1");
            let engine = Engine::new();
            engine.register_connector(SPEC);
            engine.register_source("more", SimSource::new("more", Vec::new(), &world)).unwrap();
            engine.register_sink("files", SimSink::new(&world, true, false, show)).unwrap();
            let with = "WITH (connector = 'kafka', bootstrap_servers = 'sim:1', format = 'json', topic =";
            let upsert = if self == Way::Counts { ", changelog = 'upsert', key_columns = 'key'" } else { "" };
            let text = format!(
                "CREATE STREAM src (id BIGINT, key BIGINT) {with} 'in', stop = 'latest');
                 CREATE STREAM out {with} 'out'{upsert}); {}",
                self.sql()
            );
            engine.sql(&text).unwrap().jobs()[0].plan.clone()
        };
        plans.entry(self).or_insert_with(make).clone()
    }
    fn reads_topic(self) -> bool {
        self != Way::RowsToTopic
    }
    fn reads_rows(self) -> bool {
        matches!(self, Way::RowsToTopic | Way::TwoToTopic)
    }
    fn writes_topic(self) -> bool {
        self != Way::TopicToFiles
    }
    fn writes_files(self) -> bool {
        matches!(self, Way::TopicToFiles | Way::TopicToBoth)
    }
}

struct Simulation {
    way: Way,
    world: World,
    sim: SimKafka,
    disk: FakeDisk,
    rows: Vec<Row>,
    more: SimSource,
    config: JobConfig,
    /// Something was armed that may end a job.
    hurt: bool,
    zombies: Vec<JobHandle>,
    now: i64,
}

fn options(pairs: &[(&str, &str)]) -> Options {
    let base = [("bootstrap_servers", "sim:1"), ("format", "json"), ("timeout", "3ms")];
    Options::new(base.into_iter().chain(pairs.iter().copied()))
}

fn simulation(seed: u64) -> Simulation {
    let mut rng = Rng(seed.wrapping_mul(0x9e6c_63d0_876a_8e1b) ^ 0x70b1c5);
    let way = WAYS[rng.below(WAYS.len() as u64) as usize];
    let (input, more) = (rows(&mut rng, 1000), rows(&mut rng, 5000));
    let sim = SimKafka::new();
    for topic in ["in", "out", "letters"] {
        sim.create(topic, PARTITIONS as usize);
    }
    for row in &input {
        let text = match row.broken {
            true => format!("{{\"id\":{},", row.id),
            false => format!("{{\"id\":{},\"key\":{}}}", row.id, row.key),
        };
        sim.append("in", (row.id % i64::from(PARTITIONS)) as i32, SimMessage::of(&text));
    }
    let interval = CommitInterval::Rows(1 + rng.below(60));
    let batch_rows = 1 + rng.below(20) as usize;
    let snapshot_slice = 1 << rng.below(14);
    let world = World::new(rng);
    let config = JobConfig {
        name: "job".into(),
        state: Some("/state".into()),
        commit_interval: interval,
        batch_rows,
        snapshot_slice,
        // Now and then the sinks hold back more than that.
        channel_bytes: 1 << 10,
        on_error: OnError::Dlq,
        mode: Mode::Transactional,
        ..JobConfig::default()
    };
    let more = SimSource::new("more", more, &world);
    Simulation {
        way,
        world,
        sim,
        disk: FakeDisk::default(),
        rows: input,
        more,
        config,
        hurt: false,
        zombies: Vec::new(),
        now: 1_000_000,
    }
}

/// Runs the simulation of a seed; says what went wrong.
pub fn simulate(seed: u64) -> Result<(), String> {
    let mut s = simulation(seed);
    let verdict = s.run();
    let violation = std::mem::take(&mut s.world.state().violations).into_iter().next();
    violation.map_or(verdict, Err).map_err(|what| format!("seed {seed} of the topics ({:?}): {what}", s.way))
}

impl Simulation {
    fn spec(&self) -> JobSpec {
        let client = || Arc::new(self.sim.clone());
        let column =
            |name: &str| ColumnDef { name: name.into(), data_type: DataType::BigInt, not_null: false };
        let columns = [column("id"), column("key")];
        let topic = || -> Arc<dyn DataSource> {
            let options = options(&[("topic", "in"), ("stop", "latest"), ("group_id", "readers")]);
            let request =
                SourceRequest { name: "src", columns: &columns, options: &options, clock: &Clock::System };
            source_by(client(), &request).unwrap()
        };
        let to = |topic: &str, more: &[(&str, &str)]| -> Arc<dyn DataSink> {
            let mut options = options(&[("topic", topic)]);
            more.iter().for_each(|(n, v)| options.set(*n, *v));
            let request = SinkRequest { name: topic, options: &options, sets: &[] };
            sink_by(client(), &request).unwrap().staged("job", None).unwrap()
        };
        let plan = self.way.plan();
        let source = |relation: &str| SourcePart {
            name: relation.into(),
            source: if relation == "src" { topic() } else { Arc::new(self.more.clone()) },
            on_error: None,
        };
        let upsert: &[(&str, &str)] = match self.way {
            Way::Counts => &[("changelog", "upsert"), ("key_columns", "key")],
            _ => &[],
        };
        let sink = |relation: &str| {
            let files = relation == "files" || self.way == Way::TopicToFiles;
            let sink = if files {
                Arc::new(plain_parts(&self.disk)) as Arc<dyn DataSink>
            } else {
                to("out", upsert)
            };
            SinkPart { name: relation.into(), sink }
        };
        // Letters go where the rows go: in the same transactions, or into files of their own.
        let letters: Arc<dyn DataSink> = match self.way.writes_topic() {
            true => to("letters", &[]),
            false => Arc::new(crate::jobs::letter_parts(&self.disk)),
        };
        JobSpec {
            config: JobConfig { medium: Arc::new(self.disk.clone()), ..self.config.clone() },
            sources: plan.sources.iter().map(|s| source(&s.relation)).collect(),
            sinks: plan.sinks.iter().map(|s| sink(&s.relation)).collect(),
            dead_letters: Some(SinkPart { name: "letters".into(), sink: letters }),
            plan,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for start in 0.. {
            if start == HURT {
                self.world.state().calm = true;
                self.sim.calm();
                self.zombies.clear();
            }
            if start > HURT + 5 {
                return Err("it does not come to an end although nothing fails any more".into());
            }
            self.arm();
            STARTS.fetch_add(1, Ordering::Relaxed);
            let done = self.start()?;
            if !self.world.state().violations.is_empty() {
                return Ok(());
            }
            self.check(done)?;
            if done {
                return Ok(());
            }
        }
        Ok(())
    }

    fn arm(&mut self) {
        let mut state = self.world.state();
        state.excused = false;
        self.hurt = false;
        let (mut power, mut failure) = (None, None);
        if !state.calm && state.rng.one_in(3) {
            power = Some(state.rng.below(150));
        }
        if !state.calm && state.rng.one_in(5) {
            failure = Some(state.rng.below(150));
        }
        drop(state);
        self.disk.arm(power, failure);
    }

    /// One thing that may go wrong with the brokers.
    fn trouble(&mut self) {
        const OPS: [Op; 13] = [
            Op::Connect,
            Op::Poll,
            Op::PollMidway,
            Op::Send,
            Op::Deliver,
            Op::Flush,
            Op::TxnInit,
            Op::TxnOffsets,
            Op::TxnCommit,
            Op::TxnCommitted,
            Op::TxnStuck,
            Op::TxnStuckCommitted,
            Op::TxnAbort,
        ];
        let mut state = self.world.state();
        let op = OPS[state.rng.below(OPS.len() as u64) as usize];
        let kind = match op {
            // Of an answer that is lost only the loss is known.
            Op::TxnCommitted | Op::TxnStuck | Op::TxnStuckCommitted => KafkaErrorKind::Retriable,
            Op::TxnOffsets | Op::TxnCommit if state.rng.one_in(2) => KafkaErrorKind::AbortTxn,
            _ if state.rng.one_in(3) => KafkaErrorKind::Fatal,
            _ => KafkaErrorKind::Retriable,
        };
        let panics = state.rng.one_in(8);
        drop(state);
        self.hurt = true;
        match panics {
            true => self.sim.panic_in(op),
            false => self.sim.fail(op, 1, kind, "scripted trouble"),
        }
    }

    /// Runs an instance; whether it came to its end.
    fn start(&mut self) -> Result<bool, String> {
        let calm = self.world.state().calm;
        if !calm && self.world.state().rng.one_in(3) {
            self.trouble();
        }
        let mut handle = match stepping(self.spec(), self.now) {
            Ok(handle) => handle,
            Err(e) => {
                let end = self.excuse(&e.to_string());
                self.crash();
                return end;
            }
        };
        let mut asked = false;
        for _ in 0..ROUNDS {
            match handle.step(self.now) {
                Ok(Step::Done) => return Ok(!asked),
                Ok(Step::Worked) => self.now += self.world.state().rng.below(3000) as i64,
                Ok(Step::Idle(until)) => {
                    self.now = until.filter(|u| *u > self.now).unwrap_or(self.now + 1000)
                }
                Err(e) => {
                    let end = self.excuse(&e.to_string());
                    // What it left in doubt is decided by the next instance.
                    drop(handle);
                    self.crash();
                    return end;
                }
            }
            if calm {
                continue;
            }
            self.wake_a_zombie();
            let mut state = self.world.state();
            let (dies, trouble, expires) =
                (state.rng.one_in(50), state.rng.one_in(25), state.rng.one_in(150));
            if !asked && state.rng.one_in(200) {
                asked = true;
                handle.stop(Stop::Checkpoint);
            }
            drop(state);
            if trouble {
                self.trouble();
            }
            if expires {
                self.hurt = true;
                self.sim.expire_transactions();
            }
            if dies {
                self.end(handle);
                return Ok(false);
            }
        }
        Err("it does not get on".into())
    }

    /// An instance dies, or only seems to: then another one goes on elsewhere with a copy of its state.
    fn end(&mut self, handle: JobHandle) {
        // Only brokers shut an instance out that works on a copy of the state.
        if self.way.writes_topic() && self.world.state().rng.one_in(3) && !self.disk.has_failed() {
            self.disk = self.disk.fork();
            // Rows that its source has let go of must not be asked for by the dead one.
            self.world.state().lets_go = false;
            self.zombies.push(handle);
            return;
        }
        drop(handle);
        self.crash();
    }

    fn wake_a_zombie(&mut self) {
        let (wakes, at) = {
            let mut state = self.world.state();
            (!self.zombies.is_empty() && state.rng.one_in(4), state.rng.next())
        };
        if !wakes {
            return;
        }
        let at = (at % self.zombies.len() as u64) as usize;
        match self.zombies[at].step(self.now) {
            Ok(Step::Done) => {
                self.world.violation("an instance that was replaced has come to a good end".into());
            }
            Ok(_) => {}
            Err(_) => {
                ZOMBIES.fetch_add(1, Ordering::Relaxed);
                self.zombies.remove(at);
            }
        }
    }

    fn crash(&mut self) {
        DEATHS.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng(self.world.state().rng.next());
        let power = rng.one_in(2) || self.disk.has_failed();
        self.disk.restart(&mut rng, power);
    }

    fn excuse(&self, error: &str) -> Result<bool, String> {
        if std::env::var_os("FAULT_SEED").is_some() {
            println!("{error}");
        }
        // What was scripted in an earlier start may show only now.
        let scripted = self.hurt || error.contains("scripted");
        match scripted || self.world.state().excused || self.disk.has_failed() {
            true => Ok(false),
            false => Err(format!("it failed although nothing was wrong: {error}")),
        }
    }

    /// Ids of rows and letters that must be there in the end.
    fn expected(&self) -> (Vec<i64>, Vec<i64>) {
        let inputs = [(self.way.reads_topic(), &self.rows), (self.way.reads_rows(), &*self.more.rows)];
        let all = || inputs.iter().filter(|(reads, _)| *reads).flat_map(|(_, rows)| rows.iter());
        let rows = all().filter(|r| !r.broken && r.id % 3 != 0).map(|r| r.id).collect();
        (rows, all().filter(|r| r.broken).map(|r| r.id).collect())
    }

    fn check(&self, done: bool) -> Result<(), String> {
        let (rows, letters) = self.expected();
        if self.way == Way::Counts {
            self.check_counts(done)?;
        } else if self.way.writes_topic() {
            compare("topic", &rows, ids(&self.sim, "out", "id"), done)?;
        }
        if self.way.writes_topic() {
            compare("letters", &letters, ids(&self.sim, "letters", "raw"), done)?;
        } else {
            compare(
                "letters",
                &letters,
                self.disk.parts("/letters").iter().map(|l| id_in(l)).collect(),
                done,
            )?;
        }
        if self.way.writes_files() {
            let seen = self.disk.parts("/out");
            compare("files", &rows, seen.iter().map(|l| id_in(l)).collect(), done)?;
            if done && self.disk.staged("/out") > 0 {
                return Err("files are left in .stage".into());
            }
        }
        Ok(())
    }

    /// The counts of a key only grow, by the messages of its partition, and end where they must.
    fn check_counts(&self, done: bool) -> Result<(), String> {
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for message in (0..PARTITIONS).flat_map(|p| self.sim.messages("out", p)) {
            let row: serde_json::Value = serde_json::from_slice(&message.value.unwrap_or_default()).unwrap();
            let (key, count) = (row["key"].as_i64().unwrap(), row["c"].as_i64().unwrap());
            if last.insert(key, count).is_some_and(|before| before >= count) {
                return Err(format!("the count of {key} comes to {count} from something as large"));
            }
        }
        let mut expected: BTreeMap<i64, i64> = BTreeMap::new();
        self.rows.iter().filter(|r| !r.broken).for_each(|r| *expected.entry(r.key).or_default() += 1);
        match !done || last == expected {
            true => Ok(()),
            false => Err(format!("the counts are {last:?}, not {expected:?}")),
        }
    }
}

/// The first number of a text.
fn id_in(text: &str) -> i64 {
    let digits: String =
        text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(-1)
}

/// The ids of the messages that readers of committed transactions see.
fn ids(sim: &SimKafka, topic: &str, field: &str) -> Vec<i64> {
    let id = |m: SimMessage| {
        let row: serde_json::Value = serde_json::from_slice(&m.value.unwrap_or_default()).unwrap();
        match &row[field] {
            serde_json::Value::String(raw) => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(raw).unwrap_or_default();
                id_in(&String::from_utf8_lossy(&bytes))
            }
            number => number.as_i64().unwrap_or(-1),
        }
    };
    (0..PARTITIONS).flat_map(|p| sim.messages(topic, p)).map(id).collect()
}

/// Each at most once; all of them in the end.
fn compare(what: &str, expected: &[i64], seen: Vec<i64>, done: bool) -> Result<(), String> {
    let mut left: BTreeMap<i64, bool> = expected.iter().map(|id| (*id, false)).collect();
    for id in &seen {
        match left.get_mut(id) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(format!("{what}: {id} is there twice")),
            None => return Err(format!("{what}: {id} should not be there")),
        }
    }
    match left.iter().find(|(_, seen)| done && !**seen) {
        Some((id, _)) => Err(format!("{what}: {id} is lost")),
        None => Ok(()),
    }
}
