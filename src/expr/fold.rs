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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{CastMode, typing};
    use crate::record::Field;

    fn col(t: DataType) -> Expr {
        typing::column(&Schema::new([Field::new("c", t)]), 0).unwrap()
    }
    fn int(i: i64) -> Expr {
        typing::literal(i.into())
    }
    fn bin(op: BinaryOp, a: Expr, b: Expr) -> Expr {
        typing::binary(op, a, b).unwrap()
    }
    fn folded(e: Expr) -> String {
        fold(e).to_string()
    }

    #[test]
    fn constants_are_computed_and_failures_are_left_alone() {
        use BinaryOp::*;
        let c = || col(DataType::BigInt);
        assert_eq!(folded(bin(Add, c(), bin(Multiply, int(2), int(3)))), "c + 6");
        assert_eq!(folded(bin(Divide, int(1), bin(Subtract, int(1), int(1)))), "1 / 0");
        assert_eq!(folded(bin(Add, bin(Add, c(), int(1)), int(2))), "c + 1 + 2");
        let cast =
            |s: &str| typing::cast(typing::literal(s.into()), DataType::Date, CastMode::Strict).unwrap();
        assert_eq!(folded(cast("2026-01-31")), "DATE '2026-01-31'");
        assert_eq!(folded(cast("soon")), "CAST('soon' AS DATE)");
        let array = typing::array(vec![int(1), bin(Add, int(1), int(1))]).unwrap();
        assert_eq!(folded(array.clone()), "ARRAY[1, 2]");
        assert_eq!(fold(array).data_type(), DataType::array(DataType::BigInt));
    }

    #[test]
    fn and_or_drop_only_what_is_never_evaluated() {
        use BinaryOp::*;
        let fails = || bin(Eq, bin(Divide, int(1), int(0)), int(1));
        let no = || typing::literal(false.into());
        let yes = || typing::literal(true.into());
        let safe = || bin(Greater, col(DataType::BigInt), int(1));
        let and = |items| folded(typing::and(items).unwrap());
        assert_eq!(and(vec![no(), fails()]), "FALSE");
        assert_eq!(and(vec![fails(), no(), safe()]), "1 / 0 = 1 AND FALSE");
        assert_eq!(and(vec![safe(), no()]), "FALSE");
        assert_eq!(and(vec![yes(), safe(), yes()]), "c > 1");
        assert_eq!(and(vec![yes(), yes()]), "TRUE");
        assert_eq!(folded(typing::or(vec![safe(), yes(), fails()]).unwrap()), "TRUE");
        assert_eq!(folded(typing::or(vec![fails(), yes()]).unwrap()), "1 / 0 = 1 OR TRUE");
        assert_eq!(folded(typing::or(vec![no(), no()]).unwrap()), "FALSE");
    }

    #[test]
    fn case_loses_dead_branches() {
        let c = || bin(BinaryOp::Greater, col(DataType::BigInt), int(1));
        let when = |b: bool| typing::literal(b.into());
        let fails = || bin(BinaryOp::Divide, int(1), int(0));
        let case = |branches, otherwise| folded(typing::case(None, branches, otherwise).unwrap());
        assert_eq!(case(vec![(when(false), fails()), (when(true), int(2))], Some(fails())), "2");
        assert_eq!(case(vec![(when(false), int(1))], None), "NULL");
        assert_eq!(
            case(vec![(c(), int(1)), (when(true), int(2)), (c(), fails())], None),
            "CASE WHEN c > 1 THEN 1 ELSE 2 END"
        );
        let coalesced =
            typing::coalesce(vec![typing::literal(FieldValue::Null), col(DataType::BigInt), int(0)]);
        assert_eq!(folded(coalesced.unwrap()), "coalesce(c, 0)");
    }
}
