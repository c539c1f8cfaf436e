//! The settings registry: one row a setting, behind SET, flags, environment and documentation.

use super::{OptionKind, OptionSpec};

const ANY: OptionKind = OptionKind::Int { min: 1, max: i64::MAX };

/// All settings, in the order of the reference.
pub const SETTINGS: &[OptionSpec] = &[
    OptionSpec::new(
        "job_name",
        OptionKind::Text,
        "",
        "name of the job: keys its state and dead letters; default: the file's stem",
    ),
    OptionSpec::new(
        "execution",
        OptionKind::OneOf(&["auto", "threads", "inline"]),
        "auto",
        "auto starts on one thread and splits when that pays; threads gives every source and sink its own; inline uses one thread",
    ),
    OptionSpec::new(
        "threads",
        OptionKind::Int { min: 1, max: 1024 },
        "",
        "threads that do engine work at the same time under execution = 'auto'; default: the machine's; 1 means inline; under \
         'threads' what the stages leave of them decodes ahead and shares large batches: of 2 nothing",
    ),
    OptionSpec::new(
        "batch_rows",
        ANY,
        "1000",
        "rows of a full batch: larger costs less per row, smaller answers sooner",
    ),
    OptionSpec::new("batch_bytes", OptionKind::Bytes, "1 MiB", "payload bytes of a full batch"),
    OptionSpec::new(
        "batch_linger",
        OptionKind::Duration,
        "5ms",
        "longest time that an incomplete batch waits while the next stage is busy",
    ),
    OptionSpec::new(
        "batch_strategy",
        OptionKind::OneOf(&["fixed", "time_window", "memory", "adaptive", "low_latency"]),
        "fixed",
        "fixed: by rows and bytes; time_window: what arrives in batch_linger; memory: by bytes; adaptive: grows while latency allows; low_latency: at most 100 rows, at once",
    ),
    OptionSpec::new(
        "channel_batches",
        OptionKind::Int { min: 1, max: 100_000 },
        "",
        "batches that wait between two threads; default: 8, or as many as have 8,000 rows, at most 1,024",
    ),
    OptionSpec::new(
        "channel_bytes",
        OptionKind::Bytes,
        "4 MiB",
        "payload bytes that wait between two threads",
    ),
    OptionSpec::new(
        "pool_bytes",
        OptionKind::Bytes,
        "64 MiB",
        "bytes of spent batches kept for reuse, per source and operator: less than the edges hold costs allocations",
    ),
    OptionSpec::new(
        "state_max_bytes",
        OptionKind::Bytes,
        "1 GiB",
        "memory that an operator's state may take: the job fails beyond it; on disk: that all groups in memory share",
    ),
    OptionSpec::new(
        "state_ttl",
        OptionKind::Duration,
        "",
        "groups without a window that no row touches for so long and partitions of first rows are forgotten and told as deleted, partitions of calls OVER begin anew: by the watermark, else by the clock; default: never",
    ),
    OptionSpec::new(
        "state_shards",
        OptionKind::Int { min: 1, max: 128 },
        "",
        "parts of the groups of GROUP BY that threads work on side by side, whether it pays or not; default: threads, used when it pays",
    ),
    OptionSpec::new(
        "require_bounded_state",
        OptionKind::Bool,
        "false",
        "true: a query whose state can grow for ever (groups without a window over a stream that does not end) is refused; false: warned of",
    ),
    OptionSpec::new(
        "emit_every",
        OptionKind::OneOf(&["batch", "record"]),
        "batch",
        "how often results that change are emitted: a group once a batch at most, or after each record: the same for any batch",
    ),
    OptionSpec::new(
        "empty_batches",
        OptionKind::Int { min: 1, max: 1_000_000 },
        "3",
        "empty reads in a row after which a source that can't say whether it ends is taken for ended",
    ),
    OptionSpec::new("empty_wait", OptionKind::Duration, "100ms", "time between these reads"),
    OptionSpec::new(
        "on_error",
        OptionKind::OneOf(&["fail", "skip", "dlq", "retry"]),
        "fail",
        "what becomes of records that can't be evaluated or written; sources have an option of the same name",
    ),
    OptionSpec::new("dlq", OptionKind::Text, "", "dead letters: 'path.jsonl' or the name of a stream"),
    OptionSpec::new(
        "max_errors",
        OptionKind::Int { min: 0, max: i64::MAX },
        "",
        "rejected records above which the job fails whatever on_error says",
    ),
    OptionSpec::new(
        "max_error_ratio",
        OptionKind::Float { min: 0.0, max: 1.0 },
        "",
        "share of rejected records above which the job fails, judged from 1,000 records on and at the end",
    ),
    OptionSpec::new(
        "retry_budget",
        OptionKind::Duration,
        "5m",
        "how long a failure that may pass (sink away, connection reset) is retried",
    ),
    OptionSpec::new(
        "trace",
        OptionKind::OneOf(&["off", "propagate"]),
        "off",
        "propagate: W3C trace context is read from headers and a child is put into every output record",
    ),
    OptionSpec::new(
        "mode",
        OptionKind::OneOf(&["simple", "transactional"]),
        "simple",
        "after a crash each row is there simple: at least once, transactional: exactly once; that needs state, and files are directories of parts",
    ),
    OptionSpec::new(
        "instance",
        OptionKind::Text,
        "",
        "name of this process where several run the job and share the group_id of its Kafka sources, whose partitions move with their state; needs state",
    ),
    OptionSpec::new(
        "instances",
        OptionKind::Int { min: 1, max: 10_000 },
        "",
        "how many processes run the job, each with partitions of its own; instance is then a number from 0",
    ),
    OptionSpec::new(
        "state",
        OptionKind::Text,
        "",
        "directory where the job keeps its state and position; without it every run starts at the beginning",
    ),
    OptionSpec::new(
        "state_backend",
        OptionKind::OneOf(&["memory", "disk"]),
        "memory",
        "where state lives while a job runs: memory, or disk for groups that do not fit into state_max_bytes (feature disk-state)",
    ),
    OptionSpec::new(
        "commit_interval",
        OptionKind::Interval,
        "1s",
        "time, rows ('10000 rows') or bytes ('64 MiB') between commits: less repeats less after a crash",
    ),
    OptionSpec::new(
        "at_end",
        OptionKind::OneOf(&["keep", "drain"]),
        "keep",
        "a job with state that is stopped before its input ends: keep leaves open windows and groups in the state, drain emits them and ends the job for good",
    ),
    OptionSpec::new(
        "plan_change",
        OptionKind::OneOf(&["refuse", "allow"]),
        "refuse",
        "a state that another query wrote: refuse says which operators could go on with it, allow lets them and starts the others empty",
    ),
    OptionSpec::new(
        "max_restarts",
        OptionKind::Int { min: 0, max: 1_000_000 },
        "0",
        "restarts from the last commit after a failure; needs state",
    ),
    OptionSpec::new(
        "stall_warning",
        OptionKind::Duration,
        "10s",
        "a sink that takes nothing for so long is named in the log",
    ),
    OptionSpec::new(
        "drain_deadline",
        OptionKind::Duration,
        "25s",
        "time that the command line gives a job to write what it has read after the first signal; then it aborts it",
    ),
    OptionSpec::new(
        "shutdown_deadline",
        OptionKind::Duration,
        "10s",
        "time that threads have to end after a failure or abort before they are abandoned",
    ),
];

/// The setting of that name.
pub fn setting(name: &str) -> Option<&'static OptionSpec> {
    SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_and_every_row_has_a_doc() {
        for s in SETTINGS {
            assert!(s.doc.len() > 10, "{}", s.name);
            assert!(s.default.is_empty() || s.parse(s.default).is_ok(), "{}", s.name);
        }
    }
}
