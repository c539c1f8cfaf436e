//! Which files a path means: one file, a directory, or a pattern; in natural name order.

use crate::record::sorted;
use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::catalog::nearest;
use crate::io::{IoError, IoErrorKind};

/// The files that `path` means: itself, the files of a directory (not its subdirectories, no hidden ones), or what a
/// pattern with `* ? [a-z] **` matches.
///
/// # Errors
/// If there is none, or a directory can't be read; names like the wanted one are listed.
pub(crate) fn resolve(path: &str) -> Result<Vec<PathBuf>, IoError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let mut files: Vec<PathBuf> = list(Path::new(path))
                .map_err(|e| IoError::os(format!("can't read the directory '{path}'"), e))?
                .into_iter()
                .filter(|p| !is_hidden(p) && fs::metadata(p).is_ok_and(|m| m.is_file()))
                .collect();
            if files.is_empty() {
                return Err(IoError::config(format!("there is no file in the directory '{path}'")));
            }
            sort(&mut files);
            Ok(files)
        }
        Ok(_) => Ok(vec![PathBuf::from(path)]),
        Err(_) if is_pattern(path) => {
            let files = expand(path)?;
            if files.is_empty() {
                return Err(IoError::config(format!("no file matches '{path}'")));
            }
            Ok(files)
        }
        Err(e) => Err(cannot_open(Path::new(path), e)),
    }
}

/// Whether a path may mean several files, so that new ones can appear.
pub(crate) fn is_set(path: &str) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.is_dir(),
        Err(_) => is_pattern(path),
    }
}

/// The error for a file that can't be opened, with the nearest existing names if it is not there.
pub(crate) fn cannot_open(path: &Path, error: io::Error) -> IoError {
    let mut what = format!("can't open '{}'", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        let dir = parent(path);
        match list(dir) {
            Ok(files) => {
                let names: Vec<String> = files
                    .iter()
                    .filter_map(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()))
                    .collect();
                let wanted = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                let near = nearest(&wanted, names.iter().map(String::as_str));
                if !near.is_empty() {
                    what.push_str(&format!(" (did you mean '{}'?)", near.join("' or '")));
                }
            }
            Err(_) if path.to_string_lossy().contains("://") => {
                what.push_str(" (only local files are read; a pipe can bring others, as in: curl … | millstream sql \"… FROM stdin\")");
            }
            Err(_) => what.push_str(&format!(" (there is no directory '{}')", dir.display())),
        }
    }
    IoError::new(IoErrorKind::Os(error), what)
}

/// The directory that a file is in; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'))
}

fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let bare = dir == Path::new(".");
    let entry = |e: fs::DirEntry| if bare { PathBuf::from(e.file_name()) } else { e.path() };
    fs::read_dir(dir)?.map(|e| e.map(entry)).collect()
}

fn sort(files: &mut [PathBuf]) {
    sorted::sort_by(files, |a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
}

/// Compares names as people do: `part-9` before `part-10`.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a, b);
    loop {
        let (dx, rx) = split_digits(x);
        let (dy, ry) = split_digits(y);
        if !dx.is_empty() && !dy.is_empty() {
            let (nx, ny) = (dx.trim_start_matches('0'), dy.trim_start_matches('0'));
            match nx.len().cmp(&ny.len()).then_with(|| nx.cmp(ny)) {
                Ordering::Equal => (x, y) = (rx, ry),
                other => return other,
            }
            continue;
        }
        let (mut cx, mut cy) = (x.chars(), y.chars());
        match (cx.next(), cy.next()) {
            // Equal but for leading zeros: any total order will do.
            (None, None) => return a.cmp(b),
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(p), Some(q)) if p == q => (x, y) = (cx.as_str(), cy.as_str()),
            (Some(p), Some(q)) => return p.cmp(&q),
        }
    }
}

fn split_digits(s: &str) -> (&str, &str) {
    s.split_at(s.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(s.len()))
}

/// All files that match a pattern.
fn expand(pattern: &str) -> Result<Vec<PathBuf>, IoError> {
    let (root, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
    let mut found = Vec::new();
    walk(root, &parts, &mut found)?;
    found.retain(|p| fs::metadata(p).is_ok_and(|m| !m.is_dir()));
    sort(&mut found);
    found.dedup();
    Ok(found)
}

fn walk(at: PathBuf, parts: &[&str], found: &mut Vec<PathBuf>) -> Result<(), IoError> {
    let Some((part, rest)) = parts.split_first() else {
        found.push(at);
        return Ok(());
    };
    if *part != "**" && !is_pattern(part) {
        let next = at.join(part);
        return if next.exists() { walk(next, rest, found) } else { Ok(()) };
    }
    let dir = if at.as_os_str().is_empty() { Path::new(".") } else { at.as_path() };
    let entries = match list(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => return Ok(()),
        Err(e) => return Err(IoError::os(format!("can't read the directory '{}'", dir.display()), e)),
    };
    if *part == "**" {
        walk(at, rest, found)?;
        for entry in entries.into_iter().filter(|p| !is_hidden(p)) {
            // Symbolic links are not followed here: they could lead round in circles.
            if fs::symlink_metadata(&entry).is_ok_and(|m| m.is_dir()) {
                walk(entry, parts, found)?;
            }
        }
        return Ok(());
    }
    for entry in entries {
        let name = entry.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if (!name.starts_with('.') || part.starts_with('.')) && matches(part, &name) {
            walk(entry, rest, found)?;
        }
    }
    Ok(())
}

/// Whether `name` matches a pattern of one path component.
fn matches(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where to go on if it fails: the last star, and one character later than it matched last time.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = n.get(j) {
        let step = match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
                continue;
            }
            Some('?') => Some(i + 1),
            Some('[') => class(&p, i, c),
            Some(&x) if x == c => Some(i + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                i = next;
                j += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                i = at + 1;
                j = from + 1;
            }
            (None, None) => return false,
        }
    }
    p.get(i..).is_none_or(|rest| rest.iter().all(|&c| c == '*'))
}

/// Matches `c` against the class that begins at `open`; the index behind it if it fits.
fn class(p: &[char], open: usize, c: char) -> Option<usize> {
    let negated = matches!(p.get(open + 1), Some('!' | '^'));
    let first = open + 1 + usize::from(negated);
    let close = (first + 1..p.len()).find(|&k| p.get(k) == Some(&']'));
    let Some(close) = close else {
        return (c == '[').then_some(open + 1);
    };
    let members = p.get(first..close).unwrap_or(&[]);
    let mut hit = false;
    let mut k = 0;
    while let Some(&from) = members.get(k) {
        match (members.get(k + 1), members.get(k + 2)) {
            (Some('-'), Some(&to)) => {
                hit |= (from..=to).contains(&c);
                k += 3;
            }
            _ => {
                hit |= from == c;
                k += 1;
            }
        }
    }
    (hit != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_expect() {
        let mut names = vec!["p-10.csv", "p-9.csv", "p-009.csv", "p-1.csv", "p.csv", "a", "p-10a.csv"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a", "p-1.csv", "p-009.csv", "p-9.csv", "p-10.csv", "p-10a.csv", "p.csv"]);
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("*", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn directories_globs_and_typos() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for f in ["a/p-10.csv", "a/p-9.csv", "a/b/p-1.csv", "a/.hidden.csv", "a/x.json"] {
            fs::write(root.join(f), "x").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = resolve(&root.join(pattern).to_string_lossy()).unwrap();
            found.iter().map(|p| p.strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("a"), ["a/p-9.csv", "a/p-10.csv", "a/x.json"]);
        assert_eq!(names("a/*.csv"), ["a/p-9.csv", "a/p-10.csv"]);
        assert_eq!(names("**/*.csv"), ["a/b/p-1.csv", "a/p-9.csv", "a/p-10.csv"]);
        assert_eq!(names("?/p-[0-9].csv"), ["a/p-9.csv"]);
        let e = resolve(&root.join("a/x.jsn").to_string_lossy()).unwrap_err().to_string();
        assert!(e.contains("did you mean 'x.json'?"), "{e}");
        let e = resolve(&root.join("nowhere/x").to_string_lossy()).unwrap_err().to_string();
        assert!(e.contains("there is no directory"), "{e}");
        let e = resolve(&root.join("*.nothing").to_string_lossy()).unwrap_err().to_string();
        assert!(e.contains("no file matches"), "{e}");
    }
}
