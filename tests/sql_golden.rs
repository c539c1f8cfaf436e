//! The golden SQL suite: values from PostgreSQL and DuckDB, through every way of execution.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod golden;

use golden::matrix::check_topic;

macro_rules! topics {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check_topic(stringify!($name));
        })*

        #[test]
        fn no_file_is_left_out() {
            let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql"))
                .unwrap()
                .filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".test").map(str::to_string))
                .collect();
            files.sort();
            assert_eq!(files, [$(stringify!($name)),*]);
        }
    };
}

topics! {
    arithmetic,
    casts,
    flights,
    inserts,
    literals,
    logic,
    math,
    nested,
    order,
    over,
    patterns,
    queries,
    random_flights,
    random_frames,
    random_groups,
    random_order,
    random_over,
    sets,
    strings,
    temporal,
    windows,
}
