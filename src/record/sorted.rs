//! Sorting of lists off the data path, with one instance of the standard library's sort for all of them: each instance is some
//! 8 KB of machine code, more than all that such a list is used for.

use std::cmp::Ordering;

/// Sorts a list; equal items keep their order. Takes a moment longer than `sort_by`, and room for an index of each item.
pub fn sort_by<T>(list: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = order(list.len(), &|a, b| match (list.get(a), list.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    for (to, mut from) in order.iter().copied().enumerate() {
        // What stood there was moved away already: to where this place's item came from.
        while from < to {
            from = order.get(from).copied().unwrap_or(to);
        }
        list.swap(to, from);
    }
}

/// The same by a key, which is made for each comparison.
pub fn sort_by_key<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(list, |a, b| key(a).cmp(&key(b)));
}

fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        let mut state = 7u64;
        for len in 0..200 {
            let mut list: Vec<(u64, usize)> = (0..len)
                .map(|at| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 60, at)
                })
                .collect();
            let mut expected = list.clone();
            expected.sort_by_key(|(n, _)| *n);
            sort_by_key(&mut list, |(n, _)| *n);
            assert_eq!(list, expected);
        }
    }
}
