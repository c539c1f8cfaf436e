//! "Did you mean": the nearest known names.

use super::sorted;

/// The known names nearest to `name` (Damerau–Levenshtein within a third of its length, at least 2), best first, at most
/// three.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_ascii_lowercase();
    let limit = (wanted.chars().count() / 3).max(2);
    let mut hits: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|k| {
            let low = k.to_ascii_lowercase();
            let d = distance(&wanted, &low);
            (d <= limit && d < wanted.chars().count().max(1) || low.starts_with(&wanted) && wanted.len() > 2)
                .then_some((d, k))
        })
        .collect();
    sorted::sort_by(&mut hits, Ord::cmp);
    hits.dedup();
    hits.into_iter().take(3).map(|(_, k)| k).collect()
}

/// Optimal string alignment distance: insert, delete, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (row[j] + 1).min(last[j + 1] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typos_and_stays_silent_on_strangers() {
        let known = ["amount", "customer_id", "symbol", "ts"];
        assert_eq!(nearest("amuont", known), ["amount"]);
        assert_eq!(nearest("customerid", known), ["customer_id"]);
        assert_eq!(nearest("SYMBL", known), ["symbol"]);
        assert!(nearest("departure", known).is_empty());
    }
}
