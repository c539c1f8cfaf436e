//! What is shown while jobs run: a live line on a terminal, plain lines every ten seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use millstream::job::Stopper;
use millstream::observe::JobStats;

/// A thread that reports progress until it is dropped.
pub(crate) struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts reporting. `quiet`, or rows on the same terminal, report nothing.
    pub(crate) fn start(stoppers: Vec<Stopper>, quiet: bool, rows_on_terminal: bool) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let live = std::io::stderr().is_terminal();
        if quiet || (rows_on_terminal && live) {
            return Self { done, thread: None };
        }
        let flag = done.clone();
        let thread = std::thread::Builder::new()
            .name("ms-progress".into())
            .spawn(move || if live { spin(&stoppers, &flag) } else { log_lines(&stoppers, &flag) })
            .ok();
        Self { done, thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only prints; if it panicked there is nothing to clean up.
            let _ = thread.join();
        }
    }
}

struct Totals {
    records: u64,
    bytes: u64,
    written: u64,
    rejected: u64,
}

fn totals(stoppers: &[Stopper]) -> Totals {
    let mut t = Totals { records: 0, bytes: 0, written: 0, rejected: 0 };
    for s in stoppers {
        let stats = s.stats();
        t.records += stats.records_in;
        t.bytes += stats.bytes_in;
        t.written += stats.records_out;
        t.rejected += stats.rejected;
    }
    t
}

fn line(t: &Totals, before: &Totals, seconds: f64) -> String {
    let rate = |now: u64, then: u64| ((now.saturating_sub(then)) as f64 / seconds.max(1e-3)) as u64;
    let rejected =
        if t.rejected > 0 { format!(", {} rejected", HumanCount(t.rejected)) } else { String::new() };
    format!(
        "{} read, {} written{rejected}  {} rows/s  {}/s",
        count(t.records, "row"),
        HumanCount(t.written),
        HumanCount(rate(t.records, before.records)),
        HumanBytes(rate(t.bytes, before.bytes)),
    )
}

fn spin(stoppers: &[Stopper], done: &AtomicBool) {
    // Nothing flickers for jobs that are over at once.
    std::thread::park_timeout(Duration::from_millis(300));
    if done.load(Ordering::Acquire) {
        return;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    let mut before = totals(stoppers);
    let mut at = Instant::now();
    let mut sinks = Sinks::new();
    while !done.load(Ordering::Acquire) {
        std::thread::park_timeout(Duration::from_millis(200));
        let stats: Vec<JobStats> = stoppers.iter().map(Stopper::stats).collect();
        sinks
            .stalled(&stats, Instant::now())
            .iter()
            .for_each(|text| bar.suspend(|| super::output::say(text)));
        let now = totals(stoppers);
        bar.set_message(line(&now, &before, at.elapsed().as_secs_f64()));
        bar.tick();
        (before, at) = (now, Instant::now());
    }
    bar.finish_and_clear();
}

/// How long a sink may have rows in hand and write none before it is named.
const STALL: Duration = Duration::from_secs(9);

/// Finds sinks that hold up their jobs: also those on the thread that would have noticed.
struct Sinks {
    /// Rows written by each, since when that has not changed, and whether it was named.
    seen: Vec<(u64, Instant, bool)>,
}

impl Sinks {
    fn new() -> Self {
        Self { seen: Vec::new() }
    }

    /// Names of sinks that have just been found to take nothing.
    fn stalled(&mut self, stats: &[JobStats], now: Instant) -> Vec<String> {
        let sinks = stats.iter().flat_map(|s| &s.sinks);
        let mut stalled = Vec::new();
        for (k, sink) in sinks.enumerate() {
            let fresh = (sink.records, now, false);
            let Some(seen) = self.seen.get_mut(k) else {
                self.seen.push(fresh);
                continue;
            };
            if seen.0 != sink.records || sink.in_hand == 0 {
                *seen = fresh;
            } else if !seen.2 && now.saturating_duration_since(seen.1) >= STALL {
                seen.2 = true;
                stalled.push(format!(
                    "sink {} has taken nothing for {:.0?}: it holds up the job, with {} in hand",
                    sink.name,
                    now.saturating_duration_since(seen.1),
                    count(sink.in_hand, "row")
                ));
            }
        }
        stalled
    }
}

fn log_lines(stoppers: &[Stopper], done: &AtomicBool) {
    let mut before = totals(stoppers);
    let mut at = Instant::now();
    let mut sinks = Sinks::new();
    while !done.load(Ordering::Acquire) {
        std::thread::park_timeout(Duration::from_millis(500));
        let stats: Vec<JobStats> = stoppers.iter().map(Stopper::stats).collect();
        sinks.stalled(&stats, Instant::now()).iter().for_each(|text| super::output::say(text));
        if at.elapsed() >= Duration::from_secs(10) && !done.load(Ordering::Acquire) {
            let now = totals(stoppers);
            super::output::say(&line(&now, &before, at.elapsed().as_secs_f64()));
            (before, at) = (now, Instant::now());
        }
    }
}

/// `1 row`, `2,000 rows`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(n), if n == 1 { "" } else { "s" })
}

/// One line about a job that has ended.
pub(crate) fn summary(stats: &JobStats) -> String {
    if stats.state == "finished before" {
        return format!(
            "{}: finished in an earlier run, nothing to do; with another state directory, or none, it runs again",
            stats.job
        );
    }
    let seconds = stats.wall_s.max(1e-9);
    let mut parts = vec![format!("{} read", count(stats.records_in, "row"))];
    if stats.filtered > 0 {
        // A record may be dropped in several branches: then the sum says nothing about records.
        let by = match stats.operators.iter().filter(|o| o.filtered > 0).count() {
            0 | 1 => String::new(),
            n => format!(" by {n} conditions"),
        };
        parts.push(format!("{} filtered out{by}", HumanCount(stats.filtered)));
    }
    if stats.late > 0 {
        parts.push(format!("{} late", HumanCount(stats.late)));
    }
    // What a sink took that then failed may not have reached its file.
    let cut_short = matches!(stats.state.as_str(), "failed" | "closed");
    let bound = if cut_short && stats.records_out > 0 { "at most " } else { "" };
    parts.push(format!("{bound}{} written", HumanCount(stats.records_out)));
    if stats.rejected > 0 {
        let letters = match stats.dead_letters {
            0 => String::new(),
            n => format!(" ({})", count(n, "dead letter")),
        };
        parts.push(format!("{} rejected{letters}", HumanCount(stats.rejected)));
    }
    let name = match stats.state.as_str() {
        "failed" => format!("{} failed", stats.job),
        "closed" => format!("{}: the reader of its output is gone", stats.job),
        _ => stats.job.clone(),
    };
    let speed = if stats.wall_s > 0.0005 && stats.records_in > 0 {
        format!(
            " ({} rows/s, {}/s)",
            HumanCount((stats.records_in as f64 / seconds) as u64),
            HumanBytes((stats.bytes_in as f64 / seconds) as u64)
        )
    } else {
        String::new()
    };
    format!("{name}: {} in {:.2} s{speed}", parts.join(", "), stats.wall_s)
}

#[cfg(test)]
mod tests {
    use millstream::observe::SinkStats;

    use super::*;

    #[test]
    fn a_sink_that_takes_nothing_is_named_once_and_again_after_it_went_on() {
        let mut sinks = Sinks::new();
        let start = Instant::now();
        let mut at = |second: u64, records, in_hand| {
            let sink = SinkStats { name: "o".into(), records, in_hand, ..SinkStats::default() };
            let stats = JobStats { sinks: vec![sink], ..JobStats::default() };
            sinks.stalled(&[stats], start + Duration::from_secs(second)).len()
        };
        assert_eq!((at(0, 5, 10), at(8, 5, 10), at(9, 5, 10), at(30, 5, 10)), (0, 0, 1, 0));
        assert_eq!((at(31, 6, 10), at(39, 6, 10), at(41, 6, 10)), (0, 0, 1));
        // Nothing to do is no stall.
        assert_eq!((at(42, 6, 0), at(100, 6, 0), at(101, 6, 1), at(108, 6, 1)), (0, 0, 0, 0));
        assert_eq!(at(110, 6, 1), 1);
    }
}
