//! Frames of calls OVER: ROWS and RANGE, their bounds, what they are by default.

use sqlparser::ast::{self, WindowFrameBound as Bound, WindowFrameUnits};

use super::scope::{Names, Scope};
use super::{Bind, Session};
use crate::expr::SortKey;
use crate::plan::{Frame, FrameBound, walk};
use crate::record::text::MICROS_PER_DAY;
use crate::record::{DataType, Decimal, FieldValue};
use crate::sql::Diagnostic;

/// Up to the current row and its peers: all rows where there is no order.
const DEFAULT: Frame =
    Frame { rows: false, start: FrameBound::UnboundedPreceding, end: FrameBound::CurrentRow, scale: 0 };

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
            None => (FrameBound::CurrentRow, 0),
        };
        // Both ends are measured in the finer unit.
        let scale = start.1.max(end.1);
        let (Some(start), Some(end)) = (in_units(start, scale), in_units(end, scale)) else {
            return self.fail("the distances of the frame have too many digits", self.here);
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
            None => Ok(Frame { rows, start, end, scale }),
        }
    }

    /// One end of a frame, and the digits behind the point of its distance.
    fn frame_bound(&mut self, bound: &Bound, rows: bool, order_by: &[SortKey]) -> Bind<(FrameBound, u8)> {
        let (n, make): (_, fn(i64) -> FrameBound) = match bound {
            Bound::CurrentRow => return Ok((FrameBound::CurrentRow, 0)),
            Bound::Preceding(None) => return Ok((FrameBound::UnboundedPreceding, 0)),
            Bound::Following(None) => return Ok((FrameBound::UnboundedFollowing, 0)),
            Bound::Preceding(Some(n)) => (n, FrameBound::Preceding),
            Bound::Following(Some(n)) => (n, FrameBound::Following),
        };
        let (n, scale) = self.distance(n, rows, order_by)?;
        Ok((make(n), scale))
    }

    /// The n of `n PRECEDING`: rows, or units of the ORDER BY key, which are µs for times; and how many of its digits stand behind
    /// the point.
    fn distance(&mut self, ast: &ast::Expr, rows: bool, order_by: &[SortKey]) -> Bind<(i64, u8)> {
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
                FieldValue::Integer(n) if n >= 0 => Ok((n, 0)),
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
                    Some(micros) if micros >= 0 => return Ok((micros, 0)),
                    _ => return self.fail("a frame reaches a distance of 0 or more", at),
                }
            }
            (DataType::Timestamp | DataType::Date | DataType::Time, _) => "write INTERVAL '5' MINUTE",
            (DataType::Decimal { .. } | DataType::Real | DataType::Double, _)
            | (DataType::SmallInt | DataType::Integer | DataType::BigInt, FieldValue::Integer(_)) => {
                match digits(&value) {
                    Some((n, _)) if n < 0 => {
                        return self.fail("a frame reaches a distance of 0 or more", at);
                    }
                    Some(found) => return Ok(found),
                    None => "a distance is a number of at most 18 digits, 18 of them behind the point",
                }
            }
            (t, _) if t.is_numeric() => "write a whole number, or cast the key to DECIMAL or DOUBLE",
            _ => "write ROWS",
        };
        let error = Diagnostic::new(format!("a frame in RANGE over {key} can't reach such a distance"), at);
        Err(self.report(error.with_hint(hint)))
    }
}

/// A number as its digits, and how many of them stand behind the point; `None`: it is no number, or has too many.
fn digits(value: &FieldValue) -> Option<(i64, u8)> {
    let number = match value {
        FieldValue::Integer(n) => return Some((*n, 0)),
        FieldValue::Decimal(d) => d.normalize(),
        // As it is written: 0.1 is a tenth.
        FieldValue::Float(x) => x.to_string().parse::<Decimal>().ok()?.normalize(),
        _ => return None,
    };
    let scale = u8::try_from(number.scale()).ok().filter(|s| *s <= 18)?;
    Some((i64::try_from(number.mantissa()).ok()?, scale))
}

/// The same end of a frame in units of 10^-`to`.
fn in_units((bound, scale): (FrameBound, u8), to: u8) -> Option<FrameBound> {
    let scaled = |n: i64| n.checked_mul(10i64.checked_pow(u32::from(to.checked_sub(scale)?))?);
    Some(match bound {
        FrameBound::Preceding(n) => FrameBound::Preceding(scaled(n)?),
        FrameBound::Following(n) => FrameBound::Following(scaled(n)?),
        other => other,
    })
}
