//! What a run's time was spent on: threads by the engine's account and by the kernel's, and the report's way of counting.

use crate::measure::{Outcome, Sample};
use crate::svg;
use crate::threads::ThreadTime;

/// Busy + waiting + blocked + idle = wall of each thread, its parts, the critical stage, and what `auto` decided.
pub fn print_threads(outcomes: &[Outcome]) {
    println!(
        "\nWhere the threads' time goes (seconds of a typical run; busy + waiting + blocked + idle = wall, checked to 2 %)"
    );
    println!(
        "  {:<26} {:<14} {:>8} {:>8} {:>8} {:>8} {:>8}   busy with",
        "stage", "thread", "wall", "busy", "waiting", "blocked", "idle"
    );
    for o in outcomes {
        let s = o.typical();
        for (i, t) in s.threads.iter().enumerate() {
            let parts: Vec<String> = t.parts.iter().map(|(n, s)| format!("{n} {s:.3}")).collect();
            println!(
                "  {:<26} {:<14} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3}   {}",
                if i == 0 { o.stage.name } else { "" },
                t.name,
                t.wall_s,
                t.busy_s,
                t.waiting_s,
                t.blocked_s,
                t.idle_s,
                parts.join(", ")
            );
        }
        if let Some(critical) = s.critical() {
            println!("  {:<26} critical: {critical}", "");
        }
        for d in &s.decisions {
            println!("  {:<26} decided at {d}", "");
        }
    }
}

/// The kernel's account, which knows nothing of stages and can't be talked into anything.
pub fn print_kernel(outcomes: &[Outcome]) {
    println!("\nThe kernel's account of the same runs, first read to last record written");
    println!(
        "  {:<26} {:>9} {:>12}   threads: on CPU + queued for a CPU + off CPU = 100 %",
        "stage", "time (s)", "CPU ns/rec"
    );
    for o in outcomes {
        let s = o.typical();
        let share = |seconds: f64| 100.0 * seconds / s.seconds;
        let threads: Vec<String> = s
            .kernel
            .iter()
            .filter(|t| share(t.on_cpu_s) >= 1.0)
            .map(|t| {
                let off = (s.seconds - t.on_cpu_s - t.queued_s).max(0.0);
                format!("{} {:.0}+{:.0}+{:.0}", t.name, share(t.on_cpu_s), share(t.queued_s), share(off))
            })
            .collect();
        println!(
            "  {:<26} {:>9.3} {:>12.1}   {}",
            o.stage.name,
            s.seconds,
            s.cpu_ns_per_record(),
            threads.join(", ")
        );
    }
}

/// The report said "framework 100 %, read, process and write 0.000 s". Over one run of ours: its way beside the true one.
pub fn two_ways_of_counting(outcomes: &[Outcome], stage: &str) {
    let Some(o) = outcomes.iter().find(|o| o.stage.name == stage) else { return };
    let s = o.typical();
    let total: f64 = s.wall_s;
    println!(
        "\nTwo ways of counting one run: {stage}, {} records, {total:.3} s from start to end",
        s.records
    );
    println!("  {:<34} {:>20} {:>20}", "", "the report's way", "the true one");
    let cell = |seconds: f64| format!("{seconds:.3} s {:>4.0} %", 100.0 * seconds / total);
    let mut framework = total - s.end_seconds;
    for (name, seconds) in stage_parts(&s) {
        println!("  {name:<34} {:>20} {:>20}", cell(0.0), cell(seconds));
        framework -= seconds;
    }
    let dropped: f64 = s.threads.iter().flat_map(|t| &t.parts).filter(|p| p.0 == "drop").map(|p| p.1).sum();
    if dropped > 0.0 {
        println!("  {:<34} {:>20} {:>20}", "freeing the records", "in the framework", cell(dropped));
        framework -= dropped;
    }
    println!("  {:<34} {:>20} {:>20}", "end-of-stream rule", "in the framework", cell(s.end_seconds));
    println!("  {:<34} {:>20} {:>20}", "framework", cell(total), cell(framework.max(0.0)));
}

pub fn explain_the_difference() {
    println!(
        "\n  Why they differ. The report called \"framework\" whatever its timers did not see. Its mock reader made the records outside\n  \
         the timer of reading, the time of SQL was never recorded, writing was a mock too, and the wait that ends the stream lay\n  \
         inside the total: so all three read 0.000 s and everything was framework. Here each stage's own work is measured where\n  \
         it is done, generation, decoding, encoding and freeing included; the framework is what remains: scheduling, awaits,\n  \
         locks, hand-overs, clock reads. It is what dropping the async runtime can save; the rest is the price of the records.\n"
    );
}

/// Reading, processing and writing of a run whose stages share one thread.
fn stage_parts(s: &Sample) -> Vec<(&'static str, f64)> {
    let of = |name: &str| {
        let parts = s.threads.iter().flat_map(|t| &t.parts).filter(|p| p.0 == name);
        parts.map(|p| p.1).sum::<f64>()
    };
    vec![
        ("read (generate, decode)", of("read")),
        ("process (SQL, trace injection)", of("process")),
        ("write (encode, sum)", of("write")),
    ]
}

const PARTS: [&str; 7] = ["read", "process", "write", "copy, drop, loop", "waiting", "blocked", "idle"];

/// Shares of a thread's wall time, as [`PARTS`] names them.
fn shares(t: &ThreadTime) -> Vec<f64> {
    let of = |name: &str| t.parts.iter().filter(|p| p.0 == name).map(|p| p.1).sum::<f64>();
    let mut work = [of("read"), of("process"), of("write")];
    if t.parts.is_empty() {
        // A thread that does one thing.
        let what = [["read", "source"], ["process", "processor"], ["write", "sink"]];
        let i = what.iter().position(|w| w.iter().any(|w| t.name.contains(w))).unwrap_or(1);
        work[i] = t.busy_s;
    }
    let rest = (t.busy_s - work.iter().sum::<f64>()).max(0.0);
    let [read, process, write] = work;
    [read, process, write, rest, t.waiting_s, t.blocked_s, t.idle_s]
        .map(|s| 100.0 * s / t.wall_s.max(1e-9))
        .to_vec()
}

/// Stacked bars: one for each thread.
pub fn breakdown(outcomes: &[Outcome], subtitle: &str) -> String {
    let mut rows = Vec::new();
    for o in outcomes {
        for t in o.typical().threads {
            rows.push((format!("{} · {}", o.stage.name, t.name), shares(&t)));
        }
    }
    svg::stacked(
        "Where the threads' time goes",
        &format!("{subtitle}; shares of each thread's wall time, work in percent at the right"),
        &PARTS,
        4,
        &rows,
    )
}
