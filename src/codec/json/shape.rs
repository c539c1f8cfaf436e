//! Prediction of keys: the orders of keys that were seen, as a tree.
//!
//! Producers write the same keys in the same order. A node stands for a key after certain others; its *prefix* is all
//! that stood between the value before and its own value (`,"amount":`, blanks included), so that a key
//! costs one comparison. A path from the root holds no key twice, since only valid records are
//! learned: objects that follow a path need no search for duplicates.

/// The node before the first key.
pub(super) const ROOT: usize = 0;
/// With this many nodes all is forgotten.
const MAX_NODES: usize = 4096;
/// Alternatives after one key that are tried before the object is read in full.
const MAX_CHILDREN: usize = 16;

/// A key after those on the path from the root.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) prefix: Box<[u8]>,
    /// The wanted column, if this key is one.
    pub(super) column: Option<usize>,
    children: Vec<usize>,
    /// If an object ended here: the columns that it lacked.
    pub(super) absent: Option<Box<[usize]>>,
}

/// A key of the object that is being read in full: where its prefix begins and ends, and its column.
type Noted = (usize, usize, Option<usize>);

/// All orders seen so far.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    nodes: Vec<Node>,
    noted: Vec<Noted>,
    /// The object at hand must not be learned.
    forgotten: bool,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], noted: Vec::new(), forgotten: false }
    }
}

impl Shapes {
    #[inline]
    pub(super) fn get(&self, node: usize) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// The node after `node` whose prefix `rest` begins with.
    #[inline]
    pub(super) fn next(&self, node: &Node, rest: &[u8]) -> Option<&Node> {
        for &child in &node.children {
            let child = self.nodes.get(child)?;
            if begins_with(rest, &child.prefix) {
                return Some(child);
            }
        }
        None
    }

    /// Before an object is read in full.
    pub(super) fn begin(&mut self) {
        self.noted.clear();
        self.forgotten = false;
    }
    /// A key, with the text between the value before and its own value.
    pub(super) fn note(&mut self, from: usize, to: usize, column: Option<usize>) {
        self.noted.push((from, to, column));
    }
    /// The object is not to be learned.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
    }
    /// After a valid object: keeps its shape.
    pub(super) fn learn(&mut self, text: &str, absent: impl Iterator<Item = usize>) {
        if self.forgotten || self.noted.is_empty() {
            return;
        }
        let mut node = ROOT;
        for i in 0..self.noted.len() {
            let Some(&(from, to, column)) = self.noted.get(i) else { return };
            let prefix = text.as_bytes().get(from..to).unwrap_or(&[]);
            let Some(children) = self.nodes.get(node).map(|n| &n.children) else { return };
            let known =
                children.iter().copied().find(|&c| self.nodes.get(c).is_some_and(|n| *n.prefix == *prefix));
            node = match known {
                Some(child) => child,
                None if self.nodes.len() >= MAX_NODES => {
                    // Keys have changed, or have no order: begin anew.
                    self.nodes.truncate(1);
                    self.nodes.iter_mut().for_each(|root| root.children.clear());
                    return;
                }
                None => {
                    let new = self.nodes.len();
                    self.nodes.push(Node { prefix: prefix.into(), column, ..Node::default() });
                    if let Some(parent) = self.nodes.get_mut(node) {
                        // What came early is what comes often: it keeps its place in front.
                        parent.children.truncate(MAX_CHILDREN - 1);
                        parent.children.push(new);
                    }
                    new
                }
            };
        }
        if let Some(last) = self.nodes.get_mut(node) {
            last.absent = Some(absent.collect());
        }
    }
}

/// `rest.starts_with(prefix)` by words: prefixes are short, and a call of `memcmp` for each key shows.
#[inline(always)]
fn begins_with(rest: &[u8], prefix: &[u8]) -> bool {
    let Some(head) = rest.get(..prefix.len()) else { return false };
    let (Some(tail), Some(last)) = (head.last_chunk::<8>(), prefix.last_chunk::<8>()) else {
        return head.iter().zip(prefix).all(|(a, b)| a == b);
    };
    let words = head.as_chunks::<8>().0.iter().zip(prefix.as_chunks::<8>().0);
    // The last word overlaps the one before.
    tail == last && words.fold(0, |d, (a, b)| d | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b))) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_prefix_is_a_prefix(text in "[ab]{0,40}", length in 0usize..40, flip in prop::option::of(0usize..40)) {
            let mut prefix = text.as_bytes().iter().copied().take(length).collect::<Vec<_>>();
            if let Some(b) = flip.and_then(|i| prefix.get_mut(i)) {
                *b = b'c';
            }
            prop_assert_eq!(begins_with(text.as_bytes(), &prefix), text.as_bytes().starts_with(&prefix));
            prefix.extend(b"abababababab");
            prop_assert_eq!(begins_with(text.as_bytes(), &prefix), text.as_bytes().starts_with(&prefix));
        }
    }
}
