//! Constant folding: what does not depend on the record is computed once, except where that fails.
//!
//! A constant that fails to compute (`1/0`) is left as it is, so that it fails for each record that reaches it and
//! not for those that do not. What stands after a FALSE in AND is never evaluated and so is dropped; what stands
//! before it may fail and so stays.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{BinaryOp, EvalContext, Expr, Program, UnaryOp, Volatility};
use crate::record::{DataType, FieldValue, Schema, StreamRecord};

/// The same expression with its constant parts computed.
pub fn fold(expr: Expr) -> Expr {
    expr.transform(&mut |e| match e {
        Expr::And(items) => chain(items, false),
        Expr::Or(items) => chain(items, true),
        Expr::Case { branches, otherwise, data_type } => case(branches, otherwise, data_type),
        other => constant(other),
    })
}

fn truth(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Literal { value: FieldValue::Boolean(b), .. } => Some(*b),
        _ => None,
    }
}

fn boolean(b: bool) -> Expr {
    Expr::Literal { value: b.into(), data_type: DataType::Boolean }
}

/// AND (`decisive` = FALSE) or OR (`decisive` = TRUE).
fn chain(items: Vec<Expr>, decisive: bool) -> Expr {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        match truth(&item) {
            Some(b) if b == decisive => {
                if kept.iter().all(never_fails) {
                    return boolean(decisive);
                }
                kept.push(item);
                break;
            }
            Some(_) => {}
            None => kept.push(item),
        }
    }
    match kept.len() {
        0 => boolean(!decisive),
        1 => kept.swap_remove(0),
        _ if decisive => Expr::Or(kept),
        _ => Expr::And(kept),
    }
}

fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Box<Expr>>, data_type: DataType) -> Expr {
    let mut kept = Vec::with_capacity(branches.len());
    let mut otherwise = otherwise;
    for (condition, result) in branches {
        match &condition {
            Expr::Literal { value: FieldValue::Boolean(true), .. } => {
                otherwise = Some(Box::new(result));
                break;
            }
            Expr::Literal { .. } => {}
            _ => kept.push((condition, result)),
        }
    }
    if kept.is_empty() {
        return match otherwise {
            Some(e) => *e,
            None => Expr::Literal { value: FieldValue::Null, data_type },
        };
    }
    Expr::Case { branches: kept, otherwise, data_type }
}

/// Computes an operator, cast, constructor or call all of whose operands are constants.
fn constant(expr: Expr) -> Expr {
    let foldable = match &expr {
        Expr::Literal { .. } | Expr::Column { .. } | Expr::System(_) => false,
        Expr::Call { function, .. } => function.volatility == Volatility::Immutable,
        _ => true,
    };
    if !foldable || !expr.children().iter().all(|c| matches!(c, Expr::Literal { .. })) {
        return expr;
    }
    let record = StreamRecord::new(Schema::new([]));
    let program = Program::compile_as_is(&expr);
    let ctx = EvalContext { record: &record, now: 0 };
    // A function that panics does so for each record, where the error policy sees it.
    let value = catch_unwind(AssertUnwindSafe(|| program.eval(&ctx).map(|v| v.into_owned())));
    match value {
        Ok(Ok(value)) => Expr::Literal { value, data_type: expr.data_type() },
        _ => expr,
    }
}

/// Whether evaluating this cannot be a record error: columns, constants, and tests of these.
fn never_fails(expr: &Expr) -> bool {
    let safe = match expr {
        Expr::Column { .. } | Expr::Literal { .. } | Expr::And(_) | Expr::Or(_) | Expr::InList { .. } => true,
        Expr::Unary { op, .. } => !matches!(op, UnaryOp::Negate),
        Expr::Binary { op, .. } => matches!(
            op,
            BinaryOp::Eq
                | BinaryOp::NotEq
                | BinaryOp::Less
                | BinaryOp::LessEq
                | BinaryOp::Greater
                | BinaryOp::GreaterEq
                | BinaryOp::IsDistinctFrom
                | BinaryOp::IsNotDistinctFrom
        ),
        _ => false,
    };
    safe && expr.children().into_iter().all(never_fails)
}
