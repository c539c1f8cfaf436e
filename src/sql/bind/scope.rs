//! The names that an expression may use: columns of the relations in FROM, and aliases of earlier SELECT items.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::Ident;

use super::calls::Place;
use crate::expr::{Expr, SystemColumn};
use crate::record::{CompactString, Field, Schema};

/// One relation in FROM.
#[derive(Clone, Debug)]
pub(super) struct ScopeRelation {
    /// Alias, or the relation's own name; a derived table may have none.
    pub(super) name: Option<Ident>,
    /// Its columns within [`Scope::schema`].
    pub(super) columns: Range<usize>,
}

/// The columns of FROM, in the order in which the plan delivers them.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<ScopeRelation>,
    /// All columns, under the names that FROM gives them.
    pub(super) schema: Arc<Schema>,
}

/// Result of looking a name up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lookup {
    Found(usize),
    Missing,
    /// The relations that have it.
    Ambiguous(Vec<String>),
}

/// Whether `ident`, as written, means `name`: `Some(true)` exactly, `Some(false)` but for case.
fn matches(ident: &Ident, name: &str) -> Option<bool> {
    if ident.value == name {
        return Some(true);
    }
    (ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(name)).then_some(false)
}

/// The positions in `names` that `ident` means: exact matches, or else those that match without case.
pub(super) fn hits<'n>(ident: &Ident, names: impl Iterator<Item = (usize, &'n str)>) -> Vec<usize> {
    let (mut exact, mut loose) = (Vec::new(), Vec::new());
    for (i, name) in names {
        match matches(ident, name) {
            Some(true) => exact.push(i),
            Some(false) => loose.push(i),
            None => {}
        }
    }
    if exact.is_empty() { loose } else { exact }
}

impl Scope {
    /// Adds a relation to the right.
    pub(super) fn append(&mut self, name: Option<Ident>, fields: Vec<Field>) {
        let start = self.schema.len();
        let columns = start..start + fields.len();
        self.schema = Schema::new(self.schema.fields().iter().cloned().chain(fields));
        self.relations.push(ScopeRelation { name, columns });
    }

    /// Names and positions of the columns in `range`.
    fn names(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &str)> {
        self.schema.names().enumerate().skip(range.start).take(range.len())
    }

    /// A column by its bare name.
    pub(super) fn column(&self, ident: &Ident) -> Lookup {
        match hits(ident, self.names(0..self.schema.len())).as_slice() {
            [] => Lookup::Missing,
            [one] => Lookup::Found(*one),
            many => Lookup::Ambiguous(
                many.iter()
                    .filter_map(|i| self.relations.iter().find(|r| r.columns.contains(i))?.name.as_ref())
                    .map(|n| n.value.clone())
                    .collect(),
            ),
        }
    }

    /// The relation called `ident`.
    pub(super) fn relation(&self, ident: &Ident) -> Option<&ScopeRelation> {
        let named = self.relations.iter().enumerate();
        let found = hits(ident, named.filter_map(|(i, r)| Some((i, r.name.as_ref()?.value.as_str()))));
        self.relations.get(*found.first()?)
    }

    /// A column of one relation.
    pub(super) fn column_of(&self, relation: &ScopeRelation, ident: &Ident) -> Lookup {
        match hits(ident, self.names(relation.columns.clone())).as_slice() {
            [] => Lookup::Missing,
            [one] => Lookup::Found(*one),
            many => Lookup::Ambiguous(vec![ident.value.clone(); many.len()]),
        }
    }

    /// Column names of one relation, for "did you mean".
    pub(super) fn columns_of<'s>(&'s self, relation: &ScopeRelation) -> impl Iterator<Item = &'s str> {
        self.names(relation.columns.clone()).map(|(_, n)| n)
    }
}

/// What became of an aliased SELECT item.
#[derive(Clone, Debug)]
pub(super) enum AliasState {
    /// It has an error, which is already reported.
    Failed,
    /// A column, a constant: put in wherever the alias is used.
    Plain(Expr),
    /// Something that is computed once; the item's number.
    Computed {
        /// As bound: over the columns of FROM and the slots of earlier items.
        expr: Expr,
        /// The same over the columns of FROM alone; `None` if that is too large.
        expanded: Option<Expr>,
    },
}

/// An alias that later items may use.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) name: Ident,
    pub(super) state: AliasState,
    /// Set when another item uses the computed value.
    pub(super) used: Cell<bool>,
}

/// Where aliases may be used, which decides what a use becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasUse {
    /// In a later item: the value that the item computed.
    Slot,
    /// In WHERE: the item's expression, since it is not computed yet.
    Inline,
}

/// All names that one expression may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'s> {
    pub(super) scope: &'s Scope,
    pub(super) aliases: &'s [Alias],
    pub(super) alias_use: AliasUse,
    pub(super) place: Place<'s>,
}

impl<'s> Names<'s> {
    /// Only the columns of a scope.
    pub(super) fn of(scope: &'s Scope) -> Self {
        Self { scope, aliases: &[], alias_use: AliasUse::Inline, place: Place::row("this place") }
    }
    /// The same in a clause that is named in errors.
    pub(super) fn clause(scope: &'s Scope, clause: &'static str) -> Self {
        Self { place: Place::row(clause), ..Self::of(scope) }
    }
    /// The alias called `ident`; of several the first. The number is its slot.
    pub(super) fn alias(&self, ident: &Ident) -> Option<(usize, &'s Alias)> {
        let names = self.aliases.iter().enumerate().map(|(i, a)| (i, a.name.value.as_str()));
        let first = *hits(ident, names).first()?;
        Some((first, self.aliases.get(first)?))
    }
    /// Everything that could have been meant, for "did you mean".
    pub(super) fn all(&self) -> impl Iterator<Item = &'s str> {
        self.scope.schema.names().chain(self.aliases.iter().map(|a| a.name.value.as_str()))
    }
}

/// The system column called `ident`.
pub(super) fn system_column(ident: &Ident) -> Option<SystemColumn> {
    SystemColumn::ALL.into_iter().find(|c| matches(ident, c.name()).is_some())
}

/// Names of the system columns.
pub(super) fn system_names() -> impl Iterator<Item = &'static str> {
    SystemColumn::ALL.into_iter().map(SystemColumn::name)
}

/// Makes the names of an output unique: the second `a` becomes `a_1`, the third `a_2`.
pub(super) fn unique_names(names: impl IntoIterator<Item = CompactString>) -> Vec<CompactString> {
    let wanted: Vec<CompactString> = names.into_iter().collect();
    // How often a name is still to come: a suffix must not take a name that a later column bears itself.
    let mut later: HashMap<&str, usize> = HashMap::with_capacity(wanted.len());
    wanted.iter().for_each(|name| *later.entry(name).or_default() += 1);
    let mut made: HashSet<CompactString> = HashSet::with_capacity(wanted.len());
    let mut suffixes: HashMap<&str, usize> = HashMap::new();
    let mut unique = Vec::with_capacity(wanted.len());
    for name in &wanted {
        if let Some(n) = later.get_mut(name.as_str()) {
            *n -= 1;
        }
        let mut own = name.clone();
        if made.contains(name) {
            let n = suffixes.entry(name).or_default();
            while made.contains(&own) || later.get(own.as_str()).is_some_and(|n| *n > 0) {
                *n += 1;
                own = compact_str::format_compact!("{name}_{n}");
            }
        }
        made.insert(own.clone());
        unique.push(own);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_avoid_names_that_are_there() {
        let names = |list: &[&str]| unique_names(list.iter().map(CompactString::new)).join(",");
        assert_eq!(names(&["a", "b", "a", "a"]), "a,b,a_1,a_2");
        assert_eq!(names(&["a", "a", "a_1"]), "a,a_2,a_1");
        assert_eq!(names(&["a_1", "a", "a"]), "a_1,a,a_2");
    }
}
