//! Registration is checked here; that queries call what was registered is in `tests/user_functions.rs`.

use super::*;
use crate::expr::FunctionRegistry;
use crate::record::Decimal;

#[test]
fn names_that_are_taken_or_mean_something_else_are_refused() {
    let mut registry = FunctionRegistry::builtin();
    for (name, why) in [
        ("upper", "already a function 'upper'"),
        ("sum", "already an aggregate function 'sum'"),
        ("coalesce", "a word of the language"),
        ("row_number", "a word of the language"),
        ("tumble", "a word of the language"),
        ("Shout", "lower-case"),
        ("2x", "not a digit first"),
        ("", "can't name a function"),
    ] {
        let error = check_name(&registry, name, 1).unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert_eq!(check_name(&registry, "twice", 1), Ok(()));
    registry.add((|x: i64| x * 2).into_spec("twice"));
    assert_eq!(check_name(&registry, "twice", 2), Ok(()));
    let error = check_name(&registry, "twice", 1).unwrap_err();
    assert!(error.contains("a function of 1 parameters called 'twice'"), "{error}");
    assert!(check_name(&registry, "twice", usize::MAX).is_err());
}

#[test]
fn signatures_and_types_follow_from_the_closure() {
    let spec = (|_: &str, _: Option<i64>, _: Decimal, _: Timestamp, _: bool| 1.5f64).into_spec("f");
    assert_eq!(spec.signature, "f(VARCHAR, BIGINT, DECIMAL, TIMESTAMP, BOOLEAN)");
    assert!(!spec.strict);
    let spec = (|a: f64, b: String| format!("{a}{b}")).into_spec("g");
    assert_eq!(spec.signature, "g(DOUBLE, VARCHAR)");
    assert!(spec.strict);
}
