//! Schema inference: columns and types from the first rows of an input, a finished one or a live one.
//!
//! Types are widened from row to row: BIGINT → DECIMAL(28,0) (integers beyond 64 bits, exactly) → DOUBLE → VARCHAR, DATE →
//! TIMESTAMP → VARCHAR; in JSON what fits no common type becomes JSON. A CSV number with a leading zero or a plus sign is
//! taken for text (a postal code, a telephone number), where DuckDB would read 7 out of `007`. Rows that can't be
//! decoded say nothing about types. A row further down that does not fit is a record error that
//! names `sample_rows`.

mod csv;
mod guess;
mod hint;
mod json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use hint::Hinting;

use super::Input;
use super::format::{Format, Kind};
use crate::catalog::OptionError;
use crate::record::{DataType, Schema};

/// How far a call of [`Inference::feed`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Bytes consumed from the front of the input; the next call's input starts behind them.
    pub consumed: usize,
    /// Enough rows were seen: more would not be looked at.
    pub enough: bool,
}

/// What was inferred.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// All columns, in order of first appearance.
    pub schema: Arc<Schema>,
    /// The format to decode the same input with, from its start: header and delimiter are decided, and columns that
    /// were found numeric or temporal take `NA N/A NULL null \N` as NULL.
    pub format: Format,
    /// Rows looked at.
    pub rows: u64,
}

/// Looks at an input piece by piece.
///
/// ```
/// use millstream::catalog::Options;
/// use millstream::codec::{Format, Inference, Input};
/// let format = Format::new("csv", &Options::default())?;
/// let mut inference = Inference::new(&format, 10_000)?;
/// inference.feed(b"id,name\n1,ann\n2,bob\n", Input::Complete);
/// let inferred = inference.finish()?;
/// assert_eq!(format!("{:?}", inferred.schema), r#"{"id": BigInt, "name": Varchar}"#);
/// # Ok::<(), millstream::catalog::OptionError>(())
/// ```
pub struct Inference {
    format: Format,
    sampler: Sampler,
    /// Rows to look at; `None` = all.
    sample_rows: Option<u64>,
}

/// So many bytes must be there before [`foreign`] is asked.
const SIGN: usize = 4;

/// What an input is that begins so and is neither text nor JSON; in words that go on "can't be inferred: ".
fn foreign(start: &[u8]) -> Option<&'static str> {
    const SIGNS: [(&[u8], &str); 6] = [
        (b"\xFF\xFE", "it is UTF-16 (it begins with its byte order mark), not UTF-8"),
        (b"\xFE\xFF", "it is UTF-16 (it begins with its byte order mark), not UTF-8"),
        (b"\x1F\x8B", "it is compressed: add compression = 'gzip' or name it ….gz"),
        (b"\x28\xB5\x2F\xFD", "it is compressed: add compression = 'zstd' or name it ….zst"),
        (b"PK\x03\x04", "it is a ZIP archive; .gz and .zst can be read"),
        (b"PAR1", "it is a Parquet file, which can't be read"),
    ];
    SIGNS.iter().find(|(sign, _)| start.starts_with(sign)).map(|(_, what)| *what)
}

enum Sampler {
    Csv(csv::CsvSampler),
    Json(json::JsonSampler),
    /// There is nothing to look at: these are the columns.
    Fixed(Arc<Schema>),
}

impl Inference {
    /// Begins; `sample_rows` below 0 means all rows.
    ///
    /// # Errors
    /// A format whose columns can't be inferred.
    pub fn new(format: &Format, sample_rows: i64) -> Result<Self, OptionError> {
        let sampler = match &format.kind {
            Kind::Csv(options) => Sampler::Csv(csv::CsvSampler::new(options.clone())),
            Kind::Json(options) => Sampler::Json(json::JsonSampler::new(options.clone())),
            Kind::Debezium(_) => {
                let message = "format 'debezium-json' can be written, not read".into();
                return Err(OptionError { name: "format".into(), message });
            }
            Kind::Text(_) => Sampler::Fixed(Schema::of([("line", DataType::Varchar)])),
            Kind::Raw(_) => Sampler::Fixed(Schema::of([("content", DataType::Bytes)])),
        };
        Ok(Self { format: format.clone(), sampler, sample_rows: u64::try_from(sample_rows).ok() })
    }

    /// Looks at whole records from the front of `bytes`. What is not consumed must come again with more behind it.
    pub fn feed(&mut self, bytes: &[u8], input: Input) -> Fed {
        let limit = self.sample_rows.unwrap_or(u64::MAX);
        match &mut self.sampler {
            Sampler::Csv(sampler) => sampler.feed(bytes, input, limit),
            Sampler::Json(sampler) => sampler.feed(bytes, input, limit),
            Sampler::Fixed(_) => Fed { consumed: 0, enough: true },
        }
    }

    /// What the rows so far allow to say: after [`Fed::enough`], at the end of the input, or when waiting for
    /// more takes too long.
    ///
    /// # Errors
    /// If no row could be read.
    pub fn finish(self) -> Result<Inferred, OptionError> {
        let error = |message| OptionError { name: "columns".into(), message };
        match self.sampler {
            Sampler::Csv(sampler) => {
                let (schema, options, rows) = sampler.finish().map_err(error)?;
                Ok(Inferred { schema, format: self.format.inferred(Kind::Csv(options)), rows })
            }
            Sampler::Json(sampler) => {
                let (schema, rows) = sampler.finish().map_err(error)?;
                let kind = self.format.kind.clone();
                Ok(Inferred { schema, format: self.format.inferred(kind), rows })
            }
            Sampler::Fixed(schema) => Ok(Inferred { schema, format: self.format, rows: 0 }),
        }
    }
}

/// Steps over the line at the front of `bytes`, piece by piece if it is longer than they are: returns how many bytes to
/// consume, and whether the line is over.
fn skip_line(bytes: &[u8], input: Input) -> (usize, bool) {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => (end + 1, true),
        None => (bytes.len(), input == Input::Complete),
    }
}
