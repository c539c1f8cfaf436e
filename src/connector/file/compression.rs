//! Compression by file name or by option.

use std::io::{self, Read};
use std::path::Path;

use crate::io::IoError;

/// How the content of a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, also several members in a row.
    Gzip,
    /// Zstandard, also several frames in a row.
    Zstd,
}

/// Size of the piece of compressed input that is held.
#[cfg(any(feature = "gzip", feature = "zstd"))]
const COMPRESSED_BYTES: usize = 64 << 10;

impl Compression {
    /// What the extension says: `.gz`, `.zst`, else none.
    pub fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("gz") => Compression::Gzip,
            Some("zst" | "zstd") => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// The extension that it gives a file, with its dot.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// What the option says: `none`, `gzip`, `zstd`; `None` for `auto`, that is by extension.
    pub(crate) fn of_option(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "none" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// # Errors
    /// If this build can't do it.
    pub(crate) fn check_built(self) -> Result<(), IoError> {
        match self {
            #[cfg(not(feature = "gzip"))]
            Compression::Gzip => Err(not_built("gzip")),
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => Err(not_built("zstd")),
            _ => Ok(()),
        }
    }

    /// Wraps `raw` so that it gives the uncompressed content.
    ///
    /// # Errors
    /// If this build can't uncompress it.
    pub(crate) fn reader(self, raw: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>, IoError> {
        match self {
            Compression::None => Ok(Box::new(raw)),
            #[cfg(feature = "gzip")]
            Compression::Gzip => {
                let raw = io::BufReader::with_capacity(COMPRESSED_BYTES, raw);
                Ok(Box::new(flate2::bufread::MultiGzDecoder::new(raw)))
            }
            #[cfg(not(feature = "gzip"))]
            Compression::Gzip => Err(not_built("gzip")),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let raw = io::BufReader::with_capacity(COMPRESSED_BYTES, raw);
                let decoder = zstd::stream::read::Decoder::with_buffer(raw)
                    .map_err(|e| IoError::os("can't set up zstd", e))?;
                Ok(Box::new(decoder))
            }
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => Err(not_built("zstd")),
        }
    }
}

/// The error for a compression whose feature is off.
#[cfg(not(all(feature = "gzip", feature = "zstd")))]
pub(super) fn not_built(feature: &str) -> IoError {
    IoError::unsupported(format!("this build has no {feature}: build it with the feature '{feature}'"))
}

/// An error of reading `what`: the system's own, or one of the decompressor, which means that the data is bad.
pub(crate) fn read_error(what: &str, error: io::Error) -> IoError {
    if error.raw_os_error().is_some() {
        return IoError::os(format!("can't read {what}"), error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            IoError::data(format!("{what} is cut off: its compressed content ends early"))
        }
        _ => IoError::data(format!(
            "can't decompress {what}: {error}; if it is not compressed, add compression = 'none'"
        )),
    }
}
