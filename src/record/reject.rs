//! Why one record could not be processed: data, never a crash.

use std::fmt;

use compact_str::CompactString;

/// The class of a record error: a stable label for metrics, dead letters and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The bytes are not of the declared format.
    Malformed,
    /// Not valid in the declared encoding (UTF-8).
    Encoding,
    /// A value does not fit its declared column type.
    TypeMismatch,
    /// A record longer than `max_record_bytes`, or nested too deeply.
    TooLarge,
    /// A key occurs twice in one object.
    DuplicateKey,
    /// A field that is not declared, under `unknown_fields = 'error'`.
    UnknownField,
    /// A CSV row with too few or too many fields.
    RaggedRow,
    /// NULL in a NOT NULL column.
    NotNull,
    /// Arithmetic beyond the range of its type.
    Overflow,
    /// Division by zero.
    DivisionByZero,
    /// A failed CAST.
    InvalidCast,
    /// An argument outside a function's domain.
    InvalidArgument,
    /// An expression or user function panicked.
    Panic,
    /// A sink refused the record.
    SinkRejected,
    /// Behind the watermark, in no window (`late = 'dlq'`).
    Late,
    /// An event time further ahead of the clock than `max_future_skew`.
    FutureTime,
}

impl ErrorCode {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::Encoding,
        Self::TypeMismatch,
        Self::TooLarge,
        Self::DuplicateKey,
        Self::UnknownField,
        Self::RaggedRow,
        Self::NotNull,
        Self::Overflow,
        Self::DivisionByZero,
        Self::InvalidCast,
        Self::InvalidArgument,
        Self::Panic,
        Self::SinkRejected,
        Self::Late,
        Self::FutureTime,
    ];

    /// The label, e.g. `division_by_zero`.
    pub fn label(self) -> &'static str {
        match self {
            ErrorCode::Malformed => "malformed",
            ErrorCode::Encoding => "encoding",
            ErrorCode::TypeMismatch => "type_mismatch",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::DuplicateKey => "duplicate_key",
            ErrorCode::UnknownField => "unknown_field",
            ErrorCode::RaggedRow => "ragged_row",
            ErrorCode::NotNull => "not_null",
            ErrorCode::Overflow => "overflow",
            ErrorCode::DivisionByZero => "division_by_zero",
            ErrorCode::InvalidCast => "invalid_cast",
            ErrorCode::InvalidArgument => "invalid_argument",
            ErrorCode::Panic => "panic",
            ErrorCode::SinkRejected => "sink_rejected",
            ErrorCode::Late => "late",
            ErrorCode::FutureTime => "future_time",
        }
    }
}

/// What was wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Class.
    pub code: ErrorCode,
    /// One sentence without a final stop; never a whole record.
    pub message: String,
    /// Column concerned, if one is.
    pub column: Option<CompactString>,
    /// Byte within the record where decoding stopped, from 0.
    pub at: Option<usize>,
}

impl RecordError {
    /// An error that concerns no column in particular.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), column: None, at: None }
    }
    /// The same, naming a column.
    pub fn in_column(mut self, column: impl AsRef<str>) -> Self {
        self.column = Some(CompactString::new(column));
        self
    }
    /// The same, naming a byte within the record.
    pub fn at_byte(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(c) = &self.column {
            write!(f, " (column {c})")?;
        }
        if let Some(at) = self.at {
            write!(f, " at byte {at} of the record")?;
        }
        Ok(())
    }
}
impl std::error::Error for RecordError {}
