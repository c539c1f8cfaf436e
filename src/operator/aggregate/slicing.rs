//! Slices: time cut so that no edge of a window lies within a part. Arithmetic only.

use super::windows::{Span, Windows, floor};
use crate::plan::WindowKind;

/// How overlapping windows cut time. Slices are numbered in the order of time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slicing {
    /// Edges lie at multiples of `slide` and, where it does not divide the size, `rest` behind them.
    Hop { slide: i64, rest: i64 },
    /// Edges lie at multiples of `size` and after each `step` from there: `steps` slices a size.
    Cumulate { step: i64, size: i64, steps: i64 },
}

impl Slicing {
    /// `None` for windows that don't overlap.
    pub(super) fn new(kind: WindowKind) -> Option<Self> {
        match kind {
            WindowKind::Hop { slide, size } if slide < size => {
                Some(Self::Hop { slide, rest: size.rem_euclid(slide) })
            }
            WindowKind::Cumulate { step, size } if step < size => {
                Some(Self::Cumulate { step, size, steps: (size - 1) / step + 1 })
            }
            _ => None,
        }
    }

    /// Whether a window begins where the one before it began, for most of them.
    pub(super) fn grows(self) -> bool {
        matches!(self, Self::Cumulate { .. })
    }

    /// The slice of a time.
    pub(super) fn number(self, t: i64) -> i64 {
        match self {
            Self::Hop { slide, rest: 0 } => t.div_euclid(slide),
            Self::Hop { slide, rest } => {
                let whole = t.div_euclid(slide);
                whole.saturating_mul(2).saturating_add(i64::from(t.rem_euclid(slide) >= rest))
            }
            Self::Cumulate { step, size, steps } => {
                t.div_euclid(size).saturating_mul(steps).saturating_add(t.rem_euclid(size) / step)
            }
        }
    }

    /// The first time of a slice.
    pub(super) fn start(self, number: i64) -> i64 {
        match self {
            Self::Hop { slide, rest: 0 } => number.saturating_mul(slide),
            Self::Hop { slide, rest } => {
                let whole = number.div_euclid(2).saturating_mul(slide);
                if number.rem_euclid(2) == 0 { whole } else { whole.saturating_add(rest) }
            }
            Self::Cumulate { step, size, steps } => {
                let whole = number.div_euclid(steps).saturating_mul(size);
                whole.saturating_add(number.rem_euclid(steps) * step)
            }
        }
    }

    /// The slices of a window: from the first to the one behind the last.
    pub(super) fn of(self, span: Span) -> (i64, i64) {
        (self.number(span.start), self.number(span.end))
    }
}

impl Windows {
    /// The next window that ends after `after` and may share rows with this one, which has fired.
    pub(super) fn next_after(&self, span: Span, after: i64) -> Option<Span> {
        match self.kind() {
            WindowKind::Hop { slide, size } => {
                let start = floor(after.saturating_sub(size), slide).saturating_add(slide);
                Some(Span { start, end: start.saturating_add(size) })
            }
            WindowKind::Cumulate { .. } => self.first_after(span.start, after),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows::tests::windows;
    use super::*;

    fn check(kind: WindowKind) {
        let (w, slicing) = (windows(kind), Slicing::new(kind).unwrap());
        for t in -60..60 {
            let n = slicing.number(t);
            assert!(slicing.start(n) <= t && t < slicing.start(n + 1), "{kind:?} t {t}");
            for span in w.all_after(t, i64::MIN) {
                let (from, to) = slicing.of(span);
                assert_eq!((slicing.start(from), slicing.start(to)), (span.start, span.end), "{kind:?} {t}");
                assert!(from <= n && n < to);
                // What follows is the next by end that holds any time of this one.
                let later = (span.start..span.end).filter_map(|t| w.first_after(t, span.end)).min();
                let next = w.next_after(span, span.end);
                assert_eq!(next.filter(|n| n.start < span.end), later, "{kind:?} {span:?}");
            }
        }
    }

    #[test]
    fn no_edge_of_a_window_lies_within_a_slice() {
        for size in 2..14 {
            for slide in 1..size {
                check(WindowKind::Hop { slide, size });
                check(WindowKind::Cumulate { step: slide, size });
            }
        }
    }
}
