//! Frames of calls OVER: ROWS and RANGE, their bounds, what they are by default.

use sqlparser::ast::{self, WindowFrameBound as Bound, WindowFrameUnits};

use super::scope::{Names, Scope};
use super::{Bind, Session};
use crate::expr::SortKey;
use crate::plan::{Frame, FrameBound, walk};
use crate::record::text::MICROS_PER_DAY;
use crate::record::{DataType, FieldValue};
use crate::sql::Diagnostic;

/// Up to the current row and its peers: all rows where there is no order.
const DEFAULT: Frame =
    Frame { rows: false, start: FrameBound::UnboundedPreceding, end: FrameBound::CurrentRow };

impl Session<'_, '_> {
    /// The frame as written, or the default one.
    pub(super) fn frame(&mut self, frame: Option<&ast::WindowFrame>, order_by: &[SortKey]) -> Bind<Frame> {
        let Some(ast::WindowFrame { units, start_bound, end_bound }) = frame else { return Ok(DEFAULT) };
        let rows = match units {
            WindowFrameUnits::Rows => true,
            WindowFrameUnits::Range => false,
            WindowFrameUnits::Groups => {
                let error = Diagnostic::new("a frame in GROUPS is not supported yet", self.here);
                return Err(self.report(error.with_hint("write ROWS or RANGE")));
            }
        };
        let start = self.frame_bound(start_bound, rows, order_by)?;
        let end = match end_bound {
            Some(end) => self.frame_bound(end, rows, order_by)?,
            None => FrameBound::CurrentRow,
        };
        let wrong = match (start, end) {
            (FrameBound::UnboundedFollowing, _) => Some("a frame can't begin with UNBOUNDED FOLLOWING"),
            (_, FrameBound::UnboundedPreceding) => Some("a frame can't end with UNBOUNDED PRECEDING"),
            (FrameBound::CurrentRow, FrameBound::Preceding(_)) => {
                Some("a frame that begins with the current row can't end before it")
            }
            (FrameBound::Following(_), FrameBound::CurrentRow | FrameBound::Preceding(_)) => {
                Some("a frame that begins behind the current row can't end before that")
            }
            _ => None,
        };
        match wrong {
            Some(message) => self.fail(message, self.here),
            None => Ok(Frame { rows, start, end }),
        }
    }

    fn frame_bound(&mut self, bound: &Bound, rows: bool, order_by: &[SortKey]) -> Bind<FrameBound> {
        Ok(match bound {
            Bound::CurrentRow => FrameBound::CurrentRow,
            Bound::Preceding(None) => FrameBound::UnboundedPreceding,
            Bound::Following(None) => FrameBound::UnboundedFollowing,
            Bound::Preceding(Some(n)) => FrameBound::Preceding(self.distance(n, rows, order_by)?),
            Bound::Following(Some(n)) => FrameBound::Following(self.distance(n, rows, order_by)?),
        })
    }

    /// The n of `n PRECEDING`: rows, or units of the ORDER BY key, which are µs for times.
    fn distance(&mut self, ast: &ast::Expr, rows: bool, order_by: &[SortKey]) -> Bind<i64> {
        let at = self.place(ast);
        let scope = Scope::default();
        let before = self.errors.len();
        let bound = self.expr(ast, Names::of(&scope));
        // A column here is no misspelt name but a misunderstanding.
        self.errors.truncate(before);
        let Some(Ok(value)) = bound.ok().and_then(|e| walk::constant(&e)) else {
            return self.fail("a frame reaches a constant distance", at);
        };
        if rows {
            return match value {
                FieldValue::Integer(n) if n >= 0 => Ok(n),
                _ => self.fail("a frame in ROWS reaches a whole number of rows, 0 or more", at),
            };
        }
        let [key] = order_by else {
            return self.fail("a frame in RANGE with a distance takes exactly one ORDER BY item", at);
        };
        let key = key.expr.data_type();
        let hint = match (&key, &value) {
            (DataType::Timestamp | DataType::Date | DataType::Time, FieldValue::Interval(i))
                if i.months != 0 =>
            {
                let error =
                    Diagnostic::new("a frame can't be measured in months, which differ in length", at);
                return Err(self.report(error.with_hint("write days: INTERVAL '30' DAY")));
            }
            (DataType::Timestamp | DataType::Date | DataType::Time, FieldValue::Interval(i)) => {
                match i64::from(i.days).checked_mul(MICROS_PER_DAY).and_then(|d| d.checked_add(i.micros)) {
                    Some(micros) if micros >= 0 => return Ok(micros),
                    _ => return self.fail("a frame reaches a distance of 0 or more", at),
                }
            }
            (DataType::Timestamp | DataType::Date | DataType::Time, _) => "write INTERVAL '5' MINUTE",
            (t, FieldValue::Integer(n)) if t.is_numeric() => {
                return if *n >= 0 {
                    Ok(*n)
                } else {
                    self.fail("a frame reaches a distance of 0 or more", at)
                };
            }
            (t, _) if t.is_numeric() => "only whole numbers are supported yet",
            _ => "write ROWS",
        };
        let error = Diagnostic::new(format!("a frame in RANGE over {key} can't reach such a distance"), at);
        Err(self.report(error.with_hint(hint)))
    }
}
