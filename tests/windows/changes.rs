//! Rows with their kinds, and the table that a changelog ends in.

use std::collections::BTreeMap;

use millstream::RowKind;

/// One row of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub kind: RowKind,
    pub cells: Vec<String>,
}

impl Change {
    pub fn insert(cells: Vec<String>) -> Self {
        Self { kind: RowKind::Insert, cells }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.symbol(), self.cells.join(" "))
    }
}

/// What one row of the result becomes: nothing where nothing changes.
pub fn change(before: Option<&Vec<String>>, after: Option<Vec<String>>) -> Vec<Change> {
    let of = |kind, cells: &Vec<String>| Change { kind, cells: cells.clone() };
    match (before, after) {
        (None, None) => vec![],
        (None, Some(new)) => vec![of(RowKind::Insert, &new)],
        (Some(old), None) => vec![of(RowKind::Delete, old)],
        (Some(old), Some(new)) if *old == new => vec![],
        (Some(old), Some(new)) => vec![of(RowKind::UpdateBefore, old), of(RowKind::UpdateAfter, &new)],
    }
}

/// The rows that are left, with how often each is there. A row that is taken away must be there.
pub fn fold(changes: &[Change]) -> Result<BTreeMap<Vec<String>, usize>, String> {
    let mut table: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for (i, change) in changes.iter().enumerate() {
        match change.kind {
            RowKind::Insert | RowKind::UpdateAfter => *table.entry(change.cells.clone()).or_default() += 1,
            RowKind::UpdateBefore | RowKind::Delete => match table.get_mut(&change.cells) {
                Some(1) => {
                    table.remove(&change.cells);
                }
                Some(n) => *n -= 1,
                None => return Err(format!("change {i} takes away a row that is not there: {change}")),
            },
        }
        if change.kind == RowKind::UpdateBefore
            && changes.get(i + 1).is_none_or(|next| next.kind != RowKind::UpdateAfter)
        {
            return Err(format!("no new version follows change {i}: {change}"));
        }
    }
    Ok(table)
}

#[test]
fn a_changelog_is_folded() {
    let cells = |s: &str| vec![s.to_owned()];
    let mut all = change(None, Some(cells("a")));
    all.extend(change(Some(&cells("a")), Some(cells("b"))));
    all.extend(change(None, Some(cells("c"))));
    all.extend(change(Some(&cells("c")), None));
    assert_eq!(fold(&all).unwrap(), BTreeMap::from([(cells("b"), 1)]));
    assert!(change(Some(&cells("a")), Some(cells("a"))).is_empty());
    assert!(fold(&all[1..]).is_err() && fold(&all[..2]).is_err());
}
