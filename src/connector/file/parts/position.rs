//! Where a sink of part files stands after a commit: the files that were ended for it, and those that go on.
//!
//! ```text
//! version 2 = u64::MAX 2:u64 epoch:u64 parts n:u64 growing*
//! version 1 = epoch:u64 parts                              every part ended with its epoch
//! parts     = n:u64 part*
//! part      = path length:u64 crc:u64                      path below the sink's directory
//! growing   = part opened:u64                              µs since the Unix epoch
//! ```

use crate::record::Position;
use crate::state::{StateError, StateReader, StateWriter};

/// No epoch: behind it stands a version.
const VERSIONED: u64 = u64::MAX;
const VERSION: u64 = 2;
/// Names that the printed form lists.
const SHOWN: usize = 5;

/// A file and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Directory below the sink's, without `/` at its ends; empty if it is the sink's own.
    pub(super) dir: String,
    /// The name in that directory.
    pub(super) name: String,
    /// Bytes.
    pub(super) len: u64,
    /// Checksum of these bytes.
    pub(super) crc: u32,
}

/// A file that goes on growing behind the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Growing {
    pub(super) part: Part,
    /// When it was begun, µs since the Unix epoch.
    pub(super) opened: i64,
}

/// The files of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) epoch: u64,
    /// Ended with this commit, to be shown now.
    pub(super) ended: Vec<Part>,
    /// To be cut back to these lengths by a restart, and gone on with.
    pub(super) growing: Vec<Growing>,
}

impl Part {
    fn encode(&self, to: &mut StateWriter) {
        match self.dir.is_empty() {
            true => to.bytes(self.name.as_bytes()),
            false => to.bytes(format!("{}/{}", self.dir, self.name).as_bytes()),
        }
        to.u64(self.len);
        to.u64(u64::from(self.crc));
    }

    fn decode(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let path = String::from_utf8_lossy(from.bytes()?).into_owned();
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let hides = |name: &str| name.is_empty() || name.starts_with('.');
        if !name.starts_with("part-")
            || path.starts_with('/')
            || (path.contains('/') && dir.split('/').any(hides))
        {
            return Err(StateError(format!("'{path}' is no name of a part")));
        }
        Ok(Self { dir: dir.to_owned(), name: name.to_owned(), len: from.u64()?, crc: from.u64()? as u32 })
    }
}

impl Standing {
    pub(super) fn encode(&self) -> Position {
        let mut to = StateWriter::new();
        to.u64(VERSIONED);
        to.u64(VERSION);
        to.u64(self.epoch);
        to.u64(self.ended.len() as u64);
        self.ended.iter().for_each(|part| part.encode(&mut to));
        to.u64(self.growing.len() as u64);
        for growing in &self.growing {
            growing.part.encode(&mut to);
            to.u64(growing.opened as u64);
        }
        Position::new(to.into_bytes(), self.to_string())
    }

    /// # Errors
    /// If these are not the bytes of such a position.
    pub(super) fn decode(position: &Position) -> Result<Self, StateError> {
        if position.is_start() {
            return Ok(Self::default());
        }
        let mut from = StateReader::new(position.bytes());
        let mut epoch = from.u64()?;
        let versioned = epoch == VERSIONED;
        if versioned {
            match from.u64()? {
                VERSION => epoch = from.u64()?,
                other => {
                    return Err(StateError(format!(
                        "it has version {other}; this program reads versions up to {VERSION}"
                    )));
                }
            }
        }
        let mut standing = Self { epoch, ..Self::default() };
        for _ in 0..from.u64()? {
            standing.ended.push(Part::decode(&mut from)?);
        }
        if versioned {
            for _ in 0..from.u64()? {
                let part = Part::decode(&mut from)?;
                standing.growing.push(Growing { part, opened: from.u64()? as i64 });
            }
        }
        match from.is_empty() {
            true => Ok(standing),
            false => Err(StateError("there is more than its parts".into())),
        }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}: ", self.epoch)?;
        let ended = self.ended.iter().map(|p| (p, ""));
        let all: Vec<_> = ended.chain(self.growing.iter().map(|g| (&g.part, ", not ended"))).collect();
        for (i, (part, how)) in all.iter().take(SHOWN).enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let dir = if part.dir.is_empty() { String::new() } else { format!("{}/", part.dir) };
            write!(f, "{comma}{dir}{} ({} bytes{how})", part.name, part.len)?;
        }
        match all.len() {
            0 => f.write_str("no file"),
            n if n > SHOWN => write!(f, " and {} more", n - SHOWN),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(dir: &str, name: &str, len: u64) -> Part {
        Part { dir: dir.into(), name: name.into(), len, crc: len as u32 * 7 }
    }

    fn sample() -> Standing {
        Standing {
            epoch: 9,
            ended: vec![part("", "part-j-1", 5), part("a/b c", "part-j-2", 1 << 40)],
            growing: vec![Growing { part: part("x", "part-j-3", 0), opened: -1 }],
        }
    }

    #[test]
    fn what_is_written_is_read_and_no_other_bytes_are() {
        let position = sample().encode();
        assert_eq!(Standing::decode(&position).unwrap(), sample());
        assert_eq!(
            position.to_string(),
            "epoch 9: part-j-1 (5 bytes), a/b c/part-j-2 (1099511627776 bytes), x/part-j-3 (0 bytes, not ended)"
        );
        assert_eq!(Standing::decode(&Position::default()).unwrap(), Standing::default());
        for cut in 1..position.bytes().len() {
            assert!(
                Standing::decode(&Position::new(&position.bytes()[..cut], "cut")).is_err(),
                "cut at {cut}"
            );
        }
        let mut more = position.bytes().to_vec();
        more.push(0);
        assert!(Standing::decode(&Position::new(more, "more")).is_err());
        let mut newer = position.bytes().to_vec();
        newer[8] = 3;
        assert!(Standing::decode(&Position::new(newer, "newer")).unwrap_err().0.contains("version 3"));
    }

    #[test]
    fn positions_of_the_first_version_are_read() {
        let mut to = StateWriter::new();
        to.u64(4);
        to.u64(1);
        to.bytes(b"part-job-00000004-0.jsonl");
        to.u64(12);
        to.u64(34);
        let part = Part { dir: String::new(), name: "part-job-00000004-0.jsonl".into(), len: 12, crc: 34 };
        let standing = Standing::decode(&Position::new(to.into_bytes(), "")).unwrap();
        assert_eq!(standing, Standing { epoch: 4, ended: vec![part], growing: vec![] });
    }

    #[test]
    fn no_position_leads_out_of_the_directory() {
        for path in [
            "/part-a",
            "../part-a",
            "a/../part-a",
            "a//part-a",
            ".stage/part-a",
            "a/.b/part-a",
            "x",
            "part-a/",
            "",
        ] {
            let mut to = StateWriter::new();
            to.u64(1);
            to.u64(1);
            to.bytes(path.as_bytes());
            to.u64(0);
            to.u64(0);
            assert!(Standing::decode(&Position::new(to.into_bytes(), "")).is_err(), "{path}");
        }
    }
}
