//! Strings for people and programs: format, quoting, number bases, similarity.

use super::args::{any, int, invalid, overflow, text, within_limit};
use super::row::{ANY, INT, INT4, TEXT, lenient, row, variadic};
use super::values::to_text;
use crate::expr::{Datum, EvalResult, FunctionSpec};
use crate::record::{CompactString, FieldValue};

pub(super) fn functions() -> Vec<FunctionSpec> {
    vec![
        row(
            "format(pattern)",
            "The pattern with %% as %",
            ("format('100%%')", "100%"),
            [TEXT],
            TEXT,
            |_, a| format(a),
        ),
        lenient(row(
            "format(pattern, value, …)",
            "Fills %s (text), %I (identifier), %L (literal), %% with positions (%1$s), widths and - as in PostgreSQL",
            ("format('Hello %s, %1$s', 'World')", "Hello World, World"),
            variadic([TEXT, ANY]),
            TEXT,
            |_, a| format(a),
        )),
        row(
            "quote_literal(value)",
            "As a string constant of SQL",
            ("quote_literal('O''Reilly')", "'O''Reilly'"),
            [ANY],
            TEXT,
            |_, a| Ok(quote_literal(&to_text(any(a, 0))).into()),
        ),
        lenient(row(
            "quote_nullable(value)",
            "As a string constant of SQL; NULL gives the word NULL",
            ("quote_nullable(NULL)", "NULL"),
            [ANY],
            TEXT,
            |_, a| match any(a, 0) {
                FieldValue::Null => Ok("NULL".into()),
                v => Ok(quote_literal(&to_text(v)).into()),
            },
        )),
        row(
            "quote_ident(text)",
            "As an identifier of SQL, quoted only if it must be",
            ("quote_ident('Foo bar')", "\"Foo bar\""),
            [TEXT],
            TEXT,
            |_, a| Ok(quote_ident(text(a, 0)?)),
        ),
        row("to_hex(n)", "In base 16", ("to_hex(2147483647)", "7fffffff"), [INT], TEXT, |_, a| {
            Ok(format!("{:x}", int(a, 0)?).into())
        }),
        row("to_oct(n)", "In base 8", ("to_oct(64)", "100"), [INT], TEXT, |_, a| {
            Ok(format!("{:o}", int(a, 0)?).into())
        }),
        row("to_bin(n)", "In base 2", ("to_bin(10)", "1010"), [INT], TEXT, |_, a| {
            Ok(format!("{:b}", int(a, 0)?).into())
        }),
        row(
            "levenshtein(a, b)",
            "Fewest insertions, deletions and replacements that turn one into the other",
            ("levenshtein('GUMBO', 'GAMBOL')", "2"),
            [TEXT, TEXT],
            INT4,
            |_, a| levenshtein(text(a, 0)?, text(a, 1)?),
        ),
        row(
            "soundex(text)",
            "How an English word sounds, as a letter and three digits",
            ("soundex('Anne')", "A500"),
            [TEXT],
            TEXT,
            |_, a| Ok(FieldValue::from(soundex(text(a, 0)?).as_str())),
        ),
        row(
            "difference(a, b)",
            "How many of the four characters of their soundex agree",
            ("difference('Anne', 'Andrew')", "2"),
            [TEXT, TEXT],
            INT4,
            |_, a| {
                let (x, y) = (soundex(text(a, 0)?), soundex(text(a, 1)?));
                Ok(FieldValue::Integer(x.chars().zip(y.chars()).filter(|(x, y)| x == y).count() as i64))
            },
        ),
    ]
}

fn quote_literal(s: &str) -> CompactString {
    let mut out = CompactString::default();
    if s.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in s.chars() {
        if c == '\'' || c == '\\' {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// Words that PostgreSQL 15 takes as identifiers only in quotes (every keyword that is not unreserved).
const KEYWORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
boolean both case cast char character check coalesce collate collation column concurrently constraint create cross \
current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal \
default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full \
grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull \
join lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not \
notnull null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary \
real references returning right row select session_user setof similar smallint some substring symmetric table \
tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic verbose \
when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot \
xmlserialize xmltable ";

fn quote_ident(s: &str) -> FieldValue {
    let plain = s.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !KEYWORDS.split_ascii_whitespace().any(|word| word == s);
    if plain { s.into() } else { format!("\"{}\"", s.replace('"', "\"\"")).into() }
}

/// One `%…` of a format pattern.
struct Directive<'p> {
    position: Option<usize>,
    left: bool,
    width: Option<Width>,
    rest: &'p str,
}
enum Width {
    Fixed(i64),
    /// `*`: the next argument, or that one.
    Argument(Option<usize>),
}

fn number(s: &str) -> EvalResult<(Option<usize>, &str)> {
    let end = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (digits, rest) = s.split_at_checked(end).unwrap_or((s, ""));
    if digits.is_empty() {
        return Ok((None, rest));
    }
    digits.parse().map(|n| (Some(n), rest)).map_err(|_| invalid("number is out of range in format()"))
}
fn directive(after_percent: &str) -> EvalResult<Directive<'_>> {
    let mut d = Directive { position: None, left: false, width: None, rest: after_percent };
    if let (Some(n), rest) = number(d.rest)? {
        match rest.strip_prefix('$') {
            Some(_) if n == 0 => {
                return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
            }
            Some(rest) => (d.position, d.rest) = (Some(n), rest),
            None => {
                // A width without flags.
                (d.width, d.rest) = (Some(Width::Fixed(n as i64)), rest);
                return Ok(d);
            }
        }
    }
    while let Some(rest) = d.rest.strip_prefix('-') {
        (d.left, d.rest) = (true, rest);
    }
    if let Some(rest) = d.rest.strip_prefix('*') {
        let (n, rest) = number(rest)?;
        d.rest = match n {
            Some(_) => rest
                .strip_prefix('$')
                .ok_or_else(|| invalid("width argument position must be ended by \"$\""))?,
            None => rest,
        };
        d.width = Some(Width::Argument(n));
    } else {
        let (n, rest) = number(d.rest)?;
        (d.width, d.rest) = (n.map(|n| Width::Fixed(n as i64)), rest);
    }
    Ok(d)
}

fn format(args: &[Datum<'_>]) -> EvalResult<FieldValue> {
    if any(args, 0).is_null() {
        return Ok(FieldValue::Null);
    }
    let mut rest = text(args, 0)?;
    let mut out = String::new();
    let mut next = 1;
    let take =
        |at: usize| args.get(at).map(|v| &**v).ok_or_else(|| invalid("too few arguments for format()"));
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let d = directive(after)?;
        let width = match d.width {
            None => 0,
            Some(Width::Fixed(n)) => n,
            Some(Width::Argument(position)) => {
                let at = position.unwrap_or(next);
                next = at + 1;
                match take(at)? {
                    FieldValue::Null => 0,
                    FieldValue::Integer(n) => *n,
                    other => {
                        return Err(invalid(format!(
                            "a width must be an integer, not {}",
                            other.data_type()
                        )));
                    }
                }
            }
        };
        let mut kinds = d.rest.chars();
        let kind = kinds.next().ok_or_else(|| invalid("unterminated format() type specifier"))?;
        let at = d.position.unwrap_or(next);
        next = at + 1;
        let value = take(at)?;
        let filled = match (kind, value) {
            ('s', FieldValue::Null) => CompactString::default(),
            ('s', v) => CompactString::from(to_text(v)),
            ('I', FieldValue::Null) => {
                return Err(invalid("null values cannot be formatted as an SQL identifier"));
            }
            ('I', v) => CompactString::new(quote_ident(&to_text(v)).as_str().unwrap_or_default()),
            ('L', FieldValue::Null) => CompactString::new("NULL"),
            ('L', v) => quote_literal(&to_text(v)),
            (c, _) => return Err(invalid(format!("unrecognized format() type specifier \"{c}\""))),
        };
        let fill = usize::try_from(width.unsigned_abs())
            .unwrap_or(usize::MAX)
            .saturating_sub(filled.chars().count());
        within_limit(out.len().saturating_add(fill).saturating_add(filled.len()))?;
        let left = d.left || width < 0;
        if !left {
            out.extend(std::iter::repeat_n(' ', fill));
        }
        out.push_str(&filled);
        if left {
            out.extend(std::iter::repeat_n(' ', fill));
        }
        rest = kinds.as_str();
    }
    out.push_str(rest);
    within_limit(out.len())?;
    Ok(out.into())
}

fn levenshtein(a: &str, b: &str) -> EvalResult<FieldValue> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The cost is the product of the lengths; PostgreSQL draws the line at 255 bytes each.
    if a.len().saturating_mul(b.len()) > 1 << 20 {
        return Err(overflow("levenshtein: the texts are too long"));
    }
    let mut line: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = line.first_mut() {
            *first = left;
        }
        for (y, cell) in b.iter().zip(line.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    Ok(FieldValue::Integer(line.last().copied().unwrap_or(0) as i64))
}

fn soundex(s: &str) -> String {
    let code = |c: char| match c.to_ascii_uppercase() {
        'B' | 'F' | 'P' | 'V' => '1',
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => '2',
        'D' | 'T' => '3',
        'L' => '4',
        'M' | 'N' => '5',
        'R' => '6',
        _ => '0',
    };
    let mut letters = s.chars().skip_while(|c| !c.is_ascii_alphabetic());
    let Some(first) = letters.next() else { return String::new() };
    let mut out = String::from(first.to_ascii_uppercase());
    let mut previous = code(first);
    for c in letters.filter(char::is_ascii_alphabetic) {
        if out.len() == 4 {
            break;
        }
        let next = code(c);
        if next != '0' && next != previous {
            out.push(next);
        }
        previous = next;
    }
    while out.len() < 4 {
        out.push('0');
    }
    out
}
