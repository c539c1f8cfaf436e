//! Builds typed expressions: result types, NULL logic and implicit casts are decided here and nowhere else.

use super::{BinaryOp, CastMode, Expr, FunctionRegistry, LikeKind, UnaryOp};
use crate::record::{CompactString, DataType, FieldValue, Schema};

/// A type error: one sentence, and a hint what to write instead if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
}

type Typed = Result<Expr, TypeError>;

fn pending(what: &str) -> Typed {
    Err(TypeError { message: format!("{what} is not supported yet"), hint: None })
}

/// Column `index` of `schema`.
pub fn column(schema: &Schema, index: usize) -> Typed {
    match schema.fields().get(index) {
        Some(f) => Ok(Expr::Column { index, name: f.name.clone(), data_type: f.data_type.clone() }),
        None => pending("a column beyond the schema"),
    }
}
/// A constant of its natural type.
pub fn literal(value: FieldValue) -> Expr {
    let data_type = value.data_type();
    Expr::Literal { value, data_type }
}
/// A unary operator.
///
/// # Errors
/// If the operand's type does not fit.
pub fn unary(op: UnaryOp, _expr: Expr) -> Typed {
    pending(&format!("{op:?}"))
}
/// A binary operator, with implicit casts of its operands.
///
/// # Errors
/// If there is no such operator for these types.
pub fn binary(op: BinaryOp, _left: Expr, _right: Expr) -> Typed {
    pending(&format!("{op:?}"))
}
/// `a AND b AND …`.
///
/// # Errors
/// If an operand is not BOOLEAN.
pub fn and(_operands: Vec<Expr>) -> Typed {
    pending("AND")
}
/// `a OR b OR …`.
///
/// # Errors
/// If an operand is not BOOLEAN.
pub fn or(_operands: Vec<Expr>) -> Typed {
    pending("OR")
}
/// CASE; with `operand`, each condition is compared with it.
///
/// # Errors
/// If conditions are not BOOLEAN (or not comparable) or results have no common type.
pub fn case(_operand: Option<Expr>, _branches: Vec<(Expr, Expr)>, _otherwise: Option<Expr>) -> Typed {
    pending("CASE")
}
/// An explicit cast.
///
/// # Errors
/// If there is no cast between the types.
pub fn cast(_expr: Expr, _to: DataType, _mode: CastMode) -> Typed {
    pending("CAST")
}
/// The implicit cast that INSERT makes: widening, anything to VARCHAR, NULL to all; no node if the types agree.
///
/// # Errors
/// If a value could be lost: the message says which CAST to write.
pub fn coerce(_expr: Expr, _to: &DataType) -> Typed {
    pending("an implicit cast")
}
/// `x [NOT] IN (…)`.
///
/// # Errors
/// If the types have nothing in common.
pub fn in_list(_expr: Expr, _list: Vec<Expr>, _negated: bool) -> Typed {
    pending("IN")
}
/// `x [NOT] BETWEEN low AND high`.
///
/// # Errors
/// If the types are not comparable.
pub fn between(_expr: Expr, _low: Expr, _high: Expr, _negated: bool) -> Typed {
    pending("BETWEEN")
}
/// LIKE and relatives; a constant pattern is checked here.
///
/// # Errors
/// If an operand is not VARCHAR or the pattern is invalid.
pub fn like(_kind: LikeKind, _expr: Expr, _pattern: Expr, _escape: Option<char>, _negated: bool) -> Typed {
    pending("LIKE")
}
/// A call: chooses the overload and casts the arguments. COALESCE, NULLIF, GREATEST, LEAST and IF are functions here too.
///
/// # Errors
/// If there is no such function (names the nearest) or no overload fits (lists the signatures).
pub fn call(_functions: &FunctionRegistry, name: &str, _args: Vec<Expr>) -> Typed {
    pending(name)
}
/// `struct.name`; on JSON the member as JSON.
///
/// # Errors
/// If there is no such field.
pub fn field(_expr: Expr, _name: &str) -> Typed {
    pending("a struct field")
}
/// `array[i]`, `map[key]`.
///
/// # Errors
/// If the operand is neither, or the index has the wrong type.
pub fn index(_expr: Expr, _index: Expr) -> Typed {
    pending("a subscript")
}
/// `ARRAY[…]`.
///
/// # Errors
/// If the items have no common type.
pub fn array(_items: Vec<Expr>) -> Typed {
    pending("ARRAY")
}
/// `MAP {k: v, …}`.
///
/// # Errors
/// If keys or values have no common type.
pub fn map(_entries: Vec<(Expr, Expr)>) -> Typed {
    pending("MAP")
}
/// `STRUCT(…)`, `ROW(…)`.
///
/// # Errors
/// If a name occurs twice.
pub fn structure(_fields: Vec<(CompactString, Expr)>) -> Typed {
    pending("STRUCT")
}
/// The type that all of these cast to implicitly: for CASE, UNION, ARRAY, IN.
///
/// # Errors
/// If there is none.
pub fn common_type(_types: &[DataType]) -> Result<DataType, TypeError> {
    Err(TypeError { message: "a common type is not supported yet".into(), hint: None })
}
