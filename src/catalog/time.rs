//! What a stream's options say of its event time.

use super::{OptionKind, OptionSpec};

/// Rows so far behind the watermark still count in their window.
pub const ALLOWED_LATENESS: OptionSpec = OptionSpec::new(
    "allowed_lateness",
    OptionKind::Duration,
    "0",
    "how far behind the watermark a row still counts in its window: larger waits longer",
);

/// What becomes of later ones.
pub const LATE: OptionSpec = OptionSpec::new(
    "late",
    OptionKind::OneOf(&["drop", "dlq", "update"]),
    "drop",
    "later rows are counted, or dead letters; update: windows fire at their end, then are corrected",
);

/// When a partition no longer holds the watermark back.
pub const IDLE_TIMEOUT: OptionSpec = OptionSpec::new(
    "idle_timeout",
    OptionKind::DurationOrOff,
    "",
    "a partition silent for so long holds no window open; default: 30s where input never ends, else off",
);

/// Which timestamps are taken for errors.
pub const MAX_FUTURE_SKEW: OptionSpec = OptionSpec::new(
    "max_future_skew",
    OptionKind::DurationOrOff,
    "",
    "a time further ahead of the clock is an error of its row; default: 1h where input never ends, else off",
);

/// Options of streams with WATERMARK FOR.
pub const TIME_OPTIONS: &[OptionSpec] = &[ALLOWED_LATENESS, LATE, IDLE_TIMEOUT, MAX_FUTURE_SKEW];
