//! An array of rows in segments: growing moves nothing but the first segment, so no row is copied twice, no memory stands empty beyond
//! one segment, and the system hands out each page once.

use super::prefetch;

/// Rows of a segment, as a power of two.
const SHIFT: u32 = 12;
const ROWS: usize = 1 << SHIFT;
/// Rows that the first segment begins with.
const LEAST: usize = 4;

/// Rows of so many values each.
#[derive(Debug)]
pub(super) struct Segments<T> {
    width: usize,
    /// All but the last are full.
    segments: Vec<Vec<T>>,
}

impl<T> Segments<T> {
    pub(super) fn new(width: usize) -> Self {
        Self { width, segments: Vec::new() }
    }

    /// Appends row number `at`, which must be the next one; takes as many values as a row has.
    #[inline]
    pub(super) fn push(&mut self, at: usize, values: impl IntoIterator<Item = T>) {
        if self.width == 0 {
            return;
        }
        let (segment, full) = (at >> SHIFT, ROWS * self.width);
        if self.segments.len() <= segment {
            self.segments.push(Vec::with_capacity(if segment == 0 { LEAST * self.width } else { full }));
        }
        if let Some(segment) = self.segments.get_mut(segment) {
            if segment.len() + self.width > segment.capacity() {
                segment.reserve_exact(segment.len().min(full - segment.len()));
            }
            segment.extend(values.into_iter().take(self.width));
        }
    }

    /// A row's values; none where there is no such row.
    #[inline]
    pub(super) fn row(&self, at: usize) -> &[T] {
        let from = (at & (ROWS - 1)) * self.width;
        self.segments.get(at >> SHIFT).and_then(|s| s.get(from..from + self.width)).unwrap_or_default()
    }

    /// A row's values, to be changed.
    #[inline]
    pub(super) fn row_mut(&mut self, at: usize) -> &mut [T] {
        let from = (at & (ROWS - 1)) * self.width;
        self.segments
            .get_mut(at >> SHIFT)
            .and_then(|s| s.get_mut(from..from + self.width))
            .unwrap_or_default()
    }

    /// The first value of a row.
    #[inline]
    pub(super) fn first(&self, at: usize) -> Option<&T> {
        self.segments.get(at >> SHIFT)?.get((at & (ROWS - 1)) * self.width)
    }

    /// The first value of a row, to be changed.
    #[inline]
    pub(super) fn first_mut(&mut self, at: usize) -> Option<&mut T> {
        self.segments.get_mut(at >> SHIFT)?.get_mut((at & (ROWS - 1)) * self.width)
    }

    /// Fetches a row that is as long as a cache line at most: where it begins, and what follows it.
    #[inline]
    pub(super) fn prefetch(&self, at: usize) {
        let Some(segment) = self.segments.get(at >> SHIFT) else { return };
        let from = (at & (ROWS - 1)) * self.width;
        segment.get(from).into_iter().for_each(prefetch);
        segment.get(from + self.width).into_iter().for_each(prefetch);
    }

    /// All values of all rows, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + '_ {
        self.segments.iter().flatten()
    }

    /// Forgets all rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.segments.iter_mut().for_each(Vec::clear);
    }

    /// Bytes that it takes more with so many rows.
    pub(super) fn growth(&self, rows: usize) -> usize {
        let rows = if rows > ROWS { rows.next_multiple_of(ROWS) } else { rows.next_power_of_two() };
        (rows * self.width * size_of::<T>()).saturating_sub(self.bytes())
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let values: usize = self.segments.iter().map(Vec::capacity).sum();
        values * size_of::<T>() + self.segments.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_where_they_were_put_and_memory_is_what_they_need() {
        for width in [1, 3, 5] {
            let mut rows = Segments::new(width);
            for turn in 0..2 {
                let count = 3 * ROWS + 17;
                for at in 0..count {
                    rows.push(at, (0..).map(|n| at * 10 + n));
                }
                for at in [0, 1, ROWS - 1, ROWS, 3 * ROWS, count - 1] {
                    let expected: Vec<usize> = (0..width).map(|n| at * 10 + n).collect();
                    assert_eq!(rows.row(at), expected, "width {width}, turn {turn}");
                    assert_eq!(rows.first(at), Some(&(at * 10)));
                }
                assert!(rows.row(count).is_empty() && rows.row_mut(9 * ROWS).is_empty());
                assert_eq!(rows.iter().count(), count * width);
                let (more, segment) = (rows.growth(5 * ROWS), ROWS * width * size_of::<usize>());
                assert!(rows.growth(count) == 0 && (segment - 1000..=segment).contains(&more), "{more}");
                let values = 4 * ROWS * width * size_of::<usize>();
                assert!((values..values + 1000).contains(&rows.bytes()), "{} bytes", rows.bytes());
                rows.clear();
                assert!(rows.row(0).is_empty() && rows.first(0).is_none());
            }
        }
        let mut none = Segments::<u8>::new(0);
        none.push(0, [1]);
        assert!(none.row(0).is_empty() && none.bytes() == 0);
    }

    #[test]
    fn a_few_rows_take_little() {
        let mut rows = Segments::new(2);
        (0..5).for_each(|at| rows.push(at, [0u64; 2]));
        assert!(rows.bytes() <= 8 * 16 + 200, "{}", rows.bytes());
    }
}
