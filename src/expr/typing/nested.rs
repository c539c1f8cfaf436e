//! ARRAY, MAP, STRUCT and JSON: making them, and looking into them.

use super::convert::{cast_to, unify};
use super::{TypeError, Typed, bounded};
use crate::expr::Expr;
use crate::record::{CompactString, DataType, Field, nearest};

/// `struct.name`; on JSON the member as JSON.
///
/// # Errors
/// If there is no such field.
pub fn field(expr: Expr, name: &str) -> Typed {
    let fields = match expr.data_type() {
        DataType::Struct(fields) => fields,
        DataType::Json => {
            let name = CompactString::new(name);
            return bounded(Expr::Field { expr: Box::new(expr), index: 0, name, data_type: DataType::Json });
        }
        t => {
            return Err(TypeError::new(format!(
                "{t} has no fields: only STRUCT and JSON have, not this .{name}"
            )));
        }
    };
    let found = fields.iter().position(|f| f.name == name).or_else(|| {
        let mut hits = fields.iter().enumerate().filter(|(_, f)| f.name.eq_ignore_ascii_case(name));
        match (hits.next(), hits.next()) {
            (Some((i, _)), None) => Some(i),
            _ => None,
        }
    });
    match found.and_then(|i| Some((i, fields.get(i)?))) {
        Some((index, f)) => {
            let (name, data_type) = (f.name.clone(), f.data_type.clone());
            bounded(Expr::Field { expr: Box::new(expr), index, name, data_type })
        }
        None => {
            let names = fields.iter().map(|f| f.name.as_str());
            let error =
                TypeError::new(format!("there is no field {name} in {}", DataType::Struct(fields.clone())));
            Err(match nearest(name, names).first() {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error,
            })
        }
    }
}

/// `array[i]`, `map[key]`, `json['member']`, `json[0]`.
///
/// # Errors
/// If the operand is neither, or the index has the wrong type.
pub fn index(expr: Expr, index: Expr) -> Typed {
    let wrong = |t: &DataType, wanted: &str| {
        TypeError::new(format!("a subscript of {t} is {wanted}, not {}", index.data_type()))
    };
    let (index, data_type) = match expr.data_type() {
        DataType::Array(item) => {
            let t = index.data_type();
            if !t.is_integer() && t != DataType::Null {
                return Err(wrong(&expr.data_type(), "an integer from 1"));
            }
            (cast_to(index, &DataType::BigInt)?, *item)
        }
        DataType::Map(key, value) => {
            let error = wrong(&expr.data_type(), &key.to_string());
            (super::coerce(index, &key).map_err(|e| TypeError { hint: e.hint, ..error })?, *value)
        }
        DataType::Json => match index.data_type() {
            DataType::Varchar => (index, DataType::Json),
            t if t.is_integer() => (cast_to(index, &DataType::BigInt)?, DataType::Json),
            _ => return Err(wrong(&DataType::Json, "a VARCHAR (member) or an integer (element, from 0)")),
        },
        t => return Err(TypeError::new(format!("{t} has no subscripts: only ARRAY, MAP and JSON have"))),
    };
    bounded(Expr::Index { expr: Box::new(expr), index: Box::new(index), data_type })
}

/// `ARRAY[…]`.
///
/// # Errors
/// If the items have no common type.
pub fn array(items: Vec<Expr>) -> Typed {
    let (items, item) =
        unify(items).map_err(|e| TypeError { message: format!("items of ARRAY: {}", e.message), ..e })?;
    bounded(Expr::Array { items, data_type: DataType::array(item) })
}

/// `MAP {k: v, …}`.
///
/// # Errors
/// If keys or values have no common type.
pub fn map(entries: Vec<(Expr, Expr)>) -> Typed {
    let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let (keys, key) =
        unify(keys).map_err(|e| TypeError { message: format!("keys of MAP: {}", e.message), ..e })?;
    let (values, value) =
        unify(values).map_err(|e| TypeError { message: format!("values of MAP: {}", e.message), ..e })?;
    let key = if key == DataType::Null { DataType::Varchar } else { key };
    bounded(Expr::Map {
        entries: keys.into_iter().zip(values).collect(),
        data_type: DataType::map(key, value),
    })
}

/// `STRUCT(…)`, `ROW(…)`.
///
/// # Errors
/// If a name occurs twice.
pub fn structure(fields: Vec<(CompactString, Expr)>) -> Typed {
    for (i, (name, _)) in fields.iter().enumerate() {
        if fields.iter().take(i).any(|(n, _)| n == name) {
            return Err(TypeError::new(format!("field {name} occurs twice in STRUCT")));
        }
    }
    let data_type = DataType::Struct(fields.iter().map(|(n, e)| Field::new(n, e.data_type())).collect());
    bounded(Expr::Struct { fields, data_type })
}
