//! Our syntax in terms of what sqlparser reads, token by token; every token keeps its place.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as Place, Token, TokenWithSpan, Word};

use super::cursor::{Cursor, shown, word};
use super::lexer::Tok;
use super::{is, row_windows, words};
use crate::sql::{Diagnostic, Span, types};

/// What an open bracket belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    /// Nothing special.
    Plain,
    /// `CAST (`: a type follows AS.
    Cast,
    /// `read_csv (`: `name = value` is a named argument.
    Named,
    /// `TIMESTAMP (`: a literal may follow the closing one.
    Type,
    /// `EXTRACT (`: FROM is no clause.
    Call,
    /// `OVER (ROWS WINDOW BUFFER n ROWS …`: the frame, which is a whole number of rows before the current one, belongs to the end.
    Buffer { before: u64 },
    /// `MAP [`, rewritten to `MAP {`: commas are in turn `:` and `,`.
    Map { key: bool },
}

struct Rewriter<'a> {
    source: &'a str,
    toks: &'a [Tok],
    out: Vec<TokenWithSpan>,
    open: Vec<Open>,
    /// The bracket that was closed by the last token.
    closed: Open,
    /// The token before is an operand, whatever its word says.
    named: bool,
    /// Tokens before which the bracket of a [`SYMMETRIC`] bound closes.
    closing: Vec<usize>,
}

/// What a call around the lower bound of `BETWEEN SYMMETRIC` is named: sqlparser does not know that word.
pub(in crate::sql) const SYMMETRIC: &str = "between symmetric";

/// The tokens for sqlparser.
pub(super) fn rewrite(source: &str, toks: &[Tok]) -> Result<Vec<TokenWithSpan>, Diagnostic> {
    let out = Vec::with_capacity(toks.len());
    let mut rewriter = Rewriter {
        source,
        toks,
        out,
        open: Vec::new(),
        closed: Open::Plain,
        named: false,
        closing: Vec::new(),
    };
    let mut at = 0;
    while at < toks.len() {
        at = rewriter.step(at)?;
    }
    Ok(rewriter.out)
}

impl<'a> Rewriter<'a> {
    fn token(&self, at: usize) -> Option<&'a Token> {
        self.toks.get(at).map(|t| &t.token)
    }
    fn before(&self, at: usize) -> Option<&'a Token> {
        at.checked_sub(1).and_then(|i| self.token(i))
    }
    fn span(&self, at: usize) -> Span {
        self.toks.get(at).map_or_else(Span::default, |t| t.span)
    }
    fn place(&self, at: usize) -> Place {
        self.toks.get(at).map_or_else(Place::empty, |t| t.place)
    }
    fn put(&mut self, token: Token, place: Place) {
        self.out.push(TokenWithSpan { token, span: place });
    }
    /// Whether a word at `at` can only be the beginning of an operand.
    fn operand(&self, at: usize) -> bool {
        match self.before(at) {
            _ if self.named => false,
            // `a * b`, but not `SELECT * …`, `t.*`, `count(*)`.
            Some(Token::Mul) => {
                let factor = at.checked_sub(2).and_then(|i| self.token(i));
                factor != Some(&Token::Period) && !words::operand_follows(factor)
            }
            before => words::operand_follows(before),
        }
    }

    /// Rewrites the token at `at` and returns the position of the next.
    fn step(&mut self, at: usize) -> Result<usize, Diagnostic> {
        let Some(token) = self.token(at) else { return Ok(at + 1) };
        if self.closing.contains(&at) {
            self.put(Token::RParen, self.place(at));
        }
        let named = std::mem::take(&mut self.named);
        let after_name =
            Some(&Token::Period) == self.before(at) || self.token(at + 1) == Some(&Token::Period);
        match token {
            Token::Word(w) if w.quote_style.is_none() && !after_name => {
                self.named = named;
                return self.word(at, w);
            }
            // `t.offset`, `window.start`: names, whatever the word.
            Token::Word(w) => {
                if w.value.is_empty() {
                    return Err(Diagnostic::new("a name can't be empty", self.span(at)));
                }
                self.put(Token::Word(Word { keyword: Keyword::NoKeyword, ..w.clone() }), self.place(at));
                self.named = true;
                return Ok(at + 1);
            }
            Token::Number(digits, _) => {
                self.number(at)?;
                self.put(Token::Number(digits.replace('_', ""), false), self.place(at));
                return Ok(at + 1);
            }
            Token::HexStringLiteral(_) => self.number(at)?,
            Token::Placeholder(_) => return Err(self.parameter(at)),
            Token::Colon if self.operand(at) && !self.is_slice(at) => {
                return Err(self.parameter(at));
            }
            Token::SingleQuotedString(_) => self.string(at, named)?,
            Token::DoubleColon => {
                self.put(token.clone(), self.place(at));
                return self.data_type(at + 1);
            }
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.open.push(self.opens(at));
            }
            Token::RParen | Token::RBracket | Token::RBrace => return Ok(self.close(at, token)),
            Token::Comma => return Ok(self.comma(at)),
            Token::Eq | Token::DoubleEq if self.is_named_argument(at) => {
                self.put(Token::RArrow, self.place(at));
                return Ok(at + 1);
            }
            _ => {}
        }
        self.put(token.clone(), self.place(at));
        Ok(at + 1)
    }

    fn word(&mut self, at: usize, w: &Word) -> Result<usize, Diagnostic> {
        let operand = self.operand(at);
        self.named = false;
        let previous = self.before(at);
        if is(&Token::Word(w.clone()), "FROM") && self.trims_blanks(at) {
            return Ok(at + 1);
        }
        if is(&Token::Word(w.clone()), "SYMMETRIC")
            && previous.is_some_and(|p| is(p, "BETWEEN"))
            && let Some(and) = self.and_behind(at)
        {
            let name = Word { value: SYMMETRIC.into(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            self.put(Token::Word(name), self.place(at));
            self.put(Token::LParen, self.place(at));
            self.closing.push(and);
            return Ok(at + 1);
        }
        if w.value.eq_ignore_ascii_case("ROWS") && self.token(at + 1).is_some_and(|t| is(t, "WINDOW")) {
            return self.buffer(at);
        }
        if w.value.eq_ignore_ascii_case("EXCLUDE")
            && self.open.last().is_some()
            && let Some(rows) = row_windows::excluded(self.toks, at)
        {
            return rows.map(|words| at + words);
        }
        if !previous.is_some_and(|p| is(p, "AS")) {
            if let Some(error) = words::unbuilt(self.toks, at, operand) {
                return Err(error);
            }
            if !operand && words::is_emit(&Token::Word(w.clone()), previous) {
                return Err(words::bad_emit(self.source, self.toks, at));
            }
        }
        if ["TRUE", "FALSE", "NULL"].iter().any(|k| w.value.eq_ignore_ascii_case(k)) {
            self.not_typed(at)?;
        }
        if operand && words::lacks_operand(&Token::Word(w.clone()), previous, self.token(at + 1)) {
            let message =
                format!("expected an expression or a name, found {}", shown(self.source, self.span(at)));
            return Err(Diagnostic::new(message, self.span(at)));
        }
        if w.value.eq_ignore_ascii_case("AS") && self.open.last() == Some(&Open::Cast) {
            self.put(Token::Word(w.clone()), self.place(at));
            return self.data_type(at + 1);
        }
        if w.value.eq_ignore_ascii_case("MAP") && operand && self.is_map_literal(at + 1) {
            self.put(Token::Word(w.clone()), self.place(at));
            self.put(Token::LBrace, self.place(at + 1));
            self.open.push(Open::Map { key: true });
            return Ok(at + 2);
        }
        let name = operand && words::is_name(&Token::Word(w.clone()), self.token(at + 1))
            || w.value.eq_ignore_ascii_case("INTERVAL") && operand && !self.interval_follows(at + 1);
        let keyword = if name { Keyword::NoKeyword } else { w.keyword };
        self.put(Token::Word(Word { keyword, ..w.clone() }), self.place(at));
        self.named = name;
        Ok(at + 1)
    }

    /// `trim(LEADING FROM x)`, `trim(FROM x)`: sqlparser wants characters before FROM.
    fn trims_blanks(&self, at: usize) -> bool {
        let side = |t: &Token| ["LEADING", "TRAILING", "BOTH"].iter().any(|w| is(t, w));
        let bracket = if self.before(at).is_some_and(side) { at.checked_sub(2) } else { at.checked_sub(1) };
        let Some(bracket) = bracket else { return false };
        self.token(bracket) == Some(&Token::LParen) && self.before(bracket).is_some_and(|t| is(t, "TRIM"))
    }

    /// The AND that ends the operand behind `at`, if there is an operand.
    fn and_behind(&self, at: usize) -> Option<usize> {
        let (mut brackets, mut cases) = (0usize, 0usize);
        for (i, tok) in self.toks.iter().enumerate().skip(at + 1) {
            match &tok.token {
                Token::LParen | Token::LBracket | Token::LBrace => brackets += 1,
                Token::RParen | Token::RBracket | Token::RBrace => brackets = brackets.checked_sub(1)?,
                t if is(t, "CASE") => cases += 1,
                t if is(t, "END") => cases = cases.saturating_sub(1),
                t if is(t, "AND") && brackets == 0 && cases == 0 => return (i > at + 1).then_some(i),
                _ => {}
            }
        }
        None
    }

    /// Whether what stands at `at` makes the word INTERVAL before it a literal: `'5' SECOND`, `5 DAY`, `n HOURS`.
    fn interval_follows(&self, at: usize) -> bool {
        match self.token(at) {
            Some(Token::SingleQuotedString(_) | Token::Number(..) | Token::EscapedStringLiteral(_)) => true,
            Some(Token::Word(w)) => w.quote_style.is_some() || !self.is_clause(at) && self.is_unit(at + 1),
            Some(Token::LParen) => true,
            _ => false,
        }
    }
    fn is_clause(&self, at: usize) -> bool {
        words::operand_follows(self.token(at)) || self.token(at).is_some_and(|t| is(t, "AS"))
    }
    fn is_unit(&self, at: usize) -> bool {
        const UNITS: &[&str] = &[
            "YEAR",
            "QUARTER",
            "MONTH",
            "WEEK",
            "DAY",
            "HOUR",
            "MINUTE",
            "SECOND",
            "MILLISECOND",
            "MICROSECOND",
        ];
        self.token(at).and_then(word).is_some_and(|w| {
            let w = w.to_ascii_uppercase();
            UNITS.contains(&w.as_str()) || w.strip_suffix('S').is_some_and(|u| UNITS.contains(&u))
        })
    }

    /// `[` with a comma on its own level: `MAP['k', 1]` is a literal, `map['k']` a subscript.
    fn is_map_literal(&self, at: usize) -> bool {
        if self.token(at) != Some(&Token::LBracket) {
            return false;
        }
        let mut depth = 0usize;
        for tok in self.toks.get(at..).unwrap_or(&[]) {
            match tok.token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return false;
                    }
                }
                Token::Comma if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    /// What the bracket at `at` belongs to.
    fn opens(&self, at: usize) -> Open {
        let Some(name) = self.before(at).and_then(word) else { return Open::Plain };
        let name = name.to_ascii_uppercase();
        match name.as_str() {
            "CAST" | "TRY_CAST" => Open::Cast,
            "TIMESTAMP" | "TIME" => Open::Type,
            "EXTRACT" | "TRIM" | "SUBSTRING" | "OVERLAY" => Open::Call,
            _ if name.starts_with("READ_") => Open::Named,
            _ => match at.checked_sub(2).and_then(|i| self.token(i)) {
                // A table function: FROM generator(rows = 5).
                Some(t) if (is(t, "FROM") || is(t, "JOIN")) && self.open.last() != Some(&Open::Call) => {
                    Open::Named
                }
                _ => Open::Plain,
            },
        }
    }

    /// `ROWS WINDOW BUFFER n ROWS` at the beginning of a window: the current row and the n - 1 before it.
    fn buffer(&mut self, at: usize) -> Result<usize, Diagnostic> {
        let refused = |this: &Self, from: usize, message: &str| {
            let hint = "write OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY … ORDER BY …)";
            let span = Span { start: this.span(at).start, end: this.span(from).end };
            Err(Diagnostic::new(message, span).with_hint(hint))
        };
        if self.before(at) != Some(&Token::LParen) || self.open.last() != Some(&Open::Plain) {
            return refused(self, at + 1, "ROWS WINDOW stands at the beginning of OVER (…) only");
        }
        if !self.token(at + 2).is_some_and(|t| is(t, "BUFFER")) {
            return refused(self, at + 1, "ROWS WINDOW takes a BUFFER");
        }
        let rows = match self.token(at + 3) {
            Some(Token::Number(digits, false)) => digits.parse::<u64>().ok().and_then(|n| n.checked_sub(1)),
            _ => None,
        };
        match rows.filter(|_| self.token(at + 4).is_some_and(|t| is(t, "ROWS"))) {
            None => refused(self, at + 3, "a BUFFER holds a whole number of ROWS, 1 or more"),
            Some(before) => {
                self.open.pop();
                self.open.push(Open::Buffer { before });
                Ok(at + 5)
            }
        }
    }

    fn close(&mut self, at: usize, token: &Token) -> usize {
        self.closed = self.open.pop().unwrap_or(Open::Plain);
        if let Open::Buffer { before } = self.closed {
            let place = self.place(at);
            for word in ["ROWS", "BETWEEN"] {
                self.put(Token::make_keyword(word), place);
            }
            self.put(Token::Number(before.to_string(), false), place);
            for word in ["PRECEDING", "AND", "CURRENT", "ROW"] {
                self.put(Token::make_keyword(word), place);
            }
        }
        let token = if matches!(self.closed, Open::Map { .. }) { Token::RBrace } else { token.clone() };
        self.put(token, self.place(at));
        at + 1
    }

    fn comma(&mut self, at: usize) -> usize {
        let token = match self.open.last_mut() {
            Some(Open::Map { key }) => {
                *key = !*key;
                if *key { Token::Comma } else { Token::Colon }
            }
            _ => Token::Comma,
        };
        self.put(token, self.place(at));
        at + 1
    }

    /// `=` in `read_csv('f', null_values = 'NA')`.
    fn is_named_argument(&self, at: usize) -> bool {
        self.open.last() == Some(&Open::Named)
            && matches!(self.before(at), Some(Token::Word(_)))
            && matches!(at.checked_sub(2).and_then(|i| self.token(i)), Some(Token::Comma | Token::LParen))
    }

    /// `a[:2]`: behind a subscript's bracket a colon has nothing on its left.
    fn is_slice(&self, at: usize) -> bool {
        self.before(at) == Some(&Token::LBracket) && at >= 2 && !words::operand_follows(self.before(at - 1))
    }

    fn parameter(&self, at: usize) -> Diagnostic {
        let message = "parameters are not supported";
        Diagnostic::new(message, self.span(at))
            .with_hint("write the value, or ${NAME} for an environment variable")
    }

    /// Refuses `10s` and `10L`, which sqlparser reads as `10 AS s` and as 10.
    fn number(&self, at: usize) -> Result<(), Diagnostic> {
        let span = self.span(at);
        let text = self.source.get(span.start..span.end).unwrap_or("");
        if text.starts_with("0x") {
            return Err(Diagnostic::new("hexadecimal numbers are not supported", span)
                .with_hint("bytes are written X'…'"));
        }
        self.not_typed(at)?;
        let glued = match self.token(at + 1) {
            Some(Token::Word(_)) if self.span(at + 1).start == span.end => self.span(at + 1).end,
            _ if matches!(self.token(at), Some(Token::Number(_, true))) => span.end,
            _ => return Ok(()),
        };
        let whole = Span { start: span.start, end: glued };
        let error = Diagnostic::new(format!("{} is not a number", shown(self.source, whole)), whole);
        let unit = match self.source.get(span.end..glued).map(str::to_ascii_lowercase).as_deref() {
            Some("ms") => "MILLISECOND",
            Some("s" | "sec") => "SECOND",
            Some("m" | "min") => "MINUTE",
            Some("h") => "HOUR",
            Some("d") => "DAY",
            _ => return Err(error),
        };
        Err(error.with_hint(format!("a duration is written INTERVAL '{text}' {unit}")))
    }

    /// Refuses `date 5`, which sqlparser reads as a literal of that type.
    fn not_typed(&self, at: usize) -> Result<(), Diagnostic> {
        match self.before(at).and_then(word) {
            Some(w) if types::is_name(w) && !w.eq_ignore_ascii_case("INTERVAL") => Err(Diagnostic::new(
                format!("unexpected {}", shown(self.source, self.span(at))),
                self.span(at),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses `x 'y'`, which sqlparser reads as `x AS "y"`.
    fn string(&self, at: usize, named: bool) -> Result<(), Diagnostic> {
        let stray = match self.before(at) {
            _ if named => true,
            Some(Token::RParen) => self.closed != Open::Type,
            Some(Token::Word(w)) => w.quote_style.is_some() || w.keyword == Keyword::NoKeyword,
            // Behind an operator, a comma, the beginning.
            before => !words::operand_follows(before) && before != Some(&Token::Mul),
        };
        if !stray {
            return Ok(());
        }
        let message = format!("unexpected string {}", shown(self.source, self.span(at)));
        Err(Diagnostic::new(message, self.span(at)).with_hint("is an operator or a comma missing before it?"))
    }

    /// Reads a type at `at`; one of several tokens becomes one quoted name, which `sql::data_type` reads again.
    fn data_type(&mut self, at: usize) -> Result<usize, Diagnostic> {
        let mut cursor = Cursor::new(self.source, self.toks.get(at..).unwrap_or(&[]));
        let data_type = types::read(&mut cursor)?;
        let used = cursor.position();
        let first = self.place(at);
        if used == 1 && !self.token(at).is_some_and(|t| is(t, "INTERVAL")) {
            self.put(self.token(at).cloned().unwrap_or(Token::EOF), first);
        } else {
            let place = Place { start: first.start, end: self.place(at + used - 1).end };
            let name =
                Word { value: data_type.to_string(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            self.put(Token::Word(name), place);
        }
        self.named = true;
        Ok(at + used)
    }
}
