//! BIGINT and DOUBLE arithmetic, checked as in PostgreSQL.

use super::{division_by_zero, failed, overflow};
use crate::expr::EvalResult;
use crate::record::ErrorCode;

/// An operator on BIGINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(in crate::expr) enum IntOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl IntOp {
    #[inline]
    pub(in crate::expr) fn apply(self, a: i64, b: i64) -> EvalResult<i64> {
        let result = match self {
            IntOp::Add => a.checked_add(b),
            IntOp::Subtract => a.checked_sub(b),
            IntOp::Multiply => a.checked_mul(b),
            IntOp::Divide if b == 0 => return Err(division_by_zero()),
            IntOp::Divide => a.checked_div(b),
            IntOp::Modulo if b == 0 => return Err(division_by_zero()),
            IntOp::Modulo => Some(a.wrapping_rem(b)),
            IntOp::And => Some(a & b),
            IntOp::Or => Some(a | b),
            IntOp::Xor => Some(a ^ b),
            IntOp::ShiftLeft | IntOp::ShiftRight => return shift(self, a, b),
        };
        result.ok_or_else(|| overflow("BIGINT"))
    }
}

fn shift(op: IntOp, a: i64, by: i64) -> EvalResult<i64> {
    if !(0..64).contains(&by) {
        return Err(failed(ErrorCode::InvalidArgument, format!("cannot shift by {by} bits: 0 to 63")));
    }
    Ok(if op == IntOp::ShiftLeft { a << by } else { a >> by })
}

/// An operator on DOUBLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(in crate::expr) enum FloatOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl FloatOp {
    /// Infinity out of finite operands is an overflow, zero out of others an underflow.
    #[inline]
    pub(in crate::expr) fn apply(self, a: f64, b: f64) -> EvalResult<f64> {
        let result = match self {
            FloatOp::Add => a + b,
            FloatOp::Subtract => a - b,
            FloatOp::Multiply => a * b,
            FloatOp::Divide | FloatOp::Modulo if b == 0.0 => return Err(division_by_zero()),
            FloatOp::Divide => a / b,
            FloatOp::Modulo => a % b,
        };
        if result.is_infinite() && a.is_finite() && b.is_finite() {
            return Err(overflow("DOUBLE"));
        }
        if result == 0.0 && a != 0.0 {
            let underflow = match self {
                FloatOp::Multiply => b != 0.0,
                FloatOp::Divide => b.is_finite(),
                _ => false,
            };
            if underflow {
                return Err(overflow("DOUBLE (underflow)"));
            }
        }
        Ok(result)
    }
}
