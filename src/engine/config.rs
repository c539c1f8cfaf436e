//! Settings as text → the configuration of a job.

use crate::catalog::{OptionValue, Options, SETTINGS, setting};
use crate::job::{
    AtEnd, BatchStrategy, CommitInterval, Execution, JobConfig, Mode, OnError, PlanChange, StateBackend,
    TraceMode,
};

/// Resolves settings that were checked when they were set.
pub(super) fn job_config(settings: &Options, name: &str) -> JobConfig {
    let mut config = JobConfig { name: name.to_owned(), ..JobConfig::default() };
    for spec in SETTINGS {
        // A default is what `JobConfig::default` has already.
        if settings.get(spec.name).is_none() {
            continue;
        }
        if let Ok(Some(value)) = settings.value(spec) {
            apply(&mut config, spec.name, value);
        }
    }
    if config.threads == 1 && config.execution == Execution::Auto {
        config.execution = Execution::Inline;
    }
    config
}

fn apply(config: &mut JobConfig, name: &str, value: OptionValue) {
    use OptionValue::{Bool, Bytes, Duration, Float, Int, Rows, Text};
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let count = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    match (name, value) {
        ("execution", Text(t)) => {
            config.execution = match t.as_str() {
                "threads" => Execution::Threads,
                "inline" => Execution::Inline,
                _ => Execution::Auto,
            }
        }
        ("threads", Int(n)) => config.threads = count(n),
        ("batch_rows", Int(n)) => config.batch_rows = count(n),
        ("batch_bytes", Bytes(n)) => config.batch_bytes = size(n),
        ("batch_linger", Duration(d)) => config.batch_linger = d,
        ("batch_strategy", Text(t)) => {
            config.batch_strategy = match t.as_str() {
                "time_window" => BatchStrategy::TimeWindow,
                "memory" => BatchStrategy::Memory,
                "adaptive" => BatchStrategy::Adaptive,
                "low_latency" => BatchStrategy::LowLatency,
                _ => BatchStrategy::Fixed,
            }
        }
        ("channel_batches", Int(n)) => config.channel_batches = Some(count(n)),
        ("channel_bytes", Bytes(n)) => config.channel_bytes = size(n),
        ("pool_bytes", Bytes(n)) => config.pool_bytes = size(n),
        ("state_max_bytes", Bytes(n)) => config.state_max_bytes = size(n),
        ("state_shards", Int(n)) => config.state_shards = Some(count(n)),
        ("require_bounded_state", Bool(b)) => config.require_bounded_state = b,
        ("empty_batches", Int(n)) => config.empty_batches = u32::try_from(n).unwrap_or(u32::MAX),
        ("empty_wait", Duration(d)) => config.empty_wait = d,
        ("on_error", Text(t)) => config.on_error = on_error(&t),
        ("max_errors", Int(n)) => config.max_errors = u64::try_from(n).ok(),
        ("max_error_ratio", Float(r)) => config.max_error_ratio = Some(r),
        ("retry_budget", Duration(d)) => config.retry_budget = d,
        ("trace", Text(t)) => {
            config.trace = if t == "propagate" { TraceMode::Propagate } else { TraceMode::Off }
        }
        ("state", Text(t)) => config.state = (!t.is_empty()).then(|| t.into()),
        ("state_backend", Text(t)) => {
            config.state_backend = if t == "disk" { StateBackend::Disk } else { StateBackend::Memory }
        }
        ("commit_interval", Duration(d)) => config.commit_interval = CommitInterval::Time(d),
        ("commit_interval", Rows(n)) => config.commit_interval = CommitInterval::Rows(n),
        ("commit_interval", Bytes(n)) => config.commit_interval = CommitInterval::Bytes(n),
        ("instances", Int(n)) => config.instances = u32::try_from(n).ok(),
        ("instance", Text(t)) => config.instance = (!t.is_empty()).then_some(t),
        ("mode", Text(t)) => {
            config.mode = if t == "transactional" { Mode::Transactional } else { Mode::Simple }
        }
        ("at_end", Text(t)) => config.at_end = if t == "drain" { AtEnd::Drain } else { AtEnd::Keep },
        ("plan_change", Text(t)) => {
            config.plan_change = if t == "allow" { PlanChange::Allow } else { PlanChange::Refuse }
        }
        ("max_restarts", Int(n)) => config.max_restarts = u32::try_from(n).unwrap_or(u32::MAX),
        ("stall_warning", Duration(d)) => config.stall_warning = d,
        ("drain_deadline", Duration(d)) => config.drain_deadline = d,
        ("shutdown_deadline", Duration(d)) => config.shutdown_deadline = d,
        // `job_name`, `dlq`, `emit_every` and `state_ttl` are read by the engine itself.
        _ => {}
    }
}

/// `state_ttl` in µs, if it is set.
pub(super) fn state_ttl(settings: &Options) -> Option<i64> {
    let text = settings.get("state_ttl").filter(|t| !t.is_empty())?;
    match setting("state_ttl")?.parse(text).ok()? {
        OptionValue::Duration(d) => Some(i64::try_from(d.as_micros()).unwrap_or(i64::MAX).max(1)),
        _ => None,
    }
}

/// The policy of a checked word.
pub(super) fn on_error(word: &str) -> OnError {
    match word {
        "skip" => OnError::Skip,
        "dlq" => OnError::Dlq,
        "retry" => OnError::Retry,
        _ => OnError::Fail,
    }
}

/// Checks one setting; the error lists the nearest names or what fits.
pub(super) fn check_setting(name: &str, value: &str) -> Result<(), String> {
    match setting(name) {
        Some(spec) => spec.parse(value).map(|_| ()).map_err(|e| e.message),
        None => {
            let near = crate::catalog::nearest(name, SETTINGS.iter().map(|s| s.name));
            Err(match near.as_slice() {
                [] => format!("there is no setting '{name}'; SHOW SETTINGS lists them"),
                near => format!("there is no setting '{name}'; did you mean {}?", near.join(" or ")),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_arrives_in_the_configuration() {
        // A value that differs from the default for each setting that a job reads.
        let other = |name: &str| match name {
            "execution" => "threads",
            "threads" | "batch_rows" | "channel_batches" | "empty_batches" | "max_errors"
            | "max_restarts" | "state_shards" | "instances" => "77",
            "batch_bytes" | "channel_bytes" | "pool_bytes" | "state_max_bytes" => "77KB",
            "batch_strategy" => "memory",
            "on_error" => "skip",
            "max_error_ratio" => "0.77",
            "trace" => "propagate",
            "state" => "dir",
            "instance" => "one",
            "mode" => "transactional",
            "at_end" => "drain",
            "require_bounded_state" => "true",
            "plan_change" => "allow",
            "state_backend" => "disk",
            _ => "77s",
        };
        let default = format!("{:?}", job_config(&Options::default(), "j"));
        for spec in
            SETTINGS.iter().filter(|s| !["job_name", "dlq", "emit_every", "state_ttl"].contains(&s.name))
        {
            let settings = Options::new([(spec.name, other(spec.name))]);
            assert_ne!(format!("{:?}", job_config(&settings, "j")), default, "{}", spec.name);
        }
    }

    #[test]
    fn defaults_in_the_registry_are_the_defaults_of_the_configuration() {
        let all =
            Options::new(SETTINGS.iter().filter(|s| !s.default.is_empty()).map(|s| (s.name, s.default)));
        assert_eq!(
            format!("{:?}", job_config(&all, "j")),
            format!("{:?}", job_config(&Options::default(), "j"))
        );
    }
}
