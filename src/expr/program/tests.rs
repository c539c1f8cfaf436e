//! What evaluation gives, rule by rule of the reference, and the mistakes that other engines make.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::expr::typing::Typed;
use crate::expr::{
    BinaryOp, CastMode, FunctionRegistry, LikeKind, SystemColumn, UnaryOp, compare, to_text, typing,
};
use crate::record::{DataType, Decimal, ErrorCode, Interval, Schema, StreamRecord, text};

fn schema() -> Arc<Schema> {
    Schema::of([
        ("i", DataType::BigInt),
        ("small", DataType::SmallInt),
        ("x", DataType::Double),
        ("d", DataType::Decimal { precision: 10, scale: 2 }),
        ("s", DataType::Varchar),
        ("b", DataType::Boolean),
        ("t", DataType::Timestamp),
        ("day", DataType::Date),
        ("n", DataType::BigInt),
        ("a", DataType::array(DataType::BigInt)),
        ("m", DataType::map(DataType::Varchar, DataType::BigInt)),
        ("j", DataType::Json),
    ])
}

fn dec_value(s: &str) -> FieldValue {
    text::parse_decimal(s).unwrap().into()
}

fn record() -> StreamRecord {
    let values = [
        7i64.into(),
        3i64.into(),
        2.5.into(),
        dec_value("100.50"),
        "ACME".into(),
        true.into(),
        FieldValue::Timestamp(text::parse_timestamp("2026-01-31T10:00:00Z").unwrap()),
        FieldValue::Date(text::parse_date("2026-01-31").unwrap()),
        FieldValue::Null,
        FieldValue::Array(Arc::new(vec![10i64.into(), FieldValue::Null])),
        FieldValue::Map(Arc::new(vec![("k".into(), 5i64.into())])),
        FieldValue::Json(r#"{"a":{"b":[1,"two"]},"n":null}"#.into()),
    ];
    let mut record = StreamRecord::with_values(schema(), values);
    record.headers_mut().push("h", b"v");
    record.set_offset(Some(9));
    record
}

fn col(name: &str) -> Expr {
    let schema = schema();
    typing::column(&schema, schema.index_of(name).unwrap()).unwrap()
}
fn int(i: i64) -> Expr {
    typing::literal(i.into())
}
fn dec(s: &str) -> Expr {
    typing::literal(dec_value(s))
}
fn string(s: &str) -> Expr {
    typing::literal(s.into())
}
fn null() -> Expr {
    typing::literal(FieldValue::Null)
}
fn boolean(b: Option<bool>) -> Expr {
    typing::cast(typing::literal(b.into()), DataType::Boolean, CastMode::Strict).unwrap()
}
fn typed(s: &str, t: DataType) -> Expr {
    typing::coerce(string(s), &t).unwrap()
}
fn bin(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    typing::binary(op, a, b).unwrap()
}
fn call(name: &str, args: Vec<Expr>) -> Typed {
    typing::call(&FunctionRegistry::empty(), name, args)
}
fn cast(e: Expr, to: DataType) -> Expr {
    typing::cast(e, to, CastMode::Strict).unwrap()
}

/// Evaluates with and without folding, which must agree.
fn eval(expr: Expr) -> Result<FieldValue, ErrorCode> {
    let record = record();
    let ctx = EvalContext { record: &record, now: 0 };
    let folded = Program::compile(&expr).eval(&ctx).map(Datum::into_owned).map_err(|e| e.code);
    let plain = Program::compile_as_is(&expr).eval(&ctx).map(Datum::into_owned).map_err(|e| e.code);
    assert_eq!(format!("{folded:?}"), format!("{plain:?}"), "{expr}");
    folded
}
/// The result as text, NULL as `NULL`, an error as its label.
fn show(expr: Expr) -> String {
    match eval(expr) {
        Ok(FieldValue::Null) => "NULL".into(),
        Ok(v) => to_text(&v),
        Err(code) => code.label().into(),
    }
}
fn is_true(expr: Expr) -> bool {
    eval(expr) == Ok(FieldValue::Boolean(true))
}

#[test]
fn integers_are_checked_and_divide_as_integers() {
    use BinaryOp::*;
    assert_eq!(show(bin(Divide, int(7), int(0))), "division_by_zero");
    assert_eq!(show(bin(Modulo, col("i"), int(0))), "division_by_zero");
    assert_eq!(show(bin(Add, int(i64::MAX), col("i"))), "overflow");
    assert_eq!(show(bin(Multiply, int(i64::MIN), int(-1))), "overflow");
    assert_eq!(show(bin(Divide, int(i64::MIN), int(-1))), "overflow");
    assert_eq!(show(bin(Modulo, int(i64::MIN), int(-1))), "0");
    assert_eq!(show(bin(Divide, int(-7), int(2))), "-3");
    assert_eq!(show(bin(Modulo, int(-7), int(2))), "-1");
    assert_eq!(show(bin(Multiply, col("small"), int(20_000))), "60000");
    assert_eq!(show(bin(Add, col("i"), col("n"))), "NULL");
    assert_eq!(show(bin(Add, col("n"), bin(Divide, int(1), int(0)))), "division_by_zero");
    assert_eq!(show(bin(BitXor, int(5), int(3))), "6");
    assert_eq!(show(bin(ShiftLeft, int(1), int(64))), "invalid_argument");
}

#[test]
fn decimals_are_exact_and_round_half_away_from_zero() {
    use BinaryOp::*;
    assert_eq!(show(bin(Add, dec("0.1"), dec("0.25"))), "0.35");
    assert_eq!(show(bin(Multiply, dec("1.50"), dec("2.0"))), "3.000");
    assert_eq!(show(bin(Divide, dec("1.00"), dec("3"))), "0.33333333");
    assert_eq!(show(bin(Divide, dec("2"), dec("3"))), "0.666667");
    assert_eq!(show(bin(Divide, dec("-2"), dec("3"))), "-0.666667");
    assert_eq!(show(bin(Modulo, dec("-7.5"), dec("2"))), "-1.5");
    assert_eq!(show(bin(Multiply, col("d"), int(3))), "301.50");
    assert_eq!(show(bin(Add, dec("9999999999999999999999999999"), int(1))), "overflow");
    assert_eq!(show(bin(Divide, dec("1.5"), int(0))), "division_by_zero");
    assert_eq!(show(bin(Add, dec("1.5"), cast(dec("2.25"), DataType::Double))), "3.75");
}

#[test]
fn comparisons_across_number_types_are_exact() {
    use BinaryOp::*;
    assert!(is_true(bin(Eq, col("d"), dec("100.50"))));
    assert!(is_true(bin(Eq, col("d"), dec("100.5"))));
    assert!(is_true(bin(Less, col("d"), dec("100.505"))));
    assert!(is_true(bin(Eq, col("d"), string("100.500"))));
    assert!(is_true(bin(Greater, col("d"), int(100))));
    assert!(is_true(bin(Less, int(100), col("d"))));
    assert!(is_true(bin(Eq, cast(col("d"), DataType::Double), dec("100.50"))));
    assert!(is_true(bin(Less, col("i"), dec("7.5"))));
    assert!(is_true(bin(Greater, col("x"), int(2))));
    let big = cast(int(1 << 53), DataType::Double);
    assert!(is_true(bin(Greater, int((1 << 53) + 1), big.clone())));
    assert!(!is_true(bin(Eq, int((1 << 53) + 1), big)));
    let nan = cast(string("NaN"), DataType::Double);
    assert!(is_true(bin(Eq, nan.clone(), nan.clone())));
    assert!(is_true(bin(Greater, nan, cast(string("inf"), DataType::Double))));
}

#[test]
fn null_is_unknown() {
    use BinaryOp::*;
    assert_eq!(show(bin(Eq, null(), null())), "NULL");
    assert_eq!(show(bin(NotEq, col("n"), int(1))), "NULL");
    assert_eq!(show(bin(IsDistinctFrom, null(), null())), "false");
    assert_eq!(show(bin(IsDistinctFrom, col("n"), int(1))), "true");
    assert_eq!(show(bin(IsNotDistinctFrom, col("i"), int(7))), "true");
    let in_list = |x, list, negated| show(typing::in_list(x, list, negated).unwrap());
    assert_eq!(in_list(col("i"), vec![int(1), null()], false), "NULL");
    assert_eq!(in_list(col("i"), vec![int(7), null()], false), "true");
    assert_eq!(in_list(col("i"), vec![int(1), null()], true), "NULL");
    assert_eq!(in_list(col("i"), vec![int(1), dec("7.0")], false), "true");
    assert_eq!(in_list(col("n"), vec![int(1)], false), "NULL");
    assert_eq!(in_list(col("s"), vec![string("x"), string("ACME")], true), "false");
    assert_eq!(in_list(col("x"), vec![dec("2.5")], false), "true");
    assert_eq!(in_list(col("day"), vec![string("2026-01-31")], false), "true");
    assert_eq!(in_list(col("i"), vec![col("n"), col("i")], false), "true");
    assert_eq!(show(typing::unary(UnaryOp::IsUnknown, boolean(None)).unwrap()), "true");
    assert_eq!(show(typing::unary(UnaryOp::IsNotTrue, boolean(None)).unwrap()), "true");
}

#[test]
fn and_or_truth_tables_and_early_stop() {
    let values = [Some(true), Some(false), None];
    for a in values {
        for b in values {
            let and = match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let or = match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            assert_eq!(eval(typing::and(vec![boolean(a), boolean(b)]).unwrap()), Ok(and.into()));
            assert_eq!(eval(typing::or(vec![boolean(a), boolean(b)]).unwrap()), Ok(or.into()));
        }
        assert_eq!(eval(typing::unary(UnaryOp::Not, boolean(a)).unwrap()), Ok(a.map(|a| !a).into()));
    }
    let fails = || bin(BinaryOp::Eq, bin(BinaryOp::Divide, int(1), int(0)), int(1));
    let no = || boolean(Some(false));
    assert_eq!(show(typing::and(vec![no(), fails()]).unwrap()), "false");
    assert_eq!(show(typing::and(vec![fails(), no()]).unwrap()), "division_by_zero");
    assert_eq!(show(typing::or(vec![boolean(Some(true)), fails()]).unwrap()), "true");
    assert_eq!(show(typing::and(vec![boolean(None), fails()]).unwrap()), "division_by_zero");
    assert_eq!(show(typing::or(vec![fails(), boolean(Some(true))]).unwrap()), "division_by_zero");
}

#[test]
fn conditional_forms_evaluate_only_what_they_need() {
    let fails = || bin(BinaryOp::Divide, int(1), int(0));
    assert_eq!(show(call("coalesce", vec![null(), int(2), fails()]).unwrap()), "2");
    assert_eq!(show(call("coalesce", vec![col("n"), col("i"), fails()]).unwrap()), "7");
    assert_eq!(show(call("if", vec![boolean(Some(false)), fails(), int(3)]).unwrap()), "3");
    assert_eq!(show(call("if", vec![boolean(None), int(1)]).unwrap()), "NULL");
    assert_eq!(show(call("nullif", vec![col("i"), int(7)]).unwrap()), "NULL");
    assert_eq!(show(call("greatest", vec![col("n"), int(3), dec("3.5")]).unwrap()), "3.5");
    assert_eq!(show(call("least", vec![string("b"), col("s")]).unwrap()), "ACME");
    let case = typing::case(
        Some(col("s")),
        vec![(string("X"), fails()), (null(), int(1)), (string("ACME"), int(2))],
        Some(dec("0.5")),
    );
    assert_eq!(show(case.unwrap()), "2.0");
    let between = |e, low, high, negated| show(typing::between(e, low, high, negated).unwrap());
    assert_eq!(between(col("i"), int(1), int(7), false), "true");
    assert_eq!(between(col("i"), int(8), null(), false), "false");
    assert_eq!(between(col("i"), int(1), null(), true), "NULL");
    assert_eq!(between(col("t"), string("2026-01-01"), string("2026-02-01"), false), "true");
}

#[test]
fn dates_and_intervals() {
    use BinaryOp::*;
    let interval = |s| typed(s, DataType::Interval);
    let time = |s| typed(s, DataType::Time);
    assert_eq!(show(bin(Add, col("t"), interval("1 month"))), "2026-02-28T10:00:00Z");
    assert_eq!(show(bin(Subtract, col("t"), interval("5 seconds"))), "2026-01-31T09:59:55Z");
    assert_eq!(show(bin(Subtract, col("t"), string("2026-01-29 09:00"))), "P2DT1H");
    assert_eq!(show(bin(Subtract, col("day"), typed("2025-12-31", DataType::Date))), "31");
    assert_eq!(show(bin(Add, col("day"), int(1))), "2026-02-01");
    assert_eq!(show(bin(Add, col("day"), interval("1 day"))), "2026-02-01T00:00:00Z");
    assert_eq!(show(bin(Add, interval("36 hours"), col("day"))), "2026-02-01T12:00:00Z");
    assert_eq!(show(bin(Add, col("day"), time("10:30"))), "2026-01-31T10:30:00Z");
    assert_eq!(show(bin(Add, time("23:00"), interval("2 hours"))), "01:00:00");
    assert_eq!(show(bin(Subtract, time("01:00"), interval("2 hours"))), "23:00:00");
    assert_eq!(show(bin(Subtract, time("01:00"), time("02:00"))), "PT-1H");
    assert_eq!(show(bin(Multiply, interval("1 month"), dec("1.5"))), "P1M15D");
    assert_eq!(show(bin(Divide, interval("1 day"), int(2))), "PT12H");
    assert_eq!(show(bin(Multiply, int(3), interval("1 hour 20 min"))), "PT4H");
    assert_eq!(show(typing::unary(UnaryOp::Negate, interval("1 day")).unwrap()), "P-1D");
    assert!(is_true(bin(Eq, interval("1 month"), interval("30 days"))));
    assert!(is_true(bin(Less, col("day"), col("t"))));
    assert_eq!(show(bin(Add, col("day"), int(i64::from(i32::MAX)))), "overflow");
    assert_eq!(show(bin(Add, col("t"), null())), "NULL");
}

#[test]
fn casts() {
    use DataType as T;
    let decimal = |precision, scale| T::Decimal { precision, scale };
    let double = |s| cast(string(s), T::Double);
    for (expr, to, wanted) in [
        (double("2.5"), T::BigInt, "2"),
        (double("3.5"), T::BigInt, "4"),
        (dec("2.5"), T::BigInt, "3"),
        (dec("-2.5"), T::BigInt, "-3"),
        (double("1e19"), T::BigInt, "invalid_cast"),
        (int(70_000), T::SmallInt, "invalid_cast"),
        (int(3_000_000_000), T::Integer, "invalid_cast"),
        (dec("1.005"), decimal(5, 2), "1.01"),
        (dec("1234.5"), decimal(5, 2), "invalid_cast"),
        (double("0.1"), decimal(5, 3), "0.100"),
        (string(" 42 "), T::BigInt, "42"),
        (string("4x"), T::BigInt, "invalid_cast"),
        (string("1.5"), T::BigInt, "invalid_cast"),
        (string("yes"), T::Boolean, "true"),
        (string("of"), T::Boolean, "false"),
        (string("o"), T::Boolean, "invalid_cast"),
        (boolean(Some(true)), T::BigInt, "1"),
        (int(2), T::Boolean, "true"),
        (double("1e21"), T::Varchar, "1e+21"),
        (double("1"), T::Varchar, "1"),
        (double("0.00001"), T::Varchar, "1e-05"),
        (double("123456.789"), T::Varchar, "123456.789"),
        (double("-0.001"), T::Varchar, "-0.001"),
        (cast(string("0.1"), T::Real), T::Varchar, "0.1"),
        (cast(string("0.1"), T::Real), decimal(9, 8), "0.10000000"),
        (dec("1.50"), T::Varchar, "1.50"),
        (boolean(Some(false)), T::Varchar, "false"),
        (col("t"), T::Varchar, "2026-01-31T10:00:00Z"),
        (col("t"), T::Date, "2026-01-31"),
        (col("t"), T::Time, "10:00:00"),
        (col("day"), T::Timestamp, "2026-01-31T00:00:00Z"),
        (string("2026-01-31 23:59"), T::Date, "2026-01-31"),
        (string("2026-02-30"), T::Date, "invalid_cast"),
        (string("\\x4142"), T::Bytes, "\\x4142"),
        (col("a"), T::Varchar, "[10,null]"),
        (col("a"), T::array(T::Varchar), r#"["10",null]"#),
        (col("m"), T::Json, r#"{"k":5}"#),
        (string("[1, 2]"), T::array(T::BigInt), "[1,2]"),
        (string("{bad"), T::Json, "invalid_cast"),
        (string("[1]"), T::Json, "[1]"),
    ] {
        let shown = expr.to_string();
        assert_eq!(show(cast(expr, to.clone())), wanted, "{shown} AS {to}");
    }
    let tried = typing::cast(string("x"), T::BigInt, CastMode::Try).unwrap();
    assert_eq!(show(tried), "NULL");
    let tried = typing::cast(int(70_000), T::SmallInt, CastMode::Try).unwrap();
    assert_eq!(show(tried), "NULL");
    let failing = bin(BinaryOp::Divide, int(1), int(0));
    let tried = typing::cast(failing, T::Varchar, CastMode::Try).unwrap();
    assert_eq!(show(tried), "division_by_zero");
}

#[test]
fn text_operators() {
    use BinaryOp::Concat;
    let e = bin(Concat, bin(Concat, col("s"), string("-")), bin(Concat, col("i"), col("d")));
    assert_eq!(show(e), "ACME-7100.50");
    assert_eq!(show(bin(Concat, col("s"), col("n"))), "NULL");
    assert_eq!(show(bin(Concat, col("a"), int(3))), "[10,null,3]");
    assert_eq!(show(bin(Concat, int(3), col("a"))), "[3,10,null]");
    assert_eq!(show(bin(Concat, col("a"), null())), "[10,null]");
    let like = |kind, p, negated| show(typing::like(kind, col("s"), p, None, negated).unwrap());
    assert_eq!(like(LikeKind::Like, string("AC%"), false), "true");
    assert_eq!(like(LikeKind::Like, string("ac%"), false), "false");
    assert_eq!(like(LikeKind::ILike, string("ac%"), true), "false");
    assert_eq!(like(LikeKind::Like, null(), true), "NULL");
    assert_eq!(like(LikeKind::Like, col("s"), false), "true");
    assert_eq!(like(LikeKind::Regex, bin(Concat, string("^A"), col("s")), false), "false");
    assert!(typing::like(LikeKind::Regex, col("s"), string("("), None, false).is_err());
    assert!(typing::like(LikeKind::Like, col("s"), string(r"A\"), None, false).is_err());
    let computed = || bin(Concat, col("s"), string(r"\"));
    assert_eq!(
        show(typing::like(LikeKind::Like, computed(), computed(), None, false).unwrap()),
        "invalid_argument"
    );
    assert!(typing::like(LikeKind::Like, col("i"), string("7"), None, false).is_err());
}

#[test]
fn nested_access() {
    let index = |e, i| typing::index(e, i).unwrap();
    assert_eq!(show(index(col("a"), int(1))), "10");
    for outside in [0, 3, -1, i64::MIN] {
        assert_eq!(show(index(col("a"), int(outside))), "NULL");
    }
    assert_eq!(show(index(col("m"), string("k"))), "5");
    assert_eq!(show(index(col("m"), string("z"))), "NULL");
    let path = index(typing::field(typing::field(col("j"), "a").unwrap(), "b").unwrap(), int(1));
    assert_eq!((path.data_type(), show(path.clone())), (DataType::Json, "\"two\"".into()));
    assert_eq!(show(index(path, string("x"))), "NULL");
    assert_eq!(show(cast(typing::field(col("j"), "n").unwrap(), DataType::BigInt)), "NULL");
    assert_eq!(show(index(Expr::System(SystemColumn::Headers), string("h"))), "v");
    assert_eq!(show(Expr::System(SystemColumn::Headers)), r#"{"h":"v"}"#);
    assert_eq!(show(Expr::System(SystemColumn::Offset)), "9");
    assert_eq!(show(Expr::System(SystemColumn::EventTime)), "NULL");
    let row = typing::structure(vec![("x".into(), col("i")), ("y".into(), null())]).unwrap();
    assert_eq!(show(typing::field(row.clone(), "X").unwrap()), "7");
    assert_eq!(show(row), r#"{"x":7,"y":null}"#);
    let map = typing::map(vec![(string("a"), int(1)), (string("a"), int(2))]).unwrap();
    assert_eq!(show(map), "duplicate_key");
}

#[test]
fn a_value_of_a_wrong_type_is_an_error_that_names_its_column() {
    let mut record = record();
    for (i, wrong) in
        [FieldValue::from("seven"), true.into(), "2.5".into(), "100.5".into()].into_iter().enumerate()
    {
        record.set(if i == 1 { 4 } else { i }, wrong);
    }
    let ctx = EvalContext { record: &record, now: 0 };
    let less = |column: &str, constant: Expr| bin(BinaryOp::Less, col(column), constant);
    for (expr, column) in [
        (bin(BinaryOp::Greater, col("i"), int(1)), Some("i")),
        (bin(BinaryOp::Add, col("i"), int(1)), Some("i")),
        (less("x", typing::literal(3.5.into())), Some("x")),
        (less("d", typing::literal(dec_value("200.50"))), Some("d")),
        (less("d", typing::literal(dec_value("200.5"))), Some("d")),
        (bin(BinaryOp::Eq, col("s"), string("ACME")), Some("s")),
        (bin(BinaryOp::Less, col("s"), string("ACME")), None),
    ] {
        let error = Program::compile(&expr).eval(&ctx).map(|d| format!("{d:?}")).unwrap_err();
        assert_eq!((error.code, error.column.as_deref()), (ErrorCode::TypeMismatch, column), "{expr}");
    }
}

#[test]
fn columns_and_constants_are_lent_not_cloned() {
    let record = record();
    let ctx = EvalContext { record: &record, now: 0 };
    for expr in
        [col("s"), string("x"), typing::index(col("a"), int(1)).unwrap(), cast(col("s"), DataType::Varchar)]
    {
        assert!(matches!(Program::compile(&expr).eval(&ctx), Ok(Datum::Ref(_))), "{expr}");
    }
    assert_eq!(Program::compile(&col("d")).as_column(), Some(3));
    let sum = bin(BinaryOp::Add, int(1), int(2));
    assert_eq!(Program::compile(&sum).as_constant(), Some(&FieldValue::Integer(3)));
}

#[test]
fn the_deepest_expression_evaluates_on_a_small_stack() {
    type Step = fn(Expr) -> Typed;
    let steps: [Step; 6] = [
        |e| typing::binary(BinaryOp::Subtract, int(1), e),
        |e| typing::case(None, vec![(typing::unary(UnaryOp::IsNull, col("n"))?, e)], Some(int(1))),
        |e| call("greatest", vec![e, int(1)]),
        |e| {
            typing::cast(
                e.clone(),
                if e.data_type() == DataType::BigInt { DataType::Varchar } else { DataType::BigInt },
                CastMode::Strict,
            )
        },
        |e| typing::index(typing::array(vec![e])?, int(1)),
        |e| {
            typing::cast(
                typing::unary(UnaryOp::Not, typing::cast(e, DataType::Boolean, CastMode::Strict)?)?,
                DataType::BigInt,
                CastMode::Strict,
            )
        },
    ];
    for step in steps {
        // Threads have 2 MiB; half of it must do, also without optimization.
        let run = move || {
            let mut e = col("i");
            while let Ok(deeper) = step(e.clone()) {
                e = deeper;
            }
            eval(e).unwrap();
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
    }
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![-200i64..200, any::<i64>(), -10_000_000_000..10_000_000_000i64];
    (mantissa, 0u32..8).prop_map(|(m, s)| Decimal::new(m, s))
}

/// `m / 10^digits`, rounded half away from zero, by the definition.
fn round_away(numerator: i128, denominator: i128) -> i128 {
    let q = numerator / denominator;
    let r = (numerator % denominator).abs() * 2;
    if r >= denominator.abs() { q + if (numerator < 0) == (denominator < 0) { 1 } else { -1 } } else { q }
}

fn any_number() -> impl Strategy<Value = FieldValue> {
    let interesting =
        prop_oneof![Just(i64::MAX), Just(i64::MIN), Just((1 << 53) + 1), Just(0), -5i64..5, any::<i64>()];
    prop_oneof![
        interesting.clone().prop_map(FieldValue::Integer),
        interesting.prop_map(|i| FieldValue::Float(i as f64)),
        prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.5), Just(-0.0)].prop_map(FieldValue::Float),
        any_decimal().prop_map(FieldValue::Decimal),
    ]
}

proptest! {
    #[test]
    fn integer_arithmetic_agrees_with_128_bits(
        a in prop_oneof![any::<i64>(), -3i64..4, Just(i64::MIN), Just(i64::MAX)],
        b in prop_oneof![any::<i64>(), -3i64..4, Just(i64::MIN), Just(i64::MAX)],
    ) {
        let (x, y) = (i128::from(a), i128::from(b));
        let by_zero = |v: Option<i128>| v.ok_or(ErrorCode::DivisionByZero);
        for (op, wanted) in [
            (BinaryOp::Add, Ok(x + y)),
            (BinaryOp::Subtract, Ok(x - y)),
            (BinaryOp::Multiply, Ok(x * y)),
            (BinaryOp::Divide, by_zero(x.checked_div(y))),
            (BinaryOp::Modulo, by_zero(x.checked_rem(y))),
        ] {
            let wanted = wanted.and_then(|v| i64::try_from(v).map_err(|_| ErrorCode::Overflow));
            prop_assert_eq!(eval(bin(op, int(a), int(b))), wanted.map(FieldValue::Integer));
        }
    }

    #[test]
    fn decimal_arithmetic_agrees_with_128_bits(a in any_decimal(), b in any_decimal()) {
        let (s, t) = (a.scale(), b.scale());
        let pow = |n: u32| 10i128.pow(n);
        let common = s.max(t);
        let (x, y) = (a.mantissa() * pow(common - s), b.mantissa() * pow(common - t));
        let scale = common + 6;
        let quotient = (y != 0).then(|| {
            // x and y have the same scale, so their quotient is that of the numbers.
            let n = x.checked_mul(pow(scale))?;
            Some(round_away(n, y))
        });
        let mut cases = vec![
            (BinaryOp::Add, common, Ok(x + y)),
            (BinaryOp::Subtract, common, Ok(x - y)),
            (BinaryOp::Multiply, s + t, Ok(a.mantissa() * b.mantissa())),
            (BinaryOp::Modulo, common, if y == 0 { Err(ErrorCode::DivisionByZero) } else { Ok(x % y) }),
        ];
        match quotient {
            None => cases.push((BinaryOp::Divide, scale, Err(ErrorCode::DivisionByZero))),
            Some(Some(q)) => cases.push((BinaryOp::Divide, scale, Ok(q))),
            Some(None) => {}
        }
        for (op, scale, wanted) in cases {
            let literal = |d: Decimal| typing::literal(d.into());
            let wanted = wanted.and_then(|m| {
                if m.abs() >= pow(28) { Err(ErrorCode::Overflow) } else { Ok(Decimal::from_i128_with_scale(m, scale)) }
            });
            prop_assert_eq!(eval(bin(op, literal(a), literal(b))), wanted.map(FieldValue::Decimal), "{} {} {}", a, op, b);
        }
    }

    #[test]
    fn comparison_is_a_total_order_within_exact_numbers_and_antisymmetric_across(
        a in any_number(), b in any_number(), c in any_number(),
    ) {
        let ab = compare(&a, &b).unwrap();
        prop_assert_eq!(compare(&b, &a).unwrap(), ab.reverse());
        prop_assert_eq!(compare(&a, &a).unwrap(), std::cmp::Ordering::Equal);
        // DECIMAL meets DOUBLE as DOUBLE, which rounds; all else is exact and so transitive.
        let kinds = [&a, &b, &c];
        let any_float = kinds.iter().any(|v| matches!(v, FieldValue::Float(_)));
        let any_decimal = kinds.iter().any(|v| matches!(v, FieldValue::Decimal(_)));
        if !(any_float && any_decimal) {
            let (bc, ac) = (compare(&b, &c).unwrap(), compare(&a, &c).unwrap());
            if ab == bc { prop_assert_eq!(ac, ab); }
            if ab == std::cmp::Ordering::Equal { prop_assert_eq!(ac, bc); }
        }
    }

    #[test]
    fn specialized_comparisons_agree_with_the_general_one(
        a in any_number(), b in any_number(), test in 0usize..6,
    ) {
        use std::cmp::Ordering::*;
        let (op, orders) = [
            (BinaryOp::Eq, vec![Equal]),
            (BinaryOp::NotEq, vec![Less, Greater]),
            (BinaryOp::Less, vec![Less]),
            (BinaryOp::LessEq, vec![Less, Equal]),
            (BinaryOp::Greater, vec![Greater]),
            (BinaryOp::GreaterEq, vec![Greater, Equal]),
        ][test].clone();
        let schema = Schema::of([("a", a.data_type()), ("b", b.data_type())]);
        let record = StreamRecord::with_values(schema.clone(), [a.clone(), b.clone()]);
        let ctx = EvalContext { record: &record, now: 0 };
        let column = |i| typing::column(&schema, i).unwrap();
        let wanted = Some(orders.contains(&compare(&a, &b).unwrap()));
        for expr in [
            bin(op, column(0), column(1)),
            bin(op, column(0), typing::literal(b.clone())),
            bin(op, typing::literal(a.clone()), column(1)),
        ] {
            prop_assert_eq!(Program::compile(&expr).eval_bool(&ctx).unwrap(), wanted, "{}", expr);
        }
    }

    #[test]
    fn timestamps_move_back_and_forth(t in -60_000_000_000_000_000i64..60_000_000_000_000_000, days in -9999i32..9999, micros in any::<i32>()) {
        let i = Interval { months: 0, days, micros: i64::from(micros) };
        let moved = crate::expr::value::add_interval(t, &i).unwrap();
        let back = crate::expr::value::negate_interval(&i).unwrap();
        prop_assert_eq!(crate::expr::value::add_interval(moved, &back).unwrap(), t);
        let since = crate::expr::value::since(moved, t).unwrap();
        prop_assert_eq!(crate::expr::value::add_interval(t, &since).unwrap(), moved);
    }
}
