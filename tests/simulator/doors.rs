//! The doors of the simulation: a source and sinks that fail as a seed says, and notice what must not happen.

use std::sync::{Arc, Mutex, MutexGuard};

use millstream::io::{IoErrorKind, Scan, SinkStart};
use millstream::record::{ErrorCode, Position, RecordError, Reject};
use millstream::{
    BatchBuilder, Boundedness, DataReader, DataSink, DataSource, DataType, DataWriter, FieldValue, IoError,
    Read, Schema, StreamRecord,
};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What everything in one simulation shares.
pub struct State {
    pub rng: Rng,
    /// No more faults.
    pub calm: bool,
    /// A fault that ends the job was made since it was opened.
    pub excused: bool,
    /// Sources let go of what was committed, as a queue does.
    pub lets_go: bool,
    pub violations: Vec<String>,
}

#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

impl World {
    pub fn new(rng: Rng) -> Self {
        let state = State { rng, calm: false, excused: false, lets_go: true, violations: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A scripted panic may have poisoned nothing but the lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    pub fn violation(&self, what: String) {
        self.state().violations.push(what);
    }
    /// Which of `n` faults happens, one call in `rarity`; those below `fatal` end the job.
    fn fault(&self, n: u64, fatal: u64, rarity: u64) -> Option<u64> {
        let mut state = self.state();
        if state.calm || !state.rng.one_in(rarity) {
            return None;
        }
        let fault = state.rng.below(n);
        state.excused |= fault < fatal;
        Some(fault)
    }
    fn below(&self, n: u64) -> u64 {
        self.state().rng.below(n)
    }
}

fn fatal(what: &str) -> IoError {
    IoError::os(format!("scripted {what}"), std::io::Error::from_raw_os_error(5))
}
fn transient(what: &str) -> IoError {
    IoError::new(IoErrorKind::Unavailable, format!("scripted {what}"))
}

/// One row of an input.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub id: i64,
    pub key: i64,
    /// µs.
    pub ts: i64,
    pub broken: bool,
}

pub fn row_schema() -> Arc<Schema> {
    Schema::of([("id", DataType::BigInt), ("key", DataType::BigInt), ("ts", DataType::Timestamp)])
}

/// Rows that can be read again as far back as they were not committed.
#[derive(Clone)]
pub struct SimSource {
    pub name: &'static str,
    pub rows: Arc<Vec<Row>>,
    pub world: World,
    /// Rows before this are gone.
    pub gone: Arc<Mutex<u64>>,
}

impl SimSource {
    pub fn new(name: &'static str, rows: Vec<Row>, world: &World) -> Self {
        Self { name, rows: Arc::new(rows), world: world.clone(), gone: Arc::default() }
    }
}

impl DataSource for SimSource {
    fn schema(&self) -> Arc<Schema> {
        row_schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn can_replay(&self) -> bool {
        true
    }
    fn open(&self, _: &Scan) -> Result<Box<dyn DataReader>, IoError> {
        Ok(Box::new(SimReader { source: self.clone(), next: 0 }))
    }
}

struct SimReader {
    source: SimSource,
    next: u64,
}

impl DataReader for SimReader {
    fn schema(&self) -> Arc<Schema> {
        row_schema()
    }
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }
    fn read(&mut self, out: &mut BatchBuilder) -> Result<Read, IoError> {
        let SimSource { name, rows, world, gone } = &self.source;
        let gone = *gone.lock().unwrap();
        if self.next < gone {
            world.violation(format!(
                "{name}: rows {}..{gone} are asked for again after their commit",
                self.next
            ));
            return Err(fatal("loss"));
        }
        let mut most = 1 + world.below(12);
        match world.fault(5, 2, 25) {
            Some(0) => return Err(fatal("read error")),
            Some(1) => panic!("scripted panic of a reader"),
            Some(2) => {
                out.record();
                return Err(transient("read error"));
            }
            Some(3) => return Ok(Read::Idle),
            Some(_) => most = 1,
            None => {}
        }
        while let Some(row) = rows.get(self.next as usize).filter(|_| most > 0 && !out.is_full()) {
            self.next += 1;
            most -= 1;
            if row.broken {
                let error = RecordError::new(ErrorCode::Malformed, "broken");
                let raw = format!("{{\"id\":{}}}", row.id).into_bytes();
                let raw_len = raw.len() as u64;
                out.reject(Reject { at: 0, offset: row.id, line: None, raw, raw_len, error });
                continue;
            }
            let record = out.record();
            record.set(0, row.id);
            record.set(1, row.key);
            record.set(2, FieldValue::Timestamp(row.ts));
        }
        Ok(if self.next as usize == rows.len() { Read::End } else { Read::More })
    }
    fn position(&self) -> Position {
        Position::new(self.next.to_be_bytes(), format!("row {}", self.next))
    }
    fn seek(&mut self, position: &Position) -> Result<(), IoError> {
        self.next = number_of(position);
        Ok(())
    }
    fn commit(&mut self, position: &Position) -> Result<(), IoError> {
        if self.source.world.state().lets_go {
            let mut gone = self.source.gone.lock().unwrap();
            *gone = (*gone).max(number_of(position));
        }
        Ok(())
    }
}

fn number_of(position: &Position) -> u64 {
    position.bytes().try_into().map_or(0, u64::from_be_bytes)
}

/// What a sink has taken.
#[derive(Default)]
pub struct Content {
    pub rows: Vec<String>,
    /// So many survive for sure.
    durable: usize,
    /// Rows that may be there although they were sent again.
    pub repeated: usize,
}

/// A sink that keeps lines; what was not synced may be lost with the machine.
#[derive(Clone)]
pub struct SimSink {
    pub world: World,
    pub content: Arc<Mutex<Content>>,
    /// A restart cuts it back to the commit; else it only grows.
    pub cuts: bool,
    /// It refuses some records.
    pub refuses: bool,
    pub show: fn(&StreamRecord) -> String,
}

impl SimSink {
    pub fn new(world: &World, cuts: bool, refuses: bool, show: fn(&StreamRecord) -> String) -> Self {
        Self { world: world.clone(), content: Arc::default(), cuts, refuses, show }
    }
    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    /// The machine died.
    pub fn lose_power(&self, rng: &mut Rng) {
        let mut content = self.content();
        let unsynced = content.rows.len() - content.durable;
        let kept = content.durable + rng.below(unsynced as u64 + 1) as usize;
        content.rows.truncate(kept);
        content.durable = kept;
    }
}

/// Whether a sink that refuses records refuses that one.
pub fn refused(id: i64) -> bool {
    id % 11 == 5
}

impl DataSink for SimSink {
    fn open(&self, _: Arc<Schema>, start: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        let mut content = self.content();
        let at = match start {
            SinkStart::Fresh => 0,
            SinkStart::Resume(position) => number_of(position) as usize,
        };
        if content.rows.len() < at {
            let there = content.rows.len();
            drop(content);
            self.world.violation(format!("a sink was committed at {at} rows, but {there} were made durable"));
            return Err(fatal("loss"));
        }
        if self.cuts {
            content.rows.truncate(at);
            content.durable = content.durable.min(at);
        } else {
            content.repeated += content.rows.len() - at;
        }
        Ok(Box::new(self.clone()))
    }
    fn can_resume(&self) -> bool {
        self.cuts
    }
}

impl DataWriter for SimSink {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let mut taken = batch.len();
        let fault = self.world.fault(5, 2, 20);
        match fault {
            Some(0 | 1) => taken = self.world.below(batch.len() as u64 + 1) as usize,
            Some(2 | 3) => return Err(transient("write error")),
            _ => {}
        }
        let id = |r: &StreamRecord| r.values().first().and_then(FieldValue::as_i64).unwrap_or(0);
        let refusal = batch.iter().take(taken).position(|r| self.refuses && refused(id(r)));
        taken = refusal.unwrap_or(taken);
        let lines: Vec<String> = batch.iter().take(taken).map(|r| (self.show)(r)).collect();
        let mut content = self.content();
        // A growing sink may take a batch whose acknowledgement gets lost.
        let lost = fault == Some(4) && refusal.is_none() && !self.cuts;
        content.repeated += if lost { lines.len() } else { 0 };
        content.rows.extend(lines);
        drop(content);
        match (fault, refusal) {
            (Some(0), _) => Err(fatal("write error")),
            (Some(1), _) => panic!("scripted panic of a writer"),
            (_, Some(at)) => Err(IoError::rejected(at, RecordError::new(ErrorCode::SinkRejected, "refused"))),
            _ if lost => Err(transient("lost acknowledgement")),
            _ => Ok(()),
        }
    }
    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<Position, IoError> {
        if self.world.fault(1, 1, 30).is_some() {
            return Err(fatal("sync error"));
        }
        let mut content = self.content();
        content.durable = content.rows.len();
        let len = content.durable as u64;
        Ok(Position::new(len.to_be_bytes(), format!("{len} rows")))
    }
}
