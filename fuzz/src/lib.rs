//! What is fuzzed and what must hold; the binaries in `fuzz_targets/` only hand libFuzzer's bytes over.

mod csv;
mod feed;
mod frames;
mod json;
mod last;
mod seeds;
mod sql;
mod state;

pub use csv::csv;
pub use frames::frames;
pub use json::json;
pub use last::remember;
pub use seeds::start;
pub use sql::sql;
pub use state::state;
