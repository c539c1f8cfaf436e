//! Result types and implicit casts, row by row of the reference's table.

use super::*;
use crate::expr::{BinaryOp, CastMode, FunctionRegistry, UnaryOp};
use crate::record::{Decimal, text};

fn col(t: DataType) -> Expr {
    Expr::Column { index: 0, name: "c".into(), data_type: t }
}
fn decimal(precision: u8, scale: u8) -> DataType {
    DataType::Decimal { precision, scale }
}
fn dec(s: &str) -> Expr {
    literal(text::parse_decimal(s).unwrap().into())
}
fn string(s: &str) -> Expr {
    literal(s.into())
}
fn result(op: BinaryOp, a: Expr, b: Expr) -> Result<DataType, String> {
    binary(op, a, b).map(|e| e.data_type()).map_err(|e| e.to_string())
}

#[test]
fn literals_have_their_own_precision() {
    assert_eq!(dec("1.50").data_type(), decimal(3, 2));
    assert_eq!(dec("0.001").data_type(), decimal(3, 3));
    assert_eq!(literal(Decimal::ZERO.into()).data_type(), decimal(1, 0));
    assert_eq!(literal(7i64.into()).data_type(), DataType::BigInt);
}

#[test]
fn arithmetic_result_types() {
    use BinaryOp::*;
    use DataType as T;
    let int = || col(T::Integer);
    for op in [Add, Subtract, Multiply, Divide, Modulo] {
        assert_eq!(result(op, int(), col(T::SmallInt)), Ok(T::BigInt));
        assert_eq!(result(op, col(T::Double), dec("1.5")), Ok(T::Double));
        assert_eq!(result(op, int(), col(T::Real)), Ok(T::Double));
    }
    let price = || col(decimal(10, 2));
    assert_eq!(result(Add, price(), col(decimal(8, 4))), Ok(decimal(13, 4)));
    assert_eq!(result(Multiply, price(), col(decimal(8, 4))), Ok(decimal(18, 6)));
    assert_eq!(result(Divide, price(), col(decimal(8, 4))), Ok(decimal(22, 10)));
    assert_eq!(result(Multiply, price(), literal(2i64.into())), Ok(decimal(11, 2)));
    assert_eq!(result(Add, price(), int()), Ok(decimal(13, 2)));
    assert_eq!(result(Add, col(decimal(28, 2)), int()), Ok(decimal(28, 2)));
    let error = result(Multiply, col(decimal(28, 20)), col(decimal(28, 20))).unwrap_err();
    assert!(error.contains("40 digits") && error.contains("CAST"), "{error}");
}

#[test]
fn date_and_time_result_types() {
    use BinaryOp::*;
    use DataType as T;
    let cases = [
        (T::Date, Subtract, T::Date, T::BigInt),
        (T::Date, Add, T::BigInt, T::Date),
        (T::Integer, Add, T::Date, T::Date),
        (T::Date, Subtract, T::SmallInt, T::Date),
        (T::Date, Add, T::Interval, T::Timestamp),
        (T::Date, Add, T::Time, T::Timestamp),
        (T::Timestamp, Subtract, T::Interval, T::Timestamp),
        (T::Interval, Add, T::Timestamp, T::Timestamp),
        (T::Timestamp, Subtract, T::Timestamp, T::Interval),
        (T::Timestamp, Subtract, T::Date, T::Interval),
        (T::Time, Add, T::Interval, T::Time),
        (T::Time, Subtract, T::Time, T::Interval),
        (T::Interval, Multiply, decimal(3, 1), T::Interval),
        (T::BigInt, Multiply, T::Interval, T::Interval),
        (T::Interval, Divide, T::Double, T::Interval),
        (T::Interval, Subtract, T::Interval, T::Interval),
    ];
    for (a, op, b, wanted) in cases {
        assert_eq!(result(op, col(a.clone()), col(b.clone())), Ok(wanted), "{a} {op} {b}");
    }
    for (a, op, b) in [
        (T::Timestamp, Add, T::BigInt),
        (T::Timestamp, Add, T::Timestamp),
        (T::Time, Add, T::Time),
        (T::Interval, Subtract, T::Timestamp),
        (T::Boolean, Add, T::Boolean),
        (T::Varchar, Add, T::BigInt),
    ] {
        assert!(result(op, col(a.clone()), col(b.clone())).is_err(), "{a} {op} {b}");
    }
}

#[test]
fn string_constants_take_the_type_of_their_partner() {
    use BinaryOp::*;
    use DataType as T;
    let right = |e: Result<Expr, TypeError>| match e.unwrap() {
        Expr::Binary { right, .. } => right.data_type(),
        other => panic!("{other}"),
    };
    assert_eq!(right(binary(Less, col(T::Timestamp), string("2026-01-01"))), T::Timestamp);
    assert_eq!(right(binary(Subtract, col(T::Timestamp), string("5 minutes"))), T::Interval);
    assert_eq!(right(binary(Subtract, col(T::Date), string("2026-01-01"))), T::Date);
    assert_eq!(right(binary(Eq, col(decimal(10, 2)), string("100.505"))), decimal(6, 3));
    assert_eq!(right(binary(Multiply, col(T::Interval), string("2"))), T::Double);
    let bad = binary(Less, col(T::Date), string("soon")).unwrap_err();
    assert_eq!(bad.message, "'soon' is not a valid DATE");
    let bad = binary(Eq, col(T::Varchar), literal(1i64.into())).unwrap_err();
    assert_eq!(bad.to_string(), "VARCHAR and BIGINT are not comparable (write CAST(… AS BIGINT))");
}

#[test]
fn constants_without_a_type_beside_each_other_end() {
    use BinaryOp::*;
    use DataType as T;
    let null = || literal(FieldValue::Null);
    for op in [Add, Subtract, Multiply, Divide, Modulo] {
        assert_eq!(result(op, null(), null()), Ok(T::BigInt));
        assert_eq!(result(op, null(), string("5")), Ok(T::BigInt));
        assert_eq!(result(op, string("5"), null()), Ok(T::BigInt));
        for bad in [binary(op, null(), string("x")), binary(op, string("x"), null())] {
            assert_eq!(bad.unwrap_err().message, "'x' is not a valid BIGINT");
        }
    }
    // Whatever meets, there is an answer.
    let types = [
        T::Boolean,
        T::BigInt,
        T::Double,
        decimal(5, 2),
        T::Varchar,
        T::Bytes,
        T::Date,
        T::Time,
        T::Timestamp,
        T::Interval,
    ];
    let operands = || types.iter().cloned().map(col).chain([null(), string("x"), string("5"), string("")]);
    for op in
        [Add, Subtract, Multiply, Divide, Modulo, Eq, NotEq, Less, IsDistinctFrom, Concat, BitAnd, ShiftLeft]
    {
        for left in operands() {
            for right in operands() {
                let _ = binary(op, left.clone(), right);
            }
        }
    }
}

#[test]
fn coerce_widens_and_refuses_to_lose() {
    use DataType as T;
    for (from, to) in [
        (T::SmallInt, T::BigInt),
        (T::BigInt, T::Double),
        (T::BigInt, T::Varchar),
        (T::Date, T::Timestamp),
        (decimal(5, 2), decimal(8, 4)),
        (T::Integer, decimal(12, 2)),
        (T::array(T::Integer), T::array(T::BigInt)),
        (T::Struct(vec![]), T::Varchar),
    ] {
        assert_eq!(coerce(col(from.clone()), &to).unwrap().data_type(), to, "{from}");
    }
    for (from, to) in [
        (T::BigInt, T::Integer),
        (T::Double, T::BigInt),
        (decimal(8, 4), decimal(8, 2)),
        (T::BigInt, decimal(10, 2)),
        (T::Varchar, T::BigInt),
        (T::Timestamp, T::Date),
    ] {
        let error = coerce(col(from.clone()), &to).unwrap_err();
        assert_eq!(error.hint, Some(format!("write CAST(… AS {to})")), "{from}");
    }
    assert_eq!(coerce(literal(5i64.into()), &T::SmallInt).unwrap().data_type(), T::SmallInt);
    assert!(coerce(literal(70_000i64.into()), &T::SmallInt).is_err());
    assert_eq!(coerce(dec("1.5"), &decimal(10, 2)).unwrap().to_string(), "1.50");
    assert!(coerce(dec("1.505"), &decimal(10, 2)).is_err());
    let ints = array(vec![literal(1i64.into()), literal(2i64.into())]).unwrap();
    assert!(coerce(ints, &T::array(T::Integer)).is_ok());
    assert!(coerce(col(T::BigInt), &T::BigInt).is_ok_and(|e| matches!(e, Expr::Column { .. })));
}

#[test]
fn common_types() {
    use DataType as T;
    assert_eq!(common_type(&[T::SmallInt, T::Null, T::BigInt]), Ok(T::BigInt));
    assert_eq!(common_type(&[decimal(5, 2), decimal(8, 4), T::SmallInt]), Ok(decimal(9, 4)));
    assert_eq!(common_type(&[decimal(5, 2), T::Real]), Ok(T::Double));
    assert_eq!(common_type(&[T::Date, T::Timestamp]), Ok(T::Timestamp));
    assert_eq!(common_type(&[]), Ok(T::Null));
    assert!(common_type(&[T::Varchar, T::BigInt]).is_err());
    let case = case(None, vec![(literal(true.into()), literal(1i64.into()))], Some(dec("1.5"))).unwrap();
    assert_eq!(case.data_type(), decimal(2, 1));
    assert_eq!(coerce(case, &decimal(9, 2)).unwrap().data_type(), decimal(9, 2));
}

#[test]
fn unknown_functions_name_the_nearest_and_special_forms_need_no_registry() {
    let none = FunctionRegistry::empty();
    let error = call(&none, "coalsce", vec![]).unwrap_err();
    assert_eq!(error.to_string(), "there is no function coalsce (did you mean coalesce?)");
    let e = call(&none, "COALESCE", vec![col(DataType::Integer), literal(0i64.into())]).unwrap();
    assert_eq!((e.to_string(), e.data_type()), ("coalesce(c, 0)".into(), DataType::Integer));
    assert!(call(&none, "nullif", vec![]).unwrap_err().to_string().contains("nullif(value, other)"));
}

#[test]
fn nesting_is_bounded_but_chains_are_not() {
    let mut deep = col(DataType::BigInt);
    let error = loop {
        match unary(UnaryOp::Negate, deep) {
            Ok(e) => deep = e,
            Err(e) => break e,
        }
    };
    assert!(error.message.contains("200 levels"));
    let mut chain = col(DataType::Boolean);
    for _ in 0..10_000 {
        chain = and(vec![chain, col(DataType::Boolean)]).unwrap();
    }
    assert!(matches!(chain, Expr::And(items) if items.len() == 10_001));
}

#[test]
fn sql_text_reads_back() {
    let a = || col(DataType::BigInt);
    let sum = binary(BinaryOp::Add, a(), literal(1i64.into())).unwrap();
    let product = binary(BinaryOp::Multiply, sum, a()).unwrap();
    assert_eq!(product.to_string(), "(c + 1) * c");
    let cond = binary(BinaryOp::Greater, product, dec("1.50")).unwrap();
    let either = or(vec![cond, unary(UnaryOp::IsNull, a()).unwrap()]).unwrap();
    let both = and(vec![either, unary(UnaryOp::Not, col(DataType::Boolean)).unwrap()]).unwrap();
    assert_eq!(both.to_string(), "((c + 1) * c > 1.50 OR c IS NULL) AND NOT c");
    let cast = cast(string("it's"), DataType::Date, CastMode::Try).unwrap();
    assert_eq!(cast.to_string(), "TRY_CAST('it''s' AS DATE)");
}
