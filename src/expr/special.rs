//! Functions that the binder knows by name: they are rewritten to CASE or have their own typing rule.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use super::{Arity, Datum, EvalContext, EvalResult, FunctionSpec, ReturnType, Volatility, compare};
use crate::record::{DataType, FieldValue};

/// A function that [`typing::call`](super::typing::call) handles itself; it need not be in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialForm {
    /// Name in lower case.
    pub name: &'static str,
    /// Signature for people.
    pub signature: &'static str,
    /// One line without a final stop.
    pub doc: &'static str,
    /// An expression and its result as text.
    pub example: (&'static str, &'static str),
}

/// All special forms, for listings.
pub const SPECIAL_FORMS: &[SpecialForm] = &[
    SpecialForm {
        name: "coalesce",
        signature: "coalesce(value, …)",
        doc: "the first argument that is not NULL; later ones are not evaluated",
        example: ("coalesce(NULL, 2, 1/0)", "2"),
    },
    SpecialForm {
        name: "ifnull",
        signature: "ifnull(value, otherwise)",
        doc: "coalesce of two",
        example: ("ifnull(NULL, 'x')", "x"),
    },
    SpecialForm {
        name: "nvl",
        signature: "nvl(value, otherwise)",
        doc: "coalesce of two",
        example: ("nvl(NULL, 'x')", "x"),
    },
    SpecialForm {
        name: "nullif",
        signature: "nullif(value, other)",
        doc: "NULL if both are equal, else the value",
        example: ("nullif(5, 5) IS NULL", "true"),
    },
    SpecialForm {
        name: "greatest",
        signature: "greatest(value, …)",
        doc: "the largest argument; NULLs are skipped",
        example: ("greatest(1, NULL, 3)", "3"),
    },
    SpecialForm {
        name: "least",
        signature: "least(value, …)",
        doc: "the smallest argument; NULLs are skipped",
        example: ("least(2, NULL, 3)", "2"),
    },
    SpecialForm {
        name: "if",
        signature: "if(condition, then [, otherwise])",
        doc: "CASE WHEN condition THEN then ELSE otherwise END",
        example: ("if(1 < 2, 'a', 'b')", "a"),
    },
    SpecialForm {
        name: "iif",
        signature: "iif(condition, then [, otherwise])",
        doc: "the same as if",
        example: ("iif(1 > 2, 'a', 'b')", "b"),
    },
];

pub(super) fn greatest() -> Arc<FunctionSpec> {
    static SPEC: LazyLock<Arc<FunctionSpec>> = LazyLock::new(|| extreme("greatest", Ordering::Greater));
    SPEC.clone()
}
pub(super) fn least() -> Arc<FunctionSpec> {
    static SPEC: LazyLock<Arc<FunctionSpec>> = LazyLock::new(|| extreme("least", Ordering::Less));
    SPEC.clone()
}

fn extreme(name: &'static str, wanted: Ordering) -> Arc<FunctionSpec> {
    let form = SPECIAL_FORMS.iter().find(|f| f.name == name).copied();
    Arc::new(FunctionSpec {
        name,
        family: "conditional",
        signature: form.map_or(name, |f| f.signature),
        doc: form.map_or("", |f| f.doc),
        example: form.map_or(("", ""), |f| f.example),
        arity: Arity::Variadic(vec![DataType::Null]),
        returns: ReturnType::SameAs(0),
        strict: false,
        volatility: Volatility::Immutable,
        eval: Box::new(move |_: &EvalContext<'_>, args: &[Datum<'_>]| -> EvalResult<FieldValue> {
            let mut best: &FieldValue = &FieldValue::Null;
            for arg in args.iter().filter(|a| !a.is_null()) {
                if best.is_null() || compare(arg, best) == Some(wanted) {
                    best = arg;
                }
            }
            Ok(best.clone())
        }),
    })
}

/// `value = ANY (array)`: TRUE if an item equals it; else NULL if one of them or the value is NULL; else FALSE.
pub(super) fn equals_any() -> Arc<FunctionSpec> {
    static SPEC: LazyLock<Arc<FunctionSpec>> = LazyLock::new(|| {
        Arc::new(FunctionSpec {
            name: "equals_any",
            family: "conditional",
            signature: "value = ANY (array)",
            doc: "whether an item of the array equals the value",
            example: ("2 = ANY (ARRAY[1, 2])", "true"),
            arity: Arity::Exact(vec![DataType::Null, DataType::Null]),
            returns: ReturnType::Fixed(DataType::Boolean),
            strict: false,
            volatility: Volatility::Immutable,
            eval: Box::new(|_: &EvalContext<'_>, args: &[Datum<'_>]| -> EvalResult<FieldValue> {
                let [value, array] = args else { return Ok(FieldValue::Null) };
                let FieldValue::Array(items) = &**array else { return Ok(FieldValue::Null) };
                let mut unknown = false;
                for item in items.iter() {
                    match compare(value, item) {
                        Some(Ordering::Equal) => return Ok(true.into()),
                        None if value.is_null() || item.is_null() => unknown = true,
                        _ => {}
                    }
                }
                Ok(if unknown { FieldValue::Null } else { false.into() })
            }),
        })
    });
    SPEC.clone()
}
