//! A checkpoint file: everything that a commit holds.
//!
//! ```text
//! file    = magic version section(header) section(operator)* section(piece)* section(ending) length crc end
//! section = length:u64 crc:u32 content          both over the content, whose first byte is its kind
//! length  = u64, of the whole file              crc = u32, of everything before it
//! piece   = operator table entry*               groups of a table; see `keyed/snapshot.rs`
//! ```
//! Numbers are little-endian. The loader believes no length before it has compared it with what is there, and no content before
//! its checksum fits. The ending has what is known last, so that a file can be written while work goes on: where sources and sinks
//! stand.
//!
//! A table that is not *whole* has only what changed since the epoch `before`: the rest is in that epoch's file. A file is told from
//! others of its epoch by its `id`.

mod write;

use super::{StateError, StateReader};
use crate::record::Position;
pub use write::CheckpointWriter;

const MAGIC: &[u8; 8] = b"MSCKPT\r\n";
const END: &[u8; 8] = b"MSCKEND\n";
const VERSION: u32 = 3;

/// Kinds of sections.
mod kind {
    pub(super) const HEADER: u8 = 0;
    pub(super) const OPERATOR: u8 = 1;
    pub(super) const PIECE: u8 = 2;
    pub(super) const ENDING: u8 = 3;
}

/// Where a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its name.
    pub name: String,
    /// Behind the last record that counts.
    pub position: Position,
    /// It has ended for good: nothing is read from it any more.
    pub ended: bool,
}

/// An input of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputState {
    /// Its watermark; that of an input that has ended is not stored.
    pub watermark: i64,
    /// It has ended.
    pub ended: bool,
    /// It was silent, and left out of the least watermark.
    pub idle: bool,
}

/// An operator with what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorState {
    /// Its id in the plan.
    pub id: String,
    /// Fingerprint of what it does: another operator can't use its state.
    pub spec: u32,
    /// Whether it keeps anything that a restart needs.
    pub stateful: bool,
    /// Its inputs.
    pub inputs: Vec<InputState>,
    /// The watermark that it has handed on.
    pub watermark: i64,
    /// What its `snapshot` wrote.
    pub state: Vec<u8>,
    /// Its tables of groups.
    pub tables: Vec<TableState>,
}

/// A table of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// Its number: what changed in a table stands under the number of the table.
    pub id: u64,
    /// Whether it is all there, else only what changed.
    pub whole: bool,
    /// Its groups, encoded.
    pub pieces: Vec<Vec<u8>>,
}

/// An epoch's file, as another one refers to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// The epoch.
    pub epoch: u64,
    /// Tells files of one epoch from each other; never 0.
    pub id: u64,
}

/// Everything that a commit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the job.
    pub job: String,
    /// Fingerprint of the plan.
    pub plan: u32,
    /// Version of the engine that wrote it.
    pub engine: String,
    /// Epoch, from 1.
    pub epoch: u64,
    /// Tells it from another of that epoch; 0 until it is written.
    pub id: u64,
    /// The epoch whose file has what did not change, if a table is not whole in its own.
    pub before: Option<FileId>,
    /// The job has ended: running it again does nothing.
    pub finished: bool,
    /// The sources.
    pub sources: Vec<SourceState>,
    /// Position of each sink, by name.
    pub sinks: Vec<(String, Position)>,
    /// The operators.
    pub operators: Vec<OperatorState>,
}

impl Checkpoint {
    /// A source.
    pub fn source(&self, name: &str) -> Option<&SourceState> {
        self.sources.iter().find(|s| s.name == name)
    }
    /// The position of a sink.
    pub fn sink(&self, name: &str) -> Option<&Position> {
        self.sinks.iter().find(|(n, _)| n == name).map(|(_, p)| p)
    }
    /// An operator that does this.
    pub fn operator(&self, id: &str, spec: u32) -> Option<&OperatorState> {
        self.operators.iter().find(|o| o.id == id && o.spec == spec)
    }

    /// What a file builds on, from the bytes at its beginning; `None` if they are no sound ones.
    pub(super) fn before_of(start: &[u8]) -> Option<Option<FileId>> {
        let mut body = start.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let (checkpoint, _) = read_header(take_section(&mut body, kind::HEADER).ok()?).ok()?;
        Some(checkpoint.before)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If anything is cut off, changed, too long, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("no magic number at its start"))?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it ends too early"))?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(StateError(format!(
                "the checkpoint has format version {version}; this program reads version {VERSION}"
            )));
        }
        let body = rest.strip_suffix(END).ok_or_else(|| damaged("no end mark"))?;
        let (body, crc) = body.split_last_chunk::<4>().ok_or_else(|| damaged("it ends too early"))?;
        let (mut body, total) = body.split_last_chunk::<8>().ok_or_else(|| damaged("it ends too early"))?;
        if u64::from_le_bytes(*total) != bytes.len() as u64 {
            return Err(damaged("its length is not what it was"));
        }
        let summed = bytes.get(..bytes.len() - END.len() - 4).unwrap_or_default();
        if !sum_fits(summed, *crc) {
            return Err(damaged("its checksum is wrong"));
        }
        let header = take_section(&mut body, kind::HEADER)?;
        let (mut checkpoint, operators) = read_header(header)?;
        for _ in 0..operators {
            let section = take_section(&mut body, kind::OPERATOR)?;
            checkpoint.operators.push(read_operator(section)?);
        }
        while body.get(12) == Some(&kind::PIECE) {
            read_piece(take_section(&mut body, kind::PIECE)?, &mut checkpoint.operators)?;
        }
        read_ending(take_section(&mut body, kind::ENDING)?, &mut checkpoint)?;
        match body.is_empty() {
            true => Ok(checkpoint),
            false => Err(damaged("there is more in it than its header says")),
        }
    }
}

fn damaged(what: &str) -> StateError {
    StateError(format!("the checkpoint is damaged: {what}"))
}

pub(super) fn sum_fits(content: &[u8], crc: [u8; 4]) -> bool {
    #[cfg(seeded_bugs)]
    if crate::record::seeded::is(crate::record::seeded::Bug::NoChecksum) {
        return true;
    }
    crc32fast::hash(content) == u32::from_le_bytes(crc)
}

/// The content of the next section, without its kind.
fn take_section<'a>(body: &mut &'a [u8], kind: u8) -> Result<&'a [u8], StateError> {
    let section = next_section(body).ok_or_else(|| damaged("a section's checksum is wrong"))?;
    match section.split_first() {
        Some((found, content)) if *found == kind => Ok(content),
        _ => Err(damaged("a section is of another kind than it should be")),
    }
}

fn next_section<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = body.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (content, rest) = rest.split_at_checked(length)?;
    *body = rest;
    sum_fits(content, *crc).then_some(content)
}

/// The header, and the number of operators that follow.
fn read_header(header: &[u8]) -> Result<(Checkpoint, usize), StateError> {
    let mut r = StateReader::new(header);
    let mut checkpoint = Checkpoint {
        job: text(r.bytes()?),
        plan: r.u64()? as u32,
        engine: text(r.bytes()?),
        epoch: r.u64()?,
        ..Checkpoint::default()
    };
    let before = FileId { epoch: r.u64()?, id: r.u64()? };
    checkpoint.before = (before != FileId::default()).then_some(before);
    let operators = r.u64()?;
    match usize::try_from(operators) {
        Ok(operators) if r.is_empty() => Ok((checkpoint, operators)),
        _ => Err(damaged("there is more in its header than there should be")),
    }
}

fn read_operator(section: &[u8]) -> Result<OperatorState, StateError> {
    let mut r = StateReader::new(section);
    let mut operator = OperatorState {
        id: text(r.bytes()?),
        spec: r.u64()? as u32,
        stateful: r.u8()? != 0,
        ..OperatorState::default()
    };
    for _ in 0..r.u64()? {
        let (watermark, flags) = (r.i64()?, r.u8()?);
        operator.inputs.push(InputState { watermark, ended: flags & 1 != 0, idle: flags & 2 != 0 });
    }
    operator.watermark = r.i64()?;
    operator.state = r.bytes()?.to_vec();
    for _ in 0..r.u64()? {
        let (id, whole) = (r.u64()?, r.u8()? != 0);
        operator.tables.push(TableState { id, whole, pieces: Vec::new() });
    }
    match r.is_empty() {
        true => Ok(operator),
        false => Err(damaged("an operator has more state than it should have")),
    }
}

fn read_piece(section: &[u8], operators: &mut [OperatorState]) -> Result<(), StateError> {
    let mut r = StateReader::new(section);
    let (operator, id) = (r.u64()?, r.u64()?);
    let operator = usize::try_from(operator).ok().and_then(|o| operators.get_mut(o));
    // Pieces of one table mostly follow each other, and tables come in their order.
    let table = operator.and_then(|o| o.tables.iter_mut().find(|t| t.id == id));
    let table = table.ok_or_else(|| damaged("it has a piece of a table that it does not name"))?;
    table.pieces.push(r.rest().to_vec());
    Ok(())
}

fn read_ending(section: &[u8], checkpoint: &mut Checkpoint) -> Result<(), StateError> {
    let mut r = StateReader::new(section);
    checkpoint.id = r.u64()?;
    checkpoint.finished = r.u8()? != 0;
    for _ in 0..r.u64()? {
        let (name, position, ended) = (text(r.bytes()?), r.position()?, r.u8()? != 0);
        checkpoint.sources.push(SourceState { name, position, ended });
    }
    for _ in 0..r.u64()? {
        checkpoint.sinks.push((text(r.bytes()?), r.position()?));
    }
    match r.is_empty() && checkpoint.id != 0 {
        true => Ok(()),
        false => Err(damaged("its ending is not what it should be")),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fixture in `tests/fixtures` holds.
    fn sample() -> Checkpoint {
        let source = |name: &str, position, ended| SourceState { name: name.into(), position, ended };
        Checkpoint {
            job: "flights".into(),
            plan: 7,
            engine: "0.1.0".into(),
            epoch: 12,
            id: 77,
            before: Some(FileId { epoch: 11, id: 76 }),
            finished: false,
            sources: vec![
                source("in", Position::new([1, 2, 3], "byte 3"), false),
                source("old", Position::default(), true),
            ],
            sinks: vec![("out".into(), Position::new([9], "9 bytes")), ("dlq".into(), Position::default())],
            operators: vec![
                OperatorState { id: "out/0.filter".into(), ..OperatorState::default() },
                OperatorState {
                    id: "out/1.limit".into(),
                    spec: 99,
                    stateful: true,
                    inputs: vec![
                        InputState { watermark: -5, ended: false, idle: true },
                        InputState { watermark: i64::MIN, ended: true, idle: false },
                    ],
                    watermark: -6,
                    state: vec![5; 40],
                    tables: vec![
                        TableState { id: 3, whole: true, pieces: vec![vec![1, 2], vec![3]] },
                        TableState { id: 1, whole: false, pieces: vec![] },
                    ],
                },
            ],
        }
    }

    #[test]
    fn round_trip_and_every_cut_and_every_flipped_bit_is_found() {
        let bytes = sample().encode();
        assert_eq!(Checkpoint::decode(&bytes), Ok(sample()));
        for cut in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_content_that_lies_about_its_lengths_is_an_error_and_allocates_nothing() {
        // Sums fit, as in a file that somebody made.
        let number = u64::MAX.to_le_bytes();
        let file = sample().encode();
        let mut body = &file[12..];
        while let Some(good) = next_section(&mut body) {
            for at in 0..good.len().saturating_sub(8) {
                let mut section = good[1..].to_vec();
                section[at..(at + 8).min(good.len() - 1)]
                    .copy_from_slice(&number[..8.min(good.len() - 1 - at)]);
                // Some numbers are free; none may panic or hang.
                let _ = read_header(&section);
                let _ = read_operator(&section);
                let _ = read_piece(&section, &mut sample().operators);
                let _ = read_ending(&section, &mut sample());
            }
        }
    }

    #[test]
    fn the_format_that_is_out_there_is_still_read() {
        let fixture = include_bytes!("../../tests/fixtures/checkpoint-v3.ckpt");
        assert_eq!(Checkpoint::decode(fixture), Ok(sample()));
        assert_eq!(
            sample().encode(),
            fixture,
            "a changed format needs a new version and a fixture of its own"
        );
    }

    #[test]
    fn a_file_of_an_older_version_is_refused_by_its_number() {
        let fixture = include_bytes!("../../tests/fixtures/checkpoint-v2.ckpt");
        let error = Checkpoint::decode(fixture).unwrap_err().to_string();
        assert!(error.contains("format version 2; this program reads version 3"), "{error}");
    }
}
