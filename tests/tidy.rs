//! The floors of the code base: who may import whom. On `std` alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import. Everything may import itself; nothing below `error` imports the facade.
const ALLOWED: &[(&str, &[&str])] = &[
    ("record", &[]),
    ("catalog", &["record"]),
    ("expr", &["record"]),
    ("state", &["record"]),
    ("observe", &["record"]),
    ("codec", &["record", "catalog"]),
    ("plan", &["record", "catalog", "expr"]),
    ("io", &["record", "catalog", "codec", "observe"]),
    ("sql", &["record", "catalog", "expr", "plan"]),
    ("operator", &["record", "expr", "state", "plan"]),
    ("connector", &["record", "catalog", "state", "codec", "io", "observe"]),
    ("job", &["record", "catalog", "state", "io", "plan", "operator", "observe"]),
    ("error", &["record", "catalog", "io", "sql", "job"]),
    (
        "engine",
        &[
            "record",
            "catalog",
            "expr",
            "state",
            "observe",
            "codec",
            "plan",
            "io",
            "sql",
            "operator",
            "connector",
            "job",
            "error",
        ],
    ),
];

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.sort();
    files.into_iter().map(|p| (p.clone(), fs::read_to_string(p).unwrap())).collect()
}

/// The room of a file: the first part of its path below `src`.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|c| {
        let name = c.as_os_str().to_string_lossy();
        name == "tests.rs" || name == "tests" || name == "testing.rs" || name.ends_with("_tests.rs")
    })
}

#[test]
fn every_room_imports_only_rooms_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        if from == "lib" || is_test_file(&path) {
            continue;
        }
        let text = code(&text);
        if from == "bin" {
            if text.contains("crate::record") {
                wrong.push(format!("{}: the binary uses the public API only", path.display()));
            }
            continue;
        }
        let Some(may) = allowed.get(from.as_str()) else {
            panic!("{}: the room '{from}' is not in the table", path.display());
        };
        for part in text.split("crate::").skip(1) {
            let names: Vec<&str> = match part.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).collect(),
                None => vec![part],
            };
            for name in names {
                let to: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if to != from && allowed.contains_key(to.as_str()) && !may.contains(&to.as_str()) {
                    wrong.push(format!("{}: {from} must not import {to}", path.display()));
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_floors_have_no_cycle() {
    // Each room may import only rooms that stand before it in the table.
    for (i, (name, may)) in ALLOWED.iter().enumerate() {
        for to in *may {
            let at = ALLOWED.iter().position(|(n, _)| n == to).unwrap();
            assert!(at < i, "{name} → {to}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, t)| !t.starts_with("//!")).map(|(p, _)| p).collect();
    assert!(silent.is_empty(), "without //! at the top: {silent:?}");
}

#[test]
fn no_unfinished_code() {
    for (path, text) in sources() {
        for word in ["todo!(", "unimplemented!(", "FIXME", "// XXX"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
        assert!(is_test_file(&path) || !code(&text).contains("thread::sleep("), "{}: sleeps", path.display());
    }
}

#[test]
fn thread_names_fit_into_fifteen_bytes() {
    let mut seen = 0;
    for (path, text) in sources() {
        for part in text.split("\"ms-").skip(1) {
            let name = part.split('"').next().unwrap();
            // An index of up to three digits takes the place of the braces.
            let longest = name.find('{').map_or(name.len(), |at| at + 3) + 3;
            assert!(longest <= 15, "{}: ms-{name}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5, "the pattern finds the names");
}
