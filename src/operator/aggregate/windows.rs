//! Which windows a time belongs to, and when they are due: arithmetic only.

use crate::plan::{LatePolicy, WindowKind, WindowSpec};

/// A window `[start, end)`. Ordered as windows are emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) end: i64,
    pub(super) start: i64,
}

/// The assignment of a [`WindowSpec`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    kind: WindowKind,
    pub(super) lateness: i64,
    pub(super) late: LatePolicy,
    has_watermark: bool,
}

/// The greatest multiple of `unit` that is not above `t`.
#[inline]
pub(super) fn floor(t: i64, unit: i64) -> i64 {
    t.saturating_sub(t.rem_euclid(unit.max(1)))
}

impl Windows {
    pub(super) fn new(spec: &WindowSpec) -> Self {
        let at_least_one = |n: i64| n.max(1);
        let kind = match spec.kind {
            WindowKind::Tumble { size } => WindowKind::Tumble { size: at_least_one(size) },
            WindowKind::Hop { slide, size } => {
                WindowKind::Hop { slide: at_least_one(slide), size: at_least_one(size) }
            }
            WindowKind::Cumulate { step, size } => {
                WindowKind::Cumulate { step: at_least_one(step), size: at_least_one(size) }
            }
            WindowKind::Session { gap } => WindowKind::Session { gap: at_least_one(gap) },
            WindowKind::Given => WindowKind::Given,
        };
        let lateness = spec.lateness.max(0);
        Self { kind, lateness, late: spec.late, has_watermark: spec.has_watermark }
    }

    /// How many windows hold a record, at most.
    pub(super) fn at_once(&self) -> usize {
        let (unit, size) = match self.kind {
            WindowKind::Hop { slide, size } => (slide, size),
            WindowKind::Cumulate { step, size } => (step, size),
            _ => return 1,
        };
        usize::try_from(size / unit.max(1)).unwrap_or(usize::MAX).saturating_add(1)
    }

    pub(super) fn kind(&self) -> WindowKind {
        self.kind
    }

    /// The watermark that counts: none where the input declares none.
    #[inline]
    pub(super) fn effective(&self, watermark: i64) -> i64 {
        if self.has_watermark || watermark == i64::MAX { watermark } else { i64::MIN }
    }

    /// Whether fired windows are corrected.
    pub(super) fn corrects(&self) -> bool {
        self.late == LatePolicy::Update
    }

    /// When a window that ends there is forgotten: records for it are late from then on.
    #[inline]
    pub(super) fn expiry(&self, end: i64) -> i64 {
        end.saturating_add(self.lateness)
    }

    /// When a window that ends there fires first.
    #[inline]
    pub(super) fn due(&self, end: i64) -> i64 {
        if self.corrects() { end } else { self.expiry(end) }
    }

    /// The end of the last window that holds `t`; `None` if there is none (a hop with gaps).
    #[inline]
    pub(super) fn last_end(&self, t: i64) -> Option<i64> {
        match self.kind {
            WindowKind::Tumble { size } => Some(floor(t, size).saturating_add(size)),
            WindowKind::Hop { slide, size } => {
                let end = floor(t, slide).saturating_add(size);
                (t < end).then_some(end)
            }
            WindowKind::Cumulate { size, .. } => Some(floor(t, size).saturating_add(size)),
            WindowKind::Session { gap } => Some(t.saturating_add(gap)),
            WindowKind::Given => Some(t),
        }
    }

    /// The first window that holds `t` and ends after `after`.
    pub(super) fn first_after(&self, t: i64, after: i64) -> Option<Span> {
        match self.kind {
            WindowKind::Tumble { size } => {
                let start = floor(t, size);
                Some(Span { start, end: start.saturating_add(size) }).filter(|s| s.end > after)
            }
            WindowKind::Hop { slide, size } => {
                let least = t.saturating_sub(size).max(after.saturating_sub(size));
                let start = floor(least, slide).saturating_add(slide);
                (start <= t).then(|| Span { start, end: start.saturating_add(size) })
            }
            WindowKind::Cumulate { step, size } => {
                let start = floor(t, size);
                let from = t.max(after).max(start).saturating_sub(start);
                if from >= size {
                    return None;
                }
                // The last one is shorter where the step does not divide the size.
                let length = (from / step + 1).saturating_mul(step).min(size);
                Some(Span { start, end: start.saturating_add(length) })
            }
            WindowKind::Session { .. } | WindowKind::Given => None,
        }
    }

    /// All windows that hold `t` and end after `after`, by end and start.
    pub(super) fn all_after(&self, t: i64, after: i64) -> impl Iterator<Item = Span> + use<> {
        let windows = *self;
        let mut next = windows.first_after(t, after);
        std::iter::from_fn(move || {
            let span = next?;
            next = windows.first_after(t, span.end);
            Some(span)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::FieldValue;

    pub(in super::super) fn windows(kind: WindowKind) -> Windows {
        let time = crate::expr::typing::literal(FieldValue::Timestamp(0));
        Windows::new(&WindowSpec {
            kind,
            time,
            start: None,
            lateness: 0,
            late: LatePolicy::Drop,
            has_watermark: true,
        })
    }

    #[test]
    fn every_window_that_holds_a_time_is_found_once_in_order() {
        for slide in 1..12 {
            for size in 1..12 {
                let w = windows(WindowKind::Hop { slide, size });
                for t in -30..30 {
                    let found: Vec<i64> = w.all_after(t, i64::MIN).map(|s| s.start).collect();
                    let expected: Vec<i64> =
                        (-60..60).filter(|s| s % slide == 0 && *s <= t && t < s + size).collect();
                    assert_eq!(found, expected, "slide {slide} size {size} t {t}");
                    assert_eq!(w.last_end(t), expected.last().map(|s| s + size));
                    let later: Vec<i64> = w.all_after(t, t + 2).map(|s| s.start).collect();
                    let expected: Vec<i64> = expected.into_iter().filter(|s| s + size > t + 2).collect();
                    assert_eq!(later, expected, "slide {slide} size {size} t {t}");
                }
            }
        }
        let w = windows(WindowKind::Cumulate { step: 3, size: 9 });
        for t in -20..20 {
            let start = floor(t, 9);
            let found: Vec<(i64, i64)> = w.all_after(t, i64::MIN).map(|s| (s.start, s.end)).collect();
            let expected: Vec<(i64, i64)> =
                [3, 6, 9].map(|n| (start, start + n)).into_iter().filter(|s| t < s.1).collect();
            assert_eq!(found, expected, "t {t}");
        }
    }
}
