//! Files that a text would write twice, or write while it reads them.

use std::path::{Path, PathBuf};

use super::jobs::scans;
use super::relations::Relations;
use crate::catalog::Options;
use crate::plan::LogicalPlan;
use crate::sql::{Diagnostic, Span};

/// What is wrong with the files of queries, each with its sink (empty: a bare SELECT) and its place.
pub(super) fn clashes(
    relations: &Relations,
    queries: &[(&str, &LogicalPlan, Span)],
    dlq: Option<&str>,
) -> Vec<Diagnostic> {
    let mut read: Vec<(String, PathBuf)> = Vec::new();
    let mut dead: Vec<PathBuf> = dlq.filter(|d| !d.is_empty()).and_then(target).into_iter().collect();
    for (_, plan, _) in queries {
        let mut names = Vec::new();
        scans(plan, &mut names);
        for name in names {
            let options = relations.options(&name);
            read.extend(file(&options).and_then(|p| std::fs::canonicalize(p).ok()).map(|p| (name, p)));
            dead.extend(options.get("dlq").filter(|d| d.contains(['.', '/'])).and_then(target));
        }
    }
    let mut found = Vec::new();
    let mut written: Vec<(&str, PathBuf)> = Vec::new();
    for (sink, _, span) in queries {
        let Some(out) = file(&relations.options(sink)).and_then(target) else { continue };
        if written.iter().any(|(name, _)| name == sink) {
            continue;
        }
        if let Some((other, _)) = written.iter().find(|(_, p)| *p == out) {
            let message = format!("'{sink}' and '{other}' would both write {}", out.display());
            found.push(
                Diagnostic::new(message, *span).with_hint(format!("INSERT INTO {other} in both statements")),
            );
        } else if let Some((source, _)) = read.iter().find(|(_, p)| *p == out) {
            let message = format!("'{sink}' would overwrite {}, which '{source}' reads", out.display());
            found.push(Diagnostic::new(message, *span));
        } else if dead.contains(&out) {
            let message = format!("'{sink}' would write {}, where the dead letters go", out.display());
            found.push(Diagnostic::new(message, *span));
        }
        written.push((sink, out));
    }
    let lost = dead.iter().find_map(|d| read.iter().find(|(_, p)| p == d));
    if let (Some((source, path)), Some((_, _, span))) = (lost, queries.first()) {
        let message = format!("the dead letters would go to {}, which '{source}' reads", path.display());
        found.push(Diagnostic::new(message, *span));
    }
    found
}

/// The path of a relation that is a file.
fn file(options: &Options) -> Option<&str> {
    options.get("path").filter(|_| options.get("connector").is_none_or(|c| c == "file"))
}

/// Where a file is, or will be. Devices and pipes may well be several ends.
fn target(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    match std::fs::canonicalize(path) {
        Ok(found) => found.is_file().then_some(found),
        Err(_) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(std::fs::canonicalize(parent).ok()?.join(path.file_name()?))
        }
    }
}
