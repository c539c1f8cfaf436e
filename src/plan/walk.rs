//! What the rules must know of an expression before they move it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::expr::{CastMode, EvalContext, Expr, Program, SystemColumn, Volatility, fold, typing};
use crate::record::{FieldValue, RecordError, Schema, StreamRecord};

/// Whether another evaluation for the same record may give another result.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    expr.volatility() == Volatility::Volatile
}

/// Whether the expression only names a value that is there: evaluating it twice costs nothing.
pub(crate) fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Column { .. } | Expr::System(_) | Expr::Literal { .. })
}

/// The columns that an expression uses, in the order of their first use.
pub(crate) fn columns_in_order(expr: &Expr) -> Vec<usize> {
    let mut used = Vec::new();
    expr.walk(&mut |e| match e {
        Expr::Column { index, .. } if !used.contains(index) => used.push(*index),
        _ => {}
    });
    used
}

/// The system columns that an expression looks at, by name or through a function such as `header('x')`.
pub(crate) fn system_columns(expr: &Expr) -> Vec<SystemColumn> {
    let mut used = expr.system_columns_used();
    expr.walk(&mut |e| {
        if let Expr::Call { function, .. } = e
            && function.family == "header"
            && !used.contains(&SystemColumn::Headers)
        {
            used.push(SystemColumn::Headers);
        }
    });
    used
}

/// The value of an expression that is the same for every record, or the error that it always gives; `None` if
/// it depends on the record.
pub(crate) fn constant(expr: &Expr) -> Option<Result<FieldValue, Box<RecordError>>> {
    let folded = fold(expr.clone());
    if let Expr::Literal { value, .. } = folded {
        return Some(Ok(value));
    }
    if !folded.is_constant() {
        return None;
    }
    let record = StreamRecord::new(Schema::new([]));
    let program = Program::compile(&folded);
    let ctx = EvalContext { record: &record, now: 0 };
    // What panics here does so for each record, where the error policy sees it.
    catch_unwind(AssertUnwindSafe(|| program.eval(&ctx).map(|value| value.into_owned()))).ok()
}

/// Whether the expression is sure to give a value for every record. Says `false` when in doubt.
pub(crate) fn cannot_fail(expr: &Expr) -> bool {
    let itself = match expr {
        Expr::Column { .. }
        | Expr::System(_)
        | Expr::Literal { .. }
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::Case { .. }
        | Expr::InList { .. }
        | Expr::Field { .. } => true,
        Expr::Unary { op, .. } => {
            use crate::expr::UnaryOp as U;
            match op {
                U::Negate | U::BitNot => false,
                U::Not
                | U::IsNull
                | U::IsNotNull
                | U::IsTrue
                | U::IsNotTrue
                | U::IsFalse
                | U::IsNotFalse
                | U::IsUnknown
                | U::IsNotUnknown => true,
            }
        }
        Expr::Binary { op, .. } => {
            use crate::expr::BinaryOp as B;
            matches!(
                op,
                B::Eq
                    | B::NotEq
                    | B::Less
                    | B::LessEq
                    | B::Greater
                    | B::GreaterEq
                    | B::IsDistinctFrom
                    | B::IsNotDistinctFrom
            )
        }
        Expr::Cast { expr, to, mode } => *mode == CastMode::Try || typing::widens(&expr.data_type(), to),
        // A constant pattern was checked when the expression was built.
        Expr::Like { pattern, .. } => matches!(**pattern, Expr::Literal { .. }),
        Expr::Call { .. }
        | Expr::Index { .. }
        | Expr::Array { .. }
        | Expr::Map { .. }
        | Expr::Struct { .. } => false,
    };
    itself && expr.children().into_iter().all(cannot_fail)
}
