//! Regular expressions as PostgreSQL spells them, compiled once a thread by the `regex` crate (linear time).
//!
//! Unlike PostgreSQL: the leftmost alternative that matches wins, not the longest; no back-references and no
//! look-around (an error, not a different match).

use std::cell::RefCell;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};

use super::args::invalid;
use crate::expr::EvalResult;

/// Compiled patterns that a thread keeps; a statement rarely has more.
const KEPT: usize = 32;

struct Compiled {
    pattern: String,
    flags: String,
    regex: Rc<Regex>,
}

thread_local! {
    /// The one used last is first.
    static CACHE: RefCell<Vec<Compiled>> = const { RefCell::new(Vec::new()) };
}

/// The pattern compiled with these flags, from the thread's cache if it is there.
pub(super) fn compiled(pattern: &str, flags: &str) -> EvalResult<Rc<Regex>> {
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|c| c.pattern == pattern && c.flags == flags) {
            if let Some(used) = cache.get_mut(..=at) {
                used.rotate_right(1);
            }
        } else {
            let regex = Rc::new(build(pattern, flags)?);
            cache.truncate(KEPT - 1);
            cache.insert(0, Compiled { pattern: pattern.into(), flags: flags.into(), regex });
        }
        cache.first().map(|c| c.regex.clone()).ok_or_else(|| invalid("no pattern"))
    })
}

fn build(pattern: &str, flags: &str) -> EvalResult<Regex> {
    let (mut literal, mut ignore_case, mut extended) = (false, false, false);
    // By default a newline is a character like others: . matches it, ^ and $ do not look at it.
    let (mut dot_newline, mut multi_line) = (true, false);
    for flag in flags.chars() {
        match flag {
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            'n' | 'm' => (dot_newline, multi_line) = (false, true),
            'p' => (dot_newline, multi_line) = (false, false),
            'w' => (dot_newline, multi_line) = (true, true),
            's' => (dot_newline, multi_line) = (true, false),
            'x' => extended = true,
            't' => extended = false,
            'q' => literal = true,
            // Which occurrences are meant: the function's business.
            'g' => {}
            other => return Err(invalid(format!("invalid regular expression option: \"{other}\""))),
        }
    }
    let source = if literal { regex::escape(pattern) } else { translate(pattern) };
    RegexBuilder::new(&source)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(dot_newline)
        .multi_line(multi_line)
        .ignore_whitespace(extended)
        .build()
        .map_err(|e| {
            invalid(format!("invalid regular expression: {}", crate::expr::pattern::why_invalid(&e)))
        })
}

/// PostgreSQL's word and text boundaries in the crate's spelling.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('m') => out.push_str(r"\b{start}"),
            Some('M') => out.push_str(r"\b{end}"),
            Some('y') => out.push_str(r"\b"),
            Some('Y') => out.push_str(r"\B"),
            Some('Z') => out.push_str(r"\z"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_compiled_once_and_the_cache_stays_bounded() {
        let first = compiled("a+", "").unwrap();
        assert!(Rc::ptr_eq(&first, &compiled("a+", "").unwrap()));
        assert!(!Rc::ptr_eq(&first, &compiled("a+", "i").unwrap()));
        for i in 0..100 {
            compiled(&format!("x{i}"), "").unwrap();
        }
        assert_eq!(CACHE.with_borrow(Vec::len), KEPT);
        assert!(!Rc::ptr_eq(&first, &compiled("a+", "").unwrap()));
    }

    #[test]
    fn errors_name_what_is_wrong_in_the_pattern() {
        let said = |pattern| compiled(pattern, "").map(drop).unwrap_err().to_string();
        let property = said(r"a\p{Grekish}+");
        assert!(property.contains(r"Unicode property not found: \p{Grekish}"), "{property}");
        assert!(said("a(b").contains("unclosed group: ("), "{}", said("a(b"));
    }

    #[test]
    fn newlines_and_word_boundaries_are_those_of_postgresql() {
        assert!(compiled("a.b", "").unwrap().is_match("a\nb"));
        assert!(!compiled("a.b", "n").unwrap().is_match("a\nb"));
        assert!(!compiled("^b", "").unwrap().is_match("a\nb"));
        assert!(compiled("^b", "n").unwrap().is_match("a\nb"));
        assert!(compiled(r"\mfoo\M", "").unwrap().is_match("a foo b"));
        assert!(!compiled(r"\mfoo\M", "").unwrap().is_match("afoob"));
        assert!(compiled("a.b", "q").unwrap().is_match("xa.b"));
        assert!(compiled("(", "").is_err() && compiled("a", "z").is_err() && compiled(r"(a)\1", "").is_err());
    }
}
