//! The input in hand, where it survives the process: a stack that overflows leaves libFuzzer no time to keep it.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Writes the input to the file that `LAST_INPUT` names, if it names one.
pub fn remember(data: &[u8]) {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(file) = FILE.get_or_init(|| std::env::var_os("LAST_INPUT").map(PathBuf::from)) {
        let _ = std::fs::write(file, data);
    }
}
