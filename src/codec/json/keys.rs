//! The keys of the objects that are open, to find one that occurs twice.

/// Where a key stands: in the text, or unescaped in the arena.
#[derive(Clone, Copy, Debug)]
struct Key {
    start: usize,
    end: usize,
    /// Position of the key in the text.
    at: usize,
    decoded: bool,
}

/// A stack of keys: those of inner objects lie above those of the objects around them.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Keys with escapes, unescaped.
    arena: String,
    order: Vec<usize>,
}

/// Up to this many keys are compared pair by pair, more are sorted.
const FEW: usize = 16;

impl KeySet {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.arena.clear();
    }
    pub(super) fn truncate(&mut self, len: usize) {
        self.keys.truncate(len);
        if len == 0 {
            self.arena.clear();
        }
    }
    /// Adds the key whose content is `start..end` of the text.
    pub(super) fn push(&mut self, text: &str, start: usize, end: usize, escaped: bool) {
        let mut key = Key { start, end, at: start, decoded: false };
        if escaped {
            let from = self.arena.len();
            if super::lex::unescape(text.get(start..end).unwrap_or(""), &mut self.arena).is_ok() {
                key = Key { start: from, end: self.arena.len(), at: start, decoded: true };
            }
        }
        self.keys.push(key);
    }
    fn content<'a>(&'a self, text: &'a str, key: &Key) -> &'a str {
        let from = if key.decoded { self.arena.as_str() } else { text };
        from.get(key.start..key.end).unwrap_or("")
    }
    /// The first key from `mark` on that occurred before (since `mark`), and where it stands in the text.
    pub(super) fn duplicate_since<'a>(&'a mut self, text: &'a str, mark: usize) -> Option<(usize, &'a str)> {
        let count = self.keys.len().saturating_sub(mark);
        let found = if count <= FEW {
            let keys = self.keys.get(mark..)?;
            let mut later = keys.iter().enumerate().skip(1);
            later.find_map(|(i, key)| {
                let content = self.content(text, key);
                keys.iter().take(i).any(|k| self.content(text, k) == content).then_some(*key)
            })
        } else {
            let mut order = std::mem::take(&mut self.order);
            order.clear();
            order.extend(mark..self.keys.len());
            let content = |i: usize| self.keys.get(i).map_or("", |k| self.content(text, k));
            order.sort_unstable_by(|a, b| content(*a).cmp(content(*b)).then(a.cmp(b)));
            let twice = order.windows(2).filter_map(|pair| match pair {
                [a, b] if content(*a) == content(*b) => Some(*b),
                _ => None,
            });
            let found = twice.min().and_then(|i| self.keys.get(i).copied());
            self.order = order;
            found
        };
        found.map(|key| (key.at, self.content(text, &key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_twice_however_many_there_are_and_however_it_is_escaped() {
        for n in [2usize, 16, 17, 1000] {
            let mut text: String = (0..n).map(|i| format!("k{i:04}")).collect();
            text.push_str(r"k000\u0030");
            let mut keys = KeySet::default();
            keys.push(&text, 0, 5, false);
            for i in 0..n {
                keys.push(&text, i * 5, i * 5 + 5, false);
            }
            assert_eq!(keys.duplicate_since(&text, 1), None);
            assert_eq!(keys.duplicate_since(&text, 0), Some((0, "k0000")));
            keys.push(&text, n * 5, text.len(), true);
            assert_eq!(keys.duplicate_since(&text, 1), Some((n * 5, "k0000")));
        }
    }
}
