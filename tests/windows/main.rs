//! Event time, windows and aggregates against references that see all rows: random streams and queries, seeds printed.
//!
//! `MILLSTREAM_CASES=50` runs fifty times as many cases, `MILLSTREAM_SEED=7` begins with that seed.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod aggregate;
mod changes;
mod check;
mod engine;
mod query;
mod random;
mod reference;
mod stream;
mod time;

use check::{check, for_seeds};
use query::Kind;

#[test]
fn groups() {
    for_seeds("groups", 60, |seed| check(seed, |_, _| Kind::All));
}

#[test]
fn tumbling_windows() {
    for_seeds("tumble", 120, |seed| {
        check(seed, |random, shape| Kind::Tumble { size: random.of(&[1, 2, 5, 10, 60]) * shape.unit })
    });
}

#[test]
fn hopping_windows_of_any_slide() {
    for_seeds("hop", 120, |seed| {
        check(seed, |random, shape| {
            let size = random.between(1, 20);
            Kind::Hop { slide: random.between(1, size) * shape.unit, size: size * shape.unit }
        })
    });
}

#[test]
fn cumulating_windows() {
    for_seeds("cumulate", 60, |seed| {
        check(seed, |random, shape| {
            let step = random.between(1, 6) * shape.unit;
            Kind::Cumulate { step, size: step * random.between(1, 6) }
        })
    });
}

#[test]
fn sessions() {
    for_seeds("session", 120, |seed| {
        check(seed, |random, shape| Kind::Session { gap: random.of(&[1, 2, 3, 8, 30]) * shape.unit })
    });
}
