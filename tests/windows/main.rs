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
mod restore;
mod rows;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod united;

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
            // A slide that is longer than the window leaves rows out.
            let (size, slide) = (random.between(1, 20), random.between(1, 25));
            let slide = if random.percent(70) { slide.min(size) } else { slide };
            Kind::Hop { slide: slide * shape.unit, size: size * shape.unit }
        })
    });
}

#[test]
fn hopping_windows_of_many_slices() {
    for_seeds("slices", 60, |seed| {
        check(seed, |random, shape| {
            let slide = random.between(1, 3);
            Kind::Hop { slide: slide * shape.unit, size: random.between(slide, 300) * shape.unit }
        })
    });
}

#[test]
fn cumulating_windows() {
    for_seeds("cumulate", 60, |seed| {
        check(seed, |random, shape| {
            let step = random.between(1, 6) * shape.unit;
            Kind::Cumulate { step, size: step * random.of(&[1, 2, 3, 6, 100]) }
        })
    });
}

#[test]
fn sessions() {
    for_seeds("session", 120, |seed| {
        check(seed, |random, shape| Kind::Session { gap: random.of(&[1, 2, 3, 8, 30]) * shape.unit })
    });
}

#[test]
fn calls_over_event_time() {
    for_seeds("over", 120, rows::over);
}

#[test]
fn first_rows_of_each_key() {
    for_seeds("top-N", 60, rows::top_n);
}

#[test]
fn distinct_rows() {
    for_seeds("distinct", 30, rows::distinct);
}

#[test]
fn windows_go_on_from_a_checkpoint() {
    for_seeds("restore", 25, |seed| {
        restore::restored(seed, 1, |random, shape| {
            let length = random.of(&[2, 5, 10, 30]) * shape.unit;
            match random.below(5) {
                0 => Kind::Tumble { size: length },
                4 => Kind::Hop { slide: 3 * shape.unit, size: length * 5 },
                1 => Kind::Hop { slide: length / 2 + shape.unit, size: length * 2 },
                2 => Kind::Cumulate { step: length, size: length * 3 },
                _ => Kind::Session { gap: length },
            }
        })
    });
}

#[test]
fn windows_over_several_streams_go_on_from_a_checkpoint() {
    for_seeds("restore united", 25, |seed| {
        restore::restored(seed, 2, |random, shape| {
            let length = random.of(&[2, 5, 10, 30]) * shape.unit;
            random.of(&[Kind::Tumble { size: length }, Kind::Hop { slide: length, size: length * 2 }])
        })
    });
}

#[test]
fn windows_over_several_streams() {
    for_seeds("united", 100, |seed| {
        united::united(seed, |random, shape| {
            let length = random.of(&[2, 5, 10, 30]) * shape.unit;
            random.of(&[
                Kind::All,
                Kind::Tumble { size: length },
                Kind::Hop { slide: length, size: length * 2 },
                Kind::Cumulate { step: length, size: length * 3 },
            ])
        })
    });
}

#[test]
fn rows_of_several_streams() {
    for_seeds("passed", 100, united::passed);
}
