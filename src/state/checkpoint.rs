//! A checkpoint file: everything that a commit holds.
//!
//! ```text
//! file    = magic version section(header) section(operator)* length crc end
//! section = length:u64 crc:u32 content          both over the content
//! length  = u64, of the whole file              crc = u32, of everything before it
//! ```
//! Numbers are little-endian. The loader believes no length before it has compared it with what is there, and no content before
//! its checksum fits.

use std::io::{self, Write};

use super::{StateError, StateReader, StateWriter};
use crate::record::Position;

const MAGIC: &[u8; 8] = b"MSCKPT\r\n";
const END: &[u8; 8] = b"MSCKEND\n";
const VERSION: u32 = 2;

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

    /// Writes the file; gives its length.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<u64> {
        let mut out = Summed { to, crc: crc32fast::Hasher::new(), len: 0 };
        out.put(MAGIC)?;
        out.put(&VERSION.to_le_bytes())?;
        out.section(&[&self.header()])?;
        for operator in &self.operators {
            let mut head = StateWriter::new();
            head.bytes(operator.id.as_bytes());
            head.u64(u64::from(operator.spec));
            head.u8(u8::from(operator.stateful));
            head.u64(operator.inputs.len() as u64);
            for input in &operator.inputs {
                head.i64(input.watermark);
                head.u8(u8::from(input.ended) | u8::from(input.idle) << 1);
            }
            head.i64(operator.watermark);
            head.u64(operator.state.len() as u64);
            out.section(&[&head.into_bytes(), &operator.state])?;
        }
        let total = out.len + 8 + 4 + END.len() as u64;
        out.put(&total.to_le_bytes())?;
        let crc = out.crc.clone().finalize();
        out.put(&crc.to_le_bytes())?;
        out.put(END)?;
        Ok(out.len)
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A vector takes everything.
        let _ = self.write(&mut bytes);
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut header = StateWriter::new();
        header.bytes(self.job.as_bytes());
        header.u64(u64::from(self.plan));
        header.bytes(self.engine.as_bytes());
        header.u64(self.epoch);
        header.u8(u8::from(self.finished));
        header.u64(self.sources.len() as u64);
        for source in &self.sources {
            header.bytes(source.name.as_bytes());
            header.position(&source.position);
            header.u8(u8::from(source.ended));
        }
        header.u64(self.sinks.len() as u64);
        for (name, position) in &self.sinks {
            header.bytes(name.as_bytes());
            header.position(position);
        }
        header.u64(self.operators.len() as u64);
        header.into_bytes()
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
        let header = take_section(&mut body).ok_or_else(|| damaged("the header's checksum is wrong"))?;
        let (mut checkpoint, operators) = read_header(header)?;
        for _ in 0..operators {
            let section = take_section(&mut body).ok_or_else(|| damaged("a section's checksum is wrong"))?;
            checkpoint.operators.push(read_operator(section)?);
        }
        if !body.is_empty() {
            return Err(damaged("there is more in it than its header says"));
        }
        Ok(checkpoint)
    }
}

fn damaged(what: &str) -> StateError {
    StateError(format!("the checkpoint is damaged: {what}"))
}

/// Writes through, and sums up what was written.
struct Summed<'a> {
    to: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    len: u64,
}

impl Summed<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        self.to.write_all(bytes)
    }
    fn section(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut crc = crc32fast::Hasher::new();
        parts.iter().for_each(|p| crc.update(p));
        let len: usize = parts.iter().map(|p| p.len()).sum();
        self.put(&(len as u64).to_le_bytes())?;
        self.put(&crc.finalize().to_le_bytes())?;
        parts.iter().try_for_each(|p| self.put(p))
    }
}

pub(super) fn sum_fits(content: &[u8], crc: [u8; 4]) -> bool {
    #[cfg(seeded_bugs)]
    if crate::record::seeded::is(crate::record::seeded::Bug::NoChecksum) {
        return true;
    }
    crc32fast::hash(content) == u32::from_le_bytes(crc)
}

fn take_section<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
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
        finished: r.u8()? != 0,
        ..Checkpoint::default()
    };
    for _ in 0..r.u64()? {
        let (name, position, ended) = (text(r.bytes()?), r.position()?, r.u8()? != 0);
        checkpoint.sources.push(SourceState { name, position, ended });
    }
    for _ in 0..r.u64()? {
        checkpoint.sinks.push((text(r.bytes()?), r.position()?));
    }
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
    match r.is_empty() {
        true => Ok(operator),
        false => Err(damaged("an operator has more state than it should have")),
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
        let good = sample().header();
        for at in 0..good.len().saturating_sub(8) {
            let mut header = good.clone();
            header[at..at + 8].copy_from_slice(&number);
            // Some numbers are free; none may panic or hang.
            let _ = read_header(&header);
            let _ = read_operator(&header);
        }
    }

    #[test]
    fn the_format_that_is_out_there_is_still_read() {
        let fixture = include_bytes!("../../tests/fixtures/checkpoint-v2.ckpt");
        assert_eq!(Checkpoint::decode(fixture), Ok(sample()));
        assert_eq!(
            sample().encode(),
            fixture,
            "a changed format needs a new version and a fixture of its own"
        );
    }
}
