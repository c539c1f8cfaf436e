//! Message headers: an ordered list of names and byte values whose buffers survive recycling.

use compact_str::CompactString;

/// Headers of one record. Names may repeat, as in Kafka; [`get`](Headers::get) finds the last.
#[derive(Default)]
pub struct Headers {
    /// Entries beyond `live` are kept for their buffers.
    entries: Vec<(CompactString, Vec<u8>)>,
    live: usize,
}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), live: 0 }
    }
    /// Number of headers.
    pub fn len(&self) -> usize {
        self.live
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
    /// The last value under `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.live_entries().iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }
    /// Adds a header, whether or not the name is there already.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        match self.entries.get_mut(self.live) {
            Some((n, v)) => {
                if n != name {
                    *n = CompactString::new(name);
                }
                v.clear();
                v.extend_from_slice(value);
            }
            None => {
                if self.entries.is_empty() {
                    // Most records have one or none, and a vector would begin with room for four.
                    self.entries.reserve_exact(1);
                }
                self.entries.push((CompactString::new(name), value.to_vec()));
            }
        }
        self.live += 1;
    }
    /// Replaces the first header of that name and removes further ones, or adds one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        match self.live_entries().iter().position(|(n, _)| n == name) {
            None => self.push(name, value),
            Some(first) => {
                if let Some((_, v)) = self.entries.get_mut(first) {
                    v.clear();
                    v.extend_from_slice(value);
                }
                self.retain_from(first + 1, |n| n != name);
            }
        }
    }
    /// Removes all headers of that name.
    pub fn remove(&mut self, name: &str) {
        self.retain_from(0, |n| n != name);
    }
    /// Removes all headers; their buffers stay.
    pub fn clear(&mut self) {
        self.live = 0;
    }
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.live_entries().iter().map(|(n, v)| (n.as_str(), v.as_slice()))
    }

    fn live_entries(&self) -> &[(CompactString, Vec<u8>)] {
        self.entries.get(..self.live).unwrap_or(&[])
    }
    fn retain_from(&mut self, from: usize, keep: impl Fn(&str) -> bool) {
        let mut to = from;
        for i in from..self.live {
            if self.entries.get(i).is_some_and(|(n, _)| keep(n)) {
                self.entries.swap(i, to);
                to += 1;
            }
        }
        self.live = to.min(self.live);
    }
    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.iter().map(|(_, v)| 48 + v.capacity()).sum()
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        Self { entries: self.live_entries().to_vec(), live: self.live }
    }
}
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.live_entries() == other.live_entries()
    }
}
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(n, v)| (n, String::from_utf8_lossy(v)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_push_repeats_remove_takes_all() {
        let mut h = Headers::new();
        h.push("a", b"1");
        h.push("b", b"2");
        h.push("a", b"3");
        assert_eq!(h.get("a"), Some(&b"3"[..]));
        h.set("a", b"4");
        assert_eq!(h.iter().collect::<Vec<_>>(), [("a", &b"4"[..]), ("b", &b"2"[..])]);
        h.remove("a");
        assert_eq!(h.iter().collect::<Vec<_>>(), [("b", &b"2"[..])]);
        h.clear();
        assert!(h.is_empty() && h.get("b").is_none());
    }
}
