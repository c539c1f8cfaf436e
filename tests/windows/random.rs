//! Random numbers that a seed repeats.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: i64) -> i64 {
        (self.next() % n.max(1) as u64) as i64
    }
    /// Both ends included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }
    pub fn percent(&mut self, p: i64) -> bool {
        self.below(100) < p
    }
    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as i64) as usize].clone()
    }
    /// `n` different ones, in their order.
    pub fn some<'a, T>(&mut self, list: &'a [T], n: usize) -> Vec<&'a T> {
        let mut left = n.min(list.len());
        let mut picked = Vec::new();
        for (i, item) in list.iter().enumerate() {
            if self.below((list.len() - i) as i64) < left as i64 {
                picked.push(item);
                left -= 1;
            }
        }
        picked
    }
}
