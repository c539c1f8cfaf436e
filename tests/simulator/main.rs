//! Jobs stepped on one thread over doors and a disk that fail as a seed says: crashes, lost power, errors, panics, delays, lost
//! acknowledgements, rotten checkpoints. Whatever happens, the output is what it must be.
//!
//! `FAULT_SCALE` multiplies the number of seeds, `full` is the full run, `FAULT_FROM=n` begins behind the first n of them, `FAULT_SEED=n` runs
//! one. Built with `--cfg
//! seeded_bugs` (`.ci/seeded_bugs`), the engine has fourteen bugs that can be switched on one at a time: each must be found.
#![allow(unreachable_pub)]

mod disk;
mod doors;
mod jobs;
mod run;
mod topics;

/// Panics that were scripted say nothing.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
            if !text.starts_with("scripted") {
                usual(panic);
            }
        }));
    });
}

/// So many of what a full run has `full` and a usual one `usual` of.
fn count(usual: u64, full: u64) -> u64 {
    match std::env::var("FAULT_SCALE").as_deref() {
        Ok("full") => full,
        Ok(scale) => scale.parse::<f64>().map_or(usual, |s| (usual as f64 * s) as u64),
        Err(_) => usual,
    }
}

#[test]
fn no_seed_loses_or_repeats_a_row() {
    all_hold(2_000, 50_000, run::simulate);
    let [starts, deaths] = [&run::STARTS, &run::DEATHS].map(|n| n.load(std::sync::atomic::Ordering::Relaxed));
    println!("{starts} starts, {deaths} of them ended by a fault");
    let stores = run::STORES.load(std::sync::atomic::Ordering::Relaxed);
    let expected = cfg!(feature = "disk-state") && std::env::var("FAULT_SEED").is_err();
    assert!(stores > 0 || !expected, "no job put groups on disk");
    if expected {
        println!("{stores} jobs put groups on disk");
    }
}

#[test]
fn no_seed_loses_or_repeats_a_message() {
    all_hold(800, 20_000, topics::simulate);
    println!("{}", topics::summary());
}

fn all_hold(usual: u64, full: u64, simulate: fn(u64) -> Result<(), String>) {
    quiet();
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let from = number("FAULT_FROM").unwrap_or(0);
    let seeds = match number("FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + count(usual, full),
    };
    println!("seeds {seeds:?}");
    let outcome = |seed| {
        let done = std::panic::catch_unwind(|| simulate(seed));
        done.unwrap_or_else(|_| Err(format!("seed {seed}: a panic gets through to the program")))
    };
    let failures: Vec<String> = seeds.filter_map(|seed| outcome(seed).err()).collect();
    for failure in failures.iter().take(20) {
        println!("{failure}");
    }
    assert!(failures.is_empty(), "{} seeds failed; FAULT_SEED=n runs one of them", failures.len());
}

/// The harness is evidence only if it finds what is wrong.
#[cfg(seeded_bugs)]
#[test]
fn every_seeded_bug_is_found() {
    use millstream::record::seeded::{ALL, set};
    quiet();
    let mut survived = Vec::new();
    for bug in ALL {
        set(Some(bug));
        let found = (0..count(2_000, 2_000))
            .find_map(|seed| run::simulate(seed).err().or_else(|| topics::simulate(seed).err()));
        set(None);
        match found {
            Some(failure) => println!("{bug:?}: {failure}"),
            None => survived.push(bug),
        }
    }
    assert!(survived.is_empty(), "these bugs were not found: {survived:?}");
}
