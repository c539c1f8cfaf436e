//! CSV and TSV: RFC 4180 with a header, read strictly.
//!
//! Lines end in LF or CRLF; quoted fields may hold both, and a quote in them is doubled (or escaped, see `escape`). A
//! quote inside an unquoted field, text behind a closing quote and a quote that is never closed make
//! the record malformed: its first line is rejected and reading goes on with the line below, so that one stray
//! quote costs one line. A NUL byte counts as a wrong encoding (UTF-16, binary data).
//!
//! Most rows hold no quote. For those an index of delimiters and line ends is built a block of 64 bytes at a time, and
//! only the wanted columns are looked at again (`index`); rows with a quote go through `scan`.

mod boundary;
mod decode;
mod dialect;
mod encode;
mod header;
mod index;
mod scan;
#[cfg(test)]
mod tests;
mod value;

pub use decode::CsvDecoder;
pub use dialect::{CsvOptions, HeaderMode, OPTIONS, RaggedRows};
pub use encode::CsvEncoder;
pub(crate) use header::{name_columns, split_line};
pub(crate) use scan::{Scanned, Scanner, unescape};
pub(crate) use value::is_null_token;
