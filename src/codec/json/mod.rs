//! JSON: one object a line (NDJSON), or one array of objects.
//!
//! The decoder predicts the order of keys (`shape`) and writes values straight into recycled records; whatever is
//! not as predicted is read in full, strictly (`lex`, `object`), and only that path says what is wrong.

mod array;
#[cfg(test)]
mod array_tests;
mod changelog;
mod column;
mod decoder;
mod encoder;
mod keys;
mod lex;
mod nested;
mod number;
mod object;
mod options;
mod shape;
#[cfg(test)]
mod tests;

pub use changelog::{DebeziumEncoder, UpsertEncoder};
pub use decoder::JsonDecoder;
pub use encoder::JsonEncoder;
pub(crate) use nested::{JsonTextReader, JsonTextWriter};
pub use options::{
    CHANGELOG_OPTIONS, DecimalFormat, DuplicateKeys, JsonOptions, Layout, OPTIONS, UnknownFields,
};
