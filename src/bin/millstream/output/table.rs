//! Rows as a table for people: first and last rows of a long result, everything of a stream without end.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use millstream::io::SinkStart;
use millstream::{DataSink, DataWriter, FieldValue, IoError, Schema, StreamRecord};

/// Widest column.
const MAX_WIDTH: usize = 40;

/// How much of a result is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The input ends: the first and the last rows are shown when it has.
    Ends,
    /// The input does not end: rows are shown as they come.
    Live,
}

const HEAD: usize = 25;
const TAIL: usize = 10;

/// Prints rows to stdout as a table.
pub(crate) struct TableSink {
    schema: Arc<Schema>,
    frame: Frame,
}

impl TableSink {
    pub(crate) fn new(schema: Arc<Schema>, frame: Frame) -> Self {
        Self { schema, frame }
    }
}

impl DataSink for TableSink {
    fn open(&self, _: Arc<Schema>, _: &SinkStart) -> Result<Box<dyn DataWriter>, IoError> {
        Ok(Box::new(TableWriter {
            schema: self.schema.clone(),
            frame: self.frame,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
            widths: Vec::new(),
        }))
    }
}

struct TableWriter {
    schema: Arc<Schema>,
    frame: Frame,
    head: Vec<Vec<String>>,
    tail: VecDeque<Vec<String>>,
    total: u64,
    /// Fixed by the first rows of a live table.
    widths: Vec<usize>,
}

impl DataWriter for TableWriter {
    fn write(&mut self, batch: &[Arc<StreamRecord>]) -> Result<(), IoError> {
        let keep_from = match self.frame {
            Frame::Live => 0,
            // Only rows that may be shown are turned into text.
            Frame::Ends => batch.len().saturating_sub(TAIL),
        };
        for (i, record) in batch.iter().enumerate() {
            self.total += 1;
            if self.frame == Frame::Live || self.head.len() < HEAD {
                self.head.push(record.values().iter().map(cell).collect());
            } else if i >= keep_from {
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(record.values().iter().map(cell).collect());
            }
        }
        // Nothing is held of a stream without end.
        self.flush()
    }

    fn flush(&mut self) -> Result<(), IoError> {
        if self.frame == Frame::Ends || self.head.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.head);
        let layout = Layout::new(&self.schema, &rows, &self.widths);
        let mut out = std::io::stdout().lock();
        let print = |out: &mut dyn Write| -> std::io::Result<()> {
            if self.widths.is_empty() {
                layout.header(out)?;
            }
            rows.iter().try_for_each(|r| layout.row(out, r))?;
            out.flush()
        };
        print(&mut out).map_err(|e| IoError::os("can't print", e))?;
        self.widths = layout.widths;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), IoError> {
        self.flush()?;
        let mut out = std::io::stdout().lock();
        let print = |out: &mut dyn Write| -> std::io::Result<()> {
            if self.frame == Frame::Live {
                return out.flush();
            }
            let all: Vec<Vec<String>> = self.head.iter().chain(&self.tail).cloned().collect();
            let layout = Layout::new(&self.schema, &all, &[]);
            layout.header(out)?;
            self.head.iter().try_for_each(|r| layout.row(out, r))?;
            let hidden = self.total - self.head.len() as u64 - self.tail.len() as u64;
            if hidden > 0 {
                layout.gap(out)?;
            }
            self.tail.iter().try_for_each(|r| layout.row(out, r))?;
            layout.footer(out)?;
            let rows = if self.total == 1 { "row" } else { "rows" };
            match hidden {
                0 => writeln!(out, "{} {rows}", self.total)?,
                _ => writeln!(
                    out,
                    "{} {rows} ({} shown; --format json or csv prints all)",
                    self.total,
                    all.len()
                )?,
            }
            out.flush()
        };
        print(&mut out).map_err(|e| IoError::os("can't print", e))
    }
}

/// Prints a small table at once.
pub(crate) fn print_table(
    out: &mut dyn Write,
    schema: &Arc<Schema>,
    rows: &[Vec<FieldValue>],
) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(cell).collect()).collect();
    let layout = Layout { max: 100, ..Layout::new(schema, &rows, &[]) };
    let layout = Layout { widths: layout.measure(schema, &rows), ..layout };
    layout.header(out)?;
    rows.iter().try_for_each(|r| layout.row(out, r))?;
    layout.footer(out)
}

/// Column widths and alignment.
struct Layout {
    names: Vec<String>,
    widths: Vec<usize>,
    right: Vec<bool>,
    max: usize,
}

impl Layout {
    fn new(schema: &Schema, rows: &[Vec<String>], fixed: &[usize]) -> Self {
        let names = schema.names().map(str::to_owned).collect();
        let right = schema.fields().iter().map(|f| f.data_type.is_numeric()).collect();
        let mut layout = Self { names, widths: Vec::new(), right, max: MAX_WIDTH };
        layout.widths = if fixed.is_empty() { layout.measure(schema, rows) } else { fixed.to_vec() };
        layout
    }
    fn measure(&self, schema: &Schema, rows: &[Vec<String>]) -> Vec<usize> {
        let width = |i: usize, name: &str| {
            let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
            cells.chain([name.chars().count()]).max().unwrap_or(0).min(self.max)
        };
        schema.names().enumerate().map(|(i, n)| width(i, n)).collect()
    }
    fn rule(&self, out: &mut dyn Write, [left, middle, right]: [&str; 3]) -> std::io::Result<()> {
        let parts: Vec<String> = self.widths.iter().map(|w| "─".repeat(w + 2)).collect();
        writeln!(out, "{left}{}{right}", parts.join(middle))
    }
    fn header(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.rule(out, ["┌", "┬", "┐"])?;
        self.row(out, &self.names)?;
        self.rule(out, ["├", "┼", "┤"])
    }
    fn footer(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.rule(out, ["└", "┴", "┘"])
    }
    fn gap(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.row(out, &vec!["·".to_owned(); self.names.len()])
    }
    fn row(&self, out: &mut dyn Write, cells: &[String]) -> std::io::Result<()> {
        let mut line = String::from("│");
        for ((cell, width), right) in cells.iter().zip(&self.widths).zip(&self.right) {
            let shown: String = match cell.chars().count() > *width {
                true => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
                false => cell.clone(),
            };
            line.push_str(&if *right {
                format!(" {shown:>width$} │")
            } else {
                format!(" {shown:<width$} │")
            });
        }
        writeln!(out, "{line}")
    }
}

/// A value in a table: as in JSON, but without quotes around text; control characters made visible.
pub(crate) fn cell(value: &FieldValue) -> String {
    let text = match value {
        FieldValue::Null => String::new(),
        FieldValue::String(s) => s.to_string(),
        FieldValue::Bytes(b) => b.iter().map(|x| format!("{x:02x}")).collect(),
        other => match serde_json::to_string(other) {
            Ok(s) => s.strip_prefix('"').and_then(|s| s.strip_suffix('"')).map(str::to_owned).unwrap_or(s),
            Err(e) => e.to_string(),
        },
    };
    let control = |c: char| c.is_control();
    if text.contains(control) {
        text.chars().flat_map(|c| if control(c) { c.escape_default().collect() } else { vec![c] }).collect()
    } else {
        text
    }
}
