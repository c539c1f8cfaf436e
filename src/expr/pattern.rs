//! LIKE, ILIKE, SIMILAR TO and regular expressions: patterns prepared once, matched many times.

use memchr::memmem;
use regex::Regex;

use super::LikeKind;

/// A prepared pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Matcher);

#[derive(Clone, Debug)]
enum Matcher {
    /// No wildcard.
    Exact(String),
    /// `abc%`
    Prefix(String),
    /// `%abc`
    Suffix(String),
    /// `%abc%`
    Contains(Box<memmem::Finder<'static>>),
    /// Any other LIKE; with `true`, letters match in both cases.
    Like(Vec<Token>, bool),
    Regex(Box<Regex>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Char(char),
    /// `_`
    One,
    /// `%`
    Run,
}

impl Pattern {
    /// Prepares a pattern. `escape` is the ESCAPE character, a backslash if absent, none if `'\0'`; regular
    /// expressions have none.
    ///
    /// # Errors
    /// If the pattern is invalid: a sentence.
    pub fn new(kind: LikeKind, pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let escape = escape.unwrap_or('\\');
        Ok(Pattern(match kind {
            LikeKind::Like => Matcher::like(tokens(pattern, escape)?),
            LikeKind::ILike => {
                let folded = tokens(pattern, escape)?.into_iter().map(|t| match t {
                    Token::Char(c) => Token::Char(fold(c)),
                    other => other,
                });
                Matcher::Like(folded.collect(), true)
            }
            LikeKind::SimilarTo => Matcher::regex(&similar(pattern, escape)?, pattern)?,
            LikeKind::Regex => Matcher::regex(&format!("(?s){pattern}"), pattern)?,
            LikeKind::RegexI => Matcher::regex(&format!("(?si){pattern}"), pattern)?,
        }))
    }

    /// Whether the text matches.
    #[inline]
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Matcher::Exact(p) => text == p,
            Matcher::Prefix(p) => text.starts_with(p.as_str()),
            Matcher::Suffix(p) => text.ends_with(p.as_str()),
            Matcher::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Matcher::Like(tokens, either_case) => run(tokens, text, *either_case),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Matcher {
    fn like(tokens: Vec<Token>) -> Self {
        let run = |t: Option<&Token>| t == Some(&Token::Run);
        let (open, closed) = (run(tokens.first()), run(tokens.last()));
        let inner = match (open, closed) {
            (true, true) if tokens.len() > 1 => tokens.get(1..tokens.len() - 1),
            (true, _) => tokens.get(1..),
            (false, true) => tokens.get(..tokens.len() - 1),
            (false, false) => Some(tokens.as_slice()),
        };
        let plain: Option<String> = inner
            .unwrap_or(&[])
            .iter()
            .map(|t| match t {
                Token::Char(c) => Some(*c),
                _ => None,
            })
            .collect();
        match (plain, open, closed) {
            (Some(text), false, false) => Matcher::Exact(text),
            (Some(text), false, true) => Matcher::Prefix(text),
            (Some(text), true, false) => Matcher::Suffix(text),
            (Some(text), true, true) => Matcher::Contains(Box::new(memmem::Finder::new(&text).into_owned())),
            (None, ..) => Matcher::Like(tokens, false),
        }
    }
    fn regex(regex: &str, written: &str) -> Result<Self, String> {
        match Regex::new(regex) {
            Ok(regex) => Ok(Matcher::Regex(Box::new(regex))),
            Err(regex::Error::CompiledTooBig(_)) => Err(format!("the pattern '{written}' is too large")),
            Err(e) => Err(format!("'{written}' is not a valid pattern: {}", why_invalid(&e))),
        }
    }
}

/// Why a pattern is none, and what in it. The library's message shows the pattern over several lines, under it marks, and says why in
/// the last one.
pub(super) fn why_invalid(error: &regex::Error) -> String {
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    let why = lines.last().map_or("", |l| l.trim_start_matches("error: "));
    if let [.., pattern, marks, _] = lines.as_slice()
        && let Some(from) = marks.find('^')
        && marks.trim().bytes().all(|b| b == b'^')
    {
        let marked: String = pattern.chars().skip(from).take(marks.trim().len()).collect();
        if !marked.is_empty() {
            return format!("{why}: {marked}");
        }
    }
    why.to_owned()
}

fn tokens(pattern: &str, escape: char) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            c if c == escape && c != '\0' => Token::Char(
                chars
                    .next()
                    .ok_or_else(|| format!("the pattern '{pattern}' ends with its escape character"))?,
            ),
            '%' if tokens.last() == Some(&Token::Run) => continue,
            '%' => Token::Run,
            '_' => Token::One,
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn fold(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Greedy matching with one point of return: the last `%`. At most pattern × text steps.
fn run(tokens: &[Token], text: &str, either_case: bool) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut last_run: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if tokens.get(at) == Some(&Token::Run) {
            at += 1;
            if at == tokens.len() {
                return true;
            }
            last_run = Some((at, rest.clone()));
            continue;
        }
        let Some(c) = rest.next() else {
            // Nothing is left of the text, so going back to take more of it cannot help.
            return at == tokens.len();
        };
        let fits = match tokens.get(at) {
            Some(Token::Char(t)) => *t == c || either_case && *t == fold(c),
            Some(Token::One) => true,
            _ => false,
        };
        if fits {
            at += 1;
            continue;
        }
        match &mut last_run {
            Some((after, from)) => {
                if from.next().is_none() {
                    return false;
                }
                (at, rest) = (*after, from.clone());
            }
            None => return false,
        }
    }
}

/// A SQL regular expression as one of the `regex` crate.
fn similar(pattern: &str, escape: char) -> Result<String, String> {
    let mut out = String::from("(?s)^(?:");
    let mut chars = pattern.chars();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        if c == escape && c != '\0' {
            let next = chars
                .next()
                .ok_or_else(|| format!("the pattern '{pattern}' ends with its escape character"))?;
            out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            continue;
        }
        match c {
            '[' if !in_brackets => {
                in_brackets = true;
                out.push('[');
            }
            ']' => {
                in_brackets = false;
                out.push(']');
            }
            c if in_brackets && !matches!(c, '\\' | '[' | '&' | '~') => out.push(c),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' | '\\' | '[' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like(pattern: &str, text: &str) -> bool {
        Pattern::new(LikeKind::Like, pattern, None).unwrap().matches(text)
    }

    #[test]
    fn like_is_case_sensitive_and_escapes() {
        assert!(like("a%", "abc") && !like("A%", "abc"));
        assert!(like("%c", "abc") && like("%b%", "abc") && like("abc", "abc") && like("%", ""));
        assert!(like("a_c", "aéc") && !like("a_c", "ac"));
        assert!(like(r"100\%", "100%") && !like(r"100\%", "1000"));
        assert!(Pattern::new(LikeKind::Like, "50!%", Some('!')).unwrap().matches("50%"));
        assert!(Pattern::new(LikeKind::Like, r"a\", None).is_err());
        assert!(Pattern::new(LikeKind::Like, r"a\_", Some('\0')).unwrap().matches(r"a\b"));
        assert!(Pattern::new(LikeKind::ILike, "ÄB%", None).unwrap().matches("äbc"));
        assert!(like("%a%b", "aab") && !like("", "a") && like("", ""));
    }

    #[test]
    fn unicode_categories_and_scripts_are_known() {
        let regex = |p: &str, t: &str| Pattern::new(LikeKind::Regex, p, None).unwrap().matches(t);
        for (pattern, text) in [
            (r"^\p{Lu}\p{Ll}+$", "Äpfel"),
            (r"^\p{Greek}+$", "λόγος"),
            (r"^\w+\d\s$", "é٣\u{2003}"),
            (r"\bé\b", "a é"),
        ] {
            assert!(regex(pattern, text), "{pattern}");
        }
        assert!(Pattern::new(LikeKind::RegexI, "ÉΣ", None).unwrap().matches("éς"));
    }

    #[test]
    fn similar_to_and_regular_expressions() {
        let similar = |p: &str, t: &str| Pattern::new(LikeKind::SimilarTo, p, None).unwrap().matches(t);
        assert!(similar("abc", "abc") && !similar("a", "abc") && similar("%(b|d)%", "abc"));
        assert!(!similar("(b|c)%", "abc") && !similar("a.c", "abc") && similar("[a-c]+", "abc"));
        let regex = |p: &str, t: &str| Pattern::new(LikeKind::Regex, p, None).unwrap().matches(t);
        assert!(regex("b", "abc") && !regex("^b", "abc") && !regex("B", "abc") && regex("a.c", "a\nc"));
        assert!(Pattern::new(LikeKind::RegexI, "B", None).unwrap().matches("abc"));
        let error = Pattern::new(LikeKind::Regex, "(a", None).unwrap_err();
        assert!(error.contains("'(a'") && !error.contains('\n'), "{error}");
    }

    /// By the definition, without any cleverness.
    fn reference(p: &[char], t: &[char]) -> bool {
        match p.split_first() {
            None => t.is_empty(),
            Some(('%', p)) => (0..=t.len()).any(|i| reference(p, &t[i..])),
            Some(('_', p)) => !t.is_empty() && reference(p, &t[1..]),
            Some((c, p)) => t.first() == Some(c) && reference(p, &t[1..]),
        }
    }

    proptest! {
        #[test]
        fn like_agrees_with_its_definition(p in "[ab%_é]{0,8}", t in "[abé]{0,10}") {
            let (pc, tc): (Vec<char>, Vec<char>) = (p.chars().collect(), t.chars().collect());
            prop_assert_eq!(like(&p, &t), reference(&pc, &tc));
            let upper = t.to_uppercase();
            let ilike = Pattern::new(LikeKind::ILike, &p, None).unwrap();
            prop_assert_eq!(ilike.matches(&upper), reference(&pc, &tc));
        }
    }
}
