//! One simulation: a job is stepped, hurt, killed and started again until it is done, then its output is checked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use millstream::job::{
    CommitInterval, JobConfig, JobHandle, JobSpec, Mode, OnError, SinkPart, SourcePart, Step, stepping,
};
use millstream::plan::JobPlan;
use millstream::{DataSource, Stop};

use crate::disk::FakeDisk;
use crate::doors::{Rng, SimSink, SimSource, World};
use crate::jobs::{KINDS, Kind, parts, rows, show, show_letter};

/// Starts and deaths so far, for the summary.
pub static STARTS: AtomicU64 = AtomicU64::new(0);
pub static DEATHS: AtomicU64 = AtomicU64::new(0);

/// Jobs that put groups on disk.
pub static STORES: AtomicU64 = AtomicU64::new(0);

/// Starts after which nothing fails any more.
const HURT: usize = 30;
/// Memory of groups, of which half is for tables: some of them fit.
#[cfg(feature = "disk-state")]
const STORED_BYTES: usize = 24 << 10;
/// Rounds of one start: far more than any takes.
const ROUNDS: usize = 50_000;

/// Plans are made once: they do not depend on the seed.
fn plan_of(kind: Kind) -> JobPlan {
    static PLANS: OnceLock<Mutex<BTreeMap<Kind, JobPlan>>> = OnceLock::new();
    let mut plans = PLANS.get_or_init(Mutex::default).lock().unwrap();
    plans.entry(kind).or_insert_with(|| kind.plan()).clone()
}

struct Simulation {
    kind: Kind,
    world: World,
    disk: FakeDisk,
    sources: Vec<SimSource>,
    out: SimSink,
    letters: SimSink,
    spec: JobSpec,
    rots: bool,
    /// The output goes into part files on the disk, exactly once.
    transactional: bool,
    now: i64,
}

/// Whether a start came to an end of its own, and whether it had been asked to stop.
enum End {
    Done,
    Stopped,
    Broken,
}

fn simulation(seed: u64) -> Simulation {
    let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
    let kind = KINDS[rng.below(KINDS.len() as u64) as usize];
    let mut inputs: Vec<_> =
        (1..).zip(kind.sources()).map(|(i, name)| (*name, rows(&mut rng, i * 1000))).collect();
    if kind == Kind::Limit {
        // How far it reads depends on batches, and so do the letters.
        inputs.iter_mut().for_each(|(_, rows)| rows.retain(|r| !r.broken));
    }
    let cuts = !rng.one_in(3);
    let transactional = rng.one_in(3);
    // A transactional job refuses to go on from an earlier checkpoint, so it would never end.
    let rots = !transactional && rng.one_in(4);
    let refuses = kind.refuses() && !transactional;
    let interval = match rng.below(3) {
        0 => CommitInterval::Time(Duration::from_millis(rng.below(20))),
        1 => CommitInterval::Rows(1 + rng.below(40)),
        _ => CommitInterval::Bytes(1 + rng.below(2000)),
    };
    let batch_rows = 1 + rng.below(20) as usize;
    // A group or a few between two rounds, or all at once.
    let snapshot_slice = [1, 16, 100, 1 << 18][rng.below(4) as usize];
    // Whether an epoch writes only what changed.
    let whole_below = if rng.one_in(3) { 1 << 20 } else { 0 };
    let disk = FakeDisk::default();
    let parts = parts(&disk, kind, &mut rng);
    let world = World::new(rng);
    world.state().lets_go = !rots;
    let sources: Vec<SimSource> =
        inputs.into_iter().map(|(name, rows)| SimSource::new(name, rows, &world)).collect();
    let out = SimSink::new(&world, cuts, refuses, show);
    let letters = SimSink::new(&world, true, false, show_letter);
    let config = JobConfig {
        name: "job".into(),
        state: Some("/state".into()),
        medium: Arc::new(disk.clone()),
        commit_interval: interval,
        batch_rows,
        snapshot_slice,
        whole_below,
        on_error: OnError::Dlq,
        mode: if transactional { Mode::Transactional } else { Mode::Simple },
        ..JobConfig::default()
    };
    #[cfg(feature = "disk-state")]
    let config = match kind {
        Kind::Stored => JobConfig {
            state_backend: millstream::job::StateBackend::Disk,
            state_max_bytes: STORED_BYTES,
            ..config
        },
        _ => config,
    };
    let part = |source: &SimSource| SourcePart {
        name: source.name.into(),
        source: Arc::new(source.clone()) as Arc<dyn DataSource>,
        on_error: None,
    };
    let spec = JobSpec {
        config,
        plan: plan_of(kind),
        sources: sources.iter().map(part).collect(),
        sinks: vec![SinkPart {
            name: "out".into(),
            sink: if transactional { Arc::new(parts) } else { Arc::new(out.clone()) },
        }],
        dead_letters: Some(SinkPart { name: "letters".into(), sink: Arc::new(letters.clone()) }),
    };
    Simulation { kind, world, disk, sources, out, letters, spec, rots, transactional, now: 1_000_000 }
}

/// Runs the simulation of a seed; says what went wrong.
pub fn simulate(seed: u64) -> Result<(), String> {
    let mut s = simulation(seed);
    let verdict = s.run();
    let named = |what: String| format!("seed {seed} ({:?}): {what}", s.kind);
    let violations = std::mem::take(&mut s.world.state().violations);
    match violations.into_iter().next() {
        Some(first) => Err(named(first)),
        None => verdict.map_err(named),
    }
}

impl Simulation {
    fn run(&mut self) -> Result<(), String> {
        for start in 0.. {
            if start == HURT {
                self.world.state().calm = true;
            }
            // The state of one division is read into another.
            self.spec.config.state_shards = [1, 3, 8].get(start % 3).copied();
            if start > HURT + 5 {
                return Err("it does not come to an end although nothing fails any more".into());
            }
            self.arm();
            STARTS.fetch_add(1, Ordering::Relaxed);
            match self.start()? {
                End::Done => break,
                End::Stopped => self.disk.restart(&mut Rng(0), false),
                End::Broken => self.crash(),
            }
            if !self.world.state().violations.is_empty() {
                return Ok(());
            }
            self.check_visible()?;
        }
        self.check()?;
        #[cfg(feature = "disk-state")]
        if self.kind == Kind::Stored && self.disk.has("groups.redb") {
            STORES.fetch_add(1, Ordering::Relaxed);
        }
        // A job that has ended does nothing more.
        self.disk.restart(&mut Rng(0), false);
        self.world.state().calm = true;
        let mut again = stepping(self.spec.clone(), self.now).map_err(|e| format!("after its end: {e}"))?;
        match again.step(self.now) {
            Ok(Step::Done) => self.check(),
            other => Err(format!("after its end it goes on: {other:?}")),
        }
    }

    /// What will befall the disk in this start.
    fn arm(&self) {
        let mut state = self.world.state();
        state.excused = false;
        let (mut power, mut failure) = (None, None);
        if !state.calm && state.rng.one_in(2) {
            power = Some(state.rng.below(120));
        }
        if !state.calm && state.rng.one_in(4) {
            failure = Some(state.rng.below(120));
        }
        self.disk.arm(power, failure);
    }

    fn start(&mut self) -> Result<End, String> {
        let mut handle = match stepping(self.spec.clone(), self.now) {
            Ok(handle) => handle,
            Err(e) => return self.excuse(&e.to_string(), "it does not start"),
        };
        let mut asked = false;
        for _ in 0..ROUNDS {
            match handle.step(self.now) {
                Ok(Step::Done) if asked => return Ok(End::Stopped),
                Ok(Step::Done) => return Ok(End::Done),
                Ok(Step::Worked) => self.now += self.world.state().rng.below(3000) as i64,
                Ok(Step::Idle(until)) => {
                    let until = until.filter(|u| *u > self.now);
                    self.now = until.unwrap_or(self.now + 1000);
                }
                Err(e) => return self.excuse(&e.to_string(), "it failed"),
            }
            if self.dies(&handle, &mut asked) {
                return Ok(End::Broken);
            }
        }
        Err("it does not get on".into())
    }

    /// Whether it is killed between two rounds; it may also be asked to stop.
    fn dies(&self, handle: &JobHandle, asked: &mut bool) -> bool {
        let mut state = self.world.state();
        if state.calm {
            return false;
        }
        if !*asked && state.rng.one_in(150) {
            *asked = true;
            handle.stop(Stop::Checkpoint);
        }
        state.rng.one_in(60)
    }

    fn excuse(&self, error: &str, what: &str) -> Result<End, String> {
        match self.world.state().excused || self.disk.has_failed() {
            true => Ok(End::Broken),
            false => Err(format!("{what} although nothing was wrong: {error}")),
        }
    }

    /// The process is gone, perhaps the machine with it.
    fn crash(&self) {
        DEATHS.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng(self.world.state().rng.next());
        let power = rng.one_in(2) || self.disk.has_failed();
        self.disk.restart(&mut rng, power);
        if power {
            self.out.lose_power(&mut rng);
            self.letters.lose_power(&mut rng);
        }
        if self.rots && rng.one_in(3) {
            self.disk.rot(".ckpt", &mut rng);
        }
    }

    fn expected(&self) -> (Vec<String>, Vec<String>) {
        let inputs: Vec<_> = self.sources.iter().map(|s| s.rows.to_vec()).collect();
        self.kind.expected(&inputs, self.out.refuses)
    }

    /// Part files hold whole committed rows at any time, each once.
    fn check_visible(&self) -> Result<(), String> {
        if !self.transactional {
            return Ok(());
        }
        let (rows, _) = self.expected();
        let mut left: BTreeMap<&str, i64> = BTreeMap::new();
        rows.iter().for_each(|r| *left.entry(r).or_default() += 1);
        for row in self.disk.parts("/out") {
            match left.get_mut(row.as_str()) {
                Some(n) if *n > 0 => *n -= 1,
                _ => return Err(format!("a part shows {row} where it should not be, or twice")),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let (rows, letters) = self.expected();
        compare("dead letters", &letters, &self.letters)?;
        if !self.transactional {
            return compare("output", &rows, &self.out);
        }
        let mut got = self.disk.parts("/out");
        got.sort();
        match self.disk.staged("/out") {
            0 if got == rows => Ok(()),
            0 => Err(format!("{} rows are in the parts, not these {}", got.len(), rows.len())),
            n => Err(format!("{n} files are left in .stage")),
        }
    }
}

/// Everything expected is there; a sink that is cut back has nothing else, one that grows may repeat what was not committed.
fn compare(what: &str, expected: &[String], sink: &SimSink) -> Result<(), String> {
    let content = sink.content();
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    content.rows.iter().for_each(|r| *left.entry(r).or_default() += 1);
    for row in expected {
        match left.get_mut(row.as_str()) {
            Some(n) if *n > 0 => *n -= 1,
            _ => return Err(format!("{what}: {row} is lost")),
        }
    }
    let extra: i64 = left.values().sum();
    let unknown =
        left.iter().find(|(row, n)| **n > 0 && expected.binary_search_by(|e| e.as_str().cmp(row)).is_err());
    if let Some((row, _)) = unknown {
        return Err(format!("{what}: {row} should not be there"));
    }
    let allowed = if sink.cuts { 0 } else { content.repeated as i64 };
    match extra <= allowed {
        true => Ok(()),
        false => Err(format!("{what}: {extra} rows are there twice, at most {allowed} may be")),
    }
}
