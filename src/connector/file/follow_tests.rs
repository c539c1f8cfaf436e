//! Following files: growth, partial lines, rotation, truncation, new files, restarts. Time is virtual.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::connector::testing::*;
use crate::io::contract::*;
use crate::io::{Boundedness, DataReader, DataSource, Read};
use crate::record::{Clock, Position};

struct Watched {
    dir: tempfile::TempDir,
    clock: Clock,
    source: FileSource,
    reader: Box<dyn DataReader>,
}

impl Watched {
    /// Follows `pattern` in a directory that holds `files` at first.
    fn new(pattern: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let clock = Clock::virtual_at(0);
        let path = dir.path().join(pattern);
        let config = FileSourceConfig {
            follow: true,
            clock: clock.clone(),
            max_record_bytes: 1000,
            ..FileSourceConfig::new(path.to_string_lossy().trim_end_matches('/'))
        };
        let source = FileSource::new(config, line_schema(), line_decoder(1000));
        let reader = source.open(&scan()).unwrap();
        Self { dir, clock, source, reader }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }
    fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
    /// What comes until there is nothing at the moment.
    fn next(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (read, items) = read_batch(self.reader.as_mut(), Limits { rows: 2, bytes: 1000 }).unwrap();
            all.extend(texts(&items));
            if read == Read::Idle {
                return all;
            }
            assert!(!items.is_empty() && read == Read::More);
        }
    }
    /// Starts again from a position of an earlier reader.
    fn restart(&mut self, at: &Position) {
        self.reader = self.source.open(&scan()).unwrap();
        self.reader.seek(at).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    let mut f = OpenOptions::new().append(true).create(true).open(path).unwrap();
    f.write_all(text.as_bytes()).unwrap();
}

const NOTHING: [String; 0] = [];

#[test]
fn a_growing_file_gives_whole_lines_only() {
    let mut w = Watched::new("a.log", &[("a.log", "one\ntw")]);
    assert_eq!(w.reader.boundedness(), Boundedness::Unbounded);
    assert_eq!(w.next(), ["one"]);
    assert_eq!(w.next(), NOTHING);
    w.append("a.log", "o");
    assert_eq!(w.next(), NOTHING);
    w.pass(60_000);
    assert_eq!(w.next(), NOTHING);
    w.append("a.log", "\nthree\nbad\nfo");
    assert_eq!(w.next(), ["two", "three", "!malformed"]);
    w.append("a.log", &format!("ur\n{}", "x".repeat(5000)));
    assert_eq!(w.next(), ["four"]);
    w.append("a.log", &format!("{}\nfive\n", "x".repeat(5000)));
    assert_eq!(w.next(), ["!too_large", "five"]);
}

#[test]
fn a_rotated_file_is_finished_before_the_new_one_starts() {
    let mut w = Watched::new("a.log", &[("a.log", "one\ntwo\n")]);
    assert_eq!(w.next(), ["one", "two"]);
    fs::rename(w.path("a.log"), w.path("a.log.1")).unwrap();
    w.append("a.log", "new one\n");
    // The writer still has the old file open.
    w.append("a.log.1", "three\nfour without line feed");
    assert_eq!(w.next(), ["three"]);
    w.pass(900);
    assert_eq!(w.next(), NOTHING);
    w.append("a.log.1", ", now longer");
    w.pass(200);
    assert_eq!(w.next(), ["four without line feed, now longer", "new one"]);
    w.append("a.log", "new two\n");
    assert_eq!(w.next(), ["new two"]);
    w.append("a.log.1", "nobody reads this\n");
    w.pass(10_000);
    assert_eq!(w.next(), NOTHING);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_may_come_back() {
    let mut w = Watched::new("a.log", &[("a.log", "one\n")]);
    assert_eq!(w.next(), ["one"]);
    w.append("a.log", "two\nthree");
    fs::remove_file(w.path("a.log")).unwrap();
    assert_eq!(w.next(), ["two"]);
    w.pass(2000);
    assert_eq!(w.next(), ["three"]);
    w.pass(2000);
    assert_eq!(w.next(), NOTHING);
    w.append("a.log", "back\n");
    assert_eq!(w.next(), ["back"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start_and_the_torn_line_is_on_record() {
    let mut w = Watched::new("a.log", &[("a.log", "one\ntwo\ntor")]);
    assert_eq!(w.next(), ["one", "two"]);
    let before = w.reader.position();
    fs::write(w.path("a.log"), "1\n").unwrap();
    assert_eq!(w.next(), ["!malformed", "1"]);
    assert!(w.reader.position() > before);
    fs::write(w.path("a.log"), "").unwrap();
    assert_eq!(w.next(), NOTHING);
    w.append("a.log", "2\n");
    assert_eq!(w.next(), ["2"]);
}

#[test]
fn files_that_join_a_directory_or_pattern_are_picked_up_in_order() {
    let mut w = Watched::new("", &[("p-2", "a\n"), ("p-10", "b\n"), (".hidden", "no\n")]);
    assert_eq!(w.next(), ["a", "b"]);
    w.append("p-12", "d\n");
    w.append("p-11", "c\n");
    w.append("p-2", "a2\n");
    assert_eq!(w.next(), ["a2", "c", "d"]);
    let mut w = Watched::new("*.log", &[]);
    assert_eq!(w.next(), NOTHING);
    w.append("a.log", "one\n");
    w.append("a.txt", "no\n");
    assert_eq!(w.next(), ["one"]);
}

#[test]
fn several_growing_files_keep_their_partial_lines_apart() {
    let mut w = Watched::new("*.log", &[("a.log", "a1\na"), ("b.log", "b1\nb")]);
    assert_eq!(w.next(), ["a1", "b1"]);
    w.append("b.log", "2\n");
    w.append("a.log", "2\n");
    let mut got = w.next();
    got.sort();
    assert_eq!(got, ["a2", "b2"]);
}

#[test]
fn a_file_renamed_within_the_pattern_is_not_read_twice() {
    let mut w = Watched::new("app.log*", &[("app.log", "one\n")]);
    assert_eq!(w.next(), ["one"]);
    fs::rename(w.path("app.log"), w.path("app.log.1")).unwrap();
    w.append("app.log", "two\n");
    w.append("app.log.1", "last of the old\n");
    let mut got = w.next();
    w.pass(5000);
    got.extend(w.next());
    got.sort();
    assert_eq!(got, ["last of the old", "two"]);
}

#[test]
fn a_restart_goes_on_where_each_file_was_also_after_a_rotation() {
    let mut w = Watched::new("*.log", &[("a.log", "a1\na2\npart"), ("b.log", "b1\n")]);
    assert_eq!(w.next(), ["a1", "a2", "b1"]);
    let at = w.reader.position();
    w.append("a.log", "ial\na3\n");
    w.restart(&at);
    assert_eq!(w.next(), ["partial", "a3"]);
    let at = w.reader.position();
    w.append("a.log", "a4\n");
    fs::rename(w.path("a.log"), w.path("a.old")).unwrap();
    w.append("a.log", "new\n");
    w.append("b.log", "b2\n");
    w.restart(&at);
    let mut got = w.next();
    w.pass(2000);
    got.extend(w.next());
    assert_eq!(got, ["a4", "b2", "new"]);
}

#[test]
fn positions_grow_and_every_one_can_be_resumed() {
    let lines = "one\nbad\n\nfour\nfive\n";
    let mut w = Watched::new("*.log", &[("a.log", lines), ("b.log", lines)]);
    let expected = w.next();
    w.reader = w.source.open(&scan()).unwrap();
    let mut given = 0;
    loop {
        let at = w.reader.position();
        let mut resumed = w.source.open(&scan()).unwrap();
        resumed.seek(&at).unwrap();
        let mut reader = std::mem::replace(&mut w.reader, resumed);
        assert_eq!(w.next(), expected[given..], "after {given}");
        let (read, items) = read_batch(reader.as_mut(), Limits { rows: 1, bytes: 1 }).unwrap();
        assert!(items.is_empty() || reader.position() > at);
        given += items.len();
        w.reader = reader;
        if read == Read::Idle {
            return;
        }
    }
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let path = dir.path().join(name);
        let config = FileSourceConfig { follow: true, ..FileSourceConfig::new(path.to_string_lossy()) };
        let opened = FileSource::new(config, line_schema(), line_decoder(1000)).open(&scan());
        opened.err().unwrap().to_string()
    };
    fs::write(dir.path().join("a.gz"), "").unwrap();
    assert!(open("a.gz").contains("only plain files can be followed"));
    assert!(open("missing").contains("can't open"));
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    assert!(open("pipe").contains("not a regular file"));
}
