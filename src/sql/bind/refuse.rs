//! Clauses of queries that are not supported yet: each is found, named and pointed at.

use sqlparser::ast::{self, Spanned};

use super::{Bind, Reported, Session};
use crate::sql::{Span, repartition_of};

impl Session<'_, '_> {
    /// The place of keyword `word` in front of `part`.
    pub(super) fn keyword_before(&self, part: &impl Spanned, word: &str) -> Span {
        match self.source.span(part.span()) {
            Some(at) => self.source.word_before(at.start, word).unwrap_or(at),
            None => self.keyword_in(self.here, word),
        }
    }

    /// The place of keyword `word` at or behind the start of `at`.
    pub(super) fn keyword_in(&self, at: Span, word: &str) -> Span {
        self.source.word_from(at.start, word).unwrap_or(at)
    }

    /// Refuses each of the clauses that is there.
    fn refuse_all(&mut self, clauses: Vec<Option<(String, Span)>>) -> Bind<()> {
        let mut result = Ok(());
        for (what, at) in clauses.into_iter().flatten() {
            let refused: Bind<()> = self.unsupported(&what, at);
            result = result.and(refused);
        }
        result
    }

    /// The clauses around the body of a query; ORDER BY, LIMIT and WITH apart.
    pub(super) fn refuse_query_clauses(&mut self, query: &ast::Query) -> Bind<()> {
        let ast::Query {
            with: _,
            body: _,
            order_by: _,
            limit_clause: _,
            fetch: _,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let word = |w: &str| self.keyword_in(self.here, w);
        let clause = |there: bool, what: &str, at: Span| there.then(|| (what.to_owned(), at));
        let pipe_at = self.here;
        let emit = crate::sql::emit_of(query);
        let clauses = vec![
            clause(!locks.is_empty(), "FOR UPDATE or FOR SHARE", word("FOR")),
            clause(for_clause.is_some(), "FOR XML or FOR JSON", word("FOR")),
            clause(settings.is_some() && emit.is_none(), "SETTINGS", word("SETTINGS")),
            clause(format_clause.is_some(), "FORMAT", word("FORMAT")),
            clause(!pipe_operators.is_empty(), "the pipe operator |>", pipe_at),
        ];
        self.refuse_all(clauses)
    }

    /// The clauses of a SELECT other than its items, FROM, WHERE, GROUP BY, HAVING, WINDOW and QUALIFY.
    pub(super) fn refuse_select_clauses(&mut self, select: &ast::Select) -> Bind<()> {
        let ast::Select {
            select_token: _,
            // A comment; it asks for nothing that changes the result.
            optimizer_hints: _,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by: _,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            // FROM before SELECT says the same.
            flavor: _,
        } = select;
        let word = |w: &str| self.keyword_in(self.here, w);
        let before =
            |part: Option<&ast::Expr>, w: &str| part.map_or_else(|| word(w), |e| self.keyword_before(e, w));
        let clause = |there: bool, what: &str, at: Span| there.then(|| (what.to_owned(), at));
        let clauses = vec![
            clause(select_modifiers.is_some(), "a modifier of SELECT", self.here),
            clause(top.is_some(), "TOP (write LIMIT)", word("TOP")),
            clause(
                exclude.is_some(),
                "EXCLUDE behind the SELECT list (write * EXCLUDE (…))",
                word("EXCLUDE"),
            ),
            clause(into.is_some(), "SELECT INTO (write INSERT INTO … SELECT)", word("INTO")),
            clause(!lateral_views.is_empty(), "LATERAL VIEW (write CROSS JOIN UNNEST)", word("LATERAL")),
            clause(prewhere.is_some(), "PREWHERE", before(prewhere.as_ref(), "PREWHERE")),
            clause(!connect_by.is_empty() && repartition_of(select).is_none(), "CONNECT BY", word("CONNECT")),
            clause(!cluster_by.is_empty(), "CLUSTER BY", before(cluster_by.first(), "CLUSTER")),
            clause(!distribute_by.is_empty(), "DISTRIBUTE BY", before(distribute_by.first(), "DISTRIBUTE")),
            clause(!sort_by.is_empty(), "SORT BY", word("SORT")),
            clause(value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE", self.here),
        ];
        self.refuse_all(clauses)
    }

    /// What a table's name may carry and we do not know.
    pub(super) fn refuse_table_clauses(&mut self, what: &[(bool, &str)]) -> Bind<()> {
        let at = self.here;
        let clauses = what.iter().map(|(there, what)| there.then(|| ((*what).to_owned(), at))).collect();
        self.refuse_all(clauses)
    }
}

/// The first failure of two.
pub(super) fn both<A, B>(a: Bind<A>, b: Bind<B>) -> Bind<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        _ => Err(Reported),
    }
}
