//! Looks at the first rows of an input to find out its columns.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use super::file::{FileSourceConfig, OpenInput, read_error};
use super::registry::{SAMPLE_OPTIONS, SourceRequest, Typed, config};
use crate::codec::{Format, Inference, Inferred, Input};
use crate::io::IoError;

/// Bytes read at once.
const PIECE: usize = 64 << 10;
/// What is held of a stream that can't be read again.
const MAX_KEPT: usize = 16 << 20;
/// A live stream is looked at for so long, …
const LIVE_WAIT: Duration = Duration::from_secs(1);
/// … and if nothing has come by then, for so long.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Rows to look at, as the option says.
fn sample_rows(request: &SourceRequest<'_>) -> Result<i64, IoError> {
    let options = Typed { options: request.options, specs: SAMPLE_OPTIONS };
    Ok(options.int("sample_rows")?.unwrap_or(10_000))
}

/// Infers from the first file, which is read again later.
///
/// # Errors
/// If it can't be read or holds no row.
pub(crate) fn infer_files(
    files: &[PathBuf],
    source: &FileSourceConfig,
    format: &Format,
    request: &SourceRequest<'_>,
) -> Result<Inferred, IoError> {
    let rows = sample_rows(request)?;
    let Some(path) = files.first() else {
        return Err(IoError::config(format!(
            "there is no file yet to infer the columns of '{}' from",
            request.name
        )));
    };
    if rows < 0 && files.len() > 1 {
        return Err(IoError::unsupported(format!(
            "sample_rows = -1 over several files is not supported yet: declare the columns of '{}'",
            request.name
        )));
    }
    let mut input = OpenInput::open(path, source.compression_of(path))?;
    infer(&mut input, format, rows, Kept::Nothing).map(|(inferred, _)| inferred)
}

/// Infers from a stream that can't be read again: also gives what was read.
///
/// # Errors
/// If it can't be read, or no row comes in time.
pub(crate) fn infer_stream(
    input: &mut OpenInput,
    format: &Format,
    request: &SourceRequest<'_>,
) -> Result<(Inferred, Vec<u8>), IoError> {
    let rows = sample_rows(request)?;
    if rows < 0 {
        return Err(IoError::unsupported(format!(
            "sample_rows = -1 is not possible with {}, which can be read only once",
            input.name()
        )));
    }
    infer(input, format, rows, Kept::Everything)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Everything,
}

fn infer(
    input: &mut OpenInput,
    format: &Format,
    rows: i64,
    kept: Kept,
) -> Result<(Inferred, Vec<u8>), IoError> {
    let mut inference = Inference::new(format, rows).map_err(config)?;
    let mut bytes: Vec<u8> = Vec::new();
    let mut fed = 0;
    let mut any = false;
    let mut waited = Duration::ZERO;
    loop {
        if kept == Kept::Nothing {
            bytes.drain(..fed);
            fed = 0;
        } else if bytes.len() >= MAX_KEPT {
            break;
        }
        let end = bytes.len();
        bytes.resize(end + PIECE, 0);
        let read = input.read(bytes.get_mut(end..).unwrap_or_default());
        bytes.truncate(end + *read.as_ref().unwrap_or(&0));
        let state = match read {
            Ok(0) => Input::Complete,
            Ok(_) => Input::Partial,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if any && waited >= LIVE_WAIT {
                    break;
                }
                if waited >= FIRST_WAIT {
                    let seconds = FIRST_WAIT.as_secs();
                    return Err(IoError::data(format!(
                        "{} gave no row within {seconds} s to infer columns from: declare them",
                        input.name()
                    )));
                }
                if !input.wait(POLL)? {
                    waited += POLL;
                }
                continue;
            }
            Err(e) => return Err(read_error(input.name(), e)),
        };
        let step = inference.feed(bytes.get(fed..).unwrap_or(&[]), state);
        fed += step.consumed;
        any |= step.consumed > 0;
        if step.enough || state == Input::Complete {
            break;
        }
    }
    let inferred = inference.finish();
    let inferred = inferred.map_err(|e| IoError::data(format!("{}: {}", input.name(), e.message)))?;
    Ok((inferred, bytes))
}
